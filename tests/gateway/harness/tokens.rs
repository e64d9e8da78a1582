//! A token endpoint and a revocation endpoint on loopback, which rotate refresh tokens and notice when one is shown twice:
//! then nobody of that login gets anything any more. It can hold its answers, be down, or answer otherwise.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::forms::{Asked, Forms, Reply};

/// A login as the issuer knows it.
#[derive(Default)]
struct Login {
    /// The refresh token that holds; none after one was shown twice, or was given back.
    current: Option<String>,
    /// How many tokens it was granted.
    granted: usize,
}

#[derive(Default)]
struct Books {
    logins: HashMap<String, Login>,
    /// What each code is worth, once.
    codes: HashMap<String, Value>,
    reused: usize,
    revoked: Vec<String>,
    otherwise: Option<Reply>,
    further: Value,
}

/// The endpoints. Dropped, they are down.
pub struct Tokens {
    forms: Forms,
    books: Arc<Mutex<Books>>,
}

impl Tokens {
    /// Endpoints that know nobody, and whose access tokens last 10 minutes.
    pub async fn start() -> Self {
        let books = Books { further: json!({ "expires_in": 600 }), ..Books::default() };
        let books = Arc::new(Mutex::new(books));
        let kept = Arc::clone(&books);
        // What was granted is granted, whether or not the answer arrives.
        let forms = Forms::start(move |asked| kept.lock().unwrap().answer(asked)).await;
        Self { forms, books }
    }

    pub fn url(&self) -> String {
        self.url_of("/token")
    }

    pub fn revocation_url(&self) -> String {
        self.url_of("/revoke")
    }

    /// What a login is granted at first, as the endpoint answers it.
    pub fn login(&self, name: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        books.logins.insert(name.to_owned(), Login::default());
        books.grant(name)
    }

    /// Grants this for an authorization code, once.
    pub fn know_code(&self, code: &str, granted: Value) {
        self.books.lock().unwrap().codes.insert(code.to_owned(), granted);
    }

    /// Puts these members into answers, instead of `expires_in: 600`.
    pub fn say(&self, further: Value) {
        self.books.lock().unwrap().further = further;
    }

    /// Answers so from now on, whatever is asked.
    pub fn otherwise(&self, reply: Reply) {
        self.books.lock().unwrap().otherwise = Some(reply);
    }

    /// Answers again as it should.
    pub fn mended(&self) {
        self.books.lock().unwrap().otherwise = None;
    }

    /// Forgets a login: its refresh token holds no more.
    pub fn forget(&self, name: &str) {
        self.books.lock().unwrap().logins.remove(name);
    }

    /// How often a refresh token was shown that had been exchanged before.
    pub fn reused(&self) -> usize {
        self.books.lock().unwrap().reused
    }

    /// The refresh tokens that were given back.
    pub fn revoked(&self) -> Vec<String> {
        self.books.lock().unwrap().revoked.clone()
    }
}

impl Deref for Tokens {
    type Target = Forms;
    fn deref(&self) -> &Forms {
        &self.forms
    }
}

impl DerefMut for Tokens {
    fn deref_mut(&mut self) -> &mut Forms {
        &mut self.forms
    }
}

impl Books {
    fn grant(&mut self, name: &str) -> Value {
        let login = self.logins.get_mut(name).unwrap();
        login.granted += 1;
        let (access, refresh) =
            (format!("access-{name}-{}", login.granted), format!("refresh-{name}-{}", login.granted));
        login.current = Some(refresh.clone());
        let answer = json!({ "access_token": access, "token_type": "Bearer", "refresh_token": refresh });
        super::world::merged(answer, &self.further)
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        if let Some(reply) = self.otherwise.clone() {
            return reply;
        }
        let refusal = Reply::status(400, "Content-Type: application/json\r\n", "{\"error\":\"invalid_grant\"}");
        if asked.line.starts_with("POST /revoke ") {
            let token = asked.field("token").unwrap_or_default().to_owned();
            self.logins
                .values_mut()
                .filter(|login| login.current.as_ref() == Some(&token))
                .for_each(|login| login.current = None);
            self.revoked.push(token);
            return Reply::status(200, "", "");
        }
        if asked.field("grant_type") == Some("authorization_code") {
            let granted = self.codes.remove(asked.field("code").unwrap_or_default());
            return granted.map_or(refusal, |granted| Reply::json(&granted));
        }
        let shown = asked.field("refresh_token").unwrap_or_default();
        let Some(name) = shown.strip_prefix("refresh-").and_then(|rest| rest.rsplit_once('-')).map(|(name, _)| name)
        else {
            return refusal;
        };
        match self.logins.get_mut(name) {
            Some(login) if login.current.as_deref() == Some(shown) => Reply::json(&self.grant(name)),
            Some(login) => {
                login.current = None;
                self.reused += 1;
                refusal
            }
            None => refusal,
        }
    }
}

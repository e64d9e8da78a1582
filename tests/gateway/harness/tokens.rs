//! A token endpoint and a revocation endpoint on loopback, which rotate refresh tokens and notice when one is shown twice:
//! then nobody of that login gets anything any more. It can hold its answers, be down, or answer otherwise.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::introspection::{Asked, Reply, read, respond};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

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

struct State {
    books: Mutex<Books>,
    asked: watch::Sender<Vec<Asked>>,
    open: watch::Sender<bool>,
}

/// The endpoints. Dropped, they are down.
pub struct Tokens {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl Tokens {
    /// Endpoints that know nobody, and whose access tokens last 10 minutes.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let books = Books { further: json!({ "expires_in": 600 }), ..Books::default() };
        let state = State { books: Mutex::new(books), asked: watch::Sender::default(), open: watch::Sender::new(true) };
        let state = Arc::new(state);
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub fn revocation_url(&self) -> String {
        format!("http://{}/revoke", self.address)
    }

    /// What a login is granted at first, as the endpoint answers it.
    pub fn login(&self, name: &str) -> Value {
        let mut books = self.state.books.lock().unwrap();
        books.logins.insert(name.to_owned(), Login::default());
        books.grant(name)
    }

    /// Grants this for an authorization code, once.
    pub fn know_code(&self, code: &str, granted: Value) {
        self.state.books.lock().unwrap().codes.insert(code.to_owned(), granted);
    }

    /// Puts these members into answers, instead of `expires_in: 600`.
    pub fn say(&self, further: Value) {
        self.state.books.lock().unwrap().further = further;
    }

    /// Answers so from now on, whatever is asked.
    pub fn otherwise(&self, reply: Reply) {
        self.state.books.lock().unwrap().otherwise = Some(reply);
    }

    /// Answers again as it should.
    pub fn mended(&self) {
        self.state.books.lock().unwrap().otherwise = None;
    }

    /// Forgets a login: its refresh token holds no more.
    pub fn forget(&self, name: &str) {
        self.state.books.lock().unwrap().logins.remove(name);
    }

    /// Holds every answer until [`Tokens::release`]; what was asked counts.
    pub fn hold(&self) {
        self.state.open.send_replace(false);
    }

    pub fn release(&self) {
        self.state.open.send_replace(true);
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.borrow().clone()
    }

    /// Waits until so many requests have come in all.
    pub async fn was_asked(&self, count: usize) {
        let mut asked = self.state.asked.subscribe();
        let reached = asked.wait_for(|asked| asked.len() >= count);
        tokio::time::timeout(PATIENCE, reached).await.expect("the requests did not come").unwrap();
    }

    /// How often a refresh token was shown that had been exchanged before.
    pub fn reused(&self) -> usize {
        self.state.books.lock().unwrap().reused
    }

    /// The refresh tokens that were given back.
    pub fn revoked(&self) -> Vec<String> {
        self.state.books.lock().unwrap().revoked.clone()
    }

    /// Refuses connections from now on, and breaks those that are open.
    pub async fn down(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    /// Listens again, at the same address.
    pub async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serving = tokio::spawn(serve(listener, Arc::clone(&self.state)));
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.serving.abort();
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

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

/// One request, one reply, and the end. What was granted is granted, whether or not the answer arrives.
async fn converse(mut stream: TcpStream, state: Arc<State>) {
    let Some(asked) = read(&mut stream).await else { return };
    let reply = {
        let mut books = state.books.lock().unwrap();
        match books.otherwise.clone() {
            Some(reply) => reply,
            None => books.answer(&asked),
        }
    };
    state.asked.send_modify(|all| all.push(asked));
    if state.open.subscribe().wait_for(|open| *open).await.is_ok() {
        let _ = respond(&mut stream, reply).await;
    }
}

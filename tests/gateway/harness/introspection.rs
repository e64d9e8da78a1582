//! An introspection endpoint on loopback (RFC 7662): answers by token, and can lie.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::forms::{Forms, Reply};

/// The endpoint. Dropped, it is down.
pub struct Introspection {
    forms: Forms,
    replies: Arc<Mutex<Replies>>,
}

struct Replies {
    by_token: HashMap<String, Reply>,
    otherwise: Reply,
}

impl Introspection {
    /// An endpoint that knows no token.
    pub async fn start() -> Self {
        let otherwise = Reply::json(&json!({ "active": false }));
        let replies = Arc::new(Mutex::new(Replies { by_token: HashMap::new(), otherwise }));
        let known = Arc::clone(&replies);
        let forms = Forms::start(move |asked| {
            let known = known.lock().unwrap();
            let reply = asked.field("token").and_then(|token| known.by_token.get(token));
            reply.unwrap_or(&known.otherwise).clone()
        });
        Self { forms: forms.await, replies }
    }

    pub fn url(&self) -> String {
        self.url_of("/introspect")
    }

    /// Replies like this to questions about that token from now on.
    pub fn know(&self, token: &str, reply: Reply) {
        self.replies.lock().unwrap().by_token.insert(token.to_owned(), reply);
    }

    /// Replies like this to questions about every token that it does not know.
    pub fn otherwise(&self, reply: Reply) {
        self.replies.lock().unwrap().otherwise = reply;
    }
}

impl Deref for Introspection {
    type Target = Forms;
    fn deref(&self) -> &Forms {
        &self.forms
    }
}

impl DerefMut for Introspection {
    fn deref_mut(&mut self) -> &mut Forms {
        &mut self.forms
    }
}

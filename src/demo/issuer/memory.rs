//! What the issuer remembers: codes, refresh tokens, and the tokens that it can be asked about.
//!
//! Times are seconds since 1970 and come as arguments. What has expired goes when something new comes.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::demo::provider::Rotation;

/// What a person agreed to.
#[derive(Debug, Clone)]
pub(super) struct Login {
    /// Whatever comes of one login has the same.
    pub(super) family: String,
    pub(super) scopes: Vec<String>,
    /// Whether the access token is for an API that was asked for.
    pub(super) audience: bool,
    pub(super) nonce: Option<String>,
    /// When it was.
    pub(super) at: u64,
}

/// What a code stands for.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) login: Login,
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<String>,
    pub(super) state: Option<String>,
}

#[derive(Debug)]
struct Refresh {
    login: Login,
    issued: u64,
    expires: u64,
    spent: bool,
}

#[derive(Debug)]
struct Issued {
    answer: Map<String, Value>,
    family: Option<String>,
}

/// How a refresh token may be used.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    pub(super) login: Login,
    /// Whether the answer bears the same refresh token again.
    pub(super) same: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    codes: HashMap<String, (Code, u64)>,
    refresh: HashMap<String, Refresh>,
    issued: HashMap<String, Issued>,
}

/// How long a code lives.
const CODE_LIFETIME: u64 = 60;

impl Memory {
    /// Keeps a code.
    pub(super) fn coded(&mut self, text: String, code: Code, now: u64) {
        self.codes.retain(|_, (_, expires)| *expires > now);
        self.codes.insert(text, (code, now + CODE_LIFETIME));
    }

    /// A code is good once, for its redirect URI, and for who has the verifier (RFC 7636 section 4.6).
    pub(super) fn redeem(&mut self, text: &str, redirect_uri: &str, verifier: Option<&str>, now: u64) -> Option<Code> {
        let (code, expires) = self.codes.remove(text)?;
        let computed = verifier.map(|verifier| URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())));
        (expires > now && code.redirect_uri == redirect_uri && code.challenge == computed).then_some(code)
    }

    /// Keeps a refresh token.
    pub(super) fn refreshable(&mut self, text: String, login: Login, lifetime: u64, now: u64) {
        self.refresh.retain(|_, refresh| refresh.expires > now);
        self.refresh.insert(text, Refresh { login, issued: now, expires: now + lifetime, spent: false });
    }

    /// Takes a refresh token, by the rules of its rotation.
    pub(super) fn renew(&mut self, text: &str, rotation: Rotation, now: u64) -> Option<Renewal> {
        let refresh = self.refresh.get_mut(text).filter(|refresh| refresh.expires > now)?;
        let login = refresh.login.clone();
        if refresh.spent {
            if matches!(rotation, Rotation::Family | Rotation::Late) {
                self.end(&login.family);
            }
            return None;
        }
        let same = rotation == Rotation::Late && (now - refresh.issued) * 10 < (refresh.expires - refresh.issued) * 7;
        refresh.spent = !same && rotation != Rotation::Kept;
        Some(Renewal { login, same })
    }

    /// Keeps what introspection says of a token; its `exp` is when that ends.
    pub(super) fn issued(&mut self, text: String, answer: Map<String, Value>, family: Option<String>, now: u64) {
        self.issued.retain(|_, issued| !expired(&issued.answer, now));
        self.issued.insert(text, Issued { answer, family });
    }

    /// What introspection says of a token that is good.
    pub(super) fn asked(&self, text: &str, now: u64) -> Option<&Map<String, Value>> {
        let spent = self.refresh.get(text).is_some_and(|refresh| refresh.spent);
        let answer = &self.issued.get(text)?.answer;
        (!spent && !expired(answer, now)).then_some(answer)
    }

    /// Ends a token; with a refresh token all of its family (RFC 7009 section 2.1).
    pub(super) fn revoke(&mut self, text: &str) {
        match self.refresh.get(text).map(|refresh| refresh.login.family.clone()) {
            Some(family) => self.end(&family),
            None => drop(self.issued.remove(text)),
        }
    }

    fn end(&mut self, family: &str) {
        self.refresh.retain(|_, refresh| refresh.login.family != family);
        self.issued.retain(|_, issued| issued.family.as_deref() != Some(family));
    }
}

fn expired(answer: &Map<String, Value>, now: u64) -> bool {
    answer.get("exp").and_then(Value::as_u64).is_some_and(|exp| exp <= now)
}

//! The upstream: answers with whose token it got.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::heads::{self, Answer};

/// Starts one; it lasts as long as the process.
pub async fn start() -> SocketAddr {
    heads::start(|head| Answer { body: subject(head).unwrap_or_default(), ..Answer::default() }).await
}

fn subject(head: &str) -> Option<String> {
    let token = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "))?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

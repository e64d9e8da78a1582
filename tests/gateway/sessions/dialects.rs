//! What providers document of a refresh, byte by byte.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bearward::config::{Authentication, Secret};
use bearward::remote::clock::Clock;
use bearward::remote::http::Client;
use bearward::remote::token_endpoint::{Grant, TokenEndpoint};
use serde_json::Value;

use crate::harness::forms::Asked;
use crate::harness::replica::source;
use crate::harness::tokens::Tokens;

/// The provider's documented refresh.
fn documented(provider: &str) -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/seed-samples.json");
    let samples: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    samples[provider]["refresh"].clone()
}

fn secret() -> Secret {
    Secret::new(b"hush".to_vec())
}

/// What is sent by a client that proves itself like this, and whether it was granted something.
async fn sent(authentication: Authentication) -> Asked {
    let tokens = Tokens::start().await;
    tokens.login("alice");
    let (source, clock) = (source(&tokens.url(), &tokens.revocation_url(), "web", authentication), Clock::system());
    let endpoint = TokenEndpoint::new(source, &Client::new(clock.clone()).unwrap(), &clock);
    let granted = endpoint.ask(Grant::Refresh("refresh-alice-1"), None).await.unwrap();
    assert_eq!(granted.refresh_token.as_deref(), Some("refresh-alice-2"), "each refresh brings a new one");
    tokens.asked().remove(0)
}

#[tokio::test]
async fn express_is_asked_by_basic_and_told_the_token_alone() {
    let documented = documented("forgerock-express");
    let asked = sent(Authentication::Basic(secret())).await;
    let body = documented["body"].as_str().unwrap().replace("{refreshToken}", "refresh-alice-1");
    assert_eq!(asked.body, body);
    let pair = STANDARD.encode("web:hush");
    let authorization = documented["headers"]["Authorization"].as_str().unwrap();
    assert_eq!(asked.header("authorization").unwrap(), authorization.replace("{BASE_64_ENCODED_STRING}", &pair));
    assert_eq!(asked.header("content-type"), documented["headers"]["Content-Type"].as_str());
}

#[tokio::test]
async fn access_management_is_asked_by_the_form_alone() {
    let documented = documented("forgerock");
    let asked = sent(Authentication::Post(secret())).await;
    let filled = |template: &Value| match template.as_str().unwrap() {
        "{refreshToken}" => "refresh-alice-1".to_owned(),
        "{client_id}" => "web".to_owned(),
        "{client_secret}" => "hush".to_owned(),
        plain => plain.to_owned(),
    };
    let form = documented["form"].as_object().unwrap().iter().map(|(name, value)| (name.clone(), filled(value)));
    let mut sent = asked.form.clone();
    sent.sort();
    assert_eq!(sent, form.collect::<Vec<_>>());
    assert_eq!(asked.body, "grant_type=refresh_token&refresh_token=refresh-alice-1&client_id=web&client_secret=hush");
    assert_eq!(asked.header("authorization"), None);
}

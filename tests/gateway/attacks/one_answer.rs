//! The same token, the same answer: before the keys are here and after, first and again, by either protocol; and of several
//! faults the first in the order of the decision.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Siege, assert_refused, bearing, with};
use crate::harness::client::Client;
use crate::harness::issuer::{Answer, Document};
use crate::harness::mint::{Key, base64};
use crate::harness::world::{World, merged};

/// One token for each code that is decided before a key is needed.
fn before_the_key(world: &World) -> Vec<(&'static str, String)> {
    let but = |changes: Value| world.token_but(&changes);
    let headed = |changes: Value| world.token_headed(&changes);
    vec![
        ("credential_malformed", "a b".to_owned()),
        ("token_too_large", "a".repeat(16 * 1024 + 1)),
        ("token_malformed", "opaque".to_owned()),
        ("extension_refused", headed(json!({ "crit": ["exp"] }))),
        ("claims_malformed", but(json!({ "iss": null }))),
        ("issuer_unknown", but(json!({ "iss": "https://evil.example.com" }))),
        ("id_token_presented", but(json!({ "at_hash": "x" }))),
        ("refresh_token_presented", but(json!({ "token_use": "refresh" }))),
        ("logout_token_presented", headed(json!({ "typ": "logout+jwt" }))),
        ("token_kind_unknown", headed(json!({ "typ": "JWT" }))),
        ("algorithm_refused", world.token_of(&with(world.header(), "alg", json!("none")), &world.claims())),
        ("token_expired", but(json!({ "exp": 1 }))),
        ("token_not_yet_valid", but(json!({ "nbf": world.now() + 3000 }))),
    ]
}

/// One for each that is decided with the key or after it.
fn with_the_key(world: &World) -> Vec<(&'static str, String)> {
    let forged = Key::rsa("mallory").named("key-1").sign(&world.header(), &world.claims());
    let but = |changes: Value| world.token_but(&changes);
    vec![
        ("key_unknown", world.token_headed(&json!({ "kid": "unknown" }))),
        ("algorithm_refused", Key::p256("ec").sign(&with(world.header(), "alg", json!("ES256")), &world.claims())),
        ("signature_invalid", forged),
        ("proof_required", but(json!({ "cnf": { "jkt": base64(&[1; 32]) } }))),
        ("claims_malformed", but(json!({ "aud": 1 }))),
        ("audience_wrong", but(json!({ "aud": "x" }))),
        ("scope_insufficient", but(json!({ "scope": "x" }))),
    ]
}

/// What can be decided without the keys does not wait for them.
#[tokio::test]
async fn what_needs_no_key_is_answered_before_the_keys_are_here() {
    // Keys that are never served: whatever waited for them would not be answered so.
    let world = World::start_with_held_keys().await;
    let tokens = before_the_key(&world);
    let good = world.token();
    let mut siege = Siege::cold(world, good.clone()).await;
    for (code, token) in &tokens {
        siege.refuse(token, code, "without keys").await;
    }
    siege.world.issuer.release();
    siege.permit(&good, "with keys").await;
    for (code, token) in &tokens {
        siege.refuse(token, code, "with keys").await;
    }
    siege.end().await;
}

/// The very first request of a gateway is answered as any later one.
#[tokio::test]
async fn what_needs_a_key_is_answered_the_same_on_a_cold_gateway() {
    let count = with_the_key(&World::start().await).len();
    for at in 0..count {
        let world = World::start_with_held_keys().await;
        let (code, token) = with_the_key(&world).swap_remove(at);
        let mut client = Client::connect(world.gateway.address()).await;
        client.send(bearing(&token)).await;
        // The request is there, or on its way, while the keys are not.
        world.issuer.asked(Document::Discovery, 1).await;
        world.issuer.release();
        assert_refused(&client.answer().await, code, "cold");
        let mut siege = Siege::begin(world).await;
        siege.refuse(&token, code, "warm").await;
    }
}

/// Of two faults the earlier in the order is told.
#[tokio::test]
async fn the_first_fault_in_the_order_is_told() {
    let mut siege = Siege::usual().await;
    // Each step with what makes a token fail there; a token that has the faults of all later steps fails at the first.
    let steps: [(&str, Value, Value); 10] = [
        ("extension_refused", json!({ "crit": ["exp"] }), json!({})),
        ("issuer_unknown", json!({}), json!({ "iss": "https://evil.example.com" })),
        ("id_token_presented", json!({}), json!({ "at_hash": "x" })),
        ("algorithm_refused", json!({ "alg": "none" }), json!({})),
        ("token_expired", json!({}), json!({ "exp": 1 })),
        ("key_unknown", json!({ "kid": "unknown" }), json!({})),
        ("signature_invalid", json!({}), json!({})),
        ("proof_required", json!({}), json!({ "cnf": {} })),
        ("audience_wrong", json!({}), json!({ "aud": "x" })),
        ("scope_insufficient", json!({}), json!({ "scope": "x" })),
    ];
    for (at, (code, ..)) in steps.iter().enumerate() {
        let (mut header, mut claims) = (siege.world.header(), siege.world.claims());
        for (_, in_header, in_claims) in &steps[at..] {
            header = merged(header, in_header);
            claims = merged(claims, in_claims);
        }
        let forged = steps[at..].iter().any(|(code, ..)| *code == "signature_invalid");
        let key = if forged { Key::rsa("mallory") } else { siege.world.key };
        let token = key.sign_raw("RS256", header.to_string().as_bytes(), claims.to_string().as_bytes());
        siege.refuse(&token, code, "with the faults of all later steps").await;
    }
    // Claims well-formed before audience, although both are read by then.
    let both = siege.world.token_of(&siege.world.header(), &also_malformed(&siege));
    siege.refuse(&both, "claims_malformed", "the scope's type before the audience").await;
    siege.end().await;
}

fn also_malformed(siege: &Siege) -> Value {
    with(with(siege.world.claims(), "aud", json!("x")), "scope", json!(1))
}

/// When the next key set is none, the last good one goes on judging as before.
#[tokio::test]
async fn the_last_good_keys_give_the_same_answers() {
    let mut siege = Siege::usual().await;
    siege.world.issuer.answer(Document::Keys, Answer::html());
    siege.world.hands.advance(Duration::from_secs(301));
    siege.world.issuer.asked(Document::Keys, 2).await;
    for (code, token) in before_the_key(&siege.world) {
        siege.refuse(&token, code, "by the last good set").await;
    }
    // A kid that it does not have may be in the set that cannot be had.
    for (code, token) in with_the_key(&siege.world).into_iter().filter(|(code, _)| *code != "key_unknown") {
        siege.refuse(&token, code, "by the last good set").await;
    }
    siege.end().await;
}

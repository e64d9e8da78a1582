//! What an issuer may send instead of its keys: never a key that is not good, never the end of the engine.

use std::time::Duration;

use bearward::policy::jwk::Selection;
use bearward::policy::jwt::Algorithm;
use bearward::policy::reject::Code;
use bearward::remote::jwks::PATIENCE;
use bearward::remote::jwks::source::Origin;
use bearward::telemetry::labels::{FetchResult, FetchTrigger};
use serde_json::json;

use super::engine::{ID, REFRESH, World, patiently};
use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::mint::{Key, jwk_set, unusable_jwks};

/// Each lie about the key set, after a good fetch and before any: never a key, never the end of the engine.
#[tokio::test]
async fn lies_about_the_key_set() {
    let good = jwk_set(&[Key::p256("a")]).to_string();
    let huge = format!(r#"{{"keys":[],"padding":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
    let deep = format!(r#"{{"keys":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (name, answer, result) in [
        ("html", Answer::html(), FetchResult::Malformed),
        ("no JSON", Answer::text("keys"), FetchResult::Malformed),
        ("nothing", Answer::text(""), FetchResult::Malformed),
        ("half of it", Answer::text(&good[..good.len() / 2]), FetchResult::Malformed),
        ("an array", Answer::text("[]"), FetchResult::Malformed),
        ("no keys member", Answer::text("{}"), FetchResult::Malformed),
        ("keys of another type", Answer::text(r#"{"keys":{}}"#), FetchResult::Malformed),
        ("deep", Answer::text(&deep), FetchResult::Malformed),
        ("an empty set", Answer::text(r#"{"keys":[]}"#), FetchResult::NoUsableKeys),
        ("unusable keys only", Answer::json(&json!({ "keys": unusable_jwks() })), FetchResult::NoUsableKeys),
        ("10 MB", Answer::text(&huge), FetchResult::TooLarge),
        ("endless", Answer::Endless, FetchResult::TooLarge),
        ("broken off", Answer::Truncated(good.clone().into_bytes()), FetchResult::Unreachable),
        ("no HTTP", Answer::Garbage, FetchResult::Unreachable),
        ("error", Answer::Status(500), FetchResult::Status),
        ("not found", Answer::Status(404), FetchResult::Status),
        ("no content", Answer::Status(204), FetchResult::Status),
    ] {
        let issuer = Issuer::start(&[Key::p256("a")]).await;
        issuer.answer(Document::Keys, answer.clone());
        let mut world = World::of(&issuer);
        let event = world.event().await;
        assert_eq!((event.result, event.keys), (result, 0), "{name}, at first");
        assert_eq!(world.ask("a").await, Err(Code::KeysUnavailable), "{name}, at first");

        issuer.rotate(&[Key::p256("a")]);
        world.hands.advance(Duration::from_secs(1));
        world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;

        issuer.answer(Document::Keys, answer);
        world.hands.advance(REFRESH);
        let event = world.event().await;
        assert_eq!((event.result, event.keys), (result, 1), "{name}, later");
        assert_eq!(world.ask("a").await, Ok(()), "{name}, later");
    }
}

/// An answer that begins and never goes on costs 5 s, and is given up then.
#[tokio::test]
async fn a_stalled_answer_is_given_up() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    issuer.answer(Document::Keys, Answer::Stalled);
    let mut world = World::of(&issuer);
    patiently(issuer.asked(Document::Keys, 1)).await;
    world.hands.advance(PATIENCE);
    world.expect(FetchTrigger::Start, FetchResult::Timeout, 0).await;
    issuer.rotate(&[Key::p256("a")]);
    world.hands.advance(Duration::from_secs(1));
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
}

/// An answer that comes a byte at a time has the same 5 s: no byte gets it more.
#[tokio::test]
async fn a_dripping_answer_is_given_up() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    issuer.answer(Document::Keys, Answer::Dripping);
    world.hands.advance(REFRESH);
    patiently(issuer.asked(Document::Keys, 2)).await;
    for _ in 0..5 {
        assert_eq!(world.ask("a").await, Ok(()));
        issuer.drip();
        issuer.round_trip().await;
        world.no_more_events();
        world.hands.advance(PATIENCE / 5);
    }
    world.expect(FetchTrigger::Refresh, FetchResult::Timeout, 1).await;
    assert_eq!(world.ask("a").await, Ok(()));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Issuer::start(&[Key::p256("evil")]).await;
    for document in [Document::Discovery, Document::Keys] {
        let issuer = Issuer::start(&[Key::p256("a")]).await;
        issuer.answer(document, Answer::Redirect(elsewhere.url_of(document)));
        let mut world = World::of(&issuer);
        world.expect(FetchTrigger::Start, FetchResult::Status, 0).await;
    }
    assert_eq!((elsewhere.requests(Document::Discovery), elsewhere.requests(Document::Keys)), (0, 0));
}

/// Each lie of the discovery document: nothing is asked of where it points.
#[tokio::test]
async fn lies_of_discovery() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let truth = issuer.metadata();
    let with = |member: &str, value: &str| {
        let mut document = truth.clone();
        document[member] = json!(value);
        Answer::json(&document)
    };
    let repeated = format!(r#"{{"issuer":"https://evil.example",{}"#, &truth.to_string()[1..]);
    for (name, answer, result) in [
        ("another issuer", with("issuer", "https://evil.example"), FetchResult::IssuerMismatch),
        ("a slash more", with("issuer", &format!("{}/", issuer.url())), FetchResult::IssuerMismatch),
        ("issuer in capitals", with("issuer", &issuer.url().to_uppercase()), FetchResult::IssuerMismatch),
        ("two issuers", Answer::text(&repeated), FetchResult::Malformed),
        ("html", Answer::html(), FetchResult::Malformed),
        ("no address", Answer::json(&json!({ "issuer": issuer.url() })), FetchResult::Malformed),
        ("another scheme", with("jwks_uri", "https://localhost/keys"), FetchResult::Refused),
        ("a file", with("jwks_uri", "file:///etc/hostname"), FetchResult::Refused),
        ("metadata service", with("jwks_uri", "http://169.254.169.254/keys"), FetchResult::Refused),
        ("link-local", with("jwks_uri", "http://[fe80::1]/keys"), FetchResult::Refused),
        ("plain http elsewhere", with("jwks_uri", "http://keys.example.com/"), FetchResult::Refused),
        ("user info", with("jwks_uri", &issuer.url_of(Document::Keys).replace("//", "//u:p@")), FetchResult::Refused),
        ("10 MB", Answer::text(&" ".repeat(10 * 1024 * 1024)), FetchResult::TooLarge),
        ("endless", Answer::Endless, FetchResult::TooLarge),
    ] {
        issuer.answer(Document::Discovery, answer);
        let mut world = World::of(&issuer);
        let event = world.event().await;
        assert_eq!((event.result, event.keys), (result, 0), "{name}");
        assert_eq!(world.ask("a").await, Err(Code::KeysUnavailable), "{name}");
    }
    assert_eq!(issuer.requests(Document::Keys), 0);
}

/// One bad key does not spoil the set: it is left out and not counted.
#[tokio::test]
async fn bad_keys_do_not_spoil_the_set() {
    let issuer = Issuer::start(&[]).await;
    let mut keys = unusable_jwks();
    let bad: Vec<String> = keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    keys.insert(2, Key::p256("a").jwk());
    keys.push(Key::rsa("b").jwk());
    issuer.answer(Document::Keys, Answer::json(&json!({ "keys": keys })));
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 2).await;
    assert_eq!((world.ask("a").await, world.ask("b").await), (Ok(()), Ok(())));
    for kid in bad {
        assert_eq!(world.ask(&kid).await, Err(Code::KeyUnknown), "{kid}");
    }
}

#[tokio::test]
async fn two_keys_of_one_kid_are_both_candidates() {
    let issuer = Issuer::start(&[Key::p256("a"), Key::p256("b").named("a"), Key::rsa("c").named("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 3).await;
    let set = world.sets.current(ID).unwrap();
    let found = |algorithm| match set.select(Some("a"), algorithm) {
        Selection::Keys(keys) => keys.len(),
        Selection::Unknown | Selection::Undecided | Selection::Misfit => 0,
    };
    assert_eq!((found(Algorithm::ES256), found(Algorithm::RS256), found(Algorithm::EdDSA)), (2, 1, 0));
}

/// Plain http to another machine is not even tried, unless the operator allowed it.
#[tokio::test]
async fn plain_http_stays_on_this_machine() {
    let url = "http://192.0.2.1/keys".parse().unwrap();
    let mut world = World::start("http://192.0.2.1", Origin::Uri(url));
    world.expect(FetchTrigger::Start, FetchResult::Refused, 0).await;
}

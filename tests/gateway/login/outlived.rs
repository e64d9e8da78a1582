//! Access tokens of sessions that are refused before their end: another one cures some of that, and is fetched once.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Browser, NAVIGATES, SCRIPT, World, set_cookies};
use crate::harness::forms::Reply;
use crate::harness::introspection::Introspection;
use crate::harness::mint::Key;
use crate::harness::world::{AUDIENCE, merged};

/// A world whose issuer is asked about opaque tokens, and a browser whose session has the token `opaque`.
struct Opaque {
    world: World,
    introspection: Introspection,
    browser: Browser,
}

impl Opaque {
    async fn start() -> Self {
        let introspection = Introspection::start().await;
        let line = format!(
            "introspection = {{ endpoint = \"{}\", client_id = \"gateway\", auth_method = \"none\" }}",
            introspection.url()
        );
        let world = World::asking(&line, "").await;
        let browser = world.logged_in_with("opaque").await;
        let opaque = Self { world, introspection, browser };
        opaque.calls("opaque", true);
        assert_eq!(opaque.asks().await, (200, String::new()));
        opaque
    }

    /// What the issuer says of a token from now on, and is asked about anew.
    fn calls(&self, token: &str, active: bool) {
        let answer = json!({ "active": active, "token_type": "Bearer", "aud": AUDIENCE, "scope": "read" });
        self.introspection.know(token, Reply::json(&answer));
        self.world.around.hands.advance(Duration::from_secs(30));
    }

    async fn asks(&self) -> (u16, String) {
        asks(&self.browser).await
    }

    /// How often a refresh token was shown.
    fn refreshed(&self) -> usize {
        refreshed(&self.world)
    }
}

async fn asks(browser: &Browser) -> (u16, String) {
    let answer = browser.peek("GET", "/orders", SCRIPT).await;
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

fn refreshed(world: &World) -> usize {
    world.tokens.asked().iter().filter(|asked| asked.field("grant_type") == Some("refresh_token")).count()
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_token_that_its_issuer_ends_early_is_exchanged_and_nobody_notices() {
    let opaque = Opaque::start().await;
    opaque.calls("access-ada-2", true);
    opaque.calls("opaque", false);
    let answers = (0..20).map(|_| opaque.asks());
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer, (200, String::new()));
    }
    let seen = opaque.world.around.upstream.requests();
    assert!(seen[1..].iter().all(|seen| seen.all("authorization") == ["Bearer access-ada-2"]));
    assert_eq!(opaque.refreshed(), 1);
    assert_eq!(opaque.world.events("token_refused"), 1.0);
}

#[tokio::test]
async fn a_second_token_that_does_not_hold_either_is_refused_and_not_exchanged_again() {
    let opaque = Opaque::start().await;
    opaque.calls("opaque", false);
    for _ in 0..20 {
        assert_eq!(opaque.asks().await, refused(401, "token_inactive"));
        opaque.world.around.hands.advance(Duration::from_secs(20));
    }
    assert_eq!(opaque.refreshed(), 1);
    // It helps again once the issuer has taken one.
    opaque.calls("access-ada-2", true);
    assert_eq!(opaque.asks().await, (200, String::new()));
    opaque.calls("access-ada-3", true);
    opaque.calls("access-ada-2", false);
    // That it was taken is noted while the answer goes out.
    let noted = async { while opaque.asks().await != (200, String::new()) {} };
    tokio::time::timeout(Duration::from_secs(30), noted).await.expect("it is not exchanged again");
    assert_eq!(opaque.refreshed(), 2);
}

#[tokio::test]
async fn a_session_whose_refresh_token_ended_with_its_access_token_is_over() {
    let opaque = Opaque::start().await;
    opaque.calls("opaque", false);
    opaque.world.tokens.forget("ada");
    let answer = opaque.browser.peek("GET", "/orders", NAVIGATES).await;
    let login = "https://app.example.com/auth/login?return_to=%2Forders";
    assert_eq!((answer.status, answer.header("location")), (302, Some(login)));
    assert_eq!(set_cookies(&answer).len(), 1, "its cookie is taken back");
    assert_eq!(opaque.asks().await, refused(401, "session_expired"));
    let series = "bearward_session_refreshes_total{result=\"invalid_grant\",session=\"web\"}";
    assert_eq!(opaque.world.around.gateway.sample(series), Some(1.0));
    assert_eq!((opaque.refreshed(), opaque.world.events("refused")), (1, 1.0));
}

#[tokio::test]
async fn while_the_issuer_grants_nothing_nobody_is_logged_out() {
    let opaque = Opaque::start().await;
    opaque.calls("access-ada-2", true);
    opaque.calls("opaque", false);
    opaque.world.tokens.otherwise(Reply::status(500, "", ""));
    for _ in 0..10 {
        assert_eq!(opaque.asks().await, refused(503, "issuer_unavailable"));
    }
    assert_eq!(opaque.refreshed(), 1);
    opaque.world.tokens.mended();
    opaque.world.around.hands.advance(Duration::from_secs(1));
    assert_eq!(opaque.asks().await, (200, String::new()));
}

#[tokio::test]
async fn without_a_refresh_token_the_refusal_stands() {
    let introspection = Introspection::start().await;
    let line = format!(
        "introspection = {{ endpoint = \"{}\", client_id = \"gateway\", auth_method = \"none\" }}",
        introspection.url()
    );
    let world = World::asking(&line, "").await;
    world.tokens.say(json!({ "expires_in": 600, "refresh_token": null }));
    let browser = world.logged_in_with("opaque").await;
    for _ in 0..3 {
        assert_eq!(asks(&browser).await, refused(401, "token_inactive"));
    }
    assert_eq!(browser.peek("GET", "/auth/session", SCRIPT).await.status, 200, "the session is not over");
}

/// An issuer that was restarted with another key, under the same name or another one.
#[tokio::test]
async fn a_token_of_a_key_that_is_gone_is_exchanged_for_one_of_the_new_key() {
    for kid in ["key-1", "key-2"] {
        let world = World::start().await;
        let browser = world.logged_in().await;
        assert_eq!(asks(&browser).await, (200, String::new()));
        let key = Key::rsa("another");
        let jwk = merged(key.jwk(), &json!({ "kid": kid }));
        let keys = json!({ "keys": [jwk] });
        world.around.issuer.answer(crate::harness::issuer::Document::Keys, crate::harness::issuer::Answer::json(&keys));
        let header = merged(world.around.header(), &json!({ "kid": kid }));
        world.tokens.say(json!({ "expires_in": 600, "access_token": key.sign(&header, &world.around.claims()) }));
        let before = world.around.issuer.requests(crate::harness::issuer::Document::Keys);
        world.around.hands.advance(Duration::from_secs(300));
        world.around.issuer.asked(crate::harness::issuer::Document::Keys, before + 1).await;
        // The old set may still be the one in force for a moment.
        let renewed = async {
            while refreshed(&world) == 0 {
                assert_eq!(asks(&browser).await, (200, String::new()), "{kid}");
            }
        };
        tokio::time::timeout(Duration::from_secs(30), renewed).await.expect("it is not exchanged");
        for _ in 0..5 {
            assert_eq!(asks(&browser).await, (200, String::new()), "{kid}");
        }
        assert_eq!((refreshed(&world), world.events("token_refused")), (1, 1.0), "{kid}");
    }
}

/// What a token is, every other one of the same grant would be.
#[tokio::test]
async fn what_another_token_would_not_cure_is_no_reason_to_fetch_one() {
    let world = World::start().await;
    let now = world.around.now();
    let bound = json!({ "cnf": { "jkt": "x" } });
    for (header, claims, status, code) in [
        (json!({}), json!({ "aud": "https://other" }), 401, "audience_wrong"),
        (json!({}), json!({ "scope": "write" }), 403, "scope_insufficient"),
        (json!({}), json!({ "iss": "https://evil.example" }), 401, "issuer_unknown"),
        (json!({}), json!({ "iat": now + 31 }), 401, "token_not_yet_valid"),
        (json!({}), bound, 401, "proof_required"),
        (json!({}), json!({ "sub": 7 }), 401, "claims_malformed"),
        (json!({ "typ": "JWT" }), json!({}), 401, "token_kind_unknown"),
        (json!({ "crit": ["x"] }), json!({}), 401, "extension_refused"),
    ] {
        let token =
            world.around.key.sign(&merged(world.around.header(), &header), &merged(world.around.claims(), &claims));
        let browser = world.logged_in_with(&token).await;
        for _ in 0..3 {
            assert_eq!(asks(&browser).await, refused(status, code));
        }
    }
    assert_eq!((refreshed(&world), world.around.upstream.count()), (0, 0));
}

/// Where no leeway is given a token that was granted while the request waited must not count as one of the future.
#[tokio::test]
async fn a_token_is_judged_at_the_time_when_it_is_there() {
    let world = World::asking("leeway = \"0s\"", "").await;
    let browser = world.logged_in().await;
    world.around.hands.advance(Duration::from_secs(600));
    let now: Value = (world.around.now() + 602).into();
    let token = world.around.token_but(&json!({ "iat": now, "nbf": now }));
    world.tokens.say(json!({ "expires_in": 600, "access_token": token }));
    world.tokens.hold();
    let asked = world.tokens.asked().len();
    let (answer, ()) = tokio::join!(asks(&browser), async {
        world.tokens.was_asked(asked + 1).await;
        world.around.hands.advance(Duration::from_secs(2));
        world.tokens.release();
    });
    assert_eq!(answer, (200, String::new()));
}

//! The issuer ends a login by the back channel.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Begun, Browser, COOKIE, SCRIPT, World};
use crate::harness::client::{Answer, Client};
use crate::harness::issuer::{Answer as IssuerAnswer, Document};
use crate::harness::mint::Key;
use crate::harness::world::merged;

impl World {
    fn logout_claims(&self, id: &str) -> Value {
        json!({
            "iss": self.around.issuer.url(),
            "aud": "web",
            "iat": self.now(),
            "exp": self.now() + 120,
            "jti": id,
            "sid": "sid-ada",
            "sub": "ada",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        })
    }

    pub(super) fn logout_token(&self, id: &str, changes: &Value) -> String {
        let header = json!({ "alg": "RS256", "kid": "key-1", "typ": "logout+jwt" });
        self.around.key.sign(&header, &merged(self.logout_claims(id), changes))
    }

    async fn told(&self, form: &str) -> Answer {
        self.told_at(self.around.gateway.address(), form).await
    }

    /// What a gateway of that address answers to the form.
    pub(super) async fn told_at(&self, address: SocketAddr, form: &str) -> Answer {
        let mut client = Client::connect(address).await;
        client
            .ask(format!(
                "POST /auth/backchannel-logout HTTP/1.1\r\nhost: app.example.com\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
                form.len()
            ))
            .await
    }
}

#[tokio::test]
async fn a_logout_token_ends_every_session_of_its_login() {
    let world = World::start().await;
    let (one, other) = (world.logged_in().await, world.logged_in().await);
    let answer = world.told(&format!("logout_token={}", world.logout_token("1", &json!({})))).await;
    assert_eq!((answer.status, answer.text(), answer.header("cache-control")), (200, "", Some("no-store")));
    for browser in [&one, &other] {
        assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.code(), "session_expired");
    }

    world.passes();
    let browser = world.logged_in().await;
    let by_subject = world.logout_token("2", &json!({ "sid": null }));
    assert_eq!(world.told(&format!("logout_token={by_subject}")).await.status, 200);
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.code(), "session_expired");
}

#[tokio::test]
async fn what_is_no_logout_token_ends_nothing() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    let now = world.around.now();
    let with = |changes: Value| format!("logout_token={}", world.logout_token("x", &changes));
    let typed = |typ: &str| {
        let header = json!({ "alg": "RS256", "kid": "key-1", "typ": typ });
        format!("logout_token={}", world.around.key.sign(&header, &world.logout_claims("x")))
    };
    let forged = Key::rsa("forged").sign(&json!({ "alg": "RS256", "kid": "key-1" }), &world.logout_claims("x"));
    for (what, form) in [
        ("nothing", String::new()),
        ("another field", "token=x".to_owned()),
        ("no token", "logout_token=x".to_owned()),
        ("two", format!("{}&logout_token=x", with(json!({})))),
        ("a forged one", format!("logout_token={forged}")),
        ("an ID token", format!("logout_token={}", world.id_token_but("n", &json!({})))),
        ("an access token", format!("logout_token={}", world.around.token())),
        ("a typ of its own", typed("at+jwt")),
        ("another issuer", with(json!({ "iss": "https://evil.example" }))),
        ("another audience", with(json!({ "aud": "other" }))),
        ("no events", with(json!({ "events": null }))),
        ("another event", with(json!({ "events": { "other": {} } }))),
        (
            "an event that is no object",
            with(json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": true } })),
        ),
        ("a nonce", with(json!({ "nonce": "n" }))),
        ("no jti", with(json!({ "jti": null }))),
        ("no iat", with(json!({ "iat": null }))),
        ("an old one", with(json!({ "iat": now - 630, "exp": null }))),
        ("an expired one", with(json!({ "exp": now - 30 }))),
        ("of nobody", with(json!({ "sid": null, "sub": null }))),
        ("a sid that is no string", with(json!({ "sid": 7 }))),
        ("of an unknown login", with(json!({ "sid": "another" }))),
        ("of an unknown subject", with(json!({ "jti": "y", "sid": null, "sub": "bob" }))),
        ("an endless form", format!("logout_token={}", "a".repeat(70_000))),
    ] {
        let answer = world.told(&form).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "logout_token_invalid"), "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    }
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
}

#[tokio::test]
async fn a_logout_token_counts_once() {
    let world = World::start().await;
    let _before = world.logged_in().await;
    let form = format!("logout_token={}", world.logout_token("1", &json!({})));
    assert_eq!(world.told(&form).await.status, 200);
    world.passes();
    let browser = world.logged_in().await;
    assert_eq!(world.told(&form).await.code(), "logout_token_invalid");
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
}

/// A login whose code was exchanged, and that waits for the key of its ID token before it is written down.
struct Held {
    browser: Browser,
    begun: Begun,
    back: String,
    key: Key,
}

impl World {
    /// The beginning of such a login: its way back waits until [`World::lets_go`].
    async fn held(&self) -> Held {
        let mut browser = self.browser();
        let begun = self.begun(&mut browser, "/orders").await;
        let key = Key::rsa("key-2");
        let header = json!({ "alg": "RS256", "kid": "key-2", "typ": "JWT" });
        let id_token = key.sign(&header, &self.id_claims(&begun.nonce));
        let granted = merged(self.granted("ada", &begun.nonce), &json!({ "id_token": id_token }));
        let back = self.way_back(&begun, &granted);
        // Keys were fetched at the start, and are not again for a while.
        self.around.hands.advance(std::time::Duration::from_secs(11));
        self.around.issuer.hold();
        Held { browser, begun, back, key }
    }

    /// Publishes the key that a login waits for.
    fn lets_go(&self, held: &Key) {
        let keys = json!({ "keys": [Key::rsa("key-1").jwk(), held.jwk()] });
        self.around.issuer.answer(Document::Keys, IssuerAnswer::json(&keys));
        self.around.issuer.release();
    }
}

#[tokio::test]
async fn a_logout_ends_the_login_that_is_on_its_way() {
    for by_subject in [false, true] {
        let world = World::start().await;
        let Held { browser, begun, back, key } = world.held().await;
        let fetched = world.around.issuer.requests(Document::Discovery);
        let (answer, ()) = tokio::join!(browser.peek("GET", &back, &[]), async {
            // Its code was exchanged by then, and the key set is looked for.
            world.around.issuer.asked(Document::Discovery, fetched + 1).await;
            let changes = if by_subject { json!({ "sid": null }) } else { json!({}) };
            let form = format!("logout_token={}", world.logout_token("1", &changes));
            assert_eq!(world.told(&form).await.code(), "logout_token_invalid", "there is no session yet");
            world.lets_go(&key);
        });
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("login_state_invalid"), "{}", answer.text());
        assert!(!answer.text().contains(&begun.nonce));
        assert!(!super::set_cookies(&answer).iter().any(|field| field.starts_with(&format!("{COOKIE}="))));
        assert_eq!((world.events("created"), world.events("logged_out")), (1.0, 1.0));
        // What was granted to it is given back.
        world.tokens.was_asked(2).await;
        assert_eq!(world.tokens.revoked(), ["refresh-ada-1"]);
        // Whoever logs in after that is logged in.
        world.passes();
        let browser = world.logged_in().await;
        assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
    }
}

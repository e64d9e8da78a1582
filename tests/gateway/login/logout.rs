//! The way out: the session ends here first, then at the issuer.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::{COOKIE, NAVIGATES, SCRIPT, World, set_cookies};

const OURS: (&str, &str) = ("origin", "https://app.example.com");

#[tokio::test]
async fn a_navigation_is_sent_on_to_the_issuer_with_a_hint() {
    let world = World::start().await;
    let mut browser = world.logged_in().await;
    let before = browser.clone();
    let answer = browser.post("/auth/logout", &[NAVIGATES, &[OURS]].concat()).await;
    assert_eq!((answer.status, answer.text()), (303, ""));
    let address = Url::parse(answer.header("location").unwrap()).unwrap();
    assert!(address.as_str().starts_with("https://login.example.com/logout?tenant=7&id_token_hint="));
    let parameter =
        |name: &str| address.query_pairs().find(|(own, _)| own == name).map(|(_, value)| value.into_owned());
    let hint = parameter("id_token_hint").unwrap();
    assert_eq!(hint.split('.').count(), 3);
    assert_eq!(parameter("client_id").as_deref(), Some("web"));
    assert_eq!(parameter("post_logout_redirect_uri").as_deref(), Some("https://app.example.com/"));
    assert_eq!(set_cookies(&answer), ["__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"]);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!browser.cookies.contains_key(COOKIE));

    // Whoever kept the cookie has nothing of it.
    let answer = before.peek("GET", "/orders", SCRIPT).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_expired"));
    assert_eq!(before.peek("GET", "/auth/session", SCRIPT).await.code(), "session_expired");
    assert_eq!(world.events("logged_out"), 1.0);
    world.tokens.was_asked(2).await;
    assert_eq!(world.tokens.revoked(), ["refresh-ada-1"]);
}

#[tokio::test]
async fn a_script_is_told_the_address_without_a_token() {
    let world = World::start().await;
    let mut browser = world.logged_in().await;
    let answer = browser.post("/auth/logout", SCRIPT).await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let address = "https://login.example.com/logout?tenant=7&client_id=web&\
                   post_logout_redirect_uri=https%3A%2F%2Fapp.example.com%2F";
    assert_eq!((answer.status, told), (200, json!({ "logout_url": address })));
    // Once more, without a session: there is nothing to end, and that is no fault.
    assert_eq!(browser.post("/auth/logout", SCRIPT).await.status, 200);
}

#[tokio::test]
async fn nobody_logs_somebody_else_out() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
        &[("sec-fetch-site", "same-site"), OURS],
    ] {
        let answer = browser.peek("POST", "/auth/logout", headers).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "csrf_refused"), "{headers:?}");
    }
    let answer = browser.peek("GET", "/auth/logout", NAVIGATES).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
}

#[tokio::test]
async fn an_issuer_without_an_end_of_session_leaves_the_browser_with_us() {
    let tokens = crate::harness::tokens::Tokens::start().await;
    let endpoints = format!(
        "endpoints = {{ authorization = \"https://login.example.com/authorize\", token = \"{}\" }}",
        tokens.url()
    );
    let world = World::with(tokens, &endpoints, "", "").await;
    let browser = world.logged_in().await;
    let answer = browser.peek("POST", "/auth/logout", &[NAVIGATES, &[OURS]].concat()).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let answer = browser.peek("POST", "/auth/logout", SCRIPT).await;
    assert_eq!(answer.text(), "{\"logout_url\":null}");
}

#[tokio::test]
async fn a_login_ends_the_session_that_the_browser_had() {
    let world = World::start().await;
    let mut browser = world.logged_in().await;
    let before = browser.clone();
    let begun = world.begun(&mut browser, "/").await;
    assert_eq!(world.comes_back(&mut browser, &begun, &world.granted("bob", &begun.nonce)).await.status, 302);
    assert_ne!(browser.cookies[COOKIE], before.cookies[COOKIE]);
    // What another tab had sent by then is answered after the browser got its new cookie, and takes none back.
    for (seconds, taken_back) in [(0, 0), (59, 0), (1, 1)] {
        world.around.hands.advance(Duration::from_secs(seconds));
        for path in ["/orders", "/auth/session"] {
            let answer = before.peek("GET", path, SCRIPT).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "session_expired"));
            assert_eq!(set_cookies(&answer).len(), taken_back, "{path}");
        }
    }
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
    // At the issuer both may be one login: nothing is given back that the new session lives by.
    assert_eq!((world.events("replaced"), world.tokens.revoked().len()), (1.0, 0));

    // A value that somebody planted before the login is none after it.
    let mut planted = world.browser().with_cookie(&"A".repeat(64));
    let begun = world.begun(&mut planted, "/").await;
    assert_eq!(world.comes_back(&mut planted, &begun, &world.granted("eve", &begun.nonce)).await.status, 302);
    assert_ne!(planted.cookies[COOKIE], "A".repeat(64));
}

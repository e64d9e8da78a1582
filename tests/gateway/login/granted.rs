//! What the issuer grants beside the tokens: for what, and for how long.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Browser, COOKIE, NAVIGATES, SCRIPT, World};
use crate::harness::client::Answer;
use crate::harness::log;

impl World {
    /// A browser that comes back with what ada is granted, but for these members, and what it is answered.
    async fn comes_back_with(&self, changes: &Value) -> (Browser, Answer) {
        let mut browser = self.browser();
        let begun = self.begun(&mut browser, "/orders").await;
        let mut granted = self.granted("ada", &begun.nonce);
        for (name, value) in changes.as_object().unwrap() {
            granted[name] = value.clone();
        }
        let answer = self.comes_back(&mut browser, &begun, &granted).await;
        (browser, answer)
    }
}

/// The status and the code of what a browser is answered on the orders, which want a scope.
async fn orders(browser: &Browser) -> (u16, String) {
    let answer = browser.peek("GET", "/orders", SCRIPT).await;
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// That nobody has a session by it.
fn is_no_login(browser: &Browser, answer: &Answer, what: &Value) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{what}");
    assert!(answer.text().contains("login_unavailable"), "{what}: {}", answer.text());
    assert!(!browser.cookies.contains_key(COOKIE), "{what}");
}

/// The scopes that were asked for count where the answer does not speak of scopes, and nowhere else.
#[tokio::test]
async fn no_scope_is_taken_for_granted_that_was_not() {
    let world = World::start().await;
    for (scope, expected) in [
        (json!(null), Some(is(200, ""))),
        (json!("other read"), Some(is(200, ""))),
        (json!(""), Some(is(403, "scope_insufficient"))),
        (json!(["read"]), None),
        (json!(["openid"]), None),
        (json!(5), None),
        (json!({}), None),
    ] {
        let (browser, answer) = world.comes_back_with(&json!({ "access_token": "opaque", "scope": scope })).await;
        match expected {
            None => is_no_login(&browser, &answer, &scope),
            Some(expected) => {
                assert_eq!((answer.status, answer.header("location")), (302, Some("/orders")), "{scope}");
                assert_eq!(orders(&browser).await, expected, "{scope}");
            }
        }
    }
}

#[tokio::test]
async fn nor_is_one_by_a_refresh() {
    for (scope, expected) in [
        (json!(null), is(200, "")),
        (json!("read"), is(200, "")),
        (json!(""), is(403, "scope_insufficient")),
        (json!(["read"]), is(503, "issuer_unavailable")),
        (json!(5), is(503, "issuer_unavailable")),
    ] {
        let world = World::start().await;
        let browser = world.logged_in_with("opaque").await;
        assert_eq!(orders(&browser).await, is(200, ""));
        world.tokens.say(json!({ "expires_in": 600, "scope": scope }));
        world.around.hands.advance(Duration::from_secs(601));
        let seen = world.around.upstream.count();
        assert_eq!(orders(&browser).await, expected, "{scope}");
        assert_eq!(world.around.upstream.count() - seen, usize::from(expected.0 == 200), "{scope}");
    }
}

/// Otherwise its session would be over when it begins, and the browser be sent to the login for ever.
#[tokio::test]
async fn a_token_that_comes_spent_and_that_nothing_renews_logs_nobody_in() {
    log::keep();
    let world = World::start().await;
    let over = world.around.token_but(&json!({ "exp": world.around.now() }));
    for changes in [
        json!({ "refresh_token": null, "expires_in": 0 }),
        json!({ "refresh_token": "", "expires_in": "0" }),
        json!({ "refresh_token": null, "access_token": over }),
    ] {
        let (browser, answer) = world.comes_back_with(&changes).await;
        is_no_login(&browser, &answer, &changes);
    }
    assert_eq!(world.events("created"), 0.0);
    let lines = log::lines_with("the issuer granted a token whose time is over, and no refresh token");
    assert!(lines.iter().any(|line| line.contains("WARN") && line.contains("login_unavailable")), "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("the clocks agree")), "{lines:#?}");

    let (browser, answer) =
        world.comes_back_with(&json!({ "refresh_token": null, "access_token": "opaque", "expires_in": 1 })).await;
    assert_eq!((answer.status, orders(&browser).await), (302, is(200, "")), "it need not last long");
}

#[tokio::test]
async fn a_token_that_comes_spent_is_renewed_where_something_renews_it() {
    let world = World::start().await;
    let (browser, answer) = world.comes_back_with(&json!({ "expires_in": 0 })).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/orders")));
    assert_eq!(browser.peek("GET", "/orders", NAVIGATES).await.status, 200);
    let seen = world.around.upstream.requests();
    assert_eq!(seen.last().unwrap().all("authorization"), ["Bearer access-ada-2"]);

    // An issuer that grants nothing else is told of, and nobody is sent to the login by that.
    world.tokens.say(json!({ "expires_in": 0 }));
    let (browser, answer) = world.comes_back_with(&json!({ "expires_in": 0 })).await;
    assert_eq!(answer.status, 302);
    let answer = browser.peek("GET", "/orders", NAVIGATES).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "issuer_unavailable"));
}

/// Some servers say so of a token that has no end.
#[tokio::test]
async fn a_token_that_lasts_very_long_is_as_good_as_any() {
    let world = World::start().await;
    for seconds in [json!(2_147_483_647), json!(9_223_372_036_854_775_u64), json!("9223372036854775807"), json!(1e300)]
    {
        let (browser, answer) =
            world.comes_back_with(&json!({ "access_token": "opaque", "expires_in": seconds })).await;
        assert_eq!((answer.status, answer.header("location")), (302, Some("/orders")), "{seconds}");
        assert_eq!(orders(&browser).await, is(200, ""), "{seconds}");
    }
    // An answer that is none stays that.
    let changes = json!({ "access_token": "opaque", "expires_in": -1 });
    let (browser, answer) = world.comes_back_with(&changes).await;
    is_no_login(&browser, &answer, &changes);
}

/// However it is judged, it would be a header of every request.
#[tokio::test]
async fn a_token_that_is_too_large_is_so_without_a_look_at_its_form() {
    let world = World::start().await;
    for token in ["a".repeat(16 * 1024 + 1), format!("{}.b.c", "a".repeat(16 * 1024))] {
        let browser = world.logged_in_with(&token).await;
        assert_eq!(orders(&browser).await, is(401, "token_too_large"));
    }
    let browser = world.logged_in_with(&"a".repeat(16 * 1024)).await;
    assert_eq!(orders(&browser).await, is(200, ""));
    assert_eq!(world.around.upstream.count(), 1);
}

//! The way to the issuer: what the browser is sent with, and what it keeps until it comes back.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Begun, World, set_cookies};
use crate::harness::mint::base64;

#[tokio::test]
async fn a_browser_is_sent_to_its_issuer_with_a_challenge_and_a_nonce() {
    let world = World::configured("parameters = { audience = \"https://api\" }", "").await;
    let mut browser = world.browser();
    let answer = browser.get("/auth/login?return_to=%2Forders%3Fx%3D1", &[]).await;
    assert_eq!((answer.status, answer.text()), (302, ""));
    let begun = Begun::of(&answer);
    assert!(begun.address.as_str().starts_with("https://login.example.com/authorize?tenant=7&response_type=code&"));
    let pairs: Vec<(String, String)> =
        begun.address.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
    let value = |name: &str| &pairs.iter().find(|(own, _)| own == name).unwrap().1;
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "tenant",
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
            "audience"
        ]
    );
    assert_eq!((value("client_id"), value("scope")), (&"web".to_owned(), &"openid read".to_owned()));
    assert_eq!(value("redirect_uri"), "https://app.example.com/auth/callback");
    assert_eq!((value("code_challenge_method"), value("audience")), (&"S256".to_owned(), &"https://api".to_owned()));

    let [cookie] = set_cookies(&answer)[..] else { panic!("one cookie") };
    let attributes = "; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax";
    let name = format!("__Host-session-login-{}=", &value("state")[..8]);
    assert!(cookie.starts_with(&name) && cookie.ends_with(attributes), "{cookie}");
    assert!(!cookie.contains(value("state")) && !cookie.contains("orders"), "it is sealed");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));

    // What is shown with the code is what the challenge was made of.
    let granted = world.granted("ada", &begun.nonce);
    let answer = world.comes_back(&mut browser, &begun, &granted).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/orders?x=1")));
    let asked = &world.tokens.asked()[0];
    assert_eq!(asked.field("grant_type"), Some("authorization_code"));
    assert_eq!(asked.field("redirect_uri"), Some("https://app.example.com/auth/callback"));
    let verifier = asked.field("code_verifier").unwrap();
    assert_eq!(&base64(digest(&SHA256, verifier.as_bytes()).as_ref()), value("code_challenge"));
}

#[tokio::test]
async fn no_two_attempts_share_anything() {
    let world = World::start().await;
    let (mut one, mut other) = (world.browser(), world.browser());
    let (one, other) = (world.begun(&mut one, "/").await, world.begun(&mut other, "/").await);
    assert!(one.state != other.state && one.nonce != other.nonce && one.state != one.nonce);
}

#[tokio::test]
async fn a_return_address_elsewhere_is_replaced_and_counted() {
    let world = World::start().await;
    let tricks = [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "/%5cevil.example",
        "https:evil.example",
        "https://app.example.com@evil.example/",
        "https://app.example.com.evil.example/",
        "/a\r\nset-cookie: x=y",
        &format!("/{}", "a".repeat(2048)),
        "/auth/login",
    ];
    for (count, trick) in tricks.iter().enumerate() {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, trick).await;
        let answer = world.comes_back(&mut browser, &begun, &world.granted("ada", &begun.nonce)).await;
        assert_eq!((answer.status, answer.header("location")), (302, Some("/")), "{trick:?}");
        assert_eq!(world.events("return_to_refused"), (count + 1) as f64, "{trick:?}");
    }
    let mut browser = world.browser();
    let begun = Begun::of(&browser.get("/auth/login?return_to=%2Fa&return_to=%2Fb", &[]).await);
    let answer = world.comes_back(&mut browser, &begun, &world.granted("ada", &begun.nonce)).await;
    assert_eq!(answer.header("location"), Some("/"));
}

#[tokio::test]
async fn several_tabs_log_in_at_once_and_the_sixth_drops_the_first() {
    let world = World::start().await;
    let mut browser = world.browser();
    let mut begun = Vec::new();
    for tab in 0..6 {
        world.around.hands.advance(Duration::from_secs(1));
        begun.push(world.begun(&mut browser, &format!("/tab/{tab}")).await);
    }
    let answer = world.comes_back(&mut browser, &begun[0], &world.granted("ada", &begun[0].nonce)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("login_state_invalid"));
    for tab in [3, 1, 5, 2, 4] {
        let answer = world.comes_back(&mut browser, &begun[tab], &world.granted("ada", &begun[tab].nonce)).await;
        let location = format!("/tab/{tab}");
        assert_eq!((answer.status, answer.header("location")), (302, Some(location.as_str())));
    }
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["__Host-session"], "nothing is left of them");
}

/// A browser that comes up again loads all of its tabs at once: each login is begun before any of the others is answered.
#[tokio::test]
async fn tabs_that_begin_at_the_same_moment_all_log_in() {
    let world = World::start().await;
    let mut browser = world.browser();
    let tabs = vec![browser.clone(); 8];
    let mut begun = Vec::new();
    for (number, mut tab) in tabs.into_iter().enumerate() {
        begun.push(world.begun(&mut tab, &format!("/tab/{number}")).await);
        browser.cookies.append(&mut tab.cookies);
    }
    for (number, begun) in begun.iter().enumerate() {
        let answer = world.comes_back(&mut browser, begun, &world.granted("ada", &begun.nonce)).await;
        let location = format!("/tab/{number}");
        assert_eq!((answer.status, answer.header("location")), (302, Some(location.as_str())));
    }
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["__Host-session"]);
}

#[tokio::test]
async fn a_state_that_is_not_this_browsers_own_asks_nobody_for_anything() {
    let world = World::start().await;
    let mut browser = world.browser();
    let begun = world.begun(&mut browser, "/").await;
    let mut other = world.browser();
    let others = world.begun(&mut other, "/").await;

    let mut refused = Vec::new();
    for query in [
        "code=c".to_owned(),
        "code=c&state=".to_owned(),
        "code=c&state=unknown".to_owned(),
        format!("code=c&state={}", others.state),
        format!("code=c&state={0}&state={0}", begun.state),
        String::new(),
    ] {
        refused.push((query.clone(), browser.peek("GET", &format!("/auth/callback?{query}"), &[]).await));
    }
    let without = world.browser().peek("GET", &format!("/auth/callback?code=c&state={}", begun.state), &[]).await;
    refused.push(("without the cookie".to_owned(), without));
    // Used by its own browser, and then again with the cookies from before.
    let before = browser.clone();
    let granted = world.granted("ada", &begun.nonce);
    assert_eq!(world.comes_back(&mut browser, &begun, &granted).await.status, 302);
    let asked = world.tokens.asked().len();
    let target = format!("/auth/callback?code=the-code&state={}", begun.state);
    refused.push(("used".to_owned(), browser.peek("GET", &target, &[]).await));
    refused.push(("used, with the old cookie".to_owned(), before.peek("GET", &target, &[]).await));
    world.around.hands.advance(Duration::from_secs(600));
    let late = other.peek("GET", &format!("/auth/callback?code=c&state={}", others.state), &[]).await;
    refused.push(("after ten minutes".to_owned(), late));

    for (what, answer) in refused {
        assert_eq!(answer.status, 400, "{what}");
        assert!(answer.text().contains("login_state_invalid"), "{what}: {}", answer.text());
    }
    assert_eq!(world.tokens.asked().len(), asked);
}

//! The paths of our own: which there are, and for whom.

use super::{NAVIGATES, SCRIPT, World};
use crate::harness::client::Client;

#[tokio::test]
async fn each_page_has_one_method_and_nothing_else_is_beneath() {
    let world = World::configured("", "[[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"api\"\n").await;
    let browser = world.logged_in().await;
    for (method, target, status, allow) in [
        ("POST", "/auth/login", 405, Some("GET")),
        ("HEAD", "/auth/login", 405, Some("GET")),
        ("POST", "/auth/callback", 405, Some("GET")),
        ("GET", "/auth/logout", 405, Some("POST")),
        ("POST", "/auth/session", 405, Some("GET")),
        ("GET", "/auth/backchannel-logout", 405, Some("POST")),
        ("GET", "/auth", 404, None),
        ("GET", "/auth/", 404, None),
        ("GET", "/auth/other", 404, None),
        ("GET", "/auth/login/", 404, None),
        ("GET", "/auth/login/x", 404, None),
    ] {
        let answer = browser.peek(method, target, SCRIPT).await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {target}");
    }
    assert_eq!(world.around.upstream.count(), 0, "nothing of it reached the API");
    // Beside them and at other hosts are the routes.
    assert_eq!(browser.peek("GET", "/authors", SCRIPT).await.status, 200);
    let mut client = Client::connect(world.around.gateway.address()).await;
    let answer = client.ask("GET /auth/login HTTP/1.1\r\nhost: other.example.com\r\n\r\n").await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
}

#[tokio::test]
async fn who_is_logged_in_is_told_to_who_is() {
    let world = World::start().await;
    let answer = world.browser().peek("GET", "/auth/session", SCRIPT).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
    assert!(
        answer.text().contains("\"detail\":\"Log in at https://app.example.com/auth/login.\""),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"bearward\""));
    let answer = world.browser().with_cookie("x").peek("GET", "/auth/session", NAVIGATES).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_expired"), "no way to the login");
}

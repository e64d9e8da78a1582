//! The cookie as a credential: what it opens, who may use it for what, and what of it goes where.

use std::time::Duration;

use serde_json::json;

use super::{Begun, Browser, COOKIE, NAVIGATES, ORIGIN, SCRIPT, World, set_cookies};
use crate::harness::client::Client;
use crate::harness::forms::Reply;
use crate::harness::introspection::Introspection;
use crate::harness::upstream::{Reply as UpstreamReply, Upstream};
use crate::harness::world::{AUDIENCE, merged};

#[tokio::test]
async fn a_session_opens_the_api_which_sees_a_token_and_none_of_our_cookies() {
    let world = World::start().await;
    let mut browser = world.logged_in().await;
    browser.cookies.insert("theme".to_owned(), "dark".to_owned());
    browser.cookies.insert("__Host-session-login-AAAAAAAA".to_owned(), "x".to_owned());
    let answer = browser.get("/orders/7?x=1", SCRIPT).await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert!(set_cookies(&answer).is_empty());
    let [seen] = &world.around.upstream.requests()[..] else { panic!("one request") };
    assert_eq!(seen.all("authorization"), [format!("Bearer {}", world.around.token())]);
    assert_eq!(seen.all("cookie"), ["theme=dark"]);
    assert_eq!(seen.all("x-user"), ["alice"], "the access token's, not the ID token's");

    // On a route without a session, and on a public one, our cookies do not go on either.
    assert_eq!(browser.get("/open", SCRIPT).await.status, 200);
    let [_, seen] = &world.around.upstream.requests()[..] else { panic!("two requests") };
    assert_eq!(seen.all("cookie"), ["theme=dark"]);
    assert!(seen.all("authorization").is_empty());
}

#[tokio::test]
async fn who_has_no_session_is_sent_to_the_login_only_where_a_page_is_wanted() {
    let world = World::start().await;
    let to_login = Some("https://app.example.com/auth/login?return_to=%2Forders%2F7%3Fx%3D1");
    for (method, headers, expected) in [
        ("GET", NAVIGATES, 302),
        ("GET", &[("accept", "text/html,*/*;q=0.8")][..], 302),
        ("GET", SCRIPT, 401),
        ("GET", &[("sec-fetch-mode", "cors"), ("accept", "text/html")], 401),
        ("GET", &[], 401),
        ("POST", NAVIGATES, 401),
        ("PUT", SCRIPT, 401),
        // Whoever shows a credential of another kind is no browser that lacks a session.
        ("GET", &[("sec-fetch-mode", "navigate"), ("authorization", "Basic eDp5")], 401),
        ("GET", &[("sec-fetch-mode", "navigate"), ("authorization", "Bearer x")], 401),
    ] {
        for (browser, code) in
            [(world.browser(), "credential_missing"), (world.browser().with_cookie("gone"), "session_expired")]
        {
            let answer = browser.peek(method, "/orders/7?x=1", headers).await;
            let unsafe_with_cookie = code == "session_expired" && method == "POST";
            let status = if unsafe_with_cookie { 403 } else { expected };
            assert_eq!(answer.status, status, "{method} {headers:?} {code}");
            assert_eq!(answer.header("location"), to_login.filter(|_| status == 302), "{method} {headers:?}");
            assert!(answer.header("x-request-id").is_some());
            if status == 401 && !headers.iter().any(|(name, _)| *name == "authorization") {
                assert_eq!(answer.code(), code, "{method} {headers:?}");
                let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                let detail = match code {
                    "credential_missing" => {
                        "Log in at https://app.example.com/auth/login, or send an access token as `Authorization: Bearer`."
                    }
                    _ => "There is no session for this cookie any more; log in again.",
                };
                assert_eq!(problem["detail"], detail, "{method} {headers:?}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"bearward\""));
            }
        }
    }
    // The answer to a HEAD is shown to nobody, and the login has none for it.
    for browser in [world.browser(), world.browser().with_cookie("gone")] {
        let answer = browser.peek("HEAD", "/orders/7?x=1", NAVIGATES).await;
        assert_eq!((answer.status, answer.header("location")), (401, None));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"bearward\""));
    }
    // Nor is one that shows a token where none is taken: it would go on into another address.
    let answer = world.browser().peek("GET", "/orders?access_token=x", NAVIGATES).await;
    assert_eq!((answer.status, answer.header("location")), (401, None));
    assert_eq!(world.around.upstream.count(), 0);
}

/// A route without hosts is at every host, the session's own pages and its cookie at one.
#[tokio::test]
async fn who_goes_to_a_page_at_another_host_is_sent_to_the_login_at_our_own() {
    let world = World::start().await;
    let asked = async |host: &str, target: &str, field: &str| {
        let mut client = Client::connect(world.around.gateway.address()).await;
        client.ask(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{field}\r\n\r\n")).await
    };
    let login = "https://app.example.com/auth/login?return_to=%2Forders%2F7%3Fx%3D1";
    for host in ["www.app.example.com", "127.0.0.1", "[::1]:8080", "localhost", "app.example.com:8443"] {
        let answer = asked(host, "/orders/7?x=1", "sec-fetch-mode: navigate").await;
        assert_eq!((answer.status, answer.header("location")), (302, Some(login)), "{host}");
        let answer = asked(host, "/orders/7", "sec-fetch-mode: cors").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"), "{host}");
        assert!(answer.text().contains("Log in at https://app.example.com/auth/login, or"), "{}", answer.text());
    }
    // There it leads to the issuer, and back to the page of that path at our own host.
    let mut browser = world.browser();
    let begun = Begun::of(&browser.get(login.strip_prefix(ORIGIN).unwrap(), NAVIGATES).await);
    let answer = world.comes_back(&mut browser, &begun, &world.granted("ada", &begun.nonce)).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/orders/7?x=1")));
    assert_eq!(browser.get("/orders/7?x=1", NAVIGATES).await.status, 200);
}

#[tokio::test]
async fn a_cookie_that_opens_nothing_is_no_session_and_is_taken_back() {
    let world = World::start().await;
    let good = world.logged_in().await;
    let value = good.cookies[COOKIE].clone();
    let last = if value.ends_with('A') { "B" } else { "A" };
    let other = world.logged_in().await.cookies[COOKIE].clone();
    let spliced = format!("{}{}", &value[..22], &other[22..]);
    for (what, value) in [
        ("altered", format!("{}{last}", &value[..value.len() - 1])),
        ("another's secret", spliced),
        ("truncated", value[..value.len() - 1].to_owned()),
        ("empty", String::new()),
        ("longer", format!("{value}A")),
        ("oversize", "A".repeat(20_000)),
        ("no text of ours", "%00\"x".to_owned()),
    ] {
        let browser = world.browser().with_cookie(&value);
        let answer = browser.peek("GET", "/orders", SCRIPT).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "session_expired"), "{what}");
        let unset = "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(set_cookies(&answer), [unset], "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let answer = browser.peek("GET", "/orders", NAVIGATES).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (302, Some("https://app.example.com/auth/login?return_to=%2Forders")),
            "{what}"
        );
    }
    // Two of one name: whichever is the planted one.
    let twice = format!("{COOKIE}={value}; {COOKIE}={other}");
    for cookies in [vec![twice.clone()], vec![format!("{COOKIE}={value}"), format!("{COOKIE}={value}")]] {
        let fields: String = cookies.iter().map(|cookie| format!("cookie: {cookie}\r\n")).collect();
        let mut client = Client::connect(world.around.gateway.address()).await;
        let answer = client.ask(format!("GET /orders HTTP/1.1\r\nhost: app.example.com\r\n{fields}\r\n")).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "session_expired"), "{cookies:?}");
    }
    assert_eq!(world.around.upstream.count(), 0);
    assert_eq!(good.peek("GET", "/orders", SCRIPT).await.status, 200, "the good one is unharmed");
}

#[tokio::test]
async fn a_request_by_cookie_that_changes_something_comes_from_our_own_pages() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    let ours = ("origin", "https://app.example.com");
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    for (method, headers, expected) in [
        ("POST", vec![("sec-fetch-site", "same-origin")], 200),
        ("POST", vec![ours], 200),
        ("DELETE", vec![ours, ("sec-fetch-site", "same-origin")], 200),
        ("GET", vec![("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], 200),
        ("POST", vec![], 403),
        ("POST", vec![("sec-fetch-site", "same-site"), ours], 403),
        ("POST", vec![("sec-fetch-site", "none")], 403),
        ("PATCH", vec![("origin", "null"), ("sec-fetch-site", "same-origin")], 403),
        ("PUT", vec![("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], 403),
        ("DELETE", vec![("origin", "https://app.example.com:8443")], 403),
        ("GET", upgrade.to_vec(), 403),
        ("GET", [&upgrade[..], &[("origin", "https://evil.example")]].concat(), 403),
    ] {
        let before = world.around.upstream.count();
        let answer = browser.peek(method, "/orders", &headers).await;
        assert_eq!(answer.status, expected, "{method} {headers:?}: {}", answer.text());
        if expected == 403 {
            assert_eq!(answer.code(), "csrf_refused", "{method} {headers:?}");
            assert_eq!(answer.header("www-authenticate"), None);
        }
        assert_eq!(world.around.upstream.count() - before, usize::from(expected == 200), "{method} {headers:?}");
    }
    // Whoever shows a token needs no page of ours.
    let token = format!("Bearer {}", world.around.token());
    assert_eq!(browser.peek("POST", "/orders", &[("authorization", &token)]).await.status, 200);
}

#[tokio::test]
async fn beside_an_authorization_the_cookie_counts_for_nothing() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    let other = world.around.token_but(&json!({ "sub": "bob" }));
    let answer = browser.peek("GET", "/orders", &[("authorization", &format!("Bearer {other}"))]).await;
    assert_eq!(answer.status, 200);
    let [seen] = &world.around.upstream.requests()[..] else { panic!("one request") };
    assert_eq!((seen.all("x-user"), seen.all("authorization")), (vec!["bob"], vec![&*format!("Bearer {other}")]));
    assert!(seen.all("cookie").is_empty());
    for (bad, code) in
        [("Bearer x", "token_malformed"), ("Bearer", "credential_malformed"), ("Basic eDp5", "credential_missing")]
    {
        let answer = browser.peek("GET", "/orders", &[("authorization", bad)]).await;
        assert_eq!(answer.code(), code, "{bad}");
    }
    let answer = browser.peek("GET", "/orders?access_token=x", SCRIPT).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "credential_ambiguous"));
}

#[tokio::test]
async fn the_sessions_token_is_judged_like_any_other() {
    let world = World::start().await;
    for (changes, status, code) in [
        (json!({ "aud": "https://other" }), 401, "audience_wrong"),
        (json!({ "scope": "write" }), 403, "scope_insufficient"),
        (json!({ "iss": "https://evil.example" }), 401, "issuer_unknown"),
    ] {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let token = world.around.token_but(&changes);
        let granted = merged(world.granted("ada", &begun.nonce), &json!({ "access_token": token }));
        assert_eq!(world.comes_back(&mut browser, &begun, &granted).await.status, 302);
        for headers in [SCRIPT, NAVIGATES] {
            let answer = browser.peek("GET", "/orders", headers).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{changes}: never sent to a login");
        }
    }
    assert_eq!(world.around.upstream.count(), 0);
}

#[tokio::test]
async fn an_opaque_token_counts_by_what_was_granted_with_it() {
    let world = World::start().await;
    for (granted, status, code) in [
        (json!({ "scope": "read other" }), 200, ""),
        // What is not said is what was asked for.
        (json!({}), 200, ""),
        (json!({ "scope": "other" }), 403, "scope_insufficient"),
    ] {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let opaque = merged(world.granted("ada", &begun.nonce), &json!({ "access_token": "opaque" }));
        let granted = merged(opaque, &granted);
        assert_eq!(world.comes_back(&mut browser, &begun, &granted).await.status, 302);
        let answer = browser.peek("GET", "/orders", SCRIPT).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{granted}");
        if status == 200 {
            let seen = world.around.upstream.requests().pop().unwrap();
            assert_eq!((seen.all("authorization"), seen.all("x-user")), (vec!["Bearer opaque"], vec!["ada"]));
        }
    }
}

/// The answer to a refresh need not name the scopes again: they are those that were granted, not those that were asked for.
#[tokio::test]
async fn a_refresh_gives_an_opaque_token_no_scope_that_was_not_granted() {
    for (granted, status) in [(json!({ "scope": "other" }), 403), (json!({}), 200)] {
        let world = World::start().await;
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let opaque = merged(world.granted("ada", &begun.nonce), &json!({ "access_token": "opaque" }));
        assert_eq!(world.comes_back(&mut browser, &begun, &merged(opaque, &granted)).await.status, 302);
        assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, status, "{granted}");
        let asked = world.tokens.asked().len();
        world.around.hands.advance(Duration::from_secs(601));
        assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, status, "{granted}: renewed");
        assert_eq!(world.tokens.asked().len(), asked + 1);
    }
}

#[tokio::test]
async fn an_opaque_token_ends_when_it_was_said_to() {
    let world = World::start().await;
    world.tokens.say(json!({ "expires_in": 90, "refresh_token": null }));
    let browser = world.logged_in_with("opaque").await;
    world.around.hands.advance(Duration::from_secs(89));
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
    world.around.hands.advance(Duration::from_secs(1));
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.code(), "session_expired");
    assert_eq!((world.around.upstream.count(), world.events("expired")), (1, 1.0));
}

/// An opaque token is shown to its own issuer, where that is asked about tokens, and to nobody else.
#[tokio::test]
async fn an_opaque_token_is_asked_about_where_its_issuer_is() {
    let endpoint = Introspection::start().await;
    let answer = json!({ "active": true, "token_type": "Bearer", "aud": AUDIENCE, "scope": "read", "sub": "alice" });
    endpoint.know("opaque", Reply::json(&answer));
    let asked = format!(
        "introspection = {{ endpoint = \"{}\", client_id = \"gateway\", auth_method = \"none\" }}",
        endpoint.url()
    );

    let world = World::asking(&asked, "").await;
    let browser = world.logged_in_with("opaque").await;
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
    assert_eq!(world.around.upstream.requests()[0].all("x-user"), ["alice"], "as its issuer answers");
    endpoint.know("revoked", Reply::json(&json!({ "active": false })));
    let browser = world.logged_in_with("revoked").await;
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.code(), "token_inactive");
    let count = endpoint.asked().len();

    let other =
        format!("[issuers.other]\nissuer = \"https://other.example.com\"\nrequired_for_ready = false\n{asked}\n");
    let both = "[[routes]]\npath = \"/both\"\npolicy = { issuers = [\"main\", \"other\"], audience = [\"api\"] }\n\
                upstream = \"api\"\nsession = \"web\"\n";
    let world = World::configured("", &format!("{other}{both}")).await;
    let browser = world.logged_in_with("opaque").await;
    assert_eq!(browser.peek("GET", "/both", SCRIPT).await.status, 200);
    assert_eq!(endpoint.asked().len(), count, "another's token is none of its business");
}

/// A provider whose tokens are for nobody's APIs but its own may log people in, and its opaque token opens none.
#[tokio::test]
async fn an_opaque_token_of_a_provider_that_issues_none_for_us_is_refused() {
    let world = World::asking("dialect = \"google\"", "").await;
    let browser = world.logged_in_with("opaque").await;
    let answer = browser.peek("GET", "/orders", SCRIPT).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_kind_unknown"));
    assert_eq!(world.around.upstream.count(), 0);
}

/// Where the audience tells an access token from an ID token, a policy that names none, or a client, permits nobody: an opaque
/// token is no exception.
#[tokio::test]
async fn an_opaque_token_passes_no_policy_that_no_token_passes() {
    let route = |path: &str, policy: &str| {
        format!("[[routes]]\npath = \"{path}\"\npolicy = {{ {policy} }}\nupstream = \"api\"\nsession = \"web\"\n")
    };
    let routes = [
        route("/client", "client_ids = [\"web\"]"),
        route("/known", "audience = [\"web\"]"),
        route("/api", "audience = [\"web\", \"api\"]"),
    ];
    for (dialect, refused) in [("evidence", true), ("auth0", true), ("rfc9068", false)] {
        let lines = format!("dialect = \"{dialect}\"\nknown_clients = [\"web\"]");
        let world = World::asking(&lines, &routes.concat()).await;
        let browser = world.logged_in_with("opaque").await;
        for (path, refused) in [("/client", refused), ("/known", refused), ("/api", false)] {
            let answer = browser.peek("GET", path, SCRIPT).await;
            assert_eq!(answer.status, if refused { 401 } else { 200 }, "{dialect} {path}: {}", answer.text());
            assert!(!refused || answer.code() == "audience_wrong", "{dialect} {path}");
        }
    }
}

/// Whoever is behind us neither logs a browser out nor gives it a session of his own choice.
#[tokio::test]
async fn an_upstream_sets_no_cookie_of_ours() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    let ours = [
        "__Host-session=; Path=/; Max-Age=0; Secure",
        "__Host-session=AAAA; Path=/; Secure",
        " __Host-session = x;Path=/;Secure",
        "=__Host-session=x; Path=/; Secure",
        "__Host-session-login-AAAAAAAA=x; Path=/; Secure",
    ];
    let others = [
        "theme=dark;  Path=/ ;;HttpOnly",
        "__Host-sessions=1; Path=/; Secure",
        "__host-session=1",
        "a=__Host-session=x",
    ];
    let mixed = [&others[..2], &ours[..], &others[2..]].concat();
    let reply = |cookies: &[&str]| {
        let fields: String = cookies.iter().map(|cookie| format!("set-cookie:{cookie}\r\n")).collect();
        UpstreamReply::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{fields}\r\nok").into_bytes())
    };
    // On every route: to a browser all of them are of one host.
    for (number, path) in ["/orders", "/open"].into_iter().enumerate() {
        world.around.upstream.reply(reply(&mixed));
        let answer = browser.peek("GET", path, SCRIPT).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        assert_eq!(set_cookies(&answer), others, "{path}");
        assert_eq!(answer.header("cache-control"), None, "{path}: it is the upstream's to say");
        // Answers count, not fields.
        assert_eq!(world.events("cookie_withheld"), f64::from(u8::try_from(number + 1).unwrap()), "{path}");
    }
    world.around.upstream.reply(reply(&others));
    assert_eq!(set_cookies(&browser.peek("GET", "/orders", SCRIPT).await), others);
    assert_eq!(world.events("cookie_withheld"), 2.0);
}

#[tokio::test]
async fn an_api_that_wants_no_token_gets_none() {
    let sections = "[upstreams.bare]\nurl = \"UPSTREAM\"\nauthorization = \"remove\"\n\
                    [[routes]]\npath = \"/bare\"\npolicy = \"orders\"\nupstream = \"bare\"\nsession = \"web\"\n";
    let upstream = Upstream::start().await;
    let world = World::configured("", &sections.replace("UPSTREAM", &upstream.url())).await;
    let browser = world.logged_in().await;
    assert_eq!(browser.peek("GET", "/bare", SCRIPT).await.status, 200);
    let seen = upstream.requests().pop().unwrap();
    assert!(seen.all("authorization").is_empty() && seen.all("cookie").is_empty());
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_nobody_notices() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    // The token lasts ten minutes by the token response.
    world.around.hands.advance(Duration::from_secs(601));
    let asked = world.tokens.asked().len();
    let answers = (0..10).map(|_| browser.peek("GET", "/orders", SCRIPT));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(world.tokens.asked().len() - asked, 1);
    let seen = world.around.upstream.requests();
    assert!(seen.iter().all(|seen| seen.all("authorization") == ["Bearer access-ada-2"]));
}

#[tokio::test]
async fn a_session_ends_without_use_and_in_any_case() {
    let terms = "idle_timeout = \"1h\"\nlifetime = \"2h\"";
    let world = World::configured(terms, "").await;
    let opens = |browser: Browser| async move { browser.peek("GET", "/orders", SCRIPT).await.code() };
    let browser = world.logged_in().await;
    world.around.hands.advance(Duration::from_secs(3600));
    assert_eq!(opens(browser).await, "session_expired");

    let world = World::configured(terms, "").await;
    let browser = world.logged_in().await;
    for _ in 0..4 {
        world.around.hands.advance(Duration::from_secs(1790));
        // Asking who it is does not make it last.
        assert_eq!(browser.peek("GET", "/auth/session", SCRIPT).await.status, 200);
        assert_eq!(opens(browser.clone()).await, "");
    }
    world.around.hands.advance(Duration::from_secs(40));
    assert_eq!(opens(browser).await, "session_expired");
    assert_eq!(world.events("expired"), 0.0, "the store had dropped it");

    let browser = world.logged_in().await;
    world.reconfigure("lifetime = \"10m\"");
    world.around.hands.advance(Duration::from_secs(600));
    assert_eq!(opens(browser).await, "session_expired");
    assert_eq!(world.events("expired"), 1.0, "it is stored for longer than it lasts now");
}

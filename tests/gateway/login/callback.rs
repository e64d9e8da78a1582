//! The way back: the issuer's answer, its code and its ID token, of which each must fit.

use std::time::Duration;

use serde_json::{Value, json};

use super::{COOKIE, World, set_cookies, signed_by_secret};
use crate::harness::forms::Reply;
use crate::harness::issuer::{Answer as IssuerAnswer, Document};
use crate::harness::mint::{Key, base64};
use crate::harness::redis::Redis;
use crate::harness::tokens::Tokens;
use crate::harness::world::merged;

/// Half of the hash of a text, as `at_hash` has it.
fn half_hash(text: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    base64(&hash.as_ref()[..16])
}

#[tokio::test]
async fn a_login_makes_a_session_that_tells_who_it_is_and_no_token() {
    let world = World::start().await;
    let mut browser = world.browser();
    let begun = world.begun(&mut browser, "/orders/7").await;
    let answer = world.comes_back(&mut browser, &begun, &world.granted("ada", &begun.nonce)).await;
    assert_eq!((answer.status, answer.header("location"), answer.text()), (302, Some("/orders/7"), ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let cookies = set_cookies(&answer);
    let attributes = "; Path=/; Max-Age=604800; Secure; HttpOnly; SameSite=Lax";
    let session = cookies.iter().find(|field| field.starts_with("__Host-session=")).unwrap();
    assert!(session.ends_with(attributes), "{session}");
    let gone =
        format!("__Host-session-login-{}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax", &begun.state[..8]);
    assert!(cookies.contains(&gone.as_str()), "{cookies:?}");
    assert_eq!(world.events("created"), 1.0);

    let answer = browser.get("/auth/session", super::SCRIPT).await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let expected = json!({
        "authenticated": true, "subject": "ada", "name": "Ada", "email": "ada@example.com", "expires_in": 43_200,
        "logout_url": "/auth/logout",
    });
    assert_eq!((answer.status, told), (200, expected));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(set_cookies(&answer).is_empty());
}

#[tokio::test]
async fn each_part_of_the_id_token_must_fit() {
    let world = World::start().await;
    let (now, access_token) = (world.around.now(), world.around.token());
    let another = Key::rsa("another");
    let claims = |nonce: &str, changes: &Value| merged(world.id_claims(nonce), changes);
    let rsa = |changes: Value| move |world: &World, nonce: &str| json!(world.id_token_but(nonce, &changes));
    type Make = Box<dyn Fn(&World, &str) -> Value>;
    let good: Vec<(&str, Make)> = vec![
        ("as it is", Box::new(rsa(json!({})))),
        ("several audiences and azp", Box::new(rsa(json!({ "aud": ["web", "other"], "azp": "web" })))),
        ("one audience in a list", Box::new(rsa(json!({ "aud": ["web"] })))),
        ("at_hash", Box::new(rsa(json!({ "at_hash": half_hash(&access_token) })))),
        ("within the leeway", Box::new(rsa(json!({ "exp": now - 29, "iat": now + 30 })))),
    ];
    let bad: Vec<(&str, Make)> = vec![
        ("none", Box::new(|_, _| Value::Null)),
        ("no token", Box::new(|_, _| json!("a.b.c"))),
        ("another issuer", Box::new(rsa(json!({ "iss": "https://evil.example/" })))),
        ("no issuer", Box::new(rsa(json!({ "iss": null })))),
        ("another audience", Box::new(rsa(json!({ "aud": "other" })))),
        ("no audience", Box::new(rsa(json!({ "aud": null })))),
        ("several audiences without azp", Box::new(rsa(json!({ "aud": ["web", "other"] })))),
        ("another azp", Box::new(rsa(json!({ "azp": "other" })))),
        ("another nonce", Box::new(rsa(json!({ "nonce": "another" })))),
        ("no nonce", Box::new(rsa(json!({ "nonce": null })))),
        ("a nonce that is no string", Box::new(rsa(json!({ "nonce": 1 })))),
        ("another at_hash", Box::new(rsa(json!({ "at_hash": half_hash("another") })))),
        // A logout token's `sid` is a string: none would ever be about this login.
        ("a sid that is no string", Box::new(rsa(json!({ "sid": 7 })))),
        ("expired", Box::new(rsa(json!({ "exp": now - 30 })))),
        ("no exp", Box::new(rsa(json!({ "exp": null })))),
        ("no iat", Box::new(rsa(json!({ "iat": null })))),
        ("from the future", Box::new(rsa(json!({ "iat": now + 31 })))),
        ("no subject", Box::new(rsa(json!({ "sub": null })))),
        ("an empty subject", Box::new(rsa(json!({ "sub": "" })))),
        ("a refresh token", Box::new(rsa(json!({ "typ": "Refresh" })))),
        ("an access token by its `tokenName`", Box::new(rsa(json!({ "tokenName": "access_token" })))),
        ("an access token by its `token_use`", Box::new(rsa(json!({ "token_use": "access", "type": "id" })))),
        ("a security event", Box::new(rsa(json!({ "events": {} })))),
        (
            "another key",
            Box::new({
                let claims = claims("NONCE", &json!({}));
                move |_: &World, nonce: &str| {
                    let claims = merged(claims.clone(), &json!({ "nonce": nonce }));
                    json!(another.sign(&json!({ "alg": "RS256", "kid": "key-1" }), &claims))
                }
            }),
        ),
        (
            "unsigned",
            Box::new({
                let claims = claims("NONCE", &json!({}));
                move |_: &World, nonce: &str| {
                    let claims = merged(claims.clone(), &json!({ "nonce": nonce }));
                    json!(format!("{}.{}.", base64(b"{\"alg\":\"none\"}"), base64(claims.to_string().as_bytes())))
                }
            }),
        ),
        (
            "another algorithm",
            Box::new(|world, nonce| {
                json!(world.around.key.sign(&json!({ "alg": "RS512", "kid": "key-1" }), &world.id_claims(nonce)))
            }),
        ),
        ("keyed with the client secret", Box::new(|world, nonce| json!(signed_by_secret(&world.id_claims(nonce))))),
        (
            "an access token",
            Box::new(|world, nonce| {
                let fits = json!({ "scope": "read", "client_id": "web", "at_hash": half_hash(&world.around.token()) });
                let claims = merged(world.id_claims(nonce), &fits);
                json!(world.around.key.sign(&json!({ "alg": "RS256", "kid": "key-1", "typ": "at+jwt" }), &claims))
            }),
        ),
    ];
    for (what, make) in good {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let granted = merged(world.granted("ada", &begun.nonce), &json!({ "id_token": make(&world, &begun.nonce) }));
        let answer = world.comes_back(&mut browser, &begun, &granted).await;
        assert_eq!(answer.status, 302, "{what}: {}", answer.text());
    }
    let created = world.events("created");
    for (what, make) in bad {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let granted = merged(world.granted("ada", &begun.nonce), &json!({ "id_token": make(&world, &begun.nonce) }));
        let answer = world.comes_back(&mut browser, &begun, &granted).await;
        assert_eq!(answer.status, 403, "{what}");
        assert!(answer.text().contains("login_id_token_invalid"), "{what}: {}", answer.text());
        assert!(!browser.cookies.contains_key(COOKIE), "{what}");
    }
    assert_eq!(world.events("created"), created);
}

/// Nobody will use what was granted to a login that comes to nothing.
#[tokio::test]
async fn what_was_granted_to_a_login_that_fails_is_given_back() {
    let world = World::start().await;
    for (number, changes) in
        [json!({ "nonce": "another" }), json!({ "aud": "other" }), json!({ "iat": null })].iter().enumerate()
    {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let bad = json!({ "id_token": world.id_token_but(&begun.nonce, changes) });
        let name = format!("user{number}");
        let granted = merged(world.granted(&name, &begun.nonce), &bad);
        assert_eq!(world.comes_back(&mut browser, &begun, &granted).await.status, 403, "{changes}");
        // The exchange and the revocation of each.
        world.tokens.was_asked(2 * (number + 1)).await;
        assert_eq!(world.tokens.revoked().last(), Some(&format!("refresh-{name}-1")), "{changes}");
    }
    let last = world.tokens.asked().pop().unwrap();
    assert_eq!((last.line.as_str(), last.field("token_type_hint")), ("POST /revoke HTTP/1.1", Some("refresh_token")));
    // A login that succeeds keeps what it has.
    let browser = world.logged_in().await;
    assert_eq!(browser.peek("GET", "/orders", super::SCRIPT).await.status, 200);
    assert_eq!(world.tokens.revoked().len(), 3);
}

/// Some issuers end a person's whole login by any refresh token of it.
#[tokio::test]
async fn a_login_that_fails_takes_nothing_from_the_session_that_the_browser_has() {
    let world = World::start().await;
    let mut browser = world.logged_in().await;
    let fails = async |browser: &mut super::Browser, name: &str| {
        let begun = world.begun(browser, "/").await;
        let bad = json!({ "id_token": world.id_token_but(&begun.nonce, &json!({ "aud": "other" })) });
        let granted = merged(world.granted(name, &begun.nonce), &bad);
        assert_eq!(world.comes_back(browser, &begun, &granted).await.status, 403);
    };
    fails(&mut browser, "ada").await;
    // Where the browser has no session it is given back: each of the three had its code exchanged.
    fails(&mut world.browser(), "bob").await;
    world.tokens.was_asked(4).await;
    assert_eq!(world.tokens.revoked(), ["refresh-bob-1"]);
    world.around.hands.advance(Duration::from_secs(601));
    let answer = browser.peek("GET", "/orders", super::SCRIPT).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn what_was_granted_while_the_store_is_down_is_given_back() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let (_key, line) = super::stores::keyed();
    let world = World::configured(&line, &format!("[store]\nurl = \"{}\"", redis.url())).await;
    let mut browser = world.browser();
    let begun = world.begun(&mut browser, "/").await;
    let back = world.way_back(&begun, &world.granted("ada", &begun.nonce));
    world.tokens.hold();
    let (answer, ()) = tokio::join!(browser.peek("GET", &back, &[]), async {
        world.tokens.was_asked(1).await;
        redis.down();
        world.tokens.release();
    });
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
    world.tokens.was_asked(2).await;
    assert_eq!(world.tokens.revoked(), ["refresh-ada-1"]);
}

/// A browser that does not wait for the end of its login has no session of it, and nobody else has.
#[tokio::test]
async fn what_was_granted_to_a_browser_that_has_left_is_given_back() {
    let world = World::start().await;
    let mut browser = world.browser();
    let begun = world.begun(&mut browser, "/").await;
    let back = world.way_back(&begun, &world.granted("ada", &begun.nonce));
    world.tokens.hold();
    {
        let answer = browser.peek("GET", &back, &[]);
        tokio::pin!(answer);
        world.tokens.holds_up(&mut answer).await;
    }
    // Its connection is closed; the gateway knows once it is one fewer.
    world.around.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 0.0).await;
    world.tokens.release();
    world.tokens.was_asked(2).await;
    assert_eq!((world.tokens.revoked(), world.events("created")), (vec!["refresh-ada-1".to_owned()], 0.0));
}

/// What an issuer marks as its access token is no ID token, though every claim of it fits.
#[tokio::test]
async fn a_token_with_its_issuers_mark_of_access_logs_nobody_in() {
    for (dialect, id, access) in [
        ("keycloak", json!({ "typ": "ID" }), json!({ "typ": "Bearer" })),
        ("keycloak", json!({ "typ": "ID", "scope": "read" }), json!({ "typ": "DPoP" })),
        ("okta", json!({ "jti": "ID.1" }), json!({ "jti": "AT.1" })),
        ("forgerock", json!({ "tokenName": "id_token" }), json!({ "tokenName": "access_token" })),
        // It only looks like one: of this issuer an ID token may, too.
        ("genauth", json!({ "scope": "read", "jti": "1" }), json!({ "typ": "at" })),
    ] {
        let world = World::asking(&format!("dialect = \"{dialect}\""), "").await;
        for (marks, status) in [(&id, 302), (&access, 403)] {
            let mut browser = world.browser();
            let begun = world.begun(&mut browser, "/").await;
            let id_token = json!({ "id_token": world.id_token_but(&begun.nonce, marks) });
            let granted = merged(world.granted("ada", &begun.nonce), &id_token);
            let answer = world.comes_back(&mut browser, &begun, &granted).await;
            assert_eq!(answer.status, status, "{dialect} {marks}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn an_id_token_can_be_keyed_with_the_client_secret() {
    let world = World::configured("id_token_algorithms = [\"HS256\"]", "").await;
    let mut browser = world.browser();
    let begun = world.begun(&mut browser, "/").await;
    let keyed = json!({ "id_token": signed_by_secret(&world.id_claims(&begun.nonce)) });
    let granted = merged(world.granted("ada", &begun.nonce), &keyed);
    assert_eq!(world.comes_back(&mut browser, &begun, &granted).await.status, 302);

    let begun = world.begun(&mut browser, "/").await;
    let answer = world.comes_back(&mut browser, &begun, &world.granted("ada", &begun.nonce)).await;
    assert_eq!(answer.status, 403, "one with a public key is none of those");
}

#[tokio::test]
async fn the_issuers_own_words_are_shown_and_do_nothing() {
    let world = World::start().await;
    let mut browser = world.browser();
    let begun = world.begun(&mut browser, "/").await;
    let target = format!(
        "/auth/callback?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%26%01%C3%BC%5C\
         &state={}",
        begun.state
    );
    let answer = browser.get(&target, super::NAVIGATES).await;
    assert_eq!((answer.status, answer.header("content-type")), (403, Some("text/html; charset=utf-8")));
    let page = answer.text();
    let said = "access_denied: &lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\u{fffd}\u{fc}\\";
    assert!(page.contains(&format!("<p>It says: <bdi>{said}</bdi></p>")) && !page.contains("<script"), "{page}");
    assert!(page.contains("login_refused"), "{page}");
    assert!(page.contains("href=\"https://app.example.com/auth/login\""));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.ends_with("base-uri 'none'; form-action 'none'; frame-ancestors 'none'"), "{policy}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(world.tokens.asked().is_empty());
    // It is over: the same answer belongs to nothing any more.
    assert_eq!(browser.get(&target, &[]).await.status, 400);
}

#[tokio::test]
async fn a_code_that_is_refused_and_an_issuer_that_does_not_answer_are_told_apart() {
    let mut world = World::start().await;
    for (status, error, expected, code) in [
        (400, "invalid_grant", 403, "login_refused"),
        (401, "invalid_client", 403, "login_refused"),
        (500, "server_error", 503, "login_unavailable"),
    ] {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        world.tokens.otherwise(Reply::status(
            status,
            "Content-Type: application/json\r\n",
            &json!({ "error": error }).to_string(),
        ));
        let answer = browser.get(&format!("/auth/callback?code=c&state={}", begun.state), &[]).await;
        assert_eq!(answer.status, expected, "{error}");
        assert!(answer.text().contains(code), "{error}: {}", answer.text());
        world.tokens.mended();
    }
    let mut browser = world.browser();
    let begun = world.begun(&mut browser, "/").await;
    world.tokens.down().await;
    let answer = browser.get(&format!("/auth/callback?code=c&state={}", begun.state), &[]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("login_unavailable"));
}

/// Anybody can bring codes; who is logged in has no harm of what an issuer makes of them.
#[tokio::test]
async fn codes_that_an_issuer_stumbles_over_hold_up_no_refresh() {
    let world = World::start().await;
    let logged_in = world.logged_in().await;
    world.around.hands.advance(Duration::from_secs(601));
    world.tokens.otherwise(Reply::status(500, "", ""));
    for _ in 0..6 {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let answer = browser.get(&format!("/auth/callback?code=c&state={}", begun.state), &[]).await;
        assert_eq!(answer.status, 503);
    }
    world.tokens.mended();
    let answer = logged_in.peek("GET", "/orders", super::SCRIPT).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A discovery document that says this of whether the issuer names itself.
fn announcing(world: &World, announced: &Value) -> Value {
    let url = world.around.issuer.url();
    json!({
        "issuer": url,
        "jwks_uri": format!("{url}/keys"),
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": world.tokens.url(),
        "authorization_response_iss_parameter_supported": announced,
    })
}

#[tokio::test]
async fn an_issuer_that_announces_its_name_must_say_it() {
    let tokens = Tokens::start().await;
    let mut world = World::with(tokens, "", "", "").await;
    let url = world.around.issuer.url();
    world.around.issuer.answer(Document::Discovery, IssuerAnswer::json(&announcing(&world, &json!(true))));
    let name =
        |name: &str| format!("&iss={}", url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
    let (right, slash, wrong) = (name(&url), name(&format!("{url}/")), name("https://evil.example"));
    for (given, expected) in [(right.as_str(), 302), (&slash, 400), (&wrong, 400), ("", 400)] {
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        world.tokens.know_code("the-code", world.granted("ada", &begun.nonce));
        let asked = world.tokens.asked().len();
        let answer = browser.get(&format!("/auth/callback?code=the-code&state={}{given}", begun.state), &[]).await;
        assert_eq!(answer.status, expected, "{given:?}: {}", answer.text());
        assert_eq!(world.tokens.asked().len() - asked, usize::from(expected == 302), "{given:?}");
    }
    // What was learned stands on while the issuer is down.
    world.around.issuer.down().await;
    assert_eq!(world.browser().get("/auth/login", &[]).await.status, 302);
}

/// What is no boolean weakens nothing.
#[tokio::test]
async fn an_issuer_that_announces_its_name_in_a_wrong_type_must_say_it_too() {
    for (announced, expected) in [
        (json!("true"), 400),
        (json!(1), 400),
        (json!(""), 400),
        (json!([]), 400),
        (json!(false), 302),
        (Value::Null, 302),
    ] {
        let world = World::with(Tokens::start().await, "", "", "").await;
        world.around.issuer.answer(Document::Discovery, IssuerAnswer::json(&announcing(&world, &announced)));
        let mut browser = world.browser();
        let begun = world.begun(&mut browser, "/").await;
        let answer = world.comes_back(&mut browser, &begun, &world.granted("ada", &begun.nonce)).await;
        assert_eq!(answer.status, expected, "{announced}: {}", answer.text());
    }
}

/// Who comes while the issuer is asked again goes on with what was learned before; and who asks does not wait for ever.
#[tokio::test]
async fn an_issuer_that_hangs_holds_up_one_browser_at_most() {
    let world = World::with(Tokens::start().await, "", "", "").await;
    let (issuer, url) = (&world.around.issuer, world.around.issuer.url());
    let document = json!({
        "issuer": url,
        "jwks_uri": format!("{url}/keys"),
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": world.tokens.url(),
    });
    world.around.gateway.ready().await;
    issuer.answer(Document::Discovery, IssuerAnswer::json(&document));
    assert_eq!(world.browser().get("/auth/login", &[]).await.status, 302);
    // The first fetch of the keys is over: the next one is due from now on.
    world.around.passes().await;
    issuer.answer(Document::Discovery, IssuerAnswer::Stalled);
    let before = issuer.requests(Document::Discovery);
    world.around.hands.advance(Duration::from_secs(301));
    // Keys are fetched by discovery, too.
    issuer.asked(Document::Discovery, before + 1).await;
    let meanwhile = async {
        issuer.asked(Document::Discovery, before + 2).await;
        let second = world.browser().get("/auth/login", &[]).await.status;
        // Half of the session's `timeout`.
        world.around.hands.advance(Duration::from_millis(2500));
        second
    };
    let mut first = world.browser();
    let (first, second) = tokio::join!(first.get("/auth/login", &[]), meanwhile);
    assert_eq!((first.status, second), (302, 302));
}

//! How often an issuer is asked, and by whom.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{TOKEN, World, code};
use crate::harness::client::Client;

#[tokio::test]
async fn a_crowd_with_one_token_makes_one_call() {
    let world = World::configured("", "timeout = \"60s\"").await;
    world.knows_but(&json!({}));
    world.endpoint.hold();
    let crowd = join_all((0..100).map(|_| world.get(TOKEN)));
    let release = async {
        world.endpoint.holds(1).await;
        world.endpoint.release();
    };
    let (answers, ()) = tokio::join!(crowd, release);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.endpoint.asked().len(), 1);
    let result = "bearward_introspections_total{issuer=\"main\",result=\"active\"}";
    assert_eq!(world.gateway.sample(result), Some(1.0));
    assert_eq!(world.gateway.sample("bearward_introspection_duration_seconds_count{issuer=\"main\"}"), Some(1.0));
}

#[tokio::test]
async fn the_call_goes_on_when_the_first_caller_leaves() {
    let world = World::configured("", "timeout = \"60s\"").await;
    world.knows_but(&json!({}));
    world.endpoint.hold();
    let mut leaver = Client::connect(world.gateway.address()).await;
    leaver.send(format!("GET / HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")).await;
    world.endpoint.holds(1).await;
    drop(leaver);
    let release = async { world.endpoint.release() };
    let (answer, ()) = tokio::join!(world.get(TOKEN), release);
    assert_eq!(answer.status, 200);
    assert_eq!(world.endpoint.asked().len(), 1);
}

#[tokio::test]
async fn more_tokens_at_once_than_allowed_are_refused_as_overload() {
    let world = World::configured("", "timeout = \"60s\"\nmax_concurrent = 3").await;
    world.endpoint.hold();
    let tokens: Vec<_> = (0..3).map(|number| format!("junk-{number}")).collect();
    let held = join_all(tokens.iter().map(|token| world.get(token)));
    let excess = async {
        world.endpoint.holds(3).await;
        let refused = join_all((3..100).map(|number| {
            let world = &world;
            async move { world.get(&format!("junk-{number}")).await }
        }))
        .await;
        for answer in &refused {
            assert_eq!((answer.status, code(answer).as_str()), (503, "overloaded"));
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(answer.header("www-authenticate"), None);
        }
        world.endpoint.release();
    };
    let (answers, ()) = tokio::join!(held, excess);
    assert!(answers.iter().all(|answer| code(answer) == "token_inactive"));
    assert_eq!(world.endpoint.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_stands_for_its_time_and_not_beyond_the_token() {
    let world = World::start().await;
    world.knows_but(&json!({ "exp": world.now + 40 }));
    world.comes_to((200, ""), "asked").await;
    world.hands.advance(Duration::from_secs(29));
    world.comes_to((200, ""), "remembered").await;
    assert_eq!(world.endpoint.asked().len(), 1);
    world.hands.advance(Duration::from_secs(1));
    world.comes_to((200, ""), "asked again after `cache`").await;
    assert_eq!(world.endpoint.asked().len(), 2);
    // Ten seconds to the token's end, less than `cache`; in its leeway it is asked about each time.
    world.hands.advance(Duration::from_secs(10));
    world.comes_to((200, ""), "in the leeway").await;
    assert_eq!(world.endpoint.asked().len(), 3);
    world.hands.advance(Duration::from_secs(30));
    world.comes_to((401, "token_expired"), "after it").await;
}

#[tokio::test]
async fn not_active_stands_for_a_shorter_time() {
    let world = World::start().await;
    world.comes_to((401, "token_inactive"), "unknown").await;
    world.knows_but(&json!({}));
    world.hands.advance(Duration::from_millis(4_999));
    world.comes_to((401, "token_inactive"), "remembered").await;
    world.hands.advance(Duration::from_millis(1));
    world.comes_to((200, ""), "asked again").await;
    assert_eq!(world.endpoint.asked().len(), 2);
}

#[tokio::test]
async fn the_client_proves_itself_as_configured() {
    // Whatever this variable holds, it is a secret of this test.
    let secret = std::env::var("PATH").unwrap();
    let configured = |method: &str| format!("auth_method = \"{method}\"\nclient_secret = {{ env = \"PATH\" }}");

    let world = World::asking("", &configured("client_secret_basic")).await;
    world.comes_to((401, "token_inactive"), "basic").await;
    let asked = &world.endpoint.asked()[0];
    let pair = STANDARD.decode(asked.header("authorization").unwrap().strip_prefix("Basic ").unwrap()).unwrap();
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    assert_eq!(String::from_utf8(pair).unwrap(), format!("gateway:{encoded}"));
    assert_eq!((asked.field("client_id"), asked.field("client_secret")), (None, None));

    let world = World::asking("", &configured("client_secret_post")).await;
    world.comes_to((401, "token_inactive"), "post").await;
    let asked = &world.endpoint.asked()[0];
    assert_eq!((asked.field("client_id"), asked.field("client_secret")), (Some("gateway"), Some(secret.as_str())));
    assert_eq!(asked.header("authorization"), None);

    let world = World::start().await;
    world.comes_to((401, "token_inactive"), "none").await;
    let asked = &world.endpoint.asked()[0];
    assert_eq!((asked.field("client_id"), asked.field("client_secret")), (Some("gateway"), None));
    assert_eq!(asked.header("authorization"), None);
}

/// RFC 7523 section 3: for this endpoint alone, for a minute, and each time another.
#[tokio::test]
async fn the_client_proves_itself_by_its_own_key() {
    let key = rcgen::KeyPair::generate().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.pem");
    std::fs::write(&file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let lines = format!(
        "auth_method = \"private_key_jwt\"\nprivate_key = {{ file = \"{}\" }}\nkid = \"c1\"\nalg = \"ES256\"",
        file.display()
    );
    let world = World::asking("", &lines).await;
    world.get("first").await;
    world.get("second").await;
    let mut ids = Vec::new();
    for asked in world.endpoint.asked() {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!((asked.field("client_id"), asked.field("client_assertion_type")), (Some("gateway"), Some(kind)));
        let (input, signature) = asked.field("client_assertion").unwrap().rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key_raw());
        public.verify(input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let (header, claims) = input.split_once('.').unwrap();
        let part = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(part(header), json!({ "alg": "ES256", "kid": "c1", "typ": "JWT" }));
        let mut claims = part(claims);
        ids.push(claims["jti"].take());
        assert_eq!(
            claims,
            json!({
                "iss": "gateway", "sub": "gateway", "aud": world.endpoint.url(),
                "iat": world.now, "exp": world.now + 60, "jti": null,
            })
        );
    }
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids[0].as_str().unwrap().len() == 22);
}

#[tokio::test]
async fn what_was_answered_outlives_a_reload_that_changes_nothing_of_it() {
    let world = World::start().await;
    world.knows_but(&json!({}));
    world.comes_to((200, ""), "asked").await;
    world.gateway.adopt(&world.toml.replace("\"write\"", "\"written\""));
    world.comes_to((200, ""), "remembered").await;
    assert_eq!(world.endpoint.asked().len(), 1);
    world.gateway.adopt(&world.toml.replace("client_id = \"gateway\"", "client_id = \"other\""));
    world.comes_to((200, ""), "asked by another client").await;
    assert_eq!(world.endpoint.asked().len(), 2);
}

/// A flood of questions about one opaque token costs the issuer one call for each `cache`.
#[tokio::test]
async fn many_requests_with_one_token_make_one_call_for_each_period() {
    let world = World::start().await;
    world.knows_but(&json!({}));
    for (period, requests) in [(1, 10_000), (2, 100), (3, 100)] {
        let mut client = Client::connect(world.gateway.address()).await;
        for _ in 0..requests {
            let request = format!("GET / HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
            assert_eq!(client.ask(request).await.status, 200);
        }
        assert_eq!(world.endpoint.asked().len(), period);
        world.hands.advance(Duration::from_secs(30));
    }
}

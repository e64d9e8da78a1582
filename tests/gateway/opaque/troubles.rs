//! An issuer that cannot be asked, or whose reply is no answer: never a pass, and a 401 only where the token is to blame.

use std::time::Duration;

use serde_json::json;

use super::{TOKEN, World, code};
use crate::harness::client::Client;
use crate::harness::forms::Reply;
use crate::harness::introspection::Introspection;
use crate::harness::world::merged;

const UNAVAILABLE: (u16, &str) = (503, "introspection_unavailable");
const INACTIVE: (u16, &str) = (401, "token_inactive");

/// Each reply with what it comes to, and the label it is counted under.
#[tokio::test]
async fn a_reply_that_is_no_answer_is_never_a_pass() {
    let good = json!({ "active": true, "token_type": "Bearer", "aud": "https://api.example.com", "scope": "read" });
    let large = json!({ "active": true, "token_type": "Bearer", "x": "x".repeat(64 * 1024) }).to_string();
    let deep = format!("{{\"active\":true,\"x\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    for (case, reply, expected, result) in [
        ("a page", Reply::body("text/html", "<html>"), UNAVAILABLE, "malformed"),
        ("no JSON", Reply::body("application/json", "{"), UNAVAILABLE, "malformed"),
        ("no object", Reply::body("application/json", "true"), UNAVAILABLE, "malformed"),
        ("nothing", Reply::body("application/json", ""), UNAVAILABLE, "malformed"),
        ("repeated", Reply::body("application/json", "{\"active\":false,\"active\":true}"), UNAVAILABLE, "malformed"),
        ("deep", Reply::body("application/json", deep), UNAVAILABLE, "malformed"),
        ("large", Reply::body("application/json", large), UNAVAILABLE, "malformed"),
        ("endless", Reply::Endless, UNAVAILABLE, "malformed"),
        ("no HTTP", Reply::Garbage, UNAVAILABLE, "interrupted"),
        ("500", Reply::status(500, "", &good.to_string()), UNAVAILABLE, "status"),
        ("404", Reply::status(404, "", ""), UNAVAILABLE, "status"),
        ("201", Reply::status(201, "", &good.to_string()), UNAVAILABLE, "status"),
        ("204", Reply::status(204, "", ""), UNAVAILABLE, "status"),
        ("302", Reply::status(302, "Location: http://127.0.0.1:1/\r\n", ""), UNAVAILABLE, "status"),
        ("401", Reply::status(401, "", "{\"error\":\"invalid_client\"}"), UNAVAILABLE, "unauthorized"),
        ("403", Reply::status(403, "", ""), UNAVAILABLE, "unauthorized"),
        ("400 for us", Reply::status(400, "", "{\"error\":\"invalid_client\"}"), UNAVAILABLE, "unauthorized"),
        ("400 for it", Reply::status(400, "", "{\"error\":\"unsupported_token_type\"}"), INACTIVE, "inactive"),
        ("400 with good claims", Reply::status(400, "", &good.to_string()), INACTIVE, "inactive"),
    ] {
        let world = World::start().await;
        world.endpoint.know(TOKEN, reply);
        world.comes_to(expected, case).await;
        assert_eq!(world.upstream.count(), 0, "{case}");
        let series = format!("bearward_introspections_total{{issuer=\"main\",result=\"{result}\"}}");
        assert_eq!(world.gateway.sample(&series), Some(1.0), "{case}");
    }
}

/// Our credentials are one issuer's affair: JWTs, public routes and other issuers' tokens go on.
#[tokio::test]
async fn an_issuer_that_does_not_know_our_client_leaves_readiness_as_it_is() {
    let world = World::start().await;
    world.gateway.ready().await;
    assert_eq!(code(&world.get("first").await), "token_inactive");
    world.endpoint.otherwise(Reply::status(401, "", "{\"error\":\"invalid_client\"}"));
    for number in 0..10 {
        assert_eq!(code(&world.get(&format!("token-{number}")).await), UNAVAILABLE.1);
    }
    assert_eq!(Client::connect(world.gateway.admin_address()).await.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_503_says_when_to_come_again_and_blames_nobody() {
    let world = World::start().await;
    world.endpoint.know(TOKEN, Reply::status(500, "", ""));
    let answer = world.get(TOKEN).await;
    assert_eq!(
        (answer.status, answer.header("retry-after"), answer.header("www-authenticate")),
        (503, Some("1"), None)
    );
    // The issuer's own wish is passed on, and held to.
    world.endpoint.otherwise(Reply::status(429, "Retry-After: 7\r\n", ""));
    let answer = world.get("other").await;
    assert_eq!((code(&answer).as_str(), answer.header("retry-after")), ("introspection_unavailable", Some("7")));
    let asked = world.endpoint.asked().len();
    world.hands.advance(Duration::from_secs(6));
    let answer = world.get("another").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(world.endpoint.asked().len(), asked, "it is left alone");
    world.hands.advance(Duration::from_secs(1));
    world.endpoint.otherwise(Reply::json(&json!({ "active": false })));
    assert_eq!(code(&world.get("another").await), "token_inactive");
}

#[tokio::test]
async fn a_slow_issuer_is_waited_for_no_longer_than_its_timeout() {
    for reply in [None, Some(Reply::Stalled)] {
        let world = World::start().await;
        world.knows_but(&json!({}));
        match reply {
            None => world.endpoint.hold(),
            Some(reply) => world.endpoint.know(TOKEN, reply),
        }
        let moved = async {
            while world.endpoint.asked().is_empty() {
                tokio::task::yield_now().await;
            }
            world.hands.advance(Duration::from_secs(2));
        };
        let (answer, ()) = tokio::join!(world.get(TOKEN), moved);
        assert_eq!((answer.status, code(&answer).as_str()), UNAVAILABLE);
        let series = "bearward_introspections_total{issuer=\"main\",result=\"timeout\"}";
        assert_eq!(world.gateway.sample(series), Some(1.0));
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_is_tried_again_by_one_and_found_when_it_is_back() {
    let mut world = World::start().await;
    world.knows_but(&json!({}));
    world.endpoint.down().await;
    for number in 0..5 {
        assert_eq!(code(&world.get(&format!("token-{number}")).await), UNAVAILABLE.1);
    }
    let refused = "bearward_introspections_total{issuer=\"main\",result=\"unreachable\"}";
    assert_eq!(world.gateway.sample(refused), Some(5.0));
    world.comes_to(UNAVAILABLE, "left alone").await;
    assert_eq!(world.gateway.sample(refused), Some(5.0));
    world.endpoint.up().await;
    world.comes_to(UNAVAILABLE, "still left alone").await;
    world.hands.advance(Duration::from_secs(1));
    world.comes_to((200, ""), "back").await;
}

#[tokio::test]
async fn what_is_remembered_serves_while_the_issuer_is_down() {
    let mut world = World::start().await;
    world.knows_but(&json!({}));
    world.comes_to((200, ""), "asked").await;
    world.endpoint.down().await;
    world.comes_to((200, ""), "remembered").await;
    world.hands.advance(Duration::from_secs(30));
    world.comes_to(UNAVAILABLE, "no longer remembered").await;
}

/// What it said of itself before holds while it cannot be asked again, and costs the question itself no time that it needs.
#[tokio::test]
async fn an_endpoint_that_was_learned_stands_on_while_discovery_hangs() {
    use crate::harness::issuer::{Answer, Document};
    let endpoint = Introspection::start().await;
    let world = World::discovering().await;
    let document = merged(world.issuer.metadata(), &json!({ "introspection_endpoint": endpoint.url() }));
    world.issuer.answer(Document::Discovery, Answer::json(&document));
    world.comes_to(INACTIVE, "learned").await;
    world.issuer.answer(Document::Discovery, Answer::Stalled);
    let before = world.issuer.requests(Document::Discovery);
    world.hands.advance(Duration::from_secs(301));
    // Keys are fetched by discovery, too.
    world.issuer.asked(Document::Discovery, before + 1).await;
    let moved = async {
        world.issuer.asked(Document::Discovery, before + 2).await;
        world.hands.advance(Duration::from_secs(1));
    };
    let (answer, ()) = tokio::join!(world.get("second"), moved);
    assert_eq!(code(&answer), INACTIVE.1);
    assert_eq!(code(&world.get("third").await), INACTIVE.1, "it does not ask again at once");
    assert_eq!(world.issuer.requests(Document::Discovery), before + 2);
}

/// For a key that is not known the issuer's set is fetched; that is not waited for longer than for the reply itself.
#[tokio::test]
async fn a_signed_reply_of_an_unknown_key_is_waited_for_no_longer_than_the_timeout() {
    let world = World::start().await;
    let header = json!({ "alg": "RS256", "kid": "key-1", "typ": "at+jwt" });
    let access = world.key.sign(&header, &merged(world.claims(), &json!({ "active": null })));
    assert_eq!(world.get(&access).await.status, 200, "the keys are here");
    let header = json!({ "alg": "RS256", "kid": "another", "typ": "token-introspection+jwt" });
    let jwt =
        world.key.sign(&header, &json!({ "iss": world.issuer.url(), "aud": "gateway", "token_introspection": {} }));
    world.endpoint.know("signed", Reply::body("application/token-introspection+jwt", jwt));
    world.hands.advance(Duration::from_secs(11));
    world.issuer.hold();
    let asked = world.issuer.requests(crate::harness::issuer::Document::Discovery);
    let moved = async {
        world.issuer.asked(crate::harness::issuer::Document::Discovery, asked + 1).await;
        world.hands.advance(Duration::from_secs(2));
    };
    let (answer, ()) = tokio::join!(world.get("signed"), moved);
    assert_eq!((answer.status, code(&answer).as_str()), UNAVAILABLE);
    let series = "bearward_introspections_total{issuer=\"main\",result=\"timeout\"}";
    assert_eq!(world.gateway.sample(series), Some(1.0));
}

#[tokio::test]
async fn the_endpoint_is_learned_by_discovery_and_no_further_than_that_is_believed() {
    use crate::harness::issuer::{Answer, Document};
    for (case, change, expected) in [
        ("good", json!({}), INACTIVE),
        ("none", json!({ "introspection_endpoint": null }), UNAVAILABLE),
        ("another scheme", json!({ "introspection_endpoint": "https://127.0.0.1/introspect" }), UNAVAILABLE),
        ("metadata service", json!({ "introspection_endpoint": "http://169.254.169.254/" }), UNAVAILABLE),
        ("user info", json!({ "introspection_endpoint": "http://a@127.0.0.1/" }), UNAVAILABLE),
        ("another issuer", json!({ "issuer": "http://other.example.com" }), UNAVAILABLE),
    ] {
        let endpoint = Introspection::start().await;
        let world = World::discovering().await;
        let document = merged(world.issuer.metadata(), &json!({ "introspection_endpoint": endpoint.url() }));
        world.issuer.answer(Document::Discovery, Answer::json(&merged(document, &change)));
        world.comes_to(expected, case).await;
        assert_eq!(endpoint.asked().len(), usize::from(expected == INACTIVE), "{case}");
    }
}

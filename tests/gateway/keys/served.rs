//! Key sets as clients, probes and scrapers of a whole gateway see them.

use std::time::Duration;

use bearward::remote::jwks::PATIENCE;
use serde_json::{Value, json};

use super::engine::{COOLDOWN, MAX_STALE, REFRESH, patiently};
use crate::harness::client::Client;
use crate::harness::issuer::{Answer, Document};
use crate::harness::mint::{Key, jwk_set};
use crate::harness::world::World;

const KEYS: &str = "bearward_jwks_keys{issuer=\"main\"}";
const LAST_SUCCESS: &str = "bearward_jwks_last_success_timestamp_seconds{issuer=\"main\"}";

/// How often fetches ended so.
fn fetches(world: &World, trigger: &str, result: &str) -> f64 {
    let labels = format!("issuer=\"main\",result=\"{result}\",trigger=\"{trigger}\"");
    world.gateway.sample(&format!("bearward_jwks_fetches_total{{{labels}}}")).unwrap_or_default()
}

/// Waits until so many fetches have ended so.
async fn fetched(world: &World, trigger: &str, result: &str, count: f64) {
    let labels = format!("issuer=\"main\",result=\"{result}\",trigger=\"{trigger}\"");
    world.gateway.counted(&format!("bearward_jwks_fetches_total{{{labels}}}"), count).await;
}

/// The status of `/readyz`, and what it says of the issuer.
async fn ready(world: &World) -> (u16, Value) {
    let answer = Client::connect(world.gateway.admin_address()).await.get("/readyz").await;
    let mut told: Value = serde_json::from_slice(&answer.body).unwrap();
    let components = told["components"].as_array_mut().unwrap();
    let issuer = components.iter_mut().find(|component| component["name"] == "issuer main").unwrap();
    (answer.status, issuer.take())
}

fn held(from: &str, age: Duration, usable: usize) -> Value {
    let keys = json!({ "from": from, "age_seconds": age.as_secs(), "usable": usable });
    json!({ "name": "issuer main", "ready": true, "keys": keys })
}

async fn told(world: &World, token: &str) -> (u16, String) {
    let answer = world.get(token).await;
    (answer.status, answer.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn passed() -> (u16, String) {
    (200, String::new())
}

/// Unreachable at the start: the gateway listens and is not ready; a token may be good, and is told so.
#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_awaited() {
    let mut world = World::start_without_issuer("").await;
    fetched(&world, "start", "unreachable", 1.0).await;
    let answer = world.get(&world.token()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "keys_unavailable"));
    assert_eq!((answer.header("retry-after"), answer.header("www-authenticate")), (Some("10"), None));
    assert_eq!(world.upstream.opened(), 0);
    let why = "its keys have not been seen yet";
    assert_eq!(ready(&world).await, (503, json!({ "name": "issuer main", "ready": false, "why": why })));
    assert_eq!((world.gateway.sample(KEYS), world.gateway.sample(LAST_SUCCESS)), (Some(0.0), None));

    world.issuer.up();
    world.hands.advance(COOLDOWN);
    world.passes().await;
    assert_eq!(ready(&world).await, (200, held("issuer", Duration::ZERO, 1)));
}

#[tokio::test]
async fn an_issuer_that_is_not_required_is_not_awaited() {
    let world = World::start_without_issuer("required_for_ready = false").await;
    assert_eq!(ready(&world).await, (200, json!({ "name": "issuer main", "ready": true })));
}

/// Down after a good fetch: known keys serve until they are too old, then it is our fault and not the token's. What
/// monitoring sees is the last success; readiness is unmoved.
#[tokio::test]
async fn an_outage_is_bridged_until_the_keys_are_too_old() {
    let mut world = World::start().await;
    world.passes().await;
    world.issuer.down().await;
    world.hands.advance(MAX_STALE - Duration::from_secs(1));
    fetched(&world, "refresh", "unreachable", 1.0).await;
    let token = world.token_but(&json!({ "exp": world.now() + 2 * MAX_STALE.as_secs() }));
    assert_eq!(told(&world, &token).await, passed());
    assert_eq!(ready(&world).await, (200, held("issuer", MAX_STALE - Duration::from_secs(1), 1)));

    world.hands.advance(Duration::from_secs(1));
    assert_eq!(told(&world, &token).await, refused(503, "keys_unavailable"));
    assert_eq!(ready(&world).await, (200, held("issuer", MAX_STALE, 0)));
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let start = world.now() as f64;
    assert_eq!(world.gateway.sample(LAST_SUCCESS), Some(start));
    fetched(&world, "refresh", "unreachable", 2.0).await;
    assert_eq!(world.gateway.sample(KEYS), Some(0.0));
}

/// A gateway that starts while the issuer is down is ready and serves, from what an earlier one left.
#[tokio::test]
async fn a_snapshot_bridges_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys/main.jwks");
    let lines = format!("jwks = {{ snapshot = \"{}\" }}", path.display());
    let mut world = World::configured(&lines, "").await;
    world.passes().await;
    let written = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    patiently(written).await;
    world.issuer.down().await;
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let start = world.now() as f64;

    world.restart(3600);
    world.passes().await;
    assert_eq!(ready(&world).await, (200, held("snapshot", Duration::from_secs(3600), 1)));
    assert_eq!((world.gateway.sample(KEYS), world.gateway.sample(LAST_SUCCESS)), (Some(1.0), Some(start)));
    fetched(&world, "start", "unreachable", 1.0).await;
    assert_eq!(fetches(&world, "start", "success"), 0.0);
    assert_eq!(told(&world, &world.token()).await, passed());

    world.issuer.up();
    world.hands.advance(REFRESH);
    fetched(&world, "refresh", "success", 1.0).await;
    assert_eq!(ready(&world).await, (200, held("issuer", Duration::ZERO, 1)));
}

/// A key that comes is good for its first token; one that goes takes its tokens with it, the proven ones too.
#[tokio::test]
async fn a_rotation_refuses_no_good_token() {
    let world = World::start().await;
    let old = world.token();
    assert_eq!(told(&world, &old).await, passed());
    let next = Key::p256("key-2");
    let claims = json!({ "jti": "2" });
    let signed_by_next = next.token(&crate::harness::world::merged(world.claims(), &claims));

    world.issuer.rotate(&[world.key, next]);
    world.hands.advance(COOLDOWN);
    assert_eq!(told(&world, &signed_by_next).await, passed());
    assert_eq!(fetches(&world, "unknown_kid", "success"), 1.0);
    world.issuer.rotate(&[next]);
    assert_eq!(told(&world, &old).await, passed(), "nobody has asked since");
    world.hands.advance(REFRESH);
    fetched(&world, "refresh", "success", 1.0).await;
    assert_eq!(told(&world, &old).await, refused(401, "key_unknown"));
    assert_eq!(told(&world, &signed_by_next).await, passed());
}

/// Ten thousand tokens with ten thousand invented kids in ten seconds: one fetch per cooldown, each refused as what it is,
/// and good tokens pass all the while. Those that come while that fetch is on its way wait for it, and no longer.
#[tokio::test]
async fn a_storm_of_unknown_kids_costs_one_fetch_per_cooldown() {
    let world = World::start().await;
    let good = world.token();
    assert_eq!(told(&world, &good).await, passed());
    let (_, body) = good.split_once('.').unwrap();
    let mut client = Client::connect(world.gateway.address()).await;
    let mut before = world.issuer.requests(Document::Keys);
    for second in 0..10 {
        world.hands.advance(Duration::from_secs(1));
        for number in 0..1000 {
            let header = json!({ "alg": "RS256", "kid": format!("{second}-{number}"), "typ": "at+jwt" });
            let token = format!("{}.{body}", crate::harness::mint::base64(header.to_string().as_bytes()));
            let request = format!("GET /orders HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
            let answer = client.ask(request).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "key_unknown"), "{second} {number}");
        }
        assert_eq!(told(&world, &good).await, passed());
        let fetched = world.issuer.requests(Document::Keys);
        assert!(fetched - before <= usize::from(second == 9), "second {second}");
        before = fetched;
    }
    assert_eq!(fetches(&world, "unknown_kid", "success"), 1.0);
}

/// The fetch that an unknown key began hangs: tokens of known keys are judged meanwhile, and who waits for it waits 5 s.
#[tokio::test]
async fn known_keys_do_not_wait_for_a_fetch_in_progress() {
    let world = World::start().await;
    world.passes().await;
    world.hands.advance(COOLDOWN);
    world.issuer.hold();
    let unknown = Key::p256("key-2").token(&world.claims());
    let waiting = world.get(&unknown);
    let others = async {
        world.issuer.asked(Document::Discovery, 2).await;
        for number in 0..10 {
            let token = world.token_but(&json!({ "jti": format!("fresh {number}") }));
            assert_eq!(told(&world, &token).await, passed());
        }
        world.hands.advance(PATIENCE);
    };
    let (waited, ()) = tokio::join!(waiting, others);
    assert_eq!((waited.status, waited.code().as_str()), (503, "keys_unavailable"));
}

/// Each of two keys under one kid is tried, and of more the first four.
#[tokio::test]
async fn keys_that_share_a_kid_are_tried() {
    let keys = ["one", "two", "three", "four", "five"].map(|kid| Key::p256(kid).named("shared"));
    let world = World::publishing(keys.iter().map(Key::jwk).collect()).await;
    world.passes().await;
    for (number, key) in keys.iter().enumerate() {
        let told = told(&world, &key.token(&world.claims())).await;
        let expected = if number < 4 { passed() } else { refused(401, "signature_invalid") };
        assert_eq!(told, expected, "{number}");
    }
}

/// A key of a kind of tomorrow, and one that is no key at all, stand beside those that are used.
#[tokio::test]
async fn keys_that_cannot_be_used_do_not_matter() {
    let world = World::publishing(vec![
        json!({ "kty": "AKP", "alg": "ML-DSA-65", "kid": "tomorrow", "pub": "AAAA" }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "torn", "x": "AA" }),
        json!(42),
    ])
    .await;
    world.passes().await;
    assert_eq!(world.gateway.sample(KEYS), Some(1.0));
}

/// Further spellings are good in tokens. The discovery document must have the first one: an alias there is another issuer.
#[tokio::test]
async fn an_alias_is_good_in_tokens_and_not_in_discovery() {
    let world = World::configured("aliases = [\"https://old.example.com\"]", "").await;
    let aliased = world.token_but(&json!({ "iss": "https://old.example.com" }));
    assert_eq!(told(&world, &aliased).await, passed());
    let unknown = world.token_but(&json!({ "iss": "https://old.example.com/" }));
    assert_eq!(told(&world, &unknown).await, refused(401, "issuer_unknown"));

    let mut document = world.issuer.metadata();
    document["issuer"] = json!("https://old.example.com");
    world.issuer.answer(Document::Discovery, Answer::json(&document));
    world.issuer.answer(Document::Keys, Answer::json(&jwk_set(&[Key::p256("evil")])));
    world.hands.advance(REFRESH);
    fetched(&world, "refresh", "issuer_mismatch", 1.0).await;
    assert_eq!(world.issuer.requests(Document::Keys), 1);
    assert_eq!(told(&world, &aliased).await, passed(), "by the keys of before");
}

/// Keys of a file are told as such.
#[tokio::test]
async fn readiness_tells_keys_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    std::fs::write(&path, jwk_set(&[Key::rsa("key-1")]).to_string()).unwrap();
    let world = World::configured(&format!("jwks = {{ file = \"{}\" }}", path.display()), "").await;
    world.passes().await;
    world.hands.advance(Duration::from_secs(7));
    assert_eq!(ready(&world).await, (200, held("file", Duration::from_secs(7), 1)));
}

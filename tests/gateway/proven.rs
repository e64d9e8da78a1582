//! A token whose signature was verified is not verified again, and is judged all the same.

use std::time::Duration;

use serde_json::json;

use crate::harness::issuer::Document;
use crate::harness::mint::Key;
use crate::harness::world::World;

const HITS: &str = "bearward_verified_cache_total{result=\"hit\"}";
const MISSES: &str = "bearward_verified_cache_total{result=\"miss\"}";

#[tokio::test]
async fn the_second_use_of_a_token_is_spared_the_signature() {
    let world = World::start().await;
    let token = world.token();
    // What is refused before its signature is no miss.
    for refused in [world.token_but(&json!({ "exp": 1 })), "junk".to_owned()] {
        assert_eq!(world.get(&refused).await.status, 401);
    }
    for (hits, misses) in [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)] {
        assert_eq!(world.get(&token).await.status, 200);
        assert_eq!((world.gateway.sample(HITS), world.gateway.sample(MISSES)), (Some(hits), Some(misses)));
    }
}

#[tokio::test]
async fn a_token_that_differs_in_one_byte_is_another_token() {
    let world = World::start().await;
    let token = world.token();
    assert_eq!(world.get(&token).await.status, 200);
    // The first letter of the signature: the bits of the last one need not all count.
    let (input, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let answer = world.get(&format!("{input}.{other}{}", &signature[1..])).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "signature_invalid"));
    assert_eq!(world.gateway.sample(HITS), Some(0.0));
}

#[tokio::test]
async fn a_proven_token_expires() {
    let world = World::start().await;
    let token = world.token_but(&json!({ "exp": world.now() + 60 }));
    assert_eq!(world.get(&token).await.status, 200);
    world.hands.advance(Duration::from_secs(60 + 29));
    assert_eq!(world.get(&token).await.status, 200, "within the leeway");
    world.hands.advance(Duration::from_secs(1));
    let answer = world.get(&token).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_expired"));
    assert_eq!(world.gateway.sample(HITS), Some(2.0));
}

#[tokio::test]
async fn a_proven_token_is_judged_by_each_routes_policy() {
    let world = World::configured(
        "",
        r#"
[[routes]]
path = "/admin"
upstream = "api"
policy = { issuers = ["main"], audience = ["https://api.example.com"], scopes = ["admin"] }

[[routes]]
path = "/billing"
upstream = "api"
policy = { issuers = ["main"], audience = ["https://billing.example.com"] }
"#,
    )
    .await;
    let token = world.token();
    let bearer = format!("Bearer {token}");
    assert_eq!(world.get(&token).await.status, 200);
    for (path, status, code) in [("/admin", 403, "scope_insufficient"), ("/billing", 401, "audience_wrong")] {
        let answer = world.ask("GET", path, &[("Authorization", &bearer)]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    assert_eq!(world.gateway.sample(HITS), Some(2.0));
}

#[tokio::test]
async fn a_key_that_leaves_the_set_takes_its_tokens_with_it() {
    let world = World::start().await;
    let token = world.token();
    assert_eq!(world.get(&token).await.status, 200);
    world.issuer.rotate(&[Key::p256("key-2")]);
    // The next refresh sees the new set; until then the old key is the issuer's.
    assert_eq!(world.get(&token).await.status, 200);
    refreshed(&world).await;
    let answer = world.get(&token).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "key_unknown"));
}

#[tokio::test]
async fn the_same_key_under_another_kid_does_not_vouch() {
    let world = World::start().await;
    let token = world.token();
    assert_eq!(world.get(&token).await.status, 200);
    world.issuer.rotate(&[world.key.named("renamed")]);
    refreshed(&world).await;
    let answer = world.get(&token).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "key_unknown"), "as on a cold cache");
}

/// As on a cold cache, where nothing says which of them signed it.
#[tokio::test]
async fn a_token_without_a_kid_is_no_longer_vouched_for_once_several_keys_could_be_meant() {
    let world = World::start().await;
    let token = world.token_headed(&json!({ "kid": null }));
    assert_eq!(world.get(&token).await.status, 200);
    world.issuer.rotate(&[world.key, world.key.named("key-2")]);
    refreshed(&world).await;
    let answer = world.get(&token).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "key_unknown"));
}

/// The gateway has fetched the key set once more, because its time had come.
async fn refreshed(world: &World) {
    let fetched = world.issuer.requests(Document::Keys);
    world.hands.advance(Duration::from_secs(300));
    world.issuer.asked(Document::Keys, fetched + 1).await;
    world
        .gateway
        .counted("bearward_jwks_fetches_total{issuer=\"main\",result=\"success\",trigger=\"refresh\"}", 1.0)
        .await;
}

//! The issuer is down from the first fetch of its keys on.

use std::time::Duration;

use crate::harness::issuer::Document;
use crate::harness::mint::Key;
use crate::world::{Crowd, World, orders, told};

const SECONDS: u64 = 60;

pub async fn run() -> bool {
    let key = Key::p256("key");
    let mut world = World::start(key, "", "jwks = { refresh = \"1s\" }", "").await;
    world.gateway.says("the issuer's keys are here");
    world.issuer.down().await;
    let fetches = world.issuer.requests(Document::Keys);
    // So many that most are not proven yet.
    let tokens = world.tokens(key, 20_000);
    let mut crowd = Crowd::new(world.gateway.address);
    crowd.join_http1(16, &orders(move || tokens.next(), Duration::from_millis(20)));
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    crowd.course.end();
    let fates = crowd.gone().await;
    let failed = "bearward_jwks_fetches_total{issuer=\"main\",result=\"unreachable\",trigger=\"refresh\"}";
    let failed = world.gateway.sample(failed).await.unwrap_or_default();
    let about = format!("{SECONDS} s with the issuer down, {fetches} good and {failed} failed fetches");
    told("outage", &about, &fates) && failed > 1.0
}

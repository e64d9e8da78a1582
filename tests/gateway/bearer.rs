//! The main job: a good access token lets the request through; the upstream learns who calls.

use crate::harness::world::World;

#[tokio::test]
async fn a_good_token_reaches_the_upstream_with_its_identity() {
    let world = World::start().await;
    let answer = world.get(&world.token()).await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    let request = world.upstream.request(0).await;
    assert_eq!(request.target(), "/orders");
    assert_eq!(request.all("x-user"), ["alice"]);
    assert_eq!(request.all("x-scope"), ["read write"]);
}

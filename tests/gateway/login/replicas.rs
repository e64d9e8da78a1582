//! Three gateways over one real Redis: where a login ends at one of them it is over at all, though each has it in memory.

use bearward::remote::clock::Hands;
use serde_json::json;

use super::stores::keyed;
use super::{Begun, Browser, COOKIE, SCRIPT, World, set_cookies};
use crate::harness::gateway::Served;
use crate::harness::redis::Redis;

/// The usual world, two more gateways of its configuration, and the store of all three.
struct Replicas {
    world: World,
    others: [(Served, Hands); 2],
    redis: Redis,
    _key: tempfile::TempDir,
}

impl Replicas {
    async fn start() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let (key, line) = keyed();
        let world = World::configured(&line, &format!("[store]\nurl = \"{}\"", redis.url())).await;
        let others = [world.around.beside(), world.around.beside()];
        Some(Self { world, others, redis, _key: key })
    }

    /// The browser, as it meets each of the gateways.
    fn met(&self, browser: &Browser) -> [Browser; 3] {
        let [second, third] = &self.others;
        [&self.world.around.gateway, &second.0, &third.0]
            .map(|gateway| Browser { address: gateway.address(), ..browser.clone() })
    }

    /// A browser that is logged in, and that each of the gateways remembers.
    async fn known(&self) -> Browser {
        let browser = self.world.logged_in().await;
        self.pass(&browser).await;
        browser
    }

    async fn pass(&self, browser: &Browser) {
        for met in self.met(browser) {
            for _ in 0..3 {
                let answer = met.peek("GET", "/orders", SCRIPT).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
    }

    /// That the very next request at each of them finds no session.
    async fn is_over(&self, browser: &Browser) {
        for met in self.met(browser).iter().rev() {
            for path in ["/orders", "/auth/session"] {
                let answer = met.peek("GET", path, SCRIPT).await;
                assert_eq!((answer.status, answer.code().as_str()), (401, "session_expired"), "{path}");
                assert_eq!(set_cookies(&answer).len(), 1, "{path}: its cookie is taken back");
            }
        }
    }
}

#[tokio::test]
async fn a_logout_at_one_gateway_is_one_at_all() {
    let Some(replicas) = Replicas::start().await else { return };
    let (mut browser, other) = (replicas.known().await, replicas.known().await);
    let before = browser.clone();
    assert_eq!(browser.post("/auth/logout", SCRIPT).await.status, 200);
    replicas.is_over(&before).await;
    replicas.pass(&other).await;
}

#[tokio::test]
async fn a_logout_at_the_issuer_that_one_gateway_hears_of_is_one_at_all() {
    let Some(replicas) = Replicas::start().await else { return };
    let (world, first) = (&replicas.world, replicas.known().await);
    // A login that began at one gateway and came to its end at another is of the same `sid`.
    let [here, there, _] = replicas.met(&world.browser());
    let (mut here, mut there) = (here, there);
    let begun: Begun = world.begun(&mut here, "/orders").await;
    there.cookies = here.cookies.clone();
    let answer = world.comes_back(&mut there, &begun, &world.granted("ada", &begun.nonce)).await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    replicas.pass(&there).await;

    let form = format!("logout_token={}", world.logout_token("1", &json!({})));
    let [_, second, third] = replicas.met(&first);
    assert_eq!(world.told_at(second.address, &form).await.status, 200);
    replicas.is_over(&first).await;
    replicas.is_over(&there).await;

    // It counts once, wherever it is shown.
    world.passes();
    let browser = replicas.known().await;
    for address in [third.address, first.address] {
        assert_eq!(world.told_at(address, &form).await.code(), "logout_token_invalid");
    }
    replicas.pass(&browser).await;
}

/// What the issuer grants at one gateway after a logout at another is nobody's.
#[tokio::test]
async fn a_logout_ends_what_another_gateway_is_about_to_renew() {
    let Some(replicas) = Replicas::start().await else { return };
    let (world, browser) = (&replicas.world, replicas.known().await);
    let [mut here, there, _] = replicas.met(&browser);
    replicas.others[0].1.advance(std::time::Duration::from_secs(600));
    world.tokens.hold();
    let asked = world.tokens.asked().len();
    let renewed = there.peek("GET", "/orders", SCRIPT);
    let (renewed, ()) = tokio::join!(renewed, async {
        world.tokens.was_asked(asked + 1).await;
        assert_eq!(here.post("/auth/logout", SCRIPT).await.status, 200);
        world.tokens.release();
    });
    assert_eq!((renewed.status, renewed.code().as_str()), (401, "session_expired"));
    // The refresh, and one revocation of each gateway.
    world.tokens.was_asked(asked + 3).await;
    assert!(world.tokens.revoked().contains(&"refresh-ada-2".to_owned()), "{:?}", world.tokens.revoked());
    replicas.is_over(&browser).await;
}

/// A logout that the store did not hear of has not happened, and can be said again.
#[tokio::test]
async fn a_logout_without_the_store_is_refused_and_not_forgotten() {
    let Some(mut replicas) = Replicas::start().await else { return };
    let browser = replicas.known().await;
    let form = format!("logout_token={}", replicas.world.logout_token("1", &json!({})));
    let [mut here, there, _] = replicas.met(&browser);
    replicas.redis.down();
    let answer = here.post("/auth/logout", SCRIPT).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
    assert!(here.cookies.contains_key(COOKIE), "whose session stands on keeps its cookie");
    let answer = replicas.world.told_at(there.address, &form).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
    replicas.redis.up();
    replicas.pass(&browser).await;
    assert_eq!(replicas.world.told_at(there.address, &form).await.status, 200);
    replicas.is_over(&browser).await;
}

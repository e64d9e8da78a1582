//! Sessions in a real Redis that all gateways share, and what its troubles come to.

use std::sync::Arc;
use std::time::Duration;

use bearward::config::{Authentication, Secret, StoreAddress};
use bearward::policy::claims::NumericDate;
use bearward::policy::session::Cookie;
use bearward::remote::clock::Clock;
use bearward::remote::store::{self, Store};
use bearward::remote::token_endpoint::Source;
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::{access, refused};
use crate::harness::passing::passing;
use crate::harness::redis::Redis;
use crate::harness::replica::{Replica, source};
use crate::harness::tokens::Tokens;
use crate::stores::{at, configured, moved, opened};

/// An issuer whose access tokens last a second, and a Redis.
struct World {
    tokens: Tokens,
    redis: Redis,
}

impl World {
    async fn start() -> Option<Self> {
        let world = Self { tokens: Tokens::start().await, redis: Redis::start(&[])? };
        Some(world)
    }

    /// A gateway with a connection of its own, which waits for the issuer however long that takes.
    fn replica(&self) -> Replica {
        let store: Arc<dyn Store> = opened(&at(&self.redis));
        let authentication = Authentication::Basic(Secret::new(b"secret".to_vec()));
        let source = source(&self.tokens.url(), &self.tokens.revocation_url(), "web", authentication);
        Replica::at(Source { timeout: Duration::from_secs(3600), ..source }, &store, &Clock::system())
    }

    /// The cookie of a login whose access token is spent at once.
    async fn spent(&self, replica: &Replica) -> String {
        self.tokens.say(json!({ "expires_in": 0 }));
        let cookie = replica.login(&self.tokens, "alice").await;
        self.tokens.say(json!({ "expires_in": 600 }));
        cookie
    }
}

#[tokio::test]
async fn requests_at_three_gateways_are_one_request_to_the_issuer() {
    let Some(world) = World::start().await else { return };
    let replicas = [world.replica(), world.replica(), world.replica()];
    let cookie = world.spent(&replicas[0]).await;
    world.tokens.hold();
    let requests = join_all((0..60).map(|number| replicas[number % 3].access(&cookie)));
    let (told, ()) = tokio::join!(requests, async {
        world.tokens.was_asked(1).await;
        // Time for the others to come and see that somebody is at it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.tokens.release();
    });
    assert!(told.iter().all(|token| *token == access(2)), "{told:?}");
    assert_eq!((world.tokens.asked().len(), world.tokens.reused()), (1, 0));
}

#[tokio::test]
async fn a_request_of_a_warm_session_is_one_round_trip() {
    let Some(world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = replica.login(&world.tokens, "alice").await;
    assert_eq!(replica.access(&cookie).await, access(1));
    world.redis.cli(&["CONFIG", "RESETSTAT"]);
    for _ in 0..100 {
        assert_eq!(replica.access(&cookie).await, access(1));
    }
    let stats = world.redis.cli(&["INFO", "commandstats"]);
    let commands: Vec<_> =
        stats.lines().filter(|line| line.starts_with("cmdstat_") && !line.contains("config")).collect();
    assert_eq!(commands.len(), 1, "{stats}");
    assert!(commands[0].starts_with("cmdstat_get:calls=100,"), "{stats}");
}

#[tokio::test]
async fn a_dump_of_the_store_tells_nobody_anything() {
    let Some(world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = replica.login(&world.tokens, "alice").await;
    let mut dump = String::new();
    for key in world.redis.cli(&["KEYS", "*"]).lines() {
        dump +=
            &format!("{key}\n{}\n{}\n", world.redis.cli(&["GET", key]), world.redis.cli(&["ZRANGE", key, "0", "-1"]));
    }
    let (id, secret) = cookie.split_at(22);
    for told in ["access-alice", "refresh-alice", "alice", "issuer.example.com", id, &secret[..22], &cookie] {
        assert!(!dump.contains(told), "{told} is in the dump");
    }
    assert!(Cookie::parse(&cookie).is_some());
}

/// What the issuer has granted is nobody's before it is written down.
#[tokio::test]
async fn nothing_is_used_before_it_is_stored() {
    let Some(world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = world.spent(&replica).await;
    world.tokens.hold();
    let request = replica.access(&cookie);
    tokio::pin!(request);
    world.tokens.holds_up(&mut request).await;
    world.redis.signal("-STOP");
    world.tokens.release();
    let early = tokio::time::timeout(Duration::from_millis(500), &mut request).await;
    assert!(early.is_err(), "{early:?} before it is stored");
    world.redis.signal("-CONT");
    assert_eq!(request.await, access(2));
    assert_eq!(world.replica().access(&cookie).await, access(2));
    assert_eq!(world.tokens.reused(), 0);
}

/// The issuer has exchanged the refresh token, nobody got its answer, and the store could not be told either.
#[tokio::test]
async fn a_session_that_was_lost_by_two_troubles_at_once_is_counted_so() {
    let Some(mut world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = world.spent(&replica).await;
    world.tokens.hold();
    {
        let request = replica.access(&cookie);
        tokio::pin!(request);
        world.tokens.holds_up(&mut request).await;
        world.redis.down();
        world.tokens.down().await;
        assert_eq!(request.await, refused("store_unavailable"));
    }
    world.redis.up();
    world.tokens.release();
    world.tokens.up().await;
    assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    assert_eq!((world.tokens.reused(), replica.refreshes("lost"), replica.events("lost")), (1, 1, 1));
    assert_eq!((replica.refreshes("invalid_grant"), replica.events("refused")), (0, 0));
}

/// A store that goes and comes back while the issuer answers costs nobody a session.
#[tokio::test]
async fn what_was_granted_is_held_until_the_store_is_back() {
    let Some(mut world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = world.spent(&replica).await;
    world.tokens.hold();
    let request = replica.access(&cookie);
    tokio::pin!(request);
    world.tokens.holds_up(&mut request).await;
    world.redis.down();
    world.tokens.release();
    assert_eq!(world.replica().access(&cookie).await, refused("store_unavailable"));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut request).await;
    assert!(early.is_err(), "{early:?} before it is stored");
    world.redis.up();
    assert_eq!(request.await, access(2));
    assert_eq!((world.tokens.asked().len(), world.tokens.reused()), (1, 0));
}

#[tokio::test]
async fn a_store_that_is_away_logs_nobody_out_and_is_found_when_it_is_back() {
    let Some(mut world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = replica.login(&world.tokens, "alice").await;
    assert_eq!(replica.access(&cookie).await, access(1));
    for _ in 0..3 {
        world.redis.down();
        for _ in 0..10 {
            assert_eq!(replica.access(&cookie).await, refused("store_unavailable"));
        }
        world.redis.up();
        assert_eq!(replica.access(&cookie).await, access(1), "the next request finds it");
    }
}

/// A failover to a replica that has nothing, an eviction: the session is over, and nobody is somebody else.
#[tokio::test]
async fn a_store_that_has_forgotten_has_no_sessions() {
    let Some(world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = replica.login(&world.tokens, "alice").await;
    assert_eq!(replica.access(&cookie).await, access(1));
    world.redis.cli(&["FLUSHALL"]);
    assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    let cookie = replica.login(&world.tokens, "bob").await;
    assert_eq!(replica.access(&cookie).await, Ok("access-bob-1".to_owned()));
}

/// A refresh that found no session left is given back to the issuer.
#[tokio::test]
async fn what_is_granted_for_a_forgotten_session_is_given_back() {
    let Some(world) = World::start().await else { return };
    let replica = world.replica();
    let cookie = world.spent(&replica).await;
    world.tokens.hold();
    let (told, ()) = tokio::join!(replica.access(&cookie), async {
        world.tokens.was_asked(1).await;
        world.redis.cli(&["FLUSHALL"]);
        world.tokens.release();
    });
    assert_eq!(told, refused("session_expired"));
    world.tokens.was_asked(2).await;
    assert_eq!(world.tokens.revoked(), ["refresh-alice-2"]);
}

/// Of several logouts that are told at once the latest counts.
#[tokio::test]
async fn logouts_that_two_gateways_are_told_at_once_are_noted_by_the_latest() {
    let Some(world) = World::start().await else { return };
    let replicas = [world.replica(), world.replica()];
    // 100 to 119, in no order.
    let times = || (0..20_u32).map(|number| f64::from(100 + 7 * number % 20)).enumerate();
    let told = times().map(|(number, at)| {
        let (sessions, at) = (&replicas[number % 2].sessions, NumericDate::new(at).unwrap());
        sessions.end_by_subject("https://issuer.example.com", "alice", at)
    });
    for ended in join_all(told).await {
        assert_eq!(ended.unwrap(), 0);
    }
    let login = |issued| replicas[0].logged_in_at(&world.tokens, "alice", issued);
    assert_eq!(login(119.0).await, refused("login_state_invalid"));
    assert!(login(119.5).await.is_ok());
}

/// Whatever answers at the store's address instead of a store: nobody has a session of it, and nobody waits without end.
#[tokio::test]
async fn what_is_no_store_opens_no_session() {
    let tokens = Tokens::start().await;
    for (what, answer) in [
        ("a web server", Some(&b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"[..])),
        ("errors", Some(b"-ERR unknown command\r\n")),
        ("a number", Some(b":1\r\n")),
        ("a text of others", Some(b"$7\r\ngarbage\r\n")),
        ("a list without end", Some(b"*2147483647\r\n")),
        ("half an answer", Some(b"$1000\r\nx")),
        ("bytes", Some(&[0; 4096])),
        ("silence", None),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(answers(listener, answer));
        let (clock, hands) = moved();
        let store = store::open(&configured(StoreAddress::Redis(url)), &clock, &Handle::current());
        let replica = Replica::new(&tokens, &store, &clock);
        let cookie = Cookie::new([7; Cookie::RANDOM]).value();
        for _ in 0..3 {
            let begun = clock.now();
            let code = passing(&hands, replica.access(&cookie)).await.unwrap_err();
            assert!(["store_unavailable", "session_expired"].contains(&code.as_str()), "{what}: {code}");
            assert!(clock.now().since(begun) < Duration::from_secs(20), "{what}");
        }
        serving.abort();
    }
}

/// Answers each piece that comes in with the same bytes.
async fn answers(listener: TcpListener, answer: Option<&'static [u8]>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(1..) = stream.read(&mut bytes).await {
                if stream.write_all(answer.unwrap_or_default()).await.is_err() {
                    break;
                }
            }
        });
    }
}

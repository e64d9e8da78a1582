//! Which cookie opens which session, and until when.

use bearward::policy::claims::NumericDate;
use bearward::policy::seal::KeyRing;
use bearward::policy::session::Cookie;
use bearward::remote::store::{Given, Kind, Name};
use bytes::Bytes;

use super::{World, access, refused};
use crate::harness::replica::{KEY, Replica};

#[tokio::test]
async fn a_cookie_opens_its_session_and_no_other_form_of_it_does() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    let other = replica.login(&world.tokens, "bob").await;
    assert_eq!(replica.access(&cookie).await, access(1));
    assert_eq!(replica.access(&other).await, Ok("access-bob-1".to_owned()));
    let last = if cookie.ends_with('A') { "B" } else { "A" };
    for forged in [
        String::new(),
        "x".repeat(100_000),
        cookie[1..].to_owned(),
        format!("{cookie}A"),
        format!("{}{last}", &cookie[..63]),
        // The id of one, the secret of the other.
        format!("{}{}", &cookie[..22], &other[22..]),
        Cookie::new([0; Cookie::RANDOM]).value(),
    ] {
        assert_eq!(replica.access(&forged).await, refused("session_expired"), "{forged:.80}");
    }
    assert_eq!(replica.access(&cookie).await, access(1), "nothing of that harmed it");
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_session_opens_nothing() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    let other = replica.login(&world.tokens, "bob").await;
    let name = |cookie: &str| Name { kind: Kind::Session, hash: Cookie::parse(cookie).unwrap().place() };
    let bobs = world.store.read(name(&other)).await.unwrap().unwrap();
    for entry in [bobs, Bytes::new(), Bytes::from_static(b"garbage"), Bytes::from(vec![0; 1000])] {
        let life = std::time::Duration::from_secs(60);
        assert!(world.store.write(name(&cookie), entry, life, Given::Any).await.unwrap());
        assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    }
    assert_eq!(replica.events("unopened"), 4);
}

#[tokio::test]
async fn keys_are_exchanged_without_logging_anybody_out() {
    let world = World::start().await;
    let (old, cookie) = world.logged_in().await;
    let keyed = |newest: u8, older: &[u8]| {
        let older: Vec<_> = older.iter().map(|byte| [*byte; 32]).collect();
        Replica::keyed(&world.tokens, &world.store, &world.clock, KeyRing::new([newest; 32], older))
    };
    assert_eq!(KEY, [1; 32]);
    let (both, new, stranger) = (keyed(2, &[1]), keyed(2, &[]), keyed(3, &[]));
    assert_eq!(both.access(&cookie).await, access(1));
    assert_eq!(new.access(&cookie).await, refused("session_expired"));
    // What is written anew is sealed with the newest key.
    world.pass(600);
    assert_eq!(both.access(&cookie).await, access(2));
    assert_eq!(new.access(&cookie).await, access(2));
    assert_eq!(old.access(&cookie).await, refused("session_expired"));
    assert_eq!(stranger.access(&cookie).await, refused("session_expired"));
    // A logout at the issuer finds it by the name that its list had under the old key.
    assert_eq!(both.sessions.end_by_sid("https://issuer.example.com", "sid-alice", world.date()).await, Ok(1));
}

#[tokio::test]
async fn a_session_ends_unused_and_by_its_age() {
    let world = World::start().await;
    world.tokens.say(serde_json::json!({}));
    let (replica, cookie) = world.logged_in().await;
    let hours = 3600;
    world.pass(12 * hours);
    assert_eq!(replica.access(&cookie).await, refused("session_expired"), "it was not used");
    let cookie = replica.login(&world.tokens, "alice").await;
    for _ in 0..15 {
        world.pass(11 * hours);
        assert_eq!(replica.access(&cookie).await, access(1));
        world.settled(&cookie).await;
    }
    world.pass(3 * hours);
    assert_eq!(replica.access(&cookie).await, refused("session_expired"), "it is seven days old");
}

#[tokio::test]
async fn a_look_that_is_no_use_extends_nothing() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(11 * 3600);
    let live = replica.sessions.peek(&cookie).await.unwrap().unwrap();
    assert_eq!(replica.sessions.expires_in(&live), 3600);
    world.pass(3600);
    assert!(replica.sessions.peek(&cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn a_logout_ends_it_everywhere_at_once_and_gives_the_refresh_token_back() {
    let world = World::start().await;
    let (here, cookie) = world.logged_in().await;
    let there = world.replica();
    assert_eq!(there.access(&cookie).await, access(1));
    let live = here.sessions.open(&cookie).await.unwrap().unwrap();
    here.sessions.end(&live).await.unwrap();
    assert_eq!(here.access(&cookie).await, refused("session_expired"));
    assert_eq!(there.access(&cookie).await, refused("session_expired"));
    world.tokens.was_asked(1).await;
    assert_eq!(world.tokens.revoked(), ["refresh-alice-1"]);
    assert_eq!(world.tokens.asked()[0].body, "token=refresh-alice-1&token_type_hint=refresh_token");
    assert_eq!((here.events("created"), here.events("logged_out")), (1, 1));
}

/// Logouts may be told in another order than they were made in.
#[tokio::test]
async fn an_older_logout_lets_no_login_in_that_a_later_one_keeps_out() {
    let world = World::start().await;
    let (here, there) = (world.replica(), world.replica());
    let issuer = "https://issuer.example.com";
    let at = |seconds| NumericDate::new(seconds).unwrap();
    let ended = || refused("login_state_invalid");
    for by_subject in [false, true] {
        let end = async |replica: &Replica, seconds| {
            let ended = if by_subject {
                replica.sessions.end_by_subject(issuer, "alice", at(seconds)).await
            } else {
                replica.sessions.end_by_sid(issuer, "sid-alice", at(seconds)).await
            };
            assert_eq!(ended.unwrap(), 0);
        };
        end(&here, 110.0).await;
        world.pass(200);
        end(&there, 100.0).await;
        for issued in [99.0, 105.0, 109.5, 110.0] {
            assert_eq!(here.logged_in_at(&world.tokens, "alice", issued).await, ended(), "{issued}");
        }
        assert!(here.logged_in_at(&world.tokens, "alice", 110.5).await.is_ok());
        let bob = here.logged_in_at(&world.tokens, "bob", 105.0).await;
        assert!(bob.is_ok(), "it is another's");
        // The older one is for a login on its way, too: it is noted for as long as that may take.
        world.pass(304);
        assert_eq!(here.logged_in_at(&world.tokens, "alice", 105.0).await, ended());
        world.pass(1);
        let after = here.logged_in_at(&world.tokens, "alice", 105.0).await;
        assert!(after.is_ok(), "it is forgotten");
        assert_eq!(here.sessions.end_by_subject(issuer, "alice", at(0.0)).await.unwrap(), 2);
        world.pass(305);
    }
}

#[tokio::test]
async fn the_issuer_ends_its_own_sessions_and_those_of_a_subject() {
    let world = World::start().await;
    let replica = world.replica();
    let issuer = "https://issuer.example.com";
    let first = replica.login(&world.tokens, "alice").await;
    let second = replica.login(&world.tokens, "alice").await;
    let bob = replica.login(&world.tokens, "bob").await;
    let there = world.replica();
    assert_eq!(there.sessions.end_by_sid(issuer, "sid-bob", world.date()).await, Ok(1));
    assert_eq!(replica.access(&bob).await, refused("session_expired"));
    assert_eq!(there.sessions.end_by_sid(issuer, "sid-bob", world.date()).await, Ok(0));
    assert_eq!(there.sessions.end_by_sid("https://other.example.com", "sid-alice", world.date()).await, Ok(0));
    assert_eq!(there.sessions.end_by_subject(issuer, "alice", world.date()).await, Ok(2));
    for cookie in [first, second] {
        assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    }
}

impl World {
    fn date(&self) -> NumericDate {
        NumericDate::from(self.clock.wall())
    }

    /// Returns once it is noted that the session was used now.
    async fn settled(&self, cookie: &str) {
        let replica = self.replica();
        loop {
            let live = replica.sessions.peek(cookie).await.unwrap().unwrap();
            if live.session.used == self.clock.wall() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

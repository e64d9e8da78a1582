//! How one gateway keeps an access token fresh.

use std::time::Duration;

use bearward::remote::token_endpoint::Grant;
use futures_util::future::join_all;
use serde_json::json;

use super::{World, access, refused};
use crate::harness::forms::Reply;

#[tokio::test]
async fn what_is_sent_is_what_the_standard_names() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(600);
    assert_eq!(replica.access(&cookie).await, access(2));
    let asked = &world.tokens.asked()[0];
    assert_eq!(asked.line, "POST /token HTTP/1.1");
    assert_eq!(asked.body, "grant_type=refresh_token&refresh_token=refresh-alice-1");
    assert_eq!(asked.header("authorization"), Some("Basic d2ViOnNlY3JldA=="));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("accept"), Some("application/json"));
}

#[tokio::test]
async fn fifty_requests_at_once_are_one_request_to_the_issuer() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(600);
    world.tokens.hold();
    let requests = join_all((0..50).map(|_| replica.access(&cookie)));
    let (told, ()) = tokio::join!(requests, async {
        world.tokens.was_asked(1).await;
        world.tokens.release();
    });
    assert!(told.iter().all(|token| *token == access(2)), "{told:?}");
    assert_eq!((world.tokens.asked().len(), replica.refreshes("success")), (1, 1));
}

#[tokio::test]
async fn a_token_that_ends_soon_goes_on_and_is_renewed_meanwhile() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(539);
    assert_eq!(replica.access(&cookie).await, access(1));
    replica.renewals.idle().await;
    assert!(world.tokens.asked().is_empty(), "it is not yet time");
    world.pass(1);
    world.tokens.hold();
    assert_eq!(replica.access(&cookie).await, access(1));
    world.tokens.was_asked(1).await;
    assert_eq!(replica.access(&cookie).await, access(1), "nobody waits for it");
    world.tokens.release();
    replica.renewals.idle().await;
    assert_eq!(replica.access(&cookie).await, access(2));
    assert_eq!(world.tokens.asked().len(), 1);
}

#[tokio::test]
async fn a_renewal_goes_on_when_its_client_leaves() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(600);
    world.tokens.hold();
    {
        let request = replica.access(&cookie);
        tokio::pin!(request);
        world.tokens.holds_up(&mut request).await;
    }
    world.tokens.release();
    replica.renewals.idle().await;
    assert_eq!(replica.access(&cookie).await, access(2));
    assert_eq!(world.tokens.asked().len(), 1);
}

#[tokio::test]
async fn a_refresh_token_that_does_not_hold_ends_the_session() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.tokens.forget("alice");
    world.pass(600);
    assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    assert_eq!(world.tokens.asked().len(), 1);
    assert_eq!((replica.refreshes("invalid_grant"), replica.refreshes("lost")), (1, 0));
}

/// Neither silence nor an error of its own is the issuer's word on a session.
#[tokio::test]
async fn trouble_ends_nothing() {
    for trouble in [
        Reply::status(500, "", ""),
        Reply::status(503, "Retry-After: 60\r\n", "{\"error\":\"invalid_grant\"}"),
        Reply::status(302, "Location: /login\r\n", ""),
        Reply::status(404, "", "{\"error\":\"invalid_grant\"}"),
        Reply::status(401, "", "{\"error\":\"invalid_client\"}"),
        Reply::status(400, "", "{\"error\":\"unsupported_grant_type\"}"),
        Reply::status(400, "", "{\"error\":\"invalid_request\",\"error_description\":\"invalid_grant\"}"),
        Reply::body("text/html", "<html>invalid_grant</html>"),
        Reply::json(&json!({ "token_type": "Bearer" })),
        Reply::Garbage,
    ] {
        let world = World::start().await;
        let (replica, cookie) = world.logged_in().await;
        world.tokens.otherwise(trouble.clone());
        world.pass(590);
        assert_eq!(replica.access(&cookie).await, access(1), "{trouble:?}: it is still good");
        replica.renewals.idle().await;
        world.pass(10);
        assert_eq!(replica.access(&cookie).await, refused("issuer_unavailable"), "{trouble:?}");
        world.tokens.mended();
        // Refused twice, we come again after two seconds.
        world.pass(2);
        assert_eq!(replica.access(&cookie).await, access(2), "{trouble:?}: it is back");
    }
}

#[tokio::test]
async fn an_issuer_that_is_away_is_not_asked_by_every_request() {
    let mut world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.tokens.otherwise(Reply::status(500, "", ""));
    world.pass(600);
    for _ in 0..20 {
        assert_eq!(replica.access(&cookie).await, refused("issuer_unavailable"));
    }
    assert_eq!(world.tokens.asked().len(), 1);
    world.tokens.down().await;
    world.pass(1);
    assert_eq!(replica.access(&cookie).await, refused("issuer_unavailable"));
    world.tokens.mended();
    world.tokens.up().await;
    world.pass(1);
    assert_eq!(replica.access(&cookie).await, access(2));
}

/// What `error` the issuer answers, refusing us and not the refresh token.
fn refusal(error: &str) -> Reply {
    Reply::status(400, "Content-Type: application/json\r\n", &json!({ "error": error }).to_string())
}

#[tokio::test]
async fn an_issuer_that_refuses_us_is_asked_ever_more_seldom() {
    for error in ["invalid_client", "interaction_required"] {
        let world = World::start().await;
        let (replica, cookie) = world.logged_in().await;
        world.tokens.otherwise(refusal(error));
        world.pass(600);
        for _ in 0..120 {
            assert_eq!(replica.access(&cookie).await, refused("issuer_unavailable"), "{error}");
            world.pass(1);
        }
        // After 1, 2, 4, 8, 16 and then 30 s, each up to a quarter sooner.
        let asked = world.tokens.asked().len();
        assert!((8..=10).contains(&asked), "{error}: {asked}");
        assert_eq!(replica.refreshes("refused"), u64::try_from(asked).unwrap(), "{error}");
        world.tokens.mended();
        world.pass(30);
        assert_eq!(replica.access(&cookie).await, access(2), "{error}: nobody was logged out");
    }
}

/// Where it is the client that is refused, every session would be.
#[tokio::test]
async fn an_issuer_that_does_not_know_us_is_not_asked_for_every_session() {
    let world = World::start().await;
    let replica = world.replica();
    let mut cookies = Vec::new();
    for number in 0..40 {
        cookies.push(replica.login(&world.tokens, &format!("user{number}")).await);
    }
    world.tokens.otherwise(refusal("invalid_client"));
    world.pass(600);
    for _ in 0..20 {
        for cookie in &cookies {
            assert_eq!(replica.access(cookie).await, refused("issuer_unavailable"));
        }
        world.pass(1);
    }
    // Five in a row, then one after 1, 2, 4, 4, 4 and 4 s.
    let asked = world.tokens.asked().len();
    assert!((8..=12).contains(&asked), "{asked}");
    assert!(replica.refreshes("left_alone") > 0);
    world.tokens.mended();
    world.pass(30);
    for (number, cookie) in cookies.iter().enumerate() {
        assert_eq!(replica.access(cookie).await, Ok(format!("access-user{number}-2")));
    }
}

#[tokio::test]
async fn one_session_that_the_issuer_does_not_renew_holds_up_no_other() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    let other = replica.login(&world.tokens, "bob").await;
    world.tokens.otherwise(refusal("interaction_required"));
    world.pass(600);
    for _ in 0..8 {
        assert_eq!(replica.access(&cookie).await, refused("issuer_unavailable"));
        world.pass(30);
    }
    assert_eq!(replica.refreshes("refused"), 8);
    world.tokens.mended();
    assert_eq!(replica.access(&other).await, Ok("access-bob-2".to_owned()));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_in_bounds() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(600);
    world.tokens.otherwise(Reply::Stalled);
    let (told, ()) = tokio::join!(replica.access(&cookie), async {
        world.tokens.was_asked(1).await;
        world.pass(5);
    });
    assert_eq!(told, refused("issuer_unavailable"));
}

/// What the operator is told is about that endpoint, and not about where the issuer's keys are.
#[tokio::test]
async fn trouble_of_the_token_endpoint_is_cured_there() {
    let world = World::start().await;
    let replica = world.replica();
    let ask = async || replica.sessions.endpoint().ask(Grant::Refresh("refresh"), None).await.unwrap_err();
    world.tokens.otherwise(Reply::status(302, "Location: /login\r\n", ""));
    assert_eq!(ask().await.told().1, "give the endpoint's final address in `endpoints` of the issuer");
    world.tokens.otherwise(Reply::Stalled);
    let (stalled, ()) = tokio::join!(ask(), async {
        world.tokens.was_asked(2).await;
        world.pass(5);
    });
    assert_eq!(stalled.told().1, "see why the issuer is slow, or raise `timeout` of the session");
}

/// Some issuers answer a refresh before the end with a token of the old end.
#[tokio::test]
async fn the_same_end_again_does_not_loop() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(540);
    world.tokens.say(json!({ "expires_in": 60 }));
    assert_eq!(replica.access(&cookie).await, access(1));
    replica.renewals.idle().await;
    for _ in 0..20 {
        assert_eq!(replica.access(&cookie).await, access(2));
        replica.renewals.idle().await;
        world.pass(2);
    }
    assert_eq!(world.tokens.asked().len(), 1);
    world.tokens.say(json!({ "expires_in": 600 }));
    world.pass(20);
    assert_eq!(replica.access(&cookie).await, access(3));
}

#[tokio::test]
async fn a_token_that_comes_spent_does_not_loop() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    world.pass(600);
    world.tokens.say(json!({ "expires_in": 0 }));
    for _ in 0..20 {
        assert_eq!(replica.access(&cookie).await, refused("issuer_unavailable"));
    }
    assert_eq!(world.tokens.asked().len(), 1);
    // The refresh token that came with it is the one that holds now.
    world.tokens.say(json!({ "expires_in": 600 }));
    world.pass(1);
    assert_eq!(replica.access(&cookie).await, access(3));
    assert_eq!(world.tokens.reused(), 0);
}

#[tokio::test]
async fn a_session_without_a_refresh_token_ends_with_its_access_token() {
    let world = World::start().await;
    world.tokens.say(json!({ "expires_in": 600, "refresh_token": null }));
    let (replica, cookie) = world.logged_in().await;
    world.pass(599);
    assert_eq!(replica.access(&cookie).await, access(1));
    world.pass(1);
    assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    assert!(world.tokens.asked().is_empty());
}

#[tokio::test]
async fn what_is_granted_after_a_logout_is_given_back() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    let live = replica.sessions.open(&cookie).await.unwrap().unwrap();
    world.pass(600);
    world.tokens.hold();
    let (told, ()) = tokio::join!(replica.access(&cookie), async {
        world.tokens.was_asked(1).await;
        replica.sessions.end(&live).await.unwrap();
        world.tokens.release();
    });
    assert_eq!(told, refused("session_expired"));
    assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    assert_eq!(replica.refreshes("discarded"), 1);
    world.tokens.was_asked(3).await;
    assert!(world.tokens.revoked().contains(&"refresh-alice-2".to_owned()));
}

/// Some issuers end a person's whole login by any refresh token of it, and so the session that the browser has now.
#[tokio::test]
async fn what_is_granted_after_another_login_of_the_browser_is_not_given_back() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    let live = replica.sessions.open(&cookie).await.unwrap().unwrap();
    world.pass(600);
    world.tokens.hold();
    let (told, ()) = tokio::join!(replica.access(&cookie), async {
        world.tokens.was_asked(1).await;
        replica.sessions.leave(&live).await.unwrap();
        world.tokens.release();
    });
    assert_eq!((told, replica.refreshes("discarded")), (refused("session_expired"), 1));
    let bob = replica.login(&world.tokens, "bob").await;
    let bob = replica.sessions.open(&bob).await.unwrap().unwrap();
    replica.sessions.end(&bob).await.unwrap();
    world.tokens.was_asked(2).await;
    assert_eq!(world.tokens.revoked(), ["refresh-bob-1"]);
}

/// Some issuers grant the same access token again while it is good, and rotate the refresh token all the same.
#[tokio::test]
async fn a_refresh_token_that_comes_with_the_old_access_token_is_kept() {
    let world = World::start().await;
    let answer = json!({ "expires_in": 600, "access_token": "same" });
    world.tokens.say(answer);
    let (replica, cookie) = world.logged_in().await;
    world.pass(540);
    world.tokens.hold();
    let live = replica.sessions.peek(&cookie).await.unwrap().unwrap();
    replica.sessions.fresh(live, None).await.unwrap();
    world.tokens.was_asked(1).await;
    // Another request notes that the session is used, after it was marked and before the answer is there.
    replica.sessions.open(&cookie).await.unwrap().unwrap();
    let noted = async {
        while replica.sessions.peek(&cookie).await.unwrap().unwrap().session.used != world.clock.wall() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noted).await.expect("the use is not noted");
    world.tokens.release();
    replica.renewals.idle().await;
    let kept = replica.sessions.peek(&cookie).await.unwrap().unwrap();
    assert_eq!(kept.session.refresh_token.as_deref(), Some("refresh-alice-2"));
    assert_eq!(kept.session.attempt, None);
    world.pass(600);
    assert_eq!(replica.access(&cookie).await, Ok("same".to_owned()));
    assert_eq!((world.tokens.asked().len(), world.tokens.reused(), replica.refreshes("success")), (2, 0, 2));
}

/// A token that came instead of one that was refused, and that nobody has taken yet, is not exchanged in its turn.
#[tokio::test]
async fn a_token_that_is_refused_is_exchanged_once() {
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    let live = replica.sessions.open(&cookie).await.unwrap().unwrap();
    let requests = (0..20).map(|_| replica.sessions.instead(&live, None));
    for instead in join_all(requests).await {
        assert_eq!(instead.unwrap().unwrap().session.access_token.text, "access-alice-2");
    }
    let second = replica.sessions.open(&cookie).await.unwrap().unwrap();
    assert!(replica.sessions.instead(&second, None).await.unwrap().is_none());
    world.pass(540);
    assert_eq!(replica.access(&cookie).await, access(2));
    replica.renewals.idle().await;
    let third = replica.sessions.open(&cookie).await.unwrap().unwrap();
    assert_eq!(third.session.access_token.text, "access-alice-3");
    assert!(replica.sessions.instead(&third, None).await.unwrap().is_none(), "nor is any after it");
    assert_eq!((world.tokens.asked().len(), replica.refreshes("success"), replica.events("token_refused")), (2, 2, 1));
}

#[tokio::test]
async fn nobody_gets_the_tokens_of_another_subject() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let world = World::start().await;
    let (replica, cookie) = world.logged_in().await;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "iss": "https://issuer.example.com", "sub": "mallory" });
    let id_token = format!("{}.{}.{}", part(json!({ "alg": "RS256" })), part(claims), "c2ln");
    world.tokens.say(json!({ "expires_in": 600, "id_token": id_token }));
    world.pass(600);
    assert_eq!(replica.access(&cookie).await, refused("session_expired"));
    assert_eq!(replica.refreshes("refused"), 1);
}

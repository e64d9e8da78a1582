//! How one gateway keeps an access token fresh.

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
        tokio::select! {
            _ = &mut request => panic!("it cannot have been answered"),
            () = world.tokens.was_asked(1) => {}
        }
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
        world.pass(1);
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

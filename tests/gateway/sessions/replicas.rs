//! How several gateways over one store keep one access token fresh.

use std::time::Duration;

use futures_util::future::join_all;

use super::{World, access, refused};
use crate::harness::replica::{KEY, Replica};
use bearward::policy::seal::KeyRing;

#[tokio::test]
async fn requests_at_three_gateways_are_one_request_to_the_issuer() {
    let world = World::start().await;
    let (first, cookie) = world.logged_in().await;
    let replicas = [first, world.replica(), world.replica()];
    world.pass(600);
    world.tokens.hold();
    let requests = join_all((0..60).map(|number| replicas[number % 3].access(&cookie)));
    let told = tokio::select! {
        told = requests => told,
        () = world.renewed_by_one_of(&replicas) => unreachable!("time does not end"),
    };
    assert!(told.iter().all(|token| *token == access(2)), "{told:?}");
    assert_eq!((world.tokens.asked().len(), world.tokens.reused()), (1, 0));
}

/// A token that is refused before its end at three gateways at once.
#[tokio::test]
async fn a_token_that_three_gateways_are_refused_with_is_exchanged_once() {
    let world = World::start().await;
    let (first, cookie) = world.logged_in().await;
    let replicas = [first, world.replica(), world.replica()];
    world.tokens.hold();
    let requests = join_all((0..60).map(|number| {
        let (replica, cookie) = (&replicas[number % 3], &cookie);
        async move {
            let live = replica.sessions.open(cookie).await.unwrap().unwrap();
            replica.sessions.instead(&live, None).await.unwrap().unwrap().session.access_token.text.clone()
        }
    }));
    let told = tokio::select! {
        told = requests => told,
        () = world.renewed_by_one_of(&replicas) => unreachable!("time does not end"),
    };
    assert!(told.iter().all(|token| token == "access-alice-2"), "{told:?}");
    assert_eq!((world.tokens.asked().len(), world.tokens.reused()), (1, 0));
    assert_eq!(replicas.iter().map(|replica| replica.events("token_refused")).sum::<u64>(), 1);
}

impl World {
    /// Lets the issuer answer once it was asked, and time go by after that, without end.
    async fn renewed_by_one_of(&self, replicas: &[Replica]) {
        self.tokens.was_asked(1).await;
        self.tokens.release();
        while replicas.iter().map(|replica| replica.refreshes("success")).sum::<u64>() == 0 {
            tokio::task::yield_now().await;
        }
        // Those who wait look again from time to time.
        loop {
            self.hands.advance(Duration::from_millis(10));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What was read before somebody else renewed it is not shown to the issuer.
#[tokio::test]
async fn an_old_view_of_a_session_renews_nothing() {
    let world = World::start().await;
    let (here, cookie) = world.logged_in().await;
    let there = world.replica();
    let old = there.sessions.open(&cookie).await.unwrap().unwrap();
    world.pass(600);
    assert_eq!(here.access(&cookie).await, access(2));
    let live = there.sessions.fresh(old, None).await.unwrap();
    assert_eq!(live.session.access_token.text, "access-alice-2");
    assert_eq!((world.tokens.asked().len(), world.tokens.reused()), (1, 0));
}

/// A gateway that is killed while the issuer answers.
fn killed(world: &World) -> (tokio::runtime::Runtime, Replica) {
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let replica = Replica::on(control.handle(), &world.tokens, &world.store, &world.clock, KeyRing::new(KEY, []));
    (control, replica)
}

#[tokio::test]
async fn the_attempt_of_a_gateway_that_was_killed_is_waited_for_and_then_repeated() {
    for lost in [false, true] {
        let world = World::start().await;
        let (there, cookie) = world.logged_in().await;
        let (control, here) = killed(&world);
        world.pass(600);
        let mut asked = 1;
        if lost {
            // The issuer has exchanged the refresh token, and its answer reaches nobody.
            world.tokens.hold();
        } else {
            world.tokens.otherwise(crate::harness::forms::Reply::Stalled);
        }
        {
            let request = here.access(&cookie);
            tokio::pin!(request);
            tokio::select! {
                _ = &mut request => panic!("it cannot have been answered"),
                () = world.tokens.was_asked(1) => control.shutdown_background(),
            }
        }
        world.tokens.mended();
        world.tokens.release();
        let request = there.access(&cookie);
        tokio::pin!(request);
        // Its limit is 5 s, and 5 s more to write the answer down.
        for _ in 0..100 {
            tokio::select! {
                biased;
                told = &mut request => panic!("{told:?} before the other's time is over"),
                () = tokio::task::yield_now() => {}
            }
        }
        world.hands.advance(Duration::from_millis(9990));
        assert_eq!(world.tokens.asked().len(), asked, "its time is not over");
        world.pass(1);
        let told = request.await;
        asked += 1;
        assert_eq!(world.tokens.asked().len(), asked);
        if lost {
            assert_eq!(told, refused("session_expired"));
            assert_eq!((there.refreshes("lost"), there.events("lost"), there.refreshes("invalid_grant")), (1, 1, 0));
        } else {
            assert_eq!(told, access(2));
            assert_eq!(there.refreshes("success"), 1);
        }
    }
}

/// A gateway that was held up beyond its time finds that another one has renewed the session.
#[tokio::test]
async fn an_answer_that_comes_late_does_not_replace_a_later_one() {
    let world = World::start().await;
    let (here, cookie) = world.logged_in().await;
    let there = world.replica();
    world.pass(540);
    // Renewed ahead here; the issuer sees it, the answer waits.
    world.tokens.otherwise(crate::harness::forms::Reply::Stalled);
    assert_eq!(here.access(&cookie).await, access(1));
    world.tokens.was_asked(1).await;
    world.tokens.mended();
    assert_eq!(there.access(&cookie).await, access(1));
    there.renewals.idle().await;
    assert_eq!(world.tokens.asked().len(), 1, "somebody is at it");
    world.pass(5);
    here.renewals.idle().await;
    assert_eq!(here.refreshes("unavailable"), 1);
    world.pass(1);
    assert_eq!(there.access(&cookie).await, access(1));
    there.renewals.idle().await;
    assert_eq!(here.access(&cookie).await, access(2));
}

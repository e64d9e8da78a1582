//! What the server of a key set says of its freshness makes the next fetch come sooner, within bounds.

use std::time::Duration;

use bearward::remote::jwks::source::{KeySource, Origin};
use bearward::telemetry::labels::{FetchResult, FetchTrigger};

use super::engine::{COOLDOWN, REFRESH, World, source};
use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::mint::Key;

/// When the next fetch comes after one whose answer had these header fields.
async fn next_after(fields: &[&str], cooldown: Duration, expected: Duration) {
    let issuer = Issuer::start(&[]).await;
    issuer.answer(Document::Keys, Answer::headed(&[Key::p256("a")], fields));
    let origin = Origin::Uri(issuer.url_of(Document::Keys).parse().unwrap());
    let mut world = World::start_with(KeySource { cooldown, ..source(&issuer.url(), origin) });
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    for _ in 0..2 {
        world.advance_quietly(expected, &issuer).await;
        world.expect(FetchTrigger::Refresh, FetchResult::Success, 1).await;
    }
    // After a failure it is the failure that says when to try again.
    issuer.answer(Document::Keys, Answer::Status(503));
    world.hands.advance(expected);
    world.expect(FetchTrigger::Refresh, FetchResult::Status, 1).await;
    world.hands.advance(Duration::from_secs(1));
    world.expect(FetchTrigger::Refresh, FetchResult::Status, 1).await;
    world.no_more_events();
}

#[tokio::test]
async fn a_set_is_fetched_again_when_its_server_calls_it_stale() {
    next_after(&["Cache-Control: public, max-age=120"], COOLDOWN, Duration::from_secs(120)).await;
    next_after(&["Cache-Control: max-age=240", "Age: 100"], COOLDOWN, Duration::from_secs(140)).await;
}

#[tokio::test]
async fn but_after_a_minute_at_the_earliest() {
    next_after(&["Cache-Control: max-age=1"], COOLDOWN, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn and_not_within_the_cooldown() {
    let cooldown = Duration::from_secs(90);
    next_after(&["Cache-Control: max-age=1"], cooldown, cooldown).await;
}

#[tokio::test]
async fn and_never_later_than_the_operator_says() {
    next_after(&["Cache-Control: max-age=86400"], COOLDOWN, REFRESH).await;
    next_after(&["Cache-Control: max-age=1"], REFRESH * 2, REFRESH).await;
}

/// What frameworks send with every answer says nothing of keys.
#[tokio::test]
async fn an_answer_that_may_not_be_kept_is_fetched_as_often_as_the_operator_says() {
    for fields in [
        &["Cache-Control: no-cache, no-store, max-age=0, must-revalidate", "Pragma: no-cache"][..],
        &["Cache-Control: max-age=soon"],
        &["Expires: 0"],
    ] {
        next_after(fields, COOLDOWN, REFRESH).await;
    }
}

//! Key sets: fetched ahead of need, joined, bounded, kept through outages; every lie of an issuer has its outcome.

mod asking;
mod engine;
mod freshness;
mod lies;
mod served;
mod snapshot;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bearward::policy::reject::{Code, Reject};
use bearward::remote::jwks::source::{KeySource, Origin};
use bearward::remote::jwks::{FetchEvent, PATIENCE};
use bearward::telemetry::labels::{FetchResult, FetchTrigger};
use serde_json::json;

use self::engine::{COOLDOWN, ID, MAX_STALE, REFRESH, START, World, ask, known, patiently, source};
use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::log;
use crate::harness::mint::{Key, jwk_set};

#[tokio::test]
async fn keys_come_by_discovery_and_are_refreshed() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    let event = world.event().await;
    let at = SystemTime::UNIX_EPOCH + START;
    let expected = FetchEvent {
        issuer: "main".to_owned(),
        trigger: FetchTrigger::Start,
        result: FetchResult::Success,
        keys: 1,
        at,
        took: Duration::ZERO,
    };
    assert_eq!(event, expected);
    assert!(world.sets.seen(ID));
    assert_eq!(world.ask("a").await, Ok(()));

    issuer.rotate(&[Key::p256("b"), Key::p256("c")]);
    world.refresh(FetchResult::Success, 2).await;
    assert_eq!((world.ask("b").await, world.ask("c").await), (Ok(()), Ok(())));
    assert_eq!(world.ask("a").await, Err(Code::KeyUnknown));
    assert_eq!((issuer.requests(Document::Discovery), issuer.requests(Document::Keys)), (2, 2));
}

/// The refresh comes at its time or up to a tenth before, and any fetch begins a new period.
#[tokio::test]
async fn a_refresh_waits_for_its_time() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::at_keys_of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.advance_quietly(REFRESH, &issuer).await;
    world.expect(FetchTrigger::Refresh, FetchResult::Success, 1).await;

    world.hands.advance(REFRESH.mul_f64(0.5));
    assert_eq!(world.ask("b").await, Err(Code::KeyUnknown));
    world.expect(FetchTrigger::UnknownKid, FetchResult::Success, 1).await;
    world.advance_quietly(REFRESH, &issuer).await;
    world.expect(FetchTrigger::Refresh, FetchResult::Success, 1).await;
    world.no_more_events();
}

#[tokio::test]
async fn every_kind_of_key_is_usable() {
    let keys = crate::harness::mint::Family::ALL.map(|family| Key::new(family, family.algorithm()));
    let issuer = Issuer::start(&keys).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 5).await;
    for key in keys {
        assert_eq!(world.ask(key.kid).await, Ok(()), "{}", key.kid);
    }
}

#[tokio::test]
async fn a_new_key_works_at_its_first_token() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.hands.advance(COOLDOWN);
    issuer.rotate(&[Key::p256("a"), Key::p256("b")]);
    assert_eq!(world.ask("b").await, Ok(()));
    world.expect(FetchTrigger::UnknownKid, FetchResult::Success, 2).await;
}

#[tokio::test]
async fn within_the_cooldown_after_a_success_a_kid_is_unknown_without_a_fetch() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    issuer.rotate(&[Key::p256("b")]);
    world.hands.advance(COOLDOWN - Duration::from_millis(1));
    assert_eq!(world.ask("b").await, Err(Code::KeyUnknown));
    assert_eq!(issuer.requests(Document::Keys), 1);
    world.hands.advance(Duration::from_millis(1));
    assert_eq!(world.ask("b").await, Ok(()));
    assert_eq!(issuer.requests(Document::Keys), 2);
}

#[tokio::test]
async fn within_the_cooldown_after_a_failure_keys_are_unavailable_without_a_fetch() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::at_keys_of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.hands.advance(COOLDOWN);
    issuer.answer(Document::Keys, Answer::Status(500));
    assert_eq!(world.ask("b").await, Err(Code::KeysUnavailable));
    world.expect(FetchTrigger::UnknownKid, FetchResult::Status, 1).await;

    issuer.rotate(&[Key::p256("b")]);
    let reject = world.sets.refetch(ID).await.unwrap_err();
    let expected = Reject::KeysUnavailable {
        issuer: "main".to_owned(),
        why: format!("{}: the answer has status 500", issuer.url_of(Document::Keys)),
        retry_after: COOLDOWN.as_secs(),
    };
    assert_eq!(reject, expected);
    assert_eq!(issuer.requests(Document::Keys), 2);
    assert_eq!(world.ask("a").await, Ok(()));
    world.no_more_events();
}

/// The wall clock is set back by a year: cooldown, refresh and age go by the other one.
#[tokio::test]
async fn the_wall_clock_does_not_move_the_cooldown() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.hands.set_wall(SystemTime::UNIX_EPOCH + START - Duration::from_secs(365 * 86400));
    issuer.rotate(&[Key::p256("b")]);
    assert_eq!(world.ask("b").await, Err(Code::KeyUnknown));
    world.hands.advance(COOLDOWN);
    assert_eq!(world.ask("b").await, Ok(()));
    assert_eq!(known(&world), 1);
}

/// A thousand tokens with a thousand unknown kids, from several threads: one fetch, and none in the cooldown after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_unknown_kids_makes_one_fetch() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.hands.advance(COOLDOWN);
    for fetches in [2, 3] {
        let storm: Vec<_> = (0..1000)
            .map(|number| {
                let sets = Arc::clone(&world.sets);
                tokio::spawn(async move { ask(&sets, &format!("kid-{number}")).await })
            })
            .collect();
        for token in storm {
            assert_eq!(patiently(token).await.unwrap(), Err(Code::KeyUnknown));
        }
        assert_eq!(world.ask("again").await, Err(Code::KeyUnknown));
        assert_eq!(issuer.requests(Document::Keys), fetches);
        world.expect(FetchTrigger::UnknownKid, FetchResult::Success, 1).await;
        world.no_more_events();
        world.hands.advance(COOLDOWN);
    }
}

#[tokio::test]
async fn known_keys_do_not_wait_for_a_slow_fetch() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    issuer.hold();
    world.hands.advance(REFRESH);
    patiently(issuer.asked(Document::Discovery, 2)).await;
    assert_eq!(world.ask("a").await, Ok(()));
    assert_eq!(known(&world), 1);
    issuer.release();
    world.expect(FetchTrigger::Refresh, FetchResult::Success, 1).await;
}

/// The caller who began a fetch leaves: the fetch goes on, and the next caller has its result.
#[tokio::test]
async fn a_refetch_survives_the_caller_who_began_it() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::at_keys_of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.hands.advance(COOLDOWN);
    issuer.rotate(&[Key::p256("b")]);
    issuer.hold();
    let sets = Arc::clone(&world.sets);
    let first = tokio::spawn(async move { ask(&sets, "b").await });
    patiently(issuer.asked(Document::Keys, 2)).await;
    let sets = Arc::clone(&world.sets);
    let second = tokio::spawn(async move { ask(&sets, "b").await });
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    issuer.release();
    assert_eq!(patiently(second).await.unwrap(), Ok(()));
    world.expect(FetchTrigger::UnknownKid, FetchResult::Success, 1).await;
    assert_eq!(issuer.requests(Document::Keys), 2);
}

/// A fetch that takes longer than 5 s, discovery included, has failed; who waits for it is told then.
#[tokio::test]
async fn a_caller_waits_five_seconds_at_most() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.hands.advance(COOLDOWN);
    issuer.rotate(&[Key::p256("b")]);
    issuer.hold();
    let sets = Arc::clone(&world.sets);
    let caller = tokio::spawn(async move { ask(&sets, "b").await });
    patiently(issuer.asked(Document::Discovery, 2)).await;
    world.hands.advance(PATIENCE - Duration::from_millis(1));
    assert_eq!(world.ask("a").await, Ok(()));
    assert!(!caller.is_finished());
    world.hands.advance(Duration::from_millis(1));
    assert_eq!(patiently(caller).await.unwrap(), Err(Code::KeysUnavailable));
    world.expect(FetchTrigger::UnknownKid, FetchResult::Timeout, 1).await;
}

/// Requests of another runtime, on another thread, join the fetch of the control runtime.
#[tokio::test]
async fn a_worker_of_another_runtime_joins() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    world.hands.advance(COOLDOWN);
    issuer.rotate(&[Key::p256("b")]);
    let sets = Arc::clone(&world.sets);
    let worker = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(&sets, "b"))
    });
    assert_eq!(patiently(worker).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_request_during_the_first_fetch_awaits_it() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    issuer.hold();
    let mut world = World::of(&issuer);
    let sets = Arc::clone(&world.sets);
    let early = tokio::spawn(async move { ask(&sets, "a").await });
    patiently(issuer.asked(Document::Discovery, 1)).await;
    assert!(!world.sets.seen(ID));
    issuer.release();
    assert_eq!(patiently(early).await.unwrap(), Ok(()));
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    assert_eq!(issuer.requests(Document::Keys), 1);
}

/// Down at start: 503, not ready; the tries come sooner than a refresh, and the first success ends it.
#[tokio::test]
async fn an_issuer_that_is_down_at_start_is_tried_again() {
    let mut issuer = Issuer::start(&[Key::p256("a")]).await;
    issuer.down().await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Unreachable, 0).await;
    assert_eq!(world.ask("a").await, Err(Code::KeysUnavailable));
    assert!(!world.sets.seen(ID));
    for wait in [1, 2, 4, 5, 5] {
        world.hands.advance(Duration::from_secs(wait));
        world.expect(FetchTrigger::Start, FetchResult::Unreachable, 0).await;
    }
    issuer.up();
    world.hands.advance(Duration::from_secs(5));
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    assert_eq!(world.ask("a").await, Ok(()));
    assert!(world.sets.seen(ID));
}

/// Down after a good fetch: the last good set serves for `max_stale`, then 503; readiness is unmoved.
#[tokio::test]
async fn the_last_good_set_serves_until_it_is_too_old() {
    let mut issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    issuer.down().await;
    world.hands.advance(MAX_STALE - Duration::from_millis(1));
    world.expect(FetchTrigger::Refresh, FetchResult::Unreachable, 1).await;
    assert_eq!(world.ask("a").await, Ok(()));
    world.hands.advance(Duration::from_millis(1));
    assert_eq!(world.ask("a").await, Err(Code::KeysUnavailable));
    assert!(world.sets.seen(ID));
    world.hands.advance(Duration::from_secs(1));
    world.expect(FetchTrigger::Refresh, FetchResult::Unreachable, 0).await;

    issuer.up();
    world.hands.advance(PATIENCE);
    world.expect(FetchTrigger::Refresh, FetchResult::Success, 1).await;
    assert_eq!(world.ask("a").await, Ok(()));
}

/// While a set serves, the waits after failures grow up to `refresh`.
#[tokio::test]
async fn failures_space_out_the_tries() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::at_keys_of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    issuer.answer(Document::Keys, Answer::Status(503));
    world.refresh(FetchResult::Status, 1).await;
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        world.advance_quietly(Duration::from_secs(wait), &issuer).await;
        world.expect(FetchTrigger::Refresh, FetchResult::Status, 1).await;
    }
    issuer.rotate(&[Key::p256("a"), Key::p256("b")]);
    world.refresh(FetchResult::Success, 2).await;
    world.no_more_events();
}

/// An issuer may move its keys: the new address is learned at the next fetch.
#[tokio::test]
async fn a_moved_key_set_is_found() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let other = Issuer::start(&[Key::p256("b")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    let mut document = issuer.metadata();
    document["jwks_uri"] = json!(other.url_of(Document::Keys));
    issuer.answer(Document::Discovery, Answer::json(&document));
    world.refresh(FetchResult::Success, 1).await;
    assert_eq!(world.ask("b").await, Ok(()));
}

#[tokio::test]
async fn a_file_is_read_at_start_at_refresh_and_for_an_unknown_kid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let write = |keys: &[Key]| std::fs::write(&path, jwk_set(keys).to_string()).unwrap();
    write(&[Key::p256("a")]);
    let mut world = World::start("https://login.example.com", Origin::File(path.clone()));
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    assert_eq!(world.ask("a").await, Ok(()));

    write(&[Key::p256("a"), Key::p256("b")]);
    world.refresh(FetchResult::Success, 2).await;

    write(&[Key::p256("c")]);
    world.hands.advance(COOLDOWN);
    assert_eq!(world.ask("c").await, Ok(()));
    world.expect(FetchTrigger::UnknownKid, FetchResult::Success, 1).await;

    std::fs::write(&path, vec![b' '; 1024 * 1024 + 1]).unwrap();
    world.refresh(FetchResult::TooLarge, 1).await;
    std::fs::remove_file(&path).unwrap();
    world.hands.advance(Duration::from_secs(1));
    world.expect(FetchTrigger::Refresh, FetchResult::File, 1).await;
    assert_eq!(world.ask("c").await, Ok(()));
}

#[tokio::test]
async fn a_file_that_is_missing_leaves_the_engine_alive() {
    let mut world = World::start("https://login.example.com", Origin::File(PathBuf::from("/nowhere/keys.json")));
    world.expect(FetchTrigger::Start, FetchResult::File, 0).await;
    assert_eq!(world.ask("a").await, Err(Code::KeysUnavailable));
}

/// What the operator reads: the first failure and each change, with cause and cure, not each try; and which keys of a
/// set are left out.
#[tokio::test]
async fn the_log_tells_each_change_once() {
    log::keep();
    let issuer = Issuer::start(&[]).await;
    issuer.answer(Document::Keys, Answer::Status(500));
    let origin = Origin::Uri(issuer.url_of(Document::Keys).parse().unwrap());
    let mut world = World::start_with(KeySource { name: "logged".to_owned(), ..source(&issuer.url(), origin) });
    world.expect(FetchTrigger::Start, FetchResult::Status, 0).await;
    world.hands.advance(PATIENCE);
    world.expect(FetchTrigger::Start, FetchResult::Status, 0).await;
    issuer.answer(Document::Keys, Answer::html());
    world.hands.advance(PATIENCE);
    world.expect(FetchTrigger::Start, FetchResult::Malformed, 0).await;
    let keys = json!({ "keys": [Key::p256("a").jwk(), { "kid": "line\nbreak", "kty": "oct", "k": "c2VjcmV0" }] });
    issuer.answer(Document::Keys, Answer::json(&keys));
    world.hands.advance(PATIENCE);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    issuer.answer(Document::Keys, Answer::Status(500));
    world.refresh(FetchResult::Status, 1).await;
    world.hands.advance(MAX_STALE);
    world.expect(FetchTrigger::Refresh, FetchResult::Status, 0).await;

    let url = issuer.url_of(Document::Keys);
    let lines = log::lines_with("issuer=logged");
    let expected: [&[&str]; 6] = [
        &["WARN", "there are no keys yet", &format!("{url}: the answer has status 500"), "help"],
        &["WARN", "there are no keys yet", &format!("{url}: the answer is an HTML page, not JSON"), "help"],
        &["WARN", "left out", "usable=1", r#""line\nbreak" is a private or symmetric key"#],
        &["INFO", "keys can be fetched again"],
        &["WARN", "the last good set serves on", "status 500", "help"],
        &["WARN", "older than `max_stale`", "status 500", "help"],
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, parts) in lines.iter().zip(expected) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}\n{parts:?}");
        assert!(!line.contains("c2VjcmV0"), "{line}");
    }
}

/// Dropped, the engine asks no more.
#[tokio::test]
async fn a_dropped_engine_stops() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::at_keys_of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    let World { sets, hands, mut events } = world;
    drop(sets);
    // The observer goes with the keeper.
    assert_eq!(patiently(events.recv()).await, None);
    hands.advance(REFRESH);
    assert_eq!(issuer.requests(Document::Keys), 1);
}

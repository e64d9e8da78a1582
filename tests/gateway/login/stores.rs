//! A gateway whose sessions are kept outside of it: a store that is away is nobody's logout, and a restart neither.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use bearward::server::drain::Drain;

use super::{Browser, SCRIPT, World};
use crate::harness::passing::passing;
use crate::harness::redis::Redis;

/// A file with a cookie key, and the line that names it.
pub(super) fn keyed() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cookie.key");
    std::fs::write(&file, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let line = format!("cookie = {{ keys = [{{ file = \"{}\" }}] }}", file.display());
    (directory, line)
}

pub(super) async fn asks(browser: &Browser) -> (u16, String) {
    let answer = browser.peek("GET", "/orders", SCRIPT).await;
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

#[tokio::test]
async fn a_store_that_is_away_harms_no_bearer_and_logs_nobody_out() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let (_key, line) = keyed();
    let world = World::configured(&line, &format!("[store]\nurl = \"{}\"", redis.url())).await;
    let browser = world.logged_in().await;
    assert_eq!(asks(&browser).await, (200, String::new()));
    for _ in 0..2 {
        redis.down();
        for _ in 0..5 {
            assert_eq!(asks(&browser).await, (503, "store_unavailable".to_owned()));
            world.around.passes().await;
        }
        redis.up();
        assert_eq!(asks(&browser).await, (200, String::new()), "the next request finds it");
    }
    // It hangs: a session waits in bounds, a Bearer not at all.
    redis.signal("-STOP");
    let asked = passing(&world.around.hands, asks(&browser)).await;
    assert_eq!(asked, (503, "store_unavailable".to_owned()));
    world.around.passes().await;
    redis.signal("-CONT");
    assert_eq!(asks(&browser).await, (200, String::new()));
}

#[tokio::test]
async fn a_session_in_a_file_outlives_its_gateway() {
    let (directory, line) = keyed();
    let file = directory.path().join("state.db");
    let mut world = World::configured(&line, &format!("[store]\nurl = \"file:{}\"", file.display())).await;
    let mut browser = world.logged_in().await;
    assert_eq!(asks(&browser).await, (200, String::new()));
    world.around.restart(1);
    browser.address = world.around.gateway.address();
    // The gateway before it may still be on its way out, and has the file until it is.
    let begun = Instant::now();
    loop {
        match asks(&browser).await {
            (200, _) => break,
            told => assert_eq!(told, (503, "store_unavailable".to_owned())),
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the file is still taken");
    }
}

/// A refresh that nobody waits for any more is under way: neither a reload nor a drain breaks it off.
#[tokio::test]
async fn a_drain_waits_for_what_an_issuer_grants_once() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    world.around.hands.advance(Duration::from_secs(600));
    world.tokens.hold();
    let asked = world.tokens.asked().len();
    {
        let request = asks(&browser);
        tokio::pin!(request);
        tokio::select! {
            told = &mut request => panic!("{told:?} before the issuer has answered"),
            () = world.tokens.was_asked(asked + 1) => {}
        }
    }
    world.around.reload();
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(30) };
    let drained = world.around.gateway.drain(drain);
    tokio::pin!(drained);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut drained).await;
    assert!(early.is_err(), "it is over before the issuer has answered");
    world.tokens.release();
    assert!(drained.await);
    let series = "bearward_session_refreshes_total{result=\"success\",session=\"web\"}";
    assert_eq!(world.around.gateway.sample(series), Some(1.0));
}

/// What is in force changes, and what is kept does not.
#[tokio::test]
async fn a_reload_ends_no_session() {
    let world = World::start().await;
    let browser = world.logged_in().await;
    world.around.reload();
    assert_eq!(asks(&browser).await, (200, String::new()));
}

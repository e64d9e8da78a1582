//! Several gateways over one Redis: a thousand browser sessions with tokens of two seconds, whose issuer ends a login when a
//! refresh token is shown twice.
//!
//! `cargo bench --bench replicas`, or one part of it: `-- two` (`three`, `restarts`, `kills`, `overlap`). The gateways are the real binary of
//! the same profile, Redis is a real one that writes every change down before it tells of it; issuer, upstream and browsers
//! are in this process. Each part fails where more was lost than it allows:
//!
//! - `two` and `three` gateways for a minute: nothing, and one refresh for each token.
//! - `restarts`: three gateways of which one is stopped by SIGTERM and started again every few seconds, and Redis killed and
//!   started again once: nothing.
//! - `kills`: one gateway after the other is killed, and one is stopped where it stands for longer than an attempt lasts: at
//!   most the refreshes that these had under way at that instant, each counted in the metrics.
//! - `overlap`: the same where the issuer allows the refresh token before the newest to be shown again: nothing.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "an experiment fails by panicking and reports on standard output"
)]

mod browsers;
mod fleet;
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' own world around the gateway"
)]
#[path = "../../tests/gateway/harness/mod.rs"]
mod harness;
#[path = "../harness/heads.rs"]
mod heads;
mod issuer;
mod upstream;

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::browsers::Browsers;
use crate::fleet::Fleet;

/// How long each part lasts.
const PART: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let all = ["two", "three", "restarts", "kills", "overlap"];
    let chosen = all.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|word| word == name));
    let outcomes: Vec<bool> = chosen.map(|name| runtime.block_on(part(name))).collect();
    assert!(!outcomes.is_empty(), "no such part: {wanted:?}");
    if outcomes.iter().all(|good| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the part of that name was good.
async fn part(name: &str) -> bool {
    let Some(mut fleet) = Fleet::start(if name == "two" { 2 } else { 3 }, name == "overlap").await else {
        return false;
    };
    let browsers = Browsers::log_in(&fleet).await;
    let allowed = match name {
        "restarts" => restarts(&mut fleet).await,
        "kills" => kills(&mut fleet, &browsers).await,
        "overlap" => {
            kills(&mut fleet, &browsers).await;
            0
        }
        _ => {
            sleep(PART).await;
            0
        }
    };
    let told = browsers.leave().await;
    let counted = fleet.lost().await;
    let (refreshes, early, reused) = fleet.issuer.counts();
    let good = told.lost <= allowed
        && counted == told.lost
        && told.mixed == 0
        && (reused == 0 || name == "kills")
        && early == 0;
    println!(
        "{name}: {} sessions, {} requests ({}), {refreshes} refreshes ({early} early, {reused} of a token shown before), {} sessions \
         lost of at most {allowed}, {counted} counted as lost, {} answers of another's session: {}",
        browsers::COUNT,
        told.requests,
        told.others,
        told.lost,
        told.mixed,
        if good { "good" } else { "NOT GOOD" }
    );
    good
}

/// One gateway after the other is stopped gently and started again, and Redis is killed once.
async fn restarts(fleet: &mut Fleet) -> usize {
    for round in 0..12 {
        sleep(PART / 15).await;
        fleet.restart(round % 3).await;
        if round == 5 {
            fleet.redis.down();
            sleep(Duration::from_secs(1)).await;
            fleet.redis.up();
        }
    }
    sleep(PART / 5).await;
    0
}

/// One gateway after the other is killed; then one is stopped where it stands, and goes on later. What had been under way in them is the
/// most that may be lost.
async fn kills(fleet: &mut Fleet, browsers: &Browsers) -> usize {
    let mut under_way = 0;
    for round in 0..5 {
        sleep(PART / 12).await;
        fleet.kill(round % 3).await;
        under_way += browsers.left_under_way().await;
        fleet.start_again(round % 3);
    }
    sleep(PART / 12).await;
    fleet.stop(0);
    under_way += browsers.left_under_way().await;
    // Longer than an attempt lasts: others take over meanwhile.
    sleep(Duration::from_secs(15)).await;
    fleet.go_on(0);
    sleep(PART / 5).await;
    under_way
}

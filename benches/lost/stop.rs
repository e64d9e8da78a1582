//! SIGTERM under load, twenty times: who obeys `Connection: close` and GOAWAY loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Ask, Habit};
use crate::fate::Fates;
use crate::harness::mint::Key;
use crate::world::{Crowd, World, told};

const TIMES: usize = 20;

pub async fn run() -> bool {
    let mut good = true;
    let mut longest = Duration::ZERO;
    let mut all = Vec::new();
    for _ in 0..TIMES {
        let (fates, took, code) = stop().await;
        longest = longest.max(took);
        let well = code == Some(0) && fates.are_good();
        good &= well;
        if !well {
            println!("stop: exit code {code:?} after {took:.1?}: {fates}");
        }
        all.push(fates);
    }
    let about = format!("{TIMES} times SIGTERM, delay 1 s, answers of 0 to 2 s, gone after {longest:.1?} at the most");
    told("stop", &about, &Fates::sum(&all)) && good
}

/// One life: what became of its requests, how long the end took, and the exit code.
async fn stop() -> (Arc<Fates>, Duration, Option<i32>) {
    let world = World::start(Key::p256("key"), "drain = { delay = \"1s\", timeout = \"30s\" }", "", "").await;
    let World { gateway, issuer: _issuer, .. } = world;
    let mut crowd = Crowd::new(gateway.address);
    crowd.join_http1(200, &slow());
    crowd.join_http2(10, 5, &slow());
    tokio::time::sleep(Duration::from_secs(3)).await;

    let began = Instant::now();
    gateway.signal();
    // By now whoever spreads the load has asked `/readyz`.
    tokio::time::sleep(Duration::from_millis(500)).await;
    crowd.course.leave();
    let (status, _) = tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap();
    let took = began.elapsed();
    (crowd.gone().await, took, status.code())
}

/// Answers that take from 0 to 2 s, one request after the other.
fn slow() -> Habit {
    let number = AtomicU64::new(0);
    let next = move || {
        // Spread over the whole range, each time in the same order. Half of the answers begin at once and end late.
        let number = number.fetch_add(1, Ordering::Relaxed);
        let (delay, part) = (number * 787 % 2000, if number.is_multiple_of(2) { "head" } else { "body" });
        Ask { path: format!("/open/{part}/{delay}"), token: None, elsewhere: false }
    };
    Habit { next: Arc::new(next), rest: Duration::ZERO }
}

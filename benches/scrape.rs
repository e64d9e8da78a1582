//! What a scrape costs where much is counted, and what requests feel of it.
//!
//! `cargo bench --bench scrape`: a thousand routes and ten issuers, each with permitted and refused requests of each issuer on
//! each route. A request's record takes atomics only; whether a scrape that runs all the time slows it is measured too.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and reports on standard output"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bearward::policy::reject::Code;
use bearward::telemetry::access::{Refused, Settings};
use bearward::telemetry::labels::{By, Decision, Labels};
use bearward::telemetry::ledger::Ledger;
use bearward::telemetry::log::Format;
use bearward::telemetry::metrics::Metrics;
use bearward::telemetry::{Answer, Outcome, Telemetry, Visit};
use http::{HeaderValue, Method, StatusCode};

const ROUTES: usize = 1000;
const ISSUERS: usize = 10;
const SCRAPES: usize = 50;
/// What a scrape may take at the most.
const LIMIT: Duration = Duration::from_millis(50);

fn main() {
    let telemetry = Arc::new(Telemetry { metrics: Metrics::new(&["0.0.0.0:8080"]).unwrap(), access: None, log: None });
    let names = |kind: &str, count: usize| (0..count).map(|number| format!("{kind}-{number}")).collect::<Vec<_>>();
    let (routes, issuers) = (names("route", ROUTES), names("issuer", ISSUERS));
    let borrowed = |names: &[String]| names.iter().map(|name| &*name.clone().leak()).collect::<Vec<&str>>();
    let (route_names, issuer_names) = (borrowed(&routes), borrowed(&issuers));
    let labels = Labels { routes: &route_names, issuers: &issuer_names, upstreams: &["api"], sessions: &[] };
    let lines = Settings { format: Format::Json, sample: 0.0, refused: Refused::All };
    let ledger = Ledger::open(&telemetry, &labels, lines);
    for (route, issuer) in (0..ROUTES).flat_map(|route| (0..ISSUERS).map(move |issuer| (route, issuer))) {
        outcome(route, issuer, Decision::Permitted).record(&ledger);
        outcome(route, issuer, Decision::Refused(Code::TokenExpired)).record(&ledger);
    }

    let mut times: Vec<Duration> = (0..SCRAPES).map(|_| timed(|| telemetry.metrics.render())).collect();
    times.sort_unstable();
    let text = telemetry.metrics.render();
    println!("{} lines, {} KiB", text.lines().count(), text.len() / 1024);
    println!("scrape: median {:.1?}, slowest {:.1?}", times[SCRAPES / 2], times[SCRAPES - 1]);

    let alone = record(&ledger);
    let stop = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                telemetry.metrics.render();
            }
        });
        let beside = record(&ledger);
        stop.store(true, Ordering::Relaxed);
        beside
    });
    println!("a request's record: {alone:.0} ns alone, {beside:.0} ns beside endless scrapes");
    assert!(times[SCRAPES / 2] < LIMIT, "a scrape takes {:?}, more than {LIMIT:?}", times[SCRAPES / 2]);
}

/// The least time that a record takes, of many rounds, in nanoseconds.
fn record(ledger: &Ledger) -> f64 {
    const TIMES: usize = 20_000;
    let outcome = outcome(7, 7, Decision::Permitted);
    let rounds = (0..50).map(|_| timed(|| (0..TIMES).for_each(|_| outcome.record(ledger))));
    rounds.min().unwrap_or_default().as_nanos() as f64 / TIMES as f64
}

fn timed<T>(done: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    std::hint::black_box(done());
    began.elapsed()
}

fn outcome(route: usize, issuer: usize, decision: Decision) -> Outcome {
    let permitted = decision == Decision::Permitted;
    let (status, by) = if permitted { (StatusCode::OK, By::Upstream) } else { (StatusCode::UNAUTHORIZED, By::Gateway) };
    Outcome {
        at: SystemTime::now(),
        method: Method::GET,
        uri: http::Uri::from_static("/"),
        route: Some(route),
        answer: Some(Answer { status, by }),
        decision: Some(decision),
        failure: None,
        issuer: Some(issuer),
        verified: true,
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        duration: Duration::from_millis(3),
        visit: permitted.then_some(Visit { upstream: 0, time: Some(Duration::from_millis(2)) }),
        request_id: HeaderValue::from_static("r"),
        trace_id: None,
    }
}

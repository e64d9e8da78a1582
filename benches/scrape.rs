//! What a scrape costs where much is counted, and what requests feel of it.
//!
//! `cargo bench --bench scrape`: a thousand routes and ten issuers, each with permitted and refused requests of each issuer on
//! each route. First in this process: the text alone, and a request's record beside texts that are written without an end.
//! Then over real sockets: a steady load beside no scrape, a scrape each second, and scrapes without an end, in turn.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark fails by panicking and reports on standard output"
)]

#[allow(dead_code, reason = "each benchmark uses its own part")]
mod harness;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
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
use harness::mint::Key;
use harness::{Server, at, free_address, read_answer};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::sleep_until;

const ROUTES: usize = 1000;
const ISSUERS: usize = 10;
const SCRAPES: usize = 50;

/// What a gateway answers that cannot keep up: on a machine with much else to do.
const OVERLOADED: u16 = 503;

/// Connections of the load, and how often each asks.
const CONNECTIONS: usize = 16;
const INTERVAL: Duration = Duration::from_millis(8);
const ROUNDS: usize = 4;
const MEASURED: Duration = Duration::from_secs(4);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [_, "upstream"] => harness::upstream(),
        [_, "gateway", config] => harness::gateway(Path::new(config)),
        _ => {
            in_process();
            over_sockets();
        }
    }
}

/// The text alone, and a record beside it.
fn in_process() {
    let telemetry = Arc::new(Telemetry { metrics: Metrics::new(&["0.0.0.0:8080"]).unwrap(), access: None, log: None });
    let (routes, issuers) = (names("route", ROUTES), names("issuer", ISSUERS));
    let (routes, issuers) = (borrowed(&routes), borrowed(&issuers));
    let labels = Labels { routes: &routes, issuers: &issuers, upstreams: &["api"], sessions: &[] };
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
    println!("the text alone: median {:.1?}, slowest {:.1?}", times[SCRAPES / 2], times[SCRAPES - 1]);

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
    println!("a request's record: {alone:.0} ns alone, {beside:.0} ns beside texts without an end");
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{kind}-{number}")).collect()
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
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

/// How often the metrics are scraped.
#[derive(Clone, Copy)]
enum Scraped {
    Never,
    EachSecond,
    WithoutEnd,
}

/// A gateway whose every series exists, under a steady load beside scrapes.
fn over_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let (upstream, admin, key) = (Server::start(&["upstream"]), free_address(), Key::rsa("key"));
    let config = configure(directory.path(), upstream.address, admin, key);
    let gateway = Server::start(&["gateway", config.to_str().unwrap()]);
    let client = Builder::new_current_thread().enable_all().build().unwrap();
    let good = client.block_on(fill(gateway.address, key));
    let before = gateway.resident_kib();

    let cases =
        [("never", Scraped::Never), ("each second", Scraped::EachSecond), ("without an end", Scraped::WithoutEnd)];
    let mut results = cases.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        for ((_, scraped), (latencies, scrapes)) in cases.iter().zip(&mut results) {
            let end = Instant::now() + MEASURED;
            let scraper = std::thread::spawn({
                let scraped = *scraped;
                move || scrape_until(end, admin, scraped)
            });
            latencies.extend(client.block_on(load(gateway.address, &good, end)));
            scrapes.extend(scraper.join().unwrap());
        }
    }
    println!(
        "\n| scraped | a scrape, median (most) ms | served | p50 us | p99 us | p99.9 us |\n|---|---|---|---|---|---|"
    );
    for ((name, _), (mut latencies, mut scrapes)) in cases.into_iter().zip(results) {
        latencies.sort_unstable();
        scrapes.sort_unstable();
        let scrape = scrapes.last().map_or("none".to_owned(), |most| {
            let millis = |time: Duration| time.as_secs_f64() * 1e3;
            format!("{:.0} ({:.0})", millis(at(&scrapes, 0.5)), millis(*most))
        });
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| at(&latencies, share).as_micros());
        println!("| {name} | {scrape} | {} | {p50} | {p99} | {p999} |", latencies.len());
    }
    println!("resident: {} MiB before, {} at most", before / 1024, gateway.peak_kib() / 1024);
}

fn configure(directory: &Path, upstream: SocketAddr, admin: SocketAddr, key: Key) -> std::path::PathBuf {
    std::fs::write(directory.join("keys.json"), harness::mint::jwk_set(&[key]).to_string()).unwrap();
    let issuers: String = names("issuer", ISSUERS)
        .iter()
        .map(|name| {
            format!("[issuers.{name}]\nissuer = \"https://{name}.example.com/\"\njwks = {{ file = \"keys.json\" }}\n")
        })
        .collect();
    let routes: String = names("route", ROUTES)
        .iter()
        .map(|name| {
            format!("[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"api\"\npolicy = \"all\"\n")
        })
        .collect();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\n[admin]\nlisten = \"{admin}\"\n{issuers}\
         [upstreams.api]\nurl = \"http://{upstream}\"\n[policies.all]\nissuers = {:?}\naudience = [\"api\"]\n{routes}",
        names("issuer", ISSUERS)
    );
    let config = directory.join("bearward.toml");
    std::fs::write(&config, text).unwrap();
    config
}

/// A request of each kind on each route; those that are permitted.
async fn fill(gateway: SocketAddr, key: Key) -> Vec<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let tokens = |exp: u64| {
        let token = |name: &String| {
            key.token(&json!({
                "iss": format!("https://{name}.example.com/"), "aud": "api", "sub": "ada", "client_id": "web", "iat": now - 7200,
                "exp": exp, "jti": "1",
            }))
        };
        names("issuer", ISSUERS).iter().map(token).collect::<Vec<_>>()
    };
    let requests = |tokens: &[String]| -> Vec<String> {
        let of = |route: &String| {
            let request = |token: &String| {
                format!("GET /{route} HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n")
            };
            tokens.iter().map(request).collect::<Vec<_>>()
        };
        names("route", ROUTES).iter().flat_map(of).collect()
    };
    let (good, expired) = (requests(&tokens(now + 86400)), requests(&tokens(now - 3600)));
    let (mut stream, mut buffer) = (TcpStream::connect(gateway).await.unwrap(), Vec::new());
    for (requests, status) in [(&good, 200), (&expired, 401)] {
        for request in requests {
            let answered = loop {
                stream.write_all(request.as_bytes()).await.unwrap();
                match read_answer(&mut stream, &mut buffer).await.unwrap() {
                    OVERLOADED => {}
                    answered => break answered,
                }
            };
            assert_eq!(answered, status);
        }
    }
    good
}

/// The times of the answers to a steady load: each connection asks at its times, and the time of an answer counts from when it
/// was due, or from when it was sent where nothing but the client's timer was late.
async fn load(gateway: SocketAddr, requests: &[String], end: Instant) -> Vec<Duration> {
    let mut clients = tokio::task::JoinSet::new();
    let all: Arc<[String]> = requests.into();
    for number in 0..CONNECTIONS {
        let all = Arc::clone(&all);
        clients.spawn(async move {
            let (mut stream, mut buffer) = (TcpStream::connect(gateway).await.unwrap(), Vec::new());
            stream.set_nodelay(true).unwrap();
            let mut latencies = Vec::new();
            let mut due = Instant::now() + INTERVAL * number as u32 / CONNECTIONS as u32;
            let mut which = number;
            while due < end {
                let mut begun = due;
                if Instant::now() < due {
                    sleep_until(due.into()).await;
                    begun = Instant::now();
                }
                stream.write_all(all[which % all.len()].as_bytes()).await.unwrap();
                match read_answer(&mut stream, &mut buffer).await.unwrap() {
                    200 => latencies.push(begun.elapsed()),
                    // It waits for its turn then, and what was due meanwhile is due no more.
                    OVERLOADED => due = due.max(Instant::now()),
                    status => panic!("{status}"),
                }
                due += INTERVAL;
                which += CONNECTIONS;
            }
            latencies
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// Scrapes until then; how long each took, to the last byte.
fn scrape_until(end: Instant, admin: SocketAddr, scraped: Scraped) -> Vec<Duration> {
    let mut times = Vec::new();
    let pause = match scraped {
        Scraped::Never => return times,
        Scraped::EachSecond => Duration::from_secs(1),
        Scraped::WithoutEnd => Duration::ZERO,
    };
    while Instant::now() + pause < end {
        std::thread::sleep(pause);
        times.push(timed(|| {
            let mut stream = std::net::TcpStream::connect(admin).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.len() > 1024 * 1024);
        }));
    }
    times
}

//! What one hop costs, over real sockets: the same load straight to an upstream, and through the gateway in two layouts
//! of workers, in turn, in one run.
//!
//! `cargo bench --bench hop`. Every server is a process of its own, so that its processor time and memory are its own; the
//! figure to trust on a shared machine is processor time per request. Layouts: *per core* is what `run` does, one
//! single-threaded runtime per worker with upstream connections of its own; *shared* is one multi-threaded runtime with
//! one pool, made of the same parts. *Traced* sends spans of that share of the requests to a collector;
//! `cargo bench --bench hop -- traced` measures these alone, in many rounds: what they cost is less than two rounds differ by.

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

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bearward::config::Config;
use bearward::gateway::request_body::Pace;
use bearward::gateway::{Gateways, PROVEN_BYTES, Peer, Shared};
use bearward::remote::clock::Clock;
use bearward::server::assembly::metrics;
use bearward::telemetry::Telemetry;
use bytes::Bytes;
use harness::mint::Key;
use harness::{Server, at, configure, read_ok, token};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 4;
const TRACED_ROUNDS: usize = 20;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [_, "upstream"] => harness::upstream(),
        [_, "collector"] => collector(),
        [_, "per-core", config] => harness::gateway(Path::new(config)),
        [_, "shared", config] => shared(Path::new(config)),
        _ if words.contains(&"traced") => compare(|name| name.starts_with(UNTRACED), TRACED_ROUNDS),
        _ => compare(|_| true, ROUNDS),
    }
}

/// What traced rows are compared with.
const UNTRACED: &str = "RS256 token, per core";

/// Runs the chosen cases in turn and prints the medians.
fn compare(chosen: impl Fn(&str) -> bool, rounds: usize) {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Server::start(&["upstream"]);
    let key = Key::rsa("key");
    let config = configure(directory.path(), upstream.address, &[key], 2);
    let (config, token) = (config.to_str().unwrap(), token(key, 0));
    let per_core = Server::start(&["per-core", config]);
    let shared = Server::start(&["shared", config]);
    let collector = Server::start(&["collector"]);
    let traced = |share: &str| {
        let path = directory.path().join(format!("traced-{share}.toml"));
        let telemetry = format!("[telemetry]\notlp = \"http://{}\"\nsample = {share}\n", collector.address);
        std::fs::write(&path, std::fs::read_to_string(config).unwrap() + &telemetry).unwrap();
        Server::start(&["per-core", path.to_str().unwrap()])
    };
    let (hundredth, tenth) = (traced("0.01"), traced("0.1"));
    let plain = "GET /plain HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_owned();
    let bearer = format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut cases = vec![
        ("straight to the upstream", &upstream, &plain),
        ("public route, per core", &per_core, &plain),
        ("public route, shared", &shared, &plain),
        (UNTRACED, &per_core, &bearer),
        ("RS256 token, shared", &shared, &bearer),
        ("RS256 token, per core, traced 1 %", &hundredth, &bearer),
        ("RS256 token, per core, traced 10 %", &tenth, &bearer),
    ];
    cases.retain(|(name, _, _)| chosen(name));
    let mut results: Vec<Vec<Load>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, server, request), loads) in cases.iter().zip(&mut results) {
            loads.push(Load::measure(server, request));
        }
    }
    println!("\n| case | CPU us/request (min..max) | requests/s | p50 us | p99 us |\n|---|---|---|---|---|");
    for ((name, _, _), loads) in cases.iter().zip(&results) {
        let cpu = Spread::of(loads, |load| load.cpu_us);
        println!(
            "| {name} | {:.1} ({:.1}..{:.1}) | {:.0} | {:.0} | {:.0} |",
            cpu.median,
            cpu.least,
            cpu.most,
            Spread::of(loads, |load| load.per_second).median,
            Spread::of(loads, |load| load.p50_us).median,
            Spread::of(loads, |load| load.p99_us).median,
        );
    }
    let rows = || cases.iter().map(|(name, _, _)| *name).zip(&results);
    let untraced = rows().find(|(name, _)| *name == UNTRACED).map(|(_, loads)| loads);
    for (name, loads) in rows().filter(|(name, _)| name.contains("traced")) {
        let pairs = loads.iter().zip(untraced.unwrap());
        let mut ratios: Vec<f64> = pairs.map(|(traced, untraced)| traced.cpu_us / untraced.cpu_us).collect();
        ratios.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| ratios[(ratios.len() - 1) * quarter / 4]);
        println!(
            "{name}: {median:.3} times the untraced CPU of the same round (half of the rounds: {low:.3}..{high:.3})"
        );
    }
}

/// One measurement.
struct Load {
    per_second: f64,
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Load {
    fn measure(server: &Server, request: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            load(server.address, request, WARM_UP).await;
            let (before, began) = (server.processor_seconds(), Instant::now());
            let mut latencies = load(server.address, request, MEASURED).await;
            let (cpu, elapsed) = (server.processor_seconds() - before, began.elapsed().as_secs_f64());
            latencies.sort_unstable();
            let micros = |share| at(&latencies, share).as_secs_f64() * 1e6;
            let count = latencies.len() as f64;
            Self { per_second: count / elapsed, cpu_us: cpu * 1e6 / count, p50_us: micros(0.5), p99_us: micros(0.99) }
        })
    }
}

/// Keeps every connection busy for a while; the time of each request. Every answer must be a 200.
async fn load(address: SocketAddr, request: &str, span: Duration) -> Vec<Duration> {
    let end = Instant::now() + span;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let request = request.as_bytes().to_vec();
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut latencies, mut buffer) = (Vec::new(), Vec::new());
            while Instant::now() < end {
                let sent = Instant::now();
                stream.write_all(&request).await.unwrap();
                read_ok(&mut stream, &mut buffer).await;
                latencies.push(sent.elapsed());
            }
            latencies
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(loads: &[Load], figure: impl Fn(&Load) -> f64) -> Self {
        let mut values: Vec<f64> = loads.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        Self { least: values[0], median: values[values.len() / 2], most: values[values.len() - 1] }
    }
}

/// A collector that takes all spans, and does nothing with them.
fn collector() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                request.into_body().collect().await.map(|_| Response::new(Empty::<Bytes>::new()))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

/// The same gateway on one runtime with several threads and one pool.
fn shared(config: &Path) {
    let config = Config::load(config).unwrap().config;
    let runtime = Builder::new_multi_thread().worker_threads(config.server.workers).enable_all().build().unwrap();
    let telemetry = Arc::new(Telemetry { metrics: metrics(&config).unwrap(), access: None, log: None });
    runtime.block_on(async {
        let control = tokio::runtime::Handle::current();
        let shared = Shared::new(telemetry, Clock::system(), Pace::default(), PROVEN_BYTES, None, &control).unwrap();
        let gateway = Gateways::start(config, Arc::new(shared)).of(0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, address) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let gateway = Arc::clone(&gateway);
                    let peer = Peer { address, listener: 0, tls: false, surplus: false };
                    async move { Ok::<_, Infallible>(gateway.handle(request, peer).await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

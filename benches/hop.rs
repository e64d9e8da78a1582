//! What one hop costs, over real sockets: the same load straight to an upstream, and through the gateway in two layouts
//! of workers, in turn, in one run.
//!
//! `cargo bench --bench hop`. Every server is a process of its own, so that its processor time and memory are its own; the
//! figure to trust on a shared machine is processor time per request. Layouts: *per core* is what `run` does, one
//! single-threaded runtime per worker with upstream connections of its own; *shared* is one multi-threaded runtime with
//! one pool, made of the same parts.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark fails by panicking and reports on standard output"
)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' own minting"
)]
#[path = "../tests/gateway/harness/mint.rs"]
mod mint;

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bearward::config::Config;
use bearward::gateway::request_body::Pace;
use bearward::gateway::{Gateways, Peer, Shared};
use bearward::remote::clock::Clock;
use bearward::server::assembly::{Served, metrics};
use bearward::telemetry::Telemetry;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mint::Key;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 4;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);
const IDLE: usize = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [_, "upstream"] => upstream(),
        [_, "per-core", config] => per_core(Path::new(config)),
        [_, "shared", config] => shared(Path::new(config)),
        _ => compare(),
    }
}

/// Runs every case in turn and prints the medians.
fn compare() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Server::start(&["upstream"]);
    let (config, token) = configure(directory.path(), upstream.address);
    let config = config.to_str().unwrap();
    let per_core = Server::start(&["per-core", config]);
    let shared = Server::start(&["shared", config]);
    let plain = "GET /plain HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_owned();
    let bearer = format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n");
    let cases = [
        ("straight to the upstream", &upstream, &plain),
        ("public route, per core", &per_core, &plain),
        ("public route, shared", &shared, &plain),
        ("RS256 token, per core", &per_core, &bearer),
        ("RS256 token, shared", &shared, &bearer),
    ];
    let mut results: Vec<Vec<Load>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
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
    memory(config);
}

/// Resident memory of a gateway that was just started, and with idle connections.
fn memory(config: &str) {
    let server = Server::start(&["per-core", config]);
    let fresh = server.resident_kib();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let held = runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..IDLE {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            read_response(&mut stream, &mut Vec::new()).await;
            held.push(stream);
        }
        held
    });
    let idle = server.resident_kib();
    drop(held);
    println!(
        "\nmemory: {:.1} MiB fresh, {:.1} MiB with {IDLE} idle connections ({:.1} KiB each)",
        fresh as f64 / 1024.0,
        idle as f64 / 1024.0,
        (idle - fresh) as f64 / IDLE as f64
    );
}

/// A server in a process of its own. Dropped, it is killed.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut process =
            Command::new(std::env::current_exe().unwrap()).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: line.trim().parse().unwrap(), process }
    }

    /// Processor time so far, in seconds: user and system time of proc(5), in ticks of 10 ms.
    fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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
            let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
            let count = latencies.len() as f64;
            Self { per_second: count / elapsed, cpu_us: cpu * 1e6 / count, p50_us: at(0.5), p99_us: at(0.99) }
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
                read_response(&mut stream, &mut buffer).await;
                latencies.push(sent.elapsed());
            }
            latencies
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// Reads one answer with a Content-Length.
async fn read_response(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server closed the connection");
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
        if buffer.len() >= end + 4 + length.trim().parse::<usize>().unwrap() {
            return;
        }
    }
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

/// Writes the gateway's files: the configuration's path, and a token that it takes.
fn configure(directory: &Path, upstream: SocketAddr) -> (std::path::PathBuf, String) {
    let key = Key::rsa("key");
    fs::write(directory.join("keys.json"), mint::jwk_set(&[key]).to_string()).unwrap();
    let config = directory.join("bearward.toml");
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
workers = 2
[admin]
listen = "127.0.0.1:0"
[issuers.main]
issuer = "https://login.example.com/"
jwks = {{ file = "keys.json" }}
[[routes]]
path = "/orders"
upstream = "http://{upstream}"
policy = {{ audience = ["https://api.example.com"], scopes = ["read:orders"] }}
[[routes]]
path = "/plain"
upstream = "http://{upstream}"
policy = "public"
"#
    );
    fs::write(&config, text).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let token = key.token(&json!({
        "iss": "https://login.example.com/", "aud": ["https://api.example.com"], "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "client_id": "web", "iat": now, "exp": now + 86400, "jti": "0b9c6a3e-0f4c-4a5e-8d4f-1f1f8a9d7c11",
        "scope": "openid profile email read:orders write:orders",
    }));
    (config, token)
}

/// The upstream: a hundred bytes for every head that ends.
fn upstream() {
    let body = "x".repeat(100);
    let answer: &'static [u8] =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes().leak();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut buffer = Vec::with_capacity(8192);
                while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
                    if buffer.ends_with(b"\r\n\r\n") {
                        buffer.clear();
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

/// The gateway as `run` lays it out.
fn per_core(config: &Path) {
    let control = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config::load(config).unwrap().config;
    let telemetry = Telemetry { metrics: metrics(&config).unwrap(), access: None, log: None };
    let served = Served::start(config, telemetry, Clock::system(), Pace::default(), control.handle()).unwrap();
    println!("{}", served.addresses()[0]);
    control.block_on(std::future::pending::<()>());
}

/// The same gateway on one runtime with several threads and one pool.
fn shared(config: &Path) {
    let config = Config::load(config).unwrap().config;
    let runtime = Builder::new_multi_thread().worker_threads(config.server.workers).enable_all().build().unwrap();
    let telemetry = Arc::new(Telemetry { metrics: metrics(&config).unwrap(), access: None, log: None });
    runtime.block_on(async {
        let control = tokio::runtime::Handle::current();
        let shared = Shared::new(telemetry, Clock::system(), Pace::default(), &control).unwrap();
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
                    let peer = Peer { address, listener: 0, tls: false };
                    async move { Ok::<_, Infallible>(gateway.handle(request, peer).await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

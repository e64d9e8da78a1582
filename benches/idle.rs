//! What connections cost that do nothing, in clear and within TLS, and whether they slow those that do.
//!
//! `cargo bench --bench idle`. The gateway is a process of its own; its memory is what the kernel holds resident for it.
//! Beside each crowd a few clients send 500 requests per second, and must all be answered 200.

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

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::mint::Key;
use harness::{Server, at, configure, read_ok};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_rustls::TlsConnector;

const GOOD_CLIENTS: u32 = 10;
const GOOD_PER_SECOND: u32 = 500;
const MEASURED: Duration = Duration::from_secs(6);
/// Long enough for the gateway to see that a connection is quiet, and shorter than a head may take.
const SETTLED: Duration = Duration::from_secs(2);
const GET: &[u8] = b"GET /plain HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What each connection of a crowd does before it stands still.
#[derive(Clone, Copy)]
enum Does {
    Nothing,
    OneRequest,
    HalfAHead,
    Http2,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [_, "upstream"] => harness::upstream(),
        [_, "gateway", config] => harness::gateway(Path::new(config)),
        _ => measure(),
    }
}

/// How to reach the gateway.
#[derive(Clone)]
struct Way {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

/// A connection, in clear or within TLS.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Way {
    async fn connect(&self) -> Box<dyn Connection> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()),
        }
    }
}

/// The same configuration within TLS, and who believes its certificate.
fn within_tls(directory: &Path, config: &Path) -> (PathBuf, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(directory.join("tls.key"), fs::Permissions::from_mode(0o400)).unwrap();
    let text = fs::read_to_string(config).unwrap();
    let tls = "[server]\ntls = [{ certificate = \"tls.crt\", private_key = \"tls.key\" }]";
    let config = directory.join("tls.toml");
    fs::write(&config, text.replacen("[server]", tls, 1)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let client = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    (config, TlsConnector::from(Arc::new(client.with_no_client_auth())))
}

fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Server::start(&["upstream"]);
    let config = configure(directory.path(), upstream.address, &[Key::rsa("key")], 2);
    let (tls_config, connector) = within_tls(directory.path(), &config);
    println!("\n| connections | KiB each | RSS MiB | good p50 us | good p99 us |\n|---|---|---|---|---|");
    for (name, tls, does, count) in [
        ("none", false, Does::Nothing, 0),
        ("1000 that never spoke", false, Does::Nothing, 1000),
        ("10000 that never spoke", false, Does::Nothing, 10_000),
        ("1000 kept alive", false, Does::OneRequest, 1000),
        ("10000 kept alive", false, Does::OneRequest, 10_000),
        ("500 in half a head", false, Does::HalfAHead, 500),
        ("1000 of HTTP/2", false, Does::Http2, 1000),
        ("1000 of TLS that never spoke within", true, Does::Nothing, 1000),
        ("1000 of TLS kept alive", true, Does::OneRequest, 1000),
        ("5000 of TLS kept alive", true, Does::OneRequest, 5000),
        ("1000 of HTTP/2 within TLS", true, Does::Http2, 1000),
    ] {
        let config = if tls { &tls_config } else { &config };
        let server = Server::start(&["gateway", config.to_str().unwrap()]);
        let way = Way { address: server.address, tls: tls.then(|| connector.clone()) };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            good(&way, Duration::from_secs(1)).await;
            let fresh = server.resident_kib();
            let mut crowd = Vec::new();
            for _ in 0..count {
                crowd.push(join(&way, does).await);
            }
            sleep(SETTLED).await;
            let resident = server.resident_kib();
            let latencies = good(&way, MEASURED).await;
            println!(
                "| {name} | {:.1} | {:.1} | {:.0} | {:.0} |",
                resident.saturating_sub(fresh) as f64 / f64::from(count.max(1)),
                resident as f64 / 1024.0,
                at(&latencies, 0.5).as_secs_f64() * 1e6,
                at(&latencies, 0.99).as_secs_f64() * 1e6,
            );
            drop(crowd);
        });
    }
}

/// A connection that has done what it does.
async fn join(way: &Way, does: Does) -> Box<dyn Connection> {
    let mut stream = way.connect().await;
    match does {
        Does::Nothing => {}
        Does::OneRequest => {
            stream.write_all(GET).await.unwrap();
            read_ok(&mut stream, &mut Vec::new()).await;
        }
        Does::HalfAHead => stream.write_all(&GET[..20]).await.unwrap(),
        Does::Http2 => stream.write_all(PREFACE).await.unwrap(),
    }
    stream
}

/// Sends requests at a steady rate: how long each took, sorted.
async fn good(way: &Way, span: Duration) -> Vec<Duration> {
    let mut clients = JoinSet::new();
    for _ in 0..GOOD_CLIENTS {
        let way = way.clone();
        clients.spawn(async move {
            let mut stream = way.connect().await;
            let mut ticks = interval(Duration::from_secs(1) * GOOD_CLIENTS / GOOD_PER_SECOND);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut latencies, mut buffer, end) = (Vec::new(), Vec::new(), Instant::now() + span);
            while Instant::now() < end {
                // From when it should have been sent: a slow answer delays the next, and that counts.
                let due = ticks.tick().await.into_std();
                stream.write_all(GET).await.unwrap();
                read_ok(&mut stream, &mut buffer).await;
                latencies.push(due.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    latencies.sort_unstable();
    latencies
}

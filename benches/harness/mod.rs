//! What the benchmarks over real sockets share: servers in processes of their own, and a client's way of reading answers.

pub mod heads;
pub mod mint;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use bearward::config::Config;
use bearward::gateway::request_body::Pace;
use bearward::remote::clock::Clock;
use bearward::server::assembly::{Served, metrics};
use bearward::telemetry::Telemetry;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use self::mint::Key;

/// A server in a process of its own. Dropped, it is killed.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
}

impl Server {
    /// This very benchmark once more, as the server that the arguments name.
    pub fn start(arguments: &[&str]) -> Self {
        Self::telling(Command::new(std::env::current_exe().unwrap()).args(arguments))
    }

    /// The same on one processor alone.
    pub fn start_on(processor: usize, arguments: &[&str]) -> Self {
        let binary = std::env::current_exe().unwrap();
        Self::telling(Command::new("taskset").arg("-c").arg(processor.to_string()).arg(binary).args(arguments))
    }

    /// A program that prints the address on which it listens.
    pub fn telling(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: line.trim().parse().unwrap(), process }
    }

    /// A program that was told to listen on `address`; returns once it does.
    pub fn told(command: &mut Command, address: SocketAddr) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "{command:?} has ended");
            assert!(begun.elapsed() < Duration::from_secs(30), "{command:?} does not listen on {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, address }
    }

    /// Processor time so far, in seconds: user and system time of proc(5), in ticks of 10 ms.
    pub fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that was ever resident.
    pub fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An address of loopback on which nobody listens.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Keeps this process and those that it starts on one processor.
pub fn stay_on(processor: usize) {
    let own = std::process::id().to_string();
    let done = Command::new("taskset").args(["-cp", &processor.to_string(), &own]).stdout(Stdio::null()).status();
    assert!(done.unwrap().success());
}

/// The value at that share of the sorted values.
pub fn at(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Reads one answer with a Content-Length: its status.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> std::io::Result<u16> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
        if buffer.len() >= end + 4 + length.trim().parse::<usize>().unwrap() {
            return Ok(head.split(' ').nth(1).unwrap().parse().unwrap());
        }
    }
}

/// Reads one answer, which must be a 200.
pub async fn read_ok(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) {
    assert_eq!(read_answer(stream, buffer).await.unwrap(), 200);
}

/// Writes the gateway's files: the configuration's path.
pub fn configure(directory: &Path, upstream: SocketAddr, keys: &[Key], workers: usize) -> PathBuf {
    fs::write(directory.join("keys.json"), mint::jwk_set(keys).to_string()).unwrap();
    let config = directory.join("bearward.toml");
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
workers = {workers}
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
    config
}

/// A token that the gateway takes, different from every other number's.
pub fn token(key: Key, number: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    key.token(&json!({
        "iss": "https://login.example.com/", "aud": ["https://api.example.com"], "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "client_id": "web", "iat": now, "exp": now + 86400, "jti": format!("0b9c6a3e-0f4c-4a5e-8d4f-{number:012x}"),
        "scope": "openid profile email read:orders write:orders",
    }))
}

/// The upstream: a hundred bytes for every head that ends.
pub fn upstream() {
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
pub fn gateway(config: &Path) {
    let control = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config::load(config).unwrap().config;
    let telemetry = Telemetry { metrics: metrics(&config).unwrap(), access: None, log: None };
    let served = Served::start(config, telemetry, Clock::system(), Pace::default(), control.handle()).unwrap();
    println!("{}", served.addresses()[0]);
    control.block_on(std::future::pending::<()>());
}

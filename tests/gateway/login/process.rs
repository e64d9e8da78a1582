//! The gateway as a process of its own: what it was told of outlives it, however it ends; and it finds a Redis within TLS.

use std::io::Cursor;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stores::{asks, keyed};
use super::{Begun, Browser, COOKIE, SCRIPT, World};
use crate::harness::binary::{Binary, Found};
use crate::harness::certificates::Authority;
use crate::harness::client::{Answer, Client};
use crate::harness::gateway::LIMIT;
use crate::harness::port::Port;
use crate::harness::redis::Redis;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// The same gateway, as a process that finds this and keeps sessions there.
    fn process(&self, store: &str, found: Found<'_>) -> Binary {
        let listeners = "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\ndrain = { delay = \"0s\" }\n\
                         [admin]\nlisten = \"127.0.0.1:0\"\n";
        let store = format!("[store]\nurl = \"{store}\"\n");
        Binary::start_where(&format!("{listeners}{}{store}", self.around.toml()), found)
    }

    /// A login at a gateway; none where that was gone before the browser had a session.
    async fn logs_in_at(&self, gateway: &Binary, name: &str) -> Option<Browser> {
        let mut browser = Browser { address: gateway.address, ..self.browser() };
        let answer = browser.try_get("/auth/login").await?;
        let begun = Begun::of(&answer);
        let answer = browser.try_get(&self.way_back(&begun, &self.granted(name, &begun.nonce))).await?;
        assert_eq!(answer.status, 302, "{}", answer.text());
        Some(browser)
    }
}

/// The address of a store in that directory.
fn file_in(directory: &TempDir) -> String {
    format!("file:{}", directory.path().join("state.db").display())
}

impl Browser {
    /// The answer; none where the gateway is gone before it has come.
    async fn try_get(&mut self, target: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(self.request("GET", target, &[("connection", "close")]).as_bytes()).await.ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok()?;
        bytes.windows(4).any(|window| window == b"\r\n\r\n").then_some(())?;
        let answer = Client::over(tokio::io::join(Cursor::new(bytes), tokio::io::sink())).answer().await;
        self.keep(&answer);
        Some(answer)
    }

    fn at(&self, gateway: &Binary) -> Self {
        Self { address: gateway.address, ..self.clone() }
    }
}

/// What stands in its file can be told after it, by a command that mends nothing.
#[tokio::test]
async fn a_gateway_that_ends_gently_leaves_a_file_that_needs_no_mending() {
    let (directory, line) = keyed();
    let store = file_in(&directory);
    let world = World::configured(&line, "").await;
    let gateway = world.process(&store, Found::Plenty);
    let browser = world.logs_in_at(&gateway, "ada").await.unwrap();
    assert_eq!(asks(&browser.at(&gateway)).await, (200, String::new()));
    let (config, cookies) = (directory.path().join("config.toml"), directory.path().join("cookies"));
    std::fs::copy(gateway.file(), &config).unwrap();
    std::fs::write(&cookies, format!("{COOKIE}={}", browser.cookies[COOKIE])).unwrap();
    let (status, told) = gateway.terminate();
    assert!(status.success(), "{told}");

    let explained = Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["explain", "--url", "https://app.example.com/orders", "--config"])
        .args([config.as_path(), Path::new("--cookie-file"), cookies.as_path()])
        .output()
        .unwrap();
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("session web of subject \"ada\""), "{explained}");
}

/// Users are not the first to learn it.
#[tokio::test]
async fn a_file_that_cannot_be_opened_is_told_at_the_start() {
    let (directory, line) = keyed();
    std::fs::write(directory.path().join("foreign.db"), "this is no store").unwrap();
    let world = World::configured(&line, "").await;
    for (file, cure) in [
        ("missing/state.db", "make the file's directory"),
        ("foreign.db", "see that the file is one of ours and whole"),
    ] {
        let file = directory.path().join(file).display().to_string();
        let gateway = world.process(&format!("file:{file}"), Found::Plenty);
        let told = gateway.says("the store does not answer: sessions are refused until it does");
        assert!(told.contains(cure) && told.contains(&file), "{told}");
    }
    let store = file_in(&directory);
    let first = world.process(&store, Found::Plenty);
    let browser = world.logs_in_at(&first, "ada").await.unwrap();
    let second = world.process(&store, Found::Plenty);
    let told = second.says("the store does not answer: sessions are refused until it does");
    assert!(told.contains("one process has the file"), "{told}");
    // It has the file once the first one has ended.
    assert!(first.terminate().0.success());
    assert_eq!(asks(&browser.at(&second)).await, (200, String::new()));
}

/// Killed while people log in: who was told of a session has it at the next process, and nobody's token is shown again.
#[tokio::test]
async fn a_session_in_a_file_outlives_a_gateway_that_is_killed_under_use() {
    let (directory, line) = keyed();
    let store = file_in(&directory);
    let lines = format!("{line}\ntimeout = \"60s\"");
    let world = World::configured(&lines, "").await;
    let mut people: Vec<Browser> = Vec::new();
    for round in 0..3 {
        let gateway = world.process(&store, Found::Plenty);
        let logging_in = join_all((0..4).map(|number| {
            let (world, gateway) = (&world, &gateway);
            async move {
                let mut logged_in = Vec::new();
                while let Some(browser) = world.logs_in_at(gateway, &format!("user{round}{number}")).await {
                    logged_in.push(browser);
                    // In the midst of the others.
                    if number == 0 && logged_in.len() == 5 {
                        gateway.send("KILL");
                    }
                }
                logged_in
            }
        }));
        people.extend(logging_in.await.into_iter().flatten());
        let (status, _) = gateway.wait();
        assert!(!status.success());
    }
    let gateway = world.process(&store, Found::Plenty);
    assert!(people.len() >= 15, "{}", people.len());
    for browser in &people {
        assert_eq!(asks(&browser.at(&gateway)).await, (200, String::new()));
    }
    assert_eq!((world.tokens.reused(), gateway.sample(LOST).await), (0, None));
}

/// Killed while the issuer answers: that one session may be over, and is counted; every other one is there.
#[tokio::test]
async fn a_gateway_that_is_killed_while_the_issuer_answers_loses_that_session_alone() {
    let (directory, line) = keyed();
    let store = file_in(&directory);
    let lines = format!("{line}\ntimeout = \"{LIMIT:?}\"");
    let world = World::configured(&lines, "").await;
    let gateway = world.process(&store, Found::Plenty);
    let mut others = Vec::new();
    for number in 0..5 {
        others.push(world.logs_in_at(&gateway, &format!("user{number}")).await.unwrap());
    }
    world.tokens.say(json!({ "expires_in": 0 }));
    let spent = world.logs_in_at(&gateway, "spent").await.unwrap();
    world.tokens.say(json!({ "expires_in": 600 }));
    world.tokens.hold();
    let asked = world.tokens.asked().len();
    {
        let request = spent.peek("GET", "/orders", SCRIPT);
        tokio::pin!(request);
        tokio::select! {
            answer = &mut request => panic!("{answer:?} before the issuer has answered"),
            () = world.tokens.was_asked(asked + 1) => gateway.send("KILL"),
        }
    }
    gateway.wait();
    world.tokens.release();

    let gateway = world.process(&store, Found::Plenty);
    for browser in &others {
        assert_eq!(asks(&browser.at(&gateway)).await, (200, String::new()));
    }
    // The attempt of who was killed is waited for. Nobody but the issuer knows that it had answered.
    let begun = Instant::now();
    let told = loop {
        match asks(&spent.at(&gateway)).await {
            (503, code) => assert_eq!(code, "issuer_unavailable"),
            told => break told,
        }
        assert!(begun.elapsed() < PATIENCE, "it is waited for without end");
    };
    assert_eq!(told, (401, "session_expired".to_owned()));
    assert_eq!((world.tokens.reused(), gateway.sample(LOST).await), (1, Some(1.0)));
    assert_eq!(gateway.sample(REFUSED).await, None, "no token was shown twice but that one");
}

const LOST: &str = "bearward_session_refreshes_total{result=\"lost\",session=\"web\"}";
const REFUSED: &str = "bearward_session_refreshes_total{result=\"invalid_grant\",session=\"web\"}";

#[tokio::test]
async fn a_redis_within_tls_is_believed_by_its_authority_alone() {
    let authority = Authority::new();
    let issued = authority.issue("redis", &["localhost"]);
    let reserved = Port::reserve();
    let port = reserved.address().port().to_string();
    let files = [issued.file(), issued.key_file(), &authority.file()].map(|file| file.display().to_string());
    let arguments = ["--tls-port", &port, "--tls-cert-file", &files[0], "--tls-key-file", &files[1]];
    let Some(redis) =
        Redis::start(&[&arguments[..], &["--tls-ca-cert-file", &files[2], "--tls-auth-clients", "no"]].concat())
    else {
        return;
    };
    let (_key, line) = keyed();
    let world = World::configured(&line, "").await;
    let store = format!("rediss://localhost:{port}");
    let gateway = world.process(&store, Found::Authorities(&authority.file()));
    let browser = world.logs_in_at(&gateway, "ada").await.unwrap();
    for _ in 0..3 {
        assert_eq!(asks(&browser.at(&gateway)).await, (200, String::new()));
    }
    assert!(redis.cli(&["KEYS", "*"]).contains("bearward:session:"));

    // Who does not know the authority tells the server nothing, and logs nobody out.
    let stranger = world.process(&store, Found::Authorities(&Authority::new().file()));
    redis.cli(&["CONFIG", "RESETSTAT"]);
    assert_eq!(asks(&browser.at(&stranger)).await, (503, "store_unavailable".to_owned()));
    assert!(!redis.cli(&["INFO", "commandstats"]).contains("cmdstat_get:"));
    stranger.says("of one in the file that SSL_CERT_FILE names");
    // Nor is it believed by another name.
    let elsewhere = format!("rediss://127.0.0.1:{port}");
    let gateway = world.process(&elsewhere, Found::Authorities(&authority.file()));
    assert_eq!(asks(&browser.at(&gateway)).await, (503, "store_unavailable".to_owned()));
}

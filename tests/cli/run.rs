//! `bearward run`: from its first line to its last.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::binary::{Binary, Found};
use crate::harness::client::Client;
use crate::harness::issuer::Issuer;
use crate::harness::mint::Key;
use crate::harness::port::Port;
use crate::harness::upstream::{Reply, Upstream};
use crate::{Files, bearward, text};

/// Everything is public, so that no issuer is needed.
fn config(upstream: &Upstream, drain: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\ndrain = {drain}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"open\"\npath = \"/open/*\"\nupstream = \"{}\"\npolicy = \"public\"\n",
        upstream.url()
    )
}

#[tokio::test]
async fn a_signal_lets_requests_end_and_then_the_process() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start(&config(&upstream, r#"{ delay = "0s", timeout = "10m" }"#));
    let mut client = Client::connect(gateway.address).await;
    assert_eq!(client.get("/open/1?secret=2").await.text(), "ok");
    assert_eq!(client.get("/nowhere").await.code(), "route_unknown");
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
    client.send("GET /open/2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(1).await;

    let mut admin = Client::connect(gateway.admin).await;
    assert_eq!(admin.get("/readyz").await.status, 200);
    gateway.signal();
    let unready = loop {
        let answer = admin.get("/readyz").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(unready.status, 503);
    assert!(unready.text().contains("draining"), "{}", unready.text());
    open.send(true).unwrap();
    let late = client.answer().await;
    assert_eq!((late.status, late.text(), late.header("connection")), (200, "late", Some("close")));
    let (status, written) = gateway.wait();
    assert_eq!(status.code(), Some(0), "{written}");

    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<_> = lines.iter().filter(|line| line.get("http.request.method").is_some()).collect();
    // What the gateway itself says is on standard error, which the harness appends.
    assert!(lines.iter().take(access.len()).eq(access.iter().copied()), "{written}");
    let paths: Vec<_> = access.iter().map(|line| line["url.path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/open/1", "/nowhere", "/open/2"], "without the query");
    for line in &access {
        access_line(line);
    }
    let told = |number: usize, name: &str| access[number][name].clone();
    assert_eq!((told(0, "http.response.status_code"), told(0, "outcome")), (json!(200), json!("anonymous")));
    assert_eq!((told(0, "http.route"), told(0, "code"), told(0, "issuer")), (json!("open"), Value::Null, Value::Null));
    assert_eq!((told(1, "outcome"), told(1, "code")), (json!("refused"), json!("route_unknown")));
    let messages: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    for message in ["listening", "admin listening", "serving", "request refused", "draining", "stopped"] {
        assert!(messages.contains(&message), "{message}: {written}");
    }
}

/// The fields of the contract, all of them, and no other.
fn access_line(line: &Value) {
    let mut names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let mut expected = [
        "timestamp",
        "http.request.method",
        "url.path",
        "http.route",
        "http.response.status_code",
        "client.address",
        "duration_ms",
        "request_id",
        "outcome",
        "code",
        "issuer",
        "trace_id",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(
        (line["http.request.method"].as_str(), line["client.address"].as_str()),
        (Some("GET"), Some("127.0.0.1"))
    );
    assert!(
        line["duration_ms"].as_f64().unwrap() > 0.0 && line["timestamp"].as_str().unwrap().ends_with('Z'),
        "{line}"
    );
    for id in ["request_id", "trace_id"] {
        assert_eq!(line[id].as_str().unwrap().len(), 32, "{line}");
    }
}

#[tokio::test]
async fn a_start_with_few_open_files_tells_how_many_are_needed() {
    let upstream = Upstream::start().await;
    let limited = |connections: usize| {
        let limits = format!("[server.limits]\nconnections = {connections}\n");
        config(&upstream, r#"{ delay = "0s" }"#) + &limits
    };
    let warning = |connections: usize| {
        let (_, written) = Binary::start_where(&limited(connections), Found::Files(300)).terminate();
        written.lines().find(|line| line.contains("fewer files may be open")).map(str::to_owned)
    };
    // Two for each connection, and a hundred.
    assert_eq!(warning(100), None);
    let line: Value = serde_json::from_str(&warning(101).unwrap()).unwrap();
    assert_eq!((&line["level"], &line["allowed"], &line["needed"]), (&json!("WARN"), &json!(300), &json!(302)));
    let help = line["help"].as_str().unwrap();
    assert!(help.contains("`ulimit -n 302`, `LimitNOFILE=302`") && help.ends_with("to 100"), "{help}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start().await;
    // Neither of these times may be awaited.
    let gateway = Binary::start(&config(&upstream, r#"{ delay = "10m", timeout = "10m" }"#));
    upstream.reply(Reply::Stall(Vec::new()));
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /open/1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(0).await;
    let mut admin = Client::connect(gateway.admin).await;
    gateway.signal();
    while admin.get("/readyz").await.status == 200 {}
    // Within the delay new clients are still served.
    assert_eq!(Client::connect(gateway.address).await.get("/open/2").await.status, 200);
    let second = Instant::now();
    gateway.signal();
    assert_eq!(client.rest().await, b"", "cut off");
    let (status, written) = gateway.wait();
    assert!(second.elapsed() < Duration::from_secs(60), "{:?}", second.elapsed());
    assert_eq!(status.code(), Some(1), "a request was cut off: {written}");
}

/// Killed in the middle of its work, and started again while the issuer is down: the keys are still there.
#[tokio::test]
async fn keys_outlive_the_process() {
    let (upstream, key) = (Upstream::start().await, Key::p256("a"));
    let mut issuer = Issuer::start(&[key]).await;
    let files = Files::new();
    let snapshot = files.0.path().join("keys/main.jwks");
    let config = format!(
        "{}[issuers.main]\nissuer = \"{}\"\njwks = {{ snapshot = {snapshot:?} }}\n\
         [[routes]]\npath = \"/*\"\nupstream = \"{}\"\npolicy = {{ audience = [\"api\"] }}\n",
        config(&upstream, r#"{ delay = "0s", timeout = "10s" }"#),
        issuer.url(),
        upstream.url()
    );
    let token = key.token(&json!({ "iss": issuer.url(), "aud": "api", "exp": 4_000_000_000_u32 }));
    let request = format!("GET /orders HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    let first = Binary::start(&config);
    assert_eq!(Client::connect(first.address).await.ask(&request).await.status, 200);
    while !snapshot.exists() {
        tokio::task::yield_now().await;
    }
    drop(first);
    issuer.down().await;

    let second = Binary::start(&config);
    assert_eq!(Client::connect(second.address).await.ask(&request).await.status, 200);
    let ready = Client::connect(second.admin).await.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains(r#""from":"snapshot""#), "{}", ready.text());
    let (_, written) = second.terminate();
    assert!(written.contains("the issuer's keys are those of the snapshot"), "{written}");
}

/// Killed with connections of every kind open, while it writes a snapshot.
#[tokio::test]
async fn a_killed_process_leaves_nothing_in_the_way_of_the_next() {
    let (upstream, key) = (Upstream::start().await, Key::p256("a"));
    let issuer = Issuer::start(&[key]).await;
    let files = Files::new();
    let snapshots = files.0.path().join("keys");
    let snapshot = snapshots.join("main.jwks");
    let config = format!(
        "{}[issuers.main]\nissuer = \"{}\"\njwks = {{ snapshot = {snapshot:?} }}\n",
        config(&upstream, r#"{ delay = "0s", timeout = "10s" }"#),
        issuer.url()
    );
    let ports = [Port::reserve(), Port::reserve()];
    let [address, admin] = ports.each_ref().map(Port::address);
    let config = config.replacen("127.0.0.1:0", &address.to_string(), 1).replace("127.0.0.1:0", &admin.to_string());
    let mut gateway = Binary::start(&config);
    for killed in 0..3 {
        let mut idle = Client::connect(address).await;
        assert_eq!(idle.get("/open/1").await.status, 200);
        upstream.reply(Reply::Stall(Vec::new()));
        let mut waiting = Client::connect(address).await;
        waiting.send("GET /open/2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        upstream.begins(2 * killed + 2).await;
        let mut half = Client::connect(address).await;
        half.send("GET /open/3 HTTP/1.1\r\nho").await;
        let mut probe = Client::connect(admin).await;
        assert_eq!(probe.get("/livez").await.status, 200);
        while !snapshot.exists() {
            tokio::task::yield_now().await;
        }
        std::fs::write(snapshots.join(format!(".jwks-{killed}")), "{").unwrap();

        drop(gateway);
        gateway = Binary::start(&config);
        assert_eq!((gateway.address, gateway.admin), (address, admin));
        assert_eq!(Client::connect(admin).await.get("/readyz").await.status, 200);
        assert_eq!(waiting.rest().await, b"");
    }
    let (status, written) = gateway.terminate();
    assert_eq!(status.code(), Some(0), "{written}");
    assert!(written.contains("the issuer's keys are those of the snapshot"), "{written}");
}

#[test]
fn a_wrong_file_is_reported_whole_and_nothing_starts() {
    let files = Files::new();
    let config = files.write("bearward.toml", "[server]\nlisten = 1\nworker = 2\n");
    let done = bearward(&["run", "--config", text(&config)]);
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    assert!(done.err.contains("bearward.toml:2:10") && done.err.contains("bearward.toml:3:1"), "{}", done.err);
    assert!(done.err.contains("did you mean `workers`?"), "{}", done.err);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (listen, admin) in
        [(address.to_string(), "127.0.0.1:0".to_owned()), ("127.0.0.1:0".to_owned(), address.to_string())]
    {
        let config = format!(
            "[server]\nlisten = {listen:?}\n[admin]\nlisten = {admin:?}\n\
             [[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:1\"\npolicy = \"public\"\n"
        );
        let config = files.write("bearward.toml", &config);
        let done = bearward(&["run", "--config", text(&config)]);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
        assert!(done.err.contains(&format!("error: cannot listen on {address}: ")), "{}", done.err);
    }
}

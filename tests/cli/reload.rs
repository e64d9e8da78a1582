//! `bearward run`: what an operator sees of a reload.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::binary::Binary;
use crate::harness::client::Client;
use crate::harness::upstream::{Reply, Upstream};
use crate::{bearward, text};

/// A configuration of one public route, with further lines in `[server]` and further sections.
fn config(upstream: &Upstream, path: &str, server: &str, sections: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"only\"\npath = \"{path}\"\nupstream = \"{}\"\npolicy = \"public\"\n{sections}",
        upstream.url()
    )
}

async fn get(gateway: &Binary, path: &str) -> u16 {
    Client::connect(gateway.address).await.get(path).await.status
}

#[tokio::test]
async fn a_hangup_takes_the_file_into_force() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start(&config(&upstream, "/1", "", ""));
    gateway.send("HUP");
    let line: Value = serde_json::from_str(&gateway.says("nothing to reload")).unwrap();
    assert_eq!(line["level"], "INFO");

    // From here on as text.
    fs::write(gateway.file(), config(&upstream, "/2", "", "[log]\nformat = \"text\"\n")).unwrap();
    gateway.send("HUP");
    let line = gateway.says("configuration reloaded");
    assert!(line.contains("changes=\"routes changed: only; [log] changed\" files=\""), "{line}");
    assert!(line.contains("config.toml"), "{line}");
    assert_eq!((get(&gateway, "/1").await, get(&gateway, "/2").await), (404, 200));
    gateway.signal();
    let (status, written) = gateway.wait();
    assert_eq!(status.code(), Some(0), "{written}");
    assert!(written.contains("http.request.method=GET url.path=/2 "), "access lines too: {written}");
}

#[tokio::test]
async fn a_changed_file_is_taken_into_force_by_itself() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start(&config(&upstream, "/1", "", ""));
    fs::write(gateway.file(), config(&upstream, "/2", "", "")).unwrap();
    gateway.says("configuration reloaded");
    assert_eq!((get(&gateway, "/1").await, get(&gateway, "/2").await), (404, 200));
}

#[tokio::test]
async fn a_bad_file_is_reported_as_check_does() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start(&config(&upstream, "/1", "", "[log]\nformat = \"text\"\n"));
    fs::write(gateway.file(), config(&upstream, "/2", "worker = 3", "[polices.p]\n")).unwrap();
    let check = bearward(&["check", "--config", text(&gateway.file())]);
    assert_eq!(check.code, 2);
    // It sees the file by itself, and tries it once.
    let line = gateway.says("configuration not reloaded");
    assert!(line.contains("ERROR") && line.contains(" faults=2 help=\"mend the file; "), "{line}");
    assert_eq!(get(&gateway, "/1").await, 200);
    gateway.signal();
    let (status, written) = gateway.wait();
    assert_eq!(status.code(), Some(0), "{written}");
    assert!(written.contains(&check.err), "{written}\nmust hold\n{}", check.err);
    assert_eq!(written.matches("configuration not reloaded").count(), 1, "{written}");
}

#[tokio::test]
async fn where_lines_are_json_each_problem_of_a_file_is_a_line() {
    let upstream = Upstream::start().await;
    let everybody = "trusted_proxies = [\"0.0.0.0/0\"]";
    let gateway = Binary::start(&config(&upstream, "/1", everybody, ""));
    let checked = || -> Value {
        serde_json::from_str(&bearward(&["check", "--json", "--config", text(&gateway.file())]).out).unwrap()
    };
    let warnings = checked();
    let twice = "[[routes]]\nname = \"only\"\npath = \"/3\"\nupstream = \"http://127.0.0.1:1\"\npolicy = \"public\"\n";
    fs::write(gateway.file(), config(&upstream, "/2", "worker = 3", &format!("{twice}[polices.p]\n"))).unwrap();
    let faults = checked();
    // It sees the file by itself: asked for it, it would tell of it once more.
    let line: Value = serde_json::from_str(&gateway.says("configuration not reloaded")).unwrap();
    assert_eq!((&line["level"], &line["faults"]), (&json!("ERROR"), &json!(3)));
    let file = gateway.file();
    gateway.signal();
    let (status, written) = gateway.wait();
    assert_eq!(status.code(), Some(0), "{written}");

    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (report, level, message, count) in [
        (warnings, "WARN", "the configuration has a doubtful part", 1),
        (faults, "ERROR", "the configuration has a fault", 3),
    ] {
        let told: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
        let problems = report["report"]["problems"].as_array().unwrap();
        assert_eq!((told.len(), problems.len()), (count, count), "{written}");
        for (line, problem) in told.into_iter().zip(problems) {
            let place = |of: &Value| format!("{}:{}:{}", file.display(), of["line"], of["column"]);
            assert_eq!((&line["level"], &line["place"]), (&json!(level), &json!(place(problem))));
            for field in ["text", "what", "help"] {
                assert_eq!(line[field], problem[field], "{line}");
            }
            let also = problem["also"]
                .as_array()
                .map(|also| format!("{}: {}", place(&also[0]), also[0]["part"].as_str().unwrap()));
            assert_eq!(line["also"].as_str(), also.as_deref());
        }
    }
    assert!(lines.iter().any(|line| line["also"].is_string()), "a name that is there twice has two places: {written}");
}

#[tokio::test]
async fn what_cannot_change_is_told_and_stays() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start(&config(&upstream, "/1", "", ""));
    let other = config(&upstream, "/2", "", "").replacen("127.0.0.1:0", "127.0.0.1:1", 1);
    fs::write(gateway.file(), other).unwrap();
    gateway.send("HUP");
    let line: Value = serde_json::from_str(&gateway.says("cannot be taken into force")).unwrap();
    assert_eq!((&line["level"], &line["option"]), (&json!("WARN"), &json!("server.listen")));
    gateway.says("configuration reloaded");
    assert_eq!(get(&gateway, "/2").await, 200);
}

#[tokio::test]
async fn a_hangup_while_it_drains_does_no_harm() {
    let upstream = Upstream::start().await;
    let drain = "drain = { delay = \"0s\", timeout = \"10m\" }";
    let gateway = Binary::start(&config(&upstream, "/1", drain, ""));
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(0).await;
    gateway.signal();
    gateway.says("draining");
    fs::write(gateway.file(), config(&upstream, "/2", "drain = { timeout = \"1s\" }", "")).unwrap();
    gateway.send("HUP");
    gateway.says("configuration reloaded");
    open.send(true).unwrap();
    assert_eq!(client.answer().await.text(), "late");
    let (status, written) = gateway.wait();
    assert_eq!(status.code(), Some(0), "{written}");
}

#[tokio::test]
async fn the_drain_is_that_of_the_configuration_in_force() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start(&config(&upstream, "/1", "drain = { delay = \"10m\", timeout = \"10m\" }", ""));
    fs::write(gateway.file(), config(&upstream, "/1", "drain = { delay = \"0s\", timeout = \"0s\" }", "")).unwrap();
    gateway.send("HUP");
    gateway.says("configuration reloaded");
    let began = Instant::now();
    gateway.signal();
    let (status, written) = gateway.wait();
    assert_eq!(status.code(), Some(0), "{written}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

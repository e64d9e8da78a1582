//! The real binary where it runs out of files, and where its access lines cannot be written.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use crate::harness::binary::{Binary, Found};
use crate::harness::client::Client;
use crate::harness::upstream::{Reply, Upstream};

fn config(upstream: &Upstream) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\ndrain = {{ delay = \"0s\" }}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[routes]]\npath = \"/*\"\nupstream = \"{}\"\npolicy = \"public\"\n",
        upstream.url()
    )
}

#[tokio::test]
async fn without_files_accepting_rests_and_goes_on() {
    let upstream = Upstream::start().await;
    let gateway = Binary::start_where(&config(&upstream), Found::Files(64));
    let mut served = Client::connect(gateway.address).await;
    assert_eq!(served.get("/").await.status, 200);
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
    // Two at once: the connection to the upstream is hardly idle between them, and is not lost to the others.
    served.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\nGET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(1).await;
    // It has its file before the others take them all.
    let mut admin = Client::connect(gateway.admin).await;
    assert_eq!(admin.get("/livez").await.status, 200);
    let begun = Instant::now();

    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(Client::connect(gateway.address).await);
    }
    let failed = "bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=\"accept_failed\"}";
    // Long enough for several refusals by the system, and asked on a connection that is there.
    loop {
        let metrics = admin.get("/metrics").await;
        let count = metrics.text().lines().find_map(|line| line.strip_prefix(failed)?.trim().parse::<u32>().ok());
        if count.is_some_and(|count| count >= 15) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    open.send(true).unwrap();
    assert_eq!(served.answer().await.text(), "late", "who is in is served");
    assert_eq!(served.answer().await.status, 200);
    let mut last = crowd.pop().unwrap();
    drop(crowd);
    assert_eq!(last.get("/").await.status, 200, "who waited is served once there are files");

    let (status, written) = gateway.terminate();
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0), "{written}");
    let told = |line: &&str| line.contains("cannot accept connections");
    let lines: Vec<Value> = written.lines().filter(told).map(|line| serde_json::from_str(line).unwrap()).collect();
    let most = usize::try_from(took.as_secs()).unwrap() + 1;
    assert!((1..=most).contains(&lines.len()), "{} lines in {took:?}", lines.len());
    assert!(lines[0]["help"].as_str().unwrap().contains("ulimit -n"), "{}", lines[0]);
}

/// Whatever becomes of access lines, requests go on, and what was lost is counted.
async fn lines_are_lost(found: Found<'_>, requests: usize) {
    let upstream = Upstream::start().await;
    let gateway = Binary::start_where(&config(&upstream), found);
    let mut client = Client::connect(gateway.address).await;
    // Refused without asking anybody, and each with a line.
    let request = "GET /a//b HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    for _ in 0..requests / 100 {
        client.send(&request).await;
        for _ in 0..100 {
            let answer = client.answer().await;
            // So many at once may be more than a busy machine has time for, which has its line as well.
            assert!([400, 503].contains(&answer.status), "{found:?}: {}", answer.text());
        }
    }
    gateway.counted_where("bearward_access_lines_dropped_total", |dropped| dropped > 0.0).await;
    let served = async { while client.get("/").await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(30), served).await.expect("requests go on");
    let (status, written) = gateway.terminate();
    assert_eq!(status.code(), Some(0), "{found:?}: {written}");
}

#[tokio::test]
async fn a_reader_of_access_lines_that_stops_stops_nothing() {
    // More than the pipe and the queue hold.
    lines_are_lost(Found::StuckOutput, 40_000).await;
}

#[tokio::test]
async fn a_reader_of_access_lines_that_leaves_stops_nothing() {
    lines_are_lost(Found::ClosedOutput, 1000).await;
}

#[tokio::test]
async fn a_full_disk_stops_nothing() {
    lines_are_lost(Found::FullOutput, 1000).await;
}

//! How many requests an upstream has at once, and who waits, and for how long.

use tokio::sync::watch;

use super::{connections, errors, gateway};
use crate::harness::client::Client;
use crate::harness::upstream::{Reply, Upstream};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn requests_beyond_the_bound_wait_their_turn() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "max_concurrent = 2\nconnect_timeout = \"30s\"");
    let (open, gate) = watch::channel(false);
    let mut clients = Vec::new();
    for _ in 0..4 {
        upstream.reply(Reply::Held(gate.clone(), OK.to_vec()));
        let mut client = Client::connect(gateway.address()).await;
        client.send(GET).await;
        clients.push(client);
    }
    upstream.request(1).await;
    gateway.counted("bearward_requests_in_flight", 4.0).await;
    assert_eq!((upstream.count(), upstream.opened()), (2, 2));
    open.send(true).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "ok");
    }
    assert_eq!((upstream.count(), upstream.opened()), (4, 2), "on the same connections");
}

#[tokio::test]
async fn who_waits_too_long_is_told_so() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "max_concurrent = 1\nconnect_timeout = \"200ms\"");
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, OK.to_vec()));
    let mut first = Client::connect(gateway.address()).await;
    first.send(GET).await;
    upstream.request(0).await;

    let mut second = Client::connect(gateway.address()).await;
    let answer = second.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), None));
    assert_eq!(second.get("/").await.code(), "overloaded");
    gateway.counted(&errors("overloaded"), 2.0).await;
    assert_eq!(upstream.count(), 1);

    open.send(true).unwrap();
    assert_eq!(first.answer().await.text(), "ok");
    assert_eq!(second.get("/").await.text(), "ok");

    // The time in our queue is ours, and who did not come in was not there.
    gateway.counted("bearward_upstream_duration_seconds_count{upstream=\"api\"}", 2.0).await;
    let overhead = gateway.sample("bearward_gateway_overhead_seconds_sum{route=\"all\"}").unwrap();
    assert!(overhead >= 0.4, "{overhead}");
}

#[tokio::test]
async fn who_finds_the_queue_full_is_told_so_at_once() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "max_concurrent = 1\nconnect_timeout = \"1h\"");
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, OK.to_vec()));
    let (mut first, mut second) = (Client::connect(gateway.address()).await, Client::connect(gateway.address()).await);
    first.send(GET).await;
    upstream.request(0).await;
    second.send(GET).await;
    gateway.counted("bearward_requests_in_flight", 2.0).await;
    let mut third = Client::connect(gateway.address()).await;
    assert_eq!(third.get("/").await.code(), "overloaded");
    gateway.counted(&errors("overloaded"), 1.0).await;
    assert_eq!(upstream.count(), 1);
    open.send(true).unwrap();
    assert_eq!((first.answer().await.text(), second.answer().await.text()), ("ok", "ok"));
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_or_its_answer_leaves_its_place() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "max_concurrent = 1\nconnect_timeout = \"30s\"");
    upstream.reply(Reply::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()));
    let mut first = Client::connect(gateway.address()).await;
    first.send(GET).await;
    assert_eq!(first.head().await.status, 200);
    let mut second = Client::connect(gateway.address()).await;
    second.send(GET).await;
    gateway.counted("bearward_requests_in_flight", 2.0).await;
    drop(second);
    gateway.counted("bearward_requests_in_flight", 1.0).await;
    let mut third = Client::connect(gateway.address()).await;
    third.send(GET).await;
    gateway.counted("bearward_requests_in_flight", 2.0).await;
    drop(first);
    assert_eq!(third.answer().await.text(), "ok");
}

#[tokio::test]
async fn connections_are_counted_as_they_are() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    assert_eq!((gateway.sample(&connections("active")), gateway.sample(&connections("idle"))), (Some(0.0), Some(0.0)));
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, OK.to_vec()));
    let mut client = Client::connect(gateway.address()).await;
    client.send(GET).await;
    upstream.request(0).await;
    gateway.counted(&connections("active"), 1.0).await;
    open.send(true).unwrap();
    assert_eq!(client.answer().await.status, 200);
    gateway.counted(&connections("idle"), 1.0).await;
    assert_eq!(gateway.sample(&connections("active")), Some(0.0));
    // Unused, it is closed after 4 s, and nothing else has to happen for that to be counted.
    gateway.counted(&connections("idle"), 0.0).await;
    upstream.closed(1).await;
}

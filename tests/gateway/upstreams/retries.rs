//! What is sent again when a connection died, and what never is.

use super::{errors, gateway, series};
use crate::harness::client::Client;
use crate::harness::upstream::{Reply, Upstream};

fn retries(result: &str) -> String {
    series("retries_total", "result", result)
}

/// Kept connections die in the middle of the next request: what becomes of it.
async fn died(lines: &str, request: &str, sent: usize) {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), lines);
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.get("/first").await.status, 200);
    for reply in [Reply::Close(Vec::new()), Reply::ok("again")] {
        upstream.reply(reply);
    }
    let answer = client.ask(request).await;
    let (status, code) = if sent == 2 { (200, "") } else { (502, "upstream_unreachable") };
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request}");
    assert_eq!(upstream.count(), 1 + sent, "{request}");
    if sent == 2 {
        assert_ne!(upstream.request(1).await.connection, upstream.request(2).await.connection);
        assert_eq!(upstream.request(1).await.head, upstream.request(2).await.head, "the same request");
    }
    let repeated = if sent == 2 { 1.0 } else { 0.0 };
    assert_eq!(gateway.sample(&retries("success")), Some(repeated), "{request}");
    gateway.counted("bearward_upstream_duration_seconds_count{upstream=\"api\"}", 2.0).await;
    assert_eq!(gateway.sample(&errors("upstream_unreachable")), (sent != 2).then_some(1.0), "{request}");
}

#[tokio::test]
async fn a_request_without_effects_is_repeated_once_where_a_kept_connection_died() {
    for method in ["GET", "HEAD", "OPTIONS"] {
        died("", &format!("{method} /x HTTP/1.1\r\nhost: a\r\n\r\n"), 2).await;
    }
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_sent_once() {
    for request in [
        "POST /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "PUT /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
        "DELETE /x HTTP/1.1\r\nhost: a\r\n\r\n",
        // What it means that a GET has a body nobody knows.
        "GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        died("", request, 1).await;
    }
}

#[tokio::test]
async fn nothing_is_repeated_where_that_is_switched_off() {
    died("retries = 0", "GET /x HTTP/1.1\r\nhost: a\r\n\r\n", 1).await;
}

#[tokio::test]
async fn nothing_is_repeated_on_a_fresh_connection_or_after_a_byte_of_an_answer() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    upstream.reply(Reply::Reset(Vec::new()));
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "it was fresh");
    assert_eq!(client.get("/").await.status, 200);
    upstream.reply(Reply::Close(b"H".to_vec()));
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_malformed"));
    assert_eq!(upstream.count(), 3);
    assert_eq!(gateway.sample(&retries("success")), Some(0.0));
}

#[tokio::test]
async fn what_is_repeated_is_not_repeated_again() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.get("/").await.status, 200);
    for _ in 0..3 {
        upstream.reply(Reply::Close(Vec::new()));
    }
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(upstream.count(), 3);
    assert_eq!(gateway.sample(&retries("failure")), Some(1.0));
}

#[tokio::test]
async fn an_outage_is_not_multiplied() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    // Every other request meets the end of the connection that the one before it left.
    let rounds = 40;
    for _ in 0..rounds {
        assert_eq!(client.get("/").await.status, 200);
        upstream.reply(Reply::Close(Vec::new()));
        upstream.reply(Reply::Close(Vec::new()));
        assert_eq!(client.get("/").await.status, 502);
        // What was not asked for is not left for the next round.
        upstream.forget();
    }
    let repeated = gateway.sample(&retries("failure")).unwrap();
    let refused = gateway.sample(&retries("budget_spent")).unwrap();
    // Ten from the start, and one for every five of the 80 requests.
    assert_eq!((repeated, refused), (26.0, 14.0));
    assert_eq!(upstream.count(), 2 * rounds + 26);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_costs_no_request() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "retries = 0");
    let mut client = Client::connect(gateway.address()).await;
    for round in 1..=3 {
        upstream.reply(Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()));
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(client.ask(request).await.status, 200);
        upstream.closed(round).await;
        assert_eq!(upstream.count(), round, "sent once");
    }
}

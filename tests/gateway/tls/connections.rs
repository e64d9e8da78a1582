//! Connections within TLS live and end as those in clear.

use std::time::{Duration, Instant};

use bearward::server::drain::Drain;
use http::Request;
use http_body_util::Full;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{HOST, World};
use crate::harness::client::Client;
use crate::harness::gateway::LIMIT;
use crate::harness::upstream::Reply;

#[tokio::test]
async fn a_connection_serves_many_requests_and_large_bodies_pass_both_ways() {
    let world = World::start().await;
    let mut client = world.client(&world.tls()).await;
    let body = "x".repeat(64 << 10);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 1 << 20, "y".repeat(1 << 20));
    for asked in 0..3 {
        world.upstream.reply(Reply::Bytes(answer.clone().into_bytes()));
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let answered = client.ask(request).await;
        assert_eq!((answered.status, answered.body.len()), (200, 1 << 20));
        assert_eq!(world.upstream.request(asked).await.body.len(), 64 << 10);
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_word_that_nothing_was_cut_off() {
    let world = World::start().await;
    for fields in ["connection: close", "connection: close, upgrade\r\nupgrade: h2c"] {
        let mut stream = world.tls().connect(world.gateway.address(), HOST).await.unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n").as_bytes()).await.unwrap();
        // Without `close_notify` this would be an error.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{fields}");
    }
}

#[tokio::test]
async fn a_client_hears_its_refusal_though_it_still_sends() {
    let world = World::start().await;
    let mut stream = world.tls().connect(world.gateway.address(), HOST).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n").await.unwrap();
    stream.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn a_client_may_leave_without_a_word() {
    let world = World::start().await;
    let mut client = world.client(&world.tls()).await;
    assert_eq!(client.get("/").await.status, 200);
    // The stream ends below TLS, here and before any request. In version 1.3 tickets come behind the handshake: over what it has
    // not read a socket is closed by a reset.
    drop(client);
    drop(world.client(&world.tls().version(&TLS12)).await);
    world.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 0.0).await;
    let text = world.gateway.shared().telemetry().metrics.render();
    assert!(!text.lines().any(|line| line.starts_with("bearward_connection_errors_total{")), "{text}");
}

#[tokio::test]
async fn the_limits_of_time_are_those_of_a_connection_in_clear() {
    const LONG: Duration = Duration::from_secs(3600);
    let limits = |head: Duration, idle: Duration| {
        format!("[server.limits]\nheader_timeout = \"{}s\"\nidle_timeout = \"{}s\"", head.as_secs(), idle.as_secs())
    };
    // Of the two limits only one can be passed while a client waits.
    let strict = World::configured("", &limits(LIMIT, LONG)).await;
    let mut slow = strict.client(&strict.tls()).await;
    slow.send("GET / HTTP/1.1\r\n").await;
    let world = World::configured("", &limits(LONG, LIMIT)).await;
    let mut http2 = world.tls().alpn(&["h2"]).connector().http2(world.gateway.address(), HOST).await;
    let mut idle = world.client(&world.tls()).await;
    let begun = Instant::now();
    assert_eq!(idle.get("/").await.status, 200);
    assert_eq!(idle.rest().await, b"");
    assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
    http2.closed().await;
    assert_eq!(slow.rest().await, b"");
    strict.failed("head_timeout", 1.0).await;
}

#[tokio::test]
async fn a_drain_ends_connections_gently() {
    let world = World::start().await;
    let (open, gate) = watch::channel(false);
    let mut idle = world.client(&world.tls()).await;
    assert_eq!(idle.get("/").await.status, 200);
    world.upstream.reply(Reply::Held(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
    let mut busy = world.client(&world.tls()).await;
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    world.upstream.request(1).await;
    let mut http2 = world.tls().alpn(&["h2"]).connector().http2(world.gateway.address(), HOST).await;
    let request = Request::get("https://shop.test/").body(Full::default()).unwrap();
    assert_eq!(http2.ask(request).await.status, 200);
    let mut silent = Client::connect(world.gateway.address()).await;

    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(3600) };
    let clients = async {
        assert_eq!(idle.rest().await, b"", "an idle connection ends");
        assert_eq!(silent.rest().await, b"", "so does one on which no handshake has begun");
        http2.closed().await;
        open.send(true).unwrap();
        let answer = busy.answer().await;
        assert_eq!((answer.status, answer.text(), answer.header("connection")), (200, "late", Some("close")));
    };
    let (whole, ()) = tokio::join!(world.gateway.running().drain(drain), clients);
    assert!(whole, "every connection ended by itself");
}

/// A handshake takes its round trips: one that a drain finds under way is not cut off by the look that an idle connection gets,
/// and neither is the request that follows it.
#[tokio::test]
async fn a_handshake_that_a_drain_finds_under_way_ends_in_an_answer() {
    for version in [&TLS13, &TLS12] {
        let world = World::start().await;
        let address = world.gateway.address();
        // What client and gateway say passes through here, so that it can stand still in the middle of the first word.
        let (near, mut far) = tokio::io::duplex(16 << 10);
        let mut socket = TcpStream::connect(address).await.unwrap();
        let connector = world.tls().version(version).connector();
        let client =
            tokio::spawn(async move { Client::over(connector.over(near, HOST).await.unwrap()).get("/").await });
        let mut word = [0; 9];
        far.read_exact(&mut word).await.unwrap();
        socket.write_all(&word).await.unwrap();
        world.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 1.0).await;

        let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(3600) };
        let answered = async {
            while TcpStream::connect(address).await.is_ok() {}
            // The gateway closes now; this ends as one side does.
            let (_, answer) = tokio::join!(copy_bidirectional(&mut far, &mut socket), client);
            answer.unwrap()
        };
        let (whole, answer) = tokio::join!(world.gateway.running().drain(drain), answered);
        assert!(whole);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
}

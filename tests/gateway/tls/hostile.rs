//! Handshakes that are slow, broken or of something else: closed, counted, and nobody else is kept waiting.

use std::time::Instant;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;

use super::{HOST, World};
use crate::harness::client::Client;
use crate::harness::gateway::LIMIT;

/// The content type of an alert (RFC 8446 section 5.1).
const ALERT: u8 = 21;
/// That of a handshake's messages.
const HANDSHAKE: u8 = 22;

/// A record of the handshake.
fn record(content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[HANDSHAKE, 3, 1, high, low], content].concat()
}

/// A `ClientHello` that says it is so long, and is of nothing.
fn hello_of(length: usize) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
    let message = [vec![1, high, middle, low], vec![0; length]].concat();
    message.chunks(16 << 10).flat_map(record).collect()
}

/// The `ClientHello` of TLS 1.1 (RFC 4346 section 7.4.1.2) with two cipher suites and no extension.
fn hello_of_tls11() -> Vec<u8> {
    let body = [&[3, 2][..], &[7; 32], &[0], &[0, 4, 0xc0, 0x13, 0, 0x2f], &[1, 0]].concat();
    record(&[&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat())
}

/// The `ClientHello` of a client of today, without the head of its record.
fn hello(world: &World) -> Vec<u8> {
    let config = world.tls().config();
    let mut connection = ClientConnection::new(config, ServerName::try_from(HOST).unwrap()).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes.split_off(5)
}

#[tokio::test]
async fn what_is_no_handshake_gets_an_alert_and_is_counted() {
    let world = World::start().await;
    let mut failed = 0.0;
    for (what, bytes, alert) in [
        ("plain HTTP", b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n".to_vec(), 50),
        ("TLS 1.1", hello_of_tls11(), 40),
        ("a long hello of nothing", hello_of(0xf000), 50),
        ("one that is longer than is kept", hello_of(0xffff), 0),
        ("one that is longer than any", hello_of(0x1_0000), 0),
        ("an alert", vec![ALERT, 3, 3, 0, 2, 2, 40], 0),
    ] {
        let mut client = Client::connect(world.gateway.address()).await;
        client.offer(&bytes).await;
        let answer = client.rest().await;
        match alert {
            0 => assert_eq!(answer, b"", "{what}"),
            alert => assert_eq!((answer.first(), answer.last()), (Some(&ALERT), Some(&alert)), "{what}: {answer:?}"),
        }
        failed += 1.0;
        world.failed("tls_handshake", failed).await;
        world.serves().await;
    }
    assert_eq!(world.gateway.sample("bearward_panics_total"), Some(0.0));
}

#[tokio::test]
async fn a_hello_in_many_pieces_is_read() {
    let world = World::start().await;
    let hello = hello(&world);
    let pieces: [Vec<Vec<u8>>; 2] = [
        // Each byte in a record of its own, all of them at once.
        vec![hello.iter().flat_map(|byte| record(&[*byte])).collect()],
        // One record, each byte sent by itself.
        record(&hello).iter().map(|byte| vec![*byte]).collect(),
    ];
    for pieces in pieces {
        let mut client = Client::connect(world.gateway.address()).await;
        for piece in pieces {
            client.send(piece).await;
        }
        assert_eq!(client.bytes(1).await, [HANDSHAKE]);
        drop(client);
        world.serves().await;
    }
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head_and_keeps_nobody_waiting() {
    let world = World::configured("", &format!("[server.limits]\nheader_timeout = \"{LIMIT:?}\"")).await;
    let begun = Instant::now();
    let record = record(&hello(&world));
    let mut slow = Vec::new();
    for sent in [0, 1, 5, record.len() - 1].into_iter().cycle().take(40) {
        let mut client = Client::connect(world.gateway.address()).await;
        client.offer(&record[..sent]).await;
        slow.push(client);
    }
    world.serves().await;
    for mut client in slow {
        assert_eq!(client.rest().await, b"");
    }
    assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
    world.failed("tls_timeout", 40.0).await;
    world.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 0.0).await;
}

#[tokio::test]
async fn who_only_looks_whether_the_port_is_open_is_no_fault() {
    let world = World::start().await;
    let mut client = Client::connect(world.gateway.address()).await;
    client.finish().await;
    assert_eq!(client.rest().await, b"");
    let mut left = Client::connect(world.gateway.address()).await;
    left.send(&record(&hello(&world))[..9]).await;
    left.finish().await;
    left.rest().await;
    world.failed("client_closed", 1.0).await;
    let text = world.gateway.shared().telemetry().metrics.render();
    let faults = text.lines().filter(|line| line.starts_with("bearward_connection_errors_total{")).count();
    assert_eq!(faults, 1, "{text}");
}

#[tokio::test]
async fn a_handshake_takes_the_place_of_a_connection() {
    let world = World::configured("", "[server.limits]\nconnections = 1").await;
    let waiting = Client::connect(world.gateway.address()).await;
    world.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 1.0).await;
    let refused = world.client(&world.tls()).await.get("/").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"), "told within TLS");
    world.failed("limit_reached", 1.0).await;
    drop(waiting);
    world.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 0.0).await;
    world.serves().await;
}

/// How a handshake among many ended.
enum Came {
    /// In an answer; the connection is kept.
    In(#[allow(dead_code, reason = "dropped, it would leave its place")] Client),
    /// In the word that there is no room.
    Told,
    /// In a close.
    Closed,
}

#[tokio::test]
async fn handshakes_that_come_all_at_once_are_bounded_and_the_rest_is_told() {
    const AT_ONCE: usize = 4000;
    const PLACES: usize = 500;
    // Beyond the places, so many are told.
    const SURPLUS: usize = 64;
    let world = World::configured(
        "",
        &format!("[server.limits]\nconnections = {PLACES}\nheader_timeout = \"1h\"\nidle_timeout = \"1h\""),
    )
    .await;
    let address = world.gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let connector = world.tls().connector();
        clients.spawn(async move {
            let Ok(stream) = connector.connect(address, HOST).await else { return Came::Closed };
            let mut client = Client::over(stream);
            // Refused, and so answered by the gateway itself.
            client.offer(b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let answer = String::from_utf8(client.message().await).unwrap();
            match answer.get(9..12) {
                Some("503") if answer.contains("connection: close") => Came::Told,
                // Where the worker is behind it says 503 to whom it serves, too.
                Some("405" | "503") => Came::In(client),
                _ => Came::Closed,
            }
        });
    }
    let (mut inside, mut told, mut closed, mut most) = (Vec::new(), 0, 0, 0.0_f64);
    while let Some(came) = clients.join_next().await {
        let open = world.gateway.sample("bearward_connections{listener=\"127.0.0.1:0\"}").unwrap();
        most = most.max(open);
        match came.unwrap() {
            Came::In(client) => inside.push(client),
            Came::Told => told += 1,
            Came::Closed => closed += 1,
        }
    }
    assert_eq!((inside.len(), told + closed), (PLACES, AT_ONCE - PLACES), "{told} told, {closed} closed");
    assert!(most <= (PLACES + SURPLUS) as f64, "{most} at once");
    world.failed("limit_reached", (AT_ONCE - PLACES) as f64).await;
    // Who was told has left by now.
    world.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", PLACES as f64).await;
    let late = world.client(&world.tls()).await.get("/").await;
    assert_eq!((late.status, late.code().as_str()), (503, "overloaded"));
    drop(inside);
    world.gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 0.0).await;
    world.serves().await;
}

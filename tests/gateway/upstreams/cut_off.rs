//! A request's body that is cut off reaches no upstream as a whole one, whatever cuts it off.
//!
//! A reset with `NO_ERROR` is the dangerous one: HTTP/2 knows it as a server's word that the rest of a request is not needed
//! (RFC 9113 section 8.1), and hyper takes it for the end of the body.

use super::{gateway, rounds};
use crate::harness::client::Client;
use crate::harness::framed::{CANCEL, Came, Framed, NO_ERROR, answer, reset};
use crate::harness::frames::{DATA, END_HEADERS, Frames, HEADERS, block, frame};
use crate::harness::gateway::Served;
use crate::harness::upstream::Upstream;

/// How often what must not happen gets the chance to.
const TIMES: usize = 12;

/// What of a body comes together with the reset, in turn.
const PIECES: [&[u8]; 3] = [b"", b"", b"ha"];

/// How a body of eight bytes is announced over HTTP/2, and the code of the reset that comes after four.
const RESETS: [(Option<&str>, u32); 4] = [(None, NO_ERROR), (None, CANCEL), (Some("8"), NO_ERROR), (Some("8"), CANCEL)];

/// How it is announced over HTTP/1, with its first four bytes.
const HALVES: [&str; 2] = ["transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "content-length: 8\r\n\r\nhalf"];

/// Half a request on a connection of its own, and its stream.
async fn half(gateway: &Served, length: Option<&str>) -> (Frames, u32) {
    let mut client = Frames::connect(gateway.address()).await;
    let stream = client.next();
    let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/cut")];
    fields.extend(length.map(|length| ("content-length", length)));
    let head = frame(HEADERS, END_HEADERS, stream, &block(&fields));
    client.send(&[head, frame(DATA, 0, stream, b"half")].concat()).await;
    (client, stream)
}

/// Cuts off what was sent of a stream, perhaps right behind another piece of the body, and returns once the gateway has seen
/// that.
async fn cut(mut client: Frames, stream: u32, piece: &[u8], code: u32) {
    let piece = if piece.is_empty() { Vec::new() } else { frame(DATA, 0, stream, piece) };
    client.send(&[piece, reset(stream, code)].concat()).await;
    client.ask(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/next")]).await;
}

/// That a stop of the gateway shows the upstream nothing whole of what was cut off, and that something of it came.
async fn nothing_whole(upstream: Upstream, gateway: Served, what: &str) {
    drop(gateway);
    upstream.closed(upstream.opened()).await;
    let mut cut = upstream.requests();
    cut.retain(|seen| seen.target() == "/cut");
    assert!(cut.len() >= TIMES / 2, "{what}: {cut:?}");
    cut.retain(|seen| seen.whole);
    assert!(cut.is_empty(), "{what}: {cut:?}");
}

#[tokio::test]
async fn what_a_client_of_http2_resets_is_aborted_over_http1() {
    for (length, code) in RESETS {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream.url(), "");
        let what = format!("{length:?}, code {code}");
        for time in 0..TIMES * rounds() {
            let begun = upstream.begun();
            let (client, stream) = half(&gateway, length).await;
            // At once, and in the midst of it.
            if time % 3 > 0 {
                upstream.begins(begun + 1).await;
            }
            cut(client, stream, PIECES[time % 3], code).await;
        }
        nothing_whole(upstream, gateway, &what).await;
    }
}

#[tokio::test]
async fn what_a_client_of_http2_resets_is_reset_over_http2() {
    for (length, code) in RESETS {
        let upstream = Framed::start(|came| match came {
            Came::Head { stream, whole: true, .. } => Some(answer(*stream, "ok")),
            Came::Head { .. } | Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Some(Vec::new()),
        })
        .await;
        let gateway = gateway(&upstream.url(), "");
        let what = format!("{length:?}, code {code}");
        for time in 0..TIMES * rounds() {
            let is_half = |came: &Came| matches!(came, Came::Data { .. });
            let begun = upstream.came().iter().filter(|came| is_half(came)).count();
            let (client, stream) = half(&gateway, length).await;
            if time % 3 > 0 {
                upstream.until_times(begun + 1, is_half).await;
            }
            cut(client, stream, PIECES[time % 3], code).await;
        }
        drop(gateway);
        upstream.until(|came| matches!(came, Came::End { .. })).await;
        let came = upstream.came();
        assert!(!came.iter().any(|came| matches!(came, Came::Data { last: true, .. })), "{what}: {came:?}");
        let reset = |came: &&Came| matches!(came, Came::Reset { code, .. } if *code != NO_ERROR);
        assert!(came.iter().filter(reset).count() >= TIMES / 2, "{what}: {came:?}");
    }
}

#[tokio::test]
async fn what_a_client_of_http1_leaves_is_aborted() {
    for half in HALVES {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream.url(), "");
        for time in 0..TIMES * rounds() {
            let begun = upstream.begun();
            let mut client = Client::connect(gateway.address()).await;
            client.send(format!("POST /cut HTTP/1.1\r\nhost: a\r\n{half}")).await;
            if time % 2 == 0 {
                upstream.begins(begun + 1).await;
                client.finish().await;
                client.rest().await;
            }
            drop(client);
        }
        gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 0.0).await;
        nothing_whole(upstream, gateway, half).await;
    }
}

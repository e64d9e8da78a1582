//! HTTP/2 towards the upstream, frame by frame: what is sent again, what is passed on, and what is a fault.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::{connections, errors, gateway, series};
use crate::harness::api::{self, Api, Reply};
use crate::harness::client::Client;
use crate::harness::framed::{
    CANCEL, Came, Framed, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, answer, data, go_away, head, reset,
};
use crate::harness::frames::{WINDOW_UPDATE, frame};
use crate::harness::gateway::LIMIT;

/// Says this at the head of the first request on the first connection, and answers all others.
fn first(said: Vec<u8>) -> impl Fn(&Came) -> Option<Vec<u8>> + Send + Sync {
    move |came| {
        Some(match came {
            Came::Head { connection: 0, stream: 1, .. } => said.clone(),
            Came::Head { stream, whole: true, .. } | Came::Data { stream, last: true, .. } => answer(*stream, "ok"),
            Came::Head { .. } | Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Vec::new(),
        })
    }
}

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn what_the_upstream_has_not_processed_goes_again_with_its_body() {
    let cases = [
        ("it goes away", go_away(0, NO_ERROR), (1, 1)),
        ("it goes away in anger", go_away(0, INTERNAL_ERROR), (1, 1)),
        ("it refuses the stream", reset(1, REFUSED_STREAM), (0, 3)),
    ];
    for (name, said, second) in cases {
        let framed = Framed::start(first(said)).await;
        let gateway = gateway(&framed.url(), "retries = 0");
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.ask(POST).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{name}");
        assert_eq!(framed.heads(), [(0, 1), second], "{name}");
        let (connection, stream) = second;
        let again = Came::Data { connection, stream, bytes: b"hello".to_vec(), last: true };
        assert!(framed.came().contains(&again), "{name}: {:?}", framed.came());
        assert_eq!(gateway.sample(&errors("upstream_unreachable")), None, "{name}");
    }
}

#[tokio::test]
async fn what_was_refused_after_more_of_its_body_than_is_kept_is_not_sent_again() {
    let framed = Framed::start(|came| {
        Some(match came {
            // Room for more than is kept.
            Came::Head { .. } => window_of_a_megabyte(),
            Came::Data { stream, last: true, .. } => reset(*stream, REFUSED_STREAM),
            Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Vec::new(),
        })
    })
    .await;
    let gateway = gateway(&framed.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    let body = "x".repeat(70_000);
    let answer = client.ask(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 70000\r\n\r\n{body}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    assert_eq!(framed.heads(), [(0, 1)]);
}

/// `WINDOW_UPDATE` for the connection and for the first stream.
fn window_of_a_megabyte() -> Vec<u8> {
    let one = |stream| frame(WINDOW_UPDATE, 0, stream, &(1_u32 << 20).to_be_bytes());
    [one(0), one(1)].concat()
}

#[tokio::test]
async fn a_refusal_without_end_is_given_up() {
    let framed = Framed::start(|came| {
        Some(match came {
            Came::Head { stream, .. } => reset(*stream, REFUSED_STREAM),
            Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Vec::new(),
        })
    })
    .await;
    let gateway = gateway(&framed.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.ask(POST).await.code(), "upstream_unreachable");
    assert_eq!(framed.heads(), [(0, 1), (0, 3), (0, 5)]);
}

#[tokio::test]
async fn what_was_begun_before_the_upstream_went_away_ends_well() {
    let framed = Framed::start(first([go_away(1, NO_ERROR), answer(1, "last")].concat())).await;
    let gateway = gateway(&framed.url(), "retries = 0");
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.ask(POST).await.text(), "last");
    assert_eq!(client.ask(POST).await.text(), "ok");
    assert_eq!(framed.heads(), [(0, 1), (1, 1)]);
}

#[tokio::test]
async fn faults_of_a_stream_have_their_codes_and_are_not_repeated() {
    let long = "x".repeat(120);
    let fields: Vec<(&str, &str)> =
        std::iter::once((":status", "200")).chain(std::iter::repeat_n(("x", &*long), 500)).collect();
    let too_long = head(1, &fields[..100], false);
    assert!(too_long.len() < 16_384);
    let cases: [(&str, Vec<u8>, u16, &str); 10] = [
        ("a reset", reset(1, INTERNAL_ERROR), 502, "upstream_unreachable"),
        ("a body first", data(1, b"x", true), 502, "upstream_malformed"),
        ("no status", head(1, &[("x", "1")], true), 502, "upstream_malformed"),
        (
            "a field of HTTP/1.1",
            head(1, &[(":status", "200"), ("connection", "close")], true),
            502,
            "upstream_malformed",
        ),
        ("capitals", head(1, &[(":status", "200"), ("X", "1")], true), 502, "upstream_malformed"),
        ("a switch", head(1, &[(":status", "101")], true), 502, "upstream_malformed"),
        (
            "two lengths",
            head(1, &[(":status", "200"), ("content-length", "2"), ("content-length", "2")], false),
            502,
            "upstream_malformed",
        ),
        (
            "more than its length",
            [head(1, &[(":status", "200"), ("content-length", "2")], false), data(1, b"much more", true)].concat(),
            502,
            "upstream_malformed",
        ),
        (
            "another protocol",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(),
            502,
            "upstream_malformed",
        ),
        ("an end", Vec::new(), 502, "upstream_unreachable"),
    ];
    for (name, bytes, status, code) in cases {
        let closes = bytes.is_empty();
        let framed = Framed::start(move |came| match came {
            Came::Head { .. } if closes => None,
            Came::Head { .. } => Some(bytes.clone()),
            Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Some(Vec::new()),
        })
        .await;
        let gateway = gateway(&framed.url(), "");
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.ask("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}");
        assert_eq!(framed.heads(), [(0, 1)], "{name}");
    }
}

#[tokio::test]
async fn a_get_is_repeated_where_a_connection_that_had_answered_died() {
    let framed = Framed::start(|came| match came {
        Came::Head { connection: 0, stream: 3, .. } => None,
        Came::Head { stream, .. } => Some(answer(*stream, "ok")),
        Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Some(Vec::new()),
    })
    .await;
    let gateway = gateway(&framed.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.get("/").await.text(), "ok");
    assert_eq!(client.get("/").await.text(), "ok");
    assert_eq!(framed.heads(), [(0, 1), (0, 3), (1, 1)]);
    assert_eq!(gateway.sample(&series("retries_total", "result", "success")), Some(1.0));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let part = |fields: &[(&str, &str)]| [head(1, fields, false), data(1, b"half", false)].concat();
    let open: &[(&str, &str)] = &[(":status", "200")];
    let long: &[(&str, &str)] = &[(":status", "200"), ("content-length", "10")];
    let cases = [
        ("a reset", [part(open), reset(1, INTERNAL_ERROR)].concat(), false),
        // As HTTP/2 libraries read it, a stream that is reset so has ended well.
        ("a reset without an error", [part(open), reset(1, NO_ERROR)].concat(), false),
        ("a reset without an error, of a known length", [part(long), reset(1, NO_ERROR)].concat(), false),
        ("too little", [part(long), data(1, b"", true)].concat(), false),
        ("too much", [part(long), data(1, b"much more", true)].concat(), false),
        ("the connection's end", part(open), true),
    ];
    for (name, bytes, closes) in cases {
        let framed = Framed::start(move |came| match came {
            Came::Head { stream: 1, .. } => Some(bytes.clone()),
            Came::Head { .. } => None,
            Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Some(Vec::new()),
        })
        .await;
        let gateway = gateway(&framed.url(), "retries = 0");
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        if closes {
            // The head is there, so that the upstream has said what it says. At a second request it closes.
            assert_eq!(client.head().await.status, 200);
            assert_eq!(Client::connect(gateway.address()).await.get("/").await.status, 502);
        }
        let rest = String::from_utf8(client.rest().await).unwrap();
        assert!(!rest.ends_with("0\r\n\r\n"), "{name}: {rest:?}");
        assert!(rest.starts_with("HTTP/1.1 502 ") || !rest.contains("much more"), "{name}: {rest:?}");
    }
}

#[tokio::test]
async fn an_informational_answer_is_not_the_answer() {
    let framed =
        Framed::start(first([head(1, &[(":status", "103"), ("link", "x")], false), answer(1, "real")].concat())).await;
    let gateway = gateway(&framed.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.text(), answer.header("link")), (200, "real", None));
}

#[tokio::test]
async fn a_request_that_takes_too_long_ends_alone_and_a_silent_connection_takes_no_more() {
    let framed = Framed::start(|came| {
        Some(match came {
            // Only the other streams of the first connection are answered, while the first waits.
            Came::Head { connection: 0, stream: 1, .. } => Vec::new(),
            Came::Head { connection: 0, stream: 5, .. } => Vec::new(),
            Came::Head { stream, .. } => answer(*stream, "ok"),
            Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Vec::new(),
        })
    })
    .await;
    let gateway = gateway(&framed.url(), &format!("timeout = \"{LIMIT:?}\""));
    let mut slow = Client::connect(gateway.address()).await;
    let mut quick = Client::connect(gateway.address()).await;
    slow.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    framed.until(|came| matches!(came, Came::Head { stream: 1, .. })).await;
    assert_eq!(quick.get("/").await.status, 200);
    let answer = slow.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    framed.until(|came| *came == Came::Reset { connection: 0, stream: 1, code: CANCEL }).await;
    // Something had come meanwhile, so the connection is alive. Now nothing comes.
    assert_eq!(slow.get("/").await.code(), "upstream_timeout");
    assert_eq!(slow.get("/").await.status, 200);
    assert_eq!(framed.heads(), [(0, 1), (0, 3), (0, 5), (1, 1)]);
    framed.until(|came| *came == Came::End { connection: 0 }).await;
}

#[tokio::test]
async fn requests_share_a_connection_and_no_more_than_it_allows() {
    for (allowed, requests, expected) in [(200, 100, 1), (200, 130, 2), (10, 25, 3)] {
        let (open, gate) = watch::channel(false);
        let api = Api::allowing(allowed, move |request| held(request, gate.clone())).await;
        let gateway = gateway(&format!("h2c://{}", api.address()), "");
        let mut client = Client::connect(gateway.address()).await;
        // The upstream's own limit is known once it has answered something.
        let before = async {
            client.send("GET /quick HTTP/1.1\r\nhost: a\r\n\r\n").await;
            client.answer().await
        };
        assert_eq!(before.await.status, 200);
        let mut clients = Vec::new();
        for number in 0..requests {
            let mut client = Client::connect(gateway.address()).await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            clients.push(client);
            // One after the other, so that none waits for an opening together with others.
            api.asked(number + 1).await;
        }
        assert_eq!(api.opened(), expected, "{requests} requests, {allowed} allowed");
        assert_eq!(gateway.sample(&connections("active")), Some(expected as f64));
        open.send(true).unwrap();
        for client in &mut clients {
            assert_eq!(client.answer().await.status, 200);
        }
        gateway.counted(&connections("idle"), expected as f64).await;
        assert_eq!(gateway.sample(&connections("active")), Some(0.0));
    }
}

async fn held(request: Request<Incoming>, mut gate: watch::Receiver<bool>) -> Response<Reply> {
    if request.uri().path() != "/quick" {
        let _ = gate.wait_for(|open| *open).await;
    }
    api::ok(request).await
}

#[tokio::test]
async fn requests_that_come_at_once_wait_for_one_connection() {
    let api = Api::clear(api::ok).await;
    let gateway = gateway(&format!("h2c://{}", api.address()), "");
    let address = gateway.address();
    let clients = (0..50).map(|_| async move { Client::connect(address).await.get("/").await.status });
    let statuses = futures_util::future::join_all(clients).await;
    assert_eq!(statuses, [200; 50]);
    assert_eq!(api.opened(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_its_own_stream_only() {
    async fn large(request: Request<Incoming>) -> Response<Reply> {
        let size = if request.uri().path() == "/large" { 8 << 20 } else { 2 };
        let _ = request.into_body().collect().await;
        Response::new(api::body(vec![b'x'; size]))
    }
    let api = Api::clear(large).await;
    let gateway = gateway(&format!("h2c://{}", api.address()), "");
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.head().await.status, 200);
        slow.push(client);
    }
    let mut quick = Client::connect(gateway.address()).await;
    assert_eq!(quick.get("/small").await.text(), "xx");
    assert_eq!(api.opened(), 1);
}

#[tokio::test]
async fn an_answer_that_stalls_is_cut_where_its_length_was_declared() {
    let mut silent = None;
    for length in [None, Some("10")] {
        let framed = Framed::start(move |came| {
            Some(match came {
                Came::Head { stream, .. } => {
                    let fields = [Some((":status", "200")), length.map(|length| ("content-length", length))];
                    let fields: Vec<_> = fields.into_iter().flatten().collect();
                    [head(*stream, &fields, false), data(*stream, b"half", false)].concat()
                }
                Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => Vec::new(),
            })
        })
        .await;
        let gateway = gateway(&framed.url(), &format!("timeout = \"{LIMIT:?}\""));
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.head().await.status, 200);
        if length.is_some() {
            assert_eq!(client.rest().await, b"half");
            gateway.counted(&errors("upstream_timeout"), 1.0).await;
        } else {
            silent = Some((framed, gateway, client));
        }
    }
    // It has been silent for longer.
    let (_framed, _gateway, mut client) = silent.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), client.rest()).await.is_err(), "it is cut");
}

//! Connections on which nothing is going on, and clients that do not take their answers.

use std::time::{Duration, Instant};

use bearward::gateway::request_body::Pace;
use bearward::server::drain::Drain;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::sync::watch;

use crate::harness::binary::Binary;
use crate::harness::client::{Client, Http2};
use crate::harness::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Heard, WINDOW_UPDATE, block, frame};
use crate::harness::gateway::{LIMIT, Served};
use crate::harness::upstream::{Reply, Upstream};

/// Everything is public, and goes to one upstream.
fn public(upstream: &Upstream, limits: &str) -> String {
    format!(
        "[server.limits]\n{limits}\n[[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"{}\"\n",
        upstream.url()
    )
}

/// Longer than it takes until nothing is held for a quiet connection; where that takes longer still, less is tried.
async fn quiet() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

const ERRORS: &str = "bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=";

fn get(path: &str) -> [(&'static str, &str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]
}

#[tokio::test]
async fn after_a_long_silence_a_connection_is_as_it_was() {
    let upstream = Upstream::start().await;
    let gateway = Served::start(&public(&upstream, "header_timeout = \"1h\""));
    let address = gateway.address();
    let (mut kept, mut silent, mut slow) =
        (Client::connect(address).await, Client::connect(address).await, Client::connect(address).await);
    let (mut early, mut blank, mut other) =
        (Client::connect(address).await, Client::connect(address).await, Client::connect(address).await);
    let mut http2 = Http2::connect(address).await;
    for client in [&mut kept, &mut slow, &mut other] {
        assert_eq!(client.get("/").await.status, 200);
    }
    let request = || Request::get("http://a/").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(http2.ask(request()).await.status, 200);
    // Bytes beyond a body that came with it: the beginning of another request, and an empty line, which is nothing.
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(early.ask(format!("{post}GET /early HTTP/1.1\r\nho")).await.status, 200);
    assert_eq!(blank.ask(format!("{post}\r\n")).await.status, 200);
    let before = upstream.requests().len();

    quiet().await;
    for byte in "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n".bytes() {
        slow.send([byte]).await;
    }
    assert_eq!(slow.answer().await.status, 200);
    early.send("st: a\r\n\r\n").await;
    assert_eq!(early.answer().await.status, 200);
    kept.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for _ in 0..2 {
        assert_eq!(kept.answer().await.status, 200);
    }
    for client in [&mut silent, &mut blank] {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(http2.ask(request()).await.status, 200);
    assert_eq!(upstream.requests().len(), before + 7);

    // What was HTTP/1 stays HTTP/1.
    other.offer(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(other.rest().await, b"");

    quiet().await;
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(3600) };
    let clients = async {
        for client in [&mut kept, &mut silent, &mut slow, &mut early, &mut blank] {
            assert_eq!(client.rest().await, b"");
        }
        http2.closed().await;
    };
    let (whole, ()) = tokio::join!(gateway.running().drain(drain), clients);
    assert!(whole);
}

#[tokio::test]
async fn silence_has_its_limits_however_long_it_has_lasted() {
    let upstream = Upstream::start().await;
    // Of the two limits only one can be passed while a client waits.
    let heads = Served::start(&public(&upstream, "header_timeout = \"300ms\"\nidle_timeout = \"1h\""));
    let idles = Served::start(&public(&upstream, &format!("header_timeout = \"1h\"\nidle_timeout = \"{LIMIT:?}\"")));
    let (mut half, mut idle) = (Client::connect(heads.address()).await, Client::connect(idles.address()).await);
    let begun = Instant::now();
    assert_eq!(idle.get("/").await.status, 200);
    assert_eq!(half.get("/").await.status, 200);
    quiet().await;
    let spoke = Instant::now();
    half.send("GET / HT").await;
    assert_eq!(half.rest().await, b"");
    assert!(spoke.elapsed() >= Duration::from_millis(300), "{:?}", spoke.elapsed());
    assert_eq!(idle.rest().await, b"");
    assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
    heads.counted(&format!("{ERRORS}\"head_timeout\"}}"), 1.0).await;
}

#[tokio::test]
async fn a_quiet_connection_takes_a_few_kibibytes() {
    let upstream = Upstream::start().await;
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let gateway = Binary::start(&format!("{server}{}", public(&upstream, "")));
    let mut crowd = Vec::new();
    let mut join = async |count: usize| {
        for _ in 0..count {
            let mut client = Client::connect(gateway.address).await;
            assert_eq!(client.get("/").await.status, 200);
            crowd.push(client);
        }
    };
    // What the first ones bring about is there for all.
    join(500).await;
    quiet().await;
    let before = gateway.resident_kib();
    join(1500).await;
    // A build that is optimised takes a third of this.
    let most = before + 1500 * 16;
    let settled = async {
        while gateway.resident_kib() > most {
            quiet().await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(60), settled).await;
    assert!(settled.is_ok(), "{} KiB each", (gateway.resident_kib() - before) / 1500);
}

/// Pipelined requests and stray bytes behind a body stop the parser from looking at the socket.
#[tokio::test]
async fn a_client_that_leaves_is_noticed_whatever_it_has_sent_before() {
    let upstream = Upstream::start().await;
    let gateway = Served::start(&public(&upstream, ""));
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let events = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ndata:\n\r\n";
    let mut left = 0;
    for (request, more, reply) in [
        (get, "G", events),
        (get, "\r\n", events),
        (get, get, events),
        (post, "\r\n", events),
        (post, get, events),
        (get, "G", ""),
    ] {
        for at_once in [true, false] {
            upstream.reply(Reply::Stall(reply.into()));
            let mut client = Client::connect(gateway.address()).await;
            client.send(if at_once { format!("{request}{more}") } else { request.to_owned() }).await;
            upstream.request(left).await;
            if !reply.is_empty() {
                assert_eq!(client.head().await.status, 200);
            }
            if !at_once {
                client.send(more).await;
            }
            drop(client);
            left += 1;
            upstream.closed(left).await;
            gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 0.0).await;
            gateway.counted(&format!("{ERRORS}\"client_closed\"}}"), left as f64).await;
        }
    }
}

/// A client has to take 16 KiB in that time: less would be a trial of the machine.
const PACE: Pace = Pace { bytes: 16 * 1024, within: LIMIT };
const FLOOD: usize = 64 * 1024 * 1024;

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_given_up() {
    let upstream = Upstream::start().await;
    let gateway = Served::paced(&public(&upstream, ""), PACE);
    let counted = format!("{ERRORS}\"answer_timeout\"}}");

    upstream.reply(Reply::Stall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_vec()));
    let mut waiting = Client::connect(gateway.address()).await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(waiting.head().await.status, 200);
    upstream.reply(Reply::Flood(FLOOD));
    let mut steady = Client::connect(gateway.address()).await;
    steady.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(steady.head().await.status, 200);

    upstream.reply(Reply::Flood(FLOOD));
    let mut stuck = Client::connect(gateway.address()).await;
    let begun = Instant::now();
    stuck.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut taken = 0;
    let mut over = std::pin::pin!(gateway.counted(&counted, 1.0));
    loop {
        tokio::select! {
            () = &mut over => break,
            _ = steady.bytes(256 * 1024) => taken += 256 * 1024,
        }
        // A slow reader, and not one that has stopped.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() >= PACE.within);
    upstream.closed(1).await;
    assert!(stuck.rest().await.len() < FLOOD, "cut off, and seen to be");

    let rest = FLOOD - taken;
    assert_eq!(steady.bytes(rest).await.len(), rest, "who reads slowly gets all of it");
    // Where the upstream has nothing to say, the client has nothing to take.
    gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 2.0).await;
    assert_eq!(gateway.sample(&counted), Some(1.0));
    drop((waiting, steady));
}

#[tokio::test]
async fn over_http2_a_stream_that_nobody_takes_ends_alone() {
    let upstream = Upstream::start().await;
    let gateway = Served::paced(&public(&upstream, ""), PACE);
    let counted = format!("{ERRORS}\"answer_timeout\"}}");
    let mut client = Frames::connect(gateway.address()).await;
    // Much for the connection, and no more than the beginning for each stream.
    client.send(&frame(WINDOW_UPDATE, 0, 0, &0x1000_0000_u32.to_be_bytes())).await;
    upstream.reply(Reply::Flood(FLOOD));
    let begun = Instant::now();
    let stuck = client.begin(&get("/")).await;
    upstream.request(0).await;
    assert_eq!(client.ask(&get("/")).await, Heard::Answer(b"ok".to_vec()), "the others go on");
    assert_eq!(client.hear(stuck).await, Heard::Reset(8), "CANCEL");
    assert!(begun.elapsed() >= PACE.within);
    gateway.counted(&counted, 1.0).await;
    upstream.closed(1).await;
    assert_eq!(client.ask(&get("/")).await, Heard::Answer(b"ok".to_vec()));

    // Who reads nothing at all loses the connection.
    let everything = [(4, 0x7fff_ffff)];
    let mut deaf = Frames::connect_with(gateway.address(), &everything).await;
    deaf.send(&frame(WINDOW_UPDATE, 0, 0, &0x1000_0000_u32.to_be_bytes())).await;
    upstream.reply(Reply::Flood(FLOOD));
    deaf.begin(&get("/")).await;
    gateway.counted(&counted, 2.0).await;
    gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 1.0).await;
    assert_eq!(deaf.ended().await, None);
}

/// HTTP/2 would take such an answer whole where the client takes one byte of it, and keep it for as long as the connection
/// lasts.
#[tokio::test]
async fn over_http2_an_answer_that_would_fit_is_watched_too() {
    let upstream = Upstream::start().await;
    let gateway = Served::paced(&public(&upstream, ""), PACE);
    let body = "x".repeat(7000);
    for answer in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 7000\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1b58\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let mut client = Frames::connect_with(gateway.address(), &[(4, 2)]).await;
        upstream.reply(Reply::Bytes(answer.clone().into_bytes()));
        let stuck = client.begin(&get("/")).await;
        assert_eq!(client.hear(stuck).await, Heard::Reset(8), "CANCEL");
        assert_eq!(client.ask(&get("/")).await, Heard::Answer(b"ok".to_vec()), "the others go on");

        // Whose window is just as large as the answer need not open it.
        let mut client = Frames::connect_with(gateway.address(), &[(4, 7000)]).await;
        upstream.reply(Reply::Bytes(answer.into_bytes()));
        assert_eq!(client.ask(&get("/")).await, Heard::Answer(body.clone().into_bytes()));
    }
    gateway.counted(&format!("{ERRORS}\"answer_timeout\"}}"), 2.0).await;
}

#[tokio::test]
async fn over_http2_uploads_that_are_held_back_take_no_room_of_others() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let gateway = Served::start(&format!(
        "[upstreams.full]\nurl = \"{}\"\nmax_concurrent = 40\nconnect_timeout = \"60s\"\n\
         [upstreams.other]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/full\"\npolicy = \"public\"\nupstream = \"full\"\n\
         [[routes]]\npath = \"/other\"\npolicy = \"public\"\nupstream = \"other\"\n",
        upstream.url(),
        other.url()
    ));
    let (_never, gate) = watch::channel(false);
    let mut client = Frames::connect(gateway.address()).await;
    for _ in 0..40 {
        upstream.reply(Reply::Held(gate.clone(), Vec::new()));
        client.begin(&get("/full")).await;
    }
    upstream.request(39).await;
    // They wait in the upstream's queue, and nobody reads what they have sent: the whole window of each.
    let mut post = get("/full");
    post[0].1 = "POST";
    for _ in 0..40 {
        let stream = client.next();
        client.send(&frame(HEADERS, END_HEADERS, stream, &block(&post))).await;
        for _ in 0..4 {
            client.send(&frame(DATA, 0, stream, &[b'x'; 16 * 1024])).await;
        }
    }
    post[3].1 = "/other";
    let stream = client.next();
    client.send(&frame(HEADERS, END_HEADERS, stream, &block(&post))).await;
    client.send(&frame(DATA, END_STREAM, stream, &[b'x'; 16 * 1024])).await;
    assert_eq!(client.hear(stream).await, Heard::Answer(b"ok".to_vec()));
    assert_eq!(other.request(0).await.body.len(), 16 * 1024);
}

//! A gateway that stops: what was asked is answered, and clients that obey what ends their connections lose nothing.

use std::time::Duration;

use bearward::server::drain::Drain;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::harness::client::{Client, Http2};
use crate::harness::frames::{Frames, Heard};
use crate::harness::gateway::{LIMIT, Served};
use crate::harness::upstream::{Reply, Upstream};

const AT_ONCE: Drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(30) };

/// For clients that are idle, and speak before they are ended for that.
const LONG: Duration = Duration::from_secs(20);

async fn world() -> (Upstream, Served) {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let toml = format!("[[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"{url}\"\n");
    let gateway = Served::start(&toml);
    (upstream, gateway)
}

/// Returns once nothing listens any more.
async fn closed(gateway: &Served) {
    while TcpStream::connect(gateway.address()).await.is_ok() {}
}

fn get() -> Request<Full<Bytes>> {
    Request::get("http://a/").body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_no_more() {
    let (upstream, gateway) = world().await;
    let (open, gate) = watch::channel(false);
    let mut idle = Client::connect(gateway.address()).await;
    assert_eq!(idle.get("/").await.status, 200);
    upstream.reply(Reply::Held(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
    let mut busy = Client::connect(gateway.address()).await;
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(1).await;

    let mut http2 = Http2::connect(gateway.address()).await;
    assert_eq!(http2.ask(get()).await.status, 200);
    let mut begun = Client::connect(gateway.address()).await;
    assert_eq!(begun.get("/").await.status, 200);
    begun.send("GET / HTTP/1.1\r\n").await;

    let clients = async {
        assert_eq!(idle.rest().await, b"", "an idle connection ends");
        http2.closed().await;
        begun.send("host: a\r\n\r\n").await;
        assert_eq!(begun.answer().await.header("connection"), Some("close"), "a request that had begun is answered");
        let mut admin = Client::connect(gateway.admin_address()).await;
        let ready = admin.get("/readyz").await;
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("draining"), "{}", ready.text());
        open.send(true).unwrap();
        let answer = busy.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "late"));
        assert_eq!(answer.header("connection"), Some("close"));
    };
    let (whole, ()) = tokio::join!(gateway.running().drain(AT_ONCE), clients);
    assert!(whole, "every connection ended by itself");
    assert!(TcpStream::connect(gateway.address()).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn while_a_drain_waits_requests_are_still_answered() {
    let (_upstream, gateway) = world().await;
    let drain = Drain { delay: Duration::from_secs(60), timeout: Duration::ZERO };
    let clients = async {
        let mut admin = Client::connect(gateway.admin_address()).await;
        while admin.get("/readyz").await.status == 200 {}
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    };
    tokio::select! {
        _ = gateway.running().drain(drain) => panic!("the drain waits"),
        () = clients => {}
    }
}

/// The answer's head went out before anybody knew of an end: its client may send another request when it is whole.
#[tokio::test]
async fn an_answer_that_had_begun_is_followed_by_another() {
    let (upstream, gateway) = world().await;
    gateway.waits(LONG);
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Begun(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n".to_vec(), gate, b"late".to_vec()));
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("connection")), (200, None));
    let clients = async {
        closed(&gateway).await;
        open.send(true).unwrap();
        assert_eq!(client.bytes(4).await, b"late");
        let last = client.get("/").await;
        assert_eq!((last.status, last.text(), last.header("connection")), (200, "ok", Some("close")));
        assert_eq!(client.rest().await, b"");
    };
    let (whole, ()) = tokio::join!(gateway.running().drain(AT_ONCE), clients);
    assert!(whole);
}

/// Some of them are still in the kernel's queue when the gateway closes, and none has said anything yet.
#[tokio::test]
async fn who_was_taken_in_may_say_what_it_wants() {
    let (_upstream, gateway) = world().await;
    gateway.waits(LONG);
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Client::connect(gateway.address()).await);
    }
    let asking = async {
        closed(&gateway).await;
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        }
        for client in &mut clients {
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        }
    };
    let (whole, ()) = tokio::join!(gateway.running().drain(AT_ONCE), asking);
    assert!(whole);
}

/// Only the first is answered on this connection, which its answer says is the last; the client hears all of it.
#[tokio::test]
async fn what_stands_behind_the_last_request_is_not_taken() {
    let (upstream, gateway) = world().await;
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, Vec::from(*b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")));
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(0).await;
    let asking = async {
        closed(&gateway).await;
        open.send(true).unwrap();
        let answers = client.answers().await;
        let told: Vec<_> = answers.iter().map(|answer| (answer.text(), answer.header("connection"))).collect();
        assert_eq!(told, [("late", Some("close"))]);
    };
    let (whole, ()) = tokio::join!(gateway.running().drain(AT_ONCE), asking);
    assert!(whole);
    assert_eq!(upstream.count(), 1, "nobody acted on what was not answered");
}

/// A client may have sent requests before it hears of the end (RFC 9113 section 6.8).
#[tokio::test]
async fn over_http2_what_was_sent_before_goaway_was_heard_is_answered() {
    let (upstream, gateway) = world().await;
    let (open, gate) = watch::channel(false);
    upstream.reply(Reply::Held(gate, Vec::from(*b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")));
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let mut client = Frames::connect(gateway.address()).await;
    let held = client.begin(&fields).await;
    upstream.request(0).await;
    let asking = async {
        assert_eq!(client.ended().await, Some(0), "GOAWAY without an error");
        let crossing = client.begin(&fields).await;
        assert_eq!(client.hear(crossing).await, Heard::Answer(b"ok".to_vec()));
        open.send(true).unwrap();
        assert_eq!(client.hear(held).await, Heard::Answer(b"late".to_vec()));
        // It says nothing more, not even that it has heard.
        while client.ended().await.is_some() {}
    };
    let (whole, ()) = tokio::join!(gateway.running().drain(AT_ONCE), asking);
    assert!(whole);
}

#[tokio::test]
async fn without_patience_too_a_drain_ends_well_where_all_are_idle() {
    let (_upstream, gateway) = world().await;
    // Half of that is how much later than its end may be seen.
    gateway.waits(2 * LIMIT);
    let (mut asked, silent) = (Client::connect(gateway.address()).await, Client::connect(gateway.address()).await);
    assert_eq!(asked.get("/").await.status, 200);
    let mut http2 = Http2::connect(gateway.address()).await;
    assert_eq!(http2.ask(get()).await.status, 200);
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::ZERO };
    assert!(gateway.running().drain(drain).await, "nothing was lost");
    drop((asked, silent, http2));
}

#[tokio::test]
async fn what_outlasts_the_patience_is_cut_off_and_told() {
    let (upstream, gateway) = world().await;
    upstream.reply(Reply::Stall(Vec::new()));
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(0).await;
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_millis(1) };
    assert!(!gateway.running().drain(drain).await, "a request was still under way");
    drop(gateway);
    assert_eq!(client.rest().await, b"");
}

//! Bytes in, bytes out: what goes to the upstream and comes back, connections and their deadlines, bodies and their bounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bearward::gateway::request_body::Pace;
use bearward::gateway::{Body, Pause};
use bearward::server::admin::Admin;
use bearward::server::connection::Bounds;
use bearward::server::entrance::Entrance;
use bearward::server::room::Terms;
use bearward::server::{Running, Settings, start};
use bearward::telemetry::Telemetry;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::runtime::Handle;

use crate::harness::client::{Client, Http2};
use crate::harness::frames::{Frames, Heard};
use crate::harness::gateway::{LIMIT, Served};
use crate::harness::port::Port;
use crate::harness::upstream::{Reply, Upstream};

/// One public route to one upstream.
fn public(upstream: &str, server: &str, more: &str) -> String {
    format!(
        "{server}\n[upstreams.api]\nurl = \"{upstream}\"\n{more}\n\n\
         [[routes]]\nname = \"all\"\npath = \"/*\"\npolicy = \"public\"\nupstream = \"api\"\nbody_bytes = \"64KiB\"\n"
    )
}

async fn world() -> (Upstream, Served) {
    let upstream = Upstream::start().await;
    let gateway = Served::start(&public(&upstream.url(), "", ""));
    (upstream, gateway)
}

#[tokio::test]
async fn a_request_goes_through_and_back() {
    let (upstream, gateway) = world().await;
    upstream.reply(Reply::Bytes(
        b"HTTP/1.1 418 Short and Stout\r\nContent-Length: 3\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
          Keep-Alive: timeout=5\r\nX-Request-Id: theirs\r\nWWW-Authenticate: Basic\r\n\r\ntea"
            .to_vec(),
    ));
    let mut client = Client::connect(gateway.address()).await;
    let answer = client
        .ask(
            "POST /a%20b?x=1&y=%2f HTTP/1.1\r\nHost: api.test\r\nX_User: mallory\r\nx-forwarded-for: 1.2.3.4\r\n\
             Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nContent-Length: 5\r\nCookie: a=b\r\n\
             Authorization: Bearer opaque\r\n\r\nhello",
        )
        .await;
    assert_eq!((answer.status, answer.text()), (418, "tea"));
    for gone in ["keep-alive", "x-hop", "connection"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("www-authenticate"), Some("Basic"));

    let seen = upstream.request(0).await;
    assert_eq!(seen.line, "POST /a%20b?x=1&y=%2f HTTP/1.1");
    assert_eq!(seen.body, b"hello");
    assert_eq!(seen.all("x-request-id"), [answer.header("x-request-id").unwrap()]);
    let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "forwarded",
        "host",
        "te",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, expected);
    for (name, value) in [
        ("host", "api.test"),
        ("content-length", "5"),
        ("connection", "te"),
        ("te", "trailers"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;proto=http;host=\"api.test\""),
    ] {
        assert_eq!(seen.all(name), [value], "{name}");
    }
}

#[tokio::test]
async fn framing_towards_the_upstream_is_our_own() {
    let (upstream, gateway) = world().await;
    let mut client = Client::connect(gateway.address()).await;
    let requests: [(&str, &[u8], &str, &str); 6] = [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"", "", ""),
        ("POST / HTTP/1.1\r\nhost: a\r\n\r\n", b"", "0", ""),
        ("DELETE / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", b"", "0", ""),
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc", b"abc", "3", ""),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n",
            b"abc",
            "",
            "chunked",
        ),
        ("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"", "", "chunked"),
    ];
    for (number, (request, body, length, coding)) in requests.into_iter().enumerate() {
        assert_eq!(client.ask(request).await.status, 200, "{request}");
        let seen = upstream.request(number).await;
        assert_eq!(seen.body, body, "{request}");
        assert_eq!(seen.all("content-length").join("|"), length, "{request}");
        assert_eq!(seen.all("transfer-encoding").join("|"), coding, "{request}");
        assert_eq!(seen.all("x-trailer"), [""; 0], "{request}");
    }
    assert_eq!(upstream.opened(), 1, "one connection served them all");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (upstream, gateway) = world().await;
    for body in ["one", "two", "three"] {
        upstream.reply(Reply::ok(body));
    }
    let mut client = Client::connect(gateway.address()).await;
    client
        .send(
            "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi\
             GET /3 HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .await;
    for body in ["one", "two", "three"] {
        assert_eq!(client.answer().await.text(), body);
    }
    assert_eq!(upstream.request(1).await.body, b"hi");
}

#[tokio::test]
async fn http2_comes_in_and_http1_goes_out() {
    let (upstream, gateway) = world().await;
    let mut client = Http2::connect(gateway.address()).await;
    let body = Full::new(Bytes::from_static(b"hello"));
    let answer = client.ask(Request::post("http://api.test/x?y=z").body(body).unwrap()).await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    let seen = upstream.request(0).await;
    assert_eq!(seen.line, "POST /x?y=z HTTP/1.1");
    assert_eq!(seen.all("host"), ["api.test"]);
    assert_eq!(seen.body, b"hello");
}

#[tokio::test]
async fn cookies_that_come_apart_over_http2_go_out_as_one_field() {
    let (upstream, gateway) = world().await;
    let mut client = Http2::connect(gateway.address()).await;
    let request = Request::get("http://api.test/").header("cookie", "a=b").header("cookie", "c=d; e=f");
    assert_eq!(client.ask(request.body(Full::default()).unwrap()).await.status, 200);
    assert_eq!(upstream.request(0).await.all("cookie"), ["a=b; c=d; e=f"]);
}

#[tokio::test]
async fn over_http2_too_a_head_may_be_as_large_as_head_bytes() {
    let upstream = Upstream::start().await;
    let gateway = Served::start(&public(&upstream.url(), "[server.limits]\nhead_bytes = \"128KiB\"", ""));
    let mut client = Http2::connect(gateway.address()).await;
    let request =
        |length: usize| Request::get("http://a/").header("x", "x".repeat(length)).body(Full::default()).unwrap();
    assert_eq!(client.ask(request(120 * 1024)).await.status, 200);
    let answer = client.ask(request(128 * 1024)).await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "head_too_large"));
}

#[tokio::test]
async fn answers_keep_their_framing_and_share_a_connection() {
    let (upstream, gateway) = world().await;
    let mut client = Client::connect(gateway.address()).await;
    let answers: [(&str, &str, u16, &str); 6] = [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok"),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", 200, ""),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, ""),
        ("GET", "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, ""),
    ];
    for (method, bytes, status, body) in answers {
        upstream.reply(Reply::Bytes(bytes.into()));
        let answer = client.ask(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!((answer.status, answer.text()), (status, body), "{bytes}");
        if method == "HEAD" {
            assert_eq!(answer.header("content-length"), Some("100"));
        }
    }
    assert_eq!(upstream.opened(), 3, "an answer that has no body but says so is the last of its connection");
}

#[tokio::test]
async fn a_stale_connection_is_replaced_by_a_fresh_one() {
    let (upstream, gateway) = world().await;
    let mut client = Client::connect(gateway.address()).await;
    for round in 1..=3 {
        upstream.reply(Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()));
        assert_eq!(client.ask("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 200);
        upstream.closed(round).await;
    }
    assert_eq!(upstream.opened(), 3);
}

#[tokio::test]
async fn bytes_after_an_answer_are_nobodys() {
    let (upstream, gateway) = world().await;
    let mut client = Client::connect(gateway.address()).await;
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray";
    upstream.reply(Reply::Bytes(stray.into()));
    assert_eq!(client.get("/").await.text(), "ok");
    assert_eq!(client.get("/").await.text(), "ok");
    assert_eq!(upstream.opened(), 2);
}

#[tokio::test]
async fn faults_of_the_upstream_have_their_codes() {
    let upstream = Upstream::start().await;
    let [patient, hasty] =
        ["", "timeout = \"200ms\""].map(|timeout| Served::start(&public(&upstream.url(), "", timeout)));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(70_000));
    let replies = [
        (Reply::Close(Vec::new()), 502, "upstream_unreachable"),
        (Reply::Reset(Vec::new()), 502, "upstream_unreachable"),
        (Reply::Stall(Vec::new()), 504, "upstream_timeout"),
        (Reply::Stall(b"HTTP/1.1 200 OK\r\n".to_vec()), 504, "upstream_timeout"),
        (Reply::Close(b"HTTP/1.1 200 OK\r\nconte".to_vec()), 502, "upstream_malformed"),
        (Reply::Bytes(b"garbage garbage\r\n\r\n".to_vec()), 502, "upstream_malformed"),
        (Reply::Bytes(long.into_bytes()), 502, "upstream_malformed"),
        (Reply::Bytes(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_vec()), 502, "upstream_malformed"),
        (
            Reply::Bytes(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                    .to_vec(),
            ),
            502,
            "upstream_malformed",
        ),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok".to_vec()),
            502,
            "upstream_malformed",
        ),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok".to_vec()),
            502,
            "upstream_malformed",
        ),
        (Reply::Close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok".to_vec()), 502, "upstream_malformed"),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            502,
            "upstream_malformed",
        ),
        (
            Reply::Close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n".to_vec()),
            502,
            "upstream_malformed",
        ),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n".to_vec()),
            502,
            "upstream_malformed",
        ),
        (Reply::Bytes(b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n".to_vec()), 502, "upstream_malformed"),
        (Reply::Bytes(b"HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n".to_vec()), 502, "upstream_malformed"),
    ];
    let (mut client, mut in_a_hurry) =
        (Client::connect(patient.address()).await, Client::connect(hasty.address()).await);
    for (round, (reply, status, code)) in replies.into_iter().enumerate() {
        let shown = format!("{reply:?}");
        upstream.reply(reply);
        let client = if status == 504 { &mut in_a_hurry } else { &mut client };
        let answer = client.ask("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}");
        assert_eq!(upstream.requests().len(), round + 1, "sent once: {shown}");
        upstream.closed(round + 1).await;
    }
    assert_eq!(client.get("/").await.status, 200, "the client's connection lives on");
    drop(upstream);
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_unreachable() {
    let gone = Port::reserve();
    let gateway = Served::start(&public(&format!("http://{}", gone.address()), "", ""));
    let mut client = Client::connect(gateway.address()).await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let (upstream, gateway) = world().await;
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        upstream.reply(Reply::Close(bytes.into()));
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.head().await.status, 200);
        let rest = String::from_utf8(client.rest().await).unwrap();
        assert!(rest.contains("half") && !rest.contains("0\r\n\r\n"), "{bytes}: {rest:?}");
    }
}

/// Its client takes the connection's end for the answer's where no length is known, and a cache would keep the half.
#[tokio::test]
async fn to_http_1_0_an_answer_that_breaks_off_ends_in_a_reset() {
    let (upstream, gateway) = world().await;
    for (bytes, is_reset) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n", false),
    ] {
        upstream.reply(Reply::Close(bytes.into()));
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.is_reset().await, is_reset, "{bytes}");
        let seen = String::from_utf8(client.rest().await).unwrap();
        assert!(is_reset || seen.starts_with("HTTP/1.0 200 ") && seen.ends_with("\r\n\r\nwhole"), "{seen:?}");
    }
}

/// hyper leaves the end of such a connection to whoever takes the upgrade, and nobody does.
#[tokio::test]
async fn who_asks_for_an_upgrade_hears_its_refusal_though_it_still_sends() {
    let (_upstream, gateway) = world().await;
    let body = vec![b'x'; 2 << 20];
    for fields in ["", "connection: upgrade\r\nupgrade: h2c\r\n"] {
        for _ in 0..10 {
            let mut client = Client::connect(gateway.address()).await;
            client.send(format!("POST /a//b HTTP/1.1\r\nhost: a\r\n{fields}content-length: 2097152\r\n\r\n")).await;
            client.offer(&body).await;
            assert_eq!(client.answer().await.code(), "path_ambiguous", "{fields}");
            assert!(!client.is_reset().await, "{fields}");
        }
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_passed_on() {
    let (upstream, gateway) = world().await;
    upstream.reply(Reply::Early(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_vec()));
    let mut client = Client::connect(gateway.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nbeginning").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (403, "no"));
    assert_eq!(client.rest().await, b"", "the rest of the request is not read as another");
    upstream.closed(1).await;
    assert!(!upstream.request(0).await.whole);
}

#[tokio::test]
async fn trailers_of_an_answer_are_passed_on() {
    let (upstream, gateway) = world().await;
    let answer =
        "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n";
    upstream.reply(Reply::Bytes(answer.into()));
    let mut client = Client::connect(gateway.address()).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\r\n";
    client.send(request).await;
    assert_eq!(client.head().await.header("trailer"), Some("x-sum"));
    assert_eq!(client.rest().await, b"2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_upstream_back() {
    let (upstream, gateway) = world().await;
    let length = 256 * 1024 * 1024;
    upstream.reply(Reply::Flood(length));
    let mut slow = Client::connect(gateway.address()).await;
    slow.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(slow.head().await.status, 200);
    // Time enough for all of it to come through, were it not held back; measured in work of the same gateway.
    let mut other = Client::connect(gateway.address()).await;
    for _ in 0..500 {
        assert_eq!(other.get("/").await.status, 200);
    }
    let taken = upstream.flooded();
    assert!(taken < length / 4, "{taken} bytes were taken from the upstream and none by the client");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_upstream_connection_with_it() {
    let (upstream, gateway) = world().await;
    // Before the answer, and within it.
    upstream.reply(Reply::Stall(Vec::new()));
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(0).await;
    drop(client);
    upstream.closed(1).await;

    upstream.reply(Reply::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()));
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.head().await;
    client.bytes(4).await;
    drop(client);
    upstream.closed(2).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_up_front_or_on_the_way() {
    let (upstream, gateway) = world().await;
    let mut client = Client::connect(gateway.address()).await;
    let answer = client.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 65537\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
    assert_eq!(upstream.opened(), 0);
    let refusals = "bearward_decisions_total{issuer=\"none\",outcome=\"body_too_large\",route=\"all\"}";
    gateway.counted(refusals, 1.0).await;
    assert_eq!(gateway.sample("bearward_upstream_duration_seconds_count{upstream=\"api\"}"), Some(0.0));

    let mut client = Client::connect(gateway.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for _ in 0..20 {
        client.offer(chunk.as_bytes()).await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert!(!upstream.request(0).await.whole);

    let mut client = Client::connect(gateway.address()).await;
    let body = "x".repeat(65_536);
    let answer = client.ask(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n{body}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.request(1).await.body.len(), 65_536);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let upstream = Upstream::start().await;
    let pace = Pace { bytes: 100, within: Duration::from_millis(200) };
    let gateway = Served::paced(&public(&upstream.url(), "", ""), pace);
    let mut client = Client::connect(gateway.address()).await;
    let begun = Instant::now();
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(99))).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(begun.elapsed() >= pace.within, "{:?}", begun.elapsed());
    assert!(!upstream.request(0).await.whole);
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_go_on_only_by_the_upstreams_need() {
    let (upstream, gateway) = world().await;
    let mut client = Client::connect(gateway.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 100);
    client.send("hi").await;
    assert_eq!(client.answer().await.status, 200);
    let seen = upstream.request(0).await;
    assert_eq!((seen.body.as_slice(), seen.all("expect").len()), (&b"hi"[..], 0));

    let too_large = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 65537\r\nexpect: 100-continue\r\n\r\n";
    assert_eq!(client.ask(too_large).await.status, 413, "refused without a 100");
}

#[tokio::test]
async fn a_head_that_is_not_complete_in_time_is_closed_and_counted() {
    let upstream = Upstream::start().await;
    let server = "[server.limits]\nheader_timeout = \"200ms\"\nidle_timeout = \"1h\"";
    let gateway = Served::start(&public(&upstream.url(), server, ""));
    let mut client = Client::connect(gateway.address()).await;
    for (fresh, bytes) in [(true, "G"), (false, "GET / HTTP/1.1\r\nhost:")] {
        if !fresh {
            client = Client::connect(gateway.address()).await;
            assert_eq!(client.get("/").await.status, 200);
        }
        let begun = Instant::now();
        client.send(bytes).await;
        assert_eq!(client.rest().await, b"", "no answer");
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    }
    let series = "bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=\"head_timeout\"}";
    gateway.counted(series, 2.0).await;

    // A head that begins in the same bytes that end the one before.
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT").await.status, 200);
    assert_eq!(client.rest().await, b"");
    gateway.counted(series, 3.0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_silently() {
    let upstream = Upstream::start().await;
    let server = format!("[server.limits]\nheader_timeout = \"1h\"\nidle_timeout = \"{LIMIT:?}\"");
    let gateway = Served::start(&public(&upstream.url(), &server, ""));
    let mut client = Client::connect(gateway.address()).await;
    let begun = Instant::now();
    assert_eq!(client.get("/").await.status, 200);
    let mut http2 = Http2::connect(gateway.address()).await;
    assert_eq!(client.rest().await, b"");
    assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());

    http2.closed().await;
    let text = gateway.shared().telemetry().metrics.render();
    assert!(!text.lines().any(|line| line.starts_with("bearward_connection_errors_total{")), "{text}");
}

#[tokio::test]
async fn a_request_under_way_is_not_idle() {
    let upstream = Upstream::start().await;
    let server = format!("[server.limits]\nheader_timeout = \"{LIMIT:?}\"\nidle_timeout = \"{LIMIT:?}\"");
    let gateway = Served::start(&public(&upstream.url(), &server, ""));
    let (open, gate) = tokio::sync::watch::channel(false);
    upstream.reply(Reply::Held(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()));
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.request(0).await;
    // One that opens now is closed after both limits have passed for the other.
    let mut idle = Client::connect(gateway.address()).await;
    assert_eq!(idle.rest().await, b"");
    open.send(true).unwrap();
    assert_eq!(client.answer().await.text(), "late");
}

#[tokio::test]
async fn what_the_parser_cannot_read_gets_a_bare_answer_and_is_counted() {
    let (upstream, gateway) = world().await;
    for (bytes, status, reason) in [
        ("GET / HTTP/1.1\r\nbad name: x\r\n\r\n".to_owned(), "400", "head_malformed"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(200_000)), "431", "head_too_large"),
    ] {
        let mut client = Client::connect(gateway.address()).await;
        client.offer(bytes.as_bytes()).await;
        let answer = String::from_utf8(client.rest().await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with("\r\n\r\n"), "{answer:?}");
        let series = format!("bearward_connection_errors_total{{listener=\"127.0.0.1:0\",reason=\"{reason}\"}}");
        gateway.counted(&series, 1.0).await;
    }
    assert_eq!(upstream.opened(), 0);
}

#[tokio::test]
async fn a_refusal_has_the_form_that_its_caller_reads() {
    let (upstream, gateway) = world().await;
    let mut client = Client::connect(gateway.address()).await;
    let problem = client.get("/a//b").await;
    let id = problem.header("x-request-id").unwrap();
    let expected = serde_json::json!({
        "type": "urn:bearward:code:path_ambiguous",
        "title": "The path is ambiguous",
        "status": 400,
        "detail": "The path can be read in two ways; send it without dot segments, double slashes, parameters and encoded delimiters.",
        "code": "path_ambiguous",
        "request_id": id,
    });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&problem.body).unwrap(), expected);
    assert_eq!(id.len(), 32);
    let fields = ["content-type", "cache-control", "connection", "www-authenticate"].map(|name| problem.header(name));
    assert_eq!((problem.status, fields), (400, [Some("application/problem+json"), Some("no-store"), None, None]));

    let head = client.ask("HEAD /a//b HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length")), (400, Some(problem.body.len().to_string().as_str())));
    assert_eq!(client.get("/").await.status, 200, "a refused HEAD has no body");

    let mut http2 = Http2::connect(gateway.address()).await;
    let request = Request::post("http://a/p.S//M").header("content-type", "application/grpc+proto");
    let grpc = http2.ask(request.body(Full::default()).unwrap()).await;
    let fields = ["content-type", "grpc-status", "grpc-message"].map(|name| grpc.header(name));
    let message = expected["detail"].as_str();
    assert_eq!((grpc.status, fields, grpc.text()), (200, [Some("application/grpc"), Some("3"), message], ""));
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn the_admin_listener_tells_and_does_nothing_else() {
    let (_upstream, gateway) = world().await;
    let admin = gateway.admin_address();
    let mut client = Client::connect(admin).await;
    let ready = client.ask("GET /readyz HTTP/1.1\r\nhost: anything.example\r\n\r\n").await;
    assert_eq!(
        (ready.status, ready.text()),
        (
            200,
            "{\"ready\":true,\"components\":[{\"name\":\"server\",\"ready\":true},\
             {\"name\":\"configuration\",\"ready\":true}]}\n"
        )
    );
    assert_eq!(client.get("/livez").await.text(), "{\"live\":true}\n");
    let metrics = client.get("/metrics").await;
    assert!(metrics.text().contains("bearward_connections{listener=\"127.0.0.1:0\"} 0"), "{}", metrics.text());
    for path in ["/", "/config", "/debug", "/metrics/", "/quit"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    assert_eq!(client.ask("POST /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.header("allow"), Some("GET, HEAD"));
    assert_eq!(
        Client::connect(gateway.address()).await.get("/metrics").await.text(),
        "ok",
        "the upstream's on a public port"
    );
}

#[tokio::test]
async fn beyond_the_limit_a_connection_is_told_so_and_closed() {
    let upstream = Upstream::start().await;
    let gateway = Served::start(&public(&upstream.url(), "[server.limits]\nconnections = 2", ""));
    let mut first = Client::connect(gateway.address()).await;
    assert_eq!(first.get("/").await.status, 200);
    let second = Client::connect(gateway.address()).await;
    gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 2.0).await;

    let mut third = Client::connect(gateway.address()).await;
    let answer = third.get("/third").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
    assert_eq!(third.rest().await, b"");
    let mut http2 = Http2::connect(gateway.address()).await;
    let answer = http2.ask(Request::get("http://a/").body(Full::default()).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    http2.closed().await;
    let mut silent = Client::connect(gateway.address()).await;
    assert_eq!(silent.rest().await, b"", "no client holds a place by saying nothing");
    let mut busy = Frames::connect(gateway.address()).await;
    let get = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let asking_on = async { while let Heard::Answer(_) = busy.ask(&get).await {} };
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, asking_on).await.expect("no client holds a place by asking on and on");
    gateway.counted("bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=\"limit_reached\"}", 4.0).await;
    gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 2.0).await;

    assert_eq!(first.get("/").await.status, 200, "who is in is served");
    assert_eq!(upstream.requests().len(), 2);
    drop(second);
    gateway.counted("bearward_connections{listener=\"127.0.0.1:0\"}", 1.0).await;
    assert_eq!(Client::connect(gateway.address()).await.get("/").await.status, 200);
}

#[tokio::test]
async fn of_connections_far_beyond_the_limit_no_more_than_a_few_are_open() {
    let upstream = Upstream::start().await;
    let gateway = Served::start(&public(&upstream.url(), "[server.limits]\nconnections = 1", ""));
    let mut first = Client::connect(gateway.address()).await;
    assert_eq!(first.get("/").await.status, 200);
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(Client::connect(gateway.address()).await);
    }
    let limit_reached = "bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=\"limit_reached\"}";
    gateway.counted(limit_reached, 200.0).await;
    assert!(gateway.sample("bearward_connections{listener=\"127.0.0.1:0\"}").unwrap() <= 65.0);
    assert_eq!(first.get("/").await.status, 200);
    for client in &mut crowd {
        assert_eq!(client.rest().await, b"");
    }
}

/// A server alone, whose handler is a function of the path.
fn served(telemetry: &Arc<Telemetry>, handler: fn(&str) -> Response<Body>) -> Running {
    administered(telemetry, Admin::new(String::new, Vec::new), handler)
}

/// The same with an admin listener of its own.
fn administered(telemetry: &Arc<Telemetry>, admin: Admin, handler: fn(&str) -> Response<Body>) -> Running {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let second = Duration::from_secs(1);
    let settings = Settings {
        listen: vec![loopback],
        admin: loopback,
        workers: 2,
        terms: Terms {
            connections: 10,
            bounds: Bounds {
                head_bytes: 8192,
                header_timeout: second,
                idle_timeout: 30 * second,
                answers: Pace::default(),
                moment: Bounds::MOMENT,
            },
            entrance: Entrance::default(),
        },
    };
    let make = move |_| move |request: Request<Incoming>, _| async move { handler(request.uri().path()) };
    start(&settings, &Handle::current(), telemetry, admin, make).unwrap()
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let (_upstream, gateway) = world().await;
    let running = served(gateway.shared().telemetry(), |path| {
        assert!(path != "/panic", "a handler's defect");
        Response::new(Body::own(Bytes::from_static(b"fine")))
    });
    let mut client = Client::connect(running.addresses()[0]).await;
    let answer = client.get("/panic").await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal"));
    assert_eq!(client.get("/").await.text(), "fine", "on the same connection");
    assert_eq!(gateway.sample("bearward_panics_total"), Some(1.0));
}

#[tokio::test]
async fn probes_do_not_wait_for_the_metrics_which_are_written_for_one_scraper_at_a_time() {
    let (_upstream, gateway) = world().await;
    let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (open, gate) = std::sync::mpsc::channel();
    let gate = std::sync::Mutex::new(gate);
    let metrics = move || {
        begin.send(()).unwrap();
        // Where another one is written meanwhile, this is locked.
        let gate = gate.try_lock().unwrap();
        gate.recv_timeout(Duration::from_secs(30)).unwrap();
        "metrics".to_owned()
    };
    let running = administered(gateway.shared().telemetry(), Admin::new(metrics, Vec::new), |_| {
        Response::new(Body::own(Bytes::from_static(b"fine")))
    });
    let address = running.admin_address();
    let (mut first, mut second) = (Client::connect(address).await, Client::connect(address).await);
    first.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    begun.recv().await.unwrap();
    second.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for _ in 0..10 {
        assert_eq!(Client::connect(address).await.get("/livez").await.status, 200);
    }
    assert!(begun.is_empty(), "the second scraper waits");
    open.send(()).unwrap();
    assert_eq!(first.answer().await.text(), "metrics");
    begun.recv().await.unwrap();
    open.send(()).unwrap();
    assert_eq!(second.answer().await.text(), "metrics");
}

#[tokio::test]
async fn who_has_to_pause_waits_and_nobody_else() {
    const PAUSE: Duration = Duration::from_millis(300);
    // Longer than any client here waits.
    const LONG_PAUSE: Duration = Duration::from_secs(3600);
    let (_upstream, gateway) = world().await;
    let running = served(gateway.shared().telemetry(), |path| {
        let mut response = Response::new(Body::own(Bytes::from_static(b"fine")));
        let pause = match path {
            "/refused" => Some(PAUSE),
            "/refused/long" => Some(LONG_PAUSE),
            _ => None,
        };
        if let Some(pause) = pause {
            response.extensions_mut().insert(Pause(pause));
        }
        response
    });
    let address = running.addresses()[0];
    let (mut client, mut other) = (Client::connect(address).await, Client::connect(address).await);
    assert_eq!(client.get("/refused/long").await.text(), "fine", "it is told at once");
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::select! {
        biased;
        _ = client.answer() => panic!("it has not waited"),
        answer = other.get("/") => assert_eq!(answer.text(), "fine"),
    }
    let begun = Instant::now();
    assert_eq!(other.get("/refused").await.text(), "fine");
    assert_eq!(other.get("/").await.text(), "fine");
    assert!(begun.elapsed() >= PAUSE, "{:?}", begun.elapsed());

    // Others share a connection of HTTP/2: what waits there is the answer.
    let mut frames = Frames::connect(address).await;
    let get = |path| [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)];
    frames.begin(&get("/refused/long")).await;
    assert_eq!(frames.ask(&get("/")).await, Heard::Answer(b"fine".to_vec()));
    let begun = Instant::now();
    assert_eq!(frames.ask(&get("/refused")).await, Heard::Answer(b"fine".to_vec()));
    assert!(begun.elapsed() >= PAUSE, "{:?}", begun.elapsed());
}

//! An upstream that cuts, stalls, lies and talks on: never a wrong body, never another request's answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{errors, gateway, rounds};
use crate::harness::client::Client;
use crate::harness::framed::{self, Came, Framed, Then};
use crate::harness::gateway::{LIMIT, Served};
use crate::harness::upstream::{Reply, Upstream};

/// An answer of which every part is told from every other.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-which: this\r\ncontent-length: 60\r\n\r\n";

fn whole(mark: char) -> String {
    format!("{HEAD}{}", mark.to_string().repeat(60))
}

/// That a client sees what it was sent of an answer that was cut off, and neither more nor something else; whether it saw some.
/// `sent`: how much of the body, where the whole head was. A reset may overtake what was sent before it.
fn is_seen_cut(text: &str, sent: Option<usize>, reset: bool, case: &str) -> bool {
    if sent.is_some() && text.is_empty() {
        // The end was there before our head had left.
        return false;
    }
    let (head, body) = text.split_once("\r\n\r\n").expect(case);
    // Whether it was cut behind its head is not always seen before the head has left.
    let may_be_refused = |sent: &usize| reset || *sent == 0;
    let Some(sent) = sent.filter(|sent| !(may_be_refused(sent) && head.starts_with("HTTP/1.1 502 "))) else {
        assert!(head.starts_with("HTTP/1.1 502 "), "{case}: {text}");
        assert!(body.contains("upstream_unreachable") || body.contains("upstream_malformed"), "{case}: {text}");
        return false;
    };
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 60"), "{case}: {text}");
    assert!(body.len() <= sent && body.bytes().all(|byte| byte == b'a'), "{case}: {text}");
    true
}

/// The next request on the same gateway gets its own answer.
async fn next_is_sound(upstream: &Upstream, gateway: &Served, case: &str) {
    upstream.reply(Reply::Bytes(whole('n').into_bytes()));
    let answer = Client::connect(gateway.address()).await.get("/next").await;
    assert_eq!((answer.status, answer.text()), (200, &*"n".repeat(60)), "{case}");
}

#[tokio::test]
async fn an_answer_cut_at_any_byte_is_never_taken_for_another() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    let answer = whole('a');
    let places: Vec<usize> = (0..HEAD.len()).chain((HEAD.len()..answer.len()).step_by(3)).collect();
    let cuts = (0..rounds()).flat_map(|_| places.iter().copied());
    let (mut sent, mut in_body) = (0, 0);
    for cut in cuts {
        for reset in [false, true] {
            let case = format!("cut at {cut}, reset: {reset}");
            let bytes = answer.as_bytes()[..cut].to_vec();
            upstream.reply(if reset { Reply::Reset(bytes) } else { Reply::Close(bytes) });
            let mut client = Client::connect(gateway.address()).await;
            client.send("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let text = String::from_utf8(client.message().await).unwrap();
            sent += 1;
            assert_eq!(upstream.count(), sent, "{case}: sent once");
            in_body += usize::from(is_seen_cut(&text, cut.checked_sub(HEAD.len()), reset, &case));
            if !reset && cut < HEAD.len() {
                let code = if cut == 0 { "upstream_unreachable" } else { "upstream_malformed" };
                assert!(text.contains(code), "{case}: {text}");
            }
            next_is_sound(&upstream, &gateway, &case).await;
            sent += 1;
        }
    }
    assert!(in_body >= 20, "{in_body}");
}

#[tokio::test]
async fn an_answer_of_http2_cut_at_any_byte_is_never_taken_for_another() {
    // Where the next answer is cut, and how; none: nowhere.
    let next: Arc<Mutex<Option<(usize, Then)>>> = Arc::default();
    let cutting = Arc::clone(&next);
    let fields = [(":status", "200"), ("content-length", "60")];
    let upstream = Framed::ending(move |came| match came {
        Came::Head { stream, whole: true, .. } => {
            let cut = cutting.lock().unwrap().take();
            let mark = if cut.is_some() { "a" } else { "n" };
            let frames = (1..=20).map(|frame| framed::data(*stream, mark.repeat(3).as_bytes(), frame == 20));
            let answer =
                std::iter::once(framed::head(*stream, &fields, false)).chain(frames).collect::<Vec<_>>().concat();
            cut.map_or((answer.clone(), Then::GoesOn), |(cut, then)| (answer[..cut].to_vec(), then))
        }
        Came::Head { .. } | Came::Data { .. } | Came::Reset { .. } | Came::End { .. } => (Vec::new(), Then::GoesOn),
    })
    .await;
    let gateway = gateway(&upstream.url(), "");
    let head = framed::head(1, &fields, false).len();
    let frame = framed::data(1, b"aaa", false).len();
    // The head, the first frame of the body, and places all over the others.
    let places: Vec<usize> = (0..head + frame).chain((head + frame..head + 20 * frame).step_by(5)).collect();
    let (mut sent, mut in_body) = (0, 0);
    for cut in (0..rounds()).flat_map(|_| places.iter().copied()) {
        for then in [Then::Closes, Then::Resets] {
            let case = format!("cut at {cut}, {then:?}");
            *next.lock().unwrap() = Some((cut, then));
            let mut client = Client::connect(gateway.address()).await;
            client.send("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let text = String::from_utf8(client.message().await).unwrap();
            sent += 1;
            assert_eq!(upstream.heads().len(), sent, "{case}: sent once");
            let body = cut.checked_sub(head).map(|body| body / frame * 3);
            in_body += usize::from(is_seen_cut(&text, body, then == Then::Resets, &case));
            let answer = Client::connect(gateway.address()).await.get("/next").await;
            assert_eq!((answer.status, answer.text()), (200, &*"n".repeat(60)), "{case}");
            sent += 1;
        }
    }
    assert!(in_body > 0, "the client saw nothing of any body");
}

/// That the upstream has no more than [`LIMIT`].
fn limited() -> String {
    format!("timeout = \"{LIMIT:?}\"")
}

/// A client who has seen the head of an answer that is good so far.
async fn asked(gateway: &Served) -> Client {
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    client
}

#[tokio::test]
async fn an_answer_that_stalls_is_cut_where_its_length_was_declared_and_only_there() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), &limited());
    let ((open, gate), mut silent) = (watch::channel(false), Vec::new());
    for (begun, more) in [
        ("transfer-encoding: chunked\r\n\r\n6\r\ndata:\n\r\n", "6\r\nmore:\n\r\n"),
        ("content-type: text/event-stream\r\n\r\ndata:\n", "more:\n"),
    ] {
        upstream.reply(Reply::Begun(format!("HTTP/1.1 200 OK\r\n{begun}").into(), gate.clone(), more.into()));
        silent.push(asked(&gateway).await);
    }
    let begun = Instant::now();
    upstream.reply(Reply::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()));
    assert_eq!(asked(&gateway).await.rest().await, b"half");
    assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
    gateway.counted(&errors("upstream_timeout"), 1.0).await;
    upstream.closed(1).await;

    // They have been silent for longer.
    open.send(true).unwrap();
    for client in &mut silent {
        let expected = b"6\r\ndata:\n\r\n6\r\nmore:\n\r\n";
        assert_eq!(client.bytes(expected.len()).await, expected, "an answer without a length may be silent");
    }
    assert_eq!(gateway.sample(&errors("upstream_timeout")), Some(1.0));
}

#[tokio::test]
async fn an_upstream_that_stalls_an_early_answer_and_takes_no_more_of_the_request_is_given_up() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), &limited());
    upstream.reply(Reply::Deaf(b"HTTP/1.1 413 Too Large\r\ncontent-length: 50\r\n\r\nhalf".to_vec()));
    let (mut client, mut sending) = tokio::io::split(TcpStream::connect(gateway.address()).await.unwrap());
    let uploading = tokio::spawn(async move {
        sending.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 33554432\r\n\r\n").await.unwrap();
        sending.write_all(&vec![b'x'; 32 << 20]).await
    });
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), client.read_to_end(&mut answer)).await;
    // The rest of the upload may be reset, which is an end as well.
    let _ = read.expect("the gateway ends it");
    assert!(answer.starts_with(b"HTTP/1.1 413 ") && answer.ends_with(b"half"), "{}", String::from_utf8_lossy(&answer));
    assert!(uploading.await.unwrap().is_err());
    gateway.counted(&errors("upstream_timeout"), 1.0).await;
}

#[tokio::test]
async fn an_answer_may_be_slow_as_long_as_it_goes_on() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), &limited());
    let pieces = std::iter::once("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n")
        .chain("slowly, slowly".split("").filter(|piece| !piece.is_empty()));
    upstream.reply(Reply::Drip(pieces.map(|piece| piece.as_bytes().to_vec()).collect(), Duration::from_millis(500)));
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.get("/").await.text(), "slowly, slowly");
}

#[tokio::test]
async fn a_client_that_takes_its_time_is_no_stall_of_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), &limited());
    let length = 32 << 20;
    upstream.reply(Reply::Flood(length));
    let mut client = asked(&gateway).await;
    // As long as the upstream may be silent, and a bit: somebody else waits for so long.
    upstream.reply(Reply::Stall(Vec::new()));
    assert_eq!(Client::connect(gateway.address()).await.get("/").await.status, 504);
    assert_eq!(client.bytes(length).await.len(), length);
}

#[tokio::test]
async fn a_body_where_none_belongs_is_no_answer_to_anybody() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    let other = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong";
    for (method, status, fields) in [
        ("HEAD", 200, format!("content-length: {}", other.len())),
        ("HEAD", 200, "transfer-encoding: chunked".to_owned()),
        ("GET", 204, format!("content-length: {}", other.len())),
        ("GET", 204, "x: 1".to_owned()),
        ("GET", 304, format!("content-length: {}", other.len())),
    ] {
        let case = format!("{method} {status} {fields}");
        upstream.reply(Reply::Bytes(format!("HTTP/1.1 {status} Fine\r\n{fields}\r\n\r\n{other}").into_bytes()));
        let mut client = Client::connect(gateway.address()).await;
        let answer = client.ask(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!((answer.status, answer.text()), (status, ""), "{case}");
        upstream.reply(Reply::Bytes(whole('n').into_bytes()));
        assert_eq!(client.get("/next").await.text(), "n".repeat(60), "{case}: the next one on the same connection");
        next_is_sound(&upstream, &gateway, &case).await;
    }
}

#[tokio::test]
async fn a_body_that_comes_late_where_none_belongs_meets_a_closed_connection() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    let mut client = Client::connect(gateway.address()).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n";
    upstream.reply(Reply::Bytes(head.into()));
    assert_eq!(client.ask("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 200);
    upstream.closed(1).await;
    assert_eq!(client.get("/").await.text(), "ok");
}

#[tokio::test]
async fn an_answer_that_a_request_breaks_off_is_not_blamed_on_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "");
    // The answer has begun, and waits for the request to go on.
    upstream.reply(Reply::Early(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun".to_vec()));
    let mut client = Client::connect(gateway.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert_eq!(client.head().await.status, 200);
    client.send("no chunk\r\n").await;
    client.rest().await;
    gateway.counted("bearward_requests_total{by=\"upstream\",method=\"POST\",route=\"all\",status=\"200\"}", 1.0).await;
    assert_eq!(gateway.sample(&errors("upstream_unreachable")), None);
    let lines = gateway.access_lines();
    assert!(lines[0].contains("\"code\":\"request_malformed\""), "{lines:?}");
}

#[tokio::test]
async fn endless_informational_answers_end_with_the_timeout() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream.url(), "timeout = \"300ms\"");
    let hint = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec();
    upstream.reply(Reply::Drip(vec![hint; 1000], Duration::from_millis(20)));
    let mut client = Client::connect(gateway.address()).await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
}

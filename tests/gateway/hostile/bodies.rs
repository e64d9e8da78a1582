//! Bodies that break their framing, or that look like something else than a body, and what stands around them.

use super::framing::{SMUGGLED, chunked, post};
use super::{Clean, Closed, Kept, World, each_is_refused, passes, play, told, world};
use crate::harness::client::Client;
use crate::harness::upstream::Reply;

#[tokio::test]
async fn a_body_is_no_request_whatever_its_method() {
    let world = world().await;
    let length = SMUGGLED.len();
    for method in ["GET", "DELETE", "OPTIONS", "POST", "PATCH", "FOO"] {
        let line = format!("{method} /a HTTP/1.1");
        let sized = format!("content-length: {length}");
        let head = format!("{line}\r\nhost: api.test\r\n{sized}\r\n\r\n{SMUGGLED}");
        let expected = Clean { line: &line, fields: &[&sized], body: SMUGGLED.as_bytes(), ..Clean::default() };
        passes(&world, head, expected, Kept).await;
        let head = format!(
            "{line}\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
        );
        let expected = Clean {
            line: &line,
            fields: &["transfer-encoding: chunked"],
            body: SMUGGLED.as_bytes(),
            ..Clean::default()
        };
        passes(&world, head, expected, Kept).await;
    }
    let head = format!("HEAD /a HTTP/1.1\r\nhost: api.test\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}");
    let mut client = Client::connect(world.gateway.address()).await;
    let before = world.upstream.requests().len();
    assert_eq!(client.ask(head).await.status, 200);
    assert_eq!(client.get("/next").await.text(), "ok");
    let seen = world.upstream.requests().split_off(before);
    assert_eq!(
        seen.iter().map(|seen| seen.line.as_str()).collect::<Vec<_>>(),
        ["HEAD /a HTTP/1.1", "GET /next HTTP/1.1"]
    );
    assert_eq!(seen[0].body, SMUGGLED.as_bytes());
}

/// Where a refusal comes before the body is read, the body is skipped or the connection ends.
#[tokio::test]
async fn the_body_of_a_refused_request_is_no_request() {
    let world = world().await;
    let length = SMUGGLED.len();
    let sized = |target: &str, body: &str| {
        format!("POST {target} HTTP/1.1\r\nhost: api.test\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let chunked = format!(
        "POST /read HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
    );
    each_is_refused(
        &world,
        Kept,
        [
            (sized("/guarded/x", SMUGGLED), "401 credential_missing"),
            (sized("/a//b", SMUGGLED), "400 path_ambiguous"),
            (sized("/read", SMUGGLED), "405 method_not_allowed"),
            (
                format!("TRACE / HTTP/1.1\r\nhost: api.test\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}").into(),
                "405 method_not_allowed",
            ),
            (
                format!("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}").into(),
                "405 method_not_allowed",
            ),
            (format!("OPTIONS * HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}").into(), "204 bare"),
        ],
    )
    .await;
    let unread = |target: &str| sized(target, &SMUGGLED.repeat(2000));
    for (request, expected) in [
        (unread("/guarded/x"), "401 credential_missing"),
        (unread("/read"), "405 method_not_allowed"),
        (unread("/a"), "413 body_too_large"),
        (chunked.into_bytes(), "405 method_not_allowed"),
    ] {
        let played = play(&world, &request).await;
        assert_eq!(played.answers.iter().map(told).collect::<Vec<_>>(), [expected]);
        assert_eq!(played.seen, [], "{expected}");
    }
}

#[tokio::test]
async fn an_early_answer_lets_nobody_else_s_bytes_in() {
    // The server answers before it has read the body: what the client sends after that is body still.
    let world = world().await;
    world.upstream.reply(Reply::Early(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()));
    let mut client = Client::connect(world.gateway.address()).await;
    client.send(post(&format!("content-length: {}", SMUGGLED.len()), "")).await;
    assert_eq!(client.head().await.status, 200);
    client.offer(SMUGGLED.as_bytes()).await;
    assert_eq!(client.rest().await, b"ok");
    assert_eq!(Client::connect(world.gateway.address()).await.get("/last").await.status, 200);
    assert!(world.upstream.requests().iter().all(|seen| !seen.line.contains("smuggled")));
}

/// That a body which breaks is never completed upstream, and answered so; the canary after it is part of the breach.
async fn never_completes(world: &World, body: &[u8], expected: &str) {
    let request = [&post("transfer-encoding: chunked", ""), body].concat();
    let played = play(world, &request).await;
    let shown = body[..body.len().min(60)].escape_ascii().to_string();
    assert_eq!(played.answers.iter().map(told).collect::<Vec<_>>(), [expected], "{shown}");
    assert_eq!(played.answers[0].header("connection"), Some("close"), "{shown}");
    assert_eq!(played.after, Closed, "{shown}");
    for seen in played.seen {
        assert_eq!((seen.line.as_str(), seen.whole), ("POST /a HTTP/1.1", false), "{shown}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_malformed_ends_the_request() {
    let world = world().await;
    let bodies: [&[u8]; 32] = [
        b"\r\nabc\r\n0\r\n\r\n",
        b"g\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3h\r\nabc\r\n0\r\n\r\n",
        b"3_\r\nabc\r\n0\r\n\r\n",
        b"3,\r\nabc\r\n0\r\n\r\n",
        b"3 3\r\nabc\r\n0\r\n\r\n",
        b"\"3\"\r\nabc\r\n0\r\n\r\n",
        b"3\xa0\r\nabc\r\n0\r\n\r\n",
        b"3\0\r\nabc\r\n0\r\n\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3\r\r\nabc\r\n0\r\n\r\n",
        b"3\rX\nabc\r\n0\r\n\r\n",
        b"3;x\nabc\r\n0\r\n\r\n",
        b"3;x\ry\r\nabc\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3\r\nabc\r\n0\n\r\n",
        b"3\r\nabc\r\n0\r\n\rX",
        b"3\r\nabc\r\n0\r\nx\r\n\r\n",
        b"3\r\nabc\r\n0\r\nx : 1\r\n\r\n",
        b"3\r\nabc\r\n0\r\nx: a\0b\r\n\r\n",
        b"3\r\nabc\r\n0\r\n x: 1\r\n\r\n",
    ];
    for body in bodies {
        never_completes(&world, body, "400 request_malformed").await;
    }
}

#[tokio::test]
async fn chunk_lines_and_trailers_have_bounds() {
    let world = world().await;
    let extended = |length: usize| format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(length));
    passes(&world, post("transfer-encoding: chunked", &extended(16_000)), chunked(), Kept).await;
    never_completes(&world, extended(16 * 1024).as_bytes(), "400 request_malformed").await;
    // All chunks' extensions count together.
    let many = format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(20));
    never_completes(&world, many.as_bytes(), "400 request_malformed").await;

    let trailing = |length: usize| format!("3\r\nabc\r\n0\r\nx: {}\r\n\r\n", "a".repeat(length - "x: \r\n".len()));
    passes(&world, post("transfer-encoding: chunked", &trailing(8 * 1024)), chunked(), Kept).await;
    never_completes(&world, trailing(8 * 1024 + 1).as_bytes(), "400 request_malformed").await;
    never_completes(&world, trailing(100_000).as_bytes(), "400 request_malformed").await;
    let many = format!("3\r\nabc\r\n0\r\n{}\r\n", "x: 1\r\n".repeat(300));
    never_completes(&world, many.as_bytes(), "400 request_malformed").await;
}

/// The parser takes a size up to 2^64 and awaits the bytes, within the limits of any body. They cannot come.
#[tokio::test]
async fn a_chunk_larger_than_any_body_never_completes() {
    let world = world().await;
    for size in ["8000000000000000", "ffffffffffffffff"] {
        let before = world.upstream.requests().len();
        let mut client = Client::connect(world.gateway.address()).await;
        client.send(post("transfer-encoding: chunked", &format!("{size}\r\nabc\r\n0\r\n\r\n{SMUGGLED}"))).await;
        client.finish().await;
        let answers = client.answers().await;
        assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), ["400 request_malformed"], "{size}");
        let seen = world.upstream.request(before).await;
        assert_eq!((seen.line.as_str(), seen.whole), ("POST /a HTTP/1.1", false), "{size}");
        let too_much = "x".repeat(100_000);
        never_completes(&world, format!("{size}\r\n{too_much}").as_bytes(), "413 body_too_large").await;
    }
}

/// The parser takes these, and shows us the data alone: what goes on is our own chunks.
#[tokio::test]
async fn what_chunk_lines_say_beside_the_size_is_not_passed_on() {
    let world = world().await;
    for body in [
        "3;x=y\r\nabc\r\n0;z\r\n\r\n",
        "3;x=\"\r\nabc\r\n0\r\n\r\n",
        "3;x=\0\u{1}\u{e9}\r\nabc\r\n0\r\n\r\n",
        "3 \t\r\nabc\r\n0\r\n\r\n",
        "3 ;x\r\nabc\r\n0\r\n\r\n",
        "0000000000000003\r\nabc\r\n000\r\n\r\n",
        "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    ] {
        passes(&world, post("transfer-encoding: chunked", body), chunked(), Kept).await;
    }
    let hexadecimal = post("transfer-encoding: chunked", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n");
    passes(&world, hexadecimal, Clean { body: b"01234567890123456789", ..chunked() }, Kept).await;
}

#[tokio::test]
async fn trailers_add_nothing_to_a_request() {
    let world = world().await;
    let trailers = "authorization: Bearer x\r\nx-user: mallory\r\nhost: b\r\ncontent-length: 9\r\ntransfer-encoding: gzip\r\nx: 1\r\n";
    let body = format!("3\r\nabc\r\n0\r\n{trailers}\r\n");
    passes(
        &world,
        post("trailer: x-user, authorization\r\nte: trailers\r\ntransfer-encoding: chunked", &body),
        Clean { fields: &["transfer-encoding: chunked", "te: trailers", "connection: te"], ..chunked() },
        Kept,
    )
    .await;
    let guarded = format!(
        "POST /guarded/x HTTP/1.1\r\nhost: api.test\r\ntrailer: authorization\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nauthorization: Bearer {}\r\n\r\n",
        world.token()
    );
    let played = play(&world, guarded.as_bytes()).await;
    assert_eq!(played.answers.iter().map(told).next().as_deref(), Some("401 credential_missing"));
    assert_eq!(played.seen, []);
}

#[tokio::test]
async fn garbage_after_a_request_is_answered_after_it() {
    let world = world().await;
    for garbage in ["garbage\r\n\r\n", "\0\0\0\0", "GET /smuggled\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "abc0\r\n\r\n"] {
        let played = play(&world, format!("GET /a HTTP/1.1\r\nhost: api.test\r\n\r\n{garbage}").as_bytes()).await;
        assert_eq!(played.answers.iter().map(told).collect::<Vec<_>>(), ["200", "400 bare"], "{garbage:?}");
        assert_eq!(
            played.seen.iter().map(|seen| seen.line.as_str()).collect::<Vec<_>>(),
            ["GET /a HTTP/1.1"],
            "{garbage:?}"
        );
        assert_eq!(played.after, Closed, "{garbage:?}");
    }
    // A body that is longer than its length: the rest is garbage.
    let played = play(&world, &post("content-length: 3", "abc((")).await;
    assert_eq!(played.answers.iter().map(told).collect::<Vec<_>>(), ["200", "400 bare"]);
    // HTTP/2 does not begin in the midst of HTTP/1.
    let played = play(&world, b"GET /a HTTP/1.1\r\nhost: api.test\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!((played.answers.len(), played.seen.len(), played.after), (1, 1, Closed));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let world = world().await;
    let mut client = Client::connect(world.gateway.address()).await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: api.test\r\n{more}\r\n");
    let bearer = format!("authorization: Bearer {}\r\n", world.token());
    let requests = [
        get("/guarded/1", &bearer),
        get("/guarded/2", ""),
        get("/a//b", &bearer),
        get("/guarded/3", &bearer),
        get("/x", "connection: close\r\n"),
        get("/after", ""),
    ];
    client.send(requests.concat()).await;
    let answers: Vec<_> = client.answers().await.iter().map(told).collect();
    assert_eq!(answers, ["200", "401 credential_missing", "400 path_ambiguous", "200", "200"]);
    let lines: Vec<_> = world.upstream.requests().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /guarded/1 HTTP/1.1", "GET /guarded/3 HTTP/1.1", "GET /x HTTP/1.1"]);
}

/// A request that comes byte by byte is read as one that comes at once.
#[tokio::test]
async fn where_packets_end_changes_nothing() {
    let world = world().await;
    let request =
        post("transfer-encoding: chunked", &format!("{:x};x\r\n{SMUGGLED}\r\n0\r\nx: 1\r\n\r\n", SMUGGLED.len()));
    let mut client = Client::connect(world.gateway.address()).await;
    for byte in &request {
        client.send([*byte]).await;
    }
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(world.upstream.request(0).await.body, SMUGGLED.as_bytes());
    assert_eq!(client.get("/next").await.text(), "ok");
    assert_eq!(world.upstream.requests().len(), 2);
}

//! HTTP/1 framing: heads and bodies that two readers could cut at different places.
//!
//! Deadlines, bodies over their limit and the sizes that the parser takes are tested in `wire`.

use super::{Clean, Closed, Kept, World, by_hand, each_is_refused, is_clean, passes, play, told, world};
use crate::harness::client::Client;

/// A request that nobody sent as one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: api.test\r\n\r\n";

/// A `POST` with these lines after its Host, and these bytes after its head.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nhost: api.test\r\n{lines}\r\n\r\n{body}").into_bytes()
}

/// Chunks that are as they should be.
const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";

fn chunked<'a>() -> Clean<'a> {
    Clean { line: "POST /a HTTP/1.1", fields: &["transfer-encoding: chunked"], body: b"abc", ..Clean::default() }
}

fn sized<'a>() -> Clean<'a> {
    Clean { line: "POST /a HTTP/1.1", fields: &["content-length: 3"], body: b"abc", ..Clean::default() }
}

/// The parser hides the length from us: what is left is chunks, and the connection ends (RFC 9112 section 6.1).
#[tokio::test]
async fn chunks_beside_a_length_are_sent_as_chunks_alone() {
    let world = world().await;
    for lines in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "content-length: 0\r\ntransfer-encoding: chunked",
        "content-length: 10000\r\ntransfer-encoding: chunked",
        "content-length: 3\r\ntransfer-encoding: chunked\r\ncontent-length: 4",
        "transfer-encoding: chunked\r\ncontent-length: x",
        "connection: content-length\r\ncontent-length: 3\r\ntransfer-encoding: chunked",
        "connection: transfer-encoding, keep-alive\r\ncontent-length: 3\r\ntransfer-encoding: chunked",
    ] {
        passes(&world, post(lines, CHUNKS), chunked(), Closed).await;
        let smuggling = post(lines, &format!("{CHUNKS}{SMUGGLED}"));
        passes(&world, smuggling, chunked(), Closed).await;
    }
}

#[tokio::test]
async fn no_coding_is_taken_but_chunked() {
    let world = world().await;
    let coding = |value: &str| post(&format!("transfer-encoding: {value}"), CHUNKS);
    for value in ["chunked", "Chunked", "CHUNKED", " \tchunked \t"] {
        passes(&world, coding(value), chunked(), Kept).await;
    }
    let ours = [
        "chunked, chunked",
        "gzip, chunked",
        "identity, chunked",
        ",chunked",
        ", chunked",
        "gzip,chunked",
        "x\t,chunked",
        "\r\ntransfer-encoding: chunked",
        "identity\r\ntransfer-encoding: chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "\r\nTransfer-Encoding: chunked",
    ];
    each_is_refused(&world, Closed, ours.map(|value| (coding(value), "400 request_malformed"))).await;
    let parsers = [
        "",
        "gzip",
        "identity",
        "chunked,",
        "chunked, identity",
        "chunked;q=1",
        "\"chunked\"",
        "xchunked",
        "chunked chunked",
        "chunke",
        "chunked\u{85}",
        "\u{a0}chunked",
        "\u{b}chunked",
        "chunked\u{c}",
        "chunked\0",
        "chunked\r\ntransfer-encoding: identity",
        "chunked\r\n ,identity",
        "\r\n chunked",
        "\tchunked\r\n\t",
    ];
    each_is_refused(&world, Closed, parsers.map(|value| (coding(value), "400 bare"))).await;
    // Bytes, not characters: 0x85 and 0xa0 are blanks to some readers.
    for byte in [0x85, 0xa0] {
        for value in [
            [byte].iter().chain(b"chunked").copied().collect::<Vec<_>>(),
            b"chunked".iter().chain(&[byte]).copied().collect(),
        ] {
            let request = [
                b"POST /a HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: ",
                &value[..],
                b"\r\n\r\n",
                CHUNKS.as_bytes(),
            ]
            .concat();
            each_is_refused(&world, Closed, [(request, "400 bare")]).await;
        }
    }
    let old = b"POST /a HTTP/1.0\r\nhost: api.test\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    each_is_refused(&world, Closed, [(old.to_vec(), "400 bare")]).await;
}

#[tokio::test]
async fn a_length_is_one_number() {
    let world = world().await;
    for lines in [
        "content-length: 3",
        "content-length: 03",
        "content-length: \t3 ",
        "content-length:3\r\nContent-Length: 3\r\ncontent-length: 3",
    ] {
        passes(&world, post(lines, "abc"), sized(), Kept).await;
    }
    let lengths = [
        "",
        " ",
        "-1",
        "+3",
        "-0",
        "3.0",
        "3e0",
        "0x3",
        "3h",
        "three",
        "3,3",
        "3, 3",
        "3;3",
        "3 3",
        "\"3\"",
        "3_0",
        "\u{663}",
        "3\u{b}",
        "3\0",
        "3\r\ncontent-length: 4",
        "4\r\ncontent-length: 3",
        "3\r\ncontent-length:",
        "3\r\ncontent-length: x",
        "3\r\n 0",
        "18446744073709551616",
        "99999999999999999999999999",
    ];
    each_is_refused(
        &world,
        Closed,
        lengths.map(|length| (post(&format!("content-length: {length}"), "abc"), "400 bare")),
    )
    .await;
    for length in ["9223372036854775808", "18446744073709551613"] {
        let request = post(&format!("content-length: {length}"), "abc");
        each_is_refused(&world, Closed, [(request, "400 request_malformed")]).await;
    }
    // The parser's own bounds; it calls them a size, and answers so.
    for length in ["18446744073709551614", "18446744073709551615"] {
        let request = post(&format!("content-length: {length}"), "abc");
        each_is_refused(&world, Closed, [(request, "431 bare")]).await;
    }
    // The largest that every reader's integer holds is a number; the route's limit is for it.
    let largest = post("content-length: 9223372036854775807", "abc");
    each_is_refused(&world, Closed, [(largest, "413 body_too_large")]).await;
}

#[tokio::test]
async fn a_field_is_a_name_a_colon_and_a_value() {
    let world = world().await;
    let heads = [
        "transfer-encoding : chunked",
        "transfer-encoding\t: chunked",
        "transfer-encoding\u{b}: chunked",
        "transfer-encoding\0: chunked",
        "content-length : 3",
        "x : 1",
        "x\u{e9}: 1",
        "x\u{85}: 1",
        "x(y): 1",
        "x y: 1",
        "x/y: 1",
        "x\"y: 1",
        ": 1",
        ":",
        " : 1",
        "x",
        "x\r\ny: 1",
        "x: 1\r\n y: 2",
        "x: 1\r\n\ty: 2",
        "x: 1\r\n ",
        " x: 1",
        "\tx: 1",
    ];
    each_is_refused(&world, Closed, heads.map(|lines| (post(lines, CHUNKS), "400 bare"))).await;
    let folded_first = b"GET /a HTTP/1.1\r\n host: api.test\r\n\r\n".to_vec();
    each_is_refused(&world, Closed, [(folded_first, "400 bare")]).await;
}

/// A reader that takes `_` for `-` would frame by these: they go, and what follows is the next request.
#[tokio::test]
async fn names_that_look_like_framing_frame_nothing() {
    let world = world().await;
    for lines in [
        "transfer_encoding: chunked",
        "Transfer_Encoding: chunked",
        "transfer.encoding: chunked",
        "content_length: 100",
        "content.length: 100",
        "x!transfer-encoding: chunked",
        "transfer_encoding: chunked\r\ncontent_length: 100",
    ] {
        let expected = || Clean { fields: &["content-length: 0"], body: b"", ..sized() };
        passes(&world, post(lines, ""), expected(), Kept).await;
        passes(&world, post(&format!("{lines}\r\ncontent-length: 3"), "abc"), sized(), Kept).await;
    }
    let kept =
        ["x-transfer-encoding: chunked", "transferencoding: chunked", "content-length-x: 4", "content-length: 0"];
    let sent = post(&kept[..3].join("\r\n"), "");
    passes(&world, sent, Clean { fields: &kept, body: b"", ..sized() }, Kept).await;
}

#[tokio::test]
async fn no_control_byte_gets_through() {
    let world = world().await;
    let heads: [&[u8]; 18] = [
        b"GET /a\r HTTP/1.1\r\nhost: api.test\r\n\r\n",
        b"GET /a HTTP/1.1\rhost: api.test\r\n\r\n",
        b"GET /a HTTP/1.1\r\r\nhost: api.test\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\rx: 1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\nx: a\rb\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\nx: \r1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\n\rx: 1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\nx\r: 1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\n\r\r\n",
        b"GET /a\0 HTTP/1.1\r\nhost: api.test\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\nx: a\0b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\nx\0: 1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\0\r\n\r\n",
        b"\0GET /a HTTP/1.1\r\nhost: api.test\r\n\r\n",
        b"GET\0/a HTTP/1.1\r\nhost: api.test\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\nx: \x7f\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: api.test\r\nx: \x1b[31m\r\n\r\n",
    ];
    each_is_refused(&world, Closed, heads.map(|head| (head.to_vec(), "400 bare"))).await;
}

#[tokio::test]
async fn a_bare_line_feed_is_not_passed_on() {
    let world = world().await;
    let fields = ["x: 1", "y: 2"];
    for head in [
        "GET /a HTTP/1.1\nhost: api.test\nx: 1\ny: 2\n\n",
        "GET /a HTTP/1.1\r\nhost: api.test\r\nx: 1\ny: 2\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: api.test\r\nx: 1\r\ny: 2\n\r\n",
        "GET /a HTTP/1.1\r\nhost: api.test\r\nx: 1\r\ny: 2\r\n\n",
        "\r\n\r\nGET /a HTTP/1.1\r\nhost: api.test\r\nx: 1\r\ny: 2\r\n\r\n",
        "\nGET /a HTTP/1.1\r\nhost: api.test\r\nx: 1\r\ny: 2\r\n\r\n",
    ] {
        passes(&world, head, Clean { line: "GET /a HTTP/1.1", fields: &fields, ..Clean::default() }, Kept).await;
    }
    // What hides behind a line feed is a field like any other, and judged as one.
    each_is_refused(
        &world,
        Closed,
        [
            (b"GET /a HTTP/1.1\r\nhost: api.test\r\nx: 1\nhost: b\r\n\r\n".to_vec(), "400 request_malformed"),
            (post("x: 1\ntransfer-encoding: gzip, chunked", CHUNKS), "400 request_malformed"),
            (post("x: 1\n y: 2", ""), "400 bare"),
        ],
    )
    .await;
    passes(
        &world,
        post("x: 1\ncontent-length: 3", "abc"),
        Clean { fields: &["x: 1", "content-length: 3"], ..sized() },
        Kept,
    )
    .await;
}

#[tokio::test]
async fn no_version_is_taken_but_1_0_and_1_1() {
    let world = world().await;
    let line = |line: &str| format!("{line}\r\nhost: api.test\r\n\r\n").into_bytes();
    let lines = [
        "GET /a",
        "GET /a ",
        "GET /a HTTP",
        "GET /a HTTP/",
        "GET /a HTTP/0.9",
        "GET /a HTTP/1.2",
        "GET /a HTTP/1.10",
        "GET /a HTTP/2.0",
        "GET /a HTTP/2",
        "GET /a HTTP/3",
        "GET /a http/1.1",
        "GET /a HTTPS/1.1",
        "GET /a  HTTP/1.1",
        "GET  /a HTTP/1.1",
        "GET /a HTTP/1.1 ",
        "GET /a HTTP/1.1 x",
        " GET /a HTTP/1.1",
        "GET\t/a HTTP/1.1",
        "G\u{e9}T /a HTTP/1.1",
        "G(T /a HTTP/1.1",
        "/a HTTP/1.1",
        "PRI * HTTP/2.0",
    ];
    each_is_refused(&world, Closed, lines.map(|text| (line(text), "400 bare"))).await;
    each_is_refused(
        &world,
        Closed,
        [(b"GET /a\r\n".to_vec(), "400 bare"), (b"\x16\x03\x01\x02\x00".to_vec(), "400 bare")],
    )
    .await;
    let clean = || Clean { line: "GET /a HTTP/1.1", ..Clean::default() };
    passes(&world, line("GET /a HTTP/1.0"), clean(), Closed).await;
    let keep = b"GET /a HTTP/1.0\r\nhost: api.test\r\nconnection: keep-alive\r\n\r\n";
    passes(&world, keep, clean(), Kept).await;
}

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

#[tokio::test]
async fn over_http2_no_field_frames_a_request() {
    let world = world().await;
    let protocol_error = "reset 1";
    for (fields, expected) in [
        (&[("content-length", "0")][..], "ok"),
        (&[("content-length", "0"), ("content-length", "0")], "ok"),
        (&[("content-length", "0"), ("content-length", "5")], protocol_error),
        (&[("content-length", "5"), ("content-length", "0")], protocol_error),
        (&[("content-length", "0, 0")], protocol_error),
        (&[("content-length", "+0")], protocol_error),
        (&[("content-length", "5")], protocol_error),
        (&[("transfer-encoding", "chunked")], protocol_error),
        (&[("connection", "content-length")], protocol_error),
        (&[("te", "chunked")], protocol_error),
        (&[("content_length", "5")], "ok"),
    ] {
        let before = world.upstream.requests().len();
        assert_eq!(by_hand(&world, "GET", "/a", fields).await, expected, "{fields:?}");
        let seen = world.upstream.requests().split_off(before);
        let fields: &[_] = if fields[0].0 == "content-length" { &["content-length: 0"] } else { &[] };
        match seen.as_slice() {
            [seen] if expected == "ok" => {
                is_clean(seen, &Clean { line: "GET /a HTTP/1.1", fields, ..Clean::default() }, "")
            }
            seen => assert_eq!((seen.len(), expected != "ok"), (0, true), "{fields:?}"),
        }
    }
}

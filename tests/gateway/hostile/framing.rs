//! Heads that two readers could cut at different places, or that let them cut a body so.
//!
//! Deadlines, bodies over their limit, and how what the parser refuses is counted, are tested in `wire`; the sizes of heads
//! in `fields` and `targets`.

use super::{Clean, Closed, Kept, by_hand, each_is_refused, is_clean, passes, world};

/// A request that nobody sent as one.
pub(super) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: api.test\r\n\r\n";

/// A `POST` with these lines after its Host, and these bytes after its head.
pub(super) fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nhost: api.test\r\n{lines}\r\n\r\n{body}").into_bytes()
}

/// Chunks that are as they should be.
const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";

pub(super) fn chunked<'a>() -> Clean<'a> {
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

//! Requests that are made to be read in two ways, and what becomes of each: the answer, every byte that the upstream
//! saw, and whether the connection lives on.
//!
//! Each is sent on a connection of its own, and in the same breath a canary, a good request that asks for the connection
//! to be closed. A canary that is answered shows that the connection was kept and that the bytes before it were framed as
//! one request; one that is not shows that the connection was closed and that nobody read on.

mod bodies;
mod fields;
mod framing;
mod targets;

use crate::harness::client::{Answer, Client};
use crate::harness::frames::{Frames, Heard};
use crate::harness::upstream::Recorded;
use crate::harness::world::World;

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Kept,
    Closed,
}

use After::{Closed, Kept};

const CANARY: &str = "GET /canary HTTP/1.1\r\nhost: canary\r\nconnection: close\r\n\r\n";

/// Everything is public but what lies under `/guarded`; `/read` is for GET alone.
async fn world() -> World {
    World::routed("", ROUTES).await
}

const ROUTES: &str = "
[[routes]]
name = \"public\"
path = \"/*\"
policy = \"public\"
upstream = \"api\"
body_bytes = \"64KiB\"

[[routes]]
name = \"guarded\"
path = \"/guarded/*\"
policy = { audience = [\"https://api.example.com\"], scopes = [\"read\"] }
upstream = \"api\"

[[routes]]
name = \"read\"
path = \"/read\"
methods = [\"GET\"]
policy = \"public\"
upstream = \"api\"
";

/// What became of some bytes.
struct Played {
    /// The answers to them.
    answers: Vec<Answer>,
    /// What the upstream saw of them.
    seen: Vec<Recorded>,
    /// Whether the canary after them lived.
    after: After,
}

/// Sends these bytes and a canary after them.
async fn play(world: &World, bytes: &[u8]) -> Played {
    let before = world.upstream.requests().len();
    let mut client = Client::connect(world.gateway.address()).await;
    client.offer(&[bytes, CANARY.as_bytes()].concat()).await;
    let mut answers = client.answers().await;
    // Whatever was under way when the connection ended has come to the upstream before this one.
    assert_eq!(Client::connect(world.gateway.address()).await.get("/last").await.status, 200);
    let mut seen = world.upstream.requests().split_off(before);
    assert_eq!(seen.pop().unwrap().line, "GET /last HTTP/1.1");
    let after = match seen.pop_if(|last| last.line == "GET /canary HTTP/1.1") {
        Some(canary) => {
            assert_eq!((canary.all("host"), canary.body.len()), (vec!["canary"], 0));
            assert_eq!(answers.pop().unwrap().text(), "ok");
            Kept
        }
        None => Closed,
    };
    Played { answers, seen, after }
}

/// An answer in short: `200`, the status and code of a problem, or the status and `bare`.
fn told(answer: &Answer) -> String {
    match (answer.header("content-type"), answer.body.as_slice()) {
        (Some("application/problem+json"), _) => format!("{} {}", answer.status, answer.code()),
        (None, b"") => format!("{} bare", answer.status),
        _ => answer.status.to_string(),
    }
}

/// That each request is answered as told, nothing of it reaches the upstream, and the connection is as told after it.
async fn each_is_refused(world: &World, after: After, rows: impl IntoIterator<Item = (Vec<u8>, &str)>) {
    let mut wrong = Vec::new();
    for (request, expected) in rows {
        let played = play(world, &request).await;
        let answers: Vec<_> = played.answers.iter().map(told).collect();
        let seen: Vec<_> = played.seen.iter().map(|seen| seen.line.clone()).collect();
        if answers != [expected] || !seen.is_empty() || played.after != after {
            let shown = request[..request.len().min(200)].escape_ascii();
            wrong.push(format!(
                "{shown}\n  {answers:?}, upstream {seen:?}, {:?}; not {expected:?}, {after:?}",
                played.after
            ));
        }
        for answer in &played.answers {
            assert_eq!(answer.header("www-authenticate").is_some(), answer.status == 401, "{expected}");
            let says_so = answer.header("connection") == Some("close");
            if after == Closed && !says_so {
                wrong.push(format!("{}: closed without a word", request.escape_ascii()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A request as the upstream shall see it, beside what the gateway always sets.
struct Clean<'a> {
    line: &'a str,
    host: &'a str,
    fields: &'a [&'a str],
    body: &'a [u8],
}

impl Default for Clean<'_> {
    fn default() -> Self {
        Self { line: "GET / HTTP/1.1", host: "api.test", fields: &[], body: b"" }
    }
}

/// That a request is answered with 200, and the upstream saw it once, in exactly these bytes but for the fields' order.
async fn passes(world: &World, request: impl AsRef<[u8]>, expected: Clean<'_>, after: After) {
    let request = request.as_ref();
    let shown = request[..request.len().min(200)].escape_ascii();
    let played = play(world, request).await;
    assert_eq!(played.answers.iter().map(told).collect::<Vec<_>>(), ["200"], "{shown}");
    assert_eq!(played.after, after, "{shown}");
    let [seen] = played.seen.as_slice() else { panic!("{shown}: {:?}", played.seen) };
    is_clean(seen, &expected, &shown.to_string());
}

/// That the upstream saw exactly this, but for the fields' order.
fn is_clean(seen: &Recorded, expected: &Clean<'_>, shown: &str) {
    let head = std::str::from_utf8(&seen.head).unwrap().strip_suffix("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.split("\r\n").map(made_of).collect();
    lines[1..].sort_unstable();
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n', '\0'])), "{shown}: {head:?}");
    let Clean { line, host, fields, body } = expected;
    let mut wanted: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    wanted.extend([
        format!("host: {host}"),
        format!("forwarded: for=127.0.0.1;proto=http;host=\"{host}\""),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-proto: http".to_owned(),
        format!("x-forwarded-host: {host}"),
        "x-request-id: 32 hex digits".to_owned(),
        "traceparent: 00-32 hex digits-16 hex digits-00".to_owned(),
    ]);
    wanted.sort_unstable();
    wanted.insert(0, (*line).to_owned());
    assert_eq!(lines, wanted, "{shown}");
    assert_eq!((seen.body.escape_ascii().to_string(), seen.whole), (body.escape_ascii().to_string(), true), "{shown}");
}

/// A line of a head, with what is drawn at random replaced by what it is made of.
fn made_of(line: &str) -> String {
    let Some((name @ ("x-request-id" | "traceparent"), value)) = line.split_once(": ") else { return line.to_owned() };
    let parts = value.split('-').map(|part| {
        let hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex && part.len() > 2 { format!("{} hex digits", part.len()) } else { part.to_owned() }
    });
    format!("{name}: {}", parts.collect::<Vec<_>>().join("-"))
}

/// What a request without a body comes to over HTTP/2: its code, the upstream's text, or the error that ended it. Fields are
/// sent as they are; `:authority` is among them or `api.test`, and left out where it is empty.
async fn by_hand(world: &World, method: &str, path: &str, more: &[(&str, &str)]) -> String {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":path", path)];
    if !more.iter().any(|(name, _)| *name == ":authority") {
        fields.push((":authority", "api.test"));
    }
    fields.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    fields.sort_by_key(|(name, _)| !name.starts_with(':'));
    let mut client = Frames::connect(world.gateway.address()).await;
    let heard = match client.ask(&fields).await {
        Heard::Answer(body) if body.is_empty() => "bare".to_owned(),
        Heard::Answer(body) => match serde_json::from_slice::<serde_json::Value>(&body) {
            Ok(problem) => problem["code"].as_str().unwrap().to_owned(),
            Err(_) => String::from_utf8(body).unwrap(),
        },
        Heard::Reset(code) => format!("reset {code}"),
        Heard::Ended(code) => return format!("ended {code:?}"),
    };
    // Whatever a stream came to, the connection serves the next one.
    let canary = [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "api.test")];
    assert_eq!(client.ask(&canary).await, Heard::Answer(Vec::new()), "after {path}");
    heard
}

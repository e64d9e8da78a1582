//! Bad tokens over real sockets, and the exact answer to each: what is refused is refused whole, with the good token passing
//! before and after on the very same connection, and nothing but it reaching the upstream.
//!
//! The numbers in the tests' comments order them: A credentials (1 to 10), B header (11 to 24), C signature (25 to 30),
//! D claims (31 to 41).

mod claims;
mod credentials;
mod header;
mod library_defaults;
mod one_answer;
mod signature;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;

use crate::harness::client::{Answer, Client, Http2};
use crate::harness::log;
use crate::harness::upstream::Recorded;
use crate::harness::world::World;

/// A world under attack: each attack is made twice over one connection of HTTP/1.1 and once over one of HTTP/2, which must
/// both outlive all of them.
pub struct Siege {
    pub world: World,
    good: String,
    client: Client,
    http2: Http2,
    /// How often which code was answered.
    refused: BTreeMap<&'static str, usize>,
    /// How many requests reached the upstream.
    passed: usize,
    /// Every credential that was sent.
    secrets: Vec<String>,
    log_mark: usize,
}

impl Siege {
    /// Begins once the good token has passed.
    pub async fn begin(world: World) -> Self {
        let good = world.token();
        Self::begin_with(world, good).await
    }

    /// The same where this is the good token.
    pub async fn begin_with(world: World, good: String) -> Self {
        let mut siege = Self::cold(world, good.clone()).await;
        siege.permit(&good, "the good token").await;
        siege
    }

    /// Begins before anything has passed; the good token is to pass at the end.
    pub async fn cold(world: World, good: String) -> Self {
        log::keep();
        let address = world.gateway.address();
        Self {
            world,
            good: good.clone(),
            client: Client::connect(address).await,
            http2: Http2::connect(address).await,
            refused: BTreeMap::new(),
            passed: 0,
            secrets: vec![good],
            log_mark: log::mark(),
        }
    }

    /// The usual world under attack.
    pub async fn usual() -> Self {
        Self::begin(World::start().await).await
    }

    /// The token passes, and exactly one clean request reaches the upstream each time.
    pub async fn permit(&mut self, token: &str, about: &str) -> Recorded {
        self.secrets.push(token.to_owned());
        let answer = self.client.ask(bearing(token)).await;
        self.passed(&answer, about);
        let answer = self.http2.ask(bearing_http2(token)).await;
        self.passed(&answer, about);
        let requests = self.world.upstream.requests();
        for request in &requests[self.passed - 2..] {
            assert_eq!(request.line, "GET /orders HTTP/1.1", "{about}");
            assert_eq!(request.all("authorization"), [format!("Bearer {token}")], "{about}");
            assert_eq!((request.body.len(), request.whole), (0, true), "{about}");
        }
        requests[self.passed - 1].clone()
    }

    /// These bytes are one request that passes.
    pub async fn permit_request(&mut self, request: impl AsRef<[u8]>, about: &str) -> Recorded {
        let answer = self.client.ask(request).await;
        self.passed(&answer, about);
        self.world.upstream.requests()[self.passed - 1].clone()
    }

    fn passed(&mut self, answer: &Answer, about: &str) {
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{about}");
        self.passed += 1;
        assert_eq!(self.world.upstream.count(), self.passed, "{about}: reached the upstream");
    }

    /// The token is refused with this code: whole, each time, over both protocols, and nothing reaches the upstream.
    pub async fn refuse(&mut self, token: &str, code: &'static str, about: &str) {
        self.secrets.push(token.to_owned());
        for ask in ["cold", "warm"] {
            let answer = self.client.ask(bearing(token)).await;
            self.is_refused(&answer, code, &format!("{about} ({ask})"));
        }
        let answer = self.http2.ask(bearing_http2(token)).await;
        self.is_refused(&answer, code, &format!("{about} (HTTP/2)"));
    }

    /// Each of these is refused with this code.
    pub async fn refuse_all<A: AsRef<str>>(
        &mut self,
        code: &'static str,
        attacks: impl IntoIterator<Item = (A, String)>,
    ) {
        for (about, token) in attacks {
            self.refuse(&token, code, about.as_ref()).await;
        }
    }

    /// These bytes are one request that is refused with this code, each time; the connection stays usable.
    pub async fn refuse_request(&mut self, request: impl AsRef<[u8]>, code: &'static str, about: &str) {
        for _ in 0..2 {
            let answer = self.client.ask(&request).await;
            self.is_refused(&answer, code, about);
        }
    }

    /// The same over HTTP/2.
    pub async fn refuse_http2(&mut self, request: Request<Full<Bytes>>, code: &'static str, about: &str) {
        let answer = self.http2.ask(request).await;
        self.is_refused(&answer, code, &format!("{about} (HTTP/2)"));
    }

    fn is_refused(&mut self, answer: &Answer, code: &'static str, about: &str) {
        assert_refused(answer, code, about);
        let text = format!("{:?} {}", answer.headers, answer.text());
        for secret in self.secrets.first().into_iter().chain(self.secrets.last()) {
            assert_holds_nothing_of(secret, &text, about);
        }
        assert_eq!(self.world.upstream.count(), self.passed, "{about}: reached the upstream");
        *self.refused.entry(code).or_default() += 1;
    }

    /// The good token still passes, every answer was counted under its code, and no token is in a metric or a log line.
    pub async fn end(mut self) {
        let good = self.good.clone();
        self.permit(&good, "the good token, after all attacks").await;
        let mut expected = self.refused.clone();
        expected.insert("permitted", self.passed);
        let counted = async {
            while decisions(&self.world) != expected {
                tokio::task::yield_now().await;
            }
        };
        let counted = tokio::time::timeout(Duration::from_secs(20), counted).await;
        assert!(counted.is_ok(), "{:?}, not {expected:?}", decisions(&self.world));

        let lines = self.world.gateway.access_lines();
        assert_eq!(lines.len(), expected.values().sum::<usize>(), "{lines:#?}");
        let metrics = self.world.gateway.shared().telemetry().metrics.render();
        let written = [metrics, lines.join("\n"), log::since(self.log_mark)].join("\n");
        for secret in &self.secrets {
            assert_holds_nothing_of(secret, &written, "metrics and log");
        }
    }
}

/// How many requests were decided how, as `/metrics` tells it.
fn decisions(world: &World) -> BTreeMap<&'static str, usize> {
    let mut found = BTreeMap::new();
    for line in world.gateway.shared().telemetry().metrics.render().lines() {
        let Some(labels) = line.strip_prefix("bearward_decisions_total{") else { continue };
        let (labels, count) = labels.rsplit_once("} ").unwrap();
        let outcome = labels.split("outcome=\"").nth(1).unwrap().split('"').next().unwrap();
        let known = CODES.iter().map(|(code, ..)| *code).chain(["permitted"]).find(|known| *known == outcome);
        let count: usize = count.parse().unwrap();
        if count > 0 {
            *found.entry(known.unwrap_or_else(|| panic!("{line}"))).or_default() += count;
        }
    }
    found
}

/// `GET /orders` with this token.
pub fn bearing(token: &str) -> String {
    request(&format!("Authorization: Bearer {token}\r\n"))
}

/// `GET /orders` with these lines.
pub fn request(lines: &str) -> String {
    format!("GET /orders HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n")
}

/// `GET /orders` with this token, over HTTP/2.
pub fn bearing_http2(token: &str) -> Request<Full<Bytes>> {
    let request = Request::get("http://gateway/orders").header("authorization", format!("Bearer {token}"));
    request.body(Full::default()).unwrap()
}

/// Each code that a credential can be refused with: its status, the challenge's `error`, a part of its text.
const CODES: &[(&str, u16, Option<&str>, &str)] = &[
    ("credential_missing", 401, None, "access token"),
    ("credential_malformed", 400, Some("invalid_request"), "Authorization"),
    ("credential_ambiguous", 400, Some("invalid_request"), "one"),
    ("token_malformed", 401, Some("invalid_token"), "read"),
    ("token_too_large", 401, Some("invalid_token"), "longer"),
    ("extension_refused", 401, Some("invalid_token"), "extension"),
    ("issuer_unknown", 401, Some("invalid_token"), "trust"),
    ("algorithm_refused", 401, Some("invalid_token"), "algorithm"),
    ("key_unknown", 401, Some("invalid_token"), "key"),
    ("signature_invalid", 401, Some("invalid_token"), "signature"),
    ("claims_malformed", 401, Some("invalid_token"), "claim"),
    ("id_token_presented", 401, Some("invalid_token"), "This is an ID token"),
    ("refresh_token_presented", 401, Some("invalid_token"), "This is a refresh token"),
    ("logout_token_presented", 401, Some("invalid_token"), "This is a logout token"),
    ("token_kind_unknown", 401, Some("invalid_token"), "send the access token"),
    ("token_expired", 401, Some("invalid_token"), "expired"),
    ("token_not_yet_valid", 401, Some("invalid_token"), "not valid yet"),
    ("audience_wrong", 401, Some("invalid_token"), "audience"),
    ("proof_required", 401, Some("invalid_token"), "bound to a key"),
    ("scope_insufficient", 403, Some("insufficient_scope"), "scope"),
    ("client_refused", 403, None, "client"),
    ("claim_insufficient", 403, None, "claim"),
];

/// The answer is this refusal, whole: status, fields, challenge, body. The connection stays.
pub fn assert_refused(answer: &Answer, code: &str, about: &str) {
    let (_, status, error, part) = CODES.iter().find(|(known, ..)| *known == code).expect(code);
    assert_eq!((answer.code().as_str(), answer.status), (code, *status), "{about}: {}", answer.text());

    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    let members: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["code", "detail", "request_id", "status", "title", "type"], "{about}");
    assert_eq!(problem["type"], format!("urn:bearward:code:{code}"), "{about}");
    assert_eq!(problem["status"], *status, "{about}");
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{about}");
    assert!(!problem["title"].as_str().unwrap().is_empty(), "{about}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(part), "{about}: {detail}");
    assert!(!code.ends_with("_presented") || detail.contains("access token"), "{about}: {detail}");

    let challenge = match (*status, error) {
        (403, None) => None,
        (_, None) => Some("Bearer realm=\"bearward\"".to_owned()),
        (_, Some(error)) => {
            // The usual policy asks for this one scope.
            let scope = if *error == "insufficient_scope" { ", scope=\"read\"" } else { "" };
            Some(format!("Bearer realm=\"bearward\", error=\"{error}\", error_description=\"{detail}\"{scope}"))
        }
    };
    assert_eq!(answer.header("www-authenticate"), challenge.as_deref(), "{about}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{about}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{about}");

    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.retain(|name| *name != "www-authenticate");
    assert_eq!(names, ["cache-control", "content-length", "content-type", "date", "x-request-id"], "{about}");
}

/// No part of a token stands in this text.
fn assert_holds_nothing_of(token: &str, text: &str, about: &str) {
    for part in token.split(|byte: char| !byte.is_ascii_alphanumeric() && !"-_".contains(byte)) {
        // Shorter ones are words of our own, such as `token`.
        assert!(part.len() < 16 || !text.contains(part), "{about}: {part} of a token stands in {text}");
    }
}

/// The object with this member, which may be null.
pub fn with(mut base: Value, name: &str, value: Value) -> Value {
    base[name] = value;
    base
}

/// The text of the object with this member, whose value is these very characters.
pub fn with_text(base: Value, name: &str, text: &str) -> String {
    with(base, name, Value::from("@@")).to_string().replace("\"@@\"", text)
}

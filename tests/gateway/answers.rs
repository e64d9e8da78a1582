//! Every refusal there is, provoked once over the wire and compared whole: status, every header, challenge, body, the
//! form that gRPC gives it, and what the API saw of it.

mod outage;

use std::time::{Duration, SystemTime};

use bearward::gateway::request_body::Pace;
use bearward::policy::reject::Code;
use bearward::remote::clock::Clock;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::client::{Answer, Client, Http2};
use crate::harness::forms;
use crate::harness::gateway::Served;
use crate::harness::introspection::Introspection;
use crate::harness::issuer::{self, Document, Issuer};
use crate::harness::mint::Key;
use crate::harness::port::Port;
use crate::harness::upstream::{Reply, Upstream};
use crate::harness::world::merged;

const AUDIENCE: &str = "https://api.example.com";

/// How many connections the gateway serves.
const CONNECTIONS: usize = 8;

/// An issuer that tells the truth and one that sends a page instead of keys; an API, and one that is gone.
struct World {
    issuer: Issuer,
    _liar: Issuer,
    liar_url: String,
    _endpoint: Introspection,
    _gone: Port,
    upstream: Upstream,
    gateway: Served,
    key: Key,
    now: u64,
}

impl World {
    async fn start() -> Self {
        let key = Key::rsa("key-1");
        let (issuer, liar, upstream) =
            (Issuer::start(&[key]).await, Issuer::start(&[key]).await, Upstream::start().await);
        liar.answer(Document::Keys, issuer::Answer::html());
        let endpoint = Introspection::start().await;
        endpoint.know("unanswered", forms::Reply::status(500, "", ""));
        let gone = Port::reserve();
        let nobody = gone.address();
        let toml = format!(
            r#"
[server.limits]
connections = {CONNECTIONS}
[issuers.main]
issuer = "{}"
algorithms = ["RS256"]
[issuers.liar]
issuer = "{}"
[issuers.opaque]
issuer = "https://opaque.example.com"
required_for_ready = false
jwks = {{ uri = "http://{nobody}" }}
introspection = {{ endpoint = "{}", client_id = "gateway", auth_method = "none" }}
[upstreams.api]
url = "{upstream}"
[upstreams.hasty]
url = "{upstream}"
timeout = "200ms"
[upstreams.gone]
url = "http://{nobody}"
[policies.orders]
issuers = ["main"]
audience = ["{AUDIENCE}"]
client_ids = ["web"]
scopes = ["read", "orders:read"]
claims = {{ tenant = "acme" }}
[[routes]]
path = "/orders"
methods = ["GET", "POST"]
policy = "orders"
upstream = "api"
[[routes]]
path = "/liar"
policy = {{ issuers = ["liar"], audience = ["{AUDIENCE}"] }}
upstream = "api"
[[routes]]
path = "/opaque"
policy = {{ issuers = ["opaque"], audience = ["{AUDIENCE}"] }}
upstream = "api"
[[routes]]
path = "/open"
policy = "public"
upstream = "api"
body_bytes = "64KiB"
[[routes]]
path = "/hasty"
policy = "public"
upstream = "hasty"
[[routes]]
path = "/gone"
policy = "public"
upstream = "gone"
"#,
            issuer.url(),
            liar.url(),
            endpoint.url(),
            upstream = upstream.url(),
        );
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        // It stands still: what is left of a cooldown is told to the second.
        let (clock, _hands) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        let gateway = Served::start_with(&toml, clock, Pace { bytes: 100, within: Duration::from_millis(200) });
        let liar_url = liar.url();
        Self { issuer, _liar: liar, liar_url, _endpoint: endpoint, _gone: gone, upstream, gateway, key, now }
    }

    fn header(&self) -> Value {
        json!({ "alg": "RS256", "kid": "key-1", "typ": "at+jwt" })
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer.url(), "aud": AUDIENCE, "exp": self.now + 3600, "iat": self.now, "sub": "alice",
            "client_id": "web", "scope": "read orders:read", "tenant": "acme",
        })
    }

    /// `GET /orders` with a token that is good but for these header members and claims.
    fn with_token(&self, header: &Value, claims: &Value) -> String {
        let token = self.key.sign(&merged(self.header(), header), &merged(self.claims(), claims));
        with_credential(&token)
    }

    /// A request that is refused with this code; none for what only a defect of ours brings about.
    fn provocation(&self, code: Code) -> Option<Provoked> {
        let refused = |request: String| Some(Provoked { request, reply: None, upstream: Seen::Nothing, crowd: 0 });
        let claims = |claims: Value| refused(self.with_token(&json!({}), &claims));
        let header = |header: Value| refused(self.with_token(&header, &json!({})));
        let answered = |path: &str, reply: Reply| {
            Some(Provoked { request: get(path, ""), reply: Some(reply), upstream: Seen::Whole, crowd: 0 })
        };
        match code {
            Code::RequestMalformed => refused(get("/orders", "host: b\r\n")),
            Code::PathAmbiguous => refused(get("/open/../orders", "")),
            Code::BodyTooLarge => refused("POST /open HTTP/1.1\r\nhost: a\r\ncontent-length: 65537\r\n\r\n".to_owned()),
            Code::HeadTooLarge => {
                refused(get("/open", &(0..100).map(|number| format!("x-{number}: 1\r\n")).collect::<String>()))
            }
            Code::RequestTimeout => Some(Provoked {
                request: "POST /open HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nslow".to_owned(),
                reply: None,
                upstream: Seen::Part,
                crowd: 0,
            }),
            Code::RouteUnknown => refused(get("/nowhere", "")),
            Code::MethodNotAllowed => refused("DELETE /orders HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
            Code::CredentialMissing => refused(get("/orders", "")),
            Code::CredentialMalformed => refused(with_credential("one two")),
            Code::CredentialAmbiguous => {
                refused(get("/orders", "authorization: Bearer a.b.c\r\nauthorization: Bearer a.b.c\r\n"))
            }
            Code::TokenMalformed => refused(with_credential("opaque")),
            Code::TokenTooLarge => refused(with_credential(&"a".repeat(16 * 1024 + 1))),
            Code::ExtensionRefused => header(json!({ "crit": ["exp"] })),
            Code::IssuerUnknown => claims(json!({ "iss": "https://evil.example" })),
            Code::AlgorithmRefused => header(json!({ "alg": "PS256" })),
            Code::KeyUnknown => header(json!({ "kid": "key-2" })),
            Code::SignatureInvalid => refused(with_credential(&Key::rsa("other").sign(&self.header(), &self.claims()))),
            Code::ClaimsMalformed => claims(json!({ "exp": null })),
            Code::IdTokenPresented => claims(json!({ "at_hash": "x" })),
            Code::RefreshTokenPresented => claims(json!({ "tokenName": "refresh_token" })),
            Code::LogoutTokenPresented => header(json!({ "typ": "logout+jwt" })),
            Code::TokenKindUnknown => header(json!({ "typ": "JWT" })),
            // The default leeway is 30 s.
            Code::TokenExpired => claims(json!({ "exp": self.now - 30 })),
            Code::TokenNotYetValid => claims(json!({ "nbf": self.now + 31 })),
            Code::TokenInactive => refused(get("/opaque", "authorization: Bearer inactive\r\n")),
            Code::IntrospectionUnavailable => refused(get("/opaque", "authorization: Bearer unanswered\r\n")),
            Code::AudienceWrong => claims(json!({ "aud": "https://other.example.com" })),
            Code::ProofRequired => claims(json!({ "cnf": { "jkt": "x" } })),
            Code::ScopeInsufficient => claims(json!({ "scope": "read" })),
            Code::ClientRefused => claims(json!({ "client_id": "batch" })),
            Code::ClaimInsufficient => claims(json!({ "tenant": "evil" })),
            Code::KeysUnavailable => {
                let claims = merged(self.claims(), &json!({ "iss": self.liar_url }));
                let token = self.key.sign(&self.header(), &claims);
                refused(get("/liar", &format!("authorization: Bearer {token}\r\n")))
            }
            Code::Overloaded => {
                Some(Provoked { request: get("/open", ""), reply: None, upstream: Seen::Nothing, crowd: CONNECTIONS })
            }
            Code::UpstreamUnreachable => refused(get("/gone", "")),
            Code::UpstreamMalformed => answered("/open", Reply::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec())),
            Code::UpstreamTimeout => answered("/hasty", Reply::Stall(Vec::new())),
            // What befalls a session or a login has tests of its own.
            Code::SessionExpired
            | Code::CsrfRefused
            | Code::LoginStateInvalid
            | Code::LoginIdTokenInvalid
            | Code::LoginRefused
            | Code::LoginUnavailable
            | Code::LogoutTokenInvalid
            | Code::StoreUnavailable
            | Code::IssuerUnavailable => None,
            // A defect of ours is not to be had by asking. What a panic is answered with is tested with the server.
            Code::Internal => None,
        }
    }
}

/// A request, what the API answers it with, and what the API sees of it.
struct Provoked {
    request: String,
    reply: Option<Reply>,
    upstream: Seen,
    /// How many other connections are open.
    crowd: usize,
}

enum Seen {
    Nothing,
    Part,
    Whole,
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

fn with_credential(token: &str) -> String {
    get("/orders", &format!("authorization: Bearer {token}\r\n"))
}

/// Code, HTTP status, gRPC status, the challenge's error (`-`: no challenge), further headers.
type Row = (&'static str, u16, u8, &'static str, &'static [(&'static str, &'static str)]);

/// The contract's table.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("request_malformed", 400, 3, "-", CLOSED),
    ("path_ambiguous", 400, 3, "-", &[]),
    ("body_too_large", 413, 8, "-", CLOSED),
    ("head_too_large", 431, 8, "-", CLOSED),
    ("request_timeout", 408, 4, "-", CLOSED),
    ("route_unknown", 404, 12, "-", &[]),
    ("method_not_allowed", 405, 12, "-", &[("allow", "GET, POST")]),
    ("credential_missing", 401, 16, "", &[]),
    ("credential_malformed", 400, 3, "invalid_request", &[]),
    ("credential_ambiguous", 400, 3, "invalid_request", &[]),
    ("token_malformed", 401, 16, "invalid_token", &[]),
    ("token_too_large", 401, 16, "invalid_token", &[]),
    ("extension_refused", 401, 16, "invalid_token", &[]),
    ("issuer_unknown", 401, 16, "invalid_token", &[]),
    ("algorithm_refused", 401, 16, "invalid_token", &[]),
    ("key_unknown", 401, 16, "invalid_token", &[]),
    ("signature_invalid", 401, 16, "invalid_token", &[]),
    ("claims_malformed", 401, 16, "invalid_token", &[]),
    ("id_token_presented", 401, 16, "invalid_token", &[]),
    ("refresh_token_presented", 401, 16, "invalid_token", &[]),
    ("logout_token_presented", 401, 16, "invalid_token", &[]),
    ("token_kind_unknown", 401, 16, "invalid_token", &[]),
    ("token_expired", 401, 16, "invalid_token", &[]),
    ("token_not_yet_valid", 401, 16, "invalid_token", &[]),
    ("token_inactive", 401, 16, "invalid_token", &[]),
    ("audience_wrong", 401, 16, "invalid_token", &[]),
    ("proof_required", 401, 16, "invalid_token", &[]),
    ("session_expired", 401, 16, "", &[]),
    ("scope_insufficient", 403, 7, "insufficient_scope", &[]),
    ("client_refused", 403, 7, "-", &[]),
    ("claim_insufficient", 403, 7, "-", &[]),
    ("csrf_refused", 403, 7, "-", &[]),
    ("login_state_invalid", 400, 3, "-", &[]),
    ("login_id_token_invalid", 403, 7, "-", &[]),
    ("login_refused", 403, 7, "-", &[]),
    ("login_unavailable", 503, 14, "-", &[("retry-after", "1")]),
    ("logout_token_invalid", 400, 3, "-", &[]),
    ("keys_unavailable", 503, 14, "-", &[("retry-after", "10")]),
    ("introspection_unavailable", 503, 14, "-", &[("retry-after", "1")]),
    ("store_unavailable", 503, 14, "-", &[("retry-after", "1")]),
    ("issuer_unavailable", 503, 14, "-", &[("retry-after", "1")]),
    ("overloaded", 503, 14, "-", OVERLOADED),
    ("upstream_unreachable", 502, 14, "-", &[]),
    ("upstream_malformed", 502, 14, "-", &[]),
    ("upstream_timeout", 504, 4, "-", &[]),
    ("internal", 500, 13, "-", &[]),
];

/// What follows may be no request.
const CLOSED: &[(&str, &str)] = &[("connection", "close")];

/// Nor does who is beyond the limit of connections keep one.
const OVERLOADED: &[(&str, &str)] = &[("connection", "close"), ("retry-after", "1")];

/// The table has every code, in the code's own order: none can be added without a row here and a way to provoke it.
#[tokio::test]
async fn no_code_is_left_out() {
    let world = World::start().await;
    let rows: Vec<_> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(rows, Code::ALL.iter().map(|code| code.facts().name).collect::<Vec<_>>());
    let unprovoked: Vec<_> = Code::ALL.iter().filter(|code| world.provocation(**code).is_none()).collect();
    let elsewhere = [
        Code::SessionExpired,
        Code::CsrfRefused,
        Code::LoginStateInvalid,
        Code::LoginIdTokenInvalid,
        Code::LoginRefused,
        Code::LoginUnavailable,
        Code::LogoutTokenInvalid,
        Code::StoreUnavailable,
        Code::IssuerUnavailable,
        Code::Internal,
    ];
    assert_eq!(unprovoked, elsewhere.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_good_request_passes() {
    let world = World::start().await;
    let mut client = Client::connect(world.gateway.address()).await;
    assert_eq!(client.ask(world.with_token(&json!({}), &json!({}))).await.text(), "ok");
    assert_eq!(client.ask(get("/open", "")).await.text(), "ok");
}

#[tokio::test]
async fn every_refusal_is_told_whole() {
    let world = World::start().await;
    for (row, code) in TABLE.iter().zip(Code::ALL) {
        let Some(provoked) = world.provocation(*code) else { continue };
        let answer = ask(&world, provoked, |request| request).await;
        let (name, status, _, error, more) = *row;
        let facts = code.facts();
        let id = request_id(&answer);
        let body = json!({
            "type": format!("urn:bearward:code:{name}"), "title": facts.title, "status": status,
            "detail": facts.detail, "code": name, "request_id": id,
        });
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), body, "{name}");
        let mut headers = vec![
            ("content-type".to_owned(), "application/problem+json".to_owned()),
            ("cache-control".to_owned(), "no-store".to_owned()),
            ("content-length".to_owned(), answer.body.len().to_string()),
        ];
        headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        headers.extend(challenge(error, facts.detail).map(|value| ("www-authenticate".to_owned(), value)));
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(told(&answer), sorted(headers), "{name}");
    }
}

/// A gRPC client reads no problem: it is refused in its own terms, and all of it stands in the head.
#[tokio::test]
async fn every_refusal_has_its_form_in_grpc() {
    let world = World::start().await;
    for (row, code) in TABLE.iter().zip(Code::ALL) {
        let Some(provoked) = world.provocation(*code) else { continue };
        let grpc = |request: String| request.replacen("\r\n", "\r\ncontent-type: application/grpc+proto\r\n", 1);
        let answer = ask(&world, provoked, grpc).await;
        let (name, _, status, _, more) = *row;
        request_id(&answer);
        let mut headers = vec![
            ("content-type".to_owned(), "application/grpc".to_owned()),
            ("cache-control".to_owned(), "no-store".to_owned()),
            ("content-length".to_owned(), "0".to_owned()),
            ("grpc-status".to_owned(), status.to_string()),
            ("grpc-message".to_owned(), code.facts().detail.to_owned()),
        ];
        // `Connection` is the transport's; what else a refusal bears is HTTP's.
        let transport = more.iter().filter(|(name, _)| *name == "connection");
        headers.extend(transport.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        assert_eq!((answer.status, answer.text()), (200, ""), "{name}");
        assert_eq!(told(&answer), sorted(headers), "{name}");
    }
}

/// Over HTTP/2, which is what gRPC speaks, and to HEAD: the same answers.
#[tokio::test]
async fn a_refusal_is_the_same_over_http2_and_to_head() {
    let world = World::start().await;
    let mut client = Http2::connect(world.gateway.address()).await;
    let url = format!("http://{}/orders", world.gateway.address());
    let request = || Request::builder().uri(&url);
    let whole = client.ask(request().body(Full::new(Bytes::new())).unwrap()).await;
    assert_eq!((whole.status, whole.code().as_str()), (401, "credential_missing"));
    assert_eq!(whole.header("www-authenticate"), Some("Bearer realm=\"bearward\""));
    let grpc = request().method("POST").header("content-type", "application/grpc").header("te", "trailers");
    let grpc = client.ask(grpc.body(Full::new(Bytes::from_static(b"\0\0\0\0\0"))).unwrap()).await;
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, Some("16")));
    assert_eq!((grpc.header("content-type"), grpc.text()), (Some("application/grpc"), ""));

    let mut client = Client::connect(world.gateway.address()).await;
    let head = client.ask("HEAD /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let get = client.ask(get("/nowhere", "")).await;
    assert_eq!((head.status, told(&head)), (404, told(&get)));
    assert_eq!(world.upstream.opened(), 0);
}

/// Sends it on a connection of its own, and sees that the API saw what it should have.
async fn ask(world: &World, provoked: Provoked, form: impl Fn(String) -> String) -> Answer {
    let before = world.upstream.requests().len();
    if let Some(reply) = provoked.reply {
        world.upstream.reply(reply);
    }
    let open = "bearward_connections{listener=\"127.0.0.1:0\"}";
    world.gateway.counted(open, 0.0).await;
    let mut crowd = Vec::new();
    for _ in 0..provoked.crowd {
        crowd.push(Client::connect(world.gateway.address()).await);
    }
    world.gateway.counted(open, crowd.len() as f64).await;
    let mut client = Client::connect(world.gateway.address()).await;
    let answer = client.ask(form(provoked.request)).await;
    match provoked.upstream {
        Seen::Nothing => assert_eq!(world.upstream.requests().len(), before, "{}", answer.code()),
        Seen::Part => assert!(!world.upstream.request(before).await.whole),
        Seen::Whole => assert!(world.upstream.request(before).await.whole),
    }
    answer
}

/// The id of the request, which must stand there and look like one of ours.
fn request_id(answer: &Answer) -> &str {
    let id = answer.header("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    id
}

fn challenge(error: &str, detail: &str) -> Option<String> {
    let text = |error: &str| format!("Bearer realm=\"bearward\", error=\"{error}\", error_description=\"{detail}\"");
    match error {
        "-" => None,
        "" => Some("Bearer realm=\"bearward\"".to_owned()),
        "insufficient_scope" => Some(format!("{}, scope=\"read orders:read\"", text(error))),
        error => Some(text(error)),
    }
}

/// Every header of an answer but the two that differ each time.
fn told(answer: &Answer) -> Vec<(String, String)> {
    assert!(answer.header("date").is_some());
    let fields = answer.headers.iter().filter(|(name, _)| name != "date" && name != "x-request-id");
    sorted(fields.cloned().collect())
}

fn sorted(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.sort();
    headers
}

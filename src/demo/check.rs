//! The tour, taken: each stop's request is sent over a socket of its own, and everything that can be seen is compared.
//!
//! 1. The good access token is answered 200, and the API saw exactly that one request, with the identity headers.
//! 2. A refusal has its status, its code and its challenge (RFC 6750 section 3), and the API saw nothing.
//! 3. A refusal counts only where the good token passed: a gateway that refuses everything proves nothing.
//! 4. A refresh brings an access token that the gateway lets through; an error of the issuer has its own words.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::form_urlencoded::Serializer;

use super::api::{Api, Seen};
use super::issuer::Issuer;
use super::provider::{Fault, Provider};
use super::tour::{Answer, Ask, Event, ORDERS, Stop, Tour};
use crate::policy::reject::{Challenge, Code};
use crate::remote::clock::Hands;

/// Whom the tour speaks to.
pub struct Parties<'a> {
    /// Whose row it is.
    pub provider: &'a Provider,
    /// Its issuer.
    pub issuer: &'a Issuer,
    /// The gateway.
    pub gateway: SocketAddr,
    /// The API behind it.
    pub api: &'a Api,
    /// What moves the time of issuer and gateway.
    pub hands: &'a Hands,
}

/// How one stop went.
#[derive(Debug)]
pub struct Finding {
    /// What was sent.
    pub title: String,
    /// What should come back.
    pub expected: String,
    /// What differs; empty where nothing does.
    pub faults: Vec<String>,
}

/// What came back.
struct Reply {
    status: StatusCode,
    challenges: Vec<String>,
    content_type: Option<String>,
    body: Value,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
enum AskFault {
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("the answer's body is cut or too large: {0}")]
    Body(Box<str>),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Patience,
}

/// How long an answer may take: an unknown key waits for a refetch of at most 5 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Longer than the gateway waits between two fetches for unknown keys.
const COOLDOWN: Duration = Duration::from_secs(11);

/// Takes the whole tour.
pub async fn check(tour: &Tour, parties: &Parties<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for stop in &tour.stops {
        parties.api.take_seen();
        let mut faults = match parties.happens(stop.before) {
            Ok(()) => parties.visit(tour, stop).await.unwrap_or_else(|fault| vec![fault.to_string()]),
            Err(fault) => vec![fault],
        };
        // The good token's stop is the first.
        if faults.is_empty() && findings.first().is_some_and(|good| !good.faults.is_empty()) {
            faults.push("not counted: the good access token did not pass".to_owned());
        }
        findings.push(Finding { title: stop.title.clone(), expected: stop.answer.told(), faults });
    }
    findings
}

impl Parties<'_> {
    fn happens(&self, event: Event) -> Result<(), String> {
        match event {
            Event::None => Ok(()),
            Event::KeysRotated => {
                self.hands.advance(COOLDOWN);
                self.issuer.rotate_keys().map_err(|fault| fault.to_string())
            }
            Event::Time(time) => {
                self.hands.advance(time);
                Ok(())
            }
        }
    }

    /// Makes one stop; what differs from its answer.
    async fn visit(&self, tour: &Tour, stop: &Stop) -> Result<Vec<String>, AskFault> {
        match &stop.request {
            Ask::Api { path, token } => {
                let reply = self.api(path, token.as_deref().and_then(|name| tour.text(name))).await?;
                Ok(compare(path, &stop.answer, &reply, &self.api.take_seen()))
            }
            Ask::Refresh { token, secret } => {
                let token = tour.text(token).unwrap_or_default();
                let reply = self.refresh(token, tour.text(secret).unwrap_or_default()).await?;
                let mut faults = compare_issued(&stop.answer, &reply, token);
                if faults.is_empty()
                    && let Some(access) = reply.body.get("access_token").and_then(Value::as_str)
                {
                    let passed = self.api(ORDERS, Some(access)).await?;
                    if passed.status != StatusCode::OK {
                        faults.push(format!("the new access token is answered {}: {}", passed.status, passed.body));
                    }
                }
                Ok(faults)
            }
        }
    }

    async fn api(&self, path: &str, token: Option<&str>) -> Result<Reply, AskFault> {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        send(self.gateway, request, String::new()).await
    }

    async fn refresh(&self, token: &str, secret: &str) -> Result<Reply, AskFault> {
        let client = self.provider.client();
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
        let mut request = Request::post(self.issuer.token_path());
        if self.provider.writes_basic() {
            // Neither the demo's ids nor its secrets have a character that would be encoded.
            request = request
                .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{client}:{secret}"))));
        } else {
            form.append_pair("client_id", client).append_pair("client_secret", secret);
        }
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        send(self.issuer.address(), request, form.finish()).await
    }
}

async fn send(to: SocketAddr, request: http::request::Builder, body: String) -> Result<Reply, AskFault> {
    let request = request.header(header::HOST, to.to_string()).body(Full::new(Bytes::from(body)))?;
    let asked = async {
        let stream = TcpStream::connect(to).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let reply = match sender.send_request(request).await {
            Ok(response) => read(response).await,
            Err(error) => Err(error.into()),
        };
        driver.abort();
        reply
    };
    timeout(PATIENCE, asked).await.unwrap_or(Err(AskFault::Patience))
}

async fn read(response: Response<Incoming>) -> Result<Reply, AskFault> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| AskFault::Body(error.to_string().into()))?.to_bytes();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Reply {
        status: head.status,
        challenges: head.headers.get_all(header::WWW_AUTHENTICATE).iter().map(text).collect(),
        content_type: head.headers.get(header::CONTENT_TYPE).map(text),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// What differs in an answer of the gateway.
fn compare(path: &str, answer: &Answer, reply: &Reply, seen: &[Seen]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut same = |what: &str, found: String, expected: String| {
        if found != expected {
            faults.push(format!("{what} is {found}, not {expected}"));
        }
    };
    let shown = |text: Option<&str>| text.unwrap_or("absent").to_owned();
    match answer {
        Answer::Permitted(identity) => {
            same("the status", reply.status.as_u16().to_string(), "200".to_owned());
            let told = identity.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let expected = Seen { method: "GET".to_owned(), path: path.to_owned(), identity: told };
            same("what the API saw", format!("{seen:?}"), format!("{:?}", [expected]));
        }
        Answer::Refused(code, scope) => {
            same("the status", reply.status.as_u16().to_string(), code.facts().status.to_string());
            same("the code", shown(reply.body.get("code").and_then(Value::as_str)), code.to_string());
            same("the content type", shown(reply.content_type.as_deref()), "application/problem+json".to_owned());
            same("what the API saw", format!("{seen:?}"), "[]".to_owned());
            if let Some(fault) = challenge_fault(&reply.challenges, *code, *scope) {
                faults.push(fault);
            }
        }
        Answer::Issued { .. } | Answer::Fault(_) => faults.push("the gateway is not the issuer".to_owned()),
    }
    faults
}

/// What differs in an answer of the issuer to this refresh token.
fn compare_issued(answer: &Answer, reply: &Reply, token: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut same = |what: &str, found: String, expected: String| {
        if found != expected {
            faults.push(format!("{what} is {found}, not {expected}"));
        }
    };
    match answer {
        Answer::Issued { same: kept } => {
            same("the status", reply.status.as_u16().to_string(), "200".to_owned());
            let refresh = reply.body.get("refresh_token").and_then(Value::as_str);
            let found = refresh.map(|found| found == token);
            same("that the refresh token is the same", format!("{found:?}"), format!("{:?}", Some(*kept)));
        }
        Answer::Fault(Fault { status, error, error_description, .. }) => {
            same("the status", reply.status.as_u16().to_string(), status.to_string());
            let expected = json!({ "error": error, "error_description": error_description });
            same("the error", reply.body.to_string(), expected.to_string());
        }
        Answer::Permitted(_) | Answer::Refused(..) => faults.push("the issuer is not the gateway".to_owned()),
    }
    faults
}

/// What is wrong with the challenge of a refusal: its realm, its error and its scope are compared, its text is free.
fn challenge_fault(challenges: &[String], code: Code, scope: Option<&str>) -> Option<String> {
    let kind = code.facts().challenge;
    if kind == Challenge::None {
        return (!challenges.is_empty()).then(|| format!("there is a challenge: {}", challenges.join(" | ")));
    }
    let [found] = challenges else {
        return Some(format!("there are {} challenges, not one", challenges.len()));
    };
    let has = |attribute: &str, value: &str| found.contains(&format!("{attribute}=\"{value}\""));
    let error = match kind.error() {
        Some(error) => has("error", error),
        None => !found.contains("error"),
    };
    let scope = scope.is_none_or(|scope| has("scope", scope));
    let good = found.starts_with("Bearer ") && has("realm", "bearward") && error && scope;
    (!good).then(|| format!("the challenge is not the one of {code}: {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, code: Option<&str>, challenges: &[&str]) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            challenges: challenges.iter().map(|text| (*text).to_owned()).collect(),
            content_type: Some("application/problem+json".to_owned()),
            body: json!({ "code": code }),
        }
    }

    fn seen(user: &str) -> Seen {
        let identity = [("x-user".to_owned(), user.to_owned())].into();
        Seen { method: "GET".to_owned(), path: "/orders/7".to_owned(), identity }
    }

    const INVALID: &str = r#"Bearer realm="bearward", error="invalid_token", error_description="expired""#;

    #[test]
    fn a_permitted_request_is_seen_once_with_its_identity() {
        let answer = Answer::Permitted(vec![("x-user", "jo".to_owned())]);
        let faults = |status, seen: &[Seen]| compare(ORDERS, &answer, &reply(status, None, &[]), seen).len();
        assert_eq!(faults(200, &[seen("jo")]), 0);
        assert_eq!(faults(200, &[seen("mallory")]), 1);
        assert_eq!(faults(200, &[seen("jo"), seen("jo")]), 1);
        assert_eq!(faults(200, &[]), 1);
        assert_eq!(faults(401, &[]), 2);
    }

    #[test]
    fn a_refusal_is_compared_whole() {
        let answer = Answer::Refused(Code::TokenExpired, None);
        let faults = |reply: Reply, seen: &[Seen]| compare(ORDERS, &answer, &reply, seen).len();
        let code = Some("token_expired");
        assert_eq!(faults(reply(401, code, &[INVALID]), &[]), 0);
        assert_eq!(faults(reply(403, code, &[INVALID]), &[]), 1);
        assert_eq!(faults(reply(401, Some("token_malformed"), &[INVALID]), &[]), 1);
        assert_eq!(faults(reply(401, code, &[INVALID]), &[seen("jo")]), 1);
        assert_eq!(faults(reply(401, code, &[]), &[]), 1);
        assert_eq!(faults(reply(401, code, &[INVALID, INVALID]), &[]), 1);
        assert_eq!(faults(Reply { content_type: None, ..reply(401, code, &[INVALID]) }, &[]), 1);
    }

    #[test]
    fn what_the_issuer_says_is_compared_with_its_own_words() {
        let provider = &Provider::all().unwrap()[0];
        let says = |status, body| Reply {
            status: StatusCode::from_u16(status).unwrap(),
            body,
            challenges: Vec::new(),
            content_type: None,
        };
        let faults = |answer: &Answer, status, body| compare_issued(answer, &says(status, body), "old").len();
        let issued = Answer::Issued { same: false };
        assert_eq!(faults(&issued, 200, json!({ "access_token": "a", "refresh_token": "new" })), 0);
        assert_eq!(faults(&issued, 200, json!({ "access_token": "a", "refresh_token": "old" })), 1);
        assert_eq!(faults(&issued, 200, json!({ "access_token": "a" })), 1);
        let fault = Answer::Fault(&provider.faults.refresh);
        let told = json!({ "error": "invalid_grant", "error_description": "grant request is invalid" });
        assert_eq!(faults(&fault, 400, told.clone()), 0);
        assert_eq!(faults(&fault, 401, told), 1);
        assert_eq!(faults(&fault, 400, json!({ "error": "invalid_client" })), 1);
    }

    #[test]
    fn a_challenge_has_the_error_of_its_code() {
        let good = |challenge: &str, code, scope| challenge_fault(&[challenge.to_owned()], code, scope).is_none();
        let bare = r#"Bearer realm="bearward""#;
        let scoped = r#"Bearer realm="bearward", error="insufficient_scope", scope="reports:write""#;
        assert!(good(bare, Code::CredentialMissing, None));
        assert!(!good(INVALID, Code::CredentialMissing, None), "no error code where no credential was sent");
        assert!(good(INVALID, Code::TokenExpired, None));
        assert!(!good(bare, Code::TokenExpired, None));
        assert!(good(scoped, Code::ScopeInsufficient, Some("reports:write")));
        assert!(!good(scoped, Code::ScopeInsufficient, Some("reports:read")));
        assert!(!good(r#"Bearer realm="x", error="invalid_token""#, Code::TokenExpired, None));
        assert!(!good(INVALID, Code::ClientRefused, None), "a code without a challenge");
        assert!(challenge_fault(&[], Code::ClientRefused, None).is_none());
    }
}

//! The tour, taken: each stop's request is sent over a socket of its own, and everything that can be seen is compared.
//!
//! 1. The good access token is answered 200, and the API saw exactly that one request, with the identity headers.
//! 2. A refusal has its status, its code and its challenge (RFC 6750 section 3), and the API saw nothing.
//! 3. A refusal counts only where the good token passed: a gateway that refuses everything proves nothing.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::api::{Api, Seen};
use super::tour::{Answer, Stop, Tour};
use crate::policy::reject::{Challenge, Code};

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
    code: Option<String>,
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

/// Takes the whole tour.
pub async fn check(tour: &Tour, gateway: SocketAddr, api: &Api) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for stop in &tour.stops {
        api.take_seen();
        let reply = match timeout(PATIENCE, ask(tour, stop, gateway)).await {
            Ok(reply) => reply,
            Err(_) => Err(AskFault::Patience),
        };
        let mut faults = match reply {
            Ok(reply) => compare(stop, &reply, &api.take_seen()),
            Err(fault) => vec![fault.to_string()],
        };
        // The good token's stop is the first.
        if faults.is_empty() && findings.first().is_some_and(|good| !good.faults.is_empty()) {
            faults.push("not counted: the good access token did not pass".to_owned());
        }
        findings.push(Finding { title: stop.title.clone(), expected: stop.answer.told(), faults });
    }
    findings
}

async fn ask(tour: &Tour, stop: &Stop, gateway: SocketAddr) -> Result<Reply, AskFault> {
    let stream = TcpStream::connect(gateway).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(stop.path).header(header::HOST, gateway.to_string());
    if let Some(token) = stop.token.as_deref().and_then(|name| tour.token(name)) {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await;
    let reply = match response {
        Ok(response) => read(response).await,
        Err(error) => Err(error.into()),
    };
    driver.abort();
    reply
}

async fn read(response: Response<Incoming>) -> Result<Reply, AskFault> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| AskFault::Body(error.to_string().into()))?.to_bytes();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let problem: Option<Value> = serde_json::from_slice(&body).ok();
    Ok(Reply {
        status: head.status,
        challenges: head.headers.get_all(header::WWW_AUTHENTICATE).iter().map(text).collect(),
        content_type: head.headers.get(header::CONTENT_TYPE).map(text),
        code: problem.and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned())),
    })
}

fn compare(stop: &Stop, reply: &Reply, seen: &[Seen]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut same = |what: &str, found: String, expected: String| {
        if found != expected {
            faults.push(format!("{what} is {found}, not {expected}"));
        }
    };
    let shown = |text: Option<&str>| text.unwrap_or("absent").to_owned();
    match &stop.answer {
        Answer::Permitted(identity) => {
            same("the status", reply.status.as_u16().to_string(), "200".to_owned());
            let told = identity.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let expected = Seen { method: "GET".to_owned(), path: stop.path.to_owned(), identity: told };
            same("what the API saw", format!("{seen:?}"), format!("{:?}", [expected]));
        }
        Answer::Refused(code, scope) => {
            same("the status", reply.status.as_u16().to_string(), code.facts().status.to_string());
            same("the code", shown(reply.code.as_deref()), code.to_string());
            same("the content type", shown(reply.content_type.as_deref()), "application/problem+json".to_owned());
            same("what the API saw", format!("{seen:?}"), "[]".to_owned());
            if let Some(fault) = challenge_fault(&reply.challenges, *code, *scope) {
                faults.push(fault);
            }
        }
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

    fn stop(answer: Answer) -> Stop {
        Stop { title: "a stop".to_owned(), path: "/orders/7", token: None, answer }
    }

    fn reply(status: u16, code: Option<&str>, challenges: &[&str]) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            challenges: challenges.iter().map(|text| (*text).to_owned()).collect(),
            content_type: Some("application/problem+json".to_owned()),
            code: code.map(str::to_owned),
        }
    }

    fn seen(user: &str) -> Seen {
        let identity = [("x-user".to_owned(), user.to_owned())].into();
        Seen { method: "GET".to_owned(), path: "/orders/7".to_owned(), identity }
    }

    const INVALID: &str = r#"Bearer realm="bearward", error="invalid_token", error_description="expired""#;

    #[test]
    fn a_permitted_request_is_seen_once_with_its_identity() {
        let stop = stop(Answer::Permitted(vec![("x-user", "jo".to_owned())]));
        let faults = |status, seen: &[Seen]| compare(&stop, &reply(status, None, &[]), seen).len();
        assert_eq!(faults(200, &[seen("jo")]), 0);
        assert_eq!(faults(200, &[seen("mallory")]), 1);
        assert_eq!(faults(200, &[seen("jo"), seen("jo")]), 1);
        assert_eq!(faults(200, &[]), 1);
        assert_eq!(faults(401, &[]), 2);
    }

    #[test]
    fn a_refusal_is_compared_whole() {
        let stop = stop(Answer::Refused(Code::TokenExpired, None));
        let faults = |reply: Reply, seen: &[Seen]| compare(&stop, &reply, seen).len();
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

//! A refusal as an answer: the only place where one becomes the other.
//!
//! 1. `application/problem+json` (RFC 9457), never cached, with the code's public text and nothing of the request's.
//! 2. Every 401, and every other code that has one, bears its challenge (RFC 6750 section 3).
//! 3. A gRPC request is refused in gRPC's terms: HTTP 200, no body, `grpc-status` and `grpc-message` in the head
//!    ("Trailers-Only" of the gRPC protocol over HTTP/2).
//! 4. Where the connection may hold bytes that nobody can frame, or that nobody will read, it is closed.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use serde::Serialize;

use super::body::Body;
use crate::policy::reject::{Challenge, Code, Facts, Reject};
use crate::policy::trace::{RequestId, X_REQUEST_ID};

/// What of a request decides how it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    head_only: bool,
    grpc: bool,
    version: Version,
}

impl Asked {
    /// Looks at a request.
    pub fn by<B>(request: &Request<B>) -> Self {
        Self {
            head_only: request.method() == Method::HEAD,
            grpc: is_grpc(request.headers()),
            version: request.version(),
        }
    }

    /// Whether it is a gRPC request.
    pub fn is_grpc(self) -> bool {
        self.grpc
    }
}

/// The answer to a refused request.
pub fn refuse(reject: &Reject, asked: Asked, request_id: &RequestId) -> Response<Body> {
    let facts = reject.code().facts();
    let mut response = if asked.grpc { grpc(&facts) } else { problem(reject, &facts, asked, request_id) };
    let headers = response.headers_mut();
    headers.insert(&X_REQUEST_ID, request_id.value().clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if asked.version < Version::HTTP_2 && closes(reject.code()) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A problem's members (RFC 9457 section 3), and two of ours.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

fn problem(reject: &Reject, facts: &Facts, asked: Asked, request_id: &RequestId) -> Response<Body> {
    let problem = Problem {
        r#type: format!("urn:bearward:code:{}", facts.name),
        title: facts.title,
        status: facts.status,
        detail: &reject.detail(),
        code: facts.name,
        request_id: request_id.as_str(),
    };
    // Plain strings and a number always serialize; the fallback only keeps this function total.
    let text = serde_json::to_vec(&problem).unwrap_or_default();
    let length = text.len();
    let mut response = Response::new(if asked.head_only { Body::empty() } else { Body::own(Bytes::from(text)) });
    *response.status_mut() = StatusCode::from_u16(facts.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if asked.head_only {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(challenge) = challenge(reject) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = reject.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Reject::MethodNotAllowed { allow } = reject
        && let Ok(allow) = HeaderValue::from_str(allow)
    {
        headers.insert(ALLOW, allow);
    }
    response
}

/// The challenge, where the code has one (RFC 6750 section 3).
pub fn challenge(reject: &Reject) -> Option<HeaderValue> {
    let facts = reject.code().facts();
    let mut text = String::from("Bearer realm=\"bearward\"");
    match facts.challenge {
        Challenge::None => return None,
        Challenge::Bare => {}
        Challenge::InvalidRequest | Challenge::InvalidToken | Challenge::InsufficientScope => {
            push_attribute(&mut text, "error", facts.challenge.error()?);
            push_attribute(&mut text, "error_description", facts.detail);
        }
    }
    let scopes = reject.scopes();
    if !scopes.is_empty() {
        push_attribute(&mut text, "scope", &scopes.join(" "));
    }
    HeaderValue::try_from(text).ok()
}

/// Appends an attribute, less the characters that RFC 6750 section 3 keeps out of its values.
fn push_attribute(text: &mut String, name: &str, value: &str) {
    text.push_str(", ");
    text.push_str(name);
    text.push_str("=\"");
    text.extend(value.chars().filter(|char| (' '..='~').contains(char) && !matches!(char, '"' | '\\')));
    text.push('"');
}

/// The refusal of a gRPC request: all of it in the head.
fn grpc(facts: &Facts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(&GRPC_STATUS, HeaderValue::from(u16::from(facts.grpc)));
    // Our texts are printable ASCII; `%` alone would have to be encoded, and none has it (a test holds that).
    headers.insert(&GRPC_MESSAGE, HeaderValue::from_static(facts.detail));
    response
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether the body is announced as gRPC, in any encoding of messages.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let Some((kind, rest)) = value.as_bytes().split_at_checked(b"application/grpc".len()) else { return false };
    kind.eq_ignore_ascii_case(b"application/grpc") && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Whether bytes may be left on the connection that are no request.
fn closes(code: Code) -> bool {
    [Code::RequestMalformed, Code::HeadTooLarge, Code::BodyTooLarge, Code::RequestTimeout].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_public_text_fits_the_places_it_is_put_in() {
        for code in Code::ALL {
            let facts = code.facts();
            let fits = facts.detail.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\%".contains(&byte));
            assert!(fits, "{}: {}", facts.name, facts.detail);
        }
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let request = Request::builder().header(CONTENT_TYPE, value).body(()).unwrap();
            assert_eq!(Asked::by(&request).is_grpc(), expected, "{value}");
        }
    }
}

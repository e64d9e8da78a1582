//! The heads of a request and of its answer at the border to an upstream.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{self, Authority, Scheme, Uri};
use http::{HeaderMap, Method, StatusCode, Version};

/// A request's head for HTTP/1.1.
pub(super) fn for_http1(mut head: Parts) -> Parts {
    head.version = Version::HTTP_11;
    head
}

/// The same for HTTP/2, which has pseudo-header fields for the target, frames for the framing, and no fields about the
/// connection (RFC 9113 section 8.2.2, 8.3.1). None where the request names no host.
pub(super) fn for_http2(mut head: Parts, scheme: Scheme) -> Option<Parts> {
    let host = head.headers.remove(HOST)?;
    head.headers.remove(CONNECTION);
    head.headers.remove(TRANSFER_ENCODING);
    let mut target = uri::Parts::default();
    target.scheme = Some(scheme);
    target.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    target.path_and_query = head.uri.path_and_query().cloned();
    head.uri = Uri::from_parts(target).ok()?;
    head.version = Version::HTTP_2;
    Some(head)
}

/// Whether an answer has no body, whatever its fields say (RFC 9110 section 6.4.1).
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Whether an answer's fields say that it has a body.
pub(super) fn declares_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// Why an answer's head cannot be passed on, beside what the parser refuses.
///
/// hyper takes a length beside `chunked`, two equal lengths, and codings that it then reads to the connection's end; a
/// client, or a cache between, may frame each of these otherwise (RFC 9112 section 6.3).
pub(super) fn ambiguity(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Some("it switched protocols, which nobody asked for");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if codings.next().is_some() || coding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Some("its Transfer-Encoding is not `chunked` alone");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if coding.is_some() && length.is_some() {
        return Some("it has both Content-Length and Transfer-Encoding");
    }
    if lengths.next().is_some() || length.is_some_and(|value| !is_length(value.as_bytes())) {
        return Some("its Content-Length is not one number");
    }
    None
}

/// Up to 18 digits: what fits every reader's integer.
fn is_length(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit)
}

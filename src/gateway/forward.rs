//! From a permit to the upstream's answer: rewrites the head, bounds the body, sends, and passes the answer back.
//!
//! The path that was decided on is the path that is sent, byte for byte, less `strip_prefix`. Framing is made anew: the length that the body
//! really has, or chunks; never a length or a coding that a client wrote. Both bodies stream, each at the pace of its reader.

use http::header::{CONTENT_LENGTH, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::Body;
use super::request_body::{Pace, RequestBody};
use crate::policy::headers::{Onward, join_cookies, towards_client, towards_upstream};
use crate::policy::permit::Permit;
use crate::policy::reject::Reject;
use crate::policy::route::Route;
use crate::remote::upstream::{Entered, NoAnswer};

/// Refuses a body that is said to be larger than the route takes, before the upstream hears of the request.
///
/// # Errors
///
/// `body_too_large`.
pub fn announced(route: &Route, body: &Incoming) -> Result<(), Reject> {
    match route.body_bytes {
        Some(limit) if body.size_hint().lower() > limit => Err(Reject::BodyTooLarge { limit }),
        Some(_) | None => Ok(()),
    }
}

/// Sends a permitted request to its route's upstream, where it has `entered`, and gives the answer as the client shall see it.
///
/// # Errors
///
/// `body_too_large`, `request_timeout` or `request_malformed` for the request's body, and what
/// [`Entered::send`] gives for the upstream.
pub async fn forward(
    permit: &Permit<'_>,
    entered: Entered<RequestBody>,
    request: Request<Incoming>,
    pace: Pace,
    onward: &Onward<'_>,
) -> Result<Response<Body>, Reject> {
    let route = permit.route();
    let (mut head, body) = request.into_parts();
    let (body, fault) = RequestBody::new(body, head.version, route.body_bytes, pace);
    if head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    towards_upstream(&mut head.headers, onward);
    frame(&head.method, &mut head.headers, &body);
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = target(head.uri, route)?;
    *request.headers_mut() = head.headers;

    match entered.send(request).await {
        Ok(mut response) => {
            towards_client(response.headers_mut(), onward.request_id);
            Ok(response.map(|answer| Body::upstream(answer, fault)))
        }
        Err(NoAnswer::Upstream(reject)) => Err(reject),
        Err(NoAnswer::RequestBody) => Err(match fault.and_then(|fault| fault.get().copied()) {
            Some(fault) => fault.reject(route.body_bytes),
            None => Reject::Internal { why: "a request's body failed without a fault" },
        }),
    }
}

/// Leaves the framing of the body to the one who writes it.
fn frame(method: &Method, headers: &mut HeaderMap, body: &RequestBody) {
    let declared = headers.remove(CONTENT_LENGTH).is_some();
    headers.remove(TRANSFER_ENCODING);
    headers.remove(TRAILER);
    if body.is_end_stream() {
        // "No body" and "a body of no bytes" are told apart by some servers (RFC 9110 section 8.6).
        if declared || [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else if body.size_hint().exact().is_none() {
        // hyper would send a GET's body of unknown length as no body.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The target as an origin server is asked for it (RFC 9112 section 3.2.1), by the path that the route's upstream gets.
fn target(uri: Uri, route: &Route) -> Result<Uri, Reject> {
    if route.stripped > 0 {
        let path = route.sent_path(uri.path());
        let target = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        // What was a target still is one without its first segments; the error only keeps this function total.
        return target.parse().map_err(|_| Reject::Internal { why: "a stripped path is no target" });
    }
    if uri.scheme().is_none() && uri.authority().is_none() {
        return Ok(uri);
    }
    let path: Option<PathAndQuery> = uri.into_parts().path_and_query;
    path.map(Uri::from).ok_or(Reject::RequestMalformed { rule: "the target has no path" })
}

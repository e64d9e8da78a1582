//! The header fields of a request on its way to the upstream, and of an answer on its way back.
//!
//! Towards the upstream, in this order:
//!
//! 1. Fields whose names have bytes outside `[A-Za-z0-9-]` go: many servers read `X_User` and `X.User` as `X-User`.
//! 2. The gateway's identity fields go, on every route, whatever the route itself sets; so do `X-Real-IP` and every
//!    `X-Forwarded-*` that is not set below.
//! 3. Hop-by-hop fields go (RFC 9110 section 7.6.1): the known ones, and those that `Connection` names. A client cannot
//!    name away `Authorization`, `Host`, `Content-Length` or where the request came from; naming what else is set below
//!    has no effect, because it is set after.
//! 4. `TE: trailers` alone is passed on, as our own wish: answers' trailers are passed back.
//! 5. `Expect` goes: it was ours to answer. `Authorization` goes where the upstream must not have it. The cookies of our
//!    sessions go, on every route; others stay as they are.
//! 6. Then ours are set: `Host`, the identity of this request, `Forwarded` and `X-Forwarded-*`, `x-request-id`, `traceparent`.
//!
//! Removing comes before setting, so nothing from outside survives beside ours. `Content-Length` and
//! `Transfer-Encoding` are not judged here: framing towards the upstream is made anew where the body is known.
//! The map is changed in place.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::cookies;
use super::forwarded::{Client, Hop, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, set_forwarded};
use super::trace::{RequestId, Trace, X_REQUEST_ID};

/// What a request's head becomes on its way to the upstream.
#[derive(Debug)]
pub struct Onward<'a> {
    /// The host and port that were decided on, as they were sent.
    pub authority: &'a str,
    /// The upstream's own host, where it is to see that instead.
    pub upstream_host: Option<&'a HeaderValue>,
    /// Every identity field that any route of this gateway sets.
    pub identity_names: &'a [HeaderName],
    /// The identity of this request.
    pub identity: &'a [(HeaderName, HeaderValue)],
    /// Whether the upstream gets the caller's `Authorization`.
    pub keep_authorization: bool,
    /// The access token of the session that the request is of, as the value of `Authorization`.
    pub bearer: Option<&'a HeaderValue>,
    /// The cookies of our sessions.
    pub own_cookies: &'a [String],
    /// Where the request came from.
    pub hop: Hop,
    /// Who the client is.
    pub client: Client,
    /// The request's id.
    pub request_id: &'a RequestId,
    /// The request's trace.
    pub trace: &'a Trace,
}

/// Rewrites a request's fields as the module says.
pub fn towards_upstream(headers: &mut HeaderMap, onward: &Onward<'_>) {
    remove_impostors(headers, onward.identity_names);
    let trailers = accepts_trailers(headers);
    remove_hop_by_hop(headers);
    headers.remove(header::EXPECT);
    cookies::cut(headers, onward.own_cookies);
    if !onward.keep_authorization {
        headers.remove(header::AUTHORIZATION);
    } else if let Some(bearer) = onward.bearer {
        headers.insert(header::AUTHORIZATION, bearer.clone());
    }
    if trailers {
        // RFC 9110 section 10.1.4: who sends TE names it in Connection.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    let host = onward.upstream_host.cloned().or_else(|| HeaderValue::from_str(onward.authority).ok());
    match host {
        Some(host) => headers.insert(header::HOST, host),
        None => headers.remove(header::HOST),
    };
    for (name, value) in onward.identity {
        headers.insert(name, value.clone());
    }
    set_forwarded(headers, onward.hop, onward.client, onward.authority);
    headers.insert(&X_REQUEST_ID, onward.request_id.value().clone());
    onward.trace.set(headers);
}

/// Makes one field of the cookies, which a client of HTTP/2 may send apart (RFC 9113 section 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Values with a blank between them are a value again; the fallback only keeps this function total.
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice()))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Rewrites an answer's fields: hop-by-hop ones go, and the request id is ours.
pub fn towards_client(headers: &mut HeaderMap, request_id: &RequestId) {
    remove_hop_by_hop(headers);
    headers.insert(&X_REQUEST_ID, request_id.value().clone());
}

/// Rewrites an answer's trailers: what speaks of the connection, the framing or the request id has no place there
/// (RFC 9110 section 6.5.1).
pub fn trailers_towards_client(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    trailers.remove(header::CONTENT_LENGTH);
    trailers.remove(&X_REQUEST_ID);
}

/// Removes what pretends to come from the gateway, or is read as something else further on.
fn remove_impostors(headers: &mut HeaderMap, identity_names: &[HeaderName]) {
    let ours = [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST];
    let is_impostor = |name: &&HeaderName| {
        let text = name.as_str();
        // A name is in lower case here, however it was sent.
        !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            || text.starts_with("x-forwarded-") && !ours.contains(name)
            || text == "x-real-ip"
            || identity_names.contains(name)
    };
    let doomed: Vec<HeaderName> = headers.keys().filter(is_impostor).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// Removes the fields that are about one connection only.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().flat_map(named_by_connection);
    let known = headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned();
    let doomed: Vec<HeaderName> = named.chain(known).collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// The fields that `Connection` names, less those that nobody may name away.
fn named_by_connection(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok())
        .filter(|name| !UNNAMEABLE.contains(&name.as_str()))
}

/// Whether `TE` names trailers (RFC 9110 section 10.1.4).
fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|member| member.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Fields about one connection (RFC 9110 section 7.6.1) and of the retired h2c upgrade (RFC 7540 section 3.2.1).
///
/// `Trailer` stays: it speaks of the message.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that lead to the decision, or tell where a request came from: `Connection` cannot name them away.
const UNNAMEABLE: [&str; 7] = [
    "authorization",
    "host",
    "content-length",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::trace::Sampling;

    fn onward(sent: &[(&str, &str)], keep_authorization: bool) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let identity_names = [HeaderName::from_static("x-user"), HeaderName::from_static("x-scope")];
        let hop = Hop { peer: "192.0.2.1".parse().unwrap(), trusted: false, tls: false };
        let onward = Onward {
            authority: "api.test",
            upstream_host: None,
            identity_names: &identity_names,
            identity: &[(HeaderName::from_static("x-user"), HeaderValue::from_static("alice"))],
            keep_authorization,
            bearer: None,
            own_cookies: &[],
            hop,
            client: Client::of(&HeaderMap::new(), hop, |_| false),
            request_id: &RequestId::made([0; 16]),
            trace: &Trace::of(&HeaderMap::new(), [0; 32], Sampling::OFF),
        };
        towards_upstream(&mut headers, &onward);
        let mut fields: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        fields.sort();
        fields
    }

    /// What is sent onwards beside what we always set.
    fn kept(sent: &[(&str, &str)]) -> Vec<(String, String)> {
        let always = onward(&[], true);
        onward(sent, true).into_iter().filter(|field| !always.contains(field)).collect()
    }

    #[test]
    fn ours_are_set() {
        let fields = onward(&[], true);
        let expected = [
            ("forwarded", "for=192.0.2.1;proto=http;host=\"api.test\""),
            ("host", "api.test"),
            ("traceparent", "00-00000000000000010000000000000000-0000000000000001-00"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "api.test"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "00000000000000000000000000000000"),
            ("x-user", "alice"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn impostors_do_not_survive_in_any_spelling() {
        for name in
            ["x-user", "X-USER", "x_user", "x.user", "X_User", "x-scope", "x_scope", "x-real-ip", "x-forwarded-port"]
        {
            assert_eq!(kept(&[(name, "mallory"), (name, "again")]), [], "{name}");
        }
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "host", "x-request-id"] {
            assert_eq!(kept(&[(name, "mallory"), (name, "again")]), [], "{name}");
        }
    }

    #[test]
    fn hop_by_hop_fields_go_but_connection_names_nothing_important() {
        let connection =
            "close, X-Hop, Authorization, HOST, Content-Length, X-User, X-Forwarded-For, x-request-id, traceparent";
        let sent = [
            ("connection", connection),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("expect", "100-continue"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("authorization", "Bearer t"),
            ("content-length", "3"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
        ];
        let expected = [("authorization", "Bearer t"), ("content-length", "3"), ("cookie", "a=b"), ("cookie", "c=d")];
        assert_eq!(kept(&sent), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn authorization_is_removed_where_the_upstream_must_not_have_it() {
        assert_eq!(onward(&[("authorization", "Bearer t")], false), onward(&[], true));
    }

    #[test]
    fn a_wish_for_trailers_is_passed_on() {
        let expected = [("connection".to_owned(), "te".to_owned()), ("te".to_owned(), "trailers".to_owned())];
        assert_eq!(kept(&[("te", "gzip;q=0.5, Trailers")]), expected);
    }

    #[test]
    fn trailers_lose_what_has_no_place_there() {
        let mut trailers = HeaderMap::new();
        for name in ["connection", "transfer-encoding", "content-length", "x-request-id", "grpc-status"] {
            trailers.insert(name, HeaderValue::from_static("0"));
        }
        trailers_towards_client(&mut trailers);
        assert_eq!(trailers.len(), 1);
        assert!(trailers.contains_key("grpc-status"));
    }

    #[test]
    fn an_answer_loses_what_is_about_its_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("www-authenticate", "Basic"),
            ("x-request-id", "theirs"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        towards_client(&mut headers, &RequestId::made([0; 16]));
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["www-authenticate"], "Basic");
        assert_eq!(headers["x-request-id"], "0".repeat(32));
    }
}

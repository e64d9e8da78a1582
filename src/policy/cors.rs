//! Requests from pages of other origins (CORS, section 3.2 of the Fetch standard): who answers the preflight by which a
//! browser asks beforehand, and which answers a page's scripts may read.
//!
//! 1. A real preflight is an `OPTIONS` request with one `Origin`, one `Access-Control-Request-Method` that a route can be
//!    for, and no credential: no browser sends one with it. Anything else is judged like any request.
//! 2. Where a route has [`Cors`], the gateway answers preflights itself, and nothing of them reaches the upstream. Every
//!    other answer, the gateway's or the upstream's, says whether the asking origin may read it; what the upstream says of
//!    that is removed.
//! 3. Where a route forwards preflights, they go to the upstream, which alone says who may read.
//! 4. Origins are compared byte for byte, as browsers write them (RFC 6454 section 6.2).
//!
//! None of this keeps a request out: a browser holds its own scripts back, and everybody else is judged by the token.

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, AsHeaderName, COOKIE, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};

use super::request::RequestView;

/// What a route does about requests from pages of other origins.
#[derive(Debug, Clone, Default)]
pub enum CrossOrigin {
    /// Nothing: a preflight is judged like any request.
    #[default]
    Ignored,
    /// The gateway answers preflights, and says who may read answers.
    Answered(Cors),
    /// The upstream does both; preflights go to it without a credential.
    Forwarded,
}

impl CrossOrigin {
    /// Whether preflights are not judged like any request.
    pub fn takes_preflights(&self) -> bool {
        match self {
            Self::Ignored => false,
            Self::Answered(_) | Self::Forwarded => true,
        }
    }
}

/// A browser's question whether a page may make a request.
#[derive(Debug)]
pub struct Preflight<'a> {
    origin: &'a HeaderValue,
    method: Method,
    fields: Option<&'a HeaderValue>,
}

impl<'a> Preflight<'a> {
    /// Takes a request that is a real preflight for one.
    pub fn of(request: &RequestView<'a>) -> Option<Self> {
        if request.method() != Method::OPTIONS {
            return None;
        }
        let headers = request.headers();
        if headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE) {
            return None;
        }
        let origin = single(headers, ORIGIN)?;
        let method = Method::from_bytes(single(headers, ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()?;
        let possible = !matches!(method, Method::CONNECT | Method::TRACE);
        possible.then(|| Self { origin, method, fields: single(headers, ACCESS_CONTROL_REQUEST_HEADERS) })
    }

    /// The method of the request that it asks about.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

/// Who may read a route's answers, and what browsers are told of it.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    exposed: HeaderValue,
    max_age: Duration,
}

/// The origins whose pages may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every one; then never with credentials.
    Any,
    /// These, as browsers write them.
    These(Vec<String>),
}

impl Cors {
    /// `credentials`: whether requests may bear cookies; without effect for [`Origins::Any`], where that would open every
    /// user's session to every page. `exposed`: fields of the upstream's answers that scripts may read, beside those of
    /// the gateway. `max_age`: how long a browser may keep the answer to a preflight.
    pub fn new(origins: Origins, credentials: bool, exposed: &[HeaderName], max_age: Duration) -> Self {
        let names: Vec<&str> = OURS.iter().copied().chain(exposed.iter().map(HeaderName::as_str)).collect();
        // Names of fields make a field value; the fallback only keeps this function total.
        let exposed = HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static("x-request-id"));
        let credentials = credentials && origins != Origins::Any;
        Self { origins, credentials, exposed, max_age }
    }

    /// The origins whose pages may read.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Whether requests may bear cookies.
    pub fn credentials(&self) -> bool {
        self.credentials
    }

    /// The names of the fields that scripts may read.
    pub fn exposed(&self) -> &str {
        self.exposed.to_str().unwrap_or_default()
    }

    /// How long a browser may keep the answer to a preflight.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The fields of the answer to a preflight: the method and the fields that it asks for, where its origin may ask.
    pub fn answer(&self, preflight: &Preflight<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.admits(Some(preflight.origin), &mut headers) {
            if let Ok(method) = HeaderValue::from_str(preflight.method.as_str()) {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method);
            }
            if let Some(fields) = preflight.fields.filter(|fields| are_names(fields)) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields.clone());
            }
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
        }
        headers
    }

    /// Says on an answer whether the page that asked may read it, instead of what stands there of that.
    pub fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let foreign: Vec<_> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
        for name in foreign {
            headers.remove(name);
        }
        if self.admits(origin, headers) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
        }
    }

    /// Whether pages of this origin may read.
    pub(super) fn is_for(&self, asking: &HeaderValue) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::These(origins) => origins.iter().any(|origin| origin.as_bytes() == asking.as_bytes()),
        }
    }

    /// Whether this origin may read; what holds for preflights and answers alike is added to `headers`.
    fn admits(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
        let admitted = match &self.origins {
            Origins::Any => HeaderValue::from_static("*"),
            Origins::These(_) => {
                // A cache must not give one origin's answer to another (RFC 9110 section 12.5.5).
                if !varies_by_origin(headers) {
                    headers.append(VARY, HeaderValue::from_static("Origin"));
                }
                match origin.filter(|asking| self.is_for(asking)) {
                    Some(origin) => origin.clone(),
                    None => return false,
                }
            }
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, admitted);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }
}

/// The fields of the gateway's own answers that a page has use for.
const OURS: [&str; 5] = ["x-request-id", "www-authenticate", "retry-after", "grpc-status", "grpc-message"];

/// The origin of the page that makes a request, where it names one.
pub fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    single(headers, ORIGIN)
}

fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Whether a field is of those by which CORS is told.
fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

fn are_names(list: &HeaderValue) -> bool {
    list.as_bytes().split(|byte| *byte == b',').all(|name| HeaderName::from_bytes(name.trim_ascii()).is_ok())
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    let members = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member == b"*" || member.eq_ignore_ascii_case(b"origin"))
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use http::{Uri, Version};

    use super::*;
    use crate::policy::request::HeadLimits;

    const APP: &str = "https://app.example.com";

    fn asked(method: &Method, fields: &[(&str, &str)]) -> Option<(Method, HeaderMap)> {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("api.test"))]);
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let limits = HeadLimits { bytes: 1 << 15, fields: 100 };
        let uri = Uri::from_static("/orders");
        let request = RequestView::new(method, &uri, Version::HTTP_11, &headers, limits).unwrap();
        let preflight = Preflight::of(&request)?;
        Some((preflight.method().clone(), cors(false).answer(&preflight)))
    }

    fn cors(credentials: bool) -> Cors {
        let exposed = [HeaderName::from_static("x-total")];
        Cors::new(Origins::These(vec![APP.to_owned()]), credentials, &exposed, Duration::from_secs(600))
    }

    /// The fields as `name: value`, sorted.
    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn only_what_a_browser_asks_before_a_request_is_a_preflight() {
        let (origin, method) = (("origin", APP), ("access-control-request-method", "DELETE"));
        assert_eq!(asked(&Method::OPTIONS, &[origin, method]).unwrap().0, Method::DELETE);
        for (name, other, fields) in [
            ("another method", Method::GET, &[origin, method][..]),
            ("no method asked for", Method::OPTIONS, &[origin]),
            ("no origin", Method::OPTIONS, &[method]),
            ("two origins", Method::OPTIONS, &[origin, origin, method]),
            ("two methods", Method::OPTIONS, &[origin, method, method]),
            ("what is no method", Method::OPTIONS, &[origin, ("access-control-request-method", "A B")]),
            ("no method at all", Method::OPTIONS, &[origin, ("access-control-request-method", "")]),
            ("what no route is for", Method::OPTIONS, &[origin, ("access-control-request-method", "TRACE")]),
            ("a token", Method::OPTIONS, &[origin, method, ("authorization", "Bearer x")]),
            ("a cookie", Method::OPTIONS, &[origin, method, ("cookie", "a=b")]),
        ] {
            assert!(asked(&other, fields).is_none(), "{name}");
        }
    }

    #[test]
    fn a_preflight_is_told_what_it_asks_for() {
        let method = ("access-control-request-method", "DELETE");
        let names = ("access-control-request-headers", "authorization, X-Trace,content-type");
        let told = |fields: &[_]| shown(&asked(&Method::OPTIONS, fields).unwrap().1);
        let allowed = [
            "access-control-allow-methods: DELETE",
            "access-control-allow-origin: https://app.example.com",
            "access-control-max-age: 600",
            "vary: Origin",
        ];
        assert_eq!(told(&[("origin", APP), method]), allowed);
        let with_names =
            [&["access-control-allow-headers: authorization, X-Trace,content-type"], &allowed[..]].concat();
        assert_eq!(told(&[("origin", APP), method, names]), with_names);
        assert_eq!(told(&[("origin", APP), method, ("access-control-request-headers", "a b")]), allowed);
        for foreign in ["https://evil.example.com", "https://APP.example.com", "https://app.example.com:443", "null"] {
            assert_eq!(told(&[("origin", foreign), method, names]), ["vary: Origin"], "{foreign}");
        }
    }

    #[test]
    fn what_the_upstream_says_is_replaced() {
        let theirs = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-origin", "https://evil.example.com"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "*"),
            ("content-type", "text/plain"),
        ];
        let marked = |cors: &Cors, origin: Option<&'static str>, vary: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in theirs.into_iter().chain(vary.map(|vary| ("vary", vary))) {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            cors.mark(origin.map(HeaderValue::from_static).as_ref(), &mut headers);
            shown(&headers)
        };
        let exposed = "access-control-expose-headers: x-request-id, www-authenticate, retry-after, grpc-status, grpc-message, x-total";
        let (allowed, content) = ("access-control-allow-origin: https://app.example.com", "content-type: text/plain");
        let credentials = "access-control-allow-credentials: true";
        let vary = "vary: Origin";
        assert_eq!(marked(&cors(false), Some(APP), None), [allowed, exposed, content, vary]);
        assert_eq!(marked(&cors(true), Some(APP), None), [credentials, allowed, exposed, content, vary]);
        for origin in [None, Some("https://evil.example.com"), Some("null")] {
            assert_eq!(marked(&cors(true), origin, None), [content, vary], "{origin:?}");
        }
        for known in ["accept, Origin", "*"] {
            let vary = format!("vary: {known}");
            assert_eq!(marked(&cors(false), None, Some(known)), [content, &vary], "{known}");
        }
        assert_eq!(marked(&cors(false), None, Some("accept")), [content, vary, "vary: accept"]);

        let any = Cors::new(Origins::Any, true, &[], Duration::from_secs(5));
        let exposed = exposed.strip_suffix(", x-total").unwrap();
        for origin in [None, Some(APP)] {
            assert_eq!(marked(&any, origin, None), ["access-control-allow-origin: *", exposed, content]);
        }
    }
}

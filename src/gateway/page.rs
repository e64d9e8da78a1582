//! What people see instead of a refusal: a page of a login that was refused, with what happened and how to begin again; and
//! the way to the login itself.
//!
//! It loads nothing, runs nothing, stands in no frame and sends nobody's address on (`Content-Security-Policy`,
//! `Referrer-Policy`). Every text in it is escaped: the issuer's words are somebody else's.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode, Uri};
use url::form_urlencoded;

use super::body::Body;
use crate::policy::reject::{Code, Quoted, Reject};
use crate::policy::site::Site;
use crate::policy::trace::{RequestId, X_REQUEST_ID};

/// How it looks.
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}\
                     h1{font-size:1.5rem}small{color:#666}@media(prefers-color-scheme:dark){body{background:#111;color:#eee}\
                     a{color:#8bf}small{color:#aaa}}";

/// What the page may do: have this style.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).ok()
});

/// Whether a refusal is told to people.
pub(super) fn is_for_people(code: Code) -> bool {
    [Code::LoginStateInvalid, Code::LoginIdTokenInvalid, Code::LoginRefused, Code::LoginUnavailable].contains(&code)
}

/// The page of a login that was refused.
pub(super) fn page(reject: &Reject, site: &Site, request_id: &RequestId) -> Response<Body> {
    let facts = reject.code().facts();
    let said = if let Reject::LoginRefused { error, description } = reject {
        let words: Vec<_> = [Some(error), description.as_ref()].into_iter().flatten().map(Quoted::plain).collect();
        // Whichever way they are written in, nothing around them turns round.
        format!("<p>It says: <bdi>{}</bdi></p>", escaped(&words.join(": ")))
    } else {
        String::new()
    };
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\
         <body><h1>{title}</h1><p>{detail}</p>{said}<p><a href=\"{login}\">Log in again</a></p>\
         <p><small>{code} &middot; {id}</small></p></body></html>\n",
        title = escaped(facts.title),
        detail = escaped(facts.detail),
        login = escaped(&site.login()),
        code = facts.name,
        id = escaped(request_id.as_str()),
    );
    let mut response = Response::new(Body::own(text.into()));
    *response.status_mut() = StatusCode::from_u16(facts.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(&X_REQUEST_ID, request_id.value().clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(seconds) = reject.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(policy) = &*POLICY {
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// Whether a login would help against a refusal. A navigation is then sent there instead.
pub fn is_cured_by_login(code: Code) -> bool {
    [Code::CredentialMissing, Code::SessionExpired].contains(&code)
}

/// Where somebody is sent who needs a session for what is asked: to the login at the site's origin, and from there to the page
/// of that path there. A browser that asks at another host of the route has no cookie there, and never gets one.
pub fn login_address(site: &Site, asked: &Uri) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", asked.path_and_query().map_or("/", |target| target.as_str()));
    format!("{}?{}", site.login(), query.finish())
}

/// The answer that sends a navigation there.
pub(super) fn to_login(site: &Site, asked: &Uri, request_id: &RequestId) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    // Form-encoded it is a header's value; the fallback only keeps this function total.
    let location = HeaderValue::try_from(login_address(site, asked));
    headers.insert(LOCATION, location.unwrap_or(HeaderValue::from_static("/")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(&X_REQUEST_ID, request_id.value().clone());
    response
}

/// A text that is only that wherever it stands in a page.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

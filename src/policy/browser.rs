//! What a request says of the page that caused it: whether it is a navigation, and whether it comes from our own origin.
//!
//! 1. A navigation is a GET that says so (`Sec-Fetch-Mode: navigate`); where a browser does not speak of that, one that would
//!    take a page (`Accept: text/html`). Only such a request can be sent to a login: a script cannot follow there, a form
//!    would lose what it holds, and the answer to a HEAD is shown to nobody.
//! 2. A cookie proves which browser it is, and not that its user wants the request. So a request by cookie that is not
//!    safe (RFC 9110 section 9.2.1), or is an upgrade, must come from a page of our origin:
//!    - an `Origin` that is not ours refuses, whatever else is said; so does `null`;
//!    - `Sec-Fetch-Site`, where it is there, must be `same-origin`;
//!    - where it is not, `Origin` must be there;
//!    - a field that stands twice is not believed.

use http::header::{ACCEPT, AUTHORIZATION, HeaderName, ORIGIN, UPGRADE};
use http::{HeaderMap, Method};

use super::reject::{Quoted, Reject};
use super::request::RequestView;
use super::site::Site;

static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the user goes to a page by this request, and can be sent to another one instead.
pub fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::GET && shows_answer(headers)
}

/// Whether the user can be sent to a login instead: it is a navigation, and shows no credential of another kind, be it one that
/// is not taken: a token in the query would stand in the address of the login.
pub fn may_be_sent_to_login(request: &RequestView<'_>) -> bool {
    let shows_another = request.headers().contains_key(AUTHORIZATION) || request.has_token_in_query();
    !shows_another && is_navigation(request.method(), request.headers())
}

/// Whether the answer of this request is shown to the user, whatever its method.
pub fn shows_answer(headers: &HeaderMap) -> bool {
    match headers.get(&SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => headers.get_all(ACCEPT).iter().any(|field| {
            field.as_bytes().split(|byte| *byte == b',').any(|range| {
                let kind = range.split(|byte| *byte == b';').next().unwrap_or_default();
                kind.trim_ascii().eq_ignore_ascii_case(b"text/html")
            })
        }),
    }
}

/// Whether a request by cookie must come from our own origin.
pub fn must_be_ours(request: &RequestView<'_>) -> bool {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    !safe || request.headers().contains_key(UPGRADE)
}

/// Refuses what does not come from a page of the site's origin.
///
/// # Errors
///
/// `csrf_refused`.
pub fn from_own_origin(headers: &HeaderMap, site: &Site) -> Result<(), Reject> {
    let (origin, fetch_site) = (single(headers, &ORIGIN)?, single(headers, &SEC_FETCH_SITE)?);
    if let Some(origin) = origin
        && origin != site.origin.as_bytes()
    {
        return Err(Reject::CsrfRefused {
            what: "`Origin` is",
            found: Some(quoted(origin)),
            ours: site.origin.clone(),
        });
    }
    match (fetch_site, origin) {
        (Some(b"same-origin"), _) | (None, Some(_)) => Ok(()),
        (Some(other), _) => Err(Reject::CsrfRefused {
            what: "`Sec-Fetch-Site` is",
            found: Some(quoted(other)),
            ours: site.origin.clone(),
        }),
        (None, None) => Err(Reject::CsrfRefused {
            what: "there is neither `Sec-Fetch-Site` nor `Origin`",
            found: None,
            ours: site.origin.clone(),
        }),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Reject> {
    let mut fields = headers.get_all(name).iter();
    match (fields.next(), fields.next()) {
        (first, None) => Ok(first.map(|field| field.as_bytes())),
        (_, Some(_)) => {
            Err(Reject::CsrfRefused { what: "a field about the page stands twice", found: None, ours: String::new() })
        }
    }
}

fn quoted(bytes: &[u8]) -> Quoted {
    Quoted::from(&*String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_navigation_says_so() {
        for (method, fields, expected) in [
            (Method::GET, &[("sec-fetch-mode", "navigate")][..], true),
            (Method::HEAD, &[("sec-fetch-mode", "navigate")], false),
            (Method::POST, &[("sec-fetch-mode", "navigate")], false),
            (Method::GET, &[("sec-fetch-mode", "cors"), ("accept", "text/html")], false),
            (Method::GET, &[("sec-fetch-mode", "websocket")], false),
            (Method::GET, &[("accept", "text/html,application/xhtml+xml;q=0.9")], true),
            (Method::GET, &[("accept", "application/json, Text/HTML;q=0.1")], true),
            (Method::GET, &[("accept", "*/*")], false),
            (Method::GET, &[("accept", "application/json")], false),
            (Method::GET, &[], false),
        ] {
            assert_eq!(is_navigation(&method, &headers(fields)), expected, "{method} {fields:?}");
        }
    }

    #[test]
    fn only_our_own_pages_may_change_something() {
        let site = Site::example();
        let ours = ("origin", "https://app.example.com");
        for (fields, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-origin"), ours], true),
            (&[ours], true),
            (&[], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site"), ours], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://app.example.com:8443")], false),
            (&[("origin", "http://app.example.com")], false),
            (&[("origin", "https://app.example.com.evil.example")], false),
            (&[ours, ours], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
        ] {
            assert_eq!(from_own_origin(&headers(fields), &site).is_ok(), expected, "{fields:?}");
        }
    }
}

//! What the endpoints read and write: forms (RFC 6749 appendix B), errors, and redirects.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded::parse;

use crate::demo::loopback;
use crate::demo::provider::Fault;
use crate::demo::signer::SignFault;

/// The largest form that is read.
const MAX_FORM: usize = 64 * 1024;

/// The parameters of a request.
pub(super) struct Form {
    parameters: BTreeMap<String, String>,
    repeated: bool,
}

/// A form that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Form {
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut form = Self { parameters: BTreeMap::new(), repeated: false };
        for (name, value) in parse(text) {
            form.repeated |= form.parameters.insert(name.into_owned(), value.into_owned()).is_some();
        }
        form
    }

    /// Reads a body; parameters that stand there twice are an error (RFC 6749 section 3.2).
    pub(super) async fn read(body: Incoming) -> Result<Self, Unreadable> {
        let body = Limited::new(body, MAX_FORM).collect().await.map_err(|_| Unreadable)?;
        let form = Self::parse(&body.to_bytes());
        if form.repeated { Err(Unreadable) } else { Ok(form) }
    }

    /// A parameter; an empty one counts as missing (RFC 6749 section 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Scopes, in the order in which they were asked for.
    pub(super) fn scopes(&self) -> Vec<String> {
        self.get("scope").unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
    }
}

/// An error in the provider's words; its challenge only goes to who used the `Authorization` header.
pub(super) fn fault(fault: &Fault, issuer: &str, by_header: bool) -> Response<Full<Bytes>> {
    let mut body = json!({ "error": fault.error });
    if let Some(description) = &fault.error_description {
        body["error_description"] = description.as_str().into();
    }
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = unkept(loopback::json(status, &body));
    let challenge = fault.challenge.as_ref().filter(|_| by_header).map(|text| text.replace("{issuer}", issuer));
    if let Some(challenge) = challenge {
        set(&mut response, header::WWW_AUTHENTICATE, &challenge);
    }
    response
}

/// A good answer that no cache may keep (RFC 6749 section 5.1).
pub(super) fn good(body: &Value) -> Response<Full<Bytes>> {
    unkept(loopback::json(StatusCode::OK, body))
}

/// The issuer itself failed.
pub(super) fn broken(fault: &SignFault) -> Response<Full<Bytes>> {
    let body = json!({ "error": "server_error", "error_description": fault.to_string() });
    unkept(loopback::json(StatusCode::INTERNAL_SERVER_ERROR, &body))
}

/// Back to the client, with these parameters.
pub(super) fn redirect(mut uri: Url, parameters: &[(&str, Option<&str>)]) -> Response<Full<Bytes>> {
    let present = parameters.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let present: Vec<(&str, &str)> = present.collect();
    if !present.is_empty() {
        uri.query_pairs_mut().extend_pairs(present);
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::FOUND;
    set(&mut response, header::LOCATION, uri.as_str());
    response
}

fn unkept(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn set(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

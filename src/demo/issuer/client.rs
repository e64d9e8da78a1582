//! Client authentication (RFC 6749 section 2.3.1), in the ways that the provider's row names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body_util::Full;
use url::form_urlencoded::parse;

use super::Desk;
use super::answer::{self, Form};
use crate::demo::provider::Fault;

impl Desk {
    /// That error, where the client is not the one that this issuer knows.
    pub(super) fn stranger(&self, headers: &HeaderMap, form: &Form, fault: &Fault) -> Option<Response<Full<Bytes>>> {
        let header = headers.get(header::AUTHORIZATION);
        let (method, shown) = match header {
            Some(value) => ("client_secret_basic", value.to_str().ok().and_then(basic)),
            None => {
                let pair = form.get("client_id").zip(form.get("client_secret"));
                ("client_secret_post", pair.map(|(id, secret)| (id.to_owned(), secret.to_owned())))
            }
        };
        let known = |(id, secret): (String, String)| id == self.provider.client() && secret == self.client_secret;
        let taken = self.provider.client_authentication.iter().any(|taken| taken == method);
        if taken && shown.is_some_and(known) {
            return None;
        }
        Some(answer::fault(fault, &self.name, header.is_some()))
    }
}

/// Id and secret, each form-encoded before they were joined.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((decoded(id)?, decoded(secret)?))
}

fn decoded(text: &str) -> Option<String> {
    parse(text.as_bytes()).next().map(|(name, _)| name.into_owned())
}

//! How we prove to an issuer which OAuth client we are, when we ask one of its endpoints (OpenID Connect Core section 9).
//!
//! What comes out is what goes into the call: fields of the form, and perhaps an `Authorization` header. Neither is ever
//! printed. An assertion is made anew for each call, is for the asked endpoint alone, and holds for a minute.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::http::Form;
use crate::config::{Authentication, Client, Secret, SigningKey};

/// How long an assertion holds, in seconds.
const ASSERTION_LIFE: u64 = 60;

/// The value of `client_assertion_type` (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Puts the proof of `client` to `fields`, for a call of `endpoint` at the time `now`.
///
/// # Errors
///
/// Says why the proof cannot be made: a key that does not sign, a secret that is no text, no randomness.
pub fn form(client: &Client, endpoint: &Url, fields: &[(&str, &str)], now: SystemTime) -> Result<Form, &'static str> {
    let mut body = Serializer::new(String::new());
    body.extend_pairs(fields);
    let mut authorization = None;
    match &client.authentication {
        Authentication::Basic(secret) => authorization = Some(basic(&client.id, secret)?),
        Authentication::Post(secret) => {
            body.append_pair("client_id", &client.id).append_pair("client_secret", text(secret)?);
        }
        Authentication::PrivateKey(key) => {
            let assertion = assertion(&client.id, endpoint, key, now)?;
            body.append_pair("client_id", &client.id)
                .append_pair("client_assertion_type", ASSERTION_TYPE)
                .append_pair("client_assertion", &assertion);
        }
        Authentication::None => {
            body.append_pair("client_id", &client.id);
        }
    }
    Ok(Form { body: body.finish(), authorization, traceparent: None })
}

/// RFC 6749 section 2.3.1: id and secret are form-encoded before they are joined, so that a `:` in one is no border.
fn basic(id: &str, secret: &Secret) -> Result<HeaderValue, &'static str> {
    let encoded = |bytes: &[u8]| byte_serialize(bytes).collect::<String>();
    let pair = format!("{}:{}", encoded(id.as_bytes()), encoded(secret.reveal()));
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| "the client's secret cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

fn text(secret: &Secret) -> Result<&str, &'static str> {
    std::str::from_utf8(secret.reveal()).map_err(|_| "the client's secret is no text")
}

/// RFC 7523 section 3: who we are, for the asked endpoint alone, once and not for long.
fn assertion(id: &str, endpoint: &Url, key: &SigningKey, now: SystemTime) -> Result<String, &'static str> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the system gives no random bytes")?;
    let iat = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = [
        ("iss", id.into()),
        ("sub", id.into()),
        ("aud", endpoint.as_str().into()),
        ("jti", URL_SAFE_NO_PAD.encode(random).into()),
        ("iat", iat.into()),
        ("exp", (iat + ASSERTION_LIFE).into()),
    ];
    let claims = claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    key.sign(&claims).ok_or("the client's private key does not sign")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(authentication: Authentication) -> Client {
        Client { id: "a b:c".to_owned(), authentication }
    }

    fn formed(authentication: Authentication) -> Form {
        let endpoint = Url::parse("https://login.example.com/introspect").unwrap();
        form(&client(authentication), &endpoint, &[("token", "t+/=")], SystemTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn id_and_secret_are_form_encoded_before_they_are_joined() {
        let form = formed(Authentication::Basic(Secret::new(b"p:w %\xc3\xa4".to_vec())));
        assert_eq!(form.body, "token=t%2B%2F%3D");
        let value = form.authorization.unwrap();
        let pair = STANDARD.decode(value.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "a+b%3Ac:p%3Aw+%25%C3%A4");
        assert!(value.is_sensitive());
    }

    #[test]
    fn id_and_secret_stand_in_the_body_where_they_shall() {
        let form = formed(Authentication::Post(Secret::new(b"p w".to_vec())));
        assert_eq!(form.body, "token=t%2B%2F%3D&client_id=a+b%3Ac&client_secret=p+w");
        assert_eq!(form.authorization, None);
        let form = formed(Authentication::None);
        assert_eq!(form.body, "token=t%2B%2F%3D&client_id=a+b%3Ac");
        assert_eq!(form.authorization, None);
    }
}

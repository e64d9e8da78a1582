//! The credential of a request: none, one Bearer token (RFC 6750 section 2.1), or the cookie of a session.
//!
//! 1. Two `Authorization` fields are refused, equal or not: the upstream might read the other one.
//! 2. One of another scheme is as none: it is no credential of ours.
//! 3. `Bearer`, in any case, needs one token of the alphabet `b64token`; between them stand spaces, one or more (RFC 9110
//!    section 11.4, RFC 6750 section 2.1).
//! 4. A token in the query is no credential; beside a header it makes two, which is refused.
//!
//! 5. Where the route takes a session and there is no `Authorization` at all, its cookie is the credential. One that stands
//!    twice is none; a token in the query beside it makes two. A request by it that could change something must come from
//!    the site's own pages.
//!
//! What is no credential is told apart from nothing at all: only the latter can be meant as an anonymous request.

use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::browser;
use super::cookies::{self, Found};
use super::reject::Reject;
use super::request::RequestView;
use super::site::Site;

/// What a request presents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// Nothing that counts.
    None(Absence),
    /// One Bearer token.
    Bearer(&'a str),
    /// The value of the cookie of the route's session.
    Session(&'a str),
}

/// What was there instead of a credential that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Nothing at all.
    Entire,
    /// A token in the query, which is not taken.
    InQuery,
    /// An `Authorization` of another scheme.
    OtherScheme,
}

impl Absence {
    /// What was found, for the operator.
    pub fn about(self) -> &'static str {
        match self {
            Self::Entire => "there is no Authorization header",
            Self::InQuery => "there is no Authorization header, and a token in the query is not taken",
            Self::OtherScheme => "the Authorization header is of another scheme than Bearer",
        }
    }
}

impl std::fmt::Debug for Credential<'_> {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None(_) => "None",
            Self::Bearer(_) => "Bearer",
            Self::Session(_) => "Session",
        })
    }
}

impl<'a> Credential<'a> {
    /// Takes the credential by the rules above; `site` is that of the session that the route takes.
    ///
    /// # Errors
    ///
    /// `credential_ambiguous`, `credential_malformed`, `session_expired` or `csrf_refused`.
    pub fn of(request: &RequestView<'a>, site: Option<&Site>) -> Result<Self, Reject> {
        let mut fields = request.headers().get_all(AUTHORIZATION).iter();
        let Some(field) = fields.next() else {
            if let Some(session) = site.map_or(Ok(None), |site| Self::session(request, site))? {
                return Ok(session);
            }
            let in_query = request.has_token_in_query();
            return Ok(Self::None(if in_query { Absence::InQuery } else { Absence::Entire }));
        };
        if fields.next().is_some() {
            return Err(Reject::CredentialAmbiguous { what: "there is more than one Authorization header" });
        }
        if request.has_token_in_query() {
            return Err(Reject::CredentialAmbiguous {
                what: "there is an Authorization header and a token in the query",
            });
        }
        let value = field.as_bytes();
        if value.is_empty() {
            return Err(Reject::CredentialMalformed { what: "is empty" });
        }
        let scheme_end = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
        let (scheme, rest) = value.split_at(scheme_end);
        if !scheme.eq_ignore_ascii_case(b"Bearer") {
            return Ok(Self::None(Absence::OtherScheme));
        }
        let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
        let token = std::str::from_utf8(&rest[start..])
            .ok()
            .filter(|token| is_b64token(token))
            .ok_or(Reject::CredentialMalformed { what: "does not hold one token of the alphabet RFC 6750 gives it" })?;
        Ok(Self::Bearer(token))
    }

    /// Rule 5.
    fn session(request: &RequestView<'a>, site: &Site) -> Result<Option<Self>, Reject> {
        let value = match cookies::find(request.headers(), &site.cookie) {
            Found::Nothing => return Ok(None),
            Found::Unclear => {
                return Err(Reject::SessionExpired { why: "its cookie stands there twice, or is no text" });
            }
            Found::One(value) => value,
        };
        if request.has_token_in_query() {
            return Err(Reject::CredentialAmbiguous { what: "there is a session cookie and a token in the query" });
        }
        if browser::must_be_ours(request) {
            browser::from_own_origin(request.headers(), site)?;
        }
        Ok(Some(Self::Session(value)))
    }
}

/// The value of the `Authorization` field that bears the token of a file: all that stands in it but for blanks at its
/// ends, which an editor leaves. It is marked as sensitive.
///
/// # Errors
///
/// What the file holds instead, for a sentence that begins with the token.
pub fn bearer(text: &[u8]) -> Result<HeaderValue, &'static str> {
    let token = str::from_utf8(text.trim_ascii()).ok().filter(|token| is_b64token(token));
    let token = token.ok_or("is not one token of the alphabet RFC 6750 gives it")?;
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| "is not one token of the alphabet RFC 6750 gives it")?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 6750 section 2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
pub(super) fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    // From `-` to `9` stand `-`, `.`, `/` and the digits. No byte ends the walk early, so that many are looked at at once.
    let allowed = |byte: u8| {
        (b'-'..=b'9').contains(&byte)
            | (byte | 0x20).is_ascii_lowercase()
            | (byte == b'_')
            | (byte == b'~')
            | (byte == b'+')
    };
    !body.is_empty() && body.bytes().fold(true, |good, byte| good & allowed(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_the_alphabet_of_rfc_6750() {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
        for character in (0..=u8::MAX).map(char::from) {
            let good = alphabet.contains(character);
            assert_eq!(is_b64token(&character.to_string()), good, "{character:?}");
            let among = format!("{}{character}{}=", "a".repeat(40), "b".repeat(40));
            assert_eq!(is_b64token(&among), good, "{character:?} among others");
        }
        for (text, good) in [("", false), ("=", false), ("a==", true), ("a=b", false)] {
            assert_eq!(is_b64token(text), good, "{text:?}");
        }
    }
}

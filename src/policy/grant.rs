//! What a token endpoint answers to a grant (RFC 6749 section 5).
//!
//! 1. An answer is one JSON object without repeated members.
//! 2. `access_token` is one token of RFC 6750's alphabet, `token_type` is `Bearer` in any case: a token that is bound to a
//!    key (DPoP) cannot be used by us.
//! 3. Only an answer without `scope` leaves unsaid what was granted; an empty one grants no scope.
//! 4. The token ends with `expires_in` after it was received, or with the `exp` of a JWT, whichever is first; nobody is asked
//!    to believe `exp` here: it only decides when a new token is fetched.
//! 5. An error answer is what its `error` says; nothing is read out of a text for people.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::credential::is_b64token;
use super::json::{Json, Object};
use super::jwt::UnverifiedJwt;
use super::reject::Quoted;

/// The longest life that is counted with, in seconds: some 30 years. What is said to last longer, as some servers say of
/// what has no end, lasts as long.
const LONGEST: f64 = 1e9;

/// An access token and what its issuer said of it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The token.
    pub text: String,
    /// `scope`, where the answer had it; empty where nothing was granted.
    pub scope: Option<String>,
    /// When it was received.
    pub received: SystemTime,
    /// When it ends, where that is known.
    pub expires: Option<SystemTime>,
}

/// What was granted.
#[derive(Clone, PartialEq)]
pub struct Granted {
    /// The access token.
    pub access_token: AccessToken,
    /// The refresh token; after a refresh without one the old one stays (RFC 6749 section 6).
    pub refresh_token: Option<String>,
    /// The ID token.
    pub id_token: Option<String>,
}

/// Why nothing was granted, in the issuer's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `invalid_grant`: the code or the refresh token does not hold (any more).
    InvalidGrant,
    /// What is said of the client, whatever it shows: `invalid_client`, `unauthorized_client` or `unsupported_grant_type`.
    Client(Quoted),
    /// Another `error`, or none that can be read.
    Other(Option<Quoted>),
}

impl fmt::Debug for AccessToken {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl fmt::Debug for Granted {
    /// Without the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Granted").field(&self.access_token).finish()
    }
}

impl AccessToken {
    /// Whether its time is over.
    pub fn is_spent(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

impl Granted {
    /// Reads the body of an answer of status 200 that was received at the time `now`.
    ///
    /// # Errors
    ///
    /// Says what is wrong, for a sentence that begins with the answer.
    pub fn parse(body: &[u8], now: SystemTime) -> Result<Self, &'static str> {
        let object = Object::parse_strict(body)?;
        let text = |name: &str| object.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
        let access = text("access_token").filter(|token| is_b64token(token));
        let access = access.ok_or("has no `access_token` of the alphabet RFC 6750 gives it")?;
        if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err("has a `token_type` other than Bearer");
        }
        let expires = expires_in(object.get("expires_in"))?.and_then(|life| now.checked_add(life));
        let access_token = AccessToken {
            text: access.to_owned(),
            scope: scope(object.get("scope"))?,
            received: now,
            expires: expires.into_iter().chain(jwt_expiry(access)).min(),
        };
        let owned = |name| text(name).map(str::to_owned);
        Ok(Self { access_token, refresh_token: owned("refresh_token"), id_token: owned("id_token") })
    }
}

impl Refusal {
    /// Reads the body of an error answer (RFC 6749 section 5.2).
    pub fn parse(body: &[u8]) -> Self {
        let object = Object::parse_strict(body).unwrap_or_default();
        match object.get("error").and_then(Json::as_str) {
            Some("invalid_grant") => Self::InvalidGrant,
            Some(error @ ("invalid_client" | "unauthorized_client" | "unsupported_grant_type")) => {
                Self::Client(Quoted::from(error))
            }
            other => Self::Other(other.map(Quoted::from)),
        }
    }
}

/// `scope` is a string (RFC 6749 section 3.3). What is not said is none of the answer's faults: it is what was asked for, or
/// what there was (sections 5.1 and 6). Anything else would pass for that.
fn scope(value: Option<&Json>) -> Result<Option<String>, &'static str> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(scope)) => Ok(Some(scope.clone())),
        Some(_) => Err("has a `scope` that is no string"),
    }
}

/// `expires_in` is a number; some servers send it as a string.
fn expires_in(value: Option<&Json>) -> Result<Option<Duration>, &'static str> {
    let seconds = match value {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Number(number)) => number.as_f64(),
        Some(Json::String(text)) => text.parse().ok(),
        Some(Json::Bool(_) | Json::Array(_) | Json::Object(_)) => None,
    };
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    seconds
        .map(|seconds| Some(Duration::from_secs_f64(seconds.min(LONGEST))))
        .ok_or("has an `expires_in` that is no time in seconds")
}

/// `exp` of a token that is a JWT.
fn jwt_expiry(token: &str) -> Option<SystemTime> {
    let jwt = UnverifiedJwt::parse(token).ok()?;
    let exp = jwt.contents().claims.expiry().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp.seconds()).ok()?)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn parsed(body: &str) -> Result<Granted, &'static str> {
        Granted::parse(body.as_bytes(), NOW)
    }

    fn life(body: &str) -> Option<u64> {
        let expires = parsed(body).unwrap().access_token.expires?;
        Some(expires.duration_since(NOW).unwrap().as_secs())
    }

    #[test]
    fn an_answer_without_a_usable_token_is_none() {
        for body in [
            "",
            "[]",
            "<html>",
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"a b","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nx: y","token_type":"Bearer"}"#,
            r#"{"access_token":1,"token_type":"Bearer"}"#,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"inf"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"NaN"}"#,
            r#"{"access_token":"a","token_type":"Bearer","scope":["read"]}"#,
            r#"{"access_token":"a","token_type":"Bearer","scope":5}"#,
            r#"{"access_token":"a","token_type":"Bearer","scope":false}"#,
            r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
        ] {
            assert!(parsed(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_token_ends_with_what_is_first() {
        let jwt = |exp: u64| {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.{}", part("{\"alg\":\"RS256\"}"), part(&format!("{{\"exp\":{exp}}}")), part("s"))
        };
        let body =
            |token: &str, rest: &str| format!("{{\"access_token\":\"{token}\",\"token_type\":\"bearer\"{rest}}}");
        assert_eq!(life(&body("opaque", ",\"expires_in\":3600")), Some(3600));
        assert_eq!(life(&body("opaque", ",\"expires_in\":\"3599\"")), Some(3599));
        assert_eq!(life(&body("opaque", "")), None);
        for long in ["1000000000", "2147483647", "9223372036854775", "\"9223372036854775807\"", "1e300"] {
            assert_eq!(life(&body("opaque", &format!(",\"expires_in\":{long}"))), Some(1_000_000_000), "{long}");
        }
        assert_eq!(life(&body(&jwt(60), "")), Some(60));
        assert_eq!(life(&body(&jwt(60), ",\"expires_in\":3600")), Some(60));
        assert_eq!(life(&body(&jwt(7200), ",\"expires_in\":3600")), Some(3600));
    }

    #[test]
    fn only_what_is_not_said_is_unsaid() {
        for (said, scope) in [
            ("", None),
            (",\"scope\":null", None),
            (",\"scope\":\"\"", Some("")),
            (",\"scope\":\"read write\"", Some("read write")),
        ] {
            let body = format!("{{\"access_token\":\"a\",\"token_type\":\"Bearer\"{said}}}");
            assert_eq!(parsed(&body).unwrap().access_token.scope.as_deref(), scope, "{said}");
        }
    }

    #[test]
    fn a_refusal_is_what_its_error_says() {
        assert_eq!(Refusal::parse(br#"{"error":"invalid_grant"}"#), Refusal::InvalidGrant);
        for error in ["invalid_client", "unauthorized_client", "unsupported_grant_type"] {
            let body = format!("{{\"error\":\"{error}\"}}");
            assert_eq!(Refusal::parse(body.as_bytes()), Refusal::Client(Quoted::from(error)));
        }
        let other = Refusal::Other(Some(Quoted::from("interaction_required")));
        assert_eq!(Refusal::parse(br#"{"error":"interaction_required"}"#), other);
        assert_eq!(Refusal::parse(br#"{"error_description":"invalid_grant"}"#), Refusal::Other(None));
        assert_eq!(Refusal::parse(b"invalid_grant"), Refusal::Other(None));
    }
}

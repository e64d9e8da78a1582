//! The ID token of a login: who logged in (OpenID Connect Core sections 2 and 3.1.3.7), and nothing else.
//!
//! After its signature was verified with what `id_token_algorithms` allows, all of these hold, in this order:
//!
//! 1. `iss` is byte for byte one of the issuer's;
//! 2. nothing marks it as a token of another kind, an access token least of all;
//! 3. `aud` holds our client id; `azp`, where it is there or `aud` holds more, is our client id;
//! 4. `exp` and `iat` are there and fit the time, as does `nbf`;
//! 5. `nonce` is that of the attempt;
//! 6. `at_hash`, where it is there, is that of the access token that came along;
//! 7. `sub` is a string of 1 to 255 ASCII characters;
//! 8. `sid`, where it is there, is a string, as in a logout token: one that is not would be met by none.

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{Claims, NumericDate};
use super::issuer::Issuer;
use super::jwt::{Algorithm, Contents, SignedClaims};
use super::kind;
use super::reject::{Quoted, Reject};

/// What an ID token must fit.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// Who must have issued it.
    pub issuer: &'a Issuer,
    /// For whom.
    pub client_id: &'a str,
    /// The nonce of the attempt.
    pub nonce: &'a str,
    /// The access token that came along.
    pub access_token: &'a str,
}

/// Who an ID token says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person<'t> {
    /// `sub`.
    pub subject: &'t str,
    /// `sid`: the login at the issuer (OpenID Connect Back-Channel Logout 1.0 section 2.1).
    pub sid: Option<&'t str>,
}

/// Judges an ID token whose signature was verified: who it is, or the first rule that does not hold.
///
/// # Errors
///
/// `login_id_token_invalid`.
pub fn judge<'t>(token: &'t SignedClaims, expected: &Expected<'_>, now: NumericDate) -> Result<Person<'t>, Reject> {
    let Contents { header, claims } = token.contents();
    let Expected { issuer, client_id, nonce, access_token } = *expected;
    issued(claims, issuer)?;
    of_kind(token.contents(), issuer)?;
    for_client(claims, client_id)?;
    if !claims.has("iat") {
        return Err(invalid("the claim `iat` is missing"));
    }
    issuer.time(claims, now).map_err(|reject| invalid(reject.cause()))?;
    match string(claims, "nonce")? {
        Some(found) if same(found, nonce) => {}
        Some(_) => return Err(invalid("`nonce` is that of another login")),
        None => return Err(invalid("the claim `nonce` is missing")),
    }
    if let Some(found) = string(claims, "at_hash")? {
        let hash = header.algorithm().map(|algorithm| half_hash(algorithm, access_token));
        if !hash.is_some_and(|hash| same(found, &hash)) {
            return Err(invalid("`at_hash` is that of another access token"));
        }
    }
    let subject = string(claims, "sub")?
        .filter(|sub| (1..=255).contains(&sub.len()) && sub.is_ascii())
        .ok_or_else(|| invalid("`sub` is missing, or not 1 to 255 ASCII characters"))?;
    Ok(Person { subject, sid: sid(claims)? })
}

/// `sid`, in ID tokens and logout tokens; an empty one names no login.
pub(super) fn sid(claims: &Claims) -> Result<Option<&str>, Reject> {
    Ok(string(claims, "sid")?.filter(|sid| !sid.is_empty()))
}

/// Rule 1, for logout tokens too.
pub(super) fn issued(claims: &Claims, issuer: &Issuer) -> Result<(), Reject> {
    match claims.issuer() {
        Ok(iss) if issuer.is_called(iss) => Ok(()),
        Ok(iss) => Err(invalid(format!("iss is {}", Quoted::from(iss)))),
        Err(reject) => Err(invalid(reject.cause())),
    }
}

/// Rule 2.
fn of_kind(contents: &Contents, issuer: &Issuer) -> Result<(), Reject> {
    match kind::marked_no_id_token(contents, issuer) {
        Some(evidence) => Err(invalid(format!("it is no ID token: {evidence}"))),
        None => Ok(()),
    }
}

/// Rule 3, for logout tokens too.
pub(super) fn for_client(claims: &Claims, client_id: &str) -> Result<(), Reject> {
    let audience = claims.audience().map_err(|reject| invalid(reject.cause()))?;
    if !audience.contains(client_id) {
        return Err(invalid("`aud` does not hold our client id"));
    }
    match string(claims, "azp")? {
        Some(azp) if azp != client_id => Err(invalid(format!("`azp` is {}", Quoted::from(azp)))),
        None if audience.iter().any(|other| other != client_id) => {
            Err(invalid("`aud` holds others too, and there is no `azp`"))
        }
        Some(_) | None => Ok(()),
    }
}

fn string<'c>(claims: &'c Claims, name: &str) -> Result<Option<&'c str>, Reject> {
    claims.string(name).map_err(|reject| invalid(reject.cause()))
}

/// OpenID Connect Core section 3.1.3.6: the left half of the hash that the signature's algorithm has.
fn half_hash(algorithm: Algorithm, text: &str) -> String {
    let hash = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 | Algorithm::HS256 => &digest::SHA256,
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 | Algorithm::HS384 => &digest::SHA384,
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::ES512 | Algorithm::HS512 | Algorithm::EdDSA => &digest::SHA512,
    };
    let hash = digest::digest(hash, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}

fn same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn invalid(why: impl Into<String>) -> Reject {
    Reject::LoginIdTokenInvalid { why: why.into() }
}

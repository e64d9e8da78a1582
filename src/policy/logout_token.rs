//! A logout token: an issuer says that a login is over (OpenID Connect Back-Channel Logout 1.0 section 2.6).
//!
//! After its signature was verified with what ID tokens are signed with, all of these hold, in this order:
//!
//! 1. `typ`, where it is there, is `logout+jwt` or `JWT`;
//! 2. `iss` and `aud` are as in an ID token;
//! 3. `iat` is there and at most [`OLDEST`] ago, `exp`, where it is there, is not over;
//! 4. `events` is an object with the member of the back channel, which is an object;
//! 5. there is no `nonce`: so no ID token passes for one;
//! 6. `jti` is there, by which it counts once;
//! 7. `sid` or `sub` says whose login.

use super::claims::{Claims, NumericDate};
use super::id_token;
use super::issuer::Issuer;
use super::json::Json;
use super::jwt::{Contents, SignedClaims};
use super::reject::Reject;

/// The member of `events`.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long ago a logout token may have been made, in seconds: for so long it is remembered that it was used.
pub const OLDEST: u64 = 600;

/// What a logout token says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logout<'t> {
    /// Who says it, as it calls itself.
    pub issuer: &'t str,
    /// The login at the issuer that is over; none: every one of the subject.
    pub sid: Option<&'t str>,
    /// Whose.
    pub subject: Option<&'t str>,
    /// What tells the token from any other of its issuer.
    pub id: &'t str,
    /// When it was made.
    pub issued: NumericDate,
}

/// Judges a logout token whose signature was verified.
///
/// # Errors
///
/// `logout_token_invalid`.
pub fn judge<'t>(
    token: &'t SignedClaims,
    issuer: &Issuer,
    client_id: &str,
    now: NumericDate,
) -> Result<Logout<'t>, Reject> {
    let Contents { header, claims } = token.contents();
    if header.media_type().is_some_and(|typ| !matches!(&*typ, "logout+jwt" | "jwt")) {
        return Err(invalid("its typ is that of another kind of token"));
    }
    let as_ours = |reject: Reject| invalid(reject.cause());
    id_token::issued(claims, issuer).map_err(as_ours)?;
    id_token::for_client(claims, client_id).map_err(as_ours)?;
    let issued = in_time(claims, issuer, now)?;
    let event = claims.get("events").and_then(Json::as_object).and_then(|events| events.get(EVENT));
    if event.and_then(Json::as_object).is_none() {
        return Err(invalid("`events` does not hold the event of the back channel"));
    }
    if claims.has("nonce") {
        return Err(invalid("it has a `nonce`, as ID tokens have"));
    }
    let string = |name| claims.string(name).map_err(as_ours).map(|text| text.filter(|text| !text.is_empty()));
    let (sid, subject) = (id_token::sid(claims).map_err(as_ours)?, string("sub")?);
    if sid.is_none() && subject.is_none() {
        return Err(invalid("it has neither `sid` nor `sub`"));
    }
    let id = string("jti")?.ok_or_else(|| invalid("the claim `jti` is missing"))?;
    Ok(Logout { issuer: claims.issuer().map_err(as_ours)?, sid, subject, id, issued })
}

/// When it was made, where that and its end fit the time.
fn in_time(claims: &Claims, issuer: &Issuer, now: NumericDate) -> Result<NumericDate, Reject> {
    let date = |name| claims.date(name).map_err(|reject| invalid(reject.cause()));
    let iat = date("iat")?.ok_or_else(|| invalid("the claim `iat` is missing"))?;
    if iat > now.plus(issuer.leeway) || now >= iat.plus(OLDEST + issuer.leeway) {
        return Err(invalid(format!("iat is {iat}, now is {now}")));
    }
    match date("exp")? {
        Some(exp) if now >= exp.plus(issuer.leeway) => Err(invalid(format!("exp is {exp}, now is {now}"))),
        Some(_) | None => Ok(iat),
    }
}

fn invalid(why: impl Into<String>) -> Reject {
    Reject::LogoutTokenInvalid { why: why.into() }
}

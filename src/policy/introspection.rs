//! An opaque token: what its issuer answers when it is asked about it (RFC 7662), and what of that is believed.
//!
//! `active` alone admits nobody: several issuers say it of refresh tokens and even of ID tokens. The rule, in order:
//!
//! 1. `active` is the JSON boolean true (RFC 7662 section 2.2); anything else is `token_inactive`.
//! 2. `iss`, where it is there, is byte for byte one of the issuer's.
//! 3. No claim marks the token as of another kind, by the rules that hold for claims of a JWT, and the dialect is one whose
//!    tokens are meant for our APIs. `token_use`, where it is
//!    there, is an access token's word. `token_type` is `Bearer`, `DPoP` or an access token's word; where it is missing the
//!    token is taken only by `allow_untyped`. What the dialect asks of answers holds, and nothing is there that a
//!    `discriminator` denies or forbids.
//! 4. `exp` (where it is there), `nbf` and `iat` fit the time.
//! 5. It is not bound to a key.
//!
//! What a policy asks is judged after that, on the answer's claims as on those of a JWT. What is remembered of an answer is
//! the answer: all of this is judged again on every request.

use super::claims::{Claims, NumericDate, Source};
use super::issuer::{Issuer, Recognition};
use super::json::{Json, Object};
use super::jwt::{Contents, SignedClaims};
use super::kind::{self, Evidence, TokenKind};
use super::reject::{Quoted, Reject};

/// How an issuer's answers are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Whether an answer without `token_type` may be about an access token.
    pub allow_untyped: bool,
}

/// What an issuer answered about a token, not yet judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer(Claims);

/// The media type of a signed answer, without `application/` (RFC 9701 section 5).
pub const SIGNED_TYPE: &str = "token-introspection+jwt";

/// How long ago a signed answer may have been made, in seconds. One is made for each question, and some servers show it again
/// for a moment; what is older may be a recorded one, of a token that has been revoked since.
const OLDEST: u64 = 60;

impl Answer {
    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// Says why this is no answer: it is not one JSON object, or repeats a member.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        Object::parse_strict(body).map(Self::of)
    }

    /// Takes the answer out of a JWT that the issuer signed for `client_id` and that was received at the time `now`
    /// (RFC 9701 section 5).
    ///
    /// # Errors
    ///
    /// Says why it is none.
    pub fn signed(
        jwt: &SignedClaims,
        issuer: &Issuer,
        client_id: &str,
        now: NumericDate,
    ) -> Result<Self, &'static str> {
        let Contents { header, claims } = jwt.contents();
        if header.media_type().as_deref() != Some(SIGNED_TYPE) {
            return Err("is a JWT whose typ is not token-introspection+jwt");
        }
        if !claims.issuer().is_ok_and(|iss| issuer.is_called(iss)) {
            return Err("is a JWT of another issuer");
        }
        if !claims.audience().is_ok_and(|audience| audience.contains(client_id)) {
            return Err("is a JWT for another audience than our client id");
        }
        let made = claims.date("iat").ok().flatten().ok_or("is a JWT without the time `iat` at which it was signed")?;
        if made > now.plus(issuer.leeway) || now >= made.plus(OLDEST + issuer.leeway) {
            return Err("is a JWT that was not signed just now, by its `iat`");
        }
        let answer = claims.get("token_introspection").and_then(Json::as_object);
        answer.cloned().map(Self::of).ok_or("is a JWT without the object `token_introspection`")
    }

    /// What stands for the answer of a server that does not take the token at all.
    pub fn inactive() -> Self {
        Self::of(Object::default())
    }

    fn of(object: Object) -> Self {
        Self(Claims::new(object, Source::Introspection))
    }

    /// What it says of the token.
    pub fn claims(&self) -> &Claims {
        &self.0
    }

    /// Whether it says, in the one way that counts, that the token is active.
    pub fn is_active(&self) -> bool {
        self.0.get("active") == Some(&Json::Bool(true))
    }

    /// When the token ends, where it says so: nothing is remembered beyond that.
    pub fn expiry(&self) -> Option<NumericDate> {
        self.0.date("exp").ok().flatten()
    }
}

/// Rule 1.
pub(super) fn active(answer: &Answer, issuer: &Issuer) -> Result<(), Reject> {
    if answer.is_active() { Ok(()) } else { Err(Reject::TokenInactive { issuer: issuer.name.clone() }) }
}

/// Rule 2.
pub(super) fn issued(answer: &Answer, issuer: &Issuer) -> Result<(), Reject> {
    match answer.0.string("iss")? {
        Some(iss) if !issuer.is_called(iss) => {
            let (iss, source) = (Quoted::from(iss), answer.0.source());
            Err(Reject::IssuerUnknown { iss, source, trusted: issuer.spellings.clone() })
        }
        Some(_) | None => Ok(()),
    }
}

/// Rule 3.
pub(super) fn kind(answer: &Answer, issuer: &Issuer) -> Result<(), Reject> {
    let (dialect, source) = (issuer.recognition.name(), answer.0.source());
    match other_kind(&answer.0, issuer) {
        Some((kind, evidence)) => Err(Reject::WrongKind { kind, evidence, dialect, source }),
        None => Ok(()),
    }
}

fn other_kind(claims: &Claims, issuer: &Issuer) -> Option<(TokenKind, Evidence)> {
    let unknown = |claim, value: &Json| {
        let value = value.as_str().map_or_else(|| Quoted::from("not a string"), Quoted::from);
        Some((TokenKind::Unknown, Evidence::Mark { claim, value }))
    };
    if let Some(found) = kind::claims_marked_otherwise(claims) {
        return Some(found);
    }
    if !issuer.recognition.is_for_us() {
        return Some((TokenKind::Unknown, Evidence::Foreign));
    }
    if let Some(value) = claims.get("token_use").filter(|value| !names_access(value)) {
        return unknown("token_use", value);
    }
    match claims.get("token_type") {
        Some(value) if !names_access(value) && !names_scheme(value, "Bearer") && !names_scheme(value, "DPoP") => {
            return unknown("token_type", value);
        }
        None if !issuer.introspection.is_some_and(|trust| trust.allow_untyped) => {
            return Some((TokenKind::Unknown, Evidence::Untyped));
        }
        Some(_) | None => {}
    }
    match &issuer.recognition {
        Recognition::Dialect(dialect) => {
            let marks = dialect.answer.as_ref()?;
            (!kind::holds(marks, None, claims)).then_some((TokenKind::Unknown, Evidence::Unmarked))
        }
        // An answer need not have what marks a JWT as an access token; but what the operator said that none has counts.
        Recognition::Own(access) => {
            kind::denies(access, None, claims).then_some((TokenKind::Unknown, Evidence::Denied))
        }
    }
}

/// The token's own type says that it needs a proof, whether or not the answer has `cnf` (RFC 9449 section 6.2).
pub(super) fn unbound(answer: &Answer) -> Result<(), Reject> {
    let is_bound = answer.0.get("token_type").is_some_and(|value| names_scheme(value, "DPoP"));
    if is_bound { Err(Reject::ProofRequired) } else { Ok(()) }
}

fn names_access(value: &Json) -> bool {
    value.as_str().and_then(kind::named_kind) == Some(TokenKind::Access)
}

/// RFC 6749 section 5.1: the case of a token type does not count.
fn names_scheme(value: &Json, scheme: &str) -> bool {
    value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(scheme))
}

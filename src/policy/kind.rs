//! Which kind of token it is, and by which evidence.
//!
//! The first of these that is decisive decides; a mark of another kind beats every mark of an access token, because a
//! false "this is no access token" costs the caller a request and a false "this is one" costs the API its protection.
//!
//! 1. `typ` is `logout+jwt`: a logout token (Back-Channel Logout 1.0 section 2.4).
//! 2. `typ` is another `*+jwt` than `at+jwt`: made for something else (RFC 8725 section 3.11).
//! 3. `events` is an object: a logout token where it holds the back-channel event, else another security event (RFC 8417).
//! 4. A claim such as `tokenName` or `token_use` says id, refresh, offline or logout.
//! 5. `at_hash`, `c_hash` or `s_hash` is present: an ID token (OpenID Connect Core 3.1.3.6, 3.3.2.11; FAPI `s_hash`).
//! 6. `typ` is `at+jwt`: an access token (RFC 9068 section 2.1), unless it has what the operator denies or forbids.
//! 7. What the issuer's dialect or discriminator says.
//! 8. What no rule admits is labelled an ID token where it looks like one, else unknown. Both are refused.
//!
//! `nonce`, `email`, `auth_time` and the like are no evidence by themselves: several providers put them into access tokens.

use std::borrow::Cow;
use std::fmt;

use super::claims::Claims;
use super::dialect::{AccessIf, CLIENT_CLAIMS, Discriminator, Mark, Place};
use super::issuer::{Issuer, Recognition};
use super::json::Json;
use super::jwt::{Contents, Header};
use super::reject::Quoted;

/// The kinds of token that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// For an API: the only kind that is let through (RFC 9068).
    Access,
    /// Tells an application who logged in (OpenID Connect Core section 2).
    Id,
    /// Buys the next access token (RFC 6749 section 1.5).
    Refresh,
    /// Ends a session by the back channel (OpenID Connect Back-Channel Logout section 2.4).
    Logout,
    /// None of these could be shown.
    Unknown,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Access => "access token",
            Self::Id => "ID token",
            Self::Refresh => "refresh token",
            Self::Logout => "logout token",
            Self::Unknown => "token of unknown kind",
        })
    }
}

/// What showed the kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// The header's `typ` is that of an access token.
    AtJwt,
    /// The header's `typ` is another.
    Type(Quoted),
    /// `events` is an object.
    Events,
    /// A claim whose value names a kind.
    Mark {
        /// The claim.
        claim: &'static str,
        /// Its value.
        value: Quoted,
    },
    /// A claim that only ID tokens have.
    Hash(&'static str),
    /// The issuer's dialect or discriminator admits it.
    Admitted,
    /// Scopes, a client and no login claim; the audience is judged with the policy.
    ScopesAndClient,
    /// It has no scopes, but this login or profile claim.
    LoginClaim(&'static str),
    /// It has no scopes, and its audience is known clients alone.
    ClientsAsAudience,
    /// Its issuer's answer about it has no `token_type`.
    Untyped,
    /// Its issuer's answer about it lacks what that issuer's access tokens have.
    Unmarked,
    /// Its issuer's answer about it has what the discriminator denies or forbids.
    Denied,
    /// No token of its issuer is meant for our APIs.
    Foreign,
    /// Nothing shows what it is.
    Nothing,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtJwt => f.write_str("its header's typ is \"at+jwt\""),
            Self::Type(typ) => write!(f, "its header's typ is {typ}"),
            Self::Events => f.write_str("it has the claim `events`"),
            Self::Mark { claim, value } => write!(f, "its claim `{claim}` is {value}"),
            Self::Hash(claim) => write!(f, "it has the claim `{claim}`"),
            Self::Admitted => f.write_str("the dialect's marks of an access token hold"),
            Self::ScopesAndClient => f.write_str("it has scopes and a client, and no login claim"),
            Self::LoginClaim(claim) => {
                write!(f, "it has the claim `{claim}` and no scopes, and no mark of an access token")
            }
            Self::ClientsAsAudience => f.write_str("it has no scopes, and its audience is the application's own id"),
            Self::Untyped => f.write_str("the issuer's answer about it has no `token_type`"),
            Self::Unmarked => f.write_str("the issuer's answer about it lacks the marks of its access tokens"),
            Self::Denied => f.write_str("the issuer's answer about it has what the discriminator denies or forbids"),
            Self::Foreign => f.write_str("no token of that provider is meant for our APIs"),
            Self::Nothing => f.write_str("it has no mark of an access token"),
        }
    }
}

/// A kind with what showed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// The kind.
    pub kind: TokenKind,
    /// What showed it.
    pub evidence: Evidence,
    /// Whether its issuer's own mark says that it is something else, or the dialect takes nothing at all.
    denied: bool,
}

/// Classifies a token by the rules above.
pub fn classify(contents: &Contents, issuer: &Issuer) -> Classification {
    let Contents { header, claims } = contents;
    let (kind, evidence) = marked_otherwise(header, claims)
        .or_else(|| marked_access(contents, issuer))
        .unwrap_or_else(|| labelled(claims, issuer));
    let denied = denied(contents, issuer.recognition.access());
    Classification { kind, evidence, denied }
}

impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.evidence)
    }
}

impl Classification {
    /// Whether nothing was found that marks it as made for something else than access or login.
    ///
    /// That is what an issuer with `accept_id_tokens` may admit.
    pub fn could_be_id_token(&self) -> bool {
        match self.kind {
            TokenKind::Id => !self.denied,
            TokenKind::Unknown => self.evidence == Evidence::Nothing && !self.denied,
            TokenKind::Access | TokenKind::Refresh | TokenKind::Logout => false,
        }
    }
}

/// Claims that some provider uses to name the kind.
const MARK_CLAIMS: &[&str] =
    &["tokenName", "token_use", "typ", "tokenType", "token_type", "tok_type", "type", "purpose"];

/// Claims that tell an application about the person who logged in (OpenID Connect Core section 5.1).
const LOGIN_CLAIMS: &[&str] = &[
    "nonce",
    "name",
    "given_name",
    "family_name",
    "nickname",
    "preferred_username",
    "email",
    "picture",
    "profile",
    "phone_number",
    "birthdate",
    "gender",
];

/// The event of Back-Channel Logout 1.0 section 2.4.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Rules 1 to 5.
fn marked_otherwise(header: &Header, claims: &Claims) -> Option<(TokenKind, Evidence)> {
    if let Some(typ) = header.media_type().filter(|typ| typ.ends_with("+jwt") && typ != "at+jwt") {
        let kind = if typ == "logout+jwt" { TokenKind::Logout } else { TokenKind::Unknown };
        return Some((kind, Evidence::Type(Quoted::from(&*typ))));
    }
    claims_marked_otherwise(claims)
}

/// What marks a token in so many words as another kind than an ID token, so that it is none though its claims fit: its
/// `typ`, `events`, a claim that names another kind, or the mark by which its issuer's access tokens are known (Keycloak's
/// `Bearer`, Okta's `AT.`). To look like an access token alone is no such mark: some issuers' ID tokens do.
pub(super) fn marked_no_id_token(contents: &Contents, issuer: &Issuer) -> Option<Evidence> {
    let Contents { header, claims } = contents;
    if let Some(typ) = header.media_type().filter(|typ| typ.ends_with("+jwt")) {
        return Some(Evidence::Type(Quoted::from(&*typ)));
    }
    if claims.get("events").and_then(Json::as_object).is_some() {
        return Some(Evidence::Events);
    }
    for &claim in MARK_CLAIMS {
        let Some(value) = claims.get(claim).and_then(Json::as_str) else { continue };
        if named_kind(value).is_some_and(|kind| kind != TokenKind::Id) {
            return Some(Evidence::Mark { claim, value: Quoted::from(value) });
        }
    }
    let AccessIf::Marks(Discriminator { mark: Some(mark), .. }) = issuer.recognition.access() else { return None };
    mark.value_in(Some(header), claims, &mark.access).then_some(Evidence::Admitted)
}

/// Rules 3 to 5, which need no header: an issuer's answer about a token is judged by them too.
pub(super) fn claims_marked_otherwise(claims: &Claims) -> Option<(TokenKind, Evidence)> {
    if let Some(events) = claims.get("events").and_then(Json::as_object) {
        let kind = if events.has(LOGOUT_EVENT) { TokenKind::Logout } else { TokenKind::Unknown };
        return Some((kind, Evidence::Events));
    }
    for &claim in MARK_CLAIMS {
        let Some(value) = claims.get(claim).and_then(Json::as_str) else { continue };
        if let Some(kind) = other_kind(value) {
            return Some((kind, Evidence::Mark { claim, value: Quoted::from(value) }));
        }
    }
    ["at_hash", "c_hash", "s_hash"]
        .into_iter()
        .find(|claim| claims.has(claim))
        .map(|claim| (TokenKind::Id, Evidence::Hash(claim)))
}

/// The kind that a mark names, unless that is the access token's. `Bearer` says nothing: refresh tokens say it too.
fn other_kind(value: &str) -> Option<TokenKind> {
    named_kind(value).filter(|kind| *kind != TokenKind::Access)
}

/// The kind that a word names, in any of the spellings in use.
pub(super) fn named_kind(value: &str) -> Option<TokenKind> {
    // Longer than the longest spelling in use: no allocation for a claim that cannot be a mark.
    if value.len() > 40 {
        return None;
    }
    let letters: String =
        value.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect();
    let stem =
        ["oauth", "jwt", "oidc", "openid"].iter().find_map(|prefix| letters.strip_prefix(prefix)).unwrap_or(&letters);
    match stem.strip_suffix("token").unwrap_or(stem) {
        "access" | "at" => Some(TokenKind::Access),
        "id" | "identity" | "it" => Some(TokenKind::Id),
        "refresh" | "rt" | "offline" => Some(TokenKind::Refresh),
        "logout" => Some(TokenKind::Logout),
        _ => None,
    }
}

/// Rules 6 and 7.
fn marked_access(contents: &Contents, issuer: &Issuer) -> Option<(TokenKind, Evidence)> {
    let access = issuer.recognition.access();
    if *access == AccessIf::Never {
        return None;
    }
    if contents.header.media_type().is_some_and(|typ| typ == "at+jwt") {
        let own = matches!(issuer.recognition, Recognition::Own(_));
        let denied = own && denies(access, Some(&contents.header), &contents.claims);
        return (!denied).then_some((TokenKind::Access, Evidence::AtJwt));
    }
    match access {
        AccessIf::AtJwt | AccessIf::Never => None,
        AccessIf::Marks(marks) => {
            holds(marks, Some(&contents.header), &contents.claims).then_some((TokenKind::Access, Evidence::Admitted))
        }
        AccessIf::Evidence { forbid } => {
            let claims = &contents.claims;
            let has_scopes = issuer.scopes(claims).is_ok_and(|scopes| scopes.iter().next().is_some());
            let has_client = CLIENT_CLAIMS.iter().any(|claim| claims.has(claim));
            let logs_in = claims.has("nonce") || forbid.iter().any(|claim| claims.has(claim));
            (has_scopes && has_client && !logs_in).then_some((TokenKind::Access, Evidence::ScopesAndClient))
        }
    }
}

/// Whether a mark is there that the operator lists as another kind's, or nothing of this issuer is ever taken.
fn denied(contents: &Contents, access: &AccessIf) -> bool {
    match access {
        AccessIf::Never => true,
        AccessIf::Marks(Discriminator { mark: Some(mark), .. }) => {
            mark.value_in(Some(&contents.header), &contents.claims, &mark.deny)
        }
        AccessIf::Marks(_) | AccessIf::AtJwt | AccessIf::Evidence { .. } => false,
    }
}

impl Mark {
    /// The value that stands at the mark's place.
    fn value<'c>(&self, header: Option<&'c Header>, claims: &'c Claims) -> Option<Cow<'c, str>> {
        match &self.place {
            // `typ` is a media type: its case and its `application/` do not count (RFC 7515 section 4.1.9).
            Place::Header(name) if name == "typ" => header?.media_type(),
            Place::Header(name) => header?.get(name).and_then(Json::as_str).map(Cow::Borrowed),
            Place::Claim(name) => claims.get(name).and_then(Json::as_str).map(Cow::Borrowed),
        }
    }

    /// Whether that value matches one of `words`.
    fn value_in(&self, header: Option<&Header>, claims: &Claims, words: &[Cow<'static, str>]) -> bool {
        let value = self.value(header, claims);
        value.is_some_and(|value| words.iter().any(|word| self.compare.matches(&value, word)))
    }
}

/// Whether all parts of a discriminator hold. An issuer's answer about a token has no header.
pub(super) fn holds(marks: &Discriminator, header: Option<&Header>, claims: &Claims) -> bool {
    let marked = marks.mark.as_ref().is_none_or(|mark| {
        let present = mark.value(header, claims).is_some();
        present
            && (mark.access.is_empty() || mark.value_in(header, claims, &mark.access))
            && !mark.value_in(header, claims, &mark.deny)
    });
    marked
        && marks.require.iter().all(|group| group.iter().any(|claim| claims.get(claim).is_some_and(says_something)))
        && !marks.forbid.iter().any(|claim| claims.has(claim))
}

/// Whether a token has what the operator said that no access token has. An issuer's answer about it has no header.
pub(super) fn denies(access: &AccessIf, header: Option<&Header>, claims: &Claims) -> bool {
    match access {
        AccessIf::Marks(Discriminator { mark, forbid, .. }) => {
            mark.as_ref().is_some_and(|mark| mark.value_in(header, claims, &mark.deny))
                || forbid.iter().any(|claim| claims.has(claim))
        }
        AccessIf::AtJwt | AccessIf::Evidence { .. } | AccessIf::Never => false,
    }
}

/// Present, and neither null nor empty.
fn says_something(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(_) | Json::Number(_) => true,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(object) => object.iter().next().is_some(),
    }
}

/// Rule 8: only a label.
fn labelled(claims: &Claims, issuer: &Issuer) -> (TokenKind, Evidence) {
    // Wherever scopes are written: a label must not call an access token of another dialect an ID token.
    let sources = issuer.scope_claim.as_deref().into_iter().chain(["scope", "scp"]);
    if sources.into_iter().any(|source| claims.get(source).is_some_and(says_something)) {
        return (TokenKind::Unknown, Evidence::Nothing);
    }
    if let Some(claim) = LOGIN_CLAIMS.iter().find(|claim| claims.has(claim)) {
        return (TokenKind::Id, Evidence::LoginClaim(claim));
    }
    let for_clients_alone = claims.audience().is_ok_and(|audience| {
        let mut audience = audience.iter().peekable();
        audience.peek().is_some() && audience.all(|value| issuer.is_known_client(value))
    });
    if for_clients_alone {
        (TokenKind::Id, Evidence::ClientsAsAudience)
    } else {
        (TokenKind::Unknown, Evidence::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_other_kinds_are_read_in_every_spelling() {
        for (value, kind) in [
            ("id_token", Some(TokenKind::Id)),
            ("ID", Some(TokenKind::Id)),
            ("identity", Some(TokenKind::Id)),
            ("JWT-ID-Token", Some(TokenKind::Id)),
            ("openid_id_token", Some(TokenKind::Id)),
            ("refresh_token", Some(TokenKind::Refresh)),
            ("Refresh", Some(TokenKind::Refresh)),
            ("Offline", Some(TokenKind::Refresh)),
            ("oauth2_refresh_token", Some(TokenKind::Refresh)),
            ("RT", Some(TokenKind::Refresh)),
            ("Logout", Some(TokenKind::Logout)),
            ("logout_token", Some(TokenKind::Logout)),
            ("Bearer", None),
            ("access_token", None),
            ("JWTToken", None),
            ("JWT", None),
            ("", None),
            ("video", None),
        ] {
            assert_eq!(other_kind(value), kind, "{value}");
        }
    }
}

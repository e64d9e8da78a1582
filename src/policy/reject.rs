//! Every refusal, and all of its faces.
//!
//! [`Code`] is the closed list that callers, metrics and the README know. Each code's status, gRPC status, challenge and
//! public text stand once, in one [table](code). [`Reject`] is one refusal with the values that led to it: the caller
//! is told the code's public text, the operator also the [`cause`](Reject::cause) and the [`help`](Reject::help).
//!
//! A refusal never holds a token. What it quotes is cut to a bounded length and escaped; what a token alone says is named
//! `unverified`, and what its issuer answered about it is not.

mod code;
mod step;
mod words;

use std::fmt::{self, Write as _};

pub use self::code::{Challenge, Code, Facts};
pub use self::step::Step;
use super::claims::{NumericDate, Source};
use super::kind::{Evidence, TokenKind};

/// A text from outside, cut, and displayed so that a log line or a terminal can hold it: in quotation marks, and escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// How many characters of the original are kept.
    pub const MAX_CHARS: usize = 128;

    /// The text for people, without quotation marks: what would be escaped in a line of a log is not, and in the place of each
    /// control character stands U+FFFD.
    pub fn plain(&self) -> String {
        self.0.replace(char::is_control, "\u{fffd}")
    }
}

impl From<&str> for Quoted {
    fn from(text: &str) -> Self {
        let mut quoted: String = text.chars().take(Self::MAX_CHARS).collect();
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            quoted.push('…');
        }
        Self(quoted)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.0.chars().flat_map(char::escape_debug).try_for_each(|char| f.write_char(char))?;
        f.write_char('"')
    }
}

/// One refusal, with the values that led to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Reject {
    /// See [`Code::RequestMalformed`].
    RequestMalformed {
        /// The rule that was broken.
        rule: &'static str,
    },
    /// See [`Code::PathAmbiguous`].
    PathAmbiguous {
        /// What can be read two ways.
        what: &'static str,
    },
    /// See [`Code::BodyTooLarge`].
    BodyTooLarge {
        /// The route's limit, in bytes.
        limit: u64,
    },
    /// See [`Code::HeadTooLarge`].
    HeadTooLarge {
        /// Which limit was passed.
        limit: HeadLimit,
    },
    /// See [`Code::RequestTimeout`].
    RequestTimeout,
    /// See [`Code::RouteUnknown`].
    RouteUnknown,
    /// See [`Code::MethodNotAllowed`].
    MethodNotAllowed {
        /// The value of the `Allow` header (RFC 9110 section 10.2.1).
        allow: String,
    },
    /// See [`Code::CredentialMissing`].
    CredentialMissing {
        /// What was sent instead.
        found: &'static str,
        /// What is a credential here.
        wanted: Wanted,
    },
    /// See [`Code::CredentialMalformed`].
    CredentialMalformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// See [`Code::CredentialAmbiguous`].
    CredentialAmbiguous {
        /// Where the second one is.
        what: &'static str,
    },
    /// See [`Code::TokenMalformed`].
    TokenMalformed {
        /// What is wrong with its text.
        what: &'static str,
    },
    /// See [`Code::TokenTooLarge`].
    TokenTooLarge {
        /// The token's length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// See [`Code::ExtensionRefused`].
    ExtensionRefused {
        /// The header member that demands it.
        member: &'static str,
    },
    /// See [`Code::IssuerUnknown`].
    IssuerUnknown {
        /// The token's `iss`.
        iss: Quoted,
        /// Who says so.
        source: Source,
        /// The exact issuers that this route's policies trust.
        trusted: Vec<String>,
    },
    /// See [`Code::AlgorithmRefused`].
    AlgorithmRefused {
        /// The token's `alg`, unverified; none where it is not a string.
        alg: Option<Quoted>,
        /// The issuer's algorithms.
        allowed: Vec<&'static str>,
    },
    /// See [`Code::AlgorithmRefused`]: the named key is not for it.
    KeyMisfit {
        /// The issuer's configured name.
        issuer: String,
        /// The token's `alg`, unverified.
        alg: Option<Quoted>,
        /// The token's `kid`, unverified.
        kid: Option<Quoted>,
    },
    /// See [`Code::KeyUnknown`].
    KeyUnknown {
        /// The issuer's configured name.
        issuer: String,
        /// The token's `kid`, unverified.
        kid: Option<Quoted>,
        /// Why no key of the set fits.
        why: &'static str,
    },
    /// See [`Code::SignatureInvalid`].
    SignatureInvalid {
        /// The issuer's configured name.
        issuer: String,
        /// Whether the header has a `nonce`: then it is a token for Microsoft Graph.
        nonce: bool,
    },
    /// See [`Code::ClaimsMalformed`].
    ClaimsMalformed {
        /// The claim's name or JSON Pointer.
        claim: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The four codes of a token that is no access token.
    WrongKind {
        /// What the token is.
        kind: TokenKind,
        /// What showed it.
        evidence: Evidence,
        /// The name of the issuer's dialect, which was asked.
        dialect: &'static str,
        /// Whose words the evidence is.
        source: Source,
    },
    /// See [`Code::TokenExpired`].
    TokenExpired {
        /// The token's `exp`.
        exp: NumericDate,
        /// Who says so.
        source: Source,
        /// The time it was judged at.
        now: NumericDate,
        /// The issuer's leeway in seconds.
        leeway: u64,
    },
    /// See [`Code::TokenNotYetValid`].
    TokenNotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// That claim's value.
        at: NumericDate,
        /// Who says so.
        source: Source,
        /// The time it was judged at.
        now: NumericDate,
        /// The issuer's leeway in seconds.
        leeway: u64,
    },
    /// See [`Code::TokenInactive`].
    TokenInactive {
        /// The configured name of the issuer that was asked.
        issuer: String,
    },
    /// See [`Code::AudienceWrong`].
    AudienceWrong {
        /// The token's audiences.
        found: Vec<Quoted>,
        /// The policy's audiences.
        wanted: Vec<String>,
        /// Set where an audience matched but is the id of a client (see `known_clients`).
        known_client: bool,
    },
    /// See [`Code::ProofRequired`].
    ProofRequired,
    /// See [`Code::ScopeInsufficient`].
    ScopeInsufficient {
        /// The scopes the challenge names, as the policy has them.
        required: Vec<String>,
        /// Whether all of them are needed, or one.
        all: bool,
        /// The token's scopes.
        found: Vec<Quoted>,
    },
    /// See [`Code::ClientRefused`].
    ClientRefused {
        /// The token's client, where it names one.
        found: Option<Quoted>,
        /// The policy's clients.
        allowed: Vec<String>,
    },
    /// See [`Code::ClaimInsufficient`].
    ClaimInsufficient {
        /// The claim's name or JSON Pointer.
        claim: String,
        /// The values of which one is needed.
        wanted: Vec<String>,
    },
    /// See [`Code::CsrfRefused`].
    CsrfRefused {
        /// What is there instead.
        what: &'static str,
        /// Its value, where it has one.
        found: Option<Quoted>,
        /// Our origin.
        ours: String,
    },
    /// See [`Code::SessionExpired`].
    SessionExpired {
        /// Why there is none.
        why: &'static str,
    },
    /// The same, just after the browser got another session: what it sent before may be answered after that, so that nothing
    /// may be said of its cookie, which is another one by now.
    SessionReplaced,
    /// See [`Code::LoginStateInvalid`].
    LoginStateInvalid {
        /// What is wrong.
        why: &'static str,
    },
    /// See [`Code::LoginIdTokenInvalid`].
    LoginIdTokenInvalid {
        /// Which rule does not hold.
        why: String,
    },
    /// See [`Code::LoginRefused`].
    LoginRefused {
        /// The issuer's error code.
        error: Quoted,
        /// What it says of it.
        description: Option<Quoted>,
    },
    /// See [`Code::LoginUnavailable`].
    LoginUnavailable {
        /// What failed.
        why: String,
        /// What the operator can do about it.
        help: &'static str,
    },
    /// See [`Code::LogoutTokenInvalid`].
    LogoutTokenInvalid {
        /// Which rule does not hold.
        why: String,
    },
    /// See [`Code::KeysUnavailable`].
    KeysUnavailable {
        /// The issuer's configured name.
        issuer: String,
        /// Why the keys could not be had.
        why: String,
        /// Seconds until another try may do better.
        retry_after: u64,
    },
    /// See [`Code::IntrospectionUnavailable`].
    IntrospectionUnavailable {
        /// The issuer's configured name.
        issuer: String,
        /// Why it could not be asked.
        why: String,
        /// What the operator can do about it.
        help: &'static str,
        /// Seconds until another try may do better.
        retry_after: u64,
    },
    /// See [`Code::StoreUnavailable`].
    StoreUnavailable {
        /// What happened.
        why: String,
        /// What the operator can do about it.
        help: &'static str,
    },
    /// See [`Code::IssuerUnavailable`].
    IssuerUnavailable {
        /// The session's configured name.
        session: String,
        /// What happened.
        why: String,
        /// What the operator can do.
        help: &'static str,
    },
    /// See [`Code::Overloaded`].
    Overloaded {
        /// What there is too much of.
        what: &'static str,
    },
    /// See [`Code::Overloaded`].
    UpstreamFull {
        /// The upstream's configured name.
        upstream: String,
        /// How many requests it has at once.
        bound: usize,
    },
    /// See [`Code::UpstreamUnreachable`].
    UpstreamUnreachable {
        /// The upstream's configured name.
        upstream: String,
        /// What failed.
        why: String,
    },
    /// See [`Code::UpstreamMalformed`].
    UpstreamMalformed {
        /// The upstream's configured name.
        upstream: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// See [`Code::UpstreamTimeout`].
    UpstreamTimeout {
        /// The upstream's configured name.
        upstream: String,
        /// Which wait was too long.
        why: &'static str,
    },
    /// See [`Code::Internal`].
    Internal {
        /// What failed.
        why: &'static str,
    },
}

/// Which limit of a request's head was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadLimit {
    /// The whole head, in bytes.
    Bytes(usize),
    /// The number of header fields.
    Fields(usize),
}

/// What is a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// An access token.
    Token,
    /// That, or the cookie of a session, for which a browser logs in at this address.
    TokenOrLogin(String),
    /// The cookie alone.
    Login(String),
}

impl Reject {
    /// The code, from which status, challenge and public text come.
    pub fn code(&self) -> Code {
        match self {
            Self::RequestMalformed { .. } => Code::RequestMalformed,
            Self::PathAmbiguous { .. } => Code::PathAmbiguous,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::HeadTooLarge { .. } => Code::HeadTooLarge,
            Self::RequestTimeout => Code::RequestTimeout,
            Self::RouteUnknown => Code::RouteUnknown,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::CredentialMissing { .. } => Code::CredentialMissing,
            Self::CredentialMalformed { .. } => Code::CredentialMalformed,
            Self::CredentialAmbiguous { .. } => Code::CredentialAmbiguous,
            Self::TokenMalformed { .. } => Code::TokenMalformed,
            Self::TokenTooLarge { .. } => Code::TokenTooLarge,
            Self::ExtensionRefused { .. } => Code::ExtensionRefused,
            Self::IssuerUnknown { .. } => Code::IssuerUnknown,
            Self::AlgorithmRefused { .. } | Self::KeyMisfit { .. } => Code::AlgorithmRefused,
            Self::KeyUnknown { .. } => Code::KeyUnknown,
            Self::SignatureInvalid { .. } => Code::SignatureInvalid,
            Self::ClaimsMalformed { .. } => Code::ClaimsMalformed,
            Self::WrongKind { kind, .. } => match kind {
                TokenKind::Id => Code::IdTokenPresented,
                TokenKind::Refresh => Code::RefreshTokenPresented,
                TokenKind::Logout => Code::LogoutTokenPresented,
                // An access token is never of the wrong kind; if it were said to be, it must still be refused.
                TokenKind::Access | TokenKind::Unknown => Code::TokenKindUnknown,
            },
            Self::TokenExpired { .. } => Code::TokenExpired,
            Self::TokenNotYetValid { .. } => Code::TokenNotYetValid,
            Self::TokenInactive { .. } => Code::TokenInactive,
            Self::AudienceWrong { .. } => Code::AudienceWrong,
            Self::ProofRequired => Code::ProofRequired,
            Self::ScopeInsufficient { .. } => Code::ScopeInsufficient,
            Self::ClientRefused { .. } => Code::ClientRefused,
            Self::ClaimInsufficient { .. } => Code::ClaimInsufficient,
            Self::CsrfRefused { .. } => Code::CsrfRefused,
            Self::SessionExpired { .. } | Self::SessionReplaced => Code::SessionExpired,
            Self::LoginStateInvalid { .. } => Code::LoginStateInvalid,
            Self::LoginIdTokenInvalid { .. } => Code::LoginIdTokenInvalid,
            Self::LoginRefused { .. } => Code::LoginRefused,
            Self::LoginUnavailable { .. } => Code::LoginUnavailable,
            Self::LogoutTokenInvalid { .. } => Code::LogoutTokenInvalid,
            Self::KeysUnavailable { .. } => Code::KeysUnavailable,
            Self::IntrospectionUnavailable { .. } => Code::IntrospectionUnavailable,
            Self::StoreUnavailable { .. } => Code::StoreUnavailable,
            Self::IssuerUnavailable { .. } => Code::IssuerUnavailable,
            Self::Overloaded { .. } | Self::UpstreamFull { .. } => Code::Overloaded,
            Self::UpstreamUnreachable { .. } => Code::UpstreamUnreachable,
            Self::UpstreamMalformed { .. } => Code::UpstreamMalformed,
            Self::UpstreamTimeout { .. } => Code::UpstreamTimeout,
            Self::Internal { .. } => Code::Internal,
        }
    }

    /// Seconds for `Retry-After` (RFC 9110 section 10.2.3), where waiting may help.
    pub fn retry_after(&self) -> Option<u64> {
        if let Self::KeysUnavailable { retry_after, .. } | Self::IntrospectionUnavailable { retry_after, .. } = self {
            Some(*retry_after)
        } else {
            // What comes again at once finds nothing changed.
            matches!(
                self.code(),
                Code::Overloaded | Code::StoreUnavailable | Code::IssuerUnavailable | Code::LoginUnavailable
            )
            .then_some(1)
        }
    }

    /// Whether another access token of the same grant may do better: this one may have been good once, and is not any more,
    /// because its time, its key or the issuer's word on it has changed. What a token is (its kind, its audience, its scopes)
    /// would be the same again.
    pub fn is_cured_by_refresh(&self) -> bool {
        matches!(
            self,
            Self::TokenInactive { .. }
                | Self::TokenExpired { .. }
                | Self::KeyUnknown { .. }
                | Self::KeyMisfit { .. }
                // With a `nonce` in its head it is for another API, which alone can check it.
                | Self::SignatureInvalid { nonce: false, .. }
        )
    }

    /// The scopes that the challenge names (RFC 6750 section 3).
    pub fn scopes(&self) -> &[String] {
        if let Self::ScopeInsufficient { required, .. } = self { required } else { &[] }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.cause())
    }
}

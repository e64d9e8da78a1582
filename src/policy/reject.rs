//! Every refusal, and all of its faces.
//!
//! [`Code`] is the closed list that callers, metrics and the README know. Each code's status, gRPC status, challenge and
//! public text stand once, in the table below. [`Reject`] is one refusal with the values that led to it: the caller
//! is told the code's public text, the operator also the [`cause`](Reject::cause) and the [`help`](Reject::help).
//!
//! A refusal never holds a token. What it quotes of one is named `unverified`, cut to a bounded length and escaped.

use std::fmt;

use super::claims::NumericDate;
use super::kind::{Evidence, TokenKind};

/// What a `WWW-Authenticate: Bearer` challenge says (RFC 6750 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// The status is not about the credential: no challenge.
    None,
    /// No credential was sent: the scheme and the realm alone (RFC 6750 section 3.1, last paragraph).
    Bare,
    /// `error="invalid_request"`.
    InvalidRequest,
    /// `error="invalid_token"`.
    InvalidToken,
    /// `error="insufficient_scope"`, with the scopes that are needed.
    InsufficientScope,
}

impl Challenge {
    /// The value of the `error` attribute, where there is one.
    pub fn error(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Bare => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }
}

/// What every refusal of one code has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The name in the answer's body, the metric, the log and the README.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The `grpc-status` of a refused gRPC request.
    pub grpc: u8,
    /// The challenge that goes with it.
    pub challenge: Challenge,
    /// The problem's title (RFC 9457 section 3.1.3).
    pub title: &'static str,
    /// What the caller may know and can do.
    pub detail: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal, $grpc:literal, $challenge:ident, $title:literal, $detail:literal;)+) => {
        /// Why a request was refused: the closed list of the product's interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Status, challenge and texts of this code.
            pub const fn facts(self) -> Facts {
                match self {
                    $(Self::$variant => Facts {
                        name: $name, status: $status, grpc: $grpc, challenge: Challenge::$challenge,
                        title: $title, detail: $detail,
                    },)+
                }
            }
        }
    };
}

codes! {
    /// The head breaks a rule of HTTP, or can be read two ways.
    RequestMalformed = "request_malformed", 400, 3, None,
        "The request is malformed", "The request's head breaks a rule of HTTP or can be read in two ways.";
    /// The path can be read two ways.
    PathAmbiguous = "path_ambiguous", 400, 3, None,
        "The path is ambiguous", "The path can be read in two ways; send it without dot segments, double slashes, parameters and encoded delimiters.";
    /// The body is larger than the route takes.
    BodyTooLarge = "body_too_large", 413, 8, None,
        "The body is too large", "The request's body is larger than this route takes.";
    /// The head is larger than the gateway takes.
    HeadTooLarge = "head_too_large", 431, 8, None,
        "The head is too large", "The request's target or header fields are larger or more than the gateway takes.";
    /// The body came too slowly.
    RequestTimeout = "request_timeout", 408, 4, None,
        "The request came too slowly", "The request's body did not arrive in time.";
    /// No route is for this host and path.
    RouteUnknown = "route_unknown", 404, 12, None,
        "No such route", "Nothing is served at this host and path.";
    /// The route is not for this method.
    MethodNotAllowed = "method_not_allowed", 405, 12, None,
        "The method is not allowed", "This path is served for other methods; the Allow header names them.";
    /// No credential was sent.
    CredentialMissing = "credential_missing", 401, 16, Bare,
        "An access token is required", "Send an access token as `Authorization: Bearer`.";
    /// The credential is not of the form RFC 6750 gives it.
    CredentialMalformed = "credential_malformed", 400, 3, InvalidRequest,
        "The credential is malformed", "The Authorization header must hold `Bearer`, one space and one token.";
    /// Two credentials were sent.
    CredentialAmbiguous = "credential_ambiguous", 400, 3, InvalidRequest,
        "More than one credential", "Send exactly one credential, in one Authorization header, and none in the query.";
    /// The token is not a compact JWS this gateway can read.
    TokenMalformed = "token_malformed", 401, 16, InvalidToken,
        "The token is malformed", "The token cannot be read as a signed JWT access token.";
    /// The token is longer than the limit.
    TokenTooLarge = "token_too_large", 401, 16, InvalidToken,
        "The token is too large", "The token is longer than the gateway takes.";
    /// The token demands an extension that is not supported.
    ExtensionRefused = "extension_refused", 401, 16, InvalidToken,
        "The token demands an extension", "The token's header demands an extension that is not supported here.";
    /// No issuer of this route signs with that name.
    IssuerUnknown = "issuer_unknown", 401, 16, InvalidToken,
        "The issuer is not trusted here", "The token was issued by a party that this API does not trust.";
    /// The signature algorithm is not one of the issuer's.
    AlgorithmRefused = "algorithm_refused", 401, 16, InvalidToken,
        "The algorithm is refused", "The token is signed with an algorithm that is not accepted.";
    /// The issuer has no usable key of that id.
    KeyUnknown = "key_unknown", 401, 16, InvalidToken,
        "The signing key is unknown", "The token's signing key is not among its issuer's current keys.";
    /// The signature does not verify.
    SignatureInvalid = "signature_invalid", 401, 16, InvalidToken,
        "The signature is invalid", "The token's signature does not verify.";
    /// A claim that is read is missing or of the wrong type.
    ClaimsMalformed = "claims_malformed", 401, 16, InvalidToken,
        "A claim is malformed", "A claim of the token is missing or not of the type its standard gives it.";
    /// An ID token was sent.
    IdTokenPresented = "id_token_presented", 401, 16, InvalidToken,
        "This is an ID token", "This is an ID token, which tells an application who logged in; send the access token.";
    /// A refresh token was sent.
    RefreshTokenPresented = "refresh_token_presented", 401, 16, InvalidToken,
        "This is a refresh token", "This is a refresh token, which is for the issuer alone; send the access token.";
    /// A logout token was sent.
    LogoutTokenPresented = "logout_token_presented", 401, 16, InvalidToken,
        "This is a logout token", "This is a logout token; send the access token.";
    /// Nothing shows that the token is an access token.
    TokenKindUnknown = "token_kind_unknown", 401, 16, InvalidToken,
        "Not known to be an access token", "Nothing shows that this token is an access token; send the access token.";
    /// The token's time is over.
    TokenExpired = "token_expired", 401, 16, InvalidToken,
        "The token has expired", "The access token has expired; get a new one.";
    /// The token's time has not come.
    TokenNotYetValid = "token_not_yet_valid", 401, 16, InvalidToken,
        "The token is not yet valid", "The access token is not valid yet; check the clocks.";
    /// The issuer says that the token does not hold.
    TokenInactive = "token_inactive", 401, 16, InvalidToken,
        "The token is not active", "The issuer says that this token is not active; get a new one.";
    /// The token is for another audience.
    AudienceWrong = "audience_wrong", 401, 16, InvalidToken,
        "The token is for another audience", "The access token was not issued for this API; ask for one with this API's audience.";
    /// The token is bound to a key and came without proof.
    ProofRequired = "proof_required", 401, 16, InvalidToken,
        "A proof of possession is required", "The access token is bound to a key and cannot be used as a plain Bearer token.";
    /// The session is over, or the cookie has none.
    SessionExpired = "session_expired", 401, 16, Bare,
        "The session is over", "There is no session for this cookie any more; log in again.";
    /// A scope is missing.
    ScopeInsufficient = "scope_insufficient", 403, 7, InsufficientScope,
        "A scope is missing", "The access token lacks a scope that this request needs.";
    /// The client is not one of those allowed.
    ClientRefused = "client_refused", 403, 7, None,
        "The client is not allowed", "The client that this token was issued to may not make this request.";
    /// A claim does not have the value that is needed.
    ClaimInsufficient = "claim_insufficient", 403, 7, None,
        "A claim does not suffice", "A claim of the access token does not have a value that this request needs.";
    /// A request by cookie does not come from our own pages.
    CsrfRefused = "csrf_refused", 403, 7, None,
        "The request is not from this origin", "A request by session cookie that changes something must come from a page of this origin.";
    /// What came back from the issuer belongs to no login of this browser.
    LoginStateInvalid = "login_state_invalid", 400, 3, None,
        "This login is over", "This answer belongs to no login that was begun in this browser in the last ten minutes. Begin again.";
    /// The issuer's ID token is not one for this login.
    LoginIdTokenInvalid = "login_id_token_invalid", 403, 7, None,
        "The login cannot be proven", "The identity provider's proof of who logged in does not hold. Begin again; if that does not help, tell the operator.";
    /// The issuer refused the login, or its code.
    LoginRefused = "login_refused", 403, 7, None,
        "The login was refused", "The identity provider did not complete this login.";
    /// A login is not possible now.
    LoginUnavailable = "login_unavailable", 503, 14, None,
        "Logging in is not possible now", "The identity provider cannot be asked at the moment. Try again later.";
    /// A logout token does not hold.
    LogoutTokenInvalid = "logout_token_invalid", 400, 3, None,
        "The logout token is invalid", "The logout token does not hold, or is about no session here.";
    /// The issuer's keys could not be had.
    KeysUnavailable = "keys_unavailable", 503, 14, None,
        "The issuer's keys are not available", "The token cannot be checked at the moment; it may be good. Try again later.";
    /// The issuer could not be asked about the token.
    IntrospectionUnavailable = "introspection_unavailable", 503, 14, None,
        "The issuer cannot be asked about the token", "The token cannot be checked at the moment; it may be good. Try again later.";
    /// Sessions cannot be looked up.
    StoreUnavailable = "store_unavailable", 503, 14, None,
        "Sessions cannot be looked up", "The session cannot be looked up at the moment; it may be good. Try again later.";
    /// A session's access token is spent and cannot be renewed now.
    IssuerUnavailable = "issuer_unavailable", 503, 14, None,
        "The session cannot be refreshed", "The session's access token cannot be refreshed at the moment. Try again later.";
    /// There is more to do than the gateway can.
    Overloaded = "overloaded", 503, 14, None,
        "The gateway is overloaded", "The gateway has more to do at the moment than it can. Try again later.";
    /// The upstream could not be reached, or gave no answer.
    UpstreamUnreachable = "upstream_unreachable", 502, 14, None,
        "The API cannot be reached", "The API behind this gateway cannot be reached.";
    /// The upstream's answer is not HTTP.
    UpstreamMalformed = "upstream_malformed", 502, 14, None,
        "The API's answer is malformed", "The API behind this gateway gave an answer that cannot be passed on.";
    /// The upstream's answer did not come in time.
    UpstreamTimeout = "upstream_timeout", 504, 4, None,
        "The API did not answer in time", "The API behind this gateway did not answer in time.";
    /// A defect of the gateway's own.
    Internal = "internal", 500, 13, None,
        "The gateway failed", "The gateway failed on this request; that is a defect of its own.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
    }
}

/// The steps of the decision, in the one order in which they are taken.
///
/// The order is the same on a cold and on a warm cache, so that one request has one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The request's head: framing, host, target, path.
    Head,
    /// Host, path, then method.
    Route,
    /// The `Authorization` header.
    Credential,
    /// The token's length.
    Size,
    /// The token's form: three parts, strict base64url, strict JSON.
    Shape,
    /// `crit`, `b64`, `zip`.
    Extensions,
    /// `active` in the issuer's answer about an opaque token.
    Introspection,
    /// `iss`, byte for byte.
    Issuer,
    /// Access token, or another kind.
    Kind,
    /// `alg` against the issuer's list.
    Algorithm,
    /// `exp`, `nbf`, `iat`.
    Time,
    /// `kid` in the issuer's key set.
    Key,
    /// The signature over the very bytes that were judged.
    Signature,
    /// `cnf`: a bound token needs its proof.
    Proof,
    /// The types of every other claim that is read.
    Claims,
    /// `aud` against the policy.
    Audience,
    /// The client against the policy.
    Client,
    /// The scopes against the policy.
    Scopes,
    /// Other claims against the policy.
    Requirements,
    /// After the decision: the upstream, or a fault of ours.
    Forward,
}

impl Step {
    /// The step's name, as `explain` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "request head",
            Self::Route => "route",
            Self::Credential => "credential",
            Self::Size => "size",
            Self::Shape => "shape",
            Self::Extensions => "crit",
            Self::Introspection => "introspection",
            Self::Issuer => "issuer",
            Self::Kind => "kind",
            Self::Algorithm => "algorithm",
            Self::Time => "time",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Proof => "proof",
            Self::Claims => "claims well-formed",
            Self::Audience => "audience",
            Self::Client => "client",
            Self::Scopes => "scopes",
            Self::Requirements => "claims",
            Self::Forward => "forward",
        }
    }
}

/// A text from outside, cut and escaped so that a log line or a terminal can hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// How many characters of the original are kept.
    pub const MAX_CHARS: usize = 128;
}

impl From<&str> for Quoted {
    fn from(text: &str) -> Self {
        let mut quoted: String = text.chars().take(Self::MAX_CHARS).flat_map(char::escape_debug).collect();
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            quoted.push('…');
        }
        Self(quoted)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
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
        /// What was sent instead of a Bearer token.
        found: &'static str,
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
        /// The token's `iss`, unverified.
        iss: Quoted,
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
    },
    /// See [`Code::TokenExpired`].
    TokenExpired {
        /// The token's `exp`.
        exp: NumericDate,
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
            Self::SessionExpired { .. } => Code::SessionExpired,
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

    /// What happened, with its values: for the operator, never for the caller.
    pub fn cause(&self) -> String {
        match self {
            Self::RequestMalformed { rule } => (*rule).to_owned(),
            Self::PathAmbiguous { what } => format!("the path holds {what}"),
            Self::BodyTooLarge { limit } => format!("the body is larger than {limit} bytes"),
            Self::HeadTooLarge { limit: HeadLimit::Bytes(limit) } => format!("the head is larger than {limit} bytes"),
            Self::HeadTooLarge { limit: HeadLimit::Fields(limit) } => format!("the head has more than {limit} fields"),
            Self::RequestTimeout => "the body came more slowly than the gateway waits".to_owned(),
            Self::RouteUnknown => "no route has this host and path".to_owned(),
            Self::MethodNotAllowed { allow } => format!("the routes of exactly this host and path take {allow}"),
            Self::CredentialMissing { found } => format!("{found}, where an access token is needed"),
            Self::CredentialMalformed { what } => format!("the Authorization header {what}"),
            Self::CredentialAmbiguous { what } => (*what).to_owned(),
            Self::TokenMalformed { what } => format!("the token {what}"),
            Self::TokenTooLarge { length, limit } => {
                format!("the token has {length} bytes, more than `token_bytes` ({limit})")
            }
            Self::ExtensionRefused { member } => format!("the token's header has `{member}`, which is not supported"),
            Self::IssuerUnknown { iss, trusted } => {
                format!("the token's iss (unverified) is {iss}; trusted here: {}", listed(trusted))
            }
            Self::AlgorithmRefused { alg, allowed } => match alg {
                Some(alg) => format!("the token's alg (unverified) is {alg}; the issuer's: {}", allowed.join(", ")),
                None => {
                    format!("the token's alg is missing or not a string; the issuer's: {}", allowed.join(", "))
                }
            },
            Self::KeyMisfit { issuer, alg, kid } => {
                let told = |text: &Option<Quoted>| text.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
                format!(
                    "issuer {issuer}: the key of the token's kid {} is not for its alg {} (both unverified)",
                    told(kid),
                    told(alg)
                )
            }
            Self::KeyUnknown { issuer, kid, why } => match kid {
                Some(kid) => format!("issuer {issuer}: {why}; the token's kid (unverified) is {kid}"),
                None => format!("issuer {issuer}: {why}; the token has no kid"),
            },
            Self::SignatureInvalid { issuer, .. } => {
                format!("the signature does not verify with the key of issuer {issuer} that the token names")
            }
            Self::ClaimsMalformed { claim, problem } => format!("the claim `{claim}` {problem}"),
            Self::WrongKind { kind, evidence, dialect } => {
                format!("{kind}, by the dialect {dialect}: {evidence} (unverified)")
            }
            Self::TokenExpired { exp, now, leeway } => {
                format!("exp (unverified) is {exp}, now is {now}, leeway {leeway} s")
            }
            Self::TokenNotYetValid { claim, at, now, leeway } => {
                format!("{claim} (unverified) is {at}, now is {now}, leeway {leeway} s")
            }
            Self::TokenInactive { issuer } => format!("issuer {issuer} does not say of the token that it is active"),
            Self::AudienceWrong { found, wanted, known_client } => {
                let note =
                    if *known_client { "; an id of `known_clients` is never taken for an API's audience" } else { "" };
                format!("aud is {}; the policy takes {}{note}", listed(found), listed(wanted))
            }
            Self::ProofRequired => "the token has `cnf`: it is bound to a key and was sent as plain Bearer".to_owned(),
            Self::SessionExpired { why } => format!("there is no session: {why}"),
            Self::ScopeInsufficient { required, all, found } => {
                let need = if *all { "all of" } else { "one of" };
                format!("the token's scopes are {}; the policy needs {need} {}", listed(found), listed(required))
            }
            Self::ClientRefused { found, allowed } => match found {
                Some(found) => format!("the token's client is {found}; the policy takes {}", listed(allowed)),
                None => format!("the token names no client; the policy takes {}", listed(allowed)),
            },
            Self::ClaimInsufficient { claim, wanted } => {
                format!("the claim `{claim}` has none of the values {}", listed(wanted))
            }
            Self::CsrfRefused { what, found: Some(found), ours } => format!("{what} {found}; our origin is {ours}"),
            Self::CsrfRefused { what, found: None, .. } => (*what).to_owned(),
            Self::LoginStateInvalid { why } => (*why).to_owned(),
            Self::LoginIdTokenInvalid { why } => format!("the ID token: {why}"),
            Self::LogoutTokenInvalid { why } => format!("the logout token: {why}"),
            Self::LoginRefused { error, description: Some(description) } => {
                format!("the issuer says {error}: {description}")
            }
            Self::LoginRefused { error, description: None } => format!("the issuer says {error}"),
            Self::LoginUnavailable { why, .. } => why.clone(),
            Self::KeysUnavailable { issuer, why, .. } | Self::IntrospectionUnavailable { issuer, why, .. } => {
                format!("issuer {issuer}: {why}")
            }
            Self::StoreUnavailable { why } => format!("the store does not answer: {why}"),
            Self::IssuerUnavailable { session, why, .. } => format!("session {session}: {why}"),
            Self::UpstreamUnreachable { upstream, why } | Self::UpstreamMalformed { upstream, why } => {
                format!("upstream {upstream}: {why}")
            }
            Self::UpstreamTimeout { upstream, why } => format!("upstream {upstream}: {why}"),
            Self::Overloaded { what } => (*what).to_owned(),
            Self::UpstreamFull { upstream, bound } => {
                format!("upstream {upstream}: it has {bound} requests at once, and no place became free in time")
            }
            Self::Internal { why } => (*why).to_owned(),
        }
    }

    /// What would make it pass, or where to look: for the operator.
    pub fn help(&self) -> &'static str {
        match self {
            Self::RequestMalformed { .. } => "the client or a proxy before us sends this head; mend it there",
            Self::PathAmbiguous { .. } => {
                "let the client send the plain path; of what can be read two ways only an encoded slash is ever passed on, \
                 where the route says `encoded_slash = \"keep\"`"
            }
            Self::BodyTooLarge { .. } => {
                "raise `body_bytes` of the route (or of [server.limits]) if such bodies are wanted"
            }
            Self::HeadTooLarge { limit: HeadLimit::Fields(_) } => {
                "let the client send fewer header fields; this limit is fixed"
            }
            Self::HeadTooLarge { limit: HeadLimit::Bytes(_) } => {
                "raise `head_bytes` in [server.limits], or look for a cookie that grows"
            }
            Self::RequestTimeout => "the client or its network is slow; a body must bring at least 1 KiB/s over 30 s",
            Self::RouteUnknown => "add a route for this host and path; a route with `hosts` takes only those hosts",
            Self::MethodNotAllowed { .. } => "add the method to `methods` of that route; GET does not imply HEAD",
            Self::CredentialMissing { .. } => "let the client send `Authorization: Bearer` with an access token",
            Self::CredentialMalformed { .. } => "let the client send `Bearer`, one space and the token, nothing else",
            Self::CredentialAmbiguous { .. } => {
                "let the client send one Authorization header and no token in the query"
            }
            Self::TokenMalformed { .. } => {
                "let the client send a signed JWT access token; an opaque one is asked about only where the issuer has \
                 `introspection`, so add that, or ask the issuer for a token with this API as its audience"
            }
            Self::TokenTooLarge { .. } => "raise `token_bytes` in [server.limits], or issue smaller tokens",
            Self::ExtensionRefused { .. } => "let the issuer sign without this header member",
            Self::IssuerUnknown { .. } => {
                "if this issuer is to be trusted, give it (every byte, slash and port included) as `issuer` or in the \
                 policy's `issuers`"
            }
            Self::AlgorithmRefused { .. } => "set `algorithms` of the issuer to what it signs access tokens with",
            Self::KeyMisfit { .. } => {
                "a forged token names any alg; if the issuer did sign with it, its key set names another `alg` or key type"
            }
            Self::KeyUnknown { .. } => {
                "compare the token's kid with the issuer's key set; a forged token names any kid"
            }
            Self::SignatureInvalid { nonce: true, .. } => {
                "a token whose header has a `nonce` is for Microsoft Graph, and nobody else can check its signature: have the \
                 client ask for a scope of this API"
            }
            Self::SignatureInvalid { nonce: false, .. } => {
                "the token was changed or forged, or the issuer uses one kid for two keys"
            }
            Self::ClaimsMalformed { .. } => "let the issuer send this claim in the type its standard gives it",
            Self::WrongKind { evidence: Evidence::Untyped, .. } => {
                "set `introspection.allow_untyped` if this issuer is known to answer `active` for access tokens alone; \
                 where it answers so for refresh tokens too, have it issue JWT access tokens"
            }
            Self::WrongKind { kind, .. } => match kind {
                TokenKind::Id => {
                    "let the client send the access_token of the token response, not the id_token; if this is the \
                     access token, set the issuer's `dialect` or a `discriminator`"
                }
                TokenKind::Refresh => {
                    "let the client send the access_token of the token response, not the refresh_token"
                }
                TokenKind::Logout => {
                    "a logout token is for a back-channel logout endpoint; let the client send its access token"
                }
                TokenKind::Access | TokenKind::Unknown => {
                    "set the issuer's `dialect` to its product, or describe its access tokens with a `discriminator`; \
                     without one only `typ: at+jwt` (RFC 9068) is an access token"
                }
            },
            Self::TokenExpired { .. } => {
                "let the client refresh before `exp`; if the clocks differ, mend them or raise `leeway`"
            }
            Self::TokenNotYetValid { .. } => "the issuer's clock is ahead of ours: mend the clocks or raise `leeway`",
            Self::TokenInactive { .. } => {
                "the token is expired, revoked, unknown to the issuer, or not for our `client_id` to ask about"
            }
            Self::AudienceWrong { .. } => {
                "ask the issuer for a token with this API's audience, or add the audience it sends to the policy's `audience`"
            }
            Self::ProofRequired => "let the client ask for a token that is not bound (no DPoP, no mTLS binding)",
            Self::ScopeInsufficient { .. } => "let the client ask for the scope, and the issuer grant it",
            Self::ClientRefused { .. } => "add the client to `client_ids` of the policy if it is to be let in",
            Self::ClaimInsufficient { .. } => "grant it at the issuer, or change `claims` of the policy",
            Self::CsrfRefused { .. } => {
                "send it from a page of the session's `origin`, or with `Authorization: Bearer` instead of the cookie"
            }
            Self::LoginStateInvalid { .. } => {
                "let the user begin again; if it comes back, see that the browser keeps our cookies and that the session's \
                 `issuer` is who answers"
            }
            Self::LoginIdTokenInvalid { .. } => {
                "compare `client_id`, `id_token_algorithms` and `issuer` with what the issuer has for this client"
            }
            Self::LoginRefused { .. } => {
                "see what the issuer logs; the client must be allowed the scopes, the redirect URI and the code grant"
            }
            Self::LogoutTokenInvalid { .. } => {
                "see that the issuer's client and ours are the same, and that it sends each logout token once"
            }
            Self::SessionExpired { .. } => {
                "nothing, if this is not seen often: sessions end by logout, by `idle_timeout` and by `lifetime`"
            }
            Self::IntrospectionUnavailable { help, .. }
            | Self::IssuerUnavailable { help, .. }
            | Self::LoginUnavailable { help, .. } => help,
            Self::StoreUnavailable { .. } => {
                "see that the store can be reached at its `url`; it is asked again by the next request"
            }
            Self::KeysUnavailable { .. } => {
                "see that the issuer's key set can be reached; tokens are refused with 503 until then"
            }
            Self::Overloaded { .. } => {
                "raise the limit that is named, or give the gateway more cores, memory or replicas"
            }
            Self::UpstreamFull { .. } => "see why the upstream is slow, or raise `max_concurrent` if it can take more",
            Self::UpstreamUnreachable { .. } => "see that the upstream runs and listens at its `url`",
            Self::UpstreamMalformed { .. } => {
                "see that the upstream speaks what its `url` says; if it does, its answer breaks HTTP and is to be mended there"
            }
            Self::UpstreamTimeout { .. } => "raise `timeout` of the upstream if it is meant to take that long",
            Self::Internal { .. } => "this is a defect of the gateway; report it with the log around it",
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

/// A list for people: `a, b`, or `none`.
fn listed<T: ToString>(values: &[T]) -> String {
    if values.is_empty() {
        return "none".to_owned();
    }
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

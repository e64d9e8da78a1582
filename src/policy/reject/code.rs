//! The closed list of codes: what callers, metrics, log and README know of a refusal.

use std::fmt;

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
        "The credential is malformed", "The Authorization header must hold `Bearer` and one token, and only spaces between them.";
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

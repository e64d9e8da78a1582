//! What each refusal says: to the operator its cause and its cure, to the caller what he may know.

use std::borrow::Cow;

use super::{HeadLimit, Quoted, Reject, Wanted};
use crate::policy::claims::Source;
use crate::policy::kind::{Evidence, TokenKind};

impl Reject {
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
            Self::CredentialMissing { found, wanted } => {
                let wanted = match wanted {
                    Wanted::Token => "an access token",
                    Wanted::TokenOrLogin(_) => "a session's cookie or an access token",
                    Wanted::Login(_) => "a session's cookie",
                };
                format!("{found}, where {wanted} is needed")
            }
            Self::CredentialMalformed { what } => format!("the Authorization header {what}"),
            Self::CredentialAmbiguous { what } => (*what).to_owned(),
            Self::TokenMalformed { what } => format!("the token {what}"),
            Self::TokenTooLarge { length, limit } => {
                format!("the token has {length} bytes, more than `token_bytes` ({limit})")
            }
            Self::ExtensionRefused { member } => format!("the token's header has `{member}`, which is not supported"),
            Self::IssuerUnknown { iss, source, trusted } => {
                format!("the token's iss{} is {iss}; trusted here: {}", note(*source), listed(trusted))
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
            Self::WrongKind { kind, evidence, dialect, source } => {
                format!("{kind}, by the dialect {dialect}: {evidence}{}", note(*source))
            }
            Self::TokenExpired { exp, source, now, leeway } => {
                format!("exp{} is {exp}, now is {now}, leeway {leeway} s", note(*source))
            }
            Self::TokenNotYetValid { claim, at, source, now, leeway } => {
                format!("{claim}{} is {at}, now is {now}, leeway {leeway} s", note(*source))
            }
            Self::TokenInactive { issuer } => format!("issuer {issuer} does not say of the token that it is active"),
            Self::AudienceWrong { found, wanted, known_client } => {
                let note =
                    if *known_client { "; an id of `known_clients` is never taken for an API's audience" } else { "" };
                format!("aud is {}; the policy takes {}{note}", listed(found), listed(wanted))
            }
            Self::ProofRequired => "the token has `cnf`: it is bound to a key and was sent as plain Bearer".to_owned(),
            Self::SessionExpired { why } => format!("there is no session: {why}"),
            Self::SessionReplaced => "there is no session: its browser has another one since a moment ago".to_owned(),
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
            Self::StoreUnavailable { why, .. } => format!("the store does not answer: {why}"),
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
            Self::CredentialMissing { wanted: Wanted::Token, .. } => {
                "let the client send `Authorization: Bearer` with an access token"
            }
            Self::CredentialMissing { wanted: Wanted::TokenOrLogin(_), .. } => {
                "let the browser log in and send the session's cookie, or the client `Authorization: Bearer` with an access \
                 token"
            }
            Self::CredentialMissing { wanted: Wanted::Login(_), .. } => {
                "nothing, if this is not seen often: a page asks whether its user is logged in"
            }
            Self::CredentialMalformed { .. } => "let the client send `Bearer`, a space and the token, nothing else",
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
            Self::WrongKind { evidence: Evidence::Foreign, .. } => {
                "take the tokens of an issuer of your own, which may log people in with that provider"
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
            Self::ClientRefused { found: None, .. } => {
                "have the issuer write the client into its tokens, or leave `client_ids` of the policy out and judge by `audience`"
            }
            Self::ClientRefused { found: Some(_), .. } => {
                "add the client to `client_ids` of the policy if it is to be let in"
            }
            Self::ClaimInsufficient { .. } => "grant it at the issuer, or change `claims` of the policy",
            Self::CsrfRefused { .. } => {
                "send it from a page of the session's `origin`; a client of the API that is no page shows a Bearer token and no \
                 cookie"
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
            Self::SessionExpired { .. } | Self::SessionReplaced => {
                "nothing, if this is not seen often: sessions end by logout, by `idle_timeout` and by `lifetime`"
            }
            Self::IntrospectionUnavailable { help, .. }
            | Self::IssuerUnavailable { help, .. }
            | Self::LoginUnavailable { help, .. }
            | Self::StoreUnavailable { help, .. } => help,
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

    /// What the caller may know and can do: the code's public text; where a login is what helps, where that is.
    pub fn detail(&self) -> Cow<'static, str> {
        let usual = self.code().facts().detail.into();
        let Self::CredentialMissing { wanted, .. } = self else { return usual };
        match wanted {
            Wanted::Token => usual,
            Wanted::TokenOrLogin(address) => {
                format!("Log in at {address}, or send an access token as `Authorization: Bearer`.").into()
            }
            Wanted::Login(address) => format!("Log in at {address}.").into(),
        }
    }
}

/// What stands behind a quoted word, where that is nobody: these refusals come before the signature is checked.
fn note(source: Source) -> &'static str {
    match source {
        Source::Token => " (unverified)",
        Source::Introspection | Source::Granted => "",
    }
}

/// A list for people: `a, b`, or `none`.
fn listed<T: ToString>(values: &[T]) -> String {
    if values.is_empty() {
        return "none".to_owned();
    }
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

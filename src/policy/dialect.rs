//! The table of dialects: how each provider's access tokens look. One row per provider; data, not code.
//!
//! A dialect says by which evidence a token of that provider is an access token, where its scopes and its client are, and
//! how far that can be trusted. The rules that read this table are in [`super::kind`]; `typ: at+jwt` (RFC 9068) is an
//! access token in every dialect but `google`, and a mark of another kind refuses in all of them.

use std::borrow::Cow;
use std::sync::LazyLock;

/// Words that are fixed here or come from the configuration.
pub type Words = Cow<'static, [Cow<'static, str>]>;

/// One provider's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialect {
    /// The value of `dialect` in the configuration.
    pub name: &'static str,
    /// Whose tokens these are, and what is believed of them: one sentence for `check`.
    pub about: &'static str,
    /// What shows that a token is an access token, beside `typ: at+jwt`.
    pub access: AccessIf,
    /// Claims that hold the scopes; the first that is present and not empty counts, they are never joined.
    pub scopes: &'static [&'static str],
    /// The claim that names the client, where it is not the first of [`CLIENT_CLAIMS`].
    pub client: Option<&'static str>,
    /// What its answers about opaque tokens have where they are about access tokens, beside what every answer must have.
    pub answer: Option<Discriminator>,
    /// Whether the product can be asked about opaque tokens (RFC 7662).
    pub introspects: bool,
    /// Tokens of workloads: the audience is no authorization, so a policy must have `claims`.
    pub workload: bool,
    /// Where this dialect is weak, for a warning.
    pub weakness: Option<&'static str>,
}

/// Claims that name the client a token was issued to, in the order in which they are looked for.
pub const CLIENT_CLAIMS: &[&str] = &["client_id", "azp", "cid", "appid"];

/// What shows that a token is an access token, beside `typ: at+jwt`.
#[derive(Debug, Clone, PartialEq)]
pub enum AccessIf {
    /// Nothing else does (RFC 9068 section 4).
    AtJwt,
    /// These marks do.
    Marks(Discriminator),
    /// Scopes, a client, no `nonce`, none of `forbid`, and (judged with the audience) an audience that is no client's id.
    Evidence {
        /// Claims that must not be present.
        forbid: Words,
    },
    /// Nothing does, not even `typ: at+jwt`: no token of this provider is meant for our APIs.
    Never,
}

impl AccessIf {
    /// Whether a token's kind depends on its audience, so that a client's id never counts as one.
    pub fn is_judged_by_audience(&self) -> bool {
        matches!(self, Self::Evidence { .. })
    }
}

/// Marks of an access token: all of its parts must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Discriminator {
    /// A claim or header member with the values that mean access.
    pub mark: Option<Mark>,
    /// Of each of these groups one claim must be present and neither null nor empty.
    pub require: Cow<'static, [Words]>,
    /// Claims that must not be present at all.
    pub forbid: Words,
}

/// A claim or header member whose value tells the kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Where it stands.
    pub place: Place,
    /// Values of which one must be there; where there are none, any value but those of `deny` will do.
    pub access: Words,
    /// Values of which none may be there.
    pub deny: Words,
    /// How a value is compared.
    pub compare: Compare,
}

/// Where a mark stands; its name is literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// In the claims.
    Claim(Cow<'static, str>),
    /// In the JOSE header.
    Header(Cow<'static, str>),
}

/// How a mark's value is compared with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// Byte for byte.
    #[default]
    Exact,
    /// The value begins with the word.
    Prefix,
    /// The value ends with the word.
    Suffix,
    /// The value holds the word.
    Contains,
}

impl Compare {
    /// Whether `value` matches `word`.
    pub fn matches(self, value: &str, word: &str) -> bool {
        match self {
            Self::Exact => value == word,
            Self::Prefix => value.starts_with(word),
            Self::Suffix => value.ends_with(word),
            Self::Contains => value.contains(word),
        }
    }
}

impl Dialect {
    /// What is believed where nothing is said: `typ: at+jwt` alone.
    pub const DEFAULT: &'static str = "rfc9068";

    /// The row of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        DIALECTS.iter().find(|dialect| dialect.name == name)
    }

    /// Whether a token's kind depends on its audience; see [`AccessIf::is_judged_by_audience`].
    pub fn is_judged_by_audience(&self) -> bool {
        self.access.is_judged_by_audience()
    }
}

macro_rules! words {
    ($($word:literal),*) => { Cow::Borrowed(&[$(Cow::Borrowed($word)),*]) };
}

/// A claim and the values of it that mean access.
fn mark(claim: &'static str, compare: Compare, access: &'static [Cow<'static, str>]) -> Mark {
    Mark { place: Place::Claim(Cow::Borrowed(claim)), access: Cow::Borrowed(access), deny: Cow::Borrowed(&[]), compare }
}

/// A claim with the one value that means access.
fn claim_is(claim: &'static str, compare: Compare, access: &'static [Cow<'static, str>]) -> AccessIf {
    AccessIf::Marks(Discriminator { mark: Some(mark(claim, compare, access)), ..Discriminator::default() })
}

/// Claims that must be there and claims that must not.
fn shaped(require: &'static [Words], forbid: &'static [Cow<'static, str>]) -> AccessIf {
    AccessIf::Marks(Discriminator {
        require: Cow::Borrowed(require),
        forbid: Cow::Borrowed(forbid),
        ..Discriminator::default()
    })
}

/// A row whose scopes are in `scope` and whose client is where most put it.
fn row(name: &'static str, about: &'static str, access: AccessIf) -> Dialect {
    Dialect {
        name,
        about,
        access,
        scopes: &["scope"],
        client: None,
        answer: None,
        introspects: true,
        workload: false,
        weakness: None,
    }
}

/// Every dialect.
pub static DIALECTS: LazyLock<Vec<Dialect>> = LazyLock::new(|| {
    vec![
        // RFC 9068 sections 2.1 and 4: a resource server refuses every other `typ`.
        row("rfc9068", "only `typ: at+jwt` (RFC 9068) is an access token", AccessIf::AtJwt),
        // PingAM and OpenAM client-based tokens: `tokenName` is the one difference between access and refresh token.
        row(
            "forgerock",
            "ForgeRock / Ping AM: `tokenName` is `access_token`; the audience is usually the client's id",
            claim_is("tokenName", Compare::Exact, &[Cow::Borrowed("access_token")]),
        ),
        row(
            "forgerock-express",
            "ForgeRock Identity Cloud Express: as AM, `tokenName` is `access_token`",
            claim_is("tokenName", Compare::Exact, &[Cow::Borrowed("access_token")]),
        ),
        // GenAuth (Authing) documentation, "token concepts" and "M2M authorization".
        row(
            "genauth",
            "GenAuth: `scope` and `jti` are present and no login or profile claim is; the audience is the app's id",
            shaped(
                &[words!["scope"], words!["jti"]],
                &[
                    Cow::Borrowed("nonce"),
                    Cow::Borrowed("at_hash"),
                    Cow::Borrowed("name"),
                    Cow::Borrowed("picture"),
                    Cow::Borrowed("email"),
                    Cow::Borrowed("phone_number"),
                ],
            ),
        ),
        // Auth0 "access token profiles": the default profile has no mark; with RBAC the rights are in `permissions`.
        Dialect {
            scopes: &["scope", "permissions"],
            introspects: false,
            ..row(
                "auth0",
                "Auth0: `typ: at+jwt`, or scopes (or permissions), a client and this API's audience, and no login claim",
                AccessIf::Evidence { forbid: words!["at_hash", "sid"] },
            )
        },
        // Keycloak TokenUtil: the payload's own `typ`; roles are not scopes.
        Dialect {
            client: Some("azp"),
            ..row(
                "keycloak",
                "Keycloak: the claim `typ` is `Bearer` or `DPoP`; the API's audience needs an audience mapper",
                claim_is("typ", Compare::Exact, &[Cow::Borrowed("Bearer"), Cow::Borrowed("DPoP")]),
            )
        },
        // Okta, OpenID Connect & OAuth 2.0 API reference: access tokens of a custom authorization server.
        Dialect {
            scopes: &["scp"],
            client: Some("cid"),
            // Okta answers `active` for ID tokens and refresh tokens too; the latter have neither.
            answer: Some(Discriminator {
                mark: Some(mark("jti", Compare::Prefix, &[Cow::Borrowed("AT.")])),
                require: Cow::Borrowed(const { &[words!["aud"]] }),
                forbid: Cow::Borrowed(&[]),
            }),
            ..row(
                "okta",
                "Okta custom authorization server: `jti` begins with `AT.`; scopes are in `scp`",
                claim_is("jti", Compare::Prefix, &[Cow::Borrowed("AT.")]),
            )
        },
        // Microsoft identity platform, access token claims reference: ID tokens have neither `azp` nor `appid`.
        Dialect {
            scopes: &["scp", "roles"],
            introspects: false,
            ..row(
                "entra",
                "Microsoft Entra: `scp` or `roles`, and `azp` or `appid`; no `nonce` and no hash",
                shaped(
                    &[words!["scp", "roles"], words!["azp", "appid"]],
                    &[Cow::Borrowed("nonce"), Cow::Borrowed("at_hash"), Cow::Borrowed("c_hash")],
                ),
            )
        },
        // Amazon Cognito developer guide, "using the access token": no `aud`, so policies need `client_ids`.
        Dialect {
            introspects: false,
            ..row(
                "cognito",
                "Amazon Cognito: `token_use` is `access`; there is no audience, so policies name `client_ids`",
                claim_is("token_use", Compare::Exact, &[Cow::Borrowed("access")]),
            )
        },
        // ory/fosite claims_jwt: `scp` by default, `scope` by option.
        Dialect {
            scopes: &["scp", "scope"],
            ..row(
                "hydra",
                "Ory Hydra: scopes, `client_id` and `jti` are present and no login claim is",
                shaped(
                    &[words!["scp", "scope"], words!["client_id"], words!["jti"]],
                    &[
                        Cow::Borrowed("nonce"),
                        Cow::Borrowed("at_hash"),
                        Cow::Borrowed("auth_time"),
                        Cow::Borrowed("rat"),
                    ],
                ),
            )
        },
        // Zitadel documentation, claims: access and ID token share audience and client.
        row(
            "zitadel",
            "Zitadel: `jti` holds `-at_`; there are no scopes, so policies name role claims",
            claim_is("jti", Compare::Contains, &[Cow::Borrowed("-at_")]),
        ),
        // authentik id_token.py: the access token is the ID token with two more claims.
        Dialect {
            weakness: Some("its access token differs from its ID token by two claims alone"),
            ..row(
                "authentik",
                "authentik: `azp` and `uid` are present, `nonce` and the hashes are not; the audience is the client's id",
                shaped(
                    &[words!["azp"], words!["uid"]],
                    &[Cow::Borrowed("at_hash"), Cow::Borrowed("c_hash"), Cow::Borrowed("nonce")],
                ),
            )
        },
        row(
            "curity",
            "Curity: `purpose` is `access_token`",
            claim_is("purpose", Compare::Exact, &[Cow::Borrowed("access_token")]),
        ),
        // PingFederate JSON token management: claim names and form are the token manager's.
        Dialect {
            weakness: Some("its access tokens bear no mark: claim names are the token manager's own"),
            ..row(
                "pingfederate",
                "PingFederate: `typ: at+jwt`, or scopes, a client and this API's audience, and no `nonce`",
                AccessIf::Evidence { forbid: words![] },
            )
        },
        // Both write `at+jwt`, so nothing else of theirs is an access token (RFC 8725 section 3.12).
        row("duende", "Duende IdentityServer: only `typ: at+jwt` is an access token", AccessIf::AtJwt),
        row("oidc-provider", "oidc-provider: only `typ: at+jwt` is an access token", AccessIf::AtJwt),
        // dexidp/dex server/oauth2.go: there is no other token than the ID token.
        Dialect {
            weakness: Some("Dex has only ID tokens: they are refused unless `accept_id_tokens` is on"),
            ..row("dex", "Dex: has only ID tokens, which need `accept_id_tokens`", AccessIf::AtJwt)
        },
        // kubernetes pkg/serviceaccount/claims.go.
        Dialect {
            introspects: false,
            workload: true,
            ..row(
                "kubernetes",
                "Kubernetes service accounts: the claim `kubernetes.io` is present; policies name who may call",
                shaped(&[words!["kubernetes.io"]], &[]),
            )
        },
        // GitHub, OpenID Connect reference: any repository gets a token with any audience.
        Dialect {
            introspects: false,
            workload: true,
            ..row(
                "github-actions",
                "GitHub Actions: `repository` and `job_workflow_ref` are present; policies name who may call",
                shaped(&[words!["repository"], words!["job_workflow_ref"]], &[]),
            )
        },
        Dialect {
            introspects: false,
            weakness: Some("no token of Google is meant for other parties' APIs: all of them are refused"),
            ..row("google", "Google: no token is an access token for our APIs", AccessIf::Never)
        },
        Dialect {
            scopes: &["scope", "scp"],
            weakness: Some(
                "it takes a token without a mark by what it holds; sound only where refresh tokens are opaque",
            ),
            ..row(
                "evidence",
                "any issuer: `typ: at+jwt`, or scopes, a client and this API's audience, and no `nonce`",
                AccessIf::Evidence { forbid: words![] },
            )
        },
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_default_is_among_them() {
        for (at, dialect) in DIALECTS.iter().enumerate() {
            assert!(DIALECTS[..at].iter().all(|other| other.name != dialect.name), "{}", dialect.name);
        }
        assert_eq!(Dialect::named(Dialect::DEFAULT).map(|dialect| &dialect.access), Some(&AccessIf::AtJwt));
    }
}

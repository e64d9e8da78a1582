//! What of an issuer's addresses shows which product it is, and so which dialect its tokens may be of.
//!
//! A suggestion only: whoever owns an address chooses its path, and a product may be set to write other tokens.

use url::Url;

/// The addresses of an issuer.
pub(super) struct Addresses<'d> {
    /// Its name for itself.
    pub(super) issuer: &'d Url,
    /// Where its keys are.
    pub(super) keys: &'d Url,
    /// Where tokens are got; nothing where the document names none.
    pub(super) token: Option<&'d Url>,
}

/// A dialect with what speaks for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suggestion {
    /// Its name.
    pub(super) dialect: &'static str,
    /// What speaks for it, for a sentence that begins with "because".
    pub(super) because: &'static str,
}

struct Clue {
    dialect: &'static str,
    because: &'static str,
    holds: fn(&Addresses<'_>) -> bool,
}

/// The first clue that holds: hosts that belong to one provider, then the paths of each product, the most common ones last.
pub(super) fn suggestion(addresses: &Addresses<'_>) -> Option<Suggestion> {
    let clue = CLUES.iter().find(|clue| (clue.holds)(addresses))?;
    Some(Suggestion { dialect: clue.dialect, because: clue.because })
}

impl Addresses<'_> {
    fn host_is(&self, hosts: &[&str]) -> bool {
        self.issuer.host_str().is_some_and(|host| hosts.contains(&host))
    }

    fn host_is_within(&self, domains: &[&str]) -> bool {
        let host = self.issuer.host_str().unwrap_or_default();
        domains.iter().any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
    }

    fn keys_end(&self, path: &str) -> bool {
        self.keys.path().ends_with(path)
    }

    fn token_ends(&self, path: &str) -> bool {
        self.token.is_some_and(|token| token.path().ends_with(path))
    }
}

const CLUES: &[Clue] = &[
    Clue {
        dialect: "github-actions",
        because: "its host is that of GitHub Actions",
        holds: |at| at.host_is(&["token.actions.githubusercontent.com"]),
    },
    Clue { dialect: "google", because: "its host is Google's", holds: |at| at.host_is(&["accounts.google.com"]) },
    Clue {
        dialect: "entra",
        because: "its host is one of Microsoft Entra",
        holds: |at| {
            at.host_is(&["login.microsoftonline.com", "login.microsoftonline.us", "sts.windows.net"])
                || at.host_is_within(&["ciamlogin.com"])
        },
    },
    Clue {
        dialect: "cognito",
        because: "its host is one of Amazon Cognito",
        holds: |at| {
            at.host_is_within(&["amazonaws.com"])
                && at.issuer.host_str().is_some_and(|host| host.starts_with("cognito-idp."))
        },
    },
    Clue { dialect: "auth0", because: "its host is one of Auth0", holds: |at| at.host_is_within(&["auth0.com"]) },
    Clue {
        dialect: "okta",
        because: "its host is one of Okta",
        holds: |at| at.host_is_within(&["okta.com", "oktapreview.com", "okta-emea.com"]),
    },
    Clue {
        dialect: "genauth",
        because: "its host is one of GenAuth (Authing)",
        holds: |at| at.host_is_within(&["genauth.ai", "authing.cn", "authing.co"]),
    },
    Clue {
        dialect: "forgerock-express",
        because: "its host is one of ForgeRock Identity Cloud Express",
        holds: |at| {
            at.host_is_within(&["forgeblocks.com"])
                && at.issuer.host_str().is_some_and(|host| host.starts_with("openam-"))
                && at.issuer.path() == "/oauth2"
        },
    },
    Clue {
        dialect: "forgerock",
        because: "its keys are at `/connect/jwk_uri`, as those of ForgeRock / Ping AM are",
        holds: |at| at.keys_end("/connect/jwk_uri"),
    },
    Clue {
        dialect: "keycloak",
        because: "its keys are at `/protocol/openid-connect/certs`, as those of Keycloak are",
        holds: |at| at.keys_end("/protocol/openid-connect/certs"),
    },
    Clue {
        dialect: "okta",
        because: "its keys are at `/oauth2/.../v1/keys`, as those of Okta are",
        holds: |at| at.keys_end("/v1/keys") && at.issuer.path().starts_with("/oauth2/"),
    },
    Clue {
        dialect: "zitadel",
        because: "its keys are at `/oauth/v2/keys`, as those of Zitadel are",
        holds: |at| at.keys_end("/oauth/v2/keys"),
    },
    Clue {
        dialect: "authentik",
        because: "it is at `/application/o/`, as authentik is",
        holds: |at| at.issuer.path().starts_with("/application/o/"),
    },
    Clue {
        dialect: "curity",
        because: "it is at `/oauth-anonymous`, as Curity is",
        holds: |at| at.issuer.path().ends_with("/oauth-anonymous"),
    },
    Clue {
        dialect: "pingfederate",
        because: "its keys are at `/pf/JWKS`, as those of PingFederate are",
        holds: |at| at.keys_end("/pf/JWKS"),
    },
    Clue {
        dialect: "duende",
        because: "its keys are at `/.well-known/openid-configuration/jwks`, as those of Duende IdentityServer are",
        holds: |at| at.keys_end("/.well-known/openid-configuration/jwks"),
    },
    Clue {
        dialect: "kubernetes",
        because: "its keys are at `/openid/v1/jwks`, as those of a Kubernetes API server are",
        holds: |at| at.keys_end("/openid/v1/jwks"),
    },
    Clue {
        dialect: "genauth",
        because: "it is at `/oidc` with its keys below, as GenAuth is",
        holds: |at| at.issuer.path().ends_with("/oidc") && at.keys_end("/oidc/.well-known/jwks.json"),
    },
    Clue {
        dialect: "hydra",
        because: "its tokens are got at `/oauth2/token` and its keys are at `/.well-known/jwks.json`, as those of Ory Hydra are",
        holds: |at| at.token_ends("/oauth2/token") && at.keys_end("/.well-known/jwks.json"),
    },
    Clue {
        dialect: "oidc-provider",
        because: "its keys are at `/jwks` beside `/token`, as those of oidc-provider are",
        holds: |at| at.keys_end("/jwks") && at.token_ends("/token"),
    },
    Clue {
        dialect: "dex",
        because: "its keys are at `/keys` beside `/token`, as those of Dex are",
        holds: |at| at.keys_end("/keys") && at.token_ends("/token"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::dialect::Dialect;

    fn check(issuer: &str, keys: &str, token: &str, expected: Option<&str>) {
        let url = |text: &str| Url::parse(issuer).unwrap().join(text).unwrap();
        let (at, keys, token) = (Url::parse(issuer).unwrap(), url(keys), url(token));
        let found = suggestion(&Addresses { issuer: &at, keys: &keys, token: Some(&token) });
        assert_eq!(found.as_ref().map(|found| found.dialect), expected, "{issuer}");
        assert!(found.is_none_or(|found| Dialect::named(found.dialect).is_some()), "{issuer}");
    }

    #[test]
    fn each_product_is_known_by_its_addresses() {
        for (issuer, keys, token, expected) in [
            ("https://t.eu.auth0.com/", "/.well-known/jwks.json", "/oauth/token", Some("auth0")),
            ("https://auth0.com.evil.example/", "/.well-known/jwks.json", "/oauth/token", None),
            ("https://notauth0.com/", "/.well-known/jwks.json", "/oauth/token", None),
            (
                "https://am.example.com/am/oauth2/realms/root",
                "/am/oauth2/connect/jwk_uri",
                "/am/oauth2/access_token",
                Some("forgerock"),
            ),
            (
                "https://openam-acme.forgeblocks.com/oauth2",
                "/oauth2/connect/jwk_uri",
                "/oauth2/access_token",
                Some("forgerock-express"),
            ),
            ("https://openam-acme.forgeblocks.com/am/oauth2", "/am/oauth2/connect/jwk_uri", "/x", Some("forgerock")),
            ("https://app.genauth.ai/oidc", "/oidc/.well-known/jwks.json", "/oidc/token", Some("genauth")),
            ("https://login.example.com/oidc", "/oidc/.well-known/jwks.json", "/oidc/token", Some("genauth")),
            ("https://k.example.com/realms/acme", "/realms/acme/protocol/openid-connect/certs", "/x", Some("keycloak")),
            (
                "https://acme.okta.com/oauth2/default",
                "/oauth2/default/v1/keys",
                "/oauth2/default/v1/token",
                Some("okta"),
            ),
            ("https://id.example.com/oauth2/aus1", "/oauth2/aus1/v1/keys", "/oauth2/aus1/v1/token", Some("okta")),
            (
                "https://login.microsoftonline.com/1/v2.0",
                "/1/discovery/v2.0/keys",
                "/1/oauth2/v2.0/token",
                Some("entra"),
            ),
            (
                "https://cognito-idp.eu-west-1.amazonaws.com/p",
                "/p/.well-known/jwks.json",
                "/oauth2/token",
                Some("cognito"),
            ),
            ("https://hydra.example.com/", "/.well-known/jwks.json", "/oauth2/token", Some("hydra")),
            ("https://z.example.com", "/oauth/v2/keys", "/oauth/v2/token", Some("zitadel")),
            (
                "https://a.example.com/application/o/app/",
                "/application/o/app/jwks/",
                "/application/o/token/",
                Some("authentik"),
            ),
            (
                "https://c.example.com/oauth/v2/oauth-anonymous",
                "/oauth/v2/oauth-anonymous/jwks",
                "/oauth/v2/oauth-token",
                Some("curity"),
            ),
            ("https://p.example.com", "/pf/JWKS", "/as/token.oauth2", Some("pingfederate")),
            ("https://d.example.com", "/.well-known/openid-configuration/jwks", "/connect/token", Some("duende")),
            ("https://o.example.com", "/jwks", "/token", Some("oidc-provider")),
            ("https://d.example.com/dex", "/dex/keys", "/dex/token", Some("dex")),
            ("https://kubernetes.default.svc", "/openid/v1/jwks", "/x", Some("kubernetes")),
            ("https://token.actions.githubusercontent.com", "/.well-known/jwks", "/x", Some("github-actions")),
            ("https://accounts.google.com", "/oauth2/v3/certs", "/token", Some("google")),
            ("https://login.example.com", "/certs", "/oauth", None),
        ] {
            check(issuer, keys, token, expected);
        }
    }
}

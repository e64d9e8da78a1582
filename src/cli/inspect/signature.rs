//! Whose keys are believed, and what a token's signature is worth by them.

use std::borrow::Cow;

use crate::config::{Config, KeySource};
use crate::policy::claims::Claims;
use crate::policy::issuer::Issuer;
use crate::policy::jwk::JwkSet;
use crate::policy::jwt::UnverifiedJwt;
use crate::policy::reject::{Quoted, Reject};

/// Whose keys are believed.
pub(super) enum Trust {
    /// Nobody's: there are none.
    Nobody,
    /// Those of this set, whoever the issuer is.
    Keys {
        /// The file of the set.
        file: String,
        /// Its keys.
        set: JwkSet,
    },
    /// Those of the issuers of a configuration.
    Configured(Box<Config>),
}

/// What a signature is worth.
pub(super) enum Signature {
    /// It holds: whose key it was checked with.
    Holds(String),
    /// It was checked and does not hold.
    Fails(Why),
    /// It was not checked.
    Unchecked(Why),
}

/// Why it proves nothing, and what would help.
pub(super) struct Why {
    pub(super) cause: Cow<'static, str>,
    pub(super) cure: &'static str,
}

impl Why {
    pub(super) fn new(cause: impl Into<Cow<'static, str>>, cure: &'static str) -> Self {
        Self { cause: cause.into(), cure }
    }
}

impl From<&Reject> for Why {
    fn from(reject: &Reject) -> Self {
        Self::new(reject.cause(), reject.help())
    }
}

impl Trust {
    /// The configured issuer whose exact `iss` the token has, and where its keys come from.
    pub(super) fn issuer(&self, claims: &Claims) -> Option<(&Issuer, &KeySource)> {
        let Self::Configured(config) = self else { return None };
        let iss = claims.issuer().ok()?;
        let issuers = config.rules.issuers.iter().zip(config.issuers.iter().map(|source| &source.keys));
        issuers.into_iter().find(|(issuer, _)| issuer.is_called(iss))
    }

    /// Checks the signature, where there are keys.
    pub(super) fn check(&self, jwt: UnverifiedJwt<'_>) -> Signature {
        match self {
            Self::Nobody => {
                let cure = "name the issuer's key set with `--jwks FILE`, or a configuration with key files with `--config FILE`";
                Signature::Unchecked(Why::new("there are no keys to check it with", cure))
            }
            Self::Keys { file, set } => check(jwt, &Issuer::general(format!("`{file}`")), set),
            Self::Configured(config) => match self.issuer(&jwt.contents().claims) {
                Some((issuer, KeySource::File { keys, .. })) => check(jwt, issuer, keys),
                Some((issuer, KeySource::Secret)) => check_secret(jwt, issuer),
                Some((issuer, KeySource::Discovery(_) | KeySource::Uri(_))) => {
                    let cause = format!("the keys of `{}` are fetched, and nobody is asked here", issuer.name);
                    let cure = "save its key set and name it with `--jwks FILE`, or ask `bearward explain --online`";
                    Signature::Unchecked(Why::new(cause, cure))
                }
                None => Signature::Unchecked(foreign(config, &jwt.contents().claims)),
            },
        }
    }
}

/// The token names no issuer of the configuration.
fn foreign(config: &Config, claims: &Claims) -> Why {
    match claims.issuer() {
        Err(reject) => Why::from(&reject),
        Ok(iss) => Why::from(&Reject::IssuerUnknown {
            iss: Quoted::from(iss),
            source: claims.source(),
            trusted: config.rules.issuers.iter().flat_map(|issuer| issuer.spellings.clone()).collect(),
        }),
    }
}

fn check(jwt: UnverifiedJwt<'_>, issuer: &Issuer, set: &JwkSet) -> Signature {
    let keys = match issuer.keys(set, jwt.contents()) {
        Ok(Some(keys)) => keys,
        Ok(None) => {
            let reject = issuer.key_unknown(jwt.contents(), "its key set has no such key");
            return Signature::Unchecked(Why::from(&reject));
        }
        Err(reject) => return Signature::Unchecked(Why::from(&reject)),
    };
    let key = match jwt.contents().header.kid() {
        Some(kid) => format!("the key {} of {}", Quoted::from(kid), issuer.name),
        None => format!("the only key of {} that fits", issuer.name),
    };
    verdict(jwt.verify(issuer, &keys).map(|_| key))
}

fn check_secret(jwt: UnverifiedJwt<'_>, issuer: &Issuer) -> Signature {
    if let Err(reject) = issuer.algorithm(jwt.contents()) {
        return Signature::Unchecked(Why::from(&reject));
    }
    let keys: Vec<_> = issuer.hmac_secret.iter().map(|secret| secret.key()).collect();
    verdict(jwt.verify(issuer, &keys).map(|_| format!("the secret of {}", issuer.name)))
}

fn verdict(verified: Result<String, Reject>) -> Signature {
    match verified {
        Ok(key) => Signature::Holds(key),
        Err(reject) => Signature::Fails(Why::from(&reject)),
    }
}

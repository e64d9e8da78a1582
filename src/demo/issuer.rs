//! The embedded issuer: a discovery document, a key set, and the tokens of one provider.
//!
//! It has no login and no token endpoint: tokens are minted here in the process, as the provider would have issued them.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::loopback::{self, Loopback};
use super::provider::{Provider, Sample, filled};
use super::signer::{SignFault, Signer};

/// A provider's issuer on the loopback address.
pub struct Issuer {
    name: String,
    signer: Signer,
    server: Loopback,
}

/// The issuer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum IssuerFault {
    /// No port, or no socket.
    #[error("the embedded issuer cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// No keys.
    #[error("the embedded issuer has no keys: {0}")]
    Keys(#[from] SignFault),
}

impl Issuer {
    /// Makes keys and serves discovery document and key set.
    ///
    /// # Errors
    ///
    /// There is no free port, or no key.
    pub async fn start(provider: &Provider) -> Result<Self, IssuerFault> {
        let listener = Loopback::listener().await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let name = format!("{origin}{}", provider.issuer_path);
        let signer = Signer::new()?;
        let keys: Vec<Value> = kids(provider).iter().filter_map(|kid| signer.jwk(kid)).collect();

        // OpenID Connect Discovery section 4.1: a slash that ends the issuer is not doubled.
        let path = provider.issuer_path.trim_end_matches('/');
        let discovery_path = format!("{path}/.well-known/openid-configuration");
        let jwks_path = format!("{path}{}", provider.jwks_path);
        let discovery = json!({
            "issuer": name,
            "jwks_uri": format!("{origin}{jwks_path}"),
            "authorization_endpoint": format!("{origin}{path}/authorize"),
            "token_endpoint": format!("{origin}{path}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let pages = Arc::new([(discovery_path, discovery), (jwks_path, json!({ "keys": keys }))]);
        let server = Loopback::serve(listener, move |request| {
            let pages = Arc::clone(&pages);
            async move {
                match pages.iter().find(|(path, _)| path == request.uri().path()) {
                    Some((_, page)) => loopback::json(StatusCode::OK, page),
                    None => loopback::json(StatusCode::NOT_FOUND, &json!({"error": "not_found"})),
                }
            }
        })?;
        Ok(Self { name, signer, server })
    }

    /// The exact `iss` of its tokens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A sample as a token that is issued now; `change` may alter header and claims before they are signed.
    ///
    /// # Errors
    ///
    /// The sample cannot be signed.
    pub fn mint(
        &self,
        sample: &Sample,
        now: u64,
        change: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>),
    ) -> Result<String, SignFault> {
        match sample {
            Sample::Opaque { opaque } => Ok(opaque.clone()),
            Sample::Jwt { header, claims } => {
                let (mut header, mut claims) = (header.clone(), filled(claims, &self.name, now));
                change(&mut header, &mut claims);
                self.signer.sign(&header, &claims)
            }
        }
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// The ids under which the provider's samples name asymmetric keys.
fn kids(provider: &Provider) -> BTreeSet<&str> {
    let others = provider.others.iter().map(|other| &other.sample);
    [&provider.access, &provider.id, &provider.refresh]
        .into_iter()
        .chain(others)
        .filter_map(|sample| match sample {
            Sample::Jwt { header, .. } => header.get("kid")?.as_str(),
            Sample::Opaque { .. } => None,
        })
        .collect()
}

//! Us as the relying party of an issuer (OpenID Connect Core section 1.2): what belongs to one `[sessions.NAME]` in force.
//!
//! Sessions that are kept in this process, and the key that seals them where none is configured, live as long as the
//! process: a reload ends no session.

use std::sync::Arc;

use url::Url;

use super::in_force::plain_http;
use super::sessions::{Live, Plan, Sessions};
use super::shared::Shared;
use crate::config::{self, Config, Endpoint, Issuer as IssuerConfig};
use crate::policy::Rules;
use crate::policy::issuer::{Issuer, IssuerId};
use crate::policy::principal::{Grant, Principal};
use crate::policy::reject::Reject;
use crate::policy::seal::KeyRing;
use crate::policy::session::{Sealer, Session, Terms};
use crate::policy::site::Site;
use crate::remote::provider::{self, Provider};
use crate::remote::token_endpoint::{self, TokenEndpoint};

/// What one `[sessions.NAME]` needs while it is in force.
pub(super) struct RelyingParty {
    /// What the file says of it.
    own: config::Session,
    /// Its sessions.
    pub(super) sessions: Arc<Sessions>,
    /// Where browsers are sent.
    pub(super) provider: Arc<Provider>,
    /// The issuer as the signer of ID tokens and logout tokens, which may be signed otherwise than access tokens.
    pub(super) signer: Issuer,
}

impl RelyingParty {
    /// What the session and the site of the same place need.
    pub(super) fn new(config: &Config, own: &config::Session, site: &Site, shared: &Shared) -> Option<Self> {
        let (issuer, rules) = (config.issuers.get(own.issuer.0)?, config.rules.issuers.get(own.issuer.0)?);
        let name = rules.spellings.first()?.clone();
        let fetching = shared.fetching();
        let source = token_endpoint::Source {
            issuer: name.clone(),
            token: endpoint(own, issuer.endpoints.token.as_ref())?,
            // Where discovery is not asked and the operator names none, there is none.
            revocation: endpoint(own, issuer.endpoints.revocation.as_ref()),
            client: own.client.clone(),
            timeout: own.timeout,
            authorities: issuer.authorities.clone(),
            plain_http: plain_http(issuer),
        };
        let plan = Plan {
            name: own.name.clone(),
            sealer: Sealer { ring: ring(own, shared)?, cookie: site.cookie.clone(), origin: site.origin.clone() },
            terms: Terms { refresh_before: own.refresh_before, idle_timeout: own.idle_timeout, lifetime: own.lifetime },
            endpoint: TokenEndpoint::new(source, &fetching.client, &fetching.clock),
            store: shared.store(&config.store),
        };
        let sessions = Sessions::new(plan, &fetching.clock, &fetching.handle, shared.telemetry(), shared.renewals());
        Some(Self {
            own: own.clone(),
            sessions: Arc::new(sessions),
            provider: Arc::new(Provider::new(provider(own, issuer, name), &fetching.client, &fetching.clock)),
            signer: Issuer {
                algorithms: own.id_token_algorithms.clone(),
                hmac_secret: own.id_token_secret.clone(),
                ..rules.clone()
            },
        })
    }

    /// Who logs browsers in.
    pub(super) fn issuer(&self) -> IssuerId {
        self.own.issuer
    }

    /// The session of a cookie of that value, with an access token that is good now.
    ///
    /// # Errors
    ///
    /// `session_expired`, `store_unavailable` or `issuer_unavailable`.
    pub(super) async fn open(&self, value: &str) -> Result<Arc<Live>, Reject> {
        let live = self.sessions.open(value).await?;
        self.sessions.fresh(live.ok_or(Reject::SessionExpired { why: "no session is of this cookie" })?).await
    }

    /// The caller, where the session's access token is opaque and nobody is asked about it. An issuer that names no scope
    /// granted what was asked for (RFC 6749 section 5.1).
    pub(super) fn granted<'r>(&self, live: &Live, rules: &'r Rules) -> Result<Principal<'r>, Reject> {
        let issuer = rules.issuers.get(self.own.issuer.0);
        let issuer = issuer.ok_or(Reject::Internal { why: "a session's issuer is not in force" })?;
        let Session { login, access_token, .. } = &live.session;
        let asked = self.own.scopes.join(" ");
        let grant = Grant {
            issuer: &login.issuer,
            client_id: &self.own.client.id,
            subject: &login.subject,
            scope: access_token.scope.as_deref().unwrap_or(&asked),
        };
        Ok(Principal::granted(grant, (self.own.issuer, issuer)))
    }
}

/// An endpoint: where the operator says, or where discovery does.
fn endpoint(own: &config::Session, written: Option<&Url>) -> Option<Endpoint> {
    written.cloned().map(Endpoint::At).or_else(|| own.discovery.clone().map(Endpoint::Discovered))
}

fn provider(own: &config::Session, issuer: &IssuerConfig, name: String) -> provider::Source {
    provider::Source {
        issuer: name,
        endpoints: issuer.endpoints.clone(),
        discovery: own.discovery.clone(),
        timeout: own.timeout,
        authorities: issuer.authorities.clone(),
        plain_http: plain_http(issuer),
    }
}

/// The configured keys, or the process's own.
fn ring(own: &config::Session, shared: &Shared) -> Option<KeyRing> {
    let mut keys = own.keys.iter().filter_map(|key| <[u8; KeyRing::KEY]>::try_from(key.reveal()).ok());
    match keys.next() {
        Some(newest) => Some(KeyRing::new(newest, keys)),
        None => Some(KeyRing::new(*shared.own_key(), [])),
    }
}

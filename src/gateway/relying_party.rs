//! Us as the relying party of an issuer (OpenID Connect Core section 1.2): what belongs to one `[sessions.NAME]` in force.
//!
//! Sessions that are kept in this process, and the key that seals them where none is configured, live as long as the
//! process: a reload ends no session.

use std::sync::Arc;

use url::Url;

use super::in_force::plain_http;
use super::sessions::{Live, Plan, Sessions};
use super::shared::Shared;
use crate::config::{self, Config, Endpoint};
use crate::policy::Rules;
use crate::policy::issuer::{Issuer, IssuerId};
use crate::policy::jwt;
use crate::policy::policies::Policies;
use crate::policy::principal::{Grant, Principal};
use crate::policy::reject::Reject;
use crate::policy::seal::KeyRing;
use crate::policy::session::{Sealer, Session, Terms};
use crate::policy::site::Site;
use crate::remote::provider::{self, Provider};
use crate::remote::token_endpoint::{self, TokenEndpoint};
use crate::telemetry::spans::CallSpan;

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
        let rules = config.rules.issuers.get(own.issuer.0)?;
        let (login, tokens) = login_sources(config, own)?;
        let fetching = shared.fetching();
        let plan = Plan {
            name: own.name.clone(),
            sealer: sealer(site, ring(own).unwrap_or_else(|| KeyRing::new(*shared.own_key(), []))),
            terms: terms(own),
            endpoint: TokenEndpoint::new(tokens, &fetching.client, &fetching.clock),
            store: shared.store(&config.store),
        };
        let sessions = Sessions::new(plan, &fetching.clock, &fetching.handle, shared.telemetry(), shared.renewals());
        Some(Self {
            own: own.clone(),
            sessions: Arc::new(sessions),
            provider: Arc::new(Provider::new(login, &fetching.client, &fetching.clock)),
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

    /// The session of a cookie of that value, with an access token that is good now. Where the issuer has to be asked for that,
    /// `span` tells of it.
    ///
    /// # Errors
    ///
    /// `session_expired`, `store_unavailable` or `issuer_unavailable`.
    pub(super) async fn open(&self, value: &str, span: Option<CallSpan>) -> Result<Arc<Live>, Reject> {
        match self.sessions.open(value).await? {
            Some(live) => self.sessions.fresh(live, span).await,
            None => Err(self.sessions.refusal(value).await),
        }
    }

    /// See [`by_grant`].
    ///
    /// # Errors
    ///
    /// As said there.
    pub(super) fn by_grant<'r>(
        &self,
        live: &Live,
        policies: &Policies,
        rules: &'r Rules,
    ) -> Result<Option<Principal<'r>>, Reject> {
        by_grant(&self.own, &live.session, policies, rules)
    }
}

/// The caller, where a session's access token is opaque and its issuer is not asked about it: what is opaque is shown to
/// nobody else. None where the token itself is to be judged.
///
/// # Errors
///
/// `token_kind_unknown` where no token of that issuer is meant for our APIs.
pub fn by_grant<'r>(
    own: &config::Session,
    session: &Session,
    policies: &Policies,
    rules: &'r Rules,
) -> Result<Option<Principal<'r>>, Reject> {
    let Session { login, access_token, .. } = session;
    let asked = rules.introspecting(policies).is_some_and(|(id, _)| id == own.issuer);
    if asked || jwt::is_shaped(&access_token.text) {
        return Ok(None);
    }
    let Some(issuer) = rules.issuers.get(own.issuer.0) else { return Ok(None) };
    let grant = Grant {
        issuer: &login.issuer,
        client_id: &own.client.id,
        subject: &login.subject,
        scope: access_token.scope.as_deref().unwrap_or_default(),
    };
    Principal::granted(grant, (own.issuer, issuer)).map(Some)
}

/// How long sessions last.
pub(super) fn terms(own: &config::Session) -> Terms {
    Terms { refresh_before: own.refresh_before, idle_timeout: own.idle_timeout, lifetime: own.lifetime }
}

/// What seals the sessions of a site.
pub(super) fn sealer(site: &Site, ring: KeyRing) -> Sealer {
    Sealer { ring, cookie: site.cookie.clone(), origin: site.origin.clone() }
}

/// An endpoint: where the operator says, or where discovery does.
fn endpoint(own: &config::Session, written: Option<&Url>) -> Option<Endpoint> {
    written.cloned().map(Endpoint::At).or_else(|| own.discovery.clone().map(Endpoint::Discovered))
}

/// How the issuer of a session is asked for where browsers log in, and for tokens.
pub fn login_sources(config: &Config, own: &config::Session) -> Option<(provider::Source, token_endpoint::Source)> {
    let issuer = config.issuers.get(own.issuer.0)?;
    let name = config.rules.issuers.get(own.issuer.0)?.spellings.first()?;
    let login = provider::Source {
        issuer: name.clone(),
        endpoints: issuer.endpoints.clone(),
        discovery: own.discovery.clone(),
        timeout: own.timeout,
        authorities: issuer.authorities.clone(),
        plain_http: plain_http(issuer),
    };
    let tokens = token_endpoint::Source {
        issuer: name.clone(),
        token: endpoint(own, issuer.endpoints.token.as_ref())?,
        // Where discovery is not asked and the operator names none, there is none.
        revocation: endpoint(own, issuer.endpoints.revocation.as_ref()),
        client: own.client.clone(),
        timeout: own.timeout,
        authorities: issuer.authorities.clone(),
        plain_http: plain_http(issuer),
    };
    Some((login, tokens))
}

/// The configured keys, where there are any.
pub(super) fn ring(own: &config::Session) -> Option<KeyRing> {
    let mut keys = own.keys.iter().filter_map(|key| <[u8; KeyRing::KEY]>::try_from(key.reveal()).ok());
    keys.next().map(|newest| KeyRing::new(newest, keys))
}

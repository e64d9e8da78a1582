//! Asking one issuer of a configuration, as `run` would, for commands that only look: nothing is kept, and the snapshot of
//! its keys is the gateway's alone.

use std::sync::Arc;

use tokio::runtime::Handle;
use url::Url;

use crate::config::Config;
use crate::gateway::{self, introspection_source};
use crate::policy::introspection::Answer;
use crate::policy::issuer::IssuerId;
use crate::policy::reject::Reject;
use crate::remote::clock::Clock;
use crate::remote::discovery::Fault;
use crate::remote::http::Client;
use crate::remote::introspect::{Introspector, Judge};
use crate::remote::jwks::source::KeySource;
use crate::remote::jwks::{Fetching, KeySets};
use crate::remote::provider::Provider;
use crate::remote::token_endpoint::TokenEndpoint;

/// How issuers are asked from the runtime that this is called on.
///
/// # Errors
///
/// The system's reason, where not even plain calls are possible.
pub(super) fn fetching() -> Result<Fetching, String> {
    let clock = Clock::system();
    let client = Client::new(clock.clone())?;
    Ok(Fetching { handle: Handle::current(), clock, client, observer: Arc::new(|_| {}) })
}

/// Where an issuer's keys come from; none where it signs with a secret.
pub(super) fn key_source(config: &Config, id: IssuerId) -> Option<KeySource> {
    gateway::key_source(config, id).map(|source| KeySource { snapshot: None, ..source })
}

/// The keys of one issuer; the others are not asked.
pub(super) fn key_sets(config: &Config, id: IssuerId, fetching: &Fetching) -> KeySets {
    // Sources stand by issuer.
    let others = std::iter::repeat_with(|| None).take(id.0);
    KeySets::start(others.chain([key_source(config, id)]).collect(), fetching, None)
}

/// Where an issuer of sessions has browsers log in, and where it grants tokens; none where no session is of it.
pub(super) async fn login(config: &Config, id: IssuerId, fetching: &Fetching) -> Option<Result<[Url; 2], Fault>> {
    let own = config.sessions.iter().find(|session| session.issuer == id)?;
    let (login, tokens) = gateway::login_sources(config, own)?;
    let Fetching { client, clock, .. } = fetching;
    let (provider, endpoint) = (Provider::new(login, client, clock), TokenEndpoint::new(tokens, client, clock));
    let (known, tokens) = tokio::join!(provider.known(), endpoint.address());
    Some(known.and_then(|known| Ok([known.authorization.clone(), tokens?])))
}

/// What the issuer answers about a token; none where it is not asked about any.
pub(super) async fn introspect(
    config: &Config,
    id: IssuerId,
    token: &str,
    fetching: &Fetching,
) -> Option<Result<Arc<Answer>, Reject>> {
    let source = introspection_source(config, id)?;
    let keys = Arc::new(key_sets(config, id, fetching));
    let judge = Judge { issuer: id, rules: Arc::clone(&config.rules), keys };
    let Fetching { client, clock, handle, .. } = fetching;
    let introspector = Introspector::new(source, judge, client, clock, handle, Arc::new(|_| {}), std::iter::empty());
    Some(introspector.ask(token, None).await)
}

//! What all workers of a gateway share: the configuration in force, the issuers' keys, and where outcomes go.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use tokio::runtime::Handle;

use super::request_body::Pace;
use super::verified::Verified;
use crate::config::{Config, KeySource as ConfiguredSource};
use crate::policy::Rules;
use crate::policy::issuer::IssuerId;
use crate::remote::clock::{Clock, Monotonic};
use crate::remote::http::{Client, PlainHttp};
use crate::remote::jwks::source::{KeySource, Origin};
use crate::remote::jwks::{FetchEvent, KeySets};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::FetchResult;
use crate::telemetry::log::Refusals;

/// The parts that all workers share cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot make outgoing calls: {0}")]
pub struct SharedFault(String);

/// What all workers of a gateway share.
pub struct Shared {
    config: Config,
    identity_names: Vec<HeaderName>,
    keys: Arc<KeySets>,
    verified: Verified,
    telemetry: Arc<Telemetry>,
    refusals: Refusals,
    clock: Clock,
    started: Monotonic,
    pace: Pace,
}

/// How ready an issuer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerReadiness {
    /// Its configured name.
    pub name: String,
    /// Whether its keys were ever seen, or none are needed.
    pub seen: bool,
    /// Whether the gateway is unready until they were.
    pub required: bool,
}

impl Shared {
    /// Takes a configuration into force: begins to fetch keys, on the runtime of `control`.
    ///
    /// # Errors
    ///
    /// Where no outgoing call is possible at all.
    pub fn start(
        config: Config,
        telemetry: Arc<Telemetry>,
        clock: Clock,
        pace: Pace,
        control: &Handle,
    ) -> Result<Self, SharedFault> {
        let client = Client::new(clock.clone()).map_err(SharedFault)?;
        let sources = (0..config.issuers.len()).map(|index| key_source(&config, IssuerId(index))).collect();
        let told = Arc::clone(&telemetry);
        let observer = move |event: FetchEvent| {
            told.metrics.jwks_fetched(event.issuer.0, event.trigger, event.result, event.keys);
            if event.result == FetchResult::Success {
                told.metrics.jwks_replaced(event.issuer.0, event.at);
            }
        };
        let keys = KeySets::start(control, clock.clone(), sources, &client, &(Arc::new(observer) as _));
        telemetry.metrics.config_in_force(&config.hash);
        let started = clock.now();
        let identity_names = identity_names(&config);
        Ok(Self {
            config,
            identity_names,
            keys,
            verified: Verified::default(),
            telemetry,
            refusals: Refusals::default(),
            clock,
            started,
            pace,
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What requests are judged by.
    pub fn rules(&self) -> &Rules {
        &self.config.rules
    }

    /// The issuers' keys.
    pub fn keys(&self) -> &KeySets {
        &self.keys
    }

    /// The tokens whose signatures were verified.
    pub(super) fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Where outcomes go.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How ready each issuer is.
    pub fn readiness(&self) -> Vec<IssuerReadiness> {
        let issuers = self.config.issuers.iter().enumerate();
        issuers
            .map(|(index, issuer)| IssuerReadiness {
                name: issuer.name.clone(),
                seen: self.keys.seen(IssuerId(index)),
                required: issuer.required_for_ready,
            })
            .collect()
    }

    /// Where the operator is told of refusals.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The monotonic time since this was started.
    pub(super) fn since_start(&self) -> Duration {
        self.clock.now().since(self.started)
    }

    /// The slowest body.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Every identity header that any route sets: a client's copies of all of them are removed on every route.
    pub(super) fn identity_names(&self) -> &[HeaderName] {
        &self.identity_names
    }

    /// Whether a peer's `Forwarded` and `X-Forwarded-*` are believed.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.config.server.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

fn identity_names(config: &Config) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = config
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.identity_headers.iter().map(|header| header.name.clone()))
        .collect();
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    names
}

/// Where an issuer's keys come from; none where it signs with a secret.
pub fn key_source(config: &Config, id: IssuerId) -> Option<KeySource> {
    let issuer = config.issuers.get(id.0)?;
    let origin = match &issuer.keys {
        ConfiguredSource::Discovery(url) => Origin::Discovery(url.clone()),
        ConfiguredSource::Uri(url) => Origin::Uri(url.clone()),
        ConfiguredSource::File { path, .. } => Origin::File(path.clone()),
        ConfiguredSource::Secret => return None,
    };
    Some(KeySource {
        name: issuer.name.clone(),
        issuer: config.rules.issuers.get(id.0)?.spellings.first()?.clone(),
        origin,
        authorities: issuer.authorities.clone(),
        plain_http: if issuer.allow_http { PlainHttp::Anywhere } else { PlainHttp::Loopback },
        refresh: issuer.refresh,
        cooldown: issuer.cooldown,
        max_stale: issuer.max_stale,
    })
}

//! A configuration in force, with all that belongs to it alone.
//!
//! A request is decided under one of these from its head to the end of its answer, whatever is taken into force meanwhile.
//! What two configurations have in common (key sets, connections) is handed from one to the next; the rest of the old
//! one goes with its last request.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderName;

use super::relying_party::RelyingParty;
use super::sessions::Sessions;
use super::shared::Shared;
use crate::config::{Config, Issuer, KeySource as ConfiguredSource, LogFormat, LogLevel, RefusalLog};
use crate::policy::Rules;
use crate::policy::issuer::IssuerId;
use crate::policy::site::SiteId;
use crate::policy::trace::Sampling;
use crate::remote::http::PlainHttp;
use crate::remote::introspect::{self, Event, Introspector, Judge};
use crate::remote::jwks::source::{KeySource, Origin};
use crate::remote::jwks::{Fetching, KeySets, Standing};
use crate::remote::upstream::Target;
use crate::telemetry::access::{Refused, Settings};
use crate::telemetry::labels::Labels;
use crate::telemetry::ledger::Ledger;
use crate::telemetry::log::{Format, Level};

/// A configuration in force.
pub struct InForce {
    config: Config,
    identity_names: Vec<HeaderName>,
    own_cookies: Vec<String>,
    targets: Vec<Target>,
    keys: Arc<KeySets>,
    /// By [`IssuerId`]; none where opaque tokens are not asked about.
    introspectors: Vec<Option<Introspector>>,
    /// By [`SiteId`]; none where the session cannot be kept.
    parties: Vec<Option<RelyingParty>>,
    ledger: Ledger,
    sampling: Sampling,
    /// Whether every issuer that was required before had been seen.
    was_ready: bool,
}

/// How ready an issuer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerReadiness {
    /// Its configured name.
    pub name: String,
    /// Whether its keys were ever seen, or none are needed.
    pub seen: bool,
    /// What is held of them; nothing before they were seen, or where none are needed.
    pub keys: Option<Standing>,
    /// Whether the gateway is unready until they were.
    pub required: bool,
}

impl InForce {
    /// Takes a configuration into force after `before`: begins to fetch the keys that are new, and says in the metrics which
    /// configuration it is.
    pub(super) fn new(config: Config, shared: &Shared, before: Option<&Self>) -> Self {
        let telemetry = shared.telemetry();
        let ledger = ledger(&config, telemetry);
        let sources = (0..config.issuers.len()).map(|index| key_source(&config, IssuerId(index))).collect();
        let keys = Arc::new(KeySets::start(sources, shared.fetching(), before.map(|before| &*before.keys)));
        let introspectors = introspectors(&config, shared, &keys, before);
        let parties = parties(&config, shared);
        telemetry.metrics.config_in_force(&config.hash);
        if let Some(log) = &telemetry.log {
            log.adopt(log_format(&config), log_level(&config));
        }
        let was_ready = before.is_some_and(Self::is_ready);
        let targets = config.upstreams.iter().map(Target::from).collect();
        let sampling = config.traces.otlp.as_ref().map_or(Sampling::OFF, |_| Sampling::share(config.traces.sample));
        Self {
            identity_names: identity_names(&config),
            own_cookies: own_cookies(&config),
            targets,
            config,
            keys,
            introspectors,
            parties,
            ledger,
            sampling,
            was_ready,
        }
    }

    /// What the file says.
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

    /// What an issuer is asked about opaque tokens by.
    pub(super) fn introspector(&self, id: IssuerId) -> Option<&Introspector> {
        self.introspectors.get(id.0)?.as_ref()
    }

    /// The browser sessions of a site.
    pub fn sessions(&self, id: SiteId) -> Option<&Arc<Sessions>> {
        self.relying_party(id).map(|party| &party.sessions)
    }

    /// Us, as the relying party of a session.
    pub(super) fn relying_party(&self, id: SiteId) -> Option<&RelyingParty> {
        self.parties.get(id.0)?.as_ref()
    }

    /// The cookies of all sessions: none of them goes upstream, nor do those of the logins to them.
    pub(super) fn own_cookies(&self) -> &[String] {
        &self.own_cookies
    }

    /// Where outcomes go.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Which traces are recorded.
    pub(super) fn sampling(&self) -> Sampling {
        self.sampling
    }

    fn is_ready(&self) -> bool {
        self.readiness().iter().all(|issuer| issuer.seen || !issuer.required)
    }

    /// How ready each issuer is. Who is ready stays so when a configuration brings an issuer that is not there yet: were all
    /// replicas to take it into force at once, nobody would serve the others' tokens.
    pub fn readiness(&self) -> Vec<IssuerReadiness> {
        let issuers = self.config.issuers.iter().enumerate();
        issuers
            .map(|(index, issuer)| IssuerReadiness {
                name: issuer.name.clone(),
                seen: self.keys.seen(IssuerId(index)),
                keys: self.keys.standing(IssuerId(index)),
                required: issuer.required_for_ready && !self.was_ready,
            })
            .collect()
    }

    /// The upstreams, in the order of the configuration.
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
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

/// The form of every line that this configuration wants.
pub fn log_format(config: &Config) -> Format {
    match config.log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    }
}

/// The least severe message that this configuration wants.
pub fn log_level(config: &Config) -> Level {
    match config.log.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    }
}

fn ledger(config: &Config, telemetry: &Arc<crate::telemetry::Telemetry>) -> Ledger {
    let access = config.log.access;
    let lines = Settings {
        format: log_format(config),
        sample: access.sample,
        refused: match access.refused {
            RefusalLog::All => Refused::All,
            RefusalLog::Sample => Refused::Sampled,
        },
    };
    let labels = Labels {
        routes: &names(config.rules.routes.routes(), |route| &route.name),
        issuers: &names(&config.rules.issuers, |issuer| &issuer.name),
        upstreams: &names(&config.upstreams, |upstream| &upstream.name),
        sessions: &names(&config.sessions, |session| &session.name),
    };
    Ledger::open(telemetry, &labels, lines)
}

fn names<T>(all: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    all.iter().map(|one| name(one).as_str()).collect()
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

fn own_cookies(config: &Config) -> Vec<String> {
    config.rules.sites.iter().map(|site| site.cookie.clone()).collect()
}

fn parties(config: &Config, shared: &Shared) -> Vec<Option<RelyingParty>> {
    let both = config.sessions.iter().zip(&config.rules.sites);
    both.map(|(own, site)| RelyingParty::new(config, own, site, shared)).collect()
}

/// One for each issuer that is asked about opaque tokens; what was answered before stands on where nothing of it changed.
fn introspectors(
    config: &Config,
    shared: &Shared,
    keys: &Arc<KeySets>,
    before: Option<&InForce>,
) -> Vec<Option<Introspector>> {
    let Fetching { client, clock, handle, .. } = shared.fetching();
    let introspector = |index| {
        let source = introspection_source(config, IssuerId(index))?;
        let judge = Judge { issuer: IssuerId(index), rules: Arc::clone(&config.rules), keys: Arc::clone(keys) };
        let (telemetry, name) = (Arc::clone(shared.telemetry()), source.name.clone());
        let observer = Arc::new(move |event: Event| telemetry.metrics.introspected(&name, event.result, event.took));
        let before = before.into_iter().flat_map(|before| before.introspectors.iter().flatten());
        Some(Introspector::new(source, judge, client, clock, handle, observer, before))
    };
    (0..config.issuers.len()).map(introspector).collect()
}

/// How an issuer is asked about opaque tokens; none where it is not.
pub fn introspection_source(config: &Config, id: IssuerId) -> Option<introspect::Source> {
    let issuer = config.issuers.get(id.0)?;
    Some(introspect::Source {
        name: issuer.name.clone(),
        issuer: config.rules.issuers.get(id.0)?.spellings.first()?.clone(),
        introspection: issuer.introspection.clone()?,
        authorities: issuer.authorities.clone(),
        plain_http: plain_http(issuer),
    })
}

pub(super) fn plain_http(issuer: &Issuer) -> PlainHttp {
    if issuer.allow_http { PlainHttp::Anywhere } else { PlainHttp::Loopback }
}

/// Where an issuer's keys come from; none where it signs with a secret.
pub fn key_source(config: &Config, id: IssuerId) -> Option<KeySource> {
    let issuer = config.issuers.get(id.0)?;
    let (origin, digest) = match &issuer.keys {
        ConfiguredSource::Discovery(url) => (Origin::Discovery(url.clone()), None),
        ConfiguredSource::Uri(url) => (Origin::Uri(url.clone()), None),
        ConfiguredSource::File { path, digest, .. } => (Origin::File(path.clone()), Some(*digest)),
        ConfiguredSource::Secret => return None,
    };
    Some(KeySource {
        name: issuer.name.clone(),
        issuer: config.rules.issuers.get(id.0)?.spellings.first()?.clone(),
        origin,
        digest,
        bearer_file: issuer.bearer_file.clone(),
        authorities: issuer.authorities.clone(),
        plain_http: plain_http(issuer),
        refresh: issuer.refresh,
        cooldown: issuer.cooldown,
        max_stale: issuer.max_stale,
        snapshot: issuer.snapshot.clone(),
    })
}

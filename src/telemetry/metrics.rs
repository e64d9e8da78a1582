//! Every metric of the process, and the text that Prometheus reads.
//!
//! Promises: label values come from the configuration and from closed lists; recording a request takes atomics only,
//! once its series exist; a route that is never called costs 16 bytes. Only this file and `families` know the
//! `prometheus` crate, so that another library can take its place.
//!
//! It does not decide what is worth counting: [`Outcome`] says what happened to a request, and the owners of
//! connections, key sets and the configuration tell their own.

use std::sync::OnceLock;
use std::time::SystemTime;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use super::Outcome;
use super::families::Families;
use super::labels::{
    CacheResult, ConnectionFault, ConnectionState, FetchResult, FetchTrigger, Labels, METHODS, NONE, ReloadResult,
    method_index, status_label,
};
use super::series::Chain;
use crate::policy::reject::Code;

/// A metric's name or labels are not what Prometheus takes, or two have one name: a defect of ours, seen at start.
#[derive(Debug, thiserror::Error)]
#[error("a metric cannot be registered: {0}")]
pub struct MetricFault(#[from] prometheus::Error);

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    families: Families,
    route_names: Vec<String>,
    issuer_names: Vec<String>,
    upstream_names: Vec<String>,
    listener_names: Vec<String>,
    /// One place per route, and a last one for requests without a route.
    routes: Box<[OnceLock<Box<RouteSeries>>]>,
    upstreams: Box<[UpstreamSeries]>,
    listeners: Box<[IntGauge]>,
    /// By [`CacheResult`].
    verified_cache: Box<[IntCounter]>,
}

/// Counts one thing that lasts, for as long as it lives: a connection, a request.
#[must_use = "what is counted ends when this is dropped"]
pub struct Held(IntGauge);

impl Held {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts lines that could not be written.
#[derive(Debug, Clone)]
pub struct Dropped(IntCounter);

impl Dropped {
    /// Adds lines to the count.
    pub(super) fn add(&self, lines: u64) {
        self.0.inc_by(lines);
    }

    #[cfg(test)]
    pub(super) fn counted() -> Self {
        Self(IntCounter::new("lines", "lines").unwrap())
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.0.get()
    }
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    ///
    /// A metric's own name or labels are wrong, whatever the configuration says: a defect of ours.
    pub fn new(labels: &Labels<'_>) -> Result<Self, MetricFault> {
        let registry = Registry::new();
        let families = Families::new(&registry)?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let upstreams = labels.upstreams.iter().map(|name| UpstreamSeries::new(&families, name)).collect();
        let listeners = labels.listeners.iter().map(|name| families.connections.with_label_values(&[*name])).collect();
        // What an alert asks about is there from the start, at zero.
        for name in labels.issuers {
            families.jwks_keys.with_label_values(&[*name]).set(0);
        }
        let verified_cache = CacheResult::ALL
            .iter()
            .map(|result| families.verified_cache.with_label_values(&[result.label()]))
            .collect();
        for result in ReloadResult::ALL {
            families.config_reloads.with_label_values(&[result.label()]).inc_by(0);
        }
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            registry,
            families,
            route_names: owned(labels.routes),
            issuer_names: owned(labels.issuers),
            upstream_names: owned(labels.upstreams),
            listener_names: owned(labels.listeners),
            routes: (0..=labels.routes.len()).map(|_| OnceLock::new()).collect(),
            upstreams,
            listeners,
            verified_cache,
        })
    }

    /// All of it in the text form of Prometheus (version 0.0.4).
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written in full");
        }
        text
    }

    /// The name of a route.
    pub(super) fn route_name(&self, route: Option<usize>) -> Option<&str> {
        name(&self.route_names, route)
    }

    /// The name of an issuer.
    pub(super) fn issuer_name(&self, issuer: Option<usize>) -> Option<&str> {
        name(&self.issuer_names, issuer)
    }

    /// Counts a finished request.
    pub(super) fn record(&self, outcome: &Outcome) {
        let route = self.route(outcome.route);
        let name = self.route_name(outcome.route).unwrap_or(NONE);
        self.request_series(route, name, outcome).inc();
        self.decision_series(route, name, outcome).inc();

        let in_upstream = outcome.visit.map(|visit| visit.time).unwrap_or_default();
        route.duration.observe(outcome.duration.as_secs_f64());
        route.overhead.observe(outcome.duration.saturating_sub(in_upstream).as_secs_f64());

        if let Some(visit) = outcome.visit
            && let Some(upstream) = self.upstreams.get(visit.upstream)
        {
            upstream.duration.observe(visit.time.as_secs_f64());
            if let Some(code @ (Code::UpstreamUnreachable | Code::UpstreamMalformed | Code::UpstreamTimeout)) =
                outcome.failure
            {
                let labels = [&*self.upstream_names[visit.upstream], code.facts().name];
                upstream.errors.series(code as u16, || self.families.upstream_errors.with_label_values(&labels)).inc();
            }
        }
    }

    fn request_series<'a>(&self, route: &'a RouteSeries, name: &str, outcome: &Outcome) -> &'a IntCounter {
        let method = method_index(&outcome.method);
        let (status, status_text) = status_label(outcome.status);
        // Statuses are below 1000, so that one more digit tells who answered.
        let key = status * 10 + outcome.by as u16;
        route.requests[method].series(key, || {
            let labels = [name, METHODS[method], status_text, outcome.by.label()];
            self.families.requests.with_label_values(&labels)
        })
    }

    fn decision_series<'a>(&self, route: &'a RouteSeries, name: &str, outcome: &Outcome) -> &'a IntCounter {
        let none = self.issuer_names.len();
        let issuer = outcome.issuer.filter(|issuer| *issuer < none).unwrap_or(none);
        route.decisions[issuer].series(outcome.decision.key(), || {
            let issuer = self.issuer_name(outcome.issuer).unwrap_or(NONE);
            self.families.decisions.with_label_values(&[name, issuer, outcome.decision.label()])
        })
    }

    fn route(&self, route: Option<usize>) -> &RouteSeries {
        let none = self.route_names.len();
        let index = route.filter(|route| *route < none).unwrap_or(none);
        self.routes[index].get_or_init(|| {
            let name = self.route_name(route).unwrap_or(NONE);
            Box::new(RouteSeries {
                requests: [const { Chain::new() }; METHODS.len()],
                decisions: (0..=self.issuer_names.len()).map(|_| Chain::new()).collect(),
                shadow_refusals: Chain::new(),
                duration: self.families.request_duration.with_label_values(&[name]),
                overhead: self.families.overhead.with_label_values(&[name]),
            })
        })
    }

    /// Counts a request for as long as it is worked on.
    pub fn request_started(&self) -> Held {
        Held::new(&self.families.requests_in_flight)
    }

    /// Counts a client's connection for as long as it is open; `listener` is an index into [`Labels::listeners`].
    pub fn connection_opened(&self, listener: usize) -> Option<Held> {
        self.listeners.get(listener).map(Held::new)
    }

    /// Counts a connection's fault; `listener` is an index into [`Labels::listeners`].
    pub fn connection_failed(&self, listener: usize, fault: ConnectionFault) {
        let listener = name(&self.listener_names, Some(listener)).unwrap_or(NONE);
        self.families.connection_errors.with_label_values(&[listener, fault.label()]).inc();
    }

    /// Counts a connection to an upstream for as long as it is in that state.
    pub fn upstream_connection(&self, upstream: usize, state: ConnectionState) -> Option<Held> {
        let upstream = self.upstreams.get(upstream)?;
        Some(Held::new(match state {
            ConnectionState::Idle => &upstream.idle,
            ConnectionState::Active => &upstream.active,
        }))
    }

    /// Counts a fetch of an issuer's key set, after which there are so many usable keys.
    pub fn jwks_fetched(&self, issuer: usize, trigger: FetchTrigger, result: FetchResult, keys: usize) {
        let issuer = self.issuer_name(Some(issuer)).unwrap_or(NONE);
        self.families.jwks_keys.with_label_values(&[issuer]).set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.families.jwks_fetches.with_label_values(&[issuer, trigger.label(), result.label()]).inc();
    }

    /// Tells when the key set that is in force was fetched.
    pub fn jwks_replaced(&self, issuer: usize, at: SystemTime) {
        let issuer = self.issuer_name(Some(issuer)).unwrap_or(NONE);
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.families.jwks_last_success.with_label_values(&[issuer]).set(seconds);
    }

    /// Counts a look into the memory of proven tokens.
    pub fn verified_cache(&self, result: CacheResult) {
        if let Some(counter) = self.verified_cache.get(result as usize) {
            counter.inc();
        }
    }

    /// Counts a request that was permitted by an ID token, where the issuer's `accept_id_tokens` lets it.
    pub fn id_token_accepted(&self, route: Option<usize>, issuer: Option<usize>) {
        let (route, issuer) = (self.route_name(route).unwrap_or(NONE), self.issuer_name(issuer).unwrap_or(NONE));
        self.families.id_tokens_accepted.with_label_values(&[route, issuer]).inc();
    }

    /// Counts a request that was let through in shadow mode, and would else have been refused with this code.
    pub fn shadow_refused(&self, route: Option<usize>, code: Code) {
        let name = self.route_name(route).unwrap_or(NONE);
        let made = || self.families.shadow_refusals.with_label_values(&[name, code.facts().name]);
        self.route(route).shadow_refusals.series(code as u16, made).inc();
    }

    /// Counts a panic that was caught.
    pub fn panicked(&self) {
        self.families.panics.inc();
    }

    /// Counts a reload of the configuration.
    pub fn config_reloaded(&self, result: ReloadResult) {
        self.families.config_reloads.with_label_values(&[result.label()]).inc();
        self.families.config_last_reload.set(match result {
            ReloadResult::Success => 1.0,
            ReloadResult::Failure => 0.0,
        });
    }

    /// Tells which configuration is in force; the one before is told no longer. Counts as a good load.
    pub fn config_in_force(&self, hash: &str) {
        self.families.config_info.reset();
        self.families.config_info.with_label_values(&[hash]).set(1);
        self.families.config_last_reload.set(1.0);
    }

    /// The count of access lines that were not written.
    pub fn access_lines_dropped(&self) -> Dropped {
        Dropped(self.families.access_dropped.clone())
    }

    /// The count of log lines that were not written.
    pub fn log_lines_dropped(&self) -> Dropped {
        Dropped(self.families.log_dropped.clone())
    }
}

/// What one route has recorded so far.
struct RouteSeries {
    /// By method, then by status and who answered.
    requests: [Chain<IntCounter>; METHODS.len()],
    /// By issuer (the last place: none), then by decision.
    decisions: Box<[Chain<IntCounter>]>,
    /// By code.
    shadow_refusals: Chain<IntCounter>,
    duration: Histogram,
    overhead: Histogram,
}

struct UpstreamSeries {
    duration: Histogram,
    errors: Chain<IntCounter>,
    idle: IntGauge,
    active: IntGauge,
}

impl UpstreamSeries {
    fn new(families: &Families, name: &str) -> Self {
        let state = |state: ConnectionState| families.upstream_connections.with_label_values(&[name, state.label()]);
        Self {
            duration: families.upstream_duration.with_label_values(&[name]),
            errors: Chain::new(),
            idle: state(ConnectionState::Idle),
            active: state(ConnectionState::Active),
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn name(names: &[String], index: Option<usize>) -> Option<&str> {
    names.get(index?).map(String::as_str)
}

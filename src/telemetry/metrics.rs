//! The metrics of the process, and the text that Prometheus reads.
//!
//! Promises: label values come from the configuration and from closed lists. What is counted under a name goes on counting
//! while the configuration is exchanged. A name that leaves it takes its gauges along at once; its counters stay, so that
//! the last of what happened can still be read, but only those of the last 64 names that left: names that are new with
//! each reload cannot fill the memory.
//!
//! What is counted of requests has its series in [`super::ledger`]. Only these two files, `families` and `family` know the
//! `prometheus` crate, so that another library can take its place. None of them decides what is worth counting:
//! [`Outcome`](super::Outcome) says what happened to a request, and the owners of connections, key sets and the
//! configuration tell their own.

use std::time::{Duration, SystemTime};

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntCounter, IntGauge, TextEncoder};

use super::families::Families;
use super::labels::{
    CacheResult, ConnectionFault, FetchResult, FetchTrigger, IntrospectionResult, NONE, RefreshResult, ReloadResult,
    SessionEvent,
};
use super::names::{Name, Names};

/// A metric's buckets are not what Prometheus takes: a defect of ours, seen at start.
#[derive(Debug, thiserror::Error)]
#[error("a metric cannot be made: {0}")]
pub struct MetricFault(#[from] prometheus::Error);

/// The metrics of one process.
pub struct Metrics {
    pub(super) families: Families,
    process: ProcessCollector,
    names: Names,
    listener_names: Vec<String>,
    listeners: Box<[IntGauge]>,
    /// By [`CacheResult`].
    verified_cache: Box<[IntCounter]>,
}

/// Counts one thing that lasts, for as long as it lives: a connection, a request.
#[must_use = "what is counted ends when this is dropped"]
pub struct Held(IntGauge);

impl Held {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts lines that could not be written, and spans that could not be sent.
#[derive(Debug, Clone)]
pub struct Dropped(IntCounter);

impl Dropped {
    /// Adds lines, or spans, to the count.
    pub fn add(&self, dropped: u64) {
        self.0.inc_by(dropped);
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
    /// Makes every metric. `listeners` are the public listeners' addresses, as configured.
    ///
    /// # Errors
    ///
    /// A metric's own buckets are wrong, whatever the configuration says: a defect of ours.
    pub fn new(listeners: &[&str]) -> Result<Self, MetricFault> {
        let families = Families::new()?;
        let gauge = |name: &&str| families.connections.series([name]);
        // What an alert asks about is there from the start, at zero.
        let verified_cache =
            CacheResult::ALL.iter().map(|result| families.verified_cache.series([result.label()])).collect();
        for result in ReloadResult::ALL {
            families.config_reloads.series([result.label()]).inc_by(0);
        }
        families.build_info.series([env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            listener_names: listeners.iter().map(|name| (*name).to_owned()).collect(),
            listeners: listeners.iter().map(gauge).collect(),
            process: ProcessCollector::for_self(),
            families,
            names: Names::default(),
            verified_cache,
        })
    }

    /// All of it in the text form of Prometheus (version 0.0.4).
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.families.write(&mut text);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.process.collect(), &mut text) {
            tracing::error!(%error, "the metrics could not be written in full");
        }
        text
    }

    /// These names are the configuration's from now on: the gauges of all others vanish.
    pub(super) fn names_enter(&self, names: &[Name]) {
        self.names.enter(names, |gone| self.families.forget_state(gone));
    }

    /// Nothing is counted any more under the names of a configuration that was exchanged.
    pub(super) fn names_leave(&self, names: &[Name]) {
        self.names.leave(names, |forgotten| self.families.forget_counts(forgotten));
    }

    /// Counts a request for as long as it is worked on.
    pub fn request_started(&self) -> Held {
        Held::new(&self.families.requests_in_flight)
    }

    /// Requests that are being worked on.
    pub fn requests_in_flight(&self) -> i64 {
        self.families.requests_in_flight.get()
    }

    /// Counts a client's connection for as long as it is open; `listener` is its place in the configuration.
    pub fn connection_opened(&self, listener: usize) -> Option<Held> {
        self.listeners.get(listener).map(Held::new)
    }

    /// Counts a connection's fault; `listener` is its place in the configuration.
    pub fn connection_failed(&self, listener: usize, fault: ConnectionFault) {
        let listener = self.listener_names.get(listener).map_or(NONE, String::as_str);
        self.families.connection_errors.series([listener, fault.label()]).inc();
    }

    /// Counts a fetch of the key set of the issuer of that name, after which there are so many usable keys.
    pub fn jwks_fetched(&self, issuer: &str, trigger: FetchTrigger, result: FetchResult, keys: usize) {
        self.jwks_held(issuer, keys);
        self.names.if_used(&Name::issuer(issuer), || {
            self.families.jwks_fetches.series([issuer, trigger.label(), result.label()]).inc();
        });
    }

    /// Tells how many usable keys there are of the issuer of that name.
    pub fn jwks_held(&self, issuer: &str, keys: usize) {
        self.names.if_in_force(&Name::issuer(issuer), || {
            self.families.jwks_keys.series([issuer]).set(i64::try_from(keys).unwrap_or(i64::MAX));
        });
    }

    /// Tells when the key set of the issuer of that name was fetched that is in force.
    pub fn jwks_replaced(&self, issuer: &str, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.names.if_in_force(&Name::issuer(issuer), || {
            self.families.jwks_last_success.series([issuer]).set(seconds);
        });
    }

    /// Counts a question to the issuer of that name about an opaque token, and how long a call took where one was made.
    pub fn introspected(&self, issuer: &str, result: IntrospectionResult, took: Option<Duration>) {
        self.names.if_used(&Name::issuer(issuer), || {
            self.families.introspections.series([issuer, result.label()]).inc();
            if let Some(took) = took {
                self.families.introspection_duration.series([issuer]).observe(took.as_secs_f64());
            }
        });
    }

    /// Counts a request to renew the access token of a session of that name.
    pub fn session_refreshed(&self, session: &str, result: RefreshResult) {
        self.names.if_used(&Name::session(session), || {
            self.families.session_refreshes.series([session, result.label()]).inc();
        });
    }

    /// Counts what happened to a session of that name.
    pub fn session_event(&self, session: &str, event: SessionEvent) {
        self.names.if_used(&Name::session(session), || {
            self.families.sessions.series([session, event.label()]).inc();
        });
    }

    /// Counts a look into the memory of proven tokens.
    pub fn verified_cache(&self, result: CacheResult) {
        if let Some(counter) = self.verified_cache.get(result as usize) {
            counter.inc();
        }
    }

    /// Counts a panic that was caught.
    pub fn panicked(&self) {
        self.families.panics.inc();
    }

    /// Counts a reload of the configuration.
    pub fn config_reloaded(&self, result: ReloadResult) {
        self.families.config_reloads.series([result.label()]).inc();
        self.families.config_last_reload.set(match result {
            ReloadResult::Success => 1.0,
            ReloadResult::Failure => 0.0,
        });
    }

    /// Tells which configuration is in force; the one before is told no longer. Counts as a good load.
    pub fn config_in_force(&self, hash: &str) {
        self.families.config_info.series([hash]).set(1);
        self.families.config_info.keep(|[known]| known == hash);
        self.families.config_last_reload.set(1.0);
    }

    /// Tells when each certificate expires that is in force, by name; those before are told no longer.
    pub fn certificates_in_force<'n>(&self, certificates: impl Iterator<Item = (&'n str, SystemTime)>) {
        let mut names = Vec::new();
        for (name, not_after) in certificates {
            let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            self.families.certificate_expiry.series([name]).set(seconds);
            names.push(name);
        }
        self.families.certificate_expiry.keep(|[name]| names.contains(&name));
    }

    /// The count of access lines that were not written.
    pub fn access_lines_dropped(&self) -> Dropped {
        Dropped(self.families.access_dropped.clone())
    }

    /// The count of spans that were not sent.
    pub fn spans_dropped(&self) -> Dropped {
        Dropped(self.families.spans_dropped.clone())
    }

    /// The count of log lines that were not written.
    pub fn log_lines_dropped(&self) -> Dropped {
        Dropped(self.families.log_dropped.clone())
    }
}

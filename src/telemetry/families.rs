//! Name, help, labels and buckets of every metric: the one list.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::metrics::MetricFault;
use super::names::Name;

/// Every metric, registered.
///
/// `with_label_values` of a family panics when the number of values is not the number of labels. The labels stand here,
/// the values in `metrics` and `ledger`; a test walks every path there.
pub(super) struct Families {
    pub(super) requests: IntCounterVec,
    pub(super) request_duration: HistogramVec,
    pub(super) overhead: HistogramVec,
    pub(super) decisions: IntCounterVec,
    pub(super) shadow_refusals: IntCounterVec,
    pub(super) connection_errors: IntCounterVec,
    pub(super) jwks_fetches: IntCounterVec,
    pub(super) introspections: IntCounterVec,
    pub(super) introspection_duration: HistogramVec,
    pub(super) jwks_last_success: GaugeVec,
    pub(super) jwks_keys: IntGaugeVec,
    pub(super) session_refreshes: IntCounterVec,
    pub(super) sessions: IntCounterVec,
    pub(super) upstream_errors: IntCounterVec,
    pub(super) upstream_duration: HistogramVec,
    pub(super) upstream_retries: IntCounterVec,
    pub(super) upstream_connections: IntGaugeVec,
    pub(super) connections: IntGaugeVec,
    pub(super) requests_in_flight: IntGauge,
    pub(super) verified_cache: IntCounterVec,
    pub(super) id_tokens_accepted: IntCounterVec,
    pub(super) panics: IntCounter,
    pub(super) config_reloads: IntCounterVec,
    pub(super) config_last_reload: Gauge,
    pub(super) config_info: IntGaugeVec,
    pub(super) certificate_expiry: GaugeVec,
    pub(super) build_info: IntGaugeVec,
    pub(super) access_dropped: IntCounter,
    pub(super) log_dropped: IntCounter,
    pub(super) spans_dropped: IntCounter,
    /// How things stand: what has left the configuration has no series here.
    states: Vec<Forget>,
    /// What was counted: this outlives its name for a while.
    counts: Vec<Forget>,
}

/// Removes the series of a label's value from one family.
type Forget = Box<dyn Fn(&str, &str) + Send + Sync>;

/// Upper bounds in seconds for what a caller waits for.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds in seconds for what the gateway itself takes: finer, since a good one takes well under a millisecond.
const FINE_SECONDS: [f64; 14] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

impl Families {
    /// Makes and registers them all.
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricFault> {
        let mut add = Adder { registry, states: Vec::new(), counts: Vec::new() };
        Ok(Self {
            requests: add.counters(
                "bearward_requests_total",
                "Requests that ended: the gateway or the upstream answered, or the client left before (none).",
                &["route", "method", "status", "by"],
            )?,
            request_duration: add.histograms(
                "bearward_request_duration_seconds",
                "Time from a request's head to the end of its answer.",
                &SECONDS,
                &["route"],
            )?,
            overhead: add.histograms(
                "bearward_gateway_overhead_seconds",
                "The part of a request's time that was spent in the gateway, not in the upstream.",
                &FINE_SECONDS,
                &["route"],
            )?,
            decisions: add.counters(
                "bearward_decisions_total",
                "Decisions: permitted, anonymous (also what shadow mode lets through), or the code of the refusal; whatever the upstream then did.",
                &["route", "issuer", "outcome"],
            )?,
            shadow_refusals: add.counters(
                "bearward_shadow_refusals_total",
                "Requests that were let through because a policy of theirs is in shadow mode, by the code it would refuse them with.",
                &["route", "code"],
            )?,
            connection_errors: add.counters(
                "bearward_connection_errors_total",
                "Faults of connections, among them those found before there was a request.",
                &["listener", "reason"],
            )?,
            introspections: add.counters(
                "bearward_introspections_total",
                "Questions to an issuer about an opaque token, by how they ended; remembered answers are not counted.",
                &["issuer", "result"],
            )?,
            introspection_duration: add.histograms(
                "bearward_introspection_duration_seconds",
                "Time that an issuer took to answer about an opaque token.",
                &SECONDS,
                &["issuer"],
            )?,
            jwks_fetches: add.counters(
                "bearward_jwks_fetches_total",
                "Fetches of an issuer's key set.",
                &["issuer", "trigger", "result"],
            )?,
            jwks_last_success: add.times(
                "bearward_jwks_last_success_timestamp_seconds",
                "When the issuer's key set was last fetched with success, in seconds since 1970.",
                &["issuer"],
            )?,
            jwks_keys: add.gauges("bearward_jwks_keys", "Usable keys in the issuer's key set.", &["issuer"])?,
            session_refreshes: add.counters(
                "bearward_session_refreshes_total",
                "Requests to an issuer to renew a session's access token, by what came of them.",
                &["session", "result"],
            )?,
            sessions: add.counters(
                "bearward_sessions_total",
                "What happened to browser sessions.",
                &["session", "event"],
            )?,
            upstream_errors: add.counters(
                "bearward_upstream_errors_total",
                "Requests that the upstream did not answer, or not in full.",
                &["upstream", "code"],
            )?,
            upstream_duration: add.histograms(
                "bearward_upstream_duration_seconds",
                "Time from handing a request to the upstream to the end of its answer.",
                &SECONDS,
                &["upstream"],
            )?,
            upstream_retries: add.counters(
                "bearward_upstream_retries_total",
                "Requests that were sent again, or not for want of budget, because a kept connection ended before any answer.",
                &["upstream", "result"],
            )?,
            upstream_connections: add.gauges(
                "bearward_upstream_connections",
                "Open connections to the upstream.",
                &["upstream", "state"],
            )?,
            connections: add.gauges("bearward_connections", "Open connections of clients.", &["listener"])?,
            requests_in_flight: add
                .vec(IntGauge::new("bearward_requests_in_flight", "Requests that are being worked on."))?,
            verified_cache: add.counters(
                "bearward_verified_cache_total",
                "Tokens whose signature had been verified before (hit) or had to be (miss).",
                &["result"],
            )?,
            id_tokens_accepted: add.counters(
                "bearward_id_tokens_accepted_total",
                "Requests that were permitted by an ID token, because the issuer's accept_id_tokens is on.",
                &["route", "issuer"],
            )?,
            panics: add.counter("bearward_panics_total", "Panics that were caught: defects of the gateway.")?,
            config_reloads: add.counters(
                "bearward_config_reloads_total",
                "Reloads of the configuration since the start.",
                &["result"],
            )?,
            config_last_reload: add.vec(Gauge::new(
                "bearward_config_last_reload_successful",
                "Whether the last load of the configuration was good (1) or the one before stays in force (0).",
            ))?,
            config_info: add.gauges(
                "bearward_config_info",
                "The configuration in force, by the hash of its file.",
                &["hash"],
            )?,
            certificate_expiry: add.vec(GaugeVec::new(
                Opts::new(
                    "bearward_certificate_expiry_timestamp_seconds",
                    "When the certificate of that file expires, in seconds since 1970.",
                ),
                &["name"],
            ))?,
            build_info: add.gauges("bearward_build_info", "The version that runs.", &["version"])?,
            access_dropped: add.counter(
                "bearward_access_lines_dropped_total",
                "Access lines that were not written because standard output stalled or was closed.",
            )?,
            log_dropped: add.counter(
                "bearward_log_lines_dropped_total",
                "Log lines that were not written because standard error stalled or was closed.",
            )?,
            spans_dropped: add.counter(
                "bearward_spans_dropped_total",
                "Spans that were not sent because the collector did not take them, or not in time.",
            )?,
            states: add.states,
            counts: add.counts,
        })
    }

    /// Removes what tells how things stand with this name.
    pub(super) fn forget_state(&self, name: &Name) {
        self.states.iter().for_each(|forget| forget(name.label, &name.text));
    }

    /// Removes what was counted under this name.
    pub(super) fn forget_counts(&self, name: &Name) {
        self.counts.iter().for_each(|forget| forget(name.label, &name.text));
    }
}

/// Registers what it makes.
struct Adder<'a> {
    registry: &'a Registry,
    states: Vec<Forget>,
    counts: Vec<Forget>,
}

impl Adder<'_> {
    fn vec<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> Result<C, MetricFault> {
        let made = made?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricFault> {
        self.vec(IntCounter::new(name, help))
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricFault> {
        let family = self.vec(IntCounterVec::new(Opts::new(name, help), labels))?;
        self.counts.push(forget(&family));
        Ok(family)
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricFault> {
        let family = self.vec(IntGaugeVec::new(Opts::new(name, help), labels))?;
        self.states.push(forget(&family));
        Ok(family)
    }

    fn times(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, MetricFault> {
        let family = self.vec(GaugeVec::new(Opts::new(name, help), labels))?;
        self.states.push(forget(&family));
        Ok(family)
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, MetricFault> {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let family = self.vec(HistogramVec::new(options, labels))?;
        self.counts.push(forget(&family));
        Ok(family)
    }
}

fn forget<B: MetricVecBuilder + 'static>(family: &MetricVec<B>) -> Forget {
    let family = family.clone();
    Box::new(move |label, value| remove(&family, |labels| labels.get(label) == Some(&value)))
}

/// Removes the series whose labels are so.
pub(super) fn remove<B: MetricVecBuilder>(family: &MetricVec<B>, which: impl Fn(&HashMap<&str, &str>) -> bool) {
    for metrics in family.collect() {
        for metric in metrics.get_metric() {
            let labels = metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if which(&labels) {
                // It fails only where the series has gone already.
                let _ = family.remove(&labels);
            }
        }
    }
}

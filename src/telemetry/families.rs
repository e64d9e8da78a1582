//! Name, help, labels and buckets of every metric: the one list.

use std::sync::Arc;

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::family::{Family, Measure, Written};
use super::metrics::MetricFault;
use super::names::Name;

/// Every metric.
pub(super) struct Families {
    pub(super) requests: Arc<Family<IntCounter, 4>>,
    pub(super) request_duration: Arc<Family<Histogram, 1>>,
    pub(super) overhead: Arc<Family<Histogram, 1>>,
    pub(super) decisions: Arc<Family<IntCounter, 3>>,
    pub(super) shadow_refusals: Arc<Family<IntCounter, 2>>,
    pub(super) connection_errors: Arc<Family<IntCounter, 2>>,
    pub(super) jwks_fetches: Arc<Family<IntCounter, 3>>,
    pub(super) introspections: Arc<Family<IntCounter, 2>>,
    pub(super) introspection_duration: Arc<Family<Histogram, 1>>,
    pub(super) jwks_last_success: Arc<Family<Gauge, 1>>,
    pub(super) jwks_keys: Arc<Family<IntGauge, 1>>,
    pub(super) session_refreshes: Arc<Family<IntCounter, 2>>,
    pub(super) sessions: Arc<Family<IntCounter, 2>>,
    pub(super) upstream_errors: Arc<Family<IntCounter, 2>>,
    pub(super) upstream_duration: Arc<Family<Histogram, 1>>,
    pub(super) upstream_retries: Arc<Family<IntCounter, 2>>,
    pub(super) upstream_connections: Arc<Family<IntGauge, 2>>,
    pub(super) connections: Arc<Family<IntGauge, 1>>,
    pub(super) requests_in_flight: IntGauge,
    pub(super) verified_cache: Arc<Family<IntCounter, 1>>,
    pub(super) id_tokens_accepted: Arc<Family<IntCounter, 2>>,
    pub(super) panics: IntCounter,
    pub(super) config_reloads: Arc<Family<IntCounter, 1>>,
    pub(super) config_last_reload: Gauge,
    pub(super) config_info: Arc<Family<IntGauge, 1>>,
    pub(super) certificate_expiry: Arc<Family<Gauge, 1>>,
    pub(super) build_info: Arc<Family<IntGauge, 1>>,
    pub(super) access_dropped: IntCounter,
    pub(super) log_dropped: IntCounter,
    pub(super) spans_dropped: IntCounter,
    all: Vec<Arc<dyn Written>>,
}

/// Upper bounds in seconds for what a caller waits for.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds in seconds for what the gateway itself takes: finer, since a good one takes well under a millisecond.
const FINE_SECONDS: [f64; 14] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

impl Families {
    /// Makes them all.
    pub(super) fn new() -> Result<Self, MetricFault> {
        let mut add = Adder(Vec::new());
        Ok(Self {
            requests: add.family(
                "bearward_requests_total",
                "Requests that ended: the gateway or the upstream answered, or the client left before (none).",
                ["route", "method", "status", "by"],
            )?,
            request_duration: add.histograms(
                "bearward_request_duration_seconds",
                "Time from a request's head to the end of its answer.",
                &SECONDS,
                ["route"],
            )?,
            overhead: add.histograms(
                "bearward_gateway_overhead_seconds",
                "The part of a request's time that was spent in the gateway, not in the upstream.",
                &FINE_SECONDS,
                ["route"],
            )?,
            decisions: add.family(
                "bearward_decisions_total",
                "Decisions: permitted, anonymous (also what shadow mode lets through), or the code of the refusal; whatever the upstream then did.",
                ["route", "issuer", "outcome"],
            )?,
            shadow_refusals: add.family(
                "bearward_shadow_refusals_total",
                "Requests that were let through because a policy of theirs is in shadow mode, by the code it would refuse them with.",
                ["route", "code"],
            )?,
            connection_errors: add.family(
                "bearward_connection_errors_total",
                "Faults of connections, among them those found before there was a request.",
                ["listener", "reason"],
            )?,
            introspections: add.family(
                "bearward_introspections_total",
                "Questions to an issuer about an opaque token, by how they ended; remembered answers are not counted.",
                ["issuer", "result"],
            )?,
            introspection_duration: add.histograms(
                "bearward_introspection_duration_seconds",
                "Time that an issuer took to answer about an opaque token.",
                &SECONDS,
                ["issuer"],
            )?,
            jwks_fetches: add.family(
                "bearward_jwks_fetches_total",
                "Fetches of an issuer's key set.",
                ["issuer", "trigger", "result"],
            )?,
            jwks_last_success: add.family(
                "bearward_jwks_last_success_timestamp_seconds",
                "When the issuer's key set was last fetched with success, in seconds since 1970.",
                ["issuer"],
            )?,
            jwks_keys: add.family("bearward_jwks_keys", "Usable keys in the issuer's key set.", ["issuer"])?,
            session_refreshes: add.family(
                "bearward_session_refreshes_total",
                "Requests to an issuer to renew a session's access token, by what came of them.",
                ["session", "result"],
            )?,
            sessions: add.family(
                "bearward_sessions_total",
                "What happened to browser sessions.",
                ["session", "event"],
            )?,
            upstream_errors: add.family(
                "bearward_upstream_errors_total",
                "Requests that the upstream did not answer, or not in full.",
                ["upstream", "code"],
            )?,
            upstream_duration: add.histograms(
                "bearward_upstream_duration_seconds",
                "Time from handing a request to the upstream to the end of its answer.",
                &SECONDS,
                ["upstream"],
            )?,
            upstream_retries: add.family(
                "bearward_upstream_retries_total",
                "Requests that were sent again, or not for want of budget, because a kept connection ended before any answer.",
                ["upstream", "result"],
            )?,
            upstream_connections: add.family(
                "bearward_upstream_connections",
                "Open connections to the upstream.",
                ["upstream", "state"],
            )?,
            connections: add.family("bearward_connections", "Open connections of clients.", ["listener"])?,
            requests_in_flight: add.one("bearward_requests_in_flight", "Requests that are being worked on.")?,
            verified_cache: add.family(
                "bearward_verified_cache_total",
                "Tokens whose signature had been verified before (hit) or had to be (miss).",
                ["result"],
            )?,
            id_tokens_accepted: add.family(
                "bearward_id_tokens_accepted_total",
                "Requests that were permitted by an ID token, because the issuer's accept_id_tokens is on.",
                ["route", "issuer"],
            )?,
            panics: add.one("bearward_panics_total", "Panics that were caught: defects of the gateway.")?,
            config_reloads: add.family(
                "bearward_config_reloads_total",
                "Reloads of the configuration since the start.",
                ["result"],
            )?,
            config_last_reload: add.one(
                "bearward_config_last_reload_successful",
                "Whether the last load of the configuration was good (1) or the one before stays in force (0).",
            )?,
            config_info: add.family(
                "bearward_config_info",
                "The configuration in force, by the hash of its file.",
                ["hash"],
            )?,
            certificate_expiry: add.family(
                "bearward_certificate_expiry_timestamp_seconds",
                    "When the certificate of that file expires, in seconds since 1970.",
                ["name"],
            )?,
            build_info: add.family("bearward_build_info", "The version that runs.", ["version"])?,
            access_dropped: add.one(
                "bearward_access_lines_dropped_total",
                "Access lines that were not written because standard output stalled or was closed.",
            )?,
            log_dropped: add.one(
                "bearward_log_lines_dropped_total",
                "Log lines that were not written because standard error stalled or was closed.",
            )?,
            spans_dropped: add.one(
                "bearward_spans_dropped_total",
                "Spans that were not sent because the collector did not take them, or not in time.",
            )?,
            all: add.0,
        })
    }

    /// Writes every line.
    pub(super) fn write(&self, text: &mut String) {
        self.all.iter().for_each(|family| family.write(text));
    }

    /// Removes what tells how things stand with this name.
    pub(super) fn forget_state(&self, name: &Name) {
        self.forget(true, name);
    }

    /// Removes what was counted under this name.
    pub(super) fn forget_counts(&self, name: &Name) {
        self.forget(false, name);
    }

    fn forget(&self, state: bool, name: &Name) {
        let concerned = self.all.iter().filter(|family| family.is_state() == state);
        concerned.for_each(|family| family.forget(name.label, &name.text));
    }
}

/// Makes metrics, and notes them all.
struct Adder(Vec<Arc<dyn Written>>);

impl Adder {
    fn family<M: Measure + 'static, const LABELS: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; LABELS],
    ) -> Result<Arc<Family<M, LABELS>>, MetricFault> {
        self.made(name, help, &[], labels)
    }

    fn histograms<const LABELS: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: [&'static str; LABELS],
    ) -> Result<Arc<Family<Histogram, LABELS>>, MetricFault> {
        self.made(name, help, bounds, labels)
    }

    fn made<M: Measure + 'static, const LABELS: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: [&'static str; LABELS],
    ) -> Result<Arc<Family<M, LABELS>>, MetricFault> {
        let family = Arc::new(Family::new(name, help, bounds, labels)?);
        self.0.push(Arc::clone(&family) as Arc<dyn Written>);
        Ok(family)
    }

    /// The one series of a metric without labels.
    fn one<M: Measure + 'static>(&mut self, name: &'static str, help: &'static str) -> Result<M, MetricFault> {
        Ok(self.family(name, help, [])?.series([]))
    }
}

//! Where the requests of one configuration are recorded: under the names that it gives, and in the lines that it wants.
//!
//! Routes, issuers and upstreams are told by their place in the configuration. Recording a request takes atomics only,
//! once its series exist; a route that is never called costs 16 bytes. Two configurations that give one name count in
//! one series.

use std::sync::{Arc, OnceLock};

use prometheus::{Histogram, IntCounter, IntGauge};

use super::access::Settings;
use super::families::Families;
use super::labels::{ConnectionState, Decision, Labels, METHODS, NONE, RetryResult, method_index, status_label};
use super::metrics::Held;
use super::names::Name;
use super::series::Chain;
use super::{Answer, Outcome, Telemetry};
use crate::policy::reject::Code;

/// The records of one configuration. The newest one is that in force.
pub struct Ledger {
    telemetry: Arc<Telemetry>,
    lines: Settings,
    /// All that follow.
    names: Vec<Name>,
    route_names: Vec<String>,
    issuer_names: Vec<String>,
    upstream_names: Vec<String>,
    /// One place per route, and a last one for requests without a route.
    routes: Box<[OnceLock<Box<RouteSeries>>]>,
    upstreams: Box<[UpstreamSeries]>,
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
    counts: UpstreamCounts,
}

/// What is counted of one upstream beside requests. Clones are of the same counts.
#[derive(Debug, Clone)]
pub struct UpstreamCounts {
    idle: IntGauge,
    active: IntGauge,
    /// By [`RetryResult`].
    retries: Arc<[IntCounter]>,
}

impl UpstreamCounts {
    /// Counts a connection for as long as it is in that state.
    pub fn connection(&self, state: ConnectionState) -> Held {
        Held::new(match state {
            ConnectionState::Idle => &self.idle,
            ConnectionState::Active => &self.active,
        })
    }

    /// Counts a request that was repeated, or would have been.
    pub fn retried(&self, result: RetryResult) {
        if let Some(counter) = self.retries.get(result as usize) {
            counter.inc();
        }
    }
}

impl Ledger {
    /// Begins to record under these names, which are the configuration's from now on.
    pub fn open(telemetry: &Arc<Telemetry>, labels: &Labels<'_>, lines: Settings) -> Self {
        let names = names(labels);
        // Before any series is made: what is in force is not forgotten.
        telemetry.metrics.names_enter(&names);
        let families = &telemetry.metrics.families;
        // What an alert asks about is there from the start, at zero.
        for name in labels.issuers {
            families.jwks_keys.series([name]);
        }
        Self {
            telemetry: Arc::clone(telemetry),
            lines,
            names,
            route_names: owned(labels.routes),
            issuer_names: owned(labels.issuers),
            upstream_names: owned(labels.upstreams),
            routes: (0..=labels.routes.len()).map(|_| OnceLock::new()).collect(),
            upstreams: labels.upstreams.iter().map(|name| UpstreamSeries::new(families, name)).collect(),
        }
    }

    /// The process's telemetry.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// The name of a route.
    pub(super) fn route_name(&self, route: Option<usize>) -> Option<&str> {
        name(&self.route_names, route)
    }

    /// The name of an issuer.
    pub(super) fn issuer_name(&self, issuer: Option<usize>) -> Option<&str> {
        name(&self.issuer_names, issuer)
    }

    /// The name of an upstream.
    pub(super) fn upstream_name(&self, upstream: usize) -> Option<&str> {
        name(&self.upstream_names, Some(upstream))
    }

    /// Counts a finished request and writes its line, where it is wanted.
    pub(super) fn record(&self, outcome: &Outcome) {
        // In this order: what is counted has its line.
        if let Some(access) = &self.telemetry.access {
            access.record(outcome, self.lines, self);
        }
        self.count(outcome);
    }

    fn count(&self, outcome: &Outcome) {
        let route = self.route(outcome.route);
        let name = self.route_name(outcome.route).unwrap_or(NONE);
        self.request_series(route, name, outcome).inc();
        if let Some(decision) = outcome.decision {
            self.decision_series(route, name, outcome.issuer, decision).inc();
        }

        let in_upstream = outcome.visit.and_then(|visit| visit.time).unwrap_or_default();
        route.duration.observe(outcome.duration.as_secs_f64());
        route.overhead.observe(outcome.duration.saturating_sub(in_upstream).as_secs_f64());

        if let Some(visit) = outcome.visit
            && let Some(upstream) = self.upstreams.get(visit.upstream)
        {
            if let Some(time) = visit.time {
                upstream.duration.observe(time.as_secs_f64());
            }
            if let Some(
                code @ (Code::UpstreamUnreachable | Code::UpstreamMalformed | Code::UpstreamTimeout | Code::Overloaded),
            ) = outcome.failure
            {
                let labels = [&*self.upstream_names[visit.upstream], code.facts().name];
                upstream.errors.series(code as u16, || self.families().upstream_errors.series(labels)).inc();
            }
        }
    }

    fn request_series<'a>(&self, route: &'a RouteSeries, name: &str, outcome: &Outcome) -> &'a IntCounter {
        let method = method_index(&outcome.method);
        let (key, status, by) = match outcome.answer {
            // Statuses are below 1000, so that one more digit tells who answered.
            Some(Answer { status, by }) => {
                let (number, status) = status_label(status);
                (number * 10 + by as u16, status, by.label())
            }
            None => (u16::MAX, NONE, NONE),
        };
        route.requests[method].series(key, || {
            let labels = [name, METHODS[method], status, by];
            self.families().requests.series(labels)
        })
    }

    fn decision_series<'a>(
        &self,
        route: &'a RouteSeries,
        name: &str,
        issuer: Option<usize>,
        decision: Decision,
    ) -> &'a IntCounter {
        let none = self.issuer_names.len();
        let place = issuer.filter(|issuer| *issuer < none).unwrap_or(none);
        route.decisions[place].series(decision.key(), || {
            let issuer = self.issuer_name(issuer).unwrap_or(NONE);
            self.families().decisions.series([name, issuer, decision.label()])
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
                duration: self.families().request_duration.series([name]),
                overhead: self.families().overhead.series([name]),
            })
        })
    }

    /// What is counted of an upstream beside requests.
    pub fn upstream(&self, upstream: usize) -> Option<&UpstreamCounts> {
        self.upstreams.get(upstream).map(|upstream| &upstream.counts)
    }

    /// Counts a request that was permitted by an ID token, where the issuer's `accept_id_tokens` lets it.
    pub fn id_token_accepted(&self, route: Option<usize>, issuer: Option<usize>) {
        let (route, issuer) = (self.route_name(route).unwrap_or(NONE), self.issuer_name(issuer).unwrap_or(NONE));
        self.families().id_tokens_accepted.series([route, issuer]).inc();
    }

    /// Counts a request that was let through in shadow mode, and would else have been refused with this code.
    pub fn shadow_refused(&self, route: Option<usize>, code: Code) {
        let name = self.route_name(route).unwrap_or(NONE);
        let made = || self.families().shadow_refusals.series([name, code.facts().name]);
        self.route(route).shadow_refusals.series(code as u16, made).inc();
    }

    fn families(&self) -> &Families {
        &self.telemetry.metrics.families
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.telemetry.metrics.names_leave(&self.names);
    }
}

impl UpstreamSeries {
    fn new(families: &Families, name: &str) -> Self {
        let state = |state: ConnectionState| families.upstream_connections.series([name, state.label()]);
        let retries = |result: &RetryResult| families.upstream_retries.series([name, result.label()]);
        Self {
            duration: families.upstream_duration.series([name]),
            errors: Chain::new(),
            counts: UpstreamCounts {
                idle: state(ConnectionState::Idle),
                active: state(ConnectionState::Active),
                retries: RetryResult::ALL.iter().map(retries).collect(),
            },
        }
    }
}

fn names(labels: &Labels<'_>) -> Vec<Name> {
    let routes = labels.routes.iter().map(|name| Name::route(name));
    let issuers = labels.issuers.iter().map(|name| Name::issuer(name));
    let upstreams = labels.upstreams.iter().map(|name| Name::upstream(name));
    let sessions = labels.sessions.iter().map(|name| Name::session(name));
    routes.chain(issuers).chain(upstreams).chain(sessions).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn name(names: &[String], index: Option<usize>) -> Option<&str> {
    names.get(index?).map(String::as_str)
}

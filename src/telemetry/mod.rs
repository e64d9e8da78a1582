//! One record per finished request, turned into the access line and the metrics.
//!
//! [`Outcome`] is that record; [`Outcome::record`] is called once, when the answer's body has ended or was given up, or when
//! the client has left before there was an answer, and enters it into the [`Ledger`] of the configuration that the request
//! was decided under.
//! What is told of connections, key sets and the configuration goes to [`metrics::Metrics`]; everything that is written
//! for people goes through `tracing`, set up by [`log`].
//!
//! Nothing here holds a token or an unverified claim: a record names routes, issuers and upstreams by their place in the
//! configuration, and of the request it has the method, the path and the client's address.

pub mod access;
mod families;
mod family;
pub mod labels;
pub mod ledger;
mod lines;
pub mod log;
pub mod metrics;
mod names;
mod series;
pub mod spans;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode, Uri};

use self::access::AccessLog;
use self::labels::{By, Decision};
use self::ledger::Ledger;
use self::log::Log;
use self::metrics::Metrics;
use crate::policy::reject::Code;

/// What the process tells of itself, whichever configuration is in force.
pub struct Telemetry {
    /// The process's metrics.
    pub metrics: Metrics,
    /// The access lines; none where they are not wanted, as in tests.
    pub access: Option<AccessLog>,
    /// Everything else that is written; none where the process has no log of its own, as in tests.
    pub log: Option<Log>,
}

impl Telemetry {
    /// Writes what is for people to standard error, where this process writes to it at all.
    pub fn report(&self, text: &str) {
        if let Some(log) = &self.log
            && !text.is_empty()
        {
            log.report(text);
        }
    }

    /// Waits until every line so far is written, unless the pipe stalls. Blocks its thread: for the end of the process,
    /// once nothing is served any more.
    pub fn flush(&self) {
        if let Some(access) = &self.access {
            access.flush(log::LAST_WORDS);
        }
        if let Some(log) = &self.log {
            log.flush();
        }
    }
}

/// A finished request.
///
/// Cheap to make: the parts of the request are shared, not copied. No `Debug`: the target's query may hold a token.
#[derive(Clone)]
pub struct Outcome {
    /// When the request's head was complete.
    pub at: SystemTime,
    /// The request's method.
    pub method: Method,
    /// The request's target; only its path is told.
    pub uri: Uri,
    /// The route's place in the configuration; none where no route was found.
    pub route: Option<usize>,
    /// The head of the answer; none where the client left before, or the gateway stopped.
    pub answer: Option<Answer>,
    /// What was decided; none where the client left before.
    pub decision: Option<Decision>,
    /// What went wrong after the decision: the upstream, the body, a defect of ours. None after a refusal.
    pub failure: Option<Code>,
    /// The place of the token's issuer in the configuration, once the token's `iss` was found there.
    pub issuer: Option<usize>,
    /// Whether that issuer's signature was verified; the access line names no other.
    pub verified: bool,
    /// The client, as far as trusted proxies tell.
    pub client: IpAddr,
    /// From the head to the end of the answer.
    pub duration: Duration,
    /// The call of the upstream, where there was one.
    pub visit: Option<Visit>,
    /// The value of `x-request-id`.
    pub request_id: HeaderValue,
    /// The trace id of a well-formed `traceparent` (W3C Trace Context section 3.2.2.3).
    pub trace_id: Option<u128>,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status that was sent: 200 where a gRPC request was refused.
    pub status: StatusCode,
    /// Who made it.
    pub by: By,
}

/// The call of an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    /// The upstream's place in the configuration.
    pub upstream: usize,
    /// From handing over the request to the end of the answer, or to the failure; none where it got no place there.
    pub time: Option<Duration>,
}

impl Outcome {
    /// Feeds the metrics and, where it is wanted, the access line.
    pub fn record(&self, ledger: &Ledger) {
        ledger.record(self);
    }

    /// The code that tells what went wrong, at the decision or after it; in shadow mode, what is let through.
    pub fn code(&self) -> Option<Code> {
        match self.decision {
            Some(Decision::Refused(code)) => Some(code),
            Some(Decision::Shadowed(code)) => self.failure.or(Some(code)),
            Some(Decision::Permitted | Decision::Anonymous) | None => self.failure,
        }
    }
}

#[cfg(test)]
mod tests;

//! Spans: what a trace is told of a finished request, of the calls of an issuer that it needed, and of a fetch of keys.
//!
//! They are made at the end, of the same records as metrics and access lines, and only where the trace is recorded: a
//! request of any other trace costs one comparison. Who adds a span never waits: the queue is bounded, and what does not fit
//! is dropped and counted. `remote::collector` takes them from the queue and sends them.
//!
//! As in the access line, nothing in a span is unverified, and none holds a query or a token.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Outcome;
use super::labels::{FetchResult, FetchTrigger, IntrospectionResult, RefreshResult};
use super::ledger::Ledger;
use super::metrics::Dropped;
use crate::policy::trace::{Called, Recorded};

/// Which side of a call a span tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that was made to us.
    Server,
    /// A call that we made.
    Client,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// A finished piece of work (OpenTelemetry's trace data model). Names of attributes are its semantic conventions' where these
/// have one.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace it is of.
    pub trace: u128,
    /// Its own id.
    pub id: u64,
    /// The id of the span it is a part of; none for a root.
    pub parent: Option<u64>,
    /// Which side of a call it tells of.
    pub kind: Kind,
    /// What was done; one of few.
    pub name: String,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed, other than by a fault of the caller.
    pub failed: bool,
}

/// What waits in the queue.
pub enum Entry {
    /// A span to send.
    Span(Box<Span>),
    /// Answered when everything before it was sent or given up.
    Flush(SyncSender<()>),
}

/// The entrance of the queue.
#[derive(Clone)]
pub struct Spans {
    queue: Sender<Entry>,
    dropped: Dropped,
}

/// The span to be of a call of an issuer that is made for a request whose trace is recorded. Of several requests that wait for
/// one call it is a part of the one that began it.
#[derive(Clone)]
pub struct CallSpan {
    spans: Spans,
    ids: Called,
}

impl CallSpan {
    /// That of another call for the same request.
    #[must_use]
    pub fn another(&self, random: [u8; 8]) -> Self {
        Self { spans: self.spans.clone(), ids: self.ids.another(random) }
    }

    /// The value of the call's `traceparent`: what the issuer does is a part of the trace, too.
    pub fn traceparent(&self) -> HeaderValue {
        self.ids.traceparent()
    }

    /// Tells of a question about an opaque token to the issuer of that name.
    pub fn introspected(self, issuer: &str, result: IntrospectionResult, ended: SystemTime, took: Duration) {
        let answered = [IntrospectionResult::Active, IntrospectionResult::Inactive].contains(&result);
        let attributes = vec![text("bearward.issuer", issuer), text("bearward.result", result.label())];
        self.ended("introspect token", attributes, (!answered).then(|| result.label()), (ended, took));
    }

    /// Tells of a request to renew the access token of a session of that name.
    pub fn refreshed(self, session: &str, result: RefreshResult, ended: SystemTime, took: Duration) {
        let attributes = vec![text("bearward.session", session)];
        let failed = result != RefreshResult::Success;
        self.ended("refresh session", attributes, failed.then(|| result.label()), (ended, took));
    }

    fn ended(
        self,
        name: &str,
        mut attributes: Vec<(&'static str, Value)>,
        error: Option<&str>,
        (ended, took): (SystemTime, Duration),
    ) {
        attributes.extend(error.map(|error| text("error.type", error)));
        self.spans.add(Span {
            trace: self.ids.trace,
            id: self.ids.own,
            parent: Some(self.ids.parent),
            kind: Kind::Client,
            name: name.to_owned(),
            start: ended.checked_sub(took).unwrap_or(ended),
            took,
            attributes,
            failed: error.is_some(),
        });
    }
}

/// How many spans may wait.
const MAX_SPANS: usize = 4096;

impl Spans {
    /// The queue's two ends. What does not fit is added to `dropped`.
    pub fn queue(dropped: Dropped) -> (Self, Receiver<Entry>) {
        let (queue, entries) = channel(MAX_SPANS);
        (Self { queue, dropped }, entries)
    }

    /// Tells of a finished request, and of the call of its upstream.
    pub fn request(&self, outcome: &Outcome, recorded: Recorded, ledger: &Ledger) {
        self.add(served(outcome, recorded, ledger));
        if let Some(visit) = outcome.visit
            && let Some(took) = visit.time
        {
            let mut attributes = vec![text("http.request.method", outcome.method.as_str())];
            attributes.extend(ledger.upstream_name(visit.upstream).map(|name| text("bearward.upstream", name)));
            attributes.extend(outcome.failure.map(|code| text("error.type", code.facts().name)));
            self.add(Span {
                trace: recorded.trace,
                id: recorded.onward,
                parent: Some(recorded.own),
                kind: Kind::Client,
                name: format!("upstream {}", outcome.method),
                start: outcome.at + outcome.duration.saturating_sub(took),
                took,
                attributes,
                failed: outcome.failure.is_some(),
            });
        }
    }

    /// Tells of a fetch of an issuer's keys, which is a trace of its own: it is for all who wait. `random` makes its ids.
    pub fn keys_fetched(
        &self,
        issuer: &str,
        trigger: FetchTrigger,
        result: FetchResult,
        ended: SystemTime,
        took: Duration,
        random: [u8; 32],
    ) {
        let ids = Recorded::root(random);
        let failed = result != FetchResult::Success;
        let mut attributes = vec![text("bearward.issuer", issuer), text("bearward.trigger", trigger.label())];
        attributes.extend(failed.then(|| text("error.type", result.label())));
        self.add(Span {
            trace: ids.trace,
            id: ids.own,
            parent: None,
            kind: Kind::Client,
            name: "fetch keys".to_owned(),
            start: ended.checked_sub(took).unwrap_or(ended),
            took,
            attributes,
            failed,
        });
    }

    /// The span to be of a call that is made for the request of these ids.
    pub fn call(&self, request: Recorded, random: [u8; 8]) -> CallSpan {
        CallSpan { spans: self.clone(), ids: Called::within(request, random) }
    }

    /// Waits until what was added before is sent, at most `limit`. Blocks its thread: for the end of the process.
    pub fn flush(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            // Past the limit the collector is too slow: the process must end all the same.
            let _ = wait.recv_timeout(limit);
        }
    }

    fn add(&self, span: Span) {
        if self.queue.try_send(Entry::Span(Box::new(span))).is_err() {
            self.dropped.add(1);
        }
    }
}

/// The span of a request as it came to us.
fn served(outcome: &Outcome, recorded: Recorded, ledger: &Ledger) -> Span {
    let route = ledger.route_name(outcome.route);
    let method = outcome.method.as_str();
    let status = outcome.answer.map(|answer| answer.status);
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.path", outcome.uri.path()),
        text("client.address", &outcome.client.to_string()),
        text("bearward.request_id", &String::from_utf8_lossy(outcome.request_id.as_bytes())),
    ];
    attributes.extend(status.map(|status| ("http.response.status_code", Value::Number(status.as_u16().into()))));
    attributes.extend(outcome.decision.map(|decision| text("bearward.outcome", decision.word())));
    attributes.extend(route.map(|name| text("http.route", name)));
    attributes.extend(
        ledger.issuer_name(outcome.issuer.filter(|_| outcome.verified)).map(|name| text("bearward.issuer", name)),
    );
    attributes.extend(outcome.code().map(|code| text("bearward.code", code.facts().name)));
    Span {
        trace: recorded.trace,
        id: recorded.own,
        parent: recorded.parent,
        kind: Kind::Server,
        name: route.map_or_else(|| method.to_owned(), |name| format!("{method} {name}")),
        start: outcome.at,
        took: outcome.duration,
        attributes,
        failed: status.is_some_and(|status| status.is_server_error()) || outcome.failure.is_some(),
    }
}

fn text(name: &'static str, value: &str) -> (&'static str, Value) {
    (name, Value::Text(value.to_owned()))
}

//! The collector of traces: spans go to it as OTLP over HTTP, in protobuf.
//!
//! 1. Spans are gathered for a moment and sent together; one request at a time is under way.
//! 2. What the collector does not take is lost, counted and told once: a collector that is down costs spans, nothing else.
//! 3. Nothing is sent twice: a collector that took too long may have stored it.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::clock::Clock;
use super::http::{Client, PlainHttp};
use crate::telemetry::metrics::Dropped;
use crate::telemetry::spans::{Entry, Kind, Span, Spans, Value};

/// How long the first span of a request waits for others.
const GATHERING: Duration = Duration::from_secs(1);
/// How many spans one request has.
const TOGETHER: usize = 512;
/// How long the collector may take for one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts sending to the collector at `base` (its `/v1/traces`) on the runtime of `control`. It ends with the last of what is
/// returned.
pub fn start(base: &Url, client: Client, clock: Clock, control: &Handle, dropped: Dropped) -> Spans {
    let (spans, entries) = Spans::queue(dropped.clone());
    let mut url = base.clone();
    url.set_path(&format!("{}/v1/traces", base.path().trim_end_matches('/')));
    let sending = Sending { url, client, clock, dropped, failing: false };
    control.spawn(sending.run(entries));
    spans
}

struct Sending {
    url: Url,
    client: Client,
    clock: Clock,
    dropped: Dropped,
    /// Whether the last request failed, which the operator knows then.
    failing: bool,
}

impl Sending {
    async fn run(mut self, mut entries: Receiver<Entry>) {
        while let Some(first) = entries.recv().await {
            let (spans, flush) = gather(first, &mut entries).await;
            if !spans.is_empty() {
                self.send(spans).await;
            }
            if let Some(done) = flush {
                // Who waited may have given up.
                let _ = done.try_send(());
            }
        }
    }

    async fn send(&mut self, spans: Vec<otlp::Span>) {
        let count = spans.len();
        let body = request(spans).encode_to_vec();
        let deadline = self.clock.now().after(PATIENCE);
        let sent = self.client.deliver(&self.url, PlainHttp::Anywhere, "application/x-protobuf", body, deadline).await;
        let why = match sent {
            Ok(status) if status.is_success() => None,
            Ok(status) => Some(format!("it answers with {status}")),
            Err(error) => Some(error.to_string()),
        };
        self.dropped.add(if why.is_some() { count as u64 } else { 0 });
        match (&why, self.failing) {
            (Some(why), false) => tracing::warn!(
                collector = %self.url, cause = %why,
                help = "see that `telemetry.otlp` is the collector's address for OTLP over HTTP, usually port 4318",
                "spans are lost"
            ),
            (None, true) => tracing::info!(collector = %self.url, "spans are taken again"),
            (Some(_), true) | (None, false) => {}
        }
        self.failing = why.is_some();
    }
}

/// The first span and what comes soon after it, and who waits for these to be sent.
async fn gather(
    first: Entry,
    entries: &mut Receiver<Entry>,
) -> (Vec<otlp::Span>, Option<std::sync::mpsc::SyncSender<()>>) {
    let mut spans = Vec::new();
    let until = Instant::now() + GATHERING;
    let mut next = Some(first);
    while let Some(entry) = next {
        match entry {
            Entry::Span(span) => spans.push(encoded(*span)),
            Entry::Flush(done) => return (spans, Some(done)),
        }
        next = if spans.len() < TOGETHER { timeout_at(until, entries.recv()).await.ok().flatten() } else { None };
    }
    (spans, None)
}

fn request(spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
    let version = env!("CARGO_PKG_VERSION");
    let resource = Resource {
        attributes: vec![
            attribute("service.name", Value::Text("bearward".to_owned())),
            attribute("service.version", Value::Text(version.to_owned())),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope { name: "bearward".to_owned(), version: version.to_owned(), ..Default::default() };
    let spans = otlp::ScopeSpans { scope: Some(scope), spans, ..Default::default() };
    let spans = otlp::ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

fn encoded(span: Span) -> otlp::Span {
    let since = span.start.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let kind = match span.kind {
        Kind::Server => otlp::span::SpanKind::Server,
        Kind::Client => otlp::span::SpanKind::Client,
    };
    let code = if span.failed { otlp::status::StatusCode::Error } else { otlp::status::StatusCode::Unset };
    otlp::Span {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: nanos(since),
        end_time_unix_nano: nanos(since + span.took),
        attributes: span.attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        status: Some(otlp::Status { code: code.into(), ..Default::default() }),
        ..Default::default()
    }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::StringValue(text),
        Value::Number(number) => Any::IntValue(number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

//! A collector of traces on loopback: takes OTLP in protobuf over a real socket, and keeps what it got.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use serde_json::{Value, json};

use super::upstream::Upstream;

/// The `traceparent` of a caller that records its trace.
pub const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The collector.
pub struct Collector {
    /// What it is asked over HTTP.
    pub http: Upstream,
    /// How many requests were looked at.
    taken: usize,
}

impl Collector {
    pub async fn start() -> Self {
        Self { http: Upstream::start().await, taken: 0 }
    }

    /// The section that has spans sent to it, and this share of new traces recorded.
    pub fn section(&self, sample: f64) -> String {
        format!("[telemetry]\notlp = \"{}\"\nsample = {sample:?}\n", self.http.url())
    }

    /// The next spans that it gets, by their names: as many as these names are. Fetches of keys, which moved time brings about,
    /// count only where they are named.
    pub async fn spans(&mut self, names: &[&str]) -> BTreeMap<String, Span> {
        let mut spans = BTreeMap::new();
        while spans.len() < names.len() {
            let request = self.http.request(self.taken).await;
            self.taken += 1;
            assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
            assert_eq!(request.all("content-type"), ["application/x-protobuf"]);
            let wanted = |span: &Span| span.name != "fetch keys" || names.contains(&"fetch keys");
            let export = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
            for resource in export.resource_spans {
                assert_eq!(said(&resource.resource.unwrap().attributes)["service.name"], "bearward");
                let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans).filter(wanted);
                spans.extend(all.map(|span| (span.name.clone(), span)));
            }
        }
        assert_eq!(spans.keys().map(String::as_str).collect::<Vec<_>>(), names);
        spans
    }
}

/// What a span says.
pub fn attributes(span: &Span) -> BTreeMap<String, Value> {
    said(&span.attributes)
}

fn said(list: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |value: &Any| {
        if let Any::StringValue(text) = value {
            json!(text)
        } else if let Any::IntValue(number) = value {
            json!(number)
        } else {
            panic!("{value:?}")
        }
    };
    let pair = |pair: &KeyValue| (pair.key.clone(), value(pair.value.as_ref().unwrap().value.as_ref().unwrap()));
    list.iter().map(pair).collect()
}

/// Digits of an id.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The `traceparent` of a call that this span tells of.
pub fn traceparent(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

pub fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

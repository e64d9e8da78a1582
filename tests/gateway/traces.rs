//! Spans as a collector gets them: OTLP in protobuf over a real socket.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::upstream::{Reply, Upstream};
use crate::harness::world::World;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The usual world with a collector, and the share of new traces that is recorded.
async fn world(sample: f64) -> (World, Upstream) {
    let collector = Upstream::start().await;
    let telemetry = format!("[telemetry]\notlp = \"{}\"\nsample = {sample:?}\n", collector.url());
    (World::configured("", &telemetry).await, collector)
}

/// The next spans that the collector gets, by their names: as many as these names are.
async fn spans(collector: &Upstream, taken: &mut usize, names: &[&str]) -> BTreeMap<String, Span> {
    let mut spans = BTreeMap::new();
    while spans.len() < names.len() {
        let request = collector.request(*taken).await;
        *taken += 1;
        assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(request.all("content-type"), ["application/x-protobuf"]);
        let export = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
        for resource in export.resource_spans {
            let attributes = attributes(&resource.resource.unwrap().attributes);
            assert_eq!(attributes["service.name"], "bearward");
            let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(all.map(|span| (span.name.clone(), span)));
        }
    }
    assert_eq!(spans.keys().map(String::as_str).collect::<Vec<_>>(), names);
    spans
}

fn attributes(list: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> BTreeMap<String, Value> {
    let value = |value: &Any| {
        if let Any::StringValue(text) = value {
            json!(text)
        } else if let Any::IntValue(number) = value {
            json!(number)
        } else {
            panic!("{value:?}")
        }
    };
    let pair = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (pair.key.clone(), value(pair.value.as_ref().unwrap().value.as_ref().unwrap()))
    };
    list.iter().map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

#[tokio::test]
async fn a_request_and_its_call_of_the_upstream_are_spans_of_one_trace() {
    let (world, collector) = world(1.0).await;
    let token = world.token();
    assert_eq!(world.get(&token).await.status, 200);
    let mut spans = spans(&collector, &mut 0, &["GET usual", "fetch keys", "upstream GET"]).await;

    let served = spans.remove("GET usual").unwrap();
    assert_eq!((served.kind, served.parent_span_id.len(), failed(&served)), (SpanKind::Server as i32, 0, false));
    let mut said = attributes(&served.attributes);
    assert!(said.remove("bearward.request_id").is_some_and(|id| id.as_str().unwrap().len() == 32));
    let expected = json!({
        "http.request.method": "GET",
        "url.path": "/orders",
        "http.route": "usual",
        "http.response.status_code": 200,
        "client.address": "127.0.0.1",
        "bearward.outcome": "permitted",
        "bearward.issuer": "main",
    });
    assert_eq!(json!(said), expected);

    let called = spans.remove("upstream GET").unwrap();
    assert_eq!((called.kind, failed(&called)), (SpanKind::Client as i32, false));
    assert_eq!((&called.trace_id, &called.parent_span_id), (&served.trace_id, &served.span_id));
    assert_eq!(
        json!(attributes(&called.attributes)),
        json!({ "http.request.method": "GET", "bearward.upstream": "api" })
    );
    assert!(served.start_time_unix_nano <= called.start_time_unix_nano);
    assert!(called.end_time_unix_nano <= served.end_time_unix_nano + 1);

    // The upstream's own span becomes a child of the call, and the access line names the trace.
    let trace = hex(&served.trace_id);
    let onward = world.upstream.request(0).await;
    assert_eq!(onward.all("traceparent"), [format!("00-{trace}-{}-01", hex(&called.span_id))]);
    let line: Value = serde_json::from_str(&world.gateway.access_lines()[0]).unwrap();
    assert_eq!(line["trace_id"], trace);

    let fetched = spans.remove("fetch keys").unwrap();
    assert_ne!(fetched.trace_id, served.trace_id, "it is for all who wait");
    assert_eq!((fetched.kind, fetched.parent_span_id.len()), (SpanKind::Client as i32, 0));
    assert_eq!(
        json!(attributes(&fetched.attributes)),
        json!({ "bearward.issuer": "main", "bearward.trigger": "start" })
    );

    let sent = collector.request(0).await.body;
    let signature = token.rsplit('.').next().unwrap().as_bytes();
    assert!(!sent.windows(signature.len()).any(|window| window == signature), "no span holds a token");
}

#[tokio::test]
async fn a_caller_decides_whether_its_trace_is_recorded() {
    let (world, collector) = world(0.0).await;
    let authorization = format!("Bearer {}", world.token());
    let ask = |parent: String| {
        let headers = [("Authorization", authorization.clone()), ("traceparent", parent)];
        let world = &world;
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(world.ask("GET", "/orders", &headers).await.status, 200);
        }
    };
    // Neither one that its caller does not record, nor a new one at this share.
    let unrecorded = PARENT.replace("-01", "-00");
    ask(unrecorded.clone()).await;
    ask("none".to_owned()).await;
    ask(PARENT.to_owned()).await;
    let spans = spans(&collector, &mut 0, &["GET usual", "fetch keys", "upstream GET"]).await;
    let served = &spans["GET usual"];
    assert_eq!(hex(&served.trace_id), &PARENT[3..35]);
    assert_eq!(hex(&served.parent_span_id), &PARENT[36..52]);
    assert_eq!(world.upstream.request(0).await.all("traceparent"), [unrecorded]);
    let called = hex(&spans["upstream GET"].span_id);
    assert_eq!(world.upstream.request(2).await.all("traceparent"), [format!("{}-{called}-01", &PARENT[..35])]);
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart() {
    let (world, collector) = world(1.0).await;
    let mut taken = 0;
    world.upstream.reply(Reply::Close(Vec::new()));
    assert_eq!(world.get(&world.token()).await.status, 502);
    let failed_spans = spans(&collector, &mut taken, &["GET usual", "fetch keys", "upstream GET"]).await;
    let (served, called) = (&failed_spans["GET usual"], &failed_spans["upstream GET"]);
    assert!(failed(served) && failed(called));
    assert_eq!(attributes(&served.attributes)["bearward.code"], "upstream_unreachable");
    assert_eq!(attributes(&called.attributes)["error.type"], "upstream_unreachable");

    let expired = world.token_but(&json!({ "exp": world.now() - 3600 }));
    assert_eq!(world.get(&expired).await.status, 401);
    let refused = spans(&collector, &mut taken, &["GET usual"]).await.remove("GET usual").unwrap();
    assert!(!failed(&refused), "a fault of the caller");
    let said = attributes(&refused.attributes);
    assert_eq!((&said["bearward.outcome"], &said["bearward.code"]), (&json!("refused"), &json!("token_expired")));
    assert!(!said.contains_key("bearward.issuer"), "nothing unverified is told");
}

#[tokio::test]
async fn a_collector_that_does_not_take_spans_costs_spans_only() {
    let (world, collector) = world(1.0).await;
    collector.reply(Reply::Bytes(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec()));
    world.passes().await;
    collector.request(0).await;
    // The fetch of keys, the request and its call, in one piece or in two.
    let dropped = async {
        while world.gateway.sample("bearward_spans_dropped_total").unwrap() < 1.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), dropped).await.unwrap();
    world.passes().await;
    collector.request(1).await;
}

#[tokio::test]
#[ignore = "needs a collector: tests/run --long"]
async fn a_real_collector_takes_the_spans() {
    let address = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let (config, log) = (directory.path().join("collector.yaml"), directory.path().join("log"));
    let text = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: \"{address}\" }} }} }} }}\n\
         exporters: {{ debug: {{ verbosity: detailed }} }}\n\
         service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines: {{ traces: {{ receivers: [otlp], exporters: [debug] }} }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut collector =
        std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/kubernetes/bin/otelcol"))
            .arg("--config")
            .arg(&config)
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
    let told = || std::fs::read_to_string(&log).unwrap();
    until(|| told().contains("Everything is ready")).await;
    let world = World::configured("", &format!("[telemetry]\notlp = \"http://{address}\"\nsample = 1.0\n")).await;
    assert_eq!(world.ask("GET", "/open", &[("traceparent", PARENT)]).await.status, 200);
    let expected =
        ["service.name: Str(bearward)", "Name           : GET open", "Name           : upstream GET", &PARENT[3..35]];
    until(|| expected.iter().all(|text| told().contains(text))).await;
    collector.kill().unwrap();
    collector.wait().unwrap();
}

/// Returns once it holds; for what another process does.
async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), held).await.unwrap();
}

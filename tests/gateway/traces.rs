//! Spans as a collector gets them: OTLP in protobuf over a real socket.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use crate::harness::collector::{Collector, PARENT, attributes, failed, hex, traceparent};
use crate::harness::forms;
use crate::harness::introspection::Introspection;
use crate::harness::log;
use crate::harness::port::Port;
use crate::harness::upstream::Reply;
use crate::harness::world::{World, merged};

/// The usual world with a collector, and the share of new traces that is recorded.
async fn world(sample: f64) -> (World, Collector) {
    let collector = Collector::start().await;
    (World::configured("", &collector.section(sample)).await, collector)
}

#[tokio::test]
async fn a_request_and_its_call_of_the_upstream_are_spans_of_one_trace() {
    let (world, mut collector) = world(1.0).await;
    let token = world.token();
    assert_eq!(world.get(&token).await.status, 200);
    let mut spans = collector.spans(&["GET usual", "fetch keys", "upstream GET"]).await;

    let served = spans.remove("GET usual").unwrap();
    assert_eq!((served.kind, served.parent_span_id.len(), failed(&served)), (SpanKind::Server as i32, 0, false));
    let mut said = attributes(&served);
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
    assert_eq!(json!(attributes(&called)), json!({ "http.request.method": "GET", "bearward.upstream": "api" }));
    assert!(served.start_time_unix_nano <= called.start_time_unix_nano);
    assert!(called.end_time_unix_nano <= served.end_time_unix_nano + 1);

    // The upstream's own span becomes a child of the call, and the access line names the trace.
    let trace = hex(&served.trace_id);
    let onward = world.upstream.request(0).await;
    assert_eq!(onward.all("traceparent"), [traceparent(&called)]);
    let line: Value = serde_json::from_str(&world.gateway.access_lines()[0]).unwrap();
    assert_eq!(line["trace_id"], trace);

    let fetched = spans.remove("fetch keys").unwrap();
    assert_ne!(fetched.trace_id, served.trace_id, "it is for all who wait");
    assert_eq!((fetched.kind, fetched.parent_span_id.len()), (SpanKind::Client as i32, 0));
    assert_eq!(json!(attributes(&fetched)), json!({ "bearward.issuer": "main", "bearward.trigger": "start" }));

    let sent = collector.http.request(0).await.body;
    let signature = token.rsplit('.').next().unwrap().as_bytes();
    assert!(!sent.windows(signature.len()).any(|window| window == signature), "no span holds a token");
}

#[tokio::test]
async fn a_caller_decides_whether_its_trace_is_recorded() {
    let (world, mut collector) = world(0.0).await;
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
    let spans = collector.spans(&["GET usual", "fetch keys", "upstream GET"]).await;
    let served = &spans["GET usual"];
    assert_eq!(hex(&served.trace_id), &PARENT[3..35]);
    assert_eq!(hex(&served.parent_span_id), &PARENT[36..52]);
    assert_eq!(world.upstream.request(0).await.all("traceparent"), [unrecorded]);
    let called = hex(&spans["upstream GET"].span_id);
    assert_eq!(world.upstream.request(2).await.all("traceparent"), [format!("{}-{called}-01", &PARENT[..35])]);
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart() {
    let (world, mut collector) = world(1.0).await;
    world.upstream.reply(Reply::Close(Vec::new()));
    assert_eq!(world.get(&world.token()).await.status, 502);
    let failed_spans = collector.spans(&["GET usual", "fetch keys", "upstream GET"]).await;
    let (served, called) = (&failed_spans["GET usual"], &failed_spans["upstream GET"]);
    assert!(failed(served) && failed(called));
    assert_eq!(attributes(served)["bearward.code"], "upstream_unreachable");
    assert_eq!(attributes(called)["error.type"], "upstream_unreachable");

    let expired = world.token_but(&json!({ "exp": world.now() - 3600 }));
    assert_eq!(world.get(&expired).await.status, 401);
    let refused = collector.spans(&["GET usual"]).await.remove("GET usual").unwrap();
    assert!(!failed(&refused), "a fault of the caller");
    let said = attributes(&refused);
    assert_eq!((&said["bearward.outcome"], &said["bearward.code"]), (&json!("refused"), &json!("token_expired")));
    assert!(!said.contains_key("bearward.issuer"), "nothing unverified is told");
}

#[tokio::test]
async fn a_question_about_an_opaque_token_is_a_span_of_the_request_that_asked_it() {
    let mut collector = Collector::start().await;
    let endpoint = Introspection::start().await;
    let sections = format!(
        "[issuers.main.introspection]\nclient_id = \"gateway\"\nauth_method = \"none\"\nendpoint = \"{}\"\n{}",
        endpoint.url(),
        collector.section(0.0)
    );
    let world = World::configured("", &sections).await;
    let active = merged(world.claims(), &json!({ "active": true, "token_type": "Bearer" }));
    for token in ["one", "other"] {
        endpoint.know(token, forms::Reply::json(&active));
    }
    let ask = async |token: &str, parent: &str| {
        let authorization = format!("Bearer {token}");
        world.ask("GET", "/orders", &[("Authorization", &authorization), ("traceparent", parent)]).await.status
    };

    assert_eq!(ask("one", PARENT).await, 200);
    let spans = collector.spans(&["GET usual", "fetch keys", "introspect token", "upstream GET"]).await;
    let (served, asked) = (&spans["GET usual"], &spans["introspect token"]);
    assert_eq!(hex(&asked.trace_id), &PARENT[3..35]);
    assert_eq!(asked.parent_span_id, served.span_id);
    assert_ne!(asked.span_id, spans["upstream GET"].span_id);
    assert_eq!((asked.kind, failed(asked)), (SpanKind::Client as i32, false));
    let said = json!({ "bearward.issuer": "main", "bearward.result": "active" });
    assert_eq!(json!(attributes(asked)), said);
    // What the issuer does is a child of the call.
    assert_eq!(endpoint.asked()[0].header("traceparent"), Some(traceparent(asked).as_str()));

    // What is remembered is not asked, and a trace that nobody records is not told.
    assert_eq!(ask("one", PARENT).await, 200);
    collector.spans(&["GET usual", "upstream GET"]).await;
    assert_eq!(ask("other", &PARENT.replace("-01", "-00")).await, 200);
    assert_eq!((endpoint.asked().len(), endpoint.asked()[1].header("traceparent")), (2, None));

    assert_eq!(ask("unknown", PARENT).await, 401);
    let spans = collector.spans(&["GET usual", "introspect token"]).await;
    let asked = &spans["introspect token"];
    assert!(!failed(asked), "it is an answer");
    assert_eq!(attributes(asked)["bearward.result"], "inactive");

    endpoint.otherwise(forms::Reply::status(500, "", ""));
    assert_eq!(ask("failing", PARENT).await, 503);
    let spans = collector.spans(&["GET usual", "introspect token"]).await;
    let asked = &spans["introspect token"];
    assert!(failed(asked));
    let said = json!({ "bearward.issuer": "main", "bearward.result": "status", "error.type": "status" });
    assert_eq!(json!(attributes(asked)), said);
}

#[tokio::test]
async fn the_line_of_a_refusal_names_the_trace() {
    log::keep();
    let trace = "3d1c5a90b7e24f68a1c0de5502e1f9a7";
    let world = World::start().await;
    let parent = format!("00-{trace}-b7ad6b7169203331-00");
    let answer = world.ask("GET", "/orders", &[("traceparent", &parent)]).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
    let line = log::lines_with(trace).pop().unwrap();
    assert!(line.contains("request refused") && line.contains("code=\"credential_missing\""), "{line}");
    assert!(line.contains(&format!("trace_id=\"{trace}\"")), "{line}");
    let access: Value = serde_json::from_str(&world.gateway.access_lines()[0]).unwrap();
    assert_eq!(access["trace_id"], trace, "the same as in the access line");
}

#[tokio::test]
async fn a_collector_that_does_not_take_spans_costs_spans_only() {
    let (world, collector) = world(1.0).await;
    collector.http.reply(Reply::Bytes(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec()));
    world.passes().await;
    collector.http.request(0).await;
    // The fetch of keys, the request and its call, in one piece or in two.
    let dropped = async {
        while world.gateway.sample("bearward_spans_dropped_total").unwrap() < 1.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), dropped).await.unwrap();
    world.passes().await;
    collector.http.request(1).await;
}

#[tokio::test]
#[ignore = "needs a collector: tests/run --long"]
async fn a_real_collector_takes_the_spans() {
    let port = Port::reserve();
    let address = port.address();
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

//! A finished request, as the metrics and the access line tell it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::access::{Refused, Settings};
use super::labels::{ConnectionFault, ConnectionState, FetchResult, FetchTrigger, Labels, ReloadResult};
use super::log::Format;
use super::metrics::Dropped;
use super::*;

const SOON: Duration = Duration::from_secs(10);

fn telemetry(access: Option<AccessLog>) -> Arc<Telemetry> {
    Arc::new(Telemetry { metrics: Metrics::new(&["127.0.0.1:8080"]).unwrap(), access, log: None })
}

fn ledger() -> Ledger {
    opened(&telemetry(None), JSON)
}

fn opened(telemetry: &Arc<Telemetry>, lines: Settings) -> Ledger {
    let labels =
        Labels { routes: &["orders", "health"], issuers: &["main"], upstreams: &["orders"], sessions: &["web"] };
    Ledger::open(telemetry, &labels, lines)
}

fn permitted() -> Outcome {
    Outcome {
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        method: Method::GET,
        uri: "/orders/7?access_token=secret".parse().unwrap(),
        route: Some(0),
        answer: Some(Answer { status: StatusCode::OK, by: By::Upstream }),
        decision: Some(Decision::Permitted),
        failure: None,
        issuer: Some(0),
        verified: true,
        client: "192.0.2.7".parse().unwrap(),
        duration: Duration::from_micros(12_345),
        visit: Some(Visit { upstream: 0, time: Some(Duration::from_millis(12)) }),
        request_id: HeaderValue::from_static("r-1"),
        trace_id: Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
    }
}

fn refused(code: Code) -> Outcome {
    let status = StatusCode::from_u16(code.facts().status).unwrap();
    Outcome {
        answer: Some(Answer { status, by: By::Gateway }),
        decision: Some(Decision::Refused(code)),
        issuer: None,
        verified: false,
        visit: None,
        trace_id: None,
        ..permitted()
    }
}

/// The lines of the metrics that begin with `family` and are neither comment nor bucket.
fn samples(telemetry: &Telemetry, family: &str) -> Vec<String> {
    let text = telemetry.metrics.render();
    text.lines().filter(|line| line.starts_with(family) && !line.contains("_bucket{")).map(str::to_owned).collect()
}

#[test]
fn a_permitted_request_counts_once_everywhere() {
    let ledger = ledger();
    permitted().record(&ledger);
    permitted().record(&ledger);
    let of = |family| samples(ledger.telemetry(), family);
    assert_eq!(
        of("bearward_requests_total"),
        [r#"bearward_requests_total{by="upstream",method="GET",route="orders",status="200"} 2"#]
    );
    assert_eq!(
        of("bearward_decisions_total"),
        [r#"bearward_decisions_total{issuer="main",outcome="permitted",route="orders"} 2"#]
    );
    assert_eq!(
        of("bearward_request_duration_seconds"),
        [
            r#"bearward_request_duration_seconds_sum{route="orders"} 0.02469"#,
            r#"bearward_request_duration_seconds_count{route="orders"} 2"#
        ]
    );
    assert_eq!(
        of("bearward_gateway_overhead_seconds"),
        [
            r#"bearward_gateway_overhead_seconds_sum{route="orders"} 0.00069"#,
            r#"bearward_gateway_overhead_seconds_count{route="orders"} 2"#
        ]
    );
    assert_eq!(
        of("bearward_upstream_duration_seconds"),
        [
            r#"bearward_upstream_duration_seconds_sum{upstream="orders"} 0.024"#,
            r#"bearward_upstream_duration_seconds_count{upstream="orders"} 2"#
        ]
    );
    assert!(of("bearward_upstream_errors_total").is_empty());
}

#[test]
fn who_left_before_an_answer_is_counted_without_one() {
    let ledger = ledger();
    let left = Outcome { answer: None, ..permitted() };
    left.record(&ledger);
    Outcome { decision: None, issuer: None, visit: None, ..left }.record(&ledger);
    let of = |family| samples(ledger.telemetry(), family);
    assert_eq!(
        of("bearward_requests_total"),
        [r#"bearward_requests_total{by="none",method="GET",route="orders",status="none"} 2"#]
    );
    assert_eq!(
        of("bearward_decisions_total"),
        [r#"bearward_decisions_total{issuer="main",outcome="permitted",route="orders"} 1"#]
    );
    assert_eq!(
        of("bearward_upstream_duration_seconds_count"),
        [r#"bearward_upstream_duration_seconds_count{upstream="orders"} 1"#]
    );
}

#[test]
fn what_shadow_mode_lets_through_counts_as_let_through_and_is_told_as_refused() {
    let ledger = ledger();
    let shadowed = Outcome { decision: Some(Decision::Shadowed(Code::TokenExpired)), ..permitted() };
    shadowed.record(&ledger);
    ledger.shadow_refused(Some(0), Code::TokenExpired);
    let of = |family| samples(ledger.telemetry(), family);
    assert_eq!(
        of("bearward_decisions_total"),
        [r#"bearward_decisions_total{issuer="main",outcome="anonymous",route="orders"} 1"#]
    );
    assert_eq!(
        of("bearward_shadow_refusals_total"),
        [r#"bearward_shadow_refusals_total{code="token_expired",route="orders"} 1"#]
    );

    let failed = Outcome { failure: Some(Code::UpstreamTimeout), ..shadowed.clone() };
    let written = lines(Settings { sample: 0.0, ..JSON }, &[shadowed, failed]);
    let told: Vec<Value> = written.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = told.iter().map(|line| (line["outcome"].clone(), line["code"].clone())).collect();
    assert_eq!(told, [(json!("shadowed"), json!("token_expired")), (json!("shadowed"), json!("upstream_timeout"))]);
}

#[test]
fn what_a_caller_chooses_makes_no_label() {
    let ledger = ledger();
    let outcome = Outcome {
        method: "BREW".parse().unwrap(),
        uri: "/%7Broute%7D".parse().unwrap(),
        route: None,
        ..refused(Code::RouteUnknown)
    };
    outcome.record(&ledger);
    let status = StatusCode::from_u16(599).unwrap();
    Outcome { answer: Some(Answer { status, by: By::Upstream }), ..permitted() }.record(&ledger);
    // An index that is none of ours is not known either.
    Outcome { route: Some(2), issuer: Some(1), ..permitted() }.record(&ledger);
    assert_eq!(
        samples(ledger.telemetry(), "bearward_requests_total"),
        [
            r#"bearward_requests_total{by="gateway",method="other",route="none",status="404"} 1"#,
            r#"bearward_requests_total{by="upstream",method="GET",route="none",status="200"} 1"#,
            r#"bearward_requests_total{by="upstream",method="GET",route="orders",status="5xx"} 1"#,
        ]
    );
    assert_eq!(
        samples(ledger.telemetry(), "bearward_decisions_total"),
        [
            r#"bearward_decisions_total{issuer="main",outcome="permitted",route="orders"} 1"#,
            r#"bearward_decisions_total{issuer="none",outcome="permitted",route="none"} 1"#,
            r#"bearward_decisions_total{issuer="none",outcome="route_unknown",route="none"} 1"#,
        ]
    );
}

#[test]
fn an_upstream_that_fails_leaves_the_decision_alone() {
    let ledger = ledger();
    Outcome {
        answer: Some(Answer { status: StatusCode::GATEWAY_TIMEOUT, by: By::Gateway }),
        failure: Some(Code::UpstreamTimeout),
        ..permitted()
    }
    .record(&ledger);
    // A body that came too slowly is not the upstream's fault.
    Outcome {
        answer: Some(Answer { status: StatusCode::REQUEST_TIMEOUT, by: By::Gateway }),
        failure: Some(Code::RequestTimeout),
        ..permitted()
    }
    .record(&ledger);
    assert_eq!(
        samples(ledger.telemetry(), "bearward_decisions_total"),
        [r#"bearward_decisions_total{issuer="main",outcome="permitted",route="orders"} 2"#]
    );
    assert_eq!(
        samples(ledger.telemetry(), "bearward_upstream_errors_total"),
        [r#"bearward_upstream_errors_total{code="upstream_timeout",upstream="orders"} 1"#]
    );
}

#[test]
fn what_lasts_is_counted_while_it_lasts() {
    let ledger = ledger();
    let metrics = &ledger.telemetry().metrics;
    let one = |family: &str| samples(ledger.telemetry(), family).concat();
    let (request, connection) = (metrics.request_started(), metrics.connection_opened(0));
    let idle = ledger.upstream(0).unwrap().connection(ConnectionState::Idle);
    assert_eq!(one("bearward_requests_in_flight"), "bearward_requests_in_flight 1");
    assert_eq!(one("bearward_connections"), r#"bearward_connections{listener="127.0.0.1:8080"} 1"#);
    assert_eq!(
        samples(ledger.telemetry(), "bearward_upstream_connections"),
        [
            r#"bearward_upstream_connections{state="active",upstream="orders"} 0"#,
            r#"bearward_upstream_connections{state="idle",upstream="orders"} 1"#
        ]
    );
    drop((request, connection, idle));
    assert_eq!(one("bearward_requests_in_flight"), "bearward_requests_in_flight 0");
    assert_eq!(one("bearward_connections"), r#"bearward_connections{listener="127.0.0.1:8080"} 0"#);
    assert!(metrics.connection_opened(1).is_none());
}

#[test]
fn every_metric_of_the_contract_is_there_with_its_labels() {
    let ledger = ledger();
    let metrics = &ledger.telemetry().metrics;
    permitted().record(&ledger);
    Outcome { failure: Some(Code::UpstreamUnreachable), ..permitted() }.record(&ledger);
    metrics.connection_failed(0, ConnectionFault::HeadTimeout);
    metrics.jwks_fetched("main", FetchTrigger::UnknownKid, FetchResult::Timeout, 3);
    metrics.jwks_replaced("main", SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics.panicked();
    metrics.config_in_force("0123abcd");
    metrics.config_reloaded(ReloadResult::Failure);
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    metrics.certificates_in_force([("tls.crt", expires), ("old.crt", expires)].into_iter());
    let text = metrics.render();
    let version = env!("CARGO_PKG_VERSION");
    for sample in [
        r#"bearward_connection_errors_total{listener="127.0.0.1:8080",reason="head_timeout"} 1"#,
        r#"bearward_jwks_fetches_total{issuer="main",result="timeout",trigger="unknown_kid"} 1"#,
        r#"bearward_jwks_last_success_timestamp_seconds{issuer="main"} 1700000000"#,
        r#"bearward_jwks_keys{issuer="main"} 3"#,
        r#"bearward_upstream_errors_total{code="upstream_unreachable",upstream="orders"} 1"#,
        "bearward_panics_total 1",
        r#"bearward_config_reloads_total{result="failure"} 1"#,
        r#"bearward_config_reloads_total{result="success"} 0"#,
        "bearward_config_last_reload_successful 0",
        r#"bearward_config_info{hash="0123abcd"} 1"#,
        r#"bearward_certificate_expiry_timestamp_seconds{name="old.crt"} 1800000000"#,
        r#"bearward_certificate_expiry_timestamp_seconds{name="tls.crt"} 1800000000"#,
        &format!(r#"bearward_build_info{{version="{version}"}} 1"#),
        "bearward_access_lines_dropped_total 0",
        "bearward_log_lines_dropped_total 0",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} is not in\n{text}");
    }
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not in\n{text}");
    }
    metrics.config_in_force("4567");
    assert_eq!(samples(ledger.telemetry(), "bearward_config_info"), [r#"bearward_config_info{hash="4567"} 1"#]);
    let family = "bearward_certificate_expiry_timestamp_seconds";
    metrics.certificates_in_force([("tls.crt", expires + Duration::from_secs(1))].into_iter());
    assert_eq!(samples(ledger.telemetry(), family), [format!("{family}{{name=\"tls.crt\"}} 1800000001")]);
}

/// A pipe that keeps what was written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that these outcomes leave.
fn lines(settings: Settings, outcomes: &[Outcome]) -> Vec<String> {
    let kept = Kept::default();
    let access = AccessLog::start(kept.clone(), Dropped::counted()).unwrap();
    let ledger = opened(&telemetry(Some(access)), settings);
    for outcome in outcomes {
        outcome.record(&ledger);
    }
    ledger.telemetry().access.as_ref().unwrap().flush(SOON);
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

const JSON: Settings = Settings { format: Format::Json, sample: 1.0, refused: Refused::All };

#[test]
fn an_access_line_has_exactly_the_fields_of_the_contract() {
    let written = lines(JSON, &[permitted(), Outcome { route: None, ..refused(Code::RouteUnknown) }]);
    let parsed: Vec<Value> = written.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        parsed,
        [
            json!({
                "timestamp": "2023-11-14T22:13:20.250Z",
                "http.request.method": "GET",
                "url.path": "/orders/7",
                "http.route": "orders",
                "http.response.status_code": 200,
                "client.address": "192.0.2.7",
                "duration_ms": 12.345,
                "request_id": "r-1",
                "outcome": "permitted",
                "code": null,
                "issuer": "main",
                "trace_id": "0af7651916cd43dd8448eb211c80319c",
            }),
            json!({
                "timestamp": "2023-11-14T22:13:20.250Z",
                "http.request.method": "GET",
                "url.path": "/orders/7",
                "http.route": null,
                "http.response.status_code": 404,
                "client.address": "192.0.2.7",
                "duration_ms": 12.345,
                "request_id": "r-1",
                "outcome": "refused",
                "code": "route_unknown",
                "issuer": null,
                "trace_id": null,
            }),
        ]
    );
}

#[test]
fn an_access_line_for_people_has_them_too() {
    let failed = Outcome {
        answer: Some(Answer { status: StatusCode::BAD_GATEWAY, by: By::Gateway }),
        failure: Some(Code::UpstreamUnreachable),
        uri: "/a=b".parse().unwrap(),
        trace_id: None,
        ..permitted()
    };
    assert_eq!(
        lines(Settings { format: Format::Text, ..JSON }, &[failed]),
        ["timestamp=2023-11-14T22:13:20.250Z http.request.method=GET url.path=\"/a=b\" http.route=orders \
          http.response.status_code=502 client.address=192.0.2.7 duration_ms=12.345 request_id=r-1 outcome=permitted \
          code=upstream_unreachable issuer=main trace_id=-"]
    );
}

#[test]
fn a_sample_leaves_no_refusal_out() {
    let outcomes: Vec<Outcome> = (0..100).flat_map(|_| [permitted(), refused(Code::TokenExpired)]).collect();
    let count = |settings, text: &str| lines(settings, &outcomes).iter().filter(|line| line.contains(text)).count();
    let none = Settings { sample: 0.0, ..JSON };
    assert_eq!(count(none, r#""outcome":"permitted""#), 0);
    assert_eq!(count(none, r#""code":"token_expired""#), 100);
    assert_eq!(count(Settings { refused: Refused::Sampled, ..none }, "outcome"), 0);
}

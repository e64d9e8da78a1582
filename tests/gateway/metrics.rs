//! What Prometheus itself says of the metrics.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use bearward::policy::reject::Code;
use bearward::telemetry::labels::{
    By, ConnectionFault, ConnectionState, Decision, FetchResult, FetchTrigger, Labels, ReloadResult,
};
use bearward::telemetry::metrics::Metrics;
use bearward::telemetry::{Outcome, Telemetry, Visit};
use http::{HeaderValue, Method, StatusCode};

/// Metrics in which every family has a series.
fn all() -> String {
    let metrics = Metrics::new(&Labels {
        routes: &["orders", "*.example.com/{id}"],
        issuers: &["main"],
        upstreams: &["http://127.0.0.1:3000"],
        listeners: &["0.0.0.0:8080"],
    })
    .unwrap();
    let _held = (
        metrics.connection_opened(0),
        metrics.request_started(),
        metrics.upstream_connection(0, ConnectionState::Active),
    );
    for fault in ConnectionFault::ALL {
        metrics.connection_failed(0, *fault);
    }
    for trigger in FetchTrigger::ALL {
        for result in FetchResult::ALL {
            metrics.jwks_fetched(0, *trigger, *result);
        }
    }
    metrics.jwks_replaced(0, 2, SystemTime::now());
    metrics.config_in_force("0123456789ab");
    metrics.config_reloaded(ReloadResult::Success);
    let telemetry = Telemetry { metrics, access: None };
    let decisions = Code::ALL.iter().map(|code| Decision::Refused(*code));
    for decision in decisions.chain([Decision::Permitted, Decision::Anonymous]) {
        Outcome {
            at: SystemTime::now(),
            method: Method::GET,
            uri: "/".parse().unwrap(),
            route: Some(1),
            status: StatusCode::BAD_GATEWAY,
            by: By::Gateway,
            decision,
            failure: Some(Code::UpstreamUnreachable),
            issuer: Some(0),
            verified: true,
            client: "::1".parse().unwrap(),
            duration: Duration::from_millis(3),
            visit: Some(Visit { upstream: 0, time: Duration::from_millis(2) }),
            request_id: HeaderValue::from_static("r"),
            trace_id: None,
        }
        .record(&telemetry);
    }
    telemetry.metrics.render()
}

#[test]
fn promtool_finds_nothing_to_say() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) => {
            eprintln!("NOT CHECKED: promtool cannot be started ({error}); Debian has it in the package `prometheus`");
            assert!(std::env::var_os("CI").is_none(), "promtool is needed in CI");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(all().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

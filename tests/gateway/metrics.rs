//! What is counted over the wire, and what Prometheus itself says of the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bearward::demo::{Demo, provider};
use bearward::policy::reject::Code;
use bearward::remote::clock::Clock;
use bearward::telemetry::access::{Refused, Settings};
use bearward::telemetry::labels::{
    By, CacheResult, ConnectionFault, ConnectionState, Decision, FetchResult, FetchTrigger, IntrospectionResult,
    Labels, RefreshResult, ReloadResult, RetryResult, SessionEvent,
};
use bearward::telemetry::ledger::Ledger;
use bearward::telemetry::log::Format;
use bearward::telemetry::metrics::Metrics;
use bearward::telemetry::{Answer, Outcome, Telemetry, Visit};
use http::{HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Metrics in which every family has a series.
pub fn all() -> String {
    let metrics = Metrics::new(&["0.0.0.0:8080"]).unwrap();
    let telemetry = Arc::new(Telemetry { metrics, access: None, log: None });
    let labels = Labels {
        routes: &["orders", "*.example.com/{id}"],
        issuers: &["main"],
        upstreams: &["http://127.0.0.1:3000"],
        sessions: &["web"],
    };
    let lines = Settings { format: Format::Json, sample: 1.0, refused: Refused::All };
    let ledger = Ledger::open(&telemetry, &labels, lines);
    let metrics = &telemetry.metrics;
    let _held = (
        metrics.connection_opened(0),
        metrics.request_started(),
        ledger.upstream(0).map(|upstream| upstream.connection(ConnectionState::Active)),
    );
    for fault in ConnectionFault::ALL {
        metrics.connection_failed(0, *fault);
    }
    for trigger in FetchTrigger::ALL {
        for result in FetchResult::ALL {
            metrics.jwks_fetched("main", *trigger, *result, 2);
        }
    }
    metrics.jwks_replaced("main", SystemTime::now());
    metrics.introspected("main", IntrospectionResult::Active, Some(Duration::from_millis(20)));
    metrics.certificates_in_force([("tls.crt", SystemTime::now())].into_iter());
    for result in RefreshResult::ALL {
        metrics.session_refreshed("web", *result);
    }
    for event in SessionEvent::ALL {
        metrics.session_event("web", *event);
    }
    if let Some(upstream) = ledger.upstream(0) {
        upstream.retried(RetryResult::Success);
    }
    ledger.id_token_accepted(Some(0), Some(0));
    ledger.shadow_refused(Some(0), Code::TokenExpired);
    metrics.config_in_force("0123456789ab");
    metrics.config_reloaded(ReloadResult::Success);
    let decisions = Code::ALL.iter().map(|code| Decision::Refused(*code));
    for decision in decisions.chain([Decision::Permitted, Decision::Anonymous]) {
        Outcome {
            at: SystemTime::now(),
            method: Method::GET,
            uri: "/".parse().unwrap(),
            route: Some(1),
            answer: Some(Answer { status: StatusCode::BAD_GATEWAY, by: By::Gateway }),
            decision: Some(decision),
            failure: Some(Code::UpstreamUnreachable),
            issuer: Some(0),
            verified: true,
            client: "::1".parse().unwrap(),
            duration: Duration::from_millis(3),
            visit: Some(Visit { upstream: 0, time: Some(Duration::from_millis(2)) }),
            request_id: HeaderValue::from_static("r"),
            trace_id: None,
        }
        .record(&ledger);
    }
    metrics.render()
}

#[test]
fn promtool_finds_nothing_to_say() {
    promtool_accepts(&all());
}

/// The names of metrics in a text: words that begin as ours or the process's do.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("bearward_") || word.starts_with("process_")).collect()
}

#[test]
fn dashboard_and_alerts_name_only_metrics_that_there_are() {
    let text = all();
    let series: BTreeSet<_> = text.lines().filter(|line| !line.starts_with('#')).flat_map(names_in).collect();
    for (file, least) in [("dashboard.json", 25), ("rules.yaml", 8)] {
        let path = format!("{}/charts/bearward/files/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let named = names_in(&text);
        assert!(named.len() >= least, "{file}: {named:?}");
        assert_eq!(named.difference(&series).collect::<Vec<_>>(), [&""; 0], "{file}");
    }
}

/// A row for each metric of a text: its name, type, labels and help.
fn rows(text: &str) -> Vec<String> {
    let of = |kind: &'static str| {
        let lines = text.lines().filter_map(move |line| line.strip_prefix(kind)?.split_once(' '));
        lines.collect::<BTreeMap<_, _>>()
    };
    let types = of("# TYPE ");
    let rows = of("# HELP ").into_iter().map(|(name, help)| {
        let labels =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("_bucket").or(line.strip_prefix(name)));
        let labels = labels.and_then(|rest| rest.strip_prefix('{')).map_or("", |rest| rest.rsplit_once('}').unwrap().0);
        let labels = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| format!("`{name}`"));
        let labels: Vec<_> = labels.filter(|name| name != "`le`").collect();
        format!("| `{name}` | {} | {} | {help} |\n", types[name], labels.join(", "))
    });
    rows.collect()
}

/// A metric, a label of it, and the values that it can have, with their meaning.
type ClosedList = (&'static str, &'static str, Vec<(&'static str, &'static str)>);

/// Each label whose values are a list of their own.
fn closed_lists() -> Vec<ClosedList> {
    macro_rules! values {
        ($list:ident) => {
            $list::ALL.iter().map(|value| (value.label(), value.meaning())).collect()
        };
    }
    vec![
        ("bearward_config_reloads_total", "result", values!(ReloadResult)),
        ("bearward_connection_errors_total", "reason", values!(ConnectionFault)),
        ("bearward_introspections_total", "result", values!(IntrospectionResult)),
        ("bearward_jwks_fetches_total", "result", values!(FetchResult)),
        ("bearward_jwks_fetches_total", "trigger", values!(FetchTrigger)),
        ("bearward_requests_total", "by", values!(By)),
        ("bearward_session_refreshes_total", "result", values!(RefreshResult)),
        ("bearward_sessions_total", "event", values!(SessionEvent)),
        ("bearward_upstream_connections", "state", values!(ConnectionState)),
        ("bearward_upstream_retries_total", "result", values!(RetryResult)),
        ("bearward_verified_cache_total", "result", values!(CacheResult)),
    ]
}

/// A row for each value of those lists.
fn value_rows() -> Vec<String> {
    let lists = closed_lists().into_iter();
    let rows = lists.flat_map(|(metric, label, values)| {
        let row = move |(value, meaning)| format!("| `{metric}` | `{label}` | `{value}` | {meaning} |\n");
        values.into_iter().map(row)
    });
    rows.collect()
}

#[test]
fn a_label_of_a_closed_list_has_no_other_value() {
    let text = all();
    let mut labels: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (metric, label, values) in closed_lists() {
        labels.insert((metric, label));
        let series = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
        let found = series.filter_map(|line| line.split_once(&format!("{label}=\""))?.1.split('"').next());
        let found: BTreeSet<_> = found.collect();
        let known = |value: &&str| values.iter().any(|(known, _)| known == value);
        assert!(!found.is_empty() && found.iter().all(known), "{metric} {label}: {found:?}");
    }
    // What is in no list is a name of the configuration, or a list of another page.
    let elsewhere = ["code", "hash", "issuer", "le", "listener", "method", "name", "outcome", "route", "session"];
    let elsewhere: BTreeSet<_> = elsewhere.into_iter().chain(["status", "upstream", "version"]).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((metric, rest)) = line.split_once('{') else { continue };
        for pair in rest.rsplit_once('}').unwrap().0.split("\",") {
            let label = pair.split_once('=').unwrap().0;
            assert!(elsewhere.contains(label) || labels.contains(&(metric, label)), "{label} of {metric}");
        }
    }
}

#[test]
fn the_page_of_metrics_is_current() {
    let path = format!("{}/docs/metrics.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).unwrap();
    let head = "|---|---|---|---|\n";
    let declared = names_in(include_str!("../../src/telemetry/families.rs"));
    let series = all();
    let shown = names_in(&series);
    assert_eq!(declared.difference(&shown).collect::<Vec<_>>(), [&""; 0], "`all` has no series of them");
    let end = "\n## Values of labels\n";
    let (before, rest) = page.split_once(head).unwrap();
    let (_, rest) = rest.split_once(end).unwrap();
    let (values, _) = rest.split_once(head).unwrap();
    let current = format!("{before}{head}{}{end}{values}{head}{}", rows(&series).concat(), value_rows().concat());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    assert_eq!(page, current, "BLESS=1 writes docs/metrics.md anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_over_the_wire_is_counted_once() {
    let (clock, hands) = Clock::manual(SystemTime::now());
    let demo = Demo::start(provider("forgerock").unwrap(), clock).await.unwrap();
    let findings = demo.check(&hands).await;
    assert!(findings.iter().all(|finding| finding.faults.is_empty()), "{findings:?}");

    let expected = [
        ("none", "credential_missing", "orders", 1),
        ("demo", "refresh_token_presented", "orders", 2),
        ("demo", "token_inactive", "orders", 1),
        ("demo", "permitted", "me", 1),
        ("demo", "audience_wrong", "orders", 1),
        ("demo", "id_token_presented", "orders", 1),
        ("demo", "key_unknown", "orders", 1),
        ("demo", "permitted", "orders", 5),
        ("demo", "scope_insufficient", "reports", 1),
        ("demo", "signature_invalid", "orders", 1),
        ("demo", "token_expired", "orders", 2),
    ];
    let mut expected: Vec<String> = expected
        .map(|(issuer, outcome, route, count)| {
            format!(r#"bearward_decisions_total{{issuer="{issuer}",outcome="{outcome}",route="{route}"}} {count}"#)
        })
        .into();
    expected.push(r#"bearward_requests_total{by="gateway",method="GET",route="orders",status="401"} 10"#.to_owned());
    expected.push(r#"bearward_requests_total{by="gateway",method="GET",route="reports",status="403"} 1"#.to_owned());
    expected.push(r#"bearward_requests_total{by="upstream",method="GET",route="orders",status="200"} 5"#.to_owned());
    expected.push(r#"bearward_requests_total{by="upstream",method="GET",route="me",status="200"} 1"#.to_owned());
    expected.sort_unstable();

    // A request is counted when its answer has ended, which a client may see before the counter moves.
    let counted = async {
        loop {
            let text = scrape(demo.admin_address()).await;
            let counters = ["bearward_decisions_total{", "bearward_requests_total{"];
            let mut found: Vec<_> =
                text.lines().filter(|line| counters.iter().any(|counter| line.starts_with(counter))).collect();
            found.sort_unstable();
            if found == expected {
                return text;
            }
            assert!(found.len() <= expected.len(), "{found:#?}");
        }
    };
    let text = tokio::time::timeout(SOON, counted).await.expect("every request is counted");
    assert!(
        text.contains(r#"bearward_jwks_fetches_total{issuer="demo",result="success",trigger="start"} 1"#),
        "{text}"
    );
    assert!(text.contains(r#"bearward_upstream_duration_seconds_count{upstream="api"} 6"#), "{text}");
    promtool_accepts(&text);
    demo.stop().await;
}

const SOON: Duration = Duration::from_secs(20);

/// The text at `/metrics`.
async fn scrape(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    // Any Host will do: a scraper asks by address.
    let request = b"GET /metrics HTTP/1.1\r\nhost: anything\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    text.to_owned()
}

fn promtool_accepts(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "promtool is needed in CI");
            // Not by a macro: those are captured, and a test that did nothing must not look like one that did.
            let line = format!("\nSKIPPED: promtool cannot be started ({error}); Debian has it in `prometheus`\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

//! Requests whose client leaves before there is an answer: told and counted like the others, as far as there is something to
//! tell.

use serde_json::{Value, json};

use super::gateway;
use crate::harness::client::Client;
use crate::harness::framed::{CANCEL, reset};
use crate::harness::frames::Frames;
use crate::harness::gateway::Served;
use crate::harness::upstream::{Reply, Upstream};
use crate::harness::world::World;

/// That one request without an answer is counted and told, and what was decided about it.
async fn told(gateway: &Served, route: &str, outcome: Value) {
    let none = format!("bearward_requests_total{{by=\"none\",method=\"GET\",route=\"{route}\",status=\"none\"}}");
    gateway.counted(&none, 1.0).await;
    gateway.counted("bearward_requests_in_flight", 0.0).await;
    let lines = gateway.access_lines();
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let left: Vec<_> = lines.iter().filter(|line| line["http.response.status_code"].is_null()).collect();
    assert_eq!(left.len(), 1, "{lines:?}");
    assert_eq!(
        (&left[0]["outcome"], &left[0]["code"], &left[0]["http.route"]),
        (&outcome, &Value::Null, &json!(route))
    );
    assert!(left[0]["duration_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_client_that_leaves_the_upstream_waiting_is_told_and_counted() {
    for http2 in [false, true] {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream.url(), "");
        upstream.reply(Reply::Stall(Vec::new()));
        if http2 {
            let mut client = Frames::connect(gateway.address()).await;
            let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
            let stream = client.begin(&fields).await;
            upstream.request(0).await;
            client.send(&reset(stream, CANCEL)).await;
            upstream.closed(1).await;
            drop(client);
        } else {
            let mut client = Client::connect(gateway.address()).await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            upstream.request(0).await;
            drop(client);
            upstream.closed(1).await;
            let reason = "bearward_connection_errors_total{listener=\"127.0.0.1:0\",reason=\"client_closed\"}";
            gateway.counted(reason, 1.0).await;
        }
        told(&gateway, "all", json!("anonymous")).await;
        let permitted = "bearward_decisions_total{issuer=\"none\",outcome=\"anonymous\",route=\"all\"}";
        assert_eq!(gateway.sample(permitted), Some(1.0));
        assert_eq!(gateway.sample("bearward_upstream_duration_seconds_count{upstream=\"api\"}"), Some(1.0));
        let text = gateway.shared().telemetry().metrics.render();
        assert!(!text.contains("bearward_upstream_errors_total{"), "it is not the upstream's fault: {text}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_decision_is_told_and_counted() {
    let world = World::start_with_held_keys().await;
    let mut client = Client::connect(world.gateway.address()).await;
    let request = format!("GET /orders HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", world.token());
    client.send(request).await;
    world.gateway.counted("bearward_requests_in_flight", 1.0).await;
    drop(client);
    told(&world.gateway, "usual", Value::Null).await;
    let text = world.gateway.shared().telemetry().metrics.render();
    assert!(!text.contains("bearward_decisions_total{"), "nothing was decided: {text}");
    assert_eq!(world.upstream.opened(), 0);
}

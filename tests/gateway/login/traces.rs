//! What a trace is told of a session.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;

use super::{SCRIPT, World};
use crate::harness::collector::{Collector, PARENT, attributes, failed, hex, traceparent};
use crate::harness::forms::Reply;

/// A browser's request in a trace that is recorded.
async fn ask(world: &World, browser: &super::Browser) -> u16 {
    let headers: Vec<_> = SCRIPT.iter().copied().chain([("traceparent", PARENT)]).collect();
    let answer = browser.peek("GET", "/orders", &headers).await;
    world.around.gateway.shared().renewals().idle().await;
    answer.status
}

#[tokio::test]
async fn a_renewal_is_a_span_of_the_request_that_wants_it() {
    let mut collector = Collector::start().await;
    let world = World::configured("", &collector.section(0.0)).await;
    let browser = world.logged_in().await;
    let exchange = &world.tokens.asked()[0];
    assert_eq!(exchange.header("traceparent"), None, "a login that is not recorded");

    // The token lasts ten minutes by the token response.
    world.around.hands.advance(Duration::from_secs(601));
    assert_eq!(ask(&world, &browser).await, 200);
    let spans = collector.spans(&["GET orders", "refresh session", "upstream GET"]).await;
    let (served, renewed) = (&spans["GET orders"], &spans["refresh session"]);
    assert_eq!(hex(&renewed.trace_id), &PARENT[3..35]);
    assert_eq!(renewed.parent_span_id, served.span_id);
    assert_ne!(renewed.span_id, spans["upstream GET"].span_id);
    assert_eq!((renewed.kind, failed(renewed)), (SpanKind::Client as i32, false));
    assert_eq!(json!(attributes(renewed)), json!({ "bearward.session": "web" }));
    // What the issuer does is a child of the call.
    let asked = world.tokens.asked();
    assert_eq!(asked.last().unwrap().header("traceparent"), Some(traceparent(renewed).as_str()));

    // One whose token is fresh needs no call, and one that nobody records is not told.
    assert_eq!(ask(&world, &browser).await, 200);
    collector.spans(&["GET orders", "upstream GET"]).await;
    world.around.hands.advance(Duration::from_secs(601));
    assert_eq!(browser.peek("GET", "/orders", SCRIPT).await.status, 200);
    assert_eq!(world.tokens.asked().last().unwrap().header("traceparent"), None);

    world.tokens.otherwise(Reply::Garbage);
    world.around.hands.advance(Duration::from_secs(601));
    assert_eq!(ask(&world, &browser).await, 503);
    let spans = collector.spans(&["GET orders", "refresh session"]).await;
    let renewed = &spans["refresh session"];
    assert!(failed(renewed));
    assert_eq!(json!(attributes(renewed)), json!({ "bearward.session": "web", "error.type": "unavailable" }));
}

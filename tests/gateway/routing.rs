//! Which route a request takes: by host, then path, then method, and never back to a broader one.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;

use crate::harness::client::{Client, Http2};
use crate::harness::world::World;

const ROUTES: &[(&str, &str)] = &[
    ("host", "hosts = [\"api.example.com\", \"[::1]\"]\npath = \"/orders/*\"\nmethods = [\"GET\"]"),
    ("host-write", "hosts = [\"api.example.com\"]\npath = \"/orders/*\"\nmethods = [\"POST\", \"PUT\"]"),
    ("wide", "hosts = [\"*.example.com\"]\npath = \"/*\""),
    ("narrow", "hosts = [\"*.eu.example.com\"]\npath = \"/*\""),
    ("order", "path = \"/orders/{id}\""),
    ("special", "path = \"/orders/special\"\nmethods = [\"GET\"]"),
    ("root", "path = \"/*\""),
];

async fn world() -> World {
    let route = |(name, lines): &(&str, &str)| {
        format!("[[routes]]\nname = \"{name}\"\npolicy = \"public\"\nupstream = \"api\"\n{lines}\n")
    };
    World::routed("", &ROUTES.iter().map(route).collect::<String>()).await
}

/// The route of the last request, as its access line names it.
fn taken(world: &World) -> String {
    let line: Value = serde_json::from_str(world.gateway.access_lines().last().unwrap()).unwrap();
    line["http.route"].as_str().unwrap_or("none").to_owned()
}

#[tokio::test]
async fn the_most_specific_host_and_path_decide_then_the_method() {
    let world = world().await;
    for (method, host, path, route, answer) in [
        ("GET", "api.example.com", "/orders/7", "host", "200"),
        ("GET", "API.Example.COM.:8080", "/orders", "host", "200"),
        ("GET", "[::1]:80", "/orders/7", "host", "200"),
        ("PUT", "api.example.com", "/orders/7", "host-write", "200"),
        // A host that has routes has no others, and a pattern no other methods.
        ("GET", "api.example.com", "/other", "none", "404 route_unknown"),
        ("DELETE", "api.example.com", "/orders/7", "none", "405 GET, POST, PUT"),
        ("HEAD", "api.example.com", "/orders/7", "none", "405 GET, POST, PUT"),
        ("OPTIONS", "api.example.com", "/orders/7", "none", "405 GET, POST, PUT"),
        ("POST", "[::1]", "/orders/7", "none", "405 GET"),
        ("POST", "a.example.com", "/orders/7", "wide", "200"),
        ("GET", "a.b.example.com", "/", "wide", "200"),
        ("GET", "a.eu.example.com", "/x", "narrow", "200"),
        ("GET", "eu.example.com", "/x", "wide", "200"),
        ("GET", "example.com", "/orders/7", "order", "200"),
        ("GET", "notexample.com", "/orders/special", "special", "200"),
        ("POST", "other.test", "/orders/special", "none", "405 GET"),
        ("HEAD", "other.test", "/orders/special", "none", "405 GET"),
        ("HEAD", "other.test", "/orders/7", "order", "200"),
        ("GET", "other.test", "/orders/7/items", "root", "200"),
        ("GET", "other.test", "/orders/", "root", "200"),
    ] {
        let mut client = Client::connect(world.gateway.address()).await;
        let told = client.ask(format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        let shown = match (told.status, told.header("allow")) {
            (405, allow) => format!("405 {}", allow.unwrap_or_default()),
            (404, _) => format!("404 {}", told.code()),
            (status, _) => status.to_string(),
        };
        assert_eq!(shown, answer, "{method} {host}{path}");
        // A request is recorded when its answer has ended, and that of HEAD has no body to wait for.
        world.gateway.counted("bearward_requests_in_flight", 0.0).await;
        assert_eq!(taken(&world), route, "{method} {host}{path}");
    }
}

#[tokio::test]
async fn over_http2_the_authority_is_the_host() {
    let world = world().await;
    let mut client = Http2::connect(world.gateway.address()).await;
    for (authority, route) in [("api.example.com:8080", "host"), ("a.example.com", "wide"), ("other.test", "order")] {
        let request = Request::get(format!("http://{authority}/orders/7")).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(client.ask(request).await.status, 200);
        world.gateway.counted("bearward_requests_in_flight", 0.0).await;
        assert_eq!(taken(&world), route, "{authority}");
    }
}

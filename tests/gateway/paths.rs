//! The path and the host that the upstream gets: stripped prefixes, encoded slashes, whose `Host`.

use crate::harness::client::{Answer, Client};
use crate::harness::upstream::Upstream;
use crate::harness::world::World;

fn told(answer: &Answer) -> String {
    let code = answer.code();
    if code.is_empty() { answer.status.to_string() } else { format!("{} {code}", answer.status) }
}

/// Public routes of these lines each, beside what is given.
fn routes(more: &str, lines: &[&str]) -> String {
    let route = |line: &&str| format!("[[routes]]\npolicy = \"public\"\nupstream = \"api\"\n{line}\n");
    format!("{more}\n{}", lines.iter().map(route).collect::<String>())
}

/// Asks for each target and compares what the upstream is then asked for.
async fn is_sent(world: &World, rows: &[(&str, &str)]) {
    for (target, expected) in rows {
        assert_eq!(told(&world.ask("GET", target, &[]).await), "200", "{target}");
        assert_eq!(world.upstream.requests().pop().unwrap().target(), *expected, "{target}");
    }
}

/// That each target is refused as told and nothing of it reaches the upstream.
async fn is_refused(world: &World, rows: &[(&str, &str)]) {
    let before = world.upstream.count();
    for (target, expected) in rows {
        assert_eq!(told(&world.ask("GET", target, &[]).await), *expected, "{target}");
    }
    assert_eq!(world.upstream.count(), before);
}

#[tokio::test]
async fn a_stripped_prefix_goes_by_whole_segments_and_nothing_else_changes() {
    let lines = [
        "path = \"/orders/*\"\nstrip_prefix = \"/orders\"",
        "path = \"/api/v1/{id}/*\"\nstrip_prefix = \"/api/v1\"",
        "path = \"/caf\u{e9}/{id}\"\nstrip_prefix = \"/caf\u{e9}\"",
        "path = \"/exact\"\nstrip_prefix = \"/exact\"",
    ];
    let world = World::routed("", &routes("", &lines)).await;
    is_sent(
        &world,
        &[
            ("/orders", "/"),
            ("/orders/", "/"),
            ("/orders?a=b", "/?a=b"),
            ("/orders/?", "/?"),
            ("/orders/7", "/7"),
            ("/orders/7/", "/7/"),
            ("/orders/orders/7?x=/orders", "/orders/7?x=/orders"),
            ("/%6frders/%37?..//%2f;%00&%ff", "/%37?..//%2f;%00&%ff"),
            ("/orders/a?\\\u{e9}", "/a?\\\u{e9}"),
            ("/api/v1/7", "/7"),
            ("/api/v1/7/items/a%20b", "/7/items/a%20b"),
            ("/caf%C3%A9/7", "/7"),
            ("/exact", "/"),
            ("http://gateway/orders/7?a", "/7?a"),
        ],
    )
    .await;
    // Decided on is the whole path, before anything is stripped of it.
    is_refused(
        &world,
        &[
            ("/orders//7", "400 path_ambiguous"),
            ("/orders//evil.example/7", "400 path_ambiguous"),
            ("/orders/../secret", "400 path_ambiguous"),
            ("/orders/%2e%2e/secret", "400 path_ambiguous"),
            ("/ordersx", "404 route_unknown"),
            ("/orders.json", "404 route_unknown"),
            ("/api/v1", "404 route_unknown"),
            ("/api/v1/", "404 route_unknown"),
        ],
    )
    .await;
    for seen in world.upstream.requests() {
        assert!(seen.all("x-forwarded-prefix").is_empty() && seen.all("x-forwarded-host") == ["gateway"]);
    }
}

#[tokio::test]
async fn an_encoded_slash_stands_within_its_segment_where_the_route_keeps_it() {
    let guarded = "[policies.read]\naudience = [\"https://api.example.com\"]\n\
                   [[routes]]\npath = \"/files/{id}\"\nmethods = [\"PUT\"]\npolicy = \"read\"\nupstream = \"api\"\n";
    let lines = [
        "path = \"/files/{id}\"\nmethods = [\"GET\"]\nencoded_slash = \"keep\"",
        "path = \"/repos/*\"\nencoded_slash = \"keep\"\nstrip_prefix = \"/repos\"",
        "path = \"/files/list\"",
        "path = \"/open/*\"",
    ];
    let world = World::routed("", &routes(guarded, &lines)).await;
    is_sent(
        &world,
        &[
            ("/files/a%2Fb", "/files/a%2Fb"),
            ("/files/a%2fb", "/files/a%2fb"),
            ("/files/a%2Fb%2Fc?d=%2f", "/files/a%2Fb%2Fc?d=%2f"),
            ("/files/list%2Fb", "/files/list%2Fb"),
            ("/files/a%2F...", "/files/a%2F..."),
            ("/repos/group%2Fproject/issues", "/group%2Fproject/issues"),
            ("/repos/a%2Fb/c%2Fd/", "/a%2Fb/c%2Fd/"),
            ("/files/list", "/files/list"),
        ],
    )
    .await;
    is_refused(
        &world,
        &[
            // Within the segment too, nothing may read as another path.
            ("/files/..%2Fopen", "400 path_ambiguous"),
            ("/files/a%2F..%2Fopen", "400 path_ambiguous"),
            ("/files/a%2F%2e%2e", "400 path_ambiguous"),
            ("/files/a%2F.%2Fb", "400 path_ambiguous"),
            ("/files/%2Fa", "400 path_ambiguous"),
            ("/files/a%2F", "400 path_ambiguous"),
            ("/files/a%2F%2Fb", "400 path_ambiguous"),
            ("/repos/a%2F/b", "400 path_ambiguous"),
            ("/files/a%252Fb", "400 path_ambiguous"),
            ("/files/a%25%32Fb", "400 path_ambiguous"),
            ("/files/a%5Cb", "400 path_ambiguous"),
            ("/files/a%2Fb%00", "400 path_ambiguous"),
            // Everywhere else, whether or not there is a route.
            ("/open/a%2Fb", "400 path_ambiguous"),
            ("/files%2Fa", "400 path_ambiguous"),
            ("/nowhere/a%2Fb", "400 path_ambiguous"),
            ("/files/a%2Fb/c", "400 path_ambiguous"),
        ],
    )
    .await;
    for (method, expected) in [("PUT", "400 path_ambiguous"), ("POST", "405 method_not_allowed")] {
        assert_eq!(told(&world.ask(method, "/files/a%2Fb", &[]).await), expected, "{method}");
    }
}

#[tokio::test]
async fn the_upstream_gets_the_clients_host_or_its_own() {
    let upstream = Upstream::start().await;
    let own = upstream.url().strip_prefix("http://").unwrap().to_owned();
    let sections = format!(
        "[upstreams.own]\nurl = \"{}\"\nhost = \"upstream\"\n\
         [[routes]]\npath = \"/own\"\npolicy = \"public\"\nupstream = \"own\"\n",
        upstream.url()
    );
    let world = World::routed("", &routes(&sections, &["path = \"/kept\""])).await;
    for (path, upstream, host) in [("/own", &upstream, own.as_str()), ("/kept", &world.upstream, "api.test")] {
        let answer = Client::connect(world.gateway.address()).await.get(path).await;
        assert_eq!(answer.status, 200);
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.all("host"), [host]);
        // Which host was asked for is told all the same.
        assert_eq!(seen.all("x-forwarded-host"), ["api.test"]);
        assert_eq!(seen.all("forwarded"), ["for=127.0.0.1;proto=http;host=\"api.test\""]);
    }
}

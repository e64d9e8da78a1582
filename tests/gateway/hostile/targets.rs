//! Targets: paths that read two ways, forms of targets, and what tries to be a target without being one.

use http::Request;

use super::{Clean, Closed, Kept, by_hand, each_is_refused, is_clean, passes, play, told, world};
use crate::harness::client::{Client, Http2};
use crate::harness::world::World;

/// Paths that two readers could read differently, one for each rule and each way to write it.
const AMBIGUOUS: [&str; 41] = [
    "/..",
    "/.",
    "/../x",
    "/a/../b",
    "/a/..",
    "/a/./b",
    "/a/%2e%2e/b",
    "/a/%2E%2E/b",
    "/a/.%2e/b",
    "/a/%2e./b",
    "/a/%2e/b",
    "/%2e%2e",
    "//",
    "//a",
    "/a//b",
    "/a//",
    "/a;x=1",
    "/;/a",
    "/..;/a",
    "/.;/a",
    "/a/..;x/b",
    "/a%3bx",
    "/a%3Bx",
    "/a%2fb",
    "/a%2Fb",
    "/..%2fa",
    "/a%5cb",
    "/a%5Cb",
    "/a%00",
    "/a%0d%0aX-User:%20mallory",
    "/a%7f",
    "/a%252e%252e/b",
    "/a%252fb",
    "/a%25%32e%25%32e/b",
    "/a%25%32%66b",
    "/a%2f..%2fb",
    "/a%ff",
    "/a%c3",
    "/a%c0%ae%c0%ae/b",
    "/a%",
    "/a%2",
];

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: api.test\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_path_that_reads_two_ways_is_refused_on_every_route() {
    let world = world().await;
    let token = world.token();
    let rows = AMBIGUOUS.iter().flat_map(|path| {
        let guarded = format!("GET /guarded{path} HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\n\r\n");
        [get(path), get(&format!("/guarded{path}")), guarded.into_bytes()]
    });
    each_is_refused(&world, Kept, rows.map(|request| (request, "400 path_ambiguous"))).await;
}

#[tokio::test]
async fn bytes_that_no_path_has_are_refused() {
    let world = world().await;
    let raw = |path: &[u8]| [b"GET ", path, b" HTTP/1.1\r\nhost: api.test\r\n\r\n"].concat();
    let paths: [&[u8]; 2] = ["/caf\u{e9}".as_bytes(), b"/a\\b"];
    each_is_refused(&world, Kept, paths.map(|path| (raw(path), "400 path_ambiguous"))).await;
    // Nothing but the parser sees these.
    let paths: [&[u8]; 10] =
        [b"/caf\xe9", b"/a\xff", b"/a\x01", b"/a\x7f", b"/a\0", b"/a\tb", b"/a b", b"/a\x0bb", b"/a<b", b"/a`b"];
    each_is_refused(&world, Closed, paths.map(|path| (raw(path), "400 bare"))).await;
}

#[tokio::test]
async fn a_path_that_reads_one_way_is_sent_as_it_came() {
    let world = world().await;
    for path in [
        "/caf%C3%A9",
        "/%61",
        "/a%20b",
        "/a%25",
        "/a%25zz",
        "/...",
        "/.well-known/x",
        "/a/",
        "/a?..//%2f;%00&%ff",
        "/~a!$&'()*+,=:@",
        "/{\"a\"|b^}",
        "/a?\\\u{e9}",
    ] {
        let line = format!("GET {path} HTTP/1.1");
        passes(&world, get(path), Clean { line: &line, ..Clean::default() }, Kept).await;
    }
}

#[tokio::test]
async fn a_route_is_for_its_path_and_no_other() {
    let route = "[[routes]]\nname = \"api\"\npath = \"/api\"\npolicy = \"public\"\nupstream = \"api\"\n";
    let probes = ["/canary", "/last"]
        .map(|path| format!("[[routes]]\npath = \"{path}\"\npolicy = \"public\"\nupstream = \"api\"\n"));
    let world = World::routed("", &format!("{route}{}", probes.concat())).await;
    let others = [
        "/apix",
        "/api.json",
        "/api/",
        "/api/x",
        "/API",
        "/Api",
        "/ap",
        "/",
        "/metrics",
        "/livez",
        "/readyz",
        "/config",
        "/debug",
        "/reload",
    ];
    each_is_refused(&world, Kept, others.map(|path| (get(path), "404 route_unknown"))).await;
    passes(&world, get("/api"), Clean { line: "GET /api HTTP/1.1", ..Clean::default() }, Kept).await;
    passes(&world, get("/%61pi?x"), Clean { line: "GET /%61pi?x HTTP/1.1", ..Clean::default() }, Kept).await;
}

#[tokio::test]
async fn a_fragment_is_cut_before_anybody_decides() {
    let world = world().await;
    for (target, line) in [
        ("/a#b", "GET /a HTTP/1.1"),
        ("/a?x#y", "GET /a?x HTTP/1.1"),
        ("/#", "GET / HTTP/1.1"),
        ("/a#/../b", "GET /a HTTP/1.1"),
        ("http://api.test/a#b", "GET /a HTTP/1.1"),
    ] {
        passes(&world, get(target), Clean { line, ..Clean::default() }, Kept).await;
    }
    each_is_refused(
        &world,
        Kept,
        [
            (get("/guarded/x#/../../open"), "401 credential_missing"),
            (get("/guarded#"), "401 credential_missing"),
            (get("/../a#b"), "400 path_ambiguous"),
        ],
    )
    .await;
    each_is_refused(
        &world,
        Closed,
        [(get("#/a"), "400 bare"), (get("#"), "400 bare"), (get("http://api.test#/a"), "400 request_malformed")],
    )
    .await;
}

#[tokio::test]
async fn an_absolute_target_says_what_the_host_says() {
    let world = world().await;
    let to = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
    for (target, host, line) in [
        ("http://api.test/a?b", "api.test", "GET /a?b HTTP/1.1"),
        ("http://api.test", "api.test", "GET / HTTP/1.1"),
        ("http://api.test?b", "api.test", "GET /?b HTTP/1.1"),
        ("HTTP://api.test/a", "api.test", "GET /a HTTP/1.1"),
        ("https://api.test/a", "api.test", "GET /a HTTP/1.1"),
        ("http://API.test/a", "api.test", "GET /a HTTP/1.1"),
        ("http://api.test:81/a", "api.test:81", "GET /a HTTP/1.1"),
    ] {
        passes(&world, to(target, host), Clean { line, host, ..Clean::default() }, Kept).await;
    }
    let closed = [
        ("http://other.test/a", "api.test"),
        ("http://api.test/a", "other.test"),
        ("http://api.test:81/a", "api.test"),
        ("http://api.test:80/a", "api.test"),
        ("http://u@api.test/a", "api.test"),
        ("http://u@api.test/a", "u@api.test"),
        ("http://u:p@api.test/a", "u:p@api.test"),
        ("http://api.test@other.test/a", "api.test"),
        ("ftp://api.test/a", "api.test"),
        ("http://api.test:x/a", "api.test:x"),
    ];
    each_is_refused(&world, Closed, closed.map(|(target, host)| (to(target, host), "400 request_malformed"))).await;
    each_is_refused(
        &world,
        Closed,
        [
            (b"GET http://api.test/a HTTP/1.1\r\n\r\n".to_vec(), "400 request_malformed"),
            (b"GET http://api.test/a HTTP/1.0\r\n\r\n".to_vec(), "400 request_malformed"),
            (to("http:///a", "api.test"), "400 bare"),
        ],
    )
    .await;
    each_is_refused(&world, Kept, [(to("http://api.test//a", "api.test"), "400 path_ambiguous")]).await;
}

#[tokio::test]
async fn other_forms_of_targets_are_for_no_api() {
    let world = world().await;
    each_is_refused(
        &world,
        Closed,
        [
            (get("api.test:80"), "400 request_malformed"),
            (get("api.test"), "400 request_malformed"),
            (get("*"), "400 request_malformed"),
            (get("a/b"), "400 bare"),
            (get("?x"), "400 bare"),
            (get(""), "400 bare"),
            (b"GET\r\nhost: api.test\r\n\r\n".to_vec(), "400 bare"),
            (b"OPTIONS * HTTP/1.1\r\n\r\n".to_vec(), "400 request_malformed"),
        ],
    )
    .await;
    each_is_refused(
        &world,
        Kept,
        [
            (b"OPTIONS * HTTP/1.1\r\nhost: api.test\r\n\r\n".to_vec(), "204 bare"),
            (b"TRACE / HTTP/1.1\r\nhost: api.test\r\n\r\n".to_vec(), "405 method_not_allowed"),
            (b"TRACE /guarded/x HTTP/1.1\r\nhost: api.test\r\n\r\n".to_vec(), "405 method_not_allowed"),
            (b"CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\r\n".to_vec(), "405 method_not_allowed"),
            (b"CONNECT / HTTP/1.1\r\nhost: api.test\r\n\r\n".to_vec(), "405 method_not_allowed"),
        ],
    )
    .await;
    let answer = play(&world, b"CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\r\n").await.answers.remove(0);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
}

#[tokio::test]
async fn a_target_over_the_head_limit_is_refused() {
    let world = world().await;
    // Beside the target stand `GET `, ` HTTP/1.1`, the Host and four line ends: 33 + 19 bytes.
    let long = |length: usize| get(&format!("/{}", "a".repeat(length - 1)));
    each_is_refused(&world, Closed, [(long(32 * 1024), "431 head_too_large"), (long(65_000), "431 head_too_large")])
        .await;
    each_is_refused(&world, Closed, [(long(66_000), "414 bare"), (long(200_000), "431 bare")]).await;
    let target = "a".repeat(32_000);
    let line = format!("GET /{target} HTTP/1.1");
    passes(&world, get(&format!("/{target}")), Clean { line: &line, ..Clean::default() }, Kept).await;
}

#[tokio::test]
async fn nothing_but_the_target_says_what_is_asked_for() {
    let world = world().await;
    let overrides = [
        "x-forwarded-uri: /read",
        "x-forwarded-prefix: /read",
        "x-forwarded-method: GET",
        "x-original-url: /read",
        "x-original-uri: /read",
        "x-original-method: GET",
        "x-rewrite-url: /read",
        "x-envoy-original-path: /read",
        "x-http-method: GET",
        "x-http-method-override: GET",
        "x-method-override: GET",
        "user-agent: kube-probe/1.30",
        "user-agent: GoogleHC/1.0",
    ];
    for field in overrides {
        let request = |line: &str| format!("{line} HTTP/1.1\r\nhost: api.test\r\n{field}\r\n\r\n").into_bytes();
        each_is_refused(
            &world,
            Kept,
            [
                (request("GET /guarded/x"), "401 credential_missing"),
                (request("GET /guarded?/read"), "401 credential_missing"),
                (request("POST /read?_method=GET"), "405 method_not_allowed"),
            ],
        )
        .await;
        let kept = [field];
        let fields = if field.starts_with("x-forwarded-") { &kept[..0] } else { &kept[..] };
        passes(&world, request("GET /a"), Clean { line: "GET /a HTTP/1.1", fields, ..Clean::default() }, Kept).await;
    }
}

#[tokio::test]
async fn on_the_admin_listener_a_foreign_origin_finds_nothing_to_change() {
    let world = world().await;
    let mut client = Client::connect(world.gateway.admin_address()).await;
    for path in ["/", "/config", "/debug", "/reload"] {
        for method in ["GET", "POST"] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: evil.test\r\norigin: https://evil.test\r\n\r\n");
            assert_eq!(client.ask(request).await.status, 404, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn over_http2_the_same_paths_are_refused() {
    let world = world().await;
    let mut client = Http2::connect(world.gateway.address()).await;
    for path in AMBIGUOUS {
        let request = Request::get(format!("http://api.test{path}")).body(<_>::default()).unwrap();
        assert_eq!(told(&client.ask(request).await), "400 path_ambiguous", "{path}");
    }
    assert_eq!(client.ask(Request::get("http://api.test/a").body(<_>::default()).unwrap()).await.status, 200);
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn over_http2_a_target_that_is_none_is_refused() {
    let world = world().await;
    let protocol_error = "reset 1";
    for (method, path, more, expected) in [
        ("GET", "", &[][..], protocol_error),
        ("GET", "a", &[], protocol_error),
        ("GET", "/a b", &[], protocol_error),
        ("GET", "/a\\b", &[], "path_ambiguous"),
        ("GET", "http://api.test/", &[], protocol_error),
        ("G T", "/", &[], "ended Some(1)"),
        ("GET", "?x", &[], "request_malformed"),
        ("GET", "#x", &[], "request_malformed"),
        ("GET", "*", &[], "request_malformed"),
        ("GET", "/", &[("host", "other.test")], "request_malformed"),
        ("GET", "/", &[("host", "api.test"), ("host", "api.test")], "request_malformed"),
        ("GET", "/", &[(":authority", "u@api.test")], "request_malformed"),
        ("GET", "/", &[(":authority", "")], "request_malformed"),
        ("GET", "/../a", &[], "path_ambiguous"),
        ("GET", "/caf\u{e9}", &[], "path_ambiguous"),
        ("TRACE", "/", &[], "method_not_allowed"),
        ("OPTIONS", "*", &[], "bare"),
    ] {
        assert_eq!(by_hand(&world, method, path, more).await, expected, "{method} {path:?} {more:?}");
    }
    assert_eq!(world.upstream.requests(), []);
    assert_eq!(by_hand(&world, "GET", "/a?b", &[("host", "api.test")]).await, "ok");
    let expected = Clean { line: "GET /a?b HTTP/1.1", ..Clean::default() };
    is_clean(&world.upstream.request(0).await, &expected, "a Host beside its like");
}

/// The parser under us cuts a fragment from `:path` and tells nobody, so no 400 can be given. What is decided on and sent
/// is the path without it, as over HTTP/1.1.
#[tokio::test]
async fn over_http2_a_fragment_is_cut_before_anybody_decides() {
    let world = world().await;
    for (path, expected) in [
        ("/a#b", "ok"),
        ("/b?x#y", "ok"),
        ("/c#/../d", "ok"),
        ("/guarded/x#/../../a", "credential_missing"),
        ("/../a#b", "path_ambiguous"),
    ] {
        assert_eq!(by_hand(&world, "GET", path, &[]).await, expected, "{path}");
    }
    let lines: Vec<_> = world.upstream.requests().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /a HTTP/1.1", "GET /b?x HTTP/1.1", "GET /c HTTP/1.1"]);
}

//! Header fields: identity that a client claims, what `Connection` names, where a request says it came from, and fields
//! that stand twice or too often.

use http::Request;
use serde_json::json;

use super::{Clean, Closed, Kept, ROUTES, each_is_refused, is_clean, passes, play, told, world};
use crate::harness::client::{Client, Http2};
use crate::harness::world::World;

fn request(line: &str, fields: &[&str]) -> Vec<u8> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{line} HTTP/1.1\r\nhost: api.test\r\n{fields}\r\n").into_bytes()
}

/// What a client may try in order to be somebody: the gateway's own fields, in every spelling that some server reads alike.
const IMPOSTORS: [&str; 14] = [
    "x-user: mallory",
    "X-User: mallory",
    "X-USER: mallory",
    "x-user: again",
    "x_user: mallory",
    "X_User: mallory",
    "x.user: mallory",
    "x-scope: admin",
    "X_Scope: admin",
    "x.scope: admin",
    "x-user:",
    "x!user: mallory",
    "x~scope: admin",
    "x'user: mallory",
];

#[tokio::test]
async fn who_calls_is_what_the_gateway_says() {
    let world = world().await;
    let bearer = format!("authorization: Bearer {}", world.token());
    let ours = [bearer.as_str(), "x-user: alice", "x-scope: read write"];
    let clean = || Clean { line: "GET /guarded/x HTTP/1.1", fields: &ours, ..Clean::default() };
    for impostor in IMPOSTORS {
        passes(&world, request("GET /guarded/x", &[&bearer, impostor]), clean(), Kept).await;
        passes(&world, request("GET /guarded/x", &[impostor, impostor, &bearer]), clean(), Kept).await;
    }
    let all = [&IMPOSTORS[..], &[&bearer]].concat();
    passes(&world, request("GET /guarded/x", &all), clean(), Kept).await;

    // A claim that the token does not have is no gap to fill.
    let nobody = format!("authorization: Bearer {}", world.token_but(&json!({ "sub": null })));
    let fields = [nobody.as_str(), "x-scope: read write"];
    let expected = Clean { line: "GET /guarded/x HTTP/1.1", fields: &fields, ..Clean::default() };
    passes(&world, request("GET /guarded/x", &[&nobody, "x-user: mallory"]), expected, Kept).await;
}

#[tokio::test]
async fn where_nobody_is_known_nobody_is_named() {
    let world = world().await;
    for (line, more, kept) in [
        ("GET /a HTTP/1.1", &[][..], &[][..]),
        (
            "OPTIONS /a HTTP/1.1",
            &["origin: https://a.test", "access-control-request-method: GET"],
            &["origin: https://a.test", "access-control-request-method: GET"],
        ),
        ("GET /healthz HTTP/1.1", &["user-agent: kube-probe/1.30"], &["user-agent: kube-probe/1.30"]),
        (
            "GET /chat HTTP/1.1",
            &["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: AA=="],
            &["sec-websocket-version: 13", "sec-websocket-key: AA=="],
        ),
        (
            "GET /h2c HTTP/1.1",
            &["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk"],
            &[],
        ),
    ] {
        let fields = [&IMPOSTORS[..], more].concat();
        let start = line.strip_suffix(" HTTP/1.1").unwrap();
        passes(&world, request(start, &fields), Clean { line, fields: kept, ..Clean::default() }, Kept).await;
    }
}

#[tokio::test]
async fn over_http2_who_calls_is_what_the_gateway_says() {
    let world = world().await;
    let mut client = Http2::connect(world.gateway.address()).await;
    let bearer = format!("Bearer {}", world.token());
    let mut request = Request::get("http://api.test/guarded/x").header("authorization", &bearer);
    for impostor in IMPOSTORS {
        let (name, value) = impostor.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    assert_eq!(client.ask(request.body(<_>::default()).unwrap()).await.status, 200);
    let fields = [&format!("authorization: {bearer}"), "x-user: alice", "x-scope: read write"];
    is_clean(
        &world.upstream.request(0).await,
        &Clean { line: "GET /guarded/x HTTP/1.1", fields: &fields, ..Clean::default() },
        "",
    );
}

#[tokio::test]
async fn what_connection_names_goes_but_not_what_matters() {
    let world = world().await;
    let bearer = format!("authorization: Bearer {}", world.token());
    let ours = [bearer.as_str(), "x-user: alice", "x-scope: read write"];
    for named in [
        "Authorization",
        "authorization",
        "Host",
        "Content-Length",
        "X-User",
        "x-scope",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Real-IP",
        "X-Request-Id",
        "Traceparent",
        "X-Hop",
        "keep-alive, x-hop",
        ",,x-hop,",
        "x hop",
        "\u{e9}",
    ] {
        for line in [format!("connection: {named}"), format!("connection: x-hop\r\nconnection: {named}")] {
            let hops = named.to_ascii_lowercase().contains("x-hop") || line.contains("x-hop");
            let fields = [&ours[..], if hops { &[] } else { &["x-hop: 1"] }].concat();
            let expected = Clean { line: "GET /guarded/x HTTP/1.1", fields: &fields, ..Clean::default() };
            passes(&world, request("GET /guarded/x", &[&bearer, "x-hop: 1", &line]), expected, Kept).await;
        }
    }
    let sent = request("POST /a", &["connection: content-length, transfer-encoding", "content-length: 3"]);
    let expected = Clean { line: "POST /a HTTP/1.1", fields: &["content-length: 3"], body: b"abc", ..Clean::default() };
    passes(&world, [&sent[..], b"abc"].concat(), expected, Kept).await;
}

#[tokio::test]
async fn where_it_came_from_is_what_the_connection_shows() {
    let world = world().await;
    let claimed = [
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-for: 10.0.0.2",
        "x-forwarded-proto: https",
        "x-forwarded-host: admin.test",
        "x-forwarded-port: 443",
        "x-forwarded-server: a",
        "x-forwarded-client-cert: By=x",
        "x_forwarded_for: 10.0.0.1",
        "forwarded: for=10.0.0.1;proto=https;host=admin.test",
        "x-real-ip: 10.0.0.1",
        "x_real_ip: 10.0.0.1",
        "x-request-id: 00000000000000000000000000000000",
    ];
    passes(&world, request("GET /a", &claimed), Clean { line: "GET /a HTTP/1.1", ..Clean::default() }, Kept).await;
    let seen = world.upstream.requests().swap_remove(0);
    assert_ne!(seen.all("x-request-id"), ["0".repeat(32)]);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_as_far_as_it_can_know() {
    let server = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let world = World::routed("", &format!("{ROUTES}\n{server}")).await;
    let claimed = [
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-proto: https",
        "x-forwarded-host: public.test",
        "x-forwarded-port: 443",
        "forwarded: for=192.0.2.7",
        "x-real-ip: 10.0.0.1",
        "x-user: mallory",
        "x-request-id: kept-by-us",
    ];
    let played = play(&world, &request("GET /a", &claimed)).await;
    assert_eq!(played.answers[0].header("x-request-id"), Some("kept-by-us"));
    let seen = &played.seen[0];
    for (name, values) in [
        ("x-forwarded-for", &["10.0.0.1, 192.0.2.7, 127.0.0.1"][..]),
        ("x-forwarded-proto", &["https"]),
        ("x-forwarded-host", &["public.test"]),
        (
            "forwarded",
            &[
                "for=10.0.0.1, for=192.0.2.7;proto=https;host=\"public.test\", for=127.0.0.1;proto=http;host=\"api.test\"",
            ],
        ),
        ("host", &["api.test"]),
        ("x-request-id", &["kept-by-us"]),
        ("x-real-ip", &[]),
        ("x-forwarded-port", &[]),
        ("x-user", &[]),
    ] {
        assert_eq!(seen.all(name), values, "{name}");
    }
}

#[tokio::test]
async fn a_claim_that_no_field_can_hold_is_refused() {
    let world = world().await;
    for sub in
        ["a\rb", "a\nx-scope: admin", "a\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", "a\0b", "\u{7f}", "a\tb", "\u{1}"]
    {
        let bearer = format!("authorization: Bearer {}", world.token_but(&json!({ "sub": sub })));
        each_is_refused(&world, Kept, [(request("GET /guarded/x", &[&bearer]), "401 claims_malformed")]).await;
        // Where nothing of it is sent, nothing of it is asked.
        let expected = Clean { line: "GET /a HTTP/1.1", fields: &[&bearer], ..Clean::default() };
        passes(&world, request("GET /a", &[&bearer]), expected, Kept).await;
    }
}

/// Percent-encoded as UTF-8, so that whoever decodes it has the claim, and no two claims are sent alike.
#[tokio::test]
async fn a_claim_outside_printable_ascii_is_sent_encoded() {
    let world = world().await;
    for (sub, sent) in [
        ("J\u{fc}rgen", "J%C3%BCrgen"),
        ("J%C3%BCrgen", "J%25C3%25BCrgen"),
        ("\u{674e}\u{56db}", "%E6%9D%8E%E5%9B%9B"),
        ("\u{1f43b}", "%F0%9F%90%BB"),
        ("\u{202e}ecila", "%E2%80%AEecila"),
        (" alice ", "%20alice%20"),
        ("alice, bob; \"x\"", "alice, bob; \"x\""),
        ("100%", "100%25"),
    ] {
        let bearer = format!("authorization: Bearer {}", world.token_but(&json!({ "sub": sub })));
        let user = format!("x-user: {sent}");
        let fields = [bearer.as_str(), &user, "x-scope: read write"];
        let expected = Clean { line: "GET /guarded/x HTTP/1.1", fields: &fields, ..Clean::default() };
        passes(&world, request("GET /guarded/x", &[&bearer, "x-user: mallory"]), expected, Kept).await;
    }
}

#[tokio::test]
async fn a_head_may_have_100_fields_and_32_kib() {
    let world = world().await;
    let fields: Vec<String> = (1..100).map(|number| format!("x-{number}: 1")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let line = "GET /a HTTP/1.1";
    passes(&world, request("GET /a", &fields), Clean { line, fields: &fields, ..Clean::default() }, Kept).await;
    let more = [&fields[..], &["x: 1"]].concat();
    each_is_refused(&world, Closed, [(request("GET /a", &more), "431 head_too_large")]).await;
    // One name, many times, is many fields.
    let again = ["a: 1"; 100];
    each_is_refused(&world, Closed, [(request("GET /a", &again), "431 head_too_large")]).await;
    // More than the parser takes, which is no more than it must.
    each_is_refused(&world, Closed, [(request("GET /a", &["a: 1"; 300]), "431 bare")]).await;

    let rest = request("GET /a", &["x: "]).len();
    let filled = |length: usize| format!("x: {}", "a".repeat(length - rest));
    let full = filled(32 * 1024);
    assert_eq!(request("GET /a", &[&full]).len(), 32 * 1024);
    passes(&world, request("GET /a", &[&full]), Clean { line, fields: &[&full], ..Clean::default() }, Kept).await;
    each_is_refused(&world, Closed, [(request("GET /a", &[&filled(32 * 1024 + 1)]), "431 head_too_large")]).await;
    let name = "a".repeat(70_000);
    each_is_refused(&world, Closed, [(request("GET /a", &[&format!("{name}: 1")]), "431 bare")]).await;

    let mut client = Http2::connect(world.gateway.address()).await;
    let mut many = Request::get("http://api.test/a");
    for _ in 0..101 {
        many = many.header("a", "1");
    }
    assert_eq!(told(&client.ask(many.body(<_>::default()).unwrap()).await), "431 head_too_large");
    assert_eq!(client.ask(Request::get("http://api.test/a").body(<_>::default()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn fields_that_are_no_business_of_ours_pass_unchanged() {
    let world = world().await;
    let sent = [
        "content-type: text/plain",
        "content-type: application/json",
        "cookie: a=b; c=d",
        "cookie: a=c",
        "range: bytes=0-1",
        "range: bytes=2-",
        "accept-encoding: gzip, br",
        "if-none-match: \"x\"",
        "proxy-status: x",
        "x-tab: a\tb",
        "x-colon: a:b:c",
        "x-not-ascii: caf\u{e9}",
    ];
    passes(
        &world,
        request("GET /a", &sent),
        Clean { line: "GET /a HTTP/1.1", fields: &sent, ..Clean::default() },
        Kept,
    )
    .await;
}

#[tokio::test]
async fn nobody_is_told_to_go_on_who_may_not() {
    let world = world().await;
    let expecting = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nhost: api.test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n{more}\r\n")
    };
    for (head, expected) in [
        (expecting("POST /guarded/x", ""), "401 credential_missing"),
        (expecting("POST /guarded/x", "authorization: Bearer x\r\n"), "401 token_malformed"),
        (expecting("POST /a//b", ""), "400 path_ambiguous"),
        (expecting("POST /read", ""), "405 method_not_allowed"),
    ] {
        let mut client = Client::connect(world.gateway.address()).await;
        client.send(&head).await;
        assert_eq!(told(&client.answer().await), expected, "the first answer to {head:?}");
        assert_eq!(client.rest().await, b"", "closed, as the body may come or not");
    }
    // What comes at once is not taken for a request, whether it is awaited or not.
    let smuggled = "GET /b HTTP/1.1\r\nhost: api.test\r\n\r\n";
    let body = format!("content-length: {}\r\nexpect: 100-continue", smuggled.len());
    let sent = [request("POST /guarded/x", &[&body]), smuggled.into()].concat();
    each_is_refused(&world, Kept, [(sent, "401 credential_missing")]).await;

    let unknown =
        ["expect: 200-ok", "expect: 100-continue, x", "expect:", "expect: 100-continue\r\nexpect: x", "expect: 100"];
    each_is_refused(&world, Closed, unknown.map(|field| (request("GET /a", &[field]), "400 request_malformed"))).await;
    let expected = Clean { line: "GET /a HTTP/1.1", ..Clean::default() };
    passes(&world, request("GET /a", &["expect: 100-Continue"]), expected, Kept).await;
}

#[tokio::test]
async fn a_host_is_one_name() {
    let world = world().await;
    let hosts = [
        "",
        "host:\r\n",
        "host: \r\n",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nhost: b\r\n",
        "host: a/b\r\n",
        "host: /\r\n",
        "host: u@a\r\n",
        "host: u:p@a\r\n",
        "host: a,b\r\n",
        "host: a, a\r\n",
        "host: a b\r\n",
        "host: a\tb\r\n",
        "host: a:\r\n",
        "host: a:x\r\n",
        "host: a:70000\r\n",
        "host: a:-1\r\n",
        "host: a:1:2\r\n",
        "host: a#b\r\n",
        "host: a?b\r\n",
        "host: a\\b\r\n",
        "host: a%2eb\r\n",
        "host: http://a\r\n",
        "host: a..b\r\n",
        "host: .\r\n",
        "host: .a\r\n",
        "host: caf\u{e9}\r\n",
        "host: [::1\r\n",
        "host: ::1\r\n",
        "host: \"a\"\r\n",
        "host: a;b\r\n",
        "host: a'b\r\n",
        "Host : a\r\nhost: a\r\n",
        "h_ost: a\r\n",
    ];
    let rows = hosts.map(|host| {
        let expected = if host.starts_with("Host :") { "400 bare" } else { "400 request_malformed" };
        (format!("GET /a HTTP/1.1\r\n{host}\r\n").into_bytes(), expected)
    });
    each_is_refused(&world, Closed, rows).await;
    let without = (b"GET /a HTTP/1.0\r\n\r\n".to_vec(), "400 request_malformed");
    each_is_refused(&world, Closed, [without]).await;
    for host in ["API.test", "api.test:8080", "api.test.", "127.0.0.1", "[::1]:80", "a_b"] {
        let sent = format!("GET /a HTTP/1.1\r\nhost: \t{host} \r\n\r\n");
        passes(&world, sent, Clean { line: "GET /a HTTP/1.1", host, ..Clean::default() }, Kept).await;
    }
}

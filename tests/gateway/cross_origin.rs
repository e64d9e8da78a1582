//! Pages of other origins: who answers preflights, and which answers their scripts may read.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::client::{Answer, Http2};
use crate::harness::upstream::Reply;
use crate::harness::world::World;

const APP: &str = "https://app.example.com";

/// `/orders` is readable but for GET, `/own` answers for itself, `/plain` does neither; all ask for a token.
const ROUTES: &str = r#"
[policies.read]
audience = ["https://api.example.com"]
scopes = ["read"]

[[routes]]
name = "get"
path = "/orders"
methods = ["GET"]
policy = "read"
upstream = "api"

[[routes]]
name = "write"
path = "/orders"
methods = ["POST", "DELETE"]
policy = "read"
upstream = "api"
cors = { origins = ["https://app.example.com", "http://localhost:5173"], credentials = true, expose_headers = ["link"] }

[[routes]]
name = "all"
path = "/all/*"
policy = "read"
upstream = "api"
cors = { origins = ["*"], max_age = "1h" }

[[routes]]
name = "own"
path = "/own/*"
methods = ["GET", "PUT"]
policy = "read"
upstream = "api"
preflight = "forward"

[[routes]]
name = "plain"
path = "/plain"
policy = "read"
upstream = "api"
"#;

fn told(answer: &Answer) -> String {
    let code = answer.code();
    if code.is_empty() { answer.status.to_string() } else { format!("{} {code}", answer.status) }
}

/// What an answer says of CORS, as `name: value`.
fn said(answer: &Answer) -> Vec<String> {
    let fields = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut said: Vec<_> = fields
        .filter_map(|(name, value)| {
            let name = if name == "vary" { "vary" } else { name.strip_prefix("access-control-")? };
            Some(format!("{name}: {value}"))
        })
        .collect();
    said.sort();
    said
}

/// A preflight of this origin for a request by that method.
async fn preflight(world: &World, path: &str, origin: &str, method: &str) -> Answer {
    let fields = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    world.ask("OPTIONS", path, &fields).await
}

#[tokio::test]
async fn a_preflight_is_answered_for_the_route_that_the_asked_method_would_take() {
    let world = World::routed("", ROUTES).await;
    for (origin, method) in [(APP, "POST"), (APP, "DELETE"), ("http://localhost:5173", "POST")] {
        let answer = preflight(&world, "/orders?a=b", origin, method).await;
        assert_eq!((answer.status, answer.text()), (204, ""));
        assert!(answer.header("x-request-id").is_some());
        let expected = [
            "allow-credentials: true".to_owned(),
            "allow-headers: authorization,content-type".to_owned(),
            format!("allow-methods: {method}"),
            format!("allow-origin: {origin}"),
            "max-age: 600".to_owned(),
            "vary: Origin".to_owned(),
        ];
        assert_eq!(said(&answer), expected);
    }
    let answer = preflight(&world, "/all/x", "https://anybody.example", "PUT").await;
    let expected =
        ["allow-headers: authorization,content-type", "allow-methods: PUT", "allow-origin: *", "max-age: 3600"];
    assert_eq!((answer.status, said(&answer)), (204, expected.map(str::to_owned).to_vec()));

    // Another origin is told nothing, and the browser keeps the request back.
    for foreign in ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"] {
        let answer = preflight(&world, "/orders", foreign, "POST").await;
        assert_eq!((answer.status, said(&answer)), (204, vec!["vary: Origin".to_owned()]), "{foreign}");
    }

    // The route of the asked method does not answer: judged like any request.
    for (path, method, expected) in [
        ("/plain", "GET", "401 credential_missing"),
        ("/nowhere", "GET", "404 route_unknown"),
        ("/all//x", "GET", "400 path_ambiguous"),
        ("/all/%2e%2e/plain", "GET", "400 path_ambiguous"),
    ] {
        let answer = preflight(&world, path, APP, method).await;
        assert_eq!((told(&answer), said(&answer)), (expected.to_owned(), vec![]), "{path} {method}");
    }
    for method in ["GET", "PUT", "HEAD", "post"] {
        assert_eq!(told(&preflight(&world, "/orders", APP, method).await), "405 method_not_allowed", "{method}");
    }
    assert_eq!(world.upstream.count(), 0);
    let series = "bearward_decisions_total{issuer=\"none\",outcome=\"anonymous\",route=\"write\"}";
    world.gateway.counted(series, 7.0).await;
}

/// Requests that are no preflight, though each has something of one.
fn no_preflights(token: &str) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let (origin, method) = (("Origin", APP.to_owned()), ("Access-Control-Request-Method", "PUT".to_owned()));
    let with = |more: (&'static str, String)| vec![origin.clone(), method.clone(), more];
    vec![
        ("OPTIONS", vec![]),
        ("OPTIONS", vec![origin.clone()]),
        ("OPTIONS", vec![method.clone()]),
        ("OPTIONS", with(("Origin", "https://other.example".to_owned()))),
        ("OPTIONS", with(("Access-Control-Request-Method", "GET".to_owned()))),
        ("OPTIONS", vec![origin.clone(), ("Access-Control-Request-Method", "A B".to_owned())]),
        ("OPTIONS", vec![origin.clone(), ("Access-Control-Request-Method", "TRACE".to_owned())]),
        ("OPTIONS", with(("Cookie", "session=1".to_owned()))),
        ("OPTIONS", with(("Authorization", format!("Bearer {token}")))),
        ("OPTIONS", with(("Authorization", "Basic YTpi".to_owned()))),
        ("PUT", vec![origin.clone(), method.clone()]),
        ("GET", vec![origin, method]),
    ]
}

#[tokio::test]
async fn what_is_no_real_preflight_is_judged_as_ever() {
    let sections = ROUTES.replace("methods = [\"GET\", \"PUT\"]\n", "");
    let world = World::routed("", &sections).await;
    let expired = world.token_but(&json!({ "exp": 1 }));
    for path in ["/all/x", "/own/x"] {
        for (method, fields) in no_preflights(&expired) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = world.ask(method, path, &fields).await;
            let bearer = fields.iter().any(|(_, value)| value.starts_with("Bearer"));
            let expected = if bearer { "401 token_expired" } else { "401 credential_missing" };
            assert_eq!(told(&answer), expected, "{path}: {method} {fields:?}");
        }
    }
    assert_eq!(world.upstream.count(), 0);
    // With a good token it passes like any request.
    let good = format!("Bearer {}", world.token());
    let fields = [("Origin", APP), ("Access-Control-Request-Method", "PUT"), ("Authorization", &good)];
    assert_eq!(world.ask("OPTIONS", "/all/x", &fields).await.status, 200);
    assert_eq!(world.upstream.request(0).await.all("x-user"), ["alice"]);
}

#[tokio::test]
async fn a_page_of_a_named_origin_may_read_every_answer_and_no_other_page() {
    let world = World::routed("", ROUTES).await;
    let good = format!("Bearer {}", world.token());
    let poor = format!("Bearer {}", world.token_but(&json!({ "scope": "" })));
    let theirs = "HTTP/1.1 201 Created\r\naccess-control-allow-origin: *\r\naccess-control-allow-methods: *\r\n\
                  access-control-expose-headers: x-secret\r\nvary: accept\r\ncontent-length: 0\r\n\r\n";
    let readable = [
        "allow-credentials: true",
        "allow-origin: https://app.example.com",
        "expose-headers: x-request-id, www-authenticate, retry-after, grpc-status, grpc-message, link",
        "vary: Origin",
    ];
    for (authorization, expected) in [
        (None, "401 credential_missing"),
        (Some("Bearer x"), "401 token_malformed"),
        (Some(poor.as_str()), "403 scope_insufficient"),
        (Some(good.as_str()), "502 upstream_unreachable"),
        (Some(good.as_str()), "201"),
    ] {
        for (origin, may_read) in
            [(Some(APP), true), (Some("https://evil.example"), false), (Some("null"), false), (None, false)]
        {
            match expected {
                "201" => world.upstream.reply(Reply::Bytes(theirs.into())),
                "502 upstream_unreachable" => world.upstream.reply(Reply::Close(Vec::new())),
                _ => {}
            }
            let mut fields: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
            fields.extend(origin.map(|origin| ("Origin", origin)));
            let answer = world.ask("POST", "/orders", &fields).await;
            assert_eq!(told(&answer), expected, "{origin:?}");
            let mut wanted = if may_read { readable.to_vec() } else { vec!["vary: Origin"] };
            if expected == "201" {
                wanted.push("vary: accept");
            }
            assert_eq!(said(&answer), wanted, "{expected} {origin:?}");
        }
    }
    // That none of the routes at its place takes the method, a page may read that may read the answers of one.
    for (origin, wanted) in [(APP, &readable[..]), ("https://evil.example", &[][..])] {
        for method in ["PUT", "HEAD", "OPTIONS"] {
            let answer = world.ask(method, "/orders", &[("Origin", origin), ("Authorization", &good)]).await;
            assert_eq!(answer.status, 405, "{method} {origin}");
            assert_eq!(said(&answer), wanted, "{method} {origin}");
        }
    }
    assert_eq!(said(&world.ask("PUT", "/orders", &[]).await), Vec::<String>::new());
    // Where no route says so, the upstream says it itself, and our refusals say nothing.
    world.upstream.reply(Reply::Bytes(theirs.into()));
    let answer = world.ask("GET", "/orders", &[("Origin", APP), ("Authorization", &good)]).await;
    assert_eq!(said(&answer), ["allow-methods: *", "allow-origin: *", "expose-headers: x-secret", "vary: accept"]);
    assert_eq!(said(&world.ask("GET", "/orders", &[("Origin", APP)]).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_grpc_refusal_can_be_read_too() {
    let world = World::routed("", ROUTES).await;
    let fields = [("Origin", APP), ("Content-Type", "application/grpc"), ("Content-Length", "0")];
    let answer = world.ask("POST", "/orders", &fields).await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")));
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("grpc-status, grpc-message"));
}

#[tokio::test]
async fn where_the_api_answers_preflights_it_gets_them_without_a_credential() {
    let world = World::routed("", ROUTES).await;
    let theirs = "HTTP/1.1 204 No Content\r\naccess-control-allow-origin: https://any.example\r\n\
                  access-control-max-age: 5\r\n\r\n";
    for (number, method) in ["GET", "PUT"].into_iter().enumerate() {
        world.upstream.reply(Reply::Bytes(theirs.into()));
        let fields = [
            ("Origin", "https://any.example"),
            ("Access-Control-Request-Method", method),
            ("X-User", "mallory"),
            ("x_user", "mallory"),
        ];
        let answer = world.ask("OPTIONS", "/own/x?y", &fields).await;
        assert_eq!(answer.status, 204);
        assert_eq!(said(&answer), ["allow-origin: https://any.example", "max-age: 5"]);
        let seen = world.upstream.request(number).await;
        assert_eq!(seen.line, "OPTIONS /own/x?y HTTP/1.1");
        assert_eq!((seen.all("origin"), seen.all("access-control-request-method")), (vec![fields[0].1], vec![method]));
        assert_eq!((seen.all("x-user"), seen.all("x_user"), seen.all("authorization")), (vec![], vec![], vec![]));
    }
    // The route is not for these methods, and so not for their preflights.
    for method in ["DELETE", "OPTIONS", "HEAD"] {
        assert_eq!(told(&preflight(&world, "/own/x", APP, method).await), "405 method_not_allowed", "{method}");
    }
    assert_eq!(told(&preflight(&world, "/own/..", APP, "GET").await), "400 path_ambiguous");
    assert_eq!(world.upstream.count(), 2);
    let series = "bearward_decisions_total{issuer=\"none\",outcome=\"anonymous\",route=\"own\"}";
    world.gateway.counted(series, 2.0).await;
    let line: Value = serde_json::from_str(&world.gateway.access_lines()[0]).unwrap();
    assert_eq!(
        (&line["outcome"], &line["http.route"], &line["code"]),
        (&json!("anonymous"), &json!("own"), &Value::Null)
    );
}

#[tokio::test]
async fn over_http2_preflights_are_the_same() {
    let world = World::routed("", ROUTES).await;
    let mut client = Http2::connect(world.gateway.address()).await;
    let request = |path: &str, method: &str| {
        let request = Request::options(format!("http://gateway{path}"));
        let request = request.header("origin", APP).header("access-control-request-method", method);
        request.body(Full::<Bytes>::default()).unwrap()
    };
    let answer = client.ask(request("/orders", "POST")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(APP)));
    assert_eq!(told(&client.ask(request("/plain", "POST")).await), "401 credential_missing");
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(client.ask(request("/own/x", "GET")).await.status, 200);
    assert_eq!(world.upstream.request(0).await.line, "OPTIONS /own/x HTTP/1.1");
}

//! What a route's policies come to: several of them, anonymous callers, and shadow mode.

use serde_json::{Value, json};

use crate::harness::client::{Answer, Client};
use crate::harness::issuer::{Answer as IssuerAnswer, Document, Issuer};
use crate::harness::log;
use crate::harness::mint::Key;
use crate::harness::upstream::{Reply, Upstream};
use crate::harness::world::{AUDIENCE, World, merged};

/// A route for each choice of policies, at a path of its own.
fn routes(policies: &str, choices: &[(&str, &str)]) -> String {
    let routes = choices.iter().map(|(name, policy)| {
        format!("[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\npolicy = {policy}\nupstream = \"api\"\n")
    });
    format!("{policies}\n{}", routes.collect::<String>())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// `200`, or the status and code of a refusal.
fn told(answer: &Answer) -> String {
    let code = answer.code();
    if code.is_empty() { answer.status.to_string() } else { format!("{} {code}", answer.status) }
}

const POLICIES: &str = r#"
[policies.read]
audience = ["https://api.example.com"]
scopes = ["read"]
[policies.write]
audience = ["https://api.example.com"]
scopes = ["write"]
[policies.batch]
audience = ["https://api.example.com"]
client_ids = ["batch"]
[policies.acme]
audience = ["https://acme.example.com"]
claims = { tenant = "acme" }
"#;

#[tokio::test]
async fn of_several_policies_the_first_that_permits_wins_and_else_the_furthest_refusal_is_told() {
    let choices = [
        ("read-batch", r#"["read", "batch"]"#),
        ("batch-read", r#"["batch", "read"]"#),
        ("read-write", r#"["read", "write"]"#),
        ("write-read", r#"["write", "read"]"#),
        ("acme-read", r#"["acme", "read"]"#),
    ];
    let world = World::routed("", &routes(POLICIES, &choices)).await;
    for (claims, route, expected, scope) in [
        (json!({}), "read-batch", "200", None),
        (json!({}), "batch-read", "200", None),
        (json!({ "scope": "", "client_id": "batch" }), "read-batch", "200", None),
        (json!({ "scope": "", "client_id": "batch" }), "batch-read", "200", None),
        // The client is judged before the scopes, so that the refusal for the scopes came further.
        (json!({ "scope": "other" }), "read-batch", "403 scope_insufficient", Some("read")),
        (json!({ "scope": "other" }), "batch-read", "403 scope_insufficient", Some("read")),
        // Equally far: the one that is named first.
        (json!({ "scope": "other" }), "read-write", "403 scope_insufficient", Some("read")),
        (json!({ "scope": "other" }), "write-read", "403 scope_insufficient", Some("write")),
        (json!({ "scope": "other" }), "acme-read", "403 scope_insufficient", Some("read")),
        (json!({ "aud": "https://acme.example.com" }), "acme-read", "403 claim_insufficient", None),
        (json!({ "aud": "https://acme.example.com", "tenant": "acme", "scope": "" }), "acme-read", "200", None),
        (json!({ "aud": "https://other.example.com" }), "acme-read", "401 audience_wrong", None),
        // What is judged once is judged before any policy.
        (json!({ "aud": "https://other.example.com", "exp": 1 }), "acme-read", "401 token_expired", None),
    ] {
        let token = world.token_but(&claims);
        let answer = world.ask("GET", &format!("/{route}"), &[("authorization", &bearer(&token))]).await;
        assert_eq!(told(&answer), expected, "{route} {claims}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!(scope.is_some(), challenge.contains("scope="), "{challenge}");
        assert!(challenge.ends_with(&scope.map_or_else(String::new, |scope| format!("scope=\"{scope}\""))));
    }
    assert_eq!(told(&world.ask("GET", "/read-write", &[]).await), "401 credential_missing");
}

#[tokio::test]
async fn a_policy_judges_the_tokens_of_its_own_issuers_only() {
    let partner = Issuer::start(&[]).await;
    let key = Key::p256("partner-1");
    partner.answer(Document::Keys, IssuerAnswer::json(&json!({ "keys": [key.jwk()] })));
    let policies = format!(
        "[issuers.partner]\nissuer = \"{}\"\n\
         [policies.ours]\nissuers = [\"main\"]\naudience = [\"{AUDIENCE}\"]\nscopes = [\"read\"]\n\
         [policies.theirs]\nissuers = [\"partner\"]\naudience = [\"{AUDIENCE}\"]\nclient_ids = [\"partner\"]\n",
        partner.url()
    );
    let choices = [("both", r#"["ours", "theirs"]"#), ("swapped", r#"["theirs", "ours"]"#), ("ours", r#"["ours"]"#)];
    let world = World::routed("", &routes(&policies, &choices)).await;
    let ours = |claims: Value| world.token_but(&claims);
    let theirs = |claims: Value| {
        let good = merged(world.claims(), &json!({ "iss": partner.url(), "client_id": "partner", "scope": null }));
        key.sign(&merged(key.header(), &json!({ "typ": "at+jwt" })), &merged(good, &claims))
    };
    let both = ["both", "swapped"];
    for (token, routes, expected) in [
        (ours(json!({})), &both[..], "200"),
        (theirs(json!({})), &both, "200"),
        // What would do for the other policy does not for this issuer.
        (ours(json!({ "scope": "", "client_id": "partner" })), &both, "403 scope_insufficient"),
        (theirs(json!({ "client_id": "web", "scope": "read" })), &both, "403 client_refused"),
        (ours(json!({ "iss": "https://evil.example.com/" })), &both, "401 issuer_unknown"),
        // Also once the signature is known from another route.
        (theirs(json!({})), &["ours"], "401 issuer_unknown"),
        (ours(json!({})), &["ours"], "200"),
        (ours(json!({ "exp": 1 })), &both, "401 token_expired"),
    ] {
        for route in routes {
            let answer = world.ask("GET", &format!("/{route}"), &[("authorization", &bearer(&token))]).await;
            assert_eq!(told(&answer), expected, "{route}");
        }
    }
}

#[tokio::test]
async fn a_signature_is_verified_once_for_all_policies() {
    let world = World::routed("", &routes(POLICIES, &[("many", r#"["batch", "write", "read"]"#)])).await;
    let token = world.token_but(&json!({ "scope": "read" }));
    for _ in 0..3 {
        assert_eq!(told(&world.ask("GET", "/many", &[("authorization", &bearer(&token))]).await), "200");
    }
    assert_eq!(world.gateway.sample("bearward_verified_cache_total{result=\"miss\"}"), Some(1.0));
    assert_eq!(world.gateway.sample("bearward_verified_cache_total{result=\"hit\"}"), Some(2.0));
}

const VISITORS: &str = r#"
[policies.visitors]
audience = ["https://api.example.com"]
scopes = ["read"]
anonymous = true
[policies.batch]
audience = ["https://api.example.com"]
client_ids = ["batch"]
"#;

#[tokio::test]
async fn without_any_credential_an_anonymous_caller_passes_and_nobody_else() {
    let choices = [("shop", r#""visitors""#), ("either", r#"["batch", "visitors"]"#), ("batch", r#""batch""#)];
    let world = World::routed("", &routes(VISITORS, &choices)).await;
    for route in ["/shop", "/either"] {
        let impostor = [("x-user", "mallory"), ("X_User", "mallory"), ("x-scope", "admin")];
        let answer = world.ask("GET", route, &impostor).await;
        assert_eq!(told(&answer), "200", "{route}");
        let seen = world.upstream.requests().pop().unwrap();
        for name in ["x-user", "x_user", "x-scope", "authorization"] {
            assert!(seen.all(name).is_empty(), "{route} {name}");
        }

        let seen = world.upstream.count();
        let (good, expired) = (world.token(), world.token_but(&json!({ "exp": 1 })));
        for (fields, target, expected) in [
            (&[("authorization", bearer(&expired))][..], "", "401 token_expired"),
            (&[("authorization", bearer("x"))], "", "401 token_malformed"),
            (&[("authorization", "Bearer".to_owned())], "", "400 credential_malformed"),
            (&[("authorization", bearer(&good)), ("authorization", bearer(&good))], "", "400 credential_ambiguous"),
            (&[("authorization", bearer(&good))], "?access_token=x", "400 credential_ambiguous"),
            (&[("authorization", bearer(&world.token_but(&json!({ "scope": "" }))))], "", "403 scope_insufficient"),
            (&[("authorization", bearer(&world.token_but(&json!({ "aud": "other" }))))], "", "401 audience_wrong"),
            // These are credentials, of a kind that is not taken: whoever sends one does not mean to be anonymous.
            (&[("authorization", "Basic YTpi".to_owned())], "", "401 credential_missing"),
            (&[], "?access_token=x", "401 credential_missing"),
        ] {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = world.ask("GET", &format!("{route}{target}"), &fields).await;
            assert_eq!(told(&answer), expected, "{route}");
        }
        assert_eq!(world.upstream.count(), seen, "nothing of them reached the upstream");

        assert_eq!(told(&world.ask("GET", route, &[("authorization", &bearer(&good))]).await), "200");
        assert_eq!(world.upstream.requests().pop().unwrap().all("x-user"), ["alice"]);
    }
    assert_eq!(told(&world.ask("GET", "/batch", &[]).await), "401 credential_missing");
    let anonymous = "bearward_decisions_total{issuer=\"none\",outcome=\"anonymous\",route=\"shop\"}";
    world.gateway.counted(anonymous, 1.0).await;
}

const SHADOW: &str = r#"
[policies.shadow]
audience = ["https://api.example.com"]
scopes = ["read"]
mode = "shadow"
[policies.strict]
audience = ["https://api.example.com"]
scopes = ["write"]
"#;

/// What each of these requests would be refused with.
fn refused_requests(world: &World) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let token = |claims: Value| vec![("authorization", bearer(&world.token_but(&claims)))];
    let twice = [token(json!({})), token(json!({}))].concat();
    vec![
        ("credential_missing", vec![]),
        ("credential_missing", vec![("authorization", "Basic YTpi".to_owned())]),
        ("credential_malformed", vec![("authorization", "Bearer a b".to_owned())]),
        ("credential_ambiguous", twice),
        ("token_malformed", vec![("authorization", bearer("opaque"))]),
        ("token_too_large", vec![("authorization", bearer(&"a".repeat(16 * 1024 + 1)))]),
        ("issuer_unknown", token(json!({ "iss": "https://other.example.com/" }))),
        ("token_kind_unknown", vec![("authorization", bearer(&world.token_headed(&json!({ "typ": "JWT" }))))]),
        ("token_expired", token(json!({ "exp": 1 }))),
        ("key_unknown", vec![("authorization", bearer(&world.token_headed(&json!({ "kid": "key-2" }))))]),
        ("signature_invalid", vec![("authorization", bearer(&(world.token() + "AAAA")))]),
        ("claims_malformed", token(json!({ "sub": "a\nb" }))),
        ("audience_wrong", token(json!({ "aud": "other" }))),
        ("scope_insufficient", token(json!({ "scope": "" }))),
    ]
}

#[tokio::test]
async fn in_shadow_mode_a_refusal_is_let_through_and_told() {
    log::keep();
    let world = World::routed("", &routes(SHADOW, &[("shadow-told", r#""shadow""#)])).await;
    let mut expected = std::collections::BTreeMap::new();
    for (code, fields) in refused_requests(&world) {
        let mut sent: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sent.push(("x-user", "mallory"));
        let answer = world.ask("POST", "/shadow-told?a=b", &sent).await;
        assert_eq!((told(&answer), answer.text()), ("200".to_owned(), "ok"), "{code}");
        assert_eq!(answer.header("www-authenticate"), None);

        let seen = world.upstream.requests().pop().unwrap();
        assert_eq!(seen.target(), "/shadow-told?a=b", "{code}");
        assert_eq!((seen.all("x-user"), seen.all("x-scope")), (vec![], vec![]), "{code}: nobody is named");
        let credentials: Vec<_> = fields.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(seen.all("authorization"), credentials, "{code}: what the upstream had before, it has still");
        *expected.entry(code).or_insert(0.0) += 1.0;
    }
    for (code, count) in &expected {
        let series = format!("bearward_shadow_refusals_total{{code=\"{code}\",route=\"shadow-told\"}}");
        world.gateway.counted(&series, *count).await;
        let lines = log::lines_with("request would be refused");
        let mut lines =
            lines.iter().filter(|line| line.contains("shadow-told") && line.contains(&format!("\"{code}\"")));
        assert!(lines.next().is_some_and(|line| line.contains("cause=") && line.contains("help=")), "{code}");
    }
    let total: f64 = expected.values().sum();
    let decisions = |issuer: &str| {
        format!("bearward_decisions_total{{issuer=\"{issuer}\",outcome=\"anonymous\",route=\"shadow-told\"}}")
    };
    let issuers = ["none", "main"].map(|issuer| world.gateway.sample(&decisions(issuer)).unwrap_or_default());
    assert_eq!(issuers.iter().sum::<f64>(), total);

    let lines: Vec<Value> =
        world.gateway.access_lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> = lines.iter().map(|line| (line["outcome"].as_str().unwrap(), line["code"].as_str())).collect();
    let wanted: Vec<_> = refused_requests(&world).iter().map(|(code, _)| ("shadowed", Some(*code))).collect();
    assert_eq!(shown, wanted);
    assert!(lines.iter().all(|line| line["http.response.status_code"] == 200));
}

#[tokio::test]
async fn in_shadow_mode_a_good_token_is_as_ever() {
    let world = World::routed("", &routes(SHADOW, &[("shadow", r#""shadow""#)])).await;
    let answer = world.ask("GET", "/shadow", &[("authorization", &bearer(&world.token()))]).await;
    assert_eq!(told(&answer), "200");
    assert_eq!(world.upstream.request(0).await.all("x-user"), ["alice"]);
    let permitted = "bearward_decisions_total{issuer=\"main\",outcome=\"permitted\",route=\"shadow\"}";
    world.gateway.counted(permitted, 1.0).await;
    assert!(!world.gateway.shared().telemetry().metrics.render().contains("bearward_shadow_refusals_total{"));
}

/// What is wrong with the request itself, whoever sends it, is no matter of a policy.
#[tokio::test]
async fn in_shadow_mode_a_bad_request_is_refused_as_ever() {
    let routes = format!(
        "{SHADOW}\n[[routes]]\npath = \"/s/*\"\nmethods = [\"GET\", \"POST\"]\npolicy = \"shadow\"\nupstream = \"api\"\n\
         body_bytes = \"1KiB\"\n"
    );
    let world = World::routed("", &routes).await;
    for (request, expected) in [
        ("GET /s/../a HTTP/1.1\r\nhost: a\r\n\r\n", "400 path_ambiguous"),
        ("GET /s/a%2fb HTTP/1.1\r\nhost: a\r\n\r\n", "400 path_ambiguous"),
        ("GET /s/a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400 request_malformed"),
        ("GET /other HTTP/1.1\r\nhost: a\r\n\r\n", "404 route_unknown"),
        ("PUT /s/a HTTP/1.1\r\nhost: a\r\n\r\n", "405 method_not_allowed"),
        ("POST /s/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n", "413 body_too_large"),
    ] {
        let answer = Client::connect(world.gateway.address()).await.ask(request).await;
        assert_eq!(told(&answer), expected, "{request}");
    }
    assert_eq!(world.upstream.count(), 0);
    let fields = (0..100).map(|number| format!("a{number}: 1\r\n")).collect::<String>();
    let head = format!("GET /s/a HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    assert_eq!(told(&Client::connect(world.gateway.address()).await.ask(head).await), "431 head_too_large");
}

/// The roll-out must not depend on the issuer, and what the upstream then does is told as ever.
#[tokio::test]
async fn in_shadow_mode_missing_keys_and_a_silent_upstream_are_told_apart() {
    let gone = "[issuers.gone]\nissuer = \"http://127.0.0.1:1\"\nrequired_for_ready = false\n\
                [policies.shadow]\nissuers = [\"gone\"]\naudience = [\"api\"]\nmode = \"shadow\"\n";
    let world = World::routed("", &routes(gone, &[("shadow", r#""shadow""#)])).await;
    let token = world.token_but(&json!({ "iss": "http://127.0.0.1:1" }));
    assert_eq!(told(&world.ask("GET", "/shadow", &[("authorization", &bearer(&token))]).await), "200");
    let series = "bearward_shadow_refusals_total{code=\"keys_unavailable\",route=\"shadow\"}";
    world.gateway.counted(series, 1.0).await;

    world.upstream.reply(Reply::Close(Vec::new()));
    assert_eq!(told(&world.ask("POST", "/shadow", &[]).await), "502 upstream_unreachable");
    let line: Value = serde_json::from_str(world.gateway.access_lines().last().unwrap()).unwrap();
    assert_eq!((&line["outcome"], &line["code"]), (&json!("shadowed"), &json!("upstream_unreachable")));
}

#[tokio::test]
async fn one_policy_in_shadow_mode_lets_through_what_none_permits() {
    let choices = [("first", r#"["shadow", "strict"]"#), ("last", r#"["strict", "shadow"]"#)];
    let world = World::routed("", &routes(SHADOW, &choices)).await;
    for route in ["first", "last"] {
        let series = |code: &str| format!("bearward_shadow_refusals_total{{code=\"{code}\",route=\"{route}\"}}");
        let ask = async |scope: &str| {
            let token = world.token_but(&json!({ "scope": scope }));
            let answer = world.ask("GET", &format!("/{route}"), &[("authorization", &bearer(&token))]).await;
            assert_eq!(told(&answer), "200");
            world.upstream.requests().pop().unwrap().all("x-user").len()
        };
        assert_eq!((ask("read").await, ask("write").await), (1, 1), "either permits");
        assert_eq!(world.gateway.sample(&series("scope_insufficient")), None);
        assert_eq!(ask("other").await, 0);
        world.gateway.counted(&series("scope_insufficient"), 1.0).await;
    }
}

#[tokio::test]
async fn in_shadow_mode_the_upstream_gets_authorization_as_configured() {
    let sections = format!(
        "{SHADOW}\n[upstreams.apart]\nurl = \"http://127.0.0.1:1\"\nauthorization = \"remove\"\n\
         [[routes]]\npath = \"/a\"\npolicy = \"shadow\"\nupstream = \"apart\"\n"
    );
    let upstream = Upstream::start().await;
    let world = World::routed("", &sections.replace("http://127.0.0.1:1", &upstream.url())).await;
    let bad = bearer(&world.token_but(&json!({ "exp": 1 })));
    for fields in [vec![("authorization", bad.as_str())], vec![("authorization", bad.as_str()); 2]] {
        assert_eq!(told(&world.ask("GET", "/a", &fields).await), "200");
        assert_eq!(upstream.requests().pop().unwrap().all("authorization"), Vec::<&str>::new());
    }
}

//! `bearward explain`: the same decision as the gateway's, told step by step.

use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::gateway::Served;
use crate::harness::mint::{Key, jwk_set, sign_hmac};
use crate::harness::upstream::Upstream;
use crate::harness::world::merged;
use crate::{Done, Files, bearward, bearward_with, text};

const ISS: &str = "https://login.example.com/";
const AUDIENCE: &str = "https://api.example.com";

/// A configuration whose issuers need not be asked for their keys, but for one.
struct Case {
    files: Files,
    config: PathBuf,
    key: Key,
    now: u64,
}

impl Case {
    fn new(upstream: &str) -> Self {
        let files = Files::new();
        let key = Key::p256("key-1");
        let set = files.write("main.jwks", &jwk_set(&[key]).to_string());
        let config = format!(
            r#"
[issuers.main]
issuer = "{ISS}"
algorithms = ["ES256"]
jwks = {{ file = {set:?} }}
[issuers.far]
issuer = "https://far.example.com"
[upstreams.api]
url = "{upstream}"
identity_headers = {{ x-user = "sub" }}
[policies.orders]
issuers = ["main", "far"]
audience = ["{AUDIENCE}"]
client_ids = ["web"]
scopes = ["read"]
claims = {{ tenant = "acme" }}
[[routes]]
name = "orders"
path = "/orders/*"
methods = ["GET", "POST"]
policy = "orders"
upstream = "api"
[[routes]]
path = "/open"
policy = "public"
upstream = "api"
[policies.batch]
issuers = ["main"]
audience = ["{AUDIENCE}"]
client_ids = ["batch"]
[policies.partner]
issuers = ["far"]
audience = ["{AUDIENCE}"]
[[routes]]
path = "/several"
policy = ["batch", "orders", "partner"]
upstream = "api"
[policies.visitors]
issuers = ["main"]
audience = ["{AUDIENCE}"]
anonymous = true
[[routes]]
path = "/visitors"
policy = "visitors"
upstream = "api"
[policies.shadow]
issuers = ["main"]
audience = ["{AUDIENCE}"]
mode = "shadow"
[[routes]]
path = "/shadow"
policy = "shadow"
upstream = "api"
[[routes]]
path = "/app"
policy = "orders"
upstream = "api"
cors = {{ origins = ["https://app.example.com"] }}
[[routes]]
path = "/own/{{id}}"
policy = "orders"
upstream = "api"
preflight = "forward"
encoded_slash = "keep"
[[routes]]
path = "/page"
policy = "orders"
upstream = "api"
session = "web"
[sessions.web]
issuer = "main"
origin = "http://localhost"
client_id = "web"
auth_method = "none"
scopes = ["openid"]
"#
        );
        let config = files.write("bearward.toml", &config);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        Self { files, config, key, now }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let good = json!({
            "iss": ISS, "aud": AUDIENCE, "exp": self.now + 3600, "iat": self.now, "sub": "alice", "client_id": "web",
            "scope": "read write", "tenant": "acme",
        });
        self.key.sign(&merged(self.key.header(), header), &merged(good, claims))
    }

    /// An ID token as an application gets it.
    fn id_token(&self) -> String {
        let claims = json!({ "aud": "web", "scope": null, "client_id": null, "nonce": "n", "tenant": null });
        self.token(&json!({ "typ": "JWT" }), &claims)
    }

    /// Explains `GET /orders/1` with this token, which must not stand in what is told.
    fn explain(&self, token: &str, more: &[&str]) -> Done {
        let file = self.files.write("token", &format!("{token}\n"));
        let done = self.ask(&[&["--url", "http://a/orders/1", "--token-file", text(&file)], more].concat());
        // A word such as `opaque` stands in our own texts too.
        assert!(token.len() < 32 || !format!("{done:?}").contains(token));
        done
    }

    fn ask(&self, more: &[&str]) -> Done {
        bearward(&[&["explain", "--config", text(&self.config)], more].concat())
    }
}

#[test]
fn a_session_cookie_is_judged_as_far_as_it_can_be() {
    let case = Case::new("http://127.0.0.1:3000");
    // The form of a value of ours, with nothing left over.
    let good = format!("theme=dark; __Host-session={:A>64}\n", "geheim");
    for (cookies, method, told) in [
        (good.as_str(), "GET", "which no other process can read"),
        ("__Host-session=geheim", "GET", "no session is of this cookie"),
        ("__Host-session=geheim", "POST", "csrf_refused"),
        ("__Host-session=geheim; __Host-session=geheim", "GET", "session_expired"),
        ("theme=dark", "GET", "credential_missing"),
    ] {
        let file = case.files.write("cookies", cookies);
        let done = case.ask(&["--url", "http://localhost/page", "--method", method, "--cookie-file", text(&file)]);
        assert_eq!((done.code, done.err.as_str()), (1, ""), "{cookies}");
        assert!(done.out.contains(told) && !done.out.contains("geheim"), "{cookies}: {}", done.out);
    }
    let done = case.ask(&["--url", "http://localhost/page", "--cookie-file", "/nowhere"]);
    assert!(done.err.starts_with("error: the cookie file cannot be read: "), "{}", done.err);
}

#[test]
fn a_permitted_request() {
    let case = Case::new("http://127.0.0.1:3000");
    let done = case.explain(&case.token(&json!({}), &json!({})), &[]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    assert!(done.out.starts_with("GET /orders/1\n") && done.out.ends_with("\npermitted\n"), "{}", done.out);
    for line in [
        "  ok       route                orders (/orders/*), to http://127.0.0.1:3000",
        "  ok       issuer               main, dialect rfc9068 (unverified)",
        "  ok       key                  kid \"key-1\"",
        "  ok       signature            verifies with a key of main",
        "  ok       scopes               \"read\", \"write\"",
    ] {
        assert!(done.out.lines().any(|told| told == line), "{line}\n{}", done.out);
    }
    assert!(!done.out.contains("REFUSED") && !done.out.contains("not taken"), "{}", done.out);

    let told = case.explain(&case.token(&json!({}), &json!({})), &["--json"]).json();
    assert_eq!((&told["permitted"], &told["code"], &told["status"]), (&json!(true), &Value::Null, &Value::Null));
    let steps: Vec<_> = told["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    let order = [
        "request head",
        "route",
        "credential",
        "size",
        "shape",
        "crit",
        "issuer",
        "kind",
        "algorithm",
        "time",
        "key",
        "signature",
        "proof",
        "claims well-formed",
        "audience",
        "client",
        "scopes",
        "claims",
    ];
    assert_eq!(steps, order, "the order of the decision");
}

#[test]
fn an_id_token() {
    let case = Case::new("http://127.0.0.1:3000");
    let done = case.explain(&case.id_token(), &[]);
    assert_eq!((done.code, done.err.as_str()), (1, ""));
    let (_, from_kind) = done.out.split_once("  REFUSED  ").unwrap();
    let expected = "\
kind                 id_token_presented: ID token, by the dialect rfc9068: it has the claim `nonce` and no scopes, and no mark of an access token (unverified)
                                cure: let the client send the access_token of the token response, not the id_token; if this is the access token, set the issuer's `dialect` or a `discriminator`
  ok       algorithm            \"ES256\" (unverified)
";
    assert!(from_kind.starts_with(expected), "{}", done.out);
    // Then what else would refuse it: by then the signature was checked, and what it says is a fact.
    let others = [
        "  also     audience             audience_wrong: aud is \"web\"; the policy takes https://api.example.com\n",
        "  also     client               client_refused: the token names no client; the policy takes web\n",
        "  also     scopes               scope_insufficient: the token's scopes are none; the policy needs all of read\n",
        "  also     claims               claim_insufficient: the claim `tenant` has none of the values acme\n",
    ];
    for other in others {
        assert!(done.out.contains(other), "{other}{}", done.out);
    }
    let end = "
refused: 401 id_token_presented
WWW-Authenticate: Bearer realm=\"bearward\", error=\"invalid_token\", error_description=\"This is an ID token, which tells an application who logged in; send the access token.\"
once that is cured, still in the way: audience_wrong, client_refused, scope_insufficient, claim_insufficient
";
    assert!(done.out.ends_with(end), "{}", done.out);

    let done = case.explain(&case.id_token(), &["--json"]);
    let told = done.json();
    assert_eq!((done.code, &told["permitted"], &told["status"]), (1, &json!(false), &json!(401)));
    assert_eq!(told["code"], "id_token_presented");
    let refused: Vec<_> =
        told["steps"].as_array().unwrap().iter().filter(|step| step["verdict"] == "refused").collect();
    assert!(refused.iter().all(|step| step["help"].is_string() && step["saw"].is_string()), "{told}");
    assert_eq!(refused.len(), 5);
}

/// Without keys nothing is called a fact, and nothing is permitted.
#[test]
fn without_keys_the_signature_stays_open() {
    let case = Case::new("http://127.0.0.1:3000");
    const FAR: &str = "https://far.example.com";
    let good = case.explain(&case.token(&json!({}), &json!({ "iss": FAR })), &[]);
    assert_eq!(good.code, 1);
    let undecided = "\nnot decided, though nothing refuses: the issuer is asked for its keys only with --online\n";
    assert!(good.out.ends_with(undecided), "{}", good.out);
    let skipped = "not taken: the issuer is asked for its keys only with --online";
    assert_eq!(good.out.matches(skipped).count(), 2, "{}", good.out);
    assert!(
        good.out.contains("  ok       audience             \"https://api.example.com\" (unverified)\n"),
        "{}",
        good.out
    );

    let foreign = case.explain(&case.token(&json!({}), &json!({ "iss": FAR, "aud": "other" })), &[]);
    let line = "audience_wrong: aud is \"other\"; the policy takes https://api.example.com (unverified)\n";
    assert!(foreign.out.contains(line), "{}", foreign.out);
    let open =
        "unless a step that was not taken refuses it first: the issuer is asked for its keys only with --online\n";
    assert!(foreign.out.ends_with(open), "{}", foreign.out);

    // What is refused before the signature is decided all the same.
    let claims = json!({ "iss": FAR, "aud": "web", "scope": null, "nonce": "n" });
    let id = case.explain(&case.token(&json!({ "typ": "JWT" }), &claims), &[]);
    assert!(id.out.contains("\nrefused: 401 id_token_presented\n") && !id.out.contains(open), "{}", id.out);
}

/// A token that was changed: what it says is no fact either.
#[test]
fn what_a_forged_token_says_is_unverified() {
    let case = Case::new("http://127.0.0.1:3000");
    let claims = json!({ "iss": ISS, "aud": "other", "exp": case.now + 60 });
    let done = case.explain(&Key::p256("evil").named("key-1").token(&claims), &[]);
    assert!(done.out.contains("  ok       key                  kid \"key-1\" (unverified)\n"), "{}", done.out);
    assert!(done.out.contains("  REFUSED  signature            signature_invalid: "), "{}", done.out);
    assert!(
        done.out.contains("aud is \"other\"; the policy takes https://api.example.com (unverified)"),
        "{}",
        done.out
    );
}

/// Several policies, each for itself: the refusal that the caller gets is the one that came furthest.
#[test]
fn several_policies_are_told_one_by_one() {
    let case = Case::new("http://127.0.0.1:3000");
    let explain = |claims: Value, more: &[&str]| {
        let file = case.files.write("token", &case.token(&json!({}), &claims));
        case.ask(&[&["--url", "http://a/several", "--token-file", text(&file)], more].concat())
    };
    let permitted = explain(json!({}), &[]);
    assert_eq!(permitted.code, 0, "{}", permitted.out);
    for line in [
        "  ok       issuer               main, dialect rfc9068, taken by policy batch, orders (unverified)\n",
        "\n  policy batch\n  ok       claims well-formed   ",
        "  no       client               client_refused: the token's client is \"web\"; the policy takes batch\n",
        "\n  policy orders\n",
        "\npermitted\n",
    ] {
        assert!(permitted.out.contains(line), "{line}\n{}", permitted.out);
    }
    assert!(!permitted.out.contains("REFUSED") && !permitted.out.contains("policy partner"), "{}", permitted.out);

    let refused = explain(json!({ "scope": "", "tenant": "evil" }), &[]);
    assert_eq!(refused.code, 1);
    for line in [
        "  also     client               client_refused: the token's client is \"web\"; the policy takes batch\n",
        "  REFUSED  scopes               scope_insufficient: ",
        "  also     claims               claim_insufficient: ",
        "\nrefused: 403 scope_insufficient\n",
        "\nonce that is cured, still in the way: claim_insufficient\n",
    ] {
        assert!(refused.out.contains(line), "{line}\n{}", refused.out);
    }
    let expired = explain(json!({ "exp": 1, "scope": "" }), &[]);
    assert!(expired.out.contains("\nrefused: 401 token_expired\n"), "{}", expired.out);
    assert!(expired.out.ends_with("still in the way: scope_insufficient\n"), "{}", expired.out);

    let told = explain(json!({ "scope": "" }), &["--json"]).json();
    assert_eq!((&told["code"], &told["permitted"]), (&json!("scope_insufficient"), &json!(false)));
    let steps = told["steps"].as_array().unwrap();
    let refused: Vec<_> = steps.iter().filter(|step| step["verdict"] == "refused").collect();
    let by: Vec<_> = refused.iter().map(|step| (&step["policy"], &step["code"])).collect();
    assert_eq!(by, [(&json!("batch"), &json!("client_refused")), (&json!("orders"), &json!("scope_insufficient"))]);
}

#[test]
fn a_refusal_in_shadow_mode_is_let_through_and_told() {
    let case = Case::new("http://127.0.0.1:3000");
    let file = case.files.write("token", &case.token(&json!({}), &json!({ "aud": "other", "exp": 1 })));
    let done = case.ask(&["--url", "http://a/shadow", "--token-file", text(&file)]);
    assert_eq!(done.code, 0, "{}", done.out);
    assert!(done.out.contains("  REFUSED  time                 token_expired: "), "{}", done.out);
    let end = "\nlet through, in shadow mode; enforced it would be refused: 401 token_expired\n";
    assert!(done.out.contains(end) && done.out.ends_with("still in the way: audience_wrong\n"), "{}", done.out);

    let told = case.ask(&["--url", "http://a/shadow", "--json"]).json();
    let (permitted, shadow, code) = (&told["permitted"], &told["shadow"], &told["code"]);
    assert_eq!((permitted, shadow, code), (&json!(true), &json!(true), &json!("credential_missing")));
}

#[test]
fn an_anonymous_request_is_told_as_one() {
    let case = Case::new("http://127.0.0.1:3000");
    let done = case.ask(&["--url", "http://a/visitors"]);
    assert_eq!(done.code, 0, "{}", done.out);
    let line = "  ok       credential           none, and anonymous callers are let in\n";
    assert!(done.out.contains(line) && done.out.ends_with("\npermitted\n"), "{}", done.out);
    let done = case.ask(&["--url", "http://a/visitors?access_token=x"]);
    assert!(done.code == 1 && done.out.contains("\nrefused: 401 credential_missing\n"), "{}", done.out);
}

/// A preflight is told as one only where the gateway takes it for one.
#[tokio::test]
async fn a_preflight_is_told_as_the_gateway_takes_it() {
    let upstream = Upstream::start().await;
    let case = Case::new(&upstream.url());
    let gateway = Served::start(&std::fs::read_to_string(&case.config).unwrap());
    let (origin, method) = ("origin: https://app.example.com", "access-control-request-method: PUT");
    for (path, fields, expected, status) in [
        ("/app", &[origin, method][..], Some("the gateway"), 204),
        ("/own/1", &[origin, method], Some("the upstream"), 200),
        ("/own/a%2Fb", &[origin, method], Some("the upstream"), 200),
        ("/app", &[origin], None, 401),
        ("/own/1", &[method], None, 401),
        ("/several", &[origin, method], None, 401),
    ] {
        let url = format!("http://a{path}");
        let mut arguments = vec!["--method", "OPTIONS", "--url", &url];
        arguments.extend(fields.iter().flat_map(|field| ["--header", field]));
        let done = case.ask(&arguments);
        let line = expected.map(|who| format!("none is looked at: it is a preflight, which {who} answers\n"));
        assert_eq!(done.code, i32::from(expected.is_none()), "{}", done.out);
        assert!(line.is_none_or(|line| done.out.contains(&line)), "{}", done.out);
        let head = format!("OPTIONS {path} HTTP/1.1\r\nhost: a\r\n{}\r\n\r\n", fields.join("\r\n"));
        assert_eq!(Client::connect(gateway.address()).await.ask(head).await.status, status, "{path}");
    }
}

#[test]
fn a_secret_is_told_as_one() {
    let files = Files::new();
    let secret = files.write("secret", &"s".repeat(32));
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = format!(
        "[issuers.main]\nissuer = \"{ISS}\"\nalgorithms = [\"HS256\"]\nhmac_secret = {{ file = {secret:?} }}\n\
         [[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:1\"\npolicy = {{ audience = [\"{AUDIENCE}\"] }}\n"
    );
    let config = files.write("bearward.toml", &config);
    let token = sign_hmac(
        "s".repeat(32).as_bytes(),
        &json!({ "alg": "HS256", "typ": "at+jwt", "kid": "no matter" }),
        &json!({ "iss": ISS, "aud": AUDIENCE, "exp": 4_000_000_000_u64 }),
    );
    let token = files.write("token", &token);
    let done = bearward(&["explain", "--config", text(&config), "--url", "http://a/", "--token-file", text(&token)]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("  ok       key                  the secret of `hmac_secret`\n"), "{}", done.out);
    assert!(!done.out.contains("ssss"), "{}", done.out);
}

#[test]
fn a_token_comes_from_a_file_or_from_standard_input_only() {
    let case = Case::new("http://127.0.0.1:3000");
    let token = case.token(&json!({}), &json!({}));
    let arguments = ["explain", "--url", "http://a/orders/1", "--token-file", "-"];
    let done = bearward_with(&arguments, &[("BEARWARD_CONFIG", &case.config)], &format!("{token}\r\n"));
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");

    for header in
        ["Authorization: Bearer a.b.c", "authorization:x", "AUTHORIZATION : Basic x", "Proxy-Authorization: x"]
    {
        let done = case.ask(&["--url", "http://a/orders/1", "--header", header]);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{header}");
        let told = "error: credentials are not taken from arguments, where others can read them; use --token-file\n";
        assert_eq!(done.err, told);
    }
    let done = case.ask(&["--url", "http://a/orders/1", "--header", "Cookie: session=1"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    assert!(done.err.starts_with("error: cookies are not taken from arguments"), "{}", done.err);
    // A token in a URL is none that counts, and is not told either.
    let done = case.ask(&["--url", "http://a/orders/1?access_token=a-secret"]);
    assert_eq!(done.code, 1);
    assert!(
        done.out.contains("credential_missing: there is no Authorization header, and a token in the query")
            && !done.out.contains("a-secret")
    );

    for (arguments, told) in [
        (&["--url", "/orders"][..], "--url is no whole URL; write http://host/path"),
        (&["--url", "orders"], "--url is no whole URL; write http://host/path"),
        (&["--url", "http://a/ b"], "--url is no URL: "),
        (&["--url", "http://a/", "--method", "G ET"], "--method is no HTTP method"),
        (&["--url", "http://a/", "--header", "x"], "--header is not `Name: value`"),
        (&["--url", "http://a/", "--token-file", "/nowhere/token"], "the token file cannot be read: "),
    ] {
        let done = case.ask(arguments);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{arguments:?}");
        assert!(done.err.starts_with(&format!("error: {told}")), "{arguments:?}: {}", done.err);
    }
}

/// What stands around a token in its file is taken off and told; what stands within it is the token's own fault.
#[test]
fn what_stands_around_a_token_in_its_file_is_taken_off_and_told() {
    let case = Case::new("http://127.0.0.1:3000");
    let token = case.token(&json!({}), &json!({}));
    for (text, told) in [
        (format!("Bearer {token}"), "`Bearer ` stands in front"),
        (format!("Authorization: Bearer {token}"), "the header's name stands in front"),
        (format!("\"{token}\""), "quotation marks stand around it"),
        (
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": 60 }).to_string(),
            "it is the issuer's whole answer in JSON; `access_token` of it is looked at",
        ),
    ] {
        let done = case.explain(&text, &[]);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{told}: {done:?}");
        assert!(
            done.out.contains(&format!("\n  note     token file           {told}; it is taken off here\n")),
            "{done:?}"
        );
        assert!(done.out.contains("\n                                cure: "), "{}", done.out);
        let notes = case.explain(&text, &["--json"]).json()["text"].clone();
        assert_eq!(notes[0]["what"], told);
        assert!(!notes.to_string().contains(&token), "{notes}");
    }
    let (head, tail) = token.split_at(60);
    let done = case.explain(&format!("{head} {tail}"), &[]);
    assert!(done.code == 1 && done.out.contains("\nrefused: 400 credential_malformed\n"), "{}", done.out);
    assert_eq!(case.explain(&token, &["--json"]).json()["text"], json!([]));
    for (text, told) in [
        ("", "error: the token file holds no token: there is nothing in it\nhelp: put the token into it\n"),
        (
            r#"{"error":"invalid_grant"}"#,
            "error: the token file holds no token: it is an error of the issuer in JSON\n\
             help: see its `error` and `error_description`: the issuer gave no token\n",
        ),
        ("a\nb", "error: the token file holds a line break or other bytes that no header can hold"),
    ] {
        let done = case.explain(text, &[]);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{text:?}");
        assert!(done.err.starts_with(told), "{text:?}: {}", done.err);
    }
}

/// One token, one answer: `explain` tells first what the gateway answers, with the same configuration.
#[tokio::test]
async fn the_gateway_answers_what_explain_tells() {
    let upstream = Upstream::start().await;
    let case = Case::new(&upstream.url());
    let gateway = Served::start(&std::fs::read_to_string(&case.config).unwrap());
    let claims = |claims: Value| case.token(&json!({}), &claims);
    let header = |header: Value| case.token(&header, &json!({}));
    let evil = Key::p256("evil");
    let tokens = [
        ("permitted", claims(json!({}))),
        ("permitted", claims(json!({ "aud": [AUDIENCE, "other"], "sub": null, "iat": null }))),
        ("token_malformed", "opaque".to_owned()),
        ("token_malformed", "a.b.c".to_owned()),
        ("token_malformed", "a.b.c.d.e".to_owned()),
        ("token_too_large", "a".repeat(16 * 1024 + 1)),
        ("extension_refused", header(json!({ "crit": ["exp"] }))),
        ("extension_refused", header(json!({ "b64": false }))),
        ("issuer_unknown", claims(json!({ "iss": ISS.trim_end_matches('/') }))),
        ("claims_malformed", claims(json!({ "iss": null }))),
        ("id_token_presented", case.id_token()),
        ("id_token_presented", claims(json!({ "at_hash": "x", "exp": 1 }))),
        ("refresh_token_presented", claims(json!({ "tokenName": "refresh_token" }))),
        ("logout_token_presented", header(json!({ "typ": "logout+jwt" }))),
        ("token_kind_unknown", header(json!({ "typ": null }))),
        ("algorithm_refused", Key::rsa("key-1").token(&json!({ "iss": ISS }))),
        ("token_expired", claims(json!({ "exp": case.now - 31 }))),
        ("token_expired", evil.token(&json!({ "iss": ISS, "exp": 1 }))),
        ("token_not_yet_valid", claims(json!({ "nbf": case.now + 3600 }))),
        ("claims_malformed", claims(json!({ "exp": "soon" }))),
        ("key_unknown", header(json!({ "kid": "key-2" }))),
        ("key_unknown", evil.token(&json!({ "iss": ISS, "exp": case.now + 60 }))),
        ("signature_invalid", evil.named("key-1").token(&json!({ "iss": ISS, "exp": case.now + 60, "aud": "other" }))),
        ("proof_required", claims(json!({ "cnf": { "jkt": "x" }, "aud": "other" }))),
        ("claims_malformed", claims(json!({ "scope": 1, "aud": "other" }))),
        ("audience_wrong", claims(json!({ "aud": "other", "scope": "" }))),
        ("audience_wrong", claims(json!({ "aud": null }))),
        ("client_refused", claims(json!({ "client_id": "batch", "scope": "" }))),
        ("scope_insufficient", claims(json!({ "scope": "write", "tenant": "evil" }))),
        ("claim_insufficient", claims(json!({ "tenant": "evil" }))),
        ("claims_malformed", claims(json!({ "tenant": 7 }))),
        ("credential_malformed", "two tokens".to_owned()),
    ];
    for (expected, token) in &tokens {
        let told = case.explain(token, &["--json"]).json();
        let told_code = told["code"].as_str().unwrap_or(if told["permitted"] == true { "permitted" } else { "?" });
        let head = format!("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
        let answer = Client::connect(gateway.address()).await.ask(head).await;
        let code = if answer.status == 200 { "permitted".to_owned() } else { answer.code() };
        assert_eq!((told_code, code.as_str()), (*expected, *expected), "{told:#}");
        if code != "permitted" {
            assert_eq!(told["status"], answer.status, "{code}");
            assert_eq!(told["www_authenticate"].as_str(), answer.header("www-authenticate"), "{code}");
        }
    }
    for (expected, method, path) in [
        ("permitted", "GET", "/open"),
        ("permitted", "GET", "/visitors"),
        ("credential_missing", "GET", "/visitors?access_token=x"),
        ("credential_missing", "GET", "/several"),
        ("route_unknown", "GET", "/nowhere"),
        ("method_not_allowed", "DELETE", "/orders/1"),
        ("path_ambiguous", "GET", "/orders//1"),
        ("path_ambiguous", "GET", "/orders/a%2Fb"),
        ("credential_missing", "GET", "/own/a%2Fb"),
        ("path_ambiguous", "GET", "/orders/%2e%2e/open"),
        ("credential_missing", "GET", "/orders/1"),
        ("credential_missing", "GET", "/orders/1?access_token=x"),
    ] {
        let done = case.ask(&["--json", "--method", method, "--url", &format!("http://a{path}")]);
        let told = done.json();
        let answer =
            Client::connect(gateway.address()).await.ask(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let code = if answer.status == 200 { "permitted".to_owned() } else { answer.code() };
        assert_eq!((told["code"].as_str().unwrap_or("permitted"), code.as_str()), (expected, expected), "{path}");
        assert_eq!(done.code, i32::from(expected != "permitted"));
    }
}

#[test]
fn a_wrong_configuration_is_reported_as_by_check() {
    let files = Files::new();
    let config = files.write("bearward.toml", "[issuers.main]\nissuer = 1\n");
    let done = bearward(&["explain", "--config", text(&config), "--url", "http://a/"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    let check = bearward(&["check", "--config", text(&config)]);
    assert!(!done.err.is_empty() && check.err.starts_with(&done.err), "{}", done.err);
}

/// gRPC is refused in its own terms, whatever the code.
#[tokio::test]
async fn a_request_of_grpc_is_told_as_it_is_refused() {
    let upstream = Upstream::start().await;
    let case = Case::new(&upstream.url());
    let gateway = Served::start(&std::fs::read_to_string(&case.config).unwrap());
    for (path, status, code) in [
        ("/orders/1", 16, "credential_missing"),
        ("/nowhere", 12, "route_unknown"),
        ("/orders%2F1", 3, "path_ambiguous"),
    ] {
        let url = format!("http://a{path}");
        let arguments = ["--method", "POST", "--url", &url, "--header", "content-type: application/grpc+proto"];
        let done = case.ask(&arguments);
        let line = format!("\nrefused: 200 with grpc-status {status}, {code}\n");
        assert!(done.out.contains(&line) && !done.out.contains("WWW-Authenticate"), "{}", done.out);
        let told = case.ask(&[&arguments[..], &["--json"]].concat()).json();
        let said = [&told["status"], &told["grpc_status"], &told["code"], &told["www_authenticate"]];
        assert_eq!(said, [&json!(200), &json!(status), &json!(code), &Value::Null]);

        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc+proto\r\ncontent-length: 0\r\n\r\n"
        );
        let answer = Client::connect(gateway.address()).await.ask(head).await;
        let status = status.to_string();
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(status.as_str())), "{path}");
        assert_eq!(answer.header("www-authenticate"), None, "{path}");
    }
}

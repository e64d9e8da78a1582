//! `check --online` and `explain --online`: each issuer is asked as `run` will ask it.

use std::time::SystemTime;

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::forms::Reply;
use crate::harness::introspection::Introspection;
use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::mint::{Key, jwk_set};
use crate::harness::world::merged;
use crate::{Done, Files, bearward, text};

/// A configuration with these lines about its one issuer, which is served by this runtime.
async fn check(lines: &str, arguments: &[&str]) -> Done {
    let files = Files::new();
    let config = files.write(
        "bearward.toml",
        &format!(
            "[issuers.main]\n{lines}\n\
             [[routes]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\npolicy = {{ audience = [\"api\"] }}\n"
        ),
    );
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let ask = move || {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        bearward(&[&["check", "--online", "--config", text(&config)], arguments.as_slice()].concat())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn named(issuer: &Issuer) -> String {
    format!("issuer = \"{}\"", issuer.url())
}

/// What was found out, as far as it is beneath the description of the file.
fn asked(done: &Done) -> &str {
    let at = done.out.find("asked main\n").unwrap_or_else(|| panic!("{done:?}"));
    &done.out[at..]
}

/// The key set, with the time that it is by its server's clock.
fn dated(keys: &[Key], ahead: i64) -> Answer {
    let date = Timestamp::now() + SignedDuration::from_secs(ahead);
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
    Answer::headed(keys, &[&format!("Date: {date}")])
}

#[tokio::test]
async fn an_issuer_that_will_do() {
    let keys = [Key::p256("a"), Key::rsa("b")];
    let issuer = Issuer::start(&keys).await;
    let done = check(&format!("{}\nalgorithms = [\"RS256\", \"ES256\", \"EdDSA\"]", named(&issuer)), &[]).await;
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    assert!(done.out.starts_with("server\n"), "{}", done.out);
    let expected = format!(
        "asked main\n\
         \u{20} ok    issuer     {} names exactly this issuer\n\
         \u{20} ok    keys       2 usable\n\
         \u{20} ok    algorithms RS256, ES256\n\n",
        issuer.url_of(Document::Discovery)
    );
    assert_eq!(asked(&done), expected);

    let told = check(&named(&issuer), &["--json"]).await.json();
    assert_eq!(told["configuration"]["issuers"][0]["name"], "main");
    let main = &told["online"][0];
    assert_eq!((&main["issuer"], &main["findings"][1]["saw"]), (&json!("main"), &json!("2 usable")));
    assert!(main["findings"].as_array().unwrap().iter().all(|finding| finding["cure"] == Value::Null), "{main}");
}

/// Each fault is told with its cure, and ends with 1; the file itself is good.
#[tokio::test]
async fn an_issuer_that_will_not_do() {
    let keys = [Key::p256("a")];
    let mut issuer = Issuer::start(&keys).await;
    let (name, discovery, set) = (named(&issuer), issuer.url_of(Document::Discovery), issuer.url_of(Document::Keys));
    let mut slashed = issuer.metadata();
    slashed["issuer"] = json!(format!("{}/", issuer.url()));
    let symmetric = json!({ "keys": [{ "kty": "oct", "k": "AAAA", "kid": "old" }] });
    let good = Answer::json(&jwk_set(&keys));
    let rsa_only = format!("{name}\nalgorithms = [\"RS256\"]");
    for (lines, document, answer, told) in [
        (
            &name,
            Document::Discovery,
            Answer::json(&slashed),
            format!("{discovery}: the discovery document is of the issuer \"{}/\"", issuer.url()),
        ),
        (&name, Document::Discovery, Answer::html(), format!("{discovery}: the answer is an HTML page, not JSON")),
        (&name, Document::Keys, Answer::Status(500), format!("{set}: the answer has status 500")),
        (
            &name,
            Document::Keys,
            Answer::json(&symmetric),
            format!(
                "{set}: the key set has no usable key: \"old\" is a private or symmetric key, which a key set must never publish"
            ),
        ),
        (&name, Document::Keys, Answer::json(&jwk_set(&[])), format!("{set}: the key set is empty")),
        (&rsa_only, Document::Keys, good.clone(), "its keys are for ES256, and `algorithms` has RS256".to_owned()),
    ] {
        issuer.answer(document, answer);
        let done = check(lines, &[]).await;
        assert_eq!((done.code, done.err.as_str()), (1, ""), "{told}: {done:?}");
        let failed: Vec<_> = asked(&done).lines().skip_while(|line| !line.starts_with("  FAIL")).collect();
        assert!(failed[0].ends_with(&format!(" {told}")), "{told}\n{failed:?}");
        assert!(failed[1].trim_start().starts_with("cure: "), "{failed:?}");
        issuer.answer(Document::Discovery, Answer::json(&issuer.metadata()));
        issuer.answer(Document::Keys, good.clone());
    }
    issuer.down().await;
    let done = check(&name, &["--json"]).await;
    let told = done.json();
    let finding = &told["online"][0]["findings"][0];
    assert_eq!((done.code, &finding["about"]), (1, &json!("keys")), "{told}");
    assert!(finding["saw"].as_str().unwrap().starts_with(&format!("{discovery}: no connection: ")), "{finding}");
    assert!(finding["cure"].is_string(), "{finding}");
}

/// Time passes until the clocks are compared, so what is told of a difference is told about.
#[tokio::test]
async fn the_clocks_are_compared() {
    let keys = [Key::p256("a")];
    let issuer = Issuer::start(&keys).await;
    for (ahead, told) in [(15, None), (300, Some("ahead of")), (-300, Some("behind"))] {
        issuer.answer(Document::Keys, dated(&keys, ahead));
        let done = check(&named(&issuer), &[]).await;
        assert_eq!(done.code, i32::from(told.is_some()), "{done:?}");
        let line = asked(&done).lines().find(|line| line.contains(" clock ")).unwrap();
        let Some(told) = told else {
            assert!(line.starts_with("  ok    clock"), "{line}");
            continue;
        };
        let (seconds, rest) = line.strip_prefix("  FAIL  clock      ").unwrap().split_at(3);
        assert!((240..=360).contains(&seconds.parse::<u32>().unwrap()), "{line}");
        assert_eq!(rest, format!(" s {told} ours, more than `leeway` (30 s)"));
    }
}

/// Where the issuer is asked about opaque tokens, it must know us, and not call a made-up token active.
#[tokio::test]
async fn the_introspection_endpoint_is_asked_too() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut endpoint = Introspection::start().await;
    let lines = format!(
        "{}\nintrospection = {{ endpoint = \"{}\", client_id = \"gateway\", auth_method = \"none\", timeout = \"60s\" }}",
        named(&issuer),
        endpoint.url()
    );
    let inactive = Reply::json(&json!({ "active": false }));
    for (reply, code, told) in [
        (inactive.clone(), 0, "  ok    opaque     the introspection endpoint answers us\n"),
        (Reply::status(401, "", ""), 1, "  FAIL  opaque     issuer main: "),
        (Reply::body("text/html", "<html>"), 1, "  FAIL  opaque     issuer main: "),
        (
            Reply::json(&json!({ "active": true })),
            1,
            "  FAIL  opaque     the introspection endpoint calls a token active that we made up\n",
        ),
    ] {
        endpoint.otherwise(reply);
        let done = check(&lines, &[]).await;
        assert_eq!((done.code, done.err.as_str()), (code, ""), "{done:?}");
        assert!(asked(&done).contains(told), "{told}\n{}", done.out);
        assert_eq!(asked(&done).contains("cure: "), code == 1);
    }
    assert_eq!(endpoint.asked()[0].field("token"), Some("made-up-by-bearward-check"));
    endpoint.down().await;
    assert_eq!(check(&lines, &[]).await.code, 1);
}

/// Where browsers log in at the issuer, it must have what a login needs.
#[tokio::test]
async fn an_issuer_that_logs_browsers_in_has_the_endpoints_for_that() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let (url, name) = (issuer.url(), named(&issuer));
    let session = "[sessions.web]\nissuer = \"main\"\norigin = \"https://app.example.com\"\nclient_id = \"web\"\n\
                   auth_method = \"none\"\nscopes = [\"openid\"]\ntimeout = \"60s\"\n";
    let discovered = format!("{name}\n{session}");
    let written = format!("{name}\nendpoints = {{ authorization = \"{url}/here\" }}\n{session}");
    let with = |changes: Value| merged(issuer.metadata(), &changes);
    let authorization = json!({ "authorization_endpoint": format!("{url}/authorize") });
    for (lines, document, fault, told) in [
        (
            &discovered,
            with(authorization.clone()),
            false,
            format!("browsers are sent to {url}/authorize, tokens come from {url}/token"),
        ),
        (&written, with(json!({})), false, format!("browsers are sent to {url}/here, tokens come from {url}/token")),
        (
            &discovered,
            with(json!({})),
            true,
            "the discovery document has no string `authorization_endpoint`".to_owned(),
        ),
        (
            &discovered,
            merged(with(authorization), &json!({ "token_endpoint": null })),
            true,
            "the discovery document has no string `token_endpoint`".to_owned(),
        ),
        (
            &discovered,
            with(json!({ "authorization_endpoint": "https://login.example.com/authorize" })),
            true,
            "the `authorization_endpoint` of the discovery document has another scheme than the issuer".to_owned(),
        ),
        // Nobody logs in there.
        (&name, with(json!({ "token_endpoint": null })), false, String::new()),
    ] {
        issuer.answer(Document::Discovery, Answer::json(&document));
        let done = check(lines, &[]).await;
        assert_eq!(done.code, i32::from(fault), "{done:?}");
        let mut rest = asked(&done).lines().skip_while(|line| !line.contains("  login  "));
        let verdict = if fault { "FAIL" } else { "ok  " };
        let line = (!told.is_empty()).then(|| format!("  {verdict}  login      {told}"));
        assert_eq!(rest.next(), line.as_deref(), "{}", done.out);
        let cured = rest.next().is_some_and(|line| line.trim_start().starts_with("cure: "));
        assert_eq!(cured, fault, "{}", done.out);
    }
}

/// Of a wrong file nobody is asked, and its code stays 2.
#[tokio::test]
async fn nobody_is_asked_about_a_wrong_file() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let done = check(&format!("{}\nalgorithm = 1", named(&issuer)), &["--json"]).await;
    assert_eq!((done.code, done.json().get("online")), (2, None));
    assert_eq!(issuer.requests(Document::Discovery), 0);
}

#[tokio::test]
async fn explain_asks_the_issuer_for_its_keys() {
    let (key, evil) = (Key::p256("a"), Key::p256("evil"));
    let issuer = Issuer::start(&[key]).await;
    let files = Files::new();
    let config = files.write(
        "bearward.toml",
        &format!(
            "[issuers.main]\nissuer = \"{}\"\n\
             [[routes]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\npolicy = {{ audience = [\"api\"] }}\n",
            issuer.url()
        ),
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "iss": issuer.url(), "aud": "api", "exp": now + 3600 });
    for (token, online, code, told) in [
        (key.token(&claims), true, 0, "\npermitted\n"),
        (evil.named("a").token(&claims), true, 1, "\nrefused: 401 signature_invalid\n"),
        (evil.token(&claims), true, 1, "\nrefused: 401 key_unknown\n"),
        (key.token(&claims), false, 1, "\nnot decided, though nothing refuses: the issuer is asked"),
    ] {
        let (token, config) = (files.write("token", &token), config.clone());
        let explain = move || {
            let arguments = ["explain", "--config", text(&config), "--url", "http://a/", "--token-file", text(&token)];
            bearward(&[&arguments[..], if online { &["--online"] } else { &[] }].concat())
        };
        let done = tokio::task::spawn_blocking(explain).await.unwrap();
        assert_eq!(done.code, code, "{told}: {done:?}");
        assert!(done.out.contains(told), "{told}\n{}", done.out);
    }
}

/// What the issuer answers about an opaque token is a fact, and each step says what it saw of it.
#[tokio::test]
async fn explain_asks_the_issuer_about_an_opaque_token() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let endpoint = Introspection::start().await;
    let files = Files::new();
    let config = files.write(
        "bearward.toml",
        &format!(
            "[issuers.main]\nissuer = \"{}\"\n\
             introspection = {{ endpoint = \"{}\", client_id = \"gateway\", auth_method = \"none\", timeout = \"60s\" }}\n\
             [[routes]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\npolicy = {{ audience = [\"api\"] }}\n",
            issuer.url(),
            endpoint.url()
        ),
    );
    let good = json!({ "active": true, "token_type": "Bearer", "aud": "api", "exp": 4_000_000_000_u64 });
    let step = |name: &str, saw: &str| format!("  ok       {name:<20} {saw}\n");
    for (changes, code, told) in [
        (json!({}), 0, step("issuer", "main, which was asked; its answer names no other")),
        (json!({ "iss": issuer.url() }), 0, step("issuer", &format!("main, by its name \"{}\"", issuer.url()))),
        (json!({ "exp": null }), 0, step("time", "the answer says no end; `active` speaks of the time too")),
        (
            json!({ "iss": "https://evil" }),
            1,
            "issuer_unknown: the token's iss is \"https://evil\"; trusted".to_owned(),
        ),
        (json!({ "exp": 1 }), 1, "token_expired: exp is 1970-01-01T00:00:01Z, now is ".to_owned()),
        (
            json!({ "nbf": 4_000_000_000_u64 }),
            1,
            "token_not_yet_valid: nbf is 2096-10-02T07:06:40Z, now is ".to_owned(),
        ),
        (
            json!({ "token_type": "refresh_token" }),
            1,
            "refresh_token_presented: refresh token, by the dialect rfc9068: ".to_owned(),
        ),
    ] {
        endpoint.know("opaque", Reply::json(&merged(good.clone(), &changes)));
        let (token, config) = (files.write("token", "opaque"), config.clone());
        let explain = move || {
            let arguments = ["explain", "--config", text(&config), "--url", "http://a/", "--token-file", text(&token)];
            bearward(&[&arguments[..], &["--online"]].concat())
        };
        let done = tokio::task::spawn_blocking(explain).await.unwrap();
        assert_eq!(done.code, code, "{told}: {done:?}");
        assert!(done.out.contains(&told) && !done.out.contains("unverified"), "{told}\n{}", done.out);
    }
}

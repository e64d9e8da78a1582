//! `bearward inspect`: what a token says, told offline; the exit code is the signature's alone.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::mint::{Key, jwk_set, sign_hmac};
use crate::{Done, Files, bearward, bearward_with, text};

const ISS: &str = "https://login.example.com/";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn token(key: &Key, typ: &str, claims: &Value) -> String {
    let mut header = key.header();
    header["typ"] = json!(typ);
    key.sign(&header, claims)
}

/// Inspects what stands on standard input. Neither the token nor its signature may stand in what is told.
fn inspect(input: &str, arguments: &[&str]) -> Done {
    let done = bearward_with(&[&["inspect"], arguments].concat(), &[], input);
    let told = format!("{}{}", done.out, done.err);
    for part in input.split(['.', ' ', '"', '&', '=']).filter(|part| part.len() > 20) {
        assert!(!told.contains(part), "{part}: {told}");
    }
    done
}

/// What is wrong with the text, by the report for machines.
fn text_faults(done: &Done) -> Vec<String> {
    let told = done.json();
    told["text"].as_array().unwrap().iter().map(|fault| fault["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_token_whose_signature_holds() {
    let files = Files::new();
    let key = Key::p256("key-1");
    let set = files.write("keys.json", &jwk_set(&[key]).to_string());
    let claims = json!({
        "iss": ISS, "sub": "alice", "client_id": "web", "aud": ["https://api.example.com", "other"], "scope": "read write",
        "iat": 1_600_000_000, "exp": 1_600_003_600, "tenant": "acme", "roles": ["ops"],
    });
    let good = token(&key, "at+jwt", &claims);
    let done = inspect(&format!("{good}\n"), &["--jwks", text(&set)]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "expired or not, the signature holds: {done:?}");
    let days = (now() - 1_600_000_000) / 86_400;
    let expired = (now() - 1_600_003_600) / 86_400;
    let expected = format!(
        r#"kind        access token
evidence    its header's typ is "at+jwt"
judged      by the standards alone (RFC 9068, OpenID Connect)
issuer      "https://login.example.com/"
subject     "alice"
client      "web"
audience    "https://api.example.com", "other"
scopes      "read", "write"
issued      2020-09-13T12:26:40Z, {days} days ago
valid from  none
expires     2020-09-13T13:26:40Z, expired {expired} days ago
algorithm   "ES256"
kid         "key-1"
type        "at+jwt"
claims      client_id = "web"
            roles = ["ops"]
            scope = "read write"
            tenant = "acme"

the signature holds, by the key "key-1" of `{}`
"#,
        set.display()
    );
    assert_eq!(done.out, expected);

    let told = inspect(&good, &["--json", "--jwks", text(&set)]).json();
    assert_eq!(told["signature"]["verified"], true);
    assert_eq!(
        (&told["kind"], &told["issuer"], &told["subject"]),
        (&json!("access token"), &json!(ISS), &json!("alice"))
    );
    assert_eq!((&told["scopes"], &told["text"]), (&json!(["read", "write"]), &json!([])));
    assert_eq!((&told["claims"], &told["header"]["alg"]), (&claims, &json!("ES256")));
    assert_eq!(told["expires"]["utc"], "2020-09-13T13:26:40Z");

    let from_file = files.write("token", &good);
    for arguments in [["--jwks", text(&set), text(&from_file)], ["--jwks", text(&set), "-"]] {
        assert_eq!(inspect(&good, &arguments).out, done.out);
    }
}

#[test]
fn only_a_signature_that_holds_ends_with_0() {
    let files = Files::new();
    let (key, evil) = (Key::p256("key-1"), Key::p256("evil"));
    let set = files.write("keys.json", &jwk_set(&[key]).to_string());
    let config = files.write(
        "bearward.toml",
        &format!(
            "[issuers.main]\nissuer = \"{ISS}\"\ndialect = \"forgerock\"\njwks = {{ file = \"keys.json\" }}\n\
             [issuers.far]\nissuer = \"https://far.example.com\"\n\
             [[routes]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\npolicy = \"public\"\n"
        ),
    );
    let of = |iss: &str| json!({ "iss": iss, "exp": 1, "tokenName": "access_token" });
    let good = token(&key, "JWT", &of(ISS));
    let secret = sign_hmac(&[7; 32], &json!({ "typ": "JWT", "alg": "HS256" }), &of(ISS));
    let (jwks, config) = (["--jwks", text(&set)], ["--config", text(&config)]);
    for (token, arguments, code, told) in [
        (&good, &jwks[..], 0, "the signature holds, by the key \"key-1\" of `"),
        (&good, &config, 0, "the signature holds, by the key \"key-1\" of main\n"),
        (&good, &[], 1, "NOT VERIFIED: there are no keys to check it with\n"),
        (&token(&evil.named("key-1"), "JWT", &of(ISS)), &jwks, 1, "THE SIGNATURE DOES NOT HOLD: "),
        (&token(&evil.named("key-1"), "JWT", &of(ISS)), &config, 1, "THE SIGNATURE DOES NOT HOLD: "),
        (&token(&evil, "JWT", &of(ISS)), &jwks, 1, "NOT VERIFIED: issuer `"),
        (&token(&key, "JWT", &of("https://login.example.com")), &config, 1, "NOT VERIFIED: the token's iss"),
        (
            &token(&key, "JWT", &of("https://far.example.com")),
            &config,
            1,
            "NOT VERIFIED: the keys of `far` are fetched",
        ),
        (&secret, &jwks, 1, "NOT VERIFIED: the token's alg (unverified) is \"HS256\""),
        (&secret, &config, 1, "NOT VERIFIED: the token's alg (unverified) is \"HS256\""),
    ] {
        let done = inspect(token, arguments);
        assert_eq!((done.code, done.err.as_str()), (code, ""), "{told}: {done:?}");
        assert!(done.out.contains(told), "{told}\n{}", done.out);
        let json = inspect(token, &[&["--json"], arguments].concat());
        assert_eq!((json.code, &json.json()["signature"]["verified"]), (code, &json!(code == 0)), "{told}");
    }
    let by_environment = bearward_with(&["inspect"], &[("BEARWARD_CONFIG", config[1].as_ref())], &good);
    assert_eq!(by_environment.code, 0);
    let instead = [&["inspect"], &jwks[..]].concat();
    assert_eq!(bearward_with(&instead, &[("BEARWARD_CONFIG", "/nowhere".as_ref())], &good).code, 0);
}

/// The dialect of the issuer whose exact `iss` it has judges; without one the standards do, and say where to look.
#[test]
fn the_kind_is_judged_for_its_issuer() {
    let files = Files::new();
    let key = Key::p256("key-1");
    let config = files.write(
        "bearward.toml",
        "[issuers.am]\nissuer = \"https://am.example.com\"\ndialect = \"forgerock\"\n\
         [[routes]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\npolicy = \"public\"\n",
    );
    let claims = json!({ "iss": "https://am.example.com", "exp": 1, "tokenName": "access_token", "scope": ["a", "b"] });
    let access = token(&key, "JWT", &claims);
    let lines = |done: &Done| done.out.lines().take(4).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(&inspect(&access, &["--config", text(&config)]))[..3],
        [
            "kind        access token",
            "evidence    the dialect's marks of an access token hold",
            "judged      for the issuer `am`, dialect forgerock",
        ]
    );
    assert_eq!(
        lines(&inspect(&access, &[])),
        [
            "kind        token of unknown kind",
            "evidence    it has no mark of an access token",
            "judged      by the standards alone (RFC 9068, OpenID Connect)",
            "elsewhere   in the dialect forgerock, forgerock-express it is an access token",
        ]
    );
    for (typ, more, kind) in [
        ("JWT", json!({ "tokenName": "refresh_token" }), "refresh token"),
        ("JWT", json!({ "tokenName": "id_token" }), "ID token"),
        ("JWT", json!({ "nonce": "n" }), "ID token"),
        ("logout+jwt", json!({}), "logout token"),
        ("at+jwt", json!({}), "access token"),
    ] {
        let mut claims = json!({ "iss": "https://am.example.com", "exp": 1 });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let told = inspect(&token(&key, typ, &claims), &["--json", "--config", text(&config)]).json();
        assert_eq!((&told["kind"], told.get("elsewhere")), (&json!(kind), None), "{claims}");
    }
}

#[test]
fn times_are_told_from_now() {
    let key = Key::p256("key-1");
    // Half a minute beside the full one, so that no slow machine moves it to the next.
    let claims = json!({ "iss": ISS, "iat": now() - 3 * 3600 - 30, "nbf": now() + 630, "exp": now() - 210 });
    let told = inspect(&token(&key, "at+jwt", &claims), &["--json"]).json();
    assert_eq!(told["issued"]["relative"], "3 hours ago");
    assert_eq!(told["valid_from"]["relative"], "in 10 minutes");
    assert_eq!(told["expires"]["relative"], "expired 3 minutes ago");
    let wrong = json!({ "iss": ISS, "iat": "yesterday", "exp": 1_600_003_600_000_u64, "aud": 7 });
    let done = inspect(&token(&key, "at+jwt", &wrong), &[]);
    for line in [
        "issued      WRONG: the claim `iat` is not a number",
        "audience    WRONG: the claim `aud` is not a string or an array of strings",
    ] {
        assert!(done.out.lines().any(|told| told == line), "{line}\n{}", done.out);
    }
    assert!(done.out.contains("; a date is in seconds, and this may be milliseconds"), "{}", done.out);
}

#[test]
fn what_stands_around_a_token_is_told_with_its_cure() {
    let files = Files::new();
    let key = Key::p256("key-1");
    let set = files.write("keys.json", &jwk_set(&[key]).to_string());
    let good = token(&key, "at+jwt", &json!({ "iss": ISS, "exp": 1 }));
    let (head, tail) = good.split_at(good.len() / 2);
    for (input, told) in [
        (format!("Bearer {good}"), "`Bearer ` stands in front"),
        (format!("\"{good}\""), "quotation marks stand around it"),
        (format!(" {good}\n\n"), "blanks or line breaks stand at its ends"),
        (format!("{head}\n{tail}\n"), "blanks or line breaks stand within it"),
        (good.replace('.', "%2E"), "it is percent-encoded, as in a URL"),
        (
            format!("access_token={good}&token_type=Bearer"),
            "it is a form or the end of a URL; `access_token` of it is looked at",
        ),
        (
            json!({ "access_token": good, "token_type": "Bearer" }).to_string(),
            "it is the issuer's whole answer in JSON; `access_token` of it is looked at",
        ),
        (format!("{good}=="), "`=` stands at the end of a part (base64 with padding)"),
    ] {
        let done = inspect(&input, &["--json", "--jwks", text(&set)]);
        assert_eq!((done.code, text_faults(&done)), (0, vec![told.to_owned()]), "{done:?}");
    }
    let done = inspect(&format!("Bearer {good}"), &[]);
    let first = "text        `Bearer ` stands in front\n            \
                 cure: put the token alone into the file; `Bearer ` is written once, where the header is made\n";
    assert!(done.out.starts_with(first), "{}", done.out);
}

#[test]
fn what_is_no_signed_jwt_is_named() {
    let key = Key::p256("key-1");
    let good = token(&key, "at+jwt", &json!({ "iss": ISS, "exp": 1 }));
    let unsigned = good.rsplit_once('.').unwrap().0;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let jwe = format!("{}.a.b.c.d", part(r#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":"enc-1"}"#));
    let twice = format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(r#"{"iss":"a","aud":"b","aud":"c"}"#));
    for (input, kind, told) in [
        ("", "no token", "NOT VERIFIED: there is nothing in the text\n"),
        ("\n", "no token", "NOT VERIFIED: there is nothing in the text\n"),
        (
            "2YotnFZFEjr1zCsicMWpAA",
            "opaque token",
            "NOT VERIFIED: it is opaque: 22 characters of which only its issuer knows",
        ),
        ("ory_at_abc.def", "opaque token", "NOT VERIFIED: it is opaque: 14 characters"),
        (unsigned, "broken JWT", "NOT VERIFIED: it has 2 of the three parts of a signed JWT\n"),
        (&format!("{good}.x"), "broken JWT", "NOT VERIFIED: it has 4 of the three parts of a signed JWT\n"),
        (&jwe, "encrypted JWT", "NOT VERIFIED: it is encrypted (RFC 7516), for whoever has the key\n"),
        (&twice, "broken JWT", "NOT VERIFIED: the token has a payload that repeats a claim: `aud`\n"),
        ("a.b.c", "broken JWT", "NOT VERIFIED: the token has a part that is not strict base64url\n"),
    ] {
        let done = inspect(input, &[]);
        assert_eq!((done.code, done.err.as_str()), (1, ""), "{done:?}");
        assert!(
            done.out.starts_with(&format!("kind        {kind}\n")) && done.out.contains(told),
            "{input}: {}",
            done.out
        );
        assert!(done.out.lines().last().unwrap().starts_with("cure: "), "{}", done.out);
    }
    let told = inspect(&jwe, &["--json"]).json();
    assert_eq!(
        (&told["algorithm"], &told["encryption"], &told["kid"]),
        (&json!("RSA-OAEP"), &json!("A256GCM"), &json!("enc-1"))
    );
}

/// The samples that the project began with: expired, of unknown keys, and printed with stray blanks.
#[test]
fn the_first_samples_are_told() {
    let samples: Value = serde_json::from_str(include_str!("../data/seed-samples.json")).unwrap();
    let genauth = &samples["genauth"];
    let within = ["blanks or line breaks stand within it"];

    let id = inspect(genauth["id_token_raw"].as_str().unwrap(), &["--json"]);
    let told = id.json();
    assert_eq!((id.code, text_faults(&id).as_slice()), (1, &within.map(str::to_owned)[..]));
    assert_eq!((&told["kind"], &told["algorithm"], &told["kid"]), (&json!("ID token"), &json!("HS256"), &Value::Null));
    assert_eq!(told["audience"], json!(["62f733a7148bf958af1e5410"]));
    assert_eq!(told["expires"]["utc"], "2022-09-01T05:45:21Z");

    let access = inspect(genauth["access_token_raw"].as_str().unwrap(), &["--json"]);
    let told = access.json();
    assert_eq!((access.code, text_faults(&access).as_slice()), (1, &within.map(str::to_owned)[..]));
    assert_eq!((&told["kind"], &told["algorithm"]), (&json!("token of unknown kind"), &json!("RS256")));
    assert_eq!(told["elsewhere"], json!(["genauth", "auth0", "pingfederate", "evidence"]));
    assert_eq!(told["scopes"], json!(["openid"]));
    assert_eq!(told["client"], "5f17a529f64fb009b794a2ff");
}

#[test]
fn a_token_is_never_taken_from_the_arguments() {
    let token = token(&Key::p256("key-1"), "at+jwt", &json!({ "iss": ISS, "exp": 1 }));
    let told = "error: a token stands in the arguments, where other processes of this machine can read it\n\
                help: put it into a file and name that, or pipe it in\n";
    for arguments in [
        &["inspect", &token][..],
        &["inspect", "--jwks", "keys.json", &token],
        &["explain", "--url", "http://a/", "--header", &format!("Authorization: Bearer {token}")],
        &["explain", "--url", &format!("http://a/?access_token={token}")],
        &["explain", &token],
    ] {
        let done = bearward(arguments);
        assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (2, "", told));
    }
}

#[test]
fn wrong_files_are_told() {
    let files = Files::new();
    let page = files.write("page.json", "<html>");
    let config = files.write("bearward.toml", "[issuers.main]\nissuer = 1\n");
    let latin = files.0.path().join("latin1");
    std::fs::write(&latin, b"\xff\xfe").unwrap();
    for (arguments, told) in [
        (&["--jwks", "/nowhere"][..], "error: the key set /nowhere cannot be read: "),
        (&["--jwks", text(&page)], "page.json is not valid JSON\nhelp: name a JWK Set"),
        (&["--config", text(&config)], "bearward.toml:2:10"),
        (&["/nowhere"], "error: the token file cannot be read: "),
        (&[text(&latin)], "error: the token file cannot be read: it is not UTF-8 text"),
        (&["--jwks", "a", "--config", "b"], "cannot be used with"),
    ] {
        let done = bearward(&[&["inspect"], arguments].concat());
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{arguments:?}");
        assert!(done.err.contains(told), "{told}: {}", done.err);
    }
}

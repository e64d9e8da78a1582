//! `bearward explain` with a session's cookie: what the cookie opens is read where it is stored, and stays as it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bearward::config::{Authentication, Config};
use bearward::remote::clock::Clock;
use bearward::remote::store::{self, Kind, Name, Store};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::harness::client::Client;
use crate::harness::gateway::Served;
use crate::harness::mint::{Key, jwk_set};
use crate::harness::redis::Redis;
use crate::harness::replica::{Replica, login, source};
use crate::harness::secret::SecretFile;
use crate::harness::upstream::Upstream;
use crate::harness::world::merged;
use crate::{Done, Files, bearward, text};

const ISS: &str = "https://login.example.com/";

/// 32 bytes of one, which is the key that the harness seals with.
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// What must not be told to anybody.
const REFRESH_TOKEN: &str = "a-refresh-token-that-nobody-sees";

/// A configuration with a session, and who fills its store as a gateway would.
struct Case {
    files: Files,
    config: PathBuf,
    key: Key,
    now: u64,
    /// It stands still: however busy the machine is, no store is given up.
    clock: Clock,
    _cookie_key: SecretFile,
}

impl Case {
    fn new(upstream: &str, store: &str) -> Self {
        Self::keyed(upstream, store, KEY)
    }

    fn keyed(upstream: &str, store: &str, cookie_key: &str) -> Self {
        let (files, key, cookie_key) = (Files::new(), Key::p256("key-1"), SecretFile::new(cookie_key));
        let set = files.write("main.jwks", &jwk_set(&[key]).to_string());
        let config = format!(
            r#"
[issuers.main]
issuer = "{ISS}"
algorithms = ["ES256"]
jwks = {{ file = {set:?} }}
endpoints = {{ authorization = "https://login.example.com/authorize", token = "https://login.example.com/token" }}
[policies.orders]
audience = ["api"]
scopes = ["read"]
[[routes]]
name = "page"
path = "/page"
policy = "orders"
upstream = "{upstream}"
session = "web"
[sessions.web]
issuer = "main"
origin = "https://app.example.com"
client_id = "web"
auth_method = "none"
scopes = ["openid", "read"]
cookie = {{ keys = [{}] }}
[store]
url = "{store}"
"#,
            cookie_key.toml()
        );
        let config = files.write("bearward.toml", &config);
        let now = SystemTime::now();
        let (clock, _) = Clock::manual(now);
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        Self { files, config, key, now, clock, _cookie_key: cookie_key }
    }

    /// The store of the configuration, as the gateway has it.
    fn store(&self) -> Arc<dyn Store> {
        let loaded = Config::load(&self.config).unwrap_or_else(|report| panic!("{}", report.render(false)));
        store::open(&loaded.config.store, &self.clock, &Handle::current())
    }

    fn token(&self, claims: &Value) -> String {
        let good = json!({
            "iss": ISS, "aud": "api", "exp": self.now + 3600, "iat": self.now, "sub": "alice", "client_id": "web",
            "scope": "read write",
        });
        self.key.sign(&self.key.header(), &merged(good, claims))
    }

    /// A token of nobody's key.
    fn forged(&self) -> String {
        Key::p256("evil").named("key-1").token(&json!({ "iss": ISS, "exp": self.now + 60 }))
    }

    /// The cookie of a session that was granted this beside a refresh token.
    async fn granted(&self, store: &Arc<dyn Store>, granted: &Value) -> String {
        let nobody =
            source("https://login.example.com/token", "https://login.example.com/", "web", Authentication::None);
        let replica = Replica::at(nobody, store, &self.clock);
        // A login notes the scopes, also where the issuer names none.
        let usual = json!({
            "token_type": "Bearer", "refresh_token": REFRESH_TOKEN, "expires_in": 600, "scope": "openid read",
        });
        replica.logged_in(login("alice"), &merged(usual, granted)).await
    }

    /// Explains a request to `target` with that cookie, and shows that nothing of it is told.
    fn explain(&self, target: &str, cookie: &str, more: &[&str]) -> Done {
        let file = self.files.write("cookies", &format!("theme=dark; __Host-session={cookie}\n"));
        let url = format!("https://app.example.com{target}");
        let arguments = ["explain", "--config", text(&self.config), "--url", &url, "--cookie-file", text(&file)];
        let done = bearward(&[&arguments, more].concat());
        let told = format!("{}{}", done.out, done.err);
        assert!(!told.contains(cookie) && !told.contains(REFRESH_TOKEN) && !told.contains("eyJ"), "{told}");
        done
    }
}

/// A name, what was granted, and the code that comes of it.
fn grants(case: &Case) -> Vec<(&'static str, Value, Option<&'static str>)> {
    let token = |claims: Value| json!({ "access_token": case.token(&claims) });
    vec![
        ("a good token", token(json!({})), None),
        ("a token for another API", token(json!({ "aud": "other", "scope": "" })), Some("audience_wrong")),
        ("a token without the scope", token(json!({ "scope": "write" })), Some("scope_insufficient")),
        (
            "a forged token",
            // Without a refresh token: with one the gateway would ask for another token first.
            json!({ "access_token": case.forged(), "refresh_token": null }),
            Some("signature_invalid"),
        ),
        ("an opaque token", json!({ "access_token": "opaque-token-that-nobody-sees" }), None),
        (
            "an opaque token with too little",
            json!({ "access_token": "opaque", "scope": "write" }),
            Some("scope_insufficient"),
        ),
        (
            "an opaque token that is too large",
            json!({ "access_token": "a".repeat(16 * 1024 + 1) }),
            Some("token_too_large"),
        ),
        (
            "nothing to renew it with",
            json!({ "access_token": "opaque", "expires_in": 0, "refresh_token": null }),
            Some("session_expired"),
        ),
    ]
}

#[tokio::test]
async fn a_session_in_redis_is_told_as_the_gateway_decides_and_left_as_it_is() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let upstream = Upstream::start().await;
    let case = Case::new(&upstream.url(), &redis.url());
    let gateway = Served::timed(&std::fs::read_to_string(&case.config).unwrap(), case.clock.clone());
    let store = case.store();
    for (what, granted, expected) in grants(&case) {
        let cookie = case.granted(&store, &granted).await;
        let key = redis.cli(&["KEYS", "bearward:session:*"]);
        let (value, life) = (redis.cli(&["GET", &key]), redis.cli(&["PEXPIRETIME", &key]));
        redis.cli(&["CONFIG", "RESETSTAT"]);
        let done = case.explain("/page", &cookie, &["--json"]);
        let stats = redis.cli(&["INFO", "commandstats"]);
        for changes in ["set:", "del:", "eval:", "pexpire:", "getex:"] {
            assert!(!stats.contains(&format!("cmdstat_{changes}")), "{what}: {stats}");
        }
        assert_eq!((redis.cli(&["GET", &key]), redis.cli(&["PEXPIRETIME", &key])), (value, life), "{what}");

        let told = done.json();
        let request = format!("GET /page HTTP/1.1\r\nhost: app.example.com\r\ncookie: __Host-session={cookie}\r\n\r\n");
        let answer = Client::connect(gateway.address()).await.ask(request).await;
        let code = (answer.status != 200).then(|| answer.code());
        assert_eq!((told["code"].as_str(), code.as_deref()), (expected, expected), "{what}: {told:#}");
        assert_eq!(told["permitted"], json!(expected.is_none()), "{what}");
        assert_eq!(done.code, i32::from(expected.is_some()), "{what}");
        redis.cli(&["FLUSHALL"]);
    }
    redis.down();
    let cookie = "A".repeat(64);
    let told = case.explain("/page", &cookie, &["--json"]).json();
    assert_eq!((&told["code"], &told["status"]), (&json!("store_unavailable"), &json!(503)));
}

#[tokio::test]
async fn what_is_told_of_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let case = Case::new("http://127.0.0.1:3000", &format!("file:{}", file.display()));

    // Whoever only looks makes no file.
    let nobody = case.explain("/page", &"A".repeat(64), &[]);
    assert!(nobody.out.contains("\nrefused: 401 session_expired\n") && !file.exists(), "{}", nobody.out);

    let store = case.store();
    let good = case.granted(&store, &json!({ "access_token": case.token(&json!({})) })).await;
    let wrong =
        case.granted(&store, &json!({ "access_token": case.token(&json!({ "aud": "other", "scope": "" })) })).await;
    let forged = case.granted(&store, &json!({ "access_token": case.forged() })).await;
    let opaque = case.granted(&store, &json!({ "access_token": "opaque" })).await;
    let spent = case.granted(&store, &json!({ "access_token": "opaque", "expires_in": 0 })).await;

    // One process has the file.
    let taken = case.explain("/page", &good, &[]);
    assert_eq!(taken.code, 1);
    let cure = "cure: one process has the file, the running gateway: stop it meanwhile, or keep sessions in `redis:`";
    assert!(taken.out.contains(cure) && taken.out.contains("\nnot decided, though nothing refuses: "), "{}", taken.out);
    // Of one that was killed it is as it was at that moment.
    let killed = directory.path().join("killed.db");
    std::fs::copy(&file, &killed).unwrap();
    drop(store);
    let before = std::fs::read(&file).unwrap();

    let done = case.explain("/page", &good, &[]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{}", done.out);
    for line in [
        "  ok       route                page (/page), to http://127.0.0.1:3000, with session web\n",
        "  ok       credential           a session's cookie, from a page that may use it\n",
        "  ok       credential           session web of subject \"alice\"; its access token is good for 5",
        "  ok       signature            verifies with a key of main\n",
        "  ok       audience             \"api\"\n",
        "\npermitted\n",
    ] {
        assert!(done.out.contains(line), "{line}\n{}", done.out);
    }
    let done = case.explain("/page", &wrong, &[]);
    assert!(done.out.ends_with("once that is cured, still in the way: scope_insufficient\n"), "{}", done.out);
    let done = case.explain("/page", &forged, &[]);
    let first =
        "\nunless the issuer grants the session another token: the gateway asks for one first, and judges that\n";
    assert!(done.code == 1 && done.out.contains(first), "{}", done.out);
    assert!(!case.explain("/page", &wrong, &[]).out.contains(first), "another one would be for the same API");
    for (cookie, renewed_first) in [(&forged, true), (&wrong, false), (&good, false)] {
        assert_eq!(case.explain("/page", cookie, &["--json"]).json()["renewed_first"], json!(renewed_first));
    }
    let done = case.explain("/page", &opaque, &[]);
    let line = "  ok       shape                opaque: judged by what was granted with it\n";
    assert!(done.code == 0 && done.out.contains(line), "{}", done.out);
    let done = case.explain("/page", &spent, &[]);
    let end = "\nnot decided, though nothing refuses: the gateway has a spent access token renewed first, which would \
               change the session\n";
    assert!(
        done.code == 1 && done.out.contains("its access token is spent") && done.out.ends_with(end),
        "{}",
        done.out
    );
    assert_eq!(std::fs::read(&file).unwrap(), before, "it is only read");

    std::fs::rename(&killed, &file).unwrap();
    let done = case.explain("/page", &good, &[]);
    assert!(done.out.contains("cure: the gateway was killed: start it, which mends the file\n"), "{}", done.out);

    // Other keys open nothing, and no other process has this one's memory.
    assert_eq!(case.store().read(Name { kind: Kind::Session, hash: [0; 32] }).await, Ok(None));
    let store = format!("file:{}", file.display());
    let stranger = Case::keyed("http://127.0.0.1:3000", &store, "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
    assert!(stranger.explain("/page", &good, &[]).out.contains("no session is of this cookie"));
    let memory = Case::new("http://127.0.0.1:3000", "memory:").explain("/page", &good, &[]);
    let told = "with `memory:` sessions are in the memory of the running gateway, which no other process can read\n";
    assert!(memory.out.contains(told) && memory.code == 1, "{}", memory.out);
}

/// A user who goes to a page is told where the browser would be sent.
#[test]
fn a_login_that_would_help_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let case = Case::new("http://127.0.0.1:3000", &format!("file:{}", directory.path().join("state.db").display()));
    let navigates = ["--header", "Sec-Fetch-Mode: navigate"];
    let done = case.explain("/page?x=1", "gone", &navigates);
    let end = "\nrefused: 401 session_expired\n\
               a user who goes to a page is sent to the login instead: \
               302 https://app.example.com/auth/login?return_to=%2Fpage%3Fx%3D1\n";
    assert!(done.code == 1 && done.out.ends_with(end), "{}", done.out);
    let told = case.explain("/page", "gone", &[&navigates[..], &["--json"]].concat()).json();
    let login = json!("https://app.example.com/auth/login?return_to=%2Fpage");
    assert_eq!(
        (&told["status"], &told["location"], &told["code"], &told["www_authenticate"]),
        (&json!(302), &login, &json!("session_expired"), &Value::Null)
    );
    // A script is not.
    let told = case.explain("/page", "gone", &["--json"]).json();
    assert_eq!((&told["status"], &told["location"]), (&json!(401), &Value::Null));
    let done = case.explain("/page", "gone", &[&navigates[..], &["--method", "POST", "--json"]].concat());
    assert_eq!((&done.json()["status"], &done.json()["code"]), (&json!(403), &json!("csrf_refused")));
}

#[test]
fn what_the_pages_of_a_session_do_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let case = Case::new("http://127.0.0.1:3000", &format!("file:{}", directory.path().join("state.db").display()));
    let ours = ["--header", "Sec-Fetch-Site: same-origin"];
    for (method, target, headers, code, told) in [
        ("GET", "/auth/login", &[][..], 0, "session web: sends the browser to its issuer"),
        ("GET", "/auth/login", &[], 0, "afterwards the browser goes to \"/\"\n"),
        ("GET", "/auth/login?return_to=%2Forders%3Fx", &[], 0, "afterwards the browser goes to \"/orders?x\"\n"),
        ("GET", "/auth/login?return_to=//evil.example", &[], 0, "`return_to` is no page of this origin"),
        ("POST", "/auth/login", &[], 1, "refused: 405 method_not_allowed"),
        ("GET", "/auth/callback?code=secret&state=x", &[], 1, "a code counts once, at the issuer"),
        ("POST", "/auth/logout", &ours, 0, "ends the session here, gives its refresh token back"),
        ("POST", "/auth/logout", &[], 1, "refused: 403 csrf_refused"),
        ("GET", "/auth/logout", &ours, 1, "refused: 405 method_not_allowed"),
        ("GET", "/auth/session", &[], 1, "refused: 401 session_expired"),
        ("POST", "/auth/backchannel-logout", &[], 1, "the logout token stands in the request's body"),
        ("GET", "/auth/other", &[], 1, "refused: 404 route_unknown"),
        ("GET", "/auth", &[], 1, "refused: 404 route_unknown"),
    ] {
        let done = case.explain(target, "gone", &[&["--method", method], headers].concat());
        assert_eq!(done.code, code, "{method} {target}: {}", done.out);
        assert!(done.out.contains(told) && !done.out.contains("secret"), "{method} {target}: {}", done.out);
    }
}

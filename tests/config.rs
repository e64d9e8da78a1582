//! The configuration: a bad file gets exactly its report, and the example is current and good.
//!
//! Each `config/NAME.toml` is checked as a user would check it, and what is said of it must be `config/NAME.txt`, byte for
//! byte. With `BLESS=1` in the environment the reports are written instead.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what went wrong by failing")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bearward::cli::check;
use bearward::config::{
    Address, Authorization, ClientCertificateMode, Config, Endpoints, KeySource, LogFormat, LogLevel, RefusalLog,
    example, reference,
};
use bearward::policy::issuer::IssuerId;
use bearward::policy::route::Access;

use directory::directory;

#[path = "config/directory.rs"]
mod directory;
#[path = "config/schema.rs"]
mod schema;

/// What `check` says of a text, without the directory's name.
fn checked(text: &str, json: bool) -> (u8, String, String) {
    let directory = directory();
    let path = directory.path().join("bearward.toml");
    fs::write(&path, text).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check::run(&path, check::How { json, ..check::How::default() }, &mut out, &mut err).unwrap();
    let prefix = format!("{}/", directory.path().display());
    let clean = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&prefix, "");
    (code, clean(out), clean(err))
}

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut cases: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    cases.sort();
    cases
}

/// A test that writes its expectations where `BLESS` is set, and else compares them.
fn compare(path: &Path, found: &str) -> bool {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, found).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != found {
        println!("--- {} should be\n{expected}\n--- and is\n{found}", path.display());
    }
    expected == found
}

#[test]
fn every_bad_file_gets_exactly_its_report() {
    let cases = cases();
    assert!(!cases.is_empty());
    let wrong: Vec<_> = cases
        .iter()
        .filter(|path| {
            let (code, out, err) = checked(&fs::read_to_string(path).unwrap(), false);
            let found = format!("exit {code}\n{err}{out}");
            !compare(&path.with_extension("txt"), &found)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_example_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    assert!(compare(&path, &example()), "run this test with BLESS=1");
}

#[test]
fn the_page_of_options_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    assert!(compare(&path, &reference()), "run this test with BLESS=1");
}

#[test]
fn the_example_is_good() {
    let (code, _, err) = checked(&example(), false);
    assert_eq!((code, err.as_str()), (0, ""));
}

/// Each block of TOML on a page of `docs` is a whole file, or one but for the route that uses its upstream.
#[test]
fn the_configurations_of_the_pages_are_good() {
    let mut seen = 0;
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")];
    while let Some(directory) = directories.pop() {
        for page in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if page.is_dir() {
                directories.push(page);
                continue;
            }
            let text = fs::read_to_string(&page).unwrap();
            for block in text.split("```toml\n").skip(1) {
                let (text, _) = block.split_once("```").unwrap();
                // Where a pod has these files, this machine has none.
                let mut text = text.replace("/var/run/secrets/kubernetes.io/serviceaccount/", "");
                text = text.replace("/etc/bearward/tls/", "");
                if !text.contains("[[routes]]") {
                    text.push_str("[[routes]]\npath = \"/*\"\npolicy = \"public\"\nupstream = \"orders\"\n");
                }
                let (code, _, err) = checked(&text, false);
                assert_eq!(code, 0, "{}: {err}", page.display());
                // Shadow mode is warned of, as it is meant to be, and what a page says is warned of; nothing else is.
                let warnings = err.matches("warning: ").count();
                let expected = text.matches("mode = \"shadow\"").count() + text.matches("# check warns").count();
                assert_eq!(warnings, expected, "{}: {err}", page.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "{seen} configurations");
}

/// The example's lines, and which of them are options that are commented out.
fn example_lines() -> Vec<(String, bool)> {
    let is_option = |line: &str| line.starts_with("# ") && line.split_whitespace().nth(2) == Some("=");
    example().lines().map(|line| (line.to_owned(), is_option(line))).collect()
}

/// TLS of an upstream, whose URL is another in the example.
const UPSTREAM_TLS: &str = "tls = { ca = \"ca.crt\", certificate";

/// Options that need others beside them, or stand instead of them.
const NOT_ALONE: &[&str] =
    &["hmac_secret", "private_key", "kid =", "alg =", "client_certificates", "username", "password", UPSTREAM_TLS];

#[test]
fn each_option_of_the_example_can_be_switched_on() {
    let lines = example_lines();
    let mut tried = 0;
    for (at, (option, _)) in lines.iter().enumerate().filter(|(_, (_, is_option))| *is_option) {
        let switch = |(index, (line, _)): (usize, &(String, bool))| line[if index == at { 2 } else { 0 }..].to_owned();
        let text = lines.iter().enumerate().map(switch).collect::<Vec<_>>().join("\n");
        let alone = !NOT_ALONE.iter().any(|name| option[2..].starts_with(name));
        let (code, _, err) = checked(&text, false);
        assert_eq!(code, if alone { 0 } else { 2 }, "{option}\n{err}");
        tried += 1;
    }
    assert!(tried >= 40, "{tried} options");
}

/// The example with every option switched on, but for those that stand instead of another.
fn whole_example() -> String {
    let instead = [
        "# hmac_secret",
        "# discriminator",
        "# file",
        "# private_key",
        "# kid =",
        "# alg =",
        "# username",
        "# password",
    ];
    let lines = example_lines().into_iter().map(|(line, is_option)| {
        let stands_instead = instead.iter().any(|name| line.starts_with(name)) || line.contains(UPSTREAM_TLS);
        let on = is_option && !stands_instead;
        if on { line[2..].to_owned() } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn all_options_of_the_example_can_be_switched_on_together() {
    let (code, out, err) = checked(&whole_example(), false);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
}

#[test]
fn what_the_file_says_is_in_the_model() {
    let directory = directory();
    let path = directory.path().join("bearward.toml");
    let text = r#"
        [server]
        listen = ["127.0.0.1:1", "[::1]:2"]
        tls = [{ certificate = "second.crt", private_key = "second.key" }, { certificate = "tls.crt", private_key = "tls.key" }]
        client_certificates = { ca = "ca.crt", mode = "required" }
        proxy_protocol = true
        trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]
        workers = 3
        drain = { delay = "1s", timeout = "2m" }
        limits = { connections = 10, head_bytes = "8KiB", header_timeout = "3s", idle_timeout = "4s", body_bytes = "1MiB", token_bytes = "2KiB" }
        [admin]
        listen = "127.0.0.1:3"
        [log]
        format = "text"
        level = "debug"
        access = { sample = 0.25, refused = "sample" }
        [issuers.main]
        issuer = "https://login.example.com/tenant/"
        required_for_ready = false
        allow_http = true
        leeway = "5m"
        jwks = { refresh = "6m", cooldown = "7s", max_stale = "8h" }
        [issuers.uri]
        issuer = "uri"
        tls = { ca = "ca.crt" }
        jwks = { uri = "https://login.example.com/jwks", snapshot = "keys/uri.jwks", bearer_file = "token" }
        endpoints = { token = "https://login.example.com/token" }
        [issuers.file]
        issuer = "file"
        jwks = { file = "keys.json" }
        [issuers.secret]
        issuer = "secret"
        algorithms = ["HS512"]
        hmac_secret = { file = "hmac.key" }
        [upstreams.orders]
        url = "http://[::1]:3000"
        timeout = "9s"
        connect_timeout = "10s"
        retries = 0
        max_concurrent = 7
        authorization = "remove"
        identity_headers = { X-User = "sub" }
        [[routes]]
        path = "/a/*"
        policy = { issuers = ["uri"], audience = ["api"] }
        upstream = "orders"
        body_bytes = "none"
        [[routes]]
        path = "/b"
        policy = "public"
        upstream = "http://127.0.0.1:3001/"
        [[routes]]
        path = "/c"
        policy = "public"
        upstream = "unix:/run/c.sock"
        [upstreams.inner]
        url = "https://192.0.2.7:8443"
        tls = { ca = "ca.crt", certificate = "second.crt", private_key = "second.key", name = "inner.test" }
    "#;
    fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap().config;
    let seconds = Duration::from_secs;

    let server = &config.server;
    assert_eq!(server.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(server.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()]);
    assert!(server.proxy_protocol);
    let tls = server.tls.as_ref().unwrap();
    let files: Vec<_> = tls.certificates.iter().map(|certificate| certificate.file.as_str()).collect();
    assert_eq!(files, ["second.crt", "tls.crt"]);
    let facts = tls.certificates[1].pair.facts();
    assert_eq!(facts.hosts, ["shop.example.com", "*.shop.example.com", "192.0.2.7", "2001:db8::7"]);
    let since_1970 = facts.not_after.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(since_1970, seconds(32_503_680_000), "the first moment of the year 3000");
    let clients = tls.clients.as_ref().unwrap();
    assert_eq!((clients.mode, clients.authorities.certificates().len()), (ClientCertificateMode::Required, 1));
    assert_eq!(server.workers, 3);
    assert_eq!((server.drain.delay, server.drain.timeout), (seconds(1), seconds(120)));
    let limits = server.limits;
    assert_eq!((limits.connections, limits.head_bytes, limits.token_bytes), (10, 8192, 2048));
    assert_eq!(
        (limits.header_timeout, limits.idle_timeout, limits.body_bytes),
        (seconds(3), seconds(4), Some(1 << 20))
    );
    assert_eq!((config.rules.token_bytes, config.rules.head.bytes), (2048, 8192));
    assert_eq!(config.admin.listen, "127.0.0.1:3".parse().unwrap());
    assert_eq!((config.log.format, config.log.level), (LogFormat::Text, LogLevel::Debug));
    assert_eq!((config.log.access.sample, config.log.access.refused), (0.25, RefusalLog::Sample));

    let [main, uri, file, secret] = &config.issuers[..] else { panic!("four issuers") };
    assert!(!main.required_for_ready && main.allow_http && uri.required_for_ready && !uri.allow_http);
    assert_eq!((main.refresh, main.cooldown, main.max_stale), (seconds(360), seconds(7), seconds(8 * 3600)));
    assert_eq!((uri.refresh, uri.cooldown, uri.max_stale), (seconds(300), seconds(10), seconds(86_400)));
    let discovery = "https://login.example.com/tenant/.well-known/openid-configuration";
    assert!(matches!(&main.keys, KeySource::Discovery(url) if url.as_str() == discovery));
    assert!(matches!(&uri.keys, KeySource::Uri(url) if url.as_str() == "https://login.example.com/jwks"));
    assert!(matches!(&file.keys, KeySource::File { keys, .. } if keys.len() == 1));
    assert!(matches!(&secret.keys, KeySource::Secret));
    let trusted = uri.authorities.as_ref().unwrap();
    assert_eq!((trusted.path(), trusted.certificates().len()), (directory.path().join("ca.crt").as_path(), 1));
    assert!(main.authorities.is_none() && main.snapshot.is_none() && main.bearer_file.is_none());
    let within = |name| Some(directory.path().join(name));
    assert_eq!((&uri.snapshot, &uri.bearer_file), (&within("keys/uri.jwks"), &within("token")));
    let token = Some("https://login.example.com/token".parse().unwrap());
    assert_eq!(uri.endpoints, Endpoints { token, ..Endpoints::default() });
    assert_eq!(config.rules.issuers[0].leeway, 300);
    assert_eq!(config.rules.issuers[1].leeway, 30);

    let [orders, inner, by_url, socket] = &config.upstreams[..] else { panic!("four upstreams") };
    let tls = inner.tls.as_ref().unwrap();
    assert_eq!(tls.name().to_str(), "inner.test");
    assert_eq!(tls.trust().file(), Some(directory.path().join("ca.crt").as_path()));
    assert_eq!(tls.certificate().unwrap().file, "second.crt");
    assert_eq!(orders.address.authority(), "[::1]:3000");
    assert_eq!((orders.timeout, orders.connect_timeout), (seconds(9), seconds(10)));
    assert_eq!(orders.authorization, Authorization::Remove);
    assert_eq!(orders.identity_headers[0].name, "x-user");
    assert_eq!((orders.retries, orders.max_concurrent, &orders.tls), (0, 7, &None));
    assert_eq!((by_url.retries, by_url.max_concurrent), (1, 10));
    assert_eq!((socket.name.as_str(), &socket.address), ("unix:/run/c.sock", &Address::Unix("/run/c.sock".into())));
    assert_eq!((by_url.name.as_str(), by_url.timeout), ("http://127.0.0.1:3001", seconds(30)));

    let [a, b, _] = config.rules.routes.routes() else { panic!("three routes") };
    assert_eq!((a.name.as_str(), a.upstream.0, a.keep_authorization, a.body_bytes), ("/a/*", 0, false, None));
    assert_eq!((b.name.as_str(), b.upstream.0, b.keep_authorization, b.body_bytes), ("/b", 2, true, Some(1 << 20)));
    let Access::Policies(policies) = &a.access else { panic!("a policy") };
    let [policy] = policies.all() else { panic!("one policy") };
    assert_eq!(
        (policy.name.as_str(), &policy.issuers[..], policies.issuers()),
        ("/a/*", &[IssuerId(1)][..], &[IssuerId(1)][..])
    );
    assert!(matches!(&b.access, Access::Public));
}

/// Whoever writes `lifetime` alone does not have to write `idle_timeout`, too.
#[test]
fn no_session_is_idle_for_longer_than_it_lasts() {
    let directory = directory();
    let path = directory.path().join("bearward.toml");
    for (lines, hours) in [
        ("", 12),
        ("lifetime = \"8h\"", 8),
        ("lifetime = \"30d\"", 12),
        ("lifetime = \"8h\"\nidle_timeout = \"1h\"", 1),
        ("lifetime = \"8h\"\nidle_timeout = \"8h\"", 8),
    ] {
        let text = format!(
            "[issuers.main]\nissuer = \"https://login.example.com/\"\n\
             [sessions.web]\nissuer = \"main\"\norigin = \"https://app.example.com\"\nclient_id = \"web\"\n\
             auth_method = \"none\"\nscopes = [\"openid\"]\n{lines}\n\
             [[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:1\"\nsession = \"web\"\n\
             policy = {{ audience = [\"api\"] }}\n"
        );
        fs::write(&path, text).unwrap();
        let loaded = Config::load(&path).unwrap_or_else(|report| panic!("{lines}: {}", report.render(false)));
        assert_eq!(loaded.config.sessions[0].idle_timeout, Duration::from_secs(hours * 3600), "{lines}");
    }
}

#[test]
fn a_report_for_machines_says_the_same() {
    let text = "# ü\r\n[server]\r\nlisten = [\"ü\", \"0.0.0.0:1\", \"0.0.0.0:1\"]\r\n[[routes]]\r\n\
                path = \"/\"\r\npolicy = \"public\"\r\nupstream = \"http://a\"";
    let (code, out, err) = checked(text, true);
    let line = "listen = [\"ü\", \"0.0.0.0:1\", \"0.0.0.0:1\"]";
    let expected = serde_json::json!({ "report": { "file": "bearward.toml", "faults": 2, "problems": [
        {
            "severity": "fault", "line": 3, "column": 11, "text": line,
            "what": "`ü` is not an address and a port",
            "help": "write an IP address and a port, an IPv6 address in brackets: \"127.0.0.1:8080\", \"[::]:8080\"",
        },
        {
            "severity": "fault", "line": 3, "column": 29, "text": line,
            "what": "`0.0.0.0:1` stands here twice", "help": "keep one of them",
            "also": [{ "line": 3, "column": 16, "text": line, "part": "the first" }],
        },
    ]}});
    assert_eq!((code, err.as_str()), (2, ""));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), expected);
    assert!(checked(text, false).2.contains("bearward.toml:3:29\n"));
}

#[test]
fn a_good_file_is_described_for_machines() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/smallest.toml")).unwrap();
    let (code, out, err) = checked(&text, true);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(answer["report"]["faults"], 0);
    let route = &answer["configuration"]["routes"][0];
    assert_eq!((&route["name"], &route["upstream_url"]), (&"/*".into(), &"http://127.0.0.1:3000".into()));
    assert_eq!(route["policies"][0]["audience"], serde_json::json!(["https://api.example.com"]));
    assert_eq!(answer["configuration"]["issuers"][0]["dialect"], "auth0");
}

#[test]
fn a_file_that_cannot_be_read_is_reported() {
    let directory = directory();
    let report = Config::load(&directory.path().join("missing.toml")).unwrap_err();
    assert_eq!(report.faults(), 1);
    assert!(report.render(false).contains("missing.toml: cannot be read: No such file or directory"));
    assert_eq!(Config::load(directory.path()).unwrap_err().faults(), 1);

    let path = directory.path().join("latin1.toml");
    fs::write(&path, b"[server]\n# \xfc\n").unwrap();
    assert!(Config::load(&path).unwrap_err().render(false).contains("line 2 is not UTF-8"));
}

/// The token of `bearer_file` changes by itself; only while there is none does the configuration hang on it.
#[test]
fn a_token_that_is_exchanged_changes_nothing() {
    let directory = directory();
    let (path, token) = (directory.path().join("bearward.toml"), directory.path().join("token"));
    let smallest = "[issuers.main]\nissuer = \"https://login.example.com\"\njwks = { bearer_file = \"token\" }\n\
                    [[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:3000\"\npolicy = \"public\"\n";
    fs::write(&path, smallest).unwrap();
    let reading = Config::read(&path);
    assert!(reading.outcome.is_ok());
    fs::write(&token, "another.token").unwrap();
    assert!(reading.files.look_again() == reading.files);

    fs::write(&token, "").unwrap();
    let reading = Config::read(&path);
    assert!(reading.outcome.is_err());
    fs::write(&token, "a.token").unwrap();
    assert!(reading.files.look_again() != reading.files);
}

#[test]
fn no_report_repeats_a_secret() {
    for (case, secret) in [
        ("secrets", "geheim"),
        ("unknown_keys", "s3cret"),
        ("upstreams", "password@"),
        ("upstream_tls", "geheim"),
        ("syntax", "geheim"),
        ("inline_key", "geheim"),
        ("stores_password", "geheim"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(case).with_extension("toml");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(secret));
        is_not_told(&text, secret);
    }
    for slip in [
        "[sessions.web]\ncookie = { keys = \"geheim\" }",
        "[sessions.web]\ncookie = { keys = [\"geheim\"] }",
        "[sessions.web]\norigin = \"https://user:geheim@app.example.com\"",
        "[issuers.main]\nissuer = \"https://user:geheim@login.example.com\"",
        "[issuers.main.jwks]\nbearer_token = \"geheim\"",
        "[issuers.main]\napi_key = \"geheim\"",
        "[[routes]]\nhosts = [\"user:geheim@api.example.com\"]",
        "[issuers]\nmain = { issuer = \"a\", hmac_secret = \"geheim",
        "[issuers]\nmain = { issuer = \"a\", introspection = { client_secret = \"geheim\" ",
    ] {
        is_not_told(slip, "geheim");
    }
}

fn is_not_told(text: &str, secret: &str) {
    for json in [false, true] {
        let (_, out, err) = checked(text, json);
        assert!(!out.contains(secret) && !err.contains(secret), "{text}\n{out}{err}");
    }
}

#[test]
fn colours_are_only_for_those_who_ask() {
    let directory = directory();
    let path = directory.path().join("bearward.toml");
    fs::write(&path, "").unwrap();
    let report = Config::load(&path).unwrap_err();
    assert!(!report.render(false).contains('\x1b'));
    assert!(report.render(true).contains('\x1b'));
}

#[test]
fn the_hash_is_of_the_file() {
    let directory = directory();
    let path = directory.path().join("bearward.toml");
    fs::write(&path, example()).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, example().as_bytes());
    let hex: String = digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(Config::load(&path).unwrap().config.hash, hex);
}

#[test]
fn no_text_is_beyond_a_report() {
    let good = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/everything.toml")).unwrap();
    let directory = directory();
    let path = directory.path().join("bearward.toml");
    let check = |text: String| {
        fs::write(&path, &text).unwrap();
        if let Err(report) = Config::load(&path) {
            assert!(report.faults() > 0 && !report.render(false).is_empty() && report.json().is_object(), "{text}");
        }
    };
    for (at, char) in good.char_indices().step_by(5) {
        let (before, after) = (&good[..at], &good[at + char.len_utf8()..]);
        check(before.to_owned());
        for other in ["", "\"", "[", "\u{1f43b}"] {
            check(format!("{before}{other}{after}"));
        }
    }
}

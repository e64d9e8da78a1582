//! `bearward check`: every fault at once, or the effective policy of every route.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::{Files, bearward, bearward_with, text};

const GOOD: &str = r#"
[issuers.main]
issuer = "https://tenant.eu.auth0.com/"
dialect = "auth0"

[[routes]]
path = "/*"
upstream = "http://127.0.0.1:3000"
policy = { audience = ["https://api.example.com"] }
"#;

#[test]
fn a_good_file_is_told_as_it_works() {
    let files = Files::new();
    let config = files.write("bearward.toml", GOOD);
    let done = bearward(&["check", "--config", text(&config)]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let expected = "\
server
  listens    0.0.0.0:8080, in clear
  admin      127.0.0.1:9901: metrics and probes, in clear, for whoever reaches it

route /*
  takes      any method /*
  goes to    http://127.0.0.1:3000
  issuer     main
  audience   https://api.example.com

issuer main
  iss        https://tenant.eu.auth0.com/
  dialect    auth0
  believes   Auth0: `typ: at+jwt`, or scopes (or permissions), a client and this API's audience, and no login claim
  signs with RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA
  keys       discovered at https://tenant.eu.auth0.com/.well-known/openid-configuration

upstream http://127.0.0.1:3000
  speaks     HTTP/1.1
  waits      30s for its answer, 2s for a connection
  repeats    a GET whose kept connection died before any answer
  at once    20000 requests

";
    assert_eq!(done.out, expected);

    let json = bearward(&["check", "--json", "--config", text(&config)]);
    assert_eq!((json.code, json.err.as_str()), (0, ""));
    let told = json.json();
    assert_eq!(told["report"]["faults"], 0);
    assert_eq!(told["configuration"]["routes"][0]["policies"][0]["audience"], json!(["https://api.example.com"]));
    assert_eq!(told["configuration"]["issuers"][0]["dialect"], "auth0");

    let by_environment = bearward_with(&["check"], &[("BEARWARD_CONFIG", &config)], "");
    assert_eq!((by_environment.code, by_environment.out), (0, done.out));
}

#[test]
fn a_file_with_ten_faults_reports_ten() {
    let ten = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/ten.toml");
    let done = bearward(&["check", "--config", text(&ten)]);
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    assert_eq!(done.err.lines().filter(|line| line.starts_with("error: ")).count(), 10, "{}", done.err);
    assert_eq!(done.err.lines().filter(|line| line.contains("= help: ")).count(), 10, "{}", done.err);
    assert!(done.err.ends_with("10 faults: the file is refused\n"), "{}", done.err);

    let json = bearward(&["check", "--json", "--config", text(&ten)]);
    assert_eq!((json.code, json.err.as_str()), (2, ""));
    let told = json.json();
    assert_eq!(told["report"]["faults"], 10);
    assert!(told.get("configuration").is_none());
    for problem in told["report"]["problems"].as_array().unwrap() {
        assert!(problem["line"].is_u64() && problem["column"].is_u64(), "{problem}");
        assert!(problem["what"].is_string() && problem["help"].is_string(), "{problem}");
    }
}

#[test]
fn a_warning_is_no_fault() {
    let files = Files::new();
    let config = files.write("bearward.toml", &GOOD.replace("auth0\"", "evidence\""));
    let done = bearward(&["check", "--config", text(&config)]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.err.contains("warning: dialect `evidence` without `known_clients`"), "{}", done.err);
    assert!(done.out.contains("dialect    evidence"), "{}", done.out);
}

#[test]
fn a_store_beside_the_file_can_be_used_wherever_that_is_named_from() {
    let files = Files::new();
    let config = files.write("bearward.toml", &format!("{GOOD}\n[store]\nurl = \"file:state.db\"\n"));
    for file in [text(&config), "bearward.toml"] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_bearward"));
        process.current_dir(config.parent().unwrap()).args(["check", "--config", file]);
        let done = process.output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() && !told.contains("nothing can be stored"), "{file}: {told}");
    }
}

//! An issuer that sends anything but its keys: a clear answer to callers, a clear line to the operator, and the gateway
//! goes on, also once the issuer is mended.

use std::time::{Duration, SystemTime};

use bearward::remote::clock::Clock;
use serde_json::json;

use super::AUDIENCE;
use crate::harness::client::{Answer as Told, Client};
use crate::harness::gateway::Served;
use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::log;
use crate::harness::mint::Key;
use crate::harness::upstream::Upstream;

#[tokio::test]
async fn a_key_set_of_ten_megabytes() {
    let huge = format!(r#"{{"keys":[],"padding":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
    outage("tenmb", Answer::text(&huge), "too_large", "the answer is longer than 1048576 bytes").await;
}

#[tokio::test]
async fn a_key_set_that_never_ends() {
    outage("endless", Answer::Endless, "too_large", "the answer is longer than 1048576 bytes").await;
}

#[tokio::test]
async fn a_page_instead_of_a_key_set() {
    outage("html", Answer::html(), "malformed", "is an HTML page, not JSON").await;
}

/// `name` is the issuer's, by which its log lines are told from those of other tests.
async fn outage(name: &str, lie: Answer, result: &str, cause: &str) {
    log::keep();
    let key = Key::rsa("key-1");
    let issuer = Issuer::start(&[key]).await;
    issuer.answer(Document::Keys, lie.clone());
    let upstream = Upstream::start().await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (clock, hands) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
    let toml = format!(
        "[issuers.{name}]\nissuer = \"{}\"\n[upstreams.api]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/orders\"\nupstream = \"api\"\npolicy = {{ audience = [\"{AUDIENCE}\"] }}\n\
         [[routes]]\npath = \"/open\"\nupstream = \"api\"\npolicy = \"public\"\n",
        issuer.url(),
        upstream.url(),
    );
    let gateway = Served::timed(&toml, clock);
    let token = key.token(&json!({ "iss": issuer.url(), "aud": AUDIENCE, "exp": now + 3600 }));
    let orders = async || {
        let mut client = Client::connect(gateway.address()).await;
        client.ask(format!("GET /orders HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n")).await
    };
    let ready = async || -> Told { Client::connect(gateway.admin_address()).await.get("/readyz").await };

    let refused = orders().await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "keys_unavailable"));
    assert_eq!((refused.header("retry-after"), refused.header("www-authenticate")), (Some("10"), None));
    assert_eq!(upstream.opened(), 0);
    let unready = ready().await;
    assert_eq!(unready.status, 503);
    assert!(unready.text().contains(&format!(r#""name":"issuer {name}","ready":false"#)), "{}", unready.text());
    let lines = log::lines_with(&format!("issuer={name} "));
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    for part in ["WARN", "there are no keys yet: tokens are refused with 503", cause, "help=", &issuer.url()] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let refusals = log::lines_with(&format!("issuer {name}: "));
    assert!(refusals.iter().any(|line| line.contains("code=\"keys_unavailable\"")), "{refusals:#?}");
    assert_eq!(Client::connect(gateway.address()).await.get("/open").await.status, 200, "the gateway goes on");

    issuer.rotate(&[key]);
    hands.advance(Duration::from_secs(10));
    assert_eq!(orders().await.status, 200, "the issuer is mended");
    assert_eq!(ready().await.status, 200);

    // The same lie later: the last good keys serve on, and readiness stays.
    issuer.answer(Document::Keys, lie);
    hands.advance(Duration::from_secs(300));
    let failed = format!("bearward_jwks_fetches_total{{issuer=\"{name}\",result=\"{result}\",trigger=\"refresh\"}}");
    gateway.counted(&failed, 1.0).await;
    assert_eq!((orders().await.status, ready().await.status), (200, 200));
}

//! How an issuer is asked: whom we believe to be it, and what we show it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bearward::config::Authorities;
use bearward::remote::jwks::source::{KeySource, Origin};
use bearward::telemetry::labels::{FetchResult, FetchTrigger};
use serde_json::json;

use super::engine::{World, source};
use crate::harness::certificates::Authority;
use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::log;
use crate::harness::mint::Key;

fn discovery(issuer: &Issuer) -> Origin {
    Origin::Discovery(issuer.url_of(Document::Discovery).parse().unwrap())
}

fn authorities(file: &Path) -> Authorities {
    Authorities::parse(file, &std::fs::read(file).unwrap()).unwrap()
}

/// The issuer is behind an authority of the operator's own: its keys are fetched where that is configured, and neither
/// where it is not nor where another one is.
#[tokio::test]
async fn an_issuer_is_believed_by_the_authority_that_is_configured_for_it() {
    log::keep();
    let (own, other) = (Authority::new(), Authority::new());
    let issuer = Issuer::start_tls(&[Key::p256("a")], &own.issue("issuer", &["127.0.0.1"])).await;
    for (name, trusted, result, keys) in [
        ("tls_own", Some(own.file()), FetchResult::Success, 1),
        ("tls_none", None, FetchResult::Unreachable, 0),
        ("tls_other", Some(other.file()), FetchResult::Unreachable, 0),
    ] {
        let authorities = trusted.as_deref().map(authorities);
        let source = KeySource { name: name.to_owned(), authorities, ..source(&issuer.url(), discovery(&issuer)) };
        let mut world = World::start_with(source);
        world.expect(FetchTrigger::Start, result, keys).await;
        let refused = log::lines_with(&format!("issuer={name} "));
        let [line] = refused.as_slice() else { panic!("{refused:#?}") };
        if keys == 0 {
            let parts = ["WARN", "invalid peer certificate", "the certificate is trusted", "`tls.ca`"];
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
    }
    assert_eq!((issuer.requests(Document::Discovery), issuer.requests(Document::Keys)), (1, 1));
}

/// The authority vouches for a name, not for everybody who shows one of its certificates.
#[tokio::test]
async fn a_certificate_for_another_name_is_not_believed() {
    let own = Authority::new();
    let issuer = Issuer::start_tls(&[Key::p256("a")], &own.issue("issuer", &["login.example.com"])).await;
    let authorities = Some(authorities(&own.file()));
    let mut world = World::start_with(KeySource { authorities, ..source(&issuer.url(), discovery(&issuer)) });
    world.expect(FetchTrigger::Start, FetchResult::Unreachable, 0).await;
    assert_eq!(issuer.requests(Document::Discovery), 0);
}

/// A token in a file, which may be exchanged at any time.
struct Bearer {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Bearer {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bearer = Self { path: directory.path().join("token"), _directory: directory };
        bearer.write(text);
        bearer
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }
}

/// An engine that shows this token to the issuer.
fn showing(bearer: &Bearer, issuer: &Issuer, name: &str) -> World {
    let bearer_file = Some(bearer.path.clone());
    World::start_with(KeySource { name: name.to_owned(), bearer_file, ..source(&issuer.url(), discovery(issuer)) })
}

fn shown(tokens: &[&str]) -> Vec<Option<String>> {
    tokens.iter().map(|token| Some(format!("Bearer {token}"))).collect()
}

#[tokio::test]
async fn the_token_of_a_file_is_shown_as_it_is_at_each_fetch() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let bearer = Bearer::new("first.token\n");
    let mut world = showing(&bearer, &issuer, "main");
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    bearer.write("second.token");
    world.refresh(FetchResult::Success, 1).await;
    for document in [Document::Discovery, Document::Keys] {
        assert_eq!(issuer.authorizations(document), shown(&["first.token", "second.token"]), "{document:?}");
    }
}

#[tokio::test]
async fn without_a_file_no_token_is_shown() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let mut world = World::of(&issuer);
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;
    assert_eq!(issuer.authorizations(Document::Keys), [None]);
}

/// Whoever answers for the discovery document could name a server of his own and wait for the token there.
#[tokio::test]
async fn the_token_is_not_shown_where_discovery_points_elsewhere() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let other = Issuer::start(&[Key::p256("b")]).await;
    let mut document = issuer.metadata();
    document["jwks_uri"] = json!(other.url_of(Document::Keys));
    issuer.answer(Document::Discovery, Answer::json(&document));
    let bearer = Bearer::new("a.token");
    let mut world = showing(&bearer, &issuer, "main");
    world.expect(FetchTrigger::Start, FetchResult::Refused, 0).await;
    assert_eq!((issuer.requests(Document::Discovery), other.requests(Document::Keys)), (1, 0));
}

#[tokio::test]
async fn the_token_does_not_follow_a_redirect() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let other = Issuer::start(&[Key::p256("b")]).await;
    issuer.answer(Document::Keys, Answer::Redirect(other.url_of(Document::Keys)));
    let bearer = Bearer::new("a.token");
    let mut world = showing(&bearer, &issuer, "main");
    world.expect(FetchTrigger::Start, FetchResult::Status, 0).await;
    assert_eq!(other.requests(Document::Keys), 0);
}

/// A file that is missing or holds something else is told as what it is, without what it holds; the issuer is not asked.
#[tokio::test]
async fn a_token_that_cannot_be_had_fails_the_fetch() {
    log::keep();
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let bearer = Bearer::new("two tokens");
    let mut world = showing(&bearer, &issuer, "bearer");
    world.expect(FetchTrigger::Start, FetchResult::File, 0).await;
    bearer.write("");
    world.hands.advance(Duration::from_secs(1));
    world.expect(FetchTrigger::Start, FetchResult::File, 0).await;
    std::fs::remove_file(&bearer.path).unwrap();
    world.hands.advance(Duration::from_secs(2));
    world.expect(FetchTrigger::Start, FetchResult::File, 0).await;
    assert_eq!(issuer.requests(Document::Discovery), 0);
    bearer.write("a.token");
    world.hands.advance(Duration::from_secs(4));
    world.expect(FetchTrigger::Start, FetchResult::Success, 1).await;

    let lines = log::lines_with("issuer=bearer ");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("the token of `bearer_file` is not one token"), "{}", lines[0]);
    assert!(lines[0].contains("help=\"see that the file is there"), "{}", lines[0]);
    assert!(lines.iter().all(|line| !line.contains("two tokens") && !line.contains("a.token")), "{lines:#?}");
}

/// The issuer that wants a token is named as such, with the option that shows one.
#[tokio::test]
async fn an_issuer_that_asks_for_a_credential_is_told_so() {
    log::keep();
    let issuer = Issuer::start(&[]).await;
    issuer.answer(Document::Discovery, Answer::Status(401));
    let mut world =
        World::start_with(KeySource { name: "asks".to_owned(), ..source(&issuer.url(), discovery(&issuer)) });
    world.expect(FetchTrigger::Start, FetchResult::Status, 0).await;
    let lines = log::lines_with("issuer=asks ");
    assert!(lines[0].contains("status 401") && lines[0].contains("`jwks.bearer_file`"), "{lines:#?}");
}

/// Plain http is for this machine where a token is shown, even where the operator allows more for the rest.
#[tokio::test]
async fn the_token_never_goes_over_plain_http_to_another_machine() {
    use bearward::remote::http::PlainHttp;
    let bearer = Bearer::new("a.token");
    let origin = Origin::Uri("http://192.0.2.1/keys".parse().unwrap());
    let bearer_file = Some(bearer.path.clone());
    let plain_http = PlainHttp::Anywhere;
    let mut world = World::start_with(KeySource { bearer_file, plain_http, ..source("http://192.0.2.1", origin) });
    world.expect(FetchTrigger::Start, FetchResult::Refused, 0).await;
}

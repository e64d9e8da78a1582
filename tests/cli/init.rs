//! `bearward init`: what the issuer says becomes a configuration that `check` accepts as it is.

use serde_json::json;

use crate::harness::issuer::{Answer, Document, Issuer};
use crate::harness::mint::{Key, jwk_set};
use crate::{Done, Files, bearward, text};

/// Runs it beside the issuer, which is served by this runtime.
async fn init(issuer: &str) -> Done {
    let issuer = issuer.to_owned();
    tokio::task::spawn_blocking(move || bearward(&["init", "--issuer", &issuer])).await.unwrap()
}

/// What is printed, by the option it is about.
fn options(done: &Done) -> toml::Table {
    done.out.parse().unwrap()
}

fn accepted(done: &Done) -> String {
    let files = Files::new();
    let config = files.write("bearward.toml", &done.out);
    let check = bearward(&["check", "--config", text(&config)]);
    assert_eq!(check.code, 0, "{check:?}\n{}", done.out);
    check.err
}

#[tokio::test]
async fn what_the_issuer_says_becomes_a_configuration() {
    let issuer = Issuer::start(&[Key::p256("a"), Key::rsa("b")]).await;
    let done = init(&issuer.url()).await;
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let url = issuer.url();
    let expected = format!(
        r#"# A configuration to start from, made of what is said at
# {url}/.well-known/openid-configuration
# Set what is marked CHANGE. Then: `bearward check --config FILE --online`.

[issuers.main]
issuer = "{url}"
# A guess, because its keys are at `/keys` beside `/token`, as those of Dex are. It believes:
# Dex: has only ID tokens, which need `accept_id_tokens`.
# `bearward inspect TOKEN-FILE` tells which dialects take one of its access tokens.
dialect = "dex"
# Lets whoever has an ID token for a client of the audience call the API.
# accept_id_tokens = true
# What its keys are for.
algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256"]

[[routes]]
# This and everything beneath.
path = "/*"
# CHANGE: where the API listens. Only Bearward should reach it there.
upstream = "http://127.0.0.1:3000"
# CHANGE: what the issuer writes into `aud` for this API, usually the id of the client.
policy = {{ audience = ["CLIENT-ID"] }}
"#
    );
    assert_eq!(done.out, expected);
    assert!(accepted(&done).contains("warning: dialect `dex`"));
}

#[tokio::test]
async fn algorithms_are_those_that_keys_and_document_name() {
    let issuer = Issuer::start(&[Key::rsa("a")]).await;
    let mut document = issuer.metadata();
    document["id_token_signing_alg_values_supported"] = json!(["HS256", "RS256", "ES256"]);
    document.as_object_mut().unwrap().remove("token_endpoint");
    issuer.answer(Document::Discovery, Answer::json(&document));
    let done = init(&issuer.url()).await;
    let main = options(&done)["issuers"]["main"].clone();
    assert_eq!(main["algorithms"], toml::Value::from(vec!["RS256"]));
    assert_eq!(main["dialect"].as_str(), Some("rfc9068"));
    assert!(
        done.out.contains("# No product is known by these addresses. So only `typ: at+jwt` (RFC 9068)"),
        "{}",
        done.out
    );
    assert_eq!(accepted(&done), "");
}

/// The tokens have the document's spelling, whatever was typed.
#[tokio::test]
async fn the_documents_spelling_is_written() {
    let issuer = Issuer::start(&[Key::p256("a")]).await;
    let url = issuer.url();
    let spelled = |name: &str| {
        let mut document = issuer.metadata();
        document["issuer"] = json!(name);
        issuer.answer(Document::Discovery, Answer::json(&document));
    };
    let with_slash = format!("{url}/");
    let well_known = issuer.url_of(Document::Discovery);
    for (named, asked) in [(&with_slash, &url), (&url, &with_slash), (&url, &well_known), (&with_slash, &well_known)] {
        spelled(named);
        let done = init(asked).await;
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{named} {asked}");
        let main = options(&done)["issuers"]["main"].clone();
        assert_eq!((main["issuer"].as_str(), main.get("discovery_url")), (Some(named.as_str()), None));
        let note = format!(
            "# As the document spells it, and not \"{asked}\": the `iss` of a token is compared byte by byte.\n"
        );
        assert_eq!(done.out.contains(&note), asked != &well_known, "{}", done.out);
        accepted(&done);
    }
}

#[tokio::test]
async fn what_is_no_issuer_is_told_in_a_sentence() {
    let mut issuer = Issuer::start(&[Key::p256("a")]).await;
    let url = issuer.url();
    let document = issuer.url_of(Document::Discovery);
    let named = |name: &str| {
        let mut document = issuer.metadata();
        document["issuer"] = json!(name);
        Answer::json(&document)
    };
    for (answer, told) in [
        (Answer::html(), format!("error: {document}: the answer is an HTML page, not JSON\n")),
        (Answer::text("{}"), format!("error: {document}: the discovery document has no string `issuer`\n")),
        (Answer::text("[1"), format!("error: {document}: the discovery document is not valid JSON\n")),
        (Answer::Status(404), format!("error: {document}: the answer has status 404\n")),
        (
            Answer::Redirect("/x".to_owned()),
            format!("error: {document}: the answer is a redirect (302), which is not followed\n"),
        ),
        (
            named("https://other.example.com"),
            format!(
                "error: {document}: the document is of the issuer \"https://other.example.com\", not of \"{url}\"\n"
            ),
        ),
        (
            named("https://login.example.com/{tenantid}/v2.0"),
            format!(
                "error: {document}: the document is of \"https://login.example.com/{{tenantid}}/v2.0\", a pattern and no issuer\n"
            ),
        ),
    ] {
        issuer.answer(Document::Discovery, answer);
        let done = init(&url).await;
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{told}");
        assert!(done.err.starts_with(&told), "{told}\n{}", done.err);
        assert!(done.err.lines().last().unwrap().starts_with("help: "), "{}", done.err);
    }
    issuer.answer(Document::Discovery, Answer::json(&issuer.metadata()));
    issuer.answer(Document::Keys, Answer::json(&jwk_set(&[])));
    let done = init(&url).await;
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(done.err.contains("/keys: the key set is empty\n"), "{}", done.err);
    issuer.down().await;
    let done = init(&url).await;
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(done.err.starts_with(&format!("error: {document}: no connection: ")), "{}", done.err);
}

#[test]
fn an_address_that_cannot_be_an_issuers_is_wrong_usage() {
    for (issuer, told) in [
        ("login.example.com", "error: \"login.example.com\" is no address: write `https://` in front\n"),
        ("http://login.example.com", "error: \"http://login.example.com\" is plain http outside this machine"),
        ("https://login.example.com/?x=1", "error: \"https://login.example.com/?x=1\" has a query or a fragment"),
        ("https://u:secret@login.example.com/", "error: the address holds a user or a password"),
        ("ftp://login.example.com/", "error: \"ftp://login.example.com/\" is neither https nor http"),
    ] {
        let done = bearward(&["init", "--issuer", issuer]);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{issuer}");
        assert!(done.err.starts_with(told), "{told}\n{}", done.err);
        assert!(!done.err.contains("secret"), "{}", done.err);
    }
}

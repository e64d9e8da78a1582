//! Where an issuer's discovery document says that its keys are.
//!
//! What of such a document is believed is said in [`crate::remote::discovery`]. Beyond that, where the issuer is asked with a
//! token, the `jwks_uri` is of the document's own origin (RFC 6454): a document must not be able to send that token elsewhere.

use url::Url;

use super::fault::Fault;
use crate::remote::discovery::{self, Document};

/// The address of the key set of `issuer`, from the document that was served at `asked`.
///
/// # Errors
///
/// Why the document, or the address, is not believed.
pub(super) fn jwks_uri(issuer: &str, asked: &Url, with_token: bool, document: &[u8]) -> Result<Url, Fault> {
    let uri = Document::read(issuer, asked, document)?.address("jwks_uri")?;
    if with_token && uri.origin() != asked.origin() {
        return Err(Fault::Learned(
            "is of another origin than the document, and the token of `bearer_file` stays here",
        ));
    }
    Ok(uri)
}

impl From<discovery::Fault> for Fault {
    fn from(fault: discovery::Fault) -> Self {
        match fault {
            discovery::Fault::Fetch(error) => Self::Fetch(error),
            discovery::Fault::Html => Self::Html,
            discovery::Fault::Document(why) => Self::Document(why),
            discovery::Fault::Issuer(found) => Self::Issuer(found),
            discovery::Fault::Missing(_) => Self::Document("has no string `jwks_uri`"),
            discovery::Fault::Learned { why, .. } => Self::Learned(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(issuer: &str, document: &str) -> Result<String, Fault> {
        let asked = Url::parse("https://login.example.com/.well-known/openid-configuration").unwrap();
        jwks_uri(issuer, &asked, false, document.as_bytes()).map(|url| url.to_string())
    }

    #[test]
    fn what_is_learned_by_discovery() {
        let scheme = Fault::Learned("has another scheme than the issuer");
        let local = Fault::Learned("is link-local or a metadata address");
        for (uri, expected) in [
            ("https://keys.example.com/a", Ok("https://keys.example.com/a")),
            ("https://10.0.0.1:8443/a", Ok("https://10.0.0.1:8443/a")),
            ("http://login.example.com/a", Err(scheme.clone())),
            ("file:///etc/passwd", Err(scheme.clone())),
            ("data:application/json,{}", Err(scheme)),
            ("https://user@login.example.com/a", Err(Fault::Learned("holds user info"))),
            ("https://:pw@login.example.com/a", Err(Fault::Learned("holds user info"))),
            ("https://169.254.169.254/a", Err(local.clone())),
            ("https://0xa9fea9fe/a", Err(local.clone())),
            ("https://2852039166/a", Err(local.clone())),
            ("https://[fe80::1]/a", Err(local.clone())),
            ("https://[::ffff:169.254.169.254]/a", Err(local)),
            ("/keys", Err(Fault::Learned("is no address"))),
        ] {
            let document = serde_json::json!({ "issuer": "https://login.example.com", "jwks_uri": uri }).to_string();
            assert_eq!(learn("https://login.example.com", &document), expected.map(str::to_owned), "{uri}");
        }
    }

    #[test]
    fn which_documents_are_believed() {
        let uri = r#""jwks_uri":"https://k.example/k""#;
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for (document, expected) in [
            (format!(r#"{{"issuer":"https://a.example/","x":[{{}}],{uri}}}"#), Ok("https://k.example/k")),
            (format!(r#"{{"issuer":"https://a.example",{uri}}}"#), Err(Fault::Issuer("https://a.example".into()))),
            (format!(r#"{{"issuer":"HTTPS://a.example/",{uri}}}"#), Err(Fault::Issuer("HTTPS://a.example/".into()))),
            (
                format!(r#"{{"issuer":"https://b.example/","issuer":"https://a.example/",{uri}}}"#),
                Err(Fault::Document("repeats a member name")),
            ),
            (
                format!(r#"{{"issuer":"https://a.example/",{uri},"jwks\u005furi":"https://e.example"}}"#),
                Err(Fault::Document("repeats a member name")),
            ),
            (format!(r#"{{"issuer":["https://a.example/"],{uri}}}"#), Err(Fault::Document("has no string `issuer`"))),
            (r#"{"issuer":"https://a.example/"}"#.to_owned(), Err(Fault::Document("has no string `jwks_uri`"))),
            (
                format!(r#"{{"issuer":"https://a.example/",{uri},"x":{deep}}}"#),
                Err(Fault::Document("is nested too deeply")),
            ),
            ("[]".to_owned(), Err(Fault::Document("is not a JSON object"))),
            (String::new(), Err(Fault::Document("is not valid JSON"))),
            (" \n<html>".to_owned(), Err(Fault::Html)),
        ] {
            assert_eq!(learn("https://a.example/", &document), expected.map(str::to_owned), "{document:.100}");
        }
    }

    #[test]
    fn an_issuer_without_a_scheme_takes_that_of_its_document() {
        let document = |uri| format!(r#"{{"issuer":"accounts.example.com","jwks_uri":"{uri}"}}"#);
        let learn = |uri| learn("accounts.example.com", &document(uri));
        assert_eq!(learn("https://k.example/k"), Ok("https://k.example/k".to_owned()));
        assert_eq!(learn("http://k.example/k"), Err(Fault::Learned("has another scheme than the issuer")));
    }

    #[test]
    fn a_token_stays_at_the_origin_that_the_operator_wrote() {
        let asked = Url::parse("https://login.example.com:6443/.well-known/openid-configuration").unwrap();
        let elsewhere =
            Fault::Learned("is of another origin than the document, and the token of `bearer_file` stays here");
        for (uri, expected) in [
            ("https://login.example.com:6443/openid/v1/jwks", Ok(())),
            ("https://LOGIN.example.com:6443/keys", Ok(())),
            ("https://login.example.com/keys", Err(elsewhere.clone())),
            ("https://login.example.com.evil.example:6443/keys", Err(elsewhere.clone())),
            ("https://10.0.0.1:6443/openid/v1/jwks", Err(elsewhere)),
        ] {
            let document = serde_json::json!({ "issuer": "https://login.example.com", "jwks_uri": uri }).to_string();
            let learned = |with_token| jwks_uri("https://login.example.com", &asked, with_token, document.as_bytes());
            assert_eq!(learned(true).map(|_| ()), expected, "{uri}");
            assert!(learned(false).is_ok(), "{uri}");
        }
    }
}

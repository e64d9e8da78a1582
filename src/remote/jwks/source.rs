//! Where an issuer's keys come from, and one fetch of them.
//!
//! 1. A file of the operator's, or
//! 2. an address of the operator's, or
//! 3. discovery (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3): the document's `issuer` must be the configured
//!    one byte for byte (RFC 8414 section 3.3), and the `jwks_uri` that is learned there is trusted less than what the
//!    operator wrote: it has the issuer's scheme, no user info, and does not lead to this machine's own network.
//!
//! Discovery is asked anew for each fetch, so that an issuer may move its keys. Nothing is kept here; [`super::KeySets`]
//! decides when to fetch and what a failure means.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use url::{Host, Url};

use crate::config::Authorities;
use crate::policy::json::{Json, Object};
use crate::policy::jwk::JwkSet;
use crate::policy::reject::Quoted;
use crate::remote::clock::{Clock, Monotonic};
use crate::remote::http::{BODY_LIMIT, Client, FetchError, PlainHttp, is_machine_local};
use crate::telemetry::labels::FetchResult;

/// One issuer's keys: where they are, and for how long they are good. Equal ones can share what was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// The issuer's name in the configuration.
    pub name: String,
    /// The issuer's own name for itself: the `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are.
    pub origin: Origin,
    /// Who vouches for it in TLS, where that is not whom the system trusts.
    pub authorities: Option<Authorities>,
    /// Where plain `http` may go.
    pub plain_http: PlainHttp,
    /// The time between two fetches.
    pub refresh: Duration,
    /// The least time between the end of a fetch and one that an unknown `kid` asks for.
    pub cooldown: Duration,
    /// How long after its fetch a set is good when no further fetch succeeds.
    pub max_stale: Duration,
}

/// Where keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Where the discovery document at this address says.
    Discovery(Url),
    /// At this address.
    Uri(Url),
    /// In this file.
    File(PathBuf),
}

/// Why a key set could not be had: where, and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysError {
    /// The address or the file.
    pub place: String,
    /// What was wrong there.
    pub fault: Fault,
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The document could not be fetched.
    Fetch(FetchError),
    /// The file could not be read.
    File(String),
    /// The file is longer than a key set may be.
    FileTooLarge,
    /// The answer is a page for people.
    Html,
    /// This is no discovery document.
    Document(&'static str),
    /// The discovery document is another issuer's.
    Issuer(Quoted),
    /// The discovery document's `jwks_uri` may not be asked.
    Learned(&'static str),
    /// This is no key set.
    Set(&'static str),
    /// The key set has no key that can be used.
    NoUsableKeys,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        match &self.fault {
            Fault::Fetch(error) => write!(f, "{place}: {error}"),
            Fault::File(why) => write!(f, "{place}: {why}"),
            Fault::FileTooLarge => write!(f, "{place}: the file is longer than {BODY_LIMIT} bytes"),
            Fault::Html => write!(f, "{place}: the answer is an HTML page, not JSON"),
            Fault::Document(why) => write!(f, "{place}: the discovery document {why}"),
            Fault::Issuer(found) => write!(f, "{place}: the discovery document is of the issuer {found}"),
            Fault::Learned(why) => write!(f, "{place}: the `jwks_uri` of the discovery document {why}"),
            Fault::Set(why) => write!(f, "{place}: the key set {why}"),
            Fault::NoUsableKeys => write!(f, "{place}: the key set has no usable key"),
        }
    }
}

impl KeysError {
    /// What to look at, for the operator.
    pub fn help(&self) -> &'static str {
        match &self.fault {
            Fault::Fetch(error) => error.help(),
            Fault::File(_) => "see that the file of `jwks.file` is there and may be read by this process",
            Fault::FileTooLarge => "this is hardly a key set; see what `jwks.file` names",
            Fault::Html => "this is often a login or error page; see that the address is the document's own",
            Fault::Document(_) => "give the right address as `discovery_url`, or the keys' own as `jwks.uri`",
            Fault::Issuer(_) => {
                "set `issuer` to the document's own spelling, every byte, if that is the issuer you trust"
            }
            Fault::Learned(_) => "if the address is right all the same, give it as `jwks.uri`",
            Fault::Set(_) => "see that the address is the one of the key set (RFC 7517 section 5)",
            Fault::NoUsableKeys => "see the log for why each key of the set was left out",
        }
    }

    /// The value of the metric's label.
    pub fn result(&self) -> FetchResult {
        match &self.fault {
            Fault::Fetch(FetchError::Unreachable(_) | FetchError::Interrupted(_)) => FetchResult::Unreachable,
            Fault::Fetch(FetchError::Timeout) => FetchResult::Timeout,
            Fault::Fetch(FetchError::Redirected(_) | FetchError::Status(_)) => FetchResult::Status,
            Fault::Fetch(FetchError::TooLarge) | Fault::FileTooLarge => FetchResult::TooLarge,
            Fault::Fetch(FetchError::Refused(_)) | Fault::Learned(_) => FetchResult::Refused,
            Fault::File(_) => FetchResult::File,
            Fault::Html | Fault::Document(_) | Fault::Set(_) => FetchResult::Malformed,
            Fault::Issuer(_) => FetchResult::IssuerMismatch,
            Fault::NoUsableKeys => FetchResult::NoUsableKeys,
        }
    }
}

impl KeySource {
    /// Whether the keys come from the same place by the same way, though perhaps not as often.
    pub(super) fn is_of_same_origin(&self, other: &Self) -> bool {
        let Self { name, issuer, origin, authorities, plain_http, refresh: _, cooldown: _, max_stale: _ } = self;
        let place = (name, issuer, origin) == (&other.name, &other.issuer, &other.origin);
        // Keys that came by a way that is trusted no longer must not stay.
        place && (authorities, plain_http) == (&other.authorities, &other.plain_http)
    }

    /// Fetches the keys once. The set has at least one usable key.
    ///
    /// # Errors
    ///
    /// See [`KeysError`]; a fetch that is not done at `deadline` is [`FetchError::Timeout`], discovery included.
    pub async fn fetch(&self, client: &Client, clock: &Clock, deadline: Monotonic) -> Result<JwkSet, KeysError> {
        let (place, bytes) = match &self.origin {
            Origin::File(path) => {
                let place = path.display().to_string();
                let read = clock.until(deadline, read_file(path)).await;
                let read = read.unwrap_or(Err(Fault::Fetch(FetchError::Timeout)));
                (place.clone(), read.map_err(|fault| KeysError { place, fault })?)
            }
            Origin::Uri(url) => self.get(url, client, deadline).await?,
            Origin::Discovery(url) => {
                let (place, document) = self.get(url, client, deadline).await?;
                let learned = self.learn(url, &document).map_err(|fault| KeysError { place, fault })?;
                self.get(&learned, client, deadline).await?
            }
        };
        let fault = match JwkSet::parse(&bytes) {
            Ok(set) if !set.is_empty() => return Ok(set),
            Ok(set) => {
                self.report_unusable(&set);
                Fault::NoUsableKeys
            }
            Err(_) if is_html(&bytes) => Fault::Html,
            Err(why) => Fault::Set(why),
        };
        Err(KeysError { place, fault })
    }

    /// Says which keys of a fetched set are left out, in one line.
    pub(super) fn report_unusable(&self, set: &JwkSet) {
        if set.unusable().is_empty() {
            return;
        }
        let keys: Vec<String> = set
            .unusable()
            .iter()
            .take(UNUSABLE_LISTED)
            .map(|key| match &key.kid {
                Some(kid) => format!("{} {}", Quoted::from(kid.as_str()), key.why),
                None => format!("one without kid {}", key.why),
            })
            .collect();
        tracing::warn!(
            issuer = %self.name,
            left_out = set.unusable().len(),
            usable = set.len(),
            keys = %keys.join("; "),
            "keys of the set cannot be used and are left out"
        );
    }

    async fn get(&self, url: &Url, client: &Client, deadline: Monotonic) -> Result<(String, Vec<u8>), KeysError> {
        // Without the query, where some issuers have a key of their own.
        let place = url[..url::Position::AfterPath].to_owned();
        match client.get(url, self.plain_http, deadline).await {
            Ok(body) => Ok((place, body)),
            Err(error) => Err(KeysError { place, fault: Fault::Fetch(error) }),
        }
    }

    /// The address of the key set, from the discovery document that was served at `asked`.
    fn learn(&self, asked: &Url, document: &[u8]) -> Result<Url, Fault> {
        let document = Object::parse_strict(document)
            .map_err(|why| if is_html(document) { Fault::Html } else { Fault::Document(why) })?;
        let text = |name| document.get(name).and_then(Json::as_str);
        let issuer = text("issuer").ok_or(Fault::Document("has no string `issuer`"))?;
        if issuer != self.issuer {
            return Err(Fault::Issuer(Quoted::from(issuer)));
        }
        let uri = text("jwks_uri").ok_or(Fault::Document("has no string `jwks_uri`"))?;
        let uri = Url::parse(uri).map_err(|_| Fault::Learned("is no address"))?;
        // Some issuers (Google) go by a name without a scheme; then the document's own address stands for it.
        let issuer = Url::parse(issuer).ok().filter(Url::has_host);
        if uri.scheme() != issuer.as_ref().unwrap_or(asked).scheme() {
            return Err(Fault::Learned("has another scheme than the issuer"));
        }
        if !uri.username().is_empty() || uri.password().is_some() {
            return Err(Fault::Learned("holds user info"));
        }
        let machine_local = match uri.host() {
            Some(Host::Ipv4(ip)) => is_machine_local(ip.into()),
            Some(Host::Ipv6(ip)) => is_machine_local(ip.into()),
            // Where a name leads is judged when it is resolved.
            Some(Host::Domain(_)) => false,
            None => return Err(Fault::Learned("has no host")),
        };
        if machine_local { Err(Fault::Learned("is link-local or a metadata address")) } else { Ok(uri) }
    }
}

/// How many unusable keys a log line names: a set may have very many.
const UNUSABLE_LISTED: usize = 16;

async fn read_file(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: std::io::Error| Fault::File(error.to_string());
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long from one that just fits.
    file.take(BODY_LIMIT as u64 + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() > BODY_LIMIT { Err(Fault::FileTooLarge) } else { Ok(bytes) }
}

/// Whether what should be JSON begins like a page.
fn is_html(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(issuer: &str, document: &str) -> Result<String, Fault> {
        let asked = Url::parse("https://login.example.com/.well-known/openid-configuration").unwrap();
        let source = KeySource {
            name: "main".to_owned(),
            issuer: issuer.to_owned(),
            origin: Origin::Discovery(asked.clone()),
            authorities: None,
            plain_http: PlainHttp::Loopback,
            refresh: Duration::from_secs(300),
            cooldown: Duration::from_secs(10),
            max_stale: Duration::from_secs(86400),
        };
        source.learn(&asked, document.as_bytes()).map(|url| url.to_string())
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
}

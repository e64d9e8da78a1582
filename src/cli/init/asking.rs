//! What the issuer is asked, and what is believed of its answers.

use url::Url;

use super::clues::{Addresses, suggestion};
use super::writing::Found;
use crate::config::{discovery_document, is_loopback};
use crate::policy::json::{Json, Object};
use crate::policy::jwk::JwkSet;
use crate::policy::jwt::Algorithm;
use crate::policy::reject::Quoted;
use crate::remote::clock::Clock;
use crate::remote::http::{Client, FetchError, PlainHttp};
use crate::remote::jwks::PATIENCE;
use crate::remote::jwks::fault::KeysError;
use crate::remote::jwks::source::KeySource;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0} is no address: write `https://` in front")]
    NoAddress(Quoted),
    #[error("{0} is neither https nor http")]
    Scheme(Quoted),
    #[error("the address holds a user or a password")]
    UserInfo,
    #[error("{0} has a query or a fragment")]
    Query(Quoted),
    #[error("{0} is plain http outside this machine: whoever is on the way could put in keys of his own")]
    PlainHttp(Quoted),
    #[error("{0}: {1}")]
    Fetch(String, FetchError),
    #[error("{0}: the answer is an HTML page, not JSON")]
    Html(String),
    #[error("{0}: the discovery document {1}")]
    Document(String, &'static str),
    #[error("{document}: the document is of {named}, a pattern and no issuer")]
    Pattern { document: String, named: Quoted },
    #[error("{document}: the document is of the issuer {named}, not of {asked}")]
    Other { document: String, named: Quoted, asked: Quoted },
    #[error("{0}")]
    Keys(KeysError),
    #[error("cannot ask anybody: {0}")]
    System(String),
}

impl Fault {
    /// Whether it was asked wrongly, so that nobody was asked.
    pub(super) fn is_usage(&self) -> bool {
        match self {
            Self::NoAddress(_) | Self::Scheme(_) | Self::UserInfo | Self::Query(_) | Self::PlainHttp(_) => true,
            Self::Fetch(..)
            | Self::Html(_)
            | Self::Document(..)
            | Self::Pattern { .. }
            | Self::Other { .. }
            | Self::Keys(_)
            | Self::System(_) => false,
        }
    }

    /// What to do about it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::NoAddress(_) | Self::Scheme(_) | Self::UserInfo | Self::Query(_) => {
                "name the issuer as the `iss` of its tokens does: `bearward inspect TOKEN-FILE` shows it"
            }
            Self::PlainHttp(_) => {
                "use its https address; where its network is trusted, write the file by hand, with `allow_http = true`"
            }
            Self::Fetch(_, FetchError::Status(404)) | Self::Html(_) | Self::Document(..) => {
                "this is hardly the issuer's address: name it as the `iss` of its tokens does, path and all"
            }
            Self::Fetch(_, FetchError::Redirected(_)) => {
                "redirects are not followed: name the issuer by the address that it is found at in the end"
            }
            Self::Fetch(_, error) => error.help(),
            Self::Pattern { .. } => {
                "it stands for all tenants together: name your own tenant's issuer, as the `iss` of its tokens does"
            }
            Self::Other { .. } => "if that is the issuer you trust, ask for it by that name",
            Self::Keys(error) => error.help(),
            Self::System(_) => "see whether this machine lets a process open files and sockets",
        }
    }
}

/// Asks the issuer that is named so.
pub(super) async fn ask(named: &str) -> Result<Found, Fault> {
    // The address of the document itself is as good: it is what most people have at hand.
    let asked = named.strip_suffix("/.well-known/openid-configuration").unwrap_or(named);
    let document = address(asked)?;
    let clock = Clock::system();
    let client = Client::new(clock.clone()).map_err(Fault::System)?;
    let deadline = clock.now().after(PATIENCE);
    let answer = client.get(&document, PlainHttp::Loopback, None, deadline).await;
    let answer = answer.map_err(|error| Fault::Fetch(document.to_string(), error))?;
    let object = read(&document, &answer.body)?;
    let issuer = issuer(&document, &object, asked)?;
    let source = KeySource::once(issuer, document.clone());
    let keys = source.fetch(&client, &clock, clock.now().after(PATIENCE)).await.map_err(Fault::Keys)?.keys;
    let url = |member| object.get(member).and_then(Json::as_str).and_then(|text| Url::parse(text).ok());
    let (jwks, token) = (url("jwks_uri"), url("token_endpoint"));
    let suggestion = jwks.and_then(|keys| {
        suggestion(&Addresses { issuer: &Url::parse(issuer).ok()?, keys: &keys, token: token.as_ref() })
    });
    Ok(Found {
        document: document.to_string(),
        issuer: issuer.to_owned(),
        asked: (issuer != asked && asked == named).then(|| asked.to_owned()),
        suggestion,
        algorithms: algorithms(&keys, &object),
    })
}

/// Where the discovery document of an issuer of that name is.
fn address(issuer: &str) -> Result<Url, Fault> {
    let url = Url::parse(issuer).map_err(|_| Fault::NoAddress(Quoted::from(issuer)))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::UserInfo);
    }
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Fault::Scheme(Quoted::from(issuer)));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Fault::Query(Quoted::from(issuer)));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Fault::PlainHttp(Quoted::from(issuer)));
    }
    discovery_document(issuer).ok_or_else(|| Fault::NoAddress(Quoted::from(issuer)))
}

fn read(document: &Url, body: &[u8]) -> Result<Object, Fault> {
    Object::parse_strict(body).map_err(|why| {
        if body.trim_ascii_start().starts_with(b"<") {
            Fault::Html(document.to_string())
        } else {
            Fault::Document(document.to_string(), why)
        }
    })
}

/// The issuer's name for itself, which may differ from what was asked by a slash at the end.
fn issuer<'o>(document: &Url, object: &'o Object, asked: &str) -> Result<&'o str, Fault> {
    let named = object.get("issuer").and_then(Json::as_str);
    let named = named.ok_or_else(|| Fault::Document(document.to_string(), "has no string `issuer`"))?;
    if named.contains('{') {
        return Err(Fault::Pattern { document: document.to_string(), named: Quoted::from(named) });
    }
    let bare = |name: &str| name.strip_suffix('/').unwrap_or(name).to_owned();
    if bare(named) != bare(asked) {
        return Err(Fault::Other { document: document.to_string(), named: named.into(), asked: asked.into() });
    }
    Ok(named)
}

/// What the keys are for, as far as the document names it too: a key without `alg` fits more than its issuer uses.
fn algorithms(keys: &JwkSet, document: &Object) -> Vec<Algorithm> {
    let named = document.get("id_token_signing_alg_values_supported").and_then(Json::as_array).unwrap_or_default();
    let is_named = |algorithm: &Algorithm| named.iter().any(|name| name.as_str() == Some(algorithm.name()));
    let fitting = keys.algorithms();
    let both: Vec<_> = fitting.iter().copied().filter(is_named).collect();
    if both.is_empty() { fitting } else { both }
}

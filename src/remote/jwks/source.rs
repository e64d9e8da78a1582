//! Where an issuer's keys come from, and one fetch of them.
//!
//! 1. A file of the operator's, or
//! 2. an address of the operator's, or
//! 3. the address that the issuer's discovery document names, as far as that is believed.
//!
//! Discovery is asked anew for each fetch, so that an issuer may move its keys. So is the file with the token that some
//! issuers want to see (a Kubernetes API server), because that token changes. It goes to the operator's address and its
//! origin, and nowhere else. Nothing is kept here; [`super::KeySets`] decides when to fetch and what a failure means.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use rustix::fs::OFlags;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::discovery::jwks_uri;
use super::fault::{Fault, KeysError};
use crate::config::{Authorities, Digest};
use crate::policy::credential;
use crate::policy::jwk::JwkSet;
use crate::remote::clock::{Clock, Elapsed, Monotonic};
use crate::remote::discovery::is_html;
use crate::remote::http::{BODY_LIMIT, Client, Document, FetchError, PlainHttp};

/// One issuer's keys: where they are, and for how long they are good. Equal ones can share what was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// The issuer's name in the configuration.
    pub name: String,
    /// The issuer's own name for itself: the `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are.
    pub origin: Origin,
    /// What the file of its keys held when the configuration was read: another content is to be read at once.
    pub digest: Option<Digest>,
    /// The file with the token that is shown to it, where it wants one.
    pub bearer_file: Option<PathBuf>,
    /// Who vouches for it in TLS, where that is not whom the system trusts.
    pub authorities: Option<Authorities>,
    /// Where plain `http` may go.
    pub plain_http: PlainHttp,
    /// The longest time between two fetches.
    pub refresh: Duration,
    /// The least time between the end of a fetch and one that an unknown `kid` asks for.
    pub cooldown: Duration,
    /// How long after its fetch a set is good when no further fetch succeeds.
    pub max_stale: Duration,
    /// Where the keys are kept for the next start, if anywhere.
    pub snapshot: Option<PathBuf>,
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

/// Keys that were just fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The set, with at least one usable key.
    pub keys: JwkSet,
    /// For how long their server calls them fresh, where it says so.
    pub fresh_for: Option<Duration>,
    /// What time it is by their server's clock, where it says so.
    pub date: Option<SystemTime>,
}

impl KeySource {
    /// The keys of an issuer whose discovery document is at this address, for a single fetch.
    pub fn once(issuer: &str, document: Url) -> Self {
        Self {
            name: issuer.to_owned(),
            issuer: issuer.to_owned(),
            origin: Origin::Discovery(document),
            digest: None,
            bearer_file: None,
            authorities: None,
            plain_http: PlainHttp::Loopback,
            refresh: Duration::ZERO,
            cooldown: Duration::ZERO,
            max_stale: Duration::ZERO,
            snapshot: None,
        }
    }

    /// Whether the keys come from the same place by the same way, though perhaps not as often, or others now.
    pub(super) fn is_of_same_origin(&self, other: &Self) -> bool {
        let Self { name, issuer, origin, authorities, plain_http, .. } = self;
        let place = (name, issuer, origin) == (&other.name, &other.issuer, &other.origin);
        // Keys that came by a way that is trusted no longer must not stay.
        place && (authorities, plain_http) == (&other.authorities, &other.plain_http)
    }

    /// Fetches the keys once. The set has at least one usable key.
    ///
    /// # Errors
    ///
    /// See [`KeysError`]; a fetch that is not done at `deadline` is [`FetchError::Timeout`], discovery included.
    pub async fn fetch(&self, client: &Client, clock: &Clock, deadline: Monotonic) -> Result<Fetched, KeysError> {
        let client = &client.trusting(self.authorities.as_ref());
        let (place, document) = match &self.origin {
            Origin::File(path) => {
                let body = read_in_time(path, clock, deadline, Fault::File).await?;
                (path.display().to_string(), Document { body, fresh_for: None, date: None })
            }
            Origin::Uri(url) => {
                let bearer = self.bearer(clock, deadline).await?;
                self.get(url, bearer, client, deadline).await?
            }
            Origin::Discovery(url) => {
                let bearer = self.bearer(clock, deadline).await?;
                let (place, document) = self.get(url, bearer.clone(), client, deadline).await?;
                let learned = jwks_uri(&self.issuer, url, bearer.is_some(), &document.body);
                let learned = learned.map_err(|fault| KeysError { place, fault })?;
                self.get(&learned, bearer, client, deadline).await?
            }
        };
        let Document { body, fresh_for, date } = document;
        let fault = match JwkSet::parse(&body) {
            Ok(keys) if !keys.is_empty() => return Ok(Fetched { keys, fresh_for, date }),
            Ok(keys) => Fault::NoUsableKeys(keys.left_out()),
            Err(_) if is_html(&body) => Fault::Html,
            Err(why) => Fault::Set(why),
        };
        Err(KeysError { place, fault })
    }

    /// Says which keys of a fetched set are left out, in one line.
    pub(super) fn report_unusable(&self, set: &JwkSet) {
        if set.unusable().is_empty() {
            return;
        }
        tracing::warn!(
            issuer = %self.name,
            left_out = set.unusable().len(),
            usable = set.len(),
            keys = %set.left_out(),
            "keys of the set cannot be used and are left out"
        );
    }

    /// The token that is shown to the issuer, as it stands in its file now; none where there is no such file.
    async fn bearer(&self, clock: &Clock, deadline: Monotonic) -> Result<Option<HeaderValue>, KeysError> {
        let Some(path) = &self.bearer_file else { return Ok(None) };
        let unreadable = |why| Fault::Bearer(format!("cannot be read: {why}"));
        let text = read_in_time(path, clock, deadline, unreadable).await?;
        let fault = |why: &str| KeysError { place: path.display().to_string(), fault: Fault::Bearer(why.to_owned()) };
        credential::bearer(&text).map(Some).map_err(fault)
    }

    async fn get(
        &self,
        url: &Url,
        bearer: Option<HeaderValue>,
        client: &Client,
        deadline: Monotonic,
    ) -> Result<(String, Document), KeysError> {
        // Without the query, where some issuers have a key of their own.
        let place = url[..url::Position::AfterPath].to_owned();
        match client.get(url, self.plain_http, bearer, deadline).await {
            Ok(document) => Ok((place, document)),
            Err(error) => Err(KeysError { place, fault: Fault::Fetch(error) }),
        }
    }
}

async fn read_in_time(
    path: &Path,
    clock: &Clock,
    deadline: Monotonic,
    unreadable: impl Fn(String) -> Fault,
) -> Result<Vec<u8>, KeysError> {
    let fault = match clock.until(deadline, read(path)).await {
        Ok(Ok(bytes)) if bytes.len() <= BODY_LIMIT => return Ok(bytes),
        Ok(Ok(_)) => Fault::FileTooLarge,
        Ok(Err(error)) => unreadable(error.to_string()),
        Err(Elapsed) => Fault::Fetch(FetchError::Timeout),
    };
    Err(KeysError { place: path.display().to_string(), fault })
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    // A pipe would be waited for, and with it the thread.
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = tokio::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path).await?;
    if !file.metadata().await?.is_file() {
        return Err(std::io::Error::other("is no file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long from one that just fits.
    file.take(BODY_LIMIT as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

//! What an issuer says of logins (OpenID Connect Discovery 1.0 section 3, RP-Initiated Logout 1.0 section 2.1, RFC 9207
//! section 3): where browsers are sent, and whether it names itself when it sends them back.
//!
//! What the operator wrote comes first; all else is learned from the discovery document, and stands on while that cannot
//! be had again. Where the operator names all that a login needs, the document is not asked.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::clock::{Clock, Monotonic};
use super::discovery::{Document, Fault};
use super::http::{Client, PlainHttp};
use super::learned::Learned;
use crate::config::{Authorities, Endpoints};

/// For how long the document is not asked for again after a first failure: anybody can come here.
const REST: Duration = Duration::from_secs(1);

/// Which issuer, and what the operator says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The issuer's own name for itself.
    pub issuer: String,
    /// What the operator wrote.
    pub endpoints: Endpoints,
    /// Its discovery document; none where the operator wrote all that is needed.
    pub discovery: Option<Url>,
    /// How long a browser waits for the document.
    pub timeout: Duration,
    /// Who vouches for the issuer in TLS, where that is not whom the system trusts.
    pub authorities: Option<Authorities>,
    /// Where plain `http` may go.
    pub plain_http: PlainHttp,
}

/// What is known of an issuer's logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Where browsers are sent to log in.
    pub authorization: Url,
    /// Where they are sent to log out, where there is such a place.
    pub end_session: Option<Url>,
    /// Whether every browser that comes back must bring `iss`.
    pub names_itself: bool,
}

/// An issuer, as far as browsers are sent to it.
#[derive(Debug)]
pub struct Provider {
    source: Source,
    http: Client,
    clock: Clock,
    learned: Learned<Arc<Known>>,
}

impl Provider {
    /// The issuer of `source`, asked by `http`.
    pub fn new(source: Source, http: &Client, clock: &Clock) -> Self {
        let http = http.trusting(source.authorities.as_ref());
        Self { source, http, clock: clock.clone(), learned: Learned::new(REST) }
    }

    /// What it was made of.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What is known of it; ends within the source's `timeout`.
    ///
    /// # Errors
    ///
    /// It was never learned, and cannot be now.
    pub async fn known(&self) -> Result<Arc<Known>, Fault> {
        let deadline = self.clock.now().after(self.source.timeout);
        self.learned.get(&self.clock, deadline, async |until| self.learn(until).await.map(Arc::new)).await
    }

    async fn learn(&self, deadline: Monotonic) -> Result<Known, Fault> {
        let Source { issuer, endpoints, discovery, plain_http, .. } = &self.source;
        let Some(url) = discovery else {
            let authorization = endpoints.authorization.clone().ok_or(Fault::Missing("authorization_endpoint"))?;
            return Ok(Known { authorization, end_session: endpoints.end_session.clone(), names_itself: false });
        };
        let document = Document::fetch(issuer, url, &self.http, *plain_http, deadline).await?;
        let authorization = endpoints.authorization.clone().map(Ok);
        let end_session = || match document.address("end_session_endpoint") {
            Err(Fault::Missing(_)) => Ok(None),
            found => found.map(Some),
        };
        Ok(Known {
            authorization: authorization.unwrap_or_else(|| document.address("authorization_endpoint"))?,
            end_session: endpoints.end_session.clone().map_or_else(end_session, |url| Ok(Some(url)))?,
            names_itself: document.announces("authorization_response_iss_parameter_supported"),
        })
    }
}

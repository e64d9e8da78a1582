//! The token endpoint (RFC 6749 section 3.2) and the revocation endpoint (RFC 7009) of an issuer, for one client of it.
//!
//! 1. A code is exchanged with the verifier of its PKCE challenge (RFC 7636), a refresh token for the next access token. What
//!    is sent is what the standard names and nothing else, since some issuers refuse what they do not know.
//! 2. A reply of status 200 grants where [`Granted::parse`] can read it. Of the others only a 400 or 401 with
//!    `error=invalid_grant` is about the code or the refresh token. Every other error is about us, and what is no answer of a
//!    token endpoint is trouble: neither says anything of a session.
//! 3. One call is made for each request to make one: nothing is repeated here, because the issuer may have seen a refresh
//!    token although no answer came.
//! 4. An issuer that fails several times in a row, or does not take us for its client, is left alone for a moment; then one
//!    call tries it. Codes count apart from refresh tokens: anybody can bring a code that the issuer stumbles over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use url::Url;

use super::breaker::Breaker;
use super::client_auth::form;
use super::clock::{Clock, Monotonic};
use super::discovery::{Endpoint, Fault};
use super::http::{Client, FetchError, Form, PlainHttp, Reply, Wanted};
use crate::config::{self, Authorities, Client as OauthClient};
use crate::policy::grant::{Granted, Refusal};
use crate::policy::reject::Quoted;

/// The longest reply that is read, in bytes: some tokens are long.
const BODY_LIMIT: usize = 256 * 1024;

/// Whom we are a client of, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The issuer's own name for itself: the `issuer` of its discovery document.
    pub issuer: String,
    /// Its token endpoint.
    pub token: config::Endpoint,
    /// Its revocation endpoint, where there may be one. Discovery may name none.
    pub revocation: Option<config::Endpoint>,
    /// Who we are.
    pub client: OauthClient,
    /// Of one call, from the search for the endpoint to the end of the reply.
    pub timeout: Duration,
    /// Who vouches for the issuer in TLS, where that is not whom the system trusts.
    pub authorities: Option<Authorities>,
    /// Where plain `http` may go.
    pub plain_http: PlainHttp,
}

/// What we show for tokens.
#[derive(Clone, Copy)]
pub enum Grant<'a> {
    /// An authorization code (RFC 6749 section 4.1.3).
    Code {
        /// The code.
        code: &'a str,
        /// The verifier of the challenge that went with the authorization request (RFC 7636 section 4.5).
        verifier: &'a str,
        /// The same address as in the authorization request.
        redirect_uri: &'a str,
    },
    /// A refresh token (RFC 6749 section 6).
    Refresh(&'a str),
}

/// Why there are no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The code or the refresh token does not hold.
    InvalidGrant,
    /// The issuer refuses us.
    Refused {
        /// How.
        why: String,
        /// What the operator can do.
        help: &'static str,
        /// Whether it would refuse every other call of ours, too.
        general: bool,
    },
    /// The issuer was not asked: it has failed several times in a row.
    LeftAlone,
    /// The issuer could not be asked, or gave no answer that counts.
    Unavailable {
        /// What happened.
        why: String,
        /// What the operator can do.
        help: &'static str,
    },
}

impl Failure {
    /// What happened, and what the operator can do.
    pub fn told(&self) -> (&str, &'static str) {
        match self {
            Self::InvalidGrant => ("the issuer does not know it", "nothing: it is worth nothing any more"),
            Self::LeftAlone => (LEFT_ALONE, "see why it failed; it is tried again by itself"),
            Self::Refused { why, help, .. } | Self::Unavailable { why, help } => (why, help),
        }
    }

    /// Whether another call would hardly do better, whatever is shown by it.
    fn is_general(&self) -> bool {
        match self {
            Self::InvalidGrant | Self::LeftAlone => false,
            Self::Refused { general, .. } => *general,
            Self::Unavailable { .. } => true,
        }
    }

    fn unavailable(why: impl Into<String>, help: &'static str) -> Self {
        Self::Unavailable { why: why.into(), help }
    }
}

/// The endpoints of one issuer for one client.
#[derive(Debug)]
pub struct TokenEndpoint {
    source: Source,
    token: Endpoint,
    revocation: Option<Endpoint>,
    http: Client,
    clock: Clock,
    codes: Mutex<Breaker>,
    refreshes: Mutex<Breaker>,
}

impl TokenEndpoint {
    /// The endpoints of `source`, called by `http`.
    pub fn new(source: Source, http: &Client, clock: &Clock) -> Self {
        let endpoint = |configured, member| Endpoint::new(configured, &source.issuer, member);
        Self {
            token: endpoint(&source.token, "token_endpoint"),
            revocation: source.revocation.as_ref().map(|own| endpoint(own, "revocation_endpoint")),
            http: http.trusting(source.authorities.as_ref()),
            clock: clock.clone(),
            codes: Mutex::default(),
            refreshes: Mutex::default(),
            source,
        }
    }

    /// What it was made of.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where tokens are granted; ends within the source's `timeout`.
    ///
    /// # Errors
    ///
    /// It was never learned, and cannot be now.
    pub async fn address(&self) -> Result<Url, Fault> {
        let deadline = self.clock.now().after(self.source.timeout);
        self.token.find(&self.http, self.source.plain_http, &self.clock, deadline).await
    }

    /// Shows a grant for tokens, as a part of the trace that `traceparent` names. Ends within the source's `timeout`.
    ///
    /// # Errors
    ///
    /// See [`Failure`].
    pub async fn ask(&self, grant: Grant<'_>, traceparent: Option<HeaderValue>) -> Result<Granted, Failure> {
        let begun = self.clock.now();
        let admitted = self.breaker(&grant).admit(begun, self.source.timeout);
        admitted.map_err(|_| Failure::LeftAlone)?;
        let answered = self.exchange(grant, traceparent, begun.after(self.source.timeout)).await;
        let failed = answered.as_ref().is_err_and(Failure::is_general).then_some(Duration::ZERO);
        self.breaker(&grant).ended(failed, self.clock.now());
        answered
    }

    async fn exchange(
        &self,
        grant: Grant<'_>,
        traceparent: Option<HeaderValue>,
        deadline: Monotonic,
    ) -> Result<Granted, Failure> {
        let fields: &[(&str, &str)] = match grant {
            Grant::Code { code, verifier, redirect_uri } => &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirect_uri),
                ("code_verifier", verifier),
            ],
            Grant::Refresh(token) => &[("grant_type", "refresh_token"), ("refresh_token", token)],
        };
        let reply = self.post(&self.token, fields, traceparent, deadline).await?;
        match reply.status {
            StatusCode::OK => Granted::parse(&reply.body, self.clock.wall())
                .map_err(|why| Failure::unavailable(format!("the answer {why}"), NO_ANSWER)),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(match Refusal::parse(&reply.body) {
                    Refusal::InvalidGrant => Failure::InvalidGrant,
                    Refusal::Client(error) => refused(reply.status, Some(error), true),
                    Refusal::Other(error) => refused(reply.status, error, false),
                })
            }
            status => Err(Failure::unavailable(format!("the answer has status {}", status.as_u16()), NO_ANSWER)),
        }
    }

    /// Gives a refresh token back, and with it what was granted for it (RFC 7009 section 2.1). Ends within the source's
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// The issuer could not be told, or has no such endpoint.
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), Failure> {
        let Some(endpoint) = &self.revocation else {
            let fault = Fault::Missing("revocation_endpoint");
            return Err(Failure::unavailable(fault.to_string(), fault.help()));
        };
        let fields = [("token", refresh_token), ("token_type_hint", "refresh_token")];
        let deadline = self.clock.now().after(self.source.timeout);
        let reply = self.post(endpoint, &fields, None, deadline).await?;
        // A token that does not hold any more is as good as revoked, and is answered with 200 (RFC 7009 section 2.2).
        match reply.status {
            StatusCode::OK => Ok(()),
            status => Err(refused(status, None, false)),
        }
    }

    async fn post(
        &self,
        endpoint: &Endpoint,
        fields: &[(&str, &str)],
        traceparent: Option<HeaderValue>,
        deadline: Monotonic,
    ) -> Result<Reply, Failure> {
        let plain = self.source.plain_http;
        let found = endpoint.find(&self.http, plain, &self.clock, deadline).await;
        let url = found.map_err(|fault: Fault| Failure::unavailable(fault.to_string(), fault.help()))?;
        let form = form(&self.source.client, &url, fields, self.clock.wall()).map_err(|why| Failure::Refused {
            why: why.to_owned(),
            help: OUR_CREDENTIALS,
            general: true,
        })?;
        let wanted = Wanted { accept: "application/json", limit: BODY_LIMIT };
        let reply = self.http.post(&url, plain, Form { traceparent, ..form }, &wanted, deadline).await;
        reply.map_err(|error| Failure::unavailable(error.to_string(), help(&error)))
    }

    fn breaker(&self, grant: &Grant<'_>) -> MutexGuard<'_, Breaker> {
        let breaker = match grant {
            Grant::Code { .. } => &self.codes,
            Grant::Refresh(_) => &self.refreshes,
        };
        // What it guards is whole after every step.
        breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to look at where an endpoint gave no answer, for the operator.
fn help(error: &FetchError) -> &'static str {
    match error {
        FetchError::Redirected(_) => "give the endpoint's final address in `endpoints` of the issuer",
        FetchError::Timeout => "see why the issuer is slow, or raise `timeout` of the session",
        FetchError::Refused(_)
        | FetchError::Unreachable(_)
        | FetchError::Status(_)
        | FetchError::TooLarge(_)
        | FetchError::Interrupted(_) => error.help(),
    }
}

fn refused(status: StatusCode, error: Option<Quoted>, general: bool) -> Failure {
    let error = error.map_or_else(|| "no error code".to_owned(), |error| error.to_string());
    let why = format!("the issuer answers {} with {error}", status.as_u16());
    Failure::Refused { why, help: OUR_CREDENTIALS, general }
}

const LEFT_ALONE: &str = "it has failed several times in a row, and is left alone for a moment";

const NO_ANSWER: &str = "see that this is the issuer's token endpoint, and what the issuer logs";

const OUR_CREDENTIALS: &str = "set `client_id`, `client_secret` and `auth_method` to what the issuer knows; the client must be allowed this grant";

//! The embedded issuer: a small OAuth provider that behaves as the one whose row it was given.
//!
//! 1. Discovery document and key set; keys can be rotated.
//! 2. The authorization endpoint, where one person is always logged in: code with PKCE (RFC 7636).
//! 3. The token endpoint: `authorization_code` and `refresh_token`, with the row's rotation, lifetimes and errors.
//! 4. Introspection (RFC 7662), revocation (RFC 7009), and the end of the session.
//!
//! It has one client that can log in, which is also the one that may ask about tokens. What it does not do: pages,
//! consent, machines' grants, and sessions of its own, so that ending one ends no token.

mod answer;
mod authorization;
mod client;
mod introspection;
mod memory;
mod token;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use url::Url;

use self::answer::Form;
use self::memory::{Login, Memory};
use super::loopback::{self, Loopback};
use super::provider::{Provider, Sample, filled};
use super::signer::{SignFault, Signer};
use crate::remote::clock::Clock;

/// A provider's issuer on the loopback address.
pub struct Issuer {
    desk: Arc<Desk>,
    server: Loopback,
}

/// What a login or a refresh brings (RFC 6749 section 5.1).
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// Where `openid` was asked for.
    pub id: Option<String>,
    /// Where the provider issues one.
    pub refresh: Option<String>,
    /// The scopes that were granted.
    pub scopes: Vec<String>,
}

/// The issuer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum IssuerFault {
    /// No port, or no socket.
    #[error("the embedded issuer cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// No keys.
    #[error("the embedded issuer has no keys: {0}")]
    Keys(#[from] SignFault),
}

/// What every endpoint needs.
struct Desk {
    provider: &'static Provider,
    origin: String,
    name: String,
    client_secret: String,
    clock: Clock,
    signer: RwLock<Signer>,
    memory: Mutex<Memory>,
    redirects: Mutex<Vec<Url>>,
}

impl Issuer {
    /// Makes keys and a client's secret, and serves.
    ///
    /// # Errors
    ///
    /// There is no free port, or no key.
    pub async fn start(provider: &'static Provider, clock: Clock) -> Result<Self, IssuerFault> {
        let listener = Loopback::listener().await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let client_secret = unique()?;
        let desk = Arc::new(Desk {
            provider,
            name: format!("{origin}{}", provider.issuer_path),
            origin,
            signer: RwLock::new(Signer::new(&client_secret)?),
            client_secret,
            clock,
            memory: Mutex::default(),
            redirects: Mutex::default(),
        });
        let answering = Arc::clone(&desk);
        let server = Loopback::serve(listener, move |request| {
            let desk = Arc::clone(&answering);
            async move { desk.answer(request).await }
        })?;
        Ok(Self { desk, server })
    }

    /// The exact `iss` of its tokens.
    pub fn name(&self) -> &str {
        &self.desk.name
    }

    /// The client that can log in.
    pub fn client_id(&self) -> &str {
        self.desk.provider.client()
    }

    /// That client's secret.
    pub fn client_secret(&self) -> &str {
        &self.desk.client_secret
    }

    /// The token endpoint.
    pub fn token_endpoint(&self) -> String {
        self.desk.endpoint(&self.desk.provider.endpoints.token)
    }

    /// The path of the token endpoint.
    pub fn token_path(&self) -> String {
        format!("{}{}", self.desk.path(), self.desk.provider.endpoints.token)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What its clock shows, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.desk.now()
    }

    /// What introspection would say of a token that was issued here and is good: of a JWT its claims.
    pub fn claims(&self, token: &str) -> Option<Map<String, Value>> {
        self.desk.memory().asked(token, self.now()).cloned()
    }

    /// Lets the client be sent back to this address, after a login or at the end of its session.
    pub fn register_redirect_uri(&self, uri: Url) {
        self.desk.redirects.lock().unwrap_or_else(PoisonError::into_inner).push(uri);
    }

    /// Signs with a new key from now on; the former ones stay in the key set.
    ///
    /// # Errors
    ///
    /// There is no key.
    pub fn rotate_keys(&self) -> Result<(), SignFault> {
        self.desk.signer.write().unwrap_or_else(PoisonError::into_inner).rotate()
    }

    /// Logs the person in without a browser, and issues what the token endpoint would. Scopes and audience are taken as
    /// the authorization endpoint takes them; without `audience` the provider's default holds.
    ///
    /// # Errors
    ///
    /// A token cannot be signed.
    pub fn log_in(&self, scopes: &[&str], audience: Option<&str>) -> Result<Tokens, SignFault> {
        let desk = &self.desk;
        let known = |scope: &&&str| desk.provider.scopes.iter().any(|known| known == **scope);
        let scopes = scopes.iter().filter(known).map(|scope| (*scope).to_owned()).collect();
        let login = Login { family: unique()?, scopes, audience: audience.is_some(), nonce: None, at: desk.now() };
        desk.issue(&login, None, None)
    }

    /// A sample as a token that is issued now; `change` may alter header and claims before they are signed.
    ///
    /// # Errors
    ///
    /// The sample cannot be signed.
    pub fn mint(
        &self,
        sample: &Sample,
        change: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>),
    ) -> Result<String, SignFault> {
        let desk = &self.desk;
        let now = desk.now();
        match sample {
            Sample::Opaque { opaque, introspection } => {
                let answer = filled(introspection, &desk.name, now);
                desk.memory().issued(opaque.clone(), answer, None, now);
                Ok(opaque.clone())
            }
            Sample::Jwt { header, claims } => {
                let (mut header, mut claims) = (header.clone(), filled(claims, &desk.name, now));
                change(&mut header, &mut claims);
                let token = desk.sign(&header, &claims)?;
                desk.memory().issued(token.clone(), claims, None, now);
                Ok(token)
            }
        }
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let endpoints = &self.provider.endpoints;
        let Some(path) = request.uri().path().strip_prefix(self.path()).map(str::to_owned) else { return not_found() };
        let (head, body) = request.into_parts();
        if head.method == Method::GET {
            let query = Form::parse(head.uri.query().unwrap_or_default().as_bytes());
            return match path {
                path if path == "/.well-known/openid-configuration" => {
                    loopback::json(StatusCode::OK, &self.discovery())
                }
                path if path == endpoints.jwks => loopback::json(StatusCode::OK, &self.jwks()),
                path if path == endpoints.authorization => self.authorize(&query),
                path if path == endpoints.end_session => self.end_session(&query),
                _ => not_found(),
            };
        }
        if head.method != Method::POST {
            return not_found();
        }
        let form = match Form::read(body).await {
            Ok(form) => form,
            Err(_) => return answer::fault(&self.provider.faults.request, &self.name, false),
        };
        match path {
            path if path == endpoints.token => self.token(&head.headers, &form),
            path if Some(&path) == endpoints.introspection.as_ref() => self.introspect(&head.headers, &form),
            path if path == endpoints.revocation => self.revoke(&head.headers, &form),
            _ => not_found(),
        }
    }

    /// OpenID Connect Discovery section 3.
    fn discovery(&self) -> Value {
        let Provider { endpoints, client_authentication, scopes, announces_issuer, id, .. } = self.provider;
        let mut document = json!({
            "issuer": self.name,
            "authorization_endpoint": self.endpoint(&endpoints.authorization),
            "token_endpoint": self.endpoint(&endpoints.token),
            "revocation_endpoint": self.endpoint(&endpoints.revocation),
            "end_session_endpoint": self.endpoint(&endpoints.end_session),
            "jwks_uri": self.endpoint(&endpoints.jwks),
            "scopes_supported": scopes,
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": client_authentication,
            "id_token_signing_alg_values_supported": [id.algorithm()],
        });
        if *announces_issuer {
            document["authorization_response_iss_parameter_supported"] = true.into();
        }
        if let Some(introspection) = &endpoints.introspection {
            document["introspection_endpoint"] = self.endpoint(introspection).into();
        }
        document
    }

    fn jwks(&self) -> Value {
        let signer = self.signer.read().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Value> = kids(self.provider).iter().flat_map(|kid| signer.jwks(kid)).collect();
        json!({ "keys": keys })
    }

    /// The issuer's path; a slash that ends it is not doubled (OpenID Connect Discovery section 4.1).
    fn path(&self) -> &'static str {
        self.provider.issuer_path.trim_end_matches('/')
    }

    fn endpoint(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.path())
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The redirect URI, if it is one of the client's; compared as text (RFC 9700 section 4.1.3).
    fn registered(&self, uri: &str) -> Option<Url> {
        let known = self.redirects.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|known| known.as_str() == uri).cloned()
    }

    fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> Result<String, SignFault> {
        self.signer.read().unwrap_or_else(PoisonError::into_inner).sign(header, claims)
    }
}

fn not_found() -> Response<Full<Bytes>> {
    loopback::json(StatusCode::NOT_FOUND, &json!({ "error": "not_found" }))
}

/// A text that nobody can guess, for codes, tokens and secrets.
fn unique() -> Result<String, SignFault> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The ids under which the provider's samples name asymmetric keys.
fn kids(provider: &Provider) -> BTreeSet<&str> {
    let others = provider.others.iter().map(|other| &other.sample);
    [&provider.access, &provider.id, &provider.refresh]
        .into_iter()
        .chain(others)
        .filter_map(|sample| match sample {
            Sample::Jwt { header, .. } if sample.algorithm() == Some("RS256") => header.get("kid")?.as_str(),
            Sample::Jwt { .. } | Sample::Opaque { .. } => None,
        })
        .collect()
}

//! The configuration as the rest of the program sees it: complete, checked, immutable.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::authorities::Authorities;
use super::certified::Certified;
use super::files::Digest;
use super::read::AuthMethod;
pub use super::read::{Authorization, ClientCertificateMode, HostField, LogFormat, LogLevel, RefusalLog};
pub use super::secret::Secret;
pub use super::signing_key::SigningKey;
pub use super::store_address::StoreAddress;
pub use super::upstream_address::{Address, Scheme};
pub use super::upstream_tls::{Trust, UpstreamTls};
use crate::policy::Rules;
use crate::policy::identity::IdentityHeader;
use crate::policy::issuer::IssuerId;
use crate::policy::jwk::JwkSet;
use crate::policy::jwt::{Algorithm, HmacSecret};

/// All that one file says.
#[derive(Debug)]
pub struct Config {
    /// What clients connect to.
    pub server: Server,
    /// Metrics, probes, status.
    pub admin: Admin,
    /// What is logged.
    pub log: Log,
    /// What is traced.
    pub traces: Traces,
    /// Where the issuers' keys come from: the same places as in `rules.issuers`.
    pub issuers: Vec<Issuer>,
    /// The APIs behind us, by [`UpstreamId`](crate::policy::route::UpstreamId).
    pub upstreams: Vec<Upstream>,
    /// Browser logins: the same places as in `rules.sites`.
    pub sessions: Vec<Session>,
    /// Where sessions are kept.
    pub store: Store,
    /// All that decides about requests.
    pub rules: Arc<Rules>,
    /// The first 12 hex digits of the SHA-256 of the file's bytes: tells two configurations apart in a metric.
    pub hash: String,
}

impl Config {
    /// Every certificate that the gateway shows to anybody, each file's once: several upstreams may be shown the same.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        let to_upstreams = self.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref()?.certificate());
        let all = self.server.tls.iter().flat_map(|tls| &tls.certificates).chain(to_upstreams);
        let mut known = HashSet::new();
        all.filter(move |certificate| known.insert(&certificate.file))
    }
}

/// The public listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Addresses, at least one, without repetition.
    pub listen: Vec<SocketAddr>,
    /// How clients are spoken to within TLS; `None`: in clear.
    pub tls: Option<Tls>,
    /// Whether each connection must begin with a PROXY header, from one of `trusted_proxies`.
    pub proxy_protocol: bool,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many workers: at least one; "one per core" is resolved.
    pub workers: usize,
    /// How to stop.
    pub drain: Drain,
    /// Bounds on what a client may send and hold.
    pub limits: Limits,
}

/// How clients are spoken to within TLS. Two are equal where every byte of their files is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// At least one. The first is shown to clients that name no host, or one that none of them is for.
    pub certificates: Vec<Certificate>,
    /// What is asked of clients; `None`: no certificate.
    pub clients: Option<ClientCertificates>,
}

/// A certificate and its private key, which belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate's file, as configured: its name in logs and metrics.
    pub file: String,
    /// Both.
    pub pair: Certified,
}

/// What is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whose certificates are taken.
    pub authorities: Authorities,
    /// Whether a client must have one.
    pub mode: ClientCertificateMode,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long new requests are still taken while we say that we are not ready.
    pub delay: Duration,
    /// How long requests in flight may take after that.
    pub timeout: Duration,
}

/// Bounds on what a client may send and hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of clients, over all listeners.
    pub connections: usize,
    /// Bytes of a request's head; at least 8 KiB.
    pub head_bytes: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// Bytes of a request's body; `None`: no limit. A route's own value is in the route.
    pub body_bytes: Option<u64>,
    /// Bytes of a token.
    pub token_bytes: usize,
}

/// The admin listener.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    /// Its address, none of the public ones.
    pub listen: SocketAddr,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Log {
    /// The form of every line.
    pub format: LogFormat,
    /// The least severe message on standard error.
    pub level: LogLevel,
    /// Access lines.
    pub access: AccessLog,
}

/// Which requests get an access line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccessLog {
    /// The share of requests, from 0 to 1.
    pub sample: f64,
    /// Whether refusals are sampled too.
    pub refused: RefusalLog,
}

/// What is traced.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The collector that gets spans; none: nothing is traced.
    pub otlp: Option<Url>,
    /// The share of new traces that is recorded, from 0 to 1.
    pub sample: f64,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// Its name.
    pub name: String,
    /// The source of its keys.
    pub keys: KeySource,
    /// The file with the token that is shown to it when keys are fetched; held one token when the configuration was read.
    pub bearer_file: Option<PathBuf>,
    /// Its endpoints, as far as the file names them.
    pub endpoints: Endpoints,
    /// Who is believed to vouch for it in TLS; `None`: whom the system trusts.
    pub authorities: Option<Authorities>,
    /// Whether plain http outside loopback is fetched, also where discovery names it.
    pub allow_http: bool,
    /// Whether the gateway is unready until the keys were seen once.
    pub required_for_ready: bool,
    /// How often keys are fetched.
    pub refresh: Duration,
    /// The least time between two fetches for unknown keys.
    pub cooldown: Duration,
    /// How long the last good set is used while fetching fails; at least `refresh`.
    pub max_stale: Duration,
    /// Where its public keys are kept for the next start; no other issuer's are kept there.
    pub snapshot: Option<PathBuf>,
    /// How it is asked about opaque tokens, where it is.
    pub introspection: Option<Introspection>,
}

/// Endpoints of an issuer (RFC 6749, RFC 7009, OpenID Connect RP-Initiated Logout 1.0). What is not given is for discovery
/// to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Where browsers are sent to log in.
    pub authorization: Option<Url>,
    /// Where codes and refresh tokens become access tokens.
    pub token: Option<Url>,
    /// Where browsers are sent to log out.
    pub end_session: Option<Url>,
    /// Where refresh tokens are given back.
    pub revocation: Option<Url>,
}

/// How an issuer is asked about opaque tokens (RFC 7662).
#[derive(Debug, Clone, PartialEq)]
pub struct Introspection {
    /// Where.
    pub endpoint: Endpoint,
    /// Who asks.
    pub client: Client,
    /// Of one call.
    pub timeout: Duration,
    /// Calls at once, at least one.
    pub max_concurrent: usize,
    /// How long an answer stands.
    pub cache: Duration,
    /// How long it stands where it says that the token is not active.
    pub negative_cache: Duration,
}

/// An address at an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// As the operator wrote it.
    At(Url),
    /// As the discovery document at this URL names it.
    Discovered(Url),
}

/// Us, as an OAuth client of an issuer.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The client id.
    pub id: String,
    /// How we prove that.
    pub authentication: Authentication,
}

/// How a client proves to an issuer who it is (OpenID Connect Core section 9).
#[derive(Debug, Clone, PartialEq)]
pub enum Authentication {
    /// Id and secret in the `Authorization` header (RFC 6749 section 2.3.1).
    Basic(Secret),
    /// Id and secret in the body (RFC 6749 section 2.3.1).
    Post(Secret),
    /// A JWT signed with this key (RFC 7523 section 2.2).
    PrivateKey(SigningKey),
    /// The id alone.
    None,
}

impl Authentication {
    /// The secret that is shared with the issuer, where there is one.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Basic(secret) | Self::Post(secret) => Some(secret),
            Self::PrivateKey(_) | Self::None => None,
        }
    }

    /// The value of `auth_method`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Basic(_) => AuthMethod::ClientSecretBasic,
            Self::Post(_) => AuthMethod::ClientSecretPost,
            Self::PrivateKey(_) => AuthMethod::PrivateKeyJwt,
            Self::None => AuthMethod::None,
        }
        .name()
    }
}

/// The source of an issuer's keys.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The discovery document at this URL says where they are; its `issuer` must be the issuer's first spelling.
    Discovery(Url),
    /// A key set at this URL.
    Uri(Url),
    /// A key set from a file: checked at the start, and read again as often as a fetched one.
    File {
        /// The file.
        path: PathBuf,
        /// Its keys, at least one of which can be used.
        keys: Arc<JwkSet>,
        /// What they were read from.
        digest: Digest,
    },
    /// The issuer signs with its `hmac_secret`; there is nothing to fetch.
    Secret,
}

impl PartialEq for KeySource {
    /// Keys are the same where the files are.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Discovery(one), Self::Discovery(other)) | (Self::Uri(one), Self::Uri(other)) => one == other,
            (Self::File { path: one, digest, .. }, Self::File { path: other, digest: others, .. }) => {
                one == other && digest == others
            }
            (Self::Secret, Self::Secret) => true,
            (Self::Discovery(_) | Self::Uri(_) | Self::File { .. } | Self::Secret, _) => false,
        }
    }
}

/// An API behind us.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name: that of the file, or its URL where a route names it by that.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// TLS, where it speaks that.
    pub tls: Option<UpstreamTls>,
    /// From the end of the request to the answer's head, and between two parts of an answer of declared length.
    pub timeout: Duration,
    /// To the connection, the name's resolution and the TLS handshake included; and in the queue before it.
    pub connect_timeout: Duration,
    /// Which `Host` it gets.
    pub host: HostField,
    /// How often a request without effects may be repeated whose kept connection ended before any answer: 0 or 1.
    pub retries: u32,
    /// How many requests it has at once; at least one.
    pub max_concurrent: usize,
    /// What becomes of the client's `Authorization`.
    pub authorization: Authorization,
    /// The headers that tell it who calls.
    pub identity_headers: Arc<[IdentityHeader]>,
}

/// Browser logins, held by us. Where browsers see us, and under which cookie, is in the
/// [`Site`](crate::policy::site::Site) of the same place.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// Who logs browsers in.
    pub issuer: IssuerId,
    /// Us, as the client that they log in to.
    pub client: Client,
    /// The discovery document that names what the issuer's `endpoints` do not; `None` where they name all that is needed.
    pub discovery: Option<Url>,
    /// Of one call of the token endpoint.
    pub timeout: Duration,
    /// What ID tokens may be signed with: at least one, either all of them with public keys or all with the client secret.
    pub id_token_algorithms: Vec<Algorithm>,
    /// The client secret as a key, where ID tokens are signed with it.
    pub id_token_secret: Option<HmacSecret>,
    /// What is asked for; `openid` among it.
    pub scopes: Vec<String>,
    /// Further parameters of the authorization request; none that we set ourselves.
    pub parameters: Vec<(String, String)>,
    /// The claims of the ID token that the browser may be told.
    pub claims: Vec<String>,
    /// What seals the cookie and what is stored: keys of 32 bytes, the newest first; each opens, the first seals. None: one
    /// is made at the start.
    pub keys: Vec<Secret>,
    /// How long before its access token expires a session is refreshed; half the token's life where that is less.
    pub refresh_before: Duration,
    /// How long a session lasts without a request; at most `lifetime`.
    pub idle_timeout: Duration,
    /// How long a session lasts from its login on.
    pub lifetime: Duration,
}

/// Where sessions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where; a path is whole.
    pub address: StoreAddress,
    /// The user we are there.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

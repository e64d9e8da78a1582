//! The one client for calls to issuers: small documents, fetched rarely, from parties that may be slow, broken or hostile.
//!
//! 1. `https`, or plain `http` to this machine; plain `http` elsewhere only where the operator allowed it.
//! 2. No user info in an address: it would end up in logs.
//! 3. A name never leads to a link-local address or to one where clouds serve a machine's own credentials: whoever
//!    answers for that name could make us fetch them.
//! 4. Redirects are not followed, answers other than 200 are not read.
//!    A token goes only over `https`, or plain `http` to this machine, whatever the operator allowed else.
//! 5. The whole call ends at the caller's deadline; a body is read in pieces up to a bound, whatever its length claims.
//!
//! Calls over `https` go through the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`); plain ones are direct.
//! A connection is kept for less time than common servers keep theirs: what is asked often (introspection) finds it open, and
//! what is fetched minutes apart never meets a dead one.

mod date;
mod freshness;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::clock::{Clock, Elapsed, Monotonic};
use crate::config::{Authorities, is_loopback};
use crate::policy::trace::TRACEPARENT;

/// The longest body that is read, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// How long an unused connection is kept: less than the 5 s after which common servers close theirs.
const KEPT_FOR: Duration = Duration::from_secs(4);

/// How many of them for each host.
const KEPT_AT_MOST: usize = 32;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where plain `http` may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// To this machine only.
    Loopback,
    /// To wherever the operator says: `allow_http`.
    Anywhere,
}

/// A document that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes, at most [`BODY_LIMIT`].
    pub body: Vec<u8>,
    /// For how long its server calls it fresh, where it says so.
    pub fresh_for: Option<Duration>,
    /// What time it is by its server's clock, where it says so.
    pub date: Option<SystemTime>,
}

/// Why a document could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The address may not be asked: says which rule forbids it.
    Refused(&'static str),
    /// No connection: the name, the network or TLS.
    Unreachable(String),
    /// The answer was not complete at the deadline.
    Timeout,
    /// The answer points elsewhere.
    Redirected(u16),
    /// The answer's status is not 200.
    Status(u16),
    /// The body is longer than so many bytes.
    TooLarge(usize),
    /// The answer broke off, or is not HTTP.
    Interrupted(String),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(rule) => f.write_str(rule),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Timeout => f.write_str("the answer did not come in time"),
            Self::Redirected(status) => write!(f, "the answer is a redirect ({status}), which is not followed"),
            Self::Status(status) => write!(f, "the answer has status {status}"),
            Self::TooLarge(limit) => write!(f, "the answer is longer than {limit} bytes"),
            Self::Interrupted(why) => write!(f, "the answer broke off: {why}"),
        }
    }
}

impl FetchError {
    /// What to look at, for the operator.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Refused(_) => {
                "use https and no user info; `allow_http` of the issuer admits plain http where its network is trusted"
            }
            Self::Unreachable(_) => {
                "see that the name resolves, the port is open from here and the certificate is trusted: `tls.ca` names an \
                 authority of your own"
            }
            Self::Timeout => "see why the issuer, or the way to it, is slow",
            Self::Redirected(_) => "give the final address in the issuer's configuration",
            Self::Status(_) => {
                "open the address from here; if it is wrong, give the right one in the issuer's configuration"
            }
            Self::TooLarge(_) => "this is hardly the right document; see what is served at this address",
            Self::Interrupted(_) => "see what the issuer, or a proxy before it, does to this answer",
        }
    }
}

/// What is posted. No `Debug`: both parts hold secrets.
pub struct Form {
    /// The fields: `application/x-www-form-urlencoded`.
    pub body: String,
    /// The `Authorization` header, where there is one.
    pub authorization: Option<HeaderValue>,
    /// The trace that the call is a part of, where that is recorded.
    pub traceparent: Option<HeaderValue>,
}

/// Which reply is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The value of `Accept`.
    pub accept: &'static str,
    /// The longest body that is read, in bytes.
    pub limit: usize,
}

/// A reply that was read to its end. No `Debug`: its body may hold a token.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The client. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    clock: Clock,
    plain: reqwest::Client,
    /// Cannot be had on a machine without CA certificates; plain calls and key files must work there all the same.
    tls: Result<reqwest::Client, String>,
}

impl Client {
    /// A client whose deadlines are those of `clock`.
    ///
    /// Installs aws-lc-rs as the process' cryptography for TLS where nothing is installed yet.
    ///
    /// # Errors
    ///
    /// The system's reason, where not even plain calls are possible.
    pub fn new(clock: Clock) -> Result<Self, String> {
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Without a list of trusted roots nothing of the system is read, and no https address would be believed.
        let plain = builder().no_proxy().tls_certs_only([]).build().map_err(|error| reason(&error))?;
        let tls = builder().build().map_err(|error| reason(&error));
        Ok(Self { clock, plain, tls })
    }

    /// This client; with other trust where authorities are given: for `https` only these vouch then, and those of the system
    /// do not.
    #[must_use]
    pub fn trusting(&self, authorities: Option<&Authorities>) -> Self {
        let Some(authorities) = authorities else { return self.clone() };
        let roots = authorities.certificates().iter().map(|der| reqwest::Certificate::from_der(der));
        let tls = roots.collect::<Result<Vec<_>, _>>().and_then(|roots| builder().tls_certs_only(roots).build());
        Self { tls: tls.map_err(|error| reason(&error)), ..self.clone() }
    }

    /// The answer to `GET url`, where it is complete at `deadline`. `bearer` is the value of its `Authorization` field.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn get(
        &self,
        url: &Url,
        plain: PlainHttp,
        bearer: Option<HeaderValue>,
        deadline: Monotonic,
    ) -> Result<Document, FetchError> {
        let plain = if bearer.is_some() { PlainHttp::Loopback } else { plain };
        let request = self.client_for(url, plain)?.get(url.clone());
        let request = match bearer {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        };
        match self.clock.until(deadline, fetch(request)).await {
            Ok(result) => result,
            Err(Elapsed) => Err(FetchError::Timeout),
        }
    }

    /// The reply to a form, whatever its status, where it is complete at `deadline`.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn post(
        &self,
        url: &Url,
        plain: PlainHttp,
        form: Form,
        wanted: &Wanted,
        deadline: Monotonic,
    ) -> Result<Reply, FetchError> {
        let mut request = self
            .client_for(url, plain)?
            .post(url.clone())
            .header(header::ACCEPT, wanted.accept)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.body);
        if let Some(authorization) = form.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(traceparent) = form.traceparent {
            request = request.header(&TRACEPARENT, traceparent);
        }
        let exchange = async {
            let mut response = send(request).await?;
            let body = read(&mut response, wanted.limit).await?;
            Ok(Reply { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
        };
        self.clock.until(deadline, exchange).await.unwrap_or(Err(FetchError::Timeout))
    }

    /// The status of the answer to a document that is posted, where it is there at `deadline`. What the answer says is not read.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn deliver(
        &self,
        url: &Url,
        plain: PlainHttp,
        media: &'static str,
        body: Vec<u8>,
        deadline: Monotonic,
    ) -> Result<StatusCode, FetchError> {
        let request = self.client_for(url, plain)?.post(url.clone()).header(header::CONTENT_TYPE, media).body(body);
        let sent = self.clock.until(deadline, send(request)).await;
        sent.map_or(Err(FetchError::Timeout), |response| Ok(response?.status()))
    }

    fn client_for(&self, url: &Url, plain: PlainHttp) -> Result<&reqwest::Client, FetchError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Refused("the address holds user info"));
        }
        match url.scheme() {
            "https" => self.tls.as_ref().map_err(|why| FetchError::Unreachable(why.clone())),
            "http" if plain == PlainHttp::Anywhere || is_loopback(url) => Ok(&self.plain),
            "http" => Err(FetchError::Refused("the address is plain http and not on this machine")),
            _ => Err(FetchError::Refused("the address is neither https nor http")),
        }
    }
}

/// Whether the address is link-local, or one where clouds serve a machine's own credentials.
pub fn is_machine_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => match ip.segments() {
            // NAT64 (RFC 6052 section 2.1): an IPv4 address by another name.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                is_machine_local(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into())
            }
            _ => ip.is_unicast_link_local() || ip == METADATA_V6,
        },
    }
}

/// Alibaba Cloud and Oracle Cloud; the other clouds use a link-local address.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// Amazon.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("bearward/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(KEPT_FOR)
        .pool_max_idle_per_host(KEPT_AT_MOST)
        .dns_resolver(Arc::new(Names))
}

async fn fetch(request: reqwest::RequestBuilder) -> Result<Document, FetchError> {
    let mut response = send(request.header(header::ACCEPT, DOCUMENTS)).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let (fresh_for, date) = (freshness::fresh_for(response.headers()), date::date(response.headers()));
    let body = read(&mut response, BODY_LIMIT).await?;
    Ok(Document { body, fresh_for, date })
}

/// What documents are.
const DOCUMENTS: &str = "application/json, application/jwk-set+json;q=0.9";

async fn send(request: reqwest::RequestBuilder) -> Result<reqwest::Response, FetchError> {
    let response = request.send().await.map_err(fault)?;
    let status = response.status();
    if status.is_redirection() { Err(FetchError::Redirected(status.as_u16())) } else { Ok(response) }
}

async fn read(response: &mut reqwest::Response, limit: usize) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > limit {
            return Err(FetchError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn fault(error: reqwest::Error) -> FetchError {
    if error.is_connect() {
        FetchError::Unreachable(reason(&error))
    } else if error.is_timeout() {
        FetchError::Timeout
    } else {
        FetchError::Interrupted(reason(&error))
    }
}

/// The innermost cause: the outer ones only say that a request failed.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The system's names, without the addresses of [`is_machine_local`].
#[derive(Debug)]
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| !is_machine_local(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name leads to no address that may be asked".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_machine_itself() {
        for (ip, expected) in [
            ("169.254.169.254", true),
            ("169.254.1.1", true),
            ("100.100.100.200", true),
            ("192.0.0.192", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("::ffff:169.254.169.254", true),
            ("64:ff9b::169.254.169.254", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("192.0.0.1", false),
            ("fd00::1", false),
            ("64:ff9b::10.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(is_machine_local(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn which_addresses_may_be_asked() {
        let client = Client::new(Clock::system()).unwrap();
        for (url, plain, expected) in [
            ("http://127.0.0.1:1/", PlainHttp::Loopback, None),
            ("http://127.255.0.3/", PlainHttp::Loopback, None),
            ("http://[::1]/", PlainHttp::Loopback, None),
            ("http://[::ffff:127.0.0.1]/", PlainHttp::Loopback, None),
            ("http://LocalHost/", PlainHttp::Loopback, None),
            ("http://keys.example.com/", PlainHttp::Anywhere, None),
            (
                "http://keys.example.com/",
                PlainHttp::Loopback,
                Some("the address is plain http and not on this machine"),
            ),
            (
                "http://localhost.example.com/",
                PlainHttp::Loopback,
                Some("the address is plain http and not on this machine"),
            ),
            (
                "http://127.0.0.1.example.com/",
                PlainHttp::Loopback,
                Some("the address is plain http and not on this machine"),
            ),
            ("ftp://127.0.0.1/", PlainHttp::Anywhere, Some("the address is neither https nor http")),
            ("file:///etc/passwd", PlainHttp::Anywhere, Some("the address is neither https nor http")),
            ("http://a@127.0.0.1/", PlainHttp::Anywhere, Some("the address holds user info")),
            ("http://:b@127.0.0.1/", PlainHttp::Anywhere, Some("the address holds user info")),
        ] {
            let result = client.client_for(&Url::parse(url).unwrap(), plain).map(|_| ());
            assert_eq!(result.err(), expected.map(FetchError::Refused), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_only_to_the_machine_itself_is_not_resolved() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert!(Names.resolve(name("localhost")).await.is_ok());
        assert!(Names.resolve(name("169.254.169.254")).await.is_err());
    }
}

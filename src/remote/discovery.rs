//! What an issuer says of itself (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3): where its endpoints are.
//!
//! 1. The document's `issuer` is the configured one, byte for byte (RFC 8414 section 3.3): the first spelling, never an alias.
//! 2. An address that is learned there is trusted less than what the operator wrote: it has the issuer's scheme, no user
//!    info, and does not lead to this machine's own network.

use std::fmt;
use std::time::Duration;

use url::{Host, Url};

use super::clock::{Clock, Monotonic};
use super::http::{Client, FetchError, PlainHttp, is_machine_local};
use super::learned::Learned;
use crate::config;
use crate::policy::json::{Json, Object};
use crate::policy::reject::Quoted;

/// Why an address could not be learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The document could not be fetched.
    Fetch(FetchError),
    /// The answer is a page for people.
    Html,
    /// This is no discovery document.
    Document(&'static str),
    /// The document is another issuer's.
    Issuer(Quoted),
    /// It has no such address.
    Missing(&'static str),
    /// It has one that may not be asked.
    Learned {
        /// The member that holds it.
        member: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Html => f.write_str("the answer is an HTML page, not JSON"),
            Self::Document(why) => write!(f, "the discovery document {why}"),
            Self::Issuer(found) => write!(f, "the discovery document is of the issuer {found}"),
            Self::Missing(member) => write!(f, "the discovery document has no string `{member}`"),
            Self::Learned { member, why } => write!(f, "the `{member}` of the discovery document {why}"),
        }
    }
}

impl Fault {
    /// What to look at, for the operator.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::Redirected(_)) => "give the final address as `discovery_url`",
            Self::Fetch(FetchError::Status(_)) => "open the address from here; if it is wrong, give `discovery_url`",
            Self::Fetch(error) => error.help(),
            Self::Html => "this is often a login or error page; see that the address is the document's own",
            Self::Document(_) => {
                "give the right address as `discovery_url`, or the endpoint's own in the configuration"
            }
            Self::Issuer(_) => {
                "set `issuer` to the document's own spelling, every byte, if that is the issuer you trust"
            }
            Self::Missing(_) | Self::Learned { .. } => {
                "if there is such an endpoint all the same, give its address in the configuration"
            }
        }
    }
}

/// A discovery document of the issuer that was meant.
#[derive(Debug, Clone)]
pub struct Document {
    object: Object,
    /// The scheme that learned addresses must have.
    scheme: String,
}

impl Document {
    /// Fetches the document at `url` of the issuer of that name.
    ///
    /// # Errors
    ///
    /// It cannot be had by then, is none, or is another issuer's.
    pub(super) async fn fetch(
        issuer: &str,
        url: &Url,
        client: &Client,
        plain: PlainHttp,
        deadline: Monotonic,
    ) -> Result<Self, Fault> {
        let body = client.get(url, plain, None, deadline).await.map_err(Fault::Fetch)?.body;
        Self::read(issuer, url, &body)
    }

    /// Reads what was served at `asked` for the issuer of that name.
    ///
    /// # Errors
    ///
    /// It is none, or another issuer's.
    pub fn read(issuer: &str, asked: &Url, body: &[u8]) -> Result<Self, Fault> {
        let object =
            Object::parse_strict(body).map_err(|why| if is_html(body) { Fault::Html } else { Fault::Document(why) })?;
        let named = object.get("issuer").and_then(Json::as_str).ok_or(Fault::Document("has no string `issuer`"))?;
        if named != issuer {
            return Err(Fault::Issuer(Quoted::from(named)));
        }
        // Some issuers (Google) go by a name without a scheme; then the document's own address stands for it.
        let own = Url::parse(issuer).ok().filter(Url::has_host);
        let scheme = own.as_ref().unwrap_or(asked).scheme().to_owned();
        Ok(Self { object, scheme })
    }

    /// Whether that member announces something that strangers must then be held to: it is there, and neither false nor null.
    /// What is no boolean counts as true, since a document of the wrong types must not weaken a rule.
    pub fn announces(&self, member: &str) -> bool {
        !matches!(self.object.get(member), None | Some(Json::Null | Json::Bool(false)))
    }

    /// The address that stands in that member.
    ///
    /// # Errors
    ///
    /// There is none, or it may not be asked.
    pub fn address(&self, member: &'static str) -> Result<Url, Fault> {
        let fault = |why| Fault::Learned { member, why };
        let text = self.object.get(member).and_then(Json::as_str).ok_or(Fault::Missing(member))?;
        let url = Url::parse(text).map_err(|_| fault("is no address"))?;
        if url.scheme() != self.scheme {
            return Err(fault("has another scheme than the issuer"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fault("holds user info"));
        }
        let machine_local = match url.host() {
            Some(Host::Ipv4(ip)) => is_machine_local(ip.into()),
            Some(Host::Ipv6(ip)) => is_machine_local(ip.into()),
            // Where a name leads is judged when it is resolved.
            Some(Host::Domain(_)) => false,
            None => return Err(fault("has no host")),
        };
        if machine_local { Err(fault("is link-local or a metadata address")) } else { Ok(url) }
    }
}

/// Whether what should be JSON begins like a page.
pub fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// One of an issuer's endpoints.
#[derive(Debug)]
pub struct Endpoint(Place);

#[derive(Debug)]
enum Place {
    /// Where the operator says.
    At(Url),
    /// Where the issuer's discovery document says.
    Discovered(Box<Discovered>),
}

#[derive(Debug)]
struct Discovered {
    document: Url,
    issuer: String,
    member: &'static str,
    learned: Learned<Url>,
}

impl Endpoint {
    /// The endpoint that the operator wrote, else the one in `member` of the issuer's discovery document.
    pub fn new(configured: &config::Endpoint, issuer: &str, member: &'static str) -> Self {
        Self(match configured {
            config::Endpoint::At(url) => Place::At(url.clone()),
            config::Endpoint::Discovered(document) => Place::Discovered(Box::new(Discovered {
                document: document.clone(),
                issuer: issuer.to_owned(),
                member,
                // Whoever calls an endpoint leaves an issuer alone that fails, by itself.
                learned: Learned::new(Duration::ZERO),
            })),
        })
    }

    /// Its address. What was learned before stands on while it cannot be learned again.
    ///
    /// # Errors
    ///
    /// It was never learned, and cannot be now.
    pub async fn find(
        &self,
        client: &Client,
        plain: PlainHttp,
        clock: &Clock,
        deadline: Monotonic,
    ) -> Result<Url, Fault> {
        match &self.0 {
            Place::At(url) => Ok(url.clone()),
            Place::Discovered(discovered) => {
                let Discovered { document, issuer, member, learned } = &**discovered;
                let ask = async |until| Document::fetch(issuer, document, client, plain, until).await?.address(member);
                learned.get(clock, deadline, ask).await
            }
        }
    }
}

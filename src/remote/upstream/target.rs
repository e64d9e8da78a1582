//! Where one upstream is, what it speaks, and how long it may take.

use std::path::PathBuf;
use std::time::Duration;

use http::uri;

use super::gate::Gate;
use crate::config::{Address, Scheme, Upstream, UpstreamTls};

/// One upstream. Two that are equal may share connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its configured name.
    pub name: String,
    /// Where it listens.
    pub place: Place,
    /// What is spoken there.
    pub protocol: Protocol,
    /// From the end of the request to the head of the answer, and between two parts of an answer of declared length.
    pub timeout: Duration,
    /// To the connection, the resolution of the name and the TLS handshake included; and in the queue before it.
    pub connect_timeout: Duration,
    /// How often a request may be repeated whose connection ended before any answer: 0 or 1.
    pub retries: u32,
    /// How many requests it has at once. Clones of a target share it.
    pub gate: Gate,
}

/// Where an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `host:port`; a host that is a name is resolved at each new connection.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// What an upstream speaks.
#[derive(Debug, Clone, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1 in clear.
    Http1,
    /// HTTP/2 in clear, by prior knowledge (RFC 9113 section 3.3).
    Http2,
    /// TLS, and within it what the upstream chooses of the two (ALPN, RFC 7301).
    Tls(UpstreamTls),
}

impl Protocol {
    /// What requests over HTTP/2 call it.
    pub(super) fn scheme(&self) -> uri::Scheme {
        match self {
            Self::Http1 | Self::Http2 => uri::Scheme::HTTP,
            Self::Tls(_) => uri::Scheme::HTTPS,
        }
    }
}

impl From<&Upstream> for Target {
    fn from(upstream: &Upstream) -> Self {
        let (place, clear) = match &upstream.address {
            Address::Host { scheme: Scheme::H2c, .. } => (Place::Tcp(upstream.address.authority()), Protocol::Http2),
            Address::Host { .. } => (Place::Tcp(upstream.address.authority()), Protocol::Http1),
            Address::Unix(path) => (Place::Unix(path.clone()), Protocol::Http1),
        };
        Self {
            name: upstream.name.clone(),
            place,
            protocol: upstream.tls.clone().map_or(clear, Protocol::Tls),
            timeout: upstream.timeout,
            connect_timeout: upstream.connect_timeout,
            retries: upstream.retries,
            gate: Gate::new(upstream.max_concurrent),
        }
    }
}

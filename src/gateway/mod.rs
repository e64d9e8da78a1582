//! The straight line of a request.

mod authenticate;
pub mod body;
pub mod forward;
pub mod request_body;
pub mod respond;

use std::net::SocketAddr;

pub use self::body::Body;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The listener's place in the configuration.
    pub listener: usize,
    /// Whether the connection is TLS.
    pub tls: bool,
}

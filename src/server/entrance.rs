//! What a client's connection passes before HTTP begins.
//!
//! 1. Where `proxy_protocol` is on, a PROXY header, from a trusted proxy: it tells who the client is.
//! 2. Where `tls` is set, a TLS handshake.
//!
//! A connection costs a socket until its first byte. One that ends before is no fault: so do load balancers that look
//! whether the port is open. All of it is complete within `header_timeout` of the connection's opening.
//!
//! A reload brings another [`Entrance`], for the connections that open from then on. What clients are offered within TLS
//! stays the same, sessions that can be resumed included, where nothing of it has changed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Bounds;
use super::drain::{Phase, PhaseWatch};
use super::stream::Stream;
use super::{proxy, tls};
use crate::config::{Server, Tls};
use crate::telemetry::labels::ConnectionFault;

/// What a connection passes before HTTP begins. The default is nothing: HTTP in clear.
#[derive(Debug, Clone, Default)]
pub struct Entrance {
    /// Who must begin with a PROXY header, and nobody else may connect; none: nobody does.
    proxies: Option<Vec<IpNet>>,
    tls: Option<Offer>,
}

/// What clients are offered within TLS.
#[derive(Debug, Clone)]
struct Offer {
    of: Tls,
    config: Arc<ServerConfig>,
}

/// A client that has come in.
pub(super) struct Guest {
    pub(super) stream: Stream,
    /// Where it is: the other end of the connection, or what a trusted proxy says that is.
    pub(super) address: SocketAddr,
}

impl Entrance {
    /// The entrance that a configuration asks for, after the one `before`.
    ///
    /// # Errors
    ///
    /// What rustls refuses of it, which the configuration's own checks should have found.
    pub fn new(server: &Server, before: &Self) -> Result<Self, rustls::Error> {
        let tls = server.tls.as_ref().map(|tls| match &before.tls {
            Some(offer) if offer.of == *tls => Ok(offer.clone()),
            Some(_) | None => tls::server_config(tls).map(|config| Offer { of: tls.clone(), config }),
        });
        let proxies = server.proxy_protocol.then(|| server.trusted_proxies.clone());
        Ok(Self { proxies, tls: tls.transpose()? })
    }

    /// Lets a connection in; none where it ends without a byte.
    pub(super) async fn pass(
        &self,
        mut socket: TcpStream,
        address: SocketAddr,
        bounds: Bounds,
        phase: &mut PhaseWatch,
    ) -> Result<Option<Guest>, ConnectionFault> {
        let deadline = Instant::now() + bounds.header_timeout;
        let mut client = address;
        if let Some(proxies) = &self.proxies {
            if !trusts(proxies, address.ip()) {
                return Err(ConnectionFault::ProxyUntrusted);
            }
            let header = async {
                if begins(&socket, bounds.moment, phase).await? {
                    proxy::header(&mut socket).await.map(Some)
                } else {
                    Ok(None)
                }
            };
            match timeout_at(deadline, header).await.map_err(|_| ConnectionFault::ProxyTimeout)?? {
                None => return Ok(None),
                Some(source) => client = source.unwrap_or(address),
            }
        }
        let Some(Offer { config, .. }) = &self.tls else {
            return Ok(Some(Guest { stream: Stream::Plain(socket), address: client }));
        };
        let handshake = async {
            if begins(&socket, bounds.moment, phase).await? {
                Ok(Some(tls::handshake(socket, config).await))
            } else {
                Ok(None)
            }
        };
        match timeout_at(deadline, handshake).await.map_err(|_| ConnectionFault::TlsTimeout)?? {
            None => Ok(None),
            Some(Ok(stream)) => Ok(Some(Guest { stream, address: client })),
            Some(Err(refused)) => Err(refused.dismiss(client).await),
        }
    }
}

fn trusts(proxies: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// Waits for the first byte; false where none comes, a `moment` after the server closes at the latest.
async fn begins(socket: &TcpStream, moment: Duration, phase: &mut PhaseWatch) -> Result<bool, ConnectionFault> {
    let mut byte = [0];
    let peeked: io::Result<bool> = tokio::select! {
        biased;
        peeked = socket.peek(&mut byte) => peeked.map(|count| count > 0),
        () = phase.reached(Phase::Closing) => {
            timeout(moment, socket.peek(&mut byte)).await.map_or(Ok(false), |peeked| peeked.map(|count| count > 0))
        }
    };
    peeked.map_err(|_| ConnectionFault::Socket)
}

//! TLS with clients: what is offered to them, and the handshake.
//!
//! - Versions 1.2 and 1.3; HTTP/2 and HTTP/1.1 by ALPN.
//! - A client that must show a certificate, or shows a bad one, is refused in the handshake. What a good one says goes no
//!   further: it opens the connection, and the token decides on requests.
//! - Where clients are asked for certificates no session is resumed: each connection proves its certificate anew, by the
//!   authorities of now. Elsewhere the keys of tickets live and die with the configuration.
//! - A handshake that fails ends with the alert that says why, and a moment in which the client can hear it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::beat::LINGER;
use super::certificates::Certificates;
use super::stream::{ALPN_HTTP1, ALPN_HTTP2, Stream};
use crate::config::{ClientCertificateMode, Tls};
use crate::telemetry::labels::ConnectionFault;

/// What is offered to clients.
///
/// # Errors
///
/// What rustls refuses.
pub(super) fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.authorities.roots()), provider);
            let verifier = match clients.mode {
                ClientCertificateMode::Required => verifier,
                ClientCertificateMode::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|why| Error::General(why.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(&tls.certificates)));
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if tls.clients.is_none() {
        config.ticketer = Ticketer::new()?;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// A handshake that failed.
pub(super) struct Refused {
    error: io::Error,
    socket: TcpStream,
}

/// Shakes hands.
pub(super) async fn handshake(socket: TcpStream, config: &Arc<ServerConfig>) -> Result<Stream, Refused> {
    let shaken = TlsAcceptor::from(Arc::clone(config)).accept(socket).into_fallible().await;
    shaken.map(|stream| Stream::Tls(Box::new(stream))).map_err(|(error, socket)| Refused { error, socket })
}

impl Refused {
    /// Lets the client hear the alert, and says what went wrong.
    ///
    /// What it still sends is read for a moment: closed over unread bytes, the socket would be reset, and the alert be lost.
    pub(super) async fn dismiss(self, client: SocketAddr) -> ConnectionFault {
        let Self { error, mut socket } = self;
        tracing::debug!(%client, %error, "a TLS handshake failed");
        let goodbye = async {
            socket.shutdown().await?;
            let mut waste = [0; 4096];
            while socket.read(&mut waste).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        // It has failed already; how its end went tells nothing more.
        let _ = timeout(LINGER, goodbye).await;
        fault(&error)
    }
}

fn fault(error: &io::Error) -> ConnectionFault {
    // tokio-rustls tells rustls' errors within those of a socket.
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match refused {
        // More than it keeps of a message.
        None if error.kind() == ErrorKind::InvalidData => ConnectionFault::TlsHandshake,
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => ConnectionFault::TlsClientCertificate,
        Some(_) => ConnectionFault::TlsHandshake,
        None if error.kind() == ErrorKind::UnexpectedEof => ConnectionFault::ClientClosed,
        None => ConnectionFault::Socket,
    }
}

//! The TLS handshake of a client's connection.
//!
//! 1. A connection costs a socket until its first byte; only then is there a handshake. One that closes before is no fault:
//!    so do load balancers that look whether the port is open.
//! 2. The handshake is complete within `header_timeout` of the connection's opening, or the connection is closed.
//! 3. A handshake that fails ends with the alert that says why, and a moment in which the client can hear it.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::beat::LINGER;
use super::connection::news;
use super::drain::{Phase, PhaseWatch};
use super::stream::Stream;
use crate::telemetry::labels::ConnectionFault;

/// Waits for the client's first byte, then shakes hands. None where the connection ends without a byte.
pub(super) async fn accept(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    within: Duration,
    phase: &mut PhaseWatch,
) -> Result<Option<Stream>, ConnectionFault> {
    let handshake = async {
        if !begins(&socket, phase).await.map_err(|_| ConnectionFault::Socket)? {
            return Ok(None);
        }
        Ok(Some(TlsAcceptor::from(config).accept(socket).into_fallible().await))
    };
    match timeout(within, handshake).await.map_err(|_| ConnectionFault::TlsTimeout)?? {
        None => Ok(None),
        Some(Ok(stream)) => Ok(Some(Stream::Tls(Box::new(stream)))),
        Some(Err((error, socket))) => {
            tracing::debug!(%error, "a TLS handshake failed");
            say_goodbye(socket).await;
            Err(fault(&error))
        }
    }
}

/// Waits for the first byte; false where none comes.
async fn begins(socket: &TcpStream, phase: &mut PhaseWatch) -> io::Result<bool> {
    let mut byte = [0];
    tokio::select! {
        biased;
        peeked = socket.peek(&mut byte) => Ok(peeked? > 0),
        // A connection on which nothing has begun ends when the server closes, after a look.
        () = phase.reached(Phase::Closing) => {
            news().await;
            Ok(socket.peek(&mut byte).now_or_never().transpose()?.is_some_and(|count| count > 0))
        }
    }
}

fn fault(error: &io::Error) -> ConnectionFault {
    if error.kind() == ErrorKind::InvalidData {
        // What rustls says of the client's bytes.
        ConnectionFault::TlsHandshake
    } else if error.kind() == ErrorKind::UnexpectedEof {
        ConnectionFault::ClientClosed
    } else {
        ConnectionFault::Socket
    }
}

/// Reads what the client still sends: closed over unread bytes, the socket would be reset, and the alert be lost.
async fn say_goodbye(mut socket: TcpStream) {
    let goodbye = async {
        socket.shutdown().await?;
        let mut waste = [0; 4096];
        while socket.read(&mut waste).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // It has failed already; how its end went tells nothing more.
    let _ = timeout(LINGER, goodbye).await;
}

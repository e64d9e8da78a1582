//! The bytes of a client's connection: in clear, or within TLS.
//!
//! Everything behind this knows one type, whatever carries the bytes. What HTTP does not need to know of TLS ends here: an
//! end without `close_notify` is an end, because each request says itself how long it is.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::wire::Protocol;

/// A client's connection.
pub(super) enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Within TLS, after the handshake. Boxed: an idle connection in clear would pay for it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether it is TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The protocol that the handshake settled (ALPN, RFC 7301); none where it did not.
    pub(super) fn negotiated(&self) -> Option<Protocol> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => match stream.get_ref().1.alpn_protocol()? {
                ALPN_HTTP2 => Some(Protocol::Http2),
                ALPN_HTTP1 => Some(Protocol::Http1),
                // We offer no other.
                _ => None,
            },
        }
    }

    /// The socket beneath: what comes from it is not decrypted.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

/// The names of the protocols in a handshake (RFC 7301 section 6, RFC 9113 section 3.2).
pub(super) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// See [`ALPN_HTTP1`].
pub(super) const ALPN_HTTP2: &[u8] = b"h2";

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf).map(|read| match read {
                // Many clients close without saying so first. A request that is cut short is found by its own length.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
                read => read,
            }),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Ends our side: within TLS by `close_notify` first, so that the client knows that nothing was cut off.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

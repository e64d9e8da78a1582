//! Connections to an upstream, before a word of HTTP: TCP or a Unix socket, and TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::counted::{Counted, End};
use super::target::{Place, Protocol, Target};
use crate::remote::keepalive::keepalive;

/// An open connection, whatever it runs on.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// Opens a connection, and tells what is spoken on it.
pub(super) async fn open(target: &Target) -> io::Result<(Box<dyn Connection>, Spoken)> {
    let stream = match &target.place {
        Place::Tcp(authority) => tcp(authority).await?,
        Place::Unix(path) => return Ok((Box::new(UnixStream::connect(path).await?), Spoken::Http1)),
    };
    match &target.protocol {
        Protocol::Http1 => Ok((Box::new(stream), Spoken::Http1)),
        Protocol::Http2 => Ok((Box::new(stream), Spoken::Http2)),
        Protocol::Tls(tls) => {
            let connector = TlsConnector::from(Arc::clone(tls.client()));
            let stream = connector.connect(tls.name().clone(), stream).await?;
            let chosen = stream.get_ref().1.alpn_protocol();
            let spoken = if chosen == Some(b"h2") { Spoken::Http2 } else { Spoken::Http1 };
            Ok((Box::new(stream), spoken))
        }
    }
}

async fn tcp(authority: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
    Ok(stream)
}

/// How often something came from an upstream on one connection.
#[derive(Default)]
pub(super) struct Reads(AtomicUsize);

impl Reads {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that counts what it reads.
pub(super) struct Wire {
    connection: Box<dyn Connection>,
    reads: Arc<Reads>,
    _end: End,
}

impl Wire {
    /// The connection is counted to the end of this.
    pub(super) fn new(connection: Box<dyn Connection>, reads: &Arc<Reads>, counted: &Arc<Counted>) -> Self {
        Self { connection, reads: Arc::clone(reads), _end: End::of(counted) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.connection).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.reads.0.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_upstream_that_is_gone_is_noticed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tcp(&listener.local_addr().unwrap().to_string()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    }
}

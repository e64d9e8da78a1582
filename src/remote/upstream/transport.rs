//! Connections to an upstream, before a word of HTTP: TCP or a Unix socket, and TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::counted::{Counted, End};
use super::joint::Joint;
use super::target::{Place, Protocol, Target};
use crate::remote::keepalive::{GONE, keepalive};

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

/// The look-up of one upstream's name: a resolver that hangs is asked once, however many requests wait for it. It holds one
/// thread until it answers, which nothing can end.
pub(super) type Names = Joint<Result<Arc<[SocketAddr]>, String>>;

/// Opens a connection, and tells what is spoken on it.
pub(super) async fn open(target: &Target, names: &Names) -> io::Result<(Box<dyn Connection>, Spoken)> {
    let stream = match &target.place {
        Place::Tcp(authority) => tcp(authority, names, target.timeout).await?,
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

/// `patience` is how long the upstream may take nothing of a request that is there for it.
async fn tcp(authority: &str, names: &Names, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(&*addresses(authority, names).await?).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_tcp_user_timeout(Some(GONE.max(patience).min(LONGEST)))?;
    Ok(stream)
}

/// What the kernel takes at most: milliseconds in a signed number of 32 bits.
const LONGEST: Duration = Duration::from_millis(0x7fff_ffff);

async fn addresses(authority: &str, names: &Names) -> io::Result<Arc<[SocketAddr]>> {
    if let Ok(address) = authority.parse() {
        return Ok(Arc::new([address]));
    }
    let name = authority.to_owned();
    let look_up = || async move {
        let found = lookup_host(name).await.map(Iterator::collect);
        found.map_err(|error| error.to_string())
    };
    let found = names.join(look_up).await.unwrap_or_else(|| Err("its look-up was given up".to_owned()));
    found.map_err(io::Error::other)
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
    use super::*;

    #[tokio::test]
    async fn an_upstream_that_is_gone_is_noticed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, names) = (listener.local_addr().unwrap().to_string(), Names::default());
        let stream = tcp(&address, &names, Duration::from_secs(5)).await.unwrap();
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
        let patient = tcp(&address, &names, Duration::from_secs(300)).await.unwrap();
        assert_eq!(SockRef::from(&patient).tcp_user_timeout().unwrap(), Some(Duration::from_secs(300)));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    }
}

//! A client's connection as the HTTP implementation reads and writes it.
//!
//! [`Wire`] tells HTTP/2 from HTTP/1 by the handshake or the first bytes, and tells [`Beat`] what is read and when nothing can
//! be written. A client that leaves is noticed also while nobody reads. At the end it lingers: what the client still sends is read and thrown away for a moment, because a socket
//! closed over unread bytes resets the connection, and a reset can overtake the answer that tells the client why.

use std::future::Future as _;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::beat::Beat;
use super::stream::Stream;

/// What a client of HTTP/2 sends first (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A client's connection.
pub(super) struct Wire {
    stream: Stream,
    beat: Beat,
    /// Once it is known: by the handshake, or because it was spoken.
    protocol: Option<Protocol>,
    /// What was read and is to be read again.
    unread: BytesMut,
    /// Whether the reader will see the client's end by itself: it waits for the next bytes, or has seen the last.
    watched: bool,
    blocked: bool,
    shut: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, beat: Beat) -> Self {
        let protocol = stream.negotiated();
        Self { stream, beat, protocol, unread: BytesMut::new(), watched: false, blocked: false, shut: false }
    }

    /// Reads until something is said and its protocol is known; none where the client closed without a byte.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Protocol>>> {
        loop {
            if let Some(protocol) = self.told() {
                return Poll::Ready(Ok(Some(self.speaks(protocol))));
            }
            // Room for many a whole head, which is then not asked for again.
            let mut space = [0; 1024];
            let mut buf = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                let cut_off = (!self.unread.is_empty()).then_some(Protocol::Http1);
                return Poll::Ready(Ok(cut_off.map(|protocol| self.speaks(protocol))));
            }
            self.beat.heard(buf.filled());
            self.unread.extend_from_slice(buf.filled());
        }
    }

    /// The protocol that the bytes so far tell.
    fn told(&self) -> Option<Protocol> {
        match self.protocol {
            Some(Protocol::Http2) => Some(Protocol::Http2),
            Some(Protocol::Http1) => (!self.unread.is_empty()).then_some(Protocol::Http1),
            None if self.unread.starts_with(PREFACE) => Some(Protocol::Http2),
            None => (!PREFACE.starts_with(&self.unread)).then_some(Protocol::Http1),
        }
    }

    fn speaks(&mut self, protocol: Protocol) -> Protocol {
        if protocol == Protocol::Http2 {
            self.beat.speaks_http2();
        }
        *self.protocol.insert(protocol)
    }

    /// Takes back what was read and not used: the beginning of a request, perhaps behind empty lines, which are nothing
    /// (RFC 9112 section 2.2).
    pub(super) fn unread(mut self, bytes: Bytes) -> Self {
        let bytes = bytes.trim_ascii_start();
        self.beat.heard(bytes);
        self.unread = bytes.into();
        self.watched = false;
        self
    }

    /// Ends the connection.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }

    /// Whether a client has left unseen while its answer was awaited: hyper does not read on where a byte of another request,
    /// or any byte behind the request's own, has come already.
    fn is_left(&mut self, cx: &mut Context<'_>) -> bool {
        if self.watched || !self.beat.only_answers() {
            return false;
        }
        // What the system tells of the socket stays told. News come with the connection's timer at the latest.
        let ready = pin!(self.stream.socket().ready(Interest::READABLE)).poll(cx);
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Notes how a write went.
    fn written<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() != self.blocked {
            self.blocked = !self.blocked;
            self.beat.blocked(self.blocked);
        }
        self.noted(polled)
    }

    fn noted<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &polled {
            self.beat.fail_socket();
        }
        polled
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.blocked || self.beat.is_broken() {
            // A client that did not get all of its answer must not take what it has for all of it, and the kernel need not
            // hold the rest. A socket that cannot even be reset is gone.
            let _ = self.stream.socket().set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(count));
            self.watched = false;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let heard = buf.filled().get(before..).unwrap_or_default();
        self.watched = heard.is_empty();
        self.beat.heard(heard);
        self.noted(polled)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if self.is_left(cx) {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        self.written(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        if !self.beat.must_linger() {
            return Poll::Ready(Ok(()));
        }
        let mut waste = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut waste);
            match ready!(Pin::new(self.stream.socket()).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

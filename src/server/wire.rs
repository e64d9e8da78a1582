//! A client's connection, and what has happened on it lately.
//!
//! [`Wire`] reads and writes for the HTTP implementation, tells HTTP/2 from HTTP/1 by the handshake or the first bytes, and notes in
//! [`Beat`] what the connection's deadlines depend on: when a head began, whether a request is under way.
//! At the end it lingers: what the client still sends is read and thrown away for a moment, because a socket closed over
//! unread bytes resets the connection, and a reset can overtake the answer that tells the client why.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connection::Bounds;
use super::stream::Stream;

/// What a client of HTTP/2 sends first (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a closing connection lingers.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A request to begin, since then.
    Idle(Instant),
    /// The rest of a head whose first byte came then.
    Head(Instant),
    /// Requests under way: their handlers and bodies have limits of their own.
    Busy,
    /// The client to hear that it is over, since then.
    Lingering(Instant),
    /// Nothing more.
    Over,
}

/// The state of one connection that its deadlines depend on. Clones are of the same connection.
#[derive(Clone)]
pub(super) struct Beat(Arc<Mutex<State>>);

struct State {
    turn: Turn,
    http2: bool,
    /// Requests under way.
    open: usize,
    /// Whether the latest request has a body, so that bytes read meanwhile are its own.
    has_body: bool,
    /// Whether bytes of a further request have come already.
    ahead: bool,
    /// The last bytes that were read: they tell whether a head is all there is.
    tail: [u8; 3],
    socket_failed: bool,
    /// The connection's task: on HTTP/2 a request ends in a task of its own.
    waker: Option<Waker>,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            turn: Turn::Idle(Instant::now()),
            http2: false,
            open: 0,
            has_body: false,
            ahead: false,
            tail: [0; 3],
            socket_failed: false,
            waker: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(&self) -> Turn {
        self.state().turn
    }

    pub(super) fn socket_failed(&self) -> bool {
        self.state().socket_failed
    }

    /// A request's head is complete. It is under way until the returned value is dropped.
    pub(super) fn begin(&self, has_body: bool) -> UnderWay {
        let mut state = self.state();
        state.open += 1;
        state.turn = Turn::Busy;
        state.has_body = has_body;
        // What stands behind the empty line of a head without a body is the beginning of another.
        state.ahead = !has_body && state.tail != *b"\n\r\n" && !state.tail.ends_with(b"\n\n");
        UnderWay(self.clone())
    }

    /// When the connection is closed if nothing happens before.
    pub(super) fn deadline(&self, bounds: Bounds, waker: &Waker) -> Option<Instant> {
        let mut state = self.state();
        if state.http2 && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        match state.turn {
            Turn::Idle(since) => since.checked_add(bounds.idle_timeout),
            Turn::Head(since) => since.checked_add(bounds.header_timeout),
            Turn::Busy | Turn::Over => None,
            Turn::Lingering(since) => since.checked_add(LINGER),
        }
    }

    /// Bytes were read.
    fn heard(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        for byte in bytes.iter().skip(bytes.len().saturating_sub(state.tail.len())) {
            state.tail.rotate_left(1);
            state.tail[2] = *byte;
        }
        if state.http2 {
            // Frames come at any time; only a request moves the idle limit.
            return;
        }
        match state.turn {
            Turn::Idle(_) => state.turn = Turn::Head(Instant::now()),
            Turn::Busy if !state.has_body => state.ahead = true,
            Turn::Busy | Turn::Head(_) | Turn::Lingering(_) | Turn::Over => {}
        }
    }

    /// The moment of lingering is over: the connection ends when it is polled again.
    pub(super) fn stop_lingering(&self) {
        self.state().turn = Turn::Over;
    }

    fn speaks(&self, protocol: Protocol) {
        if protocol == Protocol::Http2 {
            let mut state = self.state();
            state.http2 = true;
            state.turn = Turn::Idle(Instant::now());
        }
    }

    /// Whether the client may have sent what nobody read; then the connection lingers from now on.
    fn must_linger(&self) -> bool {
        let mut state = self.state();
        match state.turn {
            Turn::Lingering(_) => true,
            Turn::Over => false,
            Turn::Idle(_) | Turn::Busy if !state.has_body => false,
            Turn::Idle(_) | Turn::Busy | Turn::Head(_) => {
                state.turn = Turn::Lingering(Instant::now());
                true
            }
        }
    }
}

/// A request under way.
pub(super) struct UnderWay(Beat);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open = state.open.saturating_sub(1);
        if state.open == 0 && state.turn == Turn::Busy {
            let now = Instant::now();
            // The rest of a head that came too early is waited for only from now on.
            state.turn = if state.ahead && !state.http2 { Turn::Head(now) } else { Turn::Idle(now) };
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// A client's connection.
pub(super) struct Wire {
    stream: Stream,
    beat: Beat,
    /// The first bytes, read to tell the protocol; handed out again.
    first: [u8; PREFACE.len()],
    read: usize,
    given: usize,
    shut: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, beat: Beat) -> Self {
        Self { stream, beat, first: [0; PREFACE.len()], read: 0, given: 0, shut: false }
    }

    /// Knows the protocol by the TLS handshake, or reads until it does; none where the client closed without a byte.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Protocol>>> {
        if let Some(protocol) = self.stream.negotiated() {
            self.beat.speaks(protocol);
            return Poll::Ready(Ok(Some(protocol)));
        }
        while self.read < PREFACE.len() {
            let Some(space) = self.first.get_mut(self.read..) else { break };
            let mut buf = ReadBuf::new(space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            let count = buf.filled().len();
            self.beat.heard(buf.filled());
            if count == 0 && self.read == 0 {
                return Poll::Ready(Ok(None));
            }
            self.read += count;
            if count == 0 || self.first.get(..self.read) != PREFACE.get(..self.read) {
                return Poll::Ready(Ok(Some(Protocol::Http1)));
            }
        }
        self.beat.speaks(Protocol::Http2);
        Poll::Ready(Ok(Some(Protocol::Http2)))
    }

    fn noted<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &polled {
            self.beat.state().socket_failed = true;
        }
        polled
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given < self.read {
            let end = self.read.min(self.given + buf.remaining());
            if let Some(bytes) = self.first.get(self.given..end) {
                buf.put_slice(bytes);
            }
            self.given = end;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.beat.heard(buf.filled().get(before..).unwrap_or_default());
        self.noted(polled)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
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

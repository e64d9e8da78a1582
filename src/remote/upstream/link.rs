//! One connection to an upstream: whose turn it is, and its one timer.
//!
//! A connection is driven by its own task. That task holds the only timer, which guards both the answer's head and the
//! idle limit, and is re-armed only when it fires or when a nearer deadline appears: a request costs no timer of its own.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// What the task, the socket, the request's body and the lease know in common about a connection.
pub(super) struct Link(Mutex<State>);

pub(super) struct State {
    pub(super) turn: Turn,
    /// Whether the upstream has the whole request.
    pub(super) sent: bool,
    /// Since when the socket takes no more of the request.
    blocked: Option<Instant>,
    /// Whether anything came back since the request began.
    pub(super) received: bool,
    /// Whether a deadline has closed the connection.
    pub(super) expired: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Turn {
    /// Nobody's: the connection is in the pool, or about to be.
    Idle(Instant),
    /// The upstream's, since then: the head of an answer is awaited.
    Head(Instant),
    /// The reader's: the body of an answer is under way, as slowly as the client takes it.
    Body,
}

impl Link {
    pub(super) fn new() -> Self {
        let turn = Turn::Idle(Instant::now());
        Self(Mutex::new(State { turn, sent: true, blocked: None, received: false, expired: false }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request; false where the connection has just expired.
    pub(super) fn begin(&self, has_body: bool) -> bool {
        let mut state = self.state();
        if state.expired {
            return false;
        }
        *state =
            State { turn: Turn::Head(Instant::now()), sent: !has_body, blocked: None, received: false, expired: false };
        true
    }

    /// The request's body has ended: from now on the upstream is waited for, not the client.
    fn request_sent(&self) {
        let mut state = self.state();
        state.sent = true;
        if let Turn::Head(_) = state.turn {
            state.turn = Turn::Head(Instant::now());
        }
    }

    /// When the connection is to be closed if nothing happens before.
    fn deadline(&self, timeout: Duration, idle: Duration) -> Option<Instant> {
        let state = self.state();
        match state.turn {
            Turn::Idle(since) => since.checked_add(idle),
            Turn::Head(since) if state.sent => since.checked_add(timeout),
            // While the client still sends, only an upstream that does not read is late.
            Turn::Head(_) => state.blocked.and_then(|since| since.checked_add(timeout)),
            Turn::Body => None,
        }
    }
}

/// Drives a connection to its end, or to its deadline.
pub(super) async fn drive<B>(
    connection: http1::Connection<TokioIo<Wire>, Tracked<B>>,
    link: Arc<Link>,
    timeout: Duration,
    idle: Duration,
) where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(Instant::now() + idle));
    poll_fn(|cx| {
        // A connection's error reaches whoever waits for its answer; a connection nobody waits for just ends.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let deadline = link.deadline(timeout, idle);
            if let Some(deadline) = deadline.filter(|deadline| *deadline < timer.deadline()) {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match deadline {
                Some(deadline) if deadline <= now => {
                    link.state().expired = true;
                    return Poll::Ready(());
                }
                Some(deadline) => timer.as_mut().reset(deadline),
                // No deadline now; the next idle one cannot be nearer than this.
                None => timer.as_mut().reset(now + idle),
            }
        }
    })
    .await;
}

/// A request's body that tells its link when it has ended.
pub(super) struct Tracked<B> {
    body: B,
    pub(super) link: Option<Arc<Link>>,
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, link: None }
    }

    fn ended(&mut self) {
        if let Some(link) = self.link.take() {
            link.request_sent();
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.ended(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.ended(),
            Poll::Ready(Some(_)) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The socket, which notes what its link must know.
pub(super) struct Wire {
    stream: TcpStream,
    link: Arc<Link>,
    blocked: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { stream, link, blocked: false }
    }

    fn wrote(&mut self, polled: &Poll<io::Result<usize>>) {
        let blocked = polled.is_pending();
        if blocked != self.blocked {
            self.blocked = blocked;
            self.link.state().blocked = blocked.then(Instant::now);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.link.state().received = true;
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

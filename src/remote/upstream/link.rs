//! One connection to an upstream: whose turn it is, its one timer, and the pool it waits in.
//!
//! A connection is driven by its own task. That task holds the only timer, which guards both the answer's head and the
//! idle limit, and is re-armed only when it fires or when a nearer deadline appears: a request costs no timer of its own.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::telemetry::Telemetry;
use crate::telemetry::labels::ConnectionState;
use crate::telemetry::metrics::Held as Counted;

/// What the task, the socket, the request's body and the lease know in common about a connection.
pub(super) struct Link(Mutex<State>);

struct State {
    turn: Turn,
    /// Whether the upstream has the whole request.
    sent: bool,
    /// Since when the socket takes no more of the request.
    blocked: Option<Instant>,
    /// Whether anything came back since the request began.
    received: bool,
    /// Whether a deadline has closed the connection.
    expired: bool,
}

#[derive(Clone, Copy)]
enum Turn {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request; false where the connection has just expired.
    fn begin(&self, has_body: bool) -> bool {
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
    link: Option<Arc<Link>>,
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

/// Unused connections, the newest taken first: it is the least likely to be stale, and the old ones die of age.
pub(super) struct Pool<B> {
    idle: Mutex<VecDeque<Kept<B>>>,
    bound: usize,
    /// The upstream's place in the configuration.
    upstream: usize,
    telemetry: Arc<Telemetry>,
}

struct Kept<B> {
    held: Held<B>,
    _counted: Option<Counted>,
}

struct Held<B> {
    sender: http1::SendRequest<Tracked<B>>,
    link: Arc<Link>,
    task: AbortHandle,
}

impl<B> Pool<B> {
    pub(super) fn new(bound: usize, upstream: usize, telemetry: Arc<Telemetry>) -> Self {
        Self { idle: Mutex::new(VecDeque::new()), bound, upstream, telemetry }
    }

    fn counted(&self, state: ConnectionState) -> Option<Counted> {
        self.telemetry.metrics.upstream_connection(self.upstream, state)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Kept<B>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest connection that is still good.
    pub(super) fn take(self: &Arc<Self>) -> Option<Lease<B>> {
        loop {
            let held = self.idle().pop_back()?.held;
            if held.sender.is_ready() {
                return Some(Lease::of(held, Arc::clone(self)));
            }
            held.task.abort();
        }
    }

    fn put(&self, held: Held<B>) {
        let mut idle = self.idle();
        while idle.len() >= self.bound || idle.front().is_some_and(|kept| kept.held.sender.is_closed()) {
            let Some(oldest) = idle.pop_front() else { break };
            oldest.held.task.abort();
        }
        idle.push_back(Kept { held, _counted: self.counted(ConnectionState::Idle) });
    }
}

/// A connection that one request has to itself. Dropped, it is closed; only [`Lease::give_back`] keeps it.
pub(super) struct Lease<B> {
    held: Option<Held<B>>,
    pool: Arc<Pool<B>>,
    _counted: Option<Counted>,
}

/// Why an exchange failed.
pub(super) enum Broken<B> {
    /// Nothing of the request was taken; it may go elsewhere.
    Untaken(Box<Request<Tracked<B>>>),
    /// Some of it may have been.
    Taken(hyper::Error),
}

impl<B> Lease<B> {
    pub(super) fn new(
        sender: http1::SendRequest<Tracked<B>>,
        link: Arc<Link>,
        task: AbortHandle,
        pool: Arc<Pool<B>>,
    ) -> Self {
        Self::of(Held { sender, link, task }, pool)
    }

    fn of(held: Held<B>, pool: Arc<Pool<B>>) -> Self {
        let counted = pool.counted(ConnectionState::Active);
        Self { held: Some(held), pool, _counted: counted }
    }

    /// Whether a deadline closed it.
    pub(super) fn timed_out(&self) -> bool {
        self.is(|state| state.expired)
    }

    /// Whether the upstream was given the whole request.
    pub(super) fn request_is_sent(&self) -> bool {
        self.is(|state| state.sent)
    }

    /// Whether anything came back.
    pub(super) fn has_received(&self) -> bool {
        self.is(|state| state.received)
    }

    fn is(&self, what: impl Fn(&State) -> bool) -> bool {
        self.held.as_ref().is_some_and(|held| what(&held.link.state()))
    }

    /// Keeps the connection for another request, where this one's was sent to its end.
    pub(super) fn give_back(mut self) {
        if !self.request_is_sent() {
            return;
        }
        if let Some(held) = self.held.take() {
            held.link.state().turn = Turn::Idle(Instant::now());
            self.pool.put(held);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Lease<B> {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, mut request: Request<Tracked<B>>) -> Result<Response<Incoming>, Broken<B>> {
        let Some(held) = self.held.as_mut() else { return Err(Broken::Untaken(Box::new(request))) };
        let has_body = !request.body().is_end_stream();
        if !held.link.begin(has_body) {
            return Err(Broken::Untaken(Box::new(request)));
        }
        request.body_mut().link = has_body.then(|| Arc::clone(&held.link));
        match held.sender.try_send_request(request).await {
            Ok(response) => {
                held.link.state().turn = Turn::Body;
                Ok(response)
            }
            Err(mut error) => Err(match error.take_message() {
                Some(untaken) => Broken::Untaken(Box::new(untaken)),
                None => Broken::Taken(error.into_error()),
            }),
        }
    }
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            held.task.abort();
        }
    }
}

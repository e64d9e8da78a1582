//! HTTP/1.1: one request at a time on each connection, and a pool of those that wait.
//!
//! A connection is driven by its own task, which holds its only timer. It is kept only where the request and the answer
//! both ended as their framing said, and where nothing suggests that more is on its way.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::counted::Counted;
use super::exchange::{Exchange, Limits, Patience};
use super::outgoing::Outgoing;
use super::transport::{Connection, Reads, Wire};
use super::{Failed, Fault, HEAD_BYTES, NO_ANSWER, told};
use crate::telemetry::labels::ConnectionState;

/// How long an unused connection is kept: less than the 5 s after which common servers close theirs.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// How many unused connections are kept for each upstream of a worker.
const KEPT_AT_MOST: usize = 256;

/// Unused connections, the newest taken first: it is the least likely to be stale, and the old ones die of age.
pub(super) struct Pool<B>(Mutex<VecDeque<Held<B>>>);

struct Held<B> {
    sender: http1::SendRequest<Outgoing<B>>,
    exchange: Arc<Exchange>,
    reads: Arc<Reads>,
    counted: Arc<Counted>,
    task: AbortHandle,
    /// Whether it has carried a request before.
    used: bool,
}

impl<B> Held<B> {
    /// One that is new holds a request until its task first runs; one that was used must have come to rest.
    fn is_good(&self) -> bool {
        if self.used { self.sender.is_ready() } else { !self.sender.is_closed() }
    }
}

impl<B> Pool<B> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Held<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest connection that is still good.
    pub(super) fn take(self: &Arc<Self>) -> Option<Lease<B>> {
        loop {
            let held = self.idle().pop_back()?;
            if held.is_good() {
                return Some(Lease::new(held, self));
            }
            held.task.abort();
        }
    }

    fn put(&self, held: Held<B>) {
        let mut idle = self.idle();
        while idle.len() >= KEPT_AT_MOST || idle.front().is_some_and(|held| held.sender.is_closed()) {
            let Some(oldest) = idle.pop_front() else { break };
            oldest.task.abort();
        }
        idle.push_back(held);
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Pool<B> {
    /// Begins HTTP/1.1 on a connection, and leaves a task with it that lives as long as it does.
    pub(super) async fn begin(
        self: &Arc<Self>,
        connection: Box<dyn Connection>,
        counted: Counted,
        timeout: Duration,
    ) -> hyper::Result<Lease<B>> {
        let (exchange, reads, counted) = (Arc::new(Exchange::idle()), Arc::default(), Arc::new(counted));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES).max_header_size(HEAD_BYTES);
        let wire = TokioIo::new(Wire::new(connection, &reads, &counted));
        let (sender, connection) = builder.handshake(wire).await?;
        let patience = Patience::new(Limits { turn: timeout, idle: IDLE_LIMIT });
        let task = tokio::spawn(drive(connection, Arc::clone(&exchange), patience));
        Ok(Lease::new(Held { sender, exchange, reads, counted, task: task.abort_handle(), used: false }, self))
    }
}

/// Drives a connection to its end, or to its deadline.
async fn drive<B>(
    connection: http1::Connection<TokioIo<Wire>, Outgoing<B>>,
    exchange: Arc<Exchange>,
    mut patience: Patience,
) where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut connection = pin!(connection);
    poll_fn(|cx| {
        // A connection's error reaches whoever waits for its answer; a connection nobody waits for just ends.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        patience.poll_expired(&exchange, cx)
    })
    .await;
}

/// A connection that one request has to itself. Dropped, it is closed; only [`Lease::give_back`] keeps it.
pub(super) struct Lease<B> {
    held: Option<Held<B>>,
    pool: Arc<Pool<B>>,
    exchange: Arc<Exchange>,
    keep: bool,
}

impl<B> Lease<B> {
    fn new(held: Held<B>, pool: &Arc<Pool<B>>) -> Self {
        held.counted.is(ConnectionState::Active);
        Self { exchange: Arc::clone(&held.exchange), held: Some(held), pool: Arc::clone(pool), keep: true }
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Whether the connection has carried a request before.
    pub(super) fn is_used(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.used)
    }

    /// Has the connection closed at the end of this request.
    pub(super) fn close_after(&mut self) {
        self.keep = false;
    }

    /// Keeps the connection for another request, where this one's was sent to its end.
    pub(super) fn give_back(mut self) {
        if !self.keep || !self.exchange.request_is_whole() {
            return;
        }
        if let Some(mut held) = self.held.take() {
            held.used = true;
            self.put(held);
        }
    }

    /// Leaves the connection to whoever is next, before it carried a request.
    pub(super) fn leave(mut self) {
        if let Some(held) = self.held.take() {
            self.put(held);
        }
    }

    fn put(&self, held: Held<B>) {
        held.exchange.ended();
        held.counted.is(ConnectionState::Idle);
        self.pool.put(held);
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Lease<B> {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Outgoing<B>>) -> Result<Response<Incoming>, Failed> {
        let Some(held) = self.held.as_mut() else { return Err(Failed::untaken(request)) };
        if !held.exchange.begin(!request.body().is_end_stream()) {
            return Err(Failed::untaken(request));
        }
        let reads = held.reads.count();
        let mut error = match held.sender.try_send_request(request).await {
            Ok(response) => {
                held.exchange.head_came();
                return Ok(response);
            }
            Err(error) => error,
        };
        if let Some(untaken) = error.take_message() {
            return Err(Failed::untaken(untaken));
        }
        let error = error.into_error();
        Err(if held.exchange.is_expired() {
            Failed::Over(Fault::Late(NO_ANSWER))
        } else if held.exchange.request_is_broken() {
            Failed::Over(Fault::RequestBody)
        } else if error.is_parse() || held.reads.count() != reads {
            Failed::Over(Fault::Malformed(told(&error)))
        } else {
            Failed::Died(told(&error))
        })
    }
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            held.task.abort();
        }
    }
}

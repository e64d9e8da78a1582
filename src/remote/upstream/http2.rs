//! HTTP/2: many requests at once on each of a few connections.
//!
//! 1. A connection has at most [`STREAMS`] requests, fewer where the upstream says so; when all have as many, another is
//!    opened, up to a bound, beyond which requests wait within HTTP/2.
//! 2. Each request has its own deadlines. One that passes resets its stream alone; but where nothing at all came from the
//!    upstream meanwhile, the connection takes no further request: whoever is behind it may be gone.
//! 3. What an upstream says it has not processed (`GOAWAY`, `REFUSED_STREAM`; RFC 9113 section 8.7) is told from what it may
//!    have.
//! 4. A client that does not read holds back its own stream only: a connection's window is that of all its streams.
//! 5. No `PING`: servers take frequent ones for abuse. Peers that are gone are found by TCP.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, sleep_until};

use super::counted::Counted;
use super::exchange::{Exchange, Limits, Patience};
use super::outgoing::Outgoing;
use super::transport::{Connection, Reads, Wire};
use super::{Failed, Fault, HEAD_BYTES, NO_ANSWER, told};
use crate::telemetry::labels::ConnectionState;

/// How many requests a connection has at once.
pub(super) const STREAMS: usize = 100;

/// How much of an answer is taken in before its client reads it, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;

/// How much of a request is taken in before its upstream reads it, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// How many streams the upstream may make us reset before the connection is closed (RUSTSEC-2024-0003).
const LOCAL_RESETS: usize = 1024;

/// How long a connection without a request is kept: a request that meets its end is not lost.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The connections to one upstream of a worker.
pub(super) struct Channels<B> {
    channels: Mutex<Vec<Arc<Channel<B>>>>,
    bound: usize,
}

/// One connection.
struct Channel<B> {
    sender: http2::SendRequest<Outgoing<B>>,
    load: Arc<Load>,
}

/// What a connection has to do, as its task and its streams see it.
struct Load {
    state: Mutex<LoadState>,
    reads: Arc<Reads>,
    counted: Arc<Counted>,
}

struct LoadState {
    streams: usize,
    /// How many the upstream allows.
    allowed: usize,
    /// Since when there is none.
    idle: Instant,
    /// Whether it has answered a request.
    used: bool,
    /// Whether it takes no further request.
    retired: bool,
}

impl<B> Channels<B> {
    /// At most so many connections, and at least one.
    pub(super) fn new(bound: usize) -> Self {
        Self { channels: Mutex::default(), bound: bound.max(1) }
    }

    fn channels(&self) -> MutexGuard<'_, Vec<Arc<Channel<B>>>> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|channel| !channel.sender.is_closed() && !channel.load.state().retired);
        channels
    }

    /// Whether there is no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.channels().is_empty()
    }

    /// A place on a connection that has one.
    pub(super) fn take(&self, timeout: Duration) -> Option<Stream<B>> {
        let channels = self.channels();
        channels.iter().find(|channel| channel.load.has_room()).map(|channel| Stream::begin(channel, timeout))
    }

    /// Where no further connection may be opened: a place on the one that has the least to do.
    pub(super) fn take_any(&self, timeout: Duration) -> Option<Stream<B>> {
        let channels = self.channels();
        let least = channels.iter().min_by_key(|channel| channel.load.state().streams);
        least.filter(|_| channels.len() >= self.bound).map(|channel| Stream::begin(channel, timeout))
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Channels<B> {
    /// Begins HTTP/2 on a connection, which others then find here.
    pub(super) async fn begin(&self, connection: Box<dyn Connection>, counted: Counted) -> hyper::Result<()> {
        let (reads, counted) = (Arc::<Reads>::default(), Arc::new(counted));
        let wire = TokioIo::new(Wire::new(connection, &reads, &counted));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_max_send_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * STREAMS as u32)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD_BYTES as u32)
            .max_concurrent_reset_streams(STREAMS)
            .max_local_error_reset_streams(LOCAL_RESETS);
        let (sender, connection) = builder.handshake(wire).await?;
        counted.is(ConnectionState::Idle);
        let state = LoadState { streams: 0, allowed: STREAMS, idle: Instant::now(), used: false, retired: false };
        let load = Arc::new(Load { state: Mutex::new(state), reads, counted });
        tokio::spawn(drive(connection, Arc::clone(&load)));
        self.channels().push(Arc::new(Channel { sender, load }));
        Ok(())
    }
}

/// Drives a connection until it takes no further request: by the upstream's wish, by a fault, or because there was none for
/// long. The streams that are open then go on to their ends.
async fn drive<B>(connection: http2::Connection<TokioIo<Wire>, Outgoing<B>, TokioExecutor>, load: Arc<Load>)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(Instant::now() + IDLE_LIMIT));
    poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        load.state().allowed = connection.current_max_send_streams();
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let mut state = load.state();
            let idle_from = if state.streams == 0 { state.idle } else { now };
            if now.saturating_duration_since(idle_from) >= IDLE_LIMIT {
                state.retired = true;
                return Poll::Ready(());
            }
            timer.as_mut().reset(idle_from + IDLE_LIMIT);
        }
        Poll::Pending
    })
    .await;
}

impl Load {
    fn state(&self) -> MutexGuard<'_, LoadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let state = self.state();
        state.streams < STREAMS.min(state.allowed)
    }

    /// Counts a stream; whether the connection has answered a request before.
    fn begin(&self) -> bool {
        let mut state = self.state();
        state.streams += 1;
        if state.streams == 1 {
            self.counted.is(ConnectionState::Active);
        }
        state.used
    }

    fn end(&self) {
        let mut state = self.state();
        state.streams = state.streams.saturating_sub(1);
        if state.streams == 0 {
            state.idle = Instant::now();
            self.counted.is(ConnectionState::Idle);
        }
    }
}

/// A place on a connection, for one request. Dropped before the answer's end, it resets its stream.
pub(super) struct Stream<B> {
    channel: Arc<Channel<B>>,
    exchange: Arc<Exchange>,
    patience: Patience,
    used: bool,
}

impl<B> Stream<B> {
    fn begin(channel: &Arc<Channel<B>>, timeout: Duration) -> Self {
        let used = channel.load.begin();
        let patience = Patience::new(Limits { turn: timeout, idle: Duration::MAX });
        Self { channel: Arc::clone(channel), exchange: Arc::new(Exchange::idle()), patience, used }
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Whether the connection has answered a request before.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Ready when the exchange is over because of a deadline.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.patience.poll_expired(&self.exchange, cx)
    }

    fn retire(&self) {
        self.channel.load.state().retired = true;
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Stream<B> {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Outgoing<B>>) -> Result<Response<Incoming>, Failed> {
        self.exchange.begin(!request.body().is_end_stream());
        let reads = self.channel.load.reads.count();
        let mut sender = self.channel.sender.clone();
        let mut answer = pin!(sender.try_send_request(request));
        let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => self.poll_expired(cx).map(|()| None),
        })
        .await;
        match answered {
            Some(Ok(response)) => {
                self.exchange.head_came();
                self.channel.load.state().used = true;
                Ok(response)
            }
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(untaken) => Failed::untaken(untaken),
                None => self.failed(&error.into_error()),
            }),
            None => {
                if self.channel.load.reads.count() == reads {
                    self.retire();
                }
                Err(Failed::Over(Fault::Late(NO_ANSWER)))
            }
        }
    }

    fn failed(&self, error: &hyper::Error) -> Failed {
        if self.exchange.request_is_broken() {
            return Failed::Over(Fault::RequestBody);
        }
        let Some(cause) = cause(error) else {
            // The connection itself has ended.
            self.retire();
            return Failed::Died(told(error));
        };
        if cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(Reason::REFUSED_STREAM)) {
            Failed::Untaken(None)
        } else if cause.is_library() {
            Failed::Over(Fault::Malformed(cause.to_string()))
        } else {
            Failed::Over(Fault::Unreachable(cause.to_string()))
        }
    }
}

/// What HTTP/2 says of an error: hyper has no other way to it. A stream fails with a `GOAWAY` of the upstream's only where
/// its number is beyond the last that the upstream has processed.
fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        self.channel.load.end();
    }
}

//! One connection of a client, from its first byte to its last.
//!
//! 1. HTTP/2 is told from HTTP/1 by the connection's first bytes (prior knowledge, RFC 9113 section 3.3).
//! 2. One timer per connection holds two limits exactly: a head is complete within `header_timeout` of its first byte,
//!    and a request begins within `idle_timeout` of the last one's end. It is re-armed only when it fires or when a
//!    nearer limit appears, so a request costs no timer.
//! 3. The parser cuts only what is far beyond our limits, so that the gateway's own checks can answer in full; what the
//!    parser cannot read gets its bare 400 or 431.
//! 4. A handler that panics is answered with 500; the connection and all others go on.
//! 5. Once the server drains, answers close their HTTP/1 connections. A connection that is idle when the server closes
//!    is closed only after a look whether a request has arrived on it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::drain::{Phase, PhaseWatch};
use super::wire::{Beat, Protocol, Turn, UnderWay, Wire};
use crate::gateway::respond::{Asked, refuse};
use crate::gateway::{Body, Peer};
use crate::policy::reject::Reject;
use crate::policy::trace::RequestId;
use crate::remote::upstream::AnswerBroken;

/// The limits of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The largest head that the gateway takes, in bytes.
    pub head_bytes: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// From the end of a request, or the connection's opening, to the first byte of the next.
    pub idle_timeout: Duration,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As HTTP ends connections, or silently after its idle limit.
    Closed,
    /// A head that cannot be read: a bare 400.
    HeadMalformed,
    /// A head beyond what the parser takes: a bare 431 or 414.
    HeadTooLarge,
    /// A head that was not complete in time.
    HeadTimeout,
    /// HTTP/2 was broken.
    Protocol,
    /// The client left in the middle of something.
    ClientClosed,
    /// The socket failed.
    Socket,
}

/// Fields that the parser takes: far more than the gateway does, so that the gateway can say so.
const PARSER_FIELDS: usize = 256;
/// Streams of one HTTP/2 connection at once.
const STREAMS: u32 = 100;
/// The largest HTTP/2 header list, in bytes.
const HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Streams that a client may reset before they are looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we may reset for a client's faults (RUSTSEC-2024-0003, CVE-2025-8671).
const OWN_RESETS: usize = 128;
/// What may be in flight unread, per stream and per connection, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve<H, F>(
    stream: TcpStream,
    peer: Peer,
    handler: H,
    bounds: Bounds,
    mut phase: PhaseWatch,
) -> Ended
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let beat = Beat::new();
    let mut timer = pin!(sleep_until(Instant::now() + bounds.header_timeout.min(bounds.idle_timeout)));
    let mut wire = Wire::new(stream, beat.clone());

    let known = {
        let mut protocol = pin!(poll_fn(|cx| wire.poll_protocol(cx)));
        tokio::select! {
            biased;
            known = within(protocol.as_mut(), timer.as_mut(), &beat, bounds) => known,
            () = phase.reached(Phase::Closing) => return Ended::Closed,
        }
    };
    let protocol = match known {
        Ok(Ok(Some(protocol))) => protocol,
        Ok(Ok(None)) | Err(Late::Idle) => return Ended::Closed,
        Ok(Err(_)) => return Ended::Socket,
        Err(Late::Head) => return Ended::HeadTimeout,
    };

    let answering = Arc::new(Answering { handler, peer, beat: beat.clone(), phase: phase.clone() });
    let service = service_fn(move |request| {
        let answering = Arc::clone(&answering);
        async move { Ok::<_, std::convert::Infallible>(answering.answer(request).await) }
    });
    let mut closing = pin!(async move { phase.reached(Phase::Closing).await });
    match protocol {
        Protocol::Http1 => {
            let mut connection = pin!(http1_builder(bounds).serve_connection(TokioIo::new(wire), service));
            let ended = tokio::select! {
                biased;
                ended = within(connection.as_mut(), timer.as_mut(), &beat, bounds) => ended,
                () = closing.as_mut() => {
                    // What has arrived but was not looked at becomes a head here, and is answered.
                    tokio::task::yield_now().await;
                    let ended = at_once(connection.as_mut()).await;
                    if ended.is_none() && !matches!(beat.turn(), Turn::Head(_)) {
                        connection.as_mut().graceful_shutdown();
                    }
                    match ended {
                        Some(ended) => Ok(ended),
                        None => within(connection.as_mut(), timer.as_mut(), &beat, bounds).await,
                    }
                }
            };
            why(ended, &beat, Protocol::Http1)
        }
        Protocol::Http2 => {
            let mut connection = pin!(http2_builder().serve_connection(TokioIo::new(wire), service));
            let ended = tokio::select! {
                biased;
                ended = within(connection.as_mut(), timer.as_mut(), &beat, bounds) => ended,
                () = closing.as_mut() => {
                    connection.as_mut().graceful_shutdown();
                    within(connection.as_mut(), timer.as_mut(), &beat, bounds).await
                }
            };
            if let Err(Late::Idle) = ended {
                // GOAWAY tells the client that nothing it sent was lost; it has a moment to hear that.
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(GOODBYE, connection.as_mut()).await;
            }
            why(ended, &beat, Protocol::Http2)
        }
    }
}

/// How long an idle HTTP/2 client has to hear that its connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

fn http1_builder(bounds: Bounds) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(PARSER_FIELDS)
        .max_buf_size(bounds.head_bytes.saturating_mul(4).max(128 * 1024));
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Head,
    Idle,
}

/// Polls `future` until it ends or the connection's limit is passed.
async fn within<T: Future>(
    mut future: Pin<&mut T>,
    mut timer: Pin<&mut Sleep>,
    beat: &Beat,
    bounds: Bounds,
) -> Result<T::Output, Late> {
    let least = bounds.header_timeout.min(bounds.idle_timeout);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        loop {
            let deadline = beat.deadline(bounds, cx.waker());
            if let Some(deadline) = deadline.filter(|deadline| *deadline < timer.deadline()) {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match deadline {
                Some(deadline) if deadline <= now => {
                    return Poll::Ready(Err(if let Turn::Head(_) = beat.turn() { Late::Head } else { Late::Idle }));
                }
                Some(deadline) => timer.as_mut().reset(deadline),
                // No limit now; whichever begins next ends no earlier than this.
                None => timer.as_mut().reset(now + least),
            }
        }
    })
    .await
}

/// Polls once.
async fn at_once<T: Future>(mut future: Pin<&mut T>) -> Option<T::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

fn why(ended: Result<hyper::Result<()>, Late>, beat: &Beat, protocol: Protocol) -> Ended {
    let error = match ended {
        Ok(Ok(())) | Err(Late::Idle) => return Ended::Closed,
        Err(Late::Head) => return Ended::HeadTimeout,
        Ok(Err(error)) => error,
    };
    if beat.socket_failed() {
        return Ended::Socket;
    }
    if error.is_parse_too_large() {
        return Ended::HeadTooLarge;
    }
    if error.is_parse() {
        return Ended::HeadMalformed;
    }
    if error.is_user() {
        // An answer that broke off at the upstream: the client sees a truncated message, by no fault of its own.
        return Ended::Closed;
    }
    if error.is_incomplete_message() {
        return Ended::ClientClosed;
    }
    match protocol {
        Protocol::Http1 => Ended::ClientClosed,
        Protocol::Http2 => Ended::Protocol,
    }
}

/// What every request of a connection is answered with.
struct Answering<H> {
    handler: H,
    peer: Peer,
    beat: Beat,
    phase: PhaseWatch,
}

impl<H, F> Answering<H>
where
    H: Fn(Request<Incoming>, Peer) -> F,
    F: Future<Output = Response<Body>>,
{
    async fn answer(&self, request: Request<Incoming>) -> Response<Passing> {
        let under_way = self.beat.begin(!request.body().is_end_stream());
        let asked = Asked::by(&request);
        let http1 = request.version() < Version::HTTP_2;
        let handled = unpanicked(async { (self.handler)(request, self.peer).await }).await;
        let mut response = handled.unwrap_or_else(|| {
            let reject = Reject::Internal { why: "a request's handler panicked" };
            refuse(&reject, asked, &RequestId::made(random()))
        });
        if http1 && self.phase.now() >= Phase::Draining {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Passing { body, _under_way: under_way })
    }
}

/// The future's output, or nothing where it panicked.
async fn unpanicked<T: Future>(future: T) -> Option<T::Output> {
    let mut future = pin!(future);
    // The future is never polled again after a panic, so nobody sees what it left half done.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Bytes for a request id that no handler made.
fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // An id that repeats is better than no answer.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// An answer's body; its request is under way as long as it is here.
struct Passing {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

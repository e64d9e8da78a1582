//! One connection of a client, from its first byte to its last.
//!
//! 1. HTTP/2 is told from HTTP/1 by the TLS handshake (ALPN), else by the connection's first bytes (prior knowledge,
//!    RFC 9113 section 3.3).
//! 2. One timer per connection holds two limits exactly: a head is complete within `header_timeout` of its first byte,
//!    and a request begins within `idle_timeout` of the last one's end. It is re-armed only when it fires or when a
//!    nearer limit appears, so a request costs no timer.
//! 3. The parser cuts only what is far beyond our limits, so that the gateway's own checks can answer in full; what the
//!    parser cannot read gets its bare 400 or 431.
//! 4. A handler that panics is answered with 500; the connection and all others go on.
//! 5. Once the server drains, answers close their HTTP/1 connections. A connection that is idle when the server closes
//!    is closed only after a look whether a request has arrived on it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
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
use super::room::Room;
use super::stream::Stream;
use super::tls;
use super::wire::{Beat, Protocol, Turn, UnderWay, Wire};
use crate::gateway::respond::{Asked, refuse};
use crate::gateway::{Body, Peer, random};
use crate::policy::reject::Reject;
use crate::policy::trace::RequestId;
use crate::remote::upstream::AnswerBroken;
use crate::telemetry::Telemetry;
use crate::telemetry::labels::ConnectionFault;

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

/// What the connections of one listener have in common.
#[derive(Clone)]
pub(super) struct Site {
    /// The listener's place in the configuration.
    pub(super) listener: usize,
    pub(super) phase: PhaseWatch,
    /// How many connections may be open, and what the next one is held to.
    pub(super) room: Room,
    /// Where connections are counted; the admin listener's are not.
    pub(super) telemetry: Option<Arc<Telemetry>>,
}

/// Fields that the parser takes: far more than the gateway does, so that the gateway can say so.
const PARSER_FIELDS: usize = 256;
/// Streams of one HTTP/2 connection at once.
const STREAMS: u32 = 100;
/// The least limit of an HTTP/2 header list, in bytes.
const HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Streams that a client may reset before they are looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we may reset for a client's faults (RUSTSEC-2024-0003, CVE-2025-8671).
const OWN_RESETS: usize = 128;
/// What may be in flight unread, per stream and per connection, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves one connection to its end, and says what went wrong where something did.
pub(super) async fn serve<H, F>(
    socket: TcpStream,
    address: SocketAddr,
    site: Site,
    handler: H,
) -> Result<(), ConnectionFault>
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (terms, mut phase) = (site.room.terms(), site.phase.clone());
    let bounds = terms.bounds;
    let stream = match terms.tls.clone() {
        None => Stream::Plain(socket),
        // Boxed: its room would be the connection's for all its life.
        Some(config) => match Box::pin(tls::accept(socket, config, bounds.header_timeout, &mut phase)).await? {
            Some(stream) => stream,
            None => return Ok(()),
        },
    };
    drop(terms);
    let peer = Peer { address, listener: site.listener, tls: stream.is_tls() };
    let beat = Beat::new();
    let mut timer = pin!(sleep_until(Instant::now() + bounds.header_timeout.min(bounds.idle_timeout)));
    let mut wire = Wire::new(stream, beat.clone());

    let known = {
        let mut protocol = pin!(poll_fn(|cx| wire.poll_protocol(cx)));
        tokio::select! {
            biased;
            known = within(protocol.as_mut(), timer.as_mut(), &beat, bounds) => known,
            () = phase.reached(Phase::Closing) => {
                match arrived(protocol.as_mut(), &beat).await {
                    Arrived::End(known) => Ok(known),
                    Arrived::PartOfHead => within(protocol.as_mut(), timer.as_mut(), &beat, bounds).await,
                    Arrived::NoHead => return Ok(()),
                }
            }
        }
    };
    let protocol = match known {
        Ok(Ok(Some(protocol))) => protocol,
        Ok(Ok(None)) | Err(Late::Idle) => return Ok(()),
        Ok(Err(_)) => return Err(ConnectionFault::Socket),
        Err(Late::Head) => return Err(ConnectionFault::HeadTimeout),
    };

    let answering = Arc::new(Answering { handler, peer, beat: beat.clone(), site });
    // Boxed: hyper keeps room for one answering per connection, which an idle connection would pay for all its life.
    let service = service_fn(move |request| {
        let answering = Arc::clone(&answering);
        Box::pin(async move { Ok::<_, std::convert::Infallible>(answering.answer(request).await) })
    });
    let mut closing = pin!(async move { phase.reached(Phase::Closing).await });
    match protocol {
        Protocol::Http1 => {
            let mut connection = pin!(http1_builder(bounds).serve_connection(TokioIo::new(wire), service));
            let ended = tokio::select! {
                biased;
                ended = within(connection.as_mut(), timer.as_mut(), &beat, bounds) => ended,
                () = closing.as_mut() => {
                    match arrived(connection.as_mut(), &beat).await {
                        Arrived::End(ended) => Ok(ended),
                        arrived @ (Arrived::PartOfHead | Arrived::NoHead) => {
                            // hyper would drop a head that it has half of; that one's answer says that it is the last.
                            if let Arrived::NoHead = arrived {
                                connection.as_mut().graceful_shutdown();
                            }
                            within(connection.as_mut(), timer.as_mut(), &beat, bounds).await
                        }
                    }
                }
            };
            why(ended, &beat, Protocol::Http1)
        }
        Protocol::Http2 => {
            let mut connection = pin!(http2_builder(bounds).serve_connection(TokioIo::new(wire), service));
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

fn http2_builder(bounds: Bounds) -> http2::Builder<TokioExecutor> {
    // Each field counts 32 bytes more there than it has (RFC 9113 section 6.5.2).
    let header_list = u32::try_from(bounds.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(header_list.max(HEADER_LIST_BYTES))
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
                Some(deadline) if deadline <= now => match beat.turn() {
                    Turn::Head(_) => return Poll::Ready(Err(Late::Head)),
                    Turn::Idle(_) => return Poll::Ready(Err(Late::Idle)),
                    Turn::Lingering(_) => {
                        // It ends by itself now, and tells why it had to.
                        beat.stop_lingering();
                        if let Poll::Ready(output) = future.as_mut().poll(cx) {
                            return Poll::Ready(Ok(output));
                        }
                    }
                    // Another thread has just made progress; there is a new deadline, or none.
                    Turn::Busy | Turn::Over => {}
                },
                Some(deadline) => timer.as_mut().reset(deadline),
                // No limit now; whichever begins next ends no earlier than this.
                None => timer.as_mut().reset(now + least),
            }
        }
    })
    .await
}

/// What a connection holds when the server closes.
enum Arrived<T> {
    /// It has just ended.
    End(T),
    /// The beginning of a request.
    PartOfHead,
    /// A whole request, or nothing.
    NoHead,
}

/// Returns when the runtime has asked the system for news of every socket since the call. A timer does: it fires only after
/// that, while a mere yield may end by another wake of the same task.
pub(super) async fn news() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Looks once whether bytes have come that nobody has read yet.
async fn arrived<T: Future>(mut future: Pin<&mut T>, beat: &Beat) -> Arrived<T::Output> {
    news().await;
    poll_fn(|cx| {
        Poll::Ready(match (future.as_mut().poll(cx), beat.turn()) {
            (Poll::Ready(output), _) => Arrived::End(output),
            (Poll::Pending, Turn::Head(_)) => Arrived::PartOfHead,
            (Poll::Pending, Turn::Idle(_) | Turn::Busy | Turn::Lingering(_) | Turn::Over) => Arrived::NoHead,
        })
    })
    .await
}

/// What went wrong, where something did.
fn why(ended: Result<hyper::Result<()>, Late>, beat: &Beat, protocol: Protocol) -> Result<(), ConnectionFault> {
    let error = match ended {
        Ok(Ok(())) | Err(Late::Idle) => return Ok(()),
        Err(Late::Head) => return Err(ConnectionFault::HeadTimeout),
        Ok(Err(error)) => error,
    };
    // An answer that broke off at the upstream: the client sees a truncated message, by no fault of its own.
    if error.is_user() {
        return Ok(());
    }
    Err(if beat.socket_failed() {
        ConnectionFault::Socket
    } else if error.is_parse_too_large() {
        ConnectionFault::HeadTooLarge
    } else if error.is_parse() {
        ConnectionFault::HeadMalformed
    } else if protocol == Protocol::Http1 || error.is_incomplete_message() {
        ConnectionFault::ClientClosed
    } else {
        ConnectionFault::Protocol
    })
}

/// What every request of a connection is answered with.
struct Answering<H> {
    handler: H,
    peer: Peer,
    beat: Beat,
    site: Site,
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
            if let Some(telemetry) = &self.site.telemetry {
                telemetry.metrics.panicked();
            }
            let reject = Reject::Internal { why: "a request's handler panicked" };
            refuse(&reject, asked, &RequestId::made(random()))
        });
        if http1 && self.site.phase.now() >= Phase::Draining {
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

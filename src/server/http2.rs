//! HTTP/2 on a client's connection, with the limits that keep its floods harmless.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::sleep;

use super::answering::Answering;
use super::beat::{Beat, Late};
use super::connection::{Bounds, Life, TURNED_AWAY, fault, until_idle};
use super::deadlines::Stopped;
use super::drain::Phase;
use super::wire::{Protocol, Wire};
use crate::gateway::{Body, Peer};
use crate::telemetry::labels::ConnectionFault;

/// Streams of one connection at once.
const STREAMS: u32 = 100;
/// The least limit of a header list, in bytes.
const HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Streams that a client may reset before they are looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we may reset for a client's faults (RUSTSEC-2024-0003, CVE-2025-8671).
const OWN_RESETS: usize = 128;
/// What may be in flight unread, per stream and per connection, in bytes. A request that is held back has its own window,
/// and takes nothing of that of the others.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// What HTTP/2 keeps of an answer that its client does not take, in bytes; beyond it the upstream is held back.
const SEND_BUFFER: usize = 32 * 1024;

/// Answers requests until the connection ends.
pub(super) async fn serve<H, F>(wire: Wire, answering: Answering<H>, life: &mut Life) -> Result<(), ConnectionFault>
where
    H: Fn(Request<Incoming>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let Life { bounds, surplus, beat, deadlines, phase } = life;
    let mut connection = builder(*bounds, beat).serve_connection(TokioIo::new(wire), answering);
    let mut ended = tokio::select! {
        biased;
        ended = deadlines.within(Pin::new(&mut connection), false) => ended,
        // The server ends it as if it were idle: after what is under way.
        () = phase.reached(Phase::Closing) => Err(Stopped::Late(Late::Idle)),
        // By now its client has heard that there is no room, however often it asks.
        () = sleep(TURNED_AWAY), if *surplus => Err(Stopped::Late(Late::Idle)),
    };
    if let Err(Stopped::Late(Late::Idle)) = ended {
        // GOAWAY tells the client to send no more. What it sent before it heard that is answered (RFC 9113 section 6.8); a
        // client that does not answer has a moment.
        Pin::new(&mut connection).graceful_shutdown();
        beat.idle_from_now();
        deadlines.idle_at_most(bounds.moment);
        ended = until_idle(Pin::new(&mut connection), deadlines, beat).await;
    }
    fault(ended, beat, Protocol::Http2).map_or(Ok(()), Err)
}

fn builder(bounds: Bounds, beat: &Beat) -> Builder<Beat> {
    // Each field counts 32 bytes more there than it has (RFC 9113 section 6.5.2).
    let header_list = u32::try_from(bounds.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    let mut builder = Builder::new(beat.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(header_list.max(HEADER_LIST_BYTES))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

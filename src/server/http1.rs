//! HTTP/1 on a client's connection.
//!
//! The parser cuts only what is far beyond our limits, so that the gateway's own checks can answer in full; what the parser
//! cannot read gets its bare 400 or 431. A connection that is quiet is given back without a parser: hyper's state and
//! buffers are made anew when bytes come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::answering::Answering;
use super::connection::{Bounds, Life, fault};
use super::deadlines::Stopped;
use super::wire::{Protocol, Wire};
use crate::gateway::{Body, Peer};
use crate::telemetry::labels::ConnectionFault;

/// Fields that the parser takes: far more than the gateway does, so that the gateway can say so.
const PARSER_FIELDS: usize = 256;

/// Answers requests until the connection ends (none), or until it is quiet: then it is given back.
pub(super) async fn serve<H, F>(
    wire: Wire,
    answering: Answering<H>,
    life: &mut Life,
) -> Result<Option<Wire>, ConnectionFault>
where
    H: Fn(Request<Incoming>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let Life { beat, deadlines, .. } = life;
    let mut connection = builder(life.bounds).serve_connection(TokioIo::new(wire), answering);
    // When the server closes, it goes on all the same until it is quiet: an answer that begins from then on says that it is
    // the last, and to one that had begun before the client may send another request.
    let mut ended = deadlines.within(pin!(poll_fn(|cx| connection.poll_without_shutdown(cx))), true).await;
    if let Err(Stopped::Quiet) = ended {
        // hyper lets go of a connection only where every request was read and answered to its end.
        Pin::new(&mut connection).graceful_shutdown();
        ended = match poll_fn(|cx| Poll::Ready(connection.poll_without_shutdown(cx))).await {
            Poll::Ready(Ok(())) => {
                let parts = connection.into_parts();
                return Ok(Some(parts.io.into_inner().unread(parts.read_buf)));
            }
            Poll::Ready(Err(error)) => Ok(Err(error)),
            // Some of a request's body is still to come, and no other request will be taken after it.
            Poll::Pending => deadlines.within(pin!(poll_fn(|cx| connection.poll_without_shutdown(cx))), false).await,
        };
    }
    if is_to_be_heard(&ended) {
        // Ended here: hyper would leave that to others once a request has asked for an upgrade, whatever it was answered.
        let mut wire = connection.into_parts().io.into_inner();
        let _ = deadlines.within(pin!(poll_fn(|cx| wire.poll_end(cx))), false).await;
    }
    fault(ended, beat, Protocol::Http1).map_or(Ok(None), Err)
}

/// Whether the client shall hear that its connection has ended well, with whatever was said last. An answer that broke off
/// has not: within TLS its client would take the end's word for it.
fn is_to_be_heard(ended: &Result<hyper::Result<()>, Stopped>) -> bool {
    match ended {
        Ok(Ok(())) => true,
        Ok(Err(error)) => error.is_parse(),
        Err(_) => false,
    }
}

fn builder(bounds: Bounds) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(PARSER_FIELDS)
        .max_buf_size(bounds.head_bytes.saturating_mul(4).max(128 * 1024));
    builder
}

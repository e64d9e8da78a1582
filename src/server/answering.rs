//! What every request of a connection is answered with.
//!
//! 1. A handler that panics is answered with 500; the connection and all others go on.
//! 2. Answers close their HTTP/1 connections once the server drains, and where there was no room for the connection.
//! 3. Where an answer bears a [`Pause`], the next request of its connection waits as long. Over HTTP/2, where others share the
//!    connection, the answer itself does.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::time::{Instant, sleep_until};

use super::beat::{Beat, UnderWay};
use super::connection::Site;
use super::drain::Phase;
use crate::gateway::respond::{Asked, refuse};
use crate::gateway::{Body, Pause, Peer, random};
use crate::policy::reject::Reject;
use crate::policy::trace::RequestId;
use crate::remote::upstream::AnswerBroken;

/// What the requests of one connection are answered with. Clones are of the same connection.
pub(super) struct Answering<H>(Arc<Connection<H>>);

struct Connection<H> {
    handler: H,
    peer: Peer,
    beat: Beat,
    site: Arc<Site>,
    /// Until when the next request waits.
    pausing: Mutex<Option<Instant>>,
}

impl<H> Answering<H> {
    pub(super) fn new(handler: H, peer: Peer, beat: Beat, site: Arc<Site>) -> Self {
        Self(Arc::new(Connection { handler, peer, beat, site, pausing: Mutex::default() }))
    }
}

impl<H> Clone for Answering<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H, F> Service<Request<Incoming>> for Answering<H>
where
    H: Fn(Request<Incoming>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    type Response = Response<Passing>;
    type Error = Infallible;
    /// Boxed: hyper keeps room for one answering per connection, which would have to be there before its first request.
    type Future = Pin<Box<dyn Future<Output = Result<Response<Passing>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.0);
        Box::pin(async move { Ok(connection.answer(request).await) })
    }
}

impl<H, F> Connection<H>
where
    H: Fn(Request<Incoming>, Peer) -> F,
    F: Future<Output = Response<Body>>,
{
    async fn answer(&self, request: Request<Incoming>) -> Response<Passing> {
        let under_way = self.beat.begin(!request.body().is_end_stream());
        let asked = Asked::by(&request);
        let version = request.version();
        let pausing = self.pausing().take();
        if let Some(until) = pausing {
            sleep_until(until).await;
        }
        // Nothing of the request is used after a panic, so nobody sees what it left half done.
        let handled = AssertUnwindSafe(async { (self.handler)(request, self.peer).await }).catch_unwind().await;
        let mut response = handled.unwrap_or_else(|_| {
            if let Some(telemetry) = &self.site.telemetry {
                telemetry.metrics.panicked();
            }
            let reject = Reject::Internal { why: "a request's handler panicked" };
            refuse(&reject, asked, &RequestId::made(random()))
        });
        if version < Version::HTTP_2 && (self.peer.surplus || self.site.phase.now() >= Phase::Draining) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(Pause(pause)) = response.extensions_mut().remove() {
            let until = Instant::now() + pause;
            if version < Version::HTTP_2 {
                *self.pausing() = Some(until);
            } else {
                sleep_until(until).await;
            }
        }
        under_way.answers();
        response.map(|body| Passing { body, rest: Bytes::new(), version, under_way })
    }
}

impl<H> Connection<H> {
    fn pausing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.pausing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer's body; its request is under way as long as it is here.
pub(super) struct Passing {
    body: Body,
    /// What of a frame is still to be handed over.
    rest: Bytes,
    version: Version,
    under_way: UnderWay,
}

/// The largest piece that HTTP/2 is handed at once, in bytes: the largest frame that every client takes.
const PIECE: usize = 16 * 1024;
/// What may be handed over last, in bytes. HTTP/2 takes a piece where the client's window has room for one byte of it, and
/// keeps the rest, which nobody watches: so much at most of each answer.
const LAST_PIECE: usize = 1024;

impl Passing {
    /// The next piece of a frame, small enough that a client which does not take it is seen.
    fn piece(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) => {
                let length = if data.len() > LAST_PIECE { data.len() - LAST_PIECE } else { data.len() };
                let piece = data.split_to(length.min(PIECE));
                self.rest = data;
                Frame::data(piece)
            }
            Err(trailers) => trailers,
        }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        let polled = if self.rest.is_empty() {
            Pin::new(&mut self.body).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
        };
        // Until the next poll, which comes only once the client can take more.
        self.under_way.offers(polled.is_ready());
        match polled {
            Poll::Ready(Some(Ok(frame))) if self.version == Version::HTTP_2 => Poll::Ready(Some(Ok(self.piece(frame)))),
            Poll::Ready(Some(Err(broken))) if self.version < Version::HTTP_11 => {
                // An answer to HTTP/1.0 without a length ends where its connection does: that end must be no good one.
                self.under_way.breaks();
                Poll::Ready(Some(Err(broken)))
            }
            Poll::Ready(_) | Poll::Pending => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

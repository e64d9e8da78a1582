//! The way to an upstream that one request has: a connection, or a place on one.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::uri::Scheme;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

use super::exchange::Exchange;
use super::outgoing::Outgoing;
use super::{Failed, Fault, head, http1, http2};

/// What one request has to itself.
pub(super) enum Way<B> {
    /// A connection.
    Http1(http1::Lease<B>),
    /// A place on a connection.
    Http2(http2::Stream<B>),
}

impl<B> Way<B> {
    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        match self {
            Self::Http1(lease) => lease.exchange(),
            Self::Http2(stream) => stream.exchange(),
        }
    }

    /// Whether the connection has answered a request before.
    pub(super) fn is_used(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.is_used(),
            Self::Http2(stream) => stream.is_used(),
        }
    }

    /// Whether other requests use the connection at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Has the connection closed at the end of this request, where it has it to itself.
    pub(super) fn close_after(&mut self) {
        if let Self::Http1(lease) = self {
            lease.close_after();
        }
    }

    /// The answer has ended as its framing said.
    pub(super) fn give_back(self) {
        match self {
            Self::Http1(lease) => lease.give_back(),
            Self::Http2(stream) => drop(stream),
        }
    }

    /// Somebody waits for more of an answer whose length was declared; ready where that was too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange().answer_waits();
        match self {
            // The connection's own task has the timer, and ends the answer.
            Self::Http1(_) => Poll::Pending,
            Self::Http2(stream) => stream.poll_expired(cx),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Way<B> {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        head: Parts,
        body: Outgoing<B>,
        scheme: Scheme,
    ) -> Result<Response<Incoming>, Failed> {
        match self {
            Self::Http1(lease) => lease.send(Request::from_parts(head::for_http1(head), body)).await,
            Self::Http2(stream) => {
                let head = head::for_http2(head, scheme);
                let head = head.ok_or(Failed::Over(Fault::Internal("a request without a host")))?;
                stream.send(Request::from_parts(head, body)).await
            }
        }
    }
}

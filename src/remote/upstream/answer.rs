//! The body of an upstream's answer.
//!
//! It holds its connection and gives it back for the next request exactly when the body has ended as its framing said.
//! A body that is dropped earlier, or breaks, takes its connection with it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;

/// An upstream's body, passed on frame by frame: it is read only as fast as it is polled.
pub struct Answer<B> {
    body: Incoming,
    lease: Option<Lease<B>>,
}

/// The body broke off before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerBroken;

impl<B> Answer<B> {
    pub(super) fn new(body: Incoming, lease: Lease<B>) -> Self {
        let mut answer = Self { body, lease: Some(lease) };
        if answer.body.is_end_stream() {
            answer.give_back();
        }
        answer
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl<B: Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Err(_))) => {
                self.lease = None;
                return Poll::Ready(Some(Err(AnswerBroken)));
            }
            Poll::Ready(None) => self.give_back(),
            // Trailers are the last frame, and a known length tells the last data frame; nobody may ask again after it.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || self.body.is_end_stream() => self.give_back(),
            Poll::Ready(Some(Ok(_))) => {}
        }
        polled.map_err(|_| AnswerBroken)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("ended", &self.lease.is_none()).finish_non_exhaustive()
    }
}

impl fmt::Display for AnswerBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's answer broke off")
    }
}

impl std::error::Error for AnswerBroken {}

//! The body of an upstream's answer.
//!
//! It holds its connection, or its place on one, and gives it back exactly when the body has ended as its framing said. A
//! body that is dropped earlier, or breaks, takes its connection with it.

use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::gate::Pass;
use super::way::Way;
use crate::policy::headers::trailers_towards_client;

/// An upstream's body, passed on frame by frame: it is read only as fast as it is polled.
pub struct Answer<B> {
    body: Option<Incoming>,
    /// What came with the head.
    first: Option<First>,
    /// What of the declared length is still to come.
    left: Option<u64>,
    held: Option<Held<B>>,
}

/// A frame that was taken before it was asked for; what is rare in it is apart, so that answers stay small.
enum First {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl From<Frame<Bytes>> for First {
    fn from(frame: Frame<Bytes>) -> Self {
        match frame.into_data() {
            Ok(data) => Self::Data(data),
            Err(frame) => Self::Trailers(Box::new(frame.into_trailers().unwrap_or_default())),
        }
    }
}

impl From<First> for Frame<Bytes> {
    fn from(first: First) -> Self {
        match first {
            First::Data(data) => Self::data(data),
            First::Trailers(trailers) => Self::trailers(*trailers),
        }
    }
}

/// What an answer holds to its end.
struct Held<B> {
    way: Way<B>,
    _pass: Pass,
}

/// The body broke off before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerBroken {
    /// By the upstream.
    Upstream,
    /// What came is no body as its framing said.
    Malformed,
    /// The upstream sent nothing more for the whole of `timeout`, of an answer whose length it had declared.
    Late,
    /// By the request's own body, which had not ended when the answer began.
    RequestBody,
}

impl<B> Answer<B> {
    /// The body as it comes; none where the answer cannot have one (RFC 9110 section 6.4.1).
    pub(super) fn new(body: Option<Incoming>, way: Way<B>, pass: Pass) -> Self {
        let left = body.as_ref().and_then(|body| body.size_hint().exact());
        let mut answer = Self { body, first: None, left, held: Some(Held { way, _pass: pass }) };
        if answer.is_over() {
            answer.give_back();
        }
        answer
    }

    fn is_over(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn give_back(&mut self) {
        if let Some(held) = self.held.take() {
            held.way.give_back();
        }
    }

    /// Whether a body that gives nothing more has ended as its framing said: hyper takes a stream that was reset with
    /// `NO_ERROR` for one that has ended.
    fn is_whole(&self) -> bool {
        let reset = self.held.as_ref().is_some_and(|held| held.way.is_shared() && !self.is_over());
        !reset && self.left.is_none_or(|left| left == 0)
    }

    /// The upstream is waited for; ready where that was too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An answer without a declared length may be silent for as long as its connection lives: events, long polls.
        if self.left.is_none() {
            return Poll::Pending;
        }
        self.held.as_mut().map_or(Poll::Pending, |held| held.way.poll_late(cx))
    }

    fn moved(&mut self, frame: &Frame<Bytes>) -> Result<(), AnswerBroken> {
        let Some(left) = &mut self.left else { return Ok(()) };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        *left = left.checked_sub(length).ok_or(AnswerBroken::Malformed)?;
        if let Some(held) = &self.held {
            held.way.exchange().answer_moves();
        }
        Ok(())
    }

    fn broken(&mut self) -> AnswerBroken {
        match self.held.take() {
            Some(held) if held.way.exchange().is_expired() => AnswerBroken::Late,
            Some(held) if held.way.exchange().request_is_broken() => AnswerBroken::RequestBody,
            Some(_) | None => AnswerBroken::Upstream,
        }
    }
}

impl<B: Unpin> Answer<B> {
    /// Takes what came with the head: where that is no body, the client can still be told so.
    pub(super) async fn begin(&mut self) -> Result<(), AnswerBroken> {
        poll_fn(|cx| match Pin::new(&mut *self).poll_frame(cx) {
            Poll::Ready(Some(Err(broken))) => Poll::Ready(Err(broken)),
            Poll::Ready(Some(Ok(frame))) => {
                self.first = Some(frame.into());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }
}

/// Whether a body cannot be read, rather than that there is no more of it.
fn is_malformed(error: &hyper::Error) -> bool {
    let Some(cause) = error.source() else { return false };
    let http1 = cause.downcast_ref::<io::Error>();
    http1.is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
        || cause.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library)
}

impl<B: Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first.into())));
        }
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let mut frame = match Pin::new(body).poll_frame(cx) {
            Poll::Pending if self.poll_late(cx).is_ready() => return Poll::Ready(Some(Err(self.broken()))),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) if self.is_whole() => {
                self.give_back();
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) if is_malformed(&error) => {
                self.held = None;
                return Poll::Ready(Some(Err(AnswerBroken::Malformed)));
            }
            Poll::Ready(None | Some(Err(_))) => return Poll::Ready(Some(Err(self.broken()))),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        if let Err(broken) = self.moved(&frame) {
            self.held = None;
            return Poll::Ready(Some(Err(broken)));
        }
        if let Some(trailers) = frame.trailers_mut() {
            trailers_towards_client(trailers);
        }
        // Trailers are the last frame, and a known length tells the last data frame; nobody may ask again after it.
        if frame.is_trailers() || self.is_over() {
            self.give_back();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        if let Some(First::Data(first)) = &self.first {
            let first = first.len() as u64;
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(first));
            }
            hint.set_lower(hint.lower().saturating_add(first));
        }
        hint
    }
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("ended", &self.held.is_none()).finish_non_exhaustive()
    }
}

impl fmt::Display for AnswerBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "the upstream's answer broke off",
            Self::Malformed => "the upstream's answer has no body as its head says",
            Self::Late => "the upstream's answer stalled",
            Self::RequestBody => "the request broke off while it was answered",
        })
    }
}

impl std::error::Error for AnswerBroken {}

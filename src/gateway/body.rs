//! The body of an answer: our own bytes, or the upstream's as they come.
//!
//! A body can be watched: its watcher hears once how it ended, also where the client left before its end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::request_body::{Fault, RequestBody};
use crate::policy::reject::Code;
use crate::remote::upstream::{Answer, AnswerBroken};

/// What a client is sent after the head.
pub struct Body {
    source: Source,
    watcher: Option<Watcher>,
}

enum Source {
    Own(Bytes),
    /// With the place of the request's own fault: the answer may have begun before the request ended.
    Upstream(Answer<RequestBody>, Option<Fault>),
}

type Watcher = Box<dyn FnOnce(Ending) + Send>;

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All of it was taken by the connection.
    Whole,
    /// It broke off.
    Broken(Code),
    /// The client left first.
    Abandoned,
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::own(Bytes::new())
    }

    /// Our own bytes.
    pub fn own(bytes: Bytes) -> Self {
        Self { source: Source::Own(bytes), watcher: None }
    }

    /// The upstream's bytes. `fault` is where the request's body tells what broke it, if it has one.
    pub(super) fn upstream(answer: Answer<RequestBody>, fault: Option<Fault>) -> Self {
        Self { source: Source::Upstream(answer, fault), watcher: None }
    }

    /// Has `watcher` told once how this body ends.
    #[must_use]
    pub fn watched(mut self, watcher: impl FnOnce(Ending) + Send + 'static) -> Self {
        self.watcher = Some(Box::new(watcher));
        self
    }

    fn ended(&mut self, ending: Ending) {
        if let Some(watcher) = self.watcher.take() {
            watcher(ending);
        }
    }

    /// Why it broke off.
    fn code(&self, broken: AnswerBroken) -> Code {
        match (broken, &self.source) {
            (AnswerBroken::Upstream, _) => Code::UpstreamUnreachable,
            (AnswerBroken::Malformed, _) => Code::UpstreamMalformed,
            (AnswerBroken::Late, _) => Code::UpstreamTimeout,
            (AnswerBroken::RequestBody, Source::Upstream(_, Some(fault))) => {
                fault.get().map_or(Code::Internal, |fault| fault.reject(None).code())
            }
            (AnswerBroken::RequestBody, Source::Upstream(_, None) | Source::Own(_)) => Code::Internal,
        }
    }

    fn nothing_left(&self) -> bool {
        match &self.source {
            Source::Own(bytes) => bytes.is_empty(),
            Source::Upstream(answer, _) => http_body::Body::is_end_stream(answer),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        let polled = match &mut self.source {
            Source::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Upstream(answer, _) => Pin::new(answer).poll_frame(cx),
        };
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => self.ended(Ending::Whole),
            Poll::Ready(Some(Err(broken))) => {
                let code = self.code(*broken);
                self.ended(Ending::Broken(code));
            }
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || self.nothing_left() => self.ended(Ending::Whole),
            Poll::Ready(Some(Ok(_))) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.nothing_left()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(answer, _) => answer.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // A body without bytes is never polled.
        let ending = if self.nothing_left() { Ending::Whole } else { Ending::Abandoned };
        self.ended(ending);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Own(_) => "Body(own)",
            Source::Upstream(..) => "Body(upstream)",
        })
    }
}

//! A request's body on its way to the upstream: bounded in size and in slowness, read only as the upstream takes it.
//!
//! 1. More bytes than the route takes end it (`body_too_large`).
//! 2. Time counts only while the client is waited for. When that adds up to one [`Pace`] window in which too few bytes
//!    came, the body ends (`request_timeout`); otherwise the next window begins.
//! 3. Trailers are dropped: the decision was made on the head alone, and a trailer must not add to it. More than 8 KiB of
//!    them break the framing.
//! 4. A body that was cut off never ends well: what the upstream sees of it is aborted, too.
//!
//! The first poll is what lets a client that sent `Expect: 100-continue` go on, so nothing polls before the decision.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::policy::reject::Reject;

/// How slow a client may be with what it sends or takes: at least so many bytes in so much time of waiting for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The bytes.
    pub bytes: u64,
    /// The time; not zero.
    pub within: Duration,
}

impl Default for Pace {
    /// 1 KiB/s over 30 s.
    fn default() -> Self {
        Self { bytes: 30 * 1024, within: Duration::from_secs(30) }
    }
}

/// A body that is passed on within bounds.
pub struct RequestBody(Option<Passing>);

/// Why a body ended before its end. Set before the body gives its error.
pub(super) type Fault = Arc<OnceLock<BodyFault>>;

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It has more bytes than the route takes.
    TooLarge,
    /// It came too slowly.
    TooSlow,
    /// Its framing broke, or the client left.
    Broken,
}

impl BodyFault {
    /// What it is called, where a route takes at most `limit` bytes.
    pub(super) fn reject(self, limit: Option<u64>) -> Reject {
        match self {
            Self::TooLarge => Reject::BodyTooLarge { limit: limit.unwrap_or_default() },
            Self::TooSlow => Reject::RequestTimeout,
            Self::Broken => Reject::RequestMalformed { rule: "the body ends where its framing does not" },
        }
    }
}

struct Passing {
    body: Incoming,
    version: Version,
    left: Option<u64>,
    pace: Pace,
    window: Window,
    fault: Fault,
}

/// One window of the pace.
#[derive(Default)]
struct Window {
    received: u64,
    /// Waited for the client, less the wait that is under way.
    waited: Duration,
    since: Option<Instant>,
    /// Made at the first wait: most bodies are there with their head.
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// The body of a request of that version, and the place where its fault will be; none for a request without a body.
    pub(super) fn new(body: Incoming, version: Version, limit: Option<u64>, pace: Pace) -> (Self, Option<Fault>) {
        if body.is_end_stream() {
            return (Self(None), None);
        }
        let fault = Fault::default();
        let passing =
            Passing { body, version, left: limit, pace, window: Window::default(), fault: Arc::clone(&fault) };
        (Self(Some(passing)), Some(fault))
    }
}

impl Passing {
    fn fail(&self, fault: BodyFault) -> BodyFault {
        // Only the first fault is told: what comes after it is its consequence.
        *self.fault.get_or_init(|| fault)
    }

    /// Whether a body that gives nothing more has ended: hyper takes a stream that was reset with `NO_ERROR` for one that
    /// has.
    fn is_whole(&self) -> bool {
        self.version != Version::HTTP_2 || self.body.is_end_stream()
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Option<Result<Frame<Bytes>, BodyFault>> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) if frame.trailers_ref().is_some_and(|trailers| bytes(trailers) > TRAILER_BYTES) => {
                return Some(Err(self.fail(BodyFault::Broken)));
            }
            Err(_) => return None,
        };
        let length = data.len() as u64;
        self.window.heard(length);
        if let Some(left) = &mut self.left {
            match left.checked_sub(length) {
                Some(rest) => *left = rest,
                None => return Some(Err(self.fail(BodyFault::TooLarge))),
            }
        }
        Some(Ok(Frame::data(data)))
    }
}

/// The largest trailers, in bytes.
const TRAILER_BYTES: usize = 8 * 1024;

fn bytes(trailers: &HeaderMap) -> usize {
    trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}

impl Window {
    fn heard(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(since.elapsed());
        }
    }

    /// Waits for the client; ready when a window was too slow.
    fn poll_too_slow(&mut self, pace: Pace, cx: &mut Context<'_>) -> Poll<()> {
        let mut now = Instant::now();
        let mut since = *self.since.get_or_insert(now);
        loop {
            let waited = self.waited.saturating_add(now.saturating_duration_since(since));
            if waited >= pace.within {
                if self.received < pace.bytes {
                    return Poll::Ready(());
                }
                self.received = 0;
                self.waited = Duration::ZERO;
                since = now;
                self.since = Some(now);
                continue;
            }
            let due = now + (pace.within - waited);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            // It may stand nearer than `due`, set when less had been received; then it fires early and is set again.
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            now = Instant::now();
            timer.as_mut().reset(due.max(now));
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(passing) = &mut self.0 else { return Poll::Ready(None) };
        match Pin::new(&mut passing.body).poll_frame(cx) {
            Poll::Ready(None) if passing.is_whole() => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(passing.take(frame)),
            Poll::Ready(None | Some(Err(_))) => Poll::Ready(Some(Err(passing.fail(BodyFault::Broken)))),
            Poll::Pending => match passing.window.poll_too_slow(passing.pace, cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(passing.fail(BodyFault::TooSlow)))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|passing| passing.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |passing| passing.body.size_hint())
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is too large",
            Self::TooSlow => "the body came too slowly",
            Self::Broken => "the body broke off",
        })
    }
}

impl std::error::Error for BodyFault {}

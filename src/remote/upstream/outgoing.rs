//! A request's body on its way out: it tells its exchange how it goes, and can be begun again while none of it is lost.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::exchange::Exchange;

/// How much of a body is kept for another beginning, in bytes.
const KEPT_AT_MOST: usize = 64 * 1024;

/// Where a request's body comes from. Empty for a request without one.
pub(super) struct Source<B>(Option<Arc<Mutex<State<B>>>>);

struct State<B> {
    body: B,
    /// Which beginning this is: what an earlier one still reads is nobody's, and must not wake in place of the present one.
    round: usize,
    /// The beginning of the body, where it is kept.
    kept: Vec<Bytes>,
    length: usize,
    keeps: bool,
    /// Whether some of the body was read and is not kept.
    lost: bool,
    ended: bool,
}

/// One beginning of a body.
pub(super) struct Outgoing<B> {
    source: Source<B>,
    round: usize,
    /// The next of what is kept.
    next: usize,
    exchange: Arc<Exchange>,
}

/// Why a body gave no more. What broke it is known to who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutgoingBroken {
    /// It broke.
    Body,
    /// It was begun again.
    Superseded,
}

impl<B: Body<Data = Bytes>> Source<B> {
    pub(super) fn new(body: B) -> Self {
        Self((!body.is_end_stream()).then(|| {
            let (round, kept, length) = (0, Vec::new(), 0);
            Arc::new(Mutex::new(State { body, round, kept, length, keeps: true, lost: false, ended: false }))
        }))
    }

    /// Whether there is no body.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The body from its beginning; none where some of it is lost. `keeps`: whether it may have to be begun once more.
    pub(super) fn begin(&self, exchange: &Arc<Exchange>, keeps: bool) -> Option<Outgoing<B>> {
        let mut round = 0;
        if let Some(mut state) = self.state() {
            if state.lost {
                return None;
            }
            state.keeps = keeps;
            state.round += 1;
            round = state.round;
        }
        Some(Outgoing { source: Self(self.0.clone()), round, next: 0, exchange: Arc::clone(exchange) })
    }

    /// The body will not be begun again: no more of it needs to be kept.
    pub(super) fn settle(&self) {
        if let Some(mut state) = self.state() {
            state.keeps = false;
        }
    }
}

impl<B> Source<B> {
    fn state(&self) -> Option<MutexGuard<'_, State<B>>> {
        self.0.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Body<Data = Bytes> + Unpin> State<B> {
    /// The frame at `next` of what is kept, or the body's own next one.
    fn poll(&mut self, next: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(kept) = self.kept.get(next) {
            return Poll::Ready(Some(Ok(Frame::data(kept.clone()))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.ended = true,
            Poll::Ready(Some(Ok(frame))) => self.keep(frame),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let data = frame.data_ref().filter(|data| self.keeps && self.length + data.len() <= KEPT_AT_MOST);
        match data {
            Some(data) => {
                self.length += data.len();
                self.kept.push(data.clone());
            }
            None => {
                self.lost = true;
                self.keeps = false;
                self.kept = Vec::new();
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = OutgoingBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutgoingBroken>>> {
        let this = &mut *self;
        let Some(mut state) = this.source.state() else { return Poll::Ready(None) };
        if state.round != this.round {
            return Poll::Ready(Some(Err(OutgoingBroken::Superseded)));
        }
        let polled = state.poll(this.next, cx);
        let ended = state.ended || state.kept.len() <= this.next + 1 && state.body.is_end_stream();
        match &polled {
            Poll::Pending => this.exchange.request_waits(),
            Poll::Ready(None) => this.exchange.request_ended(),
            Poll::Ready(Some(Err(_))) => this.exchange.request_broke(),
            Poll::Ready(Some(Ok(_))) => {
                this.next += 1;
                if ended { this.exchange.request_ended() } else { this.exchange.request_moves() }
            }
        }
        polled.map_err(|_| OutgoingBroken::Body)
    }

    fn is_end_stream(&self) -> bool {
        self.source
            .state()
            .is_none_or(|state| state.kept.len() <= self.next && (state.ended || state.body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        let Some(state) = self.source.state() else { return SizeHint::with_exact(0) };
        let kept: u64 = state.kept.iter().skip(self.next).map(|data| data.len() as u64).sum();
        let rest = state.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

impl fmt::Display for OutgoingBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "the request's body broke off",
            Self::Superseded => "the request's body was begun again",
        })
    }
}

impl std::error::Error for OutgoingBroken {}

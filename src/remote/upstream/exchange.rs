//! Whose turn it is in one exchange of request and answer: what every deadline towards an upstream follows.
//!
//! Time counts only while the upstream is waited for: to take more of the request, to begin its answer, or to send more of
//! an answer whose length it has declared. While the client is to send or to take, the upstream is not late. An upstream
//! that has begun its answer early, and takes no more of the request that is there, has the turn all the same.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// One exchange, as the request's body, the answer's and whoever waits for its head see it.
pub(super) struct Exchange(Mutex<State>);

struct State {
    turn: Turn,
    /// Whether the head of the answer is still to come.
    headless: bool,
    request: Sent,
    /// Whether a deadline has ended it.
    expired: bool,
}

#[derive(Clone, Copy)]
enum Turn {
    /// Nobody's, since then: the connection waits for a request.
    Nobody(Instant),
    /// The upstream's, since then.
    Upstream(Instant),
    /// The client's.
    Client,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// A part of it, and more is there.
    Part,
    /// All that there is; the client is to send more.
    Drained,
    /// All of it was handed over.
    Whole,
    /// Its own body broke.
    Broken,
}

impl Exchange {
    /// A connection on which nothing was asked yet.
    pub(super) fn idle() -> Self {
        let turn = Turn::Nobody(Instant::now());
        Self(Mutex::new(State { turn, headless: false, request: Sent::Whole, expired: false }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request; false where the connection has just expired.
    pub(super) fn begin(&self, has_body: bool) -> bool {
        let mut state = self.state();
        if state.expired {
            return false;
        }
        let request = if has_body { Sent::Part } else { Sent::Whole };
        *state = State { turn: Turn::Upstream(Instant::now()), headless: true, request, expired: false };
        true
    }

    /// The client is to send more of the request.
    pub(super) fn request_waits(&self) {
        let mut state = self.state();
        state.request = Sent::Drained;
        if state.headless {
            state.turn = Turn::Client;
        }
    }

    /// More of the request is there for the upstream to take.
    pub(super) fn request_moves(&self) {
        self.state().sends(Sent::Part);
    }

    /// The upstream has been handed the whole request.
    pub(super) fn request_ended(&self) {
        self.state().sends(Sent::Whole);
    }

    /// The request's own body broke.
    pub(super) fn request_broke(&self) {
        self.state().request = Sent::Broken;
    }

    /// The head of the answer is there.
    pub(super) fn head_came(&self) {
        let mut state = self.state();
        state.headless = false;
        state.turn = Turn::Client;
    }

    /// Somebody waits for more of an answer whose length was declared.
    pub(super) fn answer_waits(&self) {
        let mut state = self.state();
        if let Turn::Client = state.turn {
            state.turn = Turn::Upstream(Instant::now());
        }
    }

    /// More of the answer was taken.
    pub(super) fn answer_moves(&self) {
        self.state().turn = Turn::Client;
    }

    /// Request and answer have ended; the connection waits for another request.
    pub(super) fn ended(&self) {
        self.state().turn = Turn::Nobody(Instant::now());
    }

    /// Whether the upstream was handed the whole request.
    pub(super) fn request_is_whole(&self) -> bool {
        self.state().request == Sent::Whole
    }

    /// Whether the request's own body broke.
    pub(super) fn request_is_broken(&self) -> bool {
        self.state().request == Sent::Broken
    }

    /// Whether a deadline has ended it.
    pub(super) fn is_expired(&self) -> bool {
        self.state().expired
    }
}

impl State {
    /// The upstream takes something of the request: whatever it is waited for, it is not late.
    fn sends(&mut self, request: Sent) {
        self.request = request;
        if self.headless || matches!(self.turn, Turn::Upstream(_)) {
            self.turn = Turn::Upstream(Instant::now());
        }
    }

    fn deadline(&self, limits: Limits) -> Option<Instant> {
        match self.turn {
            Turn::Nobody(since) => since.checked_add(limits.idle),
            // An early answer may go on only as the request does.
            Turn::Upstream(_) if !self.headless && self.request == Sent::Drained => None,
            Turn::Upstream(since) => since.checked_add(limits.turn),
            Turn::Client => None,
        }
    }
}

/// How long a turn may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// The upstream's.
    pub(super) turn: Duration,
    /// Nobody's.
    pub(super) idle: Duration,
}

/// One timer for one exchange after another. It is set anew when it fires, or when a deadline appears that is nearer: an
/// exchange costs no timer of its own.
pub(super) struct Patience {
    limits: Limits,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, timer: Box::pin(sleep_until(Instant::now() + limits.shorter())) }
    }

    /// Ready, once, when the exchange is over because of a deadline.
    pub(super) fn poll_expired(&mut self, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = exchange.state().deadline(self.limits);
            if let Some(deadline) = deadline.filter(|deadline| *deadline < self.timer.deadline()) {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let mut state = exchange.state();
            match state.deadline(self.limits) {
                Some(deadline) if deadline <= now => {
                    state.expired = true;
                    return Poll::Ready(());
                }
                Some(deadline) => self.timer.as_mut().reset(deadline),
                // Whoever's turn comes next has at least so long.
                None => self.timer.as_mut().reset(now + self.limits.shorter()),
            }
        }
    }
}

impl Limits {
    fn shorter(self) -> Duration {
        self.turn.min(self.idle)
    }
}

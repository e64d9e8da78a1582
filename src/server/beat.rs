//! What has happened on a connection lately, as far as its deadlines depend on it.
//!
//! [`Beat`] is told by the wire what was read and written, and by the answering which requests are under way. It says what the
//! connection waits for, since when, and which limit that has; it closes nothing itself but the streams of HTTP/2 whose
//! client takes nothing of their answers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::{self, AbortHandle};
use tokio::time::Instant;

use super::connection::Bounds;

/// How long a closing connection lingers.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A request to begin, since then.
    Idle(Instant),
    /// The rest of a head whose first byte came then.
    Head(Instant),
    /// Requests under way: their handlers and bodies have limits of their own.
    Busy,
    /// The client to hear that it is over, since then.
    Lingering(Instant),
    /// Nothing more.
    Over,
}

/// Which limit a connection passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// No request began in time.
    Idle,
    /// A head was not complete in time.
    Head,
    /// The client took nothing of what waits for it.
    Answer,
    /// The moment of lingering is over.
    Linger,
}

/// The state of one connection that its deadlines depend on. Clones are of the same connection.
#[derive(Clone)]
pub(super) struct Beat(Arc<Mutex<State>>);

struct State {
    turn: Turn,
    http2: bool,
    /// Requests under way.
    open: usize,
    /// Whether the latest request has a body, so that bytes read meanwhile are its own.
    has_body: bool,
    /// Whether the answer to the latest request has begun.
    answered: bool,
    /// Whether an answer broke off whose client cannot see that by its framing.
    broken: bool,
    /// Whether bytes of a further request have come already.
    ahead: bool,
    /// The last bytes that were read: they tell whether a head is all there is.
    tail: [u8; 3],
    /// Since when the socket takes nothing more.
    blocked: Option<Instant>,
    socket_failed: bool,
    /// The tasks of HTTP/2's streams, by their id.
    streams: HashMap<task::Id, Stream>,
    /// The connection's task: on HTTP/2 a request ends in a task of its own.
    waker: Option<Waker>,
}

/// The task in which a stream of HTTP/2 is answered.
struct Stream {
    task: AbortHandle,
    /// Since when its client takes nothing of its answer.
    offered: Option<Instant>,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            turn: Turn::Idle(Instant::now()),
            http2: false,
            open: 0,
            has_body: false,
            answered: false,
            broken: false,
            ahead: false,
            tail: [0; 3],
            blocked: None,
            socket_failed: false,
            streams: HashMap::new(),
            waker: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(&self) -> Turn {
        self.state().turn
    }

    pub(super) fn socket_failed(&self) -> bool {
        self.state().socket_failed
    }

    /// Whether an answer broke off whose client cannot see that by its framing.
    pub(super) fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// Whether nothing more is needed of a client of HTTP/1 but that it takes its answer.
    pub(super) fn only_answers(&self) -> bool {
        let state = self.state();
        !state.http2 && state.turn == Turn::Busy && (state.answered || !state.has_body)
    }

    /// The limit that is passed next if nothing happens before. `waker` is woken when the last request under way ends.
    pub(super) fn limit(&self, bounds: Bounds, waker: &Waker) -> Option<(Instant, Late)> {
        let mut state = self.state();
        if state.http2 && !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        let turn = match state.turn {
            Turn::Idle(since) => Some((since, bounds.idle_timeout, Late::Idle)),
            Turn::Head(since) => Some((since, bounds.header_timeout, Late::Head)),
            Turn::Lingering(since) => Some((since, LINGER, Late::Linger)),
            Turn::Busy | Turn::Over => None,
        };
        let blocked = state.blocked.map(|since| (since, bounds.answers.within, Late::Answer));
        let limits = [turn, blocked].into_iter().flatten();
        limits.filter_map(|(since, limit, late)| Some((since.checked_add(limit)?, late))).min_by_key(|(at, _)| *at)
    }

    /// Whether nothing has been going on since `then`.
    pub(super) fn is_quiet_since(&self, then: Instant) -> bool {
        let state = self.state();
        state.blocked.is_none() && matches!(state.turn, Turn::Idle(since) if since <= then)
    }

    /// A request's head is complete. It is under way until the returned value is dropped.
    pub(super) fn begin(&self, has_body: bool) -> UnderWay {
        let mut state = self.state();
        state.open += 1;
        state.turn = Turn::Busy;
        state.has_body = has_body;
        state.answered = false;
        // What stands behind the empty line of a head without a body is the beginning of another.
        state.ahead = !has_body && state.tail != *b"\n\r\n" && !state.tail.ends_with(b"\n\n");
        UnderWay { beat: self.clone(), stream: if state.http2 { task::try_id() } else { None } }
    }

    /// Bytes were read.
    pub(super) fn heard(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        for byte in bytes.iter().skip(bytes.len().saturating_sub(state.tail.len())) {
            state.tail.rotate_left(1);
            state.tail[2] = *byte;
        }
        if state.http2 {
            // Frames come at any time; only a request moves the idle limit.
            return;
        }
        match state.turn {
            // Empty lines before a request are nothing (RFC 9112 section 2.2).
            Turn::Idle(_) if bytes.trim_ascii_start().is_empty() => {}
            Turn::Idle(_) => state.turn = Turn::Head(Instant::now()),
            Turn::Busy if !state.has_body => state.ahead = true,
            Turn::Busy | Turn::Head(_) | Turn::Lingering(_) | Turn::Over => {}
        }
    }

    /// The socket takes nothing more for now, or again takes something.
    pub(super) fn blocked(&self, blocked: bool) {
        self.state().blocked = blocked.then(Instant::now);
    }

    /// The socket does not work any more.
    pub(super) fn fail_socket(&self) {
        self.state().socket_failed = true;
    }

    /// HTTP/2 is spoken from now on.
    pub(super) fn speaks_http2(&self) {
        let mut state = self.state();
        state.http2 = true;
        state.turn = Turn::Idle(Instant::now());
    }

    /// Counts the time for which the connection is idle from now on.
    pub(super) fn idle_from_now(&self) {
        let mut state = self.state();
        if let Turn::Idle(since) = &mut state.turn {
            *since = Instant::now();
        }
    }

    /// Whether the client may have sent what nobody read; then the connection lingers from now on.
    pub(super) fn must_linger(&self) -> bool {
        let mut state = self.state();
        match state.turn {
            Turn::Lingering(_) => true,
            Turn::Over => false,
            Turn::Idle(_) | Turn::Busy if !state.has_body && !state.http2 => false,
            Turn::Idle(_) | Turn::Busy | Turn::Head(_) => {
                state.turn = Turn::Lingering(Instant::now());
                true
            }
        }
    }

    /// The moment of lingering is over: the connection ends when it is polled again.
    pub(super) fn stop_lingering(&self) {
        self.state().turn = Turn::Over;
    }

    /// Resets the streams whose clients have taken nothing of their answers since `then`; how many they are.
    pub(super) fn reset_stalled(&self, then: Instant) -> usize {
        let mut state = self.state();
        let stalled = |_: &task::Id, stream: &mut Stream| stream.offered.is_some_and(|since| since <= then);
        let stalled: Vec<Stream> = state.streams.extract_if(stalled).map(|(_, stream)| stream).collect();
        drop(state);
        // What a stream's task holds is dropped with it, and tells this `Beat` so.
        stalled.iter().for_each(|stream| stream.task.abort());
        stalled.len()
    }

    fn offered(&self, stream: task::Id, since: Option<Instant>) {
        if let Some(stream) = self.state().streams.get_mut(&stream) {
            stream.offered = since;
        }
    }
}

/// Runs the streams of HTTP/2, each in a task of its own.
impl<F> Executor<F> for Beat
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        // Locked before: on several threads the task could be over before it is known.
        let mut state = self.state();
        let task = tokio::spawn(stream).abort_handle();
        state.streams.insert(task.id(), Stream { task, offered: None });
    }
}

/// A request under way.
pub(super) struct UnderWay {
    beat: Beat,
    stream: Option<task::Id>,
}

impl UnderWay {
    /// The head of the answer is there, and the client can take it.
    pub(super) fn answers(&self) {
        self.beat.state().answered = true;
        self.offers(true);
    }

    /// The answer breaks off, and its framing does not tell.
    pub(super) fn breaks(&self) {
        self.beat.state().broken = true;
    }

    /// A part of the answer is there, and the client can take it from now on; or none is.
    pub(super) fn offers(&self, offers: bool) {
        if let Some(stream) = self.stream {
            self.beat.offered(stream, offers.then(Instant::now));
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.beat.state();
        if let Some(stream) = self.stream {
            state.streams.remove(&stream);
        }
        state.open = state.open.saturating_sub(1);
        if state.open == 0 && state.turn == Turn::Busy {
            let now = Instant::now();
            // The rest of a head that came too early is waited for only from now on.
            state.turn = if state.ahead && !state.http2 { Turn::Head(now) } else { Turn::Idle(now) };
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

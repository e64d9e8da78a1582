//! Where unused connections to an upstream wait, and the one request at a time that has a connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::link::{Link, State, Tracked, Turn};
use crate::telemetry::labels::ConnectionState;
use crate::telemetry::ledger::Connections;
use crate::telemetry::metrics::Held as Counted;

/// Unused connections, the newest taken first: it is the least likely to be stale, and the old ones die of age.
pub(super) struct Pool<B> {
    idle: Mutex<VecDeque<Kept<B>>>,
    bound: usize,
    counts: Option<Connections>,
}

struct Kept<B> {
    held: Held<B>,
    _counted: Option<Counted>,
}

struct Held<B> {
    sender: http1::SendRequest<Tracked<B>>,
    link: Arc<Link>,
    task: AbortHandle,
}

impl<B> Pool<B> {
    pub(super) fn new(bound: usize, counts: Option<Connections>) -> Self {
        Self { idle: Mutex::new(VecDeque::new()), bound, counts }
    }

    fn counted(&self, state: ConnectionState) -> Option<Counted> {
        self.counts.as_ref().map(|counts| counts.count(state))
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Kept<B>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest connection that is still good.
    pub(super) fn take(self: &Arc<Self>) -> Option<Lease<B>> {
        loop {
            let held = self.idle().pop_back()?.held;
            if held.sender.is_ready() {
                return Some(Lease::of(held, Arc::clone(self)));
            }
            held.task.abort();
        }
    }

    fn put(&self, held: Held<B>) {
        let mut idle = self.idle();
        while idle.len() >= self.bound || idle.front().is_some_and(|kept| kept.held.sender.is_closed()) {
            let Some(oldest) = idle.pop_front() else { break };
            oldest.held.task.abort();
        }
        idle.push_back(Kept { held, _counted: self.counted(ConnectionState::Idle) });
    }
}

/// A connection that one request has to itself. Dropped, it is closed; only [`Lease::give_back`] keeps it.
pub(super) struct Lease<B> {
    held: Option<Held<B>>,
    pool: Arc<Pool<B>>,
    _counted: Option<Counted>,
}

/// Why an exchange failed.
pub(super) enum Broken<B> {
    /// Nothing of the request was taken; it may go elsewhere.
    Untaken(Box<Request<Tracked<B>>>),
    /// Some of it may have been.
    Taken(hyper::Error),
}

impl<B> Lease<B> {
    pub(super) fn new(
        sender: http1::SendRequest<Tracked<B>>,
        link: Arc<Link>,
        task: AbortHandle,
        pool: Arc<Pool<B>>,
    ) -> Self {
        Self::of(Held { sender, link, task }, pool)
    }

    fn of(held: Held<B>, pool: Arc<Pool<B>>) -> Self {
        let counted = pool.counted(ConnectionState::Active);
        Self { held: Some(held), pool, _counted: counted }
    }

    /// Whether a deadline closed it.
    pub(super) fn timed_out(&self) -> bool {
        self.is(|state| state.expired)
    }

    /// Whether the upstream was given the whole request.
    pub(super) fn request_is_sent(&self) -> bool {
        self.is(|state| state.sent)
    }

    /// Whether anything came back.
    pub(super) fn has_received(&self) -> bool {
        self.is(|state| state.received)
    }

    fn is(&self, what: impl Fn(&State) -> bool) -> bool {
        self.held.as_ref().is_some_and(|held| what(&held.link.state()))
    }

    /// Keeps the connection for another request, where this one's was sent to its end.
    pub(super) fn give_back(mut self) {
        if !self.request_is_sent() {
            return;
        }
        if let Some(held) = self.held.take() {
            held.link.state().turn = Turn::Idle(Instant::now());
            self.pool.put(held);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Lease<B> {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, mut request: Request<Tracked<B>>) -> Result<Response<Incoming>, Broken<B>> {
        let Some(held) = self.held.as_mut() else { return Err(Broken::Untaken(Box::new(request))) };
        let has_body = !request.body().is_end_stream();
        if !held.link.begin(has_body) {
            return Err(Broken::Untaken(Box::new(request)));
        }
        request.body_mut().link = has_body.then(|| Arc::clone(&held.link));
        match held.sender.try_send_request(request).await {
            Ok(response) => {
                held.link.state().turn = Turn::Body;
                Ok(response)
            }
            Err(mut error) => Err(match error.take_message() {
                Some(untaken) => Broken::Untaken(Box::new(untaken)),
                None => Broken::Taken(error.into_error()),
            }),
        }
    }
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            held.task.abort();
        }
    }
}

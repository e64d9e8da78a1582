//! Room for connections: how many there may be, and what each new one is held to.
//!
//! Both may change while the server runs. Where the bound is lowered beneath what is open, nobody is cut off; further
//! connections wait until enough have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::Notify;

use super::connection::Bounds;

/// What connections are held to.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many are open at once.
    pub connections: usize,
    /// The bounds of each, from its beginning to its end.
    pub bounds: Bounds,
    /// How clients are spoken to within TLS; none: in clear.
    pub tls: Option<Arc<ServerConfig>>,
}

/// The room of one server. Clones are of the same one.
#[derive(Clone)]
pub(super) struct Room(Arc<State>);

struct State {
    terms: ArcSwap<Terms>,
    /// Connections that are open.
    open: AtomicUsize,
    /// Listeners that may still open some.
    listening: AtomicUsize,
    changed: Notify,
}

/// A connection's place. Dropped, it is free.
pub(super) struct Place(Room);

/// A listener that accepts. Dropped, it has ended.
pub(super) struct Listening(Room);

impl Room {
    pub(super) fn new(terms: Terms) -> Self {
        Self(Arc::new(State {
            terms: ArcSwap::from_pointee(terms),
            open: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
            changed: Notify::new(),
        }))
    }

    /// Holds new connections to other terms from now on.
    pub(super) fn adopt(&self, terms: Terms) {
        self.0.terms.store(Arc::new(terms));
        self.0.changed.notify_waiters();
    }

    pub(super) fn terms(&self) -> Arc<Terms> {
        self.0.terms.load_full()
    }

    /// A place, where one is free.
    pub(super) fn take(&self) -> Option<Place> {
        let bound = self.0.terms.load().connections;
        let taken =
            self.0.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < bound).then_some(open + 1));
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// A place, once one is free.
    pub(super) async fn wait(&self) -> Place {
        loop {
            // Before the look, so that what changes after it is heard.
            let changed = self.0.changed.notified();
            if let Some(place) = self.take() {
                return place;
            }
            changed.await;
        }
    }

    /// Says that a listener may open connections.
    pub(super) fn listen(&self) -> Listening {
        self.0.listening.fetch_add(1, Ordering::AcqRel);
        Listening(self.clone())
    }

    /// Returns when no connection is open, and no listener is left that could open one.
    pub(super) async fn empty(&self) {
        loop {
            let changed = self.0.changed.notified();
            // In this order: a listener that has ended has counted its connections.
            if self.0.listening.load(Ordering::Acquire) == 0 && self.0.open.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.0.changed.notify_waiters();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.0.listening.fetch_sub(1, Ordering::AcqRel);
        self.0.0.changed.notify_waiters();
    }
}

//! Room for connections: how many there may be, and what each new one is held to.
//!
//! 1. As many connections as the configuration says are served at once, over all workers.
//! 2. A few more are taken, so that their clients hear at once that there is no room (`overloaded`) and are closed, instead
//!    of waiting unanswered in the kernel's queue.
//! 3. A connection beyond those finds no place at all, and is closed at once.
//!
//! All of it may change while the server runs. Where the bound is lowered beneath what is open, nobody is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::connection::Bounds;
use super::entrance::Entrance;

/// What connections are held to.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many are served at once.
    pub connections: usize,
    /// The bounds of each, from its beginning to its end.
    pub bounds: Bounds,
    /// What each passes before HTTP begins.
    pub entrance: Entrance,
}

/// Connections beyond the bound at once. Each is there for a moment, so a few answer many.
const SURPLUS: usize = 64;

/// The room of one server. Clones are of the same one.
#[derive(Clone)]
pub(super) struct Room(Arc<State>);

struct State {
    terms: ArcSwap<Terms>,
    /// Connections that are served.
    served: AtomicUsize,
    /// Connections that are turned away.
    surplus: AtomicUsize,
    /// Listeners that may still open some.
    listening: AtomicUsize,
    changed: Notify,
}

/// A connection's place. Dropped, it is free.
pub(super) struct Place {
    room: Room,
    /// Whether it is beyond the bound.
    pub(super) surplus: bool,
}

/// A listener that accepts. Dropped, it has ended.
pub(super) struct Listening(Room);

impl Room {
    pub(super) fn new(terms: Terms) -> Self {
        Self(Arc::new(State {
            terms: ArcSwap::from_pointee(terms),
            served: AtomicUsize::new(0),
            surplus: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
            changed: Notify::new(),
        }))
    }

    /// Holds new connections to other terms from now on.
    pub(super) fn adopt(&self, terms: Terms) {
        self.0.terms.store(Arc::new(terms));
    }

    pub(super) fn terms(&self) -> Arc<Terms> {
        self.0.terms.load_full()
    }

    /// A place, where there is one.
    pub(super) fn take(&self) -> Option<Place> {
        let taken = |count: &AtomicUsize, bound: usize| {
            let further = |count| (count < bound).then_some(count + 1);
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, further).is_ok()
        };
        let surplus = !taken(&self.0.served, self.0.terms.load().connections);
        (!surplus || taken(&self.0.surplus, SURPLUS)).then(|| Place { room: self.clone(), surplus })
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
            let State { listening, served, surplus, .. } = &*self.0;
            if [listening, served, surplus].iter().all(|count| count.load(Ordering::Acquire) == 0) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let State { served, surplus, changed, .. } = &*self.room.0;
        if self.surplus { surplus } else { served }.fetch_sub(1, Ordering::AcqRel);
        changed.notify_waiters();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.0.listening.fetch_sub(1, Ordering::AcqRel);
        self.0.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::gateway::request_body::Pace;

    fn room(connections: usize) -> Room {
        Room::new(terms(connections))
    }

    fn terms(connections: usize) -> Terms {
        let second = std::time::Duration::from_secs(1);
        let bounds = Bounds {
            head_bytes: 0,
            header_timeout: second,
            idle_timeout: second,
            answers: Pace::default(),
            moment: second,
        };
        Terms { connections, bounds, entrance: Entrance::default() }
    }

    #[test]
    fn a_room_is_empty_once_nobody_can_come_in_any_more() {
        let room = room(1);
        let is_empty = || room.empty().now_or_never().is_some();
        assert!(is_empty());
        let listening = room.listen();
        assert!(!is_empty(), "a connection may be in its queue");
        let place = room.take();
        drop(listening);
        assert!(!is_empty(), "a connection is open");
        drop(place);
        assert!(is_empty());
    }

    #[test]
    fn a_bound_that_changes_cuts_nobody_off() {
        let room = room(2);
        let is_served = |place: Option<Place>| place.is_some_and(|place| !place.surplus);
        let held = [room.take(), room.take()];
        assert!(!is_served(room.take()));
        room.adopt(terms(3));
        assert!(is_served(room.take()));
        room.adopt(terms(1));
        let [first, second] = held;
        drop(first);
        assert!(!is_served(room.take()), "one is still open");
        drop(second);
        assert!(is_served(room.take()));
    }
}

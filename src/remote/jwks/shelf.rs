//! One issuer's shelf: the keys that requests read, and how their fetching stands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use super::fault::KeysError;
use super::source::{KeySource, Origin};
use crate::policy::jwk::JwkSet;
use crate::policy::reject::Reject;
use crate::remote::clock::{Clock, Monotonic};

/// One issuer's keys, and how their fetching stands.
pub(super) struct Shelf {
    pub(super) source: KeySource,
    kept: ArcSwapOption<Kept>,
    progress: watch::Sender<Progress>,
    wanted: Notify,
}

/// A set, and how old it is.
struct Kept {
    keys: Arc<JwkSet>,
    from: Provenance,
    /// When it was put here.
    at: Monotonic,
    /// How old it was then: nothing, but for a snapshot.
    age: Duration,
}

/// Whence a set came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// From the issuer, by this process.
    Issuer,
    /// From the operator's own file.
    File,
    /// From the snapshot of an earlier process.
    Snapshot,
}

/// What is held of an issuer's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whence they came.
    pub from: Provenance,
    /// The time since they were fetched from there, also by an earlier process.
    pub age: Duration,
    /// How many can be used; 0 once they are older than `max_stale`.
    pub keys: usize,
}

#[derive(Debug, Default)]
struct Progress {
    running: bool,
    /// How many fetches have ended.
    count: u64,
    last: Option<Ended>,
}

/// The end of a fetch.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) at: Monotonic,
    /// Why it failed, where it did.
    pub(super) fault: Option<Arc<KeysError>>,
}

impl Shelf {
    pub(super) fn new(source: KeySource) -> Self {
        Self {
            source,
            kept: ArcSwapOption::empty(),
            progress: watch::Sender::new(Progress::default()),
            wanted: Notify::new(),
        }
    }

    /// Puts a set that was just fetched in force.
    pub(super) fn replace(&self, keys: JwkSet, now: Monotonic) {
        let from = match self.source.origin {
            Origin::Discovery(_) | Origin::Uri(_) => Provenance::Issuer,
            Origin::File(_) => Provenance::File,
        };
        self.keep(Kept { keys: Arc::new(keys), from, at: now, age: Duration::ZERO });
    }

    /// Puts a set in force that an earlier process fetched `age` ago.
    pub(super) fn restore(&self, keys: JwkSet, age: Duration, now: Monotonic) {
        self.keep(Kept { keys: Arc::new(keys), from: Provenance::Snapshot, at: now, age });
    }

    /// Begins with what another one holds, as old as it is.
    pub(super) fn take_over(&self, other: &Self) {
        self.kept.store(other.kept.load_full());
    }

    fn keep(&self, kept: Kept) {
        self.kept.store(Some(Arc::new(kept)));
    }

    pub(super) fn current(&self, now: Monotonic) -> Option<Arc<JwkSet>> {
        let kept = self.kept.load();
        let kept = kept.as_ref().filter(|kept| kept.age(now) < self.source.max_stale)?;
        Some(Arc::clone(&kept.keys))
    }

    pub(super) fn seen(&self) -> bool {
        self.kept.load().is_some()
    }

    pub(super) fn standing(&self, now: Monotonic) -> Option<Standing> {
        let kept = self.kept.load();
        let kept = kept.as_ref()?;
        let age = kept.age(now);
        let keys = if age < self.source.max_stale { kept.keys.len() } else { 0 };
        Some(Standing { from: kept.from, age, keys })
    }

    /// Says that a fetch has begun.
    pub(super) fn begin(&self) {
        self.progress.send_modify(|progress| progress.running = true);
    }

    /// Says that it has ended, and wakes who waits for that: what it brought must be in force by now.
    pub(super) fn end(&self, ended: Ended) {
        self.progress.send_modify(|progress| {
            progress.running = false;
            progress.count += 1;
            progress.last = Some(ended);
        });
    }

    /// The end of the fetch that answers for a token with an unknown `kid`: the last one, where it is too recent for
    /// another; else that of the fetch in progress, which is begun where there is none.
    pub(super) async fn end_of_fetch(&self, now: Monotonic) -> Option<Ended> {
        let mut progress = self.progress.subscribe();
        // One look at the progress decides: were there two, a fetch could end between them, and nobody would come to
        // end the wait.
        let count = {
            let progress = progress.borrow_and_update();
            if let Some(ended) = progress.cooling(now, self.source.cooldown) {
                return Some(ended.clone());
            }
            if !progress.running {
                self.wanted.notify_one();
            }
            progress.count
        };
        progress.wait_for(|progress| progress.count > count).await.ok()?.last.clone()
    }

    /// Returns when a request wants a fetch, and may have one at that moment: it may have decided on the strength of what
    /// was true before the last fetch ended.
    pub(super) async fn wanted(&self, clock: &Clock) {
        loop {
            self.wanted.notified().await;
            if self.progress.borrow().cooling(clock.now(), self.source.cooldown).is_none() {
                return;
            }
        }
    }

    pub(super) fn unavailable(&self, why: String, again: Duration) -> Reject {
        // Rounded up: who waits that long must not come too early.
        let retry_after = again.as_secs() + u64::from(again.subsec_nanos() > 0);
        Reject::KeysUnavailable { issuer: self.source.name.clone(), why, retry_after: retry_after.max(1) }
    }
}

impl Kept {
    fn age(&self, now: Monotonic) -> Duration {
        now.since(self.at).saturating_add(self.age)
    }
}

impl Progress {
    /// The end of the last fetch, where it is too recent for another one.
    fn cooling(&self, now: Monotonic, cooldown: Duration) -> Option<&Ended> {
        self.last.as_ref().filter(|ended| !self.running && now < ended.at.after(cooldown))
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("source", &self.source).field("progress", &self.progress).finish_non_exhaustive()
    }
}

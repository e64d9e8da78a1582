//! How many requests an upstream has at once, over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Lets a bounded number of requests in; as many more may wait, for a bounded time. Clones are one gate.
#[derive(Debug, Clone)]
pub struct Gate {
    bound: usize,
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// A place at the upstream, for as long as it lives.
pub(super) struct Pass {
    _place: OwnedSemaphorePermit,
}

/// Nobody else is let in, and nobody else may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Gate {
    /// A gate for so many requests at once; at least one.
    pub fn new(bound: usize) -> Self {
        let bound = bound.clamp(1, Semaphore::MAX_PERMITS);
        Self { bound, places: Arc::new(Semaphore::new(bound)), waiting: Arc::default() }
    }

    /// How many requests it lets in at once.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Takes a place, or waits for one so long.
    pub(super) async fn enter(&self, at_most: Duration) -> Result<Pass, Full> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Pass { _place: place });
        }
        let _waiting = Waiting::begin(self)?;
        let place = timeout(at_most, Arc::clone(&self.places).acquire_owned()).await;
        place.ok().and_then(Result::ok).map(|place| Pass { _place: place }).ok_or(Full)
    }
}

/// Two gates are equal where they let in as many; which requests they have now does not count.
impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        self.bound == other.bound
    }
}

impl Eq for Gate {}

/// A place in the queue.
struct Waiting<'g>(&'g Gate);

impl<'g> Waiting<'g> {
    fn begin(gate: &'g Gate) -> Result<Self, Full> {
        let before = gate.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(gate);
        if before < gate.bound { Ok(waiting) } else { Err(Full) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

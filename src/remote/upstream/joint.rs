//! Work whose outcome several wait for: it is done once, and goes on where whoever began it is given up.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// One piece of work at a time. It runs on the runtime of whoever begins it.
pub(super) struct Joint<T>(Mutex<Option<UnderWay<T>>>);

/// None, then the outcome.
type UnderWay<T> = watch::Receiver<Option<T>>;

impl<T> Default for Joint<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Joint<T> {
    /// The outcome of the work that is under way, or of this where there is none; none where it was broken off.
    pub(super) async fn join<F>(&self, work: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut done = self.under_way(work);
        done.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn under_way<F>(&self, work: impl FnOnce() -> F) -> UnderWay<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever worked for an earlier one is gone.
        if let Some(done) = current.as_ref().filter(|done| done.has_changed().is_ok()) {
            return done.clone();
        }
        let (tell, done) = watch::channel(None);
        *current = Some(done.clone());
        let work = work();
        tokio::spawn(async move { tell.send_replace(Some(work.await)) });
        done
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_for_all_who_wait_and_anew_for_those_who_come_later() {
        let joint = Joint::default();
        let (open, gate) = watch::channel(false);
        let first = || async move {
            let _ = gate.clone().wait_for(|open| *open).await;
            "first"
        };
        assert_eq!(joint.join(first).now_or_never(), None, "who began it gives up");
        let waiting = joint.join(pending);
        assert_eq!(open.send(true), Ok(()));
        assert_eq!(waiting.await, Some("first"));
        assert_eq!(joint.join(|| async { "second" }).await, Some("second"));
    }
}

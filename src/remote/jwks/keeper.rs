//! One issuer's shelf, which requests read, and its keeper, the one task that fills it.
//!
//! Only the keeper fetches, and it does one thing at a time: that is what joins the fetches of all requests into one. It
//! decides about the cooldown too, after the request did, so that a request which decided late cannot start a second one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use super::source::{KeySource, KeysError};
use super::{FetchEvent, Fetching, PATIENCE};
use crate::policy::jwk::JwkSet;
use crate::policy::reject::Reject;
use crate::remote::clock::Monotonic;
use crate::telemetry::labels::{FetchResult, FetchTrigger};

/// The wait after the first of several failures.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// One issuer's keys, and how their fetching stands.
pub(super) struct Shelf {
    pub(super) source: KeySource,
    kept: ArcSwapOption<Kept>,
    progress: watch::Sender<Progress>,
    wanted: Notify,
}

/// A set, and when it was fetched.
struct Kept {
    keys: Arc<JwkSet>,
    fetched: Monotonic,
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

    /// Begins with the set of another.
    pub(super) fn take_over(&self, other: &Self) {
        self.kept.store(other.kept.load_full());
    }

    pub(super) fn current(&self, now: Monotonic) -> Option<Arc<JwkSet>> {
        let kept = self.kept.load();
        let kept = kept.as_ref().filter(|kept| now < kept.fetched.after(self.source.max_stale))?;
        Some(Arc::clone(&kept.keys))
    }

    pub(super) fn seen(&self) -> bool {
        self.kept.load().is_some()
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

    pub(super) fn unavailable(&self, why: String, again: Duration) -> Reject {
        // Rounded up: who waits that long must not come too early.
        let retry_after = again.as_secs() + u64::from(again.subsec_nanos() > 0);
        Reject::KeysUnavailable { issuer: self.source.name.clone(), why, retry_after: retry_after.max(1) }
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

/// Fetches one issuer's keys, for as long as it runs.
pub(super) struct Keeper {
    shelf: Arc<Shelf>,
    fetching: Fetching,
    /// How many fetches have failed since the last good one.
    failures: u32,
    /// What the operator was told last.
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Good,
    Failing(FetchResult),
    TooOld,
}

impl Keeper {
    pub(super) fn new(shelf: Arc<Shelf>, fetching: Fetching) -> Self {
        Self { shelf, fetching, failures: 0, told: Told::Nothing }
    }

    pub(super) async fn run(mut self) {
        let mut trigger = FetchTrigger::Start;
        loop {
            let ended = self.fetch(trigger).await;
            let next = ended.after(early(self.interval(ended)));
            trigger = self.wait(next).await;
        }
    }

    /// Waits for the next reason to fetch.
    async fn wait(&self, next: Monotonic) -> FetchTrigger {
        let due = if self.shelf.seen() { FetchTrigger::Refresh } else { FetchTrigger::Start };
        loop {
            tokio::select! {
                () = self.fetching.clock.sleep_until(next) => return due,
                () = self.shelf.wanted.notified() => {
                    // Somebody may have asked on the strength of what was true before the last fetch ended.
                    let progress = self.shelf.progress.borrow();
                    if progress.cooling(self.fetching.clock.now(), self.shelf.source.cooldown).is_none() {
                        return FetchTrigger::UnknownKid;
                    }
                }
            }
        }
    }

    /// How long until the next fetch that nobody asks for.
    fn interval(&self, now: Monotonic) -> Duration {
        let source = &self.shelf.source;
        if self.failures == 0 {
            return source.refresh;
        }
        // While there is no set every request is refused: the wait must not grow as long as it may when one serves.
        let serving = self.shelf.current(now).is_some();
        let longest = if serving { source.refresh } else { source.refresh.min(PATIENCE) };
        FIRST_RETRY.saturating_mul(2u32.saturating_pow(self.failures - 1)).min(longest)
    }

    /// Fetches once, puts the result in force and tells of it. Returns the time of its end.
    async fn fetch(&mut self, trigger: FetchTrigger) -> Monotonic {
        let shelf = Arc::clone(&self.shelf);
        let Fetching { clock, client, observer, .. } = self.fetching.clone();
        shelf.progress.send_modify(|progress| progress.running = true);
        let deadline = clock.now().after(PATIENCE);
        let fetched = shelf.source.fetch(&client, &clock, deadline).await;
        let at = clock.now();
        let fault = match fetched {
            Ok(keys) => {
                self.failures = 0;
                self.tell_success(&keys);
                shelf.kept.store(Some(Arc::new(Kept { keys: Arc::new(keys), fetched: at })));
                None
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.tell_failure(&error, at);
                Some(Arc::new(error))
            }
        };
        let event = FetchEvent {
            issuer: shelf.source.name.clone(),
            trigger,
            result: fault.as_ref().map_or(FetchResult::Success, |error| error.result()),
            keys: shelf.current(at).map_or(0, |keys| keys.len()),
            at: clock.wall(),
        };
        // The set is in place before those who wait for it wake.
        shelf.progress.send_modify(|progress| {
            progress.running = false;
            progress.count += 1;
            progress.last = Some(Ended { at, fault });
        });
        observer(event);
        at
    }

    fn tell_success(&mut self, keys: &JwkSet) {
        let source = &self.shelf.source;
        source.report_unusable(keys);
        match self.told {
            Told::Good => {}
            Told::Nothing => tracing::info!(issuer = %source.name, keys = keys.len(), "the issuer's keys are here"),
            Told::Failing(_) | Told::TooOld => {
                tracing::info!(issuer = %source.name, keys = keys.len(), "the issuer's keys can be fetched again");
            }
        }
        self.told = Told::Good;
    }

    /// Once for each change of what is wrong, not for each try.
    fn tell_failure(&mut self, error: &KeysError, now: Monotonic) {
        let source = &self.shelf.source;
        let serving = self.shelf.current(now).is_some();
        let news = if self.shelf.seen() && !serving { Told::TooOld } else { Told::Failing(error.result()) };
        if self.told == news {
            return;
        }
        self.told = news;
        let state = if serving {
            "the last good set serves on"
        } else if self.shelf.seen() {
            "the last good set is older than `max_stale`: tokens are refused with 503"
        } else {
            "there are no keys yet: tokens are refused with 503"
        };
        tracing::warn!(issuer = %source.name, cause = %error, help = error.help(), "key set not fetched; {state}");
    }
}

/// At random up to a tenth less, so that gateways that were started together do not ask together.
fn early(span: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness we ask with the others, which is no reason not to ask.
    let _ = aws_lc_rs::rand::fill(&mut random);
    span - span.mul_f64(f64::from(random[0]) / 2560.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_is_at_most_a_tenth() {
        let span = Duration::from_secs(300);
        for _ in 0..1000 {
            assert!((Duration::from_secs(270)..=span).contains(&early(span)));
        }
    }
}

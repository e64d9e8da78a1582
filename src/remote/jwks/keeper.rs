//! One issuer's keeper: the one task that fills its shelf.
//!
//! Only the keeper fetches, and it does one thing at a time: that is what joins the fetches of all requests into one. It
//! decides about the cooldown too, after the request did, so that a request which decided late cannot start a second one.

use std::sync::Arc;
use std::time::Duration;

use super::fault::KeysError;
use super::shelf::{Ended, Shelf};
use super::snapshot::{self, Writer};
use super::source::Fetched;
use super::{Event, FetchEvent, Fetching, PATIENCE};
use crate::policy::jwk::JwkSet;
use crate::remote::clock::Monotonic;
use crate::telemetry::labels::{FetchResult, FetchTrigger};

/// The wait after the first of several failures.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The least time after which a set is fetched again because its server calls it no longer fresh.
const LEAST_FRESHNESS: Duration = Duration::from_secs(60);

/// Fetches one issuer's keys, for as long as it runs.
pub(super) struct Keeper {
    pub(super) shelf: Arc<Shelf>,
    pub(super) fetching: Fetching,
    /// Where the keys are kept for the next start, if anywhere.
    pub(super) writer: Option<Writer>,
}

/// How it went so far.
#[derive(Debug)]
struct Course {
    /// How many fetches have failed since the last good one.
    failures: u32,
    /// For how long the server of the last good set called that fresh, where it said so.
    fresh_for: Option<Duration>,
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
    pub(super) async fn run(self) {
        let mut course = Course { failures: 0, fresh_for: None, told: Told::Nothing };
        let mut trigger = FetchTrigger::Start;
        loop {
            let ended = self.fetch(trigger, &mut course).await;
            let next = ended.after(early(self.interval(&course, ended)));
            trigger = self.wait(next).await;
        }
    }

    /// Waits for the next reason to fetch.
    async fn wait(&self, next: Monotonic) -> FetchTrigger {
        let due = if self.shelf.seen() { FetchTrigger::Refresh } else { FetchTrigger::Start };
        tokio::select! {
            () = self.fetching.clock.sleep_until(next) => due,
            () = self.shelf.wanted(&self.fetching.clock) => FetchTrigger::UnknownKid,
        }
    }

    /// How long until the next fetch that nobody asks for.
    fn interval(&self, course: &Course, now: Monotonic) -> Duration {
        let source = &self.shelf.source;
        if course.failures == 0 {
            let least = LEAST_FRESHNESS.max(source.cooldown);
            return course.fresh_for.map_or(source.refresh, |fresh| fresh.max(least).min(source.refresh));
        }
        // While there is no set every request is refused: the wait must not grow as long as it may when one serves.
        let serving = self.shelf.current(now).is_some();
        let longest = if serving { source.refresh } else { source.refresh.min(PATIENCE) };
        FIRST_RETRY.saturating_mul(2u32.saturating_pow(course.failures - 1)).min(longest)
    }

    /// Fetches once, puts the result in force and tells of it. Returns the time of its end.
    async fn fetch(&self, trigger: FetchTrigger, course: &mut Course) -> Monotonic {
        let (shelf, Fetching { clock, client, observer, .. }) = (&self.shelf, &self.fetching);
        shelf.begin();
        let begun = clock.now();
        let fetched = shelf.source.fetch(client, clock, begun.after(PATIENCE)).await;
        let at = clock.now();
        let fault = match fetched {
            Ok(Fetched { keys, fresh_for, .. }) => {
                self.tell_success(&keys, course);
                *course = Course { failures: 0, fresh_for, ..*course };
                if let Some(writer) = &self.writer {
                    writer.put(snapshot::document(&shelf.source, &keys, clock.wall()));
                }
                shelf.replace(keys, at);
                None
            }
            Err(error) => {
                course.failures = course.failures.saturating_add(1);
                self.tell_failure(&error, course, at);
                Some(Arc::new(error))
            }
        };
        let event = FetchEvent {
            issuer: shelf.source.name.clone(),
            trigger,
            result: fault.as_ref().map_or(FetchResult::Success, |error| error.result()),
            keys: shelf.current(at).map_or(0, |keys| keys.len()),
            at: clock.wall(),
            took: at.since(begun),
        };
        shelf.end(Ended { at, fault });
        observer(Event::Fetched(event));
        at
    }

    fn tell_success(&self, keys: &JwkSet, course: &mut Course) {
        let source = &self.shelf.source;
        source.report_unusable(keys);
        match course.told {
            Told::Good => {}
            Told::Nothing => tracing::info!(issuer = %source.name, keys = keys.len(), "the issuer's keys are here"),
            Told::Failing(_) | Told::TooOld => {
                tracing::info!(issuer = %source.name, keys = keys.len(), "the issuer's keys can be fetched again");
            }
        }
        course.told = Told::Good;
    }

    /// Once for each change of what is wrong, not for each try.
    fn tell_failure(&self, error: &KeysError, course: &mut Course, now: Monotonic) {
        let source = &self.shelf.source;
        let serving = self.shelf.current(now).is_some();
        let news = if self.shelf.seen() && !serving { Told::TooOld } else { Told::Failing(error.result()) };
        if course.told == news {
            return;
        }
        course.told = news;
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

//! Whether a worker keeps up with what it is asked.
//!
//! 1. What a worker has to do waits in one queue. A request's beginning puts a probe at the end of it: as long as the probe
//!    waits, so long waits a request that comes then. Where no request comes, nothing is probed.
//! 2. A worker is behind once every probe of an interval has waited too long: the least wait tells a queue that stands from
//!    a burst (Controlled Delay, RFC 8289). A suspended machine makes one probe late, and no more.
//! 3. While it is behind, a request that has waited a little is let in only with a proven token, because signatures are
//!    what costs most; and one that has waited longer not at all. How long they have waited is told by the probe that is
//!    under way: so as much as there is time for is served without delay, and the rest is told at once. Both limits are
//!    short, because what is under way at once is in nobody's cache: a thousand requests cost twice what they cost one by
//!    one.
//! 4. To refuse costs time, too, and clients that ask again at once could take all of it. Who was refused has his next turn
//!    in so much time that those turns take a small part of the worker's; what he asks before waits for it, at most as long
//!    as `Retry-After` says.
//! 5. The worker has caught up once nobody had to be refused for an interval, or many probes in a row hardly waited. One that
//!    was stopped for a moment refuses some, but does not stay behind for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::policy::reject::Reject;

/// A worker keeps up as long as something waited no longer than this.
const TOLERABLE: Duration = Duration::from_millis(50);
/// A worker is behind after so much time in which everything waited longer, and has caught up after so much in which nobody
/// was refused.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long a request may have waited that needs a signature checked, while the worker is behind.
const UNPROVEN_WAIT: Duration = Duration::from_millis(1);
/// How long any request may have waited, while the worker is behind.
const LONGEST_WAIT: Duration = Duration::from_millis(2);
/// A worker has caught up, too, after so many probes in a row that waited no longer than `UNPROVEN_WAIT`.
const PROMPT_IN_A_ROW: u32 = 32;
/// How seldom a worker that keeps up is probed.
const SELDOM: Duration = Duration::from_millis(5);
/// The turns of those who were refused come one after the other in this time; a refusal takes about a tenth of it.
const TURN: Duration = Duration::from_micros(400);
/// The longest that anybody waits for his turn: what `Retry-After` says.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An extension of an answer: how long what its client asks next is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause(pub Duration);

/// The load of one worker. Clones are of the same worker.
#[derive(Clone, Default)]
pub(super) struct Load(Arc<Mutex<Queue>>);

impl Load {
    /// Refuses a request that begins where there is no time for any; must be called on the worker's runtime.
    ///
    /// # Errors
    ///
    /// `overloaded`.
    pub(super) fn admits_request(&self, now: Instant) -> Result<(), Reject> {
        let mut queue = self.queue();
        if queue.wants_probe(now) {
            queue.probe = Some(now);
            let load = self.clone();
            tokio::spawn(async move { load.queue().probed(Instant::now()) });
        }
        queue.admits(LONGEST_WAIT, now)
    }

    /// Refuses where there is no time to check a signature.
    ///
    /// # Errors
    ///
    /// `overloaded`.
    pub(super) fn admits_signature(&self, now: Instant) -> Result<(), Reject> {
        self.queue().admits(UNPROVEN_WAIT, now)
    }

    /// How long who is refused now has to pause, where the worker is behind.
    pub(super) fn pause(&self, now: Instant) -> Option<Pause> {
        self.queue().pause(now)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a worker's queue.
#[derive(Default)]
struct Queue {
    /// Since when a probe waits.
    probe: Option<Instant>,
    /// When the last one came out.
    probed: Option<Instant>,
    /// Since when every one was late.
    late: Option<Instant>,
    /// When the worker came to be behind, or last refused somebody since.
    behind: Option<Instant>,
    /// How many of the last probes hardly waited.
    prompt: u32,
    /// The last turn that was given to somebody who was refused.
    turn: Option<Instant>,
}

impl Queue {
    fn wants_probe(&self, now: Instant) -> bool {
        let due = |probed| self.is_behind(now) || now.saturating_duration_since(probed) >= SELDOM;
        self.probe.is_none() && self.probed.is_none_or(due)
    }

    /// A probe comes out.
    fn probed(&mut self, now: Instant) {
        let waited = self.probe.take().map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        self.probed = Some(now);
        self.late = (waited > TOLERABLE).then(|| self.late.unwrap_or(now));
        if self.late.is_some_and(|since| now.saturating_duration_since(since) >= INTERVAL) {
            self.behind = Some(now);
        }
        self.prompt = if waited <= UNPROVEN_WAIT { self.prompt.saturating_add(1) } else { 0 };
        if self.prompt >= PROMPT_IN_A_ROW {
            self.behind = None;
        }
    }

    fn is_behind(&self, now: Instant) -> bool {
        self.behind.is_some_and(|since| now.saturating_duration_since(since) < INTERVAL)
    }

    /// Refuses, while the worker is behind, what has waited longer than the limit.
    fn admits(&mut self, limit: Duration, now: Instant) -> Result<(), Reject> {
        let waited = self.probe.map(|probe| now.saturating_duration_since(probe)).unwrap_or_default();
        if waited <= limit || !self.is_behind(now) {
            return Ok(());
        }
        self.behind = Some(now);
        Err(Reject::Overloaded { what: "the worker is behind with its work" })
    }

    fn pause(&mut self, now: Instant) -> Option<Pause> {
        if !self.is_behind(now) {
            return None;
        }
        let turn = self.turn.unwrap_or(now).max(now) + TURN;
        let turn = turn.min(now + LONGEST_PAUSE);
        self.turn = Some(turn);
        Some(Pause(turn.saturating_duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A worker whose probes wait so long, in milliseconds, one after the other.
    fn probed(waits: &[u32]) -> (Queue, Instant) {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        for wait in waits {
            // Each is due when it begins.
            now += SELDOM;
            assert!(queue.wants_probe(now));
            queue.probe = Some(now);
            now += *wait * MS;
            queue.probed(now);
        }
        (queue, now)
    }

    #[test]
    fn a_worker_is_behind_after_a_while_in_which_every_probe_was_late() {
        for (waits, expected) in [
            (&[][..], false),
            (&[86_400_000], false),
            (&[51, 51], false),
            (&[51, 51, 50, 51, 51], false),
            (&[50; 1000], false),
            (&[51, 51, 51], true),
            (&[1000, 1000], true),
        ] {
            let (queue, now) = probed(waits);
            assert_eq!(queue.is_behind(now), expected, "{waits:?}");
        }
    }

    #[test]
    fn a_worker_that_is_behind_refuses_what_has_waited_and_one_that_keeps_up_nothing() {
        for (waits, waited, [request, signature]) in [
            (&[][..], 86_400_000, [true, true]),
            (&[51, 51], 1000, [true, true]),
            (&[51, 51, 51], 0, [true, true]),
            (&[51, 51, 51], 1, [true, true]),
            (&[51, 51, 51], 2, [true, false]),
            (&[51, 51, 51], 3, [false, false]),
        ] {
            let (mut queue, now) = probed(waits);
            queue.probe = Some(now);
            let mut admits = |limit| queue.admits(limit, now + waited * MS).is_ok();
            assert_eq!([admits(LONGEST_WAIT), admits(UNPROVEN_WAIT)], [request, signature], "{waits:?}, {waited} ms");
        }
    }

    #[test]
    fn it_has_caught_up_once_nobody_was_refused_for_an_interval() {
        let (mut queue, begun) = probed(&[51; 3]);
        let mut after = |time: Duration, waited: Duration| {
            queue.probe = Some(begun + time - waited);
            let admits = queue.admits(LONGEST_WAIT, begun + time).is_ok();
            queue.probed(begun + time);
            (admits, queue.is_behind(begun + time))
        };
        assert_eq!(after(INTERVAL - MS, 3 * MS), (false, true));
        assert_eq!(after(INTERVAL, 2 * MS), (true, true), "somebody was refused a millisecond ago");
        assert_eq!(after(2 * INTERVAL - 2 * MS, MS), (true, true));
        assert_eq!(after(2 * INTERVAL - MS, MS), (true, false));
        assert_eq!(after(30 * INTERVAL, 10 * INTERVAL), (true, false), "one pause later");
    }

    #[test]
    fn it_has_caught_up_once_many_probes_in_a_row_hardly_waited() {
        let prompt = |probes: usize| vec![1; probes];
        for (waits, expected) in [
            (prompt(31), true),
            (prompt(32), false),
            ([prompt(31), vec![2], prompt(31)].concat(), true),
            ([prompt(31), vec![2], prompt(32)].concat(), false),
        ] {
            let now = Instant::now();
            let mut queue = Queue { behind: Some(now), ..Queue::default() };
            for wait in &waits {
                // All begin at once, so that no interval passes meanwhile.
                queue.probe = Some(now);
                queue.probed(now + *wait * MS);
            }
            assert_eq!(queue.is_behind(now), expected, "{waits:?}");
        }
    }

    #[test]
    fn who_is_refused_has_turns_one_after_the_other() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert_eq!(queue.pause(now), None, "the worker keeps up");
        let mut pauses = |at: Duration| {
            queue.behind = Some(now + at);
            queue.pause(now + at).unwrap().0
        };
        assert_eq!([Duration::ZERO; 3].map(&mut pauses), [TURN, 2 * TURN, 3 * TURN]);
        assert_eq!(pauses(2 * TURN), 2 * TURN);
        assert_eq!(pauses(Duration::from_secs(9)), TURN);
        for _ in 0..20_000 {
            pauses(Duration::from_secs(9));
        }
        assert_eq!(pauses(Duration::from_secs(9)), LONGEST_PAUSE);
    }

    #[test]
    fn a_worker_that_keeps_up_is_probed_seldom() {
        let now = Instant::now();
        let mut queue = Queue { probe: Some(now), ..Queue::default() };
        assert!(!queue.wants_probe(now + SELDOM), "one at a time");
        queue.probed(now);
        assert!(!queue.wants_probe(now + SELDOM / 2));
        assert!(queue.wants_probe(now + SELDOM));
        queue.behind = Some(now);
        assert!(queue.wants_probe(now + MS));
    }

    /// On a runtime's own queue: what waits behind other work is found to have waited.
    #[tokio::test]
    async fn a_probe_waits_as_long_as_the_work_before_it_takes() {
        let load = Load::default();
        let begun = Instant::now();
        // From then on it is judged by instants of our own: this thread may be held up itself.
        let behind = loop {
            if let Some(behind) = load.queue().behind {
                break behind;
            }
            assert!(begun.elapsed() < 1000 * INTERVAL, "never behind");
            assert!(load.admits_request(Instant::now()).is_ok());
            // The rest of the queue: it blocks this thread, as work does.
            std::thread::sleep(TOLERABLE + MS);
            tokio::task::yield_now().await;
        };
        assert!(begun.elapsed() >= INTERVAL);
        assert!(load.admits_request(behind).is_ok(), "nothing waits before it");
        let reject = load.admits_request(behind + LONGEST_WAIT + MS).unwrap_err();
        assert_eq!(reject.code().facts().name, "overloaded");
        tokio::task::yield_now().await;
        assert!(load.admits_request(Instant::now()).is_ok(), "the queue was empty");
    }
}

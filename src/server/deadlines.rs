//! The deadlines of one connection, held by one timer.
//!
//! The timer is re-armed only when it fires or when a nearer limit appears, so a request costs no timer. It fires at least
//! as often as the shortest limit is long; what begins in between therefore never ends before it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::beat::{Beat, Late};
use super::connection::{Bounds, Site};
use crate::telemetry::labels::ConnectionFault;

/// How long a connection stays as it is after a request, so that the next one finds everything in place.
const ATTENTIVE: Duration = Duration::from_millis(500);

/// The deadlines of one connection.
pub(super) struct Deadlines {
    timer: Pin<Box<Sleep>>,
    beat: Beat,
    bounds: Bounds,
    site: Arc<Site>,
}

/// Why something was not awaited to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// A limit was passed.
    Late(Late),
    /// Nothing has been going on for a while.
    Quiet,
}

impl Deadlines {
    /// For a connection that has just been opened.
    pub(super) fn new(beat: Beat, bounds: Bounds, site: Arc<Site>) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + tick(bounds)));
        Self { timer, beat, bounds, site }
    }

    /// Lets the connection be idle for no longer than this.
    pub(super) fn idle_at_most(&mut self, limit: Duration) {
        self.bounds.idle_timeout = self.bounds.idle_timeout.min(limit);
    }

    /// Awaits `future`, unless a limit is passed before; also not beyond a while of quiet, where that is asked for.
    pub(super) async fn within<T: Future>(
        &mut self,
        mut future: Pin<&mut T>,
        until_quiet: bool,
    ) -> Result<T::Output, Stopped> {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                let limit = self.beat.limit(self.bounds, cx.waker());
                if let Some((at, _)) = limit.filter(|(at, _)| *at < self.timer.deadline()) {
                    self.timer.as_mut().reset(at);
                }
                if self.timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let now = Instant::now();
                // Asked again: on HTTP/2 another task may have made progress meanwhile.
                let limit = self.beat.limit(self.bounds, cx.waker());
                match limit.filter(|(at, _)| *at <= now) {
                    // It ends by itself now, and tells why it had to.
                    Some((_, Late::Linger)) => self.beat.stop_lingering(),
                    Some((_, late)) => return Poll::Ready(Err(Stopped::Late(late))),
                    None if until_quiet && self.is_quiet(now) => return Poll::Ready(Err(Stopped::Quiet)),
                    None => self.reset_stalled(now),
                }
                // No limit that begins later ends earlier than this.
                let next = now + tick(self.bounds);
                self.timer.as_mut().reset(limit.map_or(next, |(at, _)| at.min(next)));
            }
        })
        .await
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now.checked_sub(ATTENTIVE).is_some_and(|then| self.beat.is_quiet_since(then))
    }

    /// Ends the streams of HTTP/2 whose answers nobody takes; the others of the connection go on.
    fn reset_stalled(&self, now: Instant) {
        let Some(then) = now.checked_sub(self.bounds.answers.within) else { return };
        for _ in 0..self.beat.reset_stalled(then) {
            self.site.failed(ConnectionFault::AnswerTimeout);
        }
    }
}

/// The shortest limit.
fn tick(bounds: Bounds) -> Duration {
    bounds.header_timeout.min(bounds.idle_timeout).min(bounds.answers.within).min(ATTENTIVE)
}

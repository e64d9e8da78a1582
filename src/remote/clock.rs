//! Time, as everything outside `policy` asks for it.
//!
//! [`Clock::wall`] judges tokens; [`Clock::now`] measures cooldowns, ages and limits and never jumps; the two must not be
//! mixed, because an operator may set the wall clock at any moment. [`Clock::sleep_until`] waits on the monotonic one.
//! A clock is either the system's or one that is moved by hand, for tests: then all three move together, and sleepers of
//! every thread and runtime wake.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

/// Where the time comes from. Clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { start: Instant },
    Manual(watch::Receiver<Time>),
}

#[derive(Debug, Clone, Copy)]
struct Time {
    wall: SystemTime,
    now: Monotonic,
}

/// A moment of the monotonic clock: the time since the clock was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The moment `span` later; the last moment there is, where that is too far.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The time from `earlier` to this moment; nothing where `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A wait was longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System { start: Instant::now() })
    }

    /// A clock that stands still at `start` until its [`Hands`] are moved.
    pub fn manual(start: SystemTime) -> (Self, Hands) {
        let (sender, receiver) = watch::channel(Time { wall: start, now: Monotonic::default() });
        (Self(Source::Manual(receiver)), Hands(Arc::new(sender)))
    }

    /// The time of day.
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System { .. } => SystemTime::now(),
            Source::Manual(time) => time.borrow().wall,
        }
    }

    /// The time since the clock was made; never goes back.
    pub fn now(&self) -> Monotonic {
        match &self.0 {
            Source::System { start } => Monotonic(start.elapsed()),
            Source::Manual(time) => time.borrow().now,
        }
    }

    /// Returns when the monotonic clock shows `moment` or later.
    ///
    /// The system's clock needs a Tokio runtime with time. A clock whose [`Hands`] are gone never shows it.
    pub async fn sleep_until(&self, moment: Monotonic) {
        match &self.0 {
            Source::System { start } => match start.checked_add(moment.0) {
                Some(instant) => tokio::time::sleep_until(instant.into()).await,
                None => std::future::pending().await,
            },
            Source::Manual(time) => {
                if time.clone().wait_for(|time| time.now >= moment).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }

    /// The result of `work`, where it comes before `moment`; else `work` is dropped.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] at `moment`.
    pub async fn until<T>(&self, moment: Monotonic, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        tokio::select! {
            // A result that is there when the time is up still counts.
            biased;
            result = work => Ok(result),
            () = self.sleep_until(moment) => Err(Elapsed),
        }
    }
}

/// Moves a manual clock. Clones move the same one.
#[derive(Debug, Clone)]
pub struct Hands(Arc<watch::Sender<Time>>);

impl Hands {
    /// Moves the time of day and the monotonic time, and wakes whoever waited for it.
    pub fn advance(&self, span: Duration) {
        self.0.send_modify(|time| {
            time.wall += span;
            time.now = time.now.after(span);
        });
    }

    /// Sets the time of day alone, as an operator may: the monotonic time stays.
    pub fn set_wall(&self, wall: SystemTime) {
        self.0.send_modify(|time| time.wall = wall);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn hands_move_both_times_and_wall_alone() {
        let (clock, hands) = Clock::manual(START);
        let begun = clock.now();
        hands.advance(Duration::from_secs(90));
        assert_eq!(clock.now().since(begun), Duration::from_secs(90));
        assert_eq!(clock.wall(), START + Duration::from_secs(90));
        hands.set_wall(START);
        assert_eq!((clock.wall(), clock.now().since(begun)), (START, Duration::from_secs(90)));
    }

    #[test]
    fn moments_do_not_overflow() {
        let end = Monotonic::default().after(Duration::MAX).after(Duration::MAX);
        assert_eq!(end.since(Monotonic::default()), Duration::MAX);
        assert_eq!(Monotonic::default().since(end), Duration::ZERO);
    }

    /// Several runtimes on several threads wait for moments of one clock; each wakes at its own and not before.
    #[test]
    fn sleepers_of_every_runtime_wake() {
        let (clock, hands) = Clock::manual(START);
        let (woken, wakings) = std::sync::mpsc::channel();
        let sleepers: Vec<_> = (1..=3)
            .map(|second| {
                let (clock, woken) = (clock.clone(), woken.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(clock.sleep_until(Monotonic(Duration::from_secs(second))));
                    woken.send((second, clock.now())).unwrap();
                })
            })
            .collect();
        for second in 1..=3 {
            hands.advance(Duration::from_secs(1));
            let expected = (second, Monotonic(Duration::from_secs(second)));
            assert_eq!(wakings.recv_timeout(Duration::from_secs(30)).unwrap(), expected);
        }
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    }

    #[tokio::test]
    async fn a_result_at_the_last_moment_counts() {
        let (clock, hands) = Clock::manual(START);
        assert_eq!(clock.until(clock.now(), async { 1 }).await, Ok(1));
        let moment = clock.now().after(Duration::from_secs(5));
        hands.advance(Duration::from_secs(5));
        assert_eq!(clock.until(moment, std::future::pending::<()>()).await, Err(Elapsed));
    }

    #[tokio::test]
    async fn the_system_clock_runs() {
        let clock = Clock::system();
        let moment = clock.now().after(Duration::from_millis(1));
        clock.sleep_until(moment).await;
        assert!(clock.now() >= moment);
    }
}

//! What becomes of a request, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of one request that was sent, or was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The whole of a 200.
    Answered,
    /// The whole of an answer that says that nothing is served there, where that is one of two right answers.
    Elsewhere,
    /// GOAWAY says that it is as if it had never been sent (RFC 9113 section 6.8). The client's library was about to write it
    /// when it heard of the end, and wrote it after all.
    Untaken,
    /// The whole of any other answer.
    Refused,
    /// There was no connection for it to be had.
    Unconnected,
    /// The connection was reset before the answer's end.
    Reset,
    /// The connection ended within the answer.
    Truncated,
    /// The connection ended before the answer began.
    NoAnswer,
}

const ALL: [(Fate, &str); 8] = [
    (Fate::Answered, "200"),
    (Fate::Elsewhere, "404 of the other configuration"),
    (Fate::Untaken, "given back by GOAWAY"),
    (Fate::Refused, "refused"),
    (Fate::Unconnected, "without a connection"),
    (Fate::Reset, "reset"),
    (Fate::Truncated, "truncated"),
    (Fate::NoAnswer, "no answer"),
];

/// How many requests came to what.
#[derive(Default)]
pub struct Fates {
    sent: AtomicU64,
    counts: [AtomicU64; ALL.len()],
}

impl Fates {
    /// A request was sent, and this became of it.
    pub fn count(&self, fate: Fate) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.counts[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them together.
    pub fn sum(all: &[std::sync::Arc<Self>]) -> Self {
        let total = |count: &dyn Fn(&Self) -> u64| AtomicU64::new(all.iter().map(|fates| count(fates)).sum());
        Self {
            sent: total(&|fates| fates.sent.load(Ordering::Relaxed)),
            counts: std::array::from_fn(|at| total(&|fates| fates.counts[at].load(Ordering::Relaxed))),
        }
    }

    /// How many there were.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn of(&self, fate: Fate) -> u64 {
        self.counts[fate as usize].load(Ordering::Relaxed)
    }

    /// Whether none was lost, of so many that this says something.
    pub fn are_good(&self) -> bool {
        self.lost() == 0 && self.of(Fate::Answered) >= 100
    }

    /// How many were not answered as they should be.
    pub fn lost(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
            - [Fate::Answered, Fate::Elsewhere, Fate::Untaken].map(|fate| self.of(fate)).iter().sum::<u64>()
    }
}

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent", self.sent.load(Ordering::Relaxed))?;
        for (fate, name) in ALL {
            let count = self.of(fate);
            // What must not be is told also where it was not.
            if count > 0 || !matches!(fate, Fate::Answered | Fate::Elsewhere | Fate::Untaken) {
                write!(f, ", {count} {name}")?;
            }
        }
        Ok(())
    }
}

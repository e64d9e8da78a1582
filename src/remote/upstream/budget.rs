//! How many requests may be repeated: a share of those that were sent of late, so that an outage is not multiplied.

use std::sync::atomic::{AtomicU32, Ordering};

/// One repetition for every five requests, saved up for at most a hundred; ten from the start.
pub(super) struct Budget(AtomicU32);

/// What one repetition costs, where a request brings one.
const COST: u32 = 5;
const FIRST: u32 = 10 * COST;
const MOST: u32 = 100 * COST;

impl Budget {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(FIRST))
    }

    /// A request was sent.
    pub(super) fn earn(&self) {
        let more = |saved: u32| (saved < MOST).then_some(saved + 1);
        // At the most there is nothing to add.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes one repetition, where there is one.
    pub(super) fn spend(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(COST)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn repetitions_are_a_fifth_of_the_requests_beyond_a_floor_and_are_not_saved_up_without_end() {
        let budget = Budget::new();
        let spent = || std::iter::from_fn(|| budget.spend().then_some(())).count();
        assert_eq!(spent(), 10);
        (0..24).for_each(|_| budget.earn());
        assert_eq!(spent(), 4);
        budget.earn();
        assert_eq!(spent(), 1, "what is left over counts");
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!(spent(), 100);
    }
}

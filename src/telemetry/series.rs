//! Series that were looked up once and are then found without a lock.
//!
//! A family's own lookup hashes the label texts under a lock. Here each series stands in a chain under a small number;
//! a chain only ever grows, so that a reader follows pointers and needs neither a lock nor a retry. Chains are short:
//! one per route and method, one link per status that was really answered.

use std::sync::OnceLock;

/// Series under small numbers, in the order in which they first appeared.
pub(super) struct Chain<T> {
    first: OnceLock<Box<Link<T>>>,
}

struct Link<T> {
    key: u16,
    series: T,
    next: OnceLock<Box<Link<T>>>,
}

impl<T> Chain<T> {
    /// A chain without a link; it takes 16 bytes.
    pub(super) const fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    /// The series of `key`, which `make` makes when it is asked for the first time.
    pub(super) fn series(&self, key: u16, make: impl Fn() -> T) -> &T {
        let mut end = &self.first;
        loop {
            // Where two threads come to the end together, one of them appends and the other goes on from its link.
            let link = end.get_or_init(|| Box::new(Link { key, series: make(), next: OnceLock::new() }));
            if link.key == key {
                return &link.series;
            }
            end = &link.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_series_is_made_once_and_found_again() {
        let chain = Chain::new();
        let made = AtomicUsize::new(0);
        let series = |key: u16| {
            *chain.series(key, || {
                made.fetch_add(1, Ordering::Relaxed);
                key * 10
            })
        };
        assert_eq!([series(3), series(1), series(3), series(2), series(1)], [30, 10, 30, 20, 10]);
        assert_eq!(made.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn threads_that_append_together_share_the_links() {
        let chain = Chain::new();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for key in 0..100 {
                        let series = chain.series(key, || {
                            made.fetch_add(1, Ordering::Relaxed);
                            key
                        });
                        assert_eq!(*series, key);
                    }
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 100);
    }
}

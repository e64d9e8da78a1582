//! When an issuer that fails is left alone.

use std::time::Duration;

use super::clock::Monotonic;

/// How many calls must fail in a row before the issuer is left alone.
const PATIENT_FOR: u32 = 5;
/// For how long at first; twice as long after each further failure.
const FIRST: Duration = Duration::from_secs(1);
/// For how long at most, unless the issuer itself asks for more: it shall be found soon after it has come back.
pub(super) const LONGEST: Duration = Duration::from_secs(4);

/// Counts an issuer's failures in a row.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// No call before that.
    closed_until: Option<Monotonic>,
}

impl Breaker {
    /// Lets a call be made, or says how long not. While the issuer is left alone, one call at a time tries it.
    pub(super) fn admit(&mut self, now: Monotonic, timeout: Duration) -> Result<(), Duration> {
        match self.closed_until {
            Some(until) if now < until => Err(until.since(now)),
            Some(_) => {
                // This call tries it; the others wait for its end.
                self.closed_until = Some(now.after(timeout));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A call has ended: well, or badly and the issuer wants to be left alone for that long.
    pub(super) fn ended(&mut self, failed: Option<Duration>, now: Monotonic) {
        let Some(asked) = failed else {
            *self = Self::default();
            return;
        };
        self.failures = self.failures.saturating_add(1);
        let beyond = self.failures.checked_sub(PATIENT_FOR);
        let own = beyond.map(|beyond| FIRST.saturating_mul(2u32.saturating_pow(beyond)).min(LONGEST));
        let span = own.unwrap_or_default().max(asked);
        self.closed_until = (!span.is_zero()).then(|| now.after(span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn seconds(count: u64) -> Monotonic {
        Monotonic::default().after(Duration::from_secs(count))
    }

    #[test]
    fn an_issuer_that_fails_is_left_alone_and_tried_by_one() {
        let mut breaker = Breaker::default();
        for _ in 0..PATIENT_FOR {
            assert_eq!(breaker.admit(seconds(0), TIMEOUT), Ok(()));
            breaker.ended(Some(Duration::ZERO), seconds(0));
        }
        assert_eq!(breaker.admit(seconds(0), TIMEOUT), Err(Duration::from_secs(1)));
        assert_eq!(breaker.admit(seconds(1), TIMEOUT), Ok(()));
        assert_eq!(breaker.admit(seconds(1), TIMEOUT), Err(TIMEOUT), "one tries it");
        breaker.ended(Some(Duration::ZERO), seconds(2));
        assert_eq!(breaker.admit(seconds(2), TIMEOUT), Err(Duration::from_secs(2)));
        for _ in 0..40 {
            breaker.ended(Some(Duration::ZERO), seconds(10));
        }
        assert_eq!(breaker.admit(seconds(10), TIMEOUT), Err(LONGEST));
        assert_eq!(breaker.admit(seconds(14), TIMEOUT), Ok(()));
        breaker.ended(None, seconds(14));
        for _ in 1..PATIENT_FOR {
            breaker.ended(Some(Duration::ZERO), seconds(14));
        }
        assert_eq!(breaker.admit(seconds(14), TIMEOUT), Ok(()), "a good answer forgets the failures");
    }

    #[test]
    fn an_issuer_that_asks_to_be_left_alone_is() {
        let mut breaker = Breaker::default();
        breaker.ended(Some(Duration::from_secs(30)), seconds(0));
        assert_eq!(breaker.admit(seconds(29), TIMEOUT), Err(Duration::from_secs(1)));
        assert_eq!(breaker.admit(seconds(30), TIMEOUT), Ok(()));
    }
}

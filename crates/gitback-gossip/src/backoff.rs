//! How long to wait before something that failed is tried again.

use crate::millis::Millis;

/// A wait that doubles with each failure in a row, up to a cap.
///
/// Each wait is drawn evenly from the upper half of its span, by a number that the caller hands in, so that many who
/// failed together do not come back together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Millis,
    cap: Millis,
    failures: u32,
}

impl Backoff {
    /// The first wait is at most `base`, and none is longer than `cap`.
    #[must_use]
    pub const fn new(base: Millis, cap: Millis) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// Counts a failure and gives the wait after it. `random` is any number.
    pub fn fail(&mut self, random: u64) -> Millis {
        let doublings = self.failures.min(u64::BITS - 1);
        let span = self.base.times(1 << doublings).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let half = span.0 / 2;
        Millis((span.0 - half).saturating_add(random % half.saturating_add(1)))
    }

    /// Takes back all failures.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap_and_starts_again() {
        let mut backoff = Backoff::new(Millis(1_000), Millis(60_000));
        let longest: Vec<u64> = (0..8).map(|_| backoff.fail(u64::MAX - 1).0).collect();
        let full: Vec<u64> = vec![1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];
        for (wait, full) in longest.iter().zip(full) {
            assert!((full / 2..=full).contains(wait), "{wait} of {full}");
        }
        assert_eq!(backoff.failures(), 8);
        backoff.reset();
        assert!(backoff.fail(0) <= Millis(1_000));
    }

    #[test]
    fn never_overflows_and_never_rests_less_than_half() {
        let mut backoff = Backoff::new(Millis(u64::MAX / 2), Millis(u64::MAX));
        for random in [0, 1, u64::MAX / 2, u64::MAX].into_iter().cycle().take(200) {
            assert!(backoff.fail(random) >= Millis(u64::MAX / 4));
        }
        let mut none = Backoff::new(Millis(0), Millis(0));
        assert_eq!(none.fail(7), Millis(0));
    }
}

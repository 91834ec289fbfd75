//! Processor time, of all threads and processes that work at one thing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::{Bound, Reject};

/// What was taken so far, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Spent(AtomicU64);

impl Spent {
    /// Adds what was taken; returns what all of it comes to.
    pub(crate) fn add(&self, more: Duration) -> Duration {
        let more = u64::try_from(more.as_micros()).unwrap_or(u64::MAX);
        let before = self.0.fetch_add(more, Ordering::Relaxed);
        Duration::from_micros(before.saturating_add(more))
    }

    /// What is left of so many seconds, in begun ones.
    ///
    /// # Errors
    ///
    /// [`Reject::OverLimit`] when nothing is.
    pub(crate) fn left_of(&self, seconds: u64) -> Result<u64, Reject> {
        let spent = Duration::from_micros(self.0.load(Ordering::Relaxed));
        let left = Duration::from_secs(seconds).saturating_sub(spent);
        match left.as_secs() + u64::from(left.subsec_nanos() > 0) {
            0 => Err(Reject::OverLimit {
                bound: Bound::ProcessorTime,
                limit: seconds,
            }),
            left => Ok(left),
        }
    }
}

/// What this thread has taken of a processor since it began.
pub(crate) fn of_this_thread() -> Duration {
    let taken = clock_gettime(ClockId::ThreadCPUTime);
    taken.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_not_given_again() {
        let spent = Spent::default();
        assert_eq!(spent.left_of(3).expect("nothing is spent"), 3);
        spent.add(Duration::from_millis(1200));
        assert_eq!(spent.left_of(3).expect("1.8 s are left"), 2);
        spent.add(Duration::from_millis(1800));
        for seconds in [0, 1, 3] {
            let over = spent.left_of(seconds).expect_err("all is spent");
            assert!(over.is_over_limit(), "{over}");
            assert!(over.to_string().contains(&format!("{seconds} seconds")));
        }
        assert_eq!(spent.left_of(4).expect("one is left"), 1);
    }
}

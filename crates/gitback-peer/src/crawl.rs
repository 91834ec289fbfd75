//! Noticing senders that never fall silent and never come to an end.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{CRAWL_LEAST, SMALL_RATE_LEAST};

/// Watches a stream of any length: something must come of it in each stretch of time.
#[derive(Debug)]
pub(crate) struct Crawl {
    window: Duration,
    since: Instant,
    moved: u64,
}

impl Crawl {
    /// Requires [`CRAWL_LEAST`] bytes in each `window`.
    pub(crate) fn new(window: Duration, now: Instant) -> Self {
        Self {
            window,
            since: now,
            moved: 0,
        }
    }

    /// Notes bytes that came; how many came, if those were too few for too long.
    pub(crate) fn note(&mut self, bytes: usize, now: Instant) -> Option<u64> {
        self.moved = self.moved.saturating_add(bytes as u64);
        if now.duration_since(self.since) < self.window {
            return None;
        }
        let moved = std::mem::take(&mut self.moved);
        self.since = now;
        (moved < CRAWL_LEAST).then_some(moved)
    }
}

/// How long a small body may take in all, when so many bytes of it have come: `patience`, and a second more for
/// each [`SMALL_RATE_LEAST`] bytes.
pub(crate) fn allowed(patience: Duration, bytes: usize) -> Duration {
    patience.saturating_add(Duration::from_secs(bytes as u64 / SMALL_RATE_LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_drip_is_noticed_and_a_slow_stream_is_not() {
        let start = Instant::now();
        let mut drip = Crawl::new(SECOND * 10, start);
        for second in 1..10 {
            assert_eq!(drip.note(1, start + SECOND * second), None);
        }
        assert_eq!(drip.note(1, start + SECOND * 10), Some(10));
        let least = usize::try_from(CRAWL_LEAST).expect("small");
        let mut slow = Crawl::new(SECOND * 10, start);
        assert_eq!(slow.note(least - 1, start + SECOND), None);
        assert_eq!(slow.note(1, start + SECOND * 11), None);
        assert_eq!(slow.note(1, start + SECOND * 20), None, "the next stretch");
        assert_eq!(slow.note(1, start + SECOND * 21), Some(2));
    }

    #[test]
    fn what_comes_earns_time() {
        assert_eq!(allowed(SECOND, 100), SECOND);
        assert_eq!(allowed(SECOND, 1 << 20), SECOND * 129);
    }
}

//! A count of what has changed that status shows, and waiting for it to go on.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long changes are gathered, so that who waits is not told of each of many.
const GATHER: Duration = Duration::from_millis(50);

/// Counts changes of what is known of peers and projects.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    count: Mutex<Count>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Count {
    number: u64,
    /// The daemon stops: nobody waits any more.
    over: bool,
}

impl Changes {
    /// Says that something has changed.
    pub(crate) fn note(&self) {
        self.count().number += 1;
        self.more.notify_all();
    }

    /// How much has changed so far.
    pub(crate) fn now(&self) -> u64 {
        self.count().number
    }

    /// Lets everybody go who waits, for good.
    pub(crate) fn end(&self) {
        self.count().over = true;
        self.more.notify_all();
    }

    /// Waits until there is more than `after`, for at most `limit`.
    pub(crate) fn wait(&self, after: u64, limit: Duration) {
        let begun = Instant::now();
        let nothing = |count: &mut Count| !count.over && count.number <= after;
        let waited = self.more.wait_timeout_while(self.count(), limit, nothing);
        let (count, _) = waited.expect("no thread panics with the count");
        let left = limit.saturating_sub(begun.elapsed()).min(GATHER);
        if count.number > after && !left.is_zero() {
            let open = |count: &mut Count| !count.over;
            let _ = self.more.wait_timeout_while(count, left, open);
        }
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().expect("no thread panics with the count")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_waits_hears_of_the_next_change_and_of_the_end() {
        let changes = Arc::new(Changes::default());
        let seen = changes.now();
        let other = Arc::clone(&changes);
        let waiting = std::thread::spawn(move || {
            other.wait(seen, LONG);
            let now = other.now();
            other.wait(now, LONG);
            now
        });
        changes.note();
        changes.wait(seen, LONG);
        assert!(changes.now() > seen);
        changes.end();
        assert!(waiting.join().expect("it ends") > seen);
    }

    #[test]
    fn what_has_changed_already_is_not_waited_for() {
        let changes = Changes::default();
        changes.note();
        changes.wait(0, LONG);
        assert_eq!(changes.now(), 1);
    }
}

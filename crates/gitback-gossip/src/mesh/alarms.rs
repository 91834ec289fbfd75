//! What is to happen at which moment, in one order.

use std::collections::BTreeMap;

use crate::millis::Millis;

/// Things that are due, earliest first; of two that are due at once, the one set first.
#[derive(Debug)]
pub(super) struct Alarms<T> {
    queue: BTreeMap<(Millis, u64), T>,
    next: u64,
}

impl<T> Default for Alarms<T> {
    fn default() -> Self {
        Self {
            queue: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> Alarms<T> {
    pub(super) fn set(&mut self, at: Millis, what: T) {
        self.queue.insert((at, self.next), what);
        self.next = self.next.wrapping_add(1);
    }

    /// Takes the first that is due at `now`.
    pub(super) fn due(&mut self, now: Millis) -> Option<T> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_is_due_in_the_order_of_time_then_of_setting() {
        let mut alarms = Alarms::default();
        alarms.set(Millis(20), "c");
        alarms.set(Millis(10), "a");
        alarms.set(Millis(10), "b");
        assert_eq!(alarms.next(), Some(Millis(10)));
        assert_eq!(alarms.due(Millis(9)), None);
        assert_eq!(alarms.due(Millis(10)), Some("a"));
        assert_eq!(alarms.due(Millis(10)), Some("b"));
        assert_eq!(alarms.due(Millis(10)), None);
        assert_eq!(alarms.next(), Some(Millis(20)));
    }
}

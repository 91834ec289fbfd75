//! How many connections are open, for each user and in all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts open connections under two caps.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    counts: Arc<Mutex<Counts>>,
    max: usize,
    max_for_one_user: usize,
}

/// One open connection. It stops counting when this is dropped.
#[derive(Debug)]
#[must_use = "the connection stops counting as soon as this is dropped"]
pub struct Slot {
    counts: Arc<Mutex<Counts>>,
    uid: u32,
}

/// Which cap was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// This user has too many open.
    User,
    /// All users together have.
    All,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_user: BTreeMap<u32, usize>,
}

impl Slots {
    pub(crate) fn new(max: usize, max_for_one_user: usize) -> Self {
        Self {
            counts: Arc::default(),
            max,
            max_for_one_user,
        }
    }

    /// Takes one slot for `uid`.
    pub(crate) fn take(&self, uid: u32) -> Result<Slot, Full> {
        let mut counts = lock(&self.counts);
        if counts
            .by_user
            .get(&uid)
            .is_some_and(|open| *open >= self.max_for_one_user)
        {
            return Err(Full::User);
        }
        if counts.all >= self.max {
            return Err(Full::All);
        }
        counts.all += 1;
        *counts.by_user.entry(uid).or_default() += 1;
        Ok(Slot {
            counts: Arc::clone(&self.counts),
            uid,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.all = counts.all.saturating_sub(1);
        let open = counts.by_user.get(&self.uid).copied().unwrap_or_default();
        if open > 1 {
            counts.by_user.insert(self.uid, open - 1);
        } else {
            counts.by_user.remove(&self.uid);
        }
    }
}

/// The counts are valid after every statement, so a panic elsewhere does not spoil them.
fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_at_its_cap_leaves_room_for_another() {
        let slots = Slots::new(10, 3);
        let held: Vec<Slot> = (0..3)
            .map(|_| slots.take(1000).expect("room is left"))
            .collect();

        assert_eq!(slots.take(1000).expect_err("the cap holds"), Full::User);
        assert!(slots.take(1001).is_ok());
        drop(held);
        assert!(slots.take(1000).is_ok());
    }

    #[test]
    fn all_users_together_have_a_cap() {
        let slots = Slots::new(2, 2);
        let first = slots.take(1).expect("room is left");
        let _second = slots.take(2).expect("room is left");

        assert_eq!(slots.take(3).expect_err("the cap holds"), Full::All);
        drop(first);
        assert!(slots.take(3).is_ok());
    }

    #[test]
    fn a_user_without_connections_costs_no_memory() {
        let slots = Slots::new(2, 2);
        drop(slots.take(7).expect("room is left"));

        assert!(lock(&slots.counts).by_user.is_empty());
        assert_eq!(lock(&slots.counts).all, 0);
    }
}

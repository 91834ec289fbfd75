//! What is to be done when, each thing once.

use std::collections::{BTreeMap, BTreeSet};

use crate::millis::Millis;

/// Things with a moment each, found by the moment; those of one moment in the order in which they were put in.
#[derive(Clone, Debug)]
pub(crate) struct Agenda<K> {
    moments: BTreeMap<K, (Millis, u64)>,
    line: BTreeSet<(Millis, u64, K)>,
    entries: u64,
}

impl<K: Copy + Ord> Agenda<K> {
    pub(crate) const fn new() -> Self {
        Self {
            moments: BTreeMap::new(),
            line: BTreeSet::new(),
            entries: 0,
        }
    }

    /// Puts `key` at `due`, behind what is there already, wherever it was before.
    pub(crate) fn put(&mut self, key: K, due: Millis) {
        self.remove(&key);
        let order = self.entries;
        self.entries = self.entries.wrapping_add(1);
        self.moments.insert(key, (due, order));
        self.line.insert((due, order, key));
    }

    pub(crate) fn remove(&mut self, key: &K) -> bool {
        let Some((due, order)) = self.moments.remove(key) else {
            return false;
        };
        self.line.remove(&(due, order, *key));
        true
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.moments.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.moments.len()
    }

    /// When `key` is due.
    pub(crate) fn due(&self, key: &K) -> Option<Millis> {
        self.moments.get(key).map(|(due, _)| *due)
    }

    /// What is due at `now`, longest due first.
    pub(crate) fn ready(&self, now: Millis) -> impl Iterator<Item = K> {
        let due = self.line.iter().take_while(move |(due, ..)| *due <= now);
        due.map(|(_, _, key)| *key)
    }

    /// The first moment after `now` at which something is due.
    pub(crate) fn next_after(&self, now: Millis) -> Option<Millis> {
        // The keys of one moment cannot be ranged over without a smallest key, so what is due already is skipped.
        self.line
            .iter()
            .map(|(due, ..)| *due)
            .find(|due| *due > now)
    }
}

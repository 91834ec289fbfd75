//! What large packs take of memory, counted before it is taken.
//!
//! Counted is what may grow with the pack. What may not is taken in the beginning as if all of it were needed at once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::deltas::ENTRY_MAX;
use super::{OBJECT_MAX, THREADS_MAX, TOGETHER_MAX};

/// What does not grow, in bytes: the objects on which something still builds, and for each thread an entry as it lies in
/// the pack, what is in it, and what is made of that.
const FIXED_BYTES: u64 = TOGETHER_MAX + THREADS_MAX as u64 * (ENTRY_MAX as u64 + 2 * OBJECT_MAX);
/// Bytes for an object, without its content: its place, its name in some lists, its row of the index, and what is known of
/// it as long as something builds on it.
const OBJECT_BYTES: u64 = 256;
/// Bytes for a name: its part of a hash table that has just grown, while another one is added to it.
const NAME_BYTES: u64 = 128;
/// How often an object that git is to see is held: as it is, and in the pack for git, which grows by doubling.
const DOUBT_FACTOR: u64 = 3;

/// What all packs that are indexed in this process take, in bytes.
static TOGETHER: AtomicU64 = AtomicU64::new(0);

/// What one pack takes; given back on drop.
#[derive(Debug)]
pub(super) struct Memory {
    taken: AtomicU64,
    /// What all packs together may take.
    most: u64,
}

impl Memory {
    /// For a pack of so many objects; `None` when there is not so much.
    pub(super) fn take(most: u64, objects: u32) -> Option<Self> {
        let memory = Self {
            taken: AtomicU64::new(0),
            most,
        };
        memory.add(FIXED_BYTES + u64::from(objects) * OBJECT_BYTES)?;
        Some(memory)
    }

    /// For the name of something.
    pub(super) fn add_name(&self) -> Option<()> {
        self.add(NAME_BYTES)
    }

    /// For an object of so many bytes that git is to see.
    pub(super) fn add_doubt(&self, bytes: u64) -> Option<()> {
        self.add(bytes.checked_mul(DOUBT_FACTOR)?)
    }

    /// Counts also what it refuses: whoever hears that gives up, and gives all of it back.
    fn add(&self, bytes: u64) -> Option<()> {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        let before = TOGETHER.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= self.most).then_some(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        TOGETHER.fetch_sub(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_take_together_is_bounded_and_given_back() {
        let most = 2 * FIXED_BYTES + 5 * OBJECT_BYTES + NAME_BYTES;
        let one = Memory::take(most, 3).expect("there is room");
        let other = Memory::take(most, 2).expect("for both");
        assert!(Memory::take(most, 0).is_none());
        other.add_name().expect("for one name");
        assert!(one.add_name().is_none(), "not for two");
        drop((one, other));
        let all = Memory::take(most, 0).expect("all is free again");
        all.add_doubt(FIXED_BYTES / DOUBT_FACTOR).expect("room");
        assert!(all.add_doubt(FIXED_BYTES / DOUBT_FACTOR).is_none());
    }
}

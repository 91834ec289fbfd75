//! What a look at a large pack must keep to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::DOUBTS_MAX;
use super::memory::Memory;
use crate::Limits;
use crate::cost::{Spent, of_this_thread};

/// Names that a pack may have beside those of its objects.
const NAMES_MORE: u64 = 200_000;
/// How many threads may each meet the name of every object.
const NAMES_FACTOR: u64 = 5;
/// What a step counts beside its bytes.
const STEP_BYTES: u64 = 4096;
/// After how many bytes it is looked at the clock.
const LOOK_EVERY: u64 = 4 << 20;

/// What all threads together must keep to.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) limits: Limits,
    given_up: AtomicBool,
    /// Processor time of all that index the pack.
    pub(super) spent: Arc<Spent>,
    names_left: AtomicU64,
    doubts_left: AtomicU64,
    memory: Memory,
}

impl Bounds {
    /// `None` when there is no memory for it.
    pub(super) fn new(limits: &Limits, objects: u32, spent: Arc<Spent>) -> Option<Self> {
        Some(Self {
            memory: Memory::take(limits.memory_bytes, objects)?,
            limits: *limits,
            given_up: AtomicBool::new(false),
            spent,
            names_left: AtomicU64::new(NAMES_MORE + NAMES_FACTOR * u64::from(objects)),
            doubts_left: AtomicU64::new(DOUBTS_MAX),
        })
    }

    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// `None` when somebody has given up.
    pub(super) fn go_on(&self) -> Option<()> {
        (!self.has_given_up()).then_some(())
    }

    /// Takes room for a name.
    pub(super) fn take_name(&self) -> Option<()> {
        take(&self.names_left, 1)?;
        self.memory.add_name()
    }

    /// Takes room for the bytes of an object that git is to see.
    pub(super) fn take_doubt(&self, bytes: usize) -> Option<()> {
        let bytes = u64::try_from(bytes).ok()?;
        take(&self.doubts_left, bytes)?;
        self.memory.add_doubt(bytes)
    }
}

fn take(left: &AtomicU64, count: u64) -> Option<()> {
    let less = |left: u64| left.checked_sub(count);
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    taken.is_ok().then_some(())
}

/// The processor time of one thread. What has not been added yet is added on drop, by the same thread.
#[derive(Debug)]
pub(super) struct Clock<'a> {
    bounds: &'a Bounds,
    told: Duration,
    bytes: u64,
}

impl<'a> Clock<'a> {
    /// Begins for the thread that calls.
    pub(super) fn begin(bounds: &'a Bounds) -> Self {
        Self {
            bounds,
            told: of_this_thread(),
            bytes: 0,
        }
    }

    /// Counts a step about so many bytes. `None` when somebody has given up, or all threads have taken the time that a
    /// pack of `pack_bytes` may take.
    pub(super) fn step(&mut self, bytes: usize, pack_bytes: u64) -> Option<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(STEP_BYTES);
        if self.bytes < LOOK_EVERY {
            return Some(());
        }
        self.bytes = 0;
        let spent = self.tell();
        let allowed = self.bounds.limits.cpu_for(pack_bytes);
        (spent <= Duration::from_secs(allowed)).then_some(())?;
        self.bounds.go_on()
    }

    /// Adds what was taken since the last time; returns what all have taken.
    fn tell(&mut self) -> Duration {
        let now = of_this_thread();
        let more = now.saturating_sub(self.told);
        self.told = now;
        self.bounds.spent.add(more)
    }
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

//! What one side lacks of the other, as a pack, made in this process where that is little.
//!
//! After a few missed pushes a `git pack-objects` costs more in starting than in packing. What is done here only ever says
//! yes: whatever is large, or is not plainly what it should be, is git's to pack as if nobody had looked. Entries are
//! copied as they lie in the packs; nothing is searched for.
//!
//! What is left out is always something that a have leads to. What is sent may be more than need be: that costs bytes,
//! and whoever receives it checks that it is whole.
//!
//! Source: docs/spec/pack.md §7; gitformat-pack(5).

mod reach;
mod write;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::{Oid, Repository};

/// Most objects that are wanted, or that are said to be there, in one request.
const NAMED_MAX: usize = 1024;
/// Most commits that are read.
const COMMITS_MAX: usize = 4096;
/// Most bytes of trees that are read.
const TREE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most entries of trees that are looked at.
const ENTRIES_MAX: usize = 1_000_000;
/// Most objects in the pack.
const OBJECTS_MAX: usize = 16_384;
/// Most bytes of the pack: it is held in memory, and for a large one git's search for deltas is worth its while.
const PACK_BYTES_MAX: usize = 1024 * 1024;
/// After so long git does it.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Most that are made at a time; others are git's.
const TOGETHER_MAX: usize = 4;

/// How many are being made.
static TOGETHER: AtomicUsize = AtomicUsize::new(0);

/// A pack that was made here.
#[derive(Debug)]
pub(crate) struct Difference {
    /// All of it.
    pub(crate) pack: Vec<u8>,
    /// How many objects it has.
    pub(crate) objects: usize,
}

/// One of those that are made at a time.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        let before = TOGETHER.fetch_add(1, Ordering::Relaxed);
        let turn = Self;
        (before < TOGETHER_MAX).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TOGETHER.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is left of what one may cost.
struct Budget {
    until: Instant,
    commits: usize,
    tree_bytes: usize,
    entries: usize,
    objects: usize,
}

impl Budget {
    fn new() -> Self {
        Self {
            until: Instant::now() + LOOK_MAX,
            commits: COMMITS_MAX,
            tree_bytes: TREE_BYTES_MAX,
            entries: ENTRIES_MAX,
            objects: OBJECTS_MAX,
        }
    }

    fn commit(&mut self) -> Option<()> {
        self.commits = self.commits.checked_sub(1)?;
        self.look()
    }

    fn tree(&mut self, bytes: usize) -> Option<()> {
        self.tree_bytes = self.tree_bytes.checked_sub(bytes)?;
        self.look()
    }

    fn entries(&mut self, count: usize) -> Option<()> {
        self.entries = self.entries.checked_sub(count)?;
        Some(())
    }

    fn object(&mut self) -> Option<()> {
        self.objects = self.objects.checked_sub(1)?;
        Some(())
    }

    fn look(&self) -> Option<()> {
        (Instant::now() <= self.until).then_some(())
    }
}

impl Repository {
    /// A pack of what `wants` lead to and `haves` do not; a `thin` one may build on what haves lead to. `None`: git has to
    /// make it, or to say why there is none.
    pub(crate) fn difference(
        &self,
        wants: &[Oid],
        haves: &[Oid],
        thin: bool,
    ) -> Option<Difference> {
        if wants.is_empty() || wants.len() > NAMED_MAX || haves.len() > NAMED_MAX {
            return None;
        }
        let _turn = Turn::take()?;
        let objects = self.small_objects().ok()?;
        let mut budget = Budget::new();
        let reach = reach::reach(&objects, wants, haves, &mut budget)?;
        let pack = write::write(&objects, &reach, thin, &budget)?;
        Some(Difference {
            pack,
            objects: reach.objects.len(),
        })
    }
}

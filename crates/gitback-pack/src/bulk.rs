//! Large packs, indexed and checked in this process.
//!
//! As with small ones, what is done here only ever says yes. It begins while the pack arrives, in a thread of its own;
//! as soon as there is anything that it does not do, git does all of it, with its own rules and its own words. Single
//! objects that are not plainly good are shown to git afterwards, by themselves.
//!
//! What it takes is bounded, and counted for all packs together: a number of bytes for each object of the pack and each name
//! in it, the objects that deltas still build on, and a few large ones for each thread.
//!
//! Source: docs/spec/pack.md §3; gitformat-pack(5).

mod bounds;
mod deltas;
mod doubts;
mod entries;
mod judge;
mod memory;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use gix::objs::Kind;
use tempfile::TempPath;

use crate::adopt::adopt;
use crate::cost::Spent;
use crate::headers::Extent;
use crate::index::{Row, index};
use crate::quick::rules::OBEYED_MAX;
use crate::{Follower, Limits, Oid, Quarantine};
use bounds::{Bounds, Clock};
use deltas::Pack;
use entries::Seen;
use judge::Judge;

/// Most objects of a pack that is indexed here. Each takes some hundred bytes.
const OBJECTS_MAX: u32 = 1_000_000;
/// Largest object that is held here, in bytes. Larger ones are taken in pieces, unless they are deltas or have any.
const OBJECT_MAX: u64 = 16 << 20;
/// What all objects come to that are being made, or on which something still builds, in bytes.
const TOGETHER_MAX: u64 = 64 << 20;
/// Where a pack may take less memory than this, in bytes, git does it.
const MEMORY_MAX: u64 = 512 << 20;
/// Most packs that are indexed here at a time; others are git's.
const AT_A_TIME_MAX: usize = 2;
/// Most threads for one.
const THREADS_MAX: usize = 4;
/// What all objects come to that git is to see by themselves, in bytes. Of more, it had better look at the whole pack.
const DOUBTS_MAX: u64 = 32 << 20;
/// What may be read once more, in bytes, of files that git obeys and what they build on.
const AGAIN_MAX: u64 = 1 << 30;
/// No base: the entry is an object as a whole.
const WHOLE: u32 = u32::MAX;

/// How many packs are indexed here now.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// An entry of the pack.
#[derive(Debug, Clone, Copy)]
struct Spot {
    offset: u64,
    /// Null as long as nobody knows.
    oid: Oid,
    crc32: u32,
    /// The entry on which it builds, or [`WHOLE`].
    base: u32,
    /// How long its header is, in bytes.
    header: u8,
    kind: Kind,
}

/// The entries of a pack, in their order.
#[derive(Debug)]
struct Spots {
    all: Vec<Spot>,
    /// Where the last one ends.
    end: u64,
}

impl Spots {
    fn with_capacity(count: u32) -> Self {
        // The count may be a lie, and what nobody writes to takes no room.
        let count = usize::try_from(count.min(OBJECTS_MAX)).unwrap_or(0);
        Self {
            all: Vec::with_capacity(count),
            end: 0,
        }
    }

    fn get(&self, index: u32) -> Option<&Spot> {
        self.all.get(usize::try_from(index).ok()?)
    }

    /// The entry that begins there.
    fn find(&self, offset: u64) -> Option<u32> {
        let found = self.all.binary_search_by_key(&offset, |spot| spot.offset);
        u32::try_from(found.ok()?).ok()
    }

    fn end_of(&self, index: u32) -> Option<u64> {
        let next = self.get(index.checked_add(1)?);
        Some(next.map_or(self.end, |next| next.offset))
    }
}

/// One of the packs that may be indexed here at a time.
#[derive(Debug)]
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        let before = RUNNING.fetch_add(1, Ordering::Relaxed);
        let turn = Self;
        (before < AT_A_TIME_MAX).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A large pack that is looked at while it arrives. Dropped, it waits until nobody reads the pack any more.
#[derive(Debug)]
pub(crate) struct Bulk {
    bounds: Arc<Bounds>,
    /// `None` in the end: git has to do it.
    seeing: Option<JoinHandle<Option<Seen>>>,
    _turn: Turn,
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.bounds.give_up();
        if let Some(seeing) = self.seeing.take() {
            // Whatever it has found, nobody wants to know.
            let _ = seeing.join();
        }
    }
}

impl Bulk {
    /// Begins, unless it is git's from the beginning. The pack has to end, or to break off, before this is dropped.
    ///
    /// Whatever it takes of the processors is added to `spent`, which may not come to more than the pack may take.
    pub(crate) fn begin(
        follower: Follower,
        objects: u32,
        limits: &Limits,
        spent: Arc<Spent>,
    ) -> Option<Self> {
        if objects > OBJECTS_MAX || limits.memory_bytes < MEMORY_MAX {
            return None;
        }
        let turn = Turn::take()?;
        let bounds = Arc::new(Bounds::new(limits, objects, spent)?);
        let own = Arc::clone(&bounds);
        let see = move || {
            let seen = entries::see(follower, objects, &own);
            if seen.is_none() {
                own.give_up();
            }
            seen
        };
        let thread = std::thread::Builder::new().name("index".to_owned());
        Some(Self {
            bounds,
            seeing: Some(thread.spawn(see).ok()?),
            _turn: turn,
        })
    }

    /// Whether git has to do it, as is known so far.
    pub(crate) fn has_given_up(&self) -> bool {
        self.bounds.has_given_up()
    }

    /// Puts the pack with its index into the quarantine, everything in it checked. Says whether it needs nothing that
    /// is not in it. `None`: nothing was put there, and git has to do it.
    ///
    /// The pack has arrived, and its checksum, `sum`, is right.
    pub(crate) fn finish(
        mut self,
        pack: &TempPath,
        sum: &Oid,
        quarantine: &Quarantine,
    ) -> Option<bool> {
        let seen = self.seeing.take()?.join().ok()??;
        let file = File::open(pack).ok()?;
        let mut clock = Clock::begin(&self.bounds);
        let mut checked = Checked::of(seen, &file, &self.bounds)?;
        let contained = checked.links_are_there(quarantine)?;
        checked.look_at_files(quarantine, &file, &self.bounds, &mut clock)?;
        let directory = quarantine.path().ok()?.join("pack");
        let placed = Placed::put(pack, &checked.index(sum)?, &directory, sum)?;
        drop(clock);
        let (doubtful, bytes) = (&checked.judge.doubtful, checked.spots.end);
        doubts::are_good(doubtful, quarantine, &self.bounds, bytes)?;
        placed.keep();
        Some(contained)
    }
}

/// A pack of which every object has its name.
struct Checked {
    spots: Spots,
    judge: Judge,
    /// The names of all objects, in order, and their entries.
    names: Vec<(Oid, u32)>,
}

impl Checked {
    fn of(seen: Seen, file: &File, bounds: &Bounds) -> Option<Self> {
        let Seen {
            mut spots,
            mut judge,
            unpacked_bytes,
        } = seen;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let pack = Pack {
            file,
            spots: &spots,
        };
        let made = deltas::make(pack, bounds, processors.min(THREADS_MAX))?;
        for (index, oid) in &made.objects {
            spots.all.get_mut(usize::try_from(*index).ok()?)?.oid = *oid;
        }
        let extent = Extent {
            objects: u64::try_from(spots.all.len()).ok()?,
            unpacked_bytes: unpacked_bytes.checked_add(made.unpacked_bytes)?,
            delta_depth: made.depth,
        };
        extent.check(&bounds.limits).ok()?;
        judge.add(made.judge);
        let numbered = (0_u32..).zip(&spots.all);
        let mut names: Vec<(Oid, u32)> = numbered.map(|(index, spot)| (spot.oid, index)).collect();
        names.sort_unstable();
        // In one pack an object is there once, and each has a name.
        let is_once = names.is_sorted_by(|(a, _), (b, _)| a < b);
        let is_named = names.first().is_none_or(|(oid, _)| !oid.is_null());
        (is_once && is_named).then_some(Self {
            spots,
            judge,
            names,
        })
    }

    fn find(&self, oid: &Oid) -> Option<&Spot> {
        let found = self.names.binary_search_by(|(name, _)| name.cmp(oid));
        let (_, index) = self.names.get(found.ok()?)?;
        self.spots.get(*index)
    }

    /// Whether everything that is named is in the pack; `None` if something is neither there nor in the repository, or
    /// something is in both, which git compares.
    fn links_are_there(&self, quarantine: &Quarantine) -> Option<bool> {
        let here = quarantine.repository().small_objects().ok()?;
        if !here.is_empty().ok()? && self.names.iter().any(|(oid, _)| here.has(oid)) {
            return None;
        }
        let mut is_contained = true;
        for (oid, kinds) in &self.judge.named {
            let kind = match self.find(oid) {
                Some(spot) => spot.kind,
                None => {
                    is_contained = false;
                    here.kind(oid).ok()??
                }
            };
            (*kinds == judge::bit(kind)).then_some(())?;
        }
        Some(is_contained)
    }

    fn index(&self, sum: &Oid) -> Option<Vec<u8>> {
        let mut rows = Vec::with_capacity(self.names.len());
        for (_, index) in &self.names {
            let spot = self.spots.get(*index)?;
            rows.push(Row {
                oid: spot.oid,
                crc32: spot.crc32,
                offset: spot.offset,
            });
        }
        index(&rows, sum.as_slice())
    }

    /// Looks at the files that git obeys, which could not be judged before all objects had names. What is not plainly
    /// good is for git to see.
    fn look_at_files(
        &mut self,
        quarantine: &Quarantine,
        file: &File,
        bounds: &Bounds,
        clock: &mut Clock<'_>,
    ) -> Option<()> {
        let here = quarantine.repository().small_objects().ok()?;
        let mut left = AGAIN_MAX;
        let mut trees = BTreeSet::new();
        let pack = Pack {
            file,
            spots: &self.spots,
        };
        for ((oid, obeyed), tree) in &self.judge.obeyed {
            let bytes = match self.names.binary_search_by(|(name, _)| name.cmp(oid)) {
                Ok(at) => {
                    let (_, index) = self.names.get(at)?;
                    pack.read(*index, OBEYED_MAX, &mut left, clock)
                }
                Err(_) => here.read_within(oid, Kind::Blob, OBEYED_MAX),
            };
            clock.step(0, self.spots.end)?;
            if !bytes.is_some_and(|bytes| obeyed.is_good(&bytes)) {
                trees.insert(*tree);
            }
        }
        for doubt in &self.judge.doubtful {
            trees.remove(&doubt.index);
        }
        for tree in trees {
            let bytes = pack.read(tree, OBJECT_MAX, &mut left, clock)?;
            self.judge.doubt(bounds, tree, Kind::Tree, &bytes)?;
        }
        Some(())
    }
}

/// A pack and its index in a directory, which are removed again unless they are kept.
struct Placed {
    files: Option<[std::path::PathBuf; 2]>,
}

impl Placed {
    fn put(pack: &Path, index: &[u8], directory: &Path, sum: &Oid) -> Option<Self> {
        let named = |suffix| directory.join(format!("pack-{sum}.{suffix}"));
        let files = [named("idx"), named("pack")];
        let [index_path, pack_path] = &files;
        adopt(pack, pack_path).ok()?;
        let placed = Self {
            files: Some(files.clone()),
        };
        std::fs::write(index_path, index).ok()?;
        Some(placed)
    }

    fn keep(mut self) {
        self.files = None;
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        for file in self.files.iter().flatten() {
            // What stays behind is in a quarantine, which vanishes.
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests;

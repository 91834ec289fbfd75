//! The second look at a large pack, once it is all there: what its deltas make.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gix::objs::Kind;
use gix::zlib::{Inflate, Status};

use super::bounds::{Bounds, Clock};
use super::judge::Judge;
use super::{OBJECT_MAX, Spot, Spots, TOGETHER_MAX, WHOLE};
use crate::Oid;
use crate::delta::apply;

/// Longest entry that is read at once, in bytes. What does not compress is a little longer than its object.
pub(super) const ENTRY_MAX: usize = 32 << 20;

/// What each entry counts that is read for one object alone, beside its bytes.
const READ_COST: u64 = 4096;

/// What the deltas of a pack make.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The entry and its object.
    pub(super) objects: Vec<(u32, Oid)>,
    pub(super) judge: Judge,
    pub(super) unpacked_bytes: u64,
    /// The longest chain.
    pub(super) depth: u32,
}

impl Made {
    fn add(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.judge.add(other.judge);
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(other.unpacked_bytes);
        self.depth = self.depth.max(other.depth);
    }
}

/// A pack that is all there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pack<'a> {
    /// Read, not mapped: every page that is looked at would count as this process's memory.
    pub(super) file: &'a File,
    pub(super) spots: &'a Spots,
}

/// What all threads know.
struct Work<'a> {
    pack: Pack<'a>,
    bounds: &'a Bounds,
    /// What deltas build on, in order, and the deltas.
    deltas: Vec<(u32, u32)>,
    /// What builds on nothing, and has deltas.
    roots: Vec<u32>,
    next: AtomicUsize,
    /// Bytes of objects that are held because something builds on them.
    held: AtomicU64,
    /// Bytes that all deltas have made.
    made: AtomicU64,
}

/// Makes all deltas, in so many threads; `None` when git has to.
pub(super) fn make(pack: Pack<'_>, bounds: &Bounds, threads: usize) -> Option<Made> {
    let spots = pack.spots;
    let is_delta = |spot: &&Spot| spot.base != WHOLE;
    let mut deltas = Vec::with_capacity(spots.all.iter().filter(is_delta).count());
    let numbered = (0_u32..).zip(&spots.all);
    let numbered = numbered.filter(|(_, spot)| is_delta(spot));
    deltas.extend(numbered.map(|(index, spot)| (spot.base, index)));
    deltas.sort_unstable();
    let mut roots: Vec<u32> = deltas.iter().map(|(base, _)| *base).collect();
    roots.dedup();
    roots.retain(|index| spots.get(*index).is_some_and(|spot| spot.base == WHOLE));
    let work = Work {
        pack,
        bounds,
        deltas,
        roots,
        next: AtomicUsize::new(0),
        held: AtomicU64::new(0),
        made: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.max(1))
            .map(|_| scope.spawn(|| work.run()))
            .collect();
        let mut all = Made::default();
        for one in running {
            all.add(one.join().ok()??);
        }
        Some(all)
    })
}

/// Room for an object, which is given back on drop.
struct Room<'a> {
    held: &'a AtomicU64,
    size: u64,
}

impl<'a> Room<'a> {
    fn take(size: u64, held: &'a AtomicU64) -> Option<Self> {
        let together = held.fetch_add(size, Ordering::Relaxed).checked_add(size);
        let room = Self { held, size };
        (size <= OBJECT_MAX && together? <= TOGETHER_MAX).then_some(room)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.held.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// An object that something builds on.
struct Base<'a> {
    bytes: Vec<u8>,
    _room: Room<'a>,
}

/// A delta that is to be made.
struct Open<'a> {
    index: u32,
    base: Rc<Base<'a>>,
    depth: u32,
}

impl Work<'_> {
    fn run(&self) -> Option<Made> {
        let made = self.make_some();
        if made.is_none() {
            self.bounds.give_up();
        }
        made
    }

    fn make_some(&self) -> Option<Made> {
        let mut made = Made::default();
        let mut reader = Reader::default();
        let mut clock = Clock::begin(self.bounds);
        let mut open = Vec::new();
        while let Some(root) = self.roots.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let mut room = None;
            let bytes = self.pack.unpack(*root, &mut reader, |size| {
                room = Some(Room::take(size, &self.held)?);
                Some(())
            })?;
            let kind = self.pack.spots.get(*root)?.kind;
            let base = Base {
                bytes,
                _room: room?,
            };
            self.open_deltas(*root, base, 1, &mut open);
            while let Some(Open { index, base, depth }) = open.pop() {
                let delta = self.pack.unpack(index, &mut reader, |_| Some(()))?;
                let mut room = None;
                let bytes = apply(&base.bytes, &delta, |size| {
                    self.count(size)?;
                    room = Some(Room::take(size, &self.held)?);
                    Some(())
                })?;
                drop(base);
                let size = delta.len().saturating_add(bytes.len());
                clock.step(size, self.pack.spots.end)?;
                let oid = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &bytes).ok()?;
                if kind != Kind::Blob {
                    made.judge.look(self.bounds, index, kind, &bytes)?;
                }
                made.objects.push((index, oid));
                made.unpacked_bytes += u64::try_from(bytes.len()).ok()?;
                made.depth = made.depth.max(depth);
                let base = Base {
                    bytes,
                    _room: room?,
                };
                self.open_deltas(index, base, depth + 1, &mut open);
            }
        }
        Some(made)
    }

    /// Counts what is made; `None` when it is more than is allowed.
    fn count(&self, size: u64) -> Option<()> {
        let before = self.made.fetch_add(size, Ordering::Relaxed);
        (before.checked_add(size)? <= self.bounds.limits.unpacked_bytes).then_some(())
    }

    fn deltas_of(&self, base: u32) -> &[(u32, u32)] {
        let first = self.deltas.partition_point(|(other, _)| *other < base);
        let rest = self.deltas.get(first..).unwrap_or_default();
        let count = rest.partition_point(|(other, _)| *other == base);
        rest.get(..count).unwrap_or_default()
    }

    /// Adds what builds on an object to what is to be made.
    fn open_deltas<'a>(&self, index: u32, base: Base<'a>, depth: u32, open: &mut Vec<Open<'a>>) {
        let deltas = self.deltas_of(index);
        if deltas.is_empty() {
            return;
        }
        let base = Rc::new(base);
        open.extend(deltas.iter().map(|(_, delta)| Open {
            index: *delta,
            base: Rc::clone(&base),
            depth,
        }));
    }
}

impl Pack<'_> {
    /// Reads and unpacks an object, which the first look has found to be whole. Room for it is what `room` takes.
    fn unpack(
        &self,
        index: u32,
        reader: &mut Reader,
        room: impl FnOnce(u64) -> Option<()>,
    ) -> Option<Vec<u8>> {
        let (begin, end) = (self.spots.get(index)?.offset, self.spots.end_of(index)?);
        let length = usize::try_from(end.checked_sub(begin)?).ok()?;
        if length > ENTRY_MAX {
            return None;
        }
        // No more than it needs: doubling would not be counted.
        reader.entry.clear();
        reader.entry.reserve_exact(length);
        reader.entry.resize(length, 0);
        self.file.read_exact_at(&mut reader.entry, begin).ok()?;
        let size = size(&reader.entry)?;
        if size > OBJECT_MAX {
            return None;
        }
        room(size)?;
        // One byte more than it may have, so that the end is seen.
        let mut out = vec![0; usize::try_from(size).ok()?.checked_add(1)?];
        let header = usize::from(self.spots.get(index)?.header);
        let packed = reader.entry.get(header..)?;
        reader.inflate.reset();
        let (status, _, written) = reader.inflate.once(packed, &mut out).ok()?;
        out.truncate(written);
        let is_whole = status == Status::StreamEnd && u64::try_from(written).ok()? == size;
        is_whole.then_some(out)
    }

    /// One object by itself, with everything that it builds on read for it alone. `left` bounds what may be read so, in
    /// bytes; `None` as well when it has more than `most` bytes.
    pub(super) fn read(
        &self,
        index: u32,
        most: u64,
        left: &mut u64,
        clock: &mut Clock<'_>,
    ) -> Option<Vec<u8>> {
        let mut chain = vec![index];
        let mut at = index;
        while let Some(spot) = self.spots.get(at).filter(|spot| spot.base != WHOLE) {
            at = spot.base;
            chain.push(at);
        }
        let mut reader = Reader::default();
        let mut whole: Option<Vec<u8>> = None;
        while let Some(index) = chain.pop() {
            let entry = self.unpack(index, &mut reader, |_| Some(()))?;
            let bytes = match whole {
                Some(base) => apply(&base, &entry, |size| (size <= OBJECT_MAX).then_some(()))?,
                None => entry,
            };
            let size = u64::try_from(bytes.len()).ok()?;
            *left = left.checked_sub(size.checked_add(READ_COST)?)?;
            clock.step(bytes.len(), self.spots.end)?;
            whole = Some(bytes);
        }
        whole.filter(|bytes| u64::try_from(bytes.len()).is_ok_and(|size| size <= most))
    }
}

/// What one thread reads with.
#[derive(Default)]
struct Reader {
    entry: Vec<u8>,
    inflate: Inflate,
}

/// The size at the beginning of an entry: four bits, then seven a byte.
fn size(entry: &[u8]) -> Option<u64> {
    let (first, rest) = entry.split_first()?;
    let mut size = u64::from(first & 0x0f);
    let mut more = first & 0x80 != 0;
    let mut shift = 4;
    for byte in rest.iter().take(8) {
        if !more {
            break;
        }
        size |= u64::from(byte & 0x7f) << shift;
        more = byte & 0x80 != 0;
        shift += 7;
    }
    (!more).then_some(size)
}

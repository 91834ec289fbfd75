//! A pack put together from entries as they lie in other packs.

use std::collections::{HashMap, HashSet};

use gix::objs::Kind;
use gix::odb::pack::data;
use gix::odb::pack::data::entry::Header;

use super::reach::Reach;
use super::{Budget, PACK_BYTES_MAX};
use crate::Oid;
use crate::index::sum;
use crate::objects::{Objects, READ_MAX, Raw, RawEntry};
use crate::quick::store::{deflate, entry_header};

/// Most deltas on top of each other, as git makes them.
const DEPTH_MAX: u32 = 50;

/// Writes them; `None` when that is too much, or when one cannot be had.
pub(super) fn write(
    objects: &Objects,
    reach: &Reach,
    thin: bool,
    budget: &Budget,
) -> Option<Vec<u8>> {
    let kinds: HashMap<Oid, Kind> = reach.objects.iter().copied().collect();
    let count = u32::try_from(kinds.len()).ok()?;
    let mut out = Out {
        objects,
        raw: Raw::new(objects),
        kinds: &kinds,
        known: thin.then_some(&reach.known),
        budget,
        places: HashMap::with_capacity(kinds.len()),
        underway: HashSet::new(),
        pack: data::header::encode(data::Version::V2, count).to_vec(),
    };
    for (oid, kind) in &reach.objects {
        out.put(*oid, *kind, 0)?;
    }
    let mut pack = out.pack;
    let sum = sum(&pack)?;
    pack.extend_from_slice(sum.as_slice());
    Some(pack)
}

/// Where an object is in the new pack, and on how many others there it builds.
#[derive(Clone, Copy)]
struct Placed {
    offset: usize,
    depth: u32,
}

struct Out<'a> {
    objects: &'a Objects,
    raw: Raw<'a>,
    kinds: &'a HashMap<Oid, Kind>,
    /// What a delta may build on beside what is sent.
    known: Option<&'a HashSet<Oid>>,
    budget: &'a Budget,
    places: HashMap<Oid, Placed>,
    /// What waits until its base is written: two packs may each have one of two objects as a delta to the other.
    underway: HashSet<Oid>,
    pack: Vec<u8>,
}

impl Out<'_> {
    /// Writes an object, and before it what it builds on; `above` says how many wait for it.
    fn put(&mut self, oid: Oid, kind: Kind, above: u32) -> Option<()> {
        if self.places.contains_key(&oid) {
            return Some(());
        }
        self.budget.look()?;
        self.underway.insert(oid);
        let entries = self.raw.entries(&oid);
        let mut chosen = None;
        for entry in &entries {
            let Some(base) = entry.base else {
                continue;
            };
            if let Some(header) = self.delta_to(base, above)? {
                chosen = Some((entry, header));
                break;
            }
        }
        self.underway.remove(&oid);
        let offset = self.pack.len();
        let depth = match chosen {
            Some((entry, Ground::Sent(at))) => {
                let base_distance = u64::try_from(offset.checked_sub(at.offset)?).ok()?;
                self.copy(entry, Header::OfsDelta { base_distance })?;
                at.depth + 1
            }
            Some((entry, Ground::Known(base_id))) => {
                self.copy(entry, Header::RefDelta { base_id })?;
                1
            }
            None => {
                self.whole(&oid, kind, &entries)?;
                0
            }
        };
        self.places.insert(oid, Placed { offset, depth });
        (self.pack.len() <= PACK_BYTES_MAX).then_some(())
    }

    /// On what a delta to this base can build, if it can; what is to be sent is written for it.
    fn delta_to(&mut self, base: Oid, above: u32) -> Option<Option<Ground>> {
        if let Some(kind) = self.kinds.get(&base) {
            if !self.underway.contains(&base) && above < DEPTH_MAX {
                self.put(base, *kind, above + 1)?;
            }
            let placed = self.places.get(&base);
            let placed = placed.filter(|placed| placed.depth < DEPTH_MAX);
            return Some(placed.copied().map(Ground::Sent));
        }
        let is_known = self.known.is_some_and(|known| known.contains(&base));
        Some(is_known.then_some(Ground::Known(base)))
    }

    fn copy(&mut self, entry: &RawEntry<'_>, header: Header) -> Option<()> {
        header.write_to(entry.size, &mut self.pack).ok()?;
        self.pack.extend_from_slice(entry.data);
        Some(())
    }

    /// Writes an object that builds on nothing: as it lies somewhere, or compressed anew.
    fn whole(&mut self, oid: &Oid, kind: Kind, entries: &[RawEntry<'_>]) -> Option<()> {
        if let Some(entry) = entries.iter().find(|entry| entry.base.is_none()) {
            // What is called a tree by one object and is a blob is git's to complain of.
            (entry.header.as_kind() == Some(kind)).then_some(())?;
            return self.copy(entry, entry.header);
        }
        let limit = u64::try_from(READ_MAX.min(PACK_BYTES_MAX)).ok()?;
        let bytes = self.objects.read_within(oid, kind, limit)?;
        entry_header(kind, bytes.len(), &mut self.pack);
        deflate(&bytes, &mut self.pack)
    }
}

/// What a delta builds on.
enum Ground {
    /// What stands there in the pack.
    Sent(Placed),
    /// What the asker has.
    Known(Oid),
}

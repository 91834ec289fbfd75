//! Small packs put together, so that their number stays small.
//!
//! Every push brings a pack, and everything that looks for an object looks in every pack. What is done here copies
//! entries as they are, without unpacking one: that is fast, and finds no better deltas. Nothing is lost on the way, an
//! object that is there twice is kept once, and whoever reads an old pack can go on.
//!
//! Source: docs/spec/pack.md §5; gitformat-pack(5).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gix::odb::pack::{data, index};

use crate::index::{Row, index as index_of, sum};
use crate::objects::{Change, stems};
use crate::outgoing::PACK_HEADER_BYTES;
use crate::serving::Covered;
use crate::written::{Out, TRAILER_BYTES, Written};
use crate::{Fault, Oid, Repository};

/// Fewer packs than this stay as they are.
const PACKS_MIN: usize = 8;
/// Most packs that are put together at a time.
const PACKS_MAX: usize = 256;
/// Most bytes of packs that are put together at a time.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most objects of packs that are put together at a time.
const OBJECTS_MAX: u64 = 500_000;
/// From this many deltas on top of one another an object that is there whole as well is kept whole.
const DEPTH_MAX: u32 = 20;
/// How the index of a pack is called that was put together with others, before its old name.
pub(crate) const RETIRED: &str = "tmp_retired-";

/// What was put together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repacked {
    /// How many packs there were; none if they were too few without the damaged ones.
    pub packs: usize,
    /// How many objects are in the pack that took their place.
    pub objects: usize,
    /// Its size in bytes.
    pub bytes: u64,
    /// Packs that are not what their index says, by path. They stay as they are, and are not looked at again before the
    /// repository is opened anew.
    pub damaged: Vec<PathBuf>,
}

/// A pack that may be put together with others.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    bytes: u64,
    modified: SystemTime,
    /// Without suffix.
    stem: String,
    objects: u64,
}

/// A pack that is open.
struct Source {
    stem: String,
    index: index::File,
    data: data::File,
    /// Where each object begins and what its place in the index is, in the order of the pack.
    order: Vec<(u64, u32)>,
}

/// Where the copy of an object is that is kept.
#[derive(Clone, Copy)]
struct Copy {
    source: usize,
    offset: u64,
    depth: u32,
}

impl Repository {
    /// Puts the small packs together if there are many, so that the larger ones are each a multiple of the smaller.
    /// `None` when there is nothing to gain, or when somebody else looks after the packs. Pushes and fetches go on meanwhile.
    ///
    /// On return the new pack is durable, and the indexes of the old ones are out of the way. The packs themselves stay
    /// for those who have them open, until [`Repository::clear_retired`] or until the repository is opened again.
    ///
    /// # Errors
    ///
    /// [`Fault`]; then the old packs are still there.
    pub fn repack_small(&self) -> Result<Option<Repacked>, Fault> {
        let Some(_only_one) = self.try_upkeep() else {
            return Ok(None);
        };
        let directory = self.objects_path().join("pack");
        let sizes: HashMap<String, u64> = self.objects()?.sizes().into_iter().collect();
        let (mut damaged, mut sources) = (Vec::new(), Vec::new());
        for candidate in choose(candidates(self, &directory, &sizes)?) {
            match Source::open(&directory, &candidate.stem) {
                Some(source) => sources.push(source),
                None => {
                    damaged.push(directory.join(format!("{}.pack", candidate.stem)));
                    // Once is enough: it would be in the way of all others each time.
                    self.note_damaged(candidate.stem);
                }
            }
        }
        if sources.len() < 2 {
            let nothing = Repacked {
                packs: 0,
                objects: 0,
                bytes: 0,
                damaged,
            };
            return Ok((!nothing.damaged.is_empty()).then_some(nothing));
        }
        let kept = keep(&sources);
        let (written, stem, bytes) = write(&self.spool_path(), &sources, &kept)?;
        self.change_packs(|| {
            written.install(&directory, &stem)?;
            self.forget_damaged(&stem);
            Ok(Change::come(vec![stem.clone()]))
        })?;
        // From here on the old ones may go.
        self.sync_packs()?;
        let packs = sources.len();
        // If all the others had nothing of their own, what came of it is one of them, and that stays.
        let mut old: Vec<String> = sources.into_iter().map(|source| source.stem).collect();
        old.retain(|old| *old != stem);
        self.retire(&directory, old)?;
        Ok(Some(Repacked {
            packs,
            objects: kept.len(),
            bytes,
            damaged,
        }))
    }

    /// Removes packs that were put together with others at least so long ago. Returns how many such packs are left: all,
    /// while somebody else looks after the packs.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn clear_retired(&self, age: Duration) -> Result<usize, Fault> {
        let only_one = self.try_upkeep();
        let directory = self.objects_path().join("pack");
        let (mut old, mut left) = (Vec::new(), 0);
        for entry in fs::read_dir(&directory).map_err(Fault::io("list", &directory))? {
            let entry = entry.map_err(Fault::io("list", &directory))?;
            if retired_stem(&entry.path()).is_none() {
                continue;
            }
            let changed = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = changed.is_ok_and(|changed| {
                let since = SystemTime::now().duration_since(changed);
                since.is_ok_and(|since| since >= age)
            });
            if is_old && only_one.is_some() {
                old.push(entry.path());
            } else {
                left += 1;
            }
        }
        for path in old {
            // One by one: whoever wants to look something up does not wait for all of them.
            self.change_packs(|| {
                clear_retired(&path)?;
                Ok(Change::default())
            })?;
        }
        Ok(left)
    }

    /// Takes the indexes of these packs out of the way, so that nobody opens those packs any more.
    pub(crate) fn retire(&self, directory: &Path, stems: Vec<String>) -> Result<(), Fault> {
        self.change_packs(|| {
            for stem in &stems {
                retire(directory, stem)?;
            }
            Ok(Change {
                come: Vec::new(),
                gone: stems,
            })
        })
    }
}

/// Takes the index of one pack out of the way. The caller keeps others from opening packs.
pub(crate) fn retire(directory: &Path, stem: &str) -> Result<(), Fault> {
    let path = directory.join(format!("{stem}.idx"));
    let retired = directory.join(format!("{RETIRED}{stem}.idx"));
    // Its age counts from now: renaming does not change it.
    File::open(&path)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .map_err(Fault::io("date", &path))?;
    fs::rename(&path, &retired).map_err(Fault::io("move", &path))
}

/// The pack whose retired index this is, by name without suffix.
fn retired_stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(RETIRED)?.strip_suffix(".idx")
}

/// Removes the pack whose retired index this is; `false` if it is something else.
pub(crate) fn clear_retired(path: &Path) -> Result<bool, Fault> {
    let Some(stem) = retired_stem(path) else {
        return Ok(false);
    };
    // The same pack may have come again meanwhile.
    let returned = path.with_file_name(format!("{stem}.idx"));
    let has_returned = returned
        .try_exists()
        .map_err(Fault::io("inspect", &returned))?;
    for suffix in ["pack", "rev"].iter().filter(|_| !has_returned) {
        let file = path.with_file_name(format!("{stem}.{suffix}"));
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Fault::io("remove", &file)(error));
            }
            _ => {}
        }
    }
    // Last: it says that the pack may go.
    fs::remove_file(path).map_err(Fault::io("remove", path))?;
    Ok(true)
}

/// All packs that nobody wants kept apart.
fn candidates(
    repository: &Repository,
    directory: &Path,
    sizes: &HashMap<String, u64>,
) -> Result<Vec<Candidate>, Fault> {
    let mut candidates = Vec::new();
    let mut stems = stems(directory)?;
    if stems.len() < PACKS_MIN {
        return Ok(candidates);
    }
    // What git has an index over stays where that says it is.
    let covered = Covered::read(directory)?;
    stems.retain(|stem| !covered.stems.contains(stem) && !repository.is_damaged(stem));
    for stem in stems {
        let Some(objects) = sizes.get(&stem).copied() else {
            continue;
        };
        let beside = |suffix: &str| directory.join(format!("{stem}.{suffix}"));
        if ["keep", "promisor", "mtimes"]
            .iter()
            .any(|suffix| beside(suffix).exists())
        {
            continue;
        }
        match beside("pack").metadata() {
            Ok(metadata) => candidates.push(Candidate {
                bytes: metadata.len(),
                modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                stem,
                objects,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(Fault::io("inspect", &beside("pack"))(source)),
        }
    }
    Ok(candidates)
}

/// The smallest ones, up to the last that is at most twice as large as all before it together: so that each byte is
/// copied only a few times, however many pushes come.
fn choose(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort();
    candidates.retain(|candidate| candidate.objects <= OBJECTS_MAX / 2);
    let (mut total, mut objects, mut chosen) = (0_u64, 0_u64, 0);
    for (before, candidate) in candidates.iter().enumerate().take(PACKS_MAX) {
        let with = total.saturating_add(candidate.bytes);
        objects = objects.saturating_add(candidate.objects);
        if with > BYTES_MAX || objects > OBJECTS_MAX {
            break;
        }
        if candidate.bytes <= total.saturating_mul(2) {
            chosen = before + 1;
        }
        total = with;
    }
    candidates.truncate(if chosen < PACKS_MIN { 0 } else { chosen });
    // What came first first: what later ones build on is there already, mostly as a delta.
    candidates.sort_by(|a, b| (a.modified, &a.stem).cmp(&(b.modified, &b.stem)));
    candidates
}

impl Source {
    /// `None` if the two files are not a pack and its index.
    fn open(directory: &Path, stem: &str) -> Option<Self> {
        let hash = gix::hash::Kind::Sha1;
        let path = directory.join(format!("{stem}.idx"));
        let bytes = fs::read(&path).ok()?;
        let (content, end) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER_BYTES)?)?;
        if sum(content)?.as_slice() != end {
            return None;
        }
        let index = index::File::at(&path, hash).ok()?;
        let data = data::File::at(directory.join(format!("{stem}.pack")), hash).ok()?;
        if index.pack_checksum() != data.checksum() || index.num_objects() != data.num_objects() {
            return None;
        }
        let mut order: Vec<(u64, u32)> = (0..index.num_objects())
            .map(|at| (index.pack_offset_at_index(at), at))
            .collect();
        order.sort_unstable();
        let source = Self {
            stem: stem.to_owned(),
            index,
            data,
            order,
        };
        source.is_sound().then_some(source)
    }

    /// Whether every entry is what the index says, and builds on one before it.
    fn is_sound(&self) -> bool {
        (0..self.order.len()).all(|at| {
            let Some(bytes) = self.entry(at) else {
                return false;
            };
            let place = self.order.get(at).map(|(_, place)| *place);
            let said = place.and_then(|place| self.index.crc32_at_index(place));
            said == Some(crc32fast::hash(bytes)) && self.base(at).is_some()
        })
    }

    fn offset(&self, at: usize) -> Option<u64> {
        self.order.get(at).map(|(offset, _)| *offset)
    }

    fn oid(&self, at: usize) -> Option<Oid> {
        let (_, place) = self.order.get(at)?;
        Some(self.index.oid_at_index(*place).to_owned())
    }

    /// The bytes of an entry as they are in the pack.
    fn entry(&self, at: usize) -> Option<&[u8]> {
        let end = self
            .offset(at + 1)
            .or_else(|| u64::try_from(self.data.data_len().checked_sub(TRAILER_BYTES)?).ok());
        self.data.entry_slice(self.offset(at)?..end?)
    }

    fn header(&self, at: usize) -> Option<data::Entry> {
        data::Entry::from_bytes(self.entry(at)?, self.offset(at)?, gix::hash::Kind::Sha1).ok()
    }

    /// What an entry builds on, if on anything: `None` if that is nothing that can be.
    fn base(&self, at: usize) -> Option<Option<Oid>> {
        let entry = self.header(at)?;
        match entry.header {
            data::entry::Header::OfsDelta { base_distance } => {
                let offset = entry.checked_base_pack_offset(base_distance)?;
                let place = self
                    .order
                    .binary_search_by_key(&offset, |(offset, _)| *offset);
                self.oid(place.ok()?).map(Some)
            }
            data::entry::Header::RefDelta { base_id } => {
                self.index.lookup(base_id).map(|_| Some(base_id))
            }
            data::entry::Header::Commit
            | data::entry::Header::Tree
            | data::entry::Header::Blob
            | data::entry::Header::Tag => Some(None),
        }
    }
}

/// Which copy of each object is kept: the first one, and where that builds on many others, one that builds on none.
///
/// A kept delta builds on an object of its own pack or on a copy of that which an earlier pack has or which is whole. So
/// no object ever builds on itself.
fn keep(sources: &[Source]) -> HashMap<Oid, Copy> {
    let mut kept: HashMap<Oid, Copy> = HashMap::new();
    for (number, source) in sources.iter().enumerate() {
        for at in 0..source.order.len() {
            let (Some(oid), Some(offset), Some(base)) =
                (source.oid(at), source.offset(at), source.base(at))
            else {
                continue;
            };
            // A base that comes later in the pack has no depth yet. Such are rare, and the depth only guides a choice.
            let depth = base.map_or(0, |base| {
                kept.get(&base)
                    .map_or(1, |copy| copy.depth.saturating_add(1))
            });
            let copy = Copy {
                source: number,
                offset,
                depth,
            };
            match kept.get_mut(&oid) {
                None => drop(kept.insert(oid, copy)),
                Some(known) if known.depth >= DEPTH_MAX && base.is_none() => *known = copy,
                Some(_) => {}
            }
        }
    }
    kept
}

/// Writes the kept copies as one pack, and syncs it; its name without suffix, and its size in bytes.
fn write(
    spool: &Path,
    sources: &[Source],
    kept: &HashMap<Oid, Copy>,
) -> Result<(Written, String, u64), Fault> {
    let written = Written::new(spool)?;
    let mut out = Out::begin(&written, u32::try_from(kept.len()).unwrap_or(u32::MAX))?;
    let mut places: HashMap<Oid, u64> = HashMap::with_capacity(kept.len());
    let mut rows = Vec::with_capacity(kept.len());
    for (number, source) in sources.iter().enumerate() {
        for at in 0..source.order.len() {
            let (Some(oid), Some(entry)) = (source.oid(at), source.entry(at)) else {
                return Err(source.torn());
            };
            let is_kept = kept.get(&oid).is_some_and(|copy| {
                copy.source == number && Some(copy.offset) == source.offset(at)
            });
            if !is_kept {
                continue;
            }
            let offset = out.offset();
            let moved = source.moved(at, offset, &places);
            let (header, rest) = moved.ok_or_else(|| source.torn())?;
            let mut crc = crc32fast::Hasher::new();
            let data = entry.get(rest..).unwrap_or_default();
            for part in [header.as_slice(), data] {
                crc.update(part);
                out.write(part)?;
            }
            places.insert(oid, offset);
            rows.push(Row {
                oid,
                crc32: crc.finalize(),
                offset,
            });
        }
    }
    let (sum, bytes) = out.finish()?;
    rows.sort_by_key(|row| row.oid);
    let index = index_of(&rows, sum.as_slice()).ok_or_else(|| Fault::Unsound {
        path: spool.to_owned(),
    })?;
    written.write_index(&index)?;
    written.sync()?;
    Ok((written, format!("pack-{sum}"), bytes))
}

impl Source {
    /// The header of an entry that goes to `offset`, and how long its old one was.
    fn moved(
        &self,
        at: usize,
        offset: u64,
        places: &HashMap<Oid, u64>,
    ) -> Option<(Vec<u8>, usize)> {
        let entry = self.header(at)?;
        let header = match (entry.header, self.base(at)?) {
            (data::entry::Header::OfsDelta { .. }, Some(base)) => match places.get(&base) {
                Some(place) => data::entry::Header::OfsDelta {
                    base_distance: offset.checked_sub(*place)?,
                },
                // Another copy of the base is kept, further behind.
                None => data::entry::Header::RefDelta { base_id: base },
            },
            (header, _) => header,
        };
        let mut bytes = Vec::with_capacity(PACK_HEADER_BYTES + TRAILER_BYTES);
        header.write_to(entry.decompressed_size, &mut bytes).ok()?;
        // It may be longer than it need be.
        let length = entry.data_offset.checked_sub(self.offset(at)?)?;
        Some((bytes, usize::try_from(length).ok()?))
    }

    fn torn(&self) -> Fault {
        Fault::Unsound {
            path: self.data.path().to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

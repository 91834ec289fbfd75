//! What can still be read of a damaged pack, as a new pack.
//!
//! Entries are copied as they are. An entry is sound if it has the CRC-32 that the index says, and if what it builds on
//! is; git indexes the new pack and so compares every object with its name before the pack is used.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gix::odb::pack::cache;
use gix::odb::pack::data::{self, decode, entry::Header};
use gix::zlib::Inflate;

use super::check::{self, is_damage, made_index};
use crate::index::{Row, is_whole, rows};
use crate::objects::system_error;
use crate::outgoing::PACK_HEADER_BYTES;
use crate::written::{Out, TRAILER_BYTES, Written};
use crate::{Fault, Oid, Repository};

/// Longest header of an entry: its size, and the name of what it builds on.
const HEADER_MAX: u64 = 32;
const CHUNK_BYTES: u64 = 64 * 1024;

/// What was saved of a damaged pack.
pub(super) struct Salvaged {
    /// The new pack with its index, synced, and its name without suffix. Nothing if nothing can be read.
    pub(super) written: Option<(Written, String)>,
    /// How many objects are in it.
    pub(super) saved: u64,
    /// Those that were in the pack and could not be saved, as far as that is known.
    pub(super) unsaved: Vec<Oid>,
}

/// What has come of trying to save what can be read.
pub(super) enum Salvage {
    /// It was told to stop.
    Stopped,
    Done(Salvaged),
    /// git takes nothing that can be made of the pack: it is better left alone.
    Unable,
}

/// Saves what can be read.
pub(super) fn salvage(
    repository: &Repository,
    directory: &Path,
    stem: &str,
    stop: &dyn Fn() -> bool,
) -> Result<Salvage, Fault> {
    // What the disk does not give back is as good as not there.
    let index = check::read(&directory.join(format!("{stem}.idx")))?.unwrap_or_default();
    let mut names: BTreeSet<Oid> = BTreeSet::new();
    let rows = rows(&index);
    if is_whole(&index) {
        names.extend(rows.iter().map(|row| row.oid));
    }
    let nothing = |names: BTreeSet<Oid>| {
        Salvage::Done(Salvaged {
            written: None,
            saved: 0,
            unsaved: names.into_iter().collect(),
        })
    };
    let Some(file) = check::open(&directory.join(format!("{stem}.pack")))? else {
        return Ok(nothing(names));
    };
    let mut torn = Torn::new(file, rows)?;
    // What has its CRC-32 and cannot be unpacked all the same is only looked for where git does not take the rest.
    for is_last in [false, true] {
        if !torn.entries.iter().any(|entry| entry.is_sound) {
            return Ok(nothing(names));
        }
        let written = Written::new(&repository.spool_path())?;
        let (sum, places) = torn.write(&written)?;
        let path = written.pack.path().to_owned();
        let Some(made) = made_index(repository, &path, stop)? else {
            return Ok(Salvage::Stopped);
        };
        if let Some(index) = made {
            return finish(written, sum, &index, &names).map(Salvage::Done);
        }
        if is_last || !torn.drop_undecodable(&path, &places, stop)? {
            break;
        }
    }
    if stop() {
        return Ok(Salvage::Stopped);
    }
    Ok(Salvage::Unable)
}

fn finish(
    written: Written,
    sum: Oid,
    index: &[u8],
    names: &BTreeSet<Oid>,
) -> Result<Salvaged, Fault> {
    written.write_index(index)?;
    written.sync()?;
    let saved: BTreeSet<Oid> = rows(index).iter().map(|row| row.oid).collect();
    Ok(Salvaged {
        written: Some((written, format!("pack-{sum}"))),
        saved: u64::try_from(saved.len()).unwrap_or(u64::MAX),
        unsaved: names.difference(&saved).copied().collect(),
    })
}

/// A damaged pack, in as far as its index leads through it.
struct Torn {
    file: File,
    /// In the order of the pack.
    entries: Vec<Entry>,
}

struct Entry {
    oid: Oid,
    start: u64,
    end: u64,
    /// The length of its header.
    head: u64,
    header: Option<Header>,
    size: u64,
    /// Which entry it builds on.
    base: Option<usize>,
    is_sound: bool,
}

impl Torn {
    fn new(file: File, mut rows: Vec<Row>) -> Result<Self, Fault> {
        let metadata = file.metadata();
        let length = metadata.map_err(Fault::stream("inspect a pack"))?.len();
        let last = length.saturating_sub(TRAILER_BYTES as u64);
        rows.retain(|row| row.offset >= PACK_HEADER_BYTES as u64 && row.offset < last);
        rows.sort_by_key(|row| row.offset);
        rows.dedup_by_key(|row| row.offset);
        let ends: Vec<u64> = rows
            .iter()
            .skip(1)
            .map(|row| row.offset)
            .chain([last])
            .collect();
        let entries = rows
            .iter()
            .zip(ends)
            .map(|(row, end)| entry(&file, row, end));
        let mut torn = Self {
            entries: entries.collect::<Result<_, _>>()?,
            file,
        };
        torn.find_bases(&rows);
        torn.drop_baseless();
        Ok(torn)
    }

    fn find_bases(&mut self, rows: &[Row]) {
        let by_name: HashMap<Oid, usize> = rows
            .iter()
            .enumerate()
            .map(|(at, row)| (row.oid, at))
            .collect();
        for entry in self.entries.iter_mut().filter(|entry| entry.is_sound) {
            entry.base = match entry.header {
                Some(Header::OfsDelta { base_distance }) => {
                    let start = entry.start.checked_sub(base_distance);
                    let at = start.map(|start| rows.binary_search_by_key(&start, |row| row.offset));
                    at.and_then(Result::ok)
                }
                Some(Header::RefDelta { base_id }) => by_name.get(&base_id).copied(),
                _ => continue,
            };
            entry.is_sound = entry.base.is_some();
        }
    }

    /// What builds on something that cannot be read cannot be read either.
    fn drop_baseless(&mut self) {
        loop {
            let sound: Vec<bool> = self.entries.iter().map(|entry| entry.is_sound).collect();
            let mut changed = false;
            for entry in self.entries.iter_mut().filter(|entry| entry.is_sound) {
                let base = entry
                    .base
                    .map(|base| sound.get(base).copied().unwrap_or(false));
                entry.is_sound = base.unwrap_or(true);
                changed |= !entry.is_sound;
            }
            if !changed {
                return;
            }
        }
    }

    /// Unpacks each entry of the pack that was written to `path`, and no longer takes those for sound that are not what
    /// their names say; whether there were such. `false` as well where that cannot be told, and when it is told to stop.
    fn drop_undecodable(
        &mut self,
        path: &Path,
        places: &[u64],
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, Fault> {
        let pack = match data::File::at(path, gix::hash::Kind::Sha1) {
            Ok(pack) => pack,
            Err(error) => return Err(unreadable(path, error)),
        };
        let by_name: HashMap<Oid, u64> = self
            .entries
            .iter()
            .zip(places)
            .filter(|(entry, _)| entry.is_sound)
            .map(|(entry, place)| (entry.oid, *place))
            .collect();
        let (mut inflate, mut bytes) = (Inflate::default(), Vec::new());
        let mut dropped = false;
        for (entry, place) in self.entries.iter_mut().zip(places) {
            if !entry.is_sound {
                continue;
            }
            if stop() {
                return Ok(false);
            }
            match decoded(&pack, *place, &by_name, &mut inflate, &mut bytes) {
                Ok(oid) if oid == Some(entry.oid) => {}
                // Nothing is known about it then.
                Err(error) if check::is_passing(&error) => return Ok(false),
                Ok(_) | Err(_) => {
                    entry.is_sound = false;
                    dropped = true;
                }
            }
        }
        self.drop_baseless();
        Ok(dropped)
    }

    /// Writes the sound entries as a pack; its checksum, and where each entry is in it.
    fn write(&self, written: &Written) -> Result<(Oid, Vec<u64>), Fault> {
        let count = self.entries.iter().filter(|entry| entry.is_sound).count();
        let mut out = Out::begin(written, u32::try_from(count).unwrap_or(u32::MAX))?;
        let mut places = vec![0; self.entries.len()];
        let path = written.pack.path();
        for (at, entry) in self.entries.iter().enumerate() {
            if !entry.is_sound {
                continue;
            }
            if let Some(place) = places.get_mut(at) {
                *place = out.offset();
            }
            let unsound = || Fault::Unsound {
                path: path.to_owned(),
            };
            let mut header = entry.header.ok_or_else(unsound)?;
            if let (Header::OfsDelta { base_distance }, Some(base)) = (&mut header, entry.base) {
                let base = places.get(base).copied().unwrap_or(0);
                *base_distance = out.offset().saturating_sub(base);
            }
            let mut bytes = Vec::new();
            let encoded = header.write_to(entry.size, &mut bytes);
            encoded.map_err(Fault::io("write", path))?;
            out.write(&bytes)?;
            let from = entry.start.saturating_add(entry.head);
            each_chunk(&self.file, from, entry.end, &mut |chunk| out.write(chunk))
                .map_err(Fault::io("read", path))??;
        }
        let (sum, _) = out.finish()?;
        Ok((sum, places))
    }
}

/// The name of what an entry unpacks to, if that has one.
fn decoded(
    pack: &data::File,
    place: u64,
    by_name: &HashMap<Oid, u64>,
    inflate: &mut Inflate,
    bytes: &mut Vec<u8>,
) -> Result<Option<Oid>, gix::Error> {
    let base = |oid: &gix::oid, _: &mut Vec<u8>| {
        let place = by_name.get(oid);
        let entry = place.map(|place| pack.entry(*place)).transpose()?;
        Ok(entry.map(decode::entry::ResolvedBase::InPack))
    };
    let entry = pack.entry(place)?;
    let outcome = pack.decode_entry(entry, bytes, inflate, &base, &mut cache::Never)?;
    Ok(gix::objs::compute_hash(gix::hash::Kind::Sha1, outcome.kind, bytes).ok())
}

fn unreadable(path: &Path, error: gix::Error) -> Fault {
    let kind = system_error(&error).map_or(std::io::ErrorKind::Other, std::io::Error::kind);
    Fault::io("read", path)(std::io::Error::new(kind, error))
}

/// One entry, and whether its bytes are those that the index was made of.
fn entry(file: &File, row: &Row, end: u64) -> Result<Entry, Fault> {
    let mut entry = Entry {
        oid: row.oid,
        start: row.offset,
        end,
        head: 0,
        header: None,
        size: 0,
        base: None,
        is_sound: false,
    };
    let mut crc = crc32fast::Hasher::new();
    let mut begin = Vec::new();
    let read = each_chunk(file, row.offset, end, &mut |chunk| {
        if begin.is_empty() {
            let head = usize::try_from(HEADER_MAX).unwrap_or(usize::MAX);
            begin.extend(chunk.iter().take(head));
        }
        crc.update(chunk);
        Ok(())
    });
    match read {
        Ok(inner) => inner?,
        Err(error) if is_damage(&error) => return Ok(entry),
        Err(source) => return Err(Fault::stream("read a pack")(source)),
    }
    if crc.finalize() != row.crc32 {
        return Ok(entry);
    }
    let parsed = data::Entry::from_bytes(&begin, row.offset, gix::hash::Kind::Sha1);
    if let Ok(parsed) = parsed {
        entry.head = parsed.data_offset.saturating_sub(row.offset);
        entry.size = parsed.decompressed_size;
        entry.header = Some(parsed.header);
        entry.is_sound = true;
    }
    Ok(entry)
}

/// Reads from `start` to `end`. Outside an error of the file, inside one of `act`.
fn each_chunk(
    file: &File,
    mut start: u64,
    end: u64,
    act: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
) -> std::io::Result<Result<(), Fault>> {
    let largest = end.saturating_sub(start).min(CHUNK_BYTES);
    let mut chunk = vec![0; usize::try_from(largest).unwrap_or(0)];
    while start < end {
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let length = length.min(chunk.len());
        let part = chunk.get_mut(..length).unwrap_or_default();
        file.read_exact_at(part, start)?;
        if let Err(fault) = act(part) {
            return Ok(Err(fault));
        }
        start = start.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(Ok(()))
}

//! From the bytes of a pack to its objects.

use std::collections::HashMap;

use gix::objs::Kind;
use gix::odb::pack::data::Entry;
use gix::odb::pack::data::entry::Header;
use gix::zlib::{Inflate, Status};

use super::{OBJECTS_MAX, Room};
use crate::Oid;
use crate::delta::apply;
use crate::headers::Extent;
use crate::objects::Objects;
use crate::outgoing::PACK_HEADER_BYTES;

/// Length of the checksum at the end.
pub(super) const TRAILER_BYTES: usize = 20;
/// Most passes over what is still open. One is enough where each object comes after what it builds on.
const PASSES_MAX: usize = 64;

/// An object of a pack.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) oid: Oid,
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
    /// Where in the pack it begins.
    pub(super) offset: u64,
    /// Of its bytes in the pack.
    pub(super) crc32: u32,
    /// On how many objects of the pack it builds, each on the next.
    depth: u32,
}

/// The objects of a pack, and those of the repository that its deltas build on.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) objects: Vec<Packed>,
    pub(super) bases: Vec<(Oid, Kind, Vec<u8>)>,
}

impl Unpacked {
    pub(super) fn extent(&self) -> Extent {
        let sizes = self.objects.iter().map(|one| one.bytes.len());
        Extent {
            objects: u64::try_from(self.objects.len()).unwrap_or(u64::MAX),
            unpacked_bytes: u64::try_from(sizes.sum::<usize>()).unwrap_or(u64::MAX),
            delta_depth: self.objects.iter().map(|one| one.depth).max().unwrap_or(0),
        }
    }
}

/// What an entry holds.
enum Content {
    Whole(Kind),
    /// A delta to what begins at this place.
    DeltaAt(u64),
    DeltaTo(Oid),
}

struct Raw {
    offset: u64,
    crc32: u32,
    content: Content,
    bytes: Vec<u8>,
}

/// Unpacks all objects; `None` unless the pack is plainly whole.
pub(super) fn unpack(pack: &[u8], objects: &Objects, room: &mut Room) -> Option<Unpacked> {
    let mut open = entries(pack, room)?;
    let mut unpacked = Unpacked {
        objects: Vec::with_capacity(open.len()),
        bases: Vec::new(),
    };
    let mut at: HashMap<u64, usize> = HashMap::new();
    let mut named: HashMap<Oid, usize> = HashMap::new();
    let mut outside: HashMap<Oid, usize> = HashMap::new();
    for _ in 0..PASSES_MAX {
        let mut waiting = Vec::new();
        let before = open.len();
        for raw in open {
            let base = match &raw.content {
                Content::Whole(kind) => Some((*kind, None, 0)),
                Content::DeltaAt(offset) => at
                    .get(offset)
                    .and_then(|index| unpacked.objects.get(*index))
                    .map(|base| (base.kind, Some(&base.bytes), base.depth + 1)),
                Content::DeltaTo(oid) => {
                    let inside = named
                        .get(oid)
                        .and_then(|index| unpacked.objects.get(*index))
                        .map(|base| (base.kind, Some(&base.bytes), base.depth + 1));
                    let outside = outside
                        .get(oid)
                        .and_then(|index| unpacked.bases.get(*index))
                        .map(|(_, kind, bytes)| (*kind, Some(bytes), 1));
                    inside.or(outside)
                }
            };
            let Some((kind, base, depth)) = base else {
                waiting.push(raw);
                continue;
            };
            let bytes = match base {
                Some(base) => apply(base, &raw.bytes, |bytes| room.take(bytes))?,
                None => raw.bytes,
            };
            let oid = hash(kind, &bytes)?;
            let index = unpacked.objects.len();
            at.insert(raw.offset, index);
            if named.insert(oid, index).is_some() {
                return None;
            }
            unpacked.objects.push(Packed {
                oid,
                kind,
                bytes,
                offset: raw.offset,
                crc32: raw.crc32,
                depth,
            });
        }
        if waiting.is_empty() {
            // In one pack an object is there once.
            let twice = unpacked
                .bases
                .iter()
                .any(|(oid, _, _)| named.contains_key(oid));
            return (!twice).then_some(unpacked);
        }
        if waiting.len() == before {
            // The rest builds on what is not in the pack.
            let mut found = false;
            for raw in &waiting {
                if let Content::DeltaTo(oid) = &raw.content
                    && !outside.contains_key(oid)
                    && let Some((kind, size)) = objects.header(oid)
                {
                    room.take(size)?;
                    let bytes = objects.read_within(oid, kind, size)?;
                    // It is written anew, so it has to be what its name says.
                    if *oid != hash(kind, &bytes)? {
                        return None;
                    }
                    outside.insert(*oid, unpacked.bases.len());
                    unpacked.bases.push((*oid, kind, bytes));
                    found = true;
                }
            }
            found.then_some(())?;
        }
        open = waiting;
    }
    None
}

fn hash(kind: Kind, bytes: &[u8]) -> Option<Oid> {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, bytes).ok()
}

/// The entries of a pack, in their order.
fn entries(pack: &[u8], room: &mut Room) -> Option<Vec<Raw>> {
    let body = pack.get(..pack.len().checked_sub(TRAILER_BYTES)?)?;
    let count = u32::from_be_bytes(*body.get(8..)?.first_chunk()?);
    if count > OBJECTS_MAX {
        return None;
    }
    let mut inflate = Inflate::default();
    let mut entries = Vec::new();
    let mut at = PACK_HEADER_BYTES;
    for _ in 0..count {
        let offset = u64::try_from(at).ok()?;
        let entry = Entry::from_bytes(body.get(at..)?, offset, gix::hash::Kind::Sha1).ok()?;
        // Sizes and distances have one usual form. Of another one, readers may make different numbers.
        if entry.header_size() != entry.header.size(entry.decompressed_size) {
            return None;
        }
        let content = match entry.header {
            Header::Commit => Content::Whole(Kind::Commit),
            Header::Tree => Content::Whole(Kind::Tree),
            Header::Blob => Content::Whole(Kind::Blob),
            Header::Tag => Content::Whole(Kind::Tag),
            Header::RefDelta { base_id } => Content::DeltaTo(base_id),
            Header::OfsDelta { base_distance } => {
                Content::DeltaAt(offset.checked_sub(base_distance)?)
            }
        };
        room.take(entry.decompressed_size)?;
        let size = usize::try_from(entry.decompressed_size).ok()?;
        let data = usize::try_from(entry.data_offset).ok()?;
        // One byte more than it may have, so that the end is seen, and not one byte too many.
        let mut bytes = vec![0; size.checked_add(1)?];
        inflate.reset();
        let (status, used, written) = inflate.once(body.get(data..)?, &mut bytes).ok()?;
        if status != Status::StreamEnd || written != size {
            return None;
        }
        bytes.truncate(size);
        let end = data.checked_add(used)?;
        entries.push(Raw {
            offset,
            crc32: crc32fast::hash(body.get(at..end)?),
            content,
            bytes,
        });
        at = end;
    }
    (at == body.len()).then_some(entries)
}

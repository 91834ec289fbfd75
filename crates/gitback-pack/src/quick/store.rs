//! From objects to a pack on disk with its index.

use std::path::Path;

use gix::objs::Kind;
use gix::zlib::stream::deflate::{Compress, FlushCompress};
use gix::zlib::{Compression, Status};

use super::unpack::{TRAILER_BYTES, Unpacked};
use crate::index::{Row, index, sum};
use crate::outgoing::PACK_HEADER_BYTES;
use crate::written::Written;
use crate::{Fault, Oid};

/// A pack with the objects that it builds on at its end, and its index, as `git index-pack --fix-thin` makes them.
#[derive(Debug)]
pub(super) struct Files {
    stem: Oid,
    pack: Vec<u8>,
    index: Vec<u8>,
}

impl Files {
    pub(super) fn of(pack: &[u8], unpacked: &Unpacked) -> Option<Self> {
        let mut rows: Vec<Row> = unpacked
            .objects
            .iter()
            .map(|one| Row {
                oid: one.oid,
                crc32: one.crc32,
                offset: one.offset,
            })
            .collect();
        let pack = complete(pack, &unpacked.bases, &mut rows)?;
        let sum = pack.get(pack.len().checked_sub(TRAILER_BYTES)?..)?;
        rows.sort_by_key(|row| row.oid);
        Some(Self {
            stem: Oid::try_from(sum).ok()?,
            index: index(&rows, sum)?,
            pack,
        })
    }

    /// The name of both files, without suffix.
    pub(super) fn stem(&self) -> String {
        format!("pack-{}", self.stem)
    }

    /// Writes both files to a directory of packs, under names that nobody looks at.
    pub(super) fn write(&self, directory: &Path) -> Result<Written, Fault> {
        let written = Written::new(directory)?;
        written.write_pack(&self.pack)?;
        written.write_index(&self.index)?;
        Ok(written)
    }
}

/// The pack with the objects that it builds on.
fn complete(pack: &[u8], bases: &[(Oid, Kind, Vec<u8>)], rows: &mut Vec<Row>) -> Option<Vec<u8>> {
    if bases.is_empty() {
        return Some(pack.to_vec());
    }
    let mut whole = pack.get(..pack.len().checked_sub(TRAILER_BYTES)?)?.to_vec();
    for (oid, kind, bytes) in bases {
        let offset = whole.len();
        entry_header(*kind, bytes.len(), &mut whole);
        deflate(bytes, &mut whole)?;
        rows.push(Row {
            oid: *oid,
            crc32: crc32fast::hash(whole.get(offset..)?),
            offset: u64::try_from(offset).ok()?,
        });
    }
    let count = u32::try_from(rows.len()).ok()?;
    whole
        .get_mut(8..PACK_HEADER_BYTES)?
        .copy_from_slice(&count.to_be_bytes());
    let sum = sum(&whole)?;
    whole.extend_from_slice(sum.as_slice());
    Some(whole)
}

/// Type and size: four bits of the size in the first byte, then seven a byte.
pub(crate) fn entry_header(kind: Kind, size: usize, out: &mut Vec<u8>) {
    let kind = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let low = |value: usize, mask: u8| value.to_le_bytes().first().copied().unwrap_or(0) & mask;
    let (mut byte, mut rest) = ((kind << 4) | low(size, 0x0f), size >> 4);
    while rest > 0 {
        out.push(byte | 0x80);
        byte = low(rest, 0x7f);
        rest >>= 7;
    }
    out.push(byte);
}

pub(crate) fn deflate(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut compress = Compress::new(Compression::BEST_SPEED);
    // At this level every byte of what does not compress may take nine bits.
    let mut room = vec![0; bytes.len() + bytes.len() / 8 + 64];
    let status = compress.compress(bytes, &mut room, FlushCompress::Finish);
    if !matches!(status, Ok(Status::StreamEnd)) {
        return None;
    }
    let written = usize::try_from(compress.total_out()).ok()?;
    out.extend_from_slice(room.get(..written)?);
    Some(())
}

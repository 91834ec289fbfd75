//! From objects to a pack on disk with its index.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use gix::objs::Kind;
use gix::zlib::stream::deflate::{Compress, FlushCompress};
use gix::zlib::{Compression, Status};

use super::unpack::{TRAILER_BYTES, Unpacked};
use crate::outgoing::PACK_HEADER_BYTES;
use crate::{Fault, Oid};

const INDEX_SIGNATURE: &[u8] = b"\xfftOc\0\0\0\x02";

/// One row of the index.
struct Row {
    oid: Oid,
    crc32: u32,
    offset: u64,
}

/// Writes the pack, with the objects it builds on at its end, and its index, as `git index-pack --fix-thin` does.
pub(super) fn store(pack: &[u8], unpacked: &Unpacked, directory: &Path) -> Result<(), Fault> {
    let mut rows: Vec<Row> = unpacked
        .objects
        .iter()
        .map(|one| Row {
            oid: one.oid,
            crc32: one.crc32,
            offset: one.offset,
        })
        .collect();
    let whole = complete(pack, &unpacked.bases, &mut rows)?;
    let sum = whole
        .get(whole.len().saturating_sub(TRAILER_BYTES)..)
        .unwrap_or_default();
    rows.sort_by_key(|row| row.oid);
    let index = index(&rows, sum)?;
    let stem = Oid::from_bytes_or_panic(sum);
    write(&directory.join(format!("pack-{stem}.pack")), &whole)?;
    write(&directory.join(format!("pack-{stem}.idx")), &index)
}

/// The pack with the objects that it builds on.
fn complete(
    pack: &[u8],
    bases: &[(Oid, Kind, Vec<u8>)],
    rows: &mut Vec<Row>,
) -> Result<Vec<u8>, Fault> {
    if bases.is_empty() {
        return Ok(pack.to_vec());
    }
    let body = pack.len().saturating_sub(TRAILER_BYTES);
    let mut whole = pack.get(..body).unwrap_or_default().to_vec();
    for (oid, kind, bytes) in bases {
        let offset = whole.len();
        entry_header(*kind, bytes.len(), &mut whole);
        deflate(bytes, &mut whole)?;
        rows.push(Row {
            oid: *oid,
            crc32: crc32fast::hash(whole.get(offset..).unwrap_or_default()),
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
        });
    }
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    if let Some(place) = whole.get_mut(8..PACK_HEADER_BYTES) {
        place.copy_from_slice(&count.to_be_bytes());
    }
    let sum = sum(&whole)?;
    whole.extend_from_slice(&sum);
    Ok(whole)
}

/// Type and size: four bits of the size in the first byte, then seven a byte.
pub(super) fn entry_header(kind: Kind, size: usize, out: &mut Vec<u8>) {
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

pub(super) fn deflate(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Fault::stream("compress an object")(std::io::Error::other(source))
    };
    let mut compress = Compress::new(Compression::BEST_SPEED);
    // What does not get smaller gets larger by a few bytes for each block.
    let mut room = vec![0; bytes.len() + bytes.len() / 512 + 1024];
    let status = compress
        .compress(bytes, &mut room, FlushCompress::Finish)
        .map_err(|error| failed(error.to_string().into()))?;
    if status != Status::StreamEnd {
        return Err(failed("it has no end".into()));
    }
    let written = usize::try_from(compress.total_out()).unwrap_or(usize::MAX);
    out.extend_from_slice(room.get(..written).unwrap_or_default());
    Ok(())
}

fn index(rows: &[Row], pack_sum: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut index = INDEX_SIGNATURE.to_vec();
    for first in 0..=u8::MAX {
        let below = rows.partition_point(|row| row.oid.first_byte() <= first);
        index.extend_from_slice(&u32::try_from(below).unwrap_or(u32::MAX).to_be_bytes());
    }
    for row in rows {
        index.extend_from_slice(row.oid.as_slice());
    }
    for row in rows {
        index.extend_from_slice(&row.crc32.to_be_bytes());
    }
    for row in rows {
        // A small pack is far below the 2 GiB from where offsets take eight bytes.
        let offset = u32::try_from(row.offset).unwrap_or(u32::MAX);
        index.extend_from_slice(&offset.to_be_bytes());
    }
    index.extend_from_slice(pack_sum);
    let sum = sum(&index)?;
    index.extend_from_slice(&sum);
    Ok(index)
}

pub(super) fn sum(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(bytes);
    let sum = hasher.try_finalize().map_err(|_| {
        Fault::stream("sum up a pack")(std::io::Error::other("its checksum was forged"))
    })?;
    Ok(sum.as_slice().to_vec())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let mut file = File::create(path).map_err(Fault::io("create", path))?;
    file.write_all(bytes).map_err(Fault::io("write", path))
}

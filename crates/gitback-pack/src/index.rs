//! The index of a pack, of version 2.
//!
//! Source: gitformat-pack(5).

use crate::Oid;

const INDEX_SIGNATURE: &[u8] = b"\xfftOc\0\0\0\x02";

/// One row of the index.
pub(crate) struct Row {
    pub(crate) oid: Oid,
    pub(crate) crc32: u32,
    pub(crate) offset: u64,
}

/// The index of a pack below 2 GiB whose checksum is `pack_sum`. The rows are in order.
pub(crate) fn index(rows: &[Row], pack_sum: &[u8]) -> Option<Vec<u8>> {
    let mut index = INDEX_SIGNATURE.to_vec();
    for first in 0..=u8::MAX {
        let below = rows.partition_point(|row| row.oid.first_byte() <= first);
        index.extend_from_slice(&u32::try_from(below).ok()?.to_be_bytes());
    }
    for row in rows {
        index.extend_from_slice(row.oid.as_slice());
    }
    for row in rows {
        index.extend_from_slice(&row.crc32.to_be_bytes());
    }
    for row in rows {
        // From 2 GiB offsets take eight bytes.
        let offset = i32::try_from(row.offset).ok()?;
        index.extend_from_slice(&offset.to_be_bytes());
    }
    index.extend_from_slice(pack_sum);
    let sum = sum(&index)?;
    index.extend_from_slice(sum.as_slice());
    Some(index)
}

/// The checksum that git puts at the end of its files.
pub(crate) fn sum(bytes: &[u8]) -> Option<Oid> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(bytes);
    hasher.try_finalize().ok()
}

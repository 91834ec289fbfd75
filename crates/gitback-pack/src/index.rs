//! The index of a pack, of version 2.
//!
//! Source: gitformat-pack(5).

use crate::Oid;

const INDEX_SIGNATURE: &[u8] = b"\xfftOc\0\0\0\x02";
/// Where the names begin: behind the signature and 256 counts.
const ROWS_AT: usize = 8 + 256 * 4;
/// A name, a CRC-32 and an offset.
const ROW_BYTES: usize = 20 + 4 + 4;
const SUM_BYTES: usize = 20;

/// One row of the index.
pub(crate) struct Row {
    pub(crate) oid: Oid,
    pub(crate) crc32: u32,
    pub(crate) offset: u64,
}

/// The index of a pack below 2 GiB whose checksum is `pack_sum`. The rows are in order.
pub(crate) fn index(rows: &[Row], pack_sum: &[u8]) -> Option<Vec<u8>> {
    let bytes = ROWS_AT + rows.len().checked_mul(ROW_BYTES)? + 2 * SUM_BYTES;
    let mut index = Vec::with_capacity(bytes);
    index.extend_from_slice(INDEX_SIGNATURE);
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

/// Whether an index has its own checksum at its end.
pub(crate) fn is_whole(index: &[u8]) -> bool {
    let content = index.len().checked_sub(SUM_BYTES);
    let parts = content.and_then(|at| index.split_at_checked(at));
    parts.is_some_and(|(content, end)| {
        index.starts_with(INDEX_SIGNATURE) && sum(content).is_some_and(|sum| sum.as_slice() == end)
    })
}

/// How many objects an index says that it has.
pub(crate) fn count(index: &[u8]) -> u32 {
    number(index, ROWS_AT - 4).unwrap_or(0)
}

/// The rows of an index. Of a damaged one, whatever stands where they would be.
pub(crate) fn rows(index: &[u8]) -> Vec<Row> {
    let Some(space) = index.len().checked_sub(ROWS_AT + 2 * SUM_BYTES) else {
        return Vec::new();
    };
    let said = usize::try_from(count(index)).unwrap_or(usize::MAX);
    let fits = said
        .checked_mul(ROW_BYTES)
        .is_some_and(|bytes| bytes <= space);
    let count = match is_whole(index) || (fits && space % ROW_BYTES != 0) {
        true if fits => said,
        true => 0,
        false => space / ROW_BYTES,
    };
    let (crcs, offsets) = (ROWS_AT + count * 20, ROWS_AT + count * 24);
    let row = |at: usize| {
        let oid = index.get(ROWS_AT + at * 20..ROWS_AT + at * 20 + 20)?;
        let near = number(index, offsets + at * 4)?;
        let offset = match i32::try_from(near) {
            Ok(_) => near.into(),
            Err(_) => {
                let place = usize::try_from(near & 0x7fff_ffff).ok()?;
                let place = (offsets + count * 4).checked_add(place.checked_mul(8)?)?;
                let (high, low) = (number(index, place)?, number(index, place.checked_add(4)?)?);
                (u64::from(high) << 32) | u64::from(low)
            }
        };
        Some(Row {
            oid: Oid::try_from(oid).ok()?,
            crc32: number(index, crcs + at * 4)?,
            offset,
        })
    };
    (0..count).filter_map(row).collect()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The checksum that git puts at the end of its files.
pub(crate) fn sum(bytes: &[u8]) -> Option<Oid> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(bytes);
    hasher.try_finalize().ok()
}

//! Finds the records in a file's bytes, damaged or not.

use std::ops::Range;

use crate::record::{self, MAGIC, RECORD_HEAD, Record};

/// The first bytes of a log file; the last one is the version.
pub(crate) const HEADER: &[u8; 8] = b"GBLOG\0\0\x01";

/// Bytes hashed at most while looking for the next record after damage.
/// Payloads come from peers and may be made of false record starts; past this
/// limit the rest of the file counts as damaged.
const RESYNC_HASHED_MAX: u64 = 4 << 30;

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// Whole records with their offsets, in file order.
    pub(crate) records: Vec<(usize, Record<'a>)>,
    /// The bytes that are neither header nor record, in file order.
    pub(crate) damage: Vec<Range<usize>>,
}

impl Scan<'_> {
    /// Where the undamaged beginning of the file ends.
    pub(crate) fn sound_until(&self, length: usize) -> usize {
        self.damage.first().map_or(length, |range| range.start)
    }

    /// True if cutting the file's end off removes all damage.
    pub(crate) fn only_tail_is_damaged(&self, length: usize) -> bool {
        match self.damage.as_slice() {
            [] => true,
            [range] => range.end == length && range.start >= HEADER.len(),
            _ => false,
        }
    }
}

/// The version byte of a file that begins as a log does.
pub(crate) fn version(bytes: &[u8]) -> Option<u8> {
    let (magic, version) = HEADER.split_at(HEADER.len() - 1);
    debug_assert_eq!(version.len(), 1, "the version is one byte");
    bytes.strip_prefix(magic)?.first().copied()
}

/// Walks over `bytes`, which is a whole file with its header.
pub(crate) fn scan(bytes: &[u8]) -> Scan<'_> {
    let mut records = Vec::new();
    let mut damage = Vec::new();
    let mut hashed = 0;
    let mut at = HEADER.len().min(bytes.len());
    if !bytes.starts_with(HEADER) {
        damage.push(0..at);
    }
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(record) = record::decode(rest) {
            records.push((at, record));
            at += record.bytes();
            continue;
        }
        let next = next_record(bytes, at, &mut hashed).unwrap_or(bytes.len());
        match damage.last_mut() {
            Some(Range { end, .. }) if *end == at => *end = next,
            _ => damage.push(at..next),
        }
        at = next;
    }
    Scan { records, damage }
}

/// Where the next whole record after the damaged one at `at` begins.
fn next_record(bytes: &[u8], at: usize, hashed: &mut u64) -> Option<usize> {
    // Damage within a payload leaves the length readable. Trying that first
    // keeps bytes inside the payload from being taken for a record.
    let rest = bytes.get(at..)?;
    if let Some(length) = record::declared_length(rest) {
        let end = at + RECORD_HEAD + length;
        if bytes
            .get(end..)
            .is_some_and(|next| record::decode(next).is_some())
        {
            return Some(end);
        }
    }
    let mut from = at + 1;
    loop {
        let found = from + find_magic(bytes.get(from..)?)?;
        let candidate = bytes.get(found..)?;
        *hashed += hashing_cost(candidate);
        if record::decode(candidate).is_some() {
            return Some(found);
        }
        if *hashed > RESYNC_HASHED_MAX {
            return None;
        }
        from = found + 1;
    }
}

/// Bytes that looking at a false record start makes us hash.
fn hashing_cost(candidate: &[u8]) -> u64 {
    let length = record::declared_length(candidate).unwrap_or(0);
    u64::try_from(length.min(candidate.len())).unwrap_or(u64::MAX)
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(MAGIC.len())
        .position(|window| window == MAGIC)
}

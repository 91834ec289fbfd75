//! What the headers of a pack's entries say, once it is indexed: sizes, and what builds on what.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gix::odb::pack::data::entry::Header;
use gix::odb::pack::{data::Entry, index};
use gix::zlib::{Decompress, FlushDecompress, Inflate, Status};

use crate::{Bound, Fault, Limits, Reject};

/// How much of the pack is read at once, in bytes.
const WINDOW_BYTES: usize = 1 << 20;
/// How much of an entry is looked at, in bytes: its header, and what of a delta says how long its result is.
const ENTRY_BYTES: usize = 1024;
/// In how many bytes git reads type and size of an object; with more it is lost in a file.
const SIZE_BYTES_MAX: usize = 9;
/// How much is read at once of an entry whose sizes come late.
const LATE_BYTES: usize = 64 * 1024;
/// How long the two sizes at the beginning of a delta can be, together.
const DELTA_SIZES_MAX: usize = 20;
/// No base: the entry is an object as a whole.
const WHOLE: u32 = u32::MAX;

/// What a pack comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) objects: u64,
    /// Of all objects, unpacked.
    pub(crate) unpacked_bytes: u64,
    /// The longest chain of deltas.
    pub(crate) delta_depth: u32,
}

impl Extent {
    /// Adds what another pack comes to.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            unpacked_bytes: self.unpacked_bytes.saturating_add(other.unpacked_bytes),
            delta_depth: self.delta_depth.max(other.delta_depth),
        }
    }

    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Reject> {
        if self.unpacked_bytes > limits.unpacked_bytes {
            return Err(limits.broken(Bound::Unpacked));
        }
        if self.delta_depth > limits.delta_depth {
            return Err(limits.broken(Bound::DeltaDepth));
        }
        Ok(())
    }
}

/// Reads the headers of all entries of a pack that git has indexed.
///
/// # Errors
///
/// [`Reject::Corrupt`] when a header is longer than git reads it, or does not say what the index does;
/// [`Reject::Fault`].
pub(crate) fn look(path: &Path, index: &index::File) -> Result<Extent, Reject> {
    // Read, not mapped: every page that is looked at would count as this process's memory.
    let file = File::open(path).map_err(Fault::io("open", path))?;
    let offsets = index.sorted_offsets();
    let place = |offset: u64| -> Option<u32> {
        let at = offsets.binary_search(&offset).ok()?;
        u32::try_from(at).ok()
    };
    let mut window = Window::new(&file, path);
    let mut inflate = Inflate::default();
    let mut bases = Vec::with_capacity(offsets.len());
    let mut unpacked_bytes = 0_u64;
    for offset in &offsets {
        let bytes = window.at(*offset)?;
        let (entry, delta) = entry(bytes, *offset)?;
        let base = match entry.header {
            Header::OfsDelta { base_distance } => offset.checked_sub(base_distance).and_then(place),
            Header::RefDelta { base_id } => index
                .lookup(base_id)
                .and_then(|at| place(index.pack_offset_at_index(at))),
            Header::Commit | Header::Tree | Header::Blob | Header::Tag => Some(WHOLE),
        };
        let base = base.ok_or_else(|| corrupt("a delta builds on what is not in it"))?;
        let size = match base {
            WHOLE => entry.decompressed_size,
            _ => match result_size(delta, &mut inflate) {
                Some(size) => size,
                None => late_result_size(&file, path, *offset, entry.header_size())?
                    .ok_or_else(|| corrupt("a delta does not begin with sizes"))?,
            },
        };
        unpacked_bytes = unpacked_bytes.saturating_add(size);
        bases.push(base);
    }
    Ok(Extent {
        objects: u64::from(index.num_objects()),
        unpacked_bytes,
        delta_depth: deepest(&bases),
    })
}

/// An entry's header, and the bytes behind it.
fn entry(bytes: &[u8], offset: u64) -> Result<(Entry, &[u8]), Reject> {
    let mut size = bytes.iter().take(SIZE_BYTES_MAX);
    if size.all(|byte| byte & 0x80 != 0) {
        return Err(corrupt("the size of an object takes too many bytes"));
    }
    let entry = Entry::from_bytes(bytes, offset, gix::hash::Kind::Sha1)
        .map_err(|_| corrupt("an entry has no header"))?;
    let rest = bytes.get(entry.header_size()..).unwrap_or_default();
    Ok((entry, rest))
}

fn corrupt(message: &str) -> Reject {
    Reject::Corrupt {
        message: message.to_owned(),
    }
}

/// How long what a delta makes is, in bytes: its second number.
fn result_size(delta: &[u8], inflate: &mut Inflate) -> Option<u64> {
    let mut sizes = [0; DELTA_SIZES_MAX];
    inflate.reset();
    let (_, _, written) = inflate.once(delta, &mut sizes).ok()?;
    let (_, rest) = number(sizes.get(..written)?)?;
    number(rest).map(|(size, _)| size)
}

/// The same of a delta of which nothing comes out of the first bytes, which no git writes and every git reads.
fn late_result_size(
    file: &File,
    path: &Path,
    offset: u64,
    header: usize,
) -> Result<Option<u64>, Fault> {
    let mut inflate = Decompress::new();
    let (mut sizes, mut chunk) = ([0; DELTA_SIZES_MAX], vec![0; LATE_BYTES]);
    let begin = offset.saturating_add(header.try_into().unwrap_or(u64::MAX));
    loop {
        let at = begin.saturating_add(inflate.total_in());
        let count = file.read_at(&mut chunk, at);
        let count = count.map_err(Fault::io("read", path))?;
        let input = chunk.get(..count).unwrap_or_default();
        let before = (inflate.total_in(), inflate.total_out());
        let made = usize::try_from(before.1).unwrap_or(usize::MAX);
        let free = sizes.get_mut(made..).unwrap_or_default();
        let status = inflate.decompress(input, free, FlushDecompress::None);
        let made = usize::try_from(inflate.total_out()).unwrap_or(usize::MAX);
        let made = sizes.get(..made).unwrap_or_default();
        let size = number(made).and_then(|(_, rest)| number(rest));
        let is_over = before == (inflate.total_in(), inflate.total_out());
        if size.is_some() || is_over || !matches!(status, Ok(Status::Ok)) {
            return Ok(size.map(|(size, _)| size));
        }
    }
}

/// A number of seven bits a byte, the least ones first, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        let shift = u32::try_from(at).ok()?.checked_mul(7)?;
        let bits = u64::from(byte & 0x7f).checked_shl(shift)?;
        number = number.checked_add(bits)?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    None
}

/// The longest chain; of each entry it is known on which one it builds. A circle, which git does not index, counts
/// as endless.
fn deepest(bases: &[u32]) -> u32 {
    let mut depths = vec![u32::MAX; bases.len()];
    let mut chain = Vec::new();
    let mut deepest = 0;
    for start in 0..bases.len() {
        let mut at = start;
        let mut depth = loop {
            match (depths.get(at), bases.get(at)) {
                (Some(&u32::MAX), Some(&base)) if chain.len() <= bases.len() => {
                    chain.push(at);
                    match usize::try_from(base) {
                        Ok(base) if base < bases.len() => at = base,
                        _ => break 0,
                    }
                }
                (Some(&u32::MAX), _) => return u32::MAX,
                (Some(depth), _) => break depth.saturating_add(1),
                (None, _) => break 0,
            }
        };
        while let Some(at) = chain.pop() {
            if let Some(known) = depths.get_mut(at) {
                *known = depth;
            }
            deepest = deepest.max(depth);
            depth = depth.saturating_add(1);
        }
    }
    deepest
}

/// A part of a file, moved forward.
struct Window<'a> {
    file: &'a File,
    path: &'a Path,
    bytes: Vec<u8>,
    /// Where in the file it begins.
    begin: u64,
    filled: usize,
}

impl<'a> Window<'a> {
    fn new(file: &'a File, path: &'a Path) -> Self {
        Self {
            file,
            path,
            bytes: vec![0; WINDOW_BYTES],
            begin: 0,
            filled: 0,
        }
    }

    /// The bytes from `offset` on: as many as are looked at of one entry, or as there are.
    fn at(&mut self, offset: u64) -> Result<&[u8], Fault> {
        if self
            .part(offset)
            .is_none_or(|part| part.len() < ENTRY_BYTES)
        {
            self.begin = offset;
            self.filled = 0;
            self.fill()?;
        }
        Ok(self.part(offset).unwrap_or_default())
    }

    fn part(&self, offset: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.begin)?).ok()?;
        self.bytes
            .get(from..self.filled.min(from.saturating_add(ENTRY_BYTES)))
    }

    fn fill(&mut self) -> Result<(), Fault> {
        while let Some(free) = self
            .bytes
            .get_mut(self.filled..)
            .filter(|free| !free.is_empty())
        {
            let at = self
                .begin
                .saturating_add(u64::try_from(self.filled).unwrap_or(u64::MAX));
            match self.file.read_at(free, at) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Fault::io("read", self.path)(source)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_longest_chain_in_any_order() {
        assert_eq!(deepest(&[]), 0);
        assert_eq!(deepest(&[WHOLE, WHOLE]), 0);
        assert_eq!(deepest(&[WHOLE, 0, 1, 0]), 2);
        assert_eq!(deepest(&[1, 2, 3, WHOLE, 0]), 4);
        assert_eq!(deepest(&[1, 0]), u32::MAX);
        assert_eq!(deepest(&[WHOLE, 1]), u32::MAX);
    }

    #[test]
    fn reads_numbers() {
        assert_eq!(number(&[5, 9]), Some((5, &[9][..])));
        assert_eq!(number(&[0xac, 0x02]), Some((300, &[][..])));
        assert_eq!(number(&[0x80]), None);
        assert_eq!(number(&[0xff; 12]), None);
    }
}

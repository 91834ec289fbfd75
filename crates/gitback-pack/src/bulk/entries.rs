//! The first look at a large pack, while it arrives: where each object begins, and all that are no deltas.

use std::io::ErrorKind;
use std::time::Duration;

use gix::objs::Kind;
use gix::odb::pack::data::Entry;
use gix::odb::pack::data::entry::Header;
use gix::zlib::{Decompress, FlushDecompress, Status};

use super::bounds::{Bounds, Clock};
use super::judge::Judge;
use super::{OBJECT_MAX, Spot, Spots, WHOLE};
use crate::outgoing::PACK_HEADER_BYTES;
use crate::{Follower, Oid};

/// How much of the pack is in memory at a time, in bytes.
const WINDOW_BYTES: usize = 256 * 1024;
/// How much is unpacked at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// How long the header of an entry can be, in bytes.
const HEADER_MAX: usize = 32;
/// How long nothing comes until it is asked again, which nobody notices.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was seen of a pack.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) spots: Spots,
    pub(super) judge: Judge,
    /// Of all objects that are no deltas, unpacked.
    pub(super) unpacked_bytes: u64,
}

/// Looks at a pack of so many objects; `None` when git has to.
pub(super) fn see(follower: Follower, objects: u32, bounds: &Bounds) -> Option<Seen> {
    let mut stream = Stream::new(follower, bounds);
    stream.header()?;
    let mut seen = Seen {
        spots: Spots::with_capacity(objects),
        judge: Judge::default(),
        unpacked_bytes: 0,
    };
    let mut inflate = Decompress::new();
    for _ in 0..objects {
        see_one(&mut stream, &mut inflate, &mut seen)?;
    }
    seen.spots.end = stream.offset;
    // A checksum, and nothing behind it.
    (stream.rest()? == crate::written::TRAILER_BYTES).then_some(seen)
}

fn see_one(stream: &mut Stream<'_>, inflate: &mut Decompress, seen: &mut Seen) -> Option<()> {
    let bounds = stream.bounds;
    let offset = stream.offset;
    stream.crc = crc32fast::Hasher::new();
    let bytes = stream.at_least(HEADER_MAX)?;
    let entry = Entry::from_bytes(bytes, offset, gix::hash::Kind::Sha1).ok()?;
    let header = entry.header_size();
    // Sizes and distances have one usual form. Of another one, readers may make different numbers.
    if header != entry.header.size(entry.decompressed_size) {
        return None;
    }
    stream.skip(header);
    let size = entry.decompressed_size;
    let index = u32::try_from(seen.spots.all.len()).ok()?;
    let (kind, base) = match entry.header {
        Header::Commit => (Kind::Commit, WHOLE),
        Header::Tree => (Kind::Tree, WHOLE),
        Header::Blob => (Kind::Blob, WHOLE),
        Header::Tag => (Kind::Tag, WHOLE),
        // Its kind is that of what it builds on.
        Header::OfsDelta { base_distance } => {
            let base = seen.spots.find(offset.checked_sub(base_distance)?)?;
            (seen.spots.all.get(usize::try_from(base).ok()?)?.kind, base)
        }
        // What it builds on may be outside.
        Header::RefDelta { .. } => return None,
    };
    let mut oid = Oid::null(gix::hash::Kind::Sha1);
    if base == WHOLE {
        seen.unpacked_bytes = seen.unpacked_bytes.checked_add(size)?;
        if seen.unpacked_bytes > bounds.limits.unpacked_bytes {
            return None;
        }
        let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        hasher.update(&gix::objs::encode::loose_header(kind, size));
        // Only what is judged is kept.
        let mut kept = match kind {
            Kind::Blob => None,
            Kind::Commit | Kind::Tree | Kind::Tag if size > OBJECT_MAX => return None,
            Kind::Commit | Kind::Tree | Kind::Tag => {
                Some(Vec::with_capacity(usize::try_from(size).ok()?))
            }
        };
        stream.inflate(inflate, size, |piece| {
            hasher.update(piece);
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(piece);
            }
        })?;
        oid = hasher.try_finalize().ok()?;
        if let Some(kept) = kept {
            seen.judge.look(bounds, index, kind, &kept)?;
        }
    } else {
        if size > OBJECT_MAX {
            return None;
        }
        stream.inflate(inflate, size, |_| {})?;
    }
    seen.spots.all.push(Spot {
        offset,
        oid,
        crc32: std::mem::take(&mut stream.crc).finalize(),
        base,
        header: u8::try_from(header).ok()?,
        kind,
    });
    Some(())
}

/// A pack that is read from its beginning, as it comes.
struct Stream<'a> {
    follower: Follower,
    bounds: &'a Bounds,
    clock: Clock<'a>,
    window: Vec<u8>,
    at: usize,
    filled: usize,
    /// Of what is at `at`, in the pack.
    offset: u64,
    crc: crc32fast::Hasher,
    piece: Vec<u8>,
}

impl<'a> Stream<'a> {
    fn new(follower: Follower, bounds: &'a Bounds) -> Self {
        Self {
            follower,
            bounds,
            clock: Clock::begin(bounds),
            window: vec![0; WINDOW_BYTES],
            at: 0,
            filled: 0,
            offset: 0,
            crc: crc32fast::Hasher::new(),
            piece: vec![0; PIECE_BYTES],
        }
    }

    /// The caller has looked at it.
    fn header(&mut self) -> Option<()> {
        self.at_least(PACK_HEADER_BYTES)?
            .get(PACK_HEADER_BYTES - 1)?;
        self.skip(PACK_HEADER_BYTES);
        Some(())
    }

    /// What comes next: at least so many bytes, unless the pack ends before.
    fn at_least(&mut self, count: usize) -> Option<&[u8]> {
        while self.filled - self.at < count && self.fill()? {}
        self.window.get(self.at..self.filled)
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> Option<bool> {
        if self.filled == self.window.len() {
            self.window.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        loop {
            let room = self.window.get_mut(self.filled..)?;
            match self.follower.read(room, PATIENCE) {
                Ok(count) => {
                    self.filled += count;
                    return Some(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.bounds.go_on()?,
                Err(_) => return None,
            }
        }
    }

    fn skip(&mut self, count: usize) {
        let end = self.filled.min(self.at + count);
        self.crc
            .update(self.window.get(self.at..end).unwrap_or_default());
        self.offset += u64::try_from(end - self.at).unwrap_or(0);
        self.at = end;
    }

    /// Unpacks what comes next, which has to be so many bytes.
    fn inflate(
        &mut self,
        inflate: &mut Decompress,
        size: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Option<()> {
        inflate.reset();
        loop {
            let input = match self.at_least(1)? {
                [] => return None,
                _ => self.window.get(self.at..self.filled)?,
            };
            let (read, made) = (inflate.total_in(), inflate.total_out());
            let finish = FlushDecompress::Finish;
            let status = inflate.decompress(input, &mut self.piece, finish).ok()?;
            let made = usize::try_from(inflate.total_out() - made).ok()?;
            let read = usize::try_from(inflate.total_in() - read).ok()?;
            if inflate.total_out() > size {
                return None;
            }
            take(self.piece.get(..made)?);
            self.skip(read);
            self.clock.step(made.max(read), self.offset)?;
            match status {
                Status::StreamEnd => return (inflate.total_out() == size).then_some(()),
                Status::Ok | Status::BufError if read > 0 || made > 0 => {}
                Status::Ok | Status::BufError => {
                    // It needs more than there is.
                    if !self.fill()? {
                        return None;
                    }
                }
            }
        }
    }

    /// How many bytes are left.
    fn rest(&mut self) -> Option<usize> {
        let mut count = 0;
        loop {
            let here = self.at_least(1)?.len();
            if here == 0 {
                return Some(count);
            }
            count += here;
            self.skip(here);
        }
    }
}

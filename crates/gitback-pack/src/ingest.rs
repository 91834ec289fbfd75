//! From a stream to an indexed, checked pack in a quarantine.

use std::io::{ErrorKind, Read, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Resource;

use crate::bulk::Bulk;
use crate::cost::{self, Spent};
use crate::git::{Finished, Running, bounded};
use crate::objects::Objects;
use crate::outgoing::{PACK_HEADER_BYTES, first_oid, quarantined};
use crate::quick::{self, Quick};
use crate::severity::{objects_argument, strict_argument};
use crate::spool::Spooling;
use crate::{
    Bound, Fault, Gathered, Incoming, Oid, Quarantine, Received, Reject, free_percent, headers,
};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Length of the checksum that ends a pack.
const TRAILER_BYTES: usize = 20;
const MIB: u64 = 1024 * 1024;
/// Seconds of processor time that any pack may take, however little is allowed for a small one.
const CPU_FIRST: u64 = 60;
/// The part of what a large pack may take that a small one gets.
const CPU_PART: u64 = 15;
/// For so many bytes it may take one second more.
const CPU_SECOND_BYTES: u64 = 256 * 1024;
/// After how many bytes it is looked again whether there is room for more.
const ROOM_EVERY: u64 = 8 * MIB;
/// Largest pack that is held in memory instead of in a file: one that may be indexed in this process.
const MEMORY_MAX: u64 = quick::PACK_MAX;

/// What one pack may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes received.
    pub input_bytes: u64,
    /// Objects that the pack says it has.
    pub objects: u32,
    /// Bytes of all its objects, unpacked.
    pub unpacked_bytes: u64,
    /// Deltas that build on each other.
    pub delta_depth: u32,
    /// Processor time in seconds, of all threads and processes that index it. Of a small pack they get less: a
    /// fifteenth of that, at least a minute, and a second more for every 256 KiB.
    pub cpu_seconds: u64,
    /// Memory of the indexer in bytes, mapped files not counted; of all packs together that are indexed in this process.
    pub memory_bytes: u64,
    /// More of the disk than this has to be free all the time, in percent; with 0 nobody looks.
    pub min_free_percent: u8,
}

impl Limits {
    /// How many seconds of processor time the indexer may have taken when it has been given so many bytes.
    pub(crate) fn cpu_for(&self, bytes: u64) -> u64 {
        let first = CPU_FIRST.max(self.cpu_seconds / CPU_PART);
        let earned = first.saturating_add(bytes / CPU_SECOND_BYTES);
        earned.min(self.cpu_seconds)
    }

    /// How much there may be of one thing.
    #[must_use]
    pub fn of(&self, bound: Bound) -> u64 {
        match bound {
            Bound::Input => self.input_bytes,
            Bound::Objects => self.objects.into(),
            Bound::Unpacked => self.unpacked_bytes,
            Bound::DeltaDepth => self.delta_depth.into(),
            Bound::ProcessorTime => self.cpu_seconds,
            Bound::Memory => self.memory_bytes,
        }
    }

    pub(crate) fn broken(&self, bound: Bound) -> Reject {
        Reject::OverLimit {
            bound,
            limit: self.of(bound),
        }
    }
}

impl Default for Limits {
    /// Two gibibytes received, eight million objects, 128 GiB unpacked (849,014 objects of 500 MB came to 14 GB), the
    /// most deltas on top of each other that git makes, fifteen minutes of processor time (twenty seconds index
    /// 90 MB), two gibibytes of memory, any disk.
    fn default() -> Self {
        Self {
            input_bytes: 2048 * MIB,
            objects: 8_000_000,
            unpacked_bytes: 128 << 30,
            delta_depth: 4095,
            cpu_seconds: 900,
            memory_bytes: 2048 * MIB,
            min_free_percent: 0,
        }
    }
}

/// What is looked at while a pack is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// That each object follows git's rules, and that what it names is there.
    Whole,
    /// That each object follows git's rules.
    Objects,
    /// Nothing but names.
    Nothing,
}

/// What came in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ingested {
    /// The pack exactly as it was received.
    pub pack: Received,
    /// How many objects it has.
    pub objects: u32,
    /// The checksum at its end, which is its name.
    pub checksum: Oid,
}

impl Quarantine {
    /// Reads a pack to the end of the stream, keeps it as received, and indexes and
    /// checks it on the way.
    ///
    /// The pack may be thin. Every object is checked by git's rules (see
    /// [`SEVERITIES`](crate::SEVERITIES)), and whatever an object of the pack names
    /// must be in the pack or in the repository. A stream that stalls is the reader's
    /// to end: an error from `pack` ends the indexer.
    ///
    /// # Errors
    ///
    /// [`Reject`]; the stream may then be read only in part, and the quarantine is
    /// good for nothing but to be dropped.
    pub fn ingest(&mut self, pack: impl Read, limits: &Limits) -> Result<Ingested, Reject> {
        self.ingest_shared(pack, limits, &Incoming::new())
    }

    /// As [`Quarantine::ingest`], and lets others read along: the followers of `incoming` see every
    /// byte as soon as it is here, and the end as soon as the stream has ended, before the pack is
    /// found good. When it is found bad earlier, they see it break off.
    ///
    /// # Errors
    ///
    /// As [`Quarantine::ingest`].
    pub fn ingest_shared(
        &mut self,
        pack: impl Read,
        limits: &Limits,
        incoming: &Incoming,
    ) -> Result<Ingested, Reject> {
        let ingested = self.ingest_into(pack, limits, incoming, Look::Whole, None);
        if ingested.is_err() {
            incoming.break_off();
        }
        ingested
    }

    /// As [`Quarantine::ingest`], for objects that were here and are lost: what they name may be lost as well. One of
    /// `wants` has to be among them.
    ///
    /// # Errors
    ///
    /// As [`Quarantine::ingest`]; [`Reject::Unasked`].
    pub fn ingest_lost(
        &mut self,
        pack: impl Read,
        wants: &[Oid],
        limits: &Limits,
    ) -> Result<Ingested, Reject> {
        let ingested = self.ingest_into(pack, limits, &Incoming::new(), Look::Objects, None)?;
        match self.brings_any(wants)? {
            true => Ok(ingested),
            false => Err(Reject::Unasked),
        }
    }

    /// As [`Quarantine::ingest`], of a pack whose blocks come in any order, and whose file becomes the pack.
    ///
    /// `here` gets a place in the pack, waits until the byte there has been [kept](Gathered::keep), and says up to which place
    /// all others have as well. When it fails, this does.
    ///
    /// # Errors
    ///
    /// As [`Quarantine::ingest`].
    pub fn ingest_gathered(
        &mut self,
        gathered: &Gathered,
        here: impl FnMut(u64) -> std::io::Result<u64>,
        limits: &Limits,
    ) -> Result<Ingested, Reject> {
        let pack = gathered.in_order(here);
        let there = Some(gathered.path());
        let ingested = self.ingest_into(pack, limits, &Incoming::new(), Look::Whole, there)?;
        gathered.note_now()?;
        Ok(ingested)
    }

    /// As [`Quarantine::ingest`], without a look at what the objects are and name.
    pub(crate) fn ingest_loose_ends(
        &mut self,
        pack: impl Read,
        limits: &Limits,
    ) -> Result<Ingested, Reject> {
        self.ingest_into(pack, limits, &Incoming::new(), Look::Nothing, None)
    }

    fn ingest_into(
        &mut self,
        mut pack: impl Read,
        limits: &Limits,
        incoming: &Incoming,
        look: Look,
        there: Option<&Path>,
    ) -> Result<Ingested, Reject> {
        // Before much is sent in vain.
        self.repository().check_synced()?;
        self.opened.take();
        self.limits = *limits;
        let strict = look == Look::Whole;
        let mut header = [0; PACK_HEADER_BYTES];
        pack.read_exact(&mut header)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Reject::Truncated,
                _ => Reject::Broken(error),
            })?;
        let objects = object_count(&header)?;
        if objects > limits.objects {
            return Err(limits.broken(Bound::Objects));
        }
        let mut tee = Tee::begin(self, limits, incoming, objects, there);
        if strict && (1..=quick::OBJECTS_MAX).contains(&objects) {
            tee.sink = Sink::Held;
        } else if strict && objects > 0 {
            tee.index()?;
        } else if objects > 0 {
            tee.sink = Sink::Indexer(self.start_indexer(limits, look, 0, &tee.spent)?);
        }
        tee.write(&header)?;
        tee.copy(&mut pack)?;
        let (pack, checksum, found) = tee.finish()?;
        match found {
            Found::Nothing => {}
            Found::Quick(quick) => self.hold(quick)?,
            Found::Bulk { contained } => self.contained = contained,
            Found::Indexed { contained } => {
                let extent = self.look_at_headers()?;
                extent.check(limits)?;
                // Bases that were put at its end were not looked at: they are here, and what they name may not be.
                self.contained = contained && strict && extent.objects == u64::from(objects);
            }
        }
        Ok(Ingested {
            pack,
            objects,
            checksum,
        })
    }

    fn look_at_headers(&self) -> Result<headers::Extent, Reject> {
        Objects::of_packs(&self.path()?.join("pack"))?.look_at_headers()
    }

    /// Starts git for a pack of which so many bytes are here; it gets what others have left of the time for these.
    fn start_indexer(
        &self,
        limits: &Limits,
        look: Look,
        bytes: u64,
        spent: &Spent,
    ) -> Result<Indexer, Reject> {
        let now = spent.left_of(limits.cpu_for(bytes))?;
        let most = spent.left_of(limits.cpu_seconds)?;
        let mut command = quarantined(self.repository().path(), self.path()?, "index-pack")?;
        command.args(["--stdin", "--fix-thin"]);
        match look {
            Look::Whole => {
                command.arg(strict_argument());
                // Says by how it ends whether the pack needs nothing else.
                command.arg("--check-self-contained-and-connected");
            }
            Look::Objects => drop(command.arg(objects_argument())),
            Look::Nothing => {}
        }
        command.arg(format!("--max-input-size={}", limits.input_bytes));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::spawn(command, "index-pack")?;
        // It has read nothing yet, so that nothing can be used up before the limits hold.
        running.limit_for_now(Resource::Cpu, now, most)?;
        running.limit(Resource::Data, limits.memory_bytes)?;
        Ok(Indexer {
            input: Some(running.stdin()),
            running,
        })
    }
}

/// The count in a pack's header.
fn object_count(header: &[u8; PACK_HEADER_BYTES]) -> Result<u32, Reject> {
    let [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, a, b, c, d] = *header else {
        return Err(Reject::Corrupt {
            message: "it does not begin like a pack of version 2 or 3".to_owned(),
        });
    };
    Ok(u32::from_be_bytes([a, b, c, d]))
}

/// A git index-pack; `input` is gone once it has stopped to read.
struct Indexer {
    input: Option<ChildStdin>,
    running: Running,
}

impl Indexer {
    fn feed(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.input
            && input.write_all(bytes).is_err()
        {
            // It has ended; why is in how it ended.
            self.input = None;
        }
    }

    /// Whether the pack, of so many bytes, needs nothing that is not in it.
    fn finish(self, limits: &Limits, bytes: u64) -> Result<bool, Reject> {
        let Self { input, mut running } = self;
        drop(input);
        let output = running.stdout();
        // One line with the name of the pack; more only when bytes followed the pack.
        let mut named = Vec::new();
        output
            .take(1024)
            .read_to_end(&mut named)
            .map_err(Fault::stream("read from git index-pack"))?;
        let finished = running.finish()?;
        // Bytes after the end of the pack come out behind its name.
        let is_named = named
            .strip_prefix(b"pack\t")
            .and_then(|rest| rest.strip_suffix(b"\n"))
            .is_some_and(|hex| Oid::from_hex(hex).is_ok());
        if finished.succeeded() {
            return match is_named {
                true => Ok(true),
                false => Err(Reject::Corrupt {
                    message: "there are bytes after its end".to_owned(),
                }),
            };
        }
        // It has found no fault, and objects in it name others that are here.
        let complains = finished
            .stderr
            .lines()
            .any(|line| line.starts_with("error: ") || line.starts_with("fatal: "));
        if is_named && finished.status.code() == Some(1) && !complains {
            return Ok(false);
        }
        Err(refusal(&finished, limits, bytes))
    }
}

/// What was made of a pack.
enum Found {
    Nothing,
    /// It was indexed here, and is in memory.
    Quick(Quick),
    /// It was indexed here, and is in the quarantine.
    Bulk {
        /// It needs nothing that is not in it.
        contained: bool,
    },
    /// git has indexed it into the quarantine.
    Indexed {
        /// It needs nothing that is not in it.
        contained: bool,
    },
}

/// Where the bytes go beside the spool.
enum Sink {
    /// The pack says that it has no objects.
    Nowhere,
    /// The spool holds all of it, as long as it is small.
    Held,
    /// It is read from the spool, in this process.
    Bulk(Bulk),
    Indexer(Indexer),
}

/// Sends each chunk to the spool, the checksum and the indexer.
struct Tee<'a> {
    quarantine: &'a Quarantine,
    limits: &'a Limits,
    /// How many the pack says that it has.
    objects: u32,
    /// Before the sink: it breaks off when it is dropped, and then nobody waits for more.
    spool: Spooling,
    sum: gix::hash::Hasher,
    /// What all that index it have taken.
    spent: Arc<Spent>,
    /// How many bytes have come when it is looked whether there is room.
    next_look: u64,
    /// The last bytes, which are the checksum if the stream ends here.
    tail: Vec<u8>,
    sink: Sink,
}

impl<'a> Tee<'a> {
    fn begin(
        quarantine: &'a Quarantine,
        limits: &'a Limits,
        incoming: &Incoming,
        objects: u32,
        there: Option<&Path>,
    ) -> Self {
        let directory = quarantine.repository().spool_path();
        let incoming = incoming.clone();
        let spool = match there {
            Some(there) => Spooling::begin_there(directory, incoming, MEMORY_MAX, there.to_owned()),
            None => Spooling::begin(directory, incoming, MEMORY_MAX),
        };
        Self {
            quarantine,
            limits,
            objects,
            spool,
            sum: gix::hash::hasher(gix::hash::Kind::Sha1),
            spent: Arc::default(),
            next_look: ROOM_EVERY,
            tail: Vec::with_capacity(CHUNK_BYTES + TRAILER_BYTES),
            sink: Sink::Nowhere,
        }
    }

    /// Copies to the end of the stream, or until the indexer has seen enough.
    fn copy(&mut self, pack: &mut impl Read) -> Result<(), Reject> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while !self.has_seen_enough() {
            match pack.read(&mut chunk) {
                Ok(0) => {
                    self.spool.complete();
                    break;
                }
                Ok(count) => self.write(chunk.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Reject::Broken(error)),
            }
        }
        Ok(())
    }

    fn has_seen_enough(&self) -> bool {
        matches!(&self.sink, Sink::Indexer(indexer) if indexer.input.is_none())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let size = self.spool.bytes().saturating_add(size);
        match &self.sink {
            Sink::Held if size > MEMORY_MAX => self.index()?,
            Sink::Bulk(bulk) if bulk.has_given_up() => {
                self.sink = Sink::Indexer(self.hand_to_git()?);
            }
            Sink::Nowhere | Sink::Held | Sink::Bulk(_) | Sink::Indexer(_) => {}
        }
        self.spool.write(bytes)?;
        if self.spool.bytes() > self.limits.input_bytes {
            return Err(self.limits.broken(Bound::Input));
        }
        if self.spool.bytes() >= self.next_look {
            self.next_look = self.spool.bytes().saturating_add(ROOM_EVERY);
            self.look_for_room()?;
            self.grant_time()?;
        }
        self.tail.extend_from_slice(bytes);
        let summed = self.tail.len().saturating_sub(TRAILER_BYTES);
        self.sum.update(self.tail.get(..summed).unwrap_or_default());
        self.tail.drain(..summed);
        match &mut self.sink {
            Sink::Nowhere | Sink::Held | Sink::Bulk(_) => {}
            Sink::Indexer(indexer) => indexer.feed(bytes),
        }
        Ok(())
    }

    /// Begins to index a pack that is not small, here if that is possible.
    fn index(&mut self) -> Result<(), Reject> {
        // It becomes the pack.
        self.spool.spill()?;
        let spent = Arc::clone(&self.spent);
        let bulk = Bulk::begin(self.spool.follow(), self.objects, self.limits, spent);
        self.sink = match bulk {
            Some(bulk) => Sink::Bulk(bulk),
            None => Sink::Indexer(self.hand_to_git()?),
        };
        Ok(())
    }

    /// Starts git, which gets all that is here already, and what is left of the time for it.
    fn hand_to_git(&self) -> Result<Indexer, Reject> {
        let bytes = self.spool.bytes();
        let mut indexer =
            self.quarantine
                .start_indexer(self.limits, Look::Whole, bytes, &self.spent)?;
        let mut follower = self.spool.follow();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = bytes;
        while left > 0 && indexer.input.is_some() {
            let count = follower.read(&mut chunk, Duration::ZERO);
            let count = count.map_err(Fault::stream("read back a pack"))?;
            indexer.feed(chunk.get(..count).unwrap_or_default());
            left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(indexer)
    }

    /// Lets the indexer work as long as what it was given may take.
    fn grant_time(&self) -> Result<(), Reject> {
        let Sink::Indexer(indexer) = &self.sink else {
            return Ok(());
        };
        let now = self.limits.cpu_for(self.spool.bytes());
        let now = self.spent.left_of(now)?;
        let most = self.spent.left_of(self.limits.cpu_seconds)?;
        indexer.running.limit_for_now(Resource::Cpu, now, most)?;
        Ok(())
    }

    /// Has git do it, now that all is here.
    fn indexed_by_git(&self) -> Result<Found, Reject> {
        let indexer = self.hand_to_git()?;
        let contained = indexer.finish(self.limits, self.spool.bytes())?;
        Ok(Found::Indexed { contained })
    }

    fn look_for_room(&self) -> Result<(), Reject> {
        let needed_percent = self.limits.min_free_percent;
        let path = self.quarantine.repository().path();
        let free_percent = free_percent(path).map_err(Fault::io("inspect", path))?;
        if needed_percent == 0 || free_percent > needed_percent {
            return Ok(());
        }
        Err(Reject::Room {
            free_percent,
            needed_percent,
        })
    }

    fn finish(mut self) -> Result<(Received, Oid, Found), Reject> {
        let least = u64::try_from(PACK_HEADER_BYTES + TRAILER_BYTES).unwrap_or(u64::MAX);
        let is_empty = matches!(self.sink, Sink::Nowhere);
        self.grant_time()?;
        let sum = std::mem::replace(&mut self.sum, gix::hash::hasher(gix::hash::Kind::Sha1));
        let sum = sum.try_finalize().map_err(|_| Reject::Corrupt {
            message: "its checksum was forged".to_owned(),
        });
        let is_sound = matches!(&sum, Ok(sum) if sum.as_slice() == self.tail);
        let found = match std::mem::replace(&mut self.sink, Sink::Nowhere) {
            Sink::Nowhere => Found::Nothing,
            Sink::Held => {
                let held = self.spool.held().unwrap_or_default();
                let is_whole = is_sound && self.spool.bytes() >= least;
                let begun = cost::of_this_thread();
                let quick =
                    is_whole.then(|| Quick::look(&held, self.quarantine.repository(), self.limits));
                self.spent.add(cost::of_this_thread().saturating_sub(begun));
                match quick.flatten() {
                    Some(quick) => Found::Quick(quick),
                    None => self.indexed_by_git()?,
                }
            }
            Sink::Bulk(bulk) => {
                let found = match (&sum, self.spool.path()) {
                    (Ok(sum), Some(path)) if is_sound => bulk.finish(&path, sum, self.quarantine),
                    _ => {
                        drop(bulk);
                        None
                    }
                };
                match found {
                    Some(contained) => Found::Bulk { contained },
                    None => self.indexed_by_git()?,
                }
            }
            Sink::Indexer(indexer) => {
                let contained = indexer.finish(self.limits, self.spool.bytes())?;
                Found::Indexed { contained }
            }
        };
        if self.spool.bytes() < least {
            return Err(Reject::Truncated);
        }
        if is_empty && self.spool.bytes() > least {
            return Err(Reject::Corrupt {
                message: "it says that it is empty and is not".to_owned(),
            });
        }
        let sum = sum?;
        if !is_sound {
            return Err(Reject::Corrupt {
                message: "its checksum is not at its end".to_owned(),
            });
        }
        Ok((self.spool.finish(), sum, found))
    }
}

/// What to look for in git's last words, and what it means.
const CAUSES: &[(&str, Cause)] = &[
    ("early EOF", Cause::Truncated),
    ("unresolved delta", Cause::MissingBase),
    ("did not receive expected object", Cause::MissingObject),
    ("fsck error", Cause::BadObject),
    ("Not all child objects", Cause::BadObject),
    ("invalid object", Cause::BadObject),
    ("object type mismatch", Cause::BadObject),
    ("object of unexpected type", Cause::BadObject),
    ("COLLISION", Cause::BadObject),
    ("exceeds maximum allowed size", Cause::TooLarge),
    ("unable to create temporary", Cause::Ours),
    ("unable to write", Cause::Ours),
    ("write error", Cause::Ours),
    ("cannot write", Cause::Ours),
    ("cannot store", Cause::Ours),
    ("unable to create", Cause::Ours),
    ("unable to rename", Cause::Ours),
    ("No space left", Cause::Ours),
    ("Input/output error", Cause::Ours),
    ("Too many open files", Cause::Ours),
];

#[derive(Debug, Clone, Copy)]
enum Cause {
    Truncated,
    MissingBase,
    MissingObject,
    BadObject,
    TooLarge,
    Ours,
}

/// Why the indexer of a pack of so many bytes ended, from how it ended and what it said.
fn refusal(finished: &Finished, limits: &Limits, bytes: u64) -> Reject {
    match finished.lacked() {
        Some(bound @ Bound::ProcessorTime) => {
            let limit = limits.cpu_for(bytes);
            return Reject::OverLimit { bound, limit };
        }
        Some(bound) => return limits.broken(bound),
        None => {}
    }
    let last = finished.last_line();
    let cause = CAUSES
        .iter()
        .find(|(text, _)| last.contains(text))
        .map(|(_, cause)| *cause);
    match cause {
        Some(Cause::Truncated) => Reject::Truncated,
        Some(Cause::MissingBase) => Reject::MissingBase,
        Some(Cause::MissingObject) => Reject::MissingObject {
            oid: first_oid(&last),
        },
        Some(Cause::BadObject) => bad_object(finished, last),
        Some(Cause::TooLarge) => limits.broken(Bound::Input),
        Some(Cause::Ours) => finished.fault().into(),
        // Killed from outside: that says nothing about the pack.
        None if finished.signal().is_some() => finished.fault().into(),
        None => Reject::Corrupt { message: last },
    }
}

/// The last `error:` line names the object and the rule.
fn bad_object(finished: &Finished, last: String) -> Reject {
    let line = finished
        .stderr
        .lines()
        .rev()
        .find(|line| line.starts_with("error: "));
    let message = line.map_or(last, bounded);
    let oid: Option<Oid> = first_oid(&message);
    Reject::BadObject { oid, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_pack_gets_less_time() {
        let with = |cpu_seconds, bytes| {
            let limits = Limits {
                cpu_seconds,
                ..Limits::default()
            };
            limits.cpu_for(bytes)
        };
        assert_eq!(with(900, 0), 60);
        assert_eq!(with(900, 10 * MIB), 100);
        assert_eq!(with(900, 2048 * MIB), 900);
        assert_eq!(with(3600, 0), 240);
        assert_eq!(with(5, 2048 * MIB), 5);
    }

    #[test]
    fn rejects_headers_of_other_things() {
        assert!(object_count(b"PACK\0\0\0\x02\0\0\x01\0").is_ok_and(|count| count == 256));
        for header in [
            b"PACX\0\0\0\x02\0\0\0\0",
            b"PACK\0\0\0\x04\0\0\0\0",
            b"\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(matches!(object_count(header), Err(Reject::Corrupt { .. })));
        }
    }
}

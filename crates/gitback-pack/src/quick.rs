//! Small packs, indexed and checked in this process.
//!
//! A git process costs more than a small pack does. What is done here only ever says yes: a pack that is larger, or
//! has anything in it that is not plainly good, goes to git as it came, which takes it or says why not. So git's rules
//! and git's words decide about everything unusual, and nothing here can refuse what git would take.
//!
//! Source: docs/spec/pack.md §3; gitformat-pack(5).

mod connect;
pub(crate) mod rules;
pub(crate) mod store;
mod unpack;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gix::objs::Kind;

use crate::objects::Objects;
use crate::written::Written;
use crate::{Fault, Limits, Oid, Repository, walk};
pub(crate) use connect::is_complete;
use rules::{Links, Obeyed};
use unpack::Packed;

/// Largest pack that is looked at here, in bytes.
pub(crate) const PACK_MAX: u64 = 1024 * 1024;
/// Most objects in it.
pub(crate) const OBJECTS_MAX: u32 = 4096;
/// What its objects may come to, unpacked, with the objects they build on, in bytes.
const UNPACKED_MAX: u64 = 8 * 1024 * 1024;
/// The same for all packs that are looked at at a time.
const TOGETHER_MAX: u64 = 64 * 1024 * 1024;

/// After so long git does it, whose time is limited in another way.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// What the list of entries of a tree takes for each byte of the tree, about.
const LINKS_FACTOR: u64 = 3;

/// What all packs that are looked at have taken, in bytes.
static TOGETHER: AtomicU64 = AtomicU64::new(0);

/// A small pack, indexed, and its objects, all of them good.
#[derive(Debug)]
pub(crate) struct Quick {
    files: store::Files,
    objects: HashMap<Oid, Links>,
    /// Held as long as they are.
    _room: Room,
}

/// Room for unpacked objects, and time; room is given back on drop.
#[derive(Debug)]
struct Room {
    taken: u64,
    until: Instant,
}

impl Room {
    fn new() -> Self {
        Self {
            taken: 0,
            until: Instant::now() + LOOK_MAX,
        }
    }

    /// Takes so many bytes; `None` when there is not so much, or no time left.
    fn take(&mut self, bytes: u64) -> Option<()> {
        let after = self.taken.checked_add(bytes)?;
        if after > UNPACKED_MAX || Instant::now() > self.until {
            return None;
        }
        let together = TOGETHER.fetch_add(bytes, Ordering::Relaxed);
        self.taken = after;
        (together.saturating_add(bytes) <= TOGETHER_MAX).then_some(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        TOGETHER.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

impl Quick {
    /// Checks a pack. `None` when git has to look at it.
    ///
    /// The caller has checked the checksum at its end.
    pub(crate) fn look(pack: &[u8], repository: &Repository, limits: &Limits) -> Option<Self> {
        let objects = repository.small_objects().ok()?;
        let mut room = Room::new();
        let unpacked = unpack::unpack(pack, &objects, &mut room)?;
        unpacked.extent().check(limits).ok()?;
        let links = check(&unpacked.objects, &objects, &mut room)?;
        Some(Self {
            files: store::Files::of(pack, &unpacked)?,
            objects: links,
            _room: room,
        })
    }

    /// The name of the pack, without suffix.
    pub(crate) fn stem(&self) -> String {
        self.files.stem()
    }

    /// Writes the pack, with the objects that it builds on, and its index to a directory of packs.
    pub(crate) fn write(&self, directory: &Path) -> Result<Written, Fault> {
        self.files.write(directory)
    }

    /// A commit, if the pack has it.
    pub(crate) fn commit(&self, oid: &Oid) -> Option<walk::Commit> {
        match self.objects.get(oid)? {
            Links::Commit { parents, date, .. } => Some(walk::Commit {
                parents: parents.clone(),
                date: *date,
            }),
            Links::Blob | Links::Tree(_) => None,
        }
    }

    /// What kind of object it is, if the pack has it.
    pub(crate) fn kind(&self, oid: &Oid) -> Option<Kind> {
        self.objects.get(oid).map(Links::kind)
    }
}

/// Checks each object and that everything it names is in the pack or in the repository.
fn check(packed: &[Packed], objects: &Objects, room: &mut Room) -> Option<HashMap<Oid, Links>> {
    let by_id: HashMap<&Oid, &Packed> = packed.iter().map(|one| (&one.oid, one)).collect();
    let mut judged: HashMap<(Oid, Obeyed), bool> = HashMap::new();
    let mut is_good = |oid: &Oid, obeyed: Obeyed| {
        *judged.entry((*oid, obeyed)).or_insert_with(|| {
            let limit = rules::OBEYED_MAX;
            match by_id.get(oid) {
                Some(one) => {
                    let length = u64::try_from(one.bytes.len()).unwrap_or(u64::MAX);
                    one.kind == Kind::Blob && length <= limit && obeyed.is_good(&one.bytes)
                }
                None => objects
                    .read_within(oid, Kind::Blob, limit)
                    .is_some_and(|bytes| obeyed.is_good(&bytes)),
            }
        })
    };
    let mut links = HashMap::with_capacity(packed.len());
    for one in packed {
        let length = u64::try_from(one.bytes.len()).ok()?;
        // The same object with another content would be a forgery.
        if objects.has(&one.oid) && objects.read_within(&one.oid, one.kind, length)? != one.bytes {
            return None;
        }
        room.take(match one.kind {
            Kind::Tree => length.checked_mul(LINKS_FACTOR)?,
            Kind::Commit | Kind::Blob | Kind::Tag => 0,
        })?;
        links.insert(one.oid, rules::links(one.kind, &one.bytes, &mut is_good)?);
    }
    let mut named = HashSet::new();
    for (oid, kind) in links.values().flat_map(Links::named) {
        let is_there = match by_id.get(&oid) {
            Some(one) => one.kind == kind,
            None => !named.insert((oid, kind)) || objects.kind(&oid).ok()? == Some(kind),
        };
        is_there.then_some(())?;
    }
    Some(links)
}

#[cfg(test)]
pub(crate) mod tests;

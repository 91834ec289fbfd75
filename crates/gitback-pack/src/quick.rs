//! Small packs, indexed and checked in this process.
//!
//! A git process costs more than a small pack does. What is done here only ever says yes: a pack that is larger, or
//! has anything in it that is not plainly good, goes to git as it came, which takes it or says why not. So git's rules
//! and git's words decide about everything unusual, and nothing here can refuse what git would take.
//!
//! Source: docs/spec/pack.md §3; gitformat-pack(5).

mod connect;
mod rules;
mod store;
mod unpack;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use gix::objs::Kind;

use crate::objects::Objects;
use crate::{Fault, Oid};
use rules::Links;
use unpack::Packed;

/// Largest pack that is looked at here, in bytes.
pub(crate) const PACK_MAX: usize = 1024 * 1024;
/// Most objects in it.
pub(crate) const OBJECTS_MAX: u32 = 4096;
/// What its objects may come to, unpacked, with the objects they build on, in bytes.
const UNPACKED_MAX: u64 = 8 * 1024 * 1024;
/// The same for all packs that are looked at at a time.
const TOGETHER_MAX: u64 = 64 * 1024 * 1024;

/// What all packs that are looked at have taken, in bytes.
static TOGETHER: AtomicU64 = AtomicU64::new(0);

/// The objects of a small pack, all of them good.
#[derive(Debug)]
pub(crate) struct Quick {
    objects: HashMap<Oid, Links>,
}

/// Room for unpacked objects; it is given back on drop.
#[derive(Debug, Default)]
struct Room {
    taken: u64,
}

impl Room {
    /// Takes so many bytes; `None` when there is not so much.
    fn take(&mut self, bytes: u64) -> Option<()> {
        let after = self.taken.checked_add(bytes)?;
        if after > UNPACKED_MAX {
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
    /// Checks a pack and writes it, with the objects that it builds on and its index, to `directory`. `None` when git
    /// has to look at it; then nothing was written.
    ///
    /// The caller has checked the checksum at its end. `objects` is the repository.
    pub(crate) fn index(
        pack: &[u8],
        objects: &Objects,
        directory: &Path,
    ) -> Result<Option<Self>, Fault> {
        let mut room = Room::default();
        let Some(unpacked) = unpack::unpack(pack, objects, &mut room) else {
            return Ok(None);
        };
        let Some(quick) = Self::check(&unpacked.objects, objects) else {
            return Ok(None);
        };
        store::store(pack, &unpacked, directory)?;
        Ok(Some(quick))
    }

    /// Checks each object and that everything it names is in the pack or in the repository.
    fn check(packed: &[Packed], objects: &Objects) -> Option<Self> {
        let bytes: HashMap<&Oid, &Packed> = packed.iter().map(|one| (&one.oid, one)).collect();
        let blob = |oid: &Oid| match bytes.get(oid) {
            Some(one) => (one.kind == Kind::Blob).then(|| one.bytes.clone()),
            None => objects.read_within(oid, Kind::Blob, rules::READ_MAX),
        };
        let mut links = HashMap::with_capacity(packed.len());
        for one in packed {
            // The same object with another content would be a forgery.
            if objects.has(&one.oid) && objects.read(&one.oid).ok()? != one.bytes {
                return None;
            }
            links.insert(one.oid, rules::links(one.kind, &one.bytes, blob)?);
        }
        let mut named = HashSet::new();
        for (oid, kind) in links.values().flat_map(Links::named) {
            let is_there = match bytes.get(&oid) {
                Some(one) => one.kind == kind,
                None => !named.insert((oid, kind)) || objects.kind(&oid).ok()? == Some(kind),
            };
            is_there.then_some(())?;
        }
        Some(Self { objects: links })
    }

    /// What kind of object it is, if the pack has it.
    pub(crate) fn kind(&self, oid: &Oid) -> Option<Kind> {
        self.objects.get(oid).map(Links::kind)
    }
}

#[cfg(test)]
mod tests;

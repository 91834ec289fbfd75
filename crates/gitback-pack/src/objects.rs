//! Looking objects up in process.

use std::fs;
use std::path::Path;

use gix::objs::{Exists as _, Find as _, FindHeader as _, Kind};
use gix::odb::store::init::{Options, Slots};

use crate::{Fault, Oid, walk};

/// Slots for packs that arrive while a look-up runs.
const SLOTS_SPARE: usize = 256;
/// What the object store can address.
const SLOTS_MAX: usize = 32_767;
/// Longest chain of tags that point to tags.
const TAGS_MAX: usize = 64;

/// The objects of a repository as they are now; opened for one operation, so that
/// every pack is seen.
pub(crate) struct Objects {
    store: gix::odb::Handle,
}

impl Objects {
    /// Opens `objects`, which may have alternates among `others`, whose packs count.
    pub(crate) fn open(objects: &Path, others: &[&Path]) -> Result<Self, Fault> {
        Self::open_within(objects, others, None)
    }

    /// Opens `objects` so that nothing is read for which more than `limit` bytes at once are needed.
    pub(crate) fn open_within(
        objects: &Path,
        others: &[&Path],
        limit: Option<usize>,
    ) -> Result<Self, Fault> {
        let mut packs = 0;
        for directory in [objects].iter().chain(others) {
            packs += count_packs(&directory.join("pack"))?;
        }
        // The store says "not there" of objects in packs beyond its slots, so they must never run out.
        let slots = packs.saturating_add(SLOTS_SPARE);
        let given = u16::try_from(slots)
            .ok()
            .filter(|_| slots <= SLOTS_MAX)
            .ok_or_else(|| Fault::TooManyPacks {
                path: objects.to_owned(),
                packs,
                limit: SLOTS_MAX - SLOTS_SPARE,
            })?;
        let options = Options {
            slots: Slots::Given(given),
            alloc_limit_bytes: limit,
            // Alternates are named relative to the store, never to where this process runs.
            current_dir: Some(objects.to_owned()),
            ..Options::default()
        };
        let mut store = gix::odb::at_opts(objects, gix::hash::Kind::Sha1, None, options)
            .map_err(Fault::io("open", objects))?;
        // One operation sees one state; a miss must not list the directory again.
        store.refresh.never();
        Ok(Self { store })
    }

    pub(crate) fn has(&self, oid: &Oid) -> bool {
        self.store.exists(oid)
    }

    pub(crate) fn kind(&self, oid: &Oid) -> Result<Option<Kind>, Fault> {
        let header = self
            .store
            .try_header(oid)
            .map_err(|source| Fault::ReadObject { oid: *oid, source })?;
        Ok(header.map(|header| header.kind))
    }

    /// Kind and size in bytes; `None` when it is not here or cannot be read.
    pub(crate) fn header(&self, oid: &Oid) -> Option<(Kind, u64)> {
        let header = self.store.try_header(oid).ok()??;
        Some((header.kind, header.size))
    }

    /// The bytes of an object if it is of this kind and not larger than `limit`.
    pub(crate) fn read_within(&self, oid: &Oid, kind: Kind, limit: u64) -> Option<Vec<u8>> {
        let (found, size) = self.header(oid)?;
        if found != kind || size > limit {
            return None;
        }
        self.read(oid).ok()
    }

    /// What `oid` is in the end, tags followed.
    pub(crate) fn peel(&self, oid: &Oid) -> Result<(Oid, Kind), Fault> {
        let mut at = *oid;
        for _ in 0..TAGS_MAX {
            let kind = self.kind(&at)?.ok_or(Fault::NoObject { oid: at })?;
            if kind != Kind::Tag {
                return Ok((at, kind));
            }
            let tag = self.read(&at)?;
            at = walk::tag_target(&tag).ok_or(Fault::NoObject { oid: at })?;
        }
        Err(Fault::NoObject { oid: at })
    }

    /// The bytes of an object.
    pub(crate) fn read(&self, oid: &Oid) -> Result<Vec<u8>, Fault> {
        let mut buffer = Vec::new();
        let found = self
            .store
            .try_find(oid, &mut buffer)
            .map_err(|source| Fault::ReadObject { oid: *oid, source })?;
        if found.is_none() {
            return Err(Fault::NoObject { oid: *oid });
        }
        Ok(buffer)
    }

    /// Whether `new` contains `old`. Tags stand for what they point to; anything but
    /// a commit contains only itself.
    pub(crate) fn is_ancestor(&self, old: &Oid, new: &Oid) -> Result<bool, Fault> {
        if old == new {
            return Ok(true);
        }
        let (old, old_kind) = self.peel(old)?;
        let (new, new_kind) = self.peel(new)?;
        if old_kind != Kind::Commit || new_kind != Kind::Commit {
            return Ok(old == new);
        }
        walk::is_ancestor(old, new, |oid| Ok(walk::Commit::parse(&self.read(oid)?)))
    }
}

fn count_packs(directory: &Path) -> Result<usize, Fault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(Fault::io("list", directory)(source)),
    };
    let mut packs = 0;
    for entry in entries {
        let entry = entry.map_err(Fault::io("list", directory))?;
        packs += usize::from(
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "idx"),
        );
    }
    Ok(packs)
}

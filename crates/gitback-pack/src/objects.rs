//! Looking objects up in process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gix::objs::{Exists as _, Find as _, FindHeader as _, Kind};
use gix::odb::store::init::{Options, Slots};

use crate::{Fault, Oid, walk};

/// Largest piece of data that an object store that is kept open reads at once, in bytes.
pub(crate) const READ_MAX: usize = 8 * 1024 * 1024;
/// Slots for packs that arrive while a look-up runs.
const SLOTS_SPARE: usize = 256;
/// What the object store can address.
const SLOTS_MAX: usize = 32_767;
/// Longest chain of tags that point to tags.
const TAGS_MAX: usize = 64;

/// The objects of a repository as they are now; taken for one operation, so that every pack is seen.
pub(crate) struct Objects {
    store: gix::odb::Handle,
    /// For what the limit of the store forbids, unless the limit was asked for.
    beyond: Option<Arc<Kept>>,
}

/// Keeps the object store of one repository open between operations: opening it costs more the more packs there are.
///
/// It is opened anew when the packs are other ones. This process says so by [`Kept::changed`]; what somebody else does
/// shows in the directory's time of change.
#[derive(Debug)]
pub(crate) struct Kept {
    objects: PathBuf,
    changes: AtomicU64,
    open: Mutex<Option<Open>>,
}

struct Open {
    store: gix::odb::Handle,
    seen: Seen,
    used: Instant,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            store: _,
            seen,
            used,
        } = self;
        let mut debug = f.debug_struct("Open");
        debug.field("seen", seen).field("used", used);
        debug.finish_non_exhaustive()
    }
}

/// What tells one set of packs from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    changes: u64,
    directory: Option<SystemTime>,
}

impl Kept {
    pub(crate) const fn new(objects: PathBuf) -> Self {
        Self {
            objects,
            changes: AtomicU64::new(0),
            open: Mutex::new(None),
        }
    }

    /// Says that this process has brought packs in, or taken some away.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Closes the store if nobody has used it for so long; what is being done with it goes on.
    pub(crate) fn close_unused(&self, idle: Duration) {
        let mut open = self.open();
        if open
            .as_ref()
            .is_some_and(|open| open.used.elapsed() >= idle)
        {
            *open = None;
        }
    }

    /// The objects as they are now. What takes more than `READ_MAX` bytes at once is read beside the store, unless it is
    /// to be `bounded`: then it is not read.
    pub(crate) fn objects(self: &Arc<Self>, bounded: bool) -> Result<Objects, Fault> {
        // Before the look at the packs: what changes meanwhile is seen the next time.
        let seen = self.see();
        let mut open = self.open();
        let store = match open.as_mut() {
            Some(open) if open.seen == seen => {
                open.used = Instant::now();
                open.store.clone()
            }
            _ => {
                let store = open_store(&self.objects, &[], Some(READ_MAX))?;
                *open = Some(Open {
                    store: store.clone(),
                    seen,
                    used: Instant::now(),
                });
                store
            }
        };
        Ok(Objects {
            store,
            beyond: (!bounded).then(|| Arc::clone(self)),
        })
    }

    /// The objects of `quarantine`, whose alternate is this store.
    pub(crate) fn with_quarantine(&self, quarantine: &Path) -> Result<Objects, Fault> {
        self.without_openers(|| open_store(quarantine, &[&self.objects], None))
            .map(Objects::unlimited)
    }

    fn unlimited(&self) -> Result<Objects, Fault> {
        self.without_openers(|| open_store(&self.objects, &[], None))
            .map(Objects::unlimited)
    }

    /// Runs `act` while nobody opens the store. Who has it open has all indexes of packs open; packs themselves are opened
    /// by name when they are needed.
    pub(crate) fn without_openers<T>(&self, act: impl FnOnce() -> T) -> T {
        let _open = self.open();
        act()
    }

    fn see(&self) -> Seen {
        let changes = self.changes.load(Ordering::SeqCst);
        let directory = fs::metadata(self.objects.join("pack"));
        Seen {
            changes,
            directory: directory.and_then(|metadata| metadata.modified()).ok(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // What is behind it is whole at any time.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects {
    const fn unlimited(store: gix::odb::Handle) -> Self {
        Self {
            store,
            beyond: None,
        }
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
        match (self.store.try_find(oid, &mut buffer), &self.beyond) {
            (Ok(Some(_)), _) => Ok(buffer),
            (Ok(None), _) => Err(Fault::NoObject { oid: *oid }),
            (Err(source), None) => Err(Fault::ReadObject { oid: *oid, source }),
            // It, or what it builds on, may be larger than the store may read.
            (Err(_), Some(kept)) => kept.unlimited()?.read(oid),
        }
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

/// Opens a store, which may have alternates among `others`, whose packs count, and all indexes in it. Nothing is read for
/// which more than `limit` bytes at once are needed.
fn open_store(
    objects: &Path,
    others: &[&Path],
    limit: Option<usize>,
) -> Result<gix::odb::Handle, Fault> {
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
    // Packs keep their names longer than their indexes do, so these must not be opened later.
    store.exists(&Oid::null(gix::hash::Kind::Sha1));
    Ok(store)
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

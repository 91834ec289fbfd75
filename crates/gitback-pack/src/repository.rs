//! A bare repository: made, opened, looked into.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use gix::objs::Kind;
use rustix::fs::FlockOperation;

use crate::kept_refs::KeptRefs;
use crate::objects::{Change, Kept, Objects, Opened};
use crate::offered::Trees;
use crate::recover::{self, Recovered};
use crate::unreachable::Users;
use crate::{Fault, Limits, Oid, OpenError};

/// The configuration of every repository, whole. Opening one writes it anew when it differs.
const CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tbare = true
\tfilemode = true
\tlogAllRefUpdates = false
\tsharedRepository = umask
[gc]
\tauto = 0
\tpruneExpire = never
[transfer]
\thideRefs = refs/gitback
[uploadpack]
\tallowFilter = true
\tallowAnySHA1InWant = true
";
/// Largest configuration that is read.
const CONFIG_MAX: u64 = 1024 * 1024;
/// How long an opener waits for a lock that is about to be free.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_RETRY: Duration = Duration::from_millis(5);
/// Where the packs in transit are.
const SPOOL: &str = "gitback-spool";

/// One bare repository, which only this process writes.
///
/// Cheap to clone. The repository is locked until the last clone and the last
/// quarantine made from it are dropped.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// One change of refs at a time.
    refs: Mutex<()>,
    kept_refs: KeptRefs,
    /// Packs that are not what their index says, by name without suffix.
    damaged: Mutex<BTreeSet<String>>,
    /// Whoever takes packs away, or reads all of them, does so alone.
    upkeep: Mutex<()>,
    users: Mutex<Users>,
    /// What a walk through what is here may cost.
    limits: OnceLock<Limits>,
    objects: Kept,
    /// Whoever syncs the names of packs does so alone.
    syncs: Mutex<()>,
    /// That has failed.
    unsynced: AtomicBool,
    /// What was found out of the packs that are given in blocks.
    trees: Trees,
    /// The directory itself, locked.
    _lock: OwnedFd,
}

impl Repository {
    /// Makes a repository, and everything that leads to it, readable by its owner alone.
    ///
    /// What a crash left of an earlier try is completed. `HEAD` points to `refs/heads/main`.
    ///
    /// # Errors
    ///
    /// [`Fault::Exists`] if there is one already; [`Fault::Io`].
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let path = std::path::absolute(path).map_err(Fault::io("resolve", path))?;
        if path.join("HEAD").exists() {
            return Err(Fault::Exists { path });
        }
        let directories = [
            "",
            "objects",
            "objects/info",
            "objects/pack",
            "refs",
            "refs/heads",
            "refs/tags",
            SPOOL,
        ];
        for directory in directories {
            let directory = path.join(directory);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(Fault::io("create", &directory))?;
        }
        let lock = lock(&path)?.ok_or_else(|| Fault::Exists { path: path.clone() })?;
        write_durably(&path.join("config"), CONFIG.as_bytes())?;
        for directory in directories.iter().rev() {
            sync_directory(&path.join(directory))?;
        }
        // HEAD comes last: with it the directory is a repository.
        write_durably(&path.join("HEAD"), b"ref: refs/heads/main\n")?;
        if let Some(parent) = path.parent() {
            sync_directory(parent)?;
        }
        Ok(Self::new(path, lock))
    }

    /// Opens a repository and clears away what a killed process left in it.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotRepository`], [`OpenError::InUse`] while another handle lives,
    /// [`OpenError::Unsupported`] for anything but a bare SHA-1 repository whose refs
    /// are files, [`OpenError::Planted`] for alternates and the like.
    pub fn open(path: &Path) -> Result<(Self, Recovered), OpenError> {
        let path = std::path::absolute(path).map_err(Fault::io("resolve", path))?;
        let looks_right = path.join("objects").is_dir()
            && path.join("refs").is_dir()
            && path.join("HEAD").is_file();
        if !looks_right {
            return Err(OpenError::NotRepository { path });
        }
        let lock = lock(&path)?.ok_or_else(|| OpenError::InUse { path: path.clone() })?;
        check_format(&path)?;
        for planted in ["objects/info/alternates", "commondir", "shallow"] {
            let planted = path.join(planted);
            if planted.symlink_metadata().is_ok() {
                return Err(OpenError::Planted { path: planted });
            }
        }
        for directory in [
            "objects/info",
            "objects/pack",
            "refs/heads",
            "refs/tags",
            SPOOL,
        ] {
            let directory = path.join(directory);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(Fault::io("create", &directory))?;
        }
        let recovered = recover::recover(&path)?;
        Ok((Self::new(path, lock), recovered))
    }

    fn new(path: PathBuf, lock: OwnedFd) -> Self {
        Self {
            inner: Arc::new(Inner {
                objects: Kept::new(path.join("objects")),
                syncs: Mutex::default(),
                unsynced: AtomicBool::new(false),
                path,
                refs: Mutex::new(()),
                kept_refs: KeptRefs::default(),
                damaged: Mutex::default(),
                upkeep: Mutex::default(),
                users: Mutex::default(),
                limits: OnceLock::new(),
                trees: Trees::default(),
                _lock: lock,
            }),
        }
    }

    /// Says, once, what a walk through what is here may cost; else it is what a pack may by default.
    pub fn set_limits(&self, limits: &Limits) {
        // Whoever comes later has opened a repository that is open already.
        let _ = self.inner.limits.set(*limits);
    }

    pub(crate) fn limits(&self) -> Limits {
        self.inner.limits.get().copied().unwrap_or_default()
    }

    /// Its directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether the object is in it.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the object store cannot be opened.
    pub fn has(&self, oid: &Oid) -> Result<bool, Fault> {
        Ok(self.objects()?.has(oid))
    }

    /// What kind of object it is; `None` when it is not here.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the object store cannot be read.
    pub fn kind(&self, oid: &Oid) -> Result<Option<Kind>, Fault> {
        self.objects()?.kind(oid)
    }

    /// Whether `new` contains `old`: the same, or a descendant.
    ///
    /// A tag stands for what it points to; anything but a commit contains only itself.
    ///
    /// # Errors
    ///
    /// [`Fault::NoObject`] if one of them, or a commit between them, is not here.
    pub fn is_ancestor(&self, old: &Oid, new: &Oid) -> Result<bool, Fault> {
        self.objects()?.is_ancestor(old, new, None)
    }

    /// What its files take on disk, in bytes; those in transit included.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn size_bytes(&self) -> Result<u64, Fault> {
        let mut total = 0_u64;
        recover::each_file(self.path(), &mut |path| {
            match path.symlink_metadata() {
                Ok(metadata) => total = total.saturating_add(metadata.len()),
                // Files in transit come and go.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(Fault::io("inspect", path)(source)),
            }
            Ok(())
        })?;
        Ok(total)
    }

    /// Gives back what is held in memory for looking objects up, if that was not used for so long.
    pub fn close_unused(&self, idle: Duration) {
        self.inner.objects.close_unused(idle);
    }

    pub(crate) fn objects(&self) -> Result<Objects, Fault> {
        self.inner.objects.objects(false)
    }

    #[cfg(test)]
    pub(crate) fn kept_objects(&self) -> &Kept {
        &self.inner.objects
    }

    /// The objects, in as far as each can be read in a bounded amount of memory.
    pub(crate) fn small_objects(&self) -> Result<Objects, Fault> {
        self.inner.objects.objects(true)
    }

    /// The objects of a quarantine of this repository, and its own.
    pub(crate) fn quarantined_objects(
        &self,
        quarantine: &Path,
        opened: &Opened,
    ) -> Result<Objects, Fault> {
        self.inner.objects.with_quarantine(quarantine, opened)
    }

    /// Runs `act`, which brings in packs or takes some away, while nothing in this process opens one.
    pub(crate) fn change_packs(
        &self,
        act: impl FnOnce() -> Result<Change, Fault>,
    ) -> Result<(), Fault> {
        self.inner.objects.change(act)
    }

    /// Makes the names of all packs durable. Also for a push without one: the objects that it builds on may have been
    /// moved here by another that has not come to its own sync yet.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`]; then nothing that has just entered may be said to be stored. If the disk has not confirmed the
    /// names, the kernel may call them clean all the same, so that another sync would say nothing of them: it is
    /// [`Fault::Unsynced`] until the repository is opened anew.
    pub fn sync_packs(&self) -> Result<(), Fault> {
        // A failure is reported once: nobody else may ask meanwhile.
        let _only_one = self
            .inner
            .syncs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.check_synced()?;
        let path = self.packs_path();
        let directory = File::open(&path).map_err(Fault::io("open", &path))?;
        directory.sync_all().map_err(|source| {
            self.inner.unsynced.store(true, Ordering::SeqCst);
            Fault::io("sync", path)(source)
        })
    }

    /// Whether the disk has confirmed the names of packs each time.
    ///
    /// # Errors
    ///
    /// [`Fault::Unsynced`].
    pub fn check_synced(&self) -> Result<(), Fault> {
        match self.inner.unsynced.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Fault::Unsynced {
                path: self.packs_path(),
            }),
        }
    }

    pub(crate) fn packs_path(&self) -> PathBuf {
        self.objects_path().join("pack")
    }

    pub(crate) fn objects_path(&self) -> PathBuf {
        self.path().join("objects")
    }

    pub(crate) fn spool_path(&self) -> PathBuf {
        self.path().join(SPOOL)
    }

    pub(crate) fn is_damaged(&self, stem: &str) -> bool {
        let damaged = self.inner.damaged.lock();
        damaged
            .unwrap_or_else(PoisonError::into_inner)
            .contains(stem)
    }

    pub(crate) fn note_damaged(&self, stem: String) {
        let damaged = self.inner.damaged.lock();
        damaged.unwrap_or_else(PoisonError::into_inner).insert(stem);
    }

    /// The right to take packs away, unless somebody else has it.
    pub(crate) fn try_upkeep(&self) -> Option<MutexGuard<'_, ()>> {
        match self.inner.upkeep.try_lock() {
            Ok(right) => Some(right),
            // The mutex guards no data, so that a panic elsewhere has broken nothing.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn forget_damaged(&self, stem: &str) {
        let damaged = self.inner.damaged.lock();
        damaged.unwrap_or_else(PoisonError::into_inner).remove(stem);
    }

    /// Waits for the right to take packs away.
    pub(crate) fn upkeep(&self) -> MutexGuard<'_, ()> {
        let upkeep = self.inner.upkeep.lock();
        upkeep.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn users(&self) -> MutexGuard<'_, Users> {
        // Every change is one of a number.
        let users = self.inner.users.lock();
        users.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trees(&self) -> &Trees {
        &self.inner.trees
    }

    pub(crate) fn kept_refs(&self) -> &KeptRefs {
        &self.inner.kept_refs
    }

    /// Runs `change` while no other thread changes refs.
    pub(crate) fn changing_refs<T>(&self, change: impl FnOnce() -> T) -> T {
        // The mutex guards no data, so that a panic elsewhere has broken nothing.
        let _guard = self
            .inner
            .refs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change()
    }
}

/// Locks the directory; `None` when somebody else has.
fn lock(path: &Path) -> Result<Option<OwnedFd>, Fault> {
    let directory = File::open(path).map_err(Fault::io("open", path))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(directory.into())),
            // A process that another thread is just starting holds a copy of every
            // descriptor, also of one that was closed, until it becomes git.
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(Fault::io("lock", path)(error.into())),
        }
    }
}

/// Refuses what would be misread, and puts our configuration back.
fn check_format(path: &Path) -> Result<(), OpenError> {
    let unsupported = |what| {
        Err(OpenError::Unsupported {
            path: path.to_owned(),
            what,
        })
    };
    if path.join("reftable").exists() {
        return unsupported("its refs are a reftable");
    }
    let file = path.join("config");
    let bytes = match fs::metadata(&file) {
        Ok(metadata) if metadata.len() > CONFIG_MAX => {
            return unsupported("its configuration is too large");
        }
        Ok(_) => fs::read(&file).map_err(Fault::io("read", &file))?,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(Fault::io("inspect", &file)(source).into()),
    };
    if bytes == CONFIG.as_bytes() {
        return Ok(());
    }
    let metadata = gix::config::file::Metadata::from(gix::config::Source::Local);
    // A power cut can leave the file empty or torn; what no longer reads is replaced as well.
    let config = gix::config::File::from_bytes_no_includes(&bytes, metadata, Default::default())
        .unwrap_or_default();
    let is_other = |key: &str, ours: &str| {
        config
            .string(key)
            .is_some_and(|value| !value.eq_ignore_ascii_case(ours.as_bytes()))
    };
    if is_other("extensions.objectFormat", "sha1") {
        return unsupported("its objects are not named by SHA-1");
    }
    if is_other("extensions.refStorage", "files") {
        return unsupported("its refs are a reftable");
    }
    if matches!(config.boolean("core.bare"), Ok(Some(false))) {
        return unsupported("it is not bare");
    }
    Ok(write_durably(&file, CONFIG.as_bytes())?)
}

/// Replaces a file as a whole and syncs it and its directory.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let new = path.with_extension("lock");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(Fault::io("create", &new))?;
    file.write_all(bytes).map_err(Fault::io("write", &new))?;
    file.sync_all().map_err(Fault::io("sync", &new))?;
    fs::rename(&new, path).map_err(Fault::io("replace", path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), Fault> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Fault::io("sync", path))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    /// Whether a thread of this process, as `/proc/thread-self` names it, waits for something.
    fn is_asleep(task: &Path) -> bool {
        let state = fs::read_to_string(Path::new("/proc").join(task).join("stat"));
        state.is_ok_and(|text| {
            text.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('S'))
        })
    }

    #[test]
    fn whoever_waits_for_a_sync_hears_that_it_failed() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let repository = Repository::create(&dir.path().join("r.git")).expect("made");
        let syncing = repository.inner.syncs.lock().expect("no panic");
        let (begun, inbox) = channel();
        let other = repository.clone();
        let waiting = thread::spawn(move || {
            let task = fs::read_link("/proc/thread-self").expect("Linux");
            begun.send(task).expect("the test listens");
            other.sync_packs()
        });
        let task = inbox.recv().expect("it begins");
        while !waiting.is_finished() && !is_asleep(&task) {
            thread::yield_now();
        }
        // What a failed sync leaves behind.
        repository.inner.unsynced.store(true, Ordering::SeqCst);
        drop(syncing);
        let heard = waiting.join().expect("no panic");
        assert!(matches!(heard, Err(Fault::Unsynced { .. })), "{heard:?}");
    }
}

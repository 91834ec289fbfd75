//! Small files, read under a bound and written so that a crash loses nothing.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use thiserror::Error;

/// The longest file of a puddle that is read, in bytes.
pub const FILE_MAX: u64 = 64 * 1024;
/// Whoever replaces a file of the puddle holds the lock on this one.
const LOCK: &str = "lock";

/// Why a file of the puddle was not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Another process is changing the puddle's files right now.
    #[error("another process is changing the files in {dir}")]
    Busy {
        /// The puddle's directory.
        dir: PathBuf,
    },
    /// A file or directory could not be made durable.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl From<FileFault> for WriteError {
    fn from(fault: FileFault) -> Self {
        let FileFault {
            action,
            path,
            source,
        } = fault;
        Self::Io {
            action,
            path,
            source,
        }
    }
}

/// An `io::Error` with what was tried on which path.
#[derive(Debug)]
pub(crate) struct FileFault {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileFault {
    let path = path.to_owned();
    move |source| FileFault {
        action,
        path,
        source,
    }
}

/// Reads a whole file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileFault> {
    // Without NONBLOCK, a pipe of this name would keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => read_file(path, File::from(file)).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(fault("read", path)(error.into())),
    }
}

/// Reads a whole file that [`replace`] may replace; `None` if there is none. What is no file, and
/// what a link points to, is refused: replacing it would not do what its owner meant.
pub(crate) fn read_own(path: &Path) -> Result<Option<Vec<u8>>, FileFault> {
    let refused = |why| fault("read", path)(io::Error::new(io::ErrorKind::InvalidInput, why));
    // Without NONBLOCK, a pipe of this name would keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(refused("it is a symbolic link")),
        Err(error) => return Err(fault("read", path)(error.into())),
    };
    read_file(path, file).map(Some)
}

fn read_file(path: &Path, file: File) -> Result<Vec<u8>, FileFault> {
    let metadata = file.metadata().map_err(fault("read", path))?;
    if !metadata.is_file() {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
        return Err(fault("read", path)(why));
    }
    read_bounded(path, file)
}

fn read_bounded(path: &Path, file: File) -> Result<Vec<u8>, FileFault> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fault("read", path))?;
    if bytes.len() as u64 > FILE_MAX {
        let long = io::Error::new(io::ErrorKind::FileTooLarge, "longer than 64 KiB");
        return Err(fault("read", path)(long));
    }
    Ok(bytes)
}

/// Makes `dir` and what is missing above it, and closes `dir` to others.
pub(crate) fn private_dir(dir: &Path) -> Result<(), FileFault> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fault("create", dir))?;
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(fault("protect", dir))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => Ok(()),
    }
}

/// The right to replace files of a puddle, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    dir: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock on `dir`, which is there. Never waits.
    pub(crate) fn take(dir: &Path) -> Result<Self, WriteError> {
        let path = dir.join(LOCK);
        // Opened for writing, because a lock over NFS needs that.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| fault("open", &path)(error.into()))?;
        let file = File::from(file);
        match file.try_lock() {
            Ok(()) => Ok(Self {
                dir: dir.to_owned(),
                _file: file,
            }),
            Err(TryLockError::WouldBlock) => Err(WriteError::Busy {
                dir: dir.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(fault("lock", &path)(error).into()),
        }
    }

    /// Removes the lock's file, and so the right to change what is no more.
    pub(crate) fn remove(self) -> Result<(), WriteError> {
        let path = self.dir.join(LOCK);
        Ok(fs::remove_file(&path).map_err(fault("remove", &path))?)
    }

    /// The puddle's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes `bytes` to the file that is called `name` in the puddle's
    /// directory, durable and all or nothing, in place of what is there.
    pub(crate) fn replace(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), FileFault> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.new"));
        let replaced = write_synced(&temporary, mode, bytes)
            .and_then(|()| fs::rename(&temporary, &path).map_err(fault("rename", &temporary)));
        if replaced.is_err() {
            // The first failure is the one worth reporting.
            let _ = fs::remove_file(&temporary);
        }
        replaced?;
        sync_dir(path.parent().unwrap_or(&self.dir))
    }
}

/// Whether somebody else holds the right to replace files of the puddle in `dir` just now. Changes nothing.
#[must_use]
pub fn is_busy(dir: &Path) -> bool {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(dir.join(LOCK), flags, Mode::empty());
    opened.is_ok_and(|file| {
        let locked = File::from(file).try_lock();
        matches!(locked, Err(TryLockError::WouldBlock))
    })
}

/// How a file was put in place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is there, and durable.
    New,
    /// Another file has the name and was left alone.
    NameTaken,
}

/// Writes `bytes` to `dir/name`, durable and all or nothing, unless the name
/// is taken.
pub(crate) fn place(dir: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<Placed, FileFault> {
    let temporary = dir.join(format!("{name}.{}.new", std::process::id()));
    let written = write_synced(&temporary, mode, bytes);
    let placed = written.and_then(|()| {
        match renameat_with(CWD, &temporary, CWD, dir.join(name), RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Placed::New),
            Err(Errno::EXIST) => Ok(Placed::NameTaken),
            Err(error) => Err(fault("rename", &temporary)(error.into())),
        }
    });
    if !matches!(placed, Ok(Placed::New)) {
        // The first failure is the one worth reporting.
        let _ = fs::remove_file(&temporary);
    }
    if placed.is_ok() {
        sync_dir(dir)?;
    }
    placed
}

fn write_synced(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), FileFault> {
    // A process that crashed may have left it; where it cannot be removed, opening says why.
    let _ = fs::remove_file(path);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            // The umask may have taken bits away.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.map_err(fault("write", path))
}

fn sync_dir(dir: &Path) -> Result<(), FileFault> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(fault("sync", dir))
}

//! A puddle on its way to another machine: its files as bytes, checked at both ends.
//!
//! What travels is what lies on the disk, so every key stays under the passphrase that it had.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use gitback_identity::PuddleKey;
use thiserror::Error;

use crate::files::{self, FileFault, Lock, Placed, WriteError};
use crate::rotate::{self, RETIRED};
use crate::store::{self, PUBLIC, PUBLIC_MODE, WRAPPED, WRAPPED_MODE};
use crate::wrapped::{Malformed, Wrapped};
use crate::{Public, RETIRED_MAX, ReadError, read_public};

/// The longest file that travels, in bytes. Those that gitback writes have less than 1 KiB.
pub const CARRIED_FILE_MAX: usize = 4096;

/// The files of a whole puddle: the current key and the retired ones, all wrapped.
///
/// What exists is sound: each file parses within the bounds of docs/spec/puddle.md §2, all are of one name, and no key is there
/// twice. That the keys open under a passphrase is not known.
#[derive(Clone)]
pub struct Carried {
    public: Public,
    current: Vec<u8>,
    retired: Vec<(PuddleKey, Vec<u8>)>,
}

/// Why bytes are no puddle that could be installed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CarryReject {
    /// A file is longer than [`CARRIED_FILE_MAX`].
    #[error("{file} has {bytes} bytes, and {CARRIED_FILE_MAX} is the most")]
    TooLong {
        /// Which one.
        file: String,
        /// Its length.
        bytes: usize,
    },
    /// There are more than [`RETIRED_MAX`] retired keys.
    #[error("{count} retired keys are more than {RETIRED_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A file is no wrapped key.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// Which one.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of a later version of gitback.
    #[error("{file} has version {version}, which this version cannot read")]
    UnknownVersion {
        /// Which one.
        file: String,
        /// The version it names.
        version: u64,
    },
    /// A retired key goes by another name than the current one.
    #[error("{file} is of another puddle, {name}")]
    OtherName {
        /// Which one.
        file: String,
        /// Its name.
        name: String,
    },
    /// One key is there twice.
    #[error("the key {key} is there twice")]
    Twice {
        /// The key.
        key: PuddleKey,
    },
}

/// Why a puddle's files could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// They cannot be read.
    #[error("cannot read the puddle")]
    Read(#[source] ReadError),
    /// Another process is changing them.
    #[error("cannot keep the puddle from changing while it is read")]
    Lock(#[source] WriteError),
    /// What is there would not be taken elsewhere.
    #[error("the puddle is not fit to travel")]
    Unfit(#[source] CarryReject),
}

/// Why a puddle was not installed. Nothing of it is left on the disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is a puddle already, or a file where one of its files would go.
    #[error("{path} exists already")]
    Exists {
        /// The file that is there.
        path: PathBuf,
        /// Whose it is, if it can be read.
        public: Option<Box<Public>>,
    },
    /// What is there cannot be looked at.
    #[error("cannot look at what is there")]
    Read(#[source] ReadError),
    /// A file could not be written.
    #[error("cannot write the puddle's files")]
    Write(#[source] WriteError),
}

impl InstallError {
    /// Whether the disk is full, or the user's share of it.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        let Self::Write(WriteError::Io { source, .. }) = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

impl Carried {
    /// Checks files that came from elsewhere: `identity.wrapped`, and those of `retired`.
    ///
    /// # Errors
    ///
    /// [`CarryReject`] for the first thing that is wrong with them.
    ///
    /// Source: docs/spec/puddle.md §2 and §4; docs/spec/pairing.md §6.
    pub fn new(current: Vec<u8>, retired: Vec<Vec<u8>>) -> Result<Self, CarryReject> {
        if retired.len() > RETIRED_MAX {
            return Err(CarryReject::TooMany {
                count: retired.len(),
            });
        }
        let wrapped = decode(WRAPPED.to_owned(), &current)?;
        let mut keys = BTreeSet::from([wrapped.key]);
        let mut kept = Vec::with_capacity(retired.len());
        for (number, bytes) in (1..).zip(retired) {
            let file = format!("retired key {number}");
            let old = decode(file.clone(), &bytes)?;
            if old.name != wrapped.name {
                let name = old.name.to_string();
                return Err(CarryReject::OtherName { file, name });
            }
            if !keys.insert(old.key) {
                return Err(CarryReject::Twice { key: old.key });
            }
            kept.push((old.key, bytes));
        }
        Ok(Self {
            public: store::public_of(&wrapped),
            current,
            retired: kept,
        })
    }

    /// Whose puddle it is.
    #[must_use]
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// The bytes of `identity.wrapped`.
    #[must_use]
    pub fn current(&self) -> &[u8] {
        &self.current
    }

    /// The bytes of the retired keys' files.
    pub fn retired(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.retired.iter().map(|(_, bytes)| bytes.as_slice())
    }
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carried")
            .field("public", &self.public)
            .field("retired", &self.retired.len())
            .finish_non_exhaustive()
    }
}

/// Reads the files of the puddle in `dir`, as they are, for another machine. Needs no passphrase.
///
/// # Errors
///
/// [`ExportError`] for what is wrong with the files.
pub fn export(dir: &Path) -> Result<Carried, ExportError> {
    // Where there is no puddle, no lock is to be left behind.
    read_public(dir).map_err(ExportError::Read)?;
    let lock = Lock::take(dir).map_err(ExportError::Lock)?;
    let (_, current) = rotate::read_files(lock.dir()).map_err(ExportError::Read)?;
    let retired = rotate::read_retired_files(lock.dir()).map_err(ExportError::Read)?;
    for (old, bytes) in &retired {
        // On this machine the file has a name.
        let file = format!("{RETIRED}/{}", rotate::file_name(&old.key));
        decode(file, bytes).map_err(ExportError::Unfit)?;
    }
    let retired = retired.into_iter().map(|(_, bytes)| bytes).collect();
    Carried::new(current, retired).map_err(ExportError::Unfit)
}

/// Finds what would keep every puddle from being installed into `dir`, before one has come.
///
/// # Errors
///
/// [`InstallError::Exists`] for a puddle, or a file in its place, or retired keys that cannot belong to one puddle;
/// [`InstallError::Read`] for files in `retired` that are no keys.
pub fn refuse_occupied(dir: &Path) -> Result<(), InstallError> {
    refuse_if_there(dir)?;
    let left = rotate::retired_files(dir).map_err(InstallError::Read)?;
    let of_another = left.windows(2).find_map(|pair| match pair {
        [one, other] if one.name != other.name => Some(other),
        _ => None,
    });
    match of_another {
        Some(other) => Err(InstallError::Exists {
            path: dir.join(RETIRED).join(rotate::file_name(&other.key)),
            public: None,
        }),
        None => Ok(()),
    }
}

/// Puts a puddle that came from another machine into `dir`: all of it or nothing, durable when this returns.
///
/// Shape: the retired keys first, then `identity.wrapped`, by which the puddle begins to be, then `identity.pub`. A crash leaves
/// no puddle or a whole one; what it leaves of retired keys gives way when the same puddle comes again, whatever its passphrase is by then.
///
/// # Errors
///
/// [`InstallError::Exists`] if `dir` holds a puddle or any file that would be replaced; otherwise [`InstallError`] for what failed.
///
/// Source: docs/spec/pairing.md §6.
pub fn install(dir: &Path, carried: &Carried) -> Result<Public, InstallError> {
    refuse_if_there(dir)?;
    let write = |fault: FileFault| InstallError::Write(fault.into());
    files::private_dir(dir).map_err(write)?;
    let lock = Lock::take(dir).map_err(InstallError::Write)?;
    refuse_if_there(dir)?;
    let retired_dir = dir.join(RETIRED);
    refuse_strangers(&retired_dir, carried)?;
    let mut placed = Vec::new();
    let installed = place_all(&lock, carried, &mut placed);
    if installed.is_err() {
        for path in placed {
            // The first failure is the one worth reporting.
            let _ = std::fs::remove_file(path);
        }
        // Only where it is empty, as it is if it was made here.
        let _ = std::fs::remove_dir(&retired_dir);
    }
    installed?;
    // The puddle is there; `unlock` writes this one again where it is missing.
    let _ = files::place(
        dir,
        PUBLIC,
        PUBLIC_MODE,
        &store::encode_public(&carried.public),
    );
    Ok(carried.public.clone())
}

fn place_all(
    lock: &Lock,
    carried: &Carried,
    placed: &mut Vec<PathBuf>,
) -> Result<(), InstallError> {
    let write = |fault: FileFault| InstallError::Write(fault.into());
    let retired_dir = lock.dir().join(RETIRED);
    if !carried.retired.is_empty() {
        files::private_dir(&retired_dir).map_err(write)?;
    }
    for (key, bytes) in &carried.retired {
        let name = rotate::file_name(key);
        let path = retired_dir.join(&name);
        match files::place(&retired_dir, &name, WRAPPED_MODE, bytes).map_err(write)? {
            Placed::New => placed.push(path),
            Placed::NameTaken => take_over(lock, key, &path, bytes)?,
        }
    }
    let path = lock.dir().join(WRAPPED);
    // From here on it may be there, though perhaps not durable.
    let outcome = files::place(lock.dir(), WRAPPED, WRAPPED_MODE, &carried.current);
    match outcome {
        Ok(Placed::New) => Ok(()),
        Ok(Placed::NameTaken) => Err(exists(lock.dir(), path)),
        Err(fault) => {
            let there = files::read_own(&path).ok().flatten();
            // Only if it is ours.
            if there.as_deref() == Some(carried.current()) {
                placed.push(path);
            }
            Err(write(fault))
        }
    }
}

/// What a crash left of the same key gives way, also under another passphrase: no puddle has it, as `identity.wrapped` is missing.
fn take_over(lock: &Lock, key: &PuddleKey, path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    let there = files::read_own(path).map_err(|fault| InstallError::Read(fault.into()))?;
    let same = there.and_then(|there| Wrapped::decode(&there).ok());
    if same.is_none_or(|same| same.key != *key) {
        let path = path.to_owned();
        return Err(InstallError::Exists { path, public: None });
    }
    let name = format!("{RETIRED}/{}", rotate::file_name(key));
    let replaced = lock.replace(&name, WRAPPED_MODE, bytes);
    replaced.map_err(|fault| InstallError::Write(fault.into()))
}

/// Keys in `retired` that do not belong to the puddle would become its own.
fn refuse_strangers(retired_dir: &Path, carried: &Carried) -> Result<(), InstallError> {
    let there = rotate::retired_paths(retired_dir).map_err(InstallError::Read)?;
    // A rotation that was cut short leaves a copy of the current key.
    let keys = carried.retired.iter().map(|(key, _)| key);
    let ours: BTreeSet<PathBuf> = keys
        .chain([&carried.public.key])
        .map(|key| retired_dir.join(rotate::file_name(key)))
        .collect();
    match there.into_iter().find(|path| !ours.contains(path)) {
        Some(path) => Err(InstallError::Exists { path, public: None }),
        None => Ok(()),
    }
}

fn refuse_if_there(dir: &Path) -> Result<(), InstallError> {
    let paths = [dir.join(WRAPPED), dir.join(PUBLIC)];
    let there = paths
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok());
    there.map_or(Ok(()), |path| Err(exists(dir, path)))
}

fn exists(dir: &Path, path: PathBuf) -> InstallError {
    InstallError::Exists {
        path,
        public: read_public(dir).ok().map(Box::new),
    }
}

fn decode(file: String, bytes: &[u8]) -> Result<Wrapped, CarryReject> {
    if bytes.len() > CARRIED_FILE_MAX {
        let bytes = bytes.len();
        return Err(CarryReject::TooLong { file, bytes });
    }
    Wrapped::decode(bytes).map_err(|malformed| match malformed {
        Malformed::UnknownVersion(version) => CarryReject::UnknownVersion { file, version },
        other @ (Malformed::Json(_) | Malformed::Field(_) | Malformed::Cost(_)) => {
            CarryReject::Damaged {
                file,
                why: other.to_string(),
            }
        }
    })
}

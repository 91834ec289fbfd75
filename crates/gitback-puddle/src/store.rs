//! The files of a puddle in a person's home.

use std::io;
use std::path::{Path, PathBuf};

use gitback_identity::{PublicKey, PuddleKey, PuddleName, SecretKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::files::{self, FileFault, Lock, Placed, WriteError};
use crate::rotate::{self, RETIRED};
use crate::wrapped::{Fresh, Malformed, OpenFailure, Wrapped, pretty};
use crate::{Cost, CostReject, Passphrase};

/// The secret, wrapped. This file alone is the puddle.
pub(crate) const WRAPPED: &str = "identity.wrapped";
/// What anybody may know.
pub(crate) const PUBLIC: &str = "identity.pub";
/// Who may read the first, and who the second.
pub(crate) const WRAPPED_MODE: u32 = 0o600;
pub(crate) const PUBLIC_MODE: u32 = 0o644;

/// What anybody may know about a puddle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    /// The name people type.
    pub name: PuddleName,
    /// The key.
    pub key: PuddleKey,
    /// When the key was made, in milliseconds since 1970; for display.
    pub created_ms: u64,
}

/// The operating system gave no random bytes.
#[derive(Debug, Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness {
    #[source]
    source: getrandom::Error,
}

/// Why no puddle was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is one already; nothing was changed.
    #[error("{path} exists already")]
    Exists {
        /// The file that is there.
        path: PathBuf,
        /// Whose it is, if it can be read.
        public: Option<Box<Public>>,
    },
    /// Earlier keys of some puddle lie where they would become this one's; nothing was changed.
    #[error("{path} is the key of an earlier puddle")]
    Retired {
        /// One of them.
        path: PathBuf,
    },
    /// What is there of earlier keys is not known to be this puddle's; nothing was changed.
    #[error("earlier keys are there that do not fit")]
    Unfit(#[source] ReadError),
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
    /// There is not enough memory to wrap the key.
    #[error("cannot derive a key from the passphrase with {memory_kib} KiB")]
    Derive {
        /// The memory asked for.
        memory_kib: u32,
        /// The cause.
        #[source]
        source: argon2::Error,
    },
    /// There is no randomness for salt and nonce.
    #[error("cannot wrap the key")]
    NoRandomness(#[source] NoRandomness),
}

/// Why a puddle's files could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no puddle here.
    #[error("there is no puddle in {dir}")]
    Missing {
        /// Where one would be.
        dir: PathBuf,
    },
    /// A file is there and cannot be read.
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
    /// A file was read and is no puddle's.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of a later version of gitback.
    #[error("{path} has version {version}, which this version cannot read")]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version it names.
        version: u64,
    },
    /// A retired key goes by another name than the puddle.
    #[error("{path} is a key of another puddle, {name}")]
    OtherName {
        /// The file.
        path: PathBuf,
        /// Its name.
        name: PuddleName,
    },
    /// More files than a puddle ever has.
    #[error("{dir} holds more than {limit} keys")]
    TooMany {
        /// Where they are.
        dir: PathBuf,
        /// How many there may be.
        limit: usize,
    },
    /// The file asks for more memory or time than any honest one.
    #[error("{path} is not safe to open")]
    Cost {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        #[source]
        source: CostReject,
    },
}

/// Why `identity.pub` was not brought up to date.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MendError {
    /// What it should say cannot be read.
    #[error("cannot read the puddle")]
    Read(#[source] ReadError),
    /// It could not be written.
    #[error("cannot bring identity.pub up to date")]
    Write(#[source] WriteError),
}

/// Why a puddle's secret could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// Wrong, or the file was changed: the seal cannot tell which.
    #[error("wrong passphrase for {name}")]
    WrongPassphrase {
        /// The puddle.
        name: PuddleName,
    },
    /// No retired key of this puddle is this one.
    #[error("{key} is no retired key of this puddle")]
    NotRetired {
        /// The key that was asked for.
        key: PuddleKey,
    },
    /// The file cannot be used.
    #[error("cannot read the wrapped key")]
    Read(#[source] ReadError),
    /// There is not enough memory to unwrap the key.
    #[error("cannot derive a key from the passphrase")]
    Derive(#[source] argon2::Error),
}

/// The JSON form of `identity.pub`.
#[derive(Serialize, Deserialize)]
struct Form {
    name: String,
    public_key: String,
    fingerprint: String,
    created_ms: u64,
}

/// Makes a new secret key.
///
/// # Errors
///
/// [`NoRandomness`] if the operating system gives none.
pub fn generate() -> Result<SecretKey, NoRandomness> {
    let mut seed = Zeroizing::new([0; 32]);
    fill(seed.as_mut())?;
    Ok(SecretKey::from_seed(&seed))
}

/// Wraps `secret` under `passphrase` and stores it in `dir`.
///
/// Shape: `dir` 0700; `identity.wrapped` 0600; `identity.pub` 0644; all durable
/// when this returns. `now_ms` is milliseconds since 1970. Real keys take
/// [`Cost::STANDARD`].
///
/// # Errors
///
/// [`CreateError::Exists`] if `dir` holds either file; an existing puddle is
/// never touched. [`CreateError::Retired`] if `dir` holds earlier keys, which
/// would become keys of this puddle. Otherwise [`CreateError`] for what failed.
///
/// Source: docs/spec/puddle.md.
pub fn create(
    dir: &Path,
    name: &PuddleName,
    passphrase: &Passphrase,
    secret: &SecretKey,
    cost: Cost,
    now_ms: u64,
) -> Result<Public, CreateError> {
    refuse_if_there(dir)?;
    let retired = rotate::retired_paths(&dir.join(RETIRED)).map_err(CreateError::Unfit)?;
    if let Some(path) = retired.into_iter().min() {
        return Err(CreateError::Retired { path });
    }
    make(dir, name, passphrase, secret, cost, now_ms)
}

/// The same for a key that there was before: earlier keys that are in `dir` stay, if all of them have the same name.
///
/// # Errors
///
/// [`CreateError::Unfit`] if one has another name, or cannot be read; otherwise as [`create`].
pub fn create_again(
    dir: &Path,
    name: &PuddleName,
    passphrase: &Passphrase,
    secret: &SecretKey,
    cost: Cost,
    now_ms: u64,
) -> Result<Public, CreateError> {
    refuse_if_there(dir)?;
    rotate::check_left_behind(dir, name).map_err(CreateError::Unfit)?;
    make(dir, name, passphrase, secret, cost, now_ms)
}

fn refuse_if_there(dir: &Path) -> Result<(), CreateError> {
    let paths = [dir.join(WRAPPED), dir.join(PUBLIC)];
    let mut there = paths
        .into_iter()
        .filter(|path| path.symlink_metadata().is_ok());
    there.next().map_or(Ok(()), |path| Err(exists(dir, path)))
}

fn make(
    dir: &Path,
    name: &PuddleName,
    passphrase: &Passphrase,
    secret: &SecretKey,
    cost: Cost,
    now_ms: u64,
) -> Result<Public, CreateError> {
    let wrapped = wrap(name, passphrase, secret, cost, now_ms)?;
    let public = public_of(&wrapped);
    files::private_dir(dir).map_err(CreateError::from)?;
    if files::place(dir, WRAPPED, WRAPPED_MODE, &wrapped.encode())? == Placed::NameTaken {
        return Err(exists(dir, dir.join(WRAPPED)));
    }
    // Losing a race for this one is harmless: the wrapped key is ours.
    files::place(dir, PUBLIC, PUBLIC_MODE, &encode_public(&public))?;
    Ok(public)
}

/// Reads whose puddle lies in `dir`, without a passphrase.
///
/// `identity.wrapped` says it. `identity.pub` alone says it too, and where both
/// are there and differ, a new `identity.wrapped` was just put there.
///
/// # Errors
///
/// [`ReadError::Missing`] if there is no puddle; otherwise [`ReadError`] for
/// what is wrong with its files.
///
/// Source: docs/spec/puddle.md §1.
pub fn read_public(dir: &Path) -> Result<Public, ReadError> {
    let stated = read_stated(dir)?;
    match read_wrapped(dir) {
        Ok(wrapped) => Ok(public_of(&wrapped)),
        Err(missing @ ReadError::Missing { .. }) => stated.ok_or(missing),
        Err(error) => Err(error),
    }
}

/// Refuses a puddle whose files are links, or no files: one of another user's, who may mean something else to be read.
///
/// # Errors
///
/// [`ReadError`] for the file.
pub fn refuse_links(dir: &Path) -> Result<(), ReadError> {
    for name in [WRAPPED, PUBLIC] {
        files::read_own(&dir.join(name))?;
    }
    Ok(())
}

/// Whether the wrapped key itself is in `dir`, whatever it is worth.
#[must_use]
pub fn has_secret(dir: &Path) -> bool {
    dir.join(WRAPPED).symlink_metadata().is_ok()
}

/// Makes `identity.pub` say what `identity.wrapped` says, where it does not:
/// after a crash, or after a new `identity.wrapped` was brought here.
///
/// # Errors
///
/// [`MendError`] for what is wrong with the files, or cannot be written.
pub fn mend(dir: &Path) -> Result<(), MendError> {
    let stated = read_stated(dir).map_err(MendError::Read)?;
    let public = match read_wrapped(dir) {
        Ok(wrapped) => public_of(&wrapped),
        Err(ReadError::Missing { .. }) => return Ok(()),
        Err(error) => return Err(MendError::Read(error)),
    };
    if stated.as_ref() == Some(&public) {
        return Ok(());
    }
    let lock = Lock::take(dir).map_err(MendError::Write)?;
    // Only the lock keeps what was read above from changing.
    let wrapped = read_wrapped(dir).map_err(MendError::Read)?;
    replace_public(&lock, &public_of(&wrapped)).map_err(MendError::Write)
}

/// Unwraps the secret key in `dir`.
///
/// # Errors
///
/// [`UnwrapError::WrongPassphrase`] if the seal does not open; otherwise
/// [`UnwrapError`] for what is wrong with the file.
pub fn unwrap(dir: &Path, passphrase: &Passphrase) -> Result<SecretKey, UnwrapError> {
    let wrapped = read_wrapped(dir).map_err(UnwrapError::Read)?;
    open(&wrapped, passphrase)
}

pub(crate) fn open(wrapped: &Wrapped, passphrase: &Passphrase) -> Result<SecretKey, UnwrapError> {
    wrapped.open(passphrase).map_err(|failure| match failure {
        OpenFailure::Sealed => UnwrapError::WrongPassphrase {
            name: wrapped.name.clone(),
        },
        OpenFailure::Derive(source) => UnwrapError::Derive(source),
    })
}

fn wrap(
    name: &PuddleName,
    passphrase: &Passphrase,
    secret: &SecretKey,
    cost: Cost,
    now_ms: u64,
) -> Result<Wrapped, CreateError> {
    let fresh = fresh().map_err(CreateError::NoRandomness)?;
    Wrapped::seal(name, secret, passphrase, cost, &fresh, now_ms).map_err(|source| {
        CreateError::Derive {
            memory_kib: cost.memory_kib(),
            source,
        }
    })
}

fn exists(dir: &Path, path: PathBuf) -> CreateError {
    CreateError::Exists {
        path,
        public: read_public(dir).ok().map(Box::new),
    }
}

fn read_wrapped(dir: &Path) -> Result<Wrapped, ReadError> {
    let path = dir.join(WRAPPED);
    let Some(bytes) = files::read(&path)? else {
        return Err(ReadError::Missing {
            dir: dir.to_owned(),
        });
    };
    decode_wrapped(path, &bytes)
}

/// What `bytes`, read from `path`, wrap.
pub(crate) fn decode_wrapped(path: PathBuf, bytes: &[u8]) -> Result<Wrapped, ReadError> {
    Wrapped::decode(bytes).map_err(|malformed| match malformed {
        Malformed::UnknownVersion(version) => ReadError::UnknownVersion { path, version },
        Malformed::Cost(source) => ReadError::Cost { path, source },
        other @ (Malformed::Json(_) | Malformed::Field(_)) => ReadError::Damaged {
            path,
            why: other.to_string(),
        },
    })
}

/// What `identity.pub` says, if it is there.
fn read_stated(dir: &Path) -> Result<Option<Public>, ReadError> {
    let path = dir.join(PUBLIC);
    let Some(bytes) = files::read(&path)? else {
        return Ok(None);
    };
    let stated = decode_public(&bytes).map_err(|why| ReadError::Damaged { path, why })?;
    Ok(Some(stated))
}

pub(crate) fn replace_public(lock: &Lock, public: &Public) -> Result<(), WriteError> {
    Ok(lock.replace(PUBLIC, PUBLIC_MODE, &encode_public(public))?)
}

pub(crate) fn encode_public(public: &Public) -> Vec<u8> {
    pretty(&Form {
        name: public.name.to_string(),
        public_key: public.key.to_string(),
        fingerprint: public.key.fingerprint().to_string(),
        created_ms: public.created_ms,
    })
}

fn decode_public(bytes: &[u8]) -> Result<Public, String> {
    let form: Form = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let bad = |field: &str| format!("the field {field} is not valid");
    let key: PublicKey = form.public_key.parse().map_err(|_| bad("public_key"))?;
    Ok(Public {
        name: form.name.parse().map_err(|_| bad("name"))?,
        key: PuddleKey::new(key),
        created_ms: form.created_ms,
    })
}

pub(crate) fn public_of(wrapped: &Wrapped) -> Public {
    Public {
        name: wrapped.name.clone(),
        key: wrapped.key,
        created_ms: wrapped.created_ms,
    }
}

/// Salt and nonce for one wrapping.
pub(crate) fn fresh() -> Result<Fresh, NoRandomness> {
    let mut fresh = Fresh {
        salt: [0; 16],
        nonce: [0; 24],
    };
    fill(&mut fresh.salt)?;
    fill(&mut fresh.nonce)?;
    Ok(fresh)
}

fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(|source| NoRandomness { source })
}

impl From<FileFault> for CreateError {
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

impl From<FileFault> for ReadError {
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

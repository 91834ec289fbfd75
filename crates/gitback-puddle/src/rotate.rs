//! A new key for a puddle, and the keys that it had before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gitback_identity::{PuddleKey, PuddleName, SecretKey, hex};
use thiserror::Error;

use crate::files::{self, Lock, WriteError};
use crate::store::{self, WRAPPED, WRAPPED_MODE};
use crate::wrapped::Wrapped;
use crate::{Cost, NoRandomness, Passphrase, Public, ReadError, UnwrapError, read_public};

/// The most retired keys that one puddle has.
pub const RETIRED_MAX: usize = 64;

/// Where the retired keys are, each in a file of its own.
pub(crate) const RETIRED: &str = "retired";
const SUFFIX: &str = ".wrapped";
/// How much of a key its file is named after, in bytes.
const NAMED_BYTES: usize = 8;

/// A puddle before and after it got a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key that was retired.
    pub retired: Public,
    /// The key that took its place.
    pub current: Public,
}

/// Why a puddle did not get a new key. Whatever the reason, it has one whole
/// current key, and every older key is kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RotateError {
    /// A file is missing or damaged; nothing was changed.
    #[error("the puddle cannot be read")]
    Read(#[source] ReadError),
    /// The current key does not open; nothing was changed.
    #[error("the current key does not open")]
    Unwrap(#[source] UnwrapError),
    /// The new key is not new; nothing was changed.
    #[error("the puddle has had the key {key} already")]
    NotNew {
        /// The key.
        key: PuddleKey,
    },
    /// There are [`RETIRED_MAX`] retired keys; nothing was changed.
    #[error("the puddle has {RETIRED_MAX} retired keys, which is the most it can have")]
    Full,
    /// There is not enough memory to wrap the new key; nothing was changed.
    #[error("cannot derive a key from the passphrase with {memory_kib} KiB")]
    Derive {
        /// The memory asked for.
        memory_kib: u32,
        /// The cause.
        #[source]
        source: argon2::Error,
    },
    /// There is no randomness for salt and nonce; nothing was changed.
    #[error("cannot wrap the new key")]
    NoRandomness(#[source] NoRandomness),
    /// A file could not be written. What was written before stays, and
    /// rotating again is safe.
    #[error("cannot write the puddle's files")]
    Write(#[source] WriteError),
}

/// Gives the puddle in `dir` the key `secret`, under the same name and
/// passphrase, and retires the one that it has.
///
/// Shape: the file of the current key is copied to `retired`, then
/// `identity.wrapped` and `identity.pub` are replaced, each durable before the
/// next; a crash anywhere leaves the old puddle or the new one, whole.
/// `now_ms` is milliseconds since 1970; the new key's time is later than the
/// old one's even where the clock was set back.
///
/// # Errors
///
/// [`RotateError::Unwrap`] if the passphrase is not that of the current key;
/// otherwise [`RotateError`] for what failed.
///
/// Source: docs/spec/puddle.md §4.
pub fn rotate(
    dir: &Path,
    passphrase: &Passphrase,
    secret: &SecretKey,
    cost: Cost,
    now_ms: u64,
) -> Result<Rotated, RotateError> {
    // Where there is no puddle, no lock is to be left behind.
    read_public(dir).map_err(RotateError::Read)?;
    let lock = Lock::take(dir).map_err(RotateError::Write)?;
    let rotation = Rotation::prepare(dir, passphrase, secret, cost, now_ms)?;
    for step in STEPS {
        step(&rotation, &lock).map_err(RotateError::Write)?;
    }
    Ok(Rotated {
        retired: store::public_of(&rotation.old),
        current: store::public_of(&rotation.new),
    })
}

/// Reads the keys that the puddle in `dir` had before, newest first.
///
/// A key that is still the current one is none of them: a rotation that was cut
/// short leaves a copy of it there.
///
/// # Errors
///
/// [`ReadError`] for what is wrong with the puddle's files.
pub fn read_retired(dir: &Path) -> Result<Vec<Public>, ReadError> {
    let retired = read_retired_wrapped(dir)?;
    Ok(retired.iter().map(store::public_of).collect())
}

/// Unwraps a retired key, for what only that key can still sign: the hand-over
/// of a project to its successor.
///
/// # Errors
///
/// [`UnwrapError::NotRetired`] if `key` is no retired key of this puddle;
/// [`UnwrapError::WrongPassphrase`] if the seal does not open; otherwise
/// [`UnwrapError`] for what is wrong with the files.
pub fn unwrap_retired(
    dir: &Path,
    key: &PuddleKey,
    passphrase: &Passphrase,
) -> Result<SecretKey, UnwrapError> {
    let retired = read_retired_wrapped(dir).map_err(UnwrapError::Read)?;
    let wrapped = retired
        .iter()
        .find(|wrapped| wrapped.key == *key)
        .ok_or(UnwrapError::NotRetired { key: *key })?;
    store::open(wrapped, passphrase)
}

/// What a rotation will write, all of it known before anything is written.
struct Rotation {
    old: Wrapped,
    /// The old key's file, byte for byte.
    old_file: Vec<u8>,
    new: Wrapped,
}

/// One step, durable when it returns.
type Step = fn(&Rotation, &Lock) -> Result<(), WriteError>;

/// The steps in their order. Before the second, the old key is the current
/// one and is also in `retired`, where reading passes over it; from then on the
/// new key is, whatever `identity.pub` still says.
const STEPS: [Step; 3] = [
    Rotation::keep_old,
    Rotation::replace_wrapped,
    Rotation::replace_public,
];

impl Rotation {
    fn prepare(
        dir: &Path,
        passphrase: &Passphrase,
        secret: &SecretKey,
        cost: Cost,
        now_ms: u64,
    ) -> Result<Self, RotateError> {
        let (old, old_file) = read_files(dir).map_err(RotateError::Read)?;
        let retired = read_retired(dir).map_err(RotateError::Read)?;
        if retired.len() >= RETIRED_MAX {
            return Err(RotateError::Full);
        }
        let key = PuddleKey::new(secret.public());
        if old.key == key || retired.iter().any(|public| public.key == key) {
            return Err(RotateError::NotNew { key });
        }
        store::open(&old, passphrase).map_err(RotateError::Unwrap)?;
        let fresh = store::fresh().map_err(RotateError::NoRandomness)?;
        let created_ms = now_ms.max(old.created_ms.saturating_add(1));
        let new = Wrapped::seal(&old.name, secret, passphrase, cost, &fresh, created_ms).map_err(
            |source| RotateError::Derive {
                memory_kib: cost.memory_kib(),
                source,
            },
        )?;
        Ok(Self { old, old_file, new })
    }

    /// A copy that a rotation left that was cut short is replaced: since then,
    /// the current file may have got another passphrase.
    fn keep_old(&self, lock: &Lock) -> Result<(), WriteError> {
        files::private_dir(&lock.dir().join(RETIRED))?;
        let name = format!("{RETIRED}/{}", file_name(&self.old.key));
        Ok(lock.replace(&name, WRAPPED_MODE, &self.old_file)?)
    }

    fn replace_wrapped(&self, lock: &Lock) -> Result<(), WriteError> {
        Ok(lock.replace(WRAPPED, WRAPPED_MODE, &self.new.encode())?)
    }

    fn replace_public(&self, lock: &Lock) -> Result<(), WriteError> {
        store::replace_public(lock, &store::public_of(&self.new))
    }
}

/// The current key's file, decoded and as it is; both files must be there to be
/// replaced, and be what they seem.
pub(crate) fn read_files(dir: &Path) -> Result<(Wrapped, Vec<u8>), ReadError> {
    files::read_own(&dir.join(store::PUBLIC))?;
    let path = dir.join(WRAPPED);
    let Some(bytes) = files::read_own(&path)? else {
        return Err(ReadError::Missing {
            dir: dir.to_owned(),
        });
    };
    // A damaged identity.pub may mean a failing disk: no time for changing keys.
    read_public(dir)?;
    Ok((store::decode_wrapped(path, &bytes)?, bytes))
}

fn read_retired_wrapped(dir: &Path) -> Result<Vec<Wrapped>, ReadError> {
    read_retired_files(dir).map(without_bytes)
}

/// The retired keys with their files, byte for byte.
pub(crate) fn read_retired_files(dir: &Path) -> Result<Vec<(Wrapped, Vec<u8>)>, ReadError> {
    let mut retired = files_in_retired(dir)?;
    if retired.is_empty() {
        return Ok(retired);
    }
    let current = current(dir)?.map(|public| public.key);
    retired.retain(|(wrapped, _)| Some(wrapped.key) != current);
    Ok(retired)
}

fn current(dir: &Path) -> Result<Option<Public>, ReadError> {
    match read_public(dir) {
        Ok(public) => Ok(Some(public)),
        Err(ReadError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All that is in `retired`, newest first, with a copy of the current key if there is one.
pub(crate) fn retired_files(dir: &Path) -> Result<Vec<Wrapped>, ReadError> {
    files_in_retired(dir).map(without_bytes)
}

fn without_bytes(files: Vec<(Wrapped, Vec<u8>)>) -> Vec<Wrapped> {
    files.into_iter().map(|(wrapped, _)| wrapped).collect()
}

/// Keys of another name are none of this puddle's: the own name means the own keys.
fn files_in_retired(dir: &Path) -> Result<Vec<(Wrapped, Vec<u8>)>, ReadError> {
    let paths = retired_paths(&dir.join(RETIRED))?;
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let name = current(dir)?.map(|public| public.name);
    let retired = read_keys(paths)?;
    match name {
        Some(name) => of_name(dir, &name, retired),
        None => Ok(retired),
    }
}

/// Refuses keys of another name than `name`.
fn of_name(
    dir: &Path,
    name: &PuddleName,
    retired: Vec<(Wrapped, Vec<u8>)>,
) -> Result<Vec<(Wrapped, Vec<u8>)>, ReadError> {
    match retired.iter().find(|(wrapped, _)| wrapped.name != *name) {
        None => Ok(retired),
        Some((other, _)) => Err(ReadError::OtherName {
            path: dir.join(RETIRED).join(file_name(&other.key)),
            name: other.name.clone(),
        }),
    }
}

/// Whether all that is in `retired`, before there is a puddle, can be what a puddle called `name` had.
pub(crate) fn check_left_behind(dir: &Path, name: &PuddleName) -> Result<(), ReadError> {
    let retired = read_keys(retired_paths(&dir.join(RETIRED))?)?;
    of_name(dir, name, retired).map(drop)
}

fn read_keys(paths: Vec<PathBuf>) -> Result<Vec<(Wrapped, Vec<u8>)>, ReadError> {
    let mut retired = Vec::new();
    for path in paths {
        // One that was removed in the meantime is as if it had never been listed.
        let Some(bytes) = files::read_own(&path)? else {
            continue;
        };
        let wrapped = store::decode_wrapped(path.clone(), &bytes)?;
        if path.file_name() != Some(file_name(&wrapped.key).as_ref()) {
            let why = format!("the key in it is {}", wrapped.key);
            return Err(ReadError::Damaged { path, why });
        }
        retired.push((wrapped, bytes));
    }
    retired.sort_by_key(|(wrapped, _)| (std::cmp::Reverse(wrapped.created_ms), wrapped.key));
    Ok(retired)
}

/// The files in `dir` that are named as those of retired keys are.
pub(crate) fn retired_paths(dir: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let fault = |source| ReadError::Io {
        action: "list",
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        if !is_named_after_a_key(&path) {
            continue;
        }
        // One more than the most: the copy that a rotation left that was cut short.
        if paths.len() > RETIRED_MAX {
            return Err(ReadError::TooMany {
                dir: dir.to_owned(),
                limit: RETIRED_MAX,
            });
        }
        paths.push(path);
    }
    Ok(paths)
}

fn is_named_after_a_key(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(is_retired_name)
}

/// Whether the file of a retired key can have this name.
pub(crate) fn is_retired_name(name: &str) -> bool {
    name.strip_suffix(SUFFIX)
        .is_some_and(|digits| hex::decode_exact::<NAMED_BYTES>(digits).is_some())
}

/// Whether a writer of one of `names`, or of a retired key, uses this name until the file is whole.
pub(crate) fn is_temporary(name: &str, names: &[&str]) -> bool {
    let Some(stem) = name.strip_suffix(".new") else {
        return false;
    };
    let is_known = |stem: &str| names.contains(&stem) || is_retired_name(stem);
    let without_pid = stem
        .rsplit_once('.')
        .filter(|(_, pid)| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()));
    is_known(stem) || without_pid.is_some_and(|(stem, _)| is_known(stem))
}

/// What the file of a retired key is called.
pub(crate) fn file_name(key: &PuddleKey) -> String {
    let first = key.as_bytes().first_chunk::<NAMED_BYTES>();
    let digits = first.map(|bytes| hex::encode(bytes)).unwrap_or_default();
    format!("{digits}{SUFFIX}")
}

#[cfg(test)]
mod tests;

//! Another passphrase for the keys of a puddle.

use std::fs;
use std::path::Path;

use gitback_identity::PuddleKey;
use thiserror::Error;

use crate::files::{self, Lock, WriteError};
use crate::rotate::{RETIRED, file_name, is_temporary, retired_files};
use crate::store::{self, PUBLIC, WRAPPED, WRAPPED_MODE};
use crate::wrapped::{OpenFailure, Wrapped};
use crate::{Cost, NoRandomness, Passphrase, Public, ReadError, UnwrapError, read_public};

/// What became of a puddle's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The current key.
    pub current: Public,
    /// Retired keys that open with the new passphrase now.
    pub retired: Vec<Public>,
    /// Retired keys that open with neither passphrase, and were left alone.
    pub others: Vec<Public>,
}

/// Why no passphrase was changed, or not every one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewrapError {
    /// A file is missing or damaged; nothing was changed.
    #[error("the puddle cannot be read")]
    Read(#[source] ReadError),
    /// The key opens with neither passphrase; nothing was changed.
    #[error("the key does not open")]
    Unwrap(#[source] UnwrapError),
    /// The old passphrase is wrong, and the key has the new one already; nothing was changed.
    #[error("the old passphrase is wrong, and the key opens with the new one already")]
    Already,
    /// The new passphrase is the old one; nothing was changed.
    #[error("the new passphrase is the old one")]
    Same,
    /// There is not enough memory to wrap a key; nothing was changed.
    #[error("cannot derive a key from the passphrase with {memory_kib} KiB")]
    Derive {
        /// The memory asked for.
        memory_kib: u32,
        /// The cause.
        #[source]
        source: argon2::Error,
    },
    /// There is no randomness for salt and nonce; nothing was changed.
    #[error("cannot wrap the key")]
    NoRandomness(#[source] NoRandomness),
    /// A file could not be written. Each opens with one of the two passphrases, and doing it again does the rest.
    #[error("cannot write the puddle's files")]
    Write(#[source] WriteError),
}

/// Wraps the current key of the puddle in `dir`, and every retired one that opens with `old`, under `new`.
///
/// Shape: everything is opened and wrapped before anything is written; then what crashed writers left is removed, the
/// files in `retired` are replaced, and `identity.wrapped` last, each durable before the next. A retired key that opens
/// with `new` already was done by a change that was cut short, and is left as it is. `least` is what a key costs that was
/// wrapped for less; one that was wrapped for more keeps that.
///
/// # Errors
///
/// [`RewrapError::Unwrap`] if the current key opens with neither, [`RewrapError::Already`] if it does with `new` alone;
/// otherwise [`RewrapError`] for what failed.
///
/// Source: docs/spec/puddle.md §10.
pub fn rewrap(
    dir: &Path,
    old: &Passphrase,
    new: &Passphrase,
    least: Cost,
) -> Result<Rewrapped, RewrapError> {
    change(dir, old, new, least, STEPS_ALL)
}

/// The same for one retired key alone, whose passphrase is `old`.
///
/// # Errors
///
/// [`RewrapError::Unwrap`] if `key` is no retired key, or opens with neither passphrase; otherwise [`RewrapError`].
pub fn rewrap_retired(
    dir: &Path,
    key: &PuddleKey,
    old: &Passphrase,
    new: &Passphrase,
    least: Cost,
) -> Result<Public, RewrapError> {
    let (lock, all) = begin(dir, old, new)?;
    let not_retired = || RewrapError::Unwrap(UnwrapError::NotRetired { key: *key });
    let current = all.iter().find(|entry| entry.is_current());
    if current.is_some_and(|current| current.wrapped.key == *key) {
        return Err(not_retired());
    }
    let found = all.into_iter().find(|entry| entry.wrapped.key == *key);
    let entry = found.ok_or_else(not_retired)?;
    let public = store::public_of(&entry.wrapped);
    match entry.wrap_again(old, new, least)? {
        Again::Write(wrapped) => {
            remove_leftovers(dir);
            write(&lock, &entry.name, &wrapped)?;
        }
        Again::Done => return Err(RewrapError::Already),
        Again::Other => {
            return Err(RewrapError::Unwrap(UnwrapError::WrongPassphrase {
                name: public.name,
            }));
        }
    }
    Ok(public)
}

/// Every file is written; fewer are where a test crashes.
const STEPS_ALL: usize = usize::MAX;

fn change(
    dir: &Path,
    old: &Passphrase,
    new: &Passphrase,
    least: Cost,
    steps: usize,
) -> Result<Rewrapped, RewrapError> {
    let (lock, all) = begin(dir, old, new)?;
    let mut changed = Changed::default();
    for entry in &all {
        let public = store::public_of(&entry.wrapped);
        let again = entry.wrap_again(old, new, least)?;
        if entry.is_current() {
            if matches!(again, Again::Other) {
                let name = public.name;
                return Err(RewrapError::Unwrap(UnwrapError::WrongPassphrase { name }));
            }
            if matches!(again, Again::Done) {
                return Err(RewrapError::Already);
            }
            changed.current = Some(public);
        } else if Some(public.key) != changed.current.as_ref().map(|current| current.key) {
            match again {
                Again::Other => changed.others.push(public),
                Again::Write(_) | Again::Done => changed.retired.push(public),
            }
        }
        if let Again::Write(wrapped) = again {
            changed.files.push((&entry.name, wrapped));
        }
    }
    let current = changed.current.ok_or_else(|| missing(dir))?;
    if steps > 0 {
        remove_leftovers(dir);
    }
    // The current key's was found first and is written last: until then, the old passphrase is the puddle's.
    for (name, wrapped) in changed.files.iter().rev().take(steps) {
        write(&lock, name, wrapped)?;
    }
    Ok(Rewrapped {
        current,
        retired: changed.retired,
        others: changed.others,
    })
}

/// What will be written, all of it known before anything is.
#[derive(Default)]
struct Changed<'a> {
    current: Option<Public>,
    retired: Vec<Public>,
    others: Vec<Public>,
    files: Vec<(&'a str, Wrapped)>,
}

/// A wrapped key and its file.
struct Entry {
    /// Below the puddle's directory.
    name: String,
    wrapped: Wrapped,
}

/// What is to be done about one file.
enum Again {
    /// It is written anew.
    Write(Wrapped),
    /// It has the new passphrase.
    Done,
    /// It has neither.
    Other,
}

impl Entry {
    fn is_current(&self) -> bool {
        self.name == WRAPPED
    }

    fn wrap_again(
        &self,
        old: &Passphrase,
        new: &Passphrase,
        least: Cost,
    ) -> Result<Again, RewrapError> {
        let derive = |source| RewrapError::Unwrap(UnwrapError::Derive(source));
        let secret = match self.wrapped.open(old) {
            Ok(secret) => secret,
            Err(OpenFailure::Derive(source)) => return Err(derive(source)),
            Err(OpenFailure::Sealed) => {
                return match self.wrapped.open(new) {
                    Ok(_) => Ok(Again::Done),
                    Err(OpenFailure::Sealed) => Ok(Again::Other),
                    Err(OpenFailure::Derive(source)) => Err(derive(source)),
                };
            }
        };
        let fresh = store::fresh().map_err(RewrapError::NoRandomness)?;
        let Wrapped {
            name, created_ms, ..
        } = &self.wrapped;
        let cost = self.wrapped.cost().at_least(least);
        Wrapped::seal(name, &secret, new, cost, &fresh, *created_ms)
            .map(Again::Write)
            .map_err(|source| RewrapError::Derive {
                memory_kib: cost.memory_kib(),
                source,
            })
    }
}

/// Takes the lock and reads all wrapped keys, the current one first. A copy of it that a rotation left that was cut
/// short is among them: it would go on opening with the old passphrase.
fn begin(
    dir: &Path,
    old: &Passphrase,
    new: &Passphrase,
) -> Result<(Lock, Vec<Entry>), RewrapError> {
    if old == new {
        return Err(RewrapError::Same);
    }
    // Where there is no puddle, no lock is to be left behind.
    read_public(dir).map_err(RewrapError::Read)?;
    let lock = Lock::take(dir).map_err(RewrapError::Write)?;
    let path = dir.join(WRAPPED);
    let bytes = files::read_own(&path).map_err(|fault| RewrapError::Read(fault.into()))?;
    let bytes = bytes.ok_or_else(|| missing(dir))?;
    let wrapped = store::decode_wrapped(path, &bytes).map_err(RewrapError::Read)?;
    let mut all = vec![Entry {
        name: WRAPPED.to_owned(),
        wrapped,
    }];
    let retired = retired_files(dir).map_err(RewrapError::Read)?;
    all.extend(retired.into_iter().map(|wrapped| Entry {
        name: format!("{RETIRED}/{}", file_name(&wrapped.key)),
        wrapped,
    }));
    Ok((lock, all))
}

fn missing(dir: &Path) -> RewrapError {
    RewrapError::Read(ReadError::Missing {
        dir: dir.to_owned(),
    })
}

fn write(lock: &Lock, name: &str, wrapped: &Wrapped) -> Result<(), RewrapError> {
    let replaced = lock.replace(name, WRAPPED_MODE, &wrapped.encode());
    replaced.map_err(|fault| RewrapError::Write(fault.into()))
}

/// Removes what writers left that crashed: it may hold a key under a passphrase that nobody should need to guard any
/// more. The lock is held.
fn remove_leftovers(dir: &Path) {
    for dir in [dir.to_owned(), dir.join(RETIRED)] {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| is_temporary(name, &[WRAPPED, PUBLIC])) {
                // It was of no use before, and stays so.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests;

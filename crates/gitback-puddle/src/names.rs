//! What the user calls other people's puddles: `names.json`.
//!
//! A name is what somebody claims; which key it means is pinned here, once: picked
//! by the user, or learned by the first use. [`crate::resolve`] joins this with the
//! user's own name.
//!
//! Source: docs/spec/puddle.md §5.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gitback_identity::similar::{is_similar, slips};
use gitback_identity::{PublicKey, PuddleKey, PuddleName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::{self, Lock, WriteError};
use crate::wrapped::pretty;
use crate::{Public, ReadError, read_public, read_retired};

/// The most names that can be pinned.
pub const NAMES_MAX: usize = 256;

pub(crate) const FILE: &str = "names.json";
const MODE: u32 = 0o600;
/// The version that is written.
const VERSION: u32 = 2;
/// In which every name was picked.
const FIRST_VERSION: u32 = 1;

/// The names that are pinned to other people's puddles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<PuddleName, Picked>);

/// What one name is pinned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// Whom the name means.
    pub key: PuddleKey,
    /// When it was pinned, in milliseconds since 1970; for display.
    pub picked_ms: u64,
    /// How.
    pub how: How,
}

/// How a name came to mean a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The user said so.
    Picked,
    /// It was used while only that key claimed it.
    Used,
}

/// Why a name was not picked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PickError {
    /// It is the user's own name, which always means the user's own key.
    #[error("{name} is the name of your own puddle")]
    OwnName {
        /// The name.
        name: PuddleName,
        /// The key that it means.
        own: PuddleKey,
    },
    /// It is a key of the user's own, which goes by the user's own name.
    #[error("the key is your own puddle's")]
    OwnKey {
        /// What that puddle is called.
        own: PuddleName,
    },
    /// There are [`NAMES_MAX`] names.
    #[error("{NAMES_MAX} names are known, which is the most there can be")]
    Full,
    /// The puddle or the names cannot be read.
    #[error("cannot read the names")]
    Read(#[source] ReadError),
    /// The names cannot be written.
    #[error("cannot write the names")]
    Write(#[source] WriteError),
}

/// Why a name was not forgotten.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// Nobody picked it.
    #[error("the name {name} is not known")]
    Unknown {
        /// The name.
        name: PuddleName,
        /// A picked name that may have been meant.
        near: Option<PuddleName>,
    },
    /// The names cannot be read.
    #[error("cannot read the names")]
    Read(#[source] ReadError),
    /// The names cannot be written.
    #[error("cannot write the names")]
    Write(#[source] WriteError),
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    names: Vec<FormEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormEntry {
    name: String,
    public_key: String,
    picked_ms: u64,
    how: How,
}

/// An entry of the first version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstEntry {
    name: String,
    public_key: String,
    picked_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstForm {
    #[serde(rename = "version")]
    _version: u32,
    names: Vec<FirstEntry>,
}

impl From<FirstEntry> for FormEntry {
    fn from(entry: FirstEntry) -> Self {
        Self {
            name: entry.name,
            public_key: entry.public_key,
            picked_ms: entry.picked_ms,
            how: How::Picked,
        }
    }
}

#[derive(Deserialize)]
struct Probe {
    version: u64,
}

impl Names {
    /// The key that `name` is pinned to. Does not know the user's
    /// own name: [`crate::resolve`] does.
    #[must_use]
    pub fn resolve(&self, name: &PuddleName) -> Option<PuddleKey> {
        self.0.get(name).map(|picked| picked.key)
    }

    /// What `name` is pinned to, and how that came.
    #[must_use]
    pub fn pin(&self, name: &PuddleName) -> Option<&Picked> {
        self.0.get(name)
    }

    /// What is pinned to whom, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PuddleName, &Picked)> {
        self.0.iter()
    }

    /// The name that is pinned to `key`; the first by the alphabet if there
    /// are several.
    #[must_use]
    pub fn name_of(&self, key: &PuddleKey) -> Option<&PuddleName> {
        let mut picked = self.0.iter().filter(|(_, picked)| picked.key == *key);
        picked.next().map(|(name, _)| name)
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no name is pinned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads the names in `dir`; none where there is no file.
///
/// # Errors
///
/// [`ReadError`] if the file is there and is not a regular file, is too long,
/// or is anything but what [`pick`] writes.
pub fn read(dir: &Path) -> Result<Names, ReadError> {
    let path = dir.join(FILE);
    match files::read_own(&path)? {
        Some(bytes) => decode(path, &bytes),
        None => Ok(Names::default()),
    }
}

/// Picks `key` for `name`, and gives the key that was picked for it before.
/// Durable when this returns.
///
/// `dir` is made if it is missing. `now_ms` is milliseconds since 1970.
///
/// # Errors
///
/// [`PickError::OwnName`] and [`PickError::OwnKey`] for what is the user's own;
/// otherwise [`PickError`] for what failed.
pub fn pick(
    dir: &Path,
    name: &PuddleName,
    key: &PuddleKey,
    now_ms: u64,
) -> Result<Option<PuddleKey>, PickError> {
    refuse_own(dir, name, key)?;
    files::private_dir(dir).map_err(|fault| PickError::Write(fault.into()))?;
    let lock = Lock::take(dir).map_err(PickError::Write)?;
    let mut names = read(dir).map_err(PickError::Read)?;
    let before = names.resolve(name);
    // What was learned by use is what the user says from now on.
    let is_picked = |pin: &Picked| pin.key == *key && pin.how == How::Picked;
    if names.pin(name).is_some_and(is_picked) {
        return Ok(before);
    }
    let picked = Picked {
        key: *key,
        picked_ms: now_ms,
        how: How::Picked,
    };
    names.0.insert(name.clone(), picked);
    if names.len() > NAMES_MAX {
        return Err(PickError::Full);
    }
    write(&lock, &names).map_err(PickError::Write)?;
    Ok(before)
}

/// Pins `name` to `key` because it was used, unless it is pinned already, to
/// whomever. Gives whether it was not. Durable when this returns.
///
/// # Errors
///
/// As [`pick`].
pub fn learn(
    dir: &Path,
    name: &PuddleName,
    key: &PuddleKey,
    now_ms: u64,
) -> Result<bool, PickError> {
    refuse_own(dir, name, key)?;
    files::private_dir(dir).map_err(|fault| PickError::Write(fault.into()))?;
    let lock = Lock::take(dir).map_err(PickError::Write)?;
    let mut names = read(dir).map_err(PickError::Read)?;
    if names.pin(name).is_some() {
        return Ok(false);
    }
    let used = Picked {
        key: *key,
        picked_ms: now_ms,
        how: How::Used,
    };
    names.0.insert(name.clone(), used);
    if names.len() > NAMES_MAX {
        return Err(PickError::Full);
    }
    write(&lock, &names).map_err(PickError::Write)?;
    Ok(true)
}

/// Forgets `name`, and gives the key that it meant. Durable when this returns.
///
/// # Errors
///
/// [`ForgetError::Unknown`] if it was never picked; otherwise [`ForgetError`]
/// for what failed.
pub fn forget(dir: &Path, name: &PuddleName) -> Result<PuddleKey, ForgetError> {
    let unknown = |names: &Names| ForgetError::Unknown {
        name: name.clone(),
        near: nearest(name, names.0.keys()),
    };
    // Where there is nothing to forget, no lock is to be left behind.
    let names = read(dir).map_err(ForgetError::Read)?;
    names.resolve(name).ok_or_else(|| unknown(&names))?;
    let lock = Lock::take(dir).map_err(ForgetError::Write)?;
    let mut names = read(dir).map_err(ForgetError::Read)?;
    let picked = names.0.remove(name).ok_or_else(|| unknown(&names))?;
    write(&lock, &names).map_err(ForgetError::Write)?;
    Ok(picked.key)
}

/// The one of `known` that was most likely meant by `typed`.
pub(crate) fn nearest<'a>(
    typed: &PuddleName,
    known: impl Iterator<Item = &'a PuddleName>,
) -> Option<PuddleName> {
    let typed = typed.as_str();
    let similar = known.filter(|known| is_similar(typed, known.as_str()));
    similar
        .min_by_key(|known| (slips(typed, known.as_str()), *known))
        .cloned()
}

fn refuse_own(dir: &Path, name: &PuddleName, key: &PuddleKey) -> Result<(), PickError> {
    let own = match read_public(dir) {
        Ok(own) => own,
        Err(ReadError::Missing { .. }) => return Ok(()),
        Err(error) => return Err(PickError::Read(error)),
    };
    let retired = read_retired(dir).map_err(PickError::Read)?;
    let Public { name: called, .. } = &own;
    if called == name {
        return Err(PickError::OwnName {
            name: own.name,
            own: own.key,
        });
    }
    if own.key == *key || retired.iter().any(|retired| retired.key == *key) {
        return Err(PickError::OwnKey { own: own.name });
    }
    Ok(())
}

fn write(lock: &Lock, names: &Names) -> Result<(), WriteError> {
    let entries = names.iter().map(|(name, picked)| FormEntry {
        name: name.to_string(),
        public_key: picked.key.to_string(),
        picked_ms: picked.picked_ms,
        how: picked.how,
    });
    let form = Form {
        version: VERSION,
        names: entries.collect(),
    };
    Ok(lock.replace(FILE, MODE, &pretty(&form))?)
}

fn decode(path: PathBuf, bytes: &[u8]) -> Result<Names, ReadError> {
    let probe: Probe = match serde_json::from_slice(bytes) {
        Ok(probe) => probe,
        Err(error) => return Err(damaged(path, error.to_string())),
    };
    let entries = match probe.version {
        first if first == u64::from(FIRST_VERSION) => {
            let form = serde_json::from_slice(bytes);
            form.map(|form: FirstForm| form.names.into_iter().map(FormEntry::from).collect())
        }
        version if version == u64::from(VERSION) => {
            serde_json::from_slice(bytes).map(|form: Form| form.names)
        }
        version => return Err(ReadError::UnknownVersion { path, version }),
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => return Err(damaged(path, error.to_string())),
    };
    names_of(&entries).map_err(|why| damaged(path, why))
}

fn names_of(entries: &[FormEntry]) -> Result<Names, String> {
    if entries.len() > NAMES_MAX {
        return Err(format!("it has more than {NAMES_MAX} names"));
    }
    let mut names = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        let bad = |field: &str| format!("the field {field} of entry {number} is not valid");
        let name: PuddleName = entry.name.parse().map_err(|_| bad("name"))?;
        let key: PublicKey = entry.public_key.parse().map_err(|_| bad("public_key"))?;
        let picked = Picked {
            key: PuddleKey::new(key),
            picked_ms: entry.picked_ms,
            how: entry.how,
        };
        if names.insert(name, picked).is_some() {
            return Err(format!("entry {number} has the name of another"));
        }
    }
    Ok(Names(names))
}

fn damaged(path: PathBuf, why: String) -> ReadError {
    ReadError::Damaged { path, why }
}

//! Refs: listed, checked, moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gix::bstr::ByteSlice as _;
use gix::lock::acquire::Fail;
use gix::objs::Kind;
use gix::refs::file::Store;
use gix::refs::store::{WriteReflog, init};
use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit, RefLog};
use gix::refs::{FullName, Target};

use crate::error::printable;
use crate::repository::write_durably;
use crate::{Fault, Oid, RefError, Repository};

/// Longest name of a ref in bytes.
pub const REF_NAME_MAX: usize = 1024;
/// Longest part of a name between slashes: a file name, and `.lock` after it.
pub const REF_COMPONENT_MAX: usize = 250;
/// How long a change of refs waits for another one.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Longest `HEAD`.
const HEAD_MAX: u64 = 4096;

/// One ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The full name, such as `refs/heads/main`.
    pub name: Vec<u8>,
    /// What it points to.
    pub oid: Oid,
    /// For an annotated tag, what that points to in the end.
    pub peeled: Option<Oid>,
}

/// Where a ref must be for a change to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anywhere, or absent.
    Any,
    /// Absent.
    Missing,
    /// Exactly here.
    Is(Oid),
}

/// When a change of several refs happens. What goes from one name to another is under the new one before it leaves
/// the old one, so that there is no moment at which nothing leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Make,
    Move,
    Delete,
    /// It stands where a deleted one was a directory, or below one.
    MakeInRoom,
}

/// A change of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    /// The full name.
    pub name: Vec<u8>,
    /// Where it must be now.
    pub old: Expect,
    /// Where it goes; `None` deletes it.
    pub new: Option<Oid>,
}

/// Whether git takes `name` as the full name of a ref, and a file system can hold it.
///
/// It starts with `refs/`, has at least three parts, passes git-check-ref-format(1),
/// and obeys [`REF_NAME_MAX`] and [`REF_COMPONENT_MAX`].
#[must_use]
pub fn valid_ref_name(name: &[u8]) -> bool {
    name.starts_with(b"refs/")
        && name.len() <= REF_NAME_MAX
        && name.split(|byte| *byte == b'/').count() >= 3
        && name
            .split(|byte| *byte == b'/')
            .all(|part| part.len() <= REF_COMPONENT_MAX)
        && gix::validate::reference::name(name.as_bstr()).is_ok()
}

pub(crate) type Values = BTreeMap<Vec<u8>, Oid>;

impl Repository {
    /// All refs, sorted by name; symbolic ones are left out.
    ///
    /// # Errors
    ///
    /// [`Fault`] if refs or the tags that they point to cannot be read.
    pub fn refs(&self) -> Result<Vec<Ref>, Fault> {
        let values = self.ref_values()?;
        let objects = self.objects()?;
        let peeled = self
            .kept_refs()
            .peeled(&values, |oid| match objects.kind(oid) {
                Ok(Some(Kind::Tag)) => Ok(objects.peel(oid).ok().map(|(end, _)| end)),
                Ok(Some(Kind::Commit | Kind::Tree | Kind::Blob)) => Ok(Some(*oid)),
                // A damaged object is its own ref's trouble.
                Ok(None) | Err(Fault::ReadObject { .. }) => Ok(None),
                Err(fault) => Err(fault),
            })?;
        let refs = values.iter().map(|(name, oid)| Ref {
            name: name.clone(),
            oid: *oid,
            peeled: peeled.get(oid).filter(|end| *end != oid).copied(),
        });
        Ok(refs.collect())
    }

    /// The ref that `HEAD` points to, present or not; `None` when it points to a commit.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn head_target(&self) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.path().join("HEAD");
        let mut content = Vec::new();
        let file = fs::File::open(&path).map_err(Fault::io("open", &path))?;
        file.take(HEAD_MAX)
            .read_to_end(&mut content)
            .map_err(Fault::io("read", &path))?;
        Ok(content
            .strip_prefix(b"ref:")
            .map(|name| name.trim_ascii().to_vec()))
    }

    /// Points `HEAD` to the ref `name`, which need not exist.
    ///
    /// # Errors
    ///
    /// [`Fault::RefName`]; [`Fault::Io`].
    pub fn set_head(&self, name: &[u8]) -> Result<(), Fault> {
        if !valid_ref_name(name) {
            return Err(Fault::RefName {
                name: printable(name),
            });
        }
        let content = [b"ref: ", name, b"\n"].concat();
        self.changing_refs(|| write_durably(&self.path().join("HEAD"), &content))
    }

    /// Moves refs: all of the changes or, unless our own disk fails, none.
    ///
    /// A name may be deleted and another that could not stand beside it be made in
    /// the same call. Refs are not synced: they follow from the signed history, which
    /// the caller applies again after a crash.
    ///
    /// # Errors
    ///
    /// [`RefError`] says which change cannot be, and why.
    pub fn update_refs(&self, changes: &[RefChange]) -> Result<(), RefError> {
        self.change_refs(changes, Fail::AfterDurationWithBackoff(LOCK_WAIT))
    }

    /// The same, without waiting for whoever else has a ref locked.
    ///
    /// # Errors
    ///
    /// As [`Repository::update_refs`].
    pub fn update_refs_at_once(&self, changes: &[RefChange]) -> Result<(), RefError> {
        self.change_refs(changes, Fail::Immediately)
    }

    fn change_refs(&self, changes: &[RefChange], wait: Fail) -> Result<(), RefError> {
        self.note_refs_move();
        self.changing_refs(|| {
            let current = self.ref_values()?;
            check(self, &current, changes)?;
            self.kept_refs().changes();
            let applied = self.apply_in_steps(&current, changes, wait);
            let now = applied.is_ok().then(|| after(&current, changes));
            self.kept_refs().changed(self.path(), now);
            applied
        })
    }

    fn apply_in_steps(
        &self,
        current: &Values,
        changes: &[RefChange],
        wait: Fail,
    ) -> Result<(), RefError> {
        let names: BTreeSet<&[u8]> = current.keys().map(Vec::as_slice).collect();
        let step = |change: &RefChange| match change.new {
            None => Step::Delete,
            Some(_) if current.contains_key(&change.name) => Step::Move,
            Some(_) if check_room(&names, &change.name).is_ok() => Step::Make,
            Some(_) => Step::MakeInRoom,
        };
        for now in [Step::Make, Step::Move, Step::Delete, Step::MakeInRoom] {
            let chosen = changes.iter().filter(|change| step(change) == now);
            let edits: Result<Vec<RefEdit>, RefError> = chosen
                .filter_map(|change| edit(change, current.get(&change.name)).transpose())
                .collect();
            self.apply(edits?, wait)?;
        }
        Ok(())
    }

    fn apply(&self, edits: Vec<RefEdit>, wait: Fail) -> Result<(), RefError> {
        if edits.is_empty() {
            return Ok(());
        }
        let store = store(self.path());
        let prepared = store
            .transaction()
            .prepare(edits, wait, wait)
            .map_err(|source| self.refs_fault("write", source))?;
        prepared
            .commit(None)
            .map_err(|source| self.refs_fault("write", source))?;
        Ok(())
    }

    fn refs_fault(&self, doing: &'static str, source: gix::Error) -> Fault {
        Fault::Refs {
            doing,
            path: self.path().to_owned(),
            source,
        }
    }

    pub(crate) fn ref_values(&self) -> Result<Arc<Values>, Fault> {
        self.kept_refs()
            .values(self.path(), || self.read_ref_values())
    }

    fn read_ref_values(&self) -> Result<Values, Fault> {
        let store = store(self.path());
        let platform = store
            .iter()
            .map_err(|source| self.refs_fault("read", source))?;
        let mut values = Values::new();
        for reference in platform
            .all()
            .map_err(Fault::io("list", self.path().join("refs")))?
        {
            let reference = reference.map_err(|source| self.refs_fault("read", source))?;
            if let Target::Object(oid) = reference.target {
                values.insert(reference.name.as_bstr().to_vec(), oid);
            }
        }
        Ok(values)
    }
}

/// The values when all changes have happened.
fn after(current: &Values, changes: &[RefChange]) -> Values {
    let mut values = current.clone();
    for change in changes {
        match change.new {
            Some(oid) => values.insert(change.name.clone(), oid),
            None => values.remove(&change.name),
        };
    }
    values
}

fn store(repository: &Path) -> Store {
    let options = init::Options {
        write_reflog: WriteReflog::Disable,
        ..init::Options::default()
    };
    Store::at_opts(repository.to_owned(), gix::hash::Kind::Sha1, options)
}

/// Whether `packed-refs` exists and cannot be read as such.
pub(crate) fn packed_refs_unreadable(repository: &Path) -> bool {
    let store = store(repository);
    match store.open_packed_buffer() {
        Ok(Some(buffer)) => buffer
            .iter()
            .map_or(true, |mut refs| refs.any(|entry| entry.is_err())),
        Ok(None) => false,
        Err(error) => !error.iter_errors().any(|cause| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|cause| cause.kind() == ErrorKind::PermissionDenied)
        }),
    }
}

/// Checks what the transaction does not: values, targets, and files against directories.
fn check(repository: &Repository, current: &Values, changes: &[RefChange]) -> Result<(), RefError> {
    let objects = repository.objects()?;
    let mut names = BTreeSet::new();
    let mut after: BTreeSet<&[u8]> = current.keys().map(Vec::as_slice).collect();
    for change in changes {
        let name = || printable(&change.name);
        if !valid_ref_name(&change.name) {
            return Err(RefError::Name { name: name() });
        }
        if !names.insert(&change.name) {
            return Err(RefError::Duplicate { name: name() });
        }
        let found = current.get(&change.name).copied();
        let expected = match change.old {
            Expect::Any => found,
            Expect::Missing => None,
            Expect::Is(oid) => Some(oid),
        };
        if expected != found {
            return Err(RefError::Stale {
                name: name(),
                expected,
                found,
            });
        }
        match change.new {
            Some(oid) if !objects.has(&oid) => {
                return Err(RefError::MissingTarget { name: name(), oid });
            }
            Some(_) => drop(after.insert(&change.name)),
            None => drop(after.remove(change.name.as_slice())),
        }
    }
    changes
        .iter()
        .filter(|change| change.new.is_some())
        .try_for_each(|change| check_room(&after, &change.name))
}

/// Whether no other ref of `names` is a directory of `name`, or has `name` for one.
fn check_room(names: &BTreeSet<&[u8]>, name: &[u8]) -> Result<(), RefError> {
    let slashes = name
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    let above = slashes
        .filter_map(|at| name.get(..at))
        .find(|prefix| names.contains(prefix));
    let directory = [name, b"/"].concat();
    let below = names
        .range(directory.as_slice()..)
        .next()
        .filter(|other| other.starts_with(&directory))
        .copied();
    match above.or(below) {
        Some(other) => Err(RefError::Conflict {
            name: printable(name),
            other: printable(other),
        }),
        None => Ok(()),
    }
}

/// The edit for a change, or none when the ref is there already.
fn edit(change: &RefChange, current: Option<&Oid>) -> Result<Option<RefEdit>, RefError> {
    if current == change.new.as_ref() {
        return Ok(None);
    }
    let name = FullName::try_from(change.name.as_bstr()).map_err(|_| RefError::Name {
        name: printable(&change.name),
    })?;
    let expected = current.map_or(PreviousValue::MustNotExist, |oid| {
        PreviousValue::MustExistAndMatch(Target::Object(*oid))
    });
    let change = match change.new {
        Some(new) => Change::Update {
            log: LogChange::default(),
            expected,
            new: Target::Object(new),
        },
        None => Change::Delete {
            expected,
            log: RefLog::AndReference,
        },
    };
    Ok(Some(RefEdit {
        change,
        name,
        deref: false,
    }))
}

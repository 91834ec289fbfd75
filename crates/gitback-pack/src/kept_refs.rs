//! The refs of a repository, kept in memory between operations: every push asks for all of them several times.
//!
//! This process alone writes the repository, and says so here. What somebody else writes all the same, git would, shows in
//! the time of change of a directory, or of `packed-refs`.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::refs::Values;
use crate::{Fault, Oid};

/// Most directories that are watched; with more, nothing is kept.
const DIRECTORIES_MAX: usize = 4_096;

/// What is kept, and how often it was changed.
#[derive(Debug, Default)]
pub(crate) struct KeptRefs {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts changes, so that what was read during one is not kept.
    changes: u64,
    kept: Option<Kept>,
    /// What values are in the end, tags followed.
    peeled: HashMap<Oid, Oid>,
}

#[derive(Debug)]
struct Kept {
    values: Arc<Values>,
    places: Vec<Place>,
}

/// A file or directory, and when it was changed last; `None` if it is not there.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    modified: Option<SystemTime>,
}

impl Place {
    fn see(path: PathBuf) -> Result<Self, Fault> {
        let modified = match fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(modified) => Some(modified),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(Fault::io("inspect", path)(source)),
        };
        Ok(Self { path, modified })
    }

    fn is_as_it_was(&self) -> bool {
        Self::see(self.path.clone()).is_ok_and(|now| now == *self)
    }
}

impl KeptRefs {
    /// All values: as they are kept, or as `read` finds them in the repository at `path`.
    pub(crate) fn values(
        &self,
        path: &Path,
        read: impl FnOnce() -> Result<Values, Fault>,
    ) -> Result<Arc<Values>, Fault> {
        let begun = {
            let inner = self.inner();
            if let Some(kept) = &inner.kept
                && kept.places.iter().all(Place::is_as_it_was)
            {
                return Ok(Arc::clone(&kept.values));
            }
            inner.changes
        };
        // Before the refs are read: what changes meanwhile is seen the next time.
        let places = places(path)?;
        let values = Arc::new(read()?);
        let mut inner = self.inner();
        if let Some(places) = places
            && inner.changes == begun
        {
            let values = Arc::clone(&values);
            inner.kept = Some(Kept { values, places });
        }
        Ok(values)
    }

    /// Says that refs are about to change; until [`KeptRefs::changed`] they may be anything.
    pub(crate) fn changes(&self) {
        let mut inner = self.inner();
        inner.changes = inner.changes.wrapping_add(1);
        inner.kept = None;
    }

    /// Says that a change is over, and what the values are now, if that is known.
    pub(crate) fn changed(&self, path: &Path, values: Option<Values>) {
        // Nobody of this process changes them now, so that what is seen now is what goes with the values.
        let places = values.as_ref().and_then(|_| places(path).ok().flatten());
        let mut inner = self.inner();
        inner.changes = inner.changes.wrapping_add(1);
        inner.kept = match (values.map(Arc::new), places) {
            (Some(values), Some(places)) => Some(Kept { values, places }),
            _ => None,
        };
    }

    /// What each of `values` is in the end, as `peel` says of those that are new here; without those of which it knows
    /// nothing.
    pub(crate) fn peeled(
        &self,
        values: &Values,
        mut peel: impl FnMut(&Oid) -> Result<Option<Oid>, Fault>,
    ) -> Result<HashMap<Oid, Oid>, Fault> {
        let known = std::mem::take(&mut self.inner().peeled);
        let mut peeled = HashMap::with_capacity(values.len());
        for oid in values.values() {
            let end = match known.get(oid) {
                Some(end) => Some(*end),
                None if peeled.contains_key(oid) => continue,
                None => peel(oid)?,
            };
            if let Some(end) = end {
                peeled.insert(*oid, end);
            }
        }
        self.inner().peeled.clone_from(&peeled);
        Ok(peeled)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What is behind it is whole at any time.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything whose change means that a ref may have changed; `None` if that is too much to watch.
fn places(repository: &Path) -> Result<Option<Vec<Place>>, Fault> {
    let mut places = vec![Place::see(repository.join("packed-refs"))?];
    let mut open = vec![repository.join("refs")];
    while let Some(directory) = open.pop() {
        if places.len() > DIRECTORIES_MAX {
            return Ok(None);
        }
        places.push(Place::see(directory.clone())?);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            // It went a moment ago, which its parent shows.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(Fault::io("list", directory)(source)),
        };
        for entry in entries {
            let entry = entry.map_err(Fault::io("list", &directory))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    Ok(Some(places))
}

//! From a name to keys and projects: the same for every program of the user.

use std::iter;
use std::path::Path;

use gitback_identity::{Handle, ProjectId, PuddleKey, PuddleName};
use thiserror::Error;

use crate::names::{self, nearest};
use crate::{Public, ReadError, read_retired};

/// The keys that a name means on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    key: PuddleKey,
    earlier: Vec<PuddleKey>,
    own: bool,
}

/// Why a name means nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither the user nor anybody whom the user has picked is called that.
    #[error("no puddle is called {name}")]
    Unknown {
        /// The name.
        name: PuddleName,
        /// A known name that may have been meant.
        near: Option<PuddleName>,
        /// How many names were picked.
        picked: usize,
    },
    /// The retired keys or the names cannot be read.
    #[error("cannot read the names")]
    Read(#[source] ReadError),
}

/// Finds out whom `name` means. `own` is what [`crate::read_public`] gives for
/// `dir`, if there is a puddle.
///
/// The user's own name means the user's own keys, whatever was picked. Only
/// what is needed is read: a damaged `names.json` does not stand between users
/// and their own projects.
///
/// # Errors
///
/// [`ResolveError::Unknown`] if nobody is called that; [`ResolveError::Read`]
/// if a file that would say so cannot be read.
///
/// Source: docs/spec/puddle.md §5.
pub fn resolve(
    dir: &Path,
    own: Option<&Public>,
    name: &PuddleName,
) -> Result<Resolved, ResolveError> {
    if let Some(own) = own.filter(|own| own.name == *name) {
        let retired = read_retired(dir).map_err(ResolveError::Read)?;
        return Ok(Resolved {
            key: own.key,
            earlier: retired.iter().map(|public| public.key).collect(),
            own: true,
        });
    }
    let names = names::read(dir).map_err(ResolveError::Read)?;
    let Some(key) = names.resolve(name) else {
        let known = names.iter().map(|(name, _)| name);
        let own = own.map(|own| &own.name);
        return Err(ResolveError::Unknown {
            name: name.clone(),
            near: nearest(name, own.into_iter().chain(known)),
            picked: names.len(),
        });
    };
    Ok(Resolved {
        key,
        earlier: Vec::new(),
        own: false,
    })
}

impl Resolved {
    /// The key that goes by the name now.
    #[must_use]
    pub const fn key(&self) -> &PuddleKey {
        &self.key
    }

    /// Whether the name is the user's own.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.own
    }

    /// Every key that a project of this name may have been founded with: the
    /// current one, then the retired ones, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &PuddleKey> {
        iter::once(&self.key).chain(&self.earlier)
    }

    /// The projects that `handle` may mean under this name, in the order in
    /// which to try them, each with its founder's genesis key.
    pub fn projects(&self, handle: &Handle) -> impl Iterator<Item = (ProjectId, PuddleKey)> {
        self.keys()
            .map(|key| (ProjectId::derive(key, handle), *key))
    }
}

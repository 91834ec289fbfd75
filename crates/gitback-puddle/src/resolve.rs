//! From a name to keys and projects: the same for every program of the user.

use std::iter;
use std::path::Path;

use gitback_identity::{Handle, ProjectId, PuddleKey, PuddleName};
use thiserror::Error;

use crate::names::{self, How, nearest};
use crate::{Public, ReadError, read_retired};

/// The keys that a name means on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    key: PuddleKey,
    earlier: Vec<PuddleKey>,
    by: By,
}

/// How a name came to mean a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// It is the user's own.
    Own,
    /// It is pinned in `names.json`.
    Pin(How),
    /// Only that key claims it, and it was never used.
    Claim,
}

/// Somebody who claims a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant {
    /// The puddle's key.
    pub key: PuddleKey,
    /// Since when the envoy that was asked has known of it, in milliseconds since 1970; for display.
    pub since_ms: u64,
}

/// Why a name means nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither the user nor anybody to whom a name is pinned is called that.
    #[error("no puddle is called {name}")]
    Unknown {
        /// The name.
        name: PuddleName,
        /// A known name that may have been meant.
        near: Option<PuddleName>,
        /// How many names are pinned.
        picked: usize,
    },
    /// Several keys claim it, and the user never used it.
    #[error("{} keys claim the name {name}", .claimants.len())]
    Contested {
        /// The name.
        name: PuddleName,
        /// Who claims it; at least two.
        claimants: Vec<Claimant>,
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
            by: By::Own,
        });
    }
    let names = names::read(dir).map_err(ResolveError::Read)?;
    let Some(pin) = names.pin(name) else {
        let known = names.iter().map(|(name, _)| name);
        let own = own.map(|own| &own.name);
        return Err(ResolveError::Unknown {
            name: name.clone(),
            near: nearest(name, own.into_iter().chain(known)),
            picked: names.len(),
        });
    };
    Ok(Resolved {
        key: pin.key,
        earlier: Vec::new(),
        by: By::Pin(pin.how),
    })
}

/// Goes on where [`resolve`] has ended with `unknown`: with those who claim the
/// name, as the envoy of this machine knows them, and a name that is claimed and
/// is like it.
///
/// # Errors
///
/// [`ResolveError::Contested`] if there are several; [`ResolveError::Unknown`]
/// if there is nobody; any other `unknown` as it is.
///
/// Source: docs/spec/puddle.md §5.
pub fn resolve_claimed(
    unknown: ResolveError,
    claimants: &[Claimant],
    claimed_near: Option<&PuddleName>,
) -> Result<Resolved, ResolveError> {
    let ResolveError::Unknown { name, near, picked } = unknown else {
        return Err(unknown);
    };
    match claimants {
        [] => Err(ResolveError::Unknown {
            near: nearest(&name, near.iter().chain(claimed_near)),
            name,
            picked,
        }),
        [only] => Ok(Resolved {
            key: only.key,
            earlier: Vec::new(),
            by: By::Claim,
        }),
        several => Err(ResolveError::Contested {
            name,
            claimants: several.to_vec(),
        }),
    }
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
        matches!(self.by, By::Own)
    }

    /// How the name came to mean that key.
    #[must_use]
    pub const fn by(&self) -> By {
        self.by
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

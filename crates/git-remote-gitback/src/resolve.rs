//! From a URL to a project.

use std::ffi::OsString;
use std::path::Path;

use gitback_helper::Failure;
use gitback_identity::{Address, Handle, Host, ProjectId, PuddleKey, PuddleName};
use gitback_puddle::{ReadError, read_public};

use crate::failures;

/// The project that an address means, and the user's own puddle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) project: ProjectId,
    pub(crate) handle: Handle,
    /// The puddle of the user who asks, if they have one on this machine.
    pub(crate) own: Option<Own>,
}

/// The user's own puddle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) name: PuddleName,
    pub(crate) key: PuddleKey,
}

impl Target {
    /// Whether the project is the user's own: its id follows from their key and the handle.
    pub(crate) fn founder(&self) -> Option<&Own> {
        self.own
            .as_ref()
            .filter(|own| ProjectId::derive(&own.key, &self.handle) == self.project)
    }
}

/// Finds out what `url` means. A puddle's name is known when it is the user's own.
pub(crate) fn resolve(url: &OsString, puddle_dir: &Path) -> Result<Target, Failure> {
    let text = url.to_string_lossy();
    let address: Address = text
        .parse()
        .map_err(|reject| failures::address(&text, &reject))?;
    let own = match read_public(puddle_dir) {
        Ok(public) => Some(Own {
            name: public.name,
            key: public.key,
        }),
        Err(ReadError::Missing { .. }) => None,
        Err(error) => return Err(failures::puddle_unreadable(&error)),
    };
    let handle = address.handle().clone();
    let project = match address.host() {
        Host::Project(project) => *project,
        Host::Puddle(name) => match &own {
            Some(own) if own.name == *name => ProjectId::derive(&own.key, &handle),
            Some(own) => return Err(failures::name_unknown(name, &own.name, &handle)),
            None => return Err(failures::no_puddle(name, &handle)),
        },
    };
    Ok(Target {
        project,
        handle,
        own,
    })
}

//! From a URL to a project.

use std::ffi::OsString;
use std::path::Path;

use gitback_helper::Failure;
use gitback_identity::{Address, Handle, Host, ProjectId, PuddleKey, PuddleName};
use gitback_puddle::{Public, ReadError, read_public, resolve as resolve_name};

use crate::failures;

/// The project that an address means, and the user's own puddle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// What the address means first of all.
    pub(crate) project: ProjectId,
    /// What it means where the daemon knows no such project, in the order in which to try them:
    /// the user's projects from before the puddle got its present key.
    pub(crate) others: Vec<ProjectId>,
    pub(crate) handle: Handle,
    /// Whether the address names a puddle. Then it follows a project that moves.
    pub(crate) by_name: bool,
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
    /// Every project that it may mean, in the order in which to try them.
    pub(crate) fn candidates(&self) -> Vec<ProjectId> {
        let candidates = std::iter::once(&self.project).chain(&self.others);
        candidates.copied().collect()
    }
}

/// Finds out what `url` means. A puddle's name is known when it is the user's own, or was picked.
pub(crate) fn resolve(url: &OsString, puddle_dir: &Path) -> Result<Target, Failure> {
    let text = url.to_string_lossy();
    let address: Address = text
        .parse()
        .map_err(|reject| failures::address(&text, &reject))?;
    let public = match read_public(puddle_dir) {
        Ok(public) => Some(public),
        Err(ReadError::Missing { .. }) => None,
        Err(error) => return Err(failures::puddle_unreadable(&error)),
    };
    let handle = address.handle().clone();
    let (project, others) = match address.host() {
        Host::Project(project) => (*project, Vec::new()),
        Host::Puddle(name) => named(name, &handle, public.as_ref(), puddle_dir)?,
    };
    Ok(Target {
        project,
        others,
        handle,
        by_name: matches!(address.host(), Host::Puddle(_)),
        own: public.map(|public| Own {
            name: public.name,
            key: public.key,
        }),
    })
}

/// What the user means by a project of the puddle `name`, and what else it may be.
fn named(
    name: &PuddleName,
    handle: &Handle,
    own: Option<&Public>,
    puddle_dir: &Path,
) -> Result<(ProjectId, Vec<ProjectId>), Failure> {
    let resolved = resolve_name(puddle_dir, own, name)
        .map_err(|error| failures::name(&error, own.map(|own| &own.name), handle))?;
    let first = ProjectId::derive(resolved.key(), handle);
    let others = resolved.projects(handle).skip(1);
    Ok((first, others.map(|(project, _)| project).collect()))
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;
    use gitback_puddle::{Cost, Passphrase, create, names, rotate};
    use tempfile::TempDir;

    use super::*;

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn key(seed: u8) -> PuddleKey {
        PuddleKey::new(secret(seed).public())
    }

    /// dan's puddle, whose first key is `key(1)`, and its present one `key(3)`.
    fn home() -> TempDir {
        let home = tempfile::tempdir().expect("a home");
        let passphrase = Passphrase::new("orange".to_owned()).expect("a passphrase");
        let cheap = Cost::new(64, 1, 1).expect("a cost");
        let name = "dan".parse().expect("a name");
        create(home.path(), &name, &passphrase, &secret(1), cheap, 1).expect("a puddle");
        for seed in [2, 3] {
            rotate(home.path(), &passphrase, &secret(seed), cheap, 1).expect("rotated");
        }
        home
    }

    fn target(url: &str, home: &TempDir) -> Target {
        resolve(&url.into(), home.path()).expect("a target")
    }

    fn notes_of(seed: u8) -> ProjectId {
        ProjectId::derive(&key(seed), &"notes".parse().expect("a handle"))
    }

    #[test]
    fn the_users_own_name_means_the_project_of_each_of_their_keys() {
        let target = target("gitback://dan/notes", &home());
        assert_eq!(target.project, notes_of(3));
        assert_eq!(target.others, [notes_of(2), notes_of(1)]);
        let candidates = [notes_of(3), notes_of(2), notes_of(1)];
        assert_eq!(target.candidates(), candidates);
        assert!(target.by_name);
    }

    #[test]
    fn the_name_of_another_means_one_project() {
        let home = home();
        let alice = "alice".parse().expect("a name");
        names::pick(home.path(), &alice, &key(9), 1).expect("picked");
        let target = target("gitback://alice/notes", &home);
        assert_eq!((target.project, target.others.len()), (notes_of(9), 0));
        assert!(target.by_name);
        assert_eq!(target.own.map(|own| own.key), Some(key(3)));
    }

    #[test]
    fn an_id_means_itself() {
        let target = target(&format!("gitback://{}/notes", notes_of(1)), &home());
        assert_eq!((target.project, target.others.len()), (notes_of(1), 0));
        assert!(!target.by_name);
    }
}

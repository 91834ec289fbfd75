//! From a URL to a project.

use std::ffi::OsString;
use std::path::Path;

use gitback_helper::{Failure, NamesStatus};
use gitback_identity::{Address, Handle, Host, ProjectId, PuddleKey, PuddleName};
use gitback_puddle::{
    Public, ReadError, ResolveError, Resolved, read_public, resolve as resolve_name,
};
use gitback_signer::names::resolve_by;

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
    /// Whom the address names, if it is another puddle than the user's own.
    pub(crate) other: Option<Other>,
    /// The puddle of the user who asks, if they have one on this machine.
    pub(crate) own: Option<Own>,
}

/// The user's own puddle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) name: PuddleName,
    pub(crate) key: PuddleKey,
}

/// Another puddle that is meant by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) name: PuddleName,
    pub(crate) meant: Resolved,
}

/// What is known of an address without the daemon.
#[derive(Debug)]
pub(crate) enum Meaning {
    Known(Target),
    Unresolved(Unresolved),
}

/// A name that is neither the user's own nor pinned: the daemon may know who claims it.
#[derive(Debug)]
pub(crate) struct Unresolved {
    pub(crate) name: PuddleName,
    handle: Handle,
    own: Option<Own>,
    unknown: ResolveError,
}

impl Unresolved {
    /// Finds out what it means, with the claims that the daemon knows.
    pub(crate) fn with(self, status: &NamesStatus) -> Result<Target, Failure> {
        match resolve_by(self.unknown, status) {
            Ok(meant) => Ok(target(meant, self.name, self.handle, self.own)),
            Err(error) => Err(failures::name(&error, self.own.as_ref(), &self.handle)),
        }
    }

    /// That it means nothing, as far as is known without the daemon.
    pub(crate) fn failure(&self) -> Failure {
        failures::name(&self.unknown, self.own.as_ref(), &self.handle)
    }
}

/// What is meant by the project `handle` of whoever has that name.
fn target(meant: Resolved, name: PuddleName, handle: Handle, own: Option<Own>) -> Target {
    let others = meant.projects(&handle).skip(1);
    Target {
        project: ProjectId::derive(meant.key(), &handle),
        others: others.map(|(project, _)| project).collect(),
        by_name: true,
        other: (!meant.is_own()).then_some(Other { name, meant }),
        handle,
        own,
    }
}

impl Target {
    /// Every project that it may mean, in the order in which to try them.
    pub(crate) fn candidates(&self) -> Vec<ProjectId> {
        let candidates = std::iter::once(&self.project).chain(&self.others);
        candidates.copied().collect()
    }
}

/// Finds out what `url` means. A puddle's name is known when it is the user's own, or is pinned.
pub(crate) fn resolve(url: &OsString, puddle_dir: &Path) -> Result<Meaning, Failure> {
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
    let to_own = |public: &Public| Own {
        name: public.name.clone(),
        key: public.key,
    };
    let own = public.as_ref().map(to_own);
    let name = match address.host() {
        Host::Puddle(name) => name.clone(),
        Host::Project(project) => {
            return Ok(Meaning::Known(Target {
                project: *project,
                others: Vec::new(),
                handle,
                by_name: false,
                other: None,
                own,
            }));
        }
    };
    match resolve_name(puddle_dir, public.as_ref(), &name) {
        Ok(meant) => Ok(Meaning::Known(target(meant, name, handle, own))),
        Err(unknown @ ResolveError::Unknown { .. }) => Ok(Meaning::Unresolved(Unresolved {
            name,
            handle,
            own,
            unknown,
        })),
        Err(error) => Err(failures::name(&error, own.as_ref(), &handle)),
    }
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
        match resolve(&url.into(), home.path()).expect("a meaning") {
            Meaning::Known(target) => target,
            Meaning::Unresolved(unresolved) => panic!("{unresolved:?}"),
        }
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
    fn a_name_that_is_neither_own_nor_pinned_is_left_to_the_daemon() {
        let home = home();
        let meaning = resolve(&"gitback://alice/notes".into(), home.path()).expect("a meaning");
        let Meaning::Unresolved(unresolved) = meaning else {
            panic!("{meaning:?}");
        };
        let claim = gitback_helper::ClaimStatus {
            name: Some("alice".to_owned()),
            puddle: key(9).to_string(),
            counter: 1,
            since_ms: 1,
        };
        let status = NamesStatus {
            claims: vec![claim],
            ..NamesStatus::default()
        };
        let target = unresolved.with(&status).expect("claimed by one");
        assert_eq!((target.project, target.by_name), (notes_of(9), true));
        let other = target.other.expect("another puddle");
        assert_eq!(other.meant.by(), gitback_puddle::By::Claim);
    }

    #[test]
    fn an_id_means_itself() {
        let target = target(&format!("gitback://{}/notes", notes_of(1)), &home());
        assert_eq!((target.project, target.others.len()), (notes_of(1), 0));
        assert!(!target.by_name);
    }
}

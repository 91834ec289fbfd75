//! Which project a verb is about.

use gitback_helper::{Failure, ProjectStatus};
use gitback_identity::{Address, Host, ProjectId};
use gitback_signer::home;

use super::reanchor::founder_of;
use crate::context::Context;
use crate::git::Git;
use crate::people::{People, unresolved};
use crate::{failure, naming};

/// A project, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) id: ProjectId,
    pub(crate) handle: String,
    /// What people call it.
    pub(crate) name: String,
    /// What the daemon shows of it: nothing to whoever may not use it.
    pub(crate) status: Option<ProjectStatus>,
}

impl Subject {
    /// A project that the daemon shows.
    pub(crate) fn of(status: ProjectStatus) -> Result<Self, Failure> {
        let id = parse(&status.project_id)?;
        Ok(Self {
            id,
            handle: status.handle.clone(),
            name: naming::display(&status),
            status: Some(status),
        })
    }

    /// A project of which no more is known than what the daemon says in passing.
    pub(crate) fn named(id: &str, handle: &str) -> Result<Self, Failure> {
        let id = parse(id)?;
        Ok(Self {
            id,
            handle: handle.to_owned(),
            name: format!("{}/{handle}", id.short()),
            status: None,
        })
    }

    /// A project of which no more is known than its address.
    pub(crate) fn at(address: &Address, id: ProjectId) -> Self {
        let name = match address.host() {
            Host::Project(id) => format!("{}/{}", id.short(), address.handle()),
            Host::Puddle(name) => format!("{name}/{}", address.handle()),
        };
        Self {
            id,
            handle: address.handle().to_string(),
            name,
            status: None,
        }
    }
}

/// Refuses what only the founder may do while an earlier key of the user's is the founder: the daemon knows keys, and
/// would say that the user is a stranger.
pub(crate) fn by_present_key(status: &ProjectStatus, people: &People) -> Result<(), Failure> {
    match founder_of(status) {
        Some(founder) if people.is_earlier(&founder) => {
            Err(failure::not_handed_over(&naming::display(status)))
        }
        _ => Ok(()),
    }
}

/// The projects that an address means by what is in the user's home, in the order in which to try them; at least one.
fn addressed(
    context: &Context,
    people: &People,
    address: &Address,
) -> Result<Vec<ProjectId>, Failure> {
    match address.host() {
        Host::Project(id) => Ok(vec![*id]),
        Host::Puddle(name) => {
            let resolved = people.resolve(context, name);
            let resolved = resolved.map_err(|error| unresolved(name, &error))?;
            let ids = resolved.projects(address.handle());
            Ok(ids.map(|(id, _founder)| id).collect())
        }
    }
}

/// The project that `text` means, without a daemon: by an address with an id, or from the user's home.
pub(crate) fn remembered(
    context: &Context,
    people: &People,
    text: &str,
) -> Result<Subject, Failure> {
    let kept = kept(context, people);
    let found = naming::find(text, &kept);
    let of_home = |status: &&ProjectStatus| found.as_ref() == Ok(&status.project_id);
    if let Some(status) = kept.iter().find(of_home) {
        return Ok(Subject {
            status: None,
            ..Subject::of(status.clone())?
        });
    }
    let Ok(address) = text.parse::<Address>() else {
        return Err(found.map_or_else(|failure| failure, |_| failure::unknown_project(text, None)));
    };
    let ids = addressed(context, people, &address)?;
    let id = ids.first().copied();
    let id = id.ok_or_else(|| failure::unknown_project(text, None))?;
    Ok(Subject::at(&address, id))
}

/// What the tokens in the user's home say of their projects.
fn kept(context: &Context, people: &People) -> Vec<ProjectStatus> {
    let dir = &context.layout.projects_dir;
    let ids = home::projects(dir).into_iter();
    let kept = ids.filter_map(|id| {
        let (_, proof) = home::token(dir, &id)?;
        Some(ProjectStatus {
            project_id: id.to_string(),
            handle: proof.handle.to_string(),
            founder: proof.founder.to_string(),
            founder_name: people.name_of(&proof.founder).map(ToString::to_string),
            ..ProjectStatus::default()
        })
    });
    kept.collect()
}

fn parse(id: &str) -> Result<ProjectId, Failure> {
    id.parse().map_err(|_| failure::unknown_project(id, None))
}

/// The address of the project that this folder is connected to.
pub(crate) fn connected_project(context: &Context) -> Result<String, Failure> {
    let remotes = Git::new(context).remotes()?;
    let mut connected = remotes
        .iter()
        .filter(|remote| remote.url.starts_with("gitback://"));
    let usual = connected.clone().find(|remote| remote.name == "gitback");
    match (usual, connected.next(), connected.next()) {
        (Some(remote), _, _) | (None, Some(remote), None) => Ok(remote.url.clone()),
        (None, _, _) => Err(failure::which_project()),
    }
}

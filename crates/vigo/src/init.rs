//! `project init`: founds a project, connects the repository, pushes.
//!
//! Every step finds out whether it was done before, so that a second run goes
//! on where the first one stopped.

use std::path::Path;

use gitback_envelope::{Policy, Scope};
use gitback_helper::{Failure, ProjectStatus, Reply, Request};
use gitback_identity::{Address, Handle, Host, ProjectId};
use gitback_puddle::Public;

use crate::console::{Console, Stop};
use crate::context::Context;
use crate::desk::Desk;
use crate::errand::Errand;
use crate::founding::{found, grant, set_policy};
use crate::git::{Git, Remote};
use crate::project::Subject;
use crate::record::{self, Record};
use crate::{cli, failure, naming, puddle, show};

/// What the remote is called, unless the repository has one already.
const REMOTE: &str = "gitback";

/// Founds or continues the project of the work tree that the user is in.
pub(crate) fn init(
    context: &Context,
    arguments: &cli::ProjectInit,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let git = Git::new(context);
    let work_tree = git.work_tree()?;
    git.require_sha1()?;
    let remotes = git.remotes()?;
    let public = context.puddle()?;
    let handle = choose_handle(arguments.handle.as_deref(), &remotes, &public, &work_tree)?;
    let founding = Founding::new(public, handle);
    let desk = founding.desk(context);
    // What is locked is to be known before anything is made.
    desk.signer()?;
    let mut errand = Errand::begin(context, console)?;

    let id = founding.id.to_string();
    let known = errand.look_up(&id)?;
    if !founding.may_continue(context, &remotes, &work_tree, known.as_ref()) {
        return Err(founding.taken().into());
    }
    founding.note(context, &work_tree)?;
    if known.is_none() {
        found(&mut errand, &desk, &founding.handle)?;
    }
    if known.is_none() || !has_policy(&mut errand, &id)? {
        set_policy(&mut errand, &desk, &first_policy(arguments.scope))?;
    } else if arguments.scope.is_some() {
        let console = &mut *errand.console;
        console.warning("--scope only counts when a project is founded");
        console.hint("to change it: vigo swarm gitback project policy --scope …");
    }
    if known.and_then(|project| project.role).is_none() {
        grant(&mut errand, &desk)?;
    }
    let connected = connect(&git, &founding, &remotes)?;
    if !arguments.no_push {
        push(&git, connected.target(&founding), errand.console)?;
        if let (Connected::Added | Connected::Before(_), Some(branch)) =
            (&connected, git.current_branch()?)
        {
            git.track(connected.target(&founding), &branch)?;
        }
    }
    if !arguments.no_claim {
        puddle::claim_quietly(context, errand.console);
    }
    // The push took its time; the daemon does not wait that long for the next request.
    errand.daemon = context.daemon()?;
    let outcome = Outcome {
        project: errand.project(&id)?,
        founding,
        connected,
    };
    outcome.report(&git, errand.console)
}

/// What there is to tell in the end.
struct Outcome {
    founding: Founding,
    connected: Connected,
    project: ProjectStatus,
}

/// The project to be: all of it follows from the puddle and the handle.
struct Founding {
    id: ProjectId,
    handle: Handle,
    public: Public,
    address: String,
}

impl Founding {
    fn new(public: Public, handle: Handle) -> Self {
        let address = Address::new(Host::Puddle(public.name.clone()), handle.clone());
        Self {
            id: ProjectId::derive(&public.key, &handle),
            address: address.to_string(),
            handle,
            public,
        }
    }

    fn desk<'a>(&self, context: &'a Context) -> Desk<'a> {
        let subject = Subject {
            id: self.id,
            handle: self.handle.to_string(),
            name: format!("{}/{}", self.public.name, self.handle),
            status: None,
        };
        let what_for = format!("founding {} needs a signature", self.handle);
        Desk::of(context, &self.public, &subject, what_for)
    }

    /// The remote that leads to this project, if there is one.
    fn remote<'a>(&self, remotes: &'a [Remote]) -> Option<&'a Remote> {
        let by_id = Address::new(Host::Project(self.id), self.handle.clone()).to_string();
        remotes
            .iter()
            .find(|remote| remote.url == self.address || remote.url == by_id)
    }

    /// Whether the project is new or this work tree's own. One that was
    /// started elsewhere is not to be mixed with this one by accident.
    fn may_continue(
        &self,
        context: &Context,
        remotes: &[Remote],
        work_tree: &Path,
        known: Option<&ProjectStatus>,
    ) -> bool {
        if self.remote(remotes).is_some() {
            return true;
        }
        match record::read(&context.layout.projects_dir, &self.id) {
            Some(record) => record.work_tree == work_tree.to_string_lossy(),
            None => known.is_none(),
        }
    }

    fn taken(&self) -> Failure {
        failure::project_taken(&self.public.name, self.handle.as_str(), &self.id.short())
    }

    /// Notes in the user's home which work tree the project is from.
    fn note(&self, context: &Context, work_tree: &Path) -> Result<(), Failure> {
        let projects_dir = &context.layout.projects_dir;
        if record::read(projects_dir, &self.id).is_some() {
            return Ok(());
        }
        let record = Record {
            version: 1,
            project_id: self.id.to_string(),
            handle: self.handle.to_string(),
            address: self.address.clone(),
            puddle: self.public.key.to_string(),
            work_tree: work_tree.to_string_lossy().into_owned(),
            created_ms: show::now_ms(),
        };
        record::write(projects_dir, &self.id, &record).map_err(|fault| failure::write_home(&fault))
    }
}

/// How the repository is connected.
enum Connected {
    Before(String),
    Added,
    /// The name "gitback" leads elsewhere.
    NameTaken {
        other: String,
    },
}

impl Connected {
    /// What to push to.
    fn target<'a>(&'a self, founding: &'a Founding) -> &'a str {
        match self {
            Self::Before(name) => name,
            Self::Added => REMOTE,
            Self::NameTaken { .. } => &founding.address,
        }
    }
}

/// The handle as given; else that of the remote; else the folder's name.
fn choose_handle(
    given: Option<&str>,
    remotes: &[Remote],
    public: &Public,
    work_tree: &Path,
) -> Result<Handle, Failure> {
    if let Some(text) = given {
        return text
            .parse()
            .map_err(|reject| failure::handle(text, &reject));
    }
    let connected = remotes
        .iter()
        .filter(|remote| remote.name == REMOTE)
        .filter_map(|remote| remote.url.parse::<Address>().ok())
        .find(|address| match address.host() {
            Host::Puddle(name) => *name == public.name,
            Host::Project(id) => *id == ProjectId::derive(&public.key, address.handle()),
        });
    if let Some(address) = connected {
        return Ok(address.handle().clone());
    }
    let folder = work_tree.file_name().unwrap_or_default().to_string_lossy();
    let lower = folder.to_ascii_lowercase();
    lower
        .parse()
        .map_err(|reject| failure::handle(&folder, &reject))
}

/// Whether anybody has said how the project is kept. Whoever founds it says so at once, so the first page tells.
fn has_policy(errand: &mut Errand<'_, '_>, id: &str) -> Result<bool, Failure> {
    let request = Request::Log {
        project: id.to_owned(),
        skip: 0,
    };
    match errand.call(&request)? {
        Reply::Log { entries, .. } => Ok(entries
            .iter()
            .any(|entry| entry.kind == "policy.v1" && entry.verdict == "valid")),
        other => Err(other.unexpected()),
    }
}

/// How a new project is kept.
fn first_policy(scope: Option<cli::Scope>) -> Policy {
    Policy {
        scope: scope.map_or(Scope::SwarmWide, Scope::from),
        protected: Vec::new(),
        replicas: None,
    }
}

fn connect(git: &Git<'_>, founding: &Founding, remotes: &[Remote]) -> Result<Connected, Failure> {
    if let Some(remote) = founding.remote(remotes) {
        return Ok(Connected::Before(remote.name.clone()));
    }
    match remotes.iter().find(|remote| remote.name == REMOTE) {
        Some(other) => Ok(Connected::NameTaken {
            other: other.url.clone(),
        }),
        None => {
            git.add_remote(REMOTE, &founding.address)?;
            Ok(Connected::Added)
        }
    }
}

fn push(git: &Git<'_>, target: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let lfs = git.lfs_files()?;
    if lfs > 0 {
        let files = show::count(lfs, "file");
        console.warning(format_args!(
            "{files} under Git LFS: gitback keeps the pointers only"
        ));
    }
    if git.has_refs("refs/heads/")? {
        // The branch that is checked out is what a clone will check out.
        let head = git.current_branch()?;
        let option = head.map(|name| format!("gitback.head={name}"));
        let options = option.iter().flat_map(|option| ["-o", option.as_str()]);
        git.push(target, options.chain(["--all", target]))?;
    }
    if git.has_refs("refs/tags/")? {
        git.push(target, ["--tags", target])?;
    }
    Ok(())
}

impl Outcome {
    fn report(&self, git: &Git<'_>, console: &mut Console<'_>) -> Result<(), Stop> {
        let Self {
            founding,
            connected,
            project,
        } = self;
        let name = naming::display(project);
        let remote = match connected {
            Connected::Added => format!("   (remote \"{REMOTE}\" added)"),
            Connected::Before(name) => format!("   (remote \"{name}\")"),
            Connected::NameTaken { .. } => String::new(),
        };
        let heading = format!("Project {name}");
        console.line(format_args!("{heading:<38}  id {}", founding.id.short()))?;
        console.line(format_args!("  Address   {}{remote}", founding.address))?;
        console.line(format_args!("  Kept on   {}", kept_on(project)))?;
        let where_kept = if project.copies < 2 {
            "there"
        } else {
            "on each of them"
        };
        console.line(format_args!(
            "  Readable  by root {where_kept}; contents are not encrypted"
        ))?;
        if project.copies < 2 {
            console.warning("THE ONLY COPY: one copy is not a backup");
            console.hint("why: vigo swarm gitback status");
        }
        let hint = match connected {
            Connected::NameTaken { other } => {
                console.warning(format_args!(
                    "the remote \"{REMOTE}\" leads to {} and was left as it is",
                    show::plain(other)
                ));
                format!(
                    "change it: git remote set-url {REMOTE} {}",
                    founding.address
                )
            }
            Connected::Added | Connected::Before(_) => {
                let branch = git.current_branch()?;
                let branch = branch
                    .as_deref()
                    .and_then(|name| name.strip_prefix("refs/heads/"));
                let target = connected.target(founding);
                match branch {
                    Some(branch) => format!("git push {target} {branch}"),
                    None => format!("after the first commit: git push {target} HEAD"),
                }
            }
        };
        console.hint(hint);
        Ok(())
    }
}

fn kept_on(project: &ProjectStatus) -> String {
    let holders: Vec<String> = project
        .envoys
        .iter()
        .filter(|copy| copy.state == "current")
        .map(|copy| show::plain(&copy.name))
        .collect();
    let number = match project.envoys.len() {
        all if all == holders.len() => show::count(all as u64, "envoy"),
        all => format!("{} of {}", holders.len(), show::count(all as u64, "envoy")),
    };
    format!("{number}: {}", holders.join(", "))
}

#[cfg(test)]
mod tests;

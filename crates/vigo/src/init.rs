//! `project init`: founds a project, connects the repository, pushes.
//!
//! Every step finds out whether it was done before, so that a second run goes
//! on where the first one stopped.

use std::path::Path;

use gitback_envelope::Statement;
use gitback_helper::{Draft, Failure, ProjectStatus, Reply, Request, Wish, exit_code};
use gitback_identity::{Address, Handle, Host, ProjectId, hex};
use gitback_puddle::{Public, session};

use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::git::{Git, Remote};
use crate::record::{self, Record};
use crate::{cli, failure, naming, project, show};

/// What the remote is called, unless the repository has one already.
const REMOTE: &str = "gitback";
/// The longest body of a draft, in bytes.
const DRAFT_MAX: usize = 8 * 1024;

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
    let signer = Signer::connect(context, &founding)?;
    let mut daemon = context.daemon()?;

    let known = look_up(&mut daemon, &founding, console)?;
    if !founding.may_continue(context, &remotes, &work_tree, known.as_ref()) {
        return Err(founding.taken().into());
    }
    founding.note(context, &work_tree)?;
    if known.is_none() {
        found(&mut daemon, &signer, console)?;
    }
    if known.and_then(|project| project.role).is_none() {
        grant(&mut daemon, &signer, context.uid(), console)?;
    }
    let connected = connect(&git, &founding, &remotes)?;
    if !arguments.no_push {
        push(&git, connected.target(&founding), console)?;
    }
    let project = project::ask_one(
        &mut context.daemon()?,
        &founding.id.to_string(),
        Some(&founding.public),
        console,
    )?;
    report(&git, &founding, &connected, &project, console)
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
        record::write(projects_dir, &self.id, &record)
            .map_err(|(path, error)| failure::write_record(&path, &error))
    }
}

/// The session, asked for what a new project needs signed.
struct Signer<'a> {
    client: session::Client,
    founding: &'a Founding,
    what_for: String,
}

impl<'a> Signer<'a> {
    fn connect(context: &Context, founding: &'a Founding) -> Result<Self, Failure> {
        let public = &founding.public;
        let what_for = format!("founding {} needs a signature", founding.handle);
        let locked = |error| failure::session_connect(&error, &public.name, &what_for);
        let client = session::Client::connect(&context.layout.session_socket).map_err(locked)?;
        let status = client
            .status()
            .map_err(|error| failure::session_call(&error, &public.name, &what_for))?;
        if status.key != public.key {
            return Err(failure::other_puddle_unlocked(&public.name));
        }
        Ok(Self {
            client,
            founding,
            what_for,
        })
    }

    /// Has `statement` signed; gives the envelope in hex.
    fn seal(&self, statement: Statement) -> Result<String, Failure> {
        let body = statement
            .encode_body()
            .map_err(|reject| failure::envelope(&reject))?;
        let name = &self.founding.public.name;
        let signature = self
            .client
            .sign(&statement.type_name(), &body)
            .map_err(|error| failure::session_call(&error, name, &self.what_for))?;
        let sealed = statement
            .seal(signature)
            .map_err(|reject| failure::envelope(&reject))?;
        Ok(hex::encode(sealed.bytes()))
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

fn look_up(
    daemon: &mut Daemon<'_>,
    founding: &Founding,
    console: &mut Console<'_>,
) -> Result<Option<ProjectStatus>, Failure> {
    let own = Some(&founding.public);
    match project::ask_one(daemon, &founding.id.to_string(), own, console) {
        Ok(project) => Ok(Some(project)),
        Err(failure) if failure.code == exit_code::UNKNOWN => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn found(
    daemon: &mut Daemon<'_>,
    signer: &Signer<'_>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let founding = signer.founding;
    let statement = Statement::init(&founding.public.key, &founding.handle);
    let request = Request::Found {
        envelope: signer.seal(statement)?,
    };
    accepted(daemon, &request, console)
}

/// Lets this machine's envoy sign updates for the founder.
fn grant(
    daemon: &mut Daemon<'_>,
    signer: &Signer<'_>,
    uid: u32,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let founding = signer.founding;
    let request = Request::Draft {
        project: founding.id.to_string(),
        handle: founding.handle.to_string(),
        puddle: founding.public.key.to_string(),
        wish: Wish::Grant,
    };
    let drafts = match daemon.call(&request, console)? {
        Reply::Drafts { drafts, .. } => drafts,
        other => return Err(other.unexpected()),
    };
    let sealed = drafts.iter().map(|draft| {
        let statement = check_draft(draft, founding, uid).map_err(failure::draft)?;
        signer.seal(statement)
    });
    let request = Request::Submit {
        project: founding.id.to_string(),
        envelopes: sealed.collect::<Result<_, _>>()?,
    };
    accepted(daemon, &request, console)
}

/// The daemon is not taken at its word: it may have a grant for this user in
/// this project signed, and nothing else.
fn check_draft(draft: &Draft, founding: &Founding, uid: u32) -> Result<Statement, String> {
    let body = hex::decode(&draft.body, DRAFT_MAX).ok_or("it is not hex, or too long")?;
    let statement = Statement::decode(&draft.type_name, &body)
        .map_err(|reject| format!("it is no statement: {}", failure::chain(&reject)))?;
    let key = &founding.public.key;
    if statement.project != founding.id {
        return Err("it is about another project".to_owned());
    }
    if statement.puddle != *key || statement.signer != *key.key() {
        return Err("it is for another puddle".to_owned());
    }
    match statement.grant() {
        Some(grant) if grant.uid == uid => Ok(statement),
        Some(grant) => Err(format!("it would let user {} in", grant.uid)),
        None => Err("it is not a grant".to_owned()),
    }
}

fn accepted(
    daemon: &mut Daemon<'_>,
    request: &Request,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match daemon.call(request, console)? {
        Reply::Accepted { notes, .. } => {
            for note in notes {
                console.progress(note);
            }
            Ok(())
        }
        other => Err(other.unexpected()),
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

fn report(
    git: &Git<'_>,
    founding: &Founding,
    connected: &Connected,
    project: &ProjectStatus,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let name = naming::display(project, Some(&founding.public));
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
            format!("git push {target} {}", branch.unwrap_or("main"))
        }
    };
    console.hint(hint);
    Ok(())
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

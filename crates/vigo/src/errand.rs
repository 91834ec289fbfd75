//! What every verb about projects has at hand.

use std::collections::{BTreeMap, BTreeSet};

use gitback_helper::{Failure, ProjectStatus, Reply, Request, exit_code};
use gitback_identity::{Address, Host, ProjectId, PuddleName};
use gitback_puddle::names::learn;
use gitback_puddle::{By, Claimant, Public, ResolveError, Resolved};
use gitback_signer::names::{claimants, passed_to, resolve_by, who_claims};

use crate::console::Console;
use crate::context::{Context, Daemon};
use crate::desk::Desk;
use crate::people::{People, Person, Sought, unresolved};
use crate::project::{Subject, connected_project, remembered};
use crate::{failure, naming, show};

/// Somebody's errand at the daemon: who they know, the conversation, and where they are told about it.
pub(crate) struct Errand<'a, 'c> {
    pub(crate) context: &'a Context,
    pub(crate) people: People,
    pub(crate) daemon: Daemon<'a>,
    pub(crate) console: &'a mut Console<'c>,
    /// Names that were found by the only claim to them, and not used before.
    claimed: BTreeMap<PuddleName, Claimant>,
    /// Pinned names of which it was said, or looked up in vain, that others claim them too.
    warned: BTreeSet<PuddleName>,
}

impl<'a, 'c> Errand<'a, 'c> {
    /// Finds the daemon.
    pub(crate) fn begin(
        context: &'a Context,
        console: &'a mut Console<'c>,
    ) -> Result<Self, Failure> {
        let daemon = context.daemon()?;
        Self::with(context, daemon, console)
    }

    /// The same for what nobody waits for.
    pub(crate) fn in_haste(
        context: &'a Context,
        console: &'a mut Console<'c>,
    ) -> Result<Self, Failure> {
        let daemon = context.hasty_daemon()?;
        Self::with(context, daemon, console)
    }

    pub(crate) fn with(
        context: &'a Context,
        daemon: Daemon<'a>,
        console: &'a mut Console<'c>,
    ) -> Result<Self, Failure> {
        let people = People::read(context, console)?;
        Ok(Self {
            context,
            people,
            daemon,
            console,
            claimed: BTreeMap::new(),
            warned: BTreeSet::new(),
        })
    }

    /// The user's puddle; a failure if there is none.
    pub(crate) fn own(&self) -> Result<&Public, Failure> {
        let own = self.people.own();
        own.ok_or_else(|| failure::no_puddle(&self.context.layout.puddle_dir))
    }

    /// Where the user signs about `subject`. `what_for` completes "puddle dan is locked: ".
    pub(crate) fn desk(
        &self,
        subject: &Subject,
        what_for: impl Into<String>,
    ) -> Result<Desk<'a>, Failure> {
        Ok(Desk::of(self.context, self.own()?, subject, what_for))
    }

    /// Asks one thing. A refusal is a failure.
    pub(crate) fn call(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.daemon.call(request, self.console)
    }

    /// The same for what takes its time as it should: nothing is said meanwhile.
    pub(crate) fn quiet_call(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.daemon.quiet_call(request)
    }

    /// Asks for something to be done, and passes on what is said about it. Gives the token that comes back.
    pub(crate) fn have_done(&mut self, request: &Request) -> Result<Option<String>, Failure> {
        match self.call(request)? {
            Reply::Accepted { notes, token } => {
                notes.iter().for_each(|note| self.console.progress(note));
                Ok(token)
            }
            other => Err(other.unexpected()),
        }
    }

    /// All projects that the user may see.
    pub(crate) fn projects(&mut self) -> Result<Vec<ProjectStatus>, Failure> {
        match self.call(&Request::Projects)? {
            Reply::Projects(projects) => Ok(self.named(projects)),
            other => Err(other.unexpected()),
        }
    }

    /// Puts names to projects, and the projects into their order.
    pub(crate) fn named(&self, projects: Vec<ProjectStatus>) -> Vec<ProjectStatus> {
        let named = projects.into_iter().map(|project| self.with_name(project));
        let mut named: Vec<ProjectStatus> = named.collect();
        named.sort_by_cached_key(|project| (naming::display(project), project.project_id.clone()));
        named
    }

    /// One project in full.
    pub(crate) fn project(&mut self, id: &str) -> Result<ProjectStatus, Failure> {
        let request = Request::Project {
            project: id.to_owned(),
        };
        match self.call(&request)? {
            Reply::Project(project) => Ok(self.with_name(project)),
            other => Err(other.unexpected()),
        }
    }

    /// The same; nothing where there is none.
    pub(crate) fn look_up(&mut self, id: &str) -> Result<Option<ProjectStatus>, Failure> {
        match self.project(id) {
            Ok(project) => Ok(Some(project)),
            Err(failure) if failure.code == exit_code::UNKNOWN => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The project that `text` means, or the one that this folder is connected to.
    pub(crate) fn chosen(&mut self, text: Option<&str>) -> Result<ProjectStatus, Failure> {
        let text = match text {
            Some(text) => text.to_owned(),
            None => connected_project(self.context)?,
        };
        let projects = self.projects()?;
        let id = match naming::find(&text, &projects) {
            Err(unknown) if unknown.code == exit_code::UNKNOWN => {
                self.by_founder(&text, &projects)?.ok_or(unknown)?
            }
            found => found?,
        };
        self.project(&id)
    }

    /// The one of `projects` that `alice/notes` means where alice is known by her claim only. A name that is contested
    /// is a failure, one that means nobody is not.
    fn by_founder(
        &mut self,
        text: &str,
        projects: &[ProjectStatus],
    ) -> Result<Option<String>, Failure> {
        let Some(address) = naming::named(text) else {
            return Ok(None);
        };
        let ids = match self.addressed(&address) {
            Ok(ids) => ids,
            Err(failure) if failure.code == exit_code::UNKNOWN => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let ids = ids.iter().map(ToString::to_string);
        let is_here = |id: &String| projects.iter().any(|project| project.project_id == *id);
        Ok(ids.into_iter().find(is_here))
    }

    /// The projects that an address may mean, in the order in which to try them; at least one.
    pub(crate) fn addressed(&mut self, address: &Address) -> Result<Vec<ProjectId>, Failure> {
        let name = match address.host() {
            Host::Project(id) => return Ok(vec![*id]),
            Host::Puddle(name) => name,
        };
        let meant = self.resolve(name)?;
        let ids = meant.projects(address.handle());
        let mut ids: Vec<ProjectId> = ids.map(|(id, _founder)| id).collect();
        if !meant.is_own()
            && let Ok(Reply::Names(status)) = self
                .daemon
                .quiet_call(&passed_to(meant.key(), address.handle()))
        {
            ids.extend(
                status
                    .projects
                    .iter()
                    .filter_map(|id| id.parse::<ProjectId>().ok()),
            );
        }
        Ok(ids)
    }

    /// Finds whom `text` means; see [`People::seek`].
    pub(crate) fn find(
        &mut self,
        text: &str,
        projects: &[ProjectStatus],
    ) -> Result<Person, Failure> {
        match self.people.seek(text, projects)? {
            Sought::Person(person) => Ok(person),
            Sought::Named(name) => Ok(Person {
                key: *self.resolve(&name)?.key(),
                name: Some(name),
            }),
        }
    }

    /// The keys that a name means: by the user's home, else by the only claim to it.
    fn resolve(&mut self, name: &PuddleName) -> Result<Resolved, Failure> {
        match self.people.resolve(self.context, name) {
            Ok(meant) => {
                if matches!(meant.by(), By::Pin(_)) {
                    self.warn_of_rivals(name, &meant);
                }
                Ok(meant)
            }
            Err(unknown @ ResolveError::Unknown { .. }) => {
                let status = match self.daemon.quiet_call(&who_claims(name))? {
                    Reply::Names(status) => status,
                    other => return Err(other.unexpected()),
                };
                let meant = resolve_by(unknown, &status);
                let meant = meant.map_err(|error| unresolved(name, &error))?;
                let claimant = claimants(&status, name).into_iter().next();
                if let Some(claimant) = claimant {
                    self.claimed.insert(name.clone(), claimant);
                }
                Ok(meant)
            }
            Err(error) => Err(unresolved(name, &error)),
        }
    }

    /// Says, once, that others claim a name that is pinned. It goes on meaning whom it meant.
    fn warn_of_rivals(&mut self, name: &PuddleName, meant: &Resolved) {
        if !self.warned.insert(name.clone()) {
            return;
        }
        let Ok(Reply::Names(status)) = self.daemon.quiet_call(&who_claims(name)) else {
            return;
        };
        let now = show::now_ms();
        let claimants = claimants(&status, name).into_iter();
        let rivals = claimants.filter(|claimant| claimant.key != *meant.key());
        let rivals: Vec<String> = rivals
            .map(|rival| {
                let age = show::span(now.saturating_sub(rival.since_ms));
                format!("{} (for {age})", rival.key.fingerprint())
            })
            .collect();
        if !rivals.is_empty() {
            self.console.warning(format_args!(
                "{name} is claimed by another key too: {}; to you it stays {}",
                rivals.join(", "),
                meant.key().fingerprint()
            ));
        }
    }

    /// The claim by which somebody was found whose name was not used before.
    pub(crate) fn claim_of(&self, person: &Person) -> Option<&Claimant> {
        let claimant = self.claimed.get(person.name.as_ref()?)?;
        (claimant.key == person.key).then_some(claimant)
    }

    /// Pins the names that were found by claims, now that they were of use. What is not remembered is said, and done all
    /// the same.
    pub(crate) fn remember(&mut self) {
        for (name, claimant) in std::mem::take(&mut self.claimed) {
            let words = claimant.key.fingerprint();
            let dir = &self.context.layout.puddle_dir;
            match learn(dir, &name, &claimant.key, show::now_ms()) {
                Ok(true) => self.console.progress(format_args!(
                    "{name} is {words} to you from now on; other claims will not change that"
                )),
                Ok(false) => {}
                Err(error) => self.console.warning(format_args!(
                    "whom {name} means is not remembered: {}",
                    failure::chain(&error)
                )),
            }
        }
    }

    /// The same for a verb that needs no membership: the daemon may show nothing of it, and the user knows it by its
    /// address, or from having been a member.
    pub(crate) fn reach(&mut self, text: &str) -> Result<Subject, Failure> {
        match self.chosen(Some(text)) {
            Ok(status) => Subject::of(status),
            Err(failure) if failure.code == exit_code::UNKNOWN => {
                if let Ok(subject) = remembered(self.context, &self.people, text) {
                    return Ok(subject);
                }
                let address = naming::named(text).ok_or_else(|| failure.clone())?;
                let ids = self.addressed(&address).map_err(|_| failure.clone())?;
                let id = ids.first().ok_or(failure)?;
                Ok(Subject::at(&address, *id))
            }
            Err(failure) => Err(failure),
        }
    }

    /// The daemon knows keys; names are known here.
    fn with_name(&self, mut project: ProjectStatus) -> ProjectStatus {
        let founder = self.people.person(&project.founder);
        if let Some(name) = founder.and_then(|founder| founder.name) {
            project.founder_name = Some(name.to_string());
        }
        project
    }
}

//! What every verb about projects has at hand.

use gitback_helper::{Failure, ProjectStatus, Reply, Request, exit_code};
use gitback_puddle::Public;

use crate::console::Console;
use crate::context::{Context, Daemon};
use crate::desk::Desk;
use crate::people::People;
use crate::project::{Subject, connected_project, remembered};
use crate::{failure, naming};

/// Somebody's errand at the daemon: who they know, the conversation, and where they are told about it.
pub(crate) struct Errand<'a, 'c> {
    pub(crate) context: &'a Context,
    pub(crate) people: People,
    pub(crate) daemon: Daemon<'a>,
    pub(crate) console: &'a mut Console<'c>,
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
        self.project(&naming::find(&text, &projects)?)
    }

    /// The same for a verb that needs no membership: the daemon may show nothing of it, and the user knows it by its
    /// address, or from having been a member.
    pub(crate) fn reach(&mut self, text: &str) -> Result<Subject, Failure> {
        match self.chosen(Some(text)) {
            Ok(status) => Subject::of(status),
            Err(failure) if failure.code == exit_code::UNKNOWN => {
                remembered(self.context, &self.people, text).map_err(|_| failure)
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

//! What every command needs: where things are, and how to reach them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitback_helper::{
    Client, Environment, Failure, Layout, Meanwhile, Patience, REQUESTS_MAX, Reply, Request,
};
use gitback_identity::PuddleName;
use gitback_puddle::session::{self, ConnectError, Status};
use gitback_puddle::{Public, ReadError, read_public};

use crate::console::Console;
use crate::failure;

/// How long a daemon may take the connection, and answer, where nobody waits for it.
const HASTE_CONNECT: Duration = Duration::from_secs(1);
const HASTE_ANSWER: Duration = Duration::from_secs(10);

/// It exists where systemd runs the machine.
///
/// Source: sd_booted(3).
const SYSTEMD: &str = "/run/systemd/system";
/// Has a file for each user whose services run without a login.
///
/// Source: loginctl(1), `enable-linger`.
const LINGERING: &str = "/var/lib/systemd/linger";

/// The facts of this process, collected once by the program.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What decides where things live; its `root` is `VIGO_ROOT`.
    pub places: Environment,
    /// The user's login name.
    pub user: Option<OsString>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// `VIGO_LOG`.
    pub log: Option<OsString>,
    /// `SUDO_UID`: who became root for this command.
    pub sudo_uid: Option<u32>,
    /// Whether systemd runs this machine.
    pub systemd: bool,
    /// Whether systemd looks after services of this user.
    pub systemd_of_user: bool,
    /// Whether the user's services run while the user is not logged in.
    pub lingers: bool,
    /// This program's file.
    pub program: Option<PathBuf>,
    /// Where the user is.
    pub directory: PathBuf,
}

impl Facts {
    /// Collects the facts through two questions: the value of a variable, and
    /// whether a path exists.
    #[must_use]
    pub fn from_lookup(
        uid: u32,
        variable: &dyn Fn(&str) -> Option<OsString>,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Self {
        let places = Environment::from_lookup(None, uid, variable, exists);
        let user = variable("USER").or_else(|| variable("LOGNAME"));
        let manager = |dir: &PathBuf| exists(&dir.join("systemd").join("private"));
        let lingering = |user: &OsString| exists(&Path::new(LINGERING).join(user));
        Self {
            sudo_uid: variable("SUDO_UID").and_then(|uid| uid.to_str()?.parse().ok()),
            systemd: exists(Path::new(SYSTEMD)),
            systemd_of_user: places.xdg_runtime_dir.as_ref().is_some_and(manager),
            lingers: user.as_ref().is_some_and(lingering),
            places,
            user,
            path: variable("PATH"),
            log: variable("VIGO_LOG"),
            program: None,
            directory: PathBuf::from("."),
        }
    }

    /// The user's login name as far as it is known, for a command to type.
    pub(crate) fn user_name(&self) -> String {
        let known = self.user.as_ref().and_then(|user| user.to_str());
        known.unwrap_or("$USER").to_owned()
    }
}

/// The facts, with the layout that follows from them.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) facts: Facts,
    pub(crate) layout: Layout,
}

impl Context {
    /// Applies `--root`, made absolute: other processes are told it too.
    pub(crate) fn new(mut facts: Facts, root: Option<PathBuf>) -> Result<Self, Failure> {
        let root = root.or_else(|| facts.places.root.take());
        facts.places.root = root.map(|root| facts.directory.join(root));
        let layout = Layout::choose(&facts.places).map_err(|error| failure::layout(&error))?;
        Ok(Self { facts, layout })
    }

    /// The same for a daemon: that of an ordinary user lives in the user's
    /// own directories, whatever root runs.
    pub(crate) fn of_daemon(mut facts: Facts, root: Option<PathBuf>) -> Result<Self, Failure> {
        facts.places.system_socket_exists = false;
        Self::new(facts, root)
    }

    pub(crate) fn uid(&self) -> u32 {
        self.facts.places.uid
    }

    /// The login name, if a puddle can be called that.
    pub(crate) fn suggested_name(&self) -> Option<PuddleName> {
        let user = self.facts.user.as_ref()?.to_str()?;
        // Who administers a machine is not what that person is called.
        user.parse().ok().filter(|_| user != "root")
    }

    /// The user's puddle; a failure if there is none.
    pub(crate) fn puddle(&self) -> Result<Public, Failure> {
        read_public(&self.layout.puddle_dir).map_err(|error| failure::read_puddle(&error))
    }

    /// The user's puddle, if there is one.
    pub(crate) fn puddle_if_any(&self) -> Result<Option<Public>, Failure> {
        match read_public(&self.layout.puddle_dir) {
            Ok(public) => Ok(Some(public)),
            Err(ReadError::Missing { .. }) => Ok(None),
            Err(error) => Err(failure::read_puddle(&error)),
        }
    }

    /// The session, if the puddle is unlocked.
    pub(crate) fn session_if_any(
        &self,
        name: &PuddleName,
    ) -> Result<Option<(session::Client, Status)>, Failure> {
        let what_for = "asking how it is";
        let client = match session::Client::connect(&self.layout.session_socket) {
            Ok(client) => client,
            Err(ConnectError::Locked { .. }) => return Ok(None),
            Err(error) => return Err(failure::session_connect(&error, name, what_for)),
        };
        match client.status() {
            Ok(status) => Ok(Some((client, status))),
            // It ended between the two.
            Err(session::CallError::Connect(ConnectError::Locked { .. })) => Ok(None),
            Err(error) => Err(failure::session_call(&error, name, what_for)),
        }
    }

    /// Opens a conversation with the daemon.
    pub(crate) fn daemon(&self) -> Result<Daemon<'_>, Failure> {
        self.patient_daemon(Patience::default())
    }

    /// The same for what nobody waits for: a daemon that is busy is left alone soon.
    pub(crate) fn hasty_daemon(&self) -> Result<Daemon<'_>, Failure> {
        self.patient_daemon(Patience {
            connect: HASTE_CONNECT,
            answer: HASTE_ANSWER,
            ..Patience::default()
        })
    }

    fn patient_daemon(&self, patience: Patience) -> Result<Daemon<'_>, Failure> {
        Ok(Daemon {
            client: connect(&self.layout, patience)?,
            layout: &self.layout,
            patience,
            requests_left: REQUESTS_MAX,
        })
    }
}

fn connect(layout: &Layout, patience: Patience) -> Result<Client, Failure> {
    let client = Client::connect_with(&layout.helper_socket, patience);
    client.map_err(|error| error.failure(layout))
}

/// A conversation with the daemon, or several where one is not long enough.
#[derive(Debug)]
pub(crate) struct Daemon<'a> {
    client: Client,
    layout: &'a Layout,
    patience: Patience,
    requests_left: u32,
}

impl Daemon<'_> {
    /// The user as whom the daemon runs that answers, as far as the kernel says.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.client.daemon_uid().ok()
    }

    /// Asks one thing. A refusal is a failure.
    pub(crate) fn call(
        &mut self,
        request: &Request,
        console: &mut Console<'_>,
    ) -> Result<Reply, Failure> {
        let mut meanwhile = |news: Meanwhile<'_>| match news {
            Meanwhile::Progress(text) => console.progress(text),
            Meanwhile::Silence(time) => {
                let text = format!("waiting for the daemon ({} s)", time.as_secs().max(1));
                console.progress(text);
            }
        };
        self.call_with(request, &mut meanwhile)
    }

    /// The same, and nothing is said meanwhile.
    pub(crate) fn quiet_call(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.call_with(request, &mut |_| ())
    }

    fn call_with(
        &mut self,
        request: &Request,
        meanwhile: &mut dyn FnMut(Meanwhile<'_>),
    ) -> Result<Reply, Failure> {
        if self.requests_left == 0 {
            self.client = connect(self.layout, self.patience)?;
            self.requests_left = REQUESTS_MAX;
        }
        self.requests_left -= 1;
        match self.client.call(request, meanwhile) {
            Ok(Reply::Failed(failure)) => Err(failure),
            Ok(reply) => Ok(reply),
            Err(error) => Err(error.failure(self.layout)),
        }
    }
}

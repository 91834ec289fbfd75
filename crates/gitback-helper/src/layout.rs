//! Where everything lives.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The socket of the daemon that root runs. If it exists, ordinary users go there.
pub const SYSTEM_SOCKET: &str = "/var/run/vigo/gitback.sock";

/// The facts of a process that decide where things live.
///
/// Libraries do not read the environment: a binary fills this in, usually by
/// [`Environment::from_lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `--root` or `VIGO_ROOT`: the whole tree is in this directory.
    pub root: Option<PathBuf>,
    /// The real user id.
    pub uid: u32,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, or `/run/user/<uid>` where that exists.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub xdg_data_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// Whether [`SYSTEM_SOCKET`] exists. A daemon that an ordinary user runs says `false`: it
    /// lives in that user's directories whatever root does.
    pub system_socket_exists: bool,
}

/// Whose daemon this is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The daemon that root runs for the machine.
    Root,
    /// A daemon that a user runs for themselves.
    User,
    /// A daemon whose tree is in a directory of its own, for tests and demonstrations.
    RootDir,
}

/// Every path of an envoy and of the user who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Whose daemon it is.
    pub mode: Mode,
    /// What the daemon keeps.
    pub state_dir: PathBuf,
    /// The daemon's socket.
    pub helper_socket: PathBuf,
    /// The socket of the user's unlocked puddle.
    pub session_socket: PathBuf,
    /// The daemon's configuration.
    pub config_file: PathBuf,
    /// The user's puddle.
    pub puddle_dir: PathBuf,
    /// What the user keeps about their projects.
    pub projects_dir: PathBuf,
    /// The envoy's key.
    pub identity_dir: PathBuf,
    /// The bare repositories.
    pub repositories_dir: PathBuf,
    /// The envelope logs.
    pub envelopes_dir: PathBuf,
}

/// Why there is no layout.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The user has no home directory.
    #[error("HOME is not set, so there is no place for the puddle")]
    NoHome,
    /// The user has no runtime directory.
    #[error(
        "XDG_RUNTIME_DIR is not set and /run/user/{uid} does not exist, so there is no place for sockets"
    )]
    NoRuntimeDir {
        /// The user.
        uid: u32,
    },
}

impl Mode {
    /// The mode in words: `root`, `user` or `root dir`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
            Self::RootDir => "root dir",
        }
    }
}

impl Environment {
    /// Collects the facts through two questions: the value of a variable, and whether a path
    /// exists.
    ///
    /// `root` is the `--root` flag; without it `VIGO_ROOT` is asked. Empty variables count as
    /// unset, and so do relative XDG paths.
    ///
    /// Source: XDG Base Directory Specification 0.8, "all paths must be absolute".
    #[must_use]
    pub fn from_lookup(
        root: Option<PathBuf>,
        uid: u32,
        variable: &dyn Fn(&str) -> Option<OsString>,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Self {
        let path = |name| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let absolute = |name| path(name).filter(|path| path.is_absolute());
        let run_user = PathBuf::from(format!("/run/user/{uid}"));
        Self {
            root: root.or_else(|| path("VIGO_ROOT")),
            uid,
            home: absolute("HOME"),
            xdg_runtime_dir: absolute("XDG_RUNTIME_DIR")
                .or_else(|| Some(run_user).filter(|path| exists(path))),
            xdg_data_home: absolute("XDG_DATA_HOME"),
            xdg_config_home: absolute("XDG_CONFIG_HOME"),
            system_socket_exists: exists(Path::new(SYSTEM_SOCKET)),
        }
    }
}

impl Layout {
    /// Chooses between the machine's tree, the user's own and a directory of the caller's.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if an ordinary user has no home or no runtime directory.
    pub fn choose(environment: &Environment) -> Result<Self, LayoutError> {
        if let Some(root) = &environment.root {
            return Ok(Self::in_root_dir(root));
        }
        let home = home(environment)?;
        let runtime = runtime_dir(environment)?;
        if environment.uid == 0 || environment.system_socket_exists {
            Ok(Self::of_machine(&home, &runtime))
        } else {
            Ok(Self::of_user(environment, &home, &runtime))
        }
    }

    /// The mode of the daemon's socket: a machine's daemon serves every user and judges each by
    /// its uid, a user's own daemon serves nobody else.
    #[must_use]
    pub fn socket_mode(&self) -> u32 {
        match self.mode {
            Mode::Root | Mode::RootDir => 0o666,
            Mode::User => 0o600,
        }
    }

    fn in_root_dir(root: &Path) -> Self {
        Self::assemble(Places {
            mode: Mode::RootDir,
            state: root.join("var/lib/vigo"),
            helper: root.join("var/run/vigo"),
            session: root.join("var/run/vigo"),
            config: root.join("etc/vigo"),
            home: root.join("home"),
        })
    }

    fn of_machine(home: &Path, runtime: &Path) -> Self {
        Self::assemble(Places {
            mode: Mode::Root,
            state: PathBuf::from("/var/lib/vigo"),
            helper: PathBuf::from("/var/run/vigo"),
            session: runtime.to_owned(),
            config: PathBuf::from("/etc/vigo"),
            home: home.to_owned(),
        })
    }

    fn of_user(environment: &Environment, home: &Path, runtime: &Path) -> Self {
        let or_in_home = |given: &Option<PathBuf>, default: &str| {
            given
                .clone()
                .unwrap_or_else(|| home.join(default))
                .join("vigo")
        };
        Self::assemble(Places {
            mode: Mode::User,
            state: or_in_home(&environment.xdg_data_home, ".local/share"),
            helper: runtime.to_owned(),
            session: runtime.to_owned(),
            config: or_in_home(&environment.xdg_config_home, ".config"),
            home: home.to_owned(),
        })
    }

    fn assemble(places: Places) -> Self {
        let Places {
            mode,
            state,
            helper,
            session,
            config,
            home,
        } = places;
        Self {
            mode,
            helper_socket: helper.join("gitback.sock"),
            session_socket: session.join("puddle.sock"),
            config_file: config.join("envoy.toml"),
            puddle_dir: home.join(".vigo-puddle"),
            projects_dir: home.join(".vigo-gitback"),
            identity_dir: state.join("identity"),
            repositories_dir: state.join("swarm/gitback/projects"),
            envelopes_dir: state.join("swarm/gitback/envelopes"),
            state_dir: state,
        }
    }
}

/// The directories from which all paths follow.
struct Places {
    mode: Mode,
    state: PathBuf,
    helper: PathBuf,
    session: PathBuf,
    config: PathBuf,
    home: PathBuf,
}

fn home(environment: &Environment) -> Result<PathBuf, LayoutError> {
    match &environment.home {
        Some(home) => Ok(home.clone()),
        // A daemon started at boot has no HOME and needs none.
        None if environment.uid == 0 => Ok(PathBuf::from("/root")),
        None => Err(LayoutError::NoHome),
    }
}

fn runtime_dir(environment: &Environment) -> Result<PathBuf, LayoutError> {
    match &environment.xdg_runtime_dir {
        Some(runtime) => Ok(runtime.join("vigo")),
        // Root without a login session; this place is root's own.
        None if environment.uid == 0 => Ok(PathBuf::from("/var/run/vigo")),
        None => Err(LayoutError::NoRuntimeDir {
            uid: environment.uid,
        }),
    }
}

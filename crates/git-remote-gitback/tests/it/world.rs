//! A machine in a directory: a puddle, repositories, and git with our program on its path.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gitback_helper::{Reply, Request};
use gitback_identity::{Handle, ProjectId, PuddleKey, SecretKey};
use gitback_puddle::{Cost, Passphrase, Public, create, session};
use tempfile::TempDir;

use crate::daemon::{Daemon, Script};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_git-remote-gitback");

/// The address of the project that every test is about.
pub(crate) const NOTES: &str = "gitback://dan/notes";

pub(crate) struct World {
    directory: TempDir,
}

impl World {
    /// A machine with nothing on it.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("r")).expect("room");
        Self { directory }
    }

    /// A machine with dan's puddle, locked.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        world.make_puddle("dan");
        world
    }

    pub(crate) fn make_puddle(&self, name: &str) {
        let passphrase = Passphrase::new("orange".to_owned()).expect("a passphrase");
        let cheap = Cost::new(64, 1, 1).expect("a cost");
        let name = name.parse().expect("a name");
        create(&self.puddle_dir(), &name, &passphrase, &secret(), cheap, 1).expect("a puddle");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("r")
    }

    pub(crate) fn puddle_dir(&self) -> PathBuf {
        self.root().join("home/.vigo-puddle")
    }

    pub(crate) fn helper_socket(&self) -> PathBuf {
        self.root().join("var/run/vigo/gitback.sock")
    }

    fn session_socket(&self) -> PathBuf {
        self.root().join("var/run/vigo/puddle.sock")
    }

    /// Unlocks the puddle until the value returned is dropped.
    pub(crate) fn unlock(&self) -> Session {
        self.unlock_as(secret())
    }

    /// A session that signs with any key.
    pub(crate) fn unlock_as(&self, secret: SecretKey) -> Session {
        let socket = self.session_socket();
        let public = Public {
            name: "dan".parse().expect("a name"),
            key: PuddleKey::new(secret.public()),
            created_ms: 1,
        };
        let serving = socket.clone();
        let thread = std::thread::spawn(move || {
            let hour = Duration::from_secs(3600);
            session::serve(&serving, secret, public, hour, None).expect("the session serves");
        });
        let started = Instant::now();
        while session::Client::connect(&socket).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "the session does not start"
            );
            std::thread::yield_now();
        }
        Session {
            socket,
            thread: Some(thread),
        }
    }

    /// A daemon that answers as `script` says and serves `bare.git`.
    pub(crate) fn daemon(
        &self,
        script: impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Daemon {
        let script: Box<Script> = Box::new(script);
        Daemon::start(&self.helper_socket(), self.path("bare.git"), script)
    }

    /// A daemon that opens every stream at once.
    pub(crate) fn willing_daemon(&self) -> Daemon {
        self.daemon(|_request| vec![Reply::Ready])
    }

    /// The bare repository that the daemon serves, with three commits on `main`.
    pub(crate) fn make_repository(&self) {
        self.git(
            ".",
            &[
                "init",
                "--quiet",
                "--bare",
                "--initial-branch=main",
                "bare.git",
            ],
        );
        for (key, value) in [
            ("uploadpack.allowFilter", "true"),
            ("uploadpack.allowAnySHA1InWant", "true"),
            ("receive.advertisePushOptions", "true"),
            ("receive.advertiseAtomic", "true"),
            ("gc.auto", "0"),
        ] {
            self.git("bare.git", &["config", key, value]);
        }
        self.git(".", &["init", "--quiet", "--initial-branch=main", "origin"]);
        for number in 1..=3 {
            self.commit(
                "origin",
                &format!("file{number}"),
                format!("text {number}\n"),
            );
        }
        self.git("origin", &["push", "--quiet", "../bare.git", "main"]);
    }

    /// Commits one file with this content.
    pub(crate) fn commit(&self, repository: &str, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(repository).join(file), content).expect("a file");
        self.git(repository, &["add", "--all"]);
        self.git(repository, &["commit", "--quiet", "--message", file]);
    }

    /// Runs git, which must succeed, and gives what it printed on stdout.
    pub(crate) fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let output = self.try_git(directory, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs git.
    pub(crate) fn try_git(&self, directory: &str, arguments: &[&str]) -> Output {
        let mut git = self.command("git");
        git.current_dir(self.path(directory)).args(arguments);
        git.output().expect("git is installed")
    }

    /// Runs git, which must fail, and gives what it printed on stderr.
    pub(crate) fn git_fails(&self, directory: &str, arguments: &[&str]) -> String {
        let output = self.try_git(directory, arguments);
        assert_eq!(
            output.status.code(),
            Some(128),
            "git {arguments:?}: {output:?}"
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A program in this world and nowhere else.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("GIT_") || text.starts_with("XDG_") {
                command.env_remove(&name);
            }
        }
        command
            .env("PATH", path_with_program())
            .env("HOME", self.directory.path())
            .env("VIGO_ROOT", self.root())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs([
                ("GIT_AUTHOR_NAME", "dan"),
                ("GIT_AUTHOR_EMAIL", "dan@example.org"),
            ])
            .envs([
                ("GIT_COMMITTER_NAME", "dan"),
                ("GIT_COMMITTER_EMAIL", "dan@example.org"),
            ]);
        command
    }
}

/// An unlocked puddle.
pub(crate) struct Session {
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let locked = session::Client::connect(&self.socket).map(|client| client.lock());
        if let (Ok(Ok(())), Some(thread)) = (locked, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// dan's secret key.
pub(crate) fn secret() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

/// dan's key.
pub(crate) fn dan() -> PuddleKey {
    PuddleKey::new(secret().public())
}

/// The id of gitback://dan/notes.
pub(crate) fn notes() -> ProjectId {
    ProjectId::derive(&dan(), &handle())
}

pub(crate) fn handle() -> Handle {
    "notes".parse().expect("a handle")
}

pub(crate) fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn path_with_program() -> OsString {
    let directory = Path::new(PROGRAM)
        .parent()
        .expect("the program is in a directory");
    let mut path = directory.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").expect("a path"));
    path
}

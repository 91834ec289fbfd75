//! The program itself, in a root directory of its own.

mod members;
mod names;
mod project;
mod puddle;
mod recovery;
mod rotate;
mod streams;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const VIGO: &str = env!("CARGO_BIN_EXE_vigo");

/// One machine and the person at it. Dropping it locks the puddle, so that no
/// session outlives a test, and removes all files.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        // Socket paths are short: not every TMPDIR is.
        let dir = tempfile::Builder::new()
            .prefix("vg-")
            .tempdir_in("/tmp")
            .expect("a directory");
        let machine = Self { dir };
        fs::create_dir_all(machine.root().join("etc/vigo")).expect("a directory");
        fs::create_dir(machine.bin()).expect("a directory");
        for name in ["git-remote-gitback", "git-gitback", "vigocli"] {
            symlink(VIGO, machine.bin().join(name)).expect("a link");
        }
        let config = "name = \"mars\"\nlisten = \"127.0.0.1:0\"\nmin_free_percent = 0\n";
        fs::write(machine.root().join("etc/vigo/envoy.toml"), config).expect("written");
        machine.passphrase("open sesame\n");
        machine
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("r")
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    fn passphrase_file(&self) -> PathBuf {
        self.dir.path().join("passphrase")
    }

    fn passphrase(&self, text: &str) {
        fs::write(self.passphrase_file(), text).expect("written");
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let mut path = self.bin().into_os_string();
        path.push(":");
        path.push(inherited);
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.root().join("home"))
            .env("VIGO_ROOT", self.root())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CEILING_DIRECTORIES", "/tmp")
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Dan");
            command.env(format!("GIT_{role}_EMAIL"), "dan@example.org");
        }
        command
    }

    fn vigo(&self, line: &str) -> Said {
        Said::of(self.command(VIGO).args(line.split(' ')))
    }

    fn vigo_in(&self, dir: &Path, line: &str) -> Said {
        Said::of(self.command(VIGO).current_dir(dir).args(line.split(' ')))
    }

    fn git_in(&self, dir: &Path, line: &str) -> Said {
        Said::of(self.command("git").current_dir(dir).args(line.split(' ')))
    }

    /// `puddle VERB … --passphrase-file FILE`
    fn with_passphrase(&self, line: &str) -> Said {
        let mut command = self.command(VIGO);
        command.args(line.split(' '));
        Said::of(command.arg("--passphrase-file").arg(self.passphrase_file()))
    }

    fn make_puddle(&self) {
        self.with_passphrase("swarm puddle init --name dan")
            .expect(0);
    }

    fn socket(&self) -> PathBuf {
        self.root().join("var/run/vigo/puddle.sock")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.socket().exists() {
            let locked = self.vigo("swarm puddle lock");
            if !std::thread::panicking() {
                locked.expect(0);
            }
        }
    }
}

/// What a program said, and its exit code.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    answer: String,
    talk: String,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("the program starts"))
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    fn answers(self, part: &str) -> Self {
        assert!(self.answer.contains(part), "no {part:?} in {self:#?}");
        self
    }

    #[track_caller]
    fn says(self, part: &str) -> Self {
        assert!(self.talk.contains(part), "no {part:?} in {self:#?}");
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.answer).expect("JSON")
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            answer: text(&output.stdout),
            talk: text(&output.stderr),
        }
    }
}

//! A daemon in the background, for machines and directories that no service manager looks after.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gitback_helper::{Failure, Mode, exit_code};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process};

use crate::context::Context;

/// From which size on a log is set aside for a new one, in bytes.
const LOG_MAX: u64 = 8 << 20;
/// How much of the end of a log is shown, in bytes.
const LAST_WORDS_MAX: u64 = 4096;
/// How many lines of it.
const LAST_LINES_MAX: usize = 6;

/// A daemon that was started, and from where on the log is about it.
#[derive(Debug)]
pub(super) struct Alone {
    child: Child,
    state_dir: PathBuf,
    begins: u64,
}

impl Alone {
    /// Whether it has ended, and nobody else serves the same state folder.
    pub(super) fn has_failed(&mut self) -> bool {
        let ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
        ended && !is_locked(&self.state_dir)
    }

    /// The last lines that it wrote.
    pub(super) fn last_words(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(log_file(&self.state_dir))?;
            let length = file.metadata()?.len();
            let from = length.saturating_sub(LAST_WORDS_MAX).max(self.begins);
            file.seek(SeekFrom::Start(from))?;
            let mut end = Vec::new();
            file.take(LAST_WORDS_MAX).read_to_end(&mut end)?;
            Ok(end)
        };
        let end = read().unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&end))
    }
}

/// Where a daemon without a service manager says how it is.
pub(super) fn log_file(state_dir: &Path) -> PathBuf {
    state_dir.join("envoy.log")
}

/// Starts the daemon.
pub(super) fn start(context: &Context) -> Result<Alone, Failure> {
    let fault =
        |why: String| Failure::new(exit_code::FAILED, "cannot start the envoy").because(why);
    let program = context.facts.program.as_ref();
    let program =
        program.ok_or_else(|| fault("this program does not know its own file".to_owned()))?;
    let state_dir = &context.layout.state_dir;
    let unwritable = |error: io::Error| {
        fault(format!(
            "cannot write {}: {error}",
            log_file(state_dir).display()
        ))
    };
    let log = open_log(state_dir).map_err(unwritable)?;
    let begins = log.metadata().map_err(unwritable)?.len();
    let mut command = Command::new(program);
    command.arg0("vigo");
    if context.layout.mode == Mode::RootDir {
        let root = context.facts.places.root.iter();
        command.args(root.flat_map(|root| [OsStr::new("--root"), root.as_os_str()]));
    }
    command
        .args(["envoy", "run", "--background"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Ok(Alone {
        child: command.spawn().map_err(|error| fault(error.to_string()))?,
        state_dir: state_dir.clone(),
        begins,
    })
}

fn open_log(state_dir: &Path) -> io::Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)?;
    let path = log_file(state_dir);
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_MAX) {
        fs::rename(&path, state_dir.join("envoy.log.1"))?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// The last few lines of a text.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES_MAX);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// Whether a daemon holds the state folder.
pub(super) fn is_locked(state_dir: &Path) -> bool {
    let Ok(file) = File::open(state_dir.join("lock")) else {
        return false;
    };
    // Let go of again at once, when the file is closed.
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared)
        == Err(rustix::io::Errno::WOULDBLOCK)
}

/// The process that listens on the daemon's socket, as the kernel says.
pub(super) fn serving(socket: &Path) -> Option<Pid> {
    let stream = UnixStream::connect(socket).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    Some(peer.pid)
}

/// Asks a daemon to end.
pub(super) fn end(process: Pid) -> io::Result<()> {
    if process.is_init() {
        return Err(io::Error::other("it is the first process of the system"));
    }
    match kill_process(process, Signal::TERM) {
        // It has ended meanwhile.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_end_of_a_log() {
        assert_eq!(last_lines(""), "");
        assert_eq!(last_lines("one\ntwo\n"), "one\ntwo");
        assert_eq!(last_lines("1\n2\n3\n4\n5\n6\n7\n"), "2\n3\n4\n5\n6\n7");
    }

    #[test]
    fn a_long_log_is_set_aside_and_a_short_one_goes_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        drop(open_log(&state).expect("a log"));
        fs::write(log_file(&state), "short\n").expect("written");
        let goes_on = open_log(&state).expect("a log");
        assert_eq!(goes_on.metadata().expect("a file").len(), 6);
        let long = File::options()
            .write(true)
            .open(log_file(&state))
            .expect("a log");
        long.set_len(LOG_MAX + 1).expect("grown");
        drop(open_log(&state).expect("a log"));
        assert_eq!(fs::metadata(log_file(&state)).expect("a log").len(), 0);
        assert!(state.join("envoy.log.1").is_file());
    }

    #[test]
    fn knows_whether_somebody_holds_a_state_folder() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(!is_locked(dir.path()));
        let lock = File::create(dir.path().join("lock")).expect("a file");
        assert!(!is_locked(dir.path()));
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("held");
        assert!(is_locked(dir.path()));
        drop(lock);
        assert!(!is_locked(dir.path()));
    }
}

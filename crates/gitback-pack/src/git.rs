//! git processes: a known program, a known environment, no orphans.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid,
};

use crate::{Bound, Fault};

/// How much of the end of a process's stderr is kept.
const STDERR_MAX: usize = 16 * 1024;
/// How often it is looked whether a process that may be stopped has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How much of one line is shown.
const LINE_MAX: usize = 512;
/// In what the system counts the processor time of a process: `USER_HZ`, part of its interface.
const TICKS_PER_SECOND: u64 = 100;

/// What git says when it gets no more memory.
const NO_MEMORY: &[&str] = &[
    "Out of memory",
    "out of memory",
    "unable to create thread",
    "mmap failed",
];

/// What no repository and no machine may change about the git that we run.
const OVERRIDES: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    // The graft file is pointed at nothing below; git would speak of that at length.
    "advice.graftFileDeprecated=false",
    // Migration syncs each pack itself, once and together with the directories.
    "core.fsync=none",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "transfer.hideRefs=refs/gitback",
    // Parts of a pack that git did not write would be sent as they are, whether what they build on is sent or not.
    "pack.allowPackReuse=false",
    "uploadpack.allowFilter=true",
    "uploadpack.allowAnySHA1InWant=true",
    // The daemon chose the directory; its owner need not be the daemon's user.
    "safe.directory=*",
];

/// Where git's programs are, as the `git` found in `PATH` tells.
fn programs() -> Result<&'static Path, Fault> {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = PROGRAMS.get() {
        return Ok(path);
    }
    let output = Command::new("git")
        .arg("--exec-path")
        .env_remove("GIT_EXEC_PATH")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Fault::Spawn {
            verb: "--exec-path",
            source,
        })?;
    let path = output.stdout.trim_ascii();
    if !output.status.success() || !path.starts_with(b"/") {
        return Err(Fault::Git {
            verb: "--exec-path",
            message: output.status.to_string(),
        });
    }
    Ok(PROGRAMS.get_or_init(|| PathBuf::from(OsStr::from_bytes(path))))
}

/// A git command on the repository, its environment cleared and hardened.
pub(crate) fn command(repository: &Path, verb: &'static str) -> Result<Command, Fault> {
    command_with(repository, verb, &[])
}

/// The same with more settings, which come after all others.
pub(crate) fn command_with(
    repository: &Path,
    verb: &'static str,
    settings: &[&str],
) -> Result<Command, Fault> {
    let programs = programs()?;
    let mut command = Command::new(programs.join("git"));
    let mut path = programs.as_os_str().to_owned();
    path.push(":/usr/local/bin:/usr/bin:/bin");
    command
        .env_clear()
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("HOME", "/nonexistent")
        .env("GIT_DIR", repository)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_GRAFT_FILE", "/dev/null")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(repository);
    for setting in OVERRIDES.iter().chain(settings) {
        command.arg("-c").arg(setting);
    }
    command.arg(verb).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// A git process. It is killed, with whatever it has started, when dropped before its end.
#[derive(Debug)]
pub(crate) struct Running {
    verb: &'static str,
    child: Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
    ended: bool,
}

impl Running {
    pub(crate) fn spawn(mut command: Command, verb: &'static str) -> Result<Self, Fault> {
        command.stderr(Stdio::piped()).process_group(0);
        let mut child = command
            .spawn()
            .map_err(|source| Fault::Spawn { verb, source })?;
        let stderr = child
            .stderr
            .take()
            .map(|pipe| std::thread::spawn(move || tail(pipe)));
        Ok(Self {
            verb,
            child,
            stderr,
            ended: false,
        })
    }

    /// Takes the pipe to its stdin. Panics when it was not asked for.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child
            .stdin
            .take()
            .expect("the caller has asked for a pipe")
    }

    /// Takes the pipe from its stdout. Panics when it was not asked for.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child
            .stdout
            .take()
            .expect("the caller has asked for a pipe")
    }

    /// Bounds what the process may use from now on.
    pub(crate) fn limit(&self, resource: Resource, amount: u64) -> Result<(), Fault> {
        self.limit_for_now(resource, amount, amount)
    }

    /// The same with a bound that can be raised later, up to `most`.
    pub(crate) fn limit_for_now(
        &self,
        resource: Resource,
        amount: u64,
        most: u64,
    ) -> Result<(), Fault> {
        let limit = Rlimit {
            current: Some(amount),
            maximum: Some(most.saturating_add(1)),
        };
        match prlimit(Some(self.pid()), resource, limit) {
            // A process that has ended already tells why when it is waited for.
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Fault::Spawn {
                verb: self.verb,
                source: error.into(),
            }),
        }
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Result<Finished, Fault> {
        let taken = self.wait_and_look();
        self.reap(taken.unwrap_or_default())
    }

    fn reap(mut self, taken: Duration) -> Result<Finished, Fault> {
        let status = self.child.wait().map_err(Fault::stream("wait for git"))?;
        self.ended = true;
        let stderr = self
            .stderr
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        Ok(Finished {
            verb: self.verb,
            status,
            taken,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Waits for the end and looks how much processor time it has taken, which nobody can tell of a process that was
    /// waited for.
    fn wait_and_look(&mut self) -> Option<Duration> {
        // It may wait for the end of its input.
        drop(self.child.stdin.take());
        let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(self.pid()), end) {
            if error != rustix::io::Errno::INTR {
                return None;
            }
        }
        let stat = format!("/proc/{}/stat", self.child.id());
        ticks(&std::fs::read_to_string(stat).ok()?)
    }

    /// The same, unless `stop` says that it is to be killed: then nothing.
    pub(crate) fn finish_unless(
        mut self,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Finished>, Fault> {
        loop {
            let ended = self.child.try_wait();
            if ended.map_err(Fault::stream("wait for git"))?.is_some() {
                // It was waited for, so that nobody can tell what it has taken.
                return self.reap(Duration::ZERO).map(Some);
            }
            if stop() {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // Failing to kill means that it has ended; then there is nothing left to do.
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// What a process has taken, with the children that it has waited for, from what the system says of it.
///
/// Source: proc_pid_stat(5), fields 14 to 17.
fn ticks(stat: &str) -> Option<Duration> {
    // The second field is the program's name, in which anything may stand.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields = rest.split_ascii_whitespace().skip(11).take(4);
    let ticks: Option<Vec<u64>> = fields.map(|field| field.parse().ok()).collect();
    let ticks = ticks.filter(|fields| fields.len() == 4)?;
    let ticks = ticks
        .iter()
        .fold(0_u64, |sum, one| sum.saturating_add(*one));
    Some(Duration::from_millis(
        ticks.saturating_mul(1000 / TICKS_PER_SECOND),
    ))
}

/// Keeps the last [`STDERR_MAX`] bytes of a stream.
fn tail(mut pipe: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        kept.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if kept.len() > 2 * STDERR_MAX {
            kept.drain(..kept.len() - STDERR_MAX);
        }
    }
    kept
}

/// How a git process ended.
#[derive(Debug)]
pub(crate) struct Finished {
    verb: &'static str,
    pub(crate) status: ExitStatus,
    /// Processor time; nothing where the system does not tell.
    pub(crate) taken: Duration,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.success()
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// What it was given too little of, if that has ended it.
    pub(crate) fn lacked(&self) -> Option<Bound> {
        if self.signal() == Some(Signal::XCPU.as_raw()) {
            return Some(Bound::ProcessorTime);
        }
        // What follows from it, such as an object that cannot be read, comes after it. Only the beginning of a line is git's
        // own for certain.
        let mut lines = self.stderr.lines().map(unlabelled);
        let begins = lines.any(|line| NO_MEMORY.iter().any(|text| line.starts_with(text)));
        let last = self.last_line();
        let is_memory = begins || NO_MEMORY.iter().any(|text| last.contains(text));
        is_memory.then_some(Bound::Memory)
    }

    /// The last line of stderr, bounded and printable, or the exit status.
    pub(crate) fn last_line(&self) -> String {
        let line = self
            .stderr
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty());
        line.map_or_else(|| self.status.to_string(), bounded)
    }

    pub(crate) fn fault(&self) -> Fault {
        Fault::Git {
            verb: self.verb,
            message: self.last_line(),
        }
    }

    /// Nothing, or the fault that it reports.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.succeeded() {
            Ok(())
        } else {
            Err(self.fault())
        }
    }
}

fn unlabelled(line: &str) -> &str {
    let rest = line.strip_prefix("fatal: ");
    rest.or_else(|| line.strip_prefix("error: "))
        .unwrap_or(line)
}

/// A line of git's as we show it: without its label, printable, bounded.
pub(crate) fn bounded(line: &str) -> String {
    unlabelled(line)
        .chars()
        .take(LINE_MAX)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_in_what_the_system_says_of_it() {
        let stat = "7 (a) b (c) Z 1 7 7 0 -1 4 9 0 0 0 150 25 3 2 20 0 1 0 99 0 0";
        assert_eq!(ticks(stat), Some(Duration::from_millis(1800)));
        assert_eq!(ticks("7 (a) Z 1 7"), None);
        assert_eq!(ticks("7"), None);
    }

    #[test]
    fn what_a_process_has_taken_is_known_when_it_has_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        let running = Running::spawn(command, "nothing").expect("it starts");
        running.limit(Resource::Cpu, 1).expect("it runs");
        let finished = running.finish().expect("it ends");
        assert_eq!(finished.lacked(), Some(Bound::ProcessorTime));
        // The system counts for the limit in another way.
        let taken = finished.taken;
        assert!(taken >= Duration::from_millis(500), "{taken:?}");
    }
}

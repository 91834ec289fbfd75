//! Running one command: a clean environment, a deadline, its own process group, and its output as text.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::Stop;

/// The most of one stream of a command's output that is kept, in bytes.
pub const OUTPUT_MAX: u64 = 64 << 20;

/// How long a command may run when nothing else was said.
const DEADLINE: Duration = Duration::from_secs(120);

/// A command that has not run yet.
#[derive(Debug, Clone)]
pub struct Invocation {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    input: Vec<u8>,
    deadline: Duration,
    stop: Option<Stop>,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command as a person would type it.
    pub line: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it answered.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Invocation {
    /// A command with an empty environment.
    pub fn new<S: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: args
                .into_iter()
                .map(|arg| arg.as_ref().to_owned())
                .collect(),
            env: Vec::new(),
            cwd: None,
            input: Vec::new(),
            deadline: DEADLINE,
            stop: None,
        }
    }

    /// Sets one variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in `dir`.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Gives it these bytes on standard input; without, there are none.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Ends it when it runs longer than this.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Ends it when `stop` is asked.
    #[must_use]
    pub fn stop(mut self, stop: Option<Stop>) -> Self {
        self.stop = stop;
        self
    }

    /// Runs another program with this one's arguments, environment and directory: `program args… this…`.
    #[must_use]
    pub fn under<S: AsRef<OsStr>>(
        mut self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut all: Vec<OsString> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        all.push(std::mem::replace(
            &mut self.program,
            program.as_ref().to_owned(),
        ));
        all.append(&mut self.args);
        self.args = all;
        self
    }

    /// The command as a person would type it, quoted for a shell.
    #[must_use]
    pub fn line(&self) -> String {
        let program = Path::new(&self.program)
            .file_name()
            .unwrap_or(&self.program);
        let words = std::iter::once(program).chain(self.args.iter().map(OsString::as_os_str));
        words
            .map(|word| quoted(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it to its end.
    ///
    /// Its output goes to files, not pipes: a process that it leaves behind in the background cannot hold us up.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or was ended by its deadline or by a wish to stop. An exit code other than zero
    /// is no error here; see [`Outcome::success`].
    pub fn run(&self) -> Result<Outcome> {
        let mut stdout = tempfile::tempfile().context("no temporary file")?;
        let mut stderr = tempfile::tempfile().context("no temporary file")?;
        let started = Instant::now();
        let (mut child, watch) = self.spawn(
            self.stdin()?,
            stdout.try_clone()?.into(),
            stderr.try_clone()?.into(),
        )?;
        let end = ended(&watch, self.stop.as_ref(), started + self.deadline);
        if !matches!(end, Ok(End::Exited)) {
            end_group(&child);
        }
        let status = child.wait().context("cannot wait for a command")?;
        let outcome = Outcome {
            line: self.line(),
            code: status.code(),
            stdout: text(&mut stdout)?,
            stderr: text(&mut stderr)?,
            took: started.elapsed(),
        };
        match end? {
            End::Exited => Ok(outcome),
            End::Stopped => bail!("interrupted during: {}", outcome.line),
            End::Late => bail!("no end within {:?}\n{outcome}", self.deadline),
        }
    }

    /// Starts it with both ends in our hands, for a conversation that git would have.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn talk(&self) -> Result<Talk> {
        let (mut child, _watch) = self.spawn(Stdio::piped(), Stdio::piped(), Stdio::null())?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("a pipe that was asked for")?);
        Ok(Talk {
            child,
            input,
            output,
        })
    }

    /// Starts it in a process group of its own.
    pub(crate) fn spawn(
        &self,
        stdin: Stdio,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Result<(Child, OwnedFd)> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.line()))?;
        let watch =
            pidfd_open(pid_of(&child)?, PidfdFlags::empty()).context("cannot watch a process")?;
        Ok((child, watch))
    }

    fn stdin(&self) -> Result<Stdio> {
        if self.input.is_empty() {
            return Ok(Stdio::null());
        }
        let mut file = tempfile::tempfile().context("no temporary file")?;
        file.write_all(&self.input)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file.into())
    }
}

/// A command that runs and is talked with. Dropping it kills it.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Talk {
    /// Sends bytes to its standard input.
    ///
    /// # Errors
    ///
    /// When it reads no more.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        input
            .write_all(bytes)
            .and_then(|()| input.flush())
            .context("it reads no more")
    }

    /// Ends its standard input.
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Its standard output.
    pub fn output(&mut self) -> &mut BufReader<ChildStdout> {
        &mut self.output
    }

    /// Kills it and everything that it started.
    pub fn kill(&mut self) {
        end_group(&self.child);
        // Nobody is left to tell; it is gone either way.
        let _ = self.child.wait();
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Outcome {
    /// Passes an outcome with exit code 0 on.
    ///
    /// # Errors
    ///
    /// The whole outcome as text, for any other exit code.
    pub fn success(self) -> Result<Self> {
        match self.code {
            Some(0) => Ok(self),
            _ => bail!("{self}"),
        }
    }

    /// Passes an outcome with this exit code on.
    ///
    /// # Errors
    ///
    /// The whole outcome as text, for any other exit code.
    pub fn exit(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        bail!("expected exit {code}\n{self}")
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "$ {}   [exit {code}]", self.line)?,
            None => writeln!(f, "$ {}   [ended by a signal]", self.line)?,
        }
        write!(f, "{}{}", self.stdout, self.stderr)
    }
}

/// Why a wait for a process was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited,
    Stopped,
    Late,
}

/// Waits until the process behind `watch` ended, a wish to stop, or `deadline`.
pub(crate) fn ended(watch: &OwnedFd, stop: Option<&Stop>, deadline: Instant) -> Result<End> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut watched = vec![PollFd::new(watch, PollFlags::IN)];
        let asked = stop.map(Stop::watched);
        if let Some(asked) = &asked {
            watched.push(PollFd::from_borrowed_fd(asked.as_fd(), PollFlags::IN));
        }
        match poll(&mut watched, Some(&timespec(left))) {
            Ok(0) => return Ok(End::Late),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error).context("cannot wait"),
        }
        let ready = |index: usize| {
            watched
                .get(index)
                .is_some_and(|fd| !fd.revents().is_empty())
        };
        if ready(0) {
            return Ok(End::Exited);
        }
        if ready(1) {
            return Ok(End::Stopped);
        }
    }
}

/// Kills a child's whole process group.
pub(crate) fn end_group(child: &Child) {
    if let Ok(pid) = pid_of(child) {
        // It may be gone already, which is what we want.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

pub(crate) fn pid_of(child: &Child) -> Result<Pid> {
    let raw = i32::try_from(child.id()).context("a process id that is out of range")?;
    Pid::from_raw(raw).context("a process id of zero")
}

pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

fn text(file: &mut File) -> Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,^~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Invocation {
        Invocation::new("/bin/sh", ["-c", script])
    }

    #[test]
    fn keeps_both_streams_and_the_code() {
        let outcome = sh("cat; echo beside >&2; exit 3")
            .input("in")
            .run()
            .expect("runs");
        assert_eq!(
            (
                outcome.code,
                outcome.stdout.as_str(),
                outcome.stderr.as_str()
            ),
            (Some(3), "in", "beside\n")
        );
        assert!(outcome.clone().success().is_err());
        assert!(outcome.exit(3).is_ok());
    }

    #[test]
    fn a_background_process_does_not_hold_it_up() {
        let outcome = sh("/bin/sleep 30 & echo $!").run().expect("runs");
        assert!(outcome.took < Duration::from_secs(20));
        let left: i32 = outcome.stdout.trim().parse().expect("a pid");
        let _ = rustix::process::kill_process(Pid::from_raw(left).expect("a pid"), Signal::KILL);
    }

    #[test]
    fn a_deadline_ends_it() {
        let error = sh("exec /bin/sleep 30")
            .deadline(Duration::from_millis(50))
            .run()
            .expect_err("is late");
        assert!(error.to_string().contains("no end within"), "{error}");
    }

    #[test]
    fn a_wish_to_stop_ends_it() {
        let stop = Stop::new().expect("a pipe");
        stop.ask();
        let error = sh("exec /bin/sleep 30")
            .stop(Some(stop))
            .run()
            .expect_err("is stopped");
        assert!(error.to_string().contains("interrupted"), "{error}");
    }

    #[test]
    fn starts_with_an_empty_environment() {
        let outcome = sh("echo \"${HOME-none} ${ONE-none}\"")
            .env("ONE", "1")
            .run()
            .expect("runs");
        assert_eq!(outcome.stdout, "none 1\n");
    }

    #[test]
    fn prints_what_a_person_would_type() {
        let line = Invocation::new("/usr/bin/git", ["commit", "-m", "it's one"]).line();
        assert_eq!(line, r"git commit -m 'it'\''s one'");
    }
}

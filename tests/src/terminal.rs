//! Somebody who types: a command on a terminal of its own, what it shows, and what is typed into it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::{End, end_group, ended, timespec};
use crate::{Invocation, OUTPUT_MAX};

/// How long a text may take until it is shown, and a command until it ends.
const DEADLINE: Duration = Duration::from_secs(120);

/// A command that runs on a terminal. Dropping it hangs up and kills it.
#[derive(Debug)]
pub struct Terminal {
    line: String,
    child: Child,
    watch: OwnedFd,
    keyboard: File,
    shown: String,
    /// Up to where of `shown` the reader has read.
    read: usize,
}

impl Terminal {
    /// Starts a command on a new terminal, which is its controlling one. Needs `setsid` (package util-linux).
    ///
    /// # Errors
    ///
    /// When there is no terminal to be had or the command cannot be started.
    pub fn start(command: &Invocation) -> Result<Self> {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&keyboard)?;
        unlockpt(&keyboard)?;
        let name = ptsname(&keyboard, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let screen = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
        let line = command.line();
        // It makes the terminal that it is started on the command's own.
        let command = command
            .clone()
            .under("/usr/bin/setsid", ["--ctty", "--wait", "--"]);
        let (child, watch) = command.spawn(
            screen.try_clone()?.into(),
            screen.try_clone()?.into(),
            screen.into(),
        )?;
        Ok(Self {
            line,
            child,
            watch,
            keyboard: keyboard.into(),
            shown: String::new(),
            read: 0,
        })
    }

    /// Waits until `text` is shown after what was read before, and reads up to it.
    ///
    /// # Errors
    ///
    /// When the command ends or a long time passes without it; with everything that was shown.
    pub fn sees(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let unread = self.shown.get(self.read..).unwrap_or_default();
            if let Some(at) = unread.find(text) {
                self.read += at + text.len();
                return Ok(());
            }
            if !self.reads_more(deadline)? {
                bail!("{:?} was not shown\n{self}", text);
            }
        }
    }

    /// Waits for a line that begins with `start`, and gives the rest of it.
    ///
    /// # Errors
    ///
    /// As [`Self::sees`].
    pub fn sees_line(&mut self, start: &str) -> Result<String> {
        self.sees(start)?;
        let from = self.read;
        self.sees("\n")?;
        let rest = self.shown.get(from..self.read).unwrap_or_default();
        Ok(rest.trim().to_owned())
    }

    /// Types a line.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn types(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        self.keyboard
            .write_all(line.as_bytes())
            .with_context(|| format!("nobody reads what is typed\n{self}"))
    }

    /// Waits for the end of the command, which has to be one with this exit code, and gives all that was shown.
    ///
    /// # Errors
    ///
    /// Another exit code, or no end within a long time.
    pub fn ends(mut self, code: i32) -> Result<String> {
        let deadline = Instant::now() + DEADLINE;
        while self.reads_more(deadline)? {}
        if ended(&self.watch, None, deadline)? != End::Exited {
            bail!("no end\n{self}");
        }
        let status = self.child.wait()?;
        if status.code() != Some(code) {
            bail!("expected exit {code}, got {status}\n{self}");
        }
        Ok(std::mem::take(&mut self.shown))
    }

    /// Reads what is shown next; says whether there was something.
    fn reads_more(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut watched = [
            PollFd::from_borrowed_fd(self.keyboard.as_fd(), PollFlags::IN),
            PollFd::new(&self.watch, PollFlags::IN),
        ];
        match poll(&mut watched, Some(&timespec(left))) {
            Ok(0) => return Ok(false),
            Err(rustix::io::Errno::INTR) => return Ok(true),
            other => other?,
        };
        let [screen, end] = &watched;
        let (is_shown, is_over) = (
            screen.revents().contains(PollFlags::IN),
            !end.revents().is_empty(),
        );
        if !is_shown {
            // What it has left behind may hold the terminal open.
            return Ok(!is_over && !screen.revents().contains(PollFlags::HUP));
        }
        let mut bytes = [0; 4096];
        let count = match self.keyboard.read(&mut bytes) {
            Ok(count) => count,
            // Nobody has the other end open any more.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => 0,
            Err(error) => return Err(error).context("cannot read the terminal"),
        };
        if self.shown.len() as u64 > OUTPUT_MAX {
            bail!("more than {OUTPUT_MAX} bytes were shown");
        }
        let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
        self.shown.push_str(&text.replace('\r', ""));
        Ok(count > 0)
    }
}

impl std::fmt::Display for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "$ {}\n{}", self.line, self.shown)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        end_group(&self.child);
        // Nobody is left to tell; it is gone either way.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Terminal {
        let command = Invocation::new("/bin/sh", ["-c", script]).env("PATH", "/usr/bin:/bin");
        Terminal::start(&command).expect("a terminal")
    }

    #[test]
    fn asks_and_is_answered() {
        let mut shell = sh("printf 'Name: '; read name; echo \"hello $name\"; exit 3");
        shell.sees("Name: ").expect("asked");
        shell.types("dan").expect("typed");
        assert_eq!(shell.sees_line("hello ").expect("answered"), "dan");
        let shown = shell.ends(3).expect("ends");
        assert!(shown.contains("hello dan"), "{shown}");
    }

    #[test]
    fn it_is_the_commands_own_terminal() {
        let mut shell =
            sh("printf 'Secret: ' > /dev/tty; read secret < /dev/tty; echo \"<$secret>\"");
        shell.sees("Secret: ").expect("asked");
        shell.types("sesame").expect("typed");
        shell.sees("<sesame>").expect("answered");
        shell.ends(0).expect("ends");
    }

    #[test]
    fn says_what_was_shown_instead() {
        let mut shell = sh("echo something else");
        let error = shell.sees("hello").expect_err("it is not shown");
        assert!(error.to_string().contains("something else"), "{error}");
        let error = shell.ends(1).expect_err("another code");
        assert!(error.to_string().contains("expected exit 1"), "{error}");
    }
}

//! git's remote helper for `gitback://` addresses.
//!
//! git runs `git-remote-gitback <remote> <url>` and talks to it on stdin and stdout as
//! gitremote-helpers(7) says. For each `connect` this crate finds out which project the address
//! means, asks the daemon of this machine for one stream, has a grant signed by the user's own
//! unlocked puddle where the daemon needs one, and then passes bytes both ways untouched until
//! the daemon's side ends.
//!
//! What it never does: speak to another machine, open a repository, decide who may do what, read
//! the environment itself, or have anything signed but what lets the calling user use the project:
//! the founding of the user's own, the acceptance of an invitation, a grant. It has no async runtime and no TLS, so that it starts in
//! milliseconds. The one process it starts is `git config`, for a push, in the user's
//! repository; git's repository variables go nowhere else.
//!
//! Read [`run`] and [`Surroundings`] first. What is said to git and to people is written down in
//! `docs/spec/remote-helper.md`.
//!
//! ```
//! use git_remote_gitback::{Streams, Surroundings, run};
//!
//! let surroundings = Surroundings::from_lookup(1000, &|_variable| None, &|_path| false);
//! let (mut output, mut errors) = (Vec::new(), Vec::new());
//! let streams =
//!     Streams { input: &b"capabilities\n\n"[..], output: &mut output, errors: &mut errors };
//! let arguments = ["origin".into(), "gitback://dan/notes".into()];
//!
//! assert_eq!(run(&arguments, &surroundings, streams), 0);
//! assert_eq!(output, b"connect\noption\n\n");
//! assert!(errors.is_empty());
//! ```

mod commands;
mod failures;
mod open;
mod pump;
mod push_wait;
mod resolve;
mod sign;
mod surroundings;
mod talk;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use gitback_helper::{Failure, Layout, Service};

pub use surroundings::Surroundings;

use crate::commands::{Command, read_command};
use crate::open::{Wish, open};
use crate::pump::pump;
use crate::resolve::resolve;
use crate::talk::Talk;

/// The exit status of every refusal. git adds nothing to what was printed then.
pub const FAILED: u8 = 128;

/// The exit status of a wrong command line.
pub const USAGE: u8 = 2;

/// What git is told that this helper can do.
const CAPABILITIES: &[u8] = b"connect\noption\n\n";

/// The three streams that git gives to a remote helper.
///
/// `input` moves to a thread of its own, which may still be blocked on it when [`run`] returns.
/// `input` and `output` must be unbuffered, see [`unbuffered`].
#[derive(Debug)]
pub struct Streams<R, W, E> {
    /// What git says.
    pub input: R,
    /// What git hears.
    pub output: W,
    /// What the user reads.
    pub errors: E,
}

/// A second handle to a standard stream that holds no byte back.
///
/// The standard library's own stdout waits for the end of a line, for which git's protocol may
/// wait for ever.
///
/// # Errors
///
/// What the system says when the stream is closed or descriptors are short.
pub fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// Serves git until it is done, and gives the exit status: 0, [`FAILED`] or [`USAGE`].
///
/// `arguments` are those after the program's name: the remote and its URL.
pub fn run<R, W, E>(
    arguments: &[OsString],
    surroundings: &Surroundings,
    streams: Streams<R, W, E>,
) -> u8
where
    R: Read + Send + 'static,
    W: Write,
    E: Write,
{
    let Streams {
        input,
        output,
        mut errors,
    } = streams;
    let mut talk = Talk::new(&mut errors);
    let [remote, url] = arguments else {
        talk.failure(&failures::usage());
        return USAGE;
    };
    let mut helper = Helper {
        remote,
        url,
        surroundings,
        output,
        talk,
        wants_progress: true,
    };
    match helper.serve(BufReader::new(input)) {
        Ok(()) => 0,
        Err(End::Refused(failure)) => {
            helper.talk.failure(&failure);
            FAILED
        }
        // There is nobody left to tell.
        Err(End::GitIsGone) => FAILED,
    }
}

/// Why a helper ends early.
enum End {
    Refused(Failure),
    GitIsGone,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

struct Helper<'a, W> {
    remote: &'a OsString,
    url: &'a OsString,
    surroundings: &'a Surroundings,
    output: W,
    talk: Talk<'a>,
    wants_progress: bool,
}

impl<W: Write> Helper<'_, W> {
    /// Obeys commands until git ends them or a stream takes over.
    fn serve<R: Read + Send + 'static>(&mut self, mut input: BufReader<R>) -> Result<(), End> {
        loop {
            match read_command(&mut input)? {
                Command::End => return Ok(()),
                Command::Capabilities => self.say(CAPABILITIES)?,
                Command::Verbosity(level) => {
                    self.talk.set_quiet(level <= 0);
                    self.say(b"ok\n")?;
                }
                Command::Progress(wanted) => {
                    self.wants_progress = wanted;
                    self.say(b"ok\n")?;
                }
                Command::UnknownOption => self.say(b"unsupported\n")?,
                Command::ConnectElsewhere => self.say(b"fallback\n")?,
                Command::Connect(service) => return self.connect(service, input),
            }
        }
    }

    fn connect<R: Read + Send + 'static>(
        &mut self,
        service: Service,
        input: BufReader<R>,
    ) -> Result<(), End> {
        let begun = Instant::now();
        let layout =
            Layout::choose(&self.surroundings.places).map_err(|error| failures::layout(&error))?;
        let meaning = resolve(self.url, &layout.puddle_dir)?;
        let push_wait_ms = match service {
            Service::UploadPack => None,
            Service::ReceivePack => push_wait::configured()?,
        };
        let configured = begun.elapsed();
        let wish = Wish {
            service,
            protocol: self.surroundings.protocol(service),
            push_wait_ms,
            progress: self.wants_progress,
            trace: self.surroundings.trace,
            uid: self.surroundings.places.uid,
            remote: match service {
                Service::UploadPack => None,
                Service::ReceivePack => self.remote.to_str().map(ToOwned::to_owned),
            },
        };
        let stream = open(&layout, meaning, &wish, &mut self.talk)?;
        let opened = begun.elapsed();
        self.say(b"\n")?;
        let pumped = pump(input, stream, &mut self.output);
        if wish.trace {
            let after = |moment: Duration| format!("{:.1} ms", moment.as_secs_f64() * 1000.0);
            self.talk.remark(&format!(
                "trace: git-remote-gitback asked after {}, was let in after {}, ended after {}",
                after(configured),
                after(opened),
                after(begun.elapsed()),
            ));
        }
        pumped.map_err(|error| End::Refused(failures::pump(&error)))
    }

    fn say(&mut self, words: &[u8]) -> Result<(), End> {
        self.output
            .write_all(words)
            .and_then(|()| self.output.flush())
            .map_err(|_| End::GitIsGone)
    }
}

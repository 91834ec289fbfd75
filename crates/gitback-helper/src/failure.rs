//! A refusal in the form in which people read it.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CallError, ConnectError, Layout, Mode, Reply};

const STATUS: &str = "vigo envoy status";
const SAME_VERSION: &str =
    "use one version of vigo and git-remote-gitback, and start the daemon again";

/// The exit codes of the command line, which are also the codes of a [`Failure`].
pub mod exit_code {
    /// It went wrong.
    pub const FAILED: u8 = 1;
    /// The command line itself is wrong.
    pub const USAGE: u8 = 2;
    /// Done, with fewer copies than asked.
    pub const FEWER_COPIES: u8 = 3;
    /// Unknown name or project.
    pub const UNKNOWN: u8 = 10;
    /// The puddle is locked.
    pub const LOCKED: u8 = 11;
    /// Not permitted.
    pub const NOT_PERMITTED: u8 = 12;
    /// Two puddles claim the name.
    pub const CONTESTED: u8 = 13;
    /// The disk is full, here or there.
    pub const DISK: u8 = 14;
    /// The daemon does not answer.
    pub const UNREACHABLE: u8 = 15;
}

/// Why a request was not done: what, why, and what to do next.
///
/// Its `Display` is the text for the terminal, one line for each part and no newline at the end:
///
/// ```
/// use gitback_helper::{Failure, exit_code};
///
/// let failure = Failure::new(exit_code::DISK, "mars cannot take this push")
///     .because("7% of its disk is free, 10% is needed")
///     .hint("free some space on mars");
/// assert_eq!(
///     failure.to_string(),
///     "error: mars cannot take this push\n\
///      why:   7% of its disk is free, 10% is needed\n\
///      hint:  free some space on mars"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// An exit code, see [`exit_code`].
    pub code: u8,
    /// What went wrong, lower case and without a full stop.
    pub what: String,
    /// The reason, where `what` does not already say it.
    pub why: Option<String>,
    /// What to do about it, most useful first.
    #[serde(default)]
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure without reason and hints.
    #[must_use]
    pub fn new(code: u8, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            why: None,
            hints: Vec::new(),
        }
    }

    /// The same with a reason.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// The same with one more thing to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries repeat the cause in their own message.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

impl ConnectError {
    /// The same for people. `layout` says whose daemon it is.
    #[must_use]
    pub fn failure(&self, layout: &Layout) -> Failure {
        let socket = layout.helper_socket.display();
        let silent = || {
            let what = format!("the daemon is not answering on {socket}");
            Failure::new(exit_code::UNREACHABLE, what)
        };
        match self {
            Self::NotRunning { .. } => silent().because("nothing listens there").hint(match layout
                .mode
            {
                Mode::Root => "start it: sudo vigo up",
                Mode::User | Mode::RootDir => "start it: vigo up",
            }),
            Self::NotPermitted { .. } => Failure::new(
                exit_code::NOT_PERMITTED,
                format!("you may not use {socket}"),
            )
            .because("it belongs to another user's daemon")
            .hint("start your own: vigo up"),
            Self::Busy { .. } => silent().because(chain(self)).hint("try again in a moment"),
            Self::Address(_) | Self::Socket { .. } => {
                Failure::new(exit_code::UNREACHABLE, chain(self)).hint(STATUS)
            }
        }
    }
}

impl CallError {
    /// The same for people. `layout` says where the daemon is.
    #[must_use]
    pub fn failure(&self, layout: &Layout) -> Failure {
        let socket = layout.helper_socket.display();
        let what = format!("the daemon on {socket} gave no answer");
        let failure = Failure::new(exit_code::UNREACHABLE, what).because(chain(self));
        match self {
            Self::Malformed { .. } => failure.hint(SAME_VERSION),
            Self::Send(_) | Self::Receive(_) | Self::Silent { .. } => failure.hint(STATUS),
        }
    }
}

impl Reply {
    /// What to say of an answer that does not fit the question. A refusal fits every question.
    #[must_use]
    pub fn unexpected(self) -> Failure {
        let kind = match self {
            Self::Ready => "ready",
            Self::Accepted { .. } => "accepted",
            Self::Drafts { .. } => "drafts",
            Self::NeedSignature { .. } => "need_signature",
            Self::NeedToken { .. } => "need_token",
            Self::Moved { .. } => "moved",
            Self::Progress { .. } => "progress",
            Self::Envoy(_) => "envoy",
            Self::Projects(_) => "projects",
            Self::Project(_) => "project",
            Self::Log { .. } => "log",
            Self::RefLog { .. } => "ref_log",
            Self::Restored(_) => "restored",
            Self::Sync(_) => "sync",
            Self::Removals { .. } => "removals",
            Self::Scrubbed { .. } => "scrubbed",
            Self::Renewals { .. } => "renewals",
            Self::Card(_) => "card",
            Self::EnrolRequest { .. } => "enrol_request",
            Self::Enrolled { .. } => "enrolled",
            Self::Ticket { .. } => "ticket",
            Self::Fleet(_) => "fleet",
            Self::Authority(_) => "authority",
            Self::Names(_) => "names",
            Self::Failed(failure) => return failure,
        };
        Failure::new(
            exit_code::FAILED,
            "the daemon's answer does not fit the question",
        )
        .because(format!("it answered {kind}"))
        .hint(SAME_VERSION)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\nwhy:   {why}")?;
        }
        for hint in &self.hints {
            write!(f, "\nhint:  {hint}")?;
        }
        Ok(())
    }
}

//! Every refusal in words. What happened is decided elsewhere.

use std::error::Error;
use std::io;
use std::path::Path;

use gitback_envelope::Reject;
use gitback_helper::{
    CallError, ConnectError, Failure, Layout, LayoutError, Mode, Reply, exit_code,
};
use gitback_identity::{AddressReject, Handle, PuddleName};
use gitback_puddle::session;
use gitback_puddle::{ReadError, ResolveError};

use crate::grant::DraftReject;
use crate::pump::PumpError;
use crate::resolve::Target;

/// How much of a text from outside is repeated, in characters.
const QUOTE_MAX: usize = 80;

const STATUS: &str = "vigo envoy status";
const SAME_VERSION: &str = "use the same version of vigo and git-remote-gitback";
const ADDRESS_FORM: &str =
    "an address is gitback://<puddle>/<handle> or gitback://<project id>/<handle>";
const BRING_PUDDLE: &str =
    "bring your puddle to this machine: copy identity.wrapped into ~/.vigo-puddle";
const MAKE_PUDDLE: &str = "or make a new puddle: vigo swarm puddle init";
const UNLOCK: &str = "vigo swarm puddle unlock";

pub(crate) fn usage() -> Failure {
    failure(
        exit_code::USAGE,
        "git-remote-gitback takes a remote and a URL",
    )
    .because("git starts it; it is not meant to be started by hand")
    .hint("git clone gitback://<your puddle>/<handle>")
}

pub(crate) fn command_too_long(max: usize) -> Failure {
    failure(
        exit_code::FAILED,
        format!("git sent a command longer than {max} bytes"),
    )
}

pub(crate) fn command_cut_short() -> Failure {
    failure(exit_code::FAILED, "git ended in the middle of a command")
}

pub(crate) fn command_unknown(command: &str) -> Failure {
    failure(
        exit_code::FAILED,
        format!(
            "git asked for {}, which this helper does not do",
            quote(command)
        ),
    )
    .because("it offers connect and option, which every git since 1.7 uses")
    .hint("git --version")
}

pub(crate) fn input(error: &io::Error) -> Failure {
    failure(exit_code::FAILED, "cannot read what git asks").because(chain(error))
}

pub(crate) fn layout(error: &LayoutError) -> Failure {
    failure(exit_code::FAILED, chain(error))
        .hint("log in again, or set the variable to a directory of your own")
}

pub(crate) fn address(text: &str, reject: &AddressReject) -> Failure {
    let failure = failure(
        exit_code::USAGE,
        format!("{} is not a gitback address", quote(text)),
    )
    .because(chain(reject));
    match reject {
        AddressReject::CapitalHex => failure.hint("write the project id in lowercase"),
        AddressReject::NoHandle => failure.hint("add the project's handle: gitback://…/<handle>"),
        AddressReject::ExtraPath => failure.hint("leave out everything after the handle"),
        AddressReject::User
        | AddressReject::Port
        | AddressReject::Query
        | AddressReject::Fragment
        | AddressReject::PercentEscape => failure.hint("leave that part out"),
        _ => failure.hint(ADDRESS_FORM),
    }
}

pub(crate) fn puddle_unreadable(error: &ReadError) -> Failure {
    failure(exit_code::FAILED, "cannot read your puddle")
        .because(chain(error))
        .hint("vigo swarm puddle status")
}

/// Why an address with a puddle's name in it means no project. `own` is the user's own name.
pub(crate) fn name(error: &ResolveError, own: Option<&PuddleName>, handle: &Handle) -> Failure {
    let ResolveError::Unknown { name, near, picked } = error else {
        return failure(exit_code::FAILED, "cannot look the puddle's name up")
            .because(chain(error))
            .hint("vigo swarm puddle names list");
    };
    let failure = failure(exit_code::UNKNOWN, format!("no puddle is called {name}"));
    let failure = match (near, own, picked) {
        (Some(near), _, _) => failure.hint(format!("did you mean {near}?")),
        (None, Some(own), 0) => failure.because(format!(
            "the only name known on this machine is your own, {own}"
        )),
        (None, Some(_), _) => {
            failure.because("it is neither your own name nor one that you picked")
        }
        (None, None, 0) => failure
            .because("you have no puddle on this machine, so no name is known")
            .hint(BRING_PUDDLE)
            .hint(MAKE_PUDDLE),
        (None, None, _) => failure
            .because("you never picked that name, and have no puddle on this machine")
            .hint(BRING_PUDDLE),
    };
    failure
        .hint(format!(
            "say whose name it is: vigo swarm puddle names pick {name} KEY"
        ))
        .hint(format!(
            "or use the full address: gitback://<project id>/{handle}"
        ))
}

pub(crate) fn push_wait_value(value: &str) -> Failure {
    failure(
        exit_code::USAGE,
        format!(
            "gitback.pushWait is {}, which is no waiting time",
            quote(value)
        ),
    )
    .because("it is a number of milliseconds, or a number with ms, s or m; at most 10m")
    .hint("git config gitback.pushWait 3s")
}

pub(crate) fn push_wait_unreadable(why: &str) -> Failure {
    failure(exit_code::FAILED, "cannot read gitback.pushWait")
        .because(why)
        .hint("git config --get gitback.pushWait")
}

pub(crate) fn connect(error: &ConnectError, layout: &Layout) -> Failure {
    let socket = layout.helper_socket.display();
    match error {
        ConnectError::NotRunning { .. } => {
            let how = match layout.mode {
                Mode::Root => "start it as root: vigo envoy run",
                Mode::User | Mode::RootDir => "start it: vigo envoy run",
            };
            failure(
                exit_code::UNREACHABLE,
                format!("the daemon is not answering on {socket}"),
            )
            .because("nothing listens there")
            .hint(how)
        }
        ConnectError::NotPermitted { .. } => failure(
            exit_code::NOT_PERMITTED,
            format!("you may not use {socket}"),
        )
        .because("it belongs to another user's daemon")
        .hint("start your own: vigo envoy run"),
        ConnectError::Busy { .. } => failure(
            exit_code::UNREACHABLE,
            format!("the daemon is not answering on {socket}"),
        )
        .because(chain(error))
        .hint("try again in a moment"),
        _ => failure(exit_code::UNREACHABLE, chain(error)).hint(STATUS),
    }
}

pub(crate) fn call(error: &CallError, socket: &Path) -> Failure {
    let what = format!("the daemon on {} gave no answer", socket.display());
    let failure = failure(exit_code::UNREACHABLE, what).because(chain(error));
    match error {
        CallError::Malformed { .. } => failure.hint(SAME_VERSION),
        _ => failure.hint(STATUS),
    }
}

pub(crate) fn unexpected(reply: &Reply) -> Failure {
    let kind = match reply {
        Reply::Ready => "ready",
        Reply::Accepted { .. } => "accepted",
        Reply::Drafts { .. } => "drafts",
        Reply::NeedSignature { .. } => "need_signature",
        Reply::NeedToken { .. } => "need_token",
        Reply::Moved { .. } => "moved",
        Reply::Progress { .. } => "progress",
        Reply::Envoy(_) => "envoy",
        Reply::Projects(_) => "projects",
        Reply::Project(_) => "project",
        Reply::Log { .. } => "log",
        Reply::Renewals { .. } => "renewals",
        Reply::Failed(_) => "failed",
    };
    failure(
        exit_code::FAILED,
        "the daemon's answer does not fit the question",
    )
    .because(format!("it answered {kind}"))
    .hint(SAME_VERSION)
}

pub(crate) fn asked_twice(handle: &Handle) -> Failure {
    failure(
        exit_code::FAILED,
        format!("the daemon does not open {handle}"),
    )
    .because("it took a signature and asks for another")
    .hint(STATUS)
}

pub(crate) fn grant_needs_puddle(target: &Target) -> Failure {
    failure(
        exit_code::NOT_PERMITTED,
        format!("this machine may not serve {} to you yet", target.handle),
    )
    .because("that takes a signature, and you have no puddle on this machine")
    .hint(BRING_PUDDLE)
}

pub(crate) fn not_here(target: &Target) -> Failure {
    let what = format!(
        "this machine does not hold {} ({})",
        target.handle,
        target.project.short()
    );
    let failure = failure(exit_code::UNKNOWN, what);
    match &target.own {
        Some(own) => failure
            .because(format!("only its founder can bring it here, and that is not your puddle {}", own.name))
            .hint("check the address: git remote -v"),
        None => failure
            .because("bringing it here takes its founder's signature, and you have no puddle on this machine")
            .hint(BRING_PUDDLE),
    }
}

pub(crate) fn draft(reject: &DraftReject) -> Failure {
    failure(
        exit_code::FAILED,
        "the daemon asked for a signature that it may not have; nothing was signed",
    )
    .because(chain(reject))
    .hint("the daemon of this machine is of another version, or not to be trusted")
}

pub(crate) fn session(error: &session::ConnectError, name: &PuddleName, what_for: &str) -> Failure {
    match error {
        session::ConnectError::Locked { .. } => failure(
            exit_code::LOCKED,
            format!("puddle {name} is locked; {what_for}"),
        )
        .hint(UNLOCK),
        _ => failure(
            exit_code::LOCKED,
            format!("cannot ask puddle {name} to sign; {what_for}"),
        )
        .because(chain(error))
        .hint(UNLOCK),
    }
}

pub(crate) fn not_signed(error: &session::CallError, name: &PuddleName, what_for: &str) -> Failure {
    match error {
        session::CallError::Connect(error) => session(error, name, what_for),
        _ => failure(
            exit_code::LOCKED,
            format!("puddle {name} did not sign; {what_for}"),
        )
        .because(chain(error))
        .hint("vigo swarm puddle status"),
    }
}

pub(crate) fn not_sealed(reject: &Reject) -> Failure {
    failure(exit_code::FAILED, "cannot write an envelope")
        .because(chain(reject))
        .hint("vigo swarm puddle status")
}

pub(crate) fn stream(error: &io::Error) -> Failure {
    failure(exit_code::FAILED, "cannot use the connection to the daemon").because(chain(error))
}

pub(crate) fn pump(error: &PumpError) -> Failure {
    failure(
        exit_code::UNREACHABLE,
        "the connection to the daemon broke off",
    )
    .because(chain(error))
    .hint(STATUS)
}

fn failure(code: u8, what: impl Into<String>) -> Failure {
    Failure {
        code,
        what: what.into(),
        why: None,
        hints: Vec::new(),
    }
}

/// The rest of a sentence.
trait Reasons {
    fn because(self, why: impl Into<String>) -> Self;
    fn hint(self, hint: impl Into<String>) -> Self;
}

impl Reasons for Failure {
    fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A text from outside, so that nobody takes it for ours.
fn quote(text: &str) -> String {
    let shown: String = text.chars().take(QUOTE_MAX).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_debug())
}

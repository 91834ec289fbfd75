//! Every failure in words: what, why, what to do, and the exit code. What
//! happened is decided elsewhere.

use std::error::Error;
use std::io;
use std::path::Path;

use gitback_envelope::Reject;
use gitback_envoy::{ConfigError, KeyError, RunError};
use gitback_helper::{Failure, LayoutError, exit_code};
use gitback_identity::{Address, AddressReject, HandleReject, NameReject, ProjectId, PuddleName};
use gitback_puddle::{
    CreateError, NoRandomness, PassphraseReject, Public, ReadError, UnwrapError, session,
};

use gitback_signer::home::WriteFault;
use gitback_signer::{DraftReject, SignError};

use crate::show;

pub(crate) use gitback_helper::chain;

const UNLOCK: &str = "vigo swarm puddle unlock";
const MAKE_PUDDLE: &str = "make one:        vigo swarm puddle init";
const BRING_PUDDLE: &str = "or bring yours:  vigo swarm puddle join";
const ENVOY_STATUS: &str = "vigo envoy status";

pub(crate) fn output(error: &io::Error) -> Failure {
    Failure::new(exit_code::FAILED, "cannot write the answer").because(error.to_string())
}

pub(crate) fn layout(error: &LayoutError) -> Failure {
    Failure::new(exit_code::FAILED, chain(error))
        .hint("log in again, or name a directory of your own with --root")
}

pub(crate) fn duration(text: &str, why: impl Into<String>) -> Failure {
    Failure::new(exit_code::USAGE, format!("\"{text}\" is no length of time"))
        .because(why)
        .hint("such as 90m, 8h or 2d")
}

// The puddle.

pub(crate) fn no_puddle(dir: &Path) -> Failure {
    Failure::new(exit_code::UNKNOWN, "there is no puddle on this machine")
        .because(format!("{} holds none", dir.display()))
        .hint(MAKE_PUDDLE)
        .hint(BRING_PUDDLE)
}

pub(crate) fn read_puddle(error: &ReadError) -> Failure {
    match error {
        ReadError::Missing { dir } => no_puddle(dir),
        ReadError::UnknownVersion { .. } => {
            Failure::new(exit_code::FAILED, chain(error)).hint("install a newer vigo")
        }
        _ => Failure::new(exit_code::FAILED, "cannot read your puddle")
            .because(chain(error))
            .hint("restore the file from another of your machines"),
    }
}

pub(crate) fn create_puddle(error: &CreateError) -> Failure {
    match error {
        CreateError::Exists { path, public } => puddle_exists(path, public.as_deref()),
        CreateError::Retired { path } => {
            Failure::new(exit_code::FAILED, "there are keys of an earlier puddle")
                .because(format!(
                    "{} would become a key of the new one",
                    path.display()
                ))
                .hint("move them to a safe place first; what still goes by one is lost without it")
                .hint("if it is the same puddle: vigo swarm puddle init --from-recovery")
        }
        CreateError::Unfit(error) => read_puddle(error)
            .hint("move what is in retired/ of ~/.vigo-puddle to a safe place first"),
        _ => Failure::new(exit_code::FAILED, "the puddle was not made").because(chain(error)),
    }
}

pub(crate) fn puddle_exists(path: &Path, public: Option<&Public>) -> Failure {
    let Some(public) = public else {
        let what = format!("{} is there already", path.display());
        return Failure::new(exit_code::FAILED, what)
            .because("it cannot be read, and is not overwritten")
            .hint("move it to a safe place first");
    };
    let made = show::date(public.created_ms);
    let what = format!(
        "this machine already has puddle {} (made {made})",
        public.name
    );
    Failure::new(exit_code::FAILED, what).hint("status: vigo swarm puddle status")
}

pub(crate) fn unwrap_puddle(error: &UnwrapError) -> Failure {
    match error {
        UnwrapError::NotRetired { .. } => {
            Failure::new(exit_code::UNKNOWN, chain(error)).hint("vigo swarm puddle status")
        }
        UnwrapError::Read(error) => read_puddle(error),
        _ => Failure::new(exit_code::FAILED, "cannot unlock the puddle").because(chain(error)),
    }
}

pub(crate) fn puddle_name(text: &str, reject: &NameReject) -> Failure {
    Failure::new(
        exit_code::USAGE,
        format!("\"{}\" is no puddle name", show::plain(text)),
    )
    .because(chain(reject))
    .hint("2 to 32 lowercase letters, digits and dashes, beginning with a letter: --name dan")
}

pub(crate) fn passphrase(reject: PassphraseReject) -> Failure {
    let failure = Failure::new(exit_code::USAGE, chain(&reject));
    match reject {
        PassphraseReject::Empty => failure.because("without one, the key would lie open on disk"),
        _ => failure,
    }
}

pub(crate) fn passphrases_differ() -> Failure {
    Failure::new(exit_code::FAILED, "the two passphrases are not the same").hint("try again")
}

pub(crate) fn passphrase_file(path: &Path, why: impl Into<String>) -> Failure {
    let what = format!("cannot read the passphrase from {}", path.display());
    Failure::new(exit_code::FAILED, what).because(why)
}

pub(crate) fn words_file(path: Option<&Path>, why: impl Into<String>) -> Failure {
    let what = match path {
        Some(path) => format!("cannot read the recovery words from {}", path.display()),
        None => "cannot read the recovery words".to_owned(),
    };
    Failure::new(exit_code::FAILED, what).because(why)
}

/// Two things cannot both be read from standard input.
pub(crate) fn stdin_twice() -> Failure {
    Failure::new(exit_code::USAGE, "only one file can be -")
        .because("both would be read from stdin")
}

/// There is nobody to ask for `what`; `flag` gives it otherwise.
pub(crate) fn no_terminal(what: &str, flag: &str) -> Failure {
    Failure::new(
        exit_code::USAGE,
        format!("there is no terminal to ask for {what} on"),
    )
    .because("stdin is not a terminal")
    .hint(format!("give it with {flag}"))
}

pub(crate) fn prompt(error: &io::Error) -> Failure {
    Failure::new(exit_code::FAILED, "cannot ask on the terminal").because(error.to_string())
}

pub(crate) fn no_randomness(error: &NoRandomness) -> Failure {
    Failure::new(exit_code::FAILED, "cannot make a key").because(chain(error))
}

pub(crate) fn session_start(why: impl Into<String>) -> Failure {
    Failure::new(exit_code::FAILED, "the unlocked session did not start").because(why)
}

/// No session signs. `what_for` completes "puddle dan is locked; ".
pub(crate) fn session_connect(
    error: &session::ConnectError,
    name: &PuddleName,
    what_for: &str,
) -> Failure {
    match error {
        session::ConnectError::Locked { .. } => {
            Failure::new(exit_code::LOCKED, format!("puddle {name} is locked"))
                .because(what_for)
                .hint(format!("{UNLOCK}, then run this again"))
        }
        _ => Failure::new(exit_code::LOCKED, format!("cannot ask puddle {name}"))
            .because(chain(error))
            .hint(UNLOCK),
    }
}

pub(crate) fn session_call(
    error: &session::CallError,
    name: &PuddleName,
    what_for: &str,
) -> Failure {
    match error {
        session::CallError::Connect(error) => session_connect(error, name, what_for),
        _ => Failure::new(exit_code::FAILED, format!("puddle {name} did not answer"))
            .because(chain(error))
            .hint("vigo swarm puddle status"),
    }
}

/// Nothing was signed. `what_for` completes "puddle dan is locked: ".
pub(crate) fn sign(error: &SignError, name: &PuddleName, what_for: &str) -> Failure {
    match error {
        SignError::Connect(error) => session_connect(error, name, what_for),
        SignError::Call(error) => session_call(error, name, what_for),
        SignError::OtherKey { .. } => {
            let what = format!("the puddle that is unlocked is not the {name} on this machine");
            Failure::new(exit_code::LOCKED, what)
                .because(what_for)
                .hint("vigo swarm puddle lock")
                .hint(UNLOCK)
        }
        _ => Failure::new(exit_code::FAILED, "cannot write an envelope").because(chain(error)),
    }
}

// The daemon.

pub(crate) fn envoy_key(error: &KeyError) -> Failure {
    Failure::new(exit_code::FAILED, "there is no usable envoy key").because(chain(error))
}

pub(crate) fn envoy_config(error: &ConfigError, path: &Path) -> Failure {
    let what = format!("cannot use the configuration {}", path.display());
    Failure::new(exit_code::FAILED, what).because(chain(error))
}

pub(crate) fn envoy_run(error: &RunError) -> Failure {
    let failure = Failure::new(exit_code::FAILED, "the envoy cannot run").because(chain(error));
    match error {
        RunError::AlreadyRuns { .. } => failure.hint(ENVOY_STATUS),
        RunError::Listen { .. } => failure.hint("choose another \"listen\" in envoy.toml"),
        _ => failure,
    }
}

pub(crate) fn signals(error: &dyn Error) -> Failure {
    Failure::new(exit_code::FAILED, "cannot watch for signals").because(chain(error))
}

// Projects.

pub(crate) fn handle(text: &str, reject: &HandleReject) -> Failure {
    Failure::new(
        exit_code::USAGE,
        format!("\"{}\" cannot be a project's handle", show::plain(text)),
    )
    .because(chain(reject))
    .hint("choose one: vigo swarm gitback project init HANDLE")
}

pub(crate) fn project_taken(name: &PuddleName, handle: &str, short: &str) -> Failure {
    let what = format!("{name} already has a project called {handle} (id {short})");
    Failure::new(exit_code::FAILED, what)
        .hint(format!(
            "connect this folder: git remote add gitback gitback://{name}/{handle}"
        ))
        .hint(format!(
            "or choose a name:    vigo swarm gitback project init {handle}-2"
        ))
}

pub(crate) fn envelope(reject: &Reject) -> Failure {
    Failure::new(exit_code::FAILED, "cannot write an envelope").because(chain(reject))
}

pub(crate) fn no_incarnation(error: &gitback_signer::NoRandomness) -> Failure {
    Failure::new(exit_code::FAILED, "cannot write an envelope").because(chain(error))
}

pub(crate) fn address(text: &str, reject: &AddressReject) -> Failure {
    let what = format!("\"{}\" is not a gitback address", show::plain(text));
    let failure = Failure::new(exit_code::USAGE, what).because(chain(reject));
    if let Some(meant) = Address::meant_by(text) {
        return failure.hint(format!("did you mean {meant}?"));
    }
    failure.hint("an address is gitback://<puddle>/<handle> or gitback://<project id>/<handle>")
}

pub(crate) fn invitation(text: &str) -> Failure {
    let what = format!("\"{}\" is no invitation", show::plain(text));
    Failure::new(exit_code::USAGE, what)
        .because("an invitation is 64 lowercase hex digits")
        .hint("take the whole line that whoever invited you was given")
}

pub(crate) fn needs_invitation(project: &ProjectId) -> Failure {
    let what = format!("project {} is not on this machine", project.short());
    Failure::new(exit_code::UNKNOWN, what)
        .because("nothing here says how you were invited")
        .hint("name the invitation: --invitation ID; whoever invited you has it")
}

pub(crate) fn not_handed_over(project: &str) -> Failure {
    let what = format!("{project} still goes by an earlier key of yours");
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because("only the key that is its founder now may do this")
        .hint("hand it over first: vigo swarm gitback project reanchor --all")
}

/// A token is by a key that is not the puddle's any more.
pub(crate) fn other_key(name: &PuddleName, project: &str) -> Failure {
    let what = format!("this key of {name} is not the one that is in {project}");
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because("the membership is that of an earlier key")
        .hint("ask the founder to invite the new one: vigo swarm puddle status")
}

/// The daemon's drafts are not what it was asked for.
pub(crate) fn draft(reject: &DraftReject) -> Failure {
    Failure::new(
        exit_code::FAILED,
        "the daemon asked for a signature that it may not have; nothing was signed",
    )
    .because(chain(reject))
    .hint("the daemon of this machine is of another version, or not to be trusted")
}

/// Somebody who was asked did not say yes.
pub(crate) fn not_confirmed(what: &str) -> Failure {
    Failure::new(exit_code::FAILED, format!("not confirmed; {what}"))
}

pub(crate) fn unknown_project(text: &str, near: Option<&str>) -> Failure {
    let what = format!("no project {} is known here", show::plain(text));
    let unknown = Failure::new(exit_code::UNKNOWN, what);
    let unknown = match near {
        Some(near) => unknown.hint(format!("did you mean {near}?")),
        None => unknown,
    };
    unknown.hint("what is here: vigo swarm gitback project list")
}

pub(crate) fn ambiguous_project(text: &str, candidates: &[String]) -> Failure {
    let what = format!("{} could be several projects", show::plain(text));
    Failure::new(exit_code::UNKNOWN, what)
        .because(candidates.join(", "))
        .hint("give more of the id")
}

pub(crate) fn which_project() -> Failure {
    Failure::new(exit_code::USAGE, "which project?")
        .because("this is no folder that is connected to one")
        .hint("name it: vigo swarm gitback project status NAME")
        .hint("what is here: vigo swarm gitback project list")
}

pub(crate) fn write_home(fault: &WriteFault) -> Failure {
    let what = format!("cannot write {}", fault.path.display());
    Failure::new(exit_code::FAILED, what).because(fault.source.to_string())
}

// git.

pub(crate) fn git_missing(error: &io::Error) -> Failure {
    Failure::new(exit_code::FAILED, "cannot run git")
        .because(error.to_string())
        .hint("install git 2.39 or newer")
}

pub(crate) fn git_failed(what: &str, why: &str) -> Failure {
    Failure::new(exit_code::FAILED, what).because(why)
}

pub(crate) fn no_work_tree(why: &str) -> Failure {
    Failure::new(exit_code::FAILED, "this is not a git repository's folder")
        .because(why)
        .hint("go to one, or make one: git init")
}

pub(crate) fn sha256_repository() -> Failure {
    Failure::new(
        exit_code::FAILED,
        "this repository uses SHA-256 object names",
    )
    .because("gitback keeps SHA-1 repositories only")
}

pub(crate) fn remote_helper_missing() -> Failure {
    Failure::new(exit_code::FAILED, "git-remote-gitback is not on your PATH")
        .because("git needs it for gitback:// addresses")
        .hint("install it: cargo install --locked --path crates/git-remote-gitback")
        .hint("or make a link to vigo with that name")
}

pub(crate) fn push_failed(remote: &str) -> Failure {
    Failure::new(
        exit_code::FAILED,
        "the project is there, but the push failed",
    )
    .because("git said why above")
    .hint(format!("try again: git push {remote} --all"))
}

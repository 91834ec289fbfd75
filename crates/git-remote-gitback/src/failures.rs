//! Every refusal in words. What happened is decided elsewhere.

use std::io;

use gitback_envelope::Reject;
use gitback_helper::{Failure, LayoutError, chain, exit_code};
use gitback_identity::{Address, AddressReject, Handle, PuddleName};
use gitback_puddle::{PickError, ReadError, ResolveError};
use gitback_signer::names::{age, contested};
use gitback_signer::{DraftReject, NoRandomness, SignError};

use crate::open::Place;
use crate::pump::PumpError;
use crate::resolve::{Other, Own};
use crate::sign::now_ms;

/// How much of a text from outside is repeated, in characters.
const QUOTE_MAX: usize = 80;

const STATUS: &str = "vigo envoy status";
const ADDRESS_FORM: &str =
    "an address is gitback://<puddle>/<handle> or gitback://<project id>/<handle>";
const BRING_PUDDLE: &str = "bring your puddle to this machine: vigo swarm puddle join";
const MAKE_PUDDLE: &str = "or make a new puddle: vigo swarm puddle init";
const UNLOCK: &str = "vigo swarm puddle unlock";

pub(crate) fn usage() -> Failure {
    Failure::new(
        exit_code::USAGE,
        "git-remote-gitback takes a remote and a URL",
    )
    .because("git starts it; it is not meant to be started by hand")
    .hint("git clone gitback://<your puddle>/<handle>")
}

pub(crate) fn command_too_long(max: usize) -> Failure {
    Failure::new(
        exit_code::FAILED,
        format!("git sent a command longer than {max} bytes"),
    )
}

pub(crate) fn command_cut_short() -> Failure {
    Failure::new(exit_code::FAILED, "git ended in the middle of a command")
}

pub(crate) fn command_unknown(command: &str) -> Failure {
    Failure::new(
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
    Failure::new(exit_code::FAILED, "cannot read what git asks").because(chain(error))
}

pub(crate) fn layout(error: &LayoutError) -> Failure {
    Failure::new(exit_code::FAILED, chain(error))
        .hint("log in again, or set the variable to a directory of your own")
}

pub(crate) fn address(text: &str, reject: &AddressReject) -> Failure {
    let failure = Failure::new(
        exit_code::USAGE,
        format!("{} is not a gitback address", quote(text)),
    )
    .because(chain(reject));
    if let Some(meant) = Address::meant_by(text) {
        return failure.hint(format!("did you mean {meant}?"));
    }
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
    Failure::new(exit_code::FAILED, "cannot read your puddle")
        .because(chain(error))
        .hint("vigo swarm puddle status")
}

/// Why an address with a puddle's name in it means no project. `own` is the user's own puddle.
pub(crate) fn name(error: &ResolveError, own: Option<&Own>, handle: &Handle) -> Failure {
    if let ResolveError::Contested { name, claimants } = error {
        let now = now_ms();
        return contested(name, claimants, &|then| age(then, now), Some(handle));
    }
    let ResolveError::Unknown { name, near, picked } = error else {
        return Failure::new(exit_code::FAILED, "cannot look the puddle's name up")
            .because(chain(error))
            .hint("vigo swarm puddle names list");
    };
    let failure = Failure::new(exit_code::UNKNOWN, format!("no puddle is called {name}"));
    let failure = match (near, own, picked) {
        (Some(near), _, _) => failure.hint(format!("did you mean {near}?")),
        (None, Some(own), 0) => failure.because(format!(
            "the only name known on this machine is your own, {}",
            own.name
        )),
        (None, Some(_), _) => failure
            .because("it is neither your own name nor one that you picked, and nobody claims it"),
        (None, None, 0) => failure
            .because("you have no puddle on this machine, so no name is known")
            .hint(BRING_PUDDLE)
            .hint(MAKE_PUDDLE),
        (None, None, _) => failure
            .because(
                "nobody claims that name, you never picked it, and have no puddle on this machine",
            )
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

/// The same where the daemon cannot be asked who claims the name.
pub(crate) fn name_without_daemon(unknown: Failure, daemon: &Failure) -> Failure {
    unknown.hint(format!(
        "claims to it cannot be looked up: {} ({STATUS})",
        daemon.what
    ))
}

/// What to say more where a project of somebody's is not known, who is meant by name.
pub(crate) fn by_another_key(failure: Failure, other: &Other, handle: &Handle) -> Failure {
    failure.hint(format!(
        "{} is {} to you; what was founded with an earlier key has another address: gitback://<project id>/{handle}",
        other.name,
        other.meant.key().fingerprint()
    ))
}

/// Why it is not remembered whom a name meant. Whatever was asked for has been done.
pub(crate) fn not_remembered(name: &PuddleName, error: &PickError) -> String {
    format!(
        "warning: whom {name} means is not remembered: {}",
        chain(error)
    )
}

pub(crate) fn push_wait_value(value: &str) -> Failure {
    Failure::new(
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
    Failure::new(exit_code::FAILED, "cannot read gitback.pushWait")
        .because(why)
        .hint("git config --get gitback.pushWait")
}

pub(crate) fn asked_twice(handle: &Handle) -> Failure {
    Failure::new(
        exit_code::FAILED,
        format!("the daemon does not open {handle}"),
    )
    .because("it took a signature and asks for another")
    .hint(STATUS)
}

pub(crate) fn moved(handle: &Handle, address: &Address) -> Failure {
    Failure::new(
        exit_code::UNKNOWN,
        format!("{handle} has ended; another project takes its place"),
    )
    .because("an address with a project's id leads to that project and to no other")
    .hint(format!("its new address: {address}"))
}

pub(crate) fn moved_nowhere(handle: &Handle) -> Failure {
    Failure::new(
        exit_code::FAILED,
        format!("{handle} has ended, and the daemon names an impossible successor"),
    )
    .because("its id does not follow from its founder and its handle")
    .hint(STATUS)
}

pub(crate) fn grant_needs_puddle(handle: &Handle) -> Failure {
    Failure::new(
        exit_code::NOT_PERMITTED,
        format!("this machine may not serve {handle} to you yet"),
    )
    .because("that takes a signature, and you have no puddle on this machine")
    .hint(BRING_PUDDLE)
}

pub(crate) fn not_here(place: &Place, own: Option<&Own>) -> Failure {
    let (handle, project) = (&place.handle, &place.project);
    let what = format!("this machine does not hold {handle} ({})", project.short());
    let failure = Failure::new(exit_code::UNKNOWN, what);
    match own {
        Some(own) => failure
            .because(format!(
                "only its founder and its members can bring it here; nothing here says that {} is one of them",
                own.name
            ))
            .hint(format!(
                "if you were invited: vigo swarm gitback project join gitback://{project}/{handle} --invitation ID"
            ))
            .hint("check the address: git remote -v"),
        None => failure
            .because("bringing it here takes a member's signature, and you have no puddle on this machine")
            .hint(BRING_PUDDLE),
    }
}

pub(crate) fn draft(reject: &DraftReject) -> Failure {
    Failure::new(
        exit_code::FAILED,
        "the daemon asked for a signature that it may not have; nothing was signed",
    )
    .because(chain(reject))
    .hint("the daemon of this machine is of another version, or not to be trusted")
}

/// Nothing was signed. `what_for` completes "puddle dan is locked; ".
pub(crate) fn sign(error: &SignError, name: &PuddleName, what_for: &str) -> Failure {
    let failure = |what: String| Failure::new(exit_code::LOCKED, format!("{what}; {what_for}"));
    match error {
        _ if error.is_locked() => failure(format!("puddle {name} is locked")).hint(UNLOCK),
        SignError::OtherKey { .. } => failure(format!(
            "the key that is unlocked is not that of puddle {name}"
        ))
        .hint("vigo swarm puddle lock")
        .hint(UNLOCK),
        SignError::Connect(error) => failure(format!("cannot ask puddle {name} to sign"))
            .because(chain(error))
            .hint(UNLOCK),
        _ => failure(format!("puddle {name} did not sign"))
            .because(chain(error))
            .hint("vigo swarm puddle status"),
    }
}

pub(crate) fn not_written(reject: &Reject) -> Failure {
    Failure::new(exit_code::FAILED, "cannot write an envelope").because(chain(reject))
}

pub(crate) fn no_randomness(error: &NoRandomness) -> Failure {
    Failure::new(exit_code::FAILED, "cannot write an envelope").because(chain(error))
}

pub(crate) fn stream(error: &io::Error) -> Failure {
    Failure::new(exit_code::FAILED, "cannot use the connection to the daemon").because(chain(error))
}

pub(crate) fn pump(error: &PumpError) -> Failure {
    Failure::new(
        exit_code::UNREACHABLE,
        "the connection to the daemon broke off",
    )
    .because(chain(error))
    .hint(STATUS)
}

/// A text from outside, so that nobody takes it for ours.
fn quote(text: &str) -> String {
    let shown: String = text.chars().take(QUOTE_MAX).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_debug())
}

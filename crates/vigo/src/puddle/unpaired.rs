//! Why two machines were not paired, in words.

use std::io;
use std::path::Path;

use gitback_helper::{Failure, chain, exit_code};
use gitback_pairing::{
    AllowError, CodeReject, Ended, Found, GuestError, HostFault, InstalledOutcome, NearbyError,
    NoCode, TRIES_IN_ALL_MAX, WireError,
};
use gitback_puddle::{ExportError, InstallError, WriteError};

use crate::{failure, show};

const AGAIN: &str = "make another code there: vigo swarm puddle pair";
const AGAIN_HERE: &str = "make another code: vigo swarm puddle pair";
const NAME_IT: &str = "if it waits, name it: vigo swarm puddle join --from HOST";

fn failed(what: impl Into<String>) -> Failure {
    Failure::new(exit_code::FAILED, what)
}

// The host.

pub(super) fn listen(error: &io::Error) -> Failure {
    failed("cannot wait for another machine")
        .because(error.to_string())
        .hint("choose another place: vigo swarm puddle pair --listen ADDRESS:PORT")
}

pub(super) fn no_code(error: &NoCode) -> Failure {
    failed("cannot make a code").because(chain(error))
}

pub(super) fn host(error: &HostFault) -> Failure {
    failed("cannot wait for another machine").because(chain(error))
}

pub(super) fn code_to(file: &Path, error: &io::Error) -> Failure {
    failed(format!("cannot write the code to {}", file.display())).because(error.to_string())
}

pub(super) fn export(error: &ExportError) -> Failure {
    match error {
        ExportError::Read(error) => failure::read_puddle(error),
        ExportError::Lock(WriteError::Busy { .. }) => failed("cannot read your puddle")
            .because(chain(error))
            .hint("try again in a moment"),
        _ => failed("your puddle cannot be brought to another machine").because(chain(error)),
    }
}

pub(super) fn ended(ended: &Ended) -> Failure {
    match ended {
        Ended::Expired => failed("the code has expired")
            .because("no other machine has used it in time")
            .hint(AGAIN_HERE),
        Ended::TooManyTries => Failure::new(
            exit_code::NOT_PERMITTED,
            "the code was wrong too often, and is dead",
        )
        .because(format!(
            "after {TRIES_IN_ALL_MAX} wrong codes nobody can use the right one"
        ))
        .hint(AGAIN_HERE),
        _ => failed("the code cannot be used any more")
            .because(chain(ended))
            .hint(AGAIN_HERE),
    }
}

pub(super) fn declined(guest: &str) -> Failure {
    failed(format!("not confirmed; {guest} got nothing"))
        .because("the code is dead: somebody knew it who was not meant to")
        .hint(AGAIN_HERE)
}

pub(super) fn unsure(guest: &str, error: &AllowError) -> Failure {
    failed(format!("{guest} did not say that it has the puddle"))
        .because(chain(error))
        .hint(format!("look there: on {guest}, vigo swarm puddle status"))
        .hint(format!("if it is not there: {AGAIN_HERE}"))
}

pub(super) fn not_installed(guest: &str, outcome: InstalledOutcome) -> Failure {
    let what = |why: &str| failed(format!("{guest} did not take the puddle")).because(why);
    match outcome {
        InstalledOutcome::Exists => what("it has a puddle already")
            .hint(format!("look there: on {guest}, vigo swarm puddle status")),
        InstalledOutcome::DiskFull => {
            let full = what("its disk is full");
            let full = Failure {
                code: exit_code::DISK,
                ..full
            };
            full.hint(format!("free some space on {guest}, then: {AGAIN_HERE}"))
        }
        InstalledOutcome::Unsound => {
            what("it takes the files for damaged").hint("use one version of vigo on both machines")
        }
        _ => what("it could not; it says why").hint(AGAIN_HERE),
    }
}

// The guest.

pub(super) fn code(reject: &CodeReject) -> Failure {
    let refused = Failure::new(exit_code::USAGE, show::plain(&chain(reject)));
    match reject {
        CodeReject::UnknownWord { nearest, .. } => refused.hint(format!("did you mean {nearest}?")),
        _ => refused.hint("the other machine shows it: vigo swarm puddle pair"),
    }
}

pub(super) fn code_file(file: &Path, why: &str) -> Failure {
    failed(format!("cannot read the code from {}", file.display())).because(why)
}

pub(super) fn nobody() -> Failure {
    failed("no machine on this network shows a code")
        .because("none has said so by multicast DNS")
        .hint("on the other machine: vigo swarm puddle pair")
        .hint(NAME_IT)
}

pub(super) fn several(found: &[Found]) -> Failure {
    let several = failed("several machines on this network show codes")
        .because("a code that is tried at the wrong one costs that one a try");
    let first = found.iter().filter_map(|one| one.addresses.first());
    first.fold(several, |several, address| {
        several.hint(format!("vigo swarm puddle join --from {address}"))
    })
}

pub(super) fn nearby(error: &NearbyError) -> Failure {
    failed("cannot look for machines on this network")
        .because(chain(error))
        .hint("name the machine: vigo swarm puddle join --from HOST")
}

pub(super) fn guest(error: &GuestError) -> Failure {
    let why = || failed(show::plain(&chain(error)));
    match error {
        GuestError::NotAccepted => {
            Failure::new(exit_code::NOT_PERMITTED, "the code was not accepted")
                .hint("a code works once, for some minutes, and a machine has three tries")
                .hint(AGAIN)
        }
        GuestError::Declined => Failure::new(
            exit_code::NOT_PERMITTED,
            "the person at the other machine said no",
        )
        .hint(AGAIN),
        GuestError::Unproven => Failure::new(
            exit_code::NOT_PERMITTED,
            "the other machine does not know the code; nothing was taken from it",
        )
        .because("it is not the machine that shows the code, or somebody is between the two")
        .hint("name the right one: vigo swarm puddle join --from HOST")
        .hint(AGAIN),
        GuestError::Resolve { host, source } => {
            failed(format!("cannot find the address of {}", show::plain(host)))
                .because(source.to_string())
                .hint("give its address: vigo swarm puddle join --from ADDRESS")
        }
        GuestError::Connect { host, source } => {
            failed(format!("cannot reach {}", show::plain(host)))
                .because(source.to_string())
                .hint("does it still wait? there: vigo swarm puddle pair")
                .hint("is its port open to this machine?")
        }
        GuestError::OtherProtocol { .. } => why().hint("use one version of vigo on both machines"),
        GuestError::Handshake { .. } => {
            why().hint("is this the port that vigo swarm puddle pair shows?")
        }
        GuestError::Unsound(_) | GuestError::OtherPuddle => {
            failed("what the other machine sent was not installed")
                .because(chain(error))
                .hint("use one version of vigo on both machines")
        }
        GuestError::Wire(WireError::Cut) => failed("the other machine ended the connection")
            .because("it was stopped, or the code has expired; nothing was installed")
            .hint(AGAIN),
        GuestError::Wire(_) => failed("nothing was installed")
            .because(chain(error))
            .hint(AGAIN),
        _ => why().hint(AGAIN),
    }
}

/// Before a code is asked for.
pub(super) fn occupied(error: &InstallError) -> Failure {
    match error {
        InstallError::Exists { path, public } => failure::puddle_exists(path, public.as_deref()),
        error => failed("no puddle can be installed on this machine")
            .because(chain(error))
            .hint("move what is there to a safe place first"),
    }
}

pub(super) fn install(error: &InstallError) -> Failure {
    match error {
        InstallError::Exists { path, public } => failure::puddle_exists(path, public.as_deref()),
        error if error.is_full_disk() => {
            Failure::new(exit_code::DISK, "the puddle was not installed")
                .because(chain(error))
                .hint(format!("free some space, then {AGAIN}"))
        }
        error => failed("the puddle was not installed")
            .because(chain(error))
            .hint(AGAIN),
    }
}

//! What the puddle's verbs refuse, in words.

use std::path::Path;

use gitback_helper::{Failure, chain, exit_code};
use gitback_identity::{Fingerprint, KeyReject, PuddleKey, PuddleName};
use gitback_puddle::names::{ForgetError, NAMES_MAX, PickError};
use gitback_puddle::{Claimant, ReadError, RotateError, WriteError};

use crate::{failure, show};

const LIST: &str = "vigo swarm puddle names list";
const STATUS: &str = "vigo swarm puddle status";
const NEEDS_KEY: &str = "its owner sees the whole key with: vigo swarm puddle status";

pub(super) fn rotate(error: &RotateError) -> Failure {
    let refused = || Failure::new(exit_code::FAILED, "the puddle keeps its key");
    match error {
        RotateError::Read(
            error @ (ReadError::Missing { .. } | ReadError::UnknownVersion { .. }),
        ) => failure::read_puddle(error),
        RotateError::Unwrap(error) => failure::unwrap_puddle(error),
        RotateError::Read(error) => refused()
            .because(chain(error))
            .hint("put this file in order first; your other machines may have it"),
        RotateError::Write(error @ WriteError::Busy { .. }) => refused()
            .because(chain(error))
            .hint("try again in a moment"),
        // Which key is the current one depends on how far it came.
        RotateError::Write(error) => Failure::new(
            exit_code::FAILED,
            "the puddle's files could not all be written",
        )
        .because(chain(error))
        .hint(format!("no key is lost; which one is current: {STATUS}")),
        error => refused().because(chain(error)),
    }
}

pub(super) fn pick(error: &PickError) -> Failure {
    match error {
        PickError::OwnName { name, own } => {
            let what = format!("{name} is your own name");
            Failure::new(exit_code::USAGE, what)
                .because(format!(
                    "it always means your own key, {}",
                    own.fingerprint()
                ))
                .hint("choose another name for this key")
        }
        PickError::OwnKey { own } => Failure::new(
            exit_code::USAGE,
            "this key is your own, or was before a rotation",
        )
        .because(format!("your own keys go by your own name, {own}"))
        .hint(NEEDS_KEY),
        PickError::Full => Failure::new(exit_code::FAILED, format!("there are {NAMES_MAX} names"))
            .because("there cannot be more")
            .hint("forget one: vigo swarm puddle names forget NAME"),
        PickError::Read(error) => read_names(error),
        PickError::Write(error) => write_names(error),
        error => Failure::new(exit_code::FAILED, chain(error)),
    }
}

pub(super) fn forget(error: &ForgetError) -> Failure {
    match error {
        ForgetError::Unknown { name, near } => {
            let unknown = Failure::new(exit_code::UNKNOWN, format!("{name} was never picked"));
            let unknown = match near {
                Some(near) => unknown.hint(format!("did you mean {near}?")),
                None => unknown,
            };
            unknown.hint(format!("what is there: {LIST}"))
        }
        ForgetError::Read(error) => read_names(error),
        ForgetError::Write(error) => write_names(error),
        error => Failure::new(exit_code::FAILED, chain(error)),
    }
}

pub(super) fn read_names(error: &ReadError) -> Failure {
    let failure = Failure::new(exit_code::FAILED, "cannot read your names").because(chain(error));
    match error {
        ReadError::UnknownVersion { .. } => failure.hint("install a newer vigo"),
        _ => failure.hint("move the file to a safe place and pick the names again"),
    }
}

fn write_names(error: &WriteError) -> Failure {
    let failure = Failure::new(exit_code::FAILED, "cannot write your names").because(chain(error));
    match error {
        WriteError::Busy { .. } => failure.hint("try again in a moment"),
        _ => failure,
    }
}

/// What stands for a key is none.
pub(super) fn key(text: &str, reject: KeyReject) -> Failure {
    let what = format!("\"{}\" is no public key", show::plain(text));
    Failure::new(exit_code::USAGE, what)
        .because(chain(&reject))
        .hint(NEEDS_KEY)
}

/// Only a fingerprint was given, or a part of one.
pub(super) fn fingerprint_alone(name: &PuddleName) -> Failure {
    Failure::new(
        exit_code::USAGE,
        "the words of a fingerprint are not enough to pick a key",
    )
    .because(
        "they tell the keys of people whom you know apart; anybody could make a key that has them",
    )
    .hint(NEEDS_KEY)
    .hint(format!(
        "then: vigo swarm puddle names pick {name} KEY; the words may follow, to be compared"
    ))
}

/// Nobody who claims the name has the fingerprint.
pub(super) fn nobody_has_words(name: &PuddleName, claimants: &[Claimant]) -> Failure {
    let claimed: Vec<String> = claimants
        .iter()
        .map(|claimant| claimant.key.fingerprint().to_string())
        .collect();
    let failure = Failure::new(
        exit_code::UNKNOWN,
        format!("no key that claims {name} has these words; nothing was picked"),
    );
    let failure = match claimed.is_empty() {
        true => failure.because(format!("nobody claims {name}, as far as is known here")),
        false => failure.because(format!("it is claimed by: {}", claimed.join(", "))),
    };
    failure.hint(NEEDS_KEY)
}

/// Two keys that claim the name have the same fingerprint: one was made for that.
pub(super) fn same_fingerprint(name: &PuddleName, fingerprint: &Fingerprint) -> Failure {
    Failure::new(
        exit_code::CONTESTED,
        format!("several keys claim {name} and have the words {fingerprint}"),
    )
    .because("that does not happen by chance: somebody has made a key to be taken for another")
    .hint(NEEDS_KEY)
}

/// Not all who claim the name are shown.
pub(super) fn too_many_claims(name: &PuddleName, all: u64) -> Failure {
    Failure::new(
        exit_code::CONTESTED,
        format!("{all} keys claim the name {name}, which is more than can be told apart by words"),
    )
    .hint(NEEDS_KEY)
}

/// The fingerprint is another key's.
pub(super) fn fingerprint_differs(key: &PuddleKey, given: &str) -> Failure {
    Failure::new(
        exit_code::FAILED,
        "the words are not those of this key; nothing was picked",
    )
    .because(format!(
        "its fingerprint is \"{}\", not \"{}\"",
        key.fingerprint(),
        show::plain(given)
    ))
    .hint("ask the owner for key and words once more, by another way")
}

/// The puddle changed while a command was using it.
pub(super) fn changed_meanwhile(dir: &Path) -> Failure {
    let what = "the puddle got another key in the meantime";
    Failure::new(exit_code::FAILED, what)
        .because(format!("the files in {} were replaced", dir.display()))
        .hint("run this again")
}

pub(super) fn busy(dir: &Path) -> Failure {
    Failure::new(exit_code::FAILED, "the puddle was not unlocked")
        .because(format!(
            "another process is changing the files in {}",
            dir.display()
        ))
        .hint("try again in a moment")
}

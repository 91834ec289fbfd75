//! Where passphrases are tried: every verb that takes one goes through here, so that wrong ones are counted together.
//!
//! Source: docs/spec/puddle.md §9.

use std::path::Path;
use std::time::Duration;

use gitback_helper::{Failure, exit_code};
use gitback_identity::PuddleName;
use gitback_puddle::tries::{self, Attempt, PAUSE_FIRST, Paused, Standing, TRIES_FREE};
use gitback_puddle::{Passphrase, RewrapError, RotateError, UnwrapError, session};

use crate::console::Console;
use crate::context::Context;
use crate::{ask, show};

/// An error that a wrong passphrase may be the reason of.
pub(crate) trait MayBeWrong {
    fn is_wrong(&self) -> bool;
}

impl MayBeWrong for UnwrapError {
    fn is_wrong(&self) -> bool {
        matches!(self, Self::WrongPassphrase { .. })
    }
}

impl MayBeWrong for RotateError {
    fn is_wrong(&self) -> bool {
        matches!(self, Self::Unwrap(error) if error.is_wrong())
    }
}

impl MayBeWrong for RewrapError {
    fn is_wrong(&self) -> bool {
        matches!(self, Self::Unwrap(error) if error.is_wrong())
    }
}

/// Does something with the passphrase of the user's puddle: that in `file`, or else one that is asked for, again and
/// again until it is right or there is a pause. Gives what came of it other than a wrong passphrase.
pub(crate) fn with_passphrase<T, E: MayBeWrong>(
    context: &Context,
    name: &PuddleName,
    file: Option<&Path>,
    console: &mut Console<'_>,
    attempt: impl Fn(&Passphrase) -> Result<T, E>,
) -> Result<Result<T, E>, Failure> {
    if let Some(file) = file {
        let passphrase = read(context, name, Some(file))?;
        return try_once(context, name, || attempt(&passphrase));
    }
    for _ in 1..TRIES_FREE {
        let passphrase = read(context, name, None)?;
        match try_or_standing(context, name, || attempt(&passphrase))? {
            Ok(Tried::Wrong(Standing::Left(left))) => console.warning(wrong_with(name, left)),
            other => return settled(name, other),
        }
    }
    let passphrase = read(context, name, None)?;
    try_once(context, name, || attempt(&passphrase))
}

/// The passphrase in `file`, or one that is asked for; not in a pause, and not before this process is closed to others.
pub(crate) fn read(
    context: &Context,
    name: &PuddleName,
    file: Option<&Path>,
) -> Result<Passphrase, Failure> {
    let dir = &context.layout.puddle_dir;
    tries::check(dir, show::now_ms()).map_err(|pause| paused(name, pause))?;
    session::close();
    match file {
        Some(file) => ask::passphrase_from(file),
        None => ask::passphrase(name),
    }
}

/// Tries a passphrase once. A wrong one is a failure.
pub(crate) fn try_once<T, E: MayBeWrong>(
    context: &Context,
    name: &PuddleName,
    attempt: impl FnOnce() -> Result<T, E>,
) -> Result<Result<T, E>, Failure> {
    settled(name, try_or_standing(context, name, attempt)?)
}

enum Tried<T> {
    Done(T),
    Wrong(Standing),
}

fn try_or_standing<T, E: MayBeWrong>(
    context: &Context,
    name: &PuddleName,
    attempt: impl FnOnce() -> Result<T, E>,
) -> Result<Result<Tried<T>, E>, Failure> {
    let begun = tries::attempt(&context.layout.puddle_dir, show::now_ms());
    let begun: Attempt = begun.map_err(|pause| paused(name, pause))?;
    match attempt() {
        Ok(done) => {
            begun.right();
            Ok(Ok(Tried::Done(done)))
        }
        Err(error) if error.is_wrong() => Ok(Ok(Tried::Wrong(begun.wrong()))),
        Err(error) => {
            begun.undecided();
            Ok(Err(error))
        }
    }
}

fn settled<T, E>(name: &PuddleName, tried: Result<Tried<T>, E>) -> Result<Result<T, E>, Failure> {
    match tried {
        Ok(Tried::Done(done)) => Ok(Ok(done)),
        Ok(Tried::Wrong(standing)) => Err(wrong(name, standing)),
        Err(error) => Ok(Err(error)),
    }
}

fn wrong(name: &PuddleName, standing: Standing) -> Failure {
    match standing {
        Standing::Left(left) => Failure::new(exit_code::LOCKED, wrong_with(name, left)),
        Standing::Pause(pause) => {
            let what = format!("wrong passphrase for {name}");
            Failure::new(exit_code::LOCKED, what)
                .because(format!("the next one can be tried in {}", seconds(pause)))
        }
    }
}

fn wrong_with(name: &PuddleName, left: u32) -> String {
    let tries = if left == 1 { "try" } else { "tries" };
    let pause = seconds(PAUSE_FIRST);
    format!("wrong passphrase for {name} ({left} {tries} left before a {pause} pause)")
}

fn paused(name: &PuddleName, pause: Paused) -> Failure {
    let what = format!("no passphrase for {name} can be tried just now");
    let failure = Failure::new(exit_code::LOCKED, what);
    match pause {
        Paused::Wrong { left } => failure
            .because("too many in a row were wrong")
            .hint(format!("try again in {}", seconds(left))),
        Paused::Busy => failure
            .because("another process is trying one and does not come to an end")
            .hint("try again in a moment"),
    }
}

/// A wait, never less than it is.
fn seconds(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000);
    match u64::try_from(seconds).unwrap_or(u64::MAX) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_in_full() {
        for (millis, expected) in [
            (1, "1 s"),
            (30_000, "30 s"),
            (29_001, "30 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (599_999, "10 min"),
            (600_000, "10 min"),
        ] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
    }
}

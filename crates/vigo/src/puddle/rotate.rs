//! `vigo swarm puddle rotate`

use std::cell::RefCell;

use gitback_puddle::{
    Cost, Passphrase, RotateError, Rotated, UnwrapError, generate, rotate as give_new_key,
    unwrap_retired,
};

use super::name::{claim_if_known, pass_on};
use super::{duration, end_session, refusals, start_session, tries, until};
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{ask, cli, failure, show};

/// Gives the puddle a new key, and unlocks it unless told otherwise.
pub(crate) fn rotate(
    context: &Context,
    arguments: &cli::PuddleRotate,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let public = context.puddle()?;
    let length = duration(&arguments.duration)?;
    let secret = generate().map_err(|error| failure::no_randomness(&error))?;
    let dir = &context.layout.puddle_dir;
    // What the old key claims, the new one is to claim, and only the old one can give it back.
    let claimed = claim_if_known(context, &public.key);
    let old = RefCell::new(None);
    let attempt = |passphrase: &Passphrase| {
        let rotated = give_new_key(dir, passphrase, &secret, Cost::STANDARD, show::now_ms())?;
        if claimed.is_some() {
            *old.borrow_mut() = unwrap_retired(dir, &rotated.retired.key, passphrase).ok();
        }
        Ok(rotated)
    };
    let wrong = |error: &RotateError| {
        matches!(
            error,
            RotateError::Unwrap(UnwrapError::WrongPassphrase { .. })
        )
    };
    let rotated = match &arguments.passphrase_file {
        Some(file) => attempt(&ask::passphrase_from(file)?),
        None => tries(&public.name, console, attempt, wrong)?,
    };
    let Rotated { retired, current } = rotated.map_err(|error| refusals::rotate(&error))?;

    console.line(format_args!("Gave puddle {} a new key", current.name))?;
    console.line(format_args!("  Fingerprint  {}", current.key.fingerprint()))?;
    console.line(format_args!(
        "  Before       {} (kept in {})",
        retired.key.fingerprint(),
        dir.join("retired").display()
    ))?;
    // What to do next matters whether or not the new key can be unlocked.
    let session = if arguments.no_unlock {
        end_session(context)
            .map(|_before| "  Locked       `vigo swarm puddle unlock` opens it".to_owned())
    } else {
        start_session(context, &secret, &current, length).map(|()| {
            let until = until(length);
            format!("  Unlocked     {until}; `vigo swarm puddle lock` ends it")
        })
    };
    if let Ok(line) = &session {
        console.line(line)?;
    }
    if let Some(name) = &claimed {
        pass_on(context, name, old.into_inner(), console);
    }
    console.warning("your projects go by the old key until you hand them over");
    console.hint("hand them over:    vigo swarm gitback project reanchor --all");
    console.hint(format_args!(
        "on other machines: copy identity.wrapped and retired/ from {} there, then unlock",
        dir.display()
    ));
    session.map(|_| ()).map_err(Stop::from)
}

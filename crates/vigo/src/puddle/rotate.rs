//! `vigo swarm puddle rotate`

use std::cell::RefCell;

use gitback_puddle::{
    Cost, Passphrase, Rotated, generate, rotate as give_new_key, session, unwrap_retired,
};

use super::name::{claim_if_known, pass_on};
use super::{Length, end_session, refusals, start_session};
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{authority, cli, failure, gate, show};

/// Gives the puddle a new key, and unlocks it unless told otherwise.
pub(crate) fn rotate(
    context: &Context,
    arguments: &cli::PuddleRotate,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let public = context.puddle()?;
    let length = Length::of(&arguments.unlocked)?;
    session::close();
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
    let file = arguments.passphrase_file.as_deref();
    let rotated = gate::with_passphrase(context, &public.name, file, console, attempt)?;
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
        start_session(context, &secret, &current, length, console)
            .map(|()| format!("  Unlocked     {length}; `vigo swarm puddle lock` ends it"))
    };
    if let Ok(line) = &session {
        console.line(line)?;
    }
    if let Some(name) = &claimed {
        pass_on(context, name, old.into_inner(), console);
    }
    authority::follow_rotation(context, console);
    console.warning("your projects go by the old key until you hand them over");
    console.hint("hand them over:    vigo swarm gitback project reanchor --all");
    console.hint(format_args!(
        "on other machines: copy identity.wrapped and retired/ from {} there, then unlock",
        dir.display()
    ));
    session.map(|_| ()).map_err(Stop::from)
}

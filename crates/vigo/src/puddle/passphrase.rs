//! `vigo swarm puddle rotate-passphrase`

use std::path::Path;

use gitback_helper::{Failure, exit_code};
use gitback_identity::PuddleKey;
use gitback_puddle::{
    Cost, Passphrase, Public, RewrapError, Rewrapped, WriteError, read_retired, rewrap,
    rewrap_retired, unwrap, unwrap_retired,
};

use super::enrol;
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{ask, cli, failure, gate, show};

/// Wraps the keys that have one passphrase under another.
pub(crate) fn rotate_passphrase(
    context: &Context,
    arguments: &cli::RotatePassphrase,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let public = context.puddle()?;
    let (file, new_file) = (
        arguments.passphrase_file.as_deref(),
        arguments.new_passphrase_file.as_deref(),
    );
    if [file, new_file]
        .iter()
        .all(|file| file.is_some_and(ask::is_stdin))
    {
        return Err(failure::stdin_twice().into());
    }
    let dir = &context.layout.puddle_dir;
    let retired = arguments.retired.as_deref();
    let one = retired.map(|text| find(dir, text)).transpose()?;
    let old = gate::read(context, &public.name, file)?;
    // Before anybody thinks of a new one.
    let opened = gate::try_once(context, &public.name, || match &one {
        Some(key) => unwrap_retired(dir, key, &old).map(drop),
        None => unwrap(dir, &old).map(drop),
    })?;
    opened.map_err(|error| failure::unwrap_puddle(&error))?;
    let new = ask::other_passphrase(new_file, console)?;
    match one {
        Some(key) => {
            let changed = gate::try_once(context, &public.name, || {
                rewrap_retired(dir, &key, &old, &new, Cost::STANDARD)
            })?;
            let changed = changed.map_err(|error| refused(&error))?;
            console.line(format_args!(
                "Changed the passphrase of the earlier key {}",
                changed.key.fingerprint()
            ))?;
        }
        None => all(context, &public, (&old, &new), console)?,
    }
    console.warning(
        "your other machines keep the old passphrase, and so does every copy of the files that somebody has",
    );
    let machines = match enrol::fleet(context) {
        Ok(envoys) if envoys.len() > 1 => {
            let others = envoys.get(1..).unwrap_or_default().join(", ");
            format!(
                "on each other one that has the puddle ({})",
                show::plain(&others)
            )
        }
        _ => "on each of them".to_owned(),
    };
    console.hint(format_args!(
        "{machines}: vigo swarm puddle rotate-passphrase, with the same two"
    ));
    console.hint(format_args!(
        "or copy identity.wrapped and retired/ from {} there",
        dir.display()
    ));
    console
        .hint("if somebody may have both a copy and the old passphrase: vigo swarm puddle rotate");
    Ok(())
}

fn all(
    context: &Context,
    public: &Public,
    (old, new): (&Passphrase, &Passphrase),
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let dir = &context.layout.puddle_dir;
    let changed = gate::try_once(context, &public.name, || {
        rewrap(dir, old, new, Cost::STANDARD)
    })?;
    let Rewrapped {
        current,
        retired,
        others,
    } = changed.map_err(|error| refused(&error))?;
    console.line(format_args!(
        "Changed the passphrase of puddle {}",
        current.name
    ))?;
    if !retired.is_empty() {
        let count = show::count(retired.len() as u64, "key");
        console.line(format_args!(
            "  Retired      {count} that it had before too"
        ))?;
    }
    let session = context.session_if_any(&current.name);
    if let Ok(Some(_)) = session {
        console.line("  Unlocked     as before; the session needs no passphrase")?;
    }
    for other in &others {
        console.warning(format_args!(
            "the earlier key {} has another passphrase, and keeps it",
            other.key.fingerprint()
        ));
        console.hint(format_args!(
            "to change it: vigo swarm puddle rotate-passphrase --retired {}",
            other.key.short()
        ));
    }
    Ok(())
}

/// The retired key that `text` is, or begins.
fn find(dir: &Path, text: &str) -> Result<PuddleKey, Failure> {
    let retired = read_retired(dir).map_err(|error| failure::read_puddle(&error))?;
    let keys = retired.iter().map(|public| public.key);
    let found: Vec<PuddleKey> = keys
        .filter(|key| !text.is_empty() && key.to_string().starts_with(text))
        .collect();
    match found.as_slice() {
        [key] => Ok(*key),
        [] => Err(unknown(text, "the puddle never had it")),
        _ => Err(unknown(text, "several begin like this")),
    }
}

fn unknown(text: &str, why: &str) -> Failure {
    let what = format!("which earlier key is {}?", show::plain(text));
    Failure::new(exit_code::UNKNOWN, what)
        .because(why)
        .hint("which there are: vigo swarm puddle status --json")
}

fn refused(error: &RewrapError) -> Failure {
    let what = "the passphrase was not changed";
    let refused = || Failure::new(exit_code::FAILED, what).because(failure::chain(error));
    match error {
        RewrapError::Read(error) => failure::read_puddle(error),
        RewrapError::Unwrap(error) => failure::unwrap_puddle(error),
        RewrapError::Same => Failure::new(exit_code::USAGE, what)
            .because("the new one is the old one"),
        RewrapError::Write(WriteError::Busy { .. }) => refused().hint("try again in a moment"),
        RewrapError::Write(error) => Failure::new(
            exit_code::FAILED,
            "the passphrase was not changed everywhere",
        )
        .because(failure::chain(error))
        .hint("each key opens with the old or the new one; run this again with the same two to do the rest"),
        _ => refused(),
    }
}

//! `vigo envoy authority take-over`
//!
//! The seal is opened here, in a process that is closed to others, and by the passphrase or the recovery words: an
//! unlocked session does not do it, for what it would give out could be used by any program of the user for ever.
//!
//! Source: docs/spec/puddle.md §12.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gitback_fleet::{OpenReject, Seal};
use gitback_helper::{AuthorityStatus, Failure, Request, Secret, exit_code};
use gitback_identity::{PublicKey, PuddleKey, SecretKey, hex};
use gitback_puddle::{
    Passphrase, Public, UnwrapError, read_public, read_retired, refuse_links, session, unwrap,
    unwrap_retired,
};

use super::{accepted, fingerprint, look, not_permitted};
use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::{ask, cli, failure, gate, puddle, show};

/// Opens the copy of the authority's key that is sealed to a person, and gives the key to this machine's daemon.
pub(super) fn take_over(
    context: &Context,
    arguments: &cli::TakeOver,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    session::close();
    let status = ask_daemon(context, console)?;
    let Some(fleet) = &status.fleet else {
        return Err(Failure::new(exit_code::FAILED, "this machine's envoy is in no fleet").into());
    };
    if status.is_authority {
        return console.line("This machine holds the key of the fleet's authority already");
    }
    refuse_unless_administrator(context, &status)?;
    let seals = seals(&status, fleet)?;
    if seals.is_empty() {
        return Err(sealed_to_nobody(&status).into());
    }
    let words = fingerprint(fleet);
    console.progress(format_args!("to be opened: the key of the fleet {words}"));
    let secret = if arguments.from_recovery {
        let person = puddle::ask_recovery_words(arguments.words_file.as_deref(), console)?;
        open(find(&seals, &person.public())?, &person)?
    } else {
        by_passphrase(context, arguments, &seals, console)?
    };
    let request = Request::TakeOver {
        secret: Secret::new(hex::encode(secret.seed())),
    };
    drop(secret);
    // Typing took its time, and no daemon waits that long for the next request.
    let mut daemon = context.daemon()?;
    refuse_other_daemon(context, &daemon)?;
    accepted(&mut daemon, &request, console)?;
    for holder in status.holders.iter().filter(|one| !one.is_self) {
        let name = show::plain(&holder.name);
        console.hint(format_args!("if {name} is lost: vigo envoy remove {name}"));
    }
    Ok(())
}

/// How it is with the authority, in a conversation that has ended before anything is typed.
fn ask_daemon(context: &Context, console: &mut Console<'_>) -> Result<AuthorityStatus, Failure> {
    let mut daemon = context.daemon()?;
    // Before a passphrase is typed that would be for nothing.
    refuse_other_daemon(context, &daemon)?;
    look(&mut daemon, console)
}

/// The secret is asked for only by those whom the daemon obeys.
fn refuse_unless_administrator(context: &Context, status: &AuthorityStatus) -> Result<(), Failure> {
    if status.may_administer {
        return Ok(());
    }
    let what = format!("user {} may not take the fleet over here", context.uid());
    Err(not_permitted(what)
        .because("this machine would hold the key of its authority")
        .hint(format!(
            "root can, with your puddle: sudo vigo envoy authority take-over --puddle {}",
            context.layout.puddle_dir.display()
        )))
}

/// The secret goes to root or the user alone, whoever listens there; from root also to the user whose the envoy's key is.
fn refuse_other_daemon(context: &Context, daemon: &Daemon<'_>) -> Result<(), Failure> {
    let owner = match context.uid() {
        0 => context.layout.identity_dir.symlink_metadata().ok(),
        _ => None,
    };
    let owner = owner.map(|found| found.uid());
    if daemon
        .uid()
        .is_some_and(|theirs| is_trusted(context.uid(), owner, theirs))
    {
        return Ok(());
    }
    let what = "the daemon that answers is another user's";
    Err(not_permitted(what).because("it is not given the key"))
}

/// Whether the user `own` hands a secret to a daemon of the user `theirs`. `owner` is whose the envoy's key is, for root.
fn is_trusted(own: u32, owner: Option<u32>, theirs: u32) -> bool {
    theirs == 0 || theirs == own || (own == 0 && owner == Some(theirs))
}

/// The seals of this fleet, whatever else the daemon has said.
fn seals(status: &AuthorityStatus, fleet: &str) -> Result<Vec<Seal>, Failure> {
    let records = status.seals.iter().filter_map(|one| one.record.as_ref());
    let decode = |text: &String| {
        let bytes = hex::decode(text, gitback_fleet::SEAL_MAX)?;
        let seal = Seal::decode(&bytes).ok()?;
        (seal.authority().to_string() == fleet).then_some(seal)
    };
    records
        .map(|text| {
            decode(text).ok_or_else(|| {
                Failure::new(exit_code::FAILED, "a seal of the fleet is not understood")
                    .hint("start the daemon again if vigo has changed: vigo down, vigo up")
            })
        })
        .collect()
}

fn find<'a>(seals: &'a [Seal], key: &PublicKey) -> Result<&'a Seal, Failure> {
    let mut of_it = seals.iter().filter(|one| one.member().key() == key);
    of_it.next().ok_or_else(|| not_sealed_to(key, seals))
}

fn by_passphrase(
    context: &Context,
    arguments: &cli::TakeOver,
    seals: &[Seal],
    console: &mut Console<'_>,
) -> Result<SecretKey, Failure> {
    let dir = arguments
        .puddle
        .as_deref()
        .unwrap_or(&context.layout.puddle_dir);
    if arguments.puddle.is_some() {
        refuse_links(dir).map_err(|error| failure::read_puddle(&error))?;
    }
    let own = read_public(dir).map_err(|error| {
        failure::read_puddle(&error)
            .hint("with the recovery words:           --from-recovery")
            .hint("with the puddle of another user:   --puddle DIR")
    })?;
    let retired = read_retired(dir).map_err(|error| failure::read_puddle(&error))?;
    // One that was rotated elsewhere may have been sealed to before.
    let keys = std::iter::once(&own).chain(&retired);
    let mut sealed = keys.filter_map(|one| Some((one, find(seals, one.key.key()).ok()?)));
    let Some((whose, seal)) = sealed.next() else {
        return Err(not_sealed_to(own.key.key(), seals));
    };
    let unwrap = |passphrase: &Passphrase| unwrap_one(dir, &own, &whose.key, passphrase);
    let file = arguments.passphrase_file.as_deref();
    let opened = match arguments.puddle {
        // Wrong ones are counted in that user's files, which this one does not write to.
        Some(_) => {
            let passphrase = match file {
                Some(file) => ask::passphrase_from(file)?,
                None => ask::passphrase(&own.name)?,
            };
            unwrap(&passphrase)
        }
        None => gate::with_passphrase(context, &own.name, file, console, unwrap)?,
    };
    let person = opened.map_err(|error| failure::unwrap_puddle(&error))?;
    open(seal, &person)
}

fn unwrap_one(
    dir: &Path,
    own: &Public,
    key: &PuddleKey,
    passphrase: &Passphrase,
) -> Result<SecretKey, UnwrapError> {
    match *key == own.key {
        true => unwrap(dir, passphrase),
        false => unwrap_retired(dir, key, passphrase),
    }
}

fn open(seal: &Seal, person: &SecretKey) -> Result<SecretKey, Failure> {
    seal.open(person).map_err(|reject: OpenReject| {
        let what = "the sealed key of the fleet's authority does not open";
        Failure::new(exit_code::FAILED, what).because(failure::chain(&reject))
    })
}

fn not_sealed_to(key: &PublicKey, seals: &[Seal]) -> Failure {
    let what = format!(
        "the key of the fleet's authority is not sealed to {}",
        key.fingerprint()
    );
    let to: Vec<String> = seals
        .iter()
        .map(|one| fingerprint(&one.member().to_string()))
        .collect();
    not_permitted(what)
        .because(format!("who can take the fleet over: {}", to.join(", ")))
        .hint("see who that is, and who holds it: vigo envoy authority")
}

fn sealed_to_nobody(status: &AuthorityStatus) -> Failure {
    let failure = not_permitted("the key of the fleet's authority is sealed to nobody");
    let failure = match status.holders.first() {
        Some(one) => failure.hint(format!(
            "on {}: vigo envoy authority seal",
            show::plain(&one.name)
        )),
        None => failure,
    };
    failure.hint("if those that hold it are lost for good: docs/configuration.md, The fleet")
}

#[cfg(test)]
mod tests {
    use super::is_trusted;

    #[test]
    fn the_key_goes_to_root_the_user_or_for_root_to_whose_the_envoy_is() {
        assert!(is_trusted(1000, None, 0) && is_trusted(1000, None, 1000));
        assert!(!is_trusted(1000, None, 1001));
        assert!(!is_trusted(1000, Some(1001), 1001));
        assert!(is_trusted(0, None, 0) && is_trusted(0, Some(990), 990));
        assert!(!is_trusted(0, None, 990) && !is_trusted(0, Some(990), 1000));
    }
}

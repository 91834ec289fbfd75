//! `vigo swarm puddle name …`: what the user's own puddle wants to be called.

use gitback_envelope::VerifiedClaim;
use gitback_helper::{Failure, NamesStatus, Reply, Request};
use gitback_identity::{PuddleKey, PuddleName, SecretKey, hex};
use gitback_puddle::{Claimant, Public, read_retired};
use gitback_signer::names::{claim_of, claimants, next_claim, who_claims};
use gitback_signer::{SignError, Signer};
use serde::Serialize;

use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::keys::Keys;
use crate::{ask, cli, failure, show};

const PICK: &str = "whoever has never used the name has to pick: vigo swarm puddle names pick";

/// The answer of `name show --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct OwnName {
    name: String,
    key: String,
    fingerprint: String,
    /// What is claimed; nothing where nothing is, or it was given back.
    claimed: Option<String>,
    since_ms: Option<u64>,
    /// Who else claims that, or would be in the way.
    others: Vec<Rival>,
}

/// Somebody else who claims the same name.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Rival {
    key: String,
    fingerprint: String,
    since_ms: u64,
}

/// Claims, releases and shows.
pub(crate) fn name(
    context: &Context,
    verb: &cli::Name,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    match verb {
        cli::Name::Claim(arguments) => claim(context, arguments, console),
        cli::Name::Release => release(context, console),
        cli::Name::Show(json) => show_own(context, *json, console),
    }
}

fn claim(
    context: &Context,
    arguments: &cli::ClaimName,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let own = context.puddle()?;
    let name = match &arguments.name {
        Some(text) => text
            .parse()
            .map_err(|reject| failure::puddle_name(text, &reject))?,
        None => own.name.clone(),
    };
    let mut daemon = context.daemon()?;
    let known = names(&mut daemon, &claim_of(&own.key))?;
    let fingerprint = own.key.fingerprint();
    let before = claimed(&known, &own.key);
    if let Some(before) = before.as_ref().filter(|before| **before != name) {
        give_back(before, &name, arguments.yes, console)?;
    }
    if before.as_ref() == Some(&name) {
        console.line(format_args!("{name} was claimed for {fingerprint} already"))?;
    } else {
        let signer = session(context, &own, "claiming a name needs a signature")?;
        put(&mut daemon, &signer, Some(&name), &known)
            .map_err(|error| error.failure(&own.name, "claiming a name needs a signature"))?;
        console.line(format_args!("Claimed {name} for {fingerprint}"))?;
    }
    if name != own.name {
        console.warning(format_args!(
            "on your own machines your puddle stays {}",
            own.name
        ));
    }
    let mut keys = Keys::new(context, own.clone(), arguments.passphrase_file.as_deref());
    release_earlier(context, &mut daemon, &name, &mut keys, console);
    warn_of_others(&mut daemon, &own, &name, console);
    Ok(())
}

/// A puddle claims one name. Says so of the one that it claims so far, and asks.
fn give_back(
    before: &PuddleName,
    name: &PuddleName,
    yes: bool,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    console.warning(format_args!(
        "claiming {name} gives {before} back: a puddle claims one name"
    ));
    console.hint(format_args!(
        "whoever has used {before} goes on meaning you by it; others can claim it then"
    ));
    let question = format!("Claim {name} in place of {before}? [y/N] ");
    match yes || ask::yes(&question, console)? {
        true => Ok(()),
        false => Err(failure::not_confirmed(&format!(
            "{before} is claimed as before"
        ))),
    }
}

/// An earlier key of the user's own is no rival: what it claims is given back.
fn release_earlier(
    context: &Context,
    daemon: &mut Daemon<'_>,
    name: &PuddleName,
    keys: &mut Keys<'_>,
    console: &mut Console<'_>,
) {
    let retired = read_retired(&context.layout.puddle_dir).unwrap_or_default();
    let Ok(status) = names(daemon, &who_claims(name)) else {
        return;
    };
    let claimants = claimants(&status, name).into_iter();
    let earlier =
        claimants.filter(|claimant| retired.iter().any(|retired| retired.key == claimant.key));
    for claimant in earlier {
        let released = keys.signer(&claimant.key).and_then(|signer| {
            let known = names(daemon, &claim_of(&claimant.key))?;
            let put = put(daemon, &signer, None, &known);
            put.map_err(|error| error.failure(name, "giving a name back needs a signature"))
        });
        let words = claimant.key.fingerprint();
        match released {
            Ok(()) => console.progress(format_args!(
                "your earlier key, {words}, claims {name} no longer"
            )),
            Err(failure) => {
                console.warning(format_args!(
                    "your earlier key, {words}, still claims {name}: {}",
                    failure.what
                ));
                console.hint(
                    "to end that: vigo swarm puddle name claim, with the passphrase of that key",
                );
            }
        }
    }
}

fn release(context: &Context, console: &mut Console<'_>) -> Result<(), Stop> {
    let own = context.puddle()?;
    let mut daemon = context.daemon()?;
    let known = names(&mut daemon, &claim_of(&own.key))?;
    let Some(name) = claimed(&known, &own.key) else {
        return console.line("Nothing is claimed");
    };
    let what_for = "giving a name back needs a signature";
    let signer = session(context, &own, what_for)?;
    put(&mut daemon, &signer, None, &known).map_err(|error| error.failure(&own.name, what_for))?;
    console.line(format_args!("Released {name}"))?;
    console.hint("whoever has used it before goes on meaning you by it");
    Ok(())
}

fn show_own(context: &Context, json: cli::Json, console: &mut Console<'_>) -> Result<(), Stop> {
    let own = context.puddle()?;
    let mut daemon = context.daemon()?;
    let known = names(&mut daemon, &claim_of(&own.key))?;
    let claimed = claimed(&known, &own.key);
    let since_ms = known.claims.first().map(|claim| claim.since_ms);
    let since_ms = since_ms.filter(|_| claimed.is_some());
    let name = claimed.as_ref().unwrap_or(&own.name);
    let others = others(&names(&mut daemon, &who_claims(name))?, &own, name);
    if json.json {
        return console.json(&OwnName {
            name: own.name.to_string(),
            key: own.key.to_string(),
            fingerprint: own.key.fingerprint().to_string(),
            claimed: claimed.as_ref().map(ToString::to_string),
            since_ms,
            others: others.iter().map(rival).collect(),
        });
    }
    let now = show::now_ms();
    match since_ms {
        Some(since) => console.line(format_args!(
            "{name} is claimed for {}, known here since {}",
            own.key.fingerprint(),
            show::date(since)
        ))?,
        None => {
            console.line(format_args!("{name} is not claimed"))?;
            console.hint("to be found by it: vigo swarm puddle name claim");
        }
    }
    tell_others(name, &others, now, console);
    Ok(())
}

fn rival(other: &Claimant) -> Rival {
    Rival {
        key: other.key.to_string(),
        fingerprint: other.key.fingerprint().to_string(),
        since_ms: other.since_ms,
    }
}

/// Claims the puddle's own name where a daemon answers, the key is unlocked, and the puddle has never claimed or released
/// anything. Nothing is said but that others claim it too: nobody has asked for this.
pub(crate) fn claim_quietly(context: &Context, console: &mut Console<'_>) {
    let Ok(own) = context.puddle() else { return };
    let Ok(mut daemon) = context.hasty_daemon() else {
        return;
    };
    let Ok(known) = names(&mut daemon, &claim_of(&own.key)) else {
        return;
    };
    if !known.claims.is_empty() {
        return;
    }
    let Ok(signer) = Signer::connect(&context.layout.session_socket, &own.key) else {
        return;
    };
    if put(&mut daemon, &signer, Some(&own.name), &known).is_ok() {
        warn_of_others(&mut daemon, &own, &own.name, console);
    }
}

/// What a key claims, if a daemon answers that knows it.
pub(crate) fn claim_if_known(context: &Context, key: &PuddleKey) -> Option<PuddleName> {
    let mut daemon = context.hasty_daemon().ok()?;
    let known = names(&mut daemon, &claim_of(key)).ok()?;
    claimed(&known, key)
}

/// After a rotation: the new key claims what the old one did, and the old one gives it back. What does not come about is
/// said, with what to do.
pub(crate) fn pass_on(
    context: &Context,
    name: &PuddleName,
    earlier: Option<SecretKey>,
    console: &mut Console<'_>,
) {
    let passed = try_pass_on(context, name, earlier);
    if passed.is_none() {
        console.hint(format_args!(
            "have {name} mean the new key: vigo swarm puddle name claim"
        ));
    }
}

fn try_pass_on(context: &Context, name: &PuddleName, earlier: Option<SecretKey>) -> Option<()> {
    let own = context.puddle().ok()?;
    let mut daemon = context.hasty_daemon().ok()?;
    let current = Signer::connect(&context.layout.session_socket, &own.key).ok()?;
    let earlier = Signer::holding(earlier?);
    // The new one first: were there no room for it, the name would be nobody's.
    for (signer, name) in [(&current, Some(name)), (&earlier, None)] {
        let known = names(&mut daemon, &claim_of(signer.key())).ok()?;
        put(&mut daemon, signer, name, &known).ok()?;
    }
    Some(())
}

/// Why a claim was not made.
enum PutError {
    Sign(SignError),
    Daemon(Failure),
}

impl PutError {
    fn failure(self, name: &PuddleName, what_for: &str) -> Failure {
        match self {
            Self::Sign(error) => failure::sign(&error, name, what_for),
            Self::Daemon(failure) => failure,
        }
    }
}

/// Has a claim signed and hands it in. `known` is what the daemon knows of the claims of that key.
fn put(
    daemon: &mut Daemon<'_>,
    signer: &Signer,
    name: Option<&PuddleName>,
    known: &NamesStatus,
) -> Result<(), PutError> {
    let claim = next_claim(signer.key(), name.cloned(), known, show::now_ms());
    let sealed: VerifiedClaim = signer.claim(&claim).map_err(PutError::Sign)?;
    let request = Request::ClaimName {
        claim: hex::encode(sealed.bytes()),
    };
    match daemon.quiet_call(&request).map_err(PutError::Daemon)? {
        Reply::Accepted { .. } => Ok(()),
        other => Err(PutError::Daemon(other.unexpected())),
    }
}

fn session(context: &Context, own: &Public, what_for: &str) -> Result<Signer, Failure> {
    let signer = Signer::connect(&context.layout.session_socket, &own.key);
    signer.map_err(|error| failure::sign(&error, &own.name, what_for))
}

/// Asks the daemon about names.
pub(super) fn names(daemon: &mut Daemon<'_>, request: &Request) -> Result<NamesStatus, Failure> {
    match daemon.quiet_call(request)? {
        Reply::Names(status) => Ok(status),
        other => Err(other.unexpected()),
    }
}

fn claimed(known: &NamesStatus, key: &PuddleKey) -> Option<PuddleName> {
    let own = key.to_string();
    let mut claims = known.claims.iter().filter(|claim| claim.puddle == own);
    claims.find_map(|claim| claim.name.as_ref()?.parse().ok())
}

fn others(status: &NamesStatus, own: &Public, name: &PuddleName) -> Vec<Claimant> {
    let claimants = claimants(status, name).into_iter();
    claimants.filter(|other| other.key != own.key).collect()
}

fn warn_of_others(
    daemon: &mut Daemon<'_>,
    own: &Public,
    name: &PuddleName,
    console: &mut Console<'_>,
) {
    if let Ok(status) = names(daemon, &who_claims(name)) {
        let others = others(&status, own, name);
        tell_others(name, &others, show::now_ms(), console);
        if !others.is_empty() {
            console.hint(format_args!("your own is {}", own.key.fingerprint()));
            console.hint(PICK);
        }
    }
}

fn tell_others(name: &PuddleName, others: &[Claimant], now: u64, console: &mut Console<'_>) {
    for other in others {
        console.warning(format_args!(
            "{name} is claimed by {} as well (known here for {})",
            other.key.fingerprint(),
            show::span(now.saturating_sub(other.since_ms))
        ));
    }
}

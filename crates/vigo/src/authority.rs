//! `vigo envoy authority …`: who holds the key of the fleet's authority, who could, and taking the fleet over.

mod follow;
mod take_over;

use gitback_helper::{AuthorityStatus, Failure, Reply, Request, exit_code};
use gitback_identity::{PublicKey, PuddleKey};

use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::{ask, cli, failure, show};

pub(crate) use follow::{follow_rotation, seal_to_founder, seal_to_host, warn_of_leave};

/// The shortest beginning of a key by which the daemon knows whom it means.
const PREFIX_LEAST: usize = 8;

/// Obeys one of the verbs; shows how it is where there is none.
pub(crate) fn authority(
    context: &Context,
    arguments: &cli::EnvoyAuthority,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    match &arguments.verb {
        None => status(context, arguments.json, console),
        Some(cli::Authority::Seal(arguments)) => seal(context, arguments, console),
        Some(cli::Authority::Unseal(arguments)) => unseal(context, arguments, console),
        Some(cli::Authority::TakeOver(arguments)) => {
            take_over::take_over(context, arguments, console)
        }
    }
}

fn status(context: &Context, json: cli::Json, console: &mut Console<'_>) -> Result<(), Stop> {
    let status = look(&mut context.daemon()?, console)?;
    if json.json {
        return console.json(&status);
    }
    let Some(fleet) = &status.fleet else {
        console.line("In no fleet")?;
        console.hint("to found one:  vigo envoy ticket");
        return Ok(());
    };
    let words = fingerprint(fleet);
    console.line(format_args!("Authority {words}"))?;
    console.line(format_args!("  Key        {}", show::plain(fleet)))?;
    console.line(format_args!("  Held by    {}", holders(&status)))?;
    let own = context.puddle_if_any().ok().flatten();
    let own = own.map(|own| (own.key.to_string(), own.name.to_string()));
    let mut label = "Sealed to";
    for seal in &status.seals {
        let whose = match &own {
            Some((key, name)) if *key == seal.puddle => format!("{name}, your own"),
            _ => {
                let short: String = seal.puddle.chars().take(12).collect();
                show::plain(&short)
            }
        };
        console.line(format_args!(
            "  {label:<9}  {} ({whose}, {})",
            fingerprint(&seal.puddle),
            show::date(seal.sealed_ms)
        ))?;
        label = "";
    }
    if status.seals.is_empty() {
        console.line("  Sealed to  nobody")?;
    }
    advise(&status, console);
    Ok(())
}

/// What to do about it, if anything.
fn advise(status: &AuthorityStatus, console: &mut Console<'_>) {
    let holder = status.holders.first().map(|one| show::plain(&one.name));
    if status.seals.is_empty() {
        match &holder {
            Some(name) => console.warning(format_args!(
                "if {name} is lost, nobody can enrol or remove machines any more"
            )),
            None => console.warning("nobody can enrol or remove machines"),
        }
        match (status.is_authority, holder) {
            (true, _) if !status.may_administer => {
                console
                    .hint("for root, with the key of your puddle: vigo envoy authority seal KEY");
            }
            (true, _) => console.hint("seal its key to yourself: vigo envoy authority seal"),
            (false, Some(name)) => {
                console.hint(format_args!("on {name}: vigo envoy authority seal"));
            }
            (false, None) => console.hint("docs/configuration.md, The fleet"),
        }
    } else if !status.is_authority {
        console.hint("if those that hold it are lost: vigo envoy authority take-over");
    }
}

fn holders(status: &AuthorityStatus) -> String {
    let one = |holder: &gitback_helper::AuthorityHolder| {
        let name = show::plain(&holder.name);
        match (holder.is_self, holder.last_seen_ms) {
            (true, _) => format!("{name} (this one)"),
            (false, Some(at)) => format!("{name} (seen {})", show::ago(at, status.now_ms)),
            (false, None) => format!("{name} (never seen)"),
        }
    };
    let holders: Vec<String> = status.holders.iter().map(one).collect();
    match holders.is_empty() {
        true => "nobody that is known here".to_owned(),
        false => holders.join(", "),
    }
}

fn seal(
    context: &Context,
    arguments: &cli::AuthoritySeal,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let (puddle, is_own) = match &arguments.key {
        Some(text) => (text.clone(), false),
        None => {
            let key = own_key(context)?;
            // Root may have been given the home of somebody else.
            (key.to_string(), follow::is_own_home(context, &key))
        }
    };
    if !is_own && !arguments.yes {
        let words = fingerprint(&puddle);
        let question = format!("Let {words} take the fleet over? [y/N] ");
        if !ask::yes(&question, console)? {
            return Err(failure::not_confirmed("the key was not sealed").into());
        }
    }
    let request = Request::SealAuthority {
        puddle,
        by_the_way: false,
    };
    accepted(&mut context.daemon()?, &request, console)
}

/// The key of the user's own puddle.
fn own_key(context: &Context) -> Result<PuddleKey, Failure> {
    match context.puddle_if_any()? {
        Some(own) => Ok(own.key),
        None => Err(failure::no_puddle(&context.layout.puddle_dir)
            .hint("or for somebody else: vigo envoy authority seal KEY")),
    }
}

fn unseal(
    context: &Context,
    arguments: &cli::Unseal,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let mut puddle = arguments.key.clone();
    if !arguments.yes {
        let status = look(&mut context.daemon()?, console)?;
        let seals = status.seals.iter().map(|one| &one.puddle);
        let found: Vec<&String> = seals.filter(|key| key.starts_with(&puddle)).collect();
        // The daemon says what is wrong with a key that means nobody, or several.
        if let [key] = found.as_slice() {
            let (words, short) = (fingerprint(key), key.get(..12).unwrap_or(key));
            let short = show::plain(short);
            let question = format!("Let {words} ({short}) take the fleet over no longer? [y/N] ");
            if !ask::yes(&question, console)? {
                return Err(failure::not_confirmed("nothing was changed").into());
            }
            // As it was shown, whatever has been sealed meanwhile.
            if puddle.len() >= PREFIX_LEAST {
                puddle.clone_from(key);
            }
        }
    }
    let request = Request::UnsealAuthority { puddle };
    accepted(&mut context.daemon()?, &request, console)
}

fn look(daemon: &mut Daemon<'_>, console: &mut Console<'_>) -> Result<AuthorityStatus, Failure> {
    match daemon.call(&Request::Authority, console)? {
        Reply::Authority(status) => Ok(status),
        other => Err(other.unexpected()),
    }
}

fn accepted(
    daemon: &mut Daemon<'_>,
    request: &Request,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    match daemon.call(request, console)? {
        Reply::Accepted { notes, .. } => {
            for note in notes {
                console.line(show::plain(&note))?;
            }
            Ok(())
        }
        other => Err(other.unexpected().into()),
    }
}

/// The four words of a key, or what was said instead of one.
fn fingerprint(key: &str) -> String {
    let parsed = key.parse::<PublicKey>();
    parsed.map_or_else(|_| show::plain(key), |key| key.fingerprint().to_string())
}

fn not_permitted(what: impl Into<String>) -> Failure {
    Failure::new(exit_code::NOT_PERMITTED, what)
}

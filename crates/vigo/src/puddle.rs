//! `vigo swarm puddle …`

mod enrol;
mod join;
mod leave;
mod name;
mod names;
mod pair;
mod passphrase;
mod recovery;
mod refusals;
mod rotate;
mod unpaired;

use std::fmt;
use std::time::Duration;

use gitback_helper::{Failure, exit_code};
use gitback_identity::SecretKey;
use gitback_puddle::session::ConnectError;
use gitback_puddle::{
    Cost, CreateError, Passphrase, Public, create, create_again, generate, is_busy, mend,
    read_retired, session, unwrap,
};
use serde::Serialize;

use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{ask, authority, cli, failure, gate, renew, session as process, show, up};

pub(crate) use join::join;
pub(crate) use leave::leave;
pub(crate) use name::{claim_quietly, name};
pub(crate) use names::names;
pub(crate) use pair::pair;
pub(crate) use passphrase::rotate_passphrase;
pub(crate) use recovery::{ask as ask_recovery_words, recovery};
pub(crate) use rotate::rotate;

/// The longest that a puddle can be unlocked.
const FOR_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
const SWAPPABLE: &str =
    "the unlocked key may be swapped out: the system does not let its memory be locked";

/// Makes a puddle, of a new key or of one that was written down in words, and unlocks it unless told otherwise.
pub(crate) fn init(
    context: &Context,
    arguments: &cli::PuddleInit,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    refuse_if_there(context)?;
    let length = Length::of(&arguments.unlocked)?;
    session::close();
    if [&arguments.words_file, &arguments.passphrase_file]
        .iter()
        .all(|file| file.as_deref().is_some_and(ask::is_stdin))
    {
        return Err(failure::stdin_twice().into());
    }
    let recovered = match arguments.from_recovery {
        true => Some(recovery::ask(arguments.words_file.as_deref(), console)?),
        false => None,
    };
    let name = match &arguments.name {
        Some(text) => text
            .parse()
            .map_err(|reject| failure::puddle_name(text, &reject))?,
        None => ask::puddle_name(context.suggested_name().as_ref(), console)?,
    };
    let passphrase = ask::new_passphrase(arguments.passphrase_file.as_deref(), console)?;
    let made = recovered.is_none();
    let secret = match recovered {
        Some(secret) => secret,
        None => generate().map_err(|error| failure::no_randomness(&error))?,
    };
    let dir = &context.layout.puddle_dir;
    let make = if made { create } else { create_again };
    let public = make(
        dir,
        &name,
        &passphrase,
        &secret,
        Cost::STANDARD,
        show::now_ms(),
    )
    .map_err(|error| failure::create_puddle(&error))?;

    match made {
        true => console.line(format_args!("Created puddle {name}"))?,
        false => console.line(format_args!("Brought back puddle {name}"))?,
    }
    console.line(format_args!("  Fingerprint  {}", public.key.fingerprint()))?;
    if arguments.no_unlock {
        console.line("  Locked       `vigo swarm puddle unlock` opens it")?;
    } else {
        start_session(context, &secret, &public, length, console)?;
        console.line(format_args!(
            "  Unlocked     {length}; `vigo swarm puddle lock` ends it"
        ))?;
    }
    up::offer(context, arguments.with_envoy, console)?;
    if !arguments.no_unlock && !arguments.no_claim {
        claim_quietly(context, console);
    }
    if !made {
        recovery::say_what_is_missing(context, console);
        return Ok(());
    }
    console.warning("if every machine is lost, or the passphrase forgotten, so is this key");
    console.hint("write down recovery words: vigo swarm puddle recovery");
    console.hint("add a machine:             vigo swarm puddle pair");
    Ok(())
}

/// Unlocks the puddle; a session that runs already is replaced by the new one.
pub(crate) fn unlock(
    context: &Context,
    arguments: &cli::Unlock,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let public = context.puddle()?;
    let length = Length::of(&arguments.unlocked)?;
    let dir = &context.layout.puddle_dir;
    let attempt = |passphrase: &Passphrase| unwrap(dir, passphrase);
    let file = arguments.passphrase_file.as_deref();
    let unwrapped = gate::with_passphrase(context, &public.name, file, console, attempt)?;
    let secret = unwrapped.map_err(|error| failure::unwrap_puddle(&error))?;
    if let Err(error) = mend(dir) {
        // Nothing here needs that file, and a home may well be read-only.
        console.warning(failure::chain(&error));
    }
    start_session(context, &secret, &public, length, console)?;
    console.line(format_args!("Unlocked {} {length}", public.name))?;
    renew::run(context, console);
    authority::follow_rotation(context, console);
    Ok(())
}

/// Ends the session.
pub(crate) fn lock(context: &Context, console: &mut Console<'_>) -> Result<(), Stop> {
    // Damaged files are no reason to leave the key unlocked.
    let public = context.puddle_if_any().ok().flatten();
    let name = public.map_or_else(|| "the puddle".to_owned(), |public| public.name.to_string());
    match end_session(context)? {
        Before::Unlocked => console.line(format_args!("Locked {name}")),
        Before::Locked => console.line(format_args!("{name} was locked already")),
    }
}

/// The answer of `puddle status --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
pub(crate) struct PuddleStatus {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) created_ms: u64,
    pub(crate) unlocked: bool,
    pub(crate) until_ms: Option<u64>,
    /// How long after the last signature it is locked, where that is limited.
    pub(crate) idle_ms: Option<u64>,
    /// Whether the unlocked key is kept out of the swap.
    pub(crate) memory_locked: Option<bool>,
    /// Newest first.
    pub(crate) retired: Vec<RetiredStatus>,
}

/// The same, with what the daemon knows of it.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    status: PuddleStatus,
    /// The name that the puddle claims, if it does and the daemon answers.
    claimed: Option<String>,
    /// The envoys of this machine's fleet, this one first; nothing where the daemon does not answer.
    envoys: Option<Vec<String>>,
}

/// A key that the puddle had before.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
pub(crate) struct RetiredStatus {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) created_ms: u64,
    pub(crate) retired_ms: u64,
}

/// How the user's puddle is.
pub(crate) fn describe(context: &Context, public: &Public) -> Result<PuddleStatus, Failure> {
    let session = context.session_if_any(&public.name)?;
    let session = session
        .map(|(_, status)| status)
        .filter(|status| status.key == public.key);
    let retired =
        read_retired(&context.layout.puddle_dir).map_err(|error| failure::read_puddle(&error))?;
    Ok(PuddleStatus {
        name: public.name.to_string(),
        key: public.key.to_string(),
        fingerprint: public.key.fingerprint().to_string(),
        created_ms: public.created_ms,
        unlocked: session.is_some(),
        until_ms: session.as_ref().map(|session| session.until_ms),
        idle_ms: session.as_ref().and_then(|session| session.idle_ms),
        memory_locked: session.as_ref().map(|session| session.memory_locked),
        retired: describe_retired(public, &retired),
    })
}

/// A key was retired when the one after it was made.
fn describe_retired(current: &Public, retired: &[Public]) -> Vec<RetiredStatus> {
    let after = std::iter::once(current).chain(retired);
    let pairs = retired.iter().zip(after);
    pairs
        .map(|(public, after)| RetiredStatus {
            key: public.key.to_string(),
            fingerprint: public.key.fingerprint().to_string(),
            created_ms: public.created_ms,
            retired_ms: after.created_ms,
        })
        .collect()
}

/// Shows key and session.
pub(crate) fn status(
    context: &Context,
    json: cli::Json,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let public = context.puddle()?;
    let report = Report {
        status: describe(context, &public)?,
        claimed: name::claim_if_known(context, &public.key).map(|name| name.to_string()),
        envoys: enrol::fleet(context).ok(),
    };
    if json.json {
        return console.json(&report);
    }
    let status = &report.status;
    console.line(format_args!("Puddle {}", status.name))?;
    console.line(format_args!("  Key          {}", status.key))?;
    console.line(format_args!("  Fingerprint  {}", status.fingerprint))?;
    console.line(format_args!(
        "  Made         {}",
        show::date(status.created_ms)
    ))?;
    let now = show::now_ms();
    match status.until_ms {
        Some(until) => console.line(format_args!(
            "  Unlocked     until {} ({} left){}",
            show::clock(until, now),
            show::span_exact(until.saturating_sub(now)),
            status.idle_ms.map_or_else(String::new, idle_text)
        ))?,
        None => console.line("  Locked       `vigo swarm puddle unlock` opens it")?,
    }
    if let Some(envoys) = &report.envoys {
        let claimed = report.claimed.as_deref().map_or_else(
            || "not claimed: vigo swarm puddle name claim".to_owned(),
            |name| format!("{name}, claimed"),
        );
        console.line(format_args!("  Name         {claimed}"))?;
        console.line(format_args!(
            "  Envoys       {}",
            show::plain(&envoys.join(", "))
        ))?;
    }
    for retired in &status.retired {
        console.line(format_args!(
            "  Retired      {} ({})",
            retired.fingerprint,
            show::date(retired.retired_ms)
        ))?;
    }
    if status.memory_locked == Some(false) {
        console.warning(SWAPPABLE);
    }
    Ok(())
}

fn refuse_if_there(context: &Context) -> Result<(), Failure> {
    let dir = &context.layout.puddle_dir;
    let Some(public) = context.puddle_if_any()? else {
        return Ok(());
    };
    let exists = CreateError::Exists {
        path: dir.join("identity.wrapped"),
        public: Some(Box::new(public)),
    };
    Err(failure::create_puddle(&exists))
}

/// Starts a session in place of any that runs.
fn start_session(
    context: &Context,
    secret: &SecretKey,
    public: &Public,
    length: Length,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if secret.public() != *public.key.key() {
        return Err(refusals::changed_meanwhile(&context.layout.puddle_dir));
    }
    let dir = &context.layout.puddle_dir;
    end_session(context)?;
    let started = process::start(context, secret, public, length.total, length.idle)?;
    // Whoever removes the puddle holds its lock from before they end the session until the files are gone.
    if is_busy(dir) || !dir.exists() {
        end_session(context)?;
        return Err(refusals::busy(dir));
    }
    if started == process::Started::Swappable {
        console.warning(SWAPPABLE);
        console.hint("allow more locked memory: ulimit -l");
    }
    Ok(())
}

/// How the puddle was before.
enum Before {
    Unlocked,
    Locked,
}

fn end_session(context: &Context) -> Result<Before, Failure> {
    let fault =
        |why| Failure::new(exit_code::FAILED, "cannot end the unlocked session").because(why);
    let client = match session::Client::connect(&context.layout.session_socket) {
        Ok(client) => client,
        Err(ConnectError::Locked { .. }) => return Ok(Before::Locked),
        Err(error) => return Err(fault(failure::chain(&error))),
    };
    match client.lock() {
        Ok(()) | Err(session::CallError::Connect(ConnectError::Locked { .. })) => {
            Ok(Before::Unlocked)
        }
        Err(error) => Err(fault(failure::chain(&error))),
    }
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy)]
struct Length {
    total: Duration,
    idle: Option<Duration>,
}

impl Length {
    fn of(arguments: &cli::Unlocked) -> Result<Self, Failure> {
        let idle = arguments.idle.as_deref().map(duration).transpose()?;
        Ok(Self {
            total: duration(&arguments.duration)?,
            idle,
        })
    }
}

/// "until 18:30 (8 h), or 30 min after the last signature"
impl fmt::Display for Length {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let (now, total) = (show::now_ms(), ms(self.total));
        let end = show::clock(now.saturating_add(total), now);
        write!(formatter, "until {end} ({})", show::span_exact(total))?;
        match self.idle {
            Some(idle) => write!(formatter, "{}", idle_text(ms(idle))),
            None => Ok(()),
        }
    }
}

fn idle_text(idle_ms: u64) -> String {
    format!(
        ", or {} after the last signature",
        show::span_exact(idle_ms)
    )
}

fn duration(text: &str) -> Result<Duration, Failure> {
    let length = ask::length(text)?;
    if length.is_zero() || length > FOR_MAX {
        return Err(failure::duration(
            text,
            "a puddle is unlocked for up to 31 days",
        ));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_what_people_write() {
        for (text, seconds) in [
            ("8h", Some(28_800)),
            ("90m", Some(5_400)),
            ("1h30m", Some(5_400)),
            ("1 hour 30 min", Some(5_400)),
            ("20s", Some(20)),
            ("744h", Some(31 * 24 * 3600)),
            ("745h", None),
            ("1d", Some(86_400)),
            ("31 days", Some(31 * 24 * 3600)),
            ("1mo", None),
            ("0s", None),
            ("-1h", None),
            ("eight", None),
            ("8", None),
            ("", None),
        ] {
            let parsed = duration(text).ok().map(|length| length.as_secs());
            assert_eq!(parsed, seconds, "{text}");
        }
    }
}

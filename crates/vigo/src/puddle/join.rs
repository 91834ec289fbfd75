//! `vigo swarm puddle join`

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitback_helper::Failure;
use gitback_pairing::{
    Arrived, CODE_TEXT_MAX, Code, Guest, Introduction, PORT, RefuseReason, find,
};
use gitback_puddle::{InstallError, Public, install, refuse_occupied, session};
use zeroize::Zeroizing;

use super::{Length, enrol, refuse_if_there, unlock, unpaired};
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{ask, cli, failure, show, up};

/// How long is listened for a machine that says that it is there.
const FIND_WITHIN: Duration = Duration::from_secs(15);
/// How often a code can be typed that is none.
const TYPED_MAX: u32 = 5;

/// Gets the puddle from the machine that shows the code, and unlocks it unless told otherwise.
pub(crate) fn join(
    context: &Context,
    arguments: &cli::PuddleJoin,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    refuse_if_there(context).map_err(|failure| {
        failure
            .hint("if it is the one that you want: only the fleet is lacking; on a machine of the fleet: vigo envoy ticket, then here: vigo join TICKET")
            .hint("if you want another one: remove this one first: vigo swarm puddle leave, then run this again")
    })?;
    refuse_occupied(&context.layout.puddle_dir).map_err(|error| unpaired::occupied(&error))?;
    refuse_both_from_stdin(arguments)?;
    refuse_without_code(arguments)?;
    session::close();
    refuse_what_unlock_would(arguments)?;
    // What the fleets have to say needs an envoy here. The code lives for minutes, so that it is asked for when nothing else is left to do.
    offer_envoy(context, arguments, console)?;
    let code = code(arguments.code_file.as_deref(), console)?;
    let name = enrol::machine(enrol::card(context).ok().as_ref());
    let about = Introduction::new(&name, std::env::consts::OS);
    let guest = reach(arguments.from.as_deref(), console)?;
    let waiting = guest
        .prove(&code, &about)
        .map_err(|error| unpaired::guest(&error))?;
    drop(code);
    let host = waiting.host().name().to_owned();
    console.progress(format_args!("waiting for {host} to allow it"));
    let arrived = waiting.wait().map_err(|error| unpaired::guest(&error))?;
    let (public, arrived) = keep(context, arrived)?;
    console.line(format_args!("Joined {} as {}", public.name, about.name()))?;
    console.line(format_args!("  Fingerprint  {}", public.key.fingerprint()))?;
    match arguments.no_enrol {
        true => stay_out(arrived, console)?,
        false => enter_fleet(context, arrived, &host, console)?,
    }
    open(context, arguments, &public, console)?;
    console.hint("your projects: vigo swarm gitback project list");
    Ok(())
}

/// Has an envoy started, as far as that goes: the puddle comes without one too.
fn offer_envoy(
    context: &Context,
    arguments: &cli::PuddleJoin,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    match up::offer(context, arguments.with_envoy, console) {
        Err(Stop::Failed(failure)) => {
            let why = failure
                .why
                .map_or_else(String::new, |why| format!(": {why}"));
            console.warning(format_args!(
                "this machine's envoy was not started: {}{why}",
                failure.what
            ));
            console.hint("start it afterwards: vigo up");
            Ok(())
        }
        other => other,
    }
}

/// Puts what has arrived on the disk, and tells the host where that fails.
fn keep(context: &Context, arrived: Arrived) -> Result<(Public, Arrived), Failure> {
    match install(&context.layout.puddle_dir, arrived.carried()) {
        Ok(public) => Ok((public, arrived)),
        Err(error) => {
            arrived.refuse(match &error {
                InstallError::Exists { .. } => RefuseReason::Exists,
                error if error.is_full_disk() => RefuseReason::DiskFull,
                _ => RefuseReason::Failed,
            });
            Err(unpaired::install(&error))
        }
    }
}

/// Says that the puddle is there, and asks for nothing.
fn stay_out(arrived: Arrived, console: &mut Console<'_>) -> Result<(), Stop> {
    if let Err(error) = arrived.installed(None) {
        console.warning(format_args!(
            "the other machine could not be told that the puddle is here: {}",
            failure::chain(&error)
        ));
    }
    console.line("  Fleet        not entered, as --no-enrol says")
}

/// Has this machine's envoy taken into the fleet of the host's, as far as that goes.
fn enter_fleet(
    context: &Context,
    arrived: Arrived,
    host: &str,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let challenge = arrived.challenge();
    let request = enrol::request(context, arrived.offer(), &challenge);
    let answered = arrived.installed(request.as_deref().ok());
    let entered = match (request, answered) {
        (Err(not), _) => Err(not),
        (Ok(_), Ok(answer)) => enrol::join(context, answer, console),
        (Ok(_), Err(error)) => Err(enrol::NotEnrolled {
            why: failure::chain(&error),
            no_envoy_here: false,
            is_in: false,
        }),
    };
    match entered {
        Err(not) if not.is_in => {
            console.line(format_args!("  Fleet        that of {host}, as before"))?;
        }
        Ok(()) => {
            let envoys = enrol::card(context).ok().map(|card| card.envoys);
            let size = envoys.map_or_else(String::new, |envoys| {
                format!(", which has {}", show::count(u64::from(envoys), "envoy"))
            });
            console.line(format_args!("  Fleet        that of {host}{size}"))?;
        }
        Err(not) => {
            console.warning(format_args!(
                "this machine's envoy is not in the fleet of {host}: {}",
                not.why
            ));
            if not.no_envoy_here {
                console.hint("start one: vigo up");
            }
            console.hint(format_args!(
                "on {host}: vigo envoy ticket, and here: vigo join TICKET"
            ));
        }
    }
    Ok(())
}

fn open(
    context: &Context,
    arguments: &cli::PuddleJoin,
    public: &Public,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let can_ask = arguments.unlock.passphrase_file.is_some() || ask::is_terminal();
    if arguments.no_unlock || !can_ask {
        return console.line("  Locked       `vigo swarm puddle unlock` opens it");
    }
    unlock(context, &arguments.unlock, console).inspect_err(|_| {
        // Whatever goes wrong now, the puddle is here.
        console.warning(format_args!(
            "{} is on this machine, and locked",
            public.name
        ));
    })
}

/// Connects to the machine that shows the code.
fn reach(from: Option<&str>, console: &mut Console<'_>) -> Result<Guest, Failure> {
    if let Some(from) = from {
        let host = with_port(from);
        return Guest::connect(&host).map_err(|error| unpaired::guest(&error));
    }
    console.progress("looking for a machine on this network that shows a code");
    let found = find(FIND_WITHIN).map_err(|error| unpaired::nearby(&error))?;
    match found.as_slice() {
        [] => Err(unpaired::nobody()),
        [only] => {
            let host = only.addresses.first().map(SocketAddr::to_string);
            Guest::connect_any(&host.unwrap_or_default(), &only.addresses)
                .map_err(|error| unpaired::guest(&error))
        }
        several => Err(unpaired::several(several)),
    }
}

/// `HOST`, `HOST:PORT`, an address of either kind, or one with a port.
fn with_port(host: &str) -> String {
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return SocketAddr::new(address, PORT).to_string();
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port {
        return host.to_owned();
    }
    format!("{host}:{PORT}")
}

/// A passphrase must not be read as a code, of which wrong words are shown.
fn refuse_both_from_stdin(arguments: &cli::PuddleJoin) -> Result<(), Failure> {
    let files = [&arguments.code_file, &arguments.unlock.passphrase_file];
    let from_stdin = |file: &&Option<PathBuf>| file.as_deref().is_some_and(ask::is_stdin);
    if files.iter().all(from_stdin) {
        return Err(failure::stdin_twice());
    }
    Ok(())
}

/// What `unlock` needs is looked at before a code is used up.
fn refuse_what_unlock_would(arguments: &cli::PuddleJoin) -> Result<(), Failure> {
    Length::of(&arguments.unlock.unlocked)?;
    match &arguments.unlock.passphrase_file {
        // A pipe can be read only once.
        Some(file) if !ask::is_stdin(file) && (file.is_file() || !file.exists()) => {
            ask::passphrase_from(file).map(drop)
        }
        _ => Ok(()),
    }
}

fn refuse_without_code(arguments: &cli::PuddleJoin) -> Result<(), Failure> {
    if arguments.code_file.is_none() && !ask::is_terminal() {
        let flag = "--code-file FILE (- is stdin)";
        return Err(failure::no_terminal("the code", flag));
    }
    Ok(())
}

fn code(file: Option<&Path>, console: &mut Console<'_>) -> Result<Code, Failure> {
    let text = match file {
        Some(file) if ask::is_stdin(file) => read_code(&mut raw_stdin(file)?, file)?,
        Some(file) => {
            let fault = |error: io::Error| unpaired::code_file(file, &error.to_string());
            read_code(&mut File::open(file).map_err(fault)?, file)?
        }
        None => return typed_right(console),
    };
    text.parse().map_err(|reject| unpaired::code(&reject))
}

/// The code as it is typed. What is no code went nowhere yet, so it is asked for again, some times.
fn typed_right(console: &mut Console<'_>) -> Result<Code, Failure> {
    for _ in 1..TYPED_MAX {
        match typed(console)?.parse() {
            Ok(code) => return Ok(code),
            Err(reject) => console.failure(&unpaired::code(&reject)),
        }
    }
    let last = typed(console)?.parse();
    last.map_err(|reject| unpaired::code(&reject))
}

fn typed(console: &mut Console<'_>) -> Result<Zeroizing<String>, Failure> {
    console.prompt("Code: ");
    let mut line = Zeroizing::new(String::with_capacity(CODE_TEXT_MAX + 1));
    // The passphrase may be on the next line, for another reader: none may take more than its own.
    let terminal = raw_stdin(Path::new("-"))?;
    BufReader::with_capacity(1, terminal.take(CODE_TEXT_MAX as u64))
        .read_line(&mut line)
        .map_err(|error| failure::prompt(&error))?;
    Ok(line)
}

fn read_code(from: &mut impl Read, file: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(CODE_TEXT_MAX + 64));
    from.take(CODE_TEXT_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| unpaired::code_file(file, &error.to_string()))?;
    Ok(text)
}

/// Standard input without a buffer that would keep what was typed.
fn raw_stdin(file: &Path) -> Result<File, Failure> {
    git_remote_gitback::unbuffered(io::stdin())
        .map_err(|error| unpaired::code_file(file, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_has_the_usual_one() {
        for (typed, meant) in [
            ("mars", "mars:1532"),
            ("mars:7", "mars:7"),
            ("192.168.1.4", "192.168.1.4:1532"),
            ("192.168.1.4:7", "192.168.1.4:7"),
            ("fd00::1", "[fd00::1]:1532"),
            ("[fd00::1]:7", "[fd00::1]:7"),
            ("mars.example.org", "mars.example.org:1532"),
        ] {
            assert_eq!(with_port(typed), meant);
        }
    }
}

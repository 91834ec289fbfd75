//! `vigo swarm puddle pair`

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use gitback_helper::{EnvoyCard, Failure};
use gitback_pairing::{
    AllowError, Announcement, Asking, Code, Host, HostIntroduction, Installed, InstalledOutcome,
    LIFE_MAX, News, Terms, announce, listen, own_addresses,
};
use gitback_puddle::{Carried, Public, export, session};

use zeroize::Zeroizing;

use super::{duration, enrol, refusals, unpaired};
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{ask, authority, cli, failure, show};

/// Shows a code, and gives the puddle to the one machine that knows it and is allowed to have it.
pub(crate) fn pair(
    context: &Context,
    arguments: &cli::PuddlePair,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let public = context.puddle()?;
    let life = life(&arguments.duration)?;
    if !arguments.yes && !ask::is_terminal() {
        return Err(failure::no_terminal("a yes", "--yes").into());
    }
    // What cannot travel is found out before anybody types six words.
    let carried = carried(context)?;
    let card = enrol::card(context);
    let offer = offer(arguments, &card);
    let name = enrol::machine(card.as_ref().ok());
    let listener = listen(arguments.listen).map_err(|error| unpaired::listen(&error))?;
    session::close();
    let code = Code::generate().map_err(|error| unpaired::no_code(&error))?;
    let words = code.words();
    let about = HostIntroduction::new(&name, carried.public());
    let terms = Terms::default().life(life);
    let mut host =
        Host::open(listener, code, about, terms).map_err(|error| unpaired::host(&error))?;
    let _announced = announced(host.address(), console);
    let _code_file = match &arguments.code_to {
        Some(file) => Some(CodeFile::write(file, &words)?),
        None => {
            console.line("On the other machine run:  vigo swarm puddle join")?;
            console.line(format_args!(
                "and enter this code:       {}",
                words.as_str()
            ))?;
            None
        }
    };
    drop(words);
    say_where(host.address(), life, console)?;
    let enrols = offer.as_ref().map(|_| name.as_str());
    if enrols.is_some() && !arguments.yes {
        let founds = card.as_ref().is_ok_and(|card| card.fleet.is_none());
        let fleet = match founds {
            true => "founds a fleet with the other machine",
            false => "takes the other machine into the fleet",
        };
        console.hint(format_args!(
            "a yes also {fleet}: its envoy gets all that the fleet holds, and root there can read it; --no-enrol leaves it out"
        ));
    }
    console.finish()?;

    let (installed, guest, challenge) = loop {
        let mut asking = host
            .wait(&mut |news| tell(&news, console))
            .map_err(|ended| unpaired::ended(&ended))?;
        let guest = asking.introduction().name().to_owned();
        let allowed = match arguments.yes {
            true => Some(true),
            false => allows(&mut asking, &public, enrols, console)?,
        };
        match allowed {
            Some(true) => {}
            Some(false) => {
                asking.decline();
                return Err(unpaired::declined(&guest).into());
            }
            None => {
                drop(asking);
                tell_left(&guest, host.is_open(), console);
                continue;
            }
        }
        let carried = unchanged(context, &carried)?;
        let challenge = asking.challenge();
        match asking.allow(&carried, offer.as_deref()) {
            Ok(installed) => break (installed, guest, challenge),
            Err(AllowError::Left) => tell_left(&guest, host.is_open(), console),
            Err(error) => return Err(unpaired::unsure(&guest, &error).into()),
        }
    };
    if installed.outcome() != InstalledOutcome::Done {
        return Err(unpaired::not_installed(&guest, installed.outcome()).into());
    }
    console.line(format_args!(
        "Joined {guest}. {} is on that machine too now",
        public.name
    ))?;
    // What happens to the fleet is told on both sides, and undoes nothing.
    take_in(context, installed, &guest, &challenge, console)
}

fn take_in(
    context: &Context,
    installed: Installed,
    guest: &str,
    challenge: &gitback_pairing::Challenge,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let (answer, enrolled) = match installed.request() {
        Some(request) => {
            let (answer, enrolled) = enrol::answer(context, request, challenge, console);
            (Some(answer), Some(enrolled))
        }
        None => (None, None),
    };
    if let Err(error) = installed.answer(answer.as_deref()) {
        console.warning(format_args!(
            "{guest} could not be told the rest: {}",
            failure::chain(&error)
        ));
    }
    match enrolled {
        Some(Ok(())) => {
            let envoys = enrol::card(context).ok().map(|card| card.envoys);
            let size = envoys.map_or_else(String::new, |envoys| {
                format!(", which has {}", show::count(u64::from(envoys), "envoy"))
            });
            console.line(format_args!("Its envoy is in the fleet of this one{size}"))?;
        }
        Some(Err(not)) => {
            console.warning(format_args!(
                "the envoy of {guest} was not taken into the fleet: {}",
                not.why
            ));
            console.hint("do it by hand: vigo envoy ticket, and there: vigo join TICKET");
        }
        // By its name, which no other envoy of the fleet has.
        None if enrol::fleet(context).is_ok_and(|names| names.iter().any(|name| name == guest)) => {
            console.line("Its envoy is in the fleet of this one, as before")?;
        }
        None => {
            console.warning(format_args!(
                "the envoy of {guest} was not taken into a fleet"
            ));
            console.hint("once envoys run on both: vigo envoy ticket, and there: vigo join TICKET");
        }
    }
    authority::seal_to_host(context, console);
    Ok(())
}

/// What this machine says of its fleet, if it is wanted and may be.
fn offer(arguments: &cli::PuddlePair, card: &Result<EnvoyCard, Failure>) -> Option<Vec<u8>> {
    let card = card.as_ref().ok()?;
    (!arguments.no_enrol && card.may_enrol).then(|| enrol::offer(card))
}

fn carried(context: &Context) -> Result<Carried, Failure> {
    export(&context.layout.puddle_dir).map_err(|error| unpaired::export(&error))
}

/// The files as they are now: the passphrase may be another than a minute ago, but not the key.
fn unchanged(context: &Context, before: &Carried) -> Result<Carried, Failure> {
    let now = carried(context)?;
    if now.public() != before.public() {
        return Err(refusals::changed_meanwhile(&context.layout.puddle_dir));
    }
    Ok(now)
}

/// Asks the person, unless the guest leaves meanwhile, and says all that a yes does. `fleet_of` is the machine whose fleet the guest's envoy would be taken into.
fn allows(
    asking: &mut Asking<'_>,
    public: &Public,
    fleet_of: Option<&str>,
    console: &mut Console<'_>,
) -> Result<Option<bool>, Failure> {
    let about = asking.introduction();
    let fleet = fleet_of.map_or_else(String::new, |machine| {
        format!(", and its envoy the fleet of {machine}")
    });
    let question = format!(
        "{} ({}, {}) asks to join {}{fleet}. Allow? [y/N] ",
        about.name(),
        about.system(),
        asking.from(),
        public.name
    );
    // What was typed before the question is no answer to it.
    ask::forget_what_was_typed();
    ask::yes_unless(&question, asking, Asking::is_gone, console)
}

fn tell_left(guest: &str, is_open: bool, console: &mut Console<'_>) {
    let code = if is_open {
        "; the code still works"
    } else {
        ""
    };
    console.warning(format_args!("{guest} left before anything was sent{code}"));
}

fn tell(news: &News, console: &mut Console<'_>) {
    if let News::Wrong { from, left } = news {
        let left = match left {
            0 => {
                console.warning(format_args!("a third wrong code from {from}"));
                console.hint("nothing more is taken from there; if it was yours, end this and make another code");
                return;
            }
            1 => "1 try is left".to_owned(),
            more => format!("{more} tries are left"),
        };
        console.warning(format_args!("a wrong code from {from}; {left} for it"));
    }
}

/// Says on the network that this machine waits, unless nobody there could reach it.
fn announced(address: SocketAddr, console: &mut Console<'_>) -> Option<Announcement> {
    if address.ip().is_loopback() {
        return None;
    }
    announce(address.port())
        .inspect_err(|error| {
            console.warning(format_args!(
                "the other machine will not find this one by itself: {}",
                failure::chain(error)
            ));
        })
        .ok()
}

fn say_where(address: SocketAddr, life: Duration, console: &mut Console<'_>) -> Result<(), Stop> {
    let ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let now = show::now_ms();
    console.line(format_args!(
        "One machine, {}, until {}",
        show::span_exact(ms),
        show::clock(now.saturating_add(ms), now)
    ))?;
    for address in own_addresses(address) {
        console.line(format_args!(
            "From another network:      vigo swarm puddle join --from {address}"
        ))?;
    }
    Ok(())
}

/// A file with the code, which is gone when this is dropped: the code is dead by then.
struct CodeFile<'a>(&'a Path);

impl<'a> CodeFile<'a> {
    fn write(path: &'a Path, words: &str) -> Result<Self, Failure> {
        let fault = |error| unpaired::code_to(path, &error);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = opened.map_err(fault)?;
        // From here on it is ours to remove, also half-written.
        let written = Self(path);
        let metadata = file.metadata().map_err(fault)?;
        refuse_unless_private(metadata.mode()).map_err(fault)?;
        let text = Zeroizing::new(format!("{words}\n"));
        file.write_all(text.as_bytes()).map_err(fault)?;
        Ok(written)
    }
}

impl Drop for CodeFile<'_> {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(self.0);
    }
}

/// Some file systems give all files one mode.
fn refuse_unless_private(mode: u32) -> io::Result<()> {
    if mode & 0o077 != 0 {
        let why = "this file system would let others read it";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    Ok(())
}

fn life(text: &str) -> Result<Duration, Failure> {
    let life = duration(text)?;
    if life > LIFE_MAX {
        return Err(failure::duration(text, "a code holds for up to 10 minutes"));
    }
    Ok(life)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_in_a_file_only_while_it_is_of_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("code");
        let written = CodeFile::write(&path, "six words").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"six words\n");
        // One that is there is neither written nor removed.
        CodeFile::write(&path, "other words")
            .map(drop)
            .expect_err("there");
        assert_eq!(std::fs::read(&path).expect("there"), b"six words\n");
        drop(written);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        assert!(refuse_unless_private(0o100_600).is_ok());
        for mode in [0o100_755, 0o100_640, 0o100_604] {
            assert!(refuse_unless_private(mode).is_err(), "{mode:o}");
        }
    }
}

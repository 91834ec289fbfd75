//! `vigo swarm puddle leave`: the end of the user's puddle on this machine.

use std::collections::BTreeSet;
use std::path::PathBuf;

use gitback_helper::{Failure, LogEntry, ProjectStatus, Wish, exit_code};
use gitback_identity::EnvoyKey;
use gitback_puddle::{Public, RemoveError, WriteError, remove};
use gitback_signer::{May, home};

use super::end_session;
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::errand::Errand;
use crate::keys::Keys;
use crate::project::{PENDING_LEAVE, REFOUND_NOTE, Subject, log_page};
use crate::{ask, cli, envoy, failure, naming, record, show};

/// All that gitback keeps about a project in the user's home.
const KEPT: [&str; 4] = [home::TOKEN, PENDING_LEAVE, REFOUND_NOTE, record::FILE];

/// What the daemon knows that matters here.
#[derive(Debug, Default)]
struct Seen {
    /// This machine's envoy, and its name.
    here: Option<(EnvoyKey, String)>,
    /// Projects in which this envoy signs for the puddle.
    granted: Vec<ProjectStatus>,
    /// Projects of which a copy stays here.
    copies: Vec<String>,
    /// Other envoys that the key has granted something: it was there.
    elsewhere: BTreeSet<String>,
}

/// Takes back what was granted to this machine's envoy, and removes the puddle from the user's home.
pub(crate) fn leave(
    context: &Context,
    arguments: &cli::PuddleLeave,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let own = context.puddle()?;
    let daemon = match context.daemon() {
        Err(failure) if failure.code == exit_code::UNREACHABLE && arguments.without_envoy => None,
        daemon => Some(daemon.map_err(without_envoy)?),
    };
    let Some(daemon) = daemon else {
        console.warning("the daemon does not answer: its envoy keeps your grants until they end");
        before_removal(&own, &Seen::default(), arguments, console)?;
        return clear(context, &own, &Seen::default(), console);
    };
    let mut errand = Errand::with(context, daemon, console)?;
    let seen = look_around(&mut errand, &own)?;
    before_removal(&own, &seen, arguments, errand.console)?;
    take_back(&mut errand, &own, &seen, arguments)?;
    clear(context, &own, &seen, console)
}

fn look_around(errand: &mut Errand<'_, '_>, own: &Public) -> Result<Seen, Failure> {
    let here = envoy::ask(&mut errand.daemon, errand.console)?;
    let mut seen = Seen::default();
    for project in errand.projects()? {
        let (mut granted, mut skip) = (false, 0);
        let mut others = BTreeSet::new();
        loop {
            let (entries, more) = log_page(errand, &project.project_id, skip)?;
            skip += entries.len() as u64;
            for entry in entries.iter().filter(|entry| is_by(entry, own)) {
                match entry.envoy.as_deref() {
                    Some(key) if key == here.key => granted |= entry.kind.starts_with("grant."),
                    // Who leaves says so there, last of all.
                    Some(key) if entry.kind.starts_with("ungrant.") => {
                        others.remove(&called(key, &project));
                    }
                    Some(key) => {
                        others.insert(called(key, &project));
                    }
                    None => {}
                }
            }
            if !more || entries.is_empty() {
                break;
            }
        }
        seen.elsewhere.extend(others);
        seen.copies.push(naming::display(&project));
        if granted && project.role.is_some() {
            seen.granted.push(project);
        }
    }
    seen.here = here.key.parse().ok().map(|key| (key, here.name));
    Ok(seen)
}

fn is_by(entry: &LogEntry, own: &Public) -> bool {
    entry.puddle == own.key.to_string() && entry.verdict == "valid"
}

/// An envoy's name, or the beginning of its key.
fn called(key: &str, project: &ProjectStatus) -> String {
    let mut envoys = project.envoys.iter();
    let known = envoys.find(|envoy| envoy.key == key);
    known.map_or_else(|| naming::short(key), |envoy| show::plain(&envoy.name))
}

/// Says what will be gone, and asks.
fn before_removal(
    own: &Public,
    seen: &Seen,
    arguments: &cli::PuddleLeave,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if seen.elsewhere.is_empty() && !arguments.even_last {
        return Err(perhaps_last(own));
    }
    let elsewhere: Vec<&str> = seen.elsewhere.iter().map(String::as_str).collect();
    let warning = match elsewhere.as_slice() {
        [] => format!(
            "nothing shows that the key of {} is anywhere else; if it is not, and there are no recovery words, it is \
             lost for good",
            own.name
        ),
        names => format!(
            "this deletes the key of {} from this machine; it was used on {}",
            own.name,
            names.join(", ")
        ),
    };
    if arguments.yes {
        console.warning(warning);
        return Ok(());
    }
    match ask::typed(own.name.as_str(), &warning, console)? {
        true => Ok(()),
        false => Err(failure::not_confirmed("nothing was removed")),
    }
}

/// Signs that this envoy signs for the puddle no longer, everywhere; nothing is removed before all of that is in.
fn take_back(
    errand: &mut Errand<'_, '_>,
    own: &Public,
    seen: &Seen,
    arguments: &cli::PuddleLeave,
) -> Result<(), Stop> {
    let Some((here, name)) = &seen.here else {
        return Ok(());
    };
    let name = show::plain(name);
    let file = arguments.passphrase_file.as_deref();
    let mut keys = Keys::new(errand.context, own.clone(), file);
    for project in &seen.granted {
        let subject = Subject::of(project.clone())?;
        let what_for = format!("taking back the grant for {name} needs a signature");
        let signer = keys.signer(&own.key)?;
        let desk = errand.desk(&subject, what_for)?.with(signer);
        let wish = Wish::Ungrant {
            envoy: Some(here.to_string()),
        };
        let taken = desk.carry_out(errand, wish, &[May::Ungrant { envoy: *here }]);
        taken.map_err(|failure| not_taken_back(&failure, &subject))?;
        errand.console.line(format_args!(
            "{name} signs for you in {} no longer",
            subject.name
        ))?;
    }
    Ok(())
}

fn clear(
    context: &Context,
    own: &Public,
    seen: &Seen,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    end_session(context)?;
    let layout = &context.layout;
    let mut left = remove(&layout.puddle_dir).map_err(|error| not_removed(&error))?;
    left.extend(forget_projects(&layout.projects_dir));
    console.line(format_args!(
        "Removed puddle {} from this machine",
        own.name
    ))?;
    for path in &left {
        console.warning(format_args!("left alone: {}", path.display()));
    }
    if !seen.copies.is_empty() {
        console.warning(format_args!(
            "copies stay on this machine: {}",
            seen.copies.join(", ")
        ));
        console.hint(
            "to delete one: vigo swarm gitback purge PROJECT, as root or whoever runs the daemon",
        );
    }
    Ok(())
}

fn forget_projects(projects_dir: &std::path::Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for id in home::projects(projects_dir) {
        left.extend(home::forget(projects_dir, &id, &KEPT));
    }
    // It stays where something is in it.
    if std::fs::remove_dir(projects_dir).is_err() {
        let entries = std::fs::read_dir(projects_dir).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        left.extend(
            paths
                .filter(|path| !left.iter().any(|one| one.starts_with(path)))
                .collect::<Vec<_>>(),
        );
    }
    left
}

fn without_envoy(failure: Failure) -> Failure {
    if failure.code != exit_code::UNREACHABLE {
        return failure;
    }
    failure.hint("to leave all the same: vigo swarm puddle leave --without-envoy")
}

fn perhaps_last(own: &Public) -> Failure {
    let what = format!(
        "this may be the last machine that has the key of {}",
        own.name
    );
    Failure::new(exit_code::FAILED, what)
        .because("nothing here shows that it was ever used on another one")
        .hint("write it down first: vigo swarm puddle recovery")
        .hint("if it is safe, or you do not need it: --even-last")
}

fn not_taken_back(failure: &Failure, subject: &Subject) -> Failure {
    let what = format!("{}: {}", subject.name, failure.what);
    let because = failure
        .why
        .clone()
        .unwrap_or_else(|| "the envoy still signs for you there".to_owned());
    let hints = failure.hints.iter();
    hints
        .fold(
            Failure::new(failure.code, what).because(because),
            |failure, hint| failure.hint(hint.clone()),
        )
        .hint("nothing was removed; run this again")
}

fn not_removed(error: &RemoveError) -> Failure {
    let failure = Failure::new(exit_code::FAILED, "the puddle's files were not all removed")
        .because(failure::chain(error));
    match error {
        RemoveError::Lock(WriteError::Busy { .. }) => failure.hint("try again in a moment"),
        _ => failure.hint("run this again"),
    }
}

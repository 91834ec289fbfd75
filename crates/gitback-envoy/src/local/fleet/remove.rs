//! Taking envoys out of the fleet, for a local user.

use std::sync::Arc;

use gitback_fleet::{Enrolment, Roster, Seal};
use gitback_helper::{Failure, Reply, chain, exit_code};
use gitback_identity::EnvoyKey;

use super::{may_administer, no_fleet, only_the_authority};
use crate::daemon::Envoy;
use crate::fleet::{self, Part};

/// The shortest beginning of a key that names an envoy.
const PREFIX_LEAST: usize = 4;

pub(super) fn remove(envoy: &Arc<Envoy>, uid: u32, named: &str) -> Result<Reply, Failure> {
    let (roster, key) = to_remove(envoy, uid, named)?;
    let mut notes = take_out(envoy, &roster, &[key])?;
    let name = roster.enrolment(&key).map_or(named, Enrolment::name);
    let brought_in = roster.brought_in_by(&key);
    if !brought_in.is_empty() {
        notes.push(format!(
            "still of it are those that came in through {name}; to remove them as well:"
        ));
    }
    for one in brought_in {
        notes.push(format!("  vigo envoy remove {}", short_name(&roster, one)));
    }
    Ok(Reply::Accepted { notes, token: None })
}

/// Removes an envoy, whoever came in through it, whoever came in through these, and so on.
pub(super) fn remove_with_brought_in(
    envoy: &Arc<Envoy>,
    uid: u32,
    named: &str,
) -> Result<Reply, Failure> {
    let (roster, key) = to_remove(envoy, uid, named)?;
    let mut keys = vec![key];
    let brought_in = roster.brought_in_by(&key);
    keys.extend(brought_in.iter().map(|one| *one.envoy()));
    keys.retain(|key| key != envoy.public());
    let notes = take_out(envoy, &roster, &keys)?;
    Ok(Reply::Accepted { notes, token: None })
}

/// What names one envoy only: its name, or the beginning of its key.
fn short_name(roster: &Roster, one: &Enrolment) -> String {
    let namesakes = roster.enrolments().filter(|it| it.name() == one.name());
    if namesakes.count() == 1 {
        one.name().to_owned()
    } else {
        one.envoy().to_string().chars().take(16).collect()
    }
}

fn take_out(
    envoy: &Arc<Envoy>,
    roster: &Roster,
    keys: &[EnvoyKey],
) -> Result<Vec<String>, Failure> {
    let names = keys.iter().filter_map(|key| roster.enrolment(key));
    let names: Vec<&str> = names.map(Enrolment::name).collect();
    let tickets = envoy.fleet().remove(envoy, keys).map_err(|fault| {
        let what = format!("{} was not removed", names.join(", "));
        Failure::new(exit_code::FAILED, what).because(chain(&fault))
    })?;
    fleet::spread(envoy);
    let mut notes: Vec<String> = names
        .iter()
        .map(|name| {
            format!("{name} is of the fleet no longer; every envoy that is reached hears of it")
        })
        .collect();
    let is_sealed = roster.seals().any(Seal::is_in_force);
    for one in keys.iter().filter_map(|key| roster.enrolment(key)) {
        if one.role().is_authority() {
            notes.push(format!(
                "{} held the key of the fleet's authority: whoever has that machine can go on enrolling and removing; if it \
                 was stolen, found the fleet anew",
                one.name()
            ));
        } else if is_sealed {
            notes.push(format!(
                "if {} took the fleet over and nobody has heard of it, found the fleet anew",
                one.name()
            ));
        }
    }
    if tickets > 0 {
        let (what, them) = match tickets {
            1 => ("1 ticket has".to_owned(), "it"),
            count => (format!("{count} tickets have"), "them"),
        };
        notes.push(format!(
            "{what} ended: whoever was removed could come back by {them}; to make another one: vigo envoy ticket"
        ));
    }
    notes.push(format!(
        "what members have granted to {} stays: project ungrant ends that",
        names.join(", ")
    ));
    Ok(notes)
}

/// Whom the caller means to remove, and the roster in which that one is.
fn to_remove(
    envoy: &Arc<Envoy>,
    uid: u32,
    named: &str,
) -> Result<(Arc<Roster>, EnvoyKey), Failure> {
    may_administer(envoy, uid, "remove envoys")?;
    let roster = envoy.fleet().roster().ok_or_else(|| no_fleet(envoy))?;
    if envoy.fleet().part(envoy.public()) != Part::Authority {
        return Err(only_the_authority(envoy, "removes envoys"));
    }
    let by_name = || roster.enrolments().filter(|one| one.name() == named);
    let by_key = || {
        let is_meant = |one: &&Enrolment| one.envoy().to_string().starts_with(named);
        let enough = named.len() >= PREFIX_LEAST;
        roster
            .enrolments()
            .filter(move |one| enough && is_meant(one))
    };
    let mut found: Vec<&Enrolment> = by_name().collect();
    if found.is_empty() {
        found = by_key().collect();
    }
    let one = match found.as_slice() {
        [one] => *one,
        [] => return Err(unknown_envoy(envoy, &roster, named)),
        several => {
            let mut failure = Failure::new(
                exit_code::UNKNOWN,
                format!("{named} may be one of {} envoys", several.len()),
            );
            for one in several.iter().take(8) {
                let key: String = one.envoy().to_string().chars().take(16).collect();
                failure = failure.hint(format!("{}: vigo envoy remove {key}", one.name()));
            }
            return Err(failure);
        }
    };
    if one.envoy() == envoy.public() {
        let what = format!("{} cannot remove itself", envoy.name());
        return Err(Failure::new(exit_code::NOT_PERMITTED, what)
            .because("it holds the key of the fleet's authority")
            .hint("on the machine that is to do it from now on: vigo envoy authority take-over")
            .hint(format!("then, there: vigo envoy remove {}", envoy.name())));
    }
    let key = *one.envoy();
    Ok((roster, key))
}

fn unknown_envoy(envoy: &Envoy, roster: &Roster, named: &str) -> Failure {
    let what = format!(
        "no envoy {named} is enrolled in the fleet of {}",
        envoy.name()
    );
    let failure = Failure::new(exit_code::UNKNOWN, what);
    let gone = roster.removals().any(|one| {
        let by_key = one.envoy().to_string().starts_with(named);
        one.name() == named || (by_key && named.len() >= PREFIX_LEAST)
    });
    if gone {
        return failure.because("it was removed already");
    }
    if envoy.config().peers().iter().any(|peer| peer.name == named) {
        let file = envoy.layout().config_file.display().to_string();
        return failure
            .because(format!("it is a peer by configuration, in {file}"))
            .hint("take it out there, and start the daemon again");
    }
    failure.hint("see who is of the fleet: vigo envoy list")
}

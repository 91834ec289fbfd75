//! `vigo join`, `vigo envoy ticket`, `vigo envoy list`, `vigo envoy remove`.

use gitback_helper::{Failure, FleetEnvoy, FleetStatus, Reply, Request};
use serde::Serialize;

use crate::cli::{EnvoyRemove, EnvoyTicket, FleetJoin, Json};
use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::show::{self, Table};
use crate::{ask, authority, failure};

const DAY_MS: u64 = 24 * 3_600_000;

/// From how long before its end on an enrolment is warned about, in milliseconds.
const WARN_MS: u64 = 60 * DAY_MS;

/// What `vigo envoy ticket --json` prints.
#[derive(Serialize)]
struct TicketMade {
    ticket: String,
    expires_ms: u64,
}

/// Has the daemon of this machine join the fleet that gave out a ticket.
pub(crate) fn join(
    context: &Context,
    arguments: &FleetJoin,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let request = Request::JoinByTicket {
        ticket: arguments.ticket.clone(),
    };
    accepted(context, &request, console)
}

/// Makes a ticket.
pub(crate) fn ticket(
    context: &Context,
    arguments: &EnvoyTicket,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let request = Request::Ticket {
        valid_ms: length_ms(&arguments.duration)?,
    };
    let made = match context.daemon()?.call(&request, console)? {
        Reply::Ticket { ticket, expires_ms } => TicketMade { ticket, expires_ms },
        other => return Err(other.unexpected().into()),
    };
    if arguments.json.json {
        console.json(&made)?;
        authority::seal_to_founder(context, console);
        return Ok(());
    }
    console.line(show::plain(&made.ticket))?;
    let until = show::clock(made.expires_ms, show::now_ms());
    console.hint(format_args!(
        "on one other machine, until {until}: vigo join and this word"
    ));
    authority::seal_to_founder(context, console);
    Ok(())
}

/// Shows who is of the fleet.
pub(crate) fn list(context: &Context, json: Json, console: &mut Console<'_>) -> Result<(), Stop> {
    let status = ask(&mut context.daemon()?, console)?;
    if json.json {
        return console.json(&status);
    }
    match &status.fleet {
        None => {
            console.line("In no fleet")?;
            console.hint("to found one:  vigo envoy ticket");
            console.hint("to join one:   vigo join TICKET");
            if status.envoys.len() < 2 {
                return Ok(());
            }
        }
        Some(key) => console.line(format_args!(
            "Fleet {} with {}",
            show::plain(&key.chars().take(12).collect::<String>()),
            show::count(live(&status), "envoy"),
        ))?,
    }
    console.line("")?;
    console.line(table(&status).render())?;
    warn(&status, console);
    Ok(())
}

/// Takes an envoy out of the fleet.
pub(crate) fn remove(
    context: &Context,
    arguments: &EnvoyRemove,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    if !arguments.yes {
        let others = if arguments.with_brought_in {
            " and whoever came in through it"
        } else {
            ""
        };
        let question = format!(
            "Remove {}{others} from the fleet, for good? [y/N] ",
            show::plain(&arguments.envoy)
        );
        if !ask::yes(&question, console)? {
            return Err(failure::not_confirmed("nobody was removed").into());
        }
    }
    let request = Request::RemoveEnvoy {
        envoy: arguments.envoy.clone(),
        with_brought_in: arguments.with_brought_in,
    };
    accepted(context, &request, console)
}

/// What `vigo envoy status` says of the fleet, in one line, with what there is to warn of.
pub(crate) fn summary(
    daemon: &mut Daemon<'_>,
    console: &mut Console<'_>,
) -> Result<(String, FleetStatus), Failure> {
    let status = ask(daemon, console)?;
    let own = status.envoys.iter().find(|one| one.is_self);
    let standing = own.map_or("configured", |own| own.standing.as_str());
    let line = match (&status.fleet, standing) {
        (None, _) => "none".to_owned(),
        (Some(_), "removed") => "this envoy was removed from it".to_owned(),
        (Some(_), "expired") => "the enrolment of this envoy has ended".to_owned(),
        (Some(_), _) if status.is_authority => format!(
            "{}; this one enrols the others",
            show::count(live(&status), "envoy")
        ),
        (Some(_), _) => {
            let count = show::count(live(&status), "envoy");
            match enrolling(&status) {
                Some(one) => format!("{count}; {} enrols", show::plain(&one.name)),
                None => count,
            }
        }
    };
    Ok((line, status))
}

/// Says what will go wrong with the fleet unless somebody does something.
pub(crate) fn warn(status: &FleetStatus, console: &mut Console<'_>) {
    let authority = enrolling(status);
    let start = || match authority {
        Some(one) if one.is_self => {
            "see the daemon's log: it renews enrolments by itself".to_owned()
        }
        Some(one) => format!(
            "start {}, which renews them by itself; if it is lost: vigo envoy authority take-over",
            show::plain(&one.name)
        ),
        None => "start the machine that holds the key of the fleet's authority".to_owned(),
    };
    if let Some(own) = status.envoys.iter().find(|one| one.is_self) {
        match own.standing.as_str() {
            "removed" => {
                console.warning(format_args!(
                    "{} was removed from the fleet, and is no peer of its envoys",
                    show::plain(&own.name)
                ));
                console.hint("to join another fleet: vigo join TICKET");
                return;
            }
            "expired" => {
                console.warning(format_args!(
                    "the enrolment of {} has ended: others do not hear it",
                    show::plain(&own.name)
                ));
                console.hint(start());
                return;
            }
            _ => {}
        }
    }
    let soon: Vec<&FleetEnvoy> = status
        .envoys
        .iter()
        .filter(|one| one.standing == "enrolled" && ends_soon(one, status.now_ms))
        .collect();
    if let Some(first) = soon.iter().min_by_key(|one| one.expires_ms) {
        let left = first.expires_ms.unwrap_or(0);
        let left = left.saturating_sub(status.now_ms) / DAY_MS;
        console.warning(format_args!(
            "the enrolment of {} ends in {}, as nobody has renewed it",
            if soon.len() == 1 {
                show::plain(&first.name)
            } else {
                show::count(u64::try_from(soon.len()).unwrap_or(u64::MAX), "envoy")
            },
            show::count(left, "day")
        ));
        console.hint(start());
    }
}

/// Whether this envoy was removed from its fleet.
pub(crate) fn is_removed(status: &FleetStatus) -> bool {
    let own = status.envoys.iter().find(|one| one.is_self);
    own.is_some_and(|own| own.standing == "removed")
}

/// Which envoy enrols: of several that hold the key this one, or else one that answers.
fn enrolling(status: &FleetStatus) -> Option<&FleetEnvoy> {
    let holders = status.envoys.iter().filter(|one| one.is_authority);
    holders.min_by_key(|one| (!one.is_self, one.reason.is_some()))
}

fn ends_soon(one: &FleetEnvoy, now_ms: u64) -> bool {
    one.expires_ms
        .is_some_and(|at| at <= now_ms.saturating_add(WARN_MS))
}

fn live(status: &FleetStatus) -> u64 {
    let live = status
        .envoys
        .iter()
        .filter(|one| one.standing == "enrolled");
    u64::try_from(live.count()).unwrap_or(u64::MAX)
}

fn ask(daemon: &mut Daemon<'_>, console: &mut Console<'_>) -> Result<FleetStatus, Failure> {
    match daemon.call(&Request::Fleet, console)? {
        Reply::Fleet(status) => Ok(status),
        other => Err(other.unexpected()),
    }
}

fn accepted(context: &Context, request: &Request, console: &mut Console<'_>) -> Result<(), Stop> {
    match context.daemon()?.call(request, console)? {
        Reply::Accepted { notes, .. } => {
            for note in notes {
                console.line(show::plain(&note))?;
            }
            Ok(())
        }
        other => Err(other.unexpected().into()),
    }
}

fn table(status: &FleetStatus) -> Table {
    let mut table = Table::new(&["ENVOY", "KEY", "STANDING", "SEEN", "ADDRESS"]);
    for one in &status.envoys {
        let standing = match (one.standing.as_str(), one.removed_ms) {
            ("enrolled", _) if one.is_authority => "enrolled, enrols".to_owned(),
            ("removed", Some(at)) => format!("removed {}", show::date(at)),
            (other, _) => other.to_owned(),
        };
        let standing = match &one.through {
            Some(key) => format!("{standing} through {}", name_of(status, key)),
            None => standing,
        };
        let seen = seen(one, status.now_ms);
        table.row([
            one.name.clone(),
            one.key.chars().take(12).collect(),
            standing,
            seen,
            one.address.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

/// Whether it answers, and when it last did if not.
fn seen(one: &FleetEnvoy, now_ms: u64) -> String {
    if one.is_self {
        return "this one".to_owned();
    }
    match (one.state.as_deref(), one.last_seen_ms) {
        (Some("current"), _) => "online".to_owned(),
        (Some(state @ ("offline" | "refused")), Some(at)) => {
            format!("{state}, last seen {}", show::ago(at, now_ms))
        }
        (_, Some(at)) => show::ago(at, now_ms),
        (_, None) => "never".to_owned(),
    }
}

/// What the envoy with this key is or was called, or the beginning of the key.
fn name_of(status: &FleetStatus, key: &str) -> String {
    let known = status.envoys.iter().find(|one| one.key == key);
    known.map_or_else(|| key.chars().take(12).collect(), |one| one.name.clone())
}

/// The longest that a ticket can be good.
const TICKET_MAX_MS: u64 = 30 * DAY_MS;

fn length_ms(text: &str) -> Result<u64, Failure> {
    let ms = u64::try_from(ask::length(text)?.as_millis()).unwrap_or(u64::MAX);
    match ms {
        1..=TICKET_MAX_MS => Ok(ms),
        _ => Err(failure::duration(
            text,
            "a ticket is good for up to 30 days",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, expires_ms: u64) -> FleetEnvoy {
        FleetEnvoy {
            name: name.to_owned(),
            key: "00".repeat(32),
            standing: "enrolled".to_owned(),
            is_self: name == "mars",
            is_authority: name == "titan",
            address: None,
            enrolled_ms: Some(0),
            expires_ms: Some(expires_ms),
            removed_ms: None,
            through: None,
            state: None,
            last_seen_ms: None,
            reason: None,
        }
    }

    fn warned(envoys: Vec<FleetEnvoy>) -> String {
        let status = FleetStatus {
            fleet: Some("00".repeat(32)),
            is_authority: false,
            now_ms: 100 * DAY_MS,
            envoys,
        };
        let (mut answer, mut talk) = (Vec::new(), Vec::new());
        warn(&status, &mut Console::new(&mut answer, &mut talk));
        String::from_utf8(talk).expect("UTF-8")
    }

    #[test]
    fn warns_of_enrolments_that_end_in_60_days() {
        assert_eq!(warned(vec![one("mars", 161 * DAY_MS)]), "");
        let text = warned(vec![one("mars", 160 * DAY_MS), one("titan", 500 * DAY_MS)]);
        assert!(text.contains("mars ends in 60 days"), "{text}");
        assert!(text.contains("start titan"), "{text}");
        let mut removed = one("mars", 500 * DAY_MS);
        removed.standing = "removed".to_owned();
        assert!(warned(vec![removed]).contains("was removed"));
    }

    #[test]
    fn says_who_is_online_and_when_the_others_were() {
        let check = |state: Option<&str>, at: Option<u64>, expected: &str| {
            let mut envoy = one("venus", 0);
            (envoy.state, envoy.last_seen_ms) = (state.map(ToOwned::to_owned), at);
            assert_eq!(seen(&envoy, 10 * DAY_MS), expected);
        };
        check(Some("current"), Some(10 * DAY_MS), "online");
        check(
            Some("offline"),
            Some(6 * DAY_MS),
            "offline, last seen 4 d ago",
        );
        check(Some("never"), None, "never");
        check(None, None, "never");
        assert_eq!(seen(&one("mars", 0), 0), "this one");
    }

    #[test]
    fn tickets_are_good_for_up_to_30_days() {
        assert_eq!(length_ms("1h").ok(), Some(3_600_000));
        assert_eq!(length_ms("720h").ok(), Some(30 * DAY_MS));
        for bad in ["0s", "721h", "-1h", "soon"] {
            assert!(length_ms(bad).is_err(), "{bad}");
        }
    }
}

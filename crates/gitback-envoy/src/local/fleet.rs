//! What local users ask about the fleet.

mod authority;
mod enrol;
mod join;
mod remove;
mod status;

use std::sync::Arc;

use gitback_fleet::{CHALLENGE_LEN, EnrolRequest, Role};
use gitback_helper::{EnvoyCard, Failure, Reply, Request, chain, exit_code};
use gitback_identity::hex;

use self::enrol::enrol;
use self::join::{join_by_ticket, join_fleet};
use self::remove::{remove, remove_with_brought_in};
use self::status::status;
use super::admission::administers;
use super::failures::usage;
use crate::daemon::Envoy;
use crate::fleet::{EnrolFault, NewTicket, Part, TICKETS_MAX};
use crate::whereabouts::own_addresses;

/// The longest that a ticket can be good: 30 days.
const TICKET_VALID_MAX_MS: u64 = 30 * 24 * 3_600_000;

/// Answers the requests about the fleet. Nothing but these comes here.
pub(super) fn answer(
    envoy: &Arc<Envoy>,
    uid: u32,
    request: Request,
    progress: &mut dyn FnMut(String),
) -> Result<Reply, Failure> {
    match request {
        Request::EnrolRequest { challenge } => enrol_request(envoy, &challenge),
        Request::Enrol { request, challenge } => enrol(envoy, uid, &request, &challenge, progress),
        Request::JoinFleet { enrolment } => join_fleet(envoy, uid, &enrolment),
        Request::Ticket { valid_ms } => ticket(envoy, uid, valid_ms),
        Request::JoinByTicket { ticket } => join_by_ticket(envoy, uid, &ticket, progress),
        Request::Fleet => Ok(Reply::Fleet(status(envoy))),
        Request::Authority => Ok(Reply::Authority(authority::show(envoy, uid))),
        Request::SealAuthority { puddle, by_the_way } => {
            authority::seal(envoy, uid, &puddle, by_the_way)
        }
        Request::UnsealAuthority { puddle } => authority::unseal(envoy, uid, &puddle),
        Request::TakeOver { secret } => authority::take_over(envoy, uid, &secret),
        Request::RemoveEnvoy {
            envoy: named,
            with_brought_in: false,
        } => remove(envoy, uid, &named),
        Request::RemoveEnvoy {
            envoy: named,
            with_brought_in: true,
        } => remove_with_brought_in(envoy, uid, &named),
        _ => Ok(Reply::Card(card(envoy, uid))),
    }
}

fn card(envoy: &Envoy, uid: u32) -> EnvoyCard {
    let (me, roster) = (envoy.public(), envoy.fleet().roster());
    let part = envoy.fleet().part(me);
    let others = envoy.fleet().others(me).len();
    // In a fleet that has removed it, it is nobody.
    let roster = roster.filter(|_| part != Part::Removed);
    EnvoyCard {
        name: envoy.name().to_owned(),
        key: me.to_string(),
        addresses: own_addresses(envoy),
        fleet: roster.map(|roster| roster.authority().to_string()),
        is_authority: part == Part::Authority,
        envoys: u32::try_from(others + 1).unwrap_or(u32::MAX),
        may_enrol: may_enrol(envoy).is_ok(),
        may_join: may_join(envoy, uid).is_ok() && others == 0,
    }
}

/// Whether users of this envoy may have it enrol others.
fn may_enrol(envoy: &Envoy) -> Result<(), Failure> {
    match envoy.fleet().part(envoy.public()) {
        Part::None | Part::Authority => return Ok(()),
        Part::Removed => return Err(was_removed(envoy)),
        Part::Expired => {
            let what = format!("the enrolment of {} in its fleet has ended", envoy.name());
            return Err(Failure::new(exit_code::NOT_PERMITTED, what)
                .because("an envoy renews the enrolments of others while it holds its own")
                .hint(start_authority(envoy))
                .hint(authority::way_out(envoy)));
        }
        Part::Member => {}
    }
    let Some(authority) = envoy.authority() else {
        let what = format!("who enrols for the fleet of {} is not known", envoy.name());
        return Err(Failure::new(exit_code::FAILED, what)
            .hint("see who is of it: vigo envoy list")
            .hint("see who could enrol: vigo envoy authority"));
    };
    if authority.role() == Role::StrictAuthority {
        let name = authority.name();
        let what = format!("{} may not enrol others", envoy.name());
        return Err(Failure::new(exit_code::NOT_PERMITTED, what)
            .because(format!(
                "{name} enrols for its own users only (enrol_through)"
            ))
            .hint(format!("on {name}: vigo envoy ticket")));
    }
    Ok(())
}

/// Whether the caller may take this envoy into a fleet. Who does not administer it may do that with one that is still
/// nobody's: a fleet gets the projects of all who use the machine.
fn may_join(envoy: &Envoy, uid: u32) -> Result<(), Failure> {
    if administers(envoy, uid) {
        return Ok(());
    }
    let why = if envoy.fleet().roster().is_some() {
        "it is or was in one"
    } else if !envoy.config().peers().is_empty() {
        "its configuration lists peers"
    } else if !envoy.store().all().is_empty() {
        "it holds projects, which the fleet would get"
    } else {
        return Ok(());
    };
    let what = format!("user {uid} may not take {} into a fleet", envoy.name());
    Err(Failure::new(exit_code::NOT_PERMITTED, what)
        .because(why)
        .hint("root, or the user as whom the daemon runs, can"))
}

fn may_administer(envoy: &Envoy, uid: u32, what: &str) -> Result<(), Failure> {
    if administers(envoy, uid) {
        return Ok(());
    }
    let what = format!("user {uid} may not {what} on {}", envoy.name());
    Err(Failure::new(exit_code::NOT_PERMITTED, what)
        .hint("root, or the user as whom the daemon runs, can"))
}

fn start_authority(envoy: &Envoy) -> String {
    envoy.authority().map_or_else(
        || "start the machine that holds the key of the fleet's authority".to_owned(),
        |one| format!("start {}, which enrols for this fleet", one.name()),
    )
}

fn was_removed(envoy: &Envoy) -> Failure {
    let what = format!("{} was removed from its fleet", envoy.name());
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because("its key counts there no longer, for good")
        .hint("to join another fleet: vigo join TICKET")
        .hint(format!(
            "to come back: stop the daemon, move {} away, start it, and join as a new envoy",
            envoy.layout().identity_dir.join("envoy.key").display()
        ))
}

fn enrol_request(envoy: &Envoy, challenge: &str) -> Result<Reply, Failure> {
    let challenge = parse_challenge(challenge)?;
    Ok(Reply::EnrolRequest {
        request: hex::encode(own_request(envoy, &challenge)?.bytes()),
    })
}

fn own_request(envoy: &Envoy, challenge: &[u8; CHALLENGE_LEN]) -> Result<EnrolRequest, Failure> {
    let addresses = own_addresses(envoy);
    let request = EnrolRequest::sign(envoy.key(), envoy.name(), &addresses, challenge);
    request.map_err(|error| {
        Failure::new(exit_code::FAILED, "this envoy cannot ask to be enrolled")
            .because(chain(&error))
            .hint("see name and advertise in its envoy.toml")
    })
}

fn parse_challenge(text: &str) -> Result<[u8; CHALLENGE_LEN], Failure> {
    hex::decode_exact(text).ok_or_else(|| usage("a challenge is 64 lowercase hex digits"))
}

fn listed(first: &str, others: &[String]) -> String {
    let mut text = first.to_owned();
    for other in others.iter().take(8) {
        text.push_str(", ");
        text.push_str(other);
    }
    if others.len() > 8 {
        text.push_str(&format!(" and {} others", others.len() - 8));
    }
    text
}

fn no_fleet(envoy: &Envoy) -> Failure {
    Failure::new(
        exit_code::FAILED,
        format!("{} is in no fleet", envoy.name()),
    )
    .hint("to found one: vigo envoy ticket")
    .hint("to join one: vigo join TICKET")
}

fn found(envoy: &Envoy) -> Result<(), Failure> {
    envoy.fleet().found(envoy).map_err(|fault| {
        let what = format!("{} cannot found a fleet", envoy.name());
        Failure::new(exit_code::FAILED, what).because(chain(&fault))
    })
}

fn ticket(envoy: &Arc<Envoy>, uid: u32, valid_ms: u64) -> Result<Reply, Failure> {
    may_administer(envoy, uid, "give out tickets")?;
    if !(1..=TICKET_VALID_MAX_MS).contains(&valid_ms) {
        return Err(usage("a ticket is good for 1 ms to 30 days"));
    }
    if own_addresses(envoy).is_empty() {
        let what = format!("a ticket of {} would say nowhere to ask", envoy.name());
        return Err(Failure::new(exit_code::FAILED, what)
            .because("this machine has no address that others could reach")
            .hint("see listen and advertise in its envoy.toml"));
    }
    match envoy.fleet().part(envoy.public()) {
        Part::None => found(envoy)?,
        Part::Authority => {}
        Part::Removed => return Err(was_removed(envoy)),
        Part::Member | Part::Expired => return Err(only_the_authority(envoy, "gives out tickets")),
    }
    let given = envoy.fleet().ticket(envoy, valid_ms);
    let NewTicket { ticket, expires_ms } = given.map_err(|fault| {
        let failure = Failure::new(exit_code::FAILED, "no ticket was made").because(chain(&fault));
        match fault {
            EnrolFault::TooManyTickets => failure.hint(format!(
                "there are {TICKETS_MAX}; wait until some of them have ended"
            )),
            _ => failure,
        }
    })?;
    Ok(Reply::Ticket {
        ticket: ticket.to_string(),
        expires_ms,
    })
}

fn only_the_authority(envoy: &Envoy, does: &str) -> Failure {
    let failure = |what| Failure::new(exit_code::NOT_PERMITTED, what);
    match envoy.authority() {
        Some(one) => failure(format!("only {} {does} for this fleet", one.name()))
            .because("it holds the key of the fleet's authority")
            .hint(format!("run this on {}", one.name()))
            .hint(authority::way_out(envoy)),
        None => failure(format!("{} holds no authority's key", envoy.name()))
            .because("who holds it is not known here")
            .hint("see who could take the fleet over: vigo envoy authority"),
    }
}

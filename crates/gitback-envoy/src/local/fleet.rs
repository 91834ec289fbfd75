//! What local users ask about the fleet.

use std::sync::Arc;

use gitback_fleet::{
    CHALLENGE_LEN, ENROL_REQUEST_MAX, EnrolRequest, Enrolment, Petition, Role, Roster, Ticket,
    WELCOME_MAX, Welcome,
};
use gitback_helper::{
    EnvoyCard, Failure, FleetEnvoy, FleetStatus, Reply, Request, chain, exit_code,
};
use gitback_identity::{EnvoyKey, hex};
use gitback_peer::{CallError, PeerAddress};

use super::admission::administers;
use super::failures::usage;
use crate::clock;
use crate::daemon::Envoy;
use crate::fleet::{self, EnrolFault, JoinFault, NewTicket, Part, TICKETS_MAX, Word};
use crate::status;
use crate::whereabouts::own_addresses;

/// The shortest beginning of a key that names an envoy.
const PREFIX_LEAST: usize = 4;

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
        Request::Enrol { request, challenge } => enrol(envoy, &request, &challenge, progress),
        Request::JoinFleet { enrolment } => join_fleet(envoy, uid, &enrolment),
        Request::Ticket { valid_ms } => ticket(envoy, uid, valid_ms),
        Request::JoinByTicket { ticket } => join_by_ticket(envoy, uid, &ticket, progress),
        Request::Fleet => Ok(Reply::Fleet(status(envoy))),
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
                .hint(start_authority(envoy)));
        }
        Part::Member => {}
    }
    let Some(authority) = envoy.authority() else {
        let what = format!("who enrols for the fleet of {} is not known", envoy.name());
        return Err(Failure::new(exit_code::FAILED, what).hint("see who is of it: vigo envoy list"));
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

fn enrol(
    envoy: &Arc<Envoy>,
    request: &str,
    challenge: &str,
    progress: &mut dyn FnMut(String),
) -> Result<Reply, Failure> {
    let challenge = parse_challenge(challenge)?;
    let bytes = hex::decode(request, ENROL_REQUEST_MAX);
    let bytes = bytes.ok_or_else(|| usage("a request is sent as lowercase hex"))?;
    let request = EnrolRequest::decode(&bytes).map_err(|error| {
        Failure::new(exit_code::FAILED, "the new envoy's request is refused")
            .because(chain(&error))
            .hint("use the same version of vigo on both machines")
    })?;
    if *request.challenge() != challenge {
        let what = "the new envoy's request is refused";
        return Err(Failure::new(exit_code::FAILED, what)
            .because("it does not answer the challenge: it is of another attempt")
            .hint("begin again"));
    }
    may_enrol(envoy)?;
    let mut notes = Vec::new();
    if envoy.fleet().part(envoy.public()) == Part::None {
        found(envoy)?;
        notes.push(format!(
            "{} has founded a fleet; the key of its authority is {}",
            envoy.name(),
            envoy.layout().identity_dir.join("authority.key").display()
        ));
    }
    let mut welcome = if envoy.fleet().part(envoy.public()) == Part::Authority {
        let enrolled = envoy.fleet().enrol(envoy, &request, Word::User);
        enrolled.map_err(|fault| not_enrolled(envoy, request.name(), &fault))?;
        envoy
            .fleet()
            .welcome(envoy)
            .ok_or_else(|| no_fleet(envoy))?
    } else {
        forward(envoy, &request, challenge, progress)?
    };
    fleet::spread(envoy);
    let own = envoy.fleet().welcome(envoy).map(|own| own.places);
    for place in own.into_iter().flatten().take(1) {
        welcome.places.retain(|known| known.envoy != place.envoy);
        welcome.places.insert(0, place);
    }
    let names: Vec<String> = envoy
        .fleet()
        .others(envoy.public())
        .iter()
        .filter(|one| one.envoy() != request.envoy())
        .map(|one| one.name().to_owned())
        .collect();
    notes.push(format!(
        "{} is enrolled, with {}",
        request.name(),
        listed(envoy.name(), &names)
    ));
    Ok(Reply::Enrolled {
        enrolment: hex::encode(&welcome.encode()),
        notes,
    })
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

/// Has the authority's envoy enrol another one.
fn forward(
    envoy: &Arc<Envoy>,
    request: &EnrolRequest,
    challenge: [u8; CHALLENGE_LEN],
    progress: &mut dyn FnMut(String),
) -> Result<Welcome, Failure> {
    let away = |name: &str, why: String| {
        let what = format!("{name}, which enrols for this fleet, does not answer");
        Failure::new(exit_code::FAILED, what)
            .because(why)
            .hint(format!("start {name}, then try again"))
            .hint("the fleet goes on without it; only enrolling, renewing and removing wait")
    };
    let authority = envoy.authority().ok_or_else(|| no_fleet(envoy))?;
    let Some(neighbour) = envoy.neighbour(authority.envoy()) else {
        return Err(away(
            authority.name(),
            "it is no peer of this envoy".to_owned(),
        ));
    };
    let name = neighbour.name().to_owned();
    progress(format!("asking {name}, which enrols for this fleet"));
    let petition = Petition {
        request: request.clone(),
        challenge,
        secret: None,
    };
    let welcome = match fleet::petition(envoy, &neighbour.address(), &petition) {
        Ok(welcome) => welcome,
        Err(CallError::Refused(refusal)) => {
            neighbour.note_answer();
            let what = format!("{name} does not enrol {}", request.name());
            let mut failure = Failure::new(refused_code(&refusal.code), what);
            for hint in refused_hints(&refusal.code, &name, request) {
                failure = failure.hint(hint);
            }
            return Err(failure.because(refusal.reason));
        }
        Err(error) => {
            neighbour.note_failure(&error);
            return Err(away(&name, neighbour.away_line(None)));
        }
    };
    neighbour.note_answer();
    // Before it is a peer, so that it is one of which it is known where it is.
    let place = gitback_fleet::Place {
        envoy: *request.envoy(),
        addresses: request.addresses().to_vec(),
    };
    envoy.fleet().note_place(envoy, place);
    let merged = envoy.fleet().merge(envoy, &welcome.roster);
    merged.map_err(|error| {
        Failure::new(
            exit_code::FAILED,
            "the answer of the authority is of no use",
        )
        .because(chain(&error))
    })?;
    Ok(welcome)
}

fn refused_code(code: &str) -> u8 {
    match code {
        "removed"
        | "enrol-through-authority"
        | "enrol-limit"
        | "ticket-used"
        | "ticket-ended"
        | "ticket-unknown"
        | "not-of-the-fleet" => exit_code::NOT_PERMITTED,
        _ => exit_code::FAILED,
    }
}

fn refused_hints(code: &str, by: &str, request: &EnrolRequest) -> Vec<String> {
    match code {
        "name-taken" => name_taken(request.name()),
        "ticket-used" | "ticket-ended" | "ticket-unknown" => vec![format!(
            "a ticket works once, until it ends; make another on {by}: vigo envoy ticket"
        )],
        "enrol-through-authority" | "enrol-limit" => vec![format!("on {by}: vigo envoy ticket")],
        "removed" => vec![
            "a removed envoy comes back with a new key only: move its envoy.key away".to_owned(),
        ],
        _ => Vec::new(),
    }
}

fn name_taken(name: &str) -> Vec<String> {
    vec![
        "give the new envoy another name in its envoy.toml, and start it again".to_owned(),
        format!("or, if the other one is gone for good: vigo envoy remove {name}"),
    ]
}

fn not_enrolled(envoy: &Envoy, name: &str, fault: &EnrolFault) -> Failure {
    let what = format!("{} does not enrol {name}", envoy.name());
    let code = match fault {
        EnrolFault::Removed | EnrolFault::NotTheAuthority => exit_code::NOT_PERMITTED,
        _ => exit_code::FAILED,
    };
    let mut failure = Failure::new(code, what).because(chain(fault));
    let hints = match fault {
        EnrolFault::NameTaken { .. } => name_taken(name),
        EnrolFault::Removed => vec![
            "a removed envoy comes back with a new key only: move its envoy.key away".to_owned(),
        ],
        _ => Vec::new(),
    };
    for hint in hints {
        failure = failure.hint(hint);
    }
    failure
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

fn join_fleet(envoy: &Arc<Envoy>, uid: u32, enrolment: &str) -> Result<Reply, Failure> {
    may_join(envoy, uid)?;
    let bytes = hex::decode(enrolment, WELCOME_MAX);
    let bytes = bytes.ok_or_else(|| usage("an enrolment is sent as lowercase hex"))?;
    let welcome = Welcome::decode(&bytes).map_err(|error| {
        Failure::new(exit_code::FAILED, "the enrolment is refused")
            .because(chain(&error))
            .hint("use the same version of vigo on both machines")
    })?;
    join(envoy, &welcome)
}

fn join(envoy: &Arc<Envoy>, welcome: &Welcome) -> Result<Reply, Failure> {
    let joined = envoy.fleet().join(envoy, welcome);
    joined.map_err(|fault| not_joined(envoy, &fault))?;
    fleet::spread(envoy);
    let names: Vec<String> = envoy
        .fleet()
        .others(envoy.public())
        .iter()
        .map(|one| one.name().to_owned())
        .collect();
    let note = match names.split_first() {
        Some((first, rest)) => {
            format!(
                "{} is in a fleet with {}",
                envoy.name(),
                listed(first, rest)
            )
        }
        None => format!("{} is in a fleet of its own", envoy.name()),
    };
    Ok(Reply::Accepted {
        notes: vec![note],
        token: None,
    })
}

fn not_joined(envoy: &Envoy, fault: &JoinFault) -> Failure {
    let name = envoy.name();
    let failure = |code| {
        let what = format!("{name} cannot join that fleet");
        Failure::new(code, what).because(chain(fault))
    };
    match fault {
        JoinFault::OtherFleet { .. } => {
            let by = envoy.authority().map_or_else(
                || "the machine that enrols for the old fleet".to_owned(),
                |one| format!("{}, which enrols for the old fleet", one.name()),
            );
            failure(exit_code::NOT_PERMITTED)
                .hint(format!("first, on {by}: vigo envoy remove {name}"))
                .hint(format!(
                    "if that machine is gone: stop the daemon on {name}, move {} away, start it",
                    envoy.fleet().file().display()
                ))
        }
        JoinFault::Removed => failure(exit_code::NOT_PERMITTED).hint(format!(
            "to join as a new envoy: stop the daemon, move {} away, start it",
            envoy.layout().identity_dir.join("envoy.key").display()
        )),
        _ => failure(exit_code::FAILED),
    }
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
            .hint(format!("run this on {}", one.name())),
        None => failure(format!("{} holds no authority's key", envoy.name()))
            .because("who holds it is not known here")
            .hint("see who is of the fleet: vigo envoy list"),
    }
}

/// A ticket of another fleet is not used up where it is of no use.
fn may_leave_for(envoy: &Envoy, ticket: &Ticket) -> Result<(), Failure> {
    let others = envoy.fleet().others(envoy.public());
    let is_ours = others.iter().any(|one| one.envoy() == ticket.envoy());
    if is_ours || others.is_empty() {
        return Ok(());
    }
    let others: Vec<_> = others.iter().map(Enrolment::name).collect();
    let others = others.join(", ");
    Err(not_joined(envoy, &JoinFault::OtherFleet { others }))
}

fn join_by_ticket(
    envoy: &Arc<Envoy>,
    uid: u32,
    text: &str,
    progress: &mut dyn FnMut(String),
) -> Result<Reply, Failure> {
    may_join(envoy, uid)?;
    let ticket: Ticket = text.trim().parse().map_err(|error| {
        Failure::new(exit_code::USAGE, "that is not a ticket")
            .because(chain(&error))
            .hint("copy all of it: one word that begins with vigo1")
    })?;
    if ticket.envoy() == envoy.public() {
        return Err(Failure::new(
            exit_code::USAGE,
            format!("the ticket is of {} itself", envoy.name()),
        )
        .hint("use it on the machine that is to join"));
    }
    may_leave_for(envoy, &ticket)?;
    let challenge = Ticket::challenge(ticket.secret());
    let petition = Petition {
        request: own_request(envoy, &challenge)?,
        challenge,
        secret: Some(*ticket.secret()),
    };
    let mut reasons = Vec::new();
    for address in ticket.addresses() {
        progress(format!("asking the envoy at {address}"));
        let to = PeerAddress {
            key: *ticket.envoy(),
            address: address.clone(),
        };
        match fleet::petition(envoy, &to, &petition) {
            Ok(welcome) => return join(envoy, &welcome),
            Err(CallError::Refused(refusal)) => {
                let what = "the ticket was not accepted";
                let mut failure = Failure::new(refused_code(&refusal.code), what);
                let by = "the machine that made it";
                for hint in refused_hints(&refusal.code, by, &petition.request) {
                    failure = failure.hint(hint);
                }
                return Err(failure.because(refusal.reason));
            }
            Err(error) => reasons.push(format!("{address}: {}", error.reason())),
        }
    }
    if reasons.is_empty() {
        reasons.push("it names no address".to_owned());
    }
    let what = "the envoy that made the ticket cannot be reached";
    Err(Failure::new(exit_code::FAILED, what)
        .because(reasons.join("; "))
        .hint("see that it runs, and that its port is open from here")
        .hint("if it has other addresses: advertise in its envoy.toml, then a new ticket"))
}

fn remove(envoy: &Arc<Envoy>, uid: u32, named: &str) -> Result<Reply, Failure> {
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
fn remove_with_brought_in(envoy: &Arc<Envoy>, uid: u32, named: &str) -> Result<Reply, Failure> {
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
    envoy.fleet().remove(envoy, keys).map_err(|fault| {
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
            .because("it holds the key of the fleet's authority"));
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

fn status(envoy: &Envoy) -> FleetStatus {
    let (me, now_ms) = (envoy.public(), clock::now_ms());
    let part = envoy.fleet().part(me);
    let roster = envoy.fleet().roster();
    let mut rows: Vec<FleetEnvoy> = Vec::new();
    if let Some(roster) = &roster {
        rows.extend(roster.enrolments().map(|one| enrolled(envoy, one, now_ms)));
        rows.extend(roster.removals().map(|one| FleetEnvoy {
            name: one.name().to_owned(),
            standing: "removed".to_owned(),
            removed_ms: Some(one.time_ms()),
            ..row(envoy, one.envoy())
        }));
    }
    let has = |rows: &[FleetEnvoy], key: &EnvoyKey| {
        let key = key.to_string();
        rows.iter().any(|row| row.key == key)
    };
    for peer in envoy.config().peers() {
        if !has(&rows, &peer.key) {
            rows.push(FleetEnvoy {
                name: peer.name.clone(),
                standing: "configured".to_owned(),
                ..row(envoy, &peer.key)
            });
        }
    }
    if !has(&rows, me) {
        rows.push(FleetEnvoy {
            standing: "configured".to_owned(),
            ..row(envoy, me)
        });
    }
    let is_removed = |row: &FleetEnvoy| row.removed_ms.is_some();
    rows.sort_by(|one, other| {
        let order = |row: &FleetEnvoy| {
            let (name, key) = (row.name.clone(), row.key.clone());
            (!row.is_self, is_removed(row), name, key)
        };
        order(one).cmp(&order(other))
    });
    FleetStatus {
        fleet: roster.map(|roster| roster.authority().to_string()),
        is_authority: part == Part::Authority,
        now_ms,
        envoys: rows,
    }
}

fn enrolled(envoy: &Envoy, one: &Enrolment, now_ms: u64) -> FleetEnvoy {
    let is_live = one.is_in_force(now_ms);
    FleetEnvoy {
        name: one.name().to_owned(),
        standing: if is_live { "enrolled" } else { "expired" }.to_owned(),
        is_authority: one.role().is_authority(),
        enrolled_ms: Some(one.number()),
        expires_ms: Some(one.expires_ms()),
        through: one.through().map(ToString::to_string),
        ..row(envoy, one.envoy())
    }
}

/// What is known of any envoy.
fn row(envoy: &Envoy, key: &EnvoyKey) -> FleetEnvoy {
    let is_self = key == envoy.public();
    let neighbour = envoy.neighbour(key);
    let address = match &neighbour {
        Some(neighbour) => Some(neighbour.address().address).filter(|text| !text.is_empty()),
        None if is_self => own_addresses(envoy).into_iter().next(),
        None => None,
    };
    let (state, last_seen_ms, reason) = neighbour.map_or((None, None, None), |neighbour| {
        let seen = neighbour.seen();
        let reason = seen.away.as_ref().map(|away| away.reason.clone());
        let (state, _, _) = status::reach(&seen, envoy.started_ms());
        (Some(state.to_owned()), seen.last_seen_ms, reason)
    });
    FleetEnvoy {
        name: envoy.name_of(key),
        key: key.to_string(),
        standing: String::new(),
        is_self,
        is_authority: false,
        address,
        enrolled_ms: None,
        expires_ms: None,
        removed_ms: None,
        through: None,
        state,
        last_seen_ms,
        reason,
    }
}

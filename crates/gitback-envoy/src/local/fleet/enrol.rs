//! Having the fleet take in another envoy, for a local user.

use std::sync::Arc;

use gitback_fleet::{CHALLENGE_LEN, ENROL_REQUEST_MAX, EnrolRequest, Petition, Welcome};
use gitback_helper::{Failure, Reply, chain, exit_code};
use gitback_identity::hex;
use gitback_peer::CallError;

use super::authority::way_out;
use super::{found, listed, may_enrol, no_fleet, parse_challenge};
use crate::daemon::Envoy;
use crate::fleet::{self, EnrolFault, Part, Word};
use crate::local::admission::administers;
use crate::local::failures::usage;

pub(super) fn enrol(
    envoy: &Arc<Envoy>,
    uid: u32,
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
    // The new envoy gets the seals when it first compares rosters; a user who does not administer this one never does.
    if !administers(envoy, uid) {
        welcome.roster = welcome.roster.without_seals();
    }
    Ok(Reply::Enrolled {
        enrolment: hex::encode(&welcome.encode()),
        notes,
    })
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
            .hint(way_out(envoy))
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

pub(super) fn refused_code(code: &str) -> u8 {
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

pub(super) fn refused_hints(code: &str, by: &str, request: &EnrolRequest) -> Vec<String> {
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

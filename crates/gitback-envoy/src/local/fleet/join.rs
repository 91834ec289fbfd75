//! Taking this envoy into a fleet, for a local user.

use std::sync::Arc;

use gitback_fleet::{Enrolment, Petition, Ticket, WELCOME_MAX, Welcome};
use gitback_helper::{Failure, Reply, chain, exit_code};
use gitback_identity::hex;
use gitback_peer::{CallError, PeerAddress};

use super::enrol::{refused_code, refused_hints};
use super::{listed, may_join, own_request};
use crate::daemon::Envoy;
use crate::fleet::{self, JoinFault, Part};
use crate::local::failures::usage;

pub(super) fn join_fleet(envoy: &Arc<Envoy>, uid: u32, enrolment: &str) -> Result<Reply, Failure> {
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
            // It cannot remove itself.
            let first = match envoy.fleet().part(envoy.public()) {
                Part::Authority => format!(
                    "first, on another machine of the old fleet: vigo envoy authority take-over, and vigo envoy remove {name}"
                ),
                _ => format!("first, on {by}: vigo envoy remove {name}"),
            };
            failure(exit_code::NOT_PERMITTED).hint(first).hint(format!(
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

pub(super) fn join_by_ticket(
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

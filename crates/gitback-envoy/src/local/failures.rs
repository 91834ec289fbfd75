//! What local users are told when something cannot be done.

use gitback_envelope::{Envelope, Reject, Verified};
use gitback_helper::{Failure, exit_code};
use gitback_identity::similar::{SLIPS_MAX, slips};
use gitback_identity::{ProjectId, PuddleKey, hex};

use super::admission::{administers, may_see};
use crate::access::Denial;
use crate::daemon::{Envoy, chain};
use crate::fault::Fault;

pub(super) fn unknown_project(
    envoy: &Envoy,
    uid: u32,
    id: &ProjectId,
    handle: Option<&str>,
) -> Failure {
    let name = handle.map_or_else(|| id.to_string(), ToOwned::to_owned);
    if let Some(reason) = envoy.store().why_unopened(id) {
        let what = format!("project {name} is on {} and cannot be opened", envoy.name());
        return Failure::new(exit_code::FAILED, what)
            .because(reason)
            .hint("mend that and start the daemon again");
    }
    if let Some(note) = envoy.store().given_up(id)
        && (administers(envoy, uid) || note.uids.contains(&uid))
    {
        return purged(envoy, id);
    }
    let what = format!("no project {name} is known on {}", envoy.name());
    let mut failure = Failure::new(exit_code::UNKNOWN, what);
    if let Some(near) = handle.and_then(|handle| nearest(envoy, uid, handle)) {
        failure = failure.hint(format!("did you mean {near}?"));
    }
    failure
        .hint("what is here: vigo swarm gitback project list")
        .hint("to start it:  vigo swarm gitback project init")
}

/// That the copy was given up here.
fn purged(envoy: &Envoy, id: &ProjectId) -> Failure {
    let what = format!("project {} was purged on {}", id.short(), envoy.name());
    Failure::new(exit_code::UNKNOWN, what)
        .because("somebody had this envoy give its copy up, and it stays away")
        .hint(format!(
            "to have it here again: vigo swarm gitback purge {id} --undo"
        ))
}

/// The handle of a project here that is one or two slips away.
pub(super) fn nearest(envoy: &Envoy, uid: u32, handle: &str) -> Option<String> {
    let handles = envoy
        .store()
        .all()
        .into_iter()
        .filter(|cell| may_see(envoy, uid, cell))
        .filter_map(|cell| cell.lock().fold().handle().map(ToString::to_string));
    let near = handles
        .filter_map(|known| Some((slips(handle, &known)?, known)))
        .filter(|(slips, _)| (1..=SLIPS_MAX).contains(slips));
    near.min().map(|(_, known)| known)
}

pub(super) fn not_allowed(envoy: &Envoy, uid: u32) -> Failure {
    let what = format!("user {uid} may not use gitback on {}", envoy.name());
    let why = format!(
        "allow_uids in {} does not list {uid}",
        envoy.layout().config_file.display()
    );
    let hint = format!(
        "who administers {} can add it and start the daemon again",
        envoy.name()
    );
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because(why)
        .hint(hint)
}

/// What the rules of the project forbid.
pub(super) fn denied(denial: &Denial) -> Failure {
    let failure = Failure::new(exit_code::NOT_PERMITTED, &denial.what).because(denial.proof());
    match denial.code {
        "left" => failure.hint("to ask back in: vigo swarm gitback project rejoin"),
        "retired-key" => failure.hint("unlock the new key: vigo swarm puddle unlock"),
        "not-granted" => failure
            .hint("bring your puddle to this machine: vigo swarm puddle join")
            .hint("or make one: vigo swarm puddle init"),
        "expired-grant" | "ungranted" => {
            failure.hint("to sign a new one: vigo swarm puddle unlock, then try again")
        }
        "revoked" | "not-member" => failure.hint("ask the founder for an invitation"),
        "reader" => failure.hint("to push, ask the founder for an invitation as member"),
        _ => failure,
    }
}

/// An envelope that the fold, or its form, refuses.
pub(super) fn refused(reject: &Reject, id: Option<&gitback_envelope::EnvelopeId>) -> Failure {
    let envelope = id.map_or_else(String::new, |id| format!(", envelope {id}"));
    let why = format!("{}{envelope}: {reject}", reject.code());
    Failure::new(exit_code::FAILED, "the envelope was refused").because(why)
}

pub(super) fn ours(fault: &Fault) -> Failure {
    match fault {
        Fault::GivenUp { project } => {
            let hint = format!("to have it here again: vigo swarm gitback purge {project} --undo");
            return failed(fault.to_string()).hint(hint);
        }
        Fault::Leaving { .. } => {
            return failed(fault.to_string()).hint("try again in a moment");
        }
        _ => {}
    }
    tracing::error!(error = %chain(fault), "a local request failed");
    Failure::new(exit_code::FAILED, "this envoy could not store it")
        .because(chain(fault))
        .hint("see the daemon's log")
}

pub(super) fn failed(what: impl Into<String>) -> Failure {
    Failure::new(exit_code::FAILED, what)
}

/// A request that no program of ours sends.
pub(super) fn usage(what: &str) -> Failure {
    Failure::new(exit_code::USAGE, what)
}

pub(super) fn room(envoy: &Envoy) -> Result<(), Failure> {
    envoy.room().map_err(|reason| {
        let what = format!("{} takes nothing more", envoy.name());
        Failure::new(exit_code::DISK, what)
            .because(reason)
            .hint("free some space there")
    })
}

pub(super) fn verified(envelope: &str) -> Result<Verified, Failure> {
    let bytes = hex::decode(envelope, gitback_envelope::ENVELOPE_MAX)
        .ok_or_else(|| failed("an envelope is sent as lowercase hex"))?;
    let envelope = Envelope::decode(&bytes).and_then(Envelope::verify);
    envelope.map_err(|reject| refused(&reject, None))
}

pub(super) fn parse_id(text: &str) -> Result<ProjectId, Failure> {
    let parsed = text.parse();
    parsed.map_err(|_| usage("a project id is 64 lowercase hex digits"))
}

pub(super) fn parse_puddle(text: &str) -> Result<PuddleKey, Failure> {
    let parsed = text.parse();
    parsed.map_err(|_| usage("a puddle key is 64 lowercase hex digits"))
}

//! Bringing a project in that is not here.

use std::sync::Arc;
use std::time::Duration;

use gitback_envelope::{Act, TOKEN_ENVELOPES_MAX, Token, Verified};
use gitback_helper::{Failure, Reply, exit_code};
use gitback_identity::ProjectId;
use gitback_peer::{CallError, RefusalKind};

use super::failures::{failed, nearest, ours, room, verified};
use super::submit::{check_grant, token as token_of};
use crate::access;
use crate::catch_up::{CatchUpError, catch_up_wholly};
use crate::cell::{Admitted, Cell, State};
use crate::clock;
use crate::daemon::{Envoy, chain};
use crate::fanout::spread;
use crate::service::UNKNOWN_PROJECT;

/// Brings a project in, from the first envoy of the fleet that holds it and takes the proof.
pub(super) fn bootstrap(
    envoy: &Arc<Envoy>,
    uid: u32,
    id: &ProjectId,
    token: &[String],
    progress: &mut dyn FnMut(String),
) -> Result<Reply, Failure> {
    if token.len() > TOKEN_ENVELOPES_MAX {
        let what = format!("a token has at most {TOKEN_ENVELOPES_MAX} envelopes");
        return Err(failed(what));
    }
    let token: Vec<Verified> = token
        .iter()
        .map(|envelope| verified(envelope))
        .collect::<Result<_, _>>()?;
    let name = check_token(envoy, uid, id, &token)?;
    room(envoy)?;
    // Whoever proves a part in a project that was purged here has it here again.
    let cell = envoy.store().bring_back(id).map_err(|fault| ours(&fault))?;
    let brought = bring(envoy, &cell, &token, progress);
    let founded = { cell.lock().fold().founder().is_some() };
    if !founded {
        envoy.store().discard_if_unfounded(cell);
        return Err(nobody_has_it(envoy, uid, &name, &brought));
    }
    let (new, proof) = take_proof(envoy, uid, &cell, token)?;
    spread(envoy, &cell, &new, &[], Duration::ZERO);
    if !cell.lock().has_all() {
        return Err(failed(format!("{name} could not be brought in whole"))
            .because(reasons(&brought))
            .hint("it goes on in the background; try again later"));
    }
    Ok(Reply::Accepted {
        notes: Vec::new(),
        token: proof,
    })
}

/// Checks, with nothing else known, that the token is worth asking others with. Returns what to call the project.
fn check_token(
    envoy: &Envoy,
    uid: u32,
    id: &ProjectId,
    envelopes: &[Verified],
) -> Result<String, Failure> {
    let grant = envelopes
        .last()
        .ok_or_else(|| failed("the token is empty"))?;
    check_grant(envoy, uid, grant)?;
    let expired = grant.statement().grant().and_then(|grant| grant.expires_ms);
    if expired.is_some_and(|at| at <= clock::now_ms()) {
        return Err(failed("the grant in the token has expired").because("expired-grant"));
    }
    if let [join, grant] = envelopes
        && let Act::Join { .. } = join.statement().act
    {
        // Whoever is invited cannot prove that without the invitation, which a holder has.
        let (join, grant) = (join.statement(), grant.statement());
        if join.project != *id || grant.project != *id || join.puddle != grant.puddle {
            return Err(failed("the join and the grant do not belong together"));
        }
        return Ok(id.to_string());
    }
    match Token::new(envelopes.to_vec()).verify(id) {
        Ok(proof) => Ok(proof.handle.to_string()),
        Err(reject) => Err(Failure::new(
            exit_code::NOT_PERMITTED,
            "this token does not prove a membership of this project",
        )
        .because(format!("{}: {reject}", reject.code()))),
    }
}

/// Takes what of the token has not come back from a holder, and looks whether it serves this user.
fn take_proof(
    envoy: &Envoy,
    uid: u32,
    cell: &Cell,
    token: Vec<Verified>,
) -> Result<(Vec<gitback_envelope::EnvelopeId>, Option<String>), Failure> {
    let mut state = cell.lock();
    let serves = |state: &State, _: &Admitted| match access::standing(envoy, state, uid) {
        Some(_) => Ok(()),
        None => Err(access::why_not(envoy, state, uid, None)),
    };
    let taken = state.admit_if(token, serves);
    let admitted = match taken.map_err(|fault| ours(&fault))? {
        Ok(admitted) => admitted,
        Err(denial) => return Err(super::failures::denied(&denial)),
    };
    cell.follow(&mut state, &[]);
    let proof = token_of(envoy, &state, uid);
    Ok((admitted.folded, proof))
}

/// Tries every peer until the project is here and whole. Returns what each one that failed said.
fn bring(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    token: &[Verified],
    progress: &mut dyn FnMut(String),
) -> Vec<Failed> {
    let _only_one = cell.wait_catch_up(progress);
    let mut failures = Vec::new();
    for neighbour in envoy.neighbours().iter() {
        let error = match catch_up_wholly(envoy, cell, neighbour, token, progress) {
            Ok(()) => return failures,
            Err(error) => error,
        };
        let mut refused = None;
        let reason = match &error {
            CatchUpError::Call {
                source: CallError::Refused(refusal),
                ..
            } if refusal.code == UNKNOWN_PROJECT => None,
            CatchUpError::Call {
                source: CallError::Refused(refusal),
                ..
            } => {
                if refusal.status == RefusalKind::Forbidden {
                    refused = Some(refusal.code.clone());
                }
                Some(format!("{} ({})", refusal.reason, refusal.code))
            }
            CatchUpError::Call { source, .. } => {
                neighbour.note_failure(source);
                Some(neighbour.away_line(None))
            }
            CatchUpError::Sent { .. }
            | CatchUpError::OverLimit { .. }
            | CatchUpError::Lacks { .. }
            | CatchUpError::Ours(_)
            | CatchUpError::Room(_)
            | CatchUpError::Short { .. } => Some(chain(&error)),
        };
        failures.push(Failed {
            peer: neighbour.name().to_owned(),
            reason,
            refused,
        });
    }
    failures
}

/// A peer from which a project could not be had.
struct Failed {
    peer: String,
    /// Nothing: it does not have the project.
    reason: Option<String>,
    /// The code, where it has the project and does not take the proof.
    refused: Option<String>,
}

/// "venus, titan do not have it; pluto offline (last seen 2 h ago): connection refused".
fn reasons(failures: &[Failed]) -> String {
    let without: Vec<&str> = failures
        .iter()
        .filter(|failed| failed.reason.is_none())
        .map(|failed| failed.peer.as_str())
        .collect();
    let mut parts: Vec<String> = failures
        .iter()
        .filter_map(|failed| failed.reason.clone())
        .collect();
    match without.as_slice() {
        [] => {}
        [one] => parts.insert(0, format!("{one} does not have it")),
        several => parts.insert(0, format!("{} do not have it", several.join(", "))),
    }
    parts.join("; ")
}

fn nobody_has_it(envoy: &Envoy, uid: u32, handle: &str, failures: &[Failed]) -> Failure {
    if failures.iter().any(|failed| failed.refused.is_some()) {
        let what = format!("no envoy gives {handle} to this user");
        return Failure::new(exit_code::NOT_PERMITTED, what).because(reasons(failures));
    }
    let near = nearest(envoy, uid, handle).map(|near| format!("did you mean {near}?"));
    let mut hints: Vec<String> = near.into_iter().collect();
    if failures.iter().any(|failed| failed.reason.is_some()) {
        hints.push("see which envoys answer: vigo envoy status".to_owned());
    }
    if failures.iter().any(|failed| failed.reason.is_none()) {
        hints.push("to start it: vigo swarm gitback project init".to_owned());
    }
    Failure {
        code: exit_code::UNKNOWN,
        what: format!("nobody reachable has {handle}"),
        why: Some(reasons(failures)),
        hints,
    }
}

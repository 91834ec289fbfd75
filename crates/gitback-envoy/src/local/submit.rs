//! Taking in what local users have signed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gitback_envelope::{Act, EnvelopeId, Incarnation, Verified};
use gitback_helper::{DRAFTS_MAX, Failure, Reply, exit_code};
use gitback_identity::{ProjectId, PublicKey, PuddleKey, hex};

use super::failures::{denied, failed, ours, refused, room, unknown_project, verified};
use crate::access::{self, Denial};
use crate::cell::{Admitted, Cell, Foothold, State};
use crate::daemon::Envoy;
use crate::fanout::spread;

/// How long founding a project waits for other envoys, so that what is said of its copies is true.
const FOUND_WAIT: Duration = Duration::from_secs(1);

/// `project init`: takes the founder's `init`. Doing it again changes nothing.
pub(super) fn found(envoy: &Arc<Envoy>, uid: u32, envelope: &str) -> Result<Reply, Failure> {
    let init = verified(envelope)?;
    let Act::Init { handle } = &init.statement().act else {
        return Err(failed(
            "a project is founded with an init envelope, and this is none",
        ));
    };
    let handle = handle.to_string();
    let id = init.statement().project;
    room(envoy)?;
    let cell = envoy
        .store()
        .find_or_make(&id)
        .map_err(|fault| ours(&fault))?;
    let mut state = cell.lock();
    if state.foothold() == Foothold::Lost {
        let what = format!("{} has lost its record of {handle}", envoy.name());
        return Err(failed(what)
            .because("its refs are still here; begun anew, the project would forget them")
            .hint("turn an envoy on that holds it: vigo envoy status")
            .hint(
                "or begin a new project from what is here: vigo swarm gitback project re-found",
            ));
    }
    let admitted = state.admit(vec![init]).map_err(|fault| ours(&fault))?;
    let known = cell.note_foothold(&mut state, Foothold::Known);
    known.map_err(|fault| ours(&fault))?;
    let token = token(envoy, &state, uid);
    drop(state);
    let notes = match admitted.folded.as_slice() {
        [] => vec![format!("{handle} was here already")],
        new => {
            spread(envoy, &cell, new, &[], FOUND_WAIT);
            Vec::new()
        }
    };
    Ok(Reply::Accepted { notes, token })
}

/// Takes sealed envelopes, all or none.
pub(super) fn submit(
    envoy: &Arc<Envoy>,
    uid: u32,
    id: &ProjectId,
    envelopes: &[String],
) -> Result<Reply, Failure> {
    let cell = envoy
        .store()
        .founded(id)
        .ok_or_else(|| unknown_project(envoy, uid, id, None))?;
    if envelopes.is_empty() || envelopes.len() > DRAFTS_MAX {
        let what = format!("1 to {DRAFTS_MAX} envelopes are taken at once");
        return Err(failed(what));
    }
    let envelopes: Vec<Verified> = envelopes
        .iter()
        .map(|envelope| verified(envelope))
        .collect::<Result<_, _>>()?;
    for envelope in &envelopes {
        check_kind(envoy, uid, id, envelope)?;
    }
    let before = envoy.partners(&cell);
    let (new, token) = {
        let mut state = cell.lock();
        if !in_place(envoy, &state, &envelopes) {
            if is_granted_already(envoy, &state, uid, &envelopes) {
                // Two first uses at once each had a grant signed; one is enough.
                let token = token(envoy, &state, uid);
                return Ok(Reply::Accepted {
                    notes: Vec::new(),
                    token,
                });
            }
            return Err(failed("something else was signed meanwhile").hint("try again"));
        }
        let new = take(&cell, &mut state, envelopes)?;
        (new, token(envoy, &state, uid))
    };
    spread(envoy, &cell, &new, &before, Duration::ZERO);
    Ok(Reply::Accepted {
        notes: Vec::new(),
        token,
    })
}

/// Makes envelopes durable that count, all of them, and lets refs follow; or changes nothing.
pub(super) fn take(
    cell: &Cell,
    state: &mut State,
    envelopes: Vec<Verified>,
) -> Result<Vec<EnvelopeId>, Failure> {
    let taken = state.admit_if(envelopes, all_count);
    let admitted = taken.map_err(|fault| ours(&fault))??;
    cell.follow(state, &[]);
    Ok(admitted.folded)
}

fn all_count(state: &State, admitted: &Admitted) -> Result<(), Failure> {
    if let Some((id, reject)) = admitted.refused.first() {
        return Err(refused(reject, Some(id)));
    }
    if admitted.waiting {
        return Err(failed("an envelope names another one that is not here")
            .hint("let this machine catch up and try again: vigo envoy status"));
    }
    match admitted.first_void(state) {
        Some(void) => Err(denied(&Denial::void(&void))),
        None => Ok(()),
    }
}

/// The token that proves the best live grant of this user.
pub(super) fn token(envoy: &Envoy, state: &State, uid: u32) -> Option<String> {
    let standing = access::standing(envoy, state, uid)?;
    let token = state.fold().token(&standing.grant)?;
    Some(hex::encode(&token.encode()))
}

/// Only what drafts are made for, of this project, written here; a grant for this user.
fn check_kind(envoy: &Envoy, uid: u32, id: &ProjectId, envelope: &Verified) -> Result<(), Failure> {
    let statement = envelope.statement();
    if statement.project != *id {
        let what = format!("envelope {} is of another project", envelope.id());
        return Err(failed(what));
    }
    let here = statement.envoy == Some(*envoy.public());
    match &statement.act {
        _ if !here => Err(failed(format!(
            "envelope {} was drafted on another envoy",
            envelope.id()
        ))),
        Act::Grant(_) => check_grant(envoy, uid, envelope),
        Act::Policy(_)
        | Act::Merge
        | Act::Invite(_)
        | Act::Join { .. }
        | Act::Leave { .. }
        | Act::Revoke(_)
        | Act::Rejoin { .. }
        | Act::Ungrant(_)
        | Act::Delegate(_)
        | Act::Tombstone(_) => Ok(()),
        Act::Init { .. } => Err(failed("a project is founded with `project init`")),
        Act::Update(_) => Err(failed("refs are moved by git push")),
        Act::Unknown { kind } => Err(failed(format!("this daemon does not know {kind}"))),
    }
}

pub(super) fn check_grant(envoy: &Envoy, uid: u32, envelope: &Verified) -> Result<(), Failure> {
    match envelope.statement().grant() {
        Some(grant) if grant.envoy == *envoy.public() && grant.uid == uid => Ok(()),
        Some(_) => Err(Failure::new(
            exit_code::NOT_PERMITTED,
            "this grant is for another envoy or another user",
        )),
        None => Err(failed("this envelope is not a grant")),
    }
}

/// Whether each stands right behind the end of its chain, here or among those before it.
fn in_place(envoy: &Envoy, state: &State, envelopes: &[Verified]) -> bool {
    let mut ends: BTreeMap<(PublicKey, PuddleKey, Incarnation), (u64, EnvelopeId)> =
        BTreeMap::new();
    envelopes.iter().all(|envelope| {
        let statement = envelope.statement();
        let chain = (statement.signer, statement.puddle, statement.incarnation);
        let place = match ends.get(&chain) {
            Some((seq, id)) => (seq.saturating_add(1), Some(*id)),
            None => state.fold().next(&chain.0, &chain.1, &chain.2),
        };
        ends.insert(chain, (statement.seq, *envelope.id()));
        (statement.seq, statement.prev) == place
            && statement.incarnation == state.incarnation()
            && statement.envoy == Some(*envoy.public())
    })
}

/// Whether all that was wanted is a grant, and a live one is here.
fn is_granted_already(envoy: &Envoy, state: &State, uid: u32, envelopes: &[Verified]) -> bool {
    let granted = |envelope: &Verified| {
        let puddle = envelope.statement().puddle;
        access::standing_of(envoy, state, uid, &puddle).is_some()
    };
    envelopes
        .iter()
        .all(|envelope| match envelope.statement().act {
            Act::Grant(_) => granted(envelope),
            Act::Merge => true,
            _ => false,
        })
}

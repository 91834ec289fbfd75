//! Settling a contested founder line on this envoy.

use std::sync::Arc;

use gitback_envelope::{Act, EnvelopeId};
use gitback_helper::{Failure, Reply, exit_code};
use gitback_identity::{ProjectId, hex};

use super::admission::{administers, visible};
use super::failures::{failed, ours, usage};
use crate::access;
use crate::cell::State;
use crate::daemon::Envoy;

/// Follows one of several delegations of a hop from now on.
///
/// It decides for everybody who uses this envoy, so whoever asks administers it, or speaks for a key that is on the
/// line, or is one of those between whom it is to be settled.
pub(super) fn pick(
    envoy: &Arc<Envoy>,
    uid: u32,
    id: &ProjectId,
    delegate: &str,
) -> Result<Reply, Failure> {
    let delegate = hex::decode_exact::<32>(delegate)
        .map(|bytes| EnvelopeId::from_bytes(&bytes))
        .ok_or_else(|| usage("a delegation is 64 lowercase hex digits"))?;
    let cell = visible(envoy, uid, id)?;
    let mut state = cell.lock();
    if !may_pick(envoy, &state, uid) {
        let what = format!("user {uid} may not settle this on {}", envoy.name());
        return Err(Failure::new(exit_code::NOT_PERMITTED, what)
            .because("it decides for everybody who uses this machine")
            .hint(format!("ask who administers {}", envoy.name())));
    }
    let contests = state.fold().contests();
    let contest = contests
        .iter()
        .find(|contest| contest.delegates.contains(&delegate));
    let Some(contest) = contest else {
        let why = format!("envelope {delegate} is not one of several delegations of one hop");
        return Err(failed("there is nothing to settle").because(why));
    };
    let hop = contest.hop;
    if contest.followed == Some(delegate) {
        return Ok(accepted(format!("hop {hop} follows it already")));
    }
    state.pick(hop, &delegate).map_err(|fault| ours(&fault))?;
    cell.follow(&mut state, &[]);
    tracing::warn!(project = %id, hop, %delegate, uid, "a person has picked the founder line");
    Ok(accepted(format!("{} follows it from now on", envoy.name())))
}

fn accepted(note: String) -> Reply {
    Reply::Accepted {
        notes: vec![note],
        token: None,
    }
}

fn may_pick(envoy: &Envoy, state: &State, uid: u32) -> bool {
    if administers(envoy, uid) {
        return true;
    }
    let Some(standing) = access::standing(envoy, state, uid) else {
        return false;
    };
    let fold = state.fold();
    let on_line = fold.line().iter().any(|hop| hop.key == standing.puddle);
    let heirs = fold
        .contests()
        .iter()
        .flat_map(|contest| &contest.delegates);
    let is_heir = heirs.filter_map(|id| fold.get(id)).any(|envelope| {
        matches!(&envelope.statement().act, Act::Delegate(act) if act.to == standing.puddle)
    });
    on_line || is_heir
}

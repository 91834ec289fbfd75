//! Making contact with each peer: comparing digests, and bringing in what is missing here.
//!
//! Whoever notices a difference only pokes the other side.

use std::sync::Arc;
use std::time::Duration;

use gitback_envelope::Verified;
use gitback_identity::ProjectId;
use gitback_peer::CallError;

use crate::access::{self, Partner};
use crate::catch_up::{CatchUpError, catch_up};
use crate::cell::Cell;
use crate::daemon::{Envoy, chain};
use crate::peers::Neighbour;
use crate::service::{PURGED, UNKNOWN_PROJECT};

/// Most requests to be invited again that are handed to a peer at one time.
const REQUESTS_MAX: usize = 16;

/// Runs until the daemon stops: contact with one peer at every interval, at once when poked.
pub(crate) fn keep_contact(envoy: &Arc<Envoy>, neighbour: &Neighbour) {
    loop {
        neighbour.note_contact_begins();
        let (to, ours) = (neighbour.address(), envoy.digests(neighbour.key()));
        match envoy.handle().block_on(envoy.client().digests(&to, &ours)) {
            Ok(theirs) => {
                neighbour.note_answer();
                compare(envoy, neighbour, &theirs.projects);
            }
            Err(error) => {
                tracing::debug!(
                    peer = neighbour.name(),
                    reason = error.reason(),
                    "no contact"
                );
                neighbour.note_failure(&error);
            }
        }
        neighbour.note_contact_ends();
        if !neighbour.wait(jittered(envoy.config().contact_interval())) {
            return;
        }
    }
}

fn compare(envoy: &Arc<Envoy>, neighbour: &Neighbour, theirs: &[(ProjectId, [u8; 32])]) {
    for (id, digest) in theirs {
        let ours = envoy.store().founded(id);
        let same = ours
            .as_ref()
            .is_some_and(|cell| cell.lock().fold().digest() == *digest);
        neighbour.note_holding(*id, *digest, None, same);
        let complete = ours.as_ref().is_some_and(|cell| cell.lock().is_whole());
        let heard = ours.as_ref().is_none_or(|cell| {
            access::partner(envoy, &cell.lock(), neighbour.key()) != Partner::Former
        });
        // What was given up here on a person's word is not brought back by a peer.
        let given_up = envoy.store().given_up(id).is_some();
        if (same && complete) || !heard || given_up {
            continue;
        }
        match envoy.store().find_or_make(id) {
            Ok(cell) => catch_up_in_turn(envoy, cell, neighbour),
            Err(fault) => {
                tracing::error!(project = %id, error = %chain(&fault), "cannot open a project")
            }
        }
    }
    for cell in envoy.store().all() {
        if theirs.iter().any(|(id, _)| id == cell.id()) {
            continue;
        }
        let partner = access::partner(envoy, &cell.lock(), neighbour.key());
        if partner != Partner::Full {
            continue;
        }
        neighbour.note_absent(*cell.id());
        if neighbour.introduce(cell.id()) {
            // It may hold the project and not know yet that this envoy has a part in it.
            catch_up_in_turn(envoy, cell, neighbour);
        }
    }
}

/// Catches up unless somebody else does.
fn catch_up_in_turn(envoy: &Arc<Envoy>, cell: Arc<Cell>, neighbour: &Neighbour) {
    let Some(only_one) = cell.try_catch_up() else {
        return;
    };
    let shown = cell.lock().shown_digest();
    let caught_up = catch_up(envoy, &cell, neighbour, &[], &mut |_| {});
    match caught_up {
        Ok(caught_up) if caught_up.more => neighbour.poke_soon(),
        // There are peers that differ for good. Who told the others each time would never rest.
        Ok(_) if cell.lock().shown_digest() == shown => {}
        // The others may count this copy from now on.
        Ok(_) => envoy
            .neighbours()
            .iter()
            .for_each(|other| other.poke_soon()),
        Err(CatchUpError::Call {
            source: CallError::Refused(refusal),
            ..
        }) if refusal.code == UNKNOWN_PROJECT || refusal.code == PURGED => {}
        Err(error) => {
            tracing::warn!(peer = neighbour.name(), project = %cell.id(), error = %chain(&error), "cannot catch up");
        }
    }
    drop(only_one);
    hand_over(envoy, &cell, neighbour);
    envoy.store().discard_if_unfounded(cell);
}

/// Tells a partner, once, who asks here to be invited again: after a leave the partner takes nothing else from this
/// envoy, nor looks for it here.
fn hand_over(envoy: &Arc<Envoy>, cell: &Arc<Cell>, neighbour: &Neighbour) {
    let requests: Vec<Verified> = {
        let state = cell.lock();
        let fold = state.fold();
        if access::partner(envoy, &state, envoy.public()) == Partner::Full {
            return;
        }
        let asked = fold
            .memberships()
            .into_iter()
            .filter_map(|one| one.asks_back);
        let asked = asked.filter_map(|id| fold.get(&id));
        let here = asked.filter(|asked| asked.statement().envoy == Some(*envoy.public()));
        here.take(REQUESTS_MAX).cloned().collect()
    };
    for request in requests {
        if neighbour.has_heard(request.id()) {
            continue;
        }
        let (to, envelope) = (neighbour.address(), vec![request.bytes().to_vec()]);
        let call = envoy.client().push(&to, cell.id(), envelope, None);
        match envoy.handle().block_on(call) {
            Ok(_) => neighbour.note_heard(*request.id()),
            Err(error) => {
                tracing::debug!(peer = neighbour.name(), project = %cell.id(), reason = error.reason(), "cannot hand a request over");
            }
        }
    }
}

/// The interval, up to a quarter longer: peers that started together drift apart.
fn jittered(interval: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the interval is as good.
    let _ = getrandom::fill(&mut byte);
    interval + interval * u32::from(byte[0]) / 1024
}

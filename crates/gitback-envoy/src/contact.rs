//! Contact with one peer: what both hold of each project, and catching one of them up.
//!
//! Each envoy pulls for itself. When, from whom and how often is decided in `gitback-gossip`.

use std::sync::Arc;
use std::time::Instant;

use gitback_envelope::Verified;
use gitback_gossip::{Difference, Failure, News};
use gitback_identity::ProjectId;
use gitback_peer::{CallError, Digests};

use crate::access::{self, Partner};
use crate::catch_up::{CatchUpError, catch_up, classify, classify_call};
use crate::cell::Cell;
use crate::daemon::{Envoy, chain};
use crate::fleet;
use crate::names;
use crate::peers::Neighbour;
use crate::service::{NOT_OF_THE_FLEET, PURGED, REMOVED, UNKNOWN_PROJECT};

/// Most requests to be invited again that are handed to a peer at one time.
const REQUESTS_MAX: usize = 16;

/// What stands for the digest of a project that a peer does not show. Zeros mean something else: that it has
/// something to tell of how our part in it ended.
const ABSENT: [u8; 32] = [0xff; 32];

/// Asks a peer what it holds, and says in which projects that is not what is here.
pub(crate) fn compare(
    envoy: &Arc<Envoy>,
    neighbour: &Neighbour,
) -> Result<Vec<Difference>, Failure> {
    neighbour.note_contact_begins();
    let asked = Instant::now();
    let compared = match show(envoy, neighbour) {
        Ok(theirs) => {
            neighbour.note_answer();
            if envoy.fleet().differs(theirs.roster) {
                agree(envoy, neighbour, theirs.roster);
            }
            names::exchange(envoy, neighbour, theirs.names);
            Ok(differences(envoy, neighbour, &theirs.projects, Some(asked)))
        }
        Err(error) => {
            let reason = error.reason();
            tracing::debug!(peer = neighbour.name(), reason, "no contact");
            neighbour.note_failure(&error);
            Err(classify_call(&error))
        }
    };
    neighbour.note_contact_ends();
    compared
}

/// Asks a peer what it holds. One that does not know this envoy, or no longer does, is asked who is of the fleet: it
/// may not have heard of this envoy yet, or has heard that it was removed.
fn show(envoy: &Arc<Envoy>, neighbour: &Neighbour) -> Result<Digests, CallError> {
    let ask = || {
        let (to, ours) = (neighbour.address(), envoy.digests(neighbour.key()));
        envoy.handle().block_on(envoy.client().digests(&to, &ours))
    };
    let refused = match ask() {
        Err(CallError::Refused(refusal))
            if refusal.code == NOT_OF_THE_FLEET || refusal.code == REMOVED =>
        {
            CallError::Refused(refusal)
        }
        other => return other,
    };
    match fleet::exchange(envoy, neighbour) {
        // What was said before both knew the same counts no longer, unless this envoy was removed.
        Ok(_) if envoy.neighbour(neighbour.key()).is_some() => ask(),
        _ => Err(refused),
    }
}

/// Comes to know the same as a peer of who is of the fleet. A peer of another fleet is asked once for each pair of
/// rosters.
fn agree(envoy: &Envoy, neighbour: &Neighbour, theirs: Option<[u8; 32]>) {
    let pair = envoy.fleet().digest().zip(theirs);
    if pair.is_none() || neighbour.seen().useless_rosters == pair {
        return;
    }
    match fleet::exchange(envoy, neighbour) {
        Ok(true) => tracing::info!(peer = neighbour.name(), "told what is new in the fleet"),
        Ok(false) => {}
        Err(error) => {
            if error.is_final() {
                neighbour.seen().useless_rosters = pair;
            }
            tracing::debug!(peer = neighbour.name(), error = %chain(&error), "rosters stay different");
        }
    }
}

/// Where what a peer shows is not what is here, as far as there is something to ask of it. `asked` is when it was asked
/// for that, if it was.
pub(crate) fn differences(
    envoy: &Envoy,
    neighbour: &Neighbour,
    theirs: &[(ProjectId, [u8; 32])],
    asked: Option<Instant>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    // What was here before, whole or with objects lacking: the peer has told since that it has the rest too.
    let is_stale = |id: &ProjectId, digest: &[u8; 32]| {
        let inverted = digest.map(|byte| !byte);
        neighbour.has_confirmed_since(id, asked)
            && (envoy.heal().had(id, digest) || envoy.heal().had(id, &inverted))
    };
    for (id, digest) in theirs {
        let ours = envoy.store().founded(id);
        let same = ours
            .as_ref()
            .is_some_and(|cell| cell.lock().fold().digest() == *digest);
        if !same && is_stale(id, digest) {
            continue;
        }
        // Of projects that are not here nothing is remembered: a peer could name any number of them.
        if ours.is_some() {
            neighbour.note_holding(*id, *digest, None, same);
        }
        let complete = ours
            .as_ref()
            .is_some_and(|cell| cell.lock().is_whole_beside(neighbour.key()));
        let heard = ours.as_ref().is_none_or(|cell| {
            access::partner(envoy, &cell.lock(), neighbour.key()) != Partner::Former
        });
        // What was given up here on a person's word is not brought back by a peer.
        let given_up = envoy.store().given_up(id).is_some();
        if heard && !(same && complete) && !given_up {
            differences.push(Difference {
                project: *id,
                digest: *digest,
                we_lack: true,
                they_lack: ours.is_some() && !same,
            });
        }
    }
    for cell in envoy.store().all() {
        if theirs.iter().any(|(id, _)| id == cell.id()) {
            continue;
        }
        let partner = access::partner(envoy, &cell.lock(), neighbour.key());
        if partner != Partner::Full || neighbour.has_confirmed_since(cell.id(), asked) {
            continue;
        }
        neighbour.note_absent(*cell.id());
        // It may hold the project and not know yet that this envoy has a part in it.
        let we_lack = neighbour.introduce(cell.id());
        differences.push(Difference {
            project: *cell.id(),
            digest: ABSENT,
            we_lack,
            they_lack: true,
        });
    }
    differences
}

/// Catches one project up from a peer, unless somebody else does.
pub(crate) fn catch_up_from(
    envoy: &Arc<Envoy>,
    project: &ProjectId,
    neighbour: &Neighbour,
) -> Result<News, Failure> {
    let cell = match envoy.store().find_or_make(project) {
        Ok(cell) => cell,
        Err(fault) => {
            tracing::error!(%project, error = %chain(&fault), "cannot open a project");
            return Err(Failure::Ours(chain(&fault)));
        }
    };
    let Some(only_one) = cell.try_catch_up() else {
        return Err(Failure::Busy("it is being brought in already".to_owned()));
    };
    let shown = cell.lock().shown_digest();
    let caught_up = catch_up(envoy, &cell, neighbour, &[], &mut |_| {});
    let now = cell.lock().shown_digest();
    let outcome = match caught_up {
        Ok(caught_up) => Ok(News {
            // What was brought in of a large project does not show before all of it is here.
            changed: now != shown || caught_up.more,
            same: neighbour.digest(project) == Some(now),
            more: caught_up.more,
        }),
        Err(error) => {
            let absent = matches!(
                &error,
                CatchUpError::Call { source: CallError::Refused(refusal), .. }
                    if refusal.code == UNKNOWN_PROJECT || refusal.code == PURGED
            );
            if !absent {
                tracing::warn!(peer = neighbour.name(), %project, error = %chain(&error), "cannot catch up");
            }
            Err(classify(&error))
        }
    };
    drop(only_one);
    if now != shown {
        envoy.heal().changed(&cell);
    }
    hand_over(envoy, &cell, neighbour);
    envoy.store().discard_if_unfounded(cell);
    outcome
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

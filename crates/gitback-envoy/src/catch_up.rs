//! Catching one project up from one peer: what of it is missing here.
//!
//! Each envoy pulls for itself: envelopes first, in causal order, then the objects that their heads name. One catch-up
//! moves a bounded number of bytes, and what it has brought by then is durable: the next one goes on from there.

mod blame;
mod budget;
mod envelopes;
mod fetch;
mod mend;
mod objects;
mod reconcile;
mod slices;
mod together;

use std::sync::Arc;

use gitback_envelope::Verified;
use gitback_peer::{CallError, RefusalKind};

use crate::cell::{Cell, Foothold, State};
use crate::daemon::Envoy;
use crate::fault::Fault;
use crate::peers::Neighbour;
use crate::trace::Trace;
pub(crate) use blame::{classify, classify_call};
use budget::Budget;
use envelopes::bring_envelopes;
use fetch::Route;
pub(crate) use mend::{Mended, mend};
use objects::bring_objects;
use reconcile::reconcile;
pub(crate) use together::{PACK_GONE, signed_manifest};

/// What a catch-up that did not fail has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CaughtUp {
    /// Something is here that was not.
    pub(crate) changed: bool,
    /// Both hold the same envelopes.
    pub(crate) same: bool,
    /// It has moved as much as one catch-up may, and more is to come: go on, once others had their turn.
    pub(crate) more: bool,
}

/// Why a catch-up did not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatchUpError {
    /// The peer did not answer, or refused.
    #[error("cannot get it from {peer}")]
    Call {
        peer: String,
        #[source]
        source: CallError,
    },
    /// What the peer sent is not acceptable.
    #[error("{peer} sent {what}")]
    Sent { peer: String, what: String },
    /// What the peer sent costs more than the configuration here allows, and may be taken elsewhere.
    #[error("{peer} sent a pack that is too much here: {what}")]
    OverLimit { peer: String, what: String },
    /// The peer says that it does not have an object.
    #[error("{peer} does not have {oid}")]
    Lacks { peer: String, oid: String },
    /// Our own disk or git failed.
    #[error("cannot keep it here")]
    Ours(#[source] Fault),
    /// There is no room for more.
    #[error("not brought in: {0}")]
    Room(String),
    /// The peer lacks objects too.
    #[error("{peer} does not have all of it either")]
    Short { peer: String },
}

/// Brings envelopes and then objects of one project in from one peer. The caller holds the project's catch-up right.
///
/// `token` proves a membership to a peer that does not know this envoy. Until the peer has told all it knows, a
/// project that was not here before is not served.
pub(crate) fn catch_up(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    token: &[Verified],
    progress: &mut dyn FnMut(String),
) -> Result<CaughtUp, CatchUpError> {
    let before = {
        let mut state = cell.lock();
        if state.fold().founder().is_none() && state.foothold() == Foothold::Known {
            cell.note_foothold(&mut state, Foothold::New)
                .map_err(CatchUpError::Ours)?;
        }
        state.shown_digest()
    };
    let mut trace = Trace::begin();
    let brought = bring_envelopes(envoy, cell, neighbour, token);
    let told = if token.is_empty() && brought.as_ref().is_err_and(is_forbidden) {
        let proof = own_token(envoy, &cell.lock());
        if proof.is_empty() {
            return brought.map(|_| CaughtUp::default());
        }
        bring_envelopes(envoy, cell, neighbour, &proof)?
    } else {
        brought?
    };
    {
        let mut state = cell.lock();
        if told.is_all() && state.fold().founder().is_some() {
            cell.note_foothold(&mut state, Foothold::Known)
                .map_err(CatchUpError::Ours)?;
        }
    }
    trace.step("envelopes");
    let route = Route {
        envoy,
        cell,
        neighbour,
    };
    if told.knows_more(&cell.lock()) {
        reconcile(route)?;
        trace.step("reconcile");
    }
    let mut budget = Budget::new(envoy.config().catch_up_max_bytes());
    let mut progress = |text: String| {
        cell.tell(&text);
        progress(text);
    };
    let more = bring_objects(route, &mut budget, &mut trace, &mut progress)?;
    tracing::debug!(peer = neighbour.name(), project = %cell.id(), bytes = budget.moved(), "caught up in {trace}");
    let state = cell.lock();
    Ok(CaughtUp {
        changed: state.shown_digest() != before || budget.has_brought(),
        same: told
            .digest()
            .is_some_and(|theirs| state.fold().digest() == *theirs),
        more,
    })
}

/// Catches up as [`catch_up`] does, over as many rounds as it takes.
pub(crate) fn catch_up_wholly(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    token: &[Verified],
    progress: &mut dyn FnMut(String),
) -> Result<(), CatchUpError> {
    while catch_up(envoy, cell, neighbour, token, progress)?.more {}
    Ok(())
}

fn is_forbidden(error: &CatchUpError) -> bool {
    matches!(
        error,
        CatchUpError::Call { source: CallError::Refused(refusal), .. }
            if refusal.status == RefusalKind::Forbidden
    )
}

/// What proves this envoy's own part in the project, as far as it has one.
fn own_token(envoy: &Envoy, state: &State) -> Vec<Verified> {
    let fold = state.fold();
    let grants = fold.iter().filter(|envelope| {
        let grant = envelope.statement().grant();
        grant.is_some_and(|grant| grant.envoy == *envoy.public())
    });
    let grants: Vec<_> = grants.map(Verified::id).collect();
    let token = grants.iter().rev().find_map(|grant| fold.token(grant));
    token.map_or_else(Vec::new, |token| token.envelopes().to_vec())
}

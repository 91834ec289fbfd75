//! Finding, and bringing in, the envelopes that tips do not tell of: of chains that forked, or of very many of them.
//!
//! Source: docs/spec/reconcile.md.

use std::collections::BTreeSet;

use gitback_envelope::EnvelopeId;
use gitback_gossip::reconcile::{Found, Initiator, Step};
use gitback_peer::CallError;
use gitback_peer::limits::ASKED_IDS_MAX;

use super::CatchUpError;
use super::envelopes::verify_all;
use super::fetch::Route;

/// Most times that the sets are compared in one catch-up: what waited for its past is there the next time.
const PASSES_MAX: usize = 8;

/// The code of a peer that does not take part.
const NOT_OFFERED: &str = "not-offered";

/// Brings in what the peer has and this envoy has not, whatever the tips say.
pub(super) fn reconcile(route: Route<'_>) -> Result<(), CatchUpError> {
    for _ in 0..PASSES_MAX {
        let Some(found) = compare(route)? else {
            return Ok(());
        };
        let refused = route.cell.refused_ids();
        let needed = found.need.into_iter().filter(|id| !refused.contains(id));
        let needed: Vec<EnvelopeId> = needed.collect();
        if needed.is_empty() {
            if found.complete {
                return Ok(());
            }
            return Err(sent(route, "a reconciliation that leads nowhere"));
        }
        if !bring(route, &needed)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Learns what is different; `None`: the peer does not take part.
fn compare(route: Route<'_>) -> Result<Option<Found>, CatchUpError> {
    let ids = route.cell.ids();
    let (mut initiator, mut message) = Initiator::new(&ids);
    loop {
        let to = route.neighbour.address();
        let call = route
            .envoy
            .client()
            .reconcile(&to, route.cell.id(), message);
        let answer = match route.envoy.handle().block_on(call) {
            Ok(answer) => answer,
            Err(CallError::Refused(refusal)) if refusal.code == NOT_OFFERED => return Ok(None),
            Err(source) => return Err(route.uncalled(source)),
        };
        route.neighbour.note_answer();
        let step = initiator.take(&answer);
        match step.map_err(|reject| sent(route, &reject.to_string()))? {
            Step::Ask(next) => message = next,
            Step::Done => return Ok(Some(initiator.finish())),
        }
    }
}

/// Brings in envelopes by their ids; whether there was news.
fn bring(route: Route<'_>, needed: &[EnvelopeId]) -> Result<bool, CatchUpError> {
    let before = route.cell.lock().fold().len();
    for chunk in needed.chunks(ASKED_IDS_MAX) {
        let mut missing: BTreeSet<EnvelopeId> = chunk.iter().copied().collect();
        while !missing.is_empty() {
            take_page(route, &mut missing)?;
        }
    }
    Ok(route.cell.lock().fold().len() != before)
}

/// Takes one page of those that are `missing`, which then are not.
fn take_page(route: Route<'_>, missing: &mut BTreeSet<EnvelopeId>) -> Result<(), CatchUpError> {
    let Route {
        envoy,
        cell,
        neighbour,
    } = route;
    let asked: Vec<[u8; 32]> = missing.iter().map(|id| *id.as_bytes()).collect();
    let to = neighbour.address();
    let call = envoy.client().envelopes(&to, cell.id(), &asked);
    let page = envoy.handle().block_on(call);
    let page = page.map_err(|source| route.uncalled(source))?;
    if page.is_empty() {
        return Err(sent(route, "ids of envelopes that it does not give"));
    }
    let batch = verify_all(cell.id(), &page).map_err(|what| sent(route, &what))?;
    for envelope in &batch {
        if !missing.remove(envelope.id()) {
            return Err(sent(route, "an envelope that was not asked for"));
        }
    }
    let mut state = cell.lock();
    if state.shows_own_future(envoy.public(), &batch) {
        cell.reincarnate(&mut state).map_err(CatchUpError::Ours)?;
    }
    let admitted = state.admit(batch).map_err(CatchUpError::Ours)?;
    for (id, reject) in &admitted.refused {
        tracing::warn!(peer = neighbour.name(), project = %cell.id(), envelope = %id, code = reject.code(), "refused an envelope");
    }
    cell.note_refused(&state, admitted.refused.iter().map(|(id, _)| *id));
    cell.tell_alarms(&mut state);
    Ok(())
}

fn sent(route: Route<'_>, what: &str) -> CatchUpError {
    CatchUpError::Sent {
        peer: route.neighbour.name().to_owned(),
        what: what.to_owned(),
    }
}

//! Bringing in the envelopes that are missing here, in causal order.

use std::sync::Arc;

use gitback_envelope::{Envelope, EnvelopeId, Verified};
use gitback_identity::ProjectId;
use gitback_peer::limits::TIPS_MAX;
use gitback_peer::{SyncAnswer, SyncRequest, Tip};

use super::CatchUpError;
use crate::cell::{Cell, State};
use crate::daemon::{Envoy, tip_from_peer, tips_for_peer};
use crate::peers::Neighbour;

/// Most pages of envelopes that one catch-up asks for.
const PAGES_MAX: usize = 100_000;

/// Most pages without news one after the other: of very many chains a peer sends more than is lacking.
const STALE_PAGES_MAX: usize = 64;

/// How much a peer has told of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// All it knows.
    All {
        /// What it shows as its digest.
        digest: [u8; 32],
        /// What it says to hold.
        tips: Vec<Tip>,
    },
    /// What ended our part in it.
    TheEnd,
}

impl Told {
    /// By the digest that came with it: a former partner is shown none.
    fn with(answer: &SyncAnswer) -> Self {
        if answer.digest == [0; 32] {
            return Self::TheEnd;
        }
        Self::All {
            digest: answer.digest,
            tips: answer.tips.clone(),
        }
    }

    /// Whether the peer holds what it has not given: its set is another, and some of its tips are not here, or it has
    /// more of them than it tells.
    pub(super) fn knows_more(&self, state: &State) -> bool {
        let Self::All { digest, tips } = self else {
            return false;
        };
        let ours = state.fold().digest();
        // Inverted: the same set, and objects are lacking there.
        if *digest == ours || *digest == ours.map(|byte| !byte) {
            return false;
        }
        let here = |tip: &Tip| state.holds(&EnvelopeId::from_bytes(&tip.id));
        tips.len() >= TIPS_MAX || !tips.iter().all(here)
    }

    pub(super) fn is_all(&self) -> bool {
        matches!(self, Self::All { .. })
    }

    pub(super) fn digest(&self) -> Option<&[u8; 32]> {
        match self {
            Self::All { digest, .. } => Some(digest),
            Self::TheEnd => None,
        }
    }
}

/// Brings in what the peer has beyond our tips. `token` proves our part to a peer that does not know it.
pub(super) fn bring_envelopes(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    token: &[Verified],
) -> Result<Told, CatchUpError> {
    let peer = || neighbour.name().to_owned();
    let (mut skip, mut stale) = (0, 0);
    for _ in 0..PAGES_MAX {
        let request = SyncRequest {
            token: token
                .iter()
                .map(|envelope| envelope.bytes().to_vec())
                .collect(),
            tips: tips_for_peer(&cell.lock()),
            skip,
        };
        let to = neighbour.address();
        let call = envoy.client().sync(&to, cell.id(), &request);
        let answer = envoy
            .handle()
            .block_on(call)
            .map_err(|source| CatchUpError::Call {
                peer: peer(),
                source,
            })?;
        neighbour.note_answer();
        let batch = verify_all(cell.id(), &answer.envelopes)
            .map_err(|what| CatchUpError::Sent { peer: peer(), what })?;
        let mut state = cell.lock();
        if state.shows_own_future(envoy.public(), &batch) {
            cell.reincarnate(&mut state).map_err(CatchUpError::Ours)?;
        }
        let before = state.fold().len();
        let admitted = state.admit(batch).map_err(CatchUpError::Ours)?;
        for (id, reject) in &admitted.refused {
            tracing::warn!(peer = neighbour.name(), project = %cell.id(), envelope = %id, code = reject.code(), "refused an envelope");
        }
        cell.tell_alarms(&mut state);
        let same = state.fold().digest() == answer.digest;
        let tips = answer.tips.iter().filter_map(tip_from_peer).collect();
        neighbour.note_holding(*cell.id(), answer.digest, Some(tips), same);
        if !answer.more {
            return Ok(Told::with(&answer));
        }
        // A page without news: what follows it may still be new, unless there is no end to it.
        let news = state.fold().len() != before;
        (skip, stale) = if news {
            (0, 0)
        } else {
            (skip + answer.envelopes.len() as u64, stale + 1)
        };
        if answer.envelopes.is_empty() || stale > STALE_PAGES_MAX {
            let what = "page after page of envelopes without news".to_owned();
            return Err(CatchUpError::Sent { peer: peer(), what });
        }
    }
    Ok(Told::TheEnd)
}

/// Those of a page, verified; what is wrong with one of them.
pub(super) fn verify_all(
    project: &ProjectId,
    envelopes: &[Vec<u8>],
) -> Result<Vec<Verified>, String> {
    let mut verified = Vec::with_capacity(envelopes.len());
    for bytes in envelopes {
        let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
        let envelope =
            envelope.map_err(|reject| format!("an envelope that is refused: {reject}"))?;
        if envelope.statement().project != *project {
            return Err("an envelope of another project".to_owned());
        }
        verified.push(envelope);
    }
    Ok(verified)
}

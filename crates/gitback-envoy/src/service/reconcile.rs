//! Answering peers that compare their set of envelopes with ours.
//!
//! Source: docs/spec/peer.md §5.8, §5.9; docs/spec/reconcile.md.

use std::collections::BTreeSet;

use gitback_envelope::EnvelopeId;
use gitback_gossip::reconcile::respond;
use gitback_identity::ProjectId;
use gitback_peer::{Caller, Refusal, RefusalKind};

use super::{PAGE_BYTES_MAX, Surface, refusal, unknown};

impl Surface {
    /// Answers one message of a reconciliation, for a partner.
    pub(super) fn answer_reconcile(
        &self,
        caller: &Caller,
        project: &ProjectId,
        message: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let cell = self.0.store().founded(project);
        let cell = cell.ok_or_else(|| unknown(&self.0, project))?;
        self.may(&cell, &caller.key)?;
        // The lock is not held while the sets are compared.
        let ids = cell.ids();
        respond(&ids, message)
            .map_err(|reject| refusal(RefusalKind::Bad, "bad-reconciliation", reject.to_string()))
    }

    /// Gives a partner one page of the envelopes that it asks for, ancestors first.
    pub(super) fn answer_envelopes(
        &self,
        caller: &Caller,
        project: &ProjectId,
        ids: &[[u8; 32]],
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let cell = self.0.store().founded(project);
        let cell = cell.ok_or_else(|| unknown(&self.0, project))?;
        self.may(&cell, &caller.key)?;
        let state = cell.lock();
        let asked: BTreeSet<EnvelopeId> = ids.iter().map(EnvelopeId::from_bytes).collect();
        let here = state.fold().iter().filter(|one| asked.contains(one.id()));
        let (mut page, mut bytes) = (Vec::new(), 0);
        for envelope in here {
            bytes += envelope.bytes().len();
            if bytes > PAGE_BYTES_MAX && !page.is_empty() {
                break;
            }
            page.push(envelope.bytes().to_vec());
        }
        Ok(page)
    }
}

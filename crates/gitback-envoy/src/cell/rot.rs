//! What a disk has damaged: envelopes that the log does not give back, and what is known to be lacking.

use gitback_envelope::EnvelopeId;

use super::State;
use crate::fault::Fault;

impl State {
    /// Says whether objects are known to be damaged or gone: then nobody may count on this copy.
    pub(crate) fn set_damaged(&mut self, damaged: bool) {
        self.damaged = damaged;
    }

    /// Whether objects are known to be damaged or gone.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Those of these envelopes that the log has and does not give back as they were stored.
    pub(crate) fn rotten(&self, ids: &[EnvelopeId]) -> Vec<EnvelopeId> {
        let is_rotten = |id: &&EnvelopeId| {
            self.log.contains(id.as_bytes()) && self.log.get(id.as_bytes()).is_err()
        };
        ids.iter().filter(is_rotten).copied().collect()
    }

    /// Stores these envelopes anew, from memory.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the log cannot be appended to.
    pub(crate) fn store_anew(&mut self, ids: &[EnvelopeId]) -> Result<(), Fault> {
        let envelopes = ids.iter().filter_map(|id| self.fold.get(id));
        let records: Vec<([u8; 32], &[u8])> = envelopes
            .map(|envelope| (*envelope.id().as_bytes(), envelope.bytes()))
            .collect();
        self.log.renew(&records).map_err(|source| Fault::Log {
            doing: "append to",
            project: self.fold.id().to_string(),
            source,
        })
    }
}

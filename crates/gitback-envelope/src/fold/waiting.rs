//! Envelopes whose past is not all here yet.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::envelope::Verified;
use crate::id::EnvelopeId;
use crate::reject::Reject;

/// The most envelopes that wait for their past.
pub const WAITING_MAX: usize = 8_192;
/// The most bytes that waiting envelopes have together: 64 MiB.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    parked: BTreeMap<EnvelopeId, Parked>,
    /// For each envelope that is not folded: those that wait for it.
    wanted_by: BTreeMap<EnvelopeId, Vec<EnvelopeId>>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Parked {
    verified: Verified,
    missing: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn find(&self, id: &EnvelopeId) -> Option<&Verified> {
        self.parked.get(id).map(|parked| &parked.verified)
    }

    /// Whether some envelope waits for `id`.
    pub(super) fn is_wanted(&self, id: &EnvelopeId) -> bool {
        self.wanted_by.contains_key(id)
    }

    /// Keeps `verified` until each of `missing` has folded.
    pub(super) fn park(
        &mut self,
        verified: Verified,
        missing: &BTreeSet<EnvelopeId>,
    ) -> Result<(), Reject> {
        let bytes = self.bytes.saturating_add(verified.bytes().len());
        if self.parked.len() >= WAITING_MAX || bytes > WAITING_BYTES_MAX {
            return Err(Reject::WaitingFull);
        }
        let id = *verified.id();
        for parent in missing {
            self.wanted_by.entry(*parent).or_default().push(id);
        }
        self.bytes = bytes;
        let missing = missing.len();
        self.parked.insert(id, Parked { verified, missing });
        Ok(())
    }

    /// Says that `id` has folded; gives back those that waited for nothing else.
    pub(super) fn release(&mut self, id: &EnvelopeId) -> Vec<Verified> {
        let mut ready = Vec::new();
        for child in self.wanted_by.remove(id).unwrap_or_default() {
            let Some(parked) = self.parked.get_mut(&child) else {
                continue;
            };
            parked.missing = parked.missing.saturating_sub(1);
            if parked.missing == 0 {
                ready.extend(self.unpark(&child));
            }
        }
        ready
    }

    /// Drops everything that waits for `id`, which can never fold, and what waits for that in turn.
    pub(super) fn abandon(&mut self, id: &EnvelopeId) {
        let mut lost = Vec::from([*id]);
        while let Some(id) = lost.pop() {
            for child in self.wanted_by.remove(&id).unwrap_or_default() {
                if let Some(verified) = self.unpark(&child) {
                    self.forget_wishes(&verified);
                    lost.push(child);
                }
            }
        }
    }

    /// Ids that are waited for and neither folded nor waiting themselves.
    pub(super) fn missing(&self) -> impl Iterator<Item = &EnvelopeId> {
        self.wanted_by
            .keys()
            .filter(|id| !self.parked.contains_key(*id))
    }

    fn unpark(&mut self, id: &EnvelopeId) -> Option<Verified> {
        let parked = self.parked.remove(id)?;
        self.bytes = self.bytes.saturating_sub(parked.verified.bytes().len());
        Some(parked.verified)
    }

    fn forget_wishes(&mut self, verified: &Verified) {
        for parent in verified.statement().parents() {
            if let Some(children) = self.wanted_by.get_mut(parent) {
                children.retain(|child| child != verified.id());
                if children.is_empty() {
                    self.wanted_by.remove(parent);
                }
            }
        }
    }
}

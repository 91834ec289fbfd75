//! The set of a project's envelopes, as it is compared with a peer's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use gitback_envelope::{EnvelopeId, Verified};
use gitback_gossip::reconcile::{FOUND_MAX, Ids};

use super::{Cell, State};

/// What was last made of a project's envelopes, and of which state.
///
/// It takes some 32 bytes for each envelope, beside the envelope itself.
#[derive(Debug, Default)]
pub(super) struct Compared {
    ids: Mutex<Option<([u8; 32], Arc<Ids>)>>,
    refused: Mutex<Refused>,
}

/// Envelopes that this envoy does not take as things are.
#[derive(Debug, Default)]
struct Refused {
    /// The digest by which they were refused; another one may take them.
    digest: [u8; 32],
    ids: BTreeSet<EnvelopeId>,
}

impl Cell {
    /// The ids of what is folded, made anew only after that has changed.
    pub(crate) fn ids(&self) -> Arc<Ids> {
        let state = self.lock();
        let digest = state.fold().digest();
        let mut kept = held(&self.compared.ids);
        if let Some((of, ids)) = &*kept
            && *of == digest
        {
            return Arc::clone(ids);
        }
        let ids = Arc::new(Ids::new(state.fold().iter().map(Verified::id).copied()));
        *kept = Some((digest, Arc::clone(&ids)));
        ids
    }

    /// Envelopes that were refused as things are: a peer that holds them need not send them again.
    pub(crate) fn refused_ids(&self) -> BTreeSet<EnvelopeId> {
        let digest = self.lock().fold().digest();
        let refused = held(&self.compared.refused);
        if refused.digest == digest {
            refused.ids.clone()
        } else {
            BTreeSet::new()
        }
    }

    /// Remembers what was refused, until something else has folded.
    pub(crate) fn note_refused(&self, state: &State, ids: impl Iterator<Item = EnvelopeId>) {
        let digest = state.fold().digest();
        let mut refused = held(&self.compared.refused);
        if refused.digest != digest {
            refused.ids.clear();
            refused.digest = digest;
        }
        for id in ids {
            if refused.ids.len() < FOUND_MAX {
                refused.ids.insert(id);
            }
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it looks")
}

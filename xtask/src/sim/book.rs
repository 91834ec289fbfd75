//! What a world remembers beside its replicas, so that invariants can be checked against what really was said.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{EnvelopeId, Incarnation, Verified};
use gitback_identity::{PublicKey, PuddleKey};

/// A number on a chain.
type Number = (PublicKey, PuddleKey, Incarnation, u64);

/// Everything that honest people and envoys have signed.
#[derive(Debug, Default)]
pub(super) struct Book {
    signed: BTreeSet<EnvelopeId>,
    numbers: BTreeMap<Number, EnvelopeId>,
    /// A number that an honest envoy used twice.
    pub(super) twice: Option<String>,
    /// Bytes of the largest message of the mesh.
    pub(super) largest_message: usize,
}

impl Book {
    /// Something was signed before the world began.
    pub(super) fn know(&mut self, envelope: &Verified) {
        self.signed.insert(*envelope.id());
    }

    /// An honest envoy has signed this.
    pub(super) fn sign(&mut self, envelope: &Verified, envoy: usize) {
        self.know(envelope);
        let statement = envelope.statement();
        let number = (
            statement.signer,
            statement.puddle,
            statement.incarnation,
            statement.seq,
        );
        let before = self.numbers.insert(number, *envelope.id());
        if let Some(before) = before.filter(|before| before != envelope.id()) {
            let (seq, id) = (statement.seq, envelope.id());
            self.twice = Some(format!(
                "envoy {envoy} signed number {seq} twice: {before} and {id}"
            ));
        }
    }

    pub(super) fn has(&self, id: &EnvelopeId) -> bool {
        self.signed.contains(id)
    }
}

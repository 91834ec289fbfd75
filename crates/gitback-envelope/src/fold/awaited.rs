//! What cuts name and is not here.

use alloc::collections::{BTreeMap, BTreeSet};

use gitback_identity::PuddleKey;

use super::graph::Graph;
use crate::id::EnvelopeId;

/// What rests on a cut, and is worked out again when something arrives that the cut names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rests {
    /// The founder line, or the end of the project.
    Everything,
    /// The membership that an invitation began.
    Membership(EnvelopeId),
    /// What a puddle has granted.
    Grants(PuddleKey),
}

/// Envelopes that cuts name and that are not here, and what rests on those cuts.
#[derive(Clone, Debug, Default)]
pub(super) struct Awaited(BTreeMap<EnvelopeId, BTreeSet<Rests>>);

impl Awaited {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, id: &EnvelopeId) -> bool {
        self.0.contains_key(id)
    }

    /// Notes what a cut names and is not here.
    pub(super) fn expect(&mut self, graph: &Graph, cut: &[EnvelopeId], rests: Rests) {
        for id in cut.iter().filter(|id| !graph.contains(id)) {
            self.0.entry(*id).or_default().insert(rests);
        }
    }

    /// What rests on an envelope that has come.
    pub(super) fn come(&mut self, id: &EnvelopeId) -> BTreeSet<Rests> {
        self.0.remove(id).unwrap_or_default()
    }
}

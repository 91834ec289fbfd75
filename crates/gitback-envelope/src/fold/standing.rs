//! Which folded envelopes count.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, PuddleKey};

use super::graph::{Graph, Place};
use crate::act::Act;
use crate::statement::Statement;

/// What is known about one envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It folded and counts.
    Valid,
    /// It folded and has no effect.
    Void(VoidReason),
    /// It has no effect yet: its past is not all here, or it, or something in its past, is of a kind that this
    /// version does not know.
    Waiting,
    /// It was never put in.
    Unknown,
}

/// Why a folded envelope has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoidReason {
    /// Its puddle is no member of the project.
    #[error("its puddle is not a member of the project")]
    NotMember,
    /// No counting grant in its past lets its envoy sign for its puddle.
    #[error("no grant in its past lets its envoy sign for its puddle")]
    NotGranted,
    /// It says something false about the git graph.
    #[error("it says something false about the git graph")]
    HeldOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Valid,
    Void(VoidReason),
    /// Of an unknown kind, or a descendant of one.
    Beyond,
}

/// Who may do what, as far as it has folded.
#[derive(Debug, Default)]
pub(super) struct Authority {
    founding: Option<(PuddleKey, Handle)>,
    grants: BTreeMap<EnvoyKey, BTreeMap<PuddleKey, Vec<Place>>>,
}

impl Authority {
    pub(super) fn founder(&self) -> Option<PuddleKey> {
        self.founding.as_ref().map(|(founder, _)| *founder)
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        self.founding.as_ref().map(|(_, handle)| handle)
    }

    pub(super) fn is_member(&self, puddle: &PuddleKey) -> bool {
        self.founder() == Some(*puddle)
    }

    /// The counting grants to `envoy`, by any puddle.
    pub(super) fn grants(&self, envoy: &EnvoyKey) -> impl Iterator<Item = Place> {
        self.grants
            .get(envoy)
            .into_iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .copied()
    }

    /// Judges an envelope that has just been added, by its past alone, and takes note of what it grants.
    pub(super) fn admit(&mut self, graph: &Graph, place: Place) -> Standing {
        let statement = graph.node(place).verified.statement();
        let known = |parent| graph.find(parent).map(|node| node.standing);
        let beyond = statement
            .parents()
            .any(|parent| known(parent) == Some(Standing::Beyond));
        if beyond {
            return Standing::Beyond;
        }
        match &statement.act {
            Act::Init { handle } => {
                self.founding = Some((statement.puddle, handle.clone()));
                Standing::Valid
            }
            Act::Grant(grant) => {
                if !self.is_member(&statement.puddle) {
                    return Standing::Void(VoidReason::NotMember);
                }
                let by_puddle = self.grants.entry(grant.envoy).or_default();
                by_puddle.entry(statement.puddle).or_default().push(place);
                Standing::Valid
            }
            Act::Update(_) => self.judge_update(graph, place, statement),
            Act::Unknown { .. } => Standing::Beyond,
            _ => Standing::Void(VoidReason::NotMember),
        }
    }

    fn judge_update(&self, graph: &Graph, place: Place, statement: &Statement) -> Standing {
        if !self.is_member(&statement.puddle) {
            return Standing::Void(VoidReason::NotMember);
        }
        if statement.signer == *statement.puddle.key() {
            return Standing::Valid;
        }
        let granted = self
            .grants
            .get(&EnvoyKey::new(statement.signer))
            .and_then(|by_puddle| by_puddle.get(&statement.puddle))
            .is_some_and(|grants| grants.iter().any(|grant| graph.is_ancestor(*grant, place)));
        if granted {
            Standing::Valid
        } else {
            Standing::Void(VoidReason::NotGranted)
        }
    }
}

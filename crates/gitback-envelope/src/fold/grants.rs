//! Which envoys may sign for whom, and what was taken back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, PuddleKey};

use super::bound::Bound;
use super::graph::{Graph, Place};
use super::standing::VoidReason;
use crate::act::Act;

/// The grants that count, and the ungrants.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    counting: BTreeMap<EnvoyKey, BTreeMap<PuddleKey, Vec<Place>>>,
    taken_back: BTreeMap<Place, TakenBack>,
}

/// What has ended one grant, none of it after another, and what lies within the cuts of all that.
#[derive(Clone, Debug)]
struct TakenBack {
    by: Vec<Place>,
    within: Bound,
}

impl Grants {
    /// Takes in a grant that counts. No ungrant that is here has seen it.
    pub(super) fn add(&mut self, graph: &Graph, place: Place) {
        let statement = graph.statement(place);
        if let Some(grant) = statement.grant() {
            let by_puddle = self.counting.entry(grant.envoy).or_default();
            by_puddle.entry(statement.puddle).or_default().push(place);
        }
    }

    /// Takes in an ungrant that counts, after all that lie in its past.
    pub(super) fn take_back(&mut self, graph: &Graph, by: Place) {
        let statement = graph.statement(by);
        let Act::Ungrant(ungrant) = &statement.act else {
            return;
        };
        let by_puddle = self.counting.get(&ungrant.envoy);
        let granted = by_puddle.and_then(|by_puddle| by_puddle.get(&statement.puddle));
        let within = Bound::cut(graph, &ungrant.cut);
        for grant in granted.into_iter().flatten() {
            if !graph.is_ancestor(*grant, by) {
                continue;
            }
            let Some(ended) = self.taken_back.get_mut(grant) else {
                let ended = TakenBack {
                    by: Vec::from([by]),
                    within: within.clone(),
                };
                self.taken_back.insert(*grant, ended);
                continue;
            };
            // Of several, those count that have no other of the same grant in their past.
            if !ended.by.iter().any(|other| graph.is_ancestor(*other, by)) {
                ended.by.push(by);
                ended.within.narrow(within.clone());
            }
        }
    }

    /// Forgets all that a puddle has granted.
    pub(super) fn forget(&mut self, puddle: &PuddleKey) {
        for by_puddle in self.counting.values_mut() {
            for grant in by_puddle.remove(puddle).into_iter().flatten() {
                self.taken_back.remove(&grant);
            }
        }
        self.counting.retain(|_, by_puddle| !by_puddle.is_empty());
    }

    /// The grants to `envoy` that nobody has taken back, with whose they are.
    pub(super) fn live(&self, envoy: &EnvoyKey) -> impl Iterator<Item = (&PuddleKey, Place)> {
        let by_puddle = self.counting.get(envoy).into_iter().flatten();
        let all = by_puddle.flat_map(|(puddle, grants)| {
            let grants = grants.iter().copied();
            grants.map(move |grant| (puddle, grant))
        });
        all.filter(|(_, grant)| !self.taken_back.contains_key(grant))
    }

    /// Whether the puddle of the envelope at `place` signed itself, or let the envoy sign that did.
    pub(super) fn judge(&self, graph: &Graph, place: Place) -> Result<(), VoidReason> {
        let statement = graph.statement(place);
        if statement.by_puddle() {
            return Ok(());
        }
        let by_puddle = self.counting.get(&EnvoyKey::new(statement.signer));
        let grants = by_puddle.and_then(|by_puddle| by_puddle.get(&statement.puddle));
        let mut reason = VoidReason::NotGranted;
        for grant in grants.into_iter().flatten() {
            if !graph.is_ancestor(*grant, place) {
                continue;
            }
            match self.taken_back.get(grant) {
                Some(ended) if !ended.within.contains(graph, place) => {
                    reason = VoidReason::Ungranted;
                }
                Some(_) | None => return Ok(()),
            }
        }
        Err(reason)
    }
}

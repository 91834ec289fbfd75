//! The fold once more, slowly and from the rules alone, to compare the real one with.
//!
//! Ancestry is a set for each envelope, and everything is worked out from the whole set at once.

#![expect(
    clippy::indexing_slicing,
    reason = "a test: whatever is in `past` is in `envelopes`"
)]

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{
    Act, Change, EnvelopeId, Oid, RefName, Statement, Verdict, Verified, VoidReason,
};
use gitback_identity::EnvoyKey;

use super::world::founder_key;

pub(super) struct Oracle {
    envelopes: BTreeMap<EnvelopeId, Verified>,
    pub(super) past: BTreeMap<EnvelopeId, BTreeSet<EnvelopeId>>,
    held_out: BTreeSet<EnvelopeId>,
}

impl Oracle {
    pub(super) fn new(envelopes: &[Verified], held_out: &BTreeSet<EnvelopeId>) -> Self {
        let envelopes: BTreeMap<_, _> = envelopes
            .iter()
            .map(|verified| (*verified.id(), verified.clone()))
            .collect();
        let mut oracle = Self {
            envelopes,
            past: BTreeMap::new(),
            held_out: held_out.clone(),
        };
        oracle.close();
        oracle
    }

    /// Finds the past of everything whose past is all here, until nothing more is found.
    fn close(&mut self) {
        loop {
            let before = self.past.len();
            for (id, verified) in &self.envelopes {
                if self.past.contains_key(id) || !self.chain_holds(verified.statement()) {
                    continue;
                }
                let parents = parents(verified.statement());
                let pasts: Option<Vec<_>> = parents.iter().map(|id| self.past.get(id)).collect();
                if let Some(pasts) = pasts {
                    let mut past: BTreeSet<_> = pasts.into_iter().flatten().copied().collect();
                    past.extend(parents);
                    self.past.insert(*id, past);
                }
            }
            if self.past.len() == before {
                return;
            }
        }
    }

    fn chain_holds(&self, statement: &Statement) -> bool {
        let Some(prev) = statement.prev else {
            return true;
        };
        self.envelopes.get(&prev).is_some_and(|prev| {
            let prev = prev.statement();
            (prev.signer, prev.puddle, prev.incarnation, prev.seq + 1)
                == (
                    statement.signer,
                    statement.puddle,
                    statement.incarnation,
                    statement.seq,
                )
        })
    }

    pub(super) fn verdict(&self, id: &EnvelopeId) -> Verdict {
        let Some(past) = self.past.get(id) else {
            return Verdict::Waiting;
        };
        let statement = self.envelopes[id].statement();
        let unknown = |id| matches!(self.envelopes[id].statement().act, Act::Unknown { .. });
        if unknown(id) || past.iter().any(unknown) {
            return Verdict::Waiting;
        }
        match &statement.act {
            Act::Init { .. } => Verdict::Valid,
            Act::Update(_) if self.held_out.contains(id) => Verdict::Void(VoidReason::HeldOut),
            _ if statement.puddle != founder_key() => Verdict::Void(VoidReason::NotMember),
            Act::Update(_) if !self.may_sign(statement, past) => {
                Verdict::Void(VoidReason::NotGranted)
            }
            _ => Verdict::Valid,
        }
    }

    fn may_sign(&self, statement: &Statement, past: &BTreeSet<EnvelopeId>) -> bool {
        let granted = past.iter().any(|id| {
            let grant = self.envelopes[id].statement();
            let to = |envoy: EnvoyKey| *envoy.key() == statement.signer;
            let granted = matches!(&grant.act, Act::Grant(act) if to(act.envoy));
            granted && grant.puddle == statement.puddle
        });
        granted || statement.signer == *founder_key().key()
    }

    fn change(&self, id: &EnvelopeId, name: &RefName) -> Option<&Change> {
        match &self.envelopes.get(id)?.statement().act {
            Act::Update(update) => update.changes.iter().find(|change| change.name == *name),
            _ => None,
        }
    }

    fn valid(&self, id: &EnvelopeId) -> bool {
        self.verdict(id) == Verdict::Valid
    }

    /// What `id` contains of `name`, by itself and through void updates.
    fn contained(&self, id: &EnvelopeId, name: &RefName) -> BTreeSet<EnvelopeId> {
        let mut all = BTreeSet::new();
        for inner in self
            .change(id, name)
            .map(|change| &change.contained)
            .into_iter()
            .flatten()
        {
            if self.change(inner, name).is_none() || !self.past[id].contains(inner) {
                continue;
            }
            all.insert(*inner);
            let verdict = self.verdict(inner);
            let lost = Verdict::Void(VoidReason::HeldOut) != verdict && verdict != Verdict::Valid;
            if lost {
                all.extend(self.contained(inner, name));
            }
        }
        all
    }

    fn replaced(&self, id: &EnvelopeId, name: &RefName) -> BTreeSet<EnvelopeId> {
        let forced = self.change(id, name).map(|change| &change.forced);
        let mut all = self.contained(id, name);
        all.extend(
            forced
                .into_iter()
                .flatten()
                .filter(|id| self.change(id, name).is_some()),
        );
        all.retain(|replaced| self.past[id].contains(replaced));
        all
    }

    /// The heads of a ref as (deletion, id, object), the visible one first.
    pub(super) fn heads(&self, name: &RefName) -> Vec<(bool, EnvelopeId, Oid)> {
        let touching = self
            .past
            .keys()
            .filter(|id| self.change(id, name).is_some());
        let updates: Vec<_> = touching.filter(|id| self.valid(id)).collect();
        let replaced: BTreeSet<_> = updates
            .iter()
            .flat_map(|id| self.replaced(id, name))
            .collect();
        let heads = updates.into_iter().filter(|id| !replaced.contains(id));
        let mut heads: Vec<_> = heads
            .map(|id| {
                let new = self.change(id, name).expect("it touches the ref").new;
                (new.is_zero(), *id, new)
            })
            .collect();
        heads.sort();
        heads
    }

    pub(super) fn head_target(&self) -> Option<RefName> {
        let head = |id: &EnvelopeId| match &self.envelopes[id].statement().act {
            Act::Update(update) => update.head.clone(),
            _ => None,
        };
        let saying: Vec<_> = self
            .past
            .keys()
            .filter(|id| head(id).is_some() && self.valid(id))
            .collect();
        let latest = saying
            .iter()
            .filter(|id| !saying.iter().any(|later| self.past[*later].contains(**id)));
        latest.min().and_then(|id| head(id))
    }

    /// Valid envelopes that no valid one descends from.
    pub(super) fn valid_heads(&self) -> Vec<EnvelopeId> {
        let valid: Vec<_> = self.past.keys().filter(|id| self.valid(id)).collect();
        let covered: BTreeSet<_> = valid.iter().flat_map(|id| &self.past[*id]).collect();
        valid
            .into_iter()
            .filter(|id| !covered.contains(id))
            .copied()
            .collect()
    }
}

fn parents(statement: &Statement) -> BTreeSet<EnvelopeId> {
    statement
        .prev
        .iter()
        .chain(&statement.deps)
        .copied()
        .collect()
}

//! §3 and §6: the founder line, and the end of the project.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Act, Contest, Delegate, EnvelopeId, Hop, VoidReason};
use gitback_identity::PuddleKey;
use sha2::{Digest as _, Sha256};

use super::{Ids, Oracle, Worth};

#[derive(Default)]
pub(super) struct Line {
    pub(super) hops: Vec<Hop>,
    pub(super) contests: Vec<Contest>,
    /// For each retired key what still counts of it.
    limits: BTreeMap<PuddleKey, Ids>,
}

impl Oracle {
    pub(super) fn genesis(&self) -> Option<PuddleKey> {
        let init = self.of_kind(|act| matches!(act, Act::Init { .. }));
        init.first().map(|init| self.puddle(init))
    }

    pub(super) fn follow_line(&mut self) {
        let Some(genesis) = self.genesis() else {
            return;
        };
        self.line.hops.push(Hop {
            hop: 0,
            key: genesis,
            delegate: None,
            next: None,
        });
        for hop in 1..=5 {
            let candidates = self.candidates(hop);
            let promised: BTreeSet<_> = candidates
                .iter()
                .map(|id| {
                    let said = self.delegate(id);
                    (said.to, said.next)
                })
                .collect();
            let followed = match self.pins.get(&hop) {
                Some(pin) => candidates.get(pin),
                None if promised.len() > 1 => None,
                None => candidates.first(),
            };
            let followed = followed.copied();
            if promised.len() > 1 {
                self.line.contests.push(Contest {
                    hop,
                    delegates: candidates.iter().copied().collect(),
                    followed,
                });
            }
            let Some(followed) = followed else {
                return;
            };
            let delegate = self.delegate(&followed).clone();
            let mut limit = self.within(&delegate.cut);
            limit.insert(followed);
            self.line.limits.insert(self.puddle(&followed), limit);
            self.line.hops.push(Hop {
                hop,
                key: delegate.to,
                delegate: Some(followed),
                next: delegate.next,
            });
        }
    }

    fn candidates(&self, hop: u64) -> Ids {
        let delegates = self.of_kind(|act| matches!(act, Act::Delegate(_)));
        let fits = |id: &EnvelopeId| self.could_be_hop(id, hop, &self.line.hops).is_ok();
        delegates.into_iter().filter(fits).collect()
    }

    fn delegate(&self, id: &EnvelopeId) -> &Delegate {
        let Act::Delegate(delegate) = self.act(id) else {
            panic!("{id} is no delegation");
        };
        delegate
    }

    /// Whether a delegation can be the next one of a line that consists of `hops` so far.
    fn could_be_hop(&self, id: &EnvelopeId, hop: u64, hops: &[Hop]) -> Worth {
        let delegate = self.delegate(id);
        let last = hops.last().expect("the genesis key at least");
        if delegate.hop != hop || u64::try_from(hops.len()).ok() != Some(hop) {
            return Err(VoidReason::WrongHop);
        }
        let on_line = |key: PuddleKey| hops.iter().any(|hop| hop.key == key);
        if self.puddle(id) != last.key {
            return Err(if on_line(self.puddle(id)) {
                VoidReason::Retired
            } else {
                VoidReason::NotFounder
            });
        }
        if on_line(delegate.to) {
            return Err(VoidReason::KeyTwice);
        }
        if !last.delegate.is_none_or(|own| self.before(&own, id)) {
            return Err(VoidReason::NotYetHeir);
        }
        let digest: [u8; 32] = Sha256::digest(delegate.to.as_bytes()).into();
        if last.next.is_some_and(|next| next != digest) {
            return Err(VoidReason::NotCommitted);
        }
        Ok(())
    }

    pub(super) fn worth_of_delegate(&self, id: &EnvelopeId, delegate: &Delegate) -> Worth {
        let followed = self.line.hops.iter().any(|hop| hop.delegate == Some(*id));
        if followed {
            return Ok(());
        }
        let mut contests = self.line.contests.iter();
        if let Some(contest) = contests.find(|contest| contest.delegates.contains(id)) {
            return Err(match contest.followed {
                Some(_) => VoidReason::NotPicked,
                None => VoidReason::Contested,
            });
        }
        if delegate.hop > 5 {
            return Err(VoidReason::HopLimit);
        }
        let before = self.line.hops.iter().filter(|hop| hop.hop < delegate.hop);
        let before: Vec<Hop> = before.copied().collect();
        self.could_be_hop(id, delegate.hop, &before)?;
        Err(VoidReason::NotPicked)
    }

    pub(super) fn on_line(&self, puddle: &PuddleKey) -> bool {
        self.line.hops.iter().any(|hop| hop.key == *puddle)
    }

    pub(super) fn is_retired(&self, puddle: &PuddleKey) -> bool {
        self.line.limits.contains_key(puddle)
    }

    /// Whether it lies within what still counts of its key.
    pub(super) fn within_limit(&self, id: &EnvelopeId) -> bool {
        let limit = self.line.limits.get(&self.puddle(id));
        limit.is_none_or(|limit| limit.contains(id))
    }

    pub(super) fn speaks_for_founder(&self, id: &EnvelopeId) -> Worth {
        let key = self.puddle(id);
        let hop = self.line.hops.iter().find(|hop| hop.key == key);
        let hop = hop.ok_or(VoidReason::NotFounder)?;
        if !hop.delegate.is_none_or(|own| self.before(&own, id)) {
            return Err(VoidReason::NotYetHeir);
        }
        if !self.within_limit(id) {
            return Err(VoidReason::Retired);
        }
        Ok(())
    }

    pub(super) fn end(&mut self) {
        let tombstones = self.of_kind(|act| matches!(act, Act::Tombstone(_)));
        self.tombstones = self.counting(tombstones);
        for id in self.tombstones.clone() {
            let mut within = self.within(self.act(&id).cut().expect("a tombstone has one"));
            within.extend(&self.past[&id]);
            within.insert(id);
            let before = self.end.take();
            self.end = Some(before.map_or_else(|| within.clone(), |before| &before & &within));
        }
    }
}

//! The founder line: the genesis key and its heirs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use gitback_identity::PuddleKey;
use sha2::{Digest as _, Sha256};

use super::bound::Bound;
use super::graph::{Graph, Place};
use super::standing::VoidReason;
use crate::act::{Act, Delegate};
use crate::id::EnvelopeId;

/// How often the founder line passes on at most.
pub const HOPS_MAX: u64 = 5;

/// One key of the founder line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// 0 for the genesis key.
    pub hop: u64,
    /// The key.
    pub key: PuddleKey,
    /// The delegation that passed the line on to it; none for the genesis key.
    pub delegate: Option<EnvelopeId>,
    /// SHA-256 of the only key that it can pass the line on to, if the delegation says so.
    pub next: Option<[u8; 32]>,
}

/// Two or more delegations of one hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The hop.
    pub hop: u64,
    /// The delegations, ascending.
    pub delegates: Vec<EnvelopeId>,
    /// The one that is followed here; none: the line stops before this hop.
    pub followed: Option<EnvelopeId>,
}

/// The founder line as far as it can be followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    hops: Vec<Hop>,
    /// For each key but the genesis key: its delegation.
    since: BTreeMap<PuddleKey, Option<Place>>,
    /// For each retired key: what still counts of it.
    limits: BTreeMap<PuddleKey, Bound>,
    contests: Vec<Contest>,
}

impl Line {
    /// Follows the line from `genesis` hop by hop.
    pub(super) fn follow(
        graph: &Graph,
        genesis: PuddleKey,
        delegates: &BTreeMap<u64, Vec<Place>>,
        pins: &BTreeMap<u64, EnvelopeId>,
    ) -> Self {
        let mut line = Self {
            hops: Vec::from([Hop {
                hop: 0,
                key: genesis,
                delegate: None,
                next: None,
            }]),
            since: BTreeMap::from([(genesis, None)]),
            limits: BTreeMap::new(),
            contests: Vec::new(),
        };
        for hop in 1..=HOPS_MAX {
            let named = delegates.get(&hop).map_or(&[][..], Vec::as_slice);
            let fits = |place: &&Place| line.check(graph, hop, **place).is_ok();
            let candidates: Vec<Place> = named.iter().filter(fits).copied().collect();
            let Some(chosen) = line.choose(graph, hop, &candidates, pins.get(&hop)) else {
                break;
            };
            line.pass_on(graph, chosen);
        }
        line
    }

    /// Whether the delegation at `place` can be the next hop, which has the number `hop`.
    fn check(&self, graph: &Graph, hop: u64, place: Place) -> Result<(), VoidReason> {
        let statement = graph.statement(place);
        let (Some(last), Some(delegate)) = (self.hops.last(), delegate(graph, place)) else {
            return Err(VoidReason::WrongHop);
        };
        if delegate.hop != hop {
            return Err(VoidReason::WrongHop);
        }
        if statement.puddle != last.key {
            return Err(if self.since.contains_key(&statement.puddle) {
                VoidReason::Retired
            } else {
                VoidReason::NotFounder
            });
        }
        if self.since.contains_key(&delegate.to) {
            return Err(VoidReason::KeyTwice);
        }
        if !self.follows_own_delegation(graph, &last.key, place) {
            return Err(VoidReason::NotYetHeir);
        }
        let committed = |next: [u8; 32]| next == commitment(&delegate.to);
        if !last.next.is_none_or(committed) {
            return Err(VoidReason::NotCommitted);
        }
        Ok(())
    }

    /// Of several delegations of one hop the pinned one; without a pin only when they agree on the heir.
    fn choose(
        &mut self,
        graph: &Graph,
        hop: u64,
        candidates: &[Place],
        pin: Option<&EnvelopeId>,
    ) -> Option<Place> {
        let says = |place: &Place| delegate(graph, *place).map(|said| (said.to, said.next));
        let heirs: BTreeSet<_> = candidates.iter().filter_map(says).collect();
        let chosen = match pin {
            // What is pinned and not here will come; nothing else takes its place.
            Some(pin) => candidates.iter().find(|place| graph.id(**place) == pin),
            None if heirs.len() > 1 => None,
            None => candidates.iter().min_by_key(|place| graph.id(**place)),
        };
        if heirs.len() > 1 {
            let ids: BTreeSet<_> = candidates.iter().map(|place| *graph.id(*place)).collect();
            self.contests.push(Contest {
                hop,
                delegates: ids.into_iter().collect(),
                followed: chosen.map(|place| *graph.id(*place)),
            });
        }
        chosen.copied()
    }

    fn pass_on(&mut self, graph: &Graph, place: Place) {
        let (Some(delegate), Some(last)) = (delegate(graph, place), self.hops.last()) else {
            return;
        };
        let limit = Bound::cut(graph, &delegate.cut).and(place);
        self.limits.insert(last.key, limit);
        self.since.insert(delegate.to, Some(place));
        self.hops.push(Hop {
            hop: delegate.hop,
            key: delegate.to,
            delegate: Some(*graph.id(place)),
            next: delegate.next,
        });
    }

    fn follows_own_delegation(&self, graph: &Graph, key: &PuddleKey, place: Place) -> bool {
        match self.since.get(key) {
            Some(Some(since)) => graph.is_ancestor(*since, place),
            Some(None) => true,
            None => false,
        }
    }

    pub(super) fn hops(&self) -> &[Hop] {
        &self.hops
    }

    pub(super) fn contests(&self) -> &[Contest] {
        &self.contests
    }

    pub(super) fn contains(&self, key: &PuddleKey) -> bool {
        self.since.contains_key(key)
    }

    /// The key that may act for the founder now.
    pub(super) fn current(&self) -> Option<PuddleKey> {
        self.hops.last().map(|hop| hop.key)
    }

    /// Whether what `key` says at `place` lies within what still counts of it.
    pub(super) fn within_limit(&self, graph: &Graph, key: &PuddleKey, place: Place) -> bool {
        let limit = self.limits.get(key);
        limit.is_none_or(|limit| limit.contains(graph, place))
    }

    /// Whether `key` has been retired.
    pub(super) fn is_retired(&self, key: &PuddleKey) -> bool {
        self.limits.contains_key(key)
    }

    /// Whether the envelope at `place` speaks for the founder.
    pub(super) fn speaks(&self, graph: &Graph, place: Place) -> Result<(), VoidReason> {
        let key = graph.statement(place).puddle;
        if !self.contains(&key) {
            return Err(VoidReason::NotFounder);
        }
        if !self.follows_own_delegation(graph, &key, place) {
            return Err(VoidReason::NotYetHeir);
        }
        if !self.within_limit(graph, &key, place) {
            return Err(VoidReason::Retired);
        }
        Ok(())
    }

    /// Why the delegation at `place` is part of the line, or is not.
    pub(super) fn judge(&self, graph: &Graph, place: Place) -> Result<(), VoidReason> {
        let id = graph.id(place);
        if self
            .hops
            .iter()
            .any(|hop| hop.delegate.as_ref() == Some(id))
        {
            return Ok(());
        }
        let hop = delegate(graph, place).map_or(0, |delegate| delegate.hop);
        let contested = self.contests.iter().find(|contest| contest.hop == hop);
        if let Some(contest) =
            contested.filter(|contest| contest.delegates.binary_search(id).is_ok())
        {
            return Err(match contest.followed {
                Some(_) => VoidReason::NotPicked,
                None => VoidReason::Contested,
            });
        }
        if hop > HOPS_MAX {
            return Err(VoidReason::HopLimit);
        }
        // Judged against the line as it was before that hop.
        let before = self.before(hop);
        if u64::try_from(before.hops.len()) != Ok(hop) {
            return Err(VoidReason::WrongHop);
        }
        before.check(graph, hop, place)?;
        Err(VoidReason::NotPicked)
    }

    /// The line with its first `hops` keys.
    fn before(&self, hops: u64) -> Self {
        let hops: Vec<Hop> = self
            .hops
            .iter()
            .filter(|hop| hop.hop < hops)
            .copied()
            .collect();
        let has = |key: &PuddleKey| hops.iter().any(|hop| hop.key == *key);
        let since = self.since.iter().filter(|(key, _)| has(key));
        Self {
            since: since.map(|(key, place)| (*key, *place)).collect(),
            hops,
            limits: BTreeMap::new(),
            contests: Vec::new(),
        }
    }
}

/// What stands for a pin in the digest.
pub(super) fn pin_digest(hop: u64, delegate: &EnvelopeId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"gitback pin v1");
    hash.update(hop.to_be_bytes());
    hash.update(delegate.as_bytes());
    hash.finalize().into()
}

/// What a delegation commits to: the SHA-256 of the next key.
pub(super) fn commitment(key: &PuddleKey) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn delegate(graph: &Graph, place: Place) -> Option<&Delegate> {
    if let Act::Delegate(delegate) = &graph.statement(place).act {
        Some(delegate)
    } else {
        None
    }
}

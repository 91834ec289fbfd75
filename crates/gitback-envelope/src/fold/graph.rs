//! The folded envelopes, their chains and their ancestry.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use gitback_identity::{PublicKey, PuddleKey};
use sha2::{Digest as _, Sha256};

use super::clock::Clock;
use super::standing::Standing;
use super::{Equivocation, Tip};
use crate::envelope::Verified;
use crate::id::{EnvelopeId, Incarnation};
use crate::refname::RefName;
use crate::statement::Statement;

/// Steps back from a chain's end at which [`Graph::tips`] names one more envelope: 1, 8, 64, …
const WAYMARK_FACTOR: u64 = 8;

/// The place of a folded envelope in the order in which it folded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

/// Whose chain: the key that signs, the puddle acted for, the life of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chain {
    pub(super) signer: PublicKey,
    pub(super) puddle: PuddleKey,
    pub(super) incarnation: Incarnation,
}

impl Chain {
    pub(super) const fn of(statement: &Statement) -> Self {
        Self {
            signer: statement.signer,
            puddle: statement.puddle,
            incarnation: statement.incarnation,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) verified: Verified,
    pub(super) standing: Standing,
    branch: u32,
    past: Clock,
}

/// A run of envelopes in which each is the `prev` of the next. A chain that never says two things at one number has
/// exactly one; each second statement at a number begins another, which shares what came before.
#[derive(Clone, Debug)]
struct Branch {
    /// The branch that holds the envelope before the first one here.
    parent: Option<u32>,
    /// The number of the first envelope here.
    first_seq: u64,
    places: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    places: BTreeMap<EnvelopeId, Place>,
    branches: Vec<Branch>,
    chains: BTreeMap<Chain, Vec<u32>>,
    forks: BTreeMap<(Chain, u64), BTreeSet<EnvelopeId>>,
    by_puddle: BTreeMap<PuddleKey, Vec<Place>>,
    heads: BTreeSet<EnvelopeId>,
    digest: Sum,
    /// For updates that say something false about the git graph: about which refs.
    lies: BTreeMap<Place, BTreeSet<RefName>>,
}

impl Graph {
    pub(super) const fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn contains(&self, id: &EnvelopeId) -> bool {
        self.places.contains_key(id)
    }

    pub(super) fn place(&self, id: &EnvelopeId) -> Option<Place> {
        self.places.get(id).copied()
    }

    pub(super) fn find(&self, id: &EnvelopeId) -> Option<&Node> {
        self.place(id).map(|place| self.node(place))
    }

    pub(super) fn node(&self, place: Place) -> &Node {
        usize::try_from(place.0)
            .ok()
            .and_then(|at| self.nodes.get(at))
            .expect("a place is only given to a node that is here")
    }

    pub(super) fn statement(&self, place: Place) -> &Statement {
        self.node(place).verified.statement()
    }

    pub(super) fn id(&self, place: Place) -> &EnvelopeId {
        self.node(place).verified.id()
    }

    /// The past of an envelope, itself included.
    pub(super) fn past(&self, place: Place) -> &Clock {
        &self.node(place).past
    }

    /// Whether `clock` counts the envelope at `place`.
    pub(super) fn covers(&self, clock: &Clock, place: Place) -> bool {
        let node = self.node(place);
        let position = position(self.branch(node.branch), node.seq());
        position.is_some_and(|at| u64::from(clock.count(node.branch)) > at)
    }

    /// Notes about which refs an update says something false.
    pub(super) fn note_lies(&mut self, place: Place, names: &BTreeSet<RefName>) {
        self.lies
            .entry(place)
            .or_default()
            .extend(names.iter().cloned());
    }

    /// Whether an update says something false about a ref.
    pub(super) fn lies_about(&self, place: Place, name: &RefName) -> bool {
        self.lies
            .get(&place)
            .is_some_and(|names| names.contains(name))
    }

    /// Everything that was said for a puddle, in the order in which it folded.
    pub(super) fn said_for(&self, puddle: &PuddleKey) -> &[Place] {
        self.by_puddle.get(puddle).map_or(&[], Vec::as_slice)
    }

    /// Every place, in the order of folding.
    pub(super) fn places(&self) -> impl DoubleEndedIterator<Item = Place> + use<> {
        (0..number(self.nodes.len())).map(Place)
    }

    pub(super) fn set_standing(&mut self, place: Place, standing: Standing) {
        let node = usize::try_from(place.0)
            .ok()
            .and_then(|at| self.nodes.get_mut(at));
        node.expect("a place is only given to a node that is here")
            .standing = standing;
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Whether `ancestor` lies in the past of `descendant`; nothing lies in its own past.
    pub(super) fn is_ancestor(&self, ancestor: Place, descendant: Place) -> bool {
        ancestor != descendant && self.covers(self.past(descendant), ancestor)
    }

    /// The sum over all ids, for the digest.
    pub(super) const fn sum(&self) -> Sum {
        self.digest
    }

    /// Adds an envelope whose whole past is here and whose `prev` has been checked.
    pub(super) fn add(&mut self, verified: Verified) -> Place {
        let place = Place(number(self.nodes.len()));
        let id = *verified.id();
        let branch = self.join_branch(&verified, place);
        let mut past = Clock::default();
        for parent in verified.statement().parents() {
            if let Some(parent) = self.find(parent) {
                past.merge(&parent.past);
            }
            self.heads.remove(parent);
        }
        let count = self.branch(branch).places.len();
        past.raise(branch, number(count));
        self.heads.insert(id);
        self.digest.add(&Sha256::digest(id.as_bytes()).into());
        self.places.insert(id, place);
        let puddle = verified.statement().puddle;
        self.by_puddle.entry(puddle).or_default().push(place);
        self.nodes.push(Node {
            verified,
            standing: Standing::Valid,
            branch,
            past,
        });
        place
    }

    /// Extends the branch of `prev`, or begins another when something already follows `prev`.
    fn join_branch(&mut self, verified: &Verified, place: Place) -> u32 {
        let statement = verified.statement();
        let chain = Chain::of(statement);
        let prev = statement.prev.and_then(|prev| self.place(&prev));
        let parent = prev.map(|prev| self.node(prev).branch);
        if let (Some(parent), Some(prev)) = (parent, prev)
            && self.branch(parent).places.last() == Some(&prev)
        {
            self.branch_mut(parent).places.push(place);
            return parent;
        }
        let branch = number(self.branches.len());
        self.note_fork(chain, parent, verified);
        self.branches.push(Branch {
            parent,
            first_seq: statement.seq,
            places: Vec::from([place]),
        });
        self.chains.entry(chain).or_default().push(branch);
        branch
    }

    /// Keeps both envelopes as evidence when a second one stands at the number of a first.
    fn note_fork(&mut self, chain: Chain, parent: Option<u32>, verified: &Verified) {
        let seq = verified.statement().seq;
        let first = match parent {
            Some(parent) => self.at_seq(parent, seq),
            None => self
                .chains
                .get(&chain)
                .and_then(|branches| branches.first())
                .and_then(|first| self.at_seq(*first, seq)),
        };
        if let Some(first) = first {
            let ids = [*self.node(first).verified.id(), *verified.id()];
            self.forks.entry((chain, seq)).or_default().extend(ids);
        }
    }

    pub(super) fn equivocations(&self) -> impl Iterator<Item = Equivocation> {
        self.forks.iter().map(|((chain, seq), ids)| Equivocation {
            signer: chain.signer,
            puddle: chain.puddle,
            incarnation: chain.incarnation,
            seq: *seq,
            ids: ids.iter().copied().collect(),
        })
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &EnvelopeId> {
        self.heads.iter()
    }

    /// For each end of each chain: the end, and waymarks at growing distances before it.
    pub(super) fn tips(&self) -> Vec<Tip> {
        let mut tips = BTreeSet::new();
        for (number, branch) in (0_u32..).zip(&self.branches) {
            let end = branch.end_seq();
            let mut back = 0;
            while let Some(seq) = end.checked_sub(back) {
                tips.extend(self.at_seq(number, seq).map(|place| self.tip(place)));
                back = (back * WAYMARK_FACTOR).max(1);
            }
        }
        tips.into_iter().collect()
    }

    fn tip(&self, place: Place) -> Tip {
        let verified = &self.node(place).verified;
        let chain = Chain::of(verified.statement());
        Tip {
            signer: chain.signer,
            puddle: chain.puddle,
            incarnation: chain.incarnation,
            seq: verified.statement().seq,
            id: *verified.id(),
        }
    }

    /// Everything that is in the past of none of `tips`. Ids that are not here say nothing.
    pub(super) fn lacking(&self, tips: &[Tip]) -> Vec<Verified> {
        let mut known = Clock::default();
        for node in tips.iter().filter_map(|tip| self.find(&tip.id)) {
            known.merge(&node.past);
        }
        let mut places = Vec::new();
        for (number, branch) in (0_u32..).zip(&self.branches) {
            let count = usize::try_from(known.count(number)).unwrap_or(usize::MAX);
            places.extend(branch.places.iter().skip(count));
        }
        places.sort_unstable();
        let verified = |place| self.node(place).verified.clone();
        places.into_iter().map(verified).collect()
    }

    /// The end of a chain: of several, the longest, then the one with the lowest id.
    pub(super) fn chain_end(&self, chain: &Chain) -> Option<&Verified> {
        let ends = self.chains.get(chain)?.iter().filter_map(|branch| {
            let end = self.branch(*branch).places.last()?;
            Some(&self.node(*end).verified)
        });
        ends.min_by_key(|end| (core::cmp::Reverse(end.statement().seq), *end.id()))
    }

    /// The envelope with number `seq` on the path that ends in `branch`.
    fn at_seq(&self, branch: u32, seq: u64) -> Option<Place> {
        let mut branch = self.branch(branch);
        while seq < branch.first_seq {
            branch = self.branch(branch.parent?);
        }
        let at = usize::try_from(position(branch, seq)?).ok()?;
        branch.places.get(at).copied()
    }

    fn branch(&self, number: u32) -> &Branch {
        usize::try_from(number)
            .ok()
            .and_then(|at| self.branches.get(at))
            .expect("a node's branch is here")
    }

    fn branch_mut(&mut self, number: u32) -> &mut Branch {
        usize::try_from(number)
            .ok()
            .and_then(|at| self.branches.get_mut(at))
            .expect("a node's branch is here")
    }
}

impl Node {
    fn seq(&self) -> u64 {
        self.verified.statement().seq
    }
}

impl Branch {
    fn end_seq(&self) -> u64 {
        let count = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        self.first_seq.saturating_add(count.saturating_sub(1))
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("ENVELOPES_MAX fits into 32 bits")
}

fn position(branch: &Branch, seq: u64) -> Option<u64> {
    seq.checked_sub(branch.first_seq)
}

/// A sum of numbers modulo 2^256, big-endian: the same for the same set in any order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    pub(super) fn add(&mut self, number: &[u8; 32]) {
        let (limbs, _) = number.as_chunks::<8>();
        let mut carry = false;
        for (limb, addend) in self.0.iter_mut().zip(limbs).rev() {
            let (sum, first) = limb.overflowing_add(u64::from_be_bytes(*addend));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
    }

    pub(super) const fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let [a, b, c, d] = self.0;
        let value = [
            a.to_be_bytes(),
            b.to_be_bytes(),
            c.to_be_bytes(),
            d.to_be_bytes(),
        ];
        bytes.copy_from_slice(value.as_flattened());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn the_sum_carries_and_wraps() {
        let mut one = [0; 32];
        one[31] = 1;
        let mut sum = Sum::default();
        sum.add(&[0xff; 32]);
        assert_eq!(sum.to_bytes(), [0xff; 32]);
        sum.add(&one);
        assert_eq!(sum.to_bytes(), [0; 32]);
        sum.add(&one);
        assert_eq!(sum.to_bytes(), one);
    }
}

//! The state of a project, folded from a set of envelopes.
//!
//! Only the set matters: not the order in which it arrived, not how often, not any clock.
//!
//! Source: docs/spec/fold.md.

mod authority;
mod awaited;
mod bound;
mod clock;
mod grants;
mod graph;
mod heads;
mod line;
mod members;
mod quota;
mod refs;
mod returning;
mod standing;
mod waiting;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use gitback_identity::{ProjectId, PublicKey, PuddleKey};

use crate::act::Act;
use crate::envelope::Verified;
use crate::id::{EnvelopeId, Incarnation, Oid};
use crate::refname::RefName;
use crate::reject::Reject;
use crate::statement::{DEPS_MAX, Statement};

use authority::{Authority, Shaken};
use graph::{Chain, Graph, Place};
use quota::Quota;
use refs::Refs;
use standing::Standing;
use waiting::Waiting;

pub use authority::Access;
pub use line::{Contest, HOPS_MAX, Hop};
pub use members::{Alarm, Membership, MembershipState, Successor};
pub use quota::{STRANGERS_VOID_MAX, VOID_MAX};
pub use refs::{Claim, Head, RefState};
pub use standing::{Verdict, VoidReason};
pub use waiting::{WAITING_BYTES_MAX, WAITING_MAX};

/// The most envelopes one project keeps.
pub const ENVELOPES_MAX: usize = 1 << 24;
/// The most envelopes of kinds that this version does not know that one project keeps.
pub const UNKNOWN_MAX: usize = 1024;

/// One project's envelopes and the state they fold to.
///
/// An envelope folds when its whole past is here; until then it waits. Putting one into a project of 100,000 costs
/// about what it costs in a project of 100, unless it ends what others rest on: then those are judged again.
#[derive(Clone, Debug)]
pub struct Project {
    id: ProjectId,
    graph: Graph,
    waiting: Waiting,
    authority: Authority,
    refs: Refs,
    /// Updates known to lie about the git graph, whether they are here or not, and about which refs.
    held_out: BTreeMap<EnvelopeId, BTreeSet<RefName>>,
    /// Valid envelopes that no valid one descends from.
    valid_heads: BTreeSet<EnvelopeId>,
    unknown: usize,
    quota: Quota,
}

/// What became of an envelope that was put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was here already.
    Duplicate,
    /// Something in its past is missing; it is kept.
    Waiting,
    /// It folded, and with it those that had waited for it: all of them, each after its past.
    Folded(Vec<EnvelopeId>),
}

/// An envelope that somebody holds, and with it its whole past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tip {
    /// The key that signs the chain.
    pub signer: PublicKey,
    /// The puddle acted for.
    pub puddle: PuddleKey,
    /// The life of the author's log.
    pub incarnation: Incarnation,
    /// The number on the chain.
    pub seq: u64,
    /// The envelope.
    pub id: EnvelopeId,
}

/// Two or more envelopes at one number of one chain: evidence of a copied key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The key that signed both.
    pub signer: PublicKey,
    /// The puddle acted for.
    pub puddle: PuddleKey,
    /// The life of the author's log.
    pub incarnation: Incarnation,
    /// The number on the chain.
    pub seq: u64,
    /// The envelopes, ascending.
    pub ids: Vec<EnvelopeId>,
}

impl Project {
    /// A project of which nothing is known yet.
    #[must_use]
    pub fn new(id: ProjectId) -> Self {
        Self::with_pins(id, BTreeMap::new())
    }

    /// A project of which nothing is known yet but which delegation to follow at some hops of the founder line.
    #[must_use]
    pub fn with_pins(id: ProjectId, pins: BTreeMap<u64, EnvelopeId>) -> Self {
        Self {
            id,
            graph: Graph::default(),
            waiting: Waiting::default(),
            authority: Authority::with_pins(pins),
            refs: Refs::default(),
            held_out: BTreeMap::new(),
            valid_heads: BTreeSet::new(),
            unknown: 0,
            quota: Quota::default(),
        }
    }

    /// Which project this is.
    #[must_use]
    pub const fn id(&self) -> &ProjectId {
        &self.id
    }

    /// Puts an envelope in and folds whatever can fold now.
    ///
    /// # Errors
    ///
    /// [`Reject::WrongProject`]; [`Reject::BrokenChain`] if its `prev` is here and is not the one before on its
    /// chain; [`Reject::WaitingFull`], [`Reject::VoidFull`], [`Reject::UnknownFull`] or [`Reject::ProjectFull`] if there
    /// is no room. The project is then as it was.
    pub fn insert(&mut self, verified: Verified) -> Result<Inserted, Reject> {
        if verified.statement().project != self.id {
            return Err(Reject::WrongProject);
        }
        if self.contains(verified.id()) {
            return Ok(Inserted::Duplicate);
        }
        if let Err(reject) = self.check_chain(verified.statement()) {
            self.waiting.abandon(verified.id());
            return Err(reject);
        }
        self.check_room(&verified)?;
        let parents = verified.statement().parents();
        let missing: BTreeSet<EnvelopeId> = parents
            .filter(|parent| !self.graph.contains(parent))
            .copied()
            .collect();
        if missing.is_empty() {
            Ok(Inserted::Folded(self.fold_all(verified)))
        } else {
            self.waiting.park(verified, &missing)?;
            Ok(Inserted::Waiting)
        }
    }

    /// How many envelopes have folded.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.graph.len()
    }

    /// Whether nothing has folded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.graph.len() == 0
    }

    /// How many envelopes wait for their past.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the envelope is here, folded or waiting.
    #[must_use]
    pub fn contains(&self, id: &EnvelopeId) -> bool {
        self.get(id).is_some()
    }

    /// The envelope, folded or waiting.
    #[must_use]
    pub fn get(&self, id: &EnvelopeId) -> Option<&Verified> {
        let folded = self.graph.find(id).map(|node| &node.verified);
        folded.or_else(|| self.waiting.find(id))
    }

    /// The folded envelopes, each after its past.
    pub fn iter(&self) -> impl Iterator<Item = &Verified> {
        self.graph.nodes().map(|node| &node.verified)
    }

    /// Envelopes that waiting ones name and that are not here, ascending.
    #[must_use]
    pub fn missing(&self) -> Vec<EnvelopeId> {
        self.waiting.missing().copied().collect()
    }

    /// Folded envelopes that no other folded one descends from, ascending.
    #[must_use]
    pub fn heads(&self) -> Vec<EnvelopeId> {
        self.graph.heads().copied().collect()
    }

    /// What a new envelope that follows `prev` names as its `deps`: the valid heads that are not in the past of
    /// `prev`, ascending, the first [`DEPS_MAX`]. Void envelopes are left out, so that nothing valid comes to
    /// depend on them.
    #[must_use]
    pub fn deps_after(&self, prev: Option<&EnvelopeId>) -> Vec<EnvelopeId> {
        let seen = |head: &EnvelopeId| {
            prev.is_some_and(|prev| prev == head || self.is_ancestor(head, prev))
        };
        let heads = self.valid_heads.iter().filter(|head| !seen(head));
        heads.take(DEPS_MAX).copied().collect()
    }

    /// What is held here, for [`Self::lacking`] on another envoy: the end of each branch of each chain, and some
    /// envelopes before it at growing distances, so that one who is behind still finds a place in common.
    #[must_use]
    pub fn tips(&self) -> Vec<Tip> {
        self.graph.tips()
    }

    /// Folded envelopes that a holder of `tips` may lack, each after its past: all that are in the past of no tip
    /// known here. Never too few; too many only where a tip is unknown.
    #[must_use]
    pub fn lacking(&self, tips: &[Tip]) -> Vec<Verified> {
        self.graph.lacking(tips)
    }

    /// The number and the `prev` of the next envelope of a chain. Where a chain has several ends, the longest
    /// counts, then the one with the lowest id.
    #[must_use]
    pub fn next(
        &self,
        signer: &PublicKey,
        puddle: &PuddleKey,
        incarnation: &Incarnation,
    ) -> (u64, Option<EnvelopeId>) {
        let chain = Chain {
            signer: *signer,
            puddle: *puddle,
            incarnation: *incarnation,
        };
        self.graph.chain_end(&chain).map_or((0, None), |end| {
            let seq = end.statement().seq.saturating_add(1);
            (seq, Some(*end.id()))
        })
    }

    /// Whether `ancestor` lies in the past of `descendant`. Nothing lies in its own past; neither does anything that
    /// has not folded.
    #[must_use]
    pub fn is_ancestor(&self, ancestor: &EnvelopeId, descendant: &EnvelopeId) -> bool {
        let places = (self.graph.place(ancestor), self.graph.place(descendant));
        match places {
            (Some(ancestor), Some(descendant)) => self.graph.is_ancestor(ancestor, descendant),
            _ => false,
        }
    }

    /// A digest of the set of folded envelopes and of the pins: the sum modulo 2^256 of the SHA-256 of each id, and of
    /// what stands for each pin.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut sum = self.graph.sum();
        for (hop, delegate) in self.authority.pins() {
            sum.add(&line::pin_digest(*hop, delegate));
        }
        sum.to_bytes()
    }

    /// Numbers of chains at which more than one envelope stands.
    #[must_use]
    pub fn equivocations(&self) -> Vec<Equivocation> {
        self.graph.equivocations().collect()
    }

    /// How many folded envelopes are of kinds that this version does not know: above 0, an upgrade is needed.
    #[must_use]
    pub const fn unknown_len(&self) -> usize {
        self.unknown
    }

    /// Every ref that is not deleted.
    #[must_use]
    pub fn refs(&self) -> BTreeMap<RefName, RefState> {
        self.refs.states(&self.graph, self.authority.line())
    }

    /// The heads of one ref: the visible one first, deletions included and last.
    #[must_use]
    pub fn heads_of(&self, name: &RefName) -> Vec<Head> {
        self.refs.heads_of(&self.graph, self.authority.line(), name)
    }

    /// Where HEAD points, if an update has said so.
    #[must_use]
    pub fn head_target(&self) -> Option<RefName> {
        self.refs.head_target(&self.graph, self.authority.line())
    }

    /// What git is shown: each visible ref under its own name, and every other live head as
    /// `refs/envoys/<envoy, 16 digits>/<name without refs/>@<update, 8 digits>`. No name is a folder of another.
    #[must_use]
    pub fn served(&self) -> BTreeMap<Vec<u8>, Oid> {
        refs::served(&self.refs())
    }

    /// What an update says about the git graph, with what follows from it. Empty for anything but a folded update.
    #[must_use]
    pub fn claims(&self, id: &EnvelopeId) -> Vec<Claim> {
        refs::claims(&self.graph, id)
    }

    /// Whether an envelope counts.
    #[must_use]
    pub fn verdict(&self, id: &EnvelopeId) -> Verdict {
        match self.graph.find(id).map(|node| node.standing) {
            Some(Standing::Valid) => Verdict::Valid,
            Some(Standing::Void(reason)) => Verdict::Void(reason),
            Some(Standing::Beyond) => Verdict::Waiting,
            None if self.waiting.find(id).is_some() => Verdict::Waiting,
            None => Verdict::Unknown,
        }
    }

    /// Says that an update lies about the git graph in what it says of a ref: it is void from now on, here already or
    /// not. The graph is the same everywhere, so every envoy comes to say this of the same updates.
    pub fn hold_out(&mut self, id: &EnvelopeId, name: &RefName) {
        let lies = self.held_out.entry(*id).or_default();
        if !lies.insert(name.clone()) {
            return;
        }
        if let Some(place) = self.graph.place(id) {
            self.graph.note_lies(place, lies);
            self.judge_again([place]);
            self.refs.recompute(&self.graph, &[place]);
        }
    }

    /// Updates known to lie about the git graph, whether they are here or not, ascending.
    pub fn held_out(&self) -> impl Iterator<Item = &EnvelopeId> {
        self.held_out.keys()
    }

    /// `prev`, if it is here, must be the one before on the same chain.
    fn check_chain(&self, statement: &Statement) -> Result<(), Reject> {
        let Some(prev) = statement.prev.and_then(|prev| self.get(&prev)) else {
            return Ok(());
        };
        let prev = prev.statement();
        let follows = Chain::of(prev) == Chain::of(statement)
            && prev.seq.checked_add(1) == Some(statement.seq);
        if follows {
            Ok(())
        } else {
            Err(Reject::BrokenChain)
        }
    }

    fn check_room(&self, verified: &Verified) -> Result<(), Reject> {
        if self.graph.len().saturating_add(self.waiting.len()) >= ENVELOPES_MAX {
            return Err(Reject::ProjectFull);
        }
        if is_unknown(verified) && self.unknown >= UNKNOWN_MAX {
            return Err(Reject::UnknownFull);
        }
        // What another envelope or a cut names is never withheld, or replicas would not come together.
        let id = verified.id();
        if self.waiting.is_wanted(id) || self.authority.awaits(id) || self.comes_in(verified) {
            return Ok(());
        }
        self.quota
            .check(&self.authority, &verified.statement().puddle)
    }

    /// Whether it is the first join of an invitation: that ends the time in which its puddle may do nothing.
    fn comes_in(&self, verified: &Verified) -> bool {
        let statement = verified.statement();
        let Act::Join { invite } = &statement.act else {
            return false;
        };
        let follows = |parent: &EnvelopeId| parent == invite || self.is_ancestor(invite, parent);
        self.authority.lets_in(invite, &statement.puddle) && statement.parents().any(follows)
    }

    /// Folds `first`, whose past is here, and then whatever waited for nothing else.
    fn fold_all(&mut self, first: Verified) -> Vec<EnvelopeId> {
        let mut folded = Vec::new();
        let mut ready = VecDeque::from([first]);
        while let Some(verified) = ready.pop_front() {
            let id = *verified.id();
            let may_fold = self.check_chain(verified.statement()).is_ok()
                && self.check_room(&verified).is_ok();
            if may_fold {
                self.fold(&verified);
                folded.push(id);
                ready.extend(self.waiting.release(&id));
            } else {
                self.waiting.abandon(&id);
            }
        }
        folded
    }

    fn fold(&mut self, verified: &Verified) {
        self.unknown += usize::from(is_unknown(verified));
        let place = self.graph.add(verified.clone());
        let parents = verified.statement().parents();
        let beyond = is_unknown(verified)
            || parents
                .filter_map(|parent| self.graph.find(parent))
                .any(|parent| parent.standing == Standing::Beyond);
        if beyond {
            self.graph.set_standing(place, Standing::Beyond);
            self.quota.count(verified, Standing::Beyond);
            let shaken = self.authority.arrive(&self.graph, place);
            self.settle(shaken);
            return;
        }
        if let Some(lies) = self.held_out.get(verified.id()) {
            self.graph.note_lies(place, lies);
        }
        let shaken = self.authority.take(&self.graph, place);
        let standing = self.judge(place);
        self.graph.set_standing(place, standing);
        self.quota.count(verified, standing);
        if let Some(update) = verified.statement().update() {
            self.refs.apply(&self.graph, place, update);
        }
        if standing == Standing::Valid {
            self.add_valid_head(place, verified);
        }
        self.settle(shaken);
    }

    /// What an envelope is worth by its past, by what has ended since, and by the git graph.
    fn judge(&self, place: Place) -> Standing {
        let lies = self.held_out.contains_key(self.graph.id(place))
            && self.graph.statement(place).update().is_some();
        if lies {
            return Standing::Void(VoidReason::HeldOut);
        }
        match self.authority.judge(&self.graph, place) {
            Ok(()) => Standing::Valid,
            Err(reason) => Standing::Void(reason),
        }
    }

    fn settle(&mut self, shaken: Shaken) {
        let places = shaken.places(&self.graph);
        self.judge_again(places);
    }

    /// Judges envelopes again, and works out again what rests on those whose standing has changed.
    fn judge_again(&mut self, places: impl IntoIterator<Item = Place>) {
        let mut changed = Vec::new();
        for place in places {
            let before = self.graph.node(place).standing;
            if before == Standing::Beyond {
                continue;
            }
            let after = self.judge(place);
            if before != after {
                self.graph.set_standing(place, after);
                changed.push((place, before));
            }
        }
        if changed.is_empty() {
            return;
        }
        let places: Vec<Place> = changed.iter().map(|(place, _)| *place).collect();
        self.refs.recompute(&self.graph, &places);
        self.quota.recount(&self.graph, &changed);
        let flips = |(place, before): &(Place, Standing)| {
            let valid = self.graph.node(*place).standing == Standing::Valid;
            (valid != (*before == Standing::Valid)).then_some(*place)
        };
        let flipped: Vec<Place> = changed.iter().filter_map(flips).collect();
        if !flipped.is_empty() {
            self.valid_heads = heads::after(&self.graph, &self.valid_heads, &flipped);
        }
    }

    /// A new valid envelope stands in for the valid ones in its past.
    fn add_valid_head(&mut self, place: Place, verified: &Verified) {
        let mut through_void = false;
        for parent in verified.statement().parents() {
            self.valid_heads.remove(parent);
            through_void |= self.verdict(parent) != Verdict::Valid;
        }
        if through_void {
            let graph = &self.graph;
            let seen = |head: &EnvelopeId| {
                let head = graph.place(head);
                head.is_some_and(|head| graph.is_ancestor(head, place))
            };
            self.valid_heads.retain(|head| !seen(head));
        }
        self.valid_heads.insert(*verified.id());
    }
}

fn is_unknown(verified: &Verified) -> bool {
    matches!(verified.statement().act, Act::Unknown { .. })
}

/// Those of `places` that lie in no other's past.
fn latest(graph: &Graph, places: &[Place]) -> Vec<Place> {
    let later = |place: &Place| places.iter().any(|by| graph.is_ancestor(*place, *by));
    let latest = places.iter().filter(|place| !later(place));
    latest.copied().collect()
}

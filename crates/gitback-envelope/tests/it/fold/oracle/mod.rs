//! The fold once more, slowly and from docs/spec/fold.md alone, to compare the real one with.
//!
//! Ancestry and every cut is a set of ids, and everything is worked out from the whole set at once, one section of the
//! specification after the other. Nothing here is shared with the fold.

#![expect(
    clippy::indexing_slicing,
    reason = "a test: whatever is in `past` is in `all`"
)]

mod answers;
mod line;
mod members;
mod refs;

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Act, EnvelopeId, RefName, Statement, Verdict, Verified, VoidReason};
use gitback_identity::PuddleKey;

pub(super) use answers::Answers;

pub(super) type Ids = BTreeSet<EnvelopeId>;

/// Either it counts, or why it does not.
type Worth = Result<(), VoidReason>;

pub(super) struct Oracle {
    all: BTreeMap<EnvelopeId, Verified>,
    /// §1: what folds, and the past of each.
    pub(super) past: BTreeMap<EnvelopeId, Ids>,
    /// What folds and has effect in this version.
    known: Ids,
    pins: BTreeMap<u64, EnvelopeId>,
    held_out: BTreeSet<(EnvelopeId, RefName)>,
    line: line::Line,
    /// §6: tombstones, and what lies within all of them.
    tombstones: Ids,
    end: Option<Ids>,
    instances: BTreeMap<EnvelopeId, members::Instance>,
    grants: Ids,
    ungrants: Ids,
    policies: Ids,
    verdicts: BTreeMap<EnvelopeId, Verdict>,
}

impl Oracle {
    pub(super) fn new<'a>(
        envelopes: impl IntoIterator<Item = &'a Verified>,
        pins: &BTreeMap<u64, EnvelopeId>,
        held_out: &BTreeSet<(EnvelopeId, RefName)>,
    ) -> Self {
        let envelopes = envelopes.into_iter();
        let mut oracle = Self {
            all: envelopes
                .map(|verified| (*verified.id(), verified.clone()))
                .collect(),
            past: BTreeMap::new(),
            known: Ids::new(),
            pins: pins.clone(),
            held_out: held_out.clone(),
            line: line::Line::default(),
            tombstones: Ids::new(),
            end: None,
            instances: BTreeMap::new(),
            grants: Ids::new(),
            ungrants: Ids::new(),
            policies: Ids::new(),
            verdicts: BTreeMap::new(),
        };
        oracle.close();
        oracle.know();
        oracle.follow_line();
        oracle.end();
        oracle.instances();
        oracle.grants();
        let policies = oracle.of_kind(|act| matches!(act, Act::Policy(_)));
        oracle.policies = oracle.counting(policies);
        oracle.judge_all();
        oracle
    }

    /// Finds the past of everything whose past is all here, until nothing more is found.
    fn close(&mut self) {
        loop {
            let before = self.past.len();
            for (id, verified) in &self.all {
                if self.past.contains_key(id) || !self.chain_holds(verified.statement()) {
                    continue;
                }
                let parents = parents(verified.statement());
                let pasts: Option<Vec<_>> = parents.iter().map(|id| self.past.get(id)).collect();
                if let Some(pasts) = pasts {
                    let mut past: Ids = pasts.into_iter().flatten().copied().collect();
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
        self.all.get(&prev).is_some_and(|prev| {
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

    /// What is of a known kind, with only such in its past.
    fn know(&mut self) {
        let unknown = |id: &EnvelopeId| matches!(self.act(id), Act::Unknown { .. });
        let known = self.past.iter();
        let known = known.filter(|(id, past)| !unknown(id) && !past.iter().any(unknown));
        self.known = known.map(|(id, _)| *id).collect();
    }

    fn statement(&self, id: &EnvelopeId) -> &Statement {
        self.all[id].statement()
    }

    fn act(&self, id: &EnvelopeId) -> &Act {
        &self.statement(id).act
    }

    fn puddle(&self, id: &EnvelopeId) -> PuddleKey {
        self.statement(id).puddle
    }

    fn of_kind(&self, kind: impl Fn(&Act) -> bool) -> Vec<EnvelopeId> {
        let known = self.known.iter();
        known.filter(|id| kind(self.act(id))).copied().collect()
    }

    fn counting(&self, ids: impl IntoIterator<Item = EnvelopeId>) -> Ids {
        let counts = |id: &EnvelopeId| self.worth(id).is_ok();
        ids.into_iter().filter(counts).collect()
    }

    /// Whether `earlier` lies in the past of `later`.
    fn before(&self, earlier: &EnvelopeId, later: &EnvelopeId) -> bool {
        self.past[later].contains(earlier)
    }

    /// Those that have none of the others in their past.
    fn first(&self, ids: &Ids) -> Ids {
        let follows = |id: &EnvelopeId| ids.iter().any(|other| self.before(other, id));
        ids.iter().filter(|id| !follows(id)).copied().collect()
    }

    /// Those that lie in no other's past.
    fn last(&self, ids: &Ids) -> Ids {
        let precedes = |id: &EnvelopeId| ids.iter().any(|other| self.before(id, other));
        ids.iter().filter(|id| !precedes(id)).copied().collect()
    }

    /// What lies within a cut: what it names, as far as it is here, and the past of that.
    fn within(&self, cut: &[EnvelopeId]) -> Ids {
        let here = cut.iter().filter_map(|id| self.past.get(id));
        let mut within: Ids = here.flatten().copied().collect();
        within.extend(cut.iter().filter(|id| self.past.contains_key(*id)));
        within
    }

    /// What lies within each of several cuts; `None`: nothing has been cut.
    fn within_each(&self, cutting: &Ids) -> Option<Ids> {
        let cuts = cutting.iter().filter_map(|id| self.act(id).cut());
        let within = cuts.map(|cut| self.within(cut));
        within.reduce(|one, other| &one & &other)
    }

    fn verdict_of(&self, id: &EnvelopeId) -> Verdict {
        if !self.known.contains(id) {
            return Verdict::Waiting;
        }
        let lies = matches!(self.act(id), Act::Update(_))
            && self.held_out.iter().any(|(lie, _)| lie == id);
        if lies {
            return Verdict::Void(VoidReason::HeldOut);
        }
        if let (Act::Join { invite }, Ok(())) = (self.act(id), self.worth(id))
            && self.is_outside_leaves(id, invite)
        {
            return Verdict::Void(VoidReason::Left);
        }
        self.worth(id)
            .map_or_else(Verdict::Void, |()| Verdict::Valid)
    }

    fn judge_all(&mut self) {
        let verdict = |id: &EnvelopeId| (*id, self.verdict_of(id));
        self.verdicts = self.all.keys().map(verdict).collect();
    }

    /// §8: the end of the project first, then the founder line, the membership, the signature, the refs.
    fn worth(&self, id: &EnvelopeId) -> Worth {
        let act = self.act(id);
        let outlives = matches!(
            act,
            Act::Init { .. } | Act::Delegate(_) | Act::Tombstone(_) | Act::Leave { .. }
        );
        let ended = self.end.as_ref().is_some_and(|end| !end.contains(id));
        if ended && !outlives {
            return Err(VoidReason::Ended);
        }
        match act {
            Act::Init { .. } => Ok(()),
            Act::Delegate(delegate) => self.worth_of_delegate(id, delegate),
            Act::Policy(_) | Act::Invite(_) | Act::Tombstone(_) => self.speaks_for_founder(id),
            Act::Revoke(revoke) => self.worth_of_revoke(id, &revoke.invite),
            Act::Join { invite } => self.worth_of_join(id, invite),
            Act::Leave { invite } => self.worth_of_leave(id, invite),
            Act::Rejoin { invite } => self.worth_of_rejoin(id, invite),
            Act::Grant(_) | Act::Ungrant(_) => self.role_at(id).map(drop),
            Act::Merge => self.worth_of_writer(id),
            Act::Update(update) => {
                self.worth_of_writer(id)?;
                self.leaves_protected_alone(id, update)
            }
            Act::Unknown { .. } => unreachable!("it is not known"),
        }
    }

    pub(super) fn verdict(&self, id: &EnvelopeId) -> Verdict {
        self.verdicts.get(id).copied().unwrap_or(Verdict::Unknown)
    }

    fn valid(&self, id: &EnvelopeId) -> bool {
        self.verdict(id) == Verdict::Valid
    }
}

fn parents(statement: &Statement) -> Ids {
    let named = statement.prev.iter().chain(&statement.deps);
    named.copied().collect()
}

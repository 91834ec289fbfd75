//! One project in the memory of one envoy: the fold, and how refs follow it. What `gitback-envoy` does in its `cell`,
//! with a simulated disk and git graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gitback_envelope::{
    Act, Change, EnvelopeId, Incarnation, Inserted, NAMED_HEADS_MAX, Oid, Project, RefName, Reject,
    Verdict, Verified, VoidReason,
};

use gitback_identity::{EnvoyKey, PuddleKey};

use super::super::disk::{Foothold, Shelf};
use super::super::history::{Bits, History};
use super::catch::{Catch, Newer};
use super::work::{Job, Work};

/// A project in an envoy's memory.
#[derive(Debug)]
pub(in crate::sim) struct Cell {
    pub(in crate::sim) fold: Project,
    pub(in crate::sim) incarnation: Incarnation,
    /// Updates whose claims about the graph are still to be checked.
    unjudged: Vec<EnvelopeId>,
    held_out: BTreeSet<(EnvelopeId, RefName)>,
    /// Objects that refs should name and that are not all here.
    pub(in crate::sim) lacking: BTreeSet<Oid>,
    unsettled: bool,
    ever_granted: BTreeMap<EnvoyKey, BTreeSet<PuddleKey>>,
    /// What holds the project's lock while it is written.
    pub(in crate::sim) work: Option<Work>,
    /// What waits for the lock.
    pub(in crate::sim) queue: VecDeque<Job>,
    pub(in crate::sim) catch: Option<Catch>,
    /// Pushes that wait until a catch-up has ended, each with what it asked whom it wants to catch up from.
    pub(in crate::sim) catch_queue: VecDeque<Newer>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(in crate::sim) struct Admitted {
    pub(in crate::sim) folded: Vec<EnvelopeId>,
    pub(in crate::sim) refused: Option<Reject>,
    pub(in crate::sim) waiting: bool,
}

impl Cell {
    /// Opens a project by what the disk has, as after a start. `snapshot` is the fold of the first so many records.
    pub(in crate::sim) fn open(
        shelf: &mut Shelf,
        snapshot: (&Project, &[Verified]),
        fresh: Incarnation,
        history: &History,
    ) -> Self {
        let incarnation = match shelf.note {
            Some((incarnation, file)) if file == shelf.file => incarnation,
            _ => {
                shelf.note = Some((fresh, shelf.file));
                fresh
            }
        };
        let (base, records) = snapshot;
        let pairs = shelf.log.iter().zip(records);
        let whole_base = shelf.log.len() >= records.len()
            && pairs.into_iter().all(|(one, other)| one.id() == other.id());
        let mut cell = Self {
            fold: if whole_base {
                base.clone()
            } else {
                Project::new(*base.id())
            },
            incarnation,
            unjudged: Vec::new(),
            held_out: BTreeSet::new(),
            lacking: BTreeSet::new(),
            unsettled: false,
            ever_granted: BTreeMap::new(),
            work: None,
            queue: VecDeque::new(),
            catch: None,
            catch_queue: VecDeque::new(),
        };
        let skip = if whole_base { records.len() } else { 0 };
        for envelope in shelf.log.iter().take(skip) {
            cell.note_grant(envelope);
        }
        for envelope in shelf.log.iter().skip(skip).cloned() {
            if let Ok(Inserted::Folded(ids)) = cell.fold.insert(envelope) {
                ids.iter().for_each(|id| cell.note(id));
            }
        }
        if shelf.log.is_empty() {
            if !shelf.refs.is_empty() {
                shelf.foothold = Foothold::Lost;
            }
        } else {
            cell.follow(shelf, history);
        }
        cell
    }

    /// Folds a batch in memory. The caller keeps a copy of the fold in case it cannot be made durable.
    pub(in crate::sim) fn admit(&mut self, batch: Vec<Verified>) -> Admitted {
        let mut admitted = Admitted::default();
        for envelope in batch {
            match self.fold.insert(envelope) {
                Ok(Inserted::Duplicate) => {}
                Ok(Inserted::Waiting) => admitted.waiting = true,
                Ok(Inserted::Folded(ids)) => {
                    ids.iter().for_each(|id| self.note(id));
                    admitted.folded.extend(ids);
                }
                Err(reject) => admitted.refused = Some(reject),
            }
        }
        admitted
    }

    /// Takes the fold back to what it was: what the log does not have must not be followed.
    pub(in crate::sim) fn retreat(&mut self, before: Project) {
        self.fold = before;
        let fold = &self.fold;
        self.unjudged.retain(|id| fold.contains(id));
        let grants = fold.iter().filter_map(|envelope| {
            let statement = envelope.statement();
            Some((statement.grant()?.envoy, statement.puddle))
        });
        let grants: BTreeSet<_> = grants.collect();
        self.ever_granted.retain(|envoy, by| {
            by.retain(|puddle| grants.contains(&(*envoy, *puddle)));
            !by.is_empty()
        });
    }

    fn note(&mut self, id: &EnvelopeId) {
        let Some(envelope) = self.fold.get(id).cloned() else {
            return;
        };
        match &envelope.statement().act {
            Act::Update(_) => {
                self.unjudged.push(*id);
                self.unsettled = true;
            }
            Act::Grant(_) => self.note_grant(&envelope),
            Act::Leave { .. }
            | Act::Revoke(_)
            | Act::Ungrant(_)
            | Act::Delegate(_)
            | Act::Tombstone(_)
            | Act::Policy(_) => self.unsettled = true,
            Act::Init { .. }
            | Act::Merge
            | Act::Invite(_)
            | Act::Join { .. }
            | Act::Rejoin { .. }
            | Act::Unknown { .. } => {}
        }
    }

    fn note_grant(&mut self, envelope: &Verified) {
        let statement = envelope.statement();
        if let Some(grant) = statement.grant()
            && self.fold.party(&statement.puddle)
        {
            let granted = self.ever_granted.entry(grant.envoy).or_default();
            granted.insert(statement.puddle);
        }
    }

    pub(in crate::sim) fn ever_granted(&self, envoy: &EnvoyKey) -> bool {
        self.ever_granted.contains_key(envoy)
    }

    pub(in crate::sim) fn ever_granted_by(&self, envoy: &EnvoyKey, puddle: &PuddleKey) -> bool {
        let by = self.ever_granted.get(envoy);
        by.is_some_and(|by| by.contains(puddle))
    }

    /// Checks what is new, and lets refs follow it.
    pub(in crate::sim) fn follow(&mut self, shelf: &mut Shelf, history: &History) {
        self.judge(shelf, history);
        self.settle(shelf, history);
    }

    fn judge(&mut self, shelf: &Shelf, history: &History) {
        let mut later = Vec::new();
        for id in std::mem::take(&mut self.unjudged) {
            let mut wait = false;
            for claim in self.fold.claims(&id) {
                let new = history.find(&claim.new);
                let lives = !claim.new.is_zero();
                if lives && !new.is_some_and(|new| shelf.objects.has(new)) {
                    wait = true;
                    continue;
                }
                for old in &claim.contains {
                    let old = history.find(old);
                    let here = old.is_some_and(|old| shelf.objects.has(old));
                    let reached = here
                        && old
                            .zip(new)
                            .is_some_and(|(old, new)| history.reaches(old, new));
                    if reached {
                        continue;
                    }
                    let whole = new.is_some_and(|new| history.whole(&shelf.objects, new));
                    if lives && !here && !whole {
                        wait = true;
                        continue;
                    }
                    self.fold.hold_out(&id, &claim.name);
                    self.held_out.insert((id, claim.name.clone()));
                    break;
                }
            }
            if wait {
                later.push(id);
            }
        }
        self.unjudged = later;
    }

    /// Lets refs follow the fold, as far as the objects are here.
    fn settle(&mut self, shelf: &mut Shelf, history: &History) {
        if shelf.foothold == Foothold::Lost {
            return;
        }
        let served = self.fold.served();
        self.lacking.clear();
        self.unsettled = false;
        for (name, oid) in &served {
            if shelf.refs.get(name) == Some(oid) {
                continue;
            }
            let whole = history
                .find(oid)
                .is_some_and(|number| history.whole(&shelf.objects, number));
            if whole {
                shelf.refs.insert(name.clone(), *oid);
            } else {
                self.lacking.insert(*oid);
            }
        }
        shelf.refs.retain(|name, _| served.contains_key(name));
    }

    /// Whether every object that a ref needs is here.
    pub(in crate::sim) fn has_all(&self, shelf: &Shelf) -> bool {
        self.lacking.is_empty() && self.is_settled(shelf)
    }

    /// Whether refs are where they should be as far as the objects are here.
    pub(in crate::sim) fn is_settled(&self, shelf: &Shelf) -> bool {
        !self.unsettled && shelf.foothold == Foothold::Known
    }

    /// Whether everything is here and judged.
    pub(in crate::sim) fn is_whole(&self, shelf: &Shelf) -> bool {
        self.has_all(shelf) && self.open_claims().next().is_none()
    }

    /// The digest that others are shown: never that of a whole copy while objects are lacking here.
    pub(in crate::sim) fn shown_digest(&self, shelf: &Shelf) -> [u8; 32] {
        let digest = self.fold.digest();
        if self.has_all(shelf) {
            digest
        } else {
            digest.map(|byte| !byte)
        }
    }

    fn open_claims(&self) -> impl Iterator<Item = &EnvelopeId> {
        let counts = |id: &&EnvelopeId| !matches!(self.fold.verdict(id), Verdict::Void(_));
        self.unjudged.iter().filter(counts)
    }

    /// Objects to ask for: what refs lack, and what updates name whose claims are open.
    pub(in crate::sim) fn wanted(&self, shelf: &Shelf, history: &History) -> Vec<Oid> {
        let open = self.open_claims().filter_map(|id| self.fold.get(id));
        let open = open.flat_map(new_oids);
        let mut wanted: BTreeSet<Oid> = self.lacking.iter().copied().chain(open).collect();
        wanted.retain(|oid| {
            let number = history.find(oid);
            !number.is_some_and(|number| history.whole(&shelf.objects, number))
        });
        wanted.into_iter().collect()
    }

    /// Why an envelope has no effect, if it folded and has none.
    pub(in crate::sim) fn void(&self, id: &EnvelopeId) -> Option<VoidReason> {
        match self.fold.verdict(id) {
            Verdict::Void(reason) => Some(reason),
            Verdict::Valid | Verdict::Waiting | Verdict::Unknown => None,
        }
    }

    /// Whether `batch` holds envelopes that this envoy signed in its present life and that are not here.
    pub(in crate::sim) fn shows_own_future(
        &self,
        shelf: &Shelf,
        own: &EnvoyKey,
        batch: &[Verified],
    ) -> bool {
        batch.iter().any(|envelope| {
            let statement = envelope.statement();
            let signed_here = statement.signer == *own.key()
                || (statement.by_puddle() && self.fold.party(&statement.puddle));
            statement.envoy == Some(*own)
                && signed_here
                && statement.incarnation == self.incarnation
                && !shelf.logged.contains(envelope.id())
        })
    }

    /// Fills in which heads a new value contains and which it forces away, from the graph as it is here.
    pub(in crate::sim) fn change(
        &self,
        held: &Bits,
        shelf: &Shelf,
        history: &History,
        name: RefName,
        new: Option<u32>,
    ) -> Change {
        let visible = shelf.refs.get(name.as_bytes()).copied();
        let (mut contained, mut forced) = (Vec::new(), Vec::new());
        for head in self.fold.heads_of(&name) {
            let old = history.find(&head.oid);
            let inside = head.oid.is_zero()
                || old
                    .zip(new)
                    .is_some_and(|(old, new)| held.has(old) && history.reaches(old, new));
            if inside {
                contained.push(head.update);
            } else if visible == Some(head.oid) {
                forced.push(head.update);
            }
        }
        contained.truncate(NAMED_HEADS_MAX);
        forced.truncate(NAMED_HEADS_MAX);
        contained.sort_unstable();
        forced.sort_unstable();
        Change {
            name,
            new: new.map_or(Oid::zero(), History::oid),
            contained,
            forced,
        }
    }

    /// The first of `fresh` that says to contain what its objects do not lead to.
    pub(in crate::sim) fn first_lie(
        &self,
        held: &Bits,
        history: &History,
        fresh: &[Verified],
    ) -> Option<EnvelopeId> {
        let oid_of = |id: &EnvelopeId, name: &RefName| {
            let in_batch = fresh.iter().find(|other| other.id() == id);
            let envelope = in_batch.or_else(|| self.fold.get(id))?;
            Some(envelope.statement().update()?.change(name)?.new)
        };
        let lies = |envelope: &&Verified| {
            let update = envelope.statement().update();
            let changes = update.map(|update| update.changes.as_slice());
            changes.unwrap_or_default().iter().any(|change| {
                let new = history.find(&change.new);
                change.contained.iter().any(|claimed| {
                    let Some(old) = oid_of(claimed, &change.name).filter(|oid| !oid.is_zero())
                    else {
                        return false;
                    };
                    let old = history.find(&old).filter(|old| held.has(*old));
                    !old.zip(new)
                        .is_some_and(|(old, new)| history.reaches(old, new))
                })
            })
        };
        fresh.iter().find(lies).map(|envelope| *envelope.id())
    }
}

/// The objects that an update moves refs to.
pub(in crate::sim) fn new_oids(envelope: &Verified) -> Vec<Oid> {
    let update = envelope.statement().update();
    let changes = update.map(|update| update.changes.as_slice());
    let news = changes.unwrap_or_default().iter().map(|change| change.new);
    news.filter(|oid| !oid.is_zero()).collect()
}

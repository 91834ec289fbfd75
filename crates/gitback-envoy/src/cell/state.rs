//! What changes together under a project's lock: the log and the fold of it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;

use gitback_envelope::{
    Act, Envelope, EnvelopeId, Incarnation, Inserted, Oid, Project, RefName, Reject, Tip, Update,
    Verdict, Verified, VoidReason,
};
use gitback_identity::{EnvoyKey, PuddleKey, hex};
use gitback_log::Log;

use super::expiry::Gone;
use super::foothold::Foothold;
use super::judge::Judged;
use super::pins;
use crate::daemon::chain;
use crate::fault::Fault;

/// What changes together, under one lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) fold: Project,
    pub(super) log: Log,
    log_dir: PathBuf,
    pub(super) incarnation: Incarnation,
    /// Updates whose claims about the graph are still to be checked, in order of arrival.
    pub(super) unjudged: Vec<EnvelopeId>,
    /// Log records covered by the note on disk.
    pub(super) judged_records: usize,
    /// Updates that were caught lying, by that note.
    pub(super) judged_held_out: usize,
    /// Updates that were caught lying about the graph.
    pub(super) held_out: BTreeSet<(EnvelopeId, RefName)>,
    /// Where they have put refs, and it is not kept yet for whoever judges them again.
    pub(super) caught: BTreeSet<(EnvelopeId, Oid)>,
    /// Updates of which some update says that it forces them away.
    pub(super) forced: BTreeSet<EnvelopeId>,
    /// Values that were forced away and whose objects may have just arrived.
    pub(super) replaced: BTreeSet<Oid>,
    /// Values that were let go here.
    pub(super) let_go: Gone,
    /// Values that nobody has to have any more, and which peers have said that they do not have them.
    pub(super) denied: BTreeMap<Oid, BTreeSet<EnvoyKey>>,
    /// Objects that heads name and the repository lacks.
    pub(super) lacking: BTreeSet<Oid>,
    /// Something folded that may move refs, and refs have not followed it yet, so that `lacking` does not speak of it.
    pub(super) unsettled: bool,
    /// What kept refs from following when that was last tried.
    pub(super) hindrance: Option<String>,
    pub(super) foothold: Foothold,
    /// Since when objects are missing here, by this envoy's clock.
    pub(super) incomplete_since_ms: Option<u64>,
    /// The copy is being given up: nothing is taken in, and nobody may count on it.
    leaving: bool,
    /// Objects were found damaged or gone, and have not come again.
    pub(super) damaged: bool,
    /// Envoys that some party has ever granted: which party, and for which of their users.
    ever_granted: BTreeMap<EnvoyKey, BTreeSet<(PuddleKey, u32)>>,
    /// Alarms that the daemon's log has.
    pub(super) told: BTreeSet<String>,
    last_push: Option<LastPush>,
}

/// The update that arrived last, for display.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastPush {
    pub(crate) at_ms: Option<u64>,
    pub(crate) envoy: Option<EnvoyKey>,
}

/// What [`State::admit`] made of a batch.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// Envelopes that fold now and are durable.
    pub(crate) folded: Vec<EnvelopeId>,
    /// Envelopes that were refused, and why.
    pub(crate) refused: Vec<(EnvelopeId, Reject)>,
    /// Whether an ancestor of some envelope is not here.
    pub(crate) waiting: bool,
}

/// What has folded and is not durable yet, so that nobody may see it: it is handed to [`State::store`] or to
/// [`State::retreat`] before the lock is let go.
#[derive(Debug)]
#[must_use]
pub(crate) struct Folding {
    folded: Vec<EnvelopeId>,
    before: Before,
}

/// What goes back with the fold.
#[derive(Debug, Clone, Copy)]
struct Before {
    unsettled: bool,
    last_push: Option<LastPush>,
}

/// Why an envelope of a batch would have no effect.
#[derive(Debug)]
pub(crate) struct Void {
    pub(crate) id: EnvelopeId,
    pub(crate) reason: VoidReason,
}

impl Admitted {
    /// The first envelope of the batch that folded and has no effect.
    pub(crate) fn first_void(&self, state: &State) -> Option<Void> {
        let mut folded = self.folded.iter();
        folded.find_map(|id| state.void(id))
    }
}

/// Folds an envelope that had folded before, each in the order of that time. What was taken in beyond a quota, because
/// another one that was waiting named it, comes before that one then: it is `left_out` until the other one is back.
fn refold(
    fold: &mut Project,
    envelope: Verified,
    left_out: &mut BTreeMap<EnvelopeId, Verified>,
) -> Vec<EnvelopeId> {
    let mut folded = Vec::new();
    match fold.insert(envelope.clone()) {
        Ok(Inserted::Folded(ids)) => folded = ids,
        Err(Reject::VoidFull) => drop(left_out.insert(*envelope.id(), envelope)),
        Ok(Inserted::Duplicate | Inserted::Waiting) | Err(_) => {}
    }
    while !left_out.is_empty() {
        let mut missing = fold.missing().into_iter();
        let Some(named) = missing.find_map(|id| left_out.remove(&id)) else {
            break;
        };
        if let Ok(Inserted::Folded(ids)) = fold.insert(named) {
            folded.extend(ids);
        }
    }
    folded
}

impl State {
    pub(super) fn new(fold: Project, log: Log, log_dir: PathBuf, incarnation: Incarnation) -> Self {
        Self {
            fold,
            log,
            log_dir,
            incarnation,
            unjudged: Vec::new(),
            judged_records: 0,
            judged_held_out: 0,
            held_out: BTreeSet::new(),
            caught: BTreeSet::new(),
            forced: BTreeSet::new(),
            replaced: BTreeSet::new(),
            let_go: Gone::new(),
            denied: BTreeMap::new(),
            lacking: BTreeSet::new(),
            unsettled: false,
            hindrance: None,
            foothold: Foothold::Known,
            incomplete_since_ms: None,
            leaving: false,
            damaged: false,
            ever_granted: BTreeMap::new(),
            told: BTreeSet::new(),
            last_push: None,
        }
    }

    pub(super) fn replay(&mut self, records: Vec<([u8; 32], Vec<u8>)>, judged: Judged) {
        let mut left_out = BTreeMap::new();
        for (index, (id, bytes)) in records.into_iter().enumerate() {
            match Envelope::decode(&bytes).and_then(Envelope::verify) {
                Ok(envelope) => {
                    for id in refold(&mut self.fold, envelope, &mut left_out) {
                        self.note(&id);
                    }
                }
                Err(reject) => tracing::error!(
                    id = hex::encode(&id),
                    code = reject.code(),
                    "a logged envelope does not verify"
                ),
            }
            if index < judged.records {
                self.unjudged.retain(|id| judged.unjudged.contains(id));
            }
        }
        self.judged_records = judged.records;
        for (id, name) in judged.held_out {
            self.hold_out(id, name);
        }
        self.judged_held_out = self.held_out.len();
    }

    pub(crate) fn fold(&self) -> &Project {
        &self.fold
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Objects that heads name and the repository lacks; empty when the foothold is complete.
    pub(crate) fn lacking(&self) -> &BTreeSet<Oid> {
        &self.lacking
    }

    pub(crate) fn last_push(&self) -> Option<LastPush> {
        self.last_push
    }

    /// Whether some party to the project has ever granted the envoy, whatever became of it.
    pub(crate) fn ever_granted(&self, envoy: &EnvoyKey) -> bool {
        self.ever_granted.contains_key(envoy)
    }

    /// The users of an envoy's machine for whom some party has ever granted it.
    pub(crate) fn users_of(&self, envoy: &EnvoyKey) -> BTreeSet<u32> {
        let grants = self.ever_granted.get(envoy).into_iter().flatten();
        grants.map(|(_, uid)| *uid).collect()
    }

    /// Every envoy that some party to the project has ever granted, and for which of its users.
    pub(crate) fn ever_granted_all(&self) -> impl Iterator<Item = (&EnvoyKey, BTreeSet<u32>)> {
        let users = |by: &BTreeSet<(PuddleKey, u32)>| by.iter().map(|(_, uid)| *uid).collect();
        self.ever_granted
            .iter()
            .map(move |(key, by)| (key, users(by)))
    }

    /// Whether the puddle, a party to the project, has ever granted the envoy.
    pub(crate) fn ever_granted_by(&self, envoy: &EnvoyKey, puddle: &PuddleKey) -> bool {
        let grants = self.ever_granted.get(envoy);
        grants.is_some_and(|grants| grants.iter().any(|(by, _)| by == puddle))
    }

    /// Why the envelope has no effect, if it folded and has none.
    pub(crate) fn void(&self, id: &EnvelopeId) -> Option<Void> {
        match self.fold.verdict(id) {
            Verdict::Void(reason) => Some(Void { id: *id, reason }),
            Verdict::Valid | Verdict::Waiting | Verdict::Unknown => None,
        }
    }

    /// Updates with an effect whose claims could not be checked yet, and can be: beside `peer`, or at all.
    fn open_claims(&self, peer: Option<&EnvoyKey>) -> impl Iterator<Item = &EnvelopeId> {
        let counting = self.unjudged.iter().filter(|id| self.void(id).is_none());
        counting.filter(move |id| {
            let update = self.update(id);
            !update.is_some_and(|update| self.is_past_checking(update, peer))
        })
    }

    /// Objects of updates whose claims could not be checked for want of them. Those of updates without effect are not
    /// asked for, nor what was let go here or `peer` does not have.
    pub(crate) fn unjudged_objects(&self, peer: &EnvoyKey) -> Vec<Oid> {
        let changes = self
            .open_claims(Some(peer))
            .filter_map(|id| self.update(id))
            .flat_map(|update| &update.changes);
        changes
            .map(|change| change.new)
            .filter(|oid| !oid.is_zero())
            .collect()
    }

    /// How many bytes the packs had that brought those objects elsewhere, by what the updates say; `None` when one of
    /// them does not say, or none of them is waited for.
    pub(crate) fn awaited_bytes(&self) -> Option<u64> {
        let updates = self.open_claims(None).filter_map(|id| self.update(id));
        let sizes: Option<Vec<u64>> = updates
            .filter(|update| update.changes.iter().any(|change| !change.new.is_zero()))
            .map(|update| update.pack.as_ref().map(|pack| pack.bytes))
            .collect();
        let sizes = sizes.filter(|sizes| !sizes.is_empty())?;
        Some(sizes.into_iter().fold(0, u64::saturating_add))
    }

    /// Marks updates as judged: their claims were checked before they came in.
    pub(crate) fn mark_judged(&mut self, ids: &[EnvelopeId]) {
        self.unjudged.retain(|id| !ids.contains(id));
    }

    /// Folds a batch and makes what folds durable, in that order under the lock: nobody sees one without the other.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the log cannot be appended to; the fold is then as it was.
    pub(crate) fn admit(&mut self, batch: Vec<Verified>) -> Result<Admitted, Fault> {
        match self.admit_if(batch, |_, _| Ok::<(), Infallible>(()))? {
            Ok(admitted) => Ok(admitted),
            Err(never) => match never {},
        }
    }

    /// Folds a batch, and makes what folds durable if `check` agrees; if not, everything is as it was.
    ///
    /// # Errors
    ///
    /// Outside, a [`Fault`] of this envoy's own, and nothing of the batch is stored; inside, what `check` said.
    pub(crate) fn admit_if<E>(
        &mut self,
        batch: Vec<Verified>,
        check: impl FnOnce(&Self, &Admitted) -> Result<(), E>,
    ) -> Result<Result<Admitted, E>, Fault> {
        let mut folding = self.begin()?;
        let admitted = match self.fold_if(&mut folding, batch, check) {
            Ok(admitted) => admitted,
            Err(refused) => return Ok(Err(refused)),
        };
        self.store(folding)?;
        Ok(Ok(admitted))
    }

    /// Begins to take batches in that become durable together.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when nothing may be taken in.
    pub(crate) fn begin(&mut self) -> Result<Folding, Fault> {
        if self.leaving {
            let project = self.fold.id().to_string();
            return Err(Fault::Leaving { project });
        }
        // What an earlier batch brought comes first, or another one of the same hop could take its place.
        self.keep_pins()?;
        Ok(Folding {
            folded: Vec::new(),
            before: self.before(),
        })
    }

    const fn before(&self) -> Before {
        Before {
            unsettled: self.unsettled,
            last_push: self.last_push,
        }
    }

    /// Folds a batch in memory if `check` agrees; if not, the fold is as it was before this batch.
    ///
    /// # Errors
    ///
    /// What `check` said.
    pub(crate) fn fold_if<E>(
        &mut self,
        folding: &mut Folding,
        batch: Vec<Verified>,
        check: impl FnOnce(&Self, &Admitted) -> Result<(), E>,
    ) -> Result<Admitted, E> {
        let before = self.before();
        let mut admitted = Admitted::default();
        for envelope in batch {
            let id = *envelope.id();
            match self.insert(envelope) {
                Ok(Inserted::Duplicate) => {}
                Ok(Inserted::Waiting) => admitted.waiting = true,
                Ok(Inserted::Folded(ids)) => admitted.folded.extend(ids),
                Err(reject) => admitted.refused.push((id, reject)),
            }
        }
        if let Err(refused) = check(self, &admitted) {
            if !admitted.folded.is_empty() || admitted.waiting {
                self.go_back(&folding.folded, before);
            }
            return Err(refused);
        }
        folding.folded.extend(&admitted.folded);
        Ok(admitted)
    }

    /// Makes all that has folded durable, with one sync.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the log cannot be appended to; the fold is then as it was before.
    pub(crate) fn store(&mut self, folding: Folding) -> Result<(), Fault> {
        let records: Vec<([u8; 32], &[u8])> = folding
            .folded
            .iter()
            .filter_map(|id| self.fold.get(id))
            .map(|envelope| (*envelope.id().as_bytes(), envelope.bytes()))
            .filter(|(id, _)| !self.log.contains(id))
            .collect();
        if !records.is_empty()
            && let Err(source) = self.log.append(&records)
        {
            self.retreat(folding);
            return Err(Fault::Log {
                doing: "append to",
                project: self.fold.id().to_string(),
                source,
            });
        }
        if let Err(fault) = self.keep_pins() {
            // The batch is stored, and must not be reported as failed; nothing more is before they are kept.
            tracing::error!(project = %self.fold.id(), error = %chain(&fault), "cannot keep pins yet");
        }
        Ok(())
    }

    /// Takes the fold back to what is durable: nothing may follow, or be told of, what the log does not have.
    #[expect(clippy::needless_pass_by_value, reason = "what was folded ends here")]
    pub(crate) fn retreat(&mut self, folding: Folding) {
        self.go_back(&[], folding.before);
    }

    /// Pins the delegations that are followed since now, on disk first.
    pub(super) fn keep_pins(&mut self) -> Result<(), Fault> {
        let fresh = self.fold.fresh_pins();
        if fresh.is_empty() {
            return Ok(());
        }
        let mut pins = self.fold.pins().clone();
        pins.extend(fresh.iter().copied());
        pins::write(&self.log_dir, &pins)?;
        for (hop, id) in fresh {
            self.fold.pin(hop, &id);
        }
        Ok(())
    }

    /// Follows one delegation of a hop from now on, because a person said so.
    pub(crate) fn pick(&mut self, hop: u64, delegate: &EnvelopeId) -> Result<(), Fault> {
        let mut pins = self.fold.pins().clone();
        pins.insert(hop, *delegate);
        pins::write(&self.log_dir, &pins)?;
        self.fold.pin(hop, delegate);
        self.unsettled = true;
        self.keep_pins()
    }

    /// Takes the fold back to what is durable, and to what is `kept` because it will be.
    fn go_back(&mut self, kept: &[EnvelopeId], before: Before) {
        self.unsettled = before.unsettled;
        self.last_push = before.last_push;
        let mut fold = Project::with_pins(*self.fold.id(), self.fold.pins().clone());
        let stays = |envelope: &&Verified| {
            self.log.contains(envelope.id().as_bytes()) || kept.contains(envelope.id())
        };
        let mut left_out = BTreeMap::new();
        for envelope in self.fold.iter().filter(stays) {
            // It folded before, and so did its past.
            refold(&mut fold, envelope.clone(), &mut left_out);
        }
        for (id, name) in &self.held_out {
            fold.hold_out(id, name);
        }
        self.unjudged.retain(|id| fold.contains(id));
        let grants = fold.iter().filter_map(|envelope| {
            let statement = envelope.statement();
            let grant = statement.grant()?;
            Some((grant.envoy, (statement.puddle, grant.uid)))
        });
        let grants: BTreeSet<_> = grants.collect();
        self.ever_granted.retain(|envoy, by| {
            by.retain(|one| grants.contains(&(*envoy, *one)));
            !by.is_empty()
        });
        self.fold = fold;
    }

    /// Whether the envelope is durable here; one that only waits in memory for its past is not.
    pub(crate) fn holds(&self, id: &EnvelopeId) -> bool {
        self.log.contains(id.as_bytes())
    }

    /// What keeps refs from following what is stored, beside objects that are lacking.
    pub(crate) fn hindrance(&self) -> Option<&str> {
        self.hindrance.as_deref()
    }

    /// Whether every object that a ref needs is here, and refs show it.
    pub(crate) fn has_all(&self) -> bool {
        self.lacking.is_empty() && !self.unsettled && self.foothold == Foothold::Known
    }

    /// Whether others may count this copy as one that has everything.
    pub(crate) fn is_copy(&self) -> bool {
        self.has_all() && !self.leaving && !self.damaged
    }

    /// Whether everything is here and judged.
    pub(crate) fn is_whole(&self) -> bool {
        self.has_all() && self.open_claims(None).next().is_none()
    }

    /// Whether everything is here and judged for which `peer` could help.
    pub(crate) fn is_whole_beside(&self, peer: &EnvoyKey) -> bool {
        self.has_all() && self.open_claims(Some(peer)).next().is_none()
    }

    /// Says that the copy is being given up, or is not after all. From then on nothing is taken in that was not
    /// durable before, and others are not shown a whole copy: two envoys cannot each count on the other.
    pub(crate) fn set_leaving(&mut self, leaving: bool) {
        self.leaving = leaving;
    }

    /// Whether it is.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Since when objects are missing here.
    pub(crate) fn incomplete_since_ms(&self) -> Option<u64> {
        self.incomplete_since_ms.filter(|_| !self.has_all())
    }

    /// The digest that others are shown: never that of a whole copy while objects are lacking here.
    pub(crate) fn shown_digest(&self) -> [u8; 32] {
        let digest = self.fold.digest();
        if self.is_copy() {
            digest
        } else {
            digest.map(|byte| !byte)
        }
    }

    pub(super) fn hold_out(&mut self, id: EnvelopeId, name: RefName) {
        self.fold.hold_out(&id, &name);
        if let Some(oid) = self.oid_of(&id, &name).filter(|oid| !oid.is_zero()) {
            self.caught.insert((id, oid));
        }
        self.held_out.insert((id, name));
    }

    pub(super) fn insert(&mut self, envelope: Verified) -> Result<Inserted, Reject> {
        let inserted = self.fold.insert(envelope)?;
        if let Inserted::Folded(ids) = &inserted {
            for id in ids {
                self.note(id);
            }
        }
        Ok(inserted)
    }

    /// Takes note of what an envelope that has just folded may change.
    fn note(&mut self, id: &EnvelopeId) {
        let Some(statement) = self.fold.get(id).map(Verified::statement) else {
            return;
        };
        match &statement.act {
            Act::Update(update) => {
                let forced = update.changes.iter().flat_map(|change| &change.forced);
                self.forced.extend(forced);
                if self.fold.verdict(id) == Verdict::Valid {
                    self.last_push = Some(LastPush {
                        at_ms: statement.time_ms,
                        envoy: statement.envoy,
                    });
                }
                self.unjudged.push(*id);
                self.unsettled = true;
            }
            Act::Grant(grant) => {
                if self.fold.party(&statement.puddle) {
                    let grants = self.ever_granted.entry(grant.envoy).or_default();
                    grants.insert((statement.puddle, grant.uid));
                }
            }
            // Whoever's authority these change, refs may go back, or come again.
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

    /// The update with this id.
    pub(crate) fn update(&self, id: &EnvelopeId) -> Option<&Update> {
        self.fold.get(id)?.statement().update()
    }

    /// Where update `id` put the ref `name`.
    pub(crate) fn oid_of(&self, id: &EnvelopeId, name: &RefName) -> Option<Oid> {
        self.update(id)?
            .changes
            .iter()
            .find(|change| change.name == *name)
            .map(|change| change.new)
    }

    /// Whether `batch` holds envelopes that the envoy `own` signed under its present incarnation and that are not
    /// here: the log is from an old backup, and its numbers must not be used again.
    pub(crate) fn shows_own_future(&self, own: &EnvoyKey, batch: &[Verified]) -> bool {
        batch.iter().any(|envelope| {
            let statement = envelope.statement();
            let signed_here = statement.signer == *own.key()
                || (statement.signer == *statement.puddle.key()
                    && self.fold.party(&statement.puddle));
            statement.envoy == Some(*own)
                && signed_here
                && statement.incarnation == self.incarnation
                && !self.holds(envelope.id())
        })
    }

    /// What a holder of `tips` lacks, causal order.
    pub(crate) fn lacking_for(&self, tips: &[Tip]) -> Vec<Verified> {
        self.fold.lacking(tips)
    }
}

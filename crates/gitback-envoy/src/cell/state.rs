//! What changes together under a project's lock: the log and the fold of it.

use std::collections::BTreeSet;

use gitback_envelope::{
    Act, Envelope, EnvelopeId, Incarnation, Inserted, Oid, Project, Reject, Statement, Tip, Update,
    Verified,
};
use gitback_identity::{EnvoyKey, ProjectId, PublicKey, PuddleKey, SecretKey, hex};
use gitback_log::Log;

use super::judge::Judged;
use crate::clock;
use crate::fault::Fault;

/// What changes together, under one lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) fold: Project,
    pub(super) log: Log,
    pub(super) incarnation: Incarnation,
    /// Updates whose claims about the graph are still to be checked, in order of arrival.
    pub(super) unjudged: Vec<EnvelopeId>,
    /// Log records covered by the note on disk.
    pub(super) judged_records: usize,
    /// Updates that were caught lying about the graph.
    pub(super) held_out: BTreeSet<EnvelopeId>,
    /// Objects that heads name and the repository lacks.
    pub(super) lacking: BTreeSet<Oid>,
    /// Updates folded that refs have not followed yet, so that `lacking` does not speak of them.
    pub(super) unsettled: bool,
    pub(super) last_push: Option<LastPush>,
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

impl State {
    pub(super) fn new(id: ProjectId, log: Log, incarnation: Incarnation) -> Self {
        Self {
            fold: Project::new(id),
            log,
            incarnation,
            unjudged: Vec::new(),
            judged_records: 0,
            held_out: BTreeSet::new(),
            lacking: BTreeSet::new(),
            unsettled: false,
            last_push: None,
        }
    }

    pub(super) fn replay(&mut self, records: Vec<([u8; 32], Vec<u8>)>, judged: Judged) {
        for (index, (id, bytes)) in records.into_iter().enumerate() {
            match Envelope::decode(&bytes).and_then(Envelope::verify) {
                Ok(envelope) => drop(self.insert(envelope)),
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
        for id in judged.held_out {
            self.hold_out(id);
        }
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

    /// Objects of updates whose claims could not be checked for want of them.
    pub(crate) fn unjudged_objects(&self) -> Vec<Oid> {
        let changes = self
            .unjudged
            .iter()
            .filter_map(|id| self.update(id))
            .flat_map(|update| &update.changes);
        changes
            .map(|change| change.new)
            .filter(|oid| !oid.is_zero())
            .collect()
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
        let records: Vec<([u8; 32], &[u8])> = admitted
            .folded
            .iter()
            .filter_map(|id| self.fold.get(id))
            .map(|envelope| (*envelope.id().as_bytes(), envelope.bytes()))
            .filter(|(id, _)| !self.log.contains(id))
            .collect();
        if records.is_empty() {
            return Ok(admitted);
        }
        if let Err(source) = self.log.append(&records) {
            self.retreat();
            return Err(Fault::Log {
                doing: "append to",
                project: self.fold.id().to_string(),
                source,
            });
        }
        Ok(admitted)
    }

    /// Takes the fold back to what is durable: nothing may follow, or be told of, what the log does not have.
    pub(super) fn retreat(&mut self) {
        let mut fold = Project::new(*self.fold.id());
        let durable = |envelope: &&Verified| self.log.contains(envelope.id().as_bytes());
        for envelope in self.fold.iter().filter(durable) {
            // It folded before, and its past is durable as well.
            let _ = fold.insert(envelope.clone());
        }
        for id in &self.held_out {
            fold.hold_out(id);
        }
        self.unjudged.retain(|id| fold.contains(id));
        self.fold = fold;
    }

    /// Whether the envelope is durable here; one that only waits in memory for its past is not.
    pub(crate) fn holds(&self, id: &EnvelopeId) -> bool {
        self.log.contains(id.as_bytes())
    }

    /// Whether every object that a ref needs is here.
    pub(crate) fn has_all(&self) -> bool {
        self.lacking.is_empty() && !self.unsettled
    }

    /// Whether everything is here and judged.
    pub(crate) fn is_whole(&self) -> bool {
        self.has_all() && self.unjudged.is_empty()
    }

    /// The digest that others are shown: never that of a whole copy while objects are lacking here.
    pub(crate) fn shown_digest(&self) -> [u8; 32] {
        let digest = self.fold.digest();
        if self.has_all() {
            digest
        } else {
            digest.map(|byte| !byte)
        }
    }

    pub(super) fn hold_out(&mut self, id: EnvelopeId) {
        self.fold.hold_out(&id);
        self.held_out.insert(id);
    }

    pub(super) fn insert(&mut self, envelope: Verified) -> Result<Inserted, Reject> {
        let inserted = self.fold.insert(envelope)?;
        if let Inserted::Folded(ids) = &inserted {
            for id in ids {
                let Some(statement) = self.fold.get(id).map(Verified::statement) else {
                    continue;
                };
                if let Act::Update(_) = statement.act {
                    self.last_push = Some(LastPush {
                        at_ms: statement.time_ms,
                        envoy: statement.envoy,
                    });
                    self.unjudged.push(*id);
                    self.unsettled = true;
                }
            }
        }
        Ok(inserted)
    }

    /// The update with this id.
    pub(crate) fn update(&self, id: &EnvelopeId) -> Option<&Update> {
        self.fold.get(id)?.statement().update()
    }

    /// Where update `id` put the ref `name`.
    pub(crate) fn oid_of(&self, id: &EnvelopeId, name: &gitback_envelope::RefName) -> Option<Oid> {
        self.update(id)?
            .changes
            .iter()
            .find(|change| change.name == *name)
            .map(|change| change.new)
    }

    /// A statement by `signer` for `puddle`, in its place: chain, number, predecessor and dependencies filled in.
    pub(crate) fn draft(
        &self,
        signer: PublicKey,
        puddle: PuddleKey,
        envoy: EnvoyKey,
        act: Act,
    ) -> Statement {
        let (seq, prev) = self.fold.next(&signer, &puddle, &self.incarnation);
        let deps = self.fold.deps_after(prev.as_ref());
        Statement {
            project: *self.fold.id(),
            signer,
            puddle,
            envoy: Some(envoy),
            incarnation: self.incarnation,
            seq,
            prev,
            deps,
            time_ms: Some(clock::now_ms()),
            act,
        }
    }

    /// Signs an update with the envoy's own key.
    pub(crate) fn sign_update(
        &self,
        key: &SecretKey,
        puddle: PuddleKey,
        update: Update,
    ) -> Result<Verified, Fault> {
        let public = key.public();
        let make = |source| Fault::Make {
            project: self.fold.id().to_string(),
            source,
        };
        let statement = self.draft(public, puddle, EnvoyKey::new(public), Act::Update(update));
        let signature = key.sign(&statement.signing_bytes().map_err(make)?);
        statement.seal(signature).map_err(make)
    }

    /// Whether `batch` holds envelopes that the envoy `own` signed under its present incarnation and that are not
    /// here: the log is from an old backup, and its numbers must not be used again.
    pub(crate) fn shows_own_future(&self, own: &EnvoyKey, batch: &[Verified]) -> bool {
        batch.iter().any(|envelope| {
            let statement = envelope.statement();
            let signed_here = statement.signer == *own.key()
                || (statement.signer == *statement.puddle.key()
                    && self.fold.member(&statement.puddle));
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

//! One project on this envoy: its envelope log, its fold, its repository, and the order in which they change.
//!
//! **Invariant:** what is in the fold is durable in the log; a ref on disk names only objects whose whole closure is
//! in the repository; refs follow the fold and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gitback_envelope::{
    Act, Claim, Envelope, EnvelopeId, Incarnation, Inserted, Oid, Project, Reject, Statement, Tip,
    Update, Verified,
};
use gitback_identity::{EnvoyKey, ProjectId, PublicKey, PuddleKey, SecretKey, hex};
use gitback_log::Log;
use gitback_pack::{Expect, RefChange, RefError, Repository};

use crate::{clock, disk};

/// How long a push that is arriving holds a catch-up of the same project off.
const ARRIVAL_MAX: Duration = Duration::from_secs(600);

/// First line of the file `judged`, up to the number.
const JUDGED_HEADER: &str = "judged records 1: ";

/// Why this envoy could not do its own part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The envelope log failed.
    #[error("cannot {doing} the envelope log of project {project}")]
    Log {
        /// What was tried.
        doing: &'static str,
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: gitback_log::Fault,
    },
    /// The repository could not be opened.
    #[error("cannot open the repository of project {project}")]
    Open {
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: gitback_pack::OpenError,
    },
    /// The repository failed.
    #[error("cannot {doing} the repository of project {project}")]
    Pack {
        /// What was tried.
        doing: &'static str,
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: gitback_pack::Fault,
    },
    /// Refs could not be moved.
    #[error("cannot move refs of project {project}")]
    Refs {
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: RefError,
    },
    /// A file beside the log failed.
    #[error("cannot {doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What went wrong below.
        #[source]
        source: std::io::Error,
    },
    /// The envelope this envoy made for itself does not encode.
    #[error("cannot make an envelope for project {project}")]
    Make {
        /// Which project, 64 hex digits.
        project: String,
        /// What went wrong below.
        #[source]
        source: Reject,
    },
    /// The envoy holds as many projects as it can tell its peers of.
    #[error("this envoy holds too many projects to take another")]
    TooManyProjects,
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

/// A project's handle for every thread of the daemon.
#[derive(Debug)]
pub(crate) struct Cell {
    id: ProjectId,
    repo: Repository,
    log_dir: PathBuf,
    state: Mutex<State>,
    /// Held by the one catch-up that may run at a time.
    catch_up: Mutex<()>,
    /// Forwarded pushes that are being taken in.
    arriving: Mutex<Arriving>,
}

#[derive(Debug, Default)]
struct Arriving {
    count: usize,
    /// When the count left zero.
    since: Option<Instant>,
}

/// Says for as long as it lives that a forwarded push is being taken in.
#[derive(Debug)]
pub(crate) struct Arrival<'a>(&'a Cell);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.arriving().count -= 1;
    }
}

/// What changes together, under one lock.
#[derive(Debug)]
pub(crate) struct State {
    fold: Project,
    log: Log,
    incarnation: Incarnation,
    /// Updates whose claims about the graph are still to be checked, in order of arrival.
    unjudged: Vec<EnvelopeId>,
    /// Log records covered by the note on disk.
    judged_records: usize,
    /// Updates that were caught lying about the graph.
    held_out: BTreeSet<EnvelopeId>,
    /// Objects that heads name and the repository lacks.
    lacking: BTreeSet<Oid>,
    /// Updates folded that refs have not followed yet, so that `lacking` does not speak of them.
    unsettled: bool,
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

impl Cell {
    /// Opens project `id` below the two folders, making what is missing.
    pub(crate) fn open(
        id: ProjectId,
        repositories: &Path,
        envelopes: &Path,
    ) -> Result<Self, Fault> {
        let project = id.to_string();
        let log_dir = envelopes.join(&project);
        let path = repositories.join(format!("{project}.git"));
        let repo = if path.join("HEAD").exists() {
            let opened = Repository::open(&path);
            let (repo, recovered) = opened.map_err(|source| Fault::Open {
                project: project.clone(),
                source,
            })?;
            if !recovered.is_nothing() {
                tracing::info!(project = %id, ?recovered, "cleared away what an earlier run left");
            }
            repo
        } else {
            Repository::create(&path).map_err(pack_fault(id, "create"))?
        };
        let (log, opened) = Log::open(&log_dir).map_err(|source| Fault::Log {
            doing: "open",
            project,
            source,
        })?;
        for dropped in &opened.dropped {
            tracing::warn!(project = %id, offset = dropped.offset, bytes = dropped.bytes, "set damaged log bytes aside");
        }
        let mut state = State::new(id, log, incarnation(&log_dir, opened.created)?);
        let judged = if opened.dropped.is_empty() {
            read_judged(&log_dir)
        } else {
            Judged::default()
        };
        state.replay(opened.records, judged);
        let cell = Self {
            id,
            repo,
            log_dir,
            state: Mutex::new(state),
            catch_up: Mutex::new(()),
            arriving: Mutex::default(),
        };
        if !cell.lock().fold.is_empty() {
            let mut state = cell.lock();
            // A project whose refs cannot follow now is still served as it is.
            let followed = cell
                .judge(&mut state)
                .and_then(|()| cell.settle(&mut state, &[]));
            if let Err(fault) = followed.and_then(|()| cell.check_tips(&mut state)) {
                tracing::error!(project = %id, error = %crate::daemon::chain(&fault), "refs cannot follow the log yet");
            }
        }
        Ok(cell)
    }

    pub(crate) fn id(&self) -> &ProjectId {
        &self.id
    }

    pub(crate) fn repo(&self) -> &Repository {
        &self.repo
    }

    /// The folder of the envelope log.
    pub(crate) fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Takes the project's lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("a thread panicked while it changed this project")
    }

    /// Notes that a forwarded push begins to arrive.
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        let mut arriving = self.arriving();
        if arriving.count == 0 {
            arriving.since = Some(Instant::now());
        }
        arriving.count += 1;
        Arrival(self)
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving
            .lock()
            .expect("no thread panics while it counts")
    }

    /// Takes the right to catch up, unless another thread has it, or a push brings the same objects already: then
    /// they would be sent twice. A push that takes very long keeps nobody from catching up.
    pub(crate) fn try_catch_up(&self) -> Option<MutexGuard<'_, ()>> {
        let arriving = self.arriving();
        let recent = arriving
            .since
            .is_some_and(|since| since.elapsed() < ARRIVAL_MAX);
        if arriving.count > 0 && recent {
            return None;
        }
        drop(arriving);
        self.catch_up.try_lock().ok()
    }

    /// Waits for the right to catch up.
    pub(crate) fn wait_catch_up(&self) -> MutexGuard<'_, ()> {
        self.catch_up
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Checks the claims of updates that were not judged yet. Updates whose objects are not here stay unjudged.
    ///
    /// An update that says it contains a commit which its own history does not reach is held out of the fold: every
    /// envoy sees the same graph and comes to the same verdict.
    pub(crate) fn judge(&self, state: &mut State) -> Result<(), Fault> {
        let mut later = Vec::new();
        for id in std::mem::take(&mut state.unjudged) {
            match self.judge_one(&state.fold.claims(&id))? {
                Verdict::True => {}
                Verdict::Later => later.push(id),
                Verdict::Lie => {
                    tracing::error!(project = %self.id, update = %id, "ALARM: an update lies about what it contains; it is held out");
                    state.hold_out(id);
                }
            }
        }
        state.unjudged = later;
        if let Err(fault) = self.write_judged(state) {
            // Losing the note costs time only.
            tracing::warn!(project = %self.id, error = %crate::daemon::chain(&fault), "cannot note what was judged");
        }
        Ok(())
    }

    fn judge_one(&self, claims: &[Claim]) -> Result<Verdict, Fault> {
        let fault = pack_fault(self.id, "look into");
        let mut later = false;
        for claim in claims {
            let lives = !claim.new.is_zero();
            if lives && !self.repo.has(&git(claim.new)).map_err(&fault)? {
                later = true;
                continue;
            }
            for old in &claim.contains {
                // What `new` reaches is here whenever `new` is; what is not here, it does not reach.
                let reached = lives
                    && self.repo.has(&git(*old)).map_err(&fault)?
                    && self
                        .repo
                        .is_ancestor(&git(*old), &git(claim.new))
                        .map_err(&fault)?;
                if !reached {
                    return Ok(Verdict::Lie);
                }
            }
        }
        Ok(if later { Verdict::Later } else { Verdict::True })
    }

    /// Lets refs and HEAD on disk follow the fold, as far as the objects are here.
    ///
    /// `trusted` are objects whose closure was just checked; all others are checked now. What cannot follow yet keeps
    /// its old value, and [`State::lacking`] says so.
    pub(crate) fn settle(&self, state: &mut State, trusted: &[Oid]) -> Result<(), Fault> {
        let fault = pack_fault(self.id, "read");
        let served = state.fold.served();
        let on_disk: BTreeMap<Vec<u8>, Oid> = self
            .repo
            .refs()
            .map_err(&fault)?
            .into_iter()
            .map(|r| (r.name, own(&r.oid)))
            .collect();
        let moved: BTreeMap<&Vec<u8>, Oid> = served
            .iter()
            .filter(|(name, oid)| on_disk.get(*name) != Some(oid))
            .map(|(name, oid)| (name, *oid))
            .collect();
        state.lacking = self.incomplete(moved.values().filter(|oid| !trusted.contains(oid)))?;
        state.unsettled = false;
        let mut changes: Vec<RefChange> = Vec::new();
        for name in on_disk.keys().filter(|name| !served.contains_key(*name)) {
            changes.push(RefChange {
                name: name.clone(),
                old: Expect::Any,
                new: None,
            });
        }
        for (name, oid) in moved.iter().filter(|(_, oid)| !state.lacking.contains(oid)) {
            changes.push(RefChange {
                name: (*name).clone(),
                old: Expect::Any,
                new: Some(git(*oid)),
            });
        }
        self.move_refs(&changes)?;
        if let Some(target) = state.fold.head_target()
            && self.repo.head_target().map_err(&fault)?.as_deref() != Some(target.as_bytes())
        {
            self.repo
                .set_head(target.as_bytes())
                .map_err(pack_fault(self.id, "set HEAD of"))?;
        }
        Ok(())
    }

    /// Moves refs; one that cannot be keeps no other from moving.
    fn move_refs(&self, changes: &[RefChange]) -> Result<(), Fault> {
        let refs = |source| Fault::Refs {
            project: self.id.to_string(),
            source,
        };
        match self.repo.update_refs(changes) {
            Ok(()) => return Ok(()),
            Err(error @ RefError::Fault(_)) => return Err(refs(error)),
            Err(_) => {}
        }
        for change in changes {
            match self.repo.update_refs(std::slice::from_ref(change)) {
                Ok(()) => {}
                Err(error @ RefError::Fault(_)) => return Err(refs(error)),
                Err(error) => {
                    let name = String::from_utf8_lossy(&change.name).into_owned();
                    tracing::error!(project = %self.id, name, error = %crate::daemon::chain(&error), "a ref cannot be served");
                }
            }
        }
        Ok(())
    }

    /// Takes refs off the disk whose objects have vanished, and remembers to bring these in again: git would refuse
    /// every push beside them.
    fn check_tips(&self, state: &mut State) -> Result<(), Fault> {
        let mut gone = Vec::new();
        for reference in self.repo.refs().map_err(pack_fault(self.id, "read"))? {
            let here = self.repo.has(&reference.oid);
            if !here.map_err(pack_fault(self.id, "look into"))? {
                tracing::error!(project = %self.id, oid = %reference.oid, "an object that a ref names has vanished");
                state.lacking.insert(own(&reference.oid));
                gone.push(RefChange {
                    name: reference.name,
                    old: Expect::Any,
                    new: None,
                });
            }
        }
        if gone.is_empty() {
            Ok(())
        } else {
            self.move_refs(&gone)
        }
    }

    /// Those of `tips` whose closure is not in the repository.
    fn incomplete<'a>(&self, tips: impl Iterator<Item = &'a Oid>) -> Result<BTreeSet<Oid>, Fault> {
        let fault = pack_fault(self.id, "look into");
        let mut lacking = BTreeSet::new();
        let mut here = Vec::new();
        for oid in tips.copied().collect::<BTreeSet<_>>() {
            if self.repo.has(&git(oid)).map_err(&fault)? {
                here.push(oid);
            } else {
                lacking.insert(oid);
            }
        }
        let all: Vec<_> = here.iter().map(|oid| git(*oid)).collect();
        if !all.is_empty() && !self.repo.complete(&all).map_err(&fault)? {
            for oid in here {
                if !self.repo.complete(&[git(oid)]).map_err(&fault)? {
                    lacking.insert(oid);
                }
            }
        }
        Ok(lacking)
    }

    /// Starts a new incarnation: the numbers of the old one are never used again.
    pub(crate) fn reincarnate(&self, state: &mut State) -> Result<(), Fault> {
        state.incarnation = fresh_incarnation(&self.log_dir)?;
        tracing::warn!(project = %self.id, "a peer showed envelopes of ours that this log lacks; new incarnation");
        Ok(())
    }

    /// Notes how far judging has come, so that the next start need not do it again. Losing the note costs time only.
    fn write_judged(&self, state: &mut State) -> Result<(), Fault> {
        let records = state.log.len();
        if records == state.judged_records && state.unjudged.is_empty() {
            return Ok(());
        }
        let mut text = format!("{JUDGED_HEADER}{records}\n");
        for id in &state.unjudged {
            text.push_str(&format!("unjudged {id}\n"));
        }
        for id in &state.held_out {
            text.push_str(&format!("held-out {id}\n"));
        }
        state.judged_records = records;
        let path = self.log_dir.join("judged");
        disk::replace(&path, text.as_bytes()).map_err(|source| Fault::File {
            doing: "write",
            path,
            source,
        })
    }
}

enum Verdict {
    True,
    Lie,
    Later,
}

impl State {
    fn new(id: ProjectId, log: Log, incarnation: Incarnation) -> Self {
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

    fn replay(&mut self, records: Vec<([u8; 32], Vec<u8>)>, judged: Judged) {
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
    fn retreat(&mut self) {
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

    fn hold_out(&mut self, id: EnvelopeId) {
        self.fold.hold_out(&id);
        self.held_out.insert(id);
    }

    fn insert(&mut self, envelope: Verified) -> Result<Inserted, Reject> {
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

/// The object id in git's type.
pub(crate) fn git(oid: Oid) -> gitback_pack::Oid {
    gitback_pack::Oid::Sha1(*oid.as_bytes())
}

/// The object id in the envelopes' type.
pub(crate) fn own(oid: &gitback_pack::Oid) -> Oid {
    Oid::from_bytes(
        oid.as_bytes()
            .try_into()
            .expect("repositories are SHA-1: 20 bytes"),
    )
}

pub(crate) fn pack_fault(
    id: ProjectId,
    doing: &'static str,
) -> impl Fn(gitback_pack::Fault) -> Fault {
    move |source| Fault::Pack {
        doing,
        project: id.to_string(),
        source,
    }
}

/// How far judging had come when the daemon last wrote it down.
#[derive(Default)]
struct Judged {
    /// Updates among the first so many records of the log were judged, those listed as unjudged excepted.
    records: usize,
    unjudged: BTreeSet<EnvelopeId>,
    held_out: Vec<EnvelopeId>,
}

/// Reads the note; one that is missing or damaged means that everything is judged again.
fn read_judged(log_dir: &Path) -> Judged {
    let text = std::fs::read_to_string(log_dir.join("judged")).unwrap_or_default();
    parse_judged(&text).unwrap_or_default()
}

fn parse_judged(text: &str) -> Option<Judged> {
    let mut lines = text.strip_prefix(JUDGED_HEADER)?.lines();
    let mut judged = Judged {
        records: lines.next()?.parse().ok()?,
        ..Judged::default()
    };
    for line in lines {
        let (verdict, id) = line.split_once(' ')?;
        let id = EnvelopeId::from_bytes(&hex::decode_exact::<32>(id)?);
        match verdict {
            "unjudged" => drop(judged.unjudged.insert(id)),
            "held-out" => judged.held_out.push(id),
            _ => return None,
        }
    }
    Some(judged)
}

fn incarnation(log_dir: &Path, log_is_new: bool) -> Result<Incarnation, Fault> {
    let path = log_dir.join("incarnation");
    if log_is_new {
        return fresh_incarnation(log_dir);
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => match hex::decode_exact::<16>(text.trim_end()) {
            Some(bytes) => Ok(Incarnation::from_bytes(&bytes)),
            None => fresh_incarnation(log_dir),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh_incarnation(log_dir),
        Err(source) => Err(Fault::File {
            doing: "read",
            path,
            source,
        }),
    }
}

fn fresh_incarnation(log_dir: &Path) -> Result<Incarnation, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Fault::Randomness)?;
    let path = log_dir.join("incarnation");
    disk::replace(&path, format!("{}\n", hex::encode(&bytes)).as_bytes()).map_err(|source| {
        Fault::File {
            doing: "write",
            path,
            source,
        }
    })?;
    Ok(Incarnation::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    use gitback_identity::Handle;

    fn cell(dir: &Path) -> (Cell, Verified) {
        let founder = SecretKey::from_seed(&[3; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let init = Statement::init(&puddle, &handle);
        let signature = founder.sign(&init.signing_bytes().expect("encodes"));
        let init = init.seal(signature).expect("the founder's");
        let id = init.statement().project;
        let cell = Cell::open(id, &dir.join("projects"), &dir.join("envelopes"));
        (cell.expect("opens"), init)
    }

    #[test]
    fn the_fold_goes_back_to_what_the_log_has() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, init) = cell(dir.path());
        let mut state = cell.lock();
        let empty = state.fold().digest();
        // As after an append that failed: folded, and not in the log.
        state.insert(init.clone()).expect("folds");
        assert_ne!(state.fold().digest(), empty);
        assert!(!state.holds(init.id()));
        state.retreat();
        assert_eq!(state.fold().digest(), empty);
        assert_eq!(
            state
                .admit(vec![init.clone()])
                .expect("the disk works")
                .folded,
            [*init.id()]
        );
        assert!(state.holds(init.id()));
        state.retreat();
        assert!(state.fold().founder().is_some(), "what is durable stays");
    }

    #[test]
    fn what_a_push_is_bringing_is_not_fetched_beside_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (cell, _) = cell(dir.path());
        let (first, second) = (cell.arrival(), cell.arrival());
        assert!(cell.try_catch_up().is_none());
        drop(first);
        assert!(cell.try_catch_up().is_none(), "another push still arrives");
        drop(second);
        assert!(cell.try_catch_up().is_some());
    }

    #[test]
    fn a_new_log_begins_a_new_incarnation_and_an_old_one_keeps_its_own() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (first, init) = cell(dir.path());
        first.lock().admit(vec![init]).expect("the disk works");
        let incarnation = first.lock().incarnation();
        drop(first);
        let (again, _) = cell(dir.path());
        assert_eq!(again.lock().incarnation(), incarnation);
        let log = again.log_dir().join("log");
        drop(again);
        std::fs::remove_file(log).expect("removed");
        let (lost, _) = cell(dir.path());
        assert_ne!(lost.lock().incarnation(), incarnation);
    }

    #[test]
    fn the_note_of_what_was_judged_reads_back_and_a_damaged_one_is_ignored() {
        let id = "ab".repeat(32);
        let text = format!("{JUDGED_HEADER}7\nunjudged {id}\nheld-out {id}\n");
        let judged = parse_judged(&text).expect("as it is written");
        assert_eq!(
            (judged.records, judged.unjudged.len(), judged.held_out.len()),
            (7, 1, 1)
        );
        for damaged in [
            "",
            "judged records 1: x\n",
            &text.replace("held-out", "hold-out"),
            &text[..40],
        ] {
            assert!(parse_judged(damaged).is_none(), "{damaged:?}");
        }
    }
}

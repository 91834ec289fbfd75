//! Taking in a forwarded push: the same checks as for a local one, and the same order of making things durable.
//!
//! Under the lock a batch is folded in memory first. Then its verdicts decide: objects are kept if an update that
//! counts needs them, envelopes are kept in any case, for replicas must hold the same set, and the sender hears what
//! became of its push.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use gitback_envelope::{Access, Act, Change, Envelope, EnvelopeId, Oid, Tip, Verified, VoidReason};
use gitback_identity::{EnvoyKey, PuddleKey};
use gitback_pack::{Incoming, Quarantine, Received, Reject, valid_ref_name};
use gitback_peer::{
    Handoff, PackInfo, Part, PushAnswer, PushBody, PushHeader, Refusal, RefusalKind,
};

use super::{CATCHES_UP, HAVES_MAX, ours, refusal};
use crate::cell::{Admitted, Arrival, Cell, Foothold, State, Void, git};
use crate::config::over;
use crate::daemon::{Envoy, chain, tips_for_peer};
use crate::fanout::{self, Fanout};

/// Most ids in one receipt.
const RECEIPT_IDS_MAX: usize = 1024;

/// How long a push without objects waits for a catch-up that may bring them. One that takes longer, or is stuck, keeps
/// nobody from bringing them.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(3);

/// Most envelopes in one push.
const PUSH_ENVELOPES_MAX: usize = 1 << 16;

/// One forwarded push on its way in.
pub(super) struct Intake<'a> {
    envoy: &'a Arc<Envoy>,
    cell: &'a Arc<Cell>,
    caller: EnvoyKey,
    arrival: Arrival<'a>,
    /// The others to whom it is handed on while it arrives, if it is.
    handing_on: Option<(Fanout, Incoming)>,
    pack: Option<(Quarantine, Received)>,
    /// The pack needs objects that are not here.
    bases_missing: bool,
    /// Digest and tips of the project, if the sender holds all of it.
    pub(super) same: Option<([u8; 32], Vec<Tip>)>,
    /// Whether the sender says that it lacks nothing, what it pushes aside.
    sender_is_whole: bool,
    envelopes: Vec<Verified>,
    sent: Vec<EnvelopeId>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(envoy: &'a Arc<Envoy>, cell: &'a Arc<Cell>, caller: EnvoyKey) -> Self {
        Self {
            envoy,
            cell,
            caller,
            arrival: cell.arrival(),
            handing_on: None,
            pack: None,
            bases_missing: false,
            same: None,
            sender_is_whole: false,
            envelopes: Vec::new(),
            sent: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, body: &mut PushBody) -> Result<PushAnswer, Refusal> {
        while let Some(part) = body
            .next()
            .map_err(|error| refusal(RefusalKind::Bad, "malformed-push", error.to_string()))?
        {
            match part {
                Part::Header(header) => {
                    self.sender_is_whole = header.whole;
                    self.hand_on(&header);
                }
                Part::Pack(reader) => self.take_pack(reader)?,
                Part::PackEnd(info) => self.check_pack(&info)?,
                Part::Envelope(bytes) => {
                    self.take_envelope(&bytes)?;
                    // A sender says what it is about when that is durable there.
                    self.arrival.note_stored();
                }
            }
        }
        let origin = body.handoff().origin;
        let answer = self.answer();
        match (&answer, self.handing_on.take()) {
            (Ok(PushAnswer::Durable { .. }), Some((fanout, _))) => drop(fanout.stored(&self.sent)),
            (_, Some((fanout, _))) => fanout.dropped(),
            (_, None) => {}
        }
        // Of what is not whole nobody is given a receipt: it is asked, and answers.
        if let (Ok(PushAnswer::Durable { whole: true }), Some(origin)) = (&answer, origin) {
            self.send_receipt(&origin);
        }
        answer
    }

    /// Begins to send it to those whom the sender leaves to this envoy. Only the fleet may ask for that.
    fn hand_on(&mut self, header: &PushHeader) {
        let Handoff { origin, forward } = &header.handoff;
        let Some(origin) = origin.filter(|_| self.envoy.neighbour(&self.caller).is_some()) else {
            return;
        };
        if forward.is_empty() {
            return;
        }
        let incoming = Incoming::new();
        let pack = header.pack.then_some(&incoming);
        let fanout = Fanout::hand_on(self.envoy, self.cell, pack, forward, origin);
        self.handing_on = Some((fanout, incoming));
    }

    /// Tells the envoy where the push was made that it is durable here, unless that one hears it as the answer. If it
    /// does not arrive, the push is sent here again, and answered.
    fn send_receipt(&self, origin: &EnvoyKey) {
        if *origin == self.caller {
            return;
        }
        let Some(neighbour) = self.envoy.neighbour(origin) else {
            return;
        };
        let (client, id) = (self.envoy.client().clone(), *self.cell.id());
        let ids = self.sent.iter().rev().take(RECEIPT_IDS_MAX);
        let ids: Vec<[u8; 32]> = ids.map(|id| *id.as_bytes()).collect();
        self.envoy.handle().spawn(async move {
            let told = client.held(&neighbour.address(), &id, &ids).await;
            if let Err(error) = told {
                tracing::debug!(peer = neighbour.name(), project = %id, reason = error.reason(), "cannot send a receipt");
            }
        });
    }

    fn take_pack(&mut self, reader: &mut dyn Read) -> Result<(), Refusal> {
        let mut quarantine = self.cell.repo().quarantine();
        let limits = self.envoy.pack_limits();
        let ingested = match &self.handing_on {
            Some((_, incoming)) => quarantine.ingest_shared(reader, &limits, incoming),
            None => quarantine.ingest(reader, &limits),
        };
        match ingested {
            Ok(ingested) => self.pack = Some((quarantine, ingested.pack)),
            Err(Reject::MissingBase | Reject::MissingObject { .. }) => self.bases_missing = true,
            Err(Reject::Fault(fault)) => return Err(ours_pack(&fault)),
            Err(reject @ Reject::Room { .. }) => {
                let reason = format!("{}: {reject}", self.envoy.name());
                return Err(refusal(RefusalKind::Disk, "disk", reason));
            }
            // Another envoy may take it: its sender is not to blame.
            Err(reject) if reject.is_over_limit() => return Err(self.over_limit(&reject)),
            Err(reject) => return Err(refusal(RefusalKind::Bad, "bad-pack", chain(&reject))),
        }
        Ok(())
    }

    fn check_pack(&self, sent: &PackInfo) -> Result<(), Refusal> {
        match &self.pack {
            Some((_, spool)) if (spool.bytes(), spool.blake3()) != (sent.bytes, sent.blake3) => {
                let reason = "the pack is not the one that was sent".to_owned();
                Err(refusal(RefusalKind::Bad, "wrong-pack", reason))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn take_envelope(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.envelopes.len() >= PUSH_ENVELOPES_MAX {
            return Err(refusal(
                RefusalKind::Bad,
                "too-many-envelopes",
                format!("at most {PUSH_ENVELOPES_MAX} in one push"),
            ));
        }
        let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
        let envelope = envelope
            .map_err(|reject| refusal(RefusalKind::Bad, reject.code(), reject.to_string()))?;
        if envelope.statement().project != *self.cell.id() {
            return Err(refusal(
                RefusalKind::Bad,
                "wrong-project",
                format!("envelope {} is of another project", envelope.id()),
            ));
        }
        self.envelopes.push(envelope);
        Ok(())
    }

    /// Takes in what came. What comes without objects and needs some is answered once the catch-up that may be bringing
    /// them has ended: who was away asks for all by itself, and those who have something for it would bring the same.
    fn answer(&mut self) -> Result<PushAnswer, Refusal> {
        let is_offer = self.pack.is_none() && !self.bases_missing;
        if !is_offer {
            let answer = self.finish();
            if matches!(answer, Ok(PushAnswer::Need { .. })) {
                self.cell.may_ask(&mut self.arrival);
            }
            return answer;
        }
        let offered = self.envelopes.clone();
        let answer = self.finish();
        let is_lacking = match &answer {
            Ok(PushAnswer::Need { .. }) => true,
            Ok(PushAnswer::Durable { .. }) => false,
            Err(refusal) => refusal.code == CATCHES_UP,
        };
        if !is_lacking || self.cell.may_ask(&mut self.arrival) {
            return answer;
        }
        self.cell.wait_caught_up(CATCH_UP_PATIENCE);
        self.envelopes = offered;
        self.finish()
    }

    fn finish(&mut self) -> Result<PushAnswer, Refusal> {
        let cell = self.cell;
        let sent: Vec<EnvelopeId> = self.envelopes.iter().map(|e| *e.id()).collect();
        self.sent.clone_from(&sent);
        if sent.is_empty() {
            let reason = "a push brings at least one envelope".to_owned();
            return Err(refusal(RefusalKind::Bad, "malformed-push", reason));
        }
        let mut fresh = std::mem::take(&mut self.envelopes);
        // Where objects are lacking, a pack has to bring those of envelopes as well that are here already.
        let named: Vec<Oid> = fresh.iter().flat_map(new_oids).collect();
        let (doubtful, mends) = {
            let state = cell.lock();
            fresh.retain(|envelope| !state.holds(envelope.id()));
            if ancestors_missing(&state, &fresh) {
                drop(state);
                return need(cell);
            }
            check_standing(&state, &fresh)?;
            let doubtful = fresh.iter().any(|envelope| is_doubtful(&state, envelope));
            (doubtful, self.pack.is_some() && !state.has_all())
        };
        let tips: Vec<Oid> = if mends {
            named
        } else {
            fresh.iter().flat_map(new_oids).collect()
        };
        let connected = !self.bases_missing && self.connected(&tips)?;
        // The objects of an update without effect need not be here.
        if !connected && !doubtful {
            return need(cell);
        }
        // Of what may have no effect the objects may not be kept.
        if connected
            && !doubtful
            && let Some((quarantine, _)) = &mut self.pack
        {
            quarantine.settle().map_err(|fault| ours_pack(&fault))?;
        }
        let mut state = cell.lock();
        if connected && let Some(id) = self.first_lie(&state, &fresh)? {
            let rule = VoidReason::HeldOut.rule();
            let reason =
                format!("update {id} says it contains a commit that it does not (rule {rule})");
            return Err(refusal(RefusalKind::Bad, "false-claim", reason));
        }
        if state.shows_own_future(self.envoy.public(), &fresh) {
            cell.reincarnate(&mut state).map_err(|fault| ours(&fault))?;
        }
        let is_new = state.fold().founder().is_none();
        let taken = state.admit_if(fresh, |state, admitted| {
            // A project does not begin with what has no effect.
            match sent.last().and_then(|last| state.void(last)) {
                Some(void) if is_new => Err(Stop::Refuse(void_refusal(&void))),
                _ => self.keep_what_counts(state, admitted, connected),
            }
        });
        let (valid, is_all_new) = match taken.map_err(|fault| ours(&fault))? {
            Ok(admitted) => {
                let folded: BTreeSet<&EnvelopeId> = admitted.folded.iter().collect();
                let is_all_new = sent.iter().all(|id| folded.contains(id));
                (valid_oids(&state, &admitted), is_all_new)
            }
            Err(Stop::Refuse(refusal)) => return Err(refusal),
            Err(Stop::Need) => {
                drop(state);
                return need(cell);
            }
        };
        if state.foothold() == Foothold::New && state.fold().founder().is_some() {
            cell.note_foothold(&mut state, Foothold::Known)
                .map_err(|fault| ours(&fault))?;
        }
        cell.follow(&mut state, &valid);
        if !sent.iter().all(|id| state.holds(id)) {
            drop(state);
            return need(cell);
        }
        if !state.has_all() && self.lacks_objects(&state, &sent)? {
            drop(state);
            // Envelopes may be here long before the objects, and only with those it is durable.
            return if cell.is_catching_up() {
                let reason = format!("{} is bringing it in already", self.envoy.name());
                Err(refusal(RefusalKind::Busy, CATCHES_UP, reason))
            } else {
                need(cell)
            };
        }
        // The sender holds what it sent; it holds all that is here when nothing here is newer, if it says that it lacks
        // nothing itself: it may have the envelopes, and not the objects.
        if self.sender_is_whole && state.fold().heads().iter().all(|head| sent.contains(head)) {
            self.same = Some((state.fold().digest(), state.fold().tips()));
        }
        let void = sent.last().and_then(|last| state.void(last));
        let whole = state.is_copy();
        drop(state);
        // What a push is about comes last in it; whatever came before, its past or beside it, is only made whole.
        if let Some(void) = void {
            return Err(void_refusal(&void));
        }
        if !is_all_new {
            // What was here before may have come a moment ago, by a catch-up that has not come to its sync yet.
            self.sync_objects()?;
        }
        Ok(PushAnswer::Durable { whole })
    }

    /// Decides, once a batch is folded and before it is stored, whether it may be, and makes the objects durable that
    /// its updates need. Those of updates without effect are not taken in.
    fn keep_what_counts(
        &mut self,
        state: &State,
        admitted: &Admitted,
        connected: bool,
    ) -> Result<(), Stop> {
        if let Some((id, reject)) = admitted.refused.first() {
            let reason = format!("envelope {id}: {reject}");
            let refused = refusal(RefusalKind::Bad, reject.code(), reason);
            return Err(Stop::Refuse(refused));
        }
        if admitted.waiting {
            return Err(Stop::Need);
        }
        let valid = valid_oids(state, admitted);
        let moves_refs = admitted
            .folded
            .iter()
            .any(|id| state.update(id).is_some() && state.void(id).is_none());
        // A pack for what is here already may still bring what a lost repository lacks.
        let mends = admitted.folded.is_empty() && !state.has_all();
        if !moves_refs && !mends {
            self.pack = None;
            return Ok(());
        }
        if !connected && (self.bases_missing || !self.connected(&valid)?) {
            return Err(Stop::Need);
        }
        Ok(self.keep_objects()?)
    }

    /// Moves what came into the repository. Objects that were here already may have come a moment ago, so their
    /// directory is synced in any case.
    fn keep_objects(&mut self) -> Result<(), Refusal> {
        match self.pack.take() {
            Some((quarantine, _spool)) => {
                let migrated = quarantine.migrate();
                self.envoy.maintenance().note_pack(self.cell.id());
                migrated.map(drop).map_err(|fault| ours_pack(&fault))
            }
            None => self.sync_objects(),
        }
    }

    fn sync_objects(&self) -> Result<(), Refusal> {
        let synced = self.cell.repo().sync_packs();
        synced.map_err(|fault| ours_pack(&fault))
    }

    /// Whether something is not here that the updates among `sent` need, as far as they have an effect.
    fn lacks_objects(&self, state: &State, sent: &[EnvelopeId]) -> Result<bool, Refusal> {
        let counting = sent.iter().filter(|id| state.void(id).is_none());
        let envelopes = counting.filter_map(|id| state.fold().get(id));
        let tips: Vec<_> = envelopes.flat_map(new_oids).map(git).collect();
        if tips.is_empty() {
            return Ok(false);
        }
        let complete = self.cell.repo().complete(&tips);
        complete
            .map(|complete| !complete)
            .map_err(|fault| ours_pack(&fault))
    }

    fn connected(&self, tips: &[Oid]) -> Result<bool, Refusal> {
        let tips: Vec<_> = tips.iter().map(|oid| git(*oid)).collect();
        if tips.is_empty() {
            return Ok(true);
        }
        let Some((quarantine, _)) = &self.pack else {
            return self
                .cell
                .repo()
                .complete(&tips)
                .map_err(|fault| ours_pack(&fault));
        };
        match quarantine.check_connected(&tips) {
            Ok(()) => Ok(true),
            Err(Reject::MissingObject { .. }) => Ok(false),
            Err(Reject::Fault(fault)) => Err(ours_pack(&fault)),
            Err(reject) if reject.is_over_limit() => Err(self.over_limit(&reject)),
            Err(reject) => Err(refusal(RefusalKind::Bad, "bad-pack", chain(&reject))),
        }
    }

    fn over_limit(&self, reject: &Reject) -> Refusal {
        let why = over(reject, &self.envoy.pack_limits());
        let reason = format!("{}: {why}", self.envoy.name());
        refusal(RefusalKind::Disk, "pack-limit", reason)
    }

    /// The first update whose claim to contain another is not true in the graph.
    fn first_lie(&self, state: &State, fresh: &[Verified]) -> Result<Option<EnvelopeId>, Refusal> {
        let graph = self.cell.graph(self.pack.as_ref().map(|(come, _)| come));
        for envelope in fresh {
            let Act::Update(update) = &envelope.statement().act else {
                continue;
            };
            for change in &update.changes {
                for claimed in &change.contained {
                    let in_batch = fresh
                        .iter()
                        .find(|other| other.id() == claimed)
                        .and_then(|other| oid_in(other, &change.name));
                    let Some(old) = in_batch.or_else(|| state.oid_of(claimed, &change.name)) else {
                        continue;
                    };
                    let contained = graph.contains(old, change.new);
                    if !contained.map_err(|fault| ours_pack(&fault))? {
                        return Ok(Some(*envelope.id()));
                    }
                }
            }
        }
        Ok(None)
    }
}

fn oid_in(envelope: &Verified, name: &gitback_envelope::RefName) -> Option<Oid> {
    let change = envelope.statement().update()?.change(name)?;
    Some(change.new)
}

fn new_oids(envelope: &Verified) -> Vec<Oid> {
    let update = envelope.statement().update();
    let changes = update.map(|update| update.changes.as_slice());
    let news = changes.unwrap_or_default().iter().map(|change| change.new);
    news.filter(|oid| !oid.is_zero()).collect()
}

/// Why a batch is not taken in as it is.
enum Stop {
    Refuse(Refusal),
    Need,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// Refuses what would be stored for nothing: envelopes of strangers, and refs that no repository can have.
fn check_standing(state: &State, fresh: &[Verified]) -> Result<(), Refusal> {
    if let Some((stranger, why)) = first_stranger(state, fresh) {
        let reason = format!("envelope {}: {why} (rule {})", stranger.id(), why.rule());
        return Err(refusal(RefusalKind::Forbidden, why.code(), reason));
    }
    for envelope in fresh {
        let Act::Update(update) = &envelope.statement().act else {
            continue;
        };
        let impossible = |change: &&Change| !valid_ref_name(change.name.as_bytes());
        if let Some(change) = update.changes.iter().find(impossible) {
            let name = String::from_utf8_lossy(change.name.as_bytes()).into_owned();
            let reason = format!(
                "update {} moves {name:?}, which cannot be a ref",
                envelope.id()
            );
            return Err(refusal(RefusalKind::Bad, "impossible-ref", reason));
        }
    }
    Ok(())
}

/// The first envelope for a puddle that is no party to the project, or by an envoy that its puddle never granted;
/// neither by what is here nor by what came with it.
///
/// The fold would call it void in any case; refusing it keeps strangers from filling the log. What another envelope
/// names is taken in all the same, or replicas would not come together.
fn first_stranger<'a>(state: &State, fresh: &'a [Verified]) -> Option<(&'a Verified, VoidReason)> {
    let fold = state.fold();
    let mut parties = Parties::new(state);
    let mut strangers = Vec::new();
    let mut named: BTreeSet<EnvelopeId> = fold.missing().into_iter().collect();
    // Each comes after its past, so whoever invites comes before whoever is invited.
    for envelope in fresh {
        match parties.meet(envelope) {
            Ok(()) => named.extend(names(envelope)),
            Err(why) => strangers.push((envelope, why)),
        }
    }
    // From the last on: what a named one names is named as well.
    let mut first = None;
    for (stranger, why) in strangers.into_iter().rev() {
        if named.contains(stranger.id()) {
            named.extend(names(stranger));
        } else {
            first = Some((stranger, why));
        }
    }
    first
}

/// Who has a say, by what is here and what has come so far.
struct Parties<'a> {
    state: &'a State,
    line: BTreeSet<PuddleKey>,
    invited: BTreeSet<PuddleKey>,
    granted: BTreeSet<(EnvoyKey, PuddleKey)>,
}

impl<'a> Parties<'a> {
    fn new(state: &'a State) -> Self {
        Self {
            state,
            line: state.fold().line().iter().map(|hop| hop.key).collect(),
            invited: BTreeSet::new(),
            granted: BTreeSet::new(),
        }
    }

    /// Whether the envelope is by somebody with a say, and to whom it gives one.
    fn meet(&mut self, envelope: &Verified) -> Result<(), VoidReason> {
        let statement = envelope.statement();
        let puddle = statement.puddle;
        match &statement.act {
            // What it says only a later version knows, and so whom it may let in.
            Act::Unknown { .. } => return Ok(()),
            Act::Init { .. } => drop(self.line.insert(puddle)),
            Act::Invite(invite) if self.line.contains(&puddle) => {
                self.invited.insert(invite.puddle);
            }
            Act::Delegate(delegate) if self.line.contains(&puddle) => {
                self.line.insert(delegate.to);
            }
            _ => {}
        }
        let known = self.line.contains(&puddle)
            || self.invited.contains(&puddle)
            || self.state.fold().party(&puddle);
        if !known {
            return Err(VoidReason::NotMember);
        }
        if let Act::Grant(grant) = &statement.act {
            self.granted.insert((grant.envoy, puddle));
        }
        let signer = EnvoyKey::new(statement.signer);
        let granted = statement.by_puddle()
            || self.granted.contains(&(signer, puddle))
            || self.state.ever_granted_by(&signer, &puddle);
        granted.then_some(()).ok_or(VoidReason::NotGranted)
    }
}

/// What an envelope names: its past, and what its cut keeps.
fn names(envelope: &Verified) -> impl Iterator<Item = EnvelopeId> {
    let statement = envelope.statement();
    let cut = statement.act.cut().unwrap_or_default().iter();
    let past = statement.prev.iter().chain(&statement.deps);
    past.chain(cut).copied()
}

/// Whether an update may turn out to have no effect, by what is known before it folds. To say so of one that has an
/// effect costs time only.
fn is_doubtful(state: &State, envelope: &Verified) -> bool {
    let (fold, statement) = (state.fold(), envelope.statement());
    let Some(update) = statement.update() else {
        return false;
    };
    let may_write = fold.access(&statement.puddle) >= Some(Access::Member);
    let signer = EnvoyKey::new(statement.signer);
    let granted = statement.by_puddle() || fold.granted_envoy(&signer).is_some();
    let protected = fold.policy().protected;
    let takes_away = |change: &Change| {
        (change.new.is_zero() || !change.forced.is_empty()) && protected.contains(&change.name)
    };
    fold.ended() || !may_write || !granted || update.changes.iter().any(takes_away)
}

/// The objects to which the updates of a batch lead, those without effect left out.
fn valid_oids(state: &State, admitted: &Admitted) -> Vec<Oid> {
    let folded = admitted.folded.iter();
    let counting = folded.filter(|id| state.void(id).is_none());
    let envelopes = counting.filter_map(|id| state.fold().get(id));
    envelopes.flat_map(new_oids).collect()
}

/// The answer to a push that is kept and has no effect.
fn void_refusal(void: &Void) -> Refusal {
    let Void { id, reason } = void;
    let text = format!(
        "envelope {id} has no effect: {reason} (rule {})",
        reason.rule()
    );
    refusal(RefusalKind::Forbidden, reason.code(), text)
}

fn ancestors_missing(state: &State, fresh: &[Verified]) -> bool {
    let here =
        |id: &EnvelopeId| state.holds(id) || fresh.iter().any(|envelope| envelope.id() == id);
    fresh.iter().any(|envelope| {
        let statement = envelope.statement();
        !statement.prev.iter().chain(&statement.deps).all(here)
    })
}

fn need(cell: &Cell) -> Result<PushAnswer, Refusal> {
    let tips = tips_for_peer(&cell.lock());
    let haves = fanout::haves(cell, HAVES_MAX).map_err(|fault| ours(&fault))?;
    Ok(PushAnswer::Need { tips, haves })
}

fn ours_pack(fault: &gitback_pack::Fault) -> Refusal {
    tracing::error!(error = %chain(fault), "cannot take in a peer's pack");
    refusal(
        RefusalKind::Internal,
        "fault",
        "the envoy could not store it".to_owned(),
    )
}

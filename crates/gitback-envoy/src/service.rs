//! What this envoy answers to other envoys.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use gitback_envelope::{Act, Change, Envelope, EnvelopeId, Oid, Tip, Verified};
use gitback_identity::{EnvoyKey, ProjectId, hex};
use gitback_pack::{Limits, Quarantine, Reject, Spool, valid_ref_name};
use gitback_peer::{
    Caller, Digests, PackInfo, Part, PushAnswer, PushBody, Refusal, RefusalKind, Service,
    SyncAnswer, SyncRequest,
};

use crate::cell::{Cell, State, git};
use crate::daemon::{Envoy, chain, tip_from_peer, tips_for_peer};
use crate::fault::Fault;
use crate::{disk, fanout};

/// Most object ids named in a `need` answer.
pub(crate) const HAVES_MAX: usize = 512;

/// Most envelopes in one push.
const PUSH_ENVELOPES_MAX: usize = 1 << 16;

/// The code of the answer for a project that is not here.
pub(crate) const UNKNOWN_PROJECT: &str = "unknown-project";

/// Most envelopes in a token.
const TOKEN_MAX: usize = 16;

/// Most bytes of envelopes in one page of a sync answer.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The daemon as its peers see it.
#[derive(Debug)]
pub(crate) struct Surface(pub(crate) Arc<Envoy>);

impl Service for Surface {
    fn digests(&self, caller: &Caller, theirs: Digests) -> Result<Digests, Refusal> {
        let envoy = &self.0;
        let neighbour = envoy
            .neighbour(&caller.key)
            .ok_or_else(|| stranger(envoy, &caller.key))?;
        neighbour.note_answer();
        let ours = envoy.digests();
        let own: BTreeMap<_, _> = ours.projects.iter().copied().collect();
        for (project, digest) in &theirs.projects {
            let same = own.get(project) == Some(digest);
            // Of projects that are not here nothing is remembered: a peer could name any number of them. A difference
            // that was there before is left to the next regular contact.
            let news =
                !own.contains_key(project) || neighbour.note_holding(*project, *digest, None, same);
            if news && !same {
                neighbour.poke_soon();
            }
        }
        Ok(ours)
    }

    fn sync(
        &self,
        caller: &Caller,
        project: &ProjectId,
        request: SyncRequest,
    ) -> Result<SyncAnswer, Refusal> {
        let envoy = &self.0;
        let cell = envoy
            .store()
            .founded(project)
            .ok_or_else(|| unknown(envoy, project))?;
        if !request.token.is_empty() {
            accept_token(&cell, &caller.key, &request.token)?;
        }
        self.may(&cell, &caller.key)?;
        let tips: Vec<_> = request.tips.iter().filter_map(tip_from_peer).collect();
        let state = cell.lock();
        let (mut envelopes, mut bytes, mut more) = (Vec::new(), 0, false);
        let skip = usize::try_from(request.skip).unwrap_or(usize::MAX);
        for envelope in state.lacking_for(&tips).into_iter().skip(skip) {
            bytes += envelope.bytes().len();
            if bytes > PAGE_BYTES_MAX && !envelopes.is_empty() {
                more = true;
                break;
            }
            envelopes.push(envelope.bytes().to_vec());
        }
        let tips = tips_for_peer(&state);
        Ok(SyncAnswer {
            envelopes,
            more,
            digest: state.shown_digest(),
            tips,
        })
    }

    fn push(
        &self,
        caller: &Caller,
        project: &ProjectId,
        body: &mut PushBody,
    ) -> Result<PushAnswer, Refusal> {
        let envoy = &self.0;
        match envoy.store().founded(project) {
            Some(cell) => self.may(&cell, &caller.key)?,
            None => drop(
                envoy
                    .neighbour(&caller.key)
                    .ok_or_else(|| stranger(envoy, &caller.key))?,
            ),
        }
        let room = envoy.room();
        room.map_err(|reason| refusal(RefusalKind::Disk, "disk", reason))?;
        let cell = envoy
            .store()
            .find_or_make(project)
            .map_err(|fault| ours(&fault))?;
        let answer = {
            let _arrival = cell.arrival();
            let mut intake = Intake::new(envoy, &cell);
            let answer = intake.take(body);
            if let Some(neighbour) = envoy.neighbour(&caller.key) {
                neighbour.note_answer();
                if let Some((digest, tips)) = intake.same.take() {
                    neighbour.note_holding(*project, digest, Some(tips), true);
                }
            }
            answer
        };
        if matches!(answer, Ok(PushAnswer::Durable)) {
            // The others have most likely received it as well; ask, so that status here tells the truth.
            let others = envoy.neighbours().iter();
            for other in others.filter(|other| *other.key() != caller.key) {
                other.poke_soon();
            }
        }
        if !matches!(answer, Ok(PushAnswer::Durable)) {
            envoy.store().discard_if_unfounded(cell);
        }
        answer
    }

    fn upload_pack(
        &self,
        caller: &Caller,
        project: &ProjectId,
        input: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        let cell = self
            .0
            .store()
            .founded(project)
            .ok_or_else(|| unknown(&self.0, project))?;
        self.may(&cell, &caller.key)?;
        cell.repo().upload_pack_request(input, output).map_err(|fault| {
            tracing::warn!(project = %project, error = %chain(&fault), "cannot serve a peer's fetch");
            refusal(RefusalKind::Internal, "fault", format!("{} could not serve it", self.0.name()))
        })
    }
}

impl Surface {
    /// A peer of the fleet, or an envoy that a member of this project has granted.
    fn may(&self, cell: &Cell, key: &EnvoyKey) -> Result<(), Refusal> {
        if self.0.neighbour(key).is_some() || cell.lock().fold().granted_envoy(key) {
            return Ok(());
        }
        Err(stranger(&self.0, key))
    }
}

fn stranger(envoy: &Envoy, key: &EnvoyKey) -> Refusal {
    let reason = format!(
        "{} does not know the envoy {key}: it is in no [[peers]] of its envoy.toml, and no member has granted it",
        envoy.name()
    );
    refusal(RefusalKind::Forbidden, "not-of-the-fleet", reason)
}

fn unknown(envoy: &Envoy, project: &ProjectId) -> Refusal {
    refusal(
        RefusalKind::NotFound,
        UNKNOWN_PROJECT,
        format!("{} does not hold project {project}", envoy.name()),
    )
}

pub(crate) fn refusal(kind: RefusalKind, code: &str, reason: String) -> Refusal {
    Refusal {
        status: kind,
        code: code.to_owned(),
        reason,
    }
}

fn ours(fault: &Fault) -> Refusal {
    tracing::error!(error = %chain(fault), "cannot take in what a peer sent");
    refusal(
        RefusalKind::Internal,
        "fault",
        "the envoy could not store it".to_owned(),
    )
}

/// Verifies a member's proof: this project's `init`, and a grant by its founder for the calling envoy.
///
/// The proof is taken into the project's log: from then on the envoy is a granted one here.
fn accept_token(cell: &Cell, caller: &EnvoyKey, token: &[Vec<u8>]) -> Result<(), Refusal> {
    let refuse = |code: &str, reason: String| refusal(RefusalKind::Forbidden, code, reason);
    if token.len() > TOKEN_MAX {
        return Err(refuse(
            "token-too-long",
            format!("{} envelopes; at most {TOKEN_MAX}", token.len()),
        ));
    }
    let mut envelopes = Vec::with_capacity(token.len());
    for bytes in token {
        let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
        envelopes
            .push(envelope.map_err(|reject| refuse(reject.code(), format!("token: {reject}")))?);
    }
    let mut state = cell.lock();
    let founder = state.fold().founder();
    let grants = |envelope: &Verified| {
        let grant = envelope.statement().grant();
        grant.is_some_and(|grant| grant.envoy == *caller)
            && Some(envelope.statement().puddle) == founder
    };
    if envelopes
        .iter()
        .any(|envelope| envelope.statement().project != *cell.id())
    {
        return Err(refuse(
            "wrong-project",
            "the token is for another project".to_owned(),
        ));
    }
    if !envelopes.iter().any(grants) {
        return Err(refuse(
            "no-grant",
            "the token has no grant by a member for this envoy".to_owned(),
        ));
    }
    // Nothing else of a token is needed here, and nothing else is taken in.
    envelopes.retain(|envelope| {
        matches!(envelope.statement().act, Act::Init { .. }) || grants(envelope)
    });
    let admitted = state.admit(envelopes).map_err(|fault| ours(&fault))?;
    match admitted.refused.first() {
        Some((id, reject)) => Err(refuse(
            reject.code(),
            format!("token: envelope {id}: {reject}"),
        )),
        None => Ok(()),
    }
}

/// Takes in one forwarded push, under the same checks as a local one.
struct Intake<'a> {
    envoy: &'a Envoy,
    cell: &'a Cell,
    pack: Option<(Quarantine, Spool)>,
    /// The pack needs objects that are not here.
    bases_missing: bool,
    /// Digest and tips of the project, if the sender holds all of it.
    same: Option<([u8; 32], Vec<Tip>)>,
    envelopes: Vec<Verified>,
}

impl<'a> Intake<'a> {
    fn new(envoy: &'a Envoy, cell: &'a Cell) -> Self {
        Self {
            envoy,
            cell,
            pack: None,
            bases_missing: false,
            same: None,
            envelopes: Vec::new(),
        }
    }

    fn take(&mut self, body: &mut PushBody) -> Result<PushAnswer, Refusal> {
        while let Some(part) = body
            .next()
            .map_err(|error| refusal(RefusalKind::Bad, "malformed-push", error.to_string()))?
        {
            match part {
                Part::Header(_) => {}
                Part::Pack(reader) => self.take_pack(reader)?,
                Part::PackEnd(info) => self.check_pack(&info)?,
                Part::Envelope(bytes) => self.take_envelope(&bytes)?,
            }
        }
        self.finish()
    }

    fn take_pack(&mut self, reader: &mut dyn Read) -> Result<(), Refusal> {
        let mut quarantine = self
            .cell
            .repo()
            .quarantine()
            .map_err(|fault| ours_pack(&fault))?;
        match quarantine.ingest(reader, &Limits::default()) {
            Ok(ingested) => self.pack = Some((quarantine, ingested.spool)),
            Err(Reject::MissingBase | Reject::MissingObject { .. }) => self.bases_missing = true,
            Err(Reject::Fault(fault)) => return Err(ours_pack(&fault)),
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

    fn finish(&mut self) -> Result<PushAnswer, Refusal> {
        let cell = self.cell;
        let sent: Vec<EnvelopeId> = self.envelopes.iter().map(|e| *e.id()).collect();
        let mut fresh = std::mem::take(&mut self.envelopes);
        {
            let state = cell.lock();
            fresh.retain(|envelope| !state.holds(envelope.id()));
            if self.bases_missing || ancestors_missing(&state, &fresh) {
                drop(state);
                return need(cell);
            }
            check_standing(&state, &fresh)?;
        }
        let tips: Vec<Oid> = fresh.iter().flat_map(new_oids).collect();
        if !self.connected(&tips)? {
            return need(cell);
        }
        let mut state = cell.lock();
        if let Some(id) = self.first_lie(&state, &fresh)? {
            let reason = format!("update {id} says it contains a commit that it does not");
            return Err(refusal(RefusalKind::Bad, "false-claim", reason));
        }
        self.keep_objects()?;
        if state.shows_own_future(self.envoy.public(), &fresh) {
            cell.reincarnate(&mut state).map_err(|fault| ours(&fault))?;
        }
        let admitted = state.admit(fresh).map_err(|fault| ours(&fault))?;
        if let Some((id, reject)) = admitted.refused.first() {
            let reason = format!("envelope {id}: {reject}");
            return Err(refusal(RefusalKind::Bad, reject.code(), reason));
        }
        let judged = cell.judge(&mut state);
        if let Err(fault) = judged.and_then(|()| cell.settle(&mut state, &tips)) {
            // What was sent is stored, whatever else ails this project.
            tracing::error!(project = %cell.id(), error = %chain(&fault), "refs cannot follow a stored push yet");
        }
        if !sent.iter().all(|id| state.holds(id)) {
            drop(state);
            return need(cell);
        }
        // The sender holds what it sent; it holds all that is here when nothing here is newer.
        if state.fold().heads().iter().all(|head| sent.contains(head)) {
            self.same = Some((state.fold().digest(), state.fold().tips()));
        }
        Ok(PushAnswer::Durable)
    }

    /// Moves what came into the repository. Objects that were here already may have come a moment ago, so their
    /// directory is synced in any case.
    fn keep_objects(&mut self) -> Result<(), Refusal> {
        match self.pack.take() {
            Some((quarantine, _spool)) => {
                let migrated = quarantine.migrate();
                migrated.map(drop).map_err(|fault| ours_pack(&fault))
            }
            None => {
                let path = self.cell.repo().path().join("objects/pack");
                disk::sync_dir(&path).map_err(|source| {
                    let doing = "sync";
                    ours(&Fault::File {
                        doing,
                        path,
                        source,
                    })
                })
            }
        }
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
            Err(reject) => Err(refusal(RefusalKind::Bad, "bad-pack", chain(&reject))),
        }
    }

    /// The first update whose claim to contain another is not true in the graph.
    fn first_lie(&self, state: &State, fresh: &[Verified]) -> Result<Option<EnvelopeId>, Refusal> {
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
                    let contained = old.is_zero()
                        || (!change.new.is_zero() && self.reaches(old, change.new)?);
                    if !contained {
                        return Ok(Some(*envelope.id()));
                    }
                }
            }
        }
        Ok(None)
    }

    fn reaches(&self, old: Oid, new: Oid) -> Result<bool, Refusal> {
        let answer = match &self.pack {
            Some((quarantine, _)) => quarantine
                .has(&git(old))
                .and_then(|has| Ok(has && quarantine.is_ancestor(&git(old), &git(new))?)),
            None => self
                .cell
                .repo()
                .has(&git(old))
                .and_then(|has| Ok(has && self.cell.repo().is_ancestor(&git(old), &git(new))?)),
        };
        answer.map_err(|fault| ours_pack(&fault))
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

/// Refuses what would be stored for nothing: envelopes of strangers, and refs that no repository can have.
fn check_standing(state: &State, fresh: &[Verified]) -> Result<(), Refusal> {
    if let Some(id) = without_authority(state, fresh) {
        let reason = format!("envelope {id} is signed by nobody whom a member has granted that");
        return Err(refusal(RefusalKind::Forbidden, "no-grant", reason));
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

/// The first envelope whose signer has no standing in the project, judged by what is here and in the batch.
///
/// The fold would call it void in any case; refusing it keeps strangers from filling the log.
fn without_authority(state: &State, fresh: &[Verified]) -> Option<EnvelopeId> {
    let founder = state.fold().founder().or_else(|| {
        let init = |envelope: &&Verified| matches!(envelope.statement().act, Act::Init { .. });
        Some(fresh.iter().find(init)?.statement().puddle)
    });
    let granted = |envoy: &EnvoyKey| {
        state.fold().granted_envoy(envoy)
            || fresh.iter().any(|envelope| {
                let grant = envelope.statement().grant();
                grant.is_some_and(|grant| grant.envoy == *envoy)
                    && Some(envelope.statement().puddle) == founder
            })
    };
    let stands = |envelope: &&Verified| {
        let statement = envelope.statement();
        let by_member = Some(statement.puddle) == founder;
        let by_puddle = statement.signer == *statement.puddle.key();
        match &statement.act {
            Act::Init { .. } | Act::Unknown { .. } => true,
            Act::Update(_) => by_member && (by_puddle || granted(&EnvoyKey::new(statement.signer))),
            _ => by_member,
        }
    };
    fresh
        .iter()
        .find(|envelope| !stands(envelope))
        .map(|envelope| *envelope.id())
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

/// A short form of a key for people.
pub(crate) fn short_key(key: &EnvoyKey) -> String {
    hex::encode(key.as_bytes()).chars().take(12).collect()
}

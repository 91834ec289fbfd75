//! Catching one project up from one peer: what of it is missing here.
//!
//! Each envoy pulls for itself: envelopes first, in causal order, then the objects that their heads name.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gitback_envelope::{Envelope, Oid, Verified};
use gitback_identity::ProjectId;
use gitback_pack::Limits;
use gitback_peer::{CallError, RefusalKind, SyncRequest};

use crate::cell::{Cell, Foothold, State, git};
use crate::daemon::{Envoy, chain, tip_from_peer, tips_for_peer};
use crate::fanout;
use crate::fault::{Fault, pack_fault};
use crate::peers::Neighbour;
use crate::service::HAVES_MAX;

/// Most pages of envelopes that one catch-up asks for.
const PAGES_MAX: usize = 100_000;

/// Most object ids that one fetch asks for.
const WANTS_MAX: usize = 4096;

/// Most objects that are fetched one by one in one catch-up, after they could not be had together.
const SINGLY_MAX: usize = 256;

/// Most rounds of fetching in one catch-up: heads first, then what only old updates name.
const ROUNDS_MAX: usize = 8;

/// Why a catch-up did not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatchUpError {
    /// The peer did not answer, or refused.
    #[error("cannot get it from {peer}")]
    Call {
        peer: String,
        #[source]
        source: CallError,
    },
    /// What the peer sent is not acceptable.
    #[error("{peer} sent {what}")]
    Sent { peer: String, what: String },
    /// Our own disk or git failed.
    #[error("cannot keep it here")]
    Ours(#[source] Fault),
    /// There is no room for more.
    #[error("not brought in: {0}")]
    Room(String),
    /// The peer lacks objects too.
    #[error("{peer} does not have all of it either")]
    Short { peer: String },
}

/// Brings envelopes and then objects of one project in from one peer. The caller holds the project's catch-up right.
///
/// `token` proves a membership to a peer that does not know this envoy. Until the peer has told all it knows, a
/// project that was not here before is not served.
pub(crate) fn catch_up(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    token: &[Verified],
    progress: &mut dyn FnMut(String),
) -> Result<(), CatchUpError> {
    {
        let mut state = cell.lock();
        if state.fold().founder().is_none() && state.foothold() == Foothold::Known {
            cell.note_foothold(&mut state, Foothold::New)
                .map_err(CatchUpError::Ours)?;
        }
    }
    let brought = bring_envelopes(envoy, cell, neighbour, token);
    let told = if token.is_empty() && brought.as_ref().is_err_and(is_forbidden) {
        let proof = own_token(envoy, &cell.lock());
        if proof.is_empty() {
            return brought.map(drop);
        }
        bring_envelopes(envoy, cell, neighbour, &proof)?
    } else {
        brought?
    };
    {
        let mut state = cell.lock();
        if told == Told::All && state.fold().founder().is_some() {
            cell.note_foothold(&mut state, Foothold::Known)
                .map_err(CatchUpError::Ours)?;
        }
    }
    bring_objects(envoy, cell, neighbour, progress)
}

fn is_forbidden(error: &CatchUpError) -> bool {
    matches!(
        error,
        CatchUpError::Call { source: CallError::Refused(refusal), .. }
            if refusal.status == RefusalKind::Forbidden
    )
}

/// What proves this envoy's own part in the project, as far as it has one.
fn own_token(envoy: &Envoy, state: &State) -> Vec<Verified> {
    let fold = state.fold();
    let grants = fold.iter().filter(|envelope| {
        let grant = envelope.statement().grant();
        grant.is_some_and(|grant| grant.envoy == *envoy.public())
    });
    let grants: Vec<_> = grants.map(Verified::id).collect();
    let token = grants.iter().rev().find_map(|grant| fold.token(grant));
    token.map_or_else(Vec::new, |token| token.envelopes().to_vec())
}

/// How much a peer has told of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// All it knows.
    All,
    /// What ended our part in it.
    TheEnd,
}

impl Told {
    /// By the digest that came with it: a former partner is shown none.
    fn with(digest: &[u8; 32]) -> Self {
        if *digest == [0; 32] {
            Self::TheEnd
        } else {
            Self::All
        }
    }
}

fn bring_envelopes(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    token: &[Verified],
) -> Result<Told, CatchUpError> {
    let peer = || neighbour.name().to_owned();
    let mut skip = 0;
    for _ in 0..PAGES_MAX {
        let request = SyncRequest {
            token: token
                .iter()
                .map(|envelope| envelope.bytes().to_vec())
                .collect(),
            tips: tips_for_peer(&cell.lock()),
            skip,
        };
        let to = neighbour.address();
        let call = envoy.client().sync(&to, cell.id(), &request);
        let answer = envoy
            .handle()
            .block_on(call)
            .map_err(|source| CatchUpError::Call {
                peer: peer(),
                source,
            })?;
        neighbour.note_answer();
        let batch = verify_all(cell.id(), &answer.envelopes)
            .map_err(|what| CatchUpError::Sent { peer: peer(), what })?;
        let mut state = cell.lock();
        if state.shows_own_future(envoy.public(), &batch) {
            cell.reincarnate(&mut state).map_err(CatchUpError::Ours)?;
        }
        let before = state.fold().len();
        let admitted = state.admit(batch).map_err(CatchUpError::Ours)?;
        for (id, reject) in &admitted.refused {
            tracing::warn!(peer = neighbour.name(), project = %cell.id(), envelope = %id, code = reject.code(), "refused an envelope");
        }
        cell.tell_alarms(&mut state);
        let same = state.fold().digest() == answer.digest;
        let tips = answer.tips.iter().filter_map(tip_from_peer).collect();
        neighbour.note_holding(*cell.id(), answer.digest, Some(tips), same);
        if !answer.more {
            return Ok(Told::with(&answer.digest));
        }
        // A page without news: what follows it may still be new.
        let news = state.fold().len() != before;
        skip = if news {
            0
        } else {
            skip + answer.envelopes.len() as u64
        };
    }
    Ok(Told::TheEnd)
}

fn verify_all(project: &ProjectId, envelopes: &[Vec<u8>]) -> Result<Vec<Verified>, String> {
    let mut verified = Vec::with_capacity(envelopes.len());
    for bytes in envelopes {
        let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
        let envelope =
            envelope.map_err(|reject| format!("an envelope that is refused: {reject}"))?;
        if envelope.statement().project != *project {
            return Err("an envelope of another project".to_owned());
        }
        verified.push(envelope);
    }
    Ok(verified)
}

fn bring_objects(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    progress: &mut dyn FnMut(String),
) -> Result<(), CatchUpError> {
    for _ in 0..ROUNDS_MAX {
        let wants = {
            let mut state = cell.lock();
            cell.judge(&mut state).map_err(CatchUpError::Ours)?;
            cell.settle(&mut state, &[]).map_err(CatchUpError::Ours)?;
            let heads: Vec<Oid> = state.lacking().iter().copied().take(WANTS_MAX).collect();
            if heads.is_empty() {
                absent(cell, state.unjudged_objects()).map_err(CatchUpError::Ours)?
            } else {
                heads
            }
        };
        if wants.is_empty() {
            return Ok(());
        }
        // On a full disk refs still go back from what has no effect any more.
        envoy.room().map_err(CatchUpError::Room)?;
        match fetch(envoy, cell, neighbour, &wants, progress) {
            Ok(()) => {}
            // One object that the peer lacks too must not keep back those that it has.
            Err(CatchUpError::Call { .. } | CatchUpError::Sent { .. }) if wants.len() > 1 => {
                return fetch_singly(envoy, cell, neighbour, &wants, progress);
            }
            Err(error) => return Err(error),
        }
    }
    let complete = cell.lock().has_all();
    if complete {
        Ok(())
    } else {
        Err(CatchUpError::Short {
            peer: neighbour.name().to_owned(),
        })
    }
}

/// Brings in what can be had, one head after the other.
fn fetch_singly(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    wants: &[Oid],
    progress: &mut dyn FnMut(String),
) -> Result<(), CatchUpError> {
    let mut failed = None;
    for want in wants.iter().take(SINGLY_MAX) {
        match fetch(envoy, cell, neighbour, std::slice::from_ref(want), progress) {
            Ok(()) => {}
            Err(error @ (CatchUpError::Call { .. } | CatchUpError::Sent { .. })) => {
                failed = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    let mut state = cell.lock();
    cell.judge(&mut state).map_err(CatchUpError::Ours)?;
    cell.settle(&mut state, &[]).map_err(CatchUpError::Ours)?;
    match failed {
        Some(error) => Err(error),
        None if wants.len() > SINGLY_MAX => Err(CatchUpError::Short {
            peer: neighbour.name().to_owned(),
        }),
        None => Ok(()),
    }
}

/// Those of `oids` that are not here, a bounded number of them.
fn absent(cell: &Cell, mut oids: Vec<Oid>) -> Result<Vec<Oid>, Fault> {
    oids.sort_unstable();
    oids.dedup();
    let mut absent = Vec::new();
    for oid in oids {
        if absent.len() < WANTS_MAX
            && !cell
                .repo()
                .has(&git(oid))
                .map_err(pack_fault(*cell.id(), "look into"))?
        {
            absent.push(oid);
        }
    }
    Ok(absent)
}

fn fetch(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Neighbour,
    wants: &[Oid],
    progress: &mut dyn FnMut(String),
) -> Result<(), CatchUpError> {
    let peer = || neighbour.name().to_owned();
    let wants: Vec<_> = wants.iter().map(|oid| git(*oid)).collect();
    let haves = fanout::haves(cell, HAVES_MAX).map_err(CatchUpError::Ours)?;
    let haves: Vec<_> = haves
        .into_iter()
        .map(|have| git(Oid::from_bytes(&have)))
        .collect();
    let request = gitback_pack::fetch::request(&wants, &haves);
    progress(format!("bringing it in from {}", neighbour.name()));
    let (reader, writer) = std::io::pipe().map_err(|source| {
        CatchUpError::Ours(Fault::File {
            doing: "open a pipe beside",
            path: cell.log_dir().to_owned(),
            source,
        })
    })?;
    let (client, to, id) = (envoy.client().clone(), neighbour.address(), *cell.id());
    let call = envoy
        .handle()
        .spawn(async move { client.upload_pack(&to, &id, request, Sink(writer)).await });
    let mut quarantine = cell
        .repo()
        .quarantine()
        .map_err(|fault| ours(cell, fault))?;
    let counted = Counted {
        inner: gitback_pack::fetch::PackReader::new(reader),
        bytes: 0,
        told: Instant::now(),
        tell: &mut |bytes| progress(format!("{} from {}", mebibytes(bytes), neighbour.name())),
    };
    let ingested = quarantine.ingest(counted, &Limits::default());
    match envoy.handle().block_on(call) {
        // The sink closes when the pack is refused; then the reason is the pack's.
        Ok(Err(CallError::Local { .. })) if ingested.is_err() => {}
        Ok(Err(source)) => {
            return Err(CatchUpError::Call {
                peer: peer(),
                source,
            });
        }
        Ok(Ok(_)) | Err(_) => {}
    }
    neighbour.note_answer();
    let refused = |reject: &gitback_pack::Reject| CatchUpError::Sent {
        peer: peer(),
        what: format!("a pack that is refused: {}", chain(reject)),
    };
    let ingested = ingested.map_err(|reject| refused(&reject))?;
    quarantine
        .check_connected(&wants)
        .map_err(|reject| refused(&reject))?;
    quarantine.migrate().map_err(|fault| ours(cell, fault))?;
    progress(format!(
        "received {} objects from {}",
        ingested.objects,
        neighbour.name()
    ));
    Ok(())
}

fn ours(cell: &Cell, fault: gitback_pack::Fault) -> CatchUpError {
    CatchUpError::Ours(pack_fault(*cell.id(), "store objects in")(fault))
}

/// How often a transfer says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Counts what is read, and says so from time to time.
struct Counted<'a, R> {
    inner: R,
    bytes: u64,
    told: Instant,
    tell: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            (self.tell)(self.bytes);
        }
        Ok(count)
    }
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The writing half of a pipe, as what a peer's answer is written to.
struct Sink(std::io::PipeWriter);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

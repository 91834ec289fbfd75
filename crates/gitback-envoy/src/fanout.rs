//! Sending what is new to every peer at once, while it still arrives here.
//!
//! To many peers it goes as a tree: the first ones hand it on to the others while it arrives at them, and each that has
//! it durable tells the one on whose machine the push was made. A peer that does not in time is sent it from here.

mod job;
mod relay;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use gitback_envelope::{EnvelopeId, Verified};
use gitback_gossip::{Failure, handoff};
use gitback_identity::EnvoyKey;
use gitback_pack::Incoming;
use tokio::sync::watch;

use crate::access;
use crate::catch_up::classify_call;
use crate::cell::Cell;
use crate::daemon::{Envoy, chain};
use crate::fault::Fault;
use crate::peers::Neighbour;
use job::{Job, Route, SendError};

/// How one peer took the push.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is durable there.
    Durable,
    /// It is not, and this line says why.
    Away(String),
    /// It gave its copy up on a person's word, and is not to be asked again; the line says so.
    GaveUp(String),
}

/// One peer's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) peer: String,
    pub(crate) outcome: Outcome,
}

/// Most bytes of envelopes in one push.
const ENVELOPE_BYTES_MAX: usize = 32 << 20;

/// Most envelopes in one push.
const ENVELOPES_MAX: usize = 60_000;

/// Most peers that a push is sent to from one machine while it arrives; the others get it from those.
const DIRECT_MAX: usize = 8;

/// Packs that are passed on while they arrive, to all peers together: each holds a thread.
pub(crate) const RELAYS_MAX: usize = 48;

/// Packs that are made and sent from here at a time, to all peers together.
pub(crate) const SENDS_MAX: usize = 12;

/// What became of the push here.
#[derive(Debug, Clone)]
enum Fate {
    Open,
    Stored(Arc<[EnvelopeId]>),
    Dropped,
}

/// A push on its way to all peers. Dropped before [`Fanout::stored`], it is called back.
#[derive(Debug)]
pub(crate) struct Fanout {
    fate: watch::Sender<Fate>,
    answers: Receiver<Answer>,
}

impl Fanout {
    /// Starts to send the pack that arrives as `incoming`, if there is one, to all partners.
    pub(crate) fn begin(envoy: &Arc<Envoy>, cell: &Arc<Cell>, incoming: Option<&Incoming>) -> Self {
        let (to, origin) = (envoy.partners(cell), *envoy.public());
        Self::begin_to(envoy, cell, incoming, to, origin)
    }

    /// The same to those of `keys` that are partners, for a push that was made at `origin`.
    pub(crate) fn hand_on(
        envoy: &Arc<Envoy>,
        cell: &Arc<Cell>,
        incoming: Option<&Incoming>,
        keys: &[EnvoyKey],
        origin: EnvoyKey,
    ) -> Self {
        let mut to = envoy.partners(cell);
        to.retain(|neighbour| keys.contains(neighbour.key()) && *neighbour.key() != origin);
        Self::begin_to(envoy, cell, incoming, to, origin)
    }

    fn begin_to(
        envoy: &Arc<Envoy>,
        cell: &Arc<Cell>,
        incoming: Option<&Incoming>,
        to: Vec<Arc<Neighbour>>,
        origin: EnvoyKey,
    ) -> Self {
        let (fate, watched) = watch::channel(Fate::Open);
        let (sender, answers) = channel();
        let job = |neighbour, route| Job {
            envoy: Arc::clone(envoy),
            cell: Arc::clone(cell),
            neighbour,
            route,
            origin,
            incoming: incoming.cloned(),
            fate: watched.clone(),
        };
        let spawn = |job: Job| {
            let sender = sender.clone();
            envoy.handle().spawn(async move { job.run(&sender).await });
        };
        let (present, away): (Vec<_>, Vec<_>) = to.into_iter().partition(|one| one.is_present());
        let keys: Vec<EnvoyKey> = present.iter().map(|one| *one.key()).collect();
        let mut present: BTreeMap<EnvoyKey, Arc<Neighbour>> =
            keys.iter().copied().zip(present).collect();
        // Only where the push was made it is known who has it; who hands it on owes it to nobody.
        let is_ours = origin == *envoy.public();
        for (first, forward) in handoff::plan(&keys, DIRECT_MAX) {
            let (ended, parent) = watch::channel(None);
            for key in forward.iter().filter(|_| is_ours) {
                if let Some(neighbour) = present.remove(key) {
                    let receipt = envoy.receipts().await_from(*cell.id(), *key);
                    let parent = parent.clone();
                    spawn(job(neighbour, Route::Through { parent, receipt }));
                }
            }
            if let Some(neighbour) = present.remove(&first) {
                spawn(job(neighbour, Route::Direct { forward, ended }));
            }
        }
        for neighbour in away {
            spawn(job(neighbour, Route::direct()));
        }
        Self { fate, answers }
    }

    /// Says that these envelopes are durable here: now peers may have them. Yields one [`Answer`] a peer; dropping
    /// the receiver stops nothing.
    pub(crate) fn stored(self, new: &[EnvelopeId]) -> Receiver<Answer> {
        self.fate.send_replace(Fate::Stored(new.into()));
        self.answers
    }

    /// Says that nothing came of it.
    pub(crate) fn dropped(self) {
        self.fate.send_replace(Fate::Dropped);
    }
}

/// Sends envelopes without a pack to all partners, and to those that were partners `before`: they learn what ended
/// that. Waits for their answers for at most `limit`; what is open then goes on.
pub(crate) fn spread(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    new: &[EnvelopeId],
    before: &[Arc<Neighbour>],
    limit: Duration,
) {
    if new.is_empty() {
        return;
    }
    let mut to = envoy.partners(cell);
    let is_new = |one: &&Arc<Neighbour>| to.iter().all(|other| other.key() != one.key());
    let former: Vec<_> = before.iter().filter(is_new).cloned().collect();
    to.extend(former);
    let origin = *envoy.public();
    let answers = Fanout::begin_to(envoy, cell, None, to, origin).stored(new);
    envoy.heal().changed(cell);
    let begun = Instant::now();
    let mut left = limit;
    while !left.is_zero() && answers.recv_timeout(left).is_ok() {
        left = limit.saturating_sub(begun.elapsed());
    }
}

/// Brings a peer whatever it lacks of a project, because an earlier push did not reach it. Blocks.
pub(crate) fn deliver(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    neighbour: &Arc<Neighbour>,
) -> Result<(), Failure> {
    if !access::may_ask(envoy, &cell.lock(), neighbour.key()) {
        return Ok(());
    }
    let heads = cell.lock().fold().heads();
    let (_fate, watched) = watch::channel(Fate::Stored(heads.as_slice().into()));
    let job = Job {
        envoy: Arc::clone(envoy),
        cell: Arc::clone(cell),
        neighbour: Arc::clone(neighbour),
        route: Route::direct(),
        origin: *envoy.public(),
        incoming: None,
        fate: watched,
    };
    let sent = envoy.handle().block_on(job.send_again(&heads));
    match sent {
        Ok(()) => {
            neighbour.note_answer();
            Ok(())
        }
        Err(error) => {
            job.note(&error);
            Err(match error {
                SendError::Call(error) => classify_call(&error),
                SendError::Ours(fault) => Failure::Ours(chain(&fault)),
                SendError::Unmet | SendError::Dropped => {
                    Failure::Busy("it is catching up".to_owned())
                }
            })
        }
    }
}

/// Whether something was sent as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    Part,
}

/// The bytes of as many envelopes, from the first on, as fit into one push.
fn bounded(envelopes: Vec<Verified>) -> (Vec<Vec<u8>>, Extent) {
    let (count, mut bytes) = (envelopes.len(), 0);
    let fits = |envelope: &Verified| {
        bytes += envelope.bytes().len();
        bytes <= ENVELOPE_BYTES_MAX
    };
    let fitting = envelopes.into_iter().take(ENVELOPES_MAX).take_while(fits);
    let fitting: Vec<_> = fitting.map(|envelope| envelope.bytes().to_vec()).collect();
    let extent = if fitting.len() == count {
        Extent::Whole
    } else {
        Extent::Part
    };
    (fitting, extent)
}

/// The ref tips of a repository, as a bounded list of what is here.
pub(crate) fn haves(cell: &Cell, most: usize) -> Result<Vec<[u8; 20]>, Fault> {
    let refs = cell.shown_refs()?;
    let mut tips: Vec<[u8; 20]> = refs.values().map(|oid| *oid.as_bytes()).collect();
    tips.sort_unstable();
    tips.dedup();
    tips.truncate(most);
    Ok(tips)
}

//! How a push gets to one peer, and is sent again until it has it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use gitback_envelope::{EnvelopeId, Oid, Tip, Verified};
use gitback_identity::EnvoyKey;
use gitback_pack::{Incoming, Spool};
use gitback_peer::{CallError, Handoff, PackFile, PushAnswer};
use tokio::sync::watch;

use super::relay::{PATIENCE, Relay};
use super::{Answer, Extent, Fate, Outcome, bounded};
use crate::access::{self, Partner};
use crate::cell::{Cell, State, git};
use crate::daemon::{Envoy, chain, tip_from_peer};
use crate::fault::{Fault, pack_fault};
use crate::peers::{CATCHING_UP, Neighbour};
use crate::receipts::Awaited;
use crate::service::{CATCHES_UP, PURGED};

/// How often one peer is sent a part of many envelopes before others have their turn.
const PARTS_MAX: usize = 64;

/// How long those to whom a peer hands a push on wait for what becomes of it there.
const PARENT_MAX: Duration = Duration::from_secs(120);

/// How long after a peer has a push those may take that it hands it on to, before they are sent it from here.
const HAND_ON_MAX: Duration = Duration::from_secs(10);

/// How a push gets to a peer.
#[derive(Debug)]
pub(super) enum Route {
    /// From here; it hands it on to others.
    Direct {
        forward: Vec<EnvoyKey>,
        /// Whether it has it, for those.
        ended: watch::Sender<Option<bool>>,
    },
    /// From another peer.
    Through {
        parent: watch::Receiver<Option<bool>>,
        receipt: Awaited,
    },
}

impl Route {
    pub(super) fn direct() -> Self {
        let (ended, _) = watch::channel(None);
        let forward = Vec::new();
        Self::Direct { forward, ended }
    }
}

pub(super) struct Job {
    pub(super) envoy: Arc<Envoy>,
    pub(super) cell: Arc<Cell>,
    pub(super) neighbour: Arc<Neighbour>,
    pub(super) route: Route,
    /// On whose machine the push was made.
    pub(super) origin: EnvoyKey,
    pub(super) incoming: Option<Incoming>,
    pub(super) fate: watch::Receiver<Fate>,
}

#[derive(Debug)]
pub(super) enum SendError {
    Call(CallError),
    Ours(Fault),
    Unmet,
    /// Nothing came of the push here.
    Dropped,
}

impl SendError {
    /// Whether the peer gave its copy up.
    fn is_purged(&self) -> bool {
        matches!(self, Self::Call(CallError::Refused(refusal)) if refusal.code == PURGED)
    }
}

impl Job {
    pub(super) async fn run(self, answers: &Sender<Answer>) {
        let sent = match &self.route {
            Route::Direct { ended, .. } => {
                let sent = self.send().await;
                ended.send_replace(Some(sent.is_ok()));
                sent
            }
            Route::Through { parent, receipt } => self.handed_on(parent.clone(), receipt).await,
        };
        let outcome = match sent {
            Ok(()) => {
                self.neighbour.note_answer();
                Outcome::Durable
            }
            Err(SendError::Dropped) => return,
            Err(error) if error.is_purged() => Outcome::GaveUp(self.note(&error)),
            Err(error) => {
                self.owe(&error);
                Outcome::Away(self.note(&error))
            }
        };
        // Nobody may be waiting any more; that is fine.
        let _ = answers.send(Answer {
            peer: self.neighbour.name().to_owned(),
            outcome,
        });
    }

    /// Has it delivered later. Who only hands on owes nothing.
    fn owe(&self, error: &SendError) {
        if self.origin != *self.envoy.public() {
            return;
        }
        let reason = match error {
            SendError::Call(error) => error.reason(),
            SendError::Ours(fault) => chain(fault),
            SendError::Unmet | SendError::Dropped => "catching up".to_owned(),
        };
        let key = self.neighbour.key();
        self.envoy.heal().owes(key, self.cell.id(), reason);
    }

    /// Waits until the peer says that it has what others hand on to it; if not, sends it.
    async fn handed_on(
        &self,
        mut parent: watch::Receiver<Option<bool>>,
        receipt: &Awaited,
    ) -> Result<(), SendError> {
        let stored = self.stored().await?;
        let given_up = async {
            let has_it = async {
                let ended = parent.wait_for(Option::is_some).await;
                ended.is_ok_and(|has_it| *has_it == Some(true))
            };
            if tokio::time::timeout(PARENT_MAX, has_it).await == Ok(true) {
                tokio::time::sleep(HAND_ON_MAX).await;
            }
        };
        tokio::select! {
            // Whoever lacks anything gives none.
            () = receipt.all(&stored) => self.durable(&stored, true).await,
            () = given_up => self.send_again(&stored).await,
        }
    }

    fn handoff(&self) -> Handoff {
        let forward = match &self.route {
            Route::Direct { forward, .. } => forward.clone(),
            Route::Through { .. } => Vec::new(),
        };
        // Who gets it straight from where it was made says so with its answer.
        let told_by_answer = forward.is_empty() && self.origin == *self.envoy.public();
        let origin = (!told_by_answer).then_some(self.origin);
        Handoff { origin, forward }
    }

    pub(super) fn note(&self, error: &SendError) -> String {
        let id = *self.cell.id();
        let name = self.neighbour.name();
        match error {
            SendError::Call(CallError::Refused(refusal)) if refusal.code == CATCHES_UP => {
                self.neighbour.note_answer();
                self.neighbour.note_behind(id, CATCHING_UP.to_owned());
                format!("{name} is still catching up")
            }
            SendError::Call(CallError::Refused(refusal)) => {
                self.neighbour.note_refusal(id, refusal.reason.clone());
                // What it refuses it may know a reason for that has not come here yet.
                self.envoy.heal().compare(self.neighbour.key());
                format!("{name} refused: {}", refusal.reason)
            }
            SendError::Call(error) => {
                self.neighbour.note_failure(error);
                self.neighbour.note_behind(id, error.reason());
                self.neighbour.away_line(Some(&id))
            }
            SendError::Ours(fault) => {
                tracing::error!(peer = name, project = %id, error = %chain(fault), "cannot send a push");
                let reason = "this envoy could not read its own copy".to_owned();
                self.neighbour.note_behind(id, reason);
                format!("{name}: {}", chain(fault))
            }
            SendError::Unmet | SendError::Dropped => {
                self.neighbour.note_answer();
                self.neighbour.note_behind(id, CATCHING_UP.to_owned());
                self.envoy.heal().compare(self.neighbour.key());
                format!("{name} is still catching up")
            }
        }
    }

    async fn send(&self) -> Result<(), SendError> {
        self.begun().await;
        // Beyond so many at a time, a peer is sent a push only when it is stored here.
        let relays = (
            self.neighbour.relays().try_acquire(),
            self.envoy.relays().try_acquire(),
        );
        let (Ok(own), Ok(all)) = relays else {
            let stored = self.stored().await?;
            return self.send_again(&stored).await;
        };
        let (to, id) = (self.neighbour.address(), self.cell.id());
        let relay = Relay {
            envoy: Arc::clone(&self.envoy),
            cell: Arc::clone(&self.cell),
            to: *self.neighbour.key(),
            handoff: self.handoff(),
            known: self.neighbour.tips(id),
            follower: self.incoming.as_ref().map(Incoming::follow),
            fate: self.fate.clone(),
            idle_since: Instant::now(),
            unchecked: 0,
            said_whole: false,
        };
        let first = self.envoy.client().push_from(&to, id, relay).await;
        drop((own, all));
        let stored = self.stored().await?;
        match first {
            Ok(PushAnswer::Durable { whole }) => self.durable(&stored, whole).await,
            Ok(PushAnswer::Need { tips, haves }) => self.send_rest(&stored, tips, haves).await,
            // Let go by us, not by the peer: it has not seen the whole.
            Err(CallError::Local { .. }) => self.send_again(&stored).await,
            Err(error) => Err(SendError::Call(error)),
        }
    }

    /// Waits until something of the pack is here. Before that a user's git may search for deltas for minutes, and peers
    /// would let go of a push of which nothing comes.
    async fn begun(&self) {
        let Some(incoming) = self.incoming.clone() else {
            return;
        };
        let fate = self.fate.clone();
        let is_open = move || matches!(*fate.borrow(), Fate::Open) && fate.has_changed().is_ok();
        let wait = move || while !incoming.wait_begun(PATIENCE) && is_open() {};
        // How it ended shows where the pack is read.
        let _ = self.envoy.handle().spawn_blocking(wait).await;
    }

    /// Waits until the push is stored here.
    async fn stored(&self) -> Result<Arc<[EnvelopeId]>, SendError> {
        let mut fate = self.fate.clone();
        let decided = fate.wait_for(|fate| !matches!(fate, Fate::Open)).await;
        match decided.as_deref() {
            Ok(Fate::Stored(new)) => Ok(Arc::clone(new)),
            Ok(Fate::Open | Fate::Dropped) | Err(_) => Err(SendError::Dropped),
        }
    }

    /// Sends the envelopes alone, so that the peer says what it lacks, and then that.
    pub(super) async fn send_again(&self, stored: &[EnvelopeId]) -> Result<(), SendError> {
        match self.offer(stored).await? {
            PushAnswer::Durable { whole } => self.durable(stored, whole).await,
            PushAnswer::Need { tips, haves } => self.send_rest(stored, tips, haves).await,
        }
    }

    async fn offer(&self, stored: &[EnvelopeId]) -> Result<PushAnswer, SendError> {
        let (envoy, cell) = (Arc::clone(&self.envoy), Arc::clone(&self.cell));
        let (to, ids) = (*self.neighbour.key(), stored.to_vec());
        let work = move || {
            let state = cell.lock();
            let stored = ids.iter().filter_map(|id| state.fold().get(id));
            let stored = stored.cloned().collect();
            let envelopes = bounded(access::tellable(&envoy, &state, &to, stored)).0;
            (envelopes, state.is_copy())
        };
        let told = self.envoy.handle().spawn_blocking(work).await;
        let (envelopes, whole) = told.map_err(|_| SendError::Unmet)?;
        if envelopes.is_empty() {
            // It may not be told of any of them any more.
            return Err(SendError::Dropped);
        }
        let to = self.neighbour.address();
        let call = self.envoy.client().push_handing_on(
            &to,
            self.cell.id(),
            envelopes,
            None,
            self.handoff(),
            whole,
        );
        call.await.map_err(SendError::Call)
    }

    /// Sends what a holder of `tips` and `haves` lacks, in parts if that is very much.
    async fn send_rest(
        &self,
        stored: &[EnvelopeId],
        mut tips: Vec<gitback_peer::Tip>,
        mut haves: Vec<[u8; 20]>,
    ) -> Result<(), SendError> {
        let sends = self.envoy.sends().acquire().await;
        let _permit = sends.map_err(|_| SendError::Unmet)?;
        for _ in 0..PARTS_MAX {
            match self.send_whole(stored, &tips, haves).await? {
                (PushAnswer::Durable { whole }, Extent::Whole) => {
                    return self.durable(stored, whole).await;
                }
                (PushAnswer::Durable { .. }, Extent::Part) => {}
                (PushAnswer::Need { .. }, _) => return Err(SendError::Unmet),
            }
            match self.offer(stored).await? {
                PushAnswer::Durable { whole } => return self.durable(stored, whole).await,
                PushAnswer::Need {
                    tips: now,
                    haves: here,
                } => (tips, haves) = (now, here),
            }
        }
        Err(SendError::Unmet)
    }

    /// Sends what a holder of `tips` lacks, and in any case what is `stored`: it says which objects are meant where
    /// only those are lacking.
    async fn send_whole(
        &self,
        stored: &[EnvelopeId],
        tips: &[gitback_peer::Tip],
        haves: Vec<[u8; 20]>,
    ) -> Result<(PushAnswer, Extent), SendError> {
        let tips: Vec<Tip> = tips.iter().filter_map(tip_from_peer).collect();
        let (envoy, cell) = (Arc::clone(&self.envoy), Arc::clone(&self.cell));
        let (to, stored) = (*self.neighbour.key(), stored.to_vec());
        // The project's lock may be held by a push that syncs, so not on the runtime's own threads.
        let work = move || {
            let (envelopes, named, whole) = {
                let state = cell.lock();
                let mut lacking = state.lacking_for(&tips);
                let is_sent = |id: &EnvelopeId| lacking.iter().any(|one| one.id() == id);
                let unsent: Vec<_> = stored.iter().filter(|id| !is_sent(id)).collect();
                lacking.extend(
                    unsent
                        .into_iter()
                        .filter_map(|id| state.fold().get(id).cloned()),
                );
                let envelopes = access::tellable(&envoy, &state, &to, lacking);
                let is_partner = access::partner(&envoy, &state, &to) == Partner::Full;
                let named = is_partner.then(|| named_objects(&state, &envelopes));
                (
                    bounded(envelopes),
                    named.unwrap_or_default(),
                    state.is_copy(),
                )
            };
            let fault = pack_fault(*cell.id(), "make a pack from");
            let mut wants = Vec::with_capacity(named.len());
            for want in named.into_iter().map(git) {
                if cell.repo().has(&want).map_err(&fault)? {
                    wants.push(want);
                }
            }
            let haves: Vec<_> = haves
                .iter()
                .map(|have| git(Oid::from_bytes(have)))
                .collect();
            let pack = match wants.as_slice() {
                [] => None,
                wants => cell
                    .repo()
                    .build_pack(wants, &haves, true)
                    .map_err(&fault)?,
            };
            Ok((envelopes, pack, whole))
        };
        let done = self.envoy.handle().spawn_blocking(work).await;
        let sent: ((Vec<Vec<u8>>, Extent), Option<Spool>, bool) = done
            .map_err(|_| SendError::Unmet)?
            .map_err(SendError::Ours)?;
        let ((envelopes, extent), pack, whole) = sent;
        if envelopes.is_empty() {
            return Err(SendError::Dropped);
        }
        let file = pack.as_ref().map(|spool| PackFile {
            path: spool.path().to_owned(),
            bytes: spool.bytes(),
            blake3: spool.blake3(),
        });
        let (to, bytes) = (
            self.neighbour.address(),
            file.as_ref().map(|file| file.bytes),
        );
        tracing::debug!(peer = self.neighbour.name(), project = %self.cell.id(), bytes, "sends what is lacking");
        let call = self.envoy.client().push_handing_on(
            &to,
            self.cell.id(),
            envelopes,
            file,
            self.handoff(),
            whole,
        );
        let answer = call.await.map_err(SendError::Call)?;
        Ok((answer, extent))
    }

    /// The peer holds what it was sent. If that was all of what is stored, and it says that nothing is lacking there, it
    /// holds what we hold: notes it.
    async fn durable(&self, stored: &[EnvelopeId], whole: bool) -> Result<(), SendError> {
        let (envoy, cell) = (Arc::clone(&self.envoy), Arc::clone(&self.cell));
        let (to, stored) = (*self.neighbour.key(), stored.to_vec());
        let work = move || {
            let state = cell.lock();
            let envelopes = stored.iter().filter_map(|id| state.fold().get(id).cloned());
            let told = access::tellable(&envoy, &state, &to, envelopes.collect());
            // Its part may have ended meanwhile: then it was told of that, and its answer is about that.
            if told.len() != stored.len() {
                return Err(SendError::Dropped);
            }
            // Envelopes that came after this push may not be there yet, so only a project without any is the same.
            let newest = state.fold().heads();
            let same = whole && newest.iter().all(|head| stored.contains(head));
            Ok(same.then(|| (state.fold().digest(), state.fold().tips())))
        };
        let held = self.envoy.handle().spawn_blocking(work).await;
        if let Some((digest, tips)) = held.map_err(|_| SendError::Unmet)?? {
            self.neighbour
                .note_holding(*self.cell.id(), digest, Some(tips), true);
        }
        Ok(())
    }
}

/// What is served, and what the updates among `envelopes` that have an effect moved refs to, also where others have
/// forced it away since: whoever takes such an update in needs its objects.
fn named_objects(state: &State, envelopes: &[Verified]) -> BTreeSet<Oid> {
    let counting = envelopes
        .iter()
        .filter(|one| state.void(one.id()).is_none());
    let changes = counting
        .filter_map(|one| one.statement().update())
        .flat_map(|update| &update.changes);
    let moved = changes
        .map(|change| change.new)
        .filter(|oid| !oid.is_zero());
    moved.chain(state.fold().served().into_values()).collect()
}

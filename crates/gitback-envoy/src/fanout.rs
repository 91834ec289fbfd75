//! Sending what is new to every peer at once, while it still arrives here.
//!
//! To many peers it goes as a tree: the first ones hand it on to the others while it arrives at them, and each that has
//! it durable tells the one on whose machine the push was made. A peer that does not in time is sent it from here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use gitback_envelope::{EnvelopeId, Oid, Tip, Verified};
use gitback_gossip::{Failure, handoff};
use gitback_identity::EnvoyKey;
use gitback_pack::{Follower, Incoming, Spool};
use gitback_peer::{CallError, Handoff, PackFile, PackInfo, PushAnswer, PushSource};
use tokio::sync::watch;

use crate::access::{self, Partner};
use crate::catch_up::classify_call;
use crate::cell::{Cell, State, git};
use crate::daemon::{Envoy, chain, tip_from_peer};
use crate::fault::{Fault, pack_fault};
use crate::peers::{CATCHING_UP, Neighbour};
use crate::receipts::Awaited;
use crate::service::CATCHES_UP;
use crate::service::PURGED;

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

/// Most envelopes sent to a peer of which nothing is known; it asks for the rest.
const UNASKED_MAX: usize = 64;

/// Most bytes of envelopes in one push.
const ENVELOPE_BYTES_MAX: usize = 32 << 20;

/// Most envelopes in one push.
const ENVELOPES_MAX: usize = 60_000;

/// How long a source that has nothing keeps its asker waiting.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long a pack may stand still before peers are let go. They are sent it as a whole later, so that a user who
/// stalls holds nothing on other machines.
const STALL_MAX: Duration = Duration::from_secs(20);

/// How long the checks here may take while peers hold what they have.
const DECISION_MAX: Duration = Duration::from_secs(600);

/// Most peers that a push is sent to from one machine while it arrives; the others get it from those.
const DIRECT_MAX: usize = 8;

/// Packs that are passed on while they arrive, to all peers together: each holds a thread.
pub(crate) const RELAYS_MAX: usize = 48;

/// Packs that are made and sent from here at a time, to all peers together.
pub(crate) const SENDS_MAX: usize = 12;

/// How often one peer is sent a part of many envelopes before others have their turn.
const PARTS_MAX: usize = 64;

/// How long those to whom a peer hands a push on wait for what becomes of it there.
const PARENT_MAX: Duration = Duration::from_secs(120);

/// After how many bytes of a pack it is asked again whether the peer may have it.
const RECHECK_BYTES: usize = 4 << 20;

/// How long after a peer has a push those may take that it hands it on to, before they are sent it from here.
const HAND_ON_MAX: Duration = Duration::from_secs(10);

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

/// How a push gets to a peer.
#[derive(Debug)]
enum Route {
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
    fn direct() -> Self {
        let (ended, _) = watch::channel(None);
        let forward = Vec::new();
        Self::Direct { forward, ended }
    }
}

struct Job {
    envoy: Arc<Envoy>,
    cell: Arc<Cell>,
    neighbour: Arc<Neighbour>,
    route: Route,
    /// On whose machine the push was made.
    origin: EnvoyKey,
    incoming: Option<Incoming>,
    fate: watch::Receiver<Fate>,
}

#[derive(Debug)]
enum SendError {
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
    async fn run(self, answers: &Sender<Answer>) {
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
            () = receipt.all(&stored) => self.durable(&stored).await,
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

    fn note(&self, error: &SendError) -> String {
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
        };
        let first = self.envoy.client().push_from(&to, id, relay).await;
        drop((own, all));
        let stored = self.stored().await?;
        match first {
            Ok(PushAnswer::Durable) => self.durable(&stored).await,
            Ok(PushAnswer::Need { tips, haves }) => self.send_rest(&stored, tips, haves).await,
            // Let go by us, not by the peer: it has not seen the whole.
            Err(CallError::Local { .. }) => self.send_again(&stored).await,
            Err(error) => Err(SendError::Call(error)),
        }
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
    async fn send_again(&self, stored: &[EnvelopeId]) -> Result<(), SendError> {
        match self.offer(stored).await? {
            PushAnswer::Durable => self.durable(stored).await,
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
            bounded(access::tellable(&envoy, &state, &to, stored)).0
        };
        let envelopes = self.envoy.handle().spawn_blocking(work).await;
        let envelopes = envelopes.map_err(|_| SendError::Unmet)?;
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
                (PushAnswer::Durable, Extent::Whole) => return self.durable(stored).await,
                (PushAnswer::Durable, Extent::Part) => {}
                (PushAnswer::Need { .. }, _) => return Err(SendError::Unmet),
            }
            match self.offer(stored).await? {
                PushAnswer::Durable => return self.durable(stored).await,
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
            let (envelopes, named) = {
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
                (bounded(envelopes), named.unwrap_or_default())
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
            Ok((envelopes, pack))
        };
        let done = self.envoy.handle().spawn_blocking(work).await;
        let ((envelopes, extent), pack): ((Vec<Vec<u8>>, Extent), Option<Spool>) = done
            .map_err(|_| SendError::Unmet)?
            .map_err(SendError::Ours)?;
        if envelopes.is_empty() {
            return Err(SendError::Dropped);
        }
        let file = pack.as_ref().map(|spool| PackFile {
            path: spool.path().to_owned(),
            bytes: spool.bytes(),
            blake3: spool.blake3(),
        });
        let to = self.neighbour.address();
        let call = self.envoy.client().push_handing_on(
            &to,
            self.cell.id(),
            envelopes,
            file,
            self.handoff(),
        );
        let answer = call.await.map_err(SendError::Call)?;
        Ok((answer, extent))
    }

    /// The peer holds what it was sent. If that was all of what is stored, it holds what we hold: notes it.
    async fn durable(&self, stored: &[EnvelopeId]) -> Result<(), SendError> {
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
            let same = newest.iter().all(|head| stored.contains(head));
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

/// What one peer is sent of a push that is still being taken in here.
struct Relay {
    envoy: Arc<Envoy>,
    cell: Arc<Cell>,
    to: EnvoyKey,
    handoff: Handoff,
    /// What the peer is known to hold.
    known: Vec<Tip>,
    follower: Option<Follower>,
    fate: watch::Receiver<Fate>,
    /// Since when there was nothing to send.
    idle_since: Instant,
    /// Bytes sent since it was asked whether the peer may have them.
    unchecked: usize,
}

impl Relay {
    /// Nothing yet; or, after `most`, nothing at all.
    fn nothing_yet(&self, most: Duration) -> io::Error {
        let given_up = self.idle_since.elapsed() > most;
        if given_up {
            ErrorKind::TimedOut
        } else {
            ErrorKind::WouldBlock
        }
        .into()
    }

    fn lacking(&self, stored: &[EnvelopeId]) -> Vec<Vec<u8>> {
        let state = self.cell.lock();
        let lacking = state.lacking_for(&self.known);
        let envelopes = access::tellable(&self.envoy, &state, &self.to, lacking);
        drop(state);
        let newest = |envelopes: &[Verified]| {
            let newest = envelopes.iter().filter(|one| stored.contains(one.id()));
            bounded(newest.cloned().collect()).0
        };
        if self.known.is_empty() && envelopes.len() > UNASKED_MAX {
            return newest(&envelopes);
        }
        match bounded(envelopes.clone()) {
            (whole, Extent::Whole) => whole,
            // Its answer to the last ones alone says what it lacks, and is no answer to a part.
            (_, Extent::Part) => newest(&envelopes),
        }
    }
}

impl PushSource for Relay {
    fn has_pack(&self) -> bool {
        self.follower.is_some()
    }

    fn handoff(&self) -> Handoff {
        self.handoff.clone()
    }

    fn read_pack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let open_for_ever = self.fate.has_changed().is_err();
        match *self.fate.borrow() {
            Fate::Stored(_) => {}
            Fate::Open if !open_for_ever => {}
            Fate::Open | Fate::Dropped => return Err(ErrorKind::BrokenPipe.into()),
        }
        let Some(follower) = &mut self.follower else {
            return Ok(0);
        };
        let read = match follower.read(buffer, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(self.nothing_yet(STALL_MAX));
            }
            read => read?,
        };
        self.idle_since = Instant::now();
        self.unchecked += read;
        if self.unchecked >= RECHECK_BYTES {
            self.unchecked = 0;
            if !access::may_ask(&self.envoy, &self.cell.lock(), &self.to) {
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
        Ok(read)
    }

    fn pack_info(&mut self) -> io::Result<PackInfo> {
        let whole = self.follower.as_ref().and_then(Follower::whole);
        let (bytes, blake3) = whole.ok_or(ErrorKind::UnexpectedEof)?;
        Ok(PackInfo { bytes, blake3 })
    }

    fn envelopes(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut fate = self.fate.clone();
        let decided = self.envoy.handle().block_on(async {
            let decision = fate.wait_for(|fate| !matches!(fate, Fate::Open));
            tokio::time::timeout(PATIENCE, decision)
                .await
                .map(|decided| decided.map(|fate| fate.clone()))
        });
        match decided {
            Ok(Ok(Fate::Stored(new))) => {
                let lacking = self.lacking(&new);
                // What it may not be told of any more it is not sent.
                if lacking.is_empty() {
                    return Err(ErrorKind::BrokenPipe.into());
                }
                Ok(lacking)
            }
            Ok(_) => Err(ErrorKind::BrokenPipe.into()),
            Err(_) => Err(self.nothing_yet(DECISION_MAX)),
        }
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

//! Right before a push is stored: asks the envoys that answer whether they know of something newer, and takes turns
//! with pushes that are being stored there at the same moment.
//!
//! So a push that is not a fast-forward is refused by connected envoys as by one server. It is an effort, bounded in
//! time: an envoy that does not answer keeps nobody from pushing, and two that cannot hear each other both accept.
//!
//! Source: docs/spec/fresh.md.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gitback_gossip::{Millis, Pass, Question, Reply, Ticket, Turn};
use gitback_identity::{EnvoyKey, ProjectId};
use gitback_peer::limits::FRESH_REFS_MAX;
use gitback_peer::{CallError, Fresh, FreshAnswer};

use crate::catch_up::catch_up;
use crate::cell::Cell;
use crate::daemon::{Envoy, chain};
use crate::peers::Neighbour;

/// How long an envoy that is asked keeps the asker waiting for its turn, before it says that it has to ask again.
const HOLD_MAX: Duration = Duration::from_millis(500);

/// After how long who has to wait asks again; it was kept waiting already.
const PAUSE: Millis = Millis(1);

/// Who is moving which refs on this envoy right now.
#[derive(Debug)]
pub(crate) struct Turns {
    turn: Mutex<Turn>,
    ended: Condvar,
    begun: Instant,
}

impl Turns {
    pub(crate) fn new(me: EnvoyKey) -> Self {
        Self {
            turn: Mutex::new(Turn::new(me, PAUSE)),
            ended: Condvar::new(),
            begun: Instant::now(),
        }
    }

    /// Whether the envoy `by` has to wait before it moves `refs`. Waits a while itself before it says so.
    pub(crate) fn asked(&self, project: &ProjectId, refs: &[Vec<u8>], by: &EnvoyKey) -> bool {
        let until = Instant::now() + HOLD_MAX;
        let mut turn = self.turn();
        loop {
            if !turn.asked(self.now(), project, refs, *by) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.ended.wait_timeout(turn, left);
            turn = waited.expect("no thread panics with the turns").0;
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().expect("no thread panics with the turns")
    }

    fn now(&self) -> Millis {
        millis(self.begun.elapsed())
    }
}

/// The right to move some refs, for as long as it lives.
#[derive(Debug)]
pub(crate) struct OurTurn<'a> {
    turns: &'a Turns,
    ticket: Ticket,
    /// What was held here when it was first asked for.
    digest: [u8; 32],
}

impl Drop for OurTurn<'_> {
    fn drop(&mut self) {
        self.turns.turn().end(self.ticket);
        self.turns.ended.notify_all();
    }
}

/// What a peer said to a question, or that it did not.
struct Said {
    peer: Arc<Neighbour>,
    question: Question,
    answer: Result<FreshAnswer, CallError>,
}

/// Asks the partners that answer, brings in what they have newer, and waits for those who go first. Returns when it
/// is this push's turn, or when `limit` is over. Of very many refs, turns are taken about the first [`FRESH_REFS_MAX`].
pub(crate) fn check<'a>(
    envoy: &'a Arc<Envoy>,
    cell: &Arc<Cell>,
    mut refs: Vec<Vec<u8>>,
    limit: Duration,
) -> Option<OurTurn<'a>> {
    let until = Instant::now() + limit;
    let is_present = |neighbour: &Arc<Neighbour>| neighbour.is_present();
    let is_anybody_present = envoy.neighbours().iter().any(is_present);
    if !is_anybody_present || refs.is_empty() || limit.is_zero() {
        return None;
    }
    // The lock may be held by pushes that sync, so it is taken as rarely as can be.
    let (mut partners, digest) = {
        let state = cell.lock();
        (envoy.partners_by(&state), state.shown_digest())
    };
    partners.retain(is_present);
    if partners.is_empty() {
        return None;
    }
    refs.sort();
    refs.truncate(FRESH_REFS_MAX);
    let turns = envoy.turns();
    let keys: Vec<EnvoyKey> = partners.iter().map(|peer| *peer.key()).collect();
    let ticket = turns.turn().begin(
        turns.now(),
        *cell.id(),
        refs.iter().cloned(),
        &keys,
        millis(limit),
    )?;
    let ours = OurTurn {
        turns,
        ticket,
        digest,
    };
    let (sender, said) = channel();
    let mut open: BTreeMap<EnvoyKey, Arc<Neighbour>> = BTreeMap::new();
    loop {
        let pass = turns.turn().may_pass(turns.now(), ticket);
        match pass {
            Pass::Go => break,
            Pass::Late => {
                tracing::info!(project = %cell.id(), "a push goes on without its turn");
                for late in open.values() {
                    late.note_unresponsive();
                    envoy.heal().compare(late.key());
                }
                break;
            }
            Pass::Ask(questions) => {
                for question in questions {
                    let Some(peer) = envoy.neighbour(&question.partner) else {
                        let now = turns.now();
                        turns.turn().answered(now, ticket, &question, Reply::Gone);
                        continue;
                    };
                    open.insert(question.partner, Arc::clone(&peer));
                    let asked = Fresh {
                        refs: refs.clone(),
                        digest,
                    };
                    ask(envoy, cell, asked, &peer, question, &sender);
                }
            }
            Pass::Until(at) => {
                let left = at.0.saturating_sub(turns.now().0);
                take_in(envoy, cell, &ours, &mut open, &said, left, until);
            }
        }
    }
    Some(ours)
}

fn ask(
    envoy: &Envoy,
    cell: &Cell,
    asked: Fresh,
    peer: &Arc<Neighbour>,
    question: Question,
    said: &Sender<Said>,
) {
    let (client, peer, id) = (envoy.client().clone(), Arc::clone(peer), *cell.id());
    let said = said.clone();
    envoy.handle().spawn(async move {
        let answer = client.fresh(&peer.address(), &id, &asked).await;
        match &answer {
            // A refusal about one project says nothing of the others.
            Ok(_) | Err(CallError::Refused(_)) => peer.note_answer(),
            Err(error) => peer.note_failure(error),
        }
        // Who asked may have gone on.
        let _ = said.send(Said {
            peer,
            question,
            answer,
        });
    });
}

/// Takes one answer in, if one comes within `left_ms`, and first brings in what is newer at who gave it.
fn take_in(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    ours: &OurTurn<'_>,
    open: &mut BTreeMap<EnvoyKey, Arc<Neighbour>>,
    said: &Receiver<Said>,
    left_ms: u64,
    until: Instant,
) {
    let Ok(said) = said.recv_timeout(Duration::from_millis(left_ms)) else {
        return;
    };
    let Said {
        peer,
        question,
        answer,
    } = said;
    open.remove(peer.key());
    let reply = match answer {
        Ok(FreshAnswer { digest, wait }) => {
            let is_new = digest != ours.digest
                && !envoy.heal().had(cell.id(), &digest)
                && digest != cell.lock().shown_digest();
            if is_new {
                bring_in(envoy, cell, peer, digest, until);
            }
            if wait { Reply::Wait } else { Reply::Free }
        }
        Err(error) => {
            let reason = error.reason();
            tracing::debug!(peer = peer.name(), project = %cell.id(), reason, "does not say whether it knows of something newer");
            Reply::Gone
        }
    };
    let now = ours.turns.now();
    let mut turn = ours.turns.turn();
    turn.answered(now, ours.ticket, &question, reply);
}

/// Brings in what a peer has newer, and waits for that until `until`; it goes on beyond.
fn bring_in(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    peer: Arc<Neighbour>,
    digest: [u8; 32],
    until: Instant,
) {
    let (sender, done) = channel();
    let (host, project) = (Arc::clone(envoy), Arc::clone(cell));
    envoy.handle().spawn_blocking(move || {
        // A push that brings the same is faster than a fetch beside it.
        let Some(_only_one) = project.catch_up_until(until) else {
            return;
        };
        let before = project.lock().shown_digest();
        if before == digest {
            // Who waits may have gone on.
            let _ = sender.send(());
            return;
        }
        loop {
            match catch_up(&host, &project, &peer, &[], &mut |_| {}) {
                // A part of it does not say yet what the peer holds.
                Ok(brought) if brought.more && Instant::now() < until => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(peer = peer.name(), project = %project.id(), error = %chain(&error), "cannot bring in what is newer there");
                    break;
                }
            }
        }
        if project.lock().shown_digest() != before {
            host.heal().changed(&project);
        }
        let _ = sender.send(());
    });
    let _ = done.recv_timeout(until.saturating_duration_since(Instant::now()));
}

fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

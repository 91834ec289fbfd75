//! Sending what is new to every peer at once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use gitback_envelope::{EnvelopeId, Oid, Tip, Verified};
use gitback_pack::Spool;
use gitback_peer::{CallError, PackFile, PushAnswer};

use crate::cell::{Cell, Fault, git, own, pack_fault};
use crate::daemon::{Envoy, chain, tip_from_peer};
use crate::peers::Neighbour;

/// How one peer took the push.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is durable there.
    Durable,
    /// It is not, and this line says why.
    Away(String),
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

/// Sends `new` envelopes and the pack they came with to all peers, in the background.
///
/// The receiver yields one [`Answer`] a peer; dropping it stops nothing. The spool lives until the last peer has it.
pub(crate) fn spread(
    envoy: &Arc<Envoy>,
    cell: &Arc<Cell>,
    new: &[EnvelopeId],
    pack: Option<Spool>,
) -> Receiver<Answer> {
    let (sender, receiver) = channel();
    let pack = pack.map(Arc::new);
    for neighbour in envoy.neighbours() {
        let job = Job {
            envoy: Arc::clone(envoy),
            cell: Arc::clone(cell),
            neighbour: Arc::clone(neighbour),
            new: new.to_vec(),
            pack: pack.clone(),
        };
        let sender = sender.clone();
        envoy.handle().spawn(async move { job.run(&sender).await });
    }
    receiver
}

struct Job {
    envoy: Arc<Envoy>,
    cell: Arc<Cell>,
    neighbour: Arc<Neighbour>,
    new: Vec<EnvelopeId>,
    pack: Option<Arc<Spool>>,
}

#[derive(Debug)]
enum SendError {
    Call(CallError),
    Ours(Fault),
    Unmet,
}

impl Job {
    async fn run(self, answers: &Sender<Answer>) {
        let outcome = match self.send().await {
            Ok(()) => {
                self.neighbour.note_answer();
                Outcome::Durable
            }
            Err(error) => Outcome::Away(self.note(&error)),
        };
        // Nobody may be waiting any more; that is fine.
        let _ = answers.send(Answer {
            peer: self.neighbour.name().to_owned(),
            outcome,
        });
    }

    fn note(&self, error: &SendError) -> String {
        let id = *self.cell.id();
        match error {
            SendError::Call(CallError::Refused(refusal)) => {
                self.neighbour.note_refusal(id, refusal.reason.clone());
                format!("{} refused: {}", self.neighbour.name(), refusal.reason)
            }
            SendError::Call(error) => {
                self.neighbour.note_failure(error);
                self.neighbour.note_behind(id, error.reason());
                self.neighbour.away_line(Some(&id))
            }
            SendError::Ours(fault) => {
                tracing::error!(peer = self.neighbour.name(), project = %id, error = %chain(fault), "cannot send a push");
                self.neighbour
                    .note_behind(id, "this envoy could not read its own copy".to_owned());
                format!("{}: {}", self.neighbour.name(), chain(fault))
            }
            SendError::Unmet => {
                self.neighbour.note_answer();
                self.neighbour.note_behind(id, "catching up".to_owned());
                self.neighbour.poke();
                format!("{} is still catching up", self.neighbour.name())
            }
        }
    }

    async fn send(&self) -> Result<(), SendError> {
        let known = self.neighbour.tips(self.cell.id());
        let mut envelopes = self.envelopes(known.clone()).await;
        if known.is_empty() && envelopes.len() > UNASKED_MAX {
            envelopes.retain(|envelope| self.new.contains(envelope.id()));
        }
        let first = self.call(&envelopes, self.pack.as_deref()).await?;
        let PushAnswer::Need { tips, haves } = first else {
            return self.durable().await;
        };
        let tips: Vec<Tip> = tips.iter().filter_map(tip_from_peer).collect();
        let envelopes = self.envelopes(tips).await;
        let pack = self.pack_for(haves).await?;
        match self.call(&envelopes, pack.as_ref()).await? {
            PushAnswer::Durable => self.durable().await,
            PushAnswer::Need { .. } => Err(SendError::Unmet),
        }
    }

    async fn call(
        &self,
        envelopes: &[Verified],
        pack: Option<&Spool>,
    ) -> Result<PushAnswer, SendError> {
        let mut bytes = 0;
        let fits = |envelope: &&Verified| {
            bytes += envelope.bytes().len();
            bytes <= ENVELOPE_BYTES_MAX
        };
        let envelopes = envelopes
            .iter()
            .take_while(fits)
            .map(|envelope| envelope.bytes().to_vec())
            .collect();
        let pack = pack.map(|spool| PackFile {
            path: spool.path().to_owned(),
            bytes: spool.bytes(),
            blake3: spool.blake3(),
        });
        let to = self.neighbour.address();
        self.envoy
            .client()
            .push(&to, self.cell.id(), envelopes, pack)
            .await
            .map_err(SendError::Call)
    }

    /// What a holder of `tips` lacks. The project's lock may be held by a push that syncs, so not on the runtime's
    /// own threads.
    async fn envelopes(&self, tips: Vec<Tip>) -> Vec<Verified> {
        let cell = Arc::clone(&self.cell);
        let work = move || cell.lock().lacking_for(&tips);
        self.envoy
            .handle()
            .spawn_blocking(work)
            .await
            .unwrap_or_default()
    }

    /// A pack of all that the project's heads reach and a holder of `haves` lacks.
    async fn pack_for(&self, haves: Vec<[u8; 20]>) -> Result<Option<Spool>, SendError> {
        let cell = Arc::clone(&self.cell);
        let work = move || {
            let wants: Vec<_> = cell.lock().fold().served().into_values().map(git).collect();
            let haves: Vec<_> = haves
                .into_iter()
                .map(|have| git(Oid::from_bytes(&have)))
                .collect();
            cell.repo()
                .build_pack(&wants, &haves, true)
                .map_err(pack_fault(*cell.id(), "make a pack from"))
        };
        let done = self.envoy.handle().spawn_blocking(work).await;
        done.map_err(|_| SendError::Unmet)?.map_err(SendError::Ours)
    }

    /// The peer holds what we hold: notes it.
    async fn durable(&self) -> Result<(), SendError> {
        let cell = Arc::clone(&self.cell);
        let new = self.new.clone();
        let work = move || {
            let state = cell.lock();
            // Envelopes that came after this push may not be there yet, so only a project without any is the same.
            let newest = state.fold().heads();
            (
                state.fold().digest(),
                state.fold().tips(),
                newest.iter().all(|head| new.contains(head)),
            )
        };
        if let Ok((digest, tips, same)) = self.envoy.handle().spawn_blocking(work).await
            && same
        {
            self.neighbour
                .note_holding(*self.cell.id(), digest, Some(tips), true);
        }
        Ok(())
    }
}

/// The ref tips of a repository, as a bounded list of what is here.
pub(crate) fn haves(cell: &Cell, most: usize) -> Result<Vec<[u8; 20]>, Fault> {
    let refs = cell.repo().refs().map_err(pack_fault(*cell.id(), "read"))?;
    let mut tips: Vec<[u8; 20]> = refs.iter().map(|r| *own(&r.oid).as_bytes()).collect();
    tips.sort_unstable();
    tips.dedup();
    tips.truncate(most);
    Ok(tips)
}

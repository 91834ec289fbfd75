//! What this envoy answers to other envoys.

mod fleet;
mod intake;
mod packs;
mod reconcile;
mod token;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use gitback_envelope::EnvelopeId;
use gitback_gossip::Input;
use gitback_identity::{EnvoyKey, ProjectId, hex};
use gitback_peer::{
    BlockRange, Caller, Digests, Fresh, FreshAnswer, Names, NamesAnswer, PushAnswer, PushBody,
    Refusal, RefusalKind, Service, SyncAnswer, SyncRequest,
};

use crate::access::{self, Partner};
use crate::cell::{Cell, State};
use crate::clock;
use crate::contact;
use crate::daemon::{Envoy, chain, tip_from_peer, tips_for_peer};
use crate::fault::Fault;
use crate::names::{self, Refused};
use crate::peers::Neighbour;
use crate::trace::Millis;
pub(crate) use fleet::{NOT_OF_THE_FLEET, REMOVED};
use intake::Intake;

/// Most object ids named in a `need` answer.
pub(crate) const HAVES_MAX: usize = 512;

/// The code of the answer for a project that is not here.
pub(crate) const UNKNOWN_PROJECT: &str = "unknown-project";

/// The code of the answer to a push of what is being brought in already.
pub(crate) const CATCHES_UP: &str = "catching-up";

/// The code of the answer for a project whose copy was given up on a person's word: it is not to be offered again.
pub(crate) const PURGED: &str = "purged";

/// Most bytes of envelopes in one page of a sync answer.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The daemon as its peers see it.
#[derive(Debug)]
pub(crate) struct Surface(pub(crate) Arc<Envoy>);

impl Service for Surface {
    fn knows(&self, key: &EnvoyKey) -> bool {
        self.0.neighbour(key).is_some()
    }

    fn shuns(&self, key: &EnvoyKey) -> bool {
        self.0.fleet().removed_ms(key).is_some()
    }

    fn listed(&self, caller: &Caller) -> Result<Option<Digests>, Refusal> {
        self.neighbour(&caller.key)?;
        Ok(Some(self.0.digests(&caller.key)))
    }

    fn digests(&self, caller: &Caller, theirs: Digests) -> Result<Digests, Refusal> {
        let envoy = &self.0;
        let neighbour = envoy
            .neighbour(&caller.key)
            .ok_or_else(|| stranger(envoy, &caller.key))?;
        neighbour.note_answer();
        let differences = contact::differences(envoy, &neighbour, &theirs.projects, None);
        envoy.heal().tell(Input::Shown {
            by: caller.key,
            differences,
        });
        Ok(envoy.digests(&caller.key))
    }

    fn gossip(&self, caller: &Caller, messages: Vec<Vec<u8>>) -> Result<(), Refusal> {
        let neighbour = self.neighbour(&caller.key)?;
        neighbour.note_answer();
        for bytes in messages {
            let from = caller.key;
            self.0.heal().tell(Input::Message { from, bytes });
        }
        Ok(())
    }

    fn names(&self, caller: &Caller, theirs: Names) -> Result<NamesAnswer, Refusal> {
        self.neighbour(&caller.key)?.note_answer();
        names::answer(&self.0, &theirs).map_err(|refused| match refused {
            Refused::Claim(reason) => refusal(RefusalKind::Bad, "bad-claim", reason),
            Refused::Ours(fault) => ours(&fault),
        })
    }

    fn fresh(
        &self,
        caller: &Caller,
        project: &ProjectId,
        question: Fresh,
    ) -> Result<FreshAnswer, Refusal> {
        let cell = self.shared(project, &caller.key)?;
        let wait = self.0.turns().asked(project, &question.refs, &caller.key);
        // After the wait: what was stored meanwhile is what is asked for.
        let digest = cell.lock().shown_digest();
        Ok(FreshAnswer { digest, wait })
    }

    fn held(
        &self,
        caller: &Caller,
        project: &ProjectId,
        ids: Vec<[u8; 32]>,
    ) -> Result<(), Refusal> {
        self.shared(project, &caller.key)?;
        let ids: Vec<EnvelopeId> = ids.iter().map(EnvelopeId::from_bytes).collect();
        self.0.receipts().note(project, &caller.key, &ids);
        Ok(())
    }

    fn sync(
        &self,
        caller: &Caller,
        project: &ProjectId,
        request: SyncRequest,
    ) -> Result<SyncAnswer, Refusal> {
        let envoy = &self.0;
        envoy.heal().answered(&caller.key);
        let cell = envoy
            .store()
            .founded(project)
            .ok_or_else(|| unknown(envoy, project))?;
        if !request.token.is_empty() {
            token::accept(&cell, &caller.key, &request.token)?;
        }
        let tips: Vec<_> = request.tips.iter().filter_map(tip_from_peer).collect();
        let state = cell.lock();
        let partner = access::partner(envoy, &state, &caller.key);
        if partner == Partner::Stranger {
            return Err(not_a_partner(envoy, &state, &caller.key));
        }
        let lacking = state.lacking_for(&tips);
        let lacking = access::tellable(envoy, &state, &caller.key, lacking);
        let (mut envelopes, mut bytes, mut more) = (Vec::new(), 0, false);
        let skip = usize::try_from(request.skip).unwrap_or(usize::MAX);
        for envelope in lacking.into_iter().skip(skip) {
            bytes += envelope.bytes().len();
            if bytes > PAGE_BYTES_MAX && !envelopes.is_empty() {
                more = true;
                break;
            }
            envelopes.push(envelope.bytes().to_vec());
        }
        let (digest, tips) = match partner {
            Partner::Full => (state.shown_digest(), tips_for_peer(&state)),
            Partner::Former | Partner::Stranger => ([0; 32], Vec::new()),
        };
        Ok(SyncAnswer {
            envelopes,
            more,
            digest,
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
        if envoy.store().given_up(project).is_some() {
            return Err(unknown(envoy, project));
        }
        match envoy.store().founded(project) {
            Some(cell) => {
                if let Err(denial) = self.may(&cell, &caller.key) {
                    return token::accept_push(&cell, &caller.key, body, denial);
                }
            }
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
            let mut intake = Intake::new(envoy, &cell, caller.key);
            let answer = intake.take(body);
            if let Some(neighbour) = envoy.neighbour(&caller.key) {
                neighbour.note_answer();
                if let Some((digest, tips)) = intake.same.take() {
                    neighbour.note_holding(*project, digest, Some(tips), true);
                }
            }
            answer
        };
        if matches!(answer, Ok(PushAnswer::Durable { .. })) {
            envoy.heal().changed(&cell);
        }
        envoy.store().discard_if_unfounded(cell);
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
        let begun = Instant::now();
        let mut output = Heard {
            output,
            start: Vec::new(),
        };
        match cell.repo().upload_pack_request(input, &mut output) {
            Ok(served) => {
                let peer = self.0.name_of(&caller.key);
                tracing::debug!(peer, project = %project, ?served, took = %Millis(begun.elapsed()), "served a fetch");
                Ok(())
            }
            Err(_) if output.says_unknown() => Ok(()),
            Err(fault) => {
                tracing::warn!(project = %project, error = %chain(&fault), "cannot serve a peer's fetch");
                let reason = format!("{} could not serve it", self.0.name());
                Err(refusal(RefusalKind::Internal, "fault", reason))
            }
        }
    }

    fn reconcile(
        &self,
        caller: &Caller,
        project: &ProjectId,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, Refusal> {
        self.answer_reconcile(caller, project, &message)
    }

    fn envelopes(
        &self,
        caller: &Caller,
        project: &ProjectId,
        ids: Vec<[u8; 32]>,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        self.answer_envelopes(caller, project, &ids)
    }

    fn packs(&self, caller: &Caller, project: &ProjectId) -> Result<Vec<u8>, Refusal> {
        self.answer_packs(caller, project)
    }

    fn blocks(
        &self,
        caller: &Caller,
        project: &ProjectId,
        range: BlockRange,
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        self.answer_blocks(caller, project, range, output)
    }

    fn roster(&self, caller: &Caller, theirs: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        self.answer_roster(&caller.key, &theirs)
    }

    fn enrol(&self, caller: &Caller, petition: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        self.answer_enrol(caller, &petition)
    }
}

impl Surface {
    fn neighbour(&self, key: &EnvoyKey) -> Result<Arc<Neighbour>, Refusal> {
        let neighbour = self.0.neighbour(key);
        neighbour.ok_or_else(|| stranger(&self.0, key))
    }

    /// A project that is here and in which the envoy `key` is a partner now.
    fn shared(&self, project: &ProjectId, key: &EnvoyKey) -> Result<Arc<Cell>, Refusal> {
        let cell = self.0.store().founded(project);
        let cell = cell.ok_or_else(|| unknown(&self.0, project))?;
        self.may(&cell, key)?;
        Ok(cell)
    }

    /// Whether the envoy `key` may fetch and push now.
    fn may(&self, cell: &Cell, key: &EnvoyKey) -> Result<(), Refusal> {
        let state = cell.lock();
        match access::partner(&self.0, &state, key) {
            Partner::Full => Ok(()),
            Partner::Former | Partner::Stranger => Err(not_a_partner(&self.0, &state, key)),
        }
    }
}

/// What git says when it is asked for an object that it does not have, after the length of the line. That is its answer,
/// though it ends with a failure then.
const UNKNOWN: &[u8] = b"ERR upload-pack: not our ref ";

/// Passes on what git says, and remembers how it starts.
struct Heard<'a> {
    output: &'a mut (dyn Write + Send),
    start: Vec<u8>,
}

impl Heard<'_> {
    fn says_unknown(&self) -> bool {
        let line = self.start.get(4..);
        line.is_some_and(|line| line.starts_with(UNKNOWN))
    }
}

impl Write for Heard<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.output.write(bytes)?;
        let wanted = (4 + UNKNOWN.len()).saturating_sub(self.start.len());
        self.start.extend(bytes.iter().take(written).take(wanted));
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}

/// Why the envoy `key` has no part in a project.
fn not_a_partner(envoy: &Envoy, state: &State, key: &EnvoyKey) -> Refusal {
    if let Some(denial) = access::why_former(state, key) {
        let reason = format!("{}: {denial}", envoy.name());
        return refusal(RefusalKind::Forbidden, denial.code, reason);
    }
    if envoy.neighbour(key).is_none() {
        return stranger(envoy, key);
    }
    let reason = format!(
        "{} gives project {} to its members' envoys only, and no member has granted {key}",
        envoy.name(),
        state.fold().id()
    );
    refusal(RefusalKind::Forbidden, "members-only", reason)
}

fn stranger(envoy: &Envoy, key: &EnvoyKey) -> Refusal {
    if let Some(at_ms) = envoy.fleet().removed_ms(key) {
        let day = clock::day(at_ms, clock::now_ms());
        let reason = format!(
            "{key} was removed from the fleet of {} on {day}",
            envoy.name()
        );
        return refusal(RefusalKind::Forbidden, REMOVED, reason);
    }
    let reason = format!(
        "{} does not know the envoy {key}: it is not enrolled, in no [[peers]] of its envoy.toml, and no member has granted it",
        envoy.name()
    );
    refusal(RefusalKind::Forbidden, NOT_OF_THE_FLEET, reason)
}

fn unknown(envoy: &Envoy, project: &ProjectId) -> Refusal {
    if let Some(note) = envoy.store().given_up(project) {
        return refusal(RefusalKind::NotFound, PURGED, note.says(envoy.name()));
    }
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

/// A short form of a key for people.
pub(crate) fn short_key(key: &EnvoyKey) -> String {
    hex::encode(key.as_bytes()).chars().take(12).collect()
}

//! Letting an envoy in that proves its part in a project.

use gitback_envelope::{Act, Envelope, TOKEN_ENVELOPES_MAX, TOKEN_MAX, Verified, VoidReason};
use gitback_identity::EnvoyKey;
use gitback_peer::{Part, PushAnswer, PushBody, Refusal, RefusalKind};

use super::{ours, refusal};
use crate::access::Denial;
use crate::cell::{Admitted, Cell, State};

/// Takes the proof that a puddle with a part in the project has granted the envoy `caller`.
///
/// Of its envelopes only joins and grants are taken in (and `init`), only of puddles that the founder line has
/// invited, only if they count, and only if the caller is a granted one then. From then on it is, for the proof is
/// in the project's log. What a puddle says when it goes or asks back is taken in as well, and lets nobody in.
pub(super) fn accept(cell: &Cell, caller: &EnvoyKey, token: &[Vec<u8>]) -> Result<(), Refusal> {
    let bytes: usize = token.iter().map(Vec::len).sum();
    if token.len() > TOKEN_ENVELOPES_MAX || bytes > TOKEN_MAX {
        let reason = format!(
            "{} envelopes of {bytes} bytes; a token has at most {TOKEN_ENVELOPES_MAX} of {TOKEN_MAX}",
            token.len()
        );
        return Err(refuse("token-too-long", reason));
    }
    let mut proof = Vec::with_capacity(token.len());
    for bytes in token {
        let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
        let envelope =
            envelope.map_err(|reject| refuse(reject.code(), format!("token: {reject}")))?;
        if envelope.statement().project != *cell.id() {
            let reason = format!(
                "envelope {} of the token is of another project",
                envelope.id()
            );
            return Err(refuse("wrong-project", reason));
        }
        proof.push(envelope);
    }
    let mut state = cell.lock();
    // What was brought before is as good as brought now.
    let known = state.ever_granted(caller)
        && proof.iter().any(|envelope| {
            is_own_word(envelope)
                && state.holds(envelope.id())
                && state.void(envelope.id()).is_none()
        });
    proof.retain(|envelope| !state.holds(envelope.id()) && is_proof(envelope));
    for envelope in &proof {
        let puddle = envelope.statement().puddle;
        if !state.fold().party(&puddle) {
            let reason = VoidReason::NotMember;
            let text = format!(
                "envelope {} of the token speaks for {}, who was never invited (rule {})",
                envelope.id(),
                puddle.fingerprint(),
                reason.rule()
            );
            return Err(refuse(reason.code(), text));
        }
    }
    if proof.is_empty() && known {
        return Ok(());
    }
    let lets_in = |state: &State, admitted: &Admitted| lets_in(state, admitted, caller);
    let admitted = state.admit_if(proof, lets_in);
    admitted.map_err(|fault| ours(&fault))??;
    cell.follow(&mut state, &[]);
    Ok(())
}

/// The same from the body of a push: an envoy that was just granted hands its grant on before it is known.
pub(super) fn accept_push(
    cell: &Cell,
    caller: &EnvoyKey,
    body: &mut PushBody,
    denial: Refusal,
) -> Result<PushAnswer, Refusal> {
    let malformed = |error: gitback_peer::Reject| {
        refusal(RefusalKind::Bad, "malformed-push", error.to_string())
    };
    let mut token = Vec::new();
    while let Some(part) = body.next().map_err(malformed)? {
        match part {
            Part::Header(header) if header.pack => return Err(denial),
            Part::Header(_) => {}
            Part::Pack(_) | Part::PackEnd(_) => return Err(denial),
            Part::Envelope(bytes) if token.len() < TOKEN_ENVELOPES_MAX => token.push(bytes),
            Part::Envelope(_) => return Err(denial),
        }
    }
    match accept(cell, caller, &token) {
        // Of what else is here it says nothing.
        Ok(()) => Ok(PushAnswer::Durable { whole: false }),
        // It proved nothing, and most likely did not mean to.
        Err(refused) if refused.code == NO_GRANT => Err(denial),
        Err(refused) => Err(refused),
    }
}

/// The code for a token after which the caller is as unknown as before.
const NO_GRANT: &str = "token-no-grant";

fn is_proof(envelope: &Verified) -> bool {
    let act = &envelope.statement().act;
    is_own_word(envelope) || matches!(act, Act::Init { .. } | Act::Join { .. } | Act::Grant(_))
}

/// Whether a puddle says something of its own membership that needs no access.
fn is_own_word(envelope: &Verified) -> bool {
    matches!(
        envelope.statement().act,
        Act::Leave { .. } | Act::Rejoin { .. }
    )
}

fn lets_in(state: &State, admitted: &Admitted, caller: &EnvoyKey) -> Result<(), Refusal> {
    if let Some((id, reject)) = admitted.refused.first() {
        return Err(refuse(
            reject.code(),
            format!("token: envelope {id}: {reject}"),
        ));
    }
    if admitted.waiting {
        let reason = "the token names envelopes that are neither in it nor here".to_owned();
        return Err(refuse("token-incomplete", reason));
    }
    if let Some(void) = admitted.first_void(state) {
        let denial = Denial::void(&void);
        return Err(refuse(denial.code, format!("token: {denial}")));
    }
    let mut new = admitted.folded.iter().filter_map(|id| state.fold().get(id));
    let only_words = !admitted.folded.is_empty() && new.all(is_own_word);
    match state.fold().granted_envoy(caller) {
        Some(_) => Ok(()),
        None if only_words => Ok(()),
        None => {
            let reason = format!("no puddle with access has granted the envoy {caller}");
            Err(refuse(NO_GRANT, reason))
        }
    }
}

fn refuse(code: &str, reason: String) -> Refusal {
    refusal(RefusalKind::Forbidden, code, reason)
}

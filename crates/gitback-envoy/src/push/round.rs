//! The commit point: objects, then the signed updates, then refs, each durable before the next; of all pushes that wait
//! for the project at the same moment, so that they share the syncs.

use std::collections::BTreeSet;
use std::sync::Arc;

use gitback_envelope::{EnvelopeId, Oid};
use gitback_pack::{Quarantine, Received};

use super::update::update;
use super::verdict::{Verdict, check_current, names, nest, refuse_all, refuse_rest};
use super::{Push, Stored};
use crate::access::{Denial, may_push};
use crate::cell::{Admitted, Cell, Folding, State};
use crate::daemon::Envoy;
use crate::fault::{Fault, pack_fault};
use crate::maintenance::follow_again;
use crate::quota::Quota;
use crate::trace::Trace;

/// A push of which only what others may change is still to be checked.
#[derive(Debug)]
pub(crate) struct Ready {
    push: Push,
    /// The refs that it is to move.
    names: BTreeSet<Vec<u8>>,
    pub(super) verdicts: Vec<Verdict>,
    quarantine: Option<(Quarantine, Received)>,
    pub(super) trace: Trace,
    progress: Progress,
}

/// How far a push has come.
#[derive(Debug)]
enum Progress {
    /// Its verdicts say what becomes of it.
    Judged,
    /// It is too large beside what its round stores, if that is stored.
    TooLarge(String),
    Folded(Folded),
    Ended(Result<Option<Stored>, Fault>),
}

/// A push whose update is in the fold, and not durable yet.
#[derive(Debug)]
struct Folded {
    ids: Vec<EnvelopeId>,
    /// What the fold is with it, and without those after it: others may have it before those.
    digest: [u8; 32],
    tips: Vec<Oid>,
    spool: Option<Received>,
}

impl Ready {
    pub(super) fn new(
        push: Push,
        verdicts: Vec<Verdict>,
        quarantine: Option<(Quarantine, Received)>,
        trace: Trace,
    ) -> Self {
        Self {
            push,
            names: names(&verdicts).into_iter().collect(),
            verdicts,
            quarantine,
            trace,
            progress: Progress::Judged,
        }
    }

    /// Whether both move a ref of one name, or of names of which one is a directory of the other.
    pub(super) fn meets(&self, other: &Self) -> bool {
        nest(&self.names, &other.names) || nest(&other.names, &self.names)
    }

    /// What has become of it; its verdicts say the rest.
    pub(super) fn into_outcome(self) -> Result<Option<Stored>, Fault> {
        match self.progress {
            Progress::Ended(outcome) => outcome,
            Progress::Judged | Progress::TooLarge(_) | Progress::Folded(_) => Ok(None),
        }
    }
}

/// Stores pushes that do not meet, as far as each may be; what stands against one keeps no other back.
pub(super) fn store(envoy: &Envoy, cell: &Cell, state: &mut State, round: &mut [Ready]) {
    // What stood in the way of earlier pushes may be gone.
    follow_again(envoy, cell, state);
    let mut folding = None;
    for ready in &mut *round {
        ready.progress = match fold(envoy, cell, state, &mut folding, ready) {
            Ok(progress) => progress,
            Err(fault) => Progress::Ended(Err(fault)),
        };
    }
    let stored = match folding {
        Some(folding) => make_durable(cell, state, folding, round),
        None => Ok(()),
    };
    match stored {
        Ok(()) => follow(envoy, cell, state, round),
        Err(fault) => fail(fault, round),
    }
}

/// Checks a push against what is here now, folds its update and moves its objects in. None of it is durable yet, and of
/// what is refused nothing is left.
fn fold(
    envoy: &Envoy,
    cell: &Cell,
    state: &mut State,
    folding: &mut Option<Folding>,
    ready: &mut Ready,
) -> Result<Progress, Fault> {
    let Ready {
        push,
        verdicts,
        quarantine,
        trace,
        ..
    } = ready;
    // A revocation may have come in while the pack did.
    let grant = match may_push(envoy, state, push.uid, &push.puddle) {
        Ok(grant) => grant,
        Err(denial) => {
            refuse_all(verdicts, &denial.to_string());
            return Ok(Progress::Judged);
        }
    };
    let shown = cell.shown_refs()?;
    check_current(&shown, state, verdicts);
    let stands = |verdict: &Verdict| verdict.refusal.is_none();
    if !verdicts.iter().any(stands) {
        return Ok(Progress::Judged);
    }
    if push.atomic && !verdicts.iter().all(stands) {
        refuse_rest(verdicts);
        return Ok(Progress::Judged);
    }
    // Others of the same member may have come in while the pack did.
    if let Some((_, spool)) = quarantine
        && let Some(quota) = Quota::of(envoy, state, &push.puddle)
        && quota.refuses(spool.bytes())
    {
        return Ok(Progress::TooLarge(quota.refusal(envoy.name())));
    }
    let update = update(cell, state, &shown, verdicts, quarantine.as_ref(), push)?;
    if update.changes.is_empty() {
        return Ok(Progress::Judged);
    }
    let values = update.changes.iter().map(|change| change.new);
    let tips: Vec<Oid> = values.filter(|oid| !oid.is_zero()).collect();
    let envelopes = state.sign_update(envoy.key(), push.puddle, grant, update)?;
    let folding = match folding {
        Some(folding) => folding,
        None => folding.insert(state.begin()?),
    };
    let mut spool = None;
    // The objects last: nothing stands against the push any more.
    let check = |state: &State, admitted: &Admitted| -> Result<(), Stop> {
        check_counts(state, admitted).map_err(Stop::Refused)?;
        spool = enter(envoy, cell, quarantine.take()).map_err(Stop::Ours)?;
        trace.step("objects");
        Ok(())
    };
    match state.fold_if(folding, envelopes, check) {
        Ok(admitted) => Ok(Progress::Folded(Folded {
            ids: admitted.folded,
            digest: state.fold().digest(),
            tips,
            spool,
        })),
        Err(Stop::Refused(why)) => {
            refuse_all(verdicts, &why);
            Ok(Progress::Judged)
        }
        Err(Stop::Ours(fault)) => Err(fault),
    }
}

/// Why an update goes back out of the fold.
enum Stop {
    Refused(String),
    Ours(Fault),
}

/// Whether all of a push counts, now that it is folded; the error says why not.
fn check_counts(state: &State, admitted: &Admitted) -> Result<(), String> {
    if let Some(void) = admitted.first_void(state) {
        return Err(Denial::void(&void).to_string());
    }
    match admitted.refused.first() {
        Some((id, reject)) => Err(format!("{reject} ({}, envelope {id})", reject.code())),
        None => Ok(()),
    }
}

/// Moves what a push brings into the repository.
fn enter(
    envoy: &Envoy,
    cell: &Cell,
    come: Option<(Quarantine, Received)>,
) -> Result<Option<Received>, Fault> {
    let Some((quarantine, spool)) = come else {
        return Ok(None);
    };
    let entered = quarantine.enter();
    entered.map_err(pack_fault(*cell.id(), "store objects in"))?;
    envoy.maintenance().note_pack(cell.id());
    Ok(Some(spool))
}

/// One sync for all objects, also for those that somebody else has moved here a moment ago, and then one for all updates.
/// If either fails, nothing of the round is stored.
fn make_durable(
    cell: &Cell,
    state: &mut State,
    folding: Folding,
    round: &[Ready],
) -> Result<(), Fault> {
    let needs_objects = |ready: &Ready| match &ready.progress {
        Progress::Folded(folded) => folded.spool.is_some() || !folded.tips.is_empty(),
        Progress::Judged | Progress::TooLarge(_) | Progress::Ended(_) => false,
    };
    if round.iter().any(needs_objects)
        && let Err(fault) = cell.repo().sync_packs()
    {
        state.retreat(folding);
        return Err(pack_fault(*cell.id(), "store objects in")(fault));
    }
    state.store(folding)
}

/// Nothing is stored. Whoever was too large beside others was not, for they are not here.
fn fail(fault: Fault, round: &mut [Ready]) {
    let fault = Arc::new(fault);
    for ready in round {
        if let Progress::Folded(_) | Progress::TooLarge(_) = ready.progress {
            ready.progress = Progress::Ended(Err(Fault::Common(Arc::clone(&fault))));
        }
    }
}

/// Lets refs follow. The pushes are stored, and what is stored is never reported as failed.
fn follow(envoy: &Envoy, cell: &Cell, state: &mut State, round: &mut [Ready]) {
    let (mut tips, mut digests) = (Vec::new(), Vec::new());
    for ready in &mut *round {
        match std::mem::replace(&mut ready.progress, Progress::Judged) {
            Progress::Folded(folded) => {
                state.mark_judged(&folded.ids);
                ready.trace.step("update");
                tips.extend(folded.tips);
                digests.push(folded.digest);
                ready.progress = Progress::Ended(Ok(Some(Stored {
                    ids: folded.ids,
                    _spool: folded.spool,
                })));
            }
            Progress::TooLarge(why) => refuse_all(&mut ready.verdicts, &why),
            judged @ (Progress::Judged | Progress::Ended(_)) => ready.progress = judged,
        }
    }
    let is_stored = |ready: &&mut Ready| matches!(ready.progress, Progress::Ended(Ok(Some(_))));
    let mut stored: Vec<&mut Ready> = round.iter_mut().filter(is_stored).collect();
    if !stored.is_empty() {
        cell.follow(state, &tips);
        // Here, so that nobody waits for the next round to say so.
        digests.pop();
        if state.shown_digest() == state.fold().digest() {
            for digest in digests {
                envoy.heal().passed(cell.id(), digest);
            }
        }
        envoy.heal().changed_to(cell, state);
    }
    for ready in &mut stored {
        ready.trace.step("refs");
    }
}

#[cfg(test)]
mod tests {
    use gitback_envelope::{Act, Incarnation, Statement};
    use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey};
    use gitback_pack::Limits;

    use super::*;
    use crate::cell::Drafting;
    use crate::daemon::chain;

    fn ready(puddle: PuddleKey, progress: Progress) -> Ready {
        let push = Push {
            uid: 0,
            puddle,
            atomic: false,
            head: None,
        };
        Ready {
            progress,
            ..Ready::new(push, Vec::new(), None, Trace::begin())
        }
    }

    #[test]
    fn pushes_meet_where_git_could_not_keep_both() {
        let puddle = PuddleKey::new(SecretKey::from_seed(&[3; 32]).public());
        let moving = |names: &[&str]| Ready {
            names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..ready(puddle, Progress::Judged)
        };
        for (one, other, meet) in [
            (&["a"][..], &["a"][..], true),
            (&["a/b/c", "x"], &["a"], true),
            (&["x", "y"], &["y/z"], true),
            (&["a"], &["ab", "b/a"], false),
            (&["a/b"], &["a/c", "a/bc"], false),
            (&[], &["a"], false),
        ] {
            let (one, other) = (moving(one), moving(other));
            assert_eq!(one.meets(&other), meet, "{:?} {:?}", one.names, other.names);
            assert_eq!(other.meets(&one), meet, "{:?} {:?}", other.names, one.names);
        }
    }

    #[test]
    fn if_the_disk_fails_all_of_a_round_hear_it_and_nothing_of_it_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let founder = SecretKey::from_seed(&[3; 32]);
        let puddle = PuddleKey::new(founder.public());
        let handle: Handle = "notes".parse().expect("valid");
        let seal = |statement: Statement| {
            let signature = founder.sign(&statement.signing_bytes().expect("encodes"));
            statement.seal(signature).expect("the founder's")
        };
        let init = seal(Statement::init(&puddle, &handle));
        let (first, id) = (*init.id(), ProjectId::derive(&puddle, &handle));
        let (projects, envelopes) = (dir.path().join("projects"), dir.path().join("envelopes"));
        let cell = Cell::open(id, &projects, &envelopes, &Limits::default()).expect("opens");
        let mut state = cell.lock();
        state.admit(vec![init]).expect("the disk works");
        let before = state.fold().digest();

        let envoy = EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public());
        let life = Incarnation::from_bytes(&[1; 16]);
        let mut drafting = Drafting::outside(id, puddle, envoy, life, first);
        drafting.add(Act::Merge).expect("encodes");
        let batch = drafting.into_statements().into_iter().map(seal).collect();
        let mut folding = state.begin().expect("nothing stands against it");
        let agree = |_: &State, _: &Admitted| Ok::<(), ()>(());
        let admitted = state.fold_if(&mut folding, batch, agree).expect("folds");
        // It brings nothing, and what it names may have been moved here by somebody who has not come to the sync yet.
        let folded = Folded {
            ids: admitted.folded.clone(),
            digest: state.fold().digest(),
            tips: vec![Oid::from_bytes(&[7; 20])],
            spool: None,
        };
        let mut round = [
            ready(puddle, Progress::Folded(folded)),
            ready(puddle, Progress::TooLarge("too large".to_owned())),
            ready(puddle, Progress::Judged),
        ];
        std::fs::remove_dir(cell.repo().path().join("objects/pack")).expect("empty");
        let failed = make_durable(&cell, &mut state, folding, &round);
        assert_eq!(state.fold().digest(), before);
        assert!(admitted.folded.iter().all(|id| !state.holds(id)));

        let fault = failed.expect_err("the directory is gone");
        let words = chain(&fault);
        assert!(words.contains("cannot store objects in"), "{words}");
        fail(fault, &mut round);
        let told = round.map(|ready| {
            let outcome = ready.into_outcome();
            outcome.map(drop).map_err(|fault| chain(&fault))
        });
        assert_eq!(told, [Err(words.clone()), Err(words), Ok(())]);
    }
}

//! How each envoy's copy of a project is: one word for each, and for every word but `current` why and since when.
//!
//! What this envoy knows of a peer is what the peer has told: whether it answers, a digest for each project, and the
//! ends of its chains. Nothing here is guessed from the time that has passed.

use gitback_envelope::{Tip, Verified};
use gitback_helper::CopyStatus;
use gitback_identity::EnvoyKey;

use super::{lag, reach};
use crate::access::{self, Partner};
use crate::cell::{Cell, State};
use crate::clock;
use crate::daemon::Envoy;
use crate::given_up::GivenUp;
use crate::peers::{CATCHING_UP, Holding, Neighbour, Seen};
use crate::service::short_key;

/// Most envoys without an address that are listed for one project.
const UNREACHED_MAX: usize = 256;

/// A word, and what goes with it.
#[derive(Debug, Default, PartialEq, Eq)]
struct View {
    word: &'static str,
    lacks: Lacks,
    reason: Option<String>,
    since_ms: Option<u64>,
}

/// What a copy lacks, where its chains are known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Lacks {
    envelopes: Option<u64>,
    updates: Option<u64>,
}

/// Every copy that there should be: this envoy's own, those of its peers, and those of envoys that members granted
/// and that nobody here can reach.
pub(super) fn all(envoy: &Envoy, cell: &Cell, state: &State) -> Vec<CopyStatus> {
    let may = |key| access::may_ask(envoy, state, key);
    let neighbours = envoy.neighbours();
    let partners: Vec<_> = neighbours
        .iter()
        .filter(|neighbour| may(neighbour.key()))
        .collect();
    let mut copies = vec![own(envoy, cell, state)];
    copies.extend(
        partners
            .iter()
            .map(|neighbour| of(envoy, neighbour, cell, state)),
    );
    copies.extend(unreached(envoy, state));
    copies
}

/// The row of an envoy that gave its copy up.
pub(super) fn given_up(envoy: &Envoy, note: &GivenUp) -> CopyStatus {
    let view = View {
        word: "refused",
        reason: Some("it was purged here, and stays away until somebody brings it back".to_owned()),
        since_ms: Some(note.at_ms),
        ..View::default()
    };
    status(envoy.name().to_owned(), envoy.public(), view)
}

fn status(name: String, key: &EnvoyKey, view: View) -> CopyStatus {
    CopyStatus {
        name,
        key: key.to_string(),
        state: view.word.to_owned(),
        behind: view.lacks.envelopes,
        updates_behind: view.lacks.updates,
        reason: view.reason,
        since_ms: view.since_ms,
    }
}

/// Why this envoy's own copy is not current where it is damaged.
pub(super) const DAMAGED: &str = "objects are damaged here: vigo swarm gitback scrub";

/// This envoy's own copy.
fn own(envoy: &Envoy, cell: &Cell, state: &State) -> CopyStatus {
    let view = if state.is_leaving() {
        View {
            word: "refused",
            reason: Some("it is being purged here".to_owned()),
            since_ms: Some(clock::now_ms()),
            ..View::default()
        }
    } else if !state.has_all() {
        let full = envoy.room().err();
        View {
            word: if full.is_some() {
                "refused"
            } else {
                "catching up"
            },
            reason: Some(full.unwrap_or_else(|| lag(state))),
            since_ms: state.incomplete_since_ms().or(Some(envoy.started_ms())),
            ..View::default()
        }
    } else if state.is_damaged() {
        View {
            word: "behind",
            reason: Some(DAMAGED.to_owned()),
            ..View::default()
        }
    } else if let Some((name, since_ms)) = ahead(envoy, cell, state) {
        View {
            word: "behind",
            reason: Some(format!("{name} has what has not arrived here yet")),
            since_ms,
            ..View::default()
        }
    } else {
        View {
            word: "current",
            ..View::default()
        }
    };
    status(envoy.name().to_owned(), envoy.public(), view)
}

/// A peer that answers and holds something that is not here.
fn ahead(envoy: &Envoy, cell: &Cell, state: &State) -> Option<(String, Option<u64>)> {
    envoy.neighbours().iter().find_map(|neighbour| {
        if access::partner(envoy, state, neighbour.key()) != Partner::Full {
            return None;
        }
        let seen = neighbour.seen();
        let holding = seen.projects.get(cell.id())?;
        let more = seen.away.is_none()
            && holding.digest != state.fold().digest()
            && holds_more(holding, state);
        more.then(|| (neighbour.name().to_owned(), holding.differs_since_ms))
    })
}

/// Whether what it told last names something that is not here.
fn holds_more(holding: &Holding, state: &State) -> bool {
    holding.tips_digest == holding.digest
        && holding
            .tips
            .iter()
            .any(|tip| !state.fold().contains(&tip.id))
}

fn of(envoy: &Envoy, neighbour: &Neighbour, cell: &Cell, state: &State) -> CopyStatus {
    let seen = neighbour.seen();
    let view = judge(
        &seen,
        seen.projects.get(cell.id()),
        state,
        envoy.started_ms(),
    );
    status(neighbour.name().to_owned(), neighbour.key(), view)
}

/// How a peer's copy is. `started_ms` is since when nothing was heard of one that never answered.
fn judge(seen: &Seen, holding: Option<&Holding>, state: &State, started_ms: u64) -> View {
    let (word, reason, since_ms) = reach(seen, started_ms);
    let ours = state.fold().digest();
    let told = holding.filter(|holding| !holding.absent && holding.digest != NOTHING);
    if word != "current" {
        let differs = told.filter(|told| told.digest != ours);
        let lacks = differs.map_or_else(Lacks::default, |told| lacks(&told.tips, state));
        return View {
            word,
            lacks,
            reason,
            since_ms,
        };
    }
    let Some(holding) = holding else {
        return absent("has not said yet whether it holds it", Some(started_ms));
    };
    let since_ms = holding.differs_since_ms.or(Some(started_ms));
    let view = |word, lacks, reason: &str| View {
        word,
        lacks,
        reason: Some(holding.reason.clone().unwrap_or_else(|| reason.to_owned())),
        since_ms,
    };
    let Some(told) = told else {
        return match (holding.refused, holding.absent) {
            (true, _) => view("refused", Lacks::default(), "would not take it"),
            (false, true) => absent("has not taken it in yet", since_ms),
            (false, false) if holding.reason.is_some() => view("never", Lacks::default(), ""),
            (false, false) => view(
                "refused",
                Lacks::default(),
                "says that this envoy has no part in the project any more",
            ),
        };
    };
    if told.digest == ours {
        return View {
            word: "current",
            ..View::default()
        };
    }
    let lacks = lacks(&told.tips, state);
    if told.refused {
        return view("refused", lacks, "would not take the newest");
    }
    if told.digest == ours.map(|byte| !byte) {
        let reason = "it has every statement; objects have not arrived there yet";
        return view("catching up", lacks, reason);
    }
    if told.reason.as_deref() == Some(CATCHING_UP) {
        return view("catching up", lacks, "");
    }
    if told.tips_digest != told.digest {
        // How its chains end is known from an earlier time only.
        return view(
            "behind",
            Lacks::default(),
            "differs, and was not asked yet how",
        );
    }
    match (lacks.envelopes, holds_more(told, state)) {
        (Some(0), false) => view(
            "diverged",
            lacks,
            "it has the same statements, and follows another line of founders or lacks objects",
        ),
        (Some(0), true) => view("diverged", lacks, "it has what has not arrived here yet"),
        (_, true) => view("diverged", lacks, "each has what the other one lacks"),
        (_, false) => view("behind", lacks, "has not confirmed the newest"),
    }
}

/// What a peer shows of a project to an envoy that had a part in it once; and what is noted of one that has shown
/// nothing.
const NOTHING: [u8; 32] = [0; 32];

fn absent(reason: &str, since_ms: Option<u64>) -> View {
    View {
        word: "never",
        reason: Some(reason.to_owned()),
        since_ms,
        ..View::default()
    }
}

/// What a holder of `tips` lacks; nothing is said when its tips are not known.
///
/// Where one of its chains goes on beyond what is here, it has all that is here of that chain.
fn lacks(tips: &[Tip], state: &State) -> Lacks {
    if tips.is_empty() {
        return Lacks::default();
    }
    let beyond: Vec<&Tip> = tips
        .iter()
        .filter(|tip| !state.fold().contains(&tip.id))
        .collect();
    let has = |envelope: &Verified| {
        let one = envelope.statement();
        beyond.iter().any(|tip| {
            (tip.signer, tip.puddle, tip.incarnation) == (one.signer, one.puddle, one.incarnation)
                && tip.seq > one.seq
        })
    };
    let mut lacking = state.lacking_for(tips);
    lacking.retain(|envelope| !has(envelope));
    let is_update = |envelope: &&Verified| envelope.statement().update().is_some();
    Lacks {
        envelopes: Some(lacking.len() as u64),
        updates: Some(lacking.iter().filter(is_update).count() as u64),
    }
}

/// Envoys that a member has granted, whose grant has not expired, and that are no peers of this envoy.
fn unreached(envoy: &Envoy, state: &State) -> Vec<CopyStatus> {
    let now = clock::now_ms();
    let fold = state.fold();
    let is_live = |key: &EnvoyKey, uid: u32| {
        let mut grants = fold.grants_for(key, uid).into_iter();
        grants.any(|one| {
            let grant = one.statement().grant();
            grant.is_some_and(|grant| grant.expires_ms.is_none_or(|at| at > now))
        })
    };
    let keys = state.ever_granted_all().filter(|(key, users)| {
        let known = *key == envoy.public() || envoy.neighbour(key).is_some();
        !known && fold.granted_envoy(key).is_some() && users.iter().any(|uid| is_live(key, *uid))
    });
    let row = |key: &EnvoyKey| {
        let reason = "a member has granted it, and it is no peer of this envoy";
        let view = absent(reason, Some(envoy.started_ms()));
        status(short_key(key), key, view)
    };
    keys.take(UNREACHED_MAX).map(|(key, _)| row(key)).collect()
}

#[cfg(test)]
mod tests;

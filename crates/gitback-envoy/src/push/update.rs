//! From the commands of a push to the update that is signed.

use std::collections::BTreeMap;

use gitback_envelope::{Change, NAMED_HEADS_MAX, Oid, PackHint, RefName, Update, VoidReason};
use gitback_pack::{Quarantine, Received};

use super::Push;
use super::verdict::{Verdict, refuse_rest};
use crate::cell::{Cell, Graph, State, own};
use crate::fault::{Fault, pack_fault};

/// Fills in, from the git graph, which heads each new value contains and which it forces away. Refuses what a policy
/// protects. `come` is what the push brings, and is not in the repository yet.
pub(super) fn update(
    cell: &Cell,
    state: &State,
    shown: &BTreeMap<Vec<u8>, Oid>,
    verdicts: &mut [Verdict],
    come: Option<&(Quarantine, Received)>,
    push: &Push,
) -> Result<Update, Fault> {
    let protected = state.fold().policy().protected;
    let graph = cell.graph(come.map(|(quarantine, _)| quarantine));
    let fault = pack_fault(*cell.id(), "walk");
    let mut changes = Vec::new();
    let moves = |verdict: &&mut Verdict| {
        verdict.refusal.is_none() && verdict.command.old != verdict.command.new
    };
    for verdict in verdicts.iter_mut().filter(moves) {
        let command = &verdict.command;
        let name = RefName::new(&command.name).expect("refused above when it is no ref name");
        let visible = shown.get(&command.name).copied();
        let change = change(graph, state, name, own(&command.new), visible).map_err(&fault)?;
        let takes_away = change.new.is_zero() || !change.forced.is_empty();
        if takes_away && protected.contains(&change.name) {
            let reason = VoidReason::Protected;
            verdict.refusal = Some(format!(
                "it is protected: neither forced nor deleted ({}, rule {})",
                reason.code(),
                reason.rule()
            ));
        } else {
            changes.push(change);
        }
    }
    if push.atomic && verdicts.iter().any(|verdict| verdict.refusal.is_some()) {
        refuse_rest(verdicts);
        changes.clear();
    }
    changes.sort_by(|a: &Change, b: &Change| a.name.cmp(&b.name));
    changes.dedup_by(|a, b| a.name == b.name);
    let head = head_after(state, &changes, push.head.as_ref());
    let pack = come.map(|(_, spool)| PackHint {
        blake3: spool.blake3(),
        bytes: spool.bytes(),
    });
    Ok(Update {
        changes,
        head,
        pack,
    })
}

/// A head whose objects are not here is neither contained nor forced: nobody has seen it, and it stays a head. The
/// same goes for the other heads of a divergent ref, unless the new value contains them.
pub(crate) fn change(
    graph: Graph<'_>,
    state: &State,
    name: RefName,
    new: Oid,
    visible: Option<Oid>,
) -> Result<Change, gitback_pack::Fault> {
    let (mut contained, mut forced) = (Vec::new(), Vec::new());
    for head in state.fold().heads_of(&name) {
        if graph.contains(head.oid, new)? {
            contained.push(head.update);
        } else if visible == Some(head.oid) {
            forced.push(head.update);
        }
    }
    contained.truncate(NAMED_HEADS_MAX);
    forced.truncate(NAMED_HEADS_MAX);
    contained.sort_unstable();
    forced.sort_unstable();
    Ok(Change {
        name,
        new,
        contained,
        forced,
    })
}

/// HEAD's target, when this push changes it: asked for, or chosen by the first push that brings a branch.
pub(super) fn head_after(
    state: &State,
    changes: &[Change],
    wish: Option<&RefName>,
) -> Option<RefName> {
    let current = state.fold().head_target();
    let lives = |name: &RefName| {
        changes
            .iter()
            .any(|change| change.name == *name && !change.new.is_zero())
    };
    if let Some(wish) = wish {
        let known = lives(wish) || state.fold().served().contains_key(wish.as_bytes());
        return (known && current.as_ref() != Some(wish)).then(|| wish.clone());
    }
    if current.is_some() {
        return None;
    }
    let branches = || {
        changes.iter().filter(|change| {
            change.name.as_bytes().starts_with(b"refs/heads/") && !change.new.is_zero()
        })
    };
    let usual = |wanted: &[u8]| branches().find(|change| change.name.as_bytes() == wanted);
    let chosen = usual(b"refs/heads/main")
        .or_else(|| usual(b"refs/heads/master"))
        .or_else(|| branches().next());
    chosen.map(|change| change.name.clone())
}

//! No acknowledged push is lost: at the end it is everywhere, and counts unless a rule says why not; what it brought is still
//! reached from a ref, unless a later update that counts forced it away.
//!
//! Enforces: the promise "history checked afterwards: nothing acknowledged is missing"; docs/spec/fold.md §7.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{EnvelopeId, Project, RefName, Verdict, VoidReason};

use super::super::world::World;

pub(super) const NAME: &str = "acknowledged";

/// Reasons for which a push that was acknowledged may come to have no effect: somebody ended what it rested on.
const ENDS: [VoidReason; 5] = [
    VoidReason::Revoked,
    VoidReason::Ungranted,
    VoidReason::NotGranted,
    VoidReason::Left,
    VoidReason::Ended,
];

pub(super) fn check(world: &mut World) {
    for push in 0..world.pushes.len() {
        let one = &world.pushes[push];
        if !one.acknowledged {
            continue;
        }
        let mut duty = one.durable.clone();
        duty.insert(one.envoy);
        let kept = duty
            .iter()
            .any(|envoy| !one.lost_on.contains(envoy) && !world.is_malicious(*envoy));
        if !kept {
            continue;
        }
        let holders = super::convergence::holders(world, one.project);
        let still_partner = duty.iter().any(|envoy| holders.contains(envoy));
        for envoy in holders {
            let fault = look(world, push, envoy);
            if let Some(what) = fault.filter(|_| still_partner) {
                return world.fail(NAME, what);
            }
        }
    }
}

fn look(world: &World, push: usize, envoy: usize) -> Option<String> {
    let one = &world.pushes[push];
    let fold = &world.replicas[envoy].cells[one.project].fold;
    for id in &one.stored {
        match fold.verdict(id) {
            Verdict::Valid => {}
            Verdict::Void(reason) if ENDS.contains(&reason) => return None,
            verdict => {
                return Some(format!("push {push} is {verdict:?} on envoy {envoy}"));
            }
        }
    }
    let shelf = &world.replicas[envoy].disk.shelves[one.project];
    let served = shelf.refs.values();
    let served: Vec<u32> = served.filter_map(|oid| world.history.find(oid)).collect();
    let reached = world.history.closure(served);
    for want in &one.wants {
        let Some(new) = want.new.filter(|new| !reached.has(*new)) else {
            continue;
        };
        let id = one.stored.last()?;
        if !is_replaced(fold, id, &want.name) {
            let name = &want.name;
            return Some(format!(
                "push {push} moved {name} to c{new}, which no ref of envoy {envoy} leads to any more, and nothing forced it away"
            ));
        }
    }
    None
}

/// Whether a counting update has forced `id` away from a ref, or one that contains it was.
fn is_replaced(fold: &Project, id: &EnvelopeId, name: &RefName) -> bool {
    let mut by: BTreeMap<EnvelopeId, Vec<(EnvelopeId, bool)>> = BTreeMap::new();
    for envelope in fold.iter() {
        let update = envelope.statement().update();
        let Some(change) = update.and_then(|update| update.change(name)) else {
            continue;
        };
        let counts = fold.verdict(envelope.id()) == Verdict::Valid;
        for contained in &change.contained {
            let entry = by.entry(*contained).or_default();
            entry.push((*envelope.id(), change.new.is_zero() && counts));
        }
        for forced in change.forced.iter().filter(|_| counts) {
            by.entry(*forced).or_default().push((*envelope.id(), true));
        }
    }
    let (mut open, mut seen) = (vec![*id], BTreeSet::new());
    while let Some(id) = open.pop() {
        for (later, away) in by.get(&id).into_iter().flatten() {
            if *away {
                return true;
            }
            if seen.insert(*later) {
                open.push(*later);
            }
        }
    }
    false
}

//! Once faults end, every envoy that should hold a project shows the same refs, within a bounded time.
//!
//! Enforces: the design's "Consistency, stated": when a partition heals every envoy shows the same heads; docs/spec/fold.md §9, the
//! same set gives the same state.

use std::collections::BTreeMap;

use gitback_envelope::{Oid, Project, Scope};

use super::super::disk::Foothold;
use super::super::people::named;
use super::super::replica::partner::{Partner, partner};
use super::super::world::World;

pub(super) const NAME: &str = "convergence";

/// How long a fleet may take to come together, in microseconds.
pub(super) const LIMIT_US: u64 = 1_800_000_000;

/// Who should hold a project, of the honest: by all that any of them knows.
pub(super) fn holders(world: &World, project: usize) -> Vec<usize> {
    let up = |envoy: &usize| world.replicas[*envoy].up;
    let honest: Vec<usize> = world.honest().filter(up).collect();
    let folds = honest
        .iter()
        .map(|envoy| &world.replicas[*envoy].cells[project].fold);
    let Some(longest) = folds.clone().max_by_key(|fold| fold.len()) else {
        return Vec::new();
    };
    if world.plan.acts.is_empty() {
        return members(world, longest, honest);
    }
    let mut all = longest.clone();
    for envelope in folds.flat_map(|fold| fold.iter()) {
        // What one of them took in the others would take in as well.
        let _ = all.insert(envelope.clone());
    }
    members(world, &all, honest)
}

fn members(world: &World, fold: &Project, mut honest: Vec<usize>) -> Vec<usize> {
    let everybody = fold.policy().scope == Scope::SwarmWide;
    honest.retain(|envoy| everybody || fold.granted_envoy(&world.keys.envoy(*envoy)).is_some());
    honest
}

/// Why the fleet has not come together, if it has not.
pub(super) fn apart(world: &World) -> Option<String> {
    for project in 0..world.plan.projects {
        let holders = holders(world, project);
        let Some(first) = holders.first().copied() else {
            continue;
        };
        for envoy in holders.iter().copied() {
            let cell = &world.replicas[envoy].cells[project];
            let shelf = &world.replicas[envoy].disk.shelves[project];
            if cell.work.is_some() || cell.catch.is_some() {
                return Some(format!("envoy {envoy} is still at work"));
            }
            if is_unanswered(world, project, envoy, &holders) {
                continue;
            }
            let wanted = cell.wanted(shelf, &world.history);
            let waits = !wanted.is_empty()
                && cell.is_settled(shelf)
                && wanted
                    .iter()
                    .all(|oid| is_out_of_reach(world, project, &holders, oid));
            if !cell.is_whole(shelf) && !waits {
                return Some(format!("envoy {envoy} lacks objects of project {project}"));
            }
            let other = &world.replicas[first].cells[project];
            let other_shelf = &world.replicas[first].disk.shelves[project];
            if cell.fold.digest() != other.fold.digest() {
                let (here, there) = (cell.fold.len(), other.fold.len());
                return Some(format!(
                    "envoys {envoy} and {first} hold {here} and {there} envelopes of project {project}"
                ));
            }
            let served = if waits {
                cell.fold.served()
            } else {
                BTreeMap::new()
            };
            let comparable = |refs: &BTreeMap<Vec<u8>, Oid>| {
                let mut refs = refs.clone();
                refs.retain(|name, _| !served.get(name).is_some_and(|oid| wanted.contains(oid)));
                refs
            };
            if shelf.refs != other_shelf.refs
                && comparable(&shelf.refs) != comparable(&other_shelf.refs)
            {
                let show = |refs: &BTreeMap<Vec<u8>, Oid>| {
                    let shown = refs.iter().map(|(name, oid)| {
                        let name = String::from_utf8_lossy(name).into_owned();
                        format!("{name} {}", named(&world.history, oid))
                    });
                    shown.collect::<Vec<_>>().join(", ")
                };
                let (ours, theirs) = (show(&shelf.refs), show(&other_shelf.refs));
                return Some(format!(
                    "envoys {envoy} and {first} show {ours} and {theirs} of project {project}"
                ));
            }
        }
    }
    None
}

/// Whether an envoy's record of a project was lost, and it has learnt since, from a push, that everybody else who has the
/// project is a former partner, whom it does not ask by itself: refs stay where they were until a person uses the project
/// there, which asks these too (docs/spec/log.md, "Beside the log").
fn is_unanswered(world: &World, project: usize, envoy: usize, holders: &[usize]) -> bool {
    let cell = &world.replicas[envoy].cells[project];
    let is_lost = world.replicas[envoy].disk.shelves[project].foothold == Foothold::Lost;
    let is_asked = |one: &usize| {
        let theirs = &world.replicas[*one].cells[project];
        theirs.fold.founder().is_some() && partner(cell, &world.keys.envoy(*one)) != Partner::Former
    };
    let mut others = world.honest().filter(|one| *one != envoy);
    is_lost
        && cell.fold.founder().is_some()
        && holders == [envoy]
        && !others.any(|one| is_asked(&one))
}

/// Whether an object is whole on honest envoys, but on none of those that should hold the project: whoever is no partner any
/// more is not heard and gives no objects (docs/spec/peer.md §4.3), though what was signed within the cut of the ungrant counts
/// (docs/spec/fold.md §5). Until it is granted again, refs stay where they were.
pub(super) fn is_out_of_reach(world: &World, project: usize, holders: &[usize], oid: &Oid) -> bool {
    let whole = |envoy: &usize| {
        let shelf = &world.replicas[*envoy].disk.shelves[project];
        let number = world.history.find(oid);
        number.is_some_and(|number| world.history.whole(&shelf.objects, number))
    };
    !holders.iter().any(whole) && world.honest().any(|envoy| whole(&envoy))
}

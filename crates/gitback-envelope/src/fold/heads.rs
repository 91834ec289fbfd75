//! The valid envelopes that no valid one descends from.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::graph::{Graph, Place};
use super::standing::Standing;
use crate::id::EnvelopeId;

/// The most candidates that are compared with each other; beyond that the whole graph is walked once.
const COMPARED_MAX: usize = 256;

/// The valid heads after the envelopes at `flipped` have come to count, or have ceased to.
pub(super) fn after(
    graph: &Graph,
    before: &BTreeSet<EnvelopeId>,
    flipped: &[Place],
) -> BTreeSet<EnvelopeId> {
    let (valid, void): (Vec<Place>, Vec<Place>) =
        flipped.iter().partition(|place| is_valid(graph, **place));
    let mut candidates: BTreeSet<Place> = valid.into_iter().collect();
    let lost: BTreeSet<Place> = void.into_iter().collect();
    for head in before.iter().filter_map(|id| graph.place(id)) {
        if lost.contains(&head) {
            nearest_valid(graph, head, &mut candidates);
        } else {
            candidates.insert(head);
        }
    }
    if candidates.len() > COMPARED_MAX {
        return all(graph);
    }
    let covered = |head: &Place| candidates.iter().any(|by| graph.is_ancestor(*head, *by));
    let heads = candidates.iter().filter(|head| !covered(head));
    heads.map(|head| *graph.id(*head)).collect()
}

/// Adds the nearest valid envelopes in the past of a void one.
fn nearest_valid(graph: &Graph, from: Place, into: &mut BTreeSet<Place>) {
    let mut seen = BTreeSet::from([from]);
    let mut open = Vec::from([from]);
    while let Some(place) = open.pop() {
        let parents = graph.statement(place).parents();
        for parent in parents.filter_map(|parent| graph.place(parent)) {
            if !seen.insert(parent) {
                continue;
            }
            if is_valid(graph, parent) {
                into.insert(parent);
            } else {
                open.push(parent);
            }
        }
    }
}

/// Walks the whole graph, descendants first.
fn all(graph: &Graph) -> BTreeSet<EnvelopeId> {
    let mut covered: BTreeSet<Place> = BTreeSet::new();
    let mut heads = BTreeSet::new();
    for place in graph.places().rev() {
        let below = covered.remove(&place);
        let valid = is_valid(graph, place);
        if valid && !below {
            heads.insert(*graph.id(place));
        }
        if valid || below {
            let parents = graph.statement(place).parents();
            covered.extend(parents.filter_map(|parent| graph.place(parent)));
        }
    }
    heads
}

fn is_valid(graph: &Graph, place: Place) -> bool {
    graph.node(place).standing == Standing::Valid
}

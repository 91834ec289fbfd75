//! What still counts of something that has ended.

use alloc::vec::Vec;

use super::clock::Clock;
use super::graph::{Graph, Place};
use crate::id::EnvelopeId;

/// A set of envelopes that is closed under ancestry, or the intersection of several.
///
/// A cut speaks of ids: what it names counts, and everything in the past of that, as far as it is here. What it names
/// and is not here is looked up again when it arrives.
#[derive(Clone, Debug, Default)]
pub(super) struct Bound {
    all_of: Vec<Clock>,
    besides: Option<Place>,
}

impl Bound {
    /// The past of what `cut` names, and what it names.
    pub(super) fn cut(graph: &Graph, cut: &[EnvelopeId]) -> Self {
        let mut clock = Clock::default();
        for place in cut.iter().filter_map(|id| graph.place(id)) {
            clock.merge(graph.past(place));
        }
        Self {
            all_of: Vec::from([clock]),
            besides: None,
        }
    }

    /// `place` and its past.
    pub(super) fn past(graph: &Graph, place: Place) -> Self {
        Self {
            all_of: Vec::from([graph.past(place).clone()]),
            besides: None,
        }
    }

    /// Widens it by `place` alone.
    pub(super) const fn and(mut self, place: Place) -> Self {
        self.besides = Some(place);
        self
    }

    /// Widens it by `place` and its past.
    pub(super) fn and_past(mut self, graph: &Graph, place: Place) -> Self {
        for clock in &mut self.all_of {
            clock.merge(graph.past(place));
        }
        self
    }

    /// Narrows it to what lies in both.
    pub(super) fn narrow(&mut self, other: Self) {
        self.all_of.extend(other.all_of);
    }

    pub(super) fn contains(&self, graph: &Graph, place: Place) -> bool {
        self.besides == Some(place) || self.all_of.iter().all(|clock| graph.covers(clock, place))
    }
}

/// Narrows `bound`, or begins it.
pub(super) fn narrow(bound: &mut Option<Bound>, other: Bound) {
    match bound {
        Some(bound) => bound.narrow(other),
        None => *bound = Some(other),
    }
}

//! Which values of refs may be heads again.
//!
//! Source: docs/spec/fold.md §7, "What may come back".

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Project;
use super::graph::{Graph, Place};
use super::standing::{Standing, VoidReason};
use crate::act::Change;
use crate::id::{EnvelopeId, Oid};
use crate::refname::RefName;

/// What one update says about one ref.
type Said<'a> = (Place, &'a RefName);

impl Project {
    /// Every value of a ref that is one of its heads, or may be one once memberships end, at whatever cut: what no update
    /// of the founder line has replaced. What speaks for the founder line is taken to stand. While two delegations of a
    /// hop are known, that is every value. And what says something false about the git graph: whoever comes later has to
    /// find that out as well.
    ///
    /// `is_judged` says of which updates it is known that they say nothing false about the git graph, unless they are
    /// held out.
    #[must_use]
    pub fn may_return(&self, is_judged: impl Fn(&EnvelopeId) -> bool) -> BTreeSet<Oid> {
        let replaced = self.replaced_for_good(&is_judged);
        let mut values = BTreeSet::new();
        for place in self.graph.places() {
            let may_count = self.may_count(place);
            for change in changes(&self.graph, place) {
                let name = &change.name;
                // Whoever comes later has to find out as well what says something false.
                let is_lie = self.graph.lies_about(place, name);
                if is_lie || (may_count && !replaced.contains(&(place, name))) {
                    values.insert(change.new);
                }
            }
        }
        values.remove(&Oid::zero());
        values
    }

    /// What stays replaced, whichever memberships end.
    fn replaced_for_good(&self, is_judged: &dyn Fn(&EnvelopeId) -> bool) -> BTreeSet<Said<'_>> {
        let mut replaced = BTreeSet::new();
        if !self.contests().is_empty() {
            return replaced;
        }
        for place in self.graph.places() {
            if !self.stands(place) || !is_judged(self.graph.id(place)) {
                continue;
            }
            for change in changes(&self.graph, place) {
                let forced = change.forced.iter();
                let forced = forced.filter_map(|id| self.named(place, id, &change.name));
                replaced.extend(forced.map(|place| (place, &change.name)));
                self.replace_contained(place, change, is_judged, &mut replaced);
            }
        }
        replaced
    }

    /// Adds what is contained in a change that stands: directly, or in what is contained in it. Whether the one between
    /// counts or not makes no difference, as long as it says nothing false.
    fn replace_contained<'a>(
        &'a self,
        place: Place,
        change: &'a Change,
        is_judged: &dyn Fn(&EnvelopeId) -> bool,
        replaced: &mut BTreeSet<Said<'a>>,
    ) {
        let name = &change.name;
        let (mut open, mut seen) = (Vec::from([(place, change)]), BTreeSet::new());
        while let Some((by, change)) = open.pop() {
            for id in &change.contained {
                let Some(inner) = self.named(by, id, name) else {
                    continue;
                };
                if !seen.insert(inner) {
                    continue;
                }
                replaced.insert((inner, name));
                if is_judged(id)
                    && !self.graph.lies_about(inner, name)
                    && let Some(change) = change_of(&self.graph, inner, name)
                {
                    open.push((inner, change));
                }
            }
        }
    }

    /// The update called `id`, if it lies in the past of `by` and touches `name`.
    fn named(&self, by: Place, id: &EnvelopeId, name: &RefName) -> Option<Place> {
        let place = self.graph.place(id)?;
        change_of(&self.graph, place, name)?;
        self.graph.is_ancestor(place, by).then_some(place)
    }

    /// Whether an update counts whichever memberships end: it speaks for the founder line.
    fn stands(&self, place: Place) -> bool {
        let is_valid = self.graph.node(place).standing == Standing::Valid;
        is_valid && self.authority.line().speaks(&self.graph, place).is_ok()
    }

    /// Whether an update counts, or may count yet.
    fn may_count(&self, place: Place) -> bool {
        let reason = match self.graph.node(place).standing {
            Standing::Valid | Standing::Beyond => return true,
            Standing::Void(reason) => reason,
        };
        if !self.contests().is_empty() || self.authority.awaits_any() {
            return true;
        }
        match reason {
            // The founder line has said so.
            VoidReason::Ended
            | VoidReason::Retired
            | VoidReason::NotYetHeir
            | VoidReason::Protected => false,
            // A leave may prove to be void when the membership is revoked.
            VoidReason::Revoked | VoidReason::NotMember | VoidReason::NotGranted => {
                let puddle = self.graph.statement(place).puddle;
                let mut instances = self.authority.instances_of(&puddle);
                instances.any(|instance| !instance.leaves.is_empty())
            }
            // These rest on what members have said.
            _ => true,
        }
    }
}

fn changes(graph: &Graph, place: Place) -> impl Iterator<Item = &Change> {
    let update = graph.statement(place).update();
    update.into_iter().flat_map(|update| &update.changes)
}

fn change_of<'a>(graph: &'a Graph, place: Place, name: &RefName) -> Option<&'a Change> {
    graph.statement(place).update()?.change(name)
}

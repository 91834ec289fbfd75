//! How many envelopes without effect are kept.

use alloc::collections::BTreeMap;

use gitback_identity::PuddleKey;

use super::authority::Authority;
use super::graph::{Graph, Place};
use super::standing::Standing;
use crate::envelope::Verified;
use crate::reject::Reject;

/// The most envelopes without effect that are kept of one puddle that may do nothing in the project now.
pub const VOID_MAX: usize = 4_096;
/// The most envelopes without effect that are kept of all puddles together that never were part of the project.
pub const STRANGERS_VOID_MAX: usize = 4_096;

/// Counts envelopes without effect. What another envelope or a cut names is taken in whatever the count.
#[derive(Debug, Default)]
pub(super) struct Quota {
    by_puddle: BTreeMap<PuddleKey, usize>,
    total: usize,
}

impl Quota {
    /// How many there are.
    pub(super) const fn total(&self) -> usize {
        self.total
    }

    /// Whether one more of `puddle` is taken.
    pub(super) fn check(&self, authority: &Authority, puddle: &PuddleKey) -> Result<(), Reject> {
        if authority.founder().is_none() || authority.access(puddle).is_some() {
            return Ok(());
        }
        let full = if authority.is_party(puddle) {
            self.by_puddle
                .get(puddle)
                .is_some_and(|count| *count >= VOID_MAX)
        } else {
            let party = |(puddle, _): &(&PuddleKey, &usize)| authority.is_party(puddle);
            let parties: usize = self
                .by_puddle
                .iter()
                .filter(party)
                .map(|(_, count)| count)
                .sum();
            self.total.saturating_sub(parties) >= STRANGERS_VOID_MAX
        };
        if full { Err(Reject::VoidFull) } else { Ok(()) }
    }

    pub(super) fn count(&mut self, verified: &Verified, standing: Standing) {
        if let Standing::Void(_) = standing {
            *self
                .by_puddle
                .entry(verified.statement().puddle)
                .or_default() += 1;
            self.total += 1;
        }
    }

    /// Takes note of envelopes whose standing has changed.
    pub(super) fn recount(&mut self, graph: &Graph, changed: &[(Place, Standing)]) {
        for (place, before) in changed {
            let was_void = matches!(before, Standing::Void(_));
            let is_void = matches!(graph.node(*place).standing, Standing::Void(_));
            let count = self
                .by_puddle
                .entry(graph.statement(*place).puddle)
                .or_default();
            if was_void && !is_void {
                *count = count.saturating_sub(1);
                self.total = self.total.saturating_sub(1);
            } else if is_void && !was_void {
                *count += 1;
                self.total += 1;
            }
        }
    }
}

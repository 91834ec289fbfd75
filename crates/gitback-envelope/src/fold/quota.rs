//! How many envelopes without effect are kept.

use alloc::collections::BTreeMap;

use gitback_identity::PuddleKey;

use super::authority::Authority;
use super::graph::{Graph, Place};
use super::standing::Standing;
use crate::act::Act;
use crate::envelope::Verified;
use crate::reject::Reject;

/// The most envelopes without effect, joins, leaves and rejoins that are kept of one puddle that may do nothing in the
/// project now.
pub const VOID_MAX: usize = 4_096;
/// The most envelopes without effect that are kept of all puddles together that never were part of the project.
pub const STRANGERS_VOID_MAX: usize = 4_096;

/// Counts envelopes without effect, now or before an upgrade, and those that a puddle may write about its own
/// membership. What another envelope or a cut names is taken in whatever the count.
#[derive(Debug, Default)]
pub(super) struct Quota {
    by_puddle: BTreeMap<PuddleKey, usize>,
    total: usize,
    void: usize,
}

impl Quota {
    /// How many envelopes have no effect.
    pub(super) const fn void(&self) -> usize {
        self.void
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
        let statement = verified.statement();
        self.void += usize::from(matches!(standing, Standing::Void(_)));
        if standing != Standing::Valid || is_about_itself(&statement.act) {
            *self.by_puddle.entry(statement.puddle).or_default() += 1;
            self.total += 1;
        }
    }

    /// Takes note of envelopes whose standing has changed.
    pub(super) fn recount(&mut self, graph: &Graph, changed: &[(Place, Standing)]) {
        for (place, before) in changed {
            let statement = graph.statement(*place);
            let was_void = matches!(before, Standing::Void(_));
            let is_void = matches!(graph.node(*place).standing, Standing::Void(_));
            if was_void == is_void {
                continue;
            }
            let counted = usize::from(!is_about_itself(&statement.act));
            let count = self.by_puddle.entry(statement.puddle).or_default();
            if is_void {
                *count += counted;
                self.total += counted;
                self.void += 1;
            } else {
                *count = count.saturating_sub(counted);
                self.total = self.total.saturating_sub(counted);
                self.void = self.void.saturating_sub(1);
            }
        }
    }
}

const fn is_about_itself(act: &Act) -> bool {
    matches!(
        act,
        Act::Join { .. } | Act::Leave { .. } | Act::Rejoin { .. }
    )
}

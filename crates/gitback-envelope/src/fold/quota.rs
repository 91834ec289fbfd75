//! How many envelopes without effect are kept.

use alloc::collections::BTreeMap;

use gitback_identity::PuddleKey;

use super::authority::{Access, Authority};
use super::graph::{Graph, Place};
use super::standing::Standing;
use crate::act::Act;
use crate::envelope::Verified;
use crate::reject::Reject;

/// The most envelopes that are kept of one puddle that may not write to the project now: those without effect, and those
/// that it may write about itself, which are joins, leaves, rejoins, grants and ungrants.
pub const VOID_MAX: usize = 4_096;
/// The most envelopes without effect that are kept of all puddles together that never were part of the project.
pub const STRANGERS_VOID_MAX: usize = 4_096;
/// From how many bytes on no more of them are taken, of one puddle or of all that never were part.
const VOID_BYTES_MAX: usize = 16 << 20;

/// Counts envelopes without effect, now or before an upgrade, and those that a puddle may write about itself. What another
/// envelope or a cut names is taken in whatever the count.
#[derive(Clone, Debug, Default)]
pub(super) struct Quota {
    by_puddle: BTreeMap<PuddleKey, Used>,
    total: Used,
    void: usize,
}

/// How many, and how large they are together.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    count: usize,
    bytes: usize,
}

impl Used {
    fn of(verified: &Verified) -> Self {
        Self {
            count: 1,
            bytes: verified.bytes().len(),
        }
    }

    const fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    const fn take(&mut self, other: Self) {
        self.count = self.count.saturating_sub(other.count);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    const fn is_full(self, most: usize) -> bool {
        self.count >= most || self.bytes >= VOID_BYTES_MAX
    }
}

impl Quota {
    /// How many envelopes have no effect.
    pub(super) const fn void(&self) -> usize {
        self.void
    }

    /// Whether one more of `puddle` is taken.
    pub(super) fn check(&self, authority: &Authority, puddle: &PuddleKey) -> Result<(), Reject> {
        if authority.founder().is_none() || authority.access(puddle) >= Some(Access::Member) {
            return Ok(());
        }
        let full = if authority.is_party(puddle) {
            let used = self.by_puddle.get(puddle).copied();
            used.is_some_and(|used| used.is_full(VOID_MAX))
        } else {
            let mut strangers = self.total;
            for (puddle, used) in &self.by_puddle {
                if authority.is_party(puddle) {
                    strangers.take(*used);
                }
            }
            strangers.is_full(STRANGERS_VOID_MAX)
        };
        if full { Err(Reject::VoidFull) } else { Ok(()) }
    }

    pub(super) fn count(&mut self, verified: &Verified, standing: Standing) {
        let statement = verified.statement();
        self.void += usize::from(matches!(standing, Standing::Void(_)));
        if standing != Standing::Valid || is_about_itself(&statement.act) {
            let used = Used::of(verified);
            self.by_puddle
                .entry(statement.puddle)
                .or_default()
                .add(used);
            self.total.add(used);
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
            let used = if is_about_itself(&statement.act) {
                Used::default()
            } else {
                Used::of(&graph.node(*place).verified)
            };
            let by_puddle = self.by_puddle.entry(statement.puddle).or_default();
            if is_void {
                by_puddle.add(used);
                self.total.add(used);
                self.void += 1;
            } else {
                by_puddle.take(used);
                self.total.take(used);
                self.void = self.void.saturating_sub(1);
            }
        }
    }
}

const fn is_about_itself(act: &Act) -> bool {
    matches!(
        act,
        Act::Join { .. } | Act::Leave { .. } | Act::Rejoin { .. } | Act::Grant(_) | Act::Ungrant(_)
    )
}

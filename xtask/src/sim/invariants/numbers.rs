//! An honest envoy signs no number of a chain twice, through crashes and logs put back from backups.
//!
//! Enforces: docs/spec/log.md, "Beside the log"; docs/spec/fold.md §1 on two envelopes at one number.

use super::super::world::World;

pub(super) const NAME: &str = "numbers";

pub(super) fn check(world: &mut World) {
    if let Some(what) = world.book.twice.take() {
        world.fail(NAME, what);
    }
}

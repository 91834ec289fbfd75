//! The verbs about copies: bring them together, give them up, bring a value back, read all of them.

mod changes;
mod removal;
mod restore;
mod scrub;
mod sync;

pub(crate) use removal::{gc_orphans, purge};
pub(crate) use restore::{brief, restore};
pub(crate) use scrub::scrub;
pub(crate) use sync::sync;

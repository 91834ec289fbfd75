//! What a push, a clone and a daemon cost, against plain git on the same disk.
//!
//! Every time is one of a pair: the same work with plain git and with gitback, one right after the other, again and
//! again, so that a busy moment of the machine hits both. A figure is the median of each side and their ratio. The
//! output of every measured command is checked; a push that failed fast is no fast push.
//!
//! Read [`Bench`] first, then [`Report`]. `cargo xtask bench` runs it and prints the table.

mod bench;
mod fleet;
mod memory;
mod pairs;
mod start;

pub use bench::{Bench, Plan, Report, Room, Row, idle};
pub use fleet::{FleetPlan, FleetReport, MISSED, catch_up_pairs, fleet_report};
pub use memory::Memory;
pub use pairs::{Pairs, median};

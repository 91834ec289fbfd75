//! Which peers to compare with at a tick.

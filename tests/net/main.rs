//! Real daemons on a real network that fails: each envoy in a namespace of its own, links that are cut, narrowed and
//! mended, machines that stop and return. What people were told is compared with what the envoys hold at the end.
//!
//! It takes root and `ip` and `tc`; without, every test here says why it was skipped.

#![expect(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a wrong index fails the test, and a command is built where it is handed over"
)]

mod chance;
mod crash;
mod frozen;
mod halves;
mod moved;
mod partition;
mod rewrite;
mod silence;
mod slow;
mod world;

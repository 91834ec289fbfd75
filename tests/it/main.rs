//! End to end: plain git and real daemons on loopback. Few tests; what a crate can test alone, it does.

#![expect(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a wrong index fails the test, and a command is built where it is handed over"
)]

mod away;
mod copies;
mod crash;
mod crowd;
mod expiry;
mod fleet;
mod foothold;
mod forged;
mod forgets;
mod fresh;
mod full;
mod leave;
mod limits;
mod members;
mod names;
mod newcomer;
mod options;
mod pair;
mod refs;
mod refused;
mod removed;
mod restore;
mod rootless;
mod scrub;
mod secrets;
mod slips;
mod survive;
mod takeover;
mod together;
mod tree;
mod unsynced;
mod up;
mod world;

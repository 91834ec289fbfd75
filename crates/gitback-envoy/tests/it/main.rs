//! The daemon as other envoys and local programs see it: real sockets, real git, one process.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

mod contact;
mod forgets;
mod holder;
mod liars;
mod maintenance;
mod members;
mod parts;
mod peers;
mod reconcile;
mod world;

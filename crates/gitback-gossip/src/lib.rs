//! Who tells whom what is new, and who catches up from whom.
//!
//! This crate decides which peers hear of a change, which are asked what they hold, from whom a project is caught up
//! and what is still owed to whom. It never reads a file, a clock, a socket or the environment and starts no thread:
//! a driver hands in what happened and when, takes commands back, and says how each ended. Randomness comes from a
//! seed: the same inputs give the same outputs.
//!
//! Nothing here is trusted. A notice says only that somebody may hold something; what it is proves itself.
//!
//! Source: docs/spec/gossip.md.

mod address;
mod agenda;
mod backoff;
mod dice;
pub mod handoff;
mod mesh;
mod millis;
mod node;
mod notice;
mod owed;
mod places;
pub mod reconcile;
mod rounds;
mod turn;

pub use address::{
    ADDRESS_TYPE, ADDRESSES_MAX, AHEAD_MAX_MS, AddressRecord, AddressReject, HOST_PORT_MAX,
    NAME_MAX, RECORD_MAX, VALID_MS, is_host_port,
};
pub use backoff::Backoff;
pub use mesh::{
    CONTENT_MAX, MESSAGE_MAX, Mesh, MeshOutput, MessageReject, NEIGHBOURS_MAX, TABLE_MAX,
};
pub use millis::Millis;
pub use node::{
    Difference, EARLIER_MAX, Failure, Input, News, Node, Output, Presence, Settings, Standing,
};
pub use notice::{NOTICE_MAX, Notice, NoticeReject};
pub use owed::{Debt, OWED_MAX, OWED_PER_PEER_MAX, Owed};
pub use places::{PLACES_MAX, Places, PlacesReject};
pub use rounds::Rounds;
pub use turn::{HELD_MAX, PARTNERS_MAX, Pass, Question, Reply, TICKETS_MAX, Ticket, Turn};

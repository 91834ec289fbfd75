//! The session helper: a process of the user that holds the unwrapped key and
//! signs for the user's other processes.
//!
//! [`Server`] runs it, on one thread; [`Client`] talks to it. Only processes of
//! the same user are answered. The session is no oracle: it signs statements
//! that decode, that are of a kind it knows, and that name its own key as
//! signer, its acceptance of a delegation to its own key, its own key's claim
//! to a name, and nothing else.
//!
//! Source: docs/spec/puddle.md.

mod client;
mod deadline;
mod judge;
mod message;
mod server;
mod vault;

pub use client::{CallError, Client, ConnectError};
pub use server::{Ended, ServeError, Server, serve};
pub use vault::{Closed, Hardened, Vault, close, harden};

use gitback_identity::{PuddleKey, PuddleName};

/// The longest message on the socket, in bytes: an update's body in hex, and
/// room for what surrounds it.
pub const FRAME_MAX: usize = (2 << 20) + 4096;

/// Who is unlocked, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The name people type.
    pub name: PuddleName,
    /// The key that signs.
    pub key: PuddleKey,
    /// The end of the session by the wall clock at its start, in milliseconds
    /// since 1970; for display.
    pub until_ms: u64,
    /// How long it lasts after the last signature, in milliseconds, if that is limited.
    pub idle_ms: Option<u64>,
    /// Whether the key is kept out of the swap.
    pub memory_locked: bool,
}

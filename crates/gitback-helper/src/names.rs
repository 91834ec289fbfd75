//! Claims to names, as replies carry them.
//!
//! Source: docs/spec/helper-socket.md, "Names".

use serde::{Deserialize, Serialize};

/// What the daemon knows of one puddle's claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimStatus {
    /// The name; none where the puddle has given its name back.
    pub name: Option<String>,
    /// The puddle's key, 64 hex digits.
    pub puddle: String,
    /// Of the puddle's claims the one with the highest counter holds.
    pub counter: u64,
    /// Since when this envoy knows that the puddle claims the name, Unix milliseconds by its clock; for display.
    pub since_ms: u64,
}

/// What the daemon knows of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesStatus {
    /// The claims that were asked for: those that this envoy has known longest first, within each name.
    pub claims: Vec<ClaimStatus>,
    /// How many there are, where not all of them are in `claims`.
    pub all: u64,
    /// A claimed name that is like the one that was asked for, where nobody claims that.
    pub near: Option<String>,
    /// Projects with the handle that was asked for whose founder the puddle has become by a delegation: their ids, 64
    /// hex digits each.
    pub projects: Vec<String>,
}

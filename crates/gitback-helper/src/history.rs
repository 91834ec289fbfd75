//! What has happened to refs, as replies carry it.
//!
//! Source: docs/spec/json.md.

use serde::{Deserialize, Serialize};

/// What one update did to one ref, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefEvent {
    /// The ref's full name.
    pub name: String,
    /// The id of the update, 64 hex digits.
    pub update: String,
    /// When its author's clock says that it was made, Unix milliseconds.
    pub time_ms: Option<u64>,
    /// The puddle for which it was signed, 64 hex digits.
    pub puddle: String,
    /// The envoy on which it was made, 64 hex digits.
    pub envoy: Option<String>,
    /// What that envoy is called here.
    pub envoy_name: Option<String>,
    /// The values that it replaced, 40 hex digits each.
    pub old: Vec<String>,
    /// Where it put the ref; nothing where it deleted it.
    pub new: Option<String>,
    /// `created`, `moved`, `forced` or `deleted`.
    pub what: String,
    /// `current`, `diverged` (it stands beside the visible one), `replaced`, `void` or `waiting`.
    pub state: String,
    /// Why it is void, as a word.
    pub code: Option<String>,
    /// The rule of the fold by which it is void.
    pub rule: Option<u8>,
    /// Why it is void, for people.
    pub why: Option<String>,
    /// The update that replaced it.
    pub replaced_by: Option<String>,
    /// The ref under which a diverged value is served.
    pub served_as: Option<String>,
    /// Whether the object is in this envoy's repository.
    pub here: bool,
    /// When this envoy let the object go, Unix milliseconds, if it did and it has not come again.
    #[serde(default)]
    pub let_go_ms: Option<u64>,
    /// What `keep_replaced` in its configuration said then.
    #[serde(default)]
    pub let_go_by: Option<String>,
}

/// A ref that was, or would be, moved back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The ref's full name.
    pub name: String,
    /// Where it was; nothing where it did not exist.
    pub old: Option<String>,
    /// Where it is, or would be.
    pub new: String,
    /// The update whose value it gets, where one is meant.
    pub from: Option<String>,
    /// The new update; nothing in a dry run, and where the ref was there already.
    pub update: Option<String>,
    /// Whether it takes away what the ref has now.
    pub forced: bool,
    /// Who holds the new update, one line each, as after a push.
    pub notes: Vec<String>,
}

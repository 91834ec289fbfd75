//! Where copies are and which of them may go, as replies carry it.
//!
//! Source: docs/spec/json.md.

use serde::{Deserialize, Serialize};

use crate::ProjectStatus;

/// How copies are now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// How much has changed so far: for the next question.
    pub change: u64,
    /// The daemon's clock, Unix milliseconds.
    pub now_ms: u64,
    /// The other envoys, and how far contact with them is.
    pub contacts: Vec<ContactStatus>,
    /// The projects that were asked about, without their size.
    pub projects: Vec<ProjectStatus>,
}

/// How far contact with another envoy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactStatus {
    /// Its display name.
    pub name: String,
    /// Its key, 64 hex digits.
    pub key: String,
    /// One word of the vocabulary of states: `current` means that it answers.
    pub state: String,
    /// Why it does not.
    pub reason: Option<String>,
    /// How many comparisons with it have begun.
    pub begun: u64,
    /// Which of them has ended last. All that began after a question are over when this is more than `begun` was then.
    pub done: u64,
}

/// What is to become of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removing {
    /// Nothing: list them.
    Look,
    /// Delete those of which another live and current copy is known.
    Delete,
    /// Delete them, also the last ones.
    DeleteEvenLast,
}

/// A copy on this envoy that may go, or has gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The project id, 64 hex digits; nothing for a directory that is no project's.
    pub project_id: Option<String>,
    /// The project's handle, where it is known.
    pub handle: Option<String>,
    /// The founder's key, 64 hex digits.
    pub founder: Option<String>,
    /// The directory.
    pub path: String,
    /// What it takes on disk, in bytes.
    pub bytes: u64,
    /// Why it is listed: `asked`, `no-user`, `ended`, `not-a-partner` or `stray`.
    pub why: String,
    /// How many other envoys have just said that they hold all of it.
    pub copies: u32,
    /// These envoys.
    pub holders: Vec<String>,
    /// The other envoys, each with what is known: one line for people.
    pub others: Vec<String>,
    /// How many copies the project's policy wants.
    pub replicas: Option<u32>,
    /// `listed`, `deleted` or `kept`.
    pub outcome: String,
    /// Why it was kept, or why the files of a deleted one are still there.
    pub reason: Option<String>,
}

/// Most objects that one [`Scrub`] names of those that are lacking.
pub const LACKING_NAMED_MAX: usize = 20;

/// What reading everything that this envoy keeps of a project has shown, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// The project id, 64 hex digits.
    pub project_id: String,
    /// The project's handle, where it is known.
    pub handle: Option<String>,
    /// The founder's key, 64 hex digits.
    pub founder: Option<String>,
    /// The repository.
    pub path: String,
    /// `sound`, `repaired`, `damaged` or `failed`.
    pub outcome: String,
    /// How many packs were read.
    pub packs: u64,
    /// How many objects are what their names say.
    pub objects: u64,
    /// Damaged files, at their new place: they are kept until a person deletes them.
    pub set_aside: Vec<String>,
    /// Damaged files that follow from others: they were made anew or removed.
    pub renewed: Vec<String>,
    /// How many objects of damaged packs could be read, and were copied.
    pub saved: u64,
    /// Which envoys gave what could not be read.
    pub sources: Vec<ScrubSource>,
    /// How many objects are lacking still.
    pub lacking: u64,
    /// How many objects were given up: nothing leads to them, and no envoy has them.
    #[serde(default)]
    pub lost: u64,
    /// These objects, 40 hex digits each; at most [`LACKING_NAMED_MAX`].
    pub lacking_objects: Vec<String>,
    /// The envoys that could not give all of it, each with why: one line for people.
    pub asked: Vec<String>,
    /// Why it could not be read or repaired, if it is not for want of objects.
    pub reason: Option<String>,
}

/// An envoy that gave what was lost on another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubSource {
    /// Its display name.
    pub name: String,
    /// How many lost objects are here again because of it.
    pub objects: u64,
}

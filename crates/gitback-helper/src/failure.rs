//! A refusal in the form in which people read it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The exit codes of the command line, which are also the codes of a [`Failure`].
pub mod exit_code {
    /// It went wrong.
    pub const FAILED: u8 = 1;
    /// The command line itself is wrong.
    pub const USAGE: u8 = 2;
    /// Done, with fewer copies than asked.
    pub const FEWER_COPIES: u8 = 3;
    /// Unknown name or project.
    pub const UNKNOWN: u8 = 10;
    /// The puddle is locked.
    pub const LOCKED: u8 = 11;
    /// Not permitted.
    pub const NOT_PERMITTED: u8 = 12;
    /// Two puddles claim the name.
    pub const CONTESTED: u8 = 13;
    /// The disk is full, here or there.
    pub const DISK: u8 = 14;
    /// The daemon does not answer.
    pub const UNREACHABLE: u8 = 15;
}

/// Why a request was not done: what, why, and what to do next.
///
/// Its `Display` is the text for the terminal, one line for each part and no newline at the end:
///
/// ```
/// let failure = gitback_helper::Failure {
///     code: gitback_helper::exit_code::DISK,
///     what: "mars cannot take this push".to_owned(),
///     why: Some("7% of its disk is free, 10% is needed".to_owned()),
///     hints: vec!["free some space on mars".to_owned()],
/// };
/// assert_eq!(
///     failure.to_string(),
///     "error: mars cannot take this push\n\
///      why:   7% of its disk is free, 10% is needed\n\
///      hint:  free some space on mars"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// An exit code, see [`exit_code`].
    pub code: u8,
    /// What went wrong, lower case and without a full stop.
    pub what: String,
    /// The reason, where `what` does not already say it.
    pub why: Option<String>,
    /// What to do about it, most useful first.
    #[serde(default)]
    pub hints: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\nwhy:   {why}")?;
        }
        for hint in &self.hints {
            write!(f, "\nhint:  {hint}")?;
        }
        Ok(())
    }
}

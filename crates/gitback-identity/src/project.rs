//! A project's id.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::key::PuddleKey;
use crate::name::Handle;

/// Names one project everywhere.
///
/// Shape: `SHA-256(founder key [u8; 32] | handle bytes)`, written as 64 lowercase hex digits and read from that form
/// only. Build file paths from this value, never from the text a person typed.
///
/// Source: docs/spec/identity.md §4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectId([u8; 32]);

impl ProjectId {
    /// The id of the project that `founder` calls `handle`.
    #[must_use]
    pub fn derive(founder: &PuddleKey, handle: &Handle) -> Self {
        let digest = Sha256::new()
            .chain_update(founder.as_bytes())
            .chain_update(handle.as_str().as_bytes())
            .finalize();
        Self(digest.into())
    }

    /// Takes 32 bytes that are said to be an id.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The 32 bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 8 hex digits, for messages.
    #[must_use]
    pub fn short(&self) -> String {
        self.0
            .first_chunk::<4>()
            .map(|bytes| hex::encode(bytes))
            .unwrap_or_default()
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProjectId({self})")
    }
}

impl FromStr for ProjectId {
    type Err = ProjectIdReject;

    fn from_str(text: &str) -> Result<Self, ProjectIdReject> {
        hex::decode_exact(text).map(Self).ok_or(ProjectIdReject)
    }
}

/// The text is not 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a project id is 64 lowercase hex digits")]
pub struct ProjectIdReject;

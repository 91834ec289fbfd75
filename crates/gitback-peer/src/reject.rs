//! What is wrong with bytes a peer sent.

use std::io;

use crate::refusal::{Refusal, RefusalKind};

/// Why a message of another envoy was not taken. Always the sender's or the network's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// Something is larger than its limit.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// What was too long.
        what: &'static str,
        /// The most bytes it may have.
        limit: u64,
    },
    /// There are more things than allowed.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there was too much of.
        what: &'static str,
        /// The most there may be.
        limit: u64,
    },
    /// The bytes end before they should.
    #[error("{what} ends early")]
    Truncated {
        /// What is incomplete.
        what: &'static str,
    },
    /// There is more than the sender declared.
    #[error("{what} holds more than the {declared} declared")]
    Excess {
        /// What there is too much of.
        what: &'static str,
        /// How much the sender declared.
        declared: u64,
    },
    /// Not JSON, or not the JSON the specification describes.
    #[error("{what} is not the JSON expected")]
    Json {
        /// Which message.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A value is out of its range or form.
    #[error("{what} is malformed")]
    Malformed {
        /// Which value.
        what: &'static str,
    },
    /// A frame of another kind was due.
    #[error("frame of kind {kind} where {expected} was due")]
    Frame {
        /// The kind byte that came.
        kind: u8,
        /// What was due.
        expected: &'static str,
    },
    /// An answer has a status that this protocol does not use.
    #[error("answer with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The peer or the network went away, or nothing came for too long.
    #[error("cannot read {what}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// The cause; of kind `TimedOut` when nothing came for too long.
        #[source]
        source: io::Error,
    },
}

impl Reject {
    /// Returns the stable code of this fault, as it appears in refusals.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too-long",
            Self::TooMany { .. } => "too-many",
            Self::Truncated { .. } => "truncated",
            Self::Excess { .. } => "excess",
            Self::Json { .. } | Self::Malformed { .. } => "malformed",
            Self::Frame { .. } => "unexpected-frame",
            Self::Status { .. } => "unexpected-status",
            Self::Read { source, .. } if source.kind() == io::ErrorKind::TimedOut => "stalled",
            Self::Read { .. } => "interrupted",
        }
    }

    /// What the sender is told.
    pub(crate) fn refusal(&self) -> Refusal {
        let reason = match self {
            Self::Json { source, .. } => format!("{self}: {source}"),
            Self::Read { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        };
        Refusal::new(RefusalKind::Bad, self.code(), reason)
    }
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        reject.refusal()
    }
}

//! What can go wrong on our side.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// The log could not be opened, read or extended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// Another process, or another `Log` in this one, has the log open.
    #[error("the log in {dir} is in use by another process")]
    InUse {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The file was written by a version of gitback that this one does not know.
    #[error("{path} has format version {version}, which this version cannot read")]
    UnknownVersion {
        /// The log file.
        path: PathBuf,
        /// The version byte found.
        version: u8,
    },
    /// Opening or repairing the log failed; `action` says at which step.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, as a verb: "create", "sync", …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The records could not be written. The log is as it was before.
    #[error("cannot append to {path}")]
    Append {
        /// The log file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The disk did not confirm the records. Whether they are stored is
    /// unknown; the log takes no more until it is opened again.
    #[error("cannot sync {path}")]
    Sync {
        /// The log file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An earlier write or sync failed in a way that left the file's state
    /// unknown. Open the log again to go on.
    #[error("{path} takes no more records after an earlier failure; open it again")]
    Poisoned {
        /// The log file.
        path: PathBuf,
    },
    /// A record is longer than [`RECORD_MAX`](crate::RECORD_MAX).
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    RecordTooLong {
        /// The payload's length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The log would grow, or has grown, past [`LOG_MAX`](crate::LOG_MAX).
    #[error("{path} would reach {bytes} bytes, over the limit of {limit}")]
    LogTooLong {
        /// The log file.
        path: PathBuf,
        /// The length it would have.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A record that was valid when the log was opened no longer is.
    #[error("the record at byte {offset} of {path} is damaged")]
    Damaged {
        /// The log file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
    },
}

//! The envelope log of one project on disk: append, sync, recover.
//!
//! Decides when bytes count as stored: [`Log::append`] returns only after the
//! disk has them, and [`Log::open`] gives back every record that was stored,
//! whatever a crash or a bad sector left behind. Bytes that are no record are
//! moved to a file beside the log and reported, never thrown away in silence.
//!
//! Never looks into a payload: a record is a 32-byte id and opaque bytes. The
//! checksum finds accidents, not forgery, so the caller verifies what it reads
//! (see [`Opened::records`]).
//!
//! Read [`Log`] first, then [`Opened`]. The format is written down in
//! `docs/spec/log.md`.
//!
//! ```
//! use gitback_log::Log;
//!
//! let parent = tempfile::tempdir()?;
//! let dir = parent.path().join("envelopes");
//! let (mut log, _) = Log::open(&dir)?;
//! log.append(&[([7; 32], b"payload".as_slice())])?;
//! drop(log);
//!
//! let (log, opened) = Log::open(&dir)?;
//! assert_eq!(opened.records, [([7; 32], b"payload".to_vec())]);
//! assert_eq!(log.get(&[7; 32])?, Some(b"payload".to_vec()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fault;
mod files;
mod log;
mod record;
mod scan;

pub use fault::Fault;
pub use log::{Dropped, Log, Opened};
pub use record::RECORD_MAX;

/// The longest log in bytes. A log is read as a whole when it is opened, so
/// this also bounds the memory that opening takes.
pub const LOG_MAX: u64 = 1 << 30;

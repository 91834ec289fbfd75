//! Under which numbers this envoy signs: the incarnation of its chains.
//!
//! The note beside the log says which file the log was when the incarnation began. A log that was restored from a
//! backup is another file, so its numbers are not used again, whether a peer is there to tell or not.
//!
//! Source: docs/spec/log.md, "Beside the log".

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use gitback_envelope::Incarnation;
use gitback_identity::hex;

use super::{Cell, State};
use crate::disk;
use crate::fault::Fault;

/// The note's file name beside the log.
const FILE: &str = "incarnation";

impl Cell {
    /// Starts a new incarnation: the numbers of the old one are never used again.
    pub(crate) fn reincarnate(&self, state: &mut State) -> Result<(), Fault> {
        state.incarnation = fresh(&self.log_dir)?;
        tracing::warn!(project = %self.id, "a peer showed envelopes of ours that this log lacks; new incarnation");
        Ok(())
    }
}

/// The incarnation of the log in `log_dir`, which is open: a new one when the log is new, when the note is missing or
/// unreadable, and when it speaks of another file.
pub(super) fn incarnation(log_dir: &Path, log_is_new: bool) -> Result<Incarnation, Fault> {
    if log_is_new {
        return fresh(log_dir);
    }
    let path = log_dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return fresh(log_dir),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return fresh(log_dir),
        Err(source) => return Err(fault("read", path, source)),
    };
    let mut lines = text.lines();
    let noted = lines.next().and_then(hex::decode_exact::<16>);
    match noted {
        Some(bytes) if lines.next() == Some(identity(log_dir)?.as_str()) => {
            Ok(Incarnation::from_bytes(&bytes))
        }
        Some(_) => {
            tracing::warn!(log = %log_dir.display(), "the log is not the file that it was; new incarnation");
            fresh(log_dir)
        }
        None => fresh(log_dir),
    }
}

/// Makes an incarnation and notes it durably.
fn fresh(log_dir: &Path) -> Result<Incarnation, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Fault::Randomness)?;
    let path = log_dir.join(FILE);
    let text = format!("{}\n{}\n", hex::encode(&bytes), identity(log_dir)?);
    disk::replace(&path, text.as_bytes()).map_err(|source| fault("write", path, source))?;
    Ok(Incarnation::from_bytes(&bytes))
}

/// Which file the log is: its inode and, where the file system keeps it, the time when it was made.
pub(super) fn identity(log_dir: &Path) -> Result<String, Fault> {
    let path = log_dir.join("log");
    let metadata = std::fs::metadata(&path).map_err(|source| fault("look at", path, source))?;
    let made = metadata.created().ok();
    let made = made.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let made = made.map_or_else(|| "-".to_owned(), |since| since.as_nanos().to_string());
    Ok(format!("log {} {made}", metadata.ino()))
}

fn fault(doing: &'static str, path: std::path::PathBuf, source: std::io::Error) -> Fault {
    Fault::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_log() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::fs::write(dir.path().join("log"), b"records").expect("written");
        dir
    }

    #[test]
    fn a_log_restored_from_a_backup_begins_a_new_incarnation() {
        let dir = with_log();
        let (log, backup) = (dir.path().join("log"), dir.path().join("backup"));
        let first = incarnation(dir.path(), true).expect("made");
        std::fs::copy(&log, &backup).expect("copied");
        assert_eq!(incarnation(dir.path(), false).expect("read"), first);
        std::fs::rename(&backup, &log).expect("restored");
        let second = incarnation(dir.path(), false).expect("made");
        assert_ne!(second, first);
        assert_eq!(incarnation(dir.path(), false).expect("read"), second);
    }

    #[test]
    fn a_note_that_does_not_say_which_file_it_means_is_not_trusted() {
        let dir = with_log();
        let first = incarnation(dir.path(), true).expect("made");
        let note = dir.path().join(FILE);
        std::fs::write(&note, format!("{}\n", "ab".repeat(16))).expect("written");
        assert_ne!(incarnation(dir.path(), false).expect("made"), first);
        std::fs::write(&note, [0xff, 0xfe]).expect("written");
        incarnation(dir.path(), false).expect("made again");
    }
}

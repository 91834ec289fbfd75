//! Whether what is here of a project was ever compared with what others hold.
//!
//! An envoy that lost its log, or that is just bringing a project in, knows less than it can see. Until a holder has
//! told it the rest, nothing is served as if it were current.
//!
//! Source: docs/spec/log.md, "Beside the log".

use std::path::Path;

use super::{Cell, State};
use crate::disk;
use crate::fault::Fault;

/// The file's name beside the log.
const FILE: &str = "reconcile";

/// What this envoy knows of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foothold {
    /// As much as any envoy that has been away for a while.
    Known,
    /// It is being brought in for the first time.
    New,
    /// The log was lost, and refs are still here: they stay as they are until a holder has answered.
    Lost,
}

impl Foothold {
    fn word(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::New => "new",
            Self::Lost => "lost",
        }
    }
}

/// Reads what was noted; whatever is there and cannot be read means that a holder has to be asked.
pub(super) fn read(log_dir: &Path) -> Foothold {
    match std::fs::read(log_dir.join(FILE)) {
        Ok(bytes) if bytes == b"new\n" => Foothold::New,
        Ok(_) => Foothold::Lost,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Foothold::Known,
        Err(_) => Foothold::Lost,
    }
}

impl Cell {
    /// Notes, durably, what is known here.
    pub(crate) fn note_foothold(&self, state: &mut State, now: Foothold) -> Result<(), Fault> {
        if state.foothold == now {
            return Ok(());
        }
        let path = self.log_dir.join(FILE);
        let noted = match now {
            Foothold::Known => std::fs::remove_file(&path)
                .and_then(|()| path.parent().map_or(Ok(()), disk::sync_dir)),
            Foothold::New | Foothold::Lost => {
                disk::replace(&path, format!("{}\n", now.word()).as_bytes())
            }
        };
        noted.map_err(|source| Fault::File {
            doing: "write",
            path,
            source,
        })?;
        state.foothold = now;
        Ok(())
    }
}

impl State {
    pub(crate) fn foothold(&self) -> Foothold {
        self.foothold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_cannot_be_read_means_that_a_holder_has_to_be_asked() {
        let dir = tempfile::tempdir().expect("temporary folder");
        assert_eq!(read(dir.path()), Foothold::Known);
        for (text, expected) in [
            ("new\n", Foothold::New),
            ("lost\n", Foothold::Lost),
            ("", Foothold::Lost),
        ] {
            std::fs::write(dir.path().join(FILE), text).expect("written");
            assert_eq!(read(dir.path()), expected, "{text:?}");
        }
    }
}

//! The note that this envoy gave its copy of a project up on a person's word, and stays away from it.
//!
//! It lies beside the envelope log, which stays where it is: no number is signed twice when the project comes back.
//!
//! Source: docs/spec/log.md, "Beside the log".

use std::path::{Path, PathBuf};

use gitback_identity::{Handle, PuddleKey};

use crate::fault::Fault;
use crate::{clock, disk};

/// The file's name beside the log.
const FILE: &str = "given-up";

/// Its first line.
const HEADER: &str = "given up 1";

/// Longest note that is read, in bytes.
const BYTES_MAX: usize = 64 * 1024;

/// Most users of this machine that are noted.
const USERS_MAX: usize = 1024;

/// What is known of a project whose copy was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// When.
    pub(crate) at_ms: u64,
    /// What it is called.
    pub(crate) handle: Option<Handle>,
    /// Who founded it.
    pub(crate) founder: Option<PuddleKey>,
    /// The local users who were granted it then, even if that had expired: they see it, and bring it back by using it.
    pub(crate) uids: Vec<u32>,
}

impl GivenUp {
    /// What peers and local users are told: "mars gave its copy up 2 h ago".
    pub(crate) fn says(&self, envoy: &str) -> String {
        let age = clock::age(self.at_ms, clock::now_ms());
        format!("{envoy} gave its copy up {age} ago")
    }
}

/// Reads the note in `log_dir`; nothing where there is none. A damaged one still says that the project stays away.
pub(crate) fn read(log_dir: &Path) -> Result<Option<GivenUp>, Fault> {
    let path = log_dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let text = bytes.get(..bytes.len().min(BYTES_MAX)).unwrap_or_default();
            Ok(Some(parse(&String::from_utf8_lossy(text))))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(fault("read", path, source)),
    }
}

/// Writes the note, durably.
pub(crate) fn write(log_dir: &Path, note: &GivenUp) -> Result<(), Fault> {
    let mut text = format!("{HEADER}\nat {}\n", note.at_ms);
    if let Some(handle) = &note.handle {
        text.push_str(&format!("handle {handle}\n"));
    }
    if let Some(founder) = &note.founder {
        text.push_str(&format!("founder {founder}\n"));
    }
    for uid in note.uids.iter().take(USERS_MAX) {
        text.push_str(&format!("user {uid}\n"));
    }
    let path = log_dir.join(FILE);
    disk::replace(&path, text.as_bytes()).map_err(|source| fault("write", path, source))
}

/// Removes the note, durably.
pub(crate) fn remove(log_dir: &Path) -> Result<(), Fault> {
    let path = log_dir.join(FILE);
    let removed = match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| disk::sync_dir(log_dir)),
    };
    removed.map_err(|source| fault("remove", path, source))
}

fn parse(text: &str) -> GivenUp {
    let mut note = GivenUp::default();
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return note;
    }
    for (word, value) in lines.filter_map(|line| line.split_once(' ')) {
        match word {
            "at" => note.at_ms = value.parse().unwrap_or(0),
            "handle" => note.handle = value.parse().ok(),
            "founder" => note.founder = value.parse().ok(),
            "user" if note.uids.len() < USERS_MAX => note.uids.extend(value.parse::<u32>().ok()),
            _ => {}
        }
    }
    note
}

fn fault(doing: &'static str, path: PathBuf, source: std::io::Error) -> Fault {
    Fault::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    #[test]
    fn the_note_reads_back_and_a_damaged_one_still_counts() {
        let dir = tempfile::tempdir().expect("temporary folder");
        assert_eq!(read(dir.path()).expect("no file"), None);
        let note = GivenUp {
            at_ms: 5,
            handle: Some("notes".parse().expect("valid")),
            founder: Some(PuddleKey::new(SecretKey::from_seed(&[3; 32]).public())),
            uids: vec![0, 1000],
        };
        write(dir.path(), &note).expect("the disk works");
        assert_eq!(read(dir.path()).expect("whole"), Some(note));
        for text in [
            &b""[..],
            b"given up 2\nat 5\n",
            b"\xff\n\n",
            b"given up 1\nat x\n",
        ] {
            std::fs::write(dir.path().join(FILE), text).expect("written");
            assert_eq!(
                read(dir.path()).expect("readable"),
                Some(GivenUp::default())
            );
        }
        remove(dir.path()).expect("removed");
        remove(dir.path()).expect("nothing to remove");
        assert_eq!(read(dir.path()).expect("no file"), None);
    }
}

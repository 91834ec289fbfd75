//! What the user's home says about a project: `~/.vigo-gitback/<id>/project.json`.
//!
//! It is a note for `project init`, which goes on where it stopped. It proves
//! nothing to anybody.
//!
//! Source: docs/spec/json.md.

use std::io;
use std::path::Path;

use gitback_identity::ProjectId;
use gitback_signer::home::{self, WriteFault};
use serde::{Deserialize, Serialize};

pub(crate) const FILE: &str = "project.json";
const FILE_MAX: u64 = 64 * 1024;

/// One project that was started from this home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) project_id: String,
    pub(crate) handle: String,
    pub(crate) address: String,
    /// The founder's key.
    pub(crate) puddle: String,
    /// Where `project init` ran.
    pub(crate) work_tree: String,
    pub(crate) created_ms: u64,
}

/// The record of `project`, if there is one that can be read.
pub(crate) fn read(projects_dir: &Path, project: &ProjectId) -> Option<Record> {
    let bytes = home::read(projects_dir, project, FILE, FILE_MAX)?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes the record, all or nothing.
pub(crate) fn write(
    projects_dir: &Path,
    project: &ProjectId,
    record: &Record,
) -> Result<(), WriteFault> {
    let mut json = serde_json::to_vec_pretty(record).map_err(|error| WriteFault {
        path: home::place(projects_dir, project),
        source: io::Error::from(error),
    })?;
    json.push(b'\n');
    home::write(projects_dir, project, FILE, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_inverts_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let projects = dir.path().join(".vigo-gitback");
        let id = ProjectId::from_bytes(&[7; 32]);
        assert_eq!(read(&projects, &id), None);
        let record = Record {
            version: 1,
            project_id: id.to_string(),
            handle: "notes".to_owned(),
            address: "gitback://dan/notes".to_owned(),
            puddle: "00".repeat(32),
            work_tree: "/home/dan/notes".to_owned(),
            created_ms: 5,
        };
        write(&projects, &id, &record).expect("written");
        write(&projects, &id, &record).expect("written again");
        assert_eq!(read(&projects, &id), Some(record));
    }
}

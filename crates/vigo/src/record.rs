//! What the user's home says about a project: `~/.vigo-gitback/<id>/project.json`.
//!
//! It is a note for `project init`, which goes on where it stopped. It proves
//! nothing to anybody.
//!
//! Source: docs/spec/json.md.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gitback_identity::ProjectId;
use serde::{Deserialize, Serialize};

const FILE: &str = "project.json";
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
    let mut bytes = Vec::new();
    let file = File::open(place(projects_dir, project).join(FILE)).ok()?;
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes the record, all or nothing; gives the path that failed.
pub(crate) fn write(
    projects_dir: &Path,
    project: &ProjectId,
    record: &Record,
) -> Result<(), (PathBuf, io::Error)> {
    let dir = place(projects_dir, project);
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(fault(&dir))?;
    let mut json = serde_json::to_vec_pretty(record)
        .map_err(io::Error::from)
        .map_err(fault(&dir))?;
    json.push(b'\n');
    let temporary = dir.join(format!("{FILE}.new"));
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(&json)?;
            file.sync_all()
        })
        .map_err(fault(&temporary))?;
    let path = dir.join(FILE);
    fs::rename(&temporary, &path).map_err(fault(&path))
}

fn place(projects_dir: &Path, project: &ProjectId) -> PathBuf {
    projects_dir.join(project.to_string())
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

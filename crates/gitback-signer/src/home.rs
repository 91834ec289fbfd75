//! What the user's home keeps about a project: `~/.vigo-gitback/<project id>/`.
//!
//! A token brings a project in again on an envoy that has lost it, and lets its owner leave while
//! no daemon runs. It is kept where only the user reads it, and believed only as far as it proves
//! itself.
//!
//! Source: docs/spec/json.md, docs/spec/token.md.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gitback_envelope::{Proof, TOKEN_MAX, Token, Verified};
use gitback_identity::ProjectId;

/// The token of the newest grant.
pub const TOKEN: &str = "token";

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteFault {
    /// Which one.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// The directory of one project.
#[must_use]
pub fn place(projects_dir: &Path, project: &ProjectId) -> PathBuf {
    projects_dir.join(project.to_string())
}

/// The projects of which this home keeps anything, in the order of their ids.
#[must_use]
pub fn projects(projects_dir: &Path) -> Vec<ProjectId> {
    let entries = fs::read_dir(projects_dir).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut ids: Vec<ProjectId> = ids.collect();
    ids.sort_unstable();
    ids
}

/// Whether this home has ever had to do with the project.
#[must_use]
pub fn knows(projects_dir: &Path, project: &ProjectId) -> bool {
    place(projects_dir, project).is_dir()
}

/// The token of `project` and what it proves; nothing where there is none that proves anything.
#[must_use]
pub fn token(projects_dir: &Path, project: &ProjectId) -> Option<(Token, Proof)> {
    let bytes = read(projects_dir, project, TOKEN, TOKEN_MAX as u64)?;
    let token = Token::decode(&bytes).ok()?;
    let proof = token.verify(project).ok()?;
    Some((token, proof))
}

/// Keeps a token in place of the one before.
///
/// # Errors
///
/// [`WriteFault`] if it did not reach the disk.
pub fn keep_token(
    projects_dir: &Path,
    project: &ProjectId,
    token: &[u8],
) -> Result<(), WriteFault> {
    write(projects_dir, project, TOKEN, token)
}

/// The envelopes of a token that prove the membership: all but its grant, which is for one envoy.
#[must_use]
pub fn membership(token: &Token) -> &[Verified] {
    let envelopes = token.envelopes();
    envelopes
        .split_last()
        .map_or(envelopes, |(_grant, rest)| rest)
}

/// Reads a file of the project, at most `max` bytes long.
#[must_use]
pub fn read(projects_dir: &Path, project: &ProjectId, name: &str, max: u64) -> Option<Vec<u8>> {
    let file = File::open(place(projects_dir, project).join(name)).ok()?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .ok()?;
    (bytes.len() as u64 <= max).then_some(bytes)
}

/// Writes a file of the project: mode 0600, durable, all or nothing, in place of what was there.
///
/// # Errors
///
/// [`WriteFault`] names what could not be written.
pub fn write(
    projects_dir: &Path,
    project: &ProjectId,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteFault> {
    let dir = place(projects_dir, project);
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteFault { path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(fault(&dir))?;
    let temporary = dir.join(format!("{name}.{}.new", std::process::id()));
    let path = dir.join(name);
    let written = write_synced(&temporary, bytes)
        .map_err(fault(&temporary))
        .and_then(|()| fs::rename(&temporary, &path).map_err(fault(&path)));
    if written.is_err() {
        // The first failure is the one worth reporting.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(&dir)
        .and_then(|dir| dir.sync_all())
        .map_err(fault(&dir))
}

/// Removes a file of the project. One that cannot be removed stays: nothing that lies here is believed for lying here.
pub fn remove(projects_dir: &Path, project: &ProjectId, name: &str) {
    let _ = fs::remove_file(place(projects_dir, project).join(name));
}

/// Removes all that is kept about the project under one of `names`, and its directory, unless something else is in it.
/// Gives what was left.
#[must_use]
pub fn forget(projects_dir: &Path, project: &ProjectId, names: &[&str]) -> Vec<PathBuf> {
    let dir = place(projects_dir, project);
    let is_known = |name: &str| {
        let temporary = name.strip_suffix(".new").and_then(|stem| {
            let (stem, pid) = stem.rsplit_once('.')?;
            pid.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some(stem)
        });
        names.contains(&name) || temporary.is_some_and(|stem| names.contains(&stem))
    };
    let paths = || {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    for path in paths() {
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(is_known) {
            // What cannot be removed is named below.
            let _ = fs::remove_file(&path);
        }
    }
    if fs::remove_dir(&dir).is_ok() {
        return Vec::new();
    }
    let mut left: Vec<PathBuf> = paths().collect();
    left.sort();
    left
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_private_and_replaced_whole() {
        let home = tempfile::tempdir().expect("a directory");
        let projects = home.path().join(".vigo-gitback");
        let id = ProjectId::from_bytes(&[7; 32]);
        assert!(!knows(&projects, &id));
        write(&projects, &id, "note", b"one").expect("written");
        write(&projects, &id, "note", b"two").expect("written again");
        assert!(knows(&projects, &id));
        fs::create_dir(projects.join("else")).expect("room");
        assert_eq!(super::projects(&projects), [id]);
        assert_eq!(
            read(&projects, &id, "note", 3).as_deref(),
            Some(&b"two"[..])
        );
        assert_eq!(read(&projects, &id, "note", 2), None, "longer than allowed");
        write(&projects, &id, "other", b"x").expect("written");
        remove(&projects, &id, "other");
        assert_eq!(read(&projects, &id, "other", 9), None);

        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        let dir = place(&projects, &id);
        assert_eq!(mode(&dir) & 0o777, 0o700);
        assert_eq!(mode(&dir.join("note")) & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(&dir).expect("a directory").count(),
            1,
            "nothing is left over"
        );
    }

    #[test]
    fn a_project_is_forgotten_but_for_what_is_somebody_elses() {
        let home = tempfile::tempdir().expect("a directory");
        let id = ProjectId::from_bytes(&[7; 32]);
        write(home.path(), &id, TOKEN, b"one").expect("written");
        write(home.path(), &id, "token.4711.new", b"half").expect("written");
        write(home.path(), &id, "mine", b"mine").expect("written");
        let mine = place(home.path(), &id).join("mine");
        assert_eq!(forget(home.path(), &id, &[TOKEN]), [mine.as_path()]);
        assert!(!place(home.path(), &id).join(TOKEN).exists());
        fs::remove_file(mine).expect("removed");
        assert!(forget(home.path(), &id, &[TOKEN]).is_empty());
        assert!(!knows(home.path(), &id));
    }

    #[test]
    fn what_proves_nothing_is_no_token() {
        let home = tempfile::tempdir().expect("a directory");
        let id = ProjectId::from_bytes(&[7; 32]);
        assert!(token(home.path(), &id).is_none());
        keep_token(home.path(), &id, b"anything").expect("written");
        assert!(token(home.path(), &id).is_none());
    }
}

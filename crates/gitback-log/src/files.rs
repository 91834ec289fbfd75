//! Directories and whole files, made durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::Fault;

/// Turns an `io::Error` into [`Fault::Io`] with what was tried on which path.
pub(crate) fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Fault {
    let path = path.to_owned();
    move |source| Fault::Io {
        action,
        path,
        source,
    }
}

/// Makes `dir` and the directories above it that are missing, each 0700, and
/// makes their names durable.
pub(crate) fn create_dir(dir: &Path) -> Result<(), Fault> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent(dir);
    create_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync_dir(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(fault("create", dir)(error)),
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Fault> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(fault("sync", dir))
}

/// Writes `bytes` to a new file at `path` and syncs it. The name is durable
/// only after [`sync_dir`].
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.map_err(fault("write", path))
}

/// Puts `bytes` at `dir/name` so that a crash leaves the old file or the new.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let temporary = dir.join(format!("{name}.new"));
    write_synced(&temporary, bytes)?;
    fs::rename(&temporary, dir.join(name)).map_err(fault("rename", &temporary))?;
    sync_dir(dir)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

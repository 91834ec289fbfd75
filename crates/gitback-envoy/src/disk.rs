//! Small questions to the file system.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Makes the entries of the folder `path` durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a folder and those above it that are missing, mode 0700, each of them durably.
pub(crate) fn make_dirs(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        // One that is relative is in the present folder.
        if dir.as_os_str().is_empty() {
            continue;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        sync_above(dir)?;
    }
    Ok(())
}

/// Makes the name of a folder durable, in the one that it is in. That one may be another user's, whose names we may not list.
pub(crate) fn sync_above(dir: &Path) -> io::Result<()> {
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    match above.map_or(Ok(()), sync_dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Replaces the file at `path` by `bytes`, durably and at once: a reader sees the old text or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = fresh(path);
    let file = File::create(&fresh)?;
    put_in_place(file, &fresh, path, bytes)
}

/// As [`replace`], without waiting for the disk: after a loss of power it may be the old text, or no good at all. Whoever reads it
/// has to see that, and to do without it.
pub(crate) fn replace_loosely(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = fresh(path);
    std::fs::write(&fresh, bytes)?;
    std::fs::rename(fresh, path)
}

/// As [`replace`], for a file that nobody but its owner reads, mode 0600.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = fresh(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&fresh)?;
    // One that a crash has left keeps its mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    put_in_place(file, &fresh, path, bytes)
}

/// Behind the whole name, so that no two files share it.
fn fresh(path: &Path) -> PathBuf {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    PathBuf::from(fresh)
}

fn put_in_place(mut file: File, fresh: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(fresh, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

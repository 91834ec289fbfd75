//! Small questions to the file system.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Makes the entries of the folder `path` durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
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

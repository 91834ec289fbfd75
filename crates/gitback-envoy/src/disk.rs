//! Small questions to the file system.

use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Makes the entries of the folder `path` durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Replaces the file at `path` by `bytes`, durably and at once: a reader sees the old text or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Behind the whole name, so that no two files share it.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

//! Small questions to the file system.

use std::io;
use std::io::Write as _;
use std::path::Path;

/// Makes the entries of the folder `path` durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Replaces the file at `path` by `bytes`, durably and at once: a reader sees the old text or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// How much of the file system under `path` is free for this process, in percent, rounded down.
pub(crate) fn free_percent(path: &Path) -> io::Result<u8> {
    let stat = rustix::fs::statvfs(path)?;
    let usable = stat
        .f_blocks
        .saturating_sub(stat.f_bfree)
        .saturating_add(stat.f_bavail);
    if usable == 0 {
        return Ok(0);
    }
    let percent = u128::from(stat.f_bavail) * 100 / u128::from(usable);
    Ok(u8::try_from(percent.min(100)).expect("at most 100"))
}

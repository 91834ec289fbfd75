//! How much room there is on a disk.

use std::io;
use std::path::Path;

/// How much of the file system under `path` is free for this process, in percent, rounded down.
///
/// # Errors
///
/// Those of statvfs(3).
pub fn free_percent(path: &Path) -> io::Result<u8> {
    let stat = rustix::fs::statvfs(path)?;
    let usable = stat
        .f_blocks
        .saturating_sub(stat.f_bfree)
        .saturating_add(stat.f_bavail);
    if usable == 0 {
        return Ok(0);
    }
    let percent = u128::from(stat.f_bavail) * 100 / u128::from(usable);
    Ok(u8::try_from(percent.min(100)).unwrap_or(100))
}

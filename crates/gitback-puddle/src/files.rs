//! Small files, read under a bound and written so that a crash loses nothing.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The longest file of a puddle that is read, in bytes.
pub const FILE_MAX: u64 = 64 * 1024;

/// An `io::Error` with what was tried on which path.
#[derive(Debug)]
pub(crate) struct FileFault {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileFault {
    let path = path.to_owned();
    move |source| FileFault {
        action,
        path,
        source,
    }
}

/// Reads a whole file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileFault> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fault("read", path))?;
    if bytes.len() as u64 > FILE_MAX {
        let long = io::Error::new(io::ErrorKind::FileTooLarge, "longer than 64 KiB");
        return Err(fault("read", path)(long));
    }
    Ok(Some(bytes))
}

/// Makes `dir` and what is missing above it, and closes `dir` to others.
pub(crate) fn private_dir(dir: &Path) -> Result<(), FileFault> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fault("create", dir))?;
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(fault("protect", dir))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => Ok(()),
    }
}

/// How a file was put in place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is there, and durable.
    New,
    /// Another file has the name and was left alone.
    NameTaken,
}

/// Writes `bytes` to `dir/name`, durable and all or nothing, unless the name
/// is taken.
pub(crate) fn place(dir: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<Placed, FileFault> {
    let temporary = dir.join(format!("{name}.{}.new", std::process::id()));
    let written = write_synced(&temporary, mode, bytes);
    let placed = written.and_then(|()| {
        match renameat_with(CWD, &temporary, CWD, dir.join(name), RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Placed::New),
            Err(rustix::io::Errno::EXIST) => Ok(Placed::NameTaken),
            Err(error) => Err(fault("rename", &temporary)(error.into())),
        }
    });
    if !matches!(placed, Ok(Placed::New)) {
        // The first failure is the one worth reporting.
        let _ = fs::remove_file(&temporary);
    }
    if placed.is_ok() {
        sync_dir(dir)?;
    }
    placed
}

fn write_synced(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), FileFault> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            // The umask may have taken bits away.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.map_err(fault("write", path))
}

fn sync_dir(dir: &Path) -> Result<(), FileFault> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(fault("sync", dir))
}

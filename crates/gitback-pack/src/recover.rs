//! What a killed process leaves behind, and how start-up clears it away.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::serving::{self, Covered};
use crate::{Fault, refs, repack};

/// How deep directories are followed; ref names are far shorter.
const DEPTH_MAX: usize = 600;
/// Longest content of a loose ref: a symbolic one to a name of the greatest length.
const REF_FILE_MAX: u64 = 8192;

/// How much of a `.keep` file is looked at.
const KEEP_FILE_MAX: u64 = 64;
/// How the `.keep` files begin that git makes for itself: who takes the pack in, with its number and its host.
const KEEPERS: [&[u8]; 2] = [b"receive-pack ", b"fetch-pack "];

/// What was cleared away when a repository was opened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Lock files of an interrupted change.
    pub locks: u32,
    /// `.keep` files of a git that was killed, which would keep packs for ever.
    pub keeps: u32,
    /// Quarantines and half-written packs; what was in them was never acknowledged.
    pub quarantines: u32,
    /// Packs that were put together with others, all of which are in the new one.
    pub retired: u32,
    /// Files of an index over several packs that was not whole.
    pub indexes: u32,
    /// Packs that were in transit.
    pub spools: u32,
    /// Refs whose files a power cut has emptied or torn. Their values are in the
    /// signed history; apply it again.
    pub damaged_refs: u32,
}

impl Recovered {
    /// Whether nothing had to be cleared away.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) fn recover(repository: &Path) -> Result<Recovered, Fault> {
    let mut recovered = Recovered::default();
    for entry in list(repository)? {
        if has_extension(&entry, "lock") || name(&entry) == "packed-refs.new" {
            remove(&entry, &mut recovered.locks)?;
        }
    }
    for entry in list(&repository.join("objects"))? {
        if name(&entry).starts_with("tmp_objdir-") {
            remove(&entry, &mut recovered.quarantines)?;
        }
    }
    for entry in list(&repository.join("objects/pack"))? {
        if repack::clear_retired(&entry)? {
            recovered.retired = recovered.retired.saturating_add(1);
        } else if has_extension(&entry, "keep") {
            if is_left_by_git(&entry)? {
                remove(&entry, &mut recovered.keeps)?;
            }
        } else if name(&entry).starts_with("tmp_") {
            remove(&entry, &mut recovered.quarantines)?;
        } else if has_extension(&entry, "lock") {
            remove(&entry, &mut recovered.locks)?;
        }
    }
    // git stops at an index over packs of which one is gone; it can be made anew.
    let packs = repository.join("objects/pack");
    if !Covered::read(&packs)?.is_whole(&packs) {
        for entry in list(&packs)? {
            if name(&entry).starts_with(serving::FILE) {
                remove(&entry, &mut recovered.indexes)?;
            }
        }
    }
    for entry in list(&repository.join("objects/info"))? {
        if has_extension(&entry, "lock") {
            remove(&entry, &mut recovered.locks)?;
        }
    }
    for entry in list(&repository.join("gitback-spool"))? {
        remove(&entry, &mut recovered.spools)?;
    }
    each_file(&repository.join("refs"), &mut |path| {
        if has_extension(path, "lock") {
            remove(path, &mut recovered.locks)
        } else if is_damaged_ref(path)? {
            remove(path, &mut recovered.damaged_refs)
        } else {
            Ok(())
        }
    })?;
    let packed = repository.join("packed-refs");
    if packed.exists() && refs::packed_refs_unreadable(repository) {
        remove(&packed, &mut recovered.damaged_refs)?;
    }
    Ok(recovered)
}

/// A loose ref is 40 digits or a symbolic ref; only what a power cut leaves (nothing,
/// zeroes, a part) is taken for damage.
fn is_damaged_ref(path: &Path) -> Result<bool, Fault> {
    let mut content = Vec::new();
    let file = fs::File::open(path).map_err(Fault::io("open", path))?;
    file.take(REF_FILE_MAX)
        .read_to_end(&mut content)
        .map_err(Fault::io("read", path))?;
    let text = content.trim_ascii();
    Ok(!text.starts_with(b"ref: ") && crate::Oid::from_hex(text).is_err())
}

/// Whether a `.keep` file is one that git makes while it takes a pack in. Any other one somebody has put there.
fn is_left_by_git(path: &Path) -> Result<bool, Fault> {
    let is_file = path
        .symlink_metadata()
        .map_err(Fault::io("inspect", path))?;
    if !is_file.is_file() {
        return Ok(false);
    }
    let mut content = Vec::new();
    let file = match fs::File::open(path) {
        // git's would be ours.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(false),
        opened => opened.map_err(Fault::io("open", path))?,
    };
    file.take(KEEP_FILE_MAX)
        .read_to_end(&mut content)
        .map_err(Fault::io("read", path))?;
    Ok(KEEPERS.iter().any(|keeper| content.starts_with(keeper)))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

fn remove(path: &Path, count: &mut u32) -> Result<(), Fault> {
    let metadata = path
        .symlink_metadata()
        .map_err(Fault::io("inspect", path))?;
    let removed = if metadata.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(Fault::io("remove", path))?;
    *count = count.saturating_add(1);
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<std::path::PathBuf>, Fault> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Fault::io("list", directory)(source)),
    };
    entries
        .map(|entry| {
            entry
                .map(|entry| entry.path())
                .map_err(Fault::io("list", directory))
        })
        .collect()
}

/// Calls `act` with every file under `directory`; symbolic links are files.
pub(crate) fn each_file(
    directory: &Path,
    act: &mut dyn FnMut(&Path) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut pending = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = pending.pop() {
        for path in list(&directory)? {
            let is_directory = match path.symlink_metadata() {
                Ok(metadata) => metadata.is_dir(),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(Fault::io("inspect", &path)(source)),
            };
            if !is_directory {
                act(&path)?;
            } else if depth < DEPTH_MAX {
                pending.push((path, depth + 1));
            }
        }
    }
    Ok(())
}

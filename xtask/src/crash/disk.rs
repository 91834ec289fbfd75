//! A disk that may forget what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId(usize);

/// What can happen to files.
#[derive(Debug)]
pub(super) enum Act {
    Name {
        path: PathBuf,
        file: FileId,
    },
    Make {
        path: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        file: Option<FileId>,
    },
    Write {
        file: FileId,
        at: u64,
        bytes: Vec<u8>,
    },
    Cut {
        file: FileId,
        length: u64,
    },
    SyncFile {
        file: FileId,
    },
    SyncFolder {
        path: PathBuf,
    },
}

impl Act {
    /// The folders in which names change.
    pub(super) fn folders(&self) -> Vec<&Path> {
        let paths = match self {
            Self::Name { path, .. } | Self::Make { path } | Self::Remove { path } => vec![path],
            Self::Rename { from, to, .. } => vec![from, to],
            Self::Write { .. }
            | Self::Cut { .. }
            | Self::SyncFile { .. }
            | Self::SyncFolder { .. } => vec![],
        };
        paths.into_iter().filter_map(|path| path.parent()).collect()
    }

    /// The file whose content changes.
    pub(super) const fn content(&self) -> Option<FileId> {
        match self {
            Self::Write { file, .. } | Self::Cut { file, .. } => Some(*file),
            _ => None,
        }
    }

    pub(super) const fn is_sync(&self) -> bool {
        matches!(self, Self::SyncFile { .. } | Self::SyncFolder { .. })
    }
}

/// Files and folders by path.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, FileId>,
    contents: Vec<Vec<u8>>,
}

impl Disk {
    /// What is below `root` now. Sockets and the like are left out.
    pub(super) fn of(root: &Path) -> Result<Self> {
        let mut disk = Self::default();
        let mut known = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(folder) = open.pop() {
            let entries = fs::read_dir(&folder);
            for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_file() {
                    let inode = entry.metadata()?.ino();
                    let file = *known.entry(inode).or_insert_with(|| disk.new_file());
                    if let Some(content) = disk.contents.get_mut(file.0) {
                        *content = fs::read(&path)?;
                    }
                    disk.names.insert(path, file);
                }
            }
            disk.folders.insert(folder);
        }
        Ok(disk)
    }

    /// Puts it in the place of what is below `root`.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        self.fill(root)
    }

    /// Writes it to `root`, where nothing is. What is in a folder that was lost is lost with it.
    pub(super) fn fill(&self, root: &Path) -> Result<()> {
        let mut there: BTreeSet<&Path> = BTreeSet::new();
        // Each folder comes after the one that it is in.
        for folder in &self.folders {
            let parent = folder.parent();
            if folder == root || parent.is_some_and(|parent| there.contains(parent)) {
                make(folder)?;
                there.insert(folder);
            }
        }
        let mut written: BTreeMap<FileId, &Path> = BTreeMap::new();
        for (path, file) in &self.names {
            if !path.parent().is_some_and(|parent| there.contains(parent)) {
                continue;
            }
            let cannot = || format!("cannot write {}", path.display());
            if let Some(first) = written.get(file) {
                fs::hard_link(first, path).with_context(cannot)?;
                continue;
            }
            let content = self.contents.get(file.0);
            fs::write(path, content.context("a file without content")?).with_context(cannot)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            written.insert(*file, path);
        }
        Ok(())
    }

    pub(super) fn new_file(&mut self) -> FileId {
        self.contents.push(Vec::new());
        FileId(self.contents.len() - 1)
    }

    pub(super) fn file(&self, path: &Path) -> Option<FileId> {
        self.names.get(path).copied()
    }

    pub(super) fn is_folder(&self, path: &Path) -> bool {
        self.folders.contains(path)
    }

    pub(super) fn length(&self, file: FileId) -> u64 {
        self.contents
            .get(file.0)
            .map_or(0, |content| content.len() as u64)
    }

    /// Does what was done; of what was written only `torn` bytes, if that is said.
    pub(super) fn apply(&mut self, act: &Act, torn: Option<usize>) {
        if let Act::Name { file, .. }
        | Act::Write { file, .. }
        | Act::Cut { file, .. }
        | Act::Rename {
            file: Some(file), ..
        } = act
        {
            // It may have been made by something that was lost.
            while self.contents.len() <= file.0 {
                self.contents.push(Vec::new());
            }
        }
        match act {
            Act::Name { path, file } => {
                self.names.insert(path.clone(), *file);
            }
            Act::Make { path } => {
                self.folders.insert(path.clone());
            }
            Act::Remove { path } => {
                self.folders.remove(path);
                self.names.remove(path);
            }
            Act::Rename {
                from,
                to,
                file: Some(file),
            } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            Act::Rename {
                from,
                to,
                file: None,
            } => self.rename_folder(from, to),
            Act::Write { file, at, bytes } => {
                let bytes = bytes.get(..torn.unwrap_or(bytes.len())).unwrap_or(bytes);
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                if let Some(content) = self.contents.get_mut(file.0) {
                    let end = at + bytes.len();
                    if content.len() < end {
                        content.resize(end, 0);
                    }
                    if let Some(place) = content.get_mut(at..end) {
                        place.copy_from_slice(bytes);
                    }
                }
            }
            Act::Cut { file, length } => {
                if let Some(content) = self.contents.get_mut(file.0) {
                    content.resize(usize::try_from(*length).unwrap_or(usize::MAX), 0);
                }
            }
            Act::SyncFile { .. } | Act::SyncFolder { .. } => {}
        }
    }

    /// Also one whose own making was lost: the new name is durable by itself.
    fn rename_folder(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| {
            path.strip_prefix(from).ok().map(|rest| {
                if rest.as_os_str().is_empty() {
                    to.to_owned()
                } else {
                    to.join(rest)
                }
            })
        };
        let folders = std::mem::take(&mut self.folders);
        let folders = folders.into_iter().map(|path| moved(&path).unwrap_or(path));
        self.folders = folders.collect();
        let names = std::mem::take(&mut self.names);
        let names = names
            .into_iter()
            .map(|(path, file)| (moved(&path).unwrap_or(path), file));
        self.names = names.collect();
        self.folders.insert(to.to_owned());
    }
}

fn make(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.with_context(|| format!("cannot make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_is_one_file() {
        let root = tempfile::tempdir().expect("a folder");
        let (one, other) = (root.path().join("one"), root.path().join("other"));
        fs::write(&one, "x").expect("written");
        fs::hard_link(&one, &other).expect("linked");
        let disk = Disk::of(root.path()).expect("read");
        disk.write(root.path()).expect("written");
        let links = fs::metadata(&other).map(|metadata| metadata.nlink());
        assert_eq!(links.expect("there"), 2);
        assert_eq!(fs::read(&other).expect("there"), b"x");
    }
}

//! Where damaged files go, in an order in which a crash loses nothing.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::check::{existing, exists};
use super::salvage::{Salvage, Salvaged, salvage};
use super::{Scrubbed, Watch, remove};
use crate::adopt;
use crate::objects::Change;
use crate::repack::retire;
use crate::repository::sync_directory;
use crate::{Fault, Oid, Repository};

/// Where damaged files are kept until a person deletes them.
pub(super) const ASIDE: &str = "damaged";
/// Most files of one name there.
const NAMES_MAX: u32 = 10_000;

impl Repository {
    /// Takes a damaged pack out of use; `false` when it was told to stop.
    ///
    /// What can be read of it and the list of what cannot are durable first, then the pack itself in its new place. Its
    /// old name stays for those who have found it, as that of a pack that was put together with others.
    pub(super) fn set_pack_aside(
        &self,
        stem: &str,
        watch: &Watch<'_>,
        scrubbed: &mut Scrubbed,
    ) -> Result<bool, Fault> {
        let directory = self.objects_path().join("pack");
        let read = file_of(&directory.join(format!("{stem}.pack")))?;
        let Salvaged {
            written,
            saved,
            unsaved,
        } = match salvage(self, &directory, stem, watch.stop)? {
            Salvage::Done(salvaged) => salvaged,
            Salvage::Stopped => return Ok(false),
            Salvage::Unable => {
                let path = directory.join(format!("{stem}.pack"));
                scrubbed.left.push(path);
                return Ok(true);
            }
        };
        self.note_lacking(&unsaved)?;
        let named = |suffix| directory.join(format!("{stem}.{suffix}"));
        let kept = self.keep_aside(&existing(["pack", "idx", "rev"].map(named).to_vec())?)?;
        self.change_packs(|| {
            self.remove_followers()?;
            Ok(Change::default())
        })?;
        let mut replaced = false;
        if let Some((written, new)) = written {
            // Where only the checksum or the header was damaged, it is the same pack again.
            replaced = new == stem;
            self.change_packs(|| {
                written.install(&directory, &new)?;
                Ok(Change::come(vec![new]))
            })?;
            self.sync_packs()?;
        }
        if !replaced {
            self.take_away(&directory, stem, read)?;
        }
        self.sync_packs()?;
        self.forget_damaged(stem);
        scrubbed.saved += saved;
        scrubbed.set_aside.extend(kept.into_iter().next());
        Ok(true)
    }

    /// Takes away the pack that was `read`, and no other one that a push has put in its place meanwhile: that is whole.
    fn take_away(&self, directory: &Path, stem: &str, read: Option<FileId>) -> Result<(), Fault> {
        let named = |suffix: &str| directory.join(format!("{stem}.{suffix}"));
        self.change_packs(|| {
            if file_of(&named("pack"))? != read {
                return Ok(Change::default());
            }
            if exists(&named("idx"))? && exists(&named("pack"))? {
                retire(directory, stem)?;
            } else {
                // Nobody looks at one without the other, but for git's complaints.
                remove(&named("idx"))?;
                remove(&named("rev"))?;
                remove(&named("pack"))?;
            }
            Ok(Change {
                come: Vec::new(),
                gone: vec![stem.to_owned()],
            })
        })
    }

    /// Takes a damaged loose object out of use.
    pub(super) fn set_loose_aside(
        &self,
        path: &Path,
        oid: Oid,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), Fault> {
        self.note_lacking(&[oid])?;
        let kept = self.keep_aside(&existing(vec![path.to_owned()])?)?;
        scrubbed.set_aside.extend(kept);
        self.change_packs(|| {
            self.remove_followers()?;
            Ok(Change::default())
        })?;
        remove(path)?;
        path.parent().map_or(Ok(()), sync_directory)
    }

    /// Gives files a second name in the folder of what is damaged; they have it durably on return.
    fn keep_aside(&self, files: &[PathBuf]) -> Result<Vec<PathBuf>, Fault> {
        let folder = self.make_aside()?;
        let mut kept = Vec::new();
        for file in files {
            kept.push(keep(file, &folder)?);
        }
        sync_directory(&folder)?;
        Ok(kept)
    }

    pub(super) fn make_aside(&self) -> Result<PathBuf, Fault> {
        let folder = self.path().join(ASIDE);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => sync_directory(self.path())?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Fault::io("create", &folder)(source)),
        }
        Ok(folder)
    }
}

/// By what a file is known, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

/// Which file has this name, if any.
fn file_of(path: &Path) -> Result<Option<FileId>, Fault> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(FileId(metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Fault::io("inspect", path)(source)),
    }
}

/// Gives one file a name in `folder` that nothing else has; the one that it has there already, if any.
fn keep(file: &Path, folder: &Path) -> Result<PathBuf, Fault> {
    let name = super::name(file);
    let metadata = file.metadata().map_err(Fault::io("inspect", file))?;
    for number in 1..=NAMES_MAX {
        let to = match number {
            1 => folder.join(name),
            more => folder.join(format!("{more}-{name}")),
        };
        match to.symlink_metadata() {
            Ok(other) if (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()) => {
                return Ok(to);
            }
            Ok(_) => {}
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Fault::io("inspect", to)(error));
            }
            Err(_) => {
                match fs::hard_link(file, &to) {
                    Ok(()) => {}
                    // The file system has no links.
                    Err(_) => adopt::copy(file, &to)?,
                }
                return Ok(to);
            }
        }
    }
    Err(Fault::Exists {
        path: folder.join(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::stems;
    use crate::repack::tests::repository;

    #[test]
    fn a_pack_that_came_again_meanwhile_is_not_taken_away() {
        let home = tempfile::tempdir().expect("a directory");
        let (repository, blobs) = repository(home.path(), 1);
        let blob = blobs.first().expect("there is one");
        let directory = repository.packs_path();
        let stem = stems(&directory).expect("no fault").remove(0);
        let pack = directory.join(format!("{stem}.pack"));
        let read = file_of(&pack).expect("no fault");
        fs::copy(&pack, directory.join("again")).expect("room");
        fs::rename(directory.join("again"), &pack).expect("ours");
        let take_away = |read| repository.take_away(&directory, &stem, read);
        take_away(read).expect("no fault");
        assert!(repository.has(blob).expect("no fault"));
        take_away(file_of(&pack).expect("no fault")).expect("no fault");
        assert!(!repository.has(blob).expect("no fault"));
    }
}

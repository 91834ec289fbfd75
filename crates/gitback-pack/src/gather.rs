//! A pack that comes in blocks, in any order and from several envoys.
//!
//! What has come is in a file, which stays when the transfer is cut off. Nobody notes which blocks it has: whoever goes on
//! looks at each of them again.
//!
//! Source: docs/spec/pack.md §11.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::blocks::{BLOCK_BYTES, BlockTree};
use crate::manifest::Offer;
use crate::{Fault, Oid, Repository};

/// Where the packs are that come in blocks.
const GATHERED: &str = "gitback-blocks";

/// The blocks of one pack that have come. Removed by [`Gathered::discard`] only.
#[derive(Debug)]
pub struct Gathered {
    path: PathBuf,
    file: File,
    tree: BlockTree,
}

impl Repository {
    /// Goes on with a pack, or begins it. Says of each block whether it is here; those that are were just checked.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn gather(&self, offer: &Offer) -> Result<(Gathered, Vec<bool>), Fault> {
        let directory = self.path().join(GATHERED);
        // Only this one: a repository that was given up must not come to be again.
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Fault::io("create", &directory)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let path = directory.join(file_name(offer));
        match fs::metadata(&path) {
            // It has become the pack already, and must not be written any more.
            Ok(found) if found.nlink() > 1 => {
                fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
            }
            Ok(found) if found.permissions().readonly() => {
                fs::set_permissions(&path, Permissions::from_mode(0o600))
                    .map_err(Fault::io("protect", &path))?;
            }
            Ok(_) | Err(_) => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Fault::io("open", &path))?;
        let length = file.metadata().map_err(Fault::io("inspect", &path))?.len();
        if length > offer.tree.bytes() {
            file.set_len(offer.tree.bytes())
                .map_err(Fault::io("shorten", &path))?;
        }
        let gathered = Gathered {
            path,
            file,
            tree: offer.tree.clone(),
        };
        let here = gathered.look()?;
        Ok((gathered, here))
    }

    /// Removes the blocks of all packs but these: nobody gives the others any more.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn forget_gathered(&self, but: &[&Offer]) -> Result<(), Fault> {
        let directory = self.path().join(GATHERED);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Fault::io("list", directory)(source)),
        };
        let kept: Vec<String> = but.iter().map(|offer| file_name(offer)).collect();
        for entry in entries {
            let entry = entry.map_err(Fault::io("list", &directory))?;
            if kept.iter().any(|name| entry.file_name() == name.as_str()) {
                continue;
            }
            let path = entry.path();
            fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
        }
        if kept.is_empty() {
            fs::remove_dir(&directory).map_err(Fault::io("remove", &directory))?;
        }
        Ok(())
    }

    /// Whether some of a pack may have come already.
    #[must_use]
    pub fn is_gathered(&self, offer: &Offer) -> bool {
        let directory = self.path().join(GATHERED);
        directory.join(file_name(offer)).exists()
    }

    /// Whether a pack of this name is here.
    #[must_use]
    pub fn has_pack(&self, name: &Oid) -> bool {
        let packs = self.objects_path().join("pack");
        ["pack", "idx"]
            .iter()
            .all(|suffix| packs.join(format!("pack-{name}.{suffix}")).exists())
    }
}

impl Gathered {
    /// What tells of each block whether it is right.
    #[must_use]
    pub const fn tree(&self) -> &BlockTree {
        &self.tree
    }

    /// Keeps a block that [`BlockTree::is_block`] has found to be right.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn keep(&self, index: u64, block: &[u8]) -> Result<(), Fault> {
        let at = index.saturating_mul(BLOCK_BYTES as u64);
        let written = self.file.write_all_at(block, at);
        written.map_err(Fault::io("write", &self.path))
    }

    /// The pack enters now, whenever its blocks came.
    pub(crate) fn note_now(&self) -> Result<(), Fault> {
        self.file
            .set_modified(SystemTime::now())
            .map_err(Fault::io("date", &self.path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A reader of the pack in its order, for [`Quarantine::ingest_gathered`](crate::Quarantine::ingest_gathered).
    pub(crate) fn in_order<W>(&self, here: W) -> InOrder<'_, W>
    where
        W: FnMut(u64) -> io::Result<u64>,
    {
        InOrder {
            gathered: self,
            at: 0,
            until: 0,
            here,
        }
    }

    /// Removes the file: the pack is here, or is of no use.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn discard(self) -> Result<(), Fault> {
        fs::remove_file(&self.path).map_err(Fault::io("remove", &self.path))
    }

    fn look(&self) -> Result<Vec<bool>, Fault> {
        let length = self.file.metadata();
        let length = length.map_err(Fault::io("inspect", &self.path))?.len();
        let mut block = vec![0; BLOCK_BYTES];
        let mut here = Vec::new();
        for index in 0..self.tree.blocks() {
            let at = index.saturating_mul(BLOCK_BYTES as u64);
            let wanted = self.tree.block_bytes(index);
            let end = at.saturating_add(wanted as u64);
            let block = block.get_mut(..wanted).unwrap_or_default();
            if end > length {
                here.push(false);
                continue;
            }
            self.file
                .read_exact_at(block, at)
                .map_err(Fault::io("read", &self.path))?;
            here.push(self.tree.is_block(index, block));
        }
        Ok(here)
    }
}

/// Reads a pack in its order while its blocks come in any.
pub(crate) struct InOrder<'a, W> {
    gathered: &'a Gathered,
    at: u64,
    /// Everything before this is here.
    until: u64,
    here: W,
}

impl<W: FnMut(u64) -> io::Result<u64>> Read for InOrder<'_, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.gathered.tree.bytes();
        if self.at >= bytes {
            return Ok(0);
        }
        if self.at >= self.until {
            self.until = (self.here)(self.at)?.min(bytes);
        }
        let room = usize::try_from(self.until.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let count = self.gathered.file.read_at(buffer, self.at)?;
        if count == 0 && !buffer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// By name and content: the same name with another content is another pack.
fn file_name(offer: &Offer) -> String {
    let root: String = offer
        .tree
        .root()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{root}", offer.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(fill: u8) -> (Vec<u8>, Offer) {
        let mut bytes = vec![fill; 3 * BLOCK_BYTES + 9];
        bytes[BLOCK_BYTES] ^= 1;
        bytes[2 * BLOCK_BYTES] ^= 2;
        let length = u64::try_from(bytes.len()).expect("small");
        let offer = Offer {
            name: Oid::from_bytes_or_panic(&[fill; 20]),
            objects: 1,
            tree: BlockTree::read(bytes.as_slice(), length).expect("in memory"),
        };
        (bytes, offer)
    }

    fn block(bytes: &[u8], index: usize) -> &[u8] {
        bytes.chunks(BLOCK_BYTES).nth(index).expect("there")
    }

    #[test]
    fn what_has_come_is_looked_at_again_and_not_believed() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let repository = Repository::create(&dir.path().join("r.git")).expect("made");
        let (bytes, offer) = pack(7);
        let (gathered, here) = repository.gather(&offer).expect("begun");
        assert_eq!(here, [false; 4]);
        gathered.keep(3, block(&bytes, 3)).expect("kept");
        gathered.keep(1, block(&bytes, 1)).expect("kept");
        // Torn by a crash: it has its length and not its bytes.
        gathered.keep(2, block(&bytes, 0)).expect("kept");
        drop(gathered);
        drop(repository);
        let (repository, _) = Repository::open(&dir.path().join("r.git")).expect("opens");
        let (gathered, here) = repository.gather(&offer).expect("goes on");
        assert_eq!(here, [false, true, false, true]);
        let mut read = vec![0; BLOCK_BYTES];
        let at = u64::try_from(BLOCK_BYTES).expect("small");
        let count = gathered.file.read_at(&mut read, at).expect("readable");
        assert_eq!(&read[..count], &block(&bytes, 1)[..count]);
    }

    #[test]
    fn what_nobody_gives_any_more_goes() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let repository = Repository::create(&dir.path().join("r.git")).expect("made");
        let ((bytes, kept), (_, other)) = (pack(7), pack(8));
        let (gathered, _) = repository.gather(&kept).expect("begun");
        gathered.keep(0, block(&bytes, 0)).expect("kept");
        drop(repository.gather(&other).expect("begun"));
        repository.forget_gathered(&[&kept]).expect("removed");
        let (_, here) = repository.gather(&kept).expect("goes on");
        assert_eq!(here, [true, false, false, false]);
        repository.forget_gathered(&[]).expect("removed");
        repository.forget_gathered(&[]).expect("nothing is there");
        assert!(!repository.path().join(GATHERED).exists());
    }
}

//! Giving packs away in blocks: which ones, what their hashes are, and the blocks.
//!
//! Source: docs/spec/pack.md §11.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::blocks::{BLOCK_BYTES, BlockTree, blocks_of};
use crate::manifest::{BLOCKS_MAX, Offer, PACKS_MAX};
use crate::repository::write_durably;
use crate::{Fault, Oid, Repository};

/// Smallest pack that is given in blocks, in bytes; what is smaller is fetched.
const OFFER_MIN: u64 = BLOCK_BYTES as u64;
/// Where this file is, packs hold more than what the project's refs and updates lead to.
const GIVES_NONE: &str = "gitback-gives-no-packs";
/// How much is read and sent at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Most packs of which it is remembered that they are not taken.
const UNFIT_MAX: usize = 256;

/// What was found out of packs that are given in blocks, here and elsewhere; a pack never changes.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    /// Those here that were asked for, by name.
    own: Mutex<BTreeMap<Oid, Arc<BlockTree>>>,
    /// The roots of those that came, and were not taken.
    unfit: Mutex<BTreeSet<[u8; 32]>>,
}

/// A pack that might be given.
struct Candidate {
    name: Oid,
    objects: u32,
    bytes: u64,
    came: SystemTime,
}

impl Repository {
    /// Whether its packs are given to other envoys: not where objects were taken over from another project, for packs may
    /// hold what nobody was told of here.
    #[must_use]
    pub fn gives_packs(&self) -> bool {
        !self.path().join(GIVES_NONE).exists()
    }

    /// From now on, also after a restart, none of its packs are given.
    pub(crate) fn give_no_packs(&self) -> Result<(), Fault> {
        match self.gives_packs() {
            true => write_durably(&self.path().join(GIVES_NONE), b""),
            false => Ok(()),
        }
    }

    /// Lists the packs that are given in blocks, in the order in which they came, the largest ones if there are too many.
    /// The first time each of them is read as a whole.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a pack cannot be read.
    pub fn offers(&self) -> Result<Vec<Offer>, Fault> {
        let mut offers = Vec::new();
        let mut trees = self
            .trees()
            .own
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let candidates = self.candidates()?;
        trees.retain(|name, _| candidates.iter().any(|one| one.name == *name));
        for candidate in candidates {
            let tree = match trees.get(&candidate.name) {
                Some(tree) if tree.bytes() == candidate.bytes => Arc::clone(tree),
                _ => match self.read_tree(&candidate)? {
                    Some(tree) => {
                        let tree = Arc::new(tree);
                        trees.insert(candidate.name, Arc::clone(&tree));
                        tree
                    }
                    None => continue,
                },
            };
            offers.push(Offer {
                name: candidate.name,
                objects: candidate.objects,
                tree: BlockTree::clone(&tree),
            });
        }
        Ok(offers)
    }

    /// Writes blocks of a pack to `output`, as they are on the disk. `false`, and nothing is written: there is no such pack
    /// any more, or it has no such blocks.
    ///
    /// # Errors
    ///
    /// [`Fault`]: the pack cannot be read, or the output fails.
    pub fn give_blocks(
        &self,
        name: &Oid,
        blocks: std::ops::Range<u64>,
        mut output: impl Write,
    ) -> Result<bool, Fault> {
        if !self.gives_packs() {
            return Ok(false);
        }
        let path = self.objects_path().join(format!("pack/pack-{name}.pack"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(Fault::io("open", path)(source)),
        };
        let length = file.metadata().map_err(Fault::io("inspect", &path))?.len();
        if blocks.is_empty() || blocks.end > blocks_of(length) {
            return Ok(false);
        }
        let block = BLOCK_BYTES as u64;
        let (mut at, end) = (blocks.start * block, length.min(blocks.end * block));
        let mut piece = vec![0; PIECE_BYTES];
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let piece = piece.get_mut(..left.min(PIECE_BYTES)).unwrap_or_default();
            file.read_exact_at(piece, at)
                .map_err(Fault::io("read", &path))?;
            output
                .write_all(piece)
                .map_err(Fault::stream("send blocks of a pack"))?;
            at += piece.len() as u64;
        }
        Ok(true)
    }

    /// Remembers, until the repository is opened anew, that a pack was brought in whole and not taken.
    pub fn note_unfit(&self, tree: &BlockTree) {
        let unfit = self.trees().unfit.lock();
        let mut unfit = unfit.unwrap_or_else(PoisonError::into_inner);
        if unfit.len() < UNFIT_MAX {
            unfit.insert(tree.root());
        }
    }

    /// Whether this pack was brought in before and not taken.
    #[must_use]
    pub fn is_unfit(&self, tree: &BlockTree) -> bool {
        let unfit = self.trees().unfit.lock();
        let unfit = unfit.unwrap_or_else(PoisonError::into_inner);
        unfit.contains(&tree.root())
    }

    /// The packs of which there is enough to be worth it, as many as one manifest lists.
    fn candidates(&self) -> Result<Vec<Candidate>, Fault> {
        let mut all = Vec::new();
        if !self.gives_packs() {
            return Ok(all);
        }
        for (stem, objects) in self.objects()?.sizes() {
            let hex = stem.strip_prefix("pack-").unwrap_or_default();
            let Ok(name) = Oid::from_hex(hex.as_bytes()) else {
                continue;
            };
            let path = self.objects_path().join(format!("pack/{stem}.pack"));
            // It may have gone since.
            let Ok(metadata) = path.metadata() else {
                continue;
            };
            if metadata.len() < OFFER_MIN || self.is_damaged(&stem) {
                continue;
            }
            all.push(Candidate {
                name,
                objects: u32::try_from(objects).unwrap_or(u32::MAX),
                bytes: metadata.len(),
                came: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        all.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        all.truncate(PACKS_MAX);
        let mut left = BLOCKS_MAX;
        all.retain(|one| {
            let room = left.checked_sub(blocks_of(one.bytes));
            left = room.unwrap_or(left);
            room.is_some()
        });
        all.sort_by_key(|one| (one.came, one.name));
        Ok(all)
    }

    /// `None` if it has gone.
    fn read_tree(&self, one: &Candidate) -> Result<Option<BlockTree>, Fault> {
        let path = self
            .objects_path()
            .join(format!("pack/pack-{}.pack", one.name));
        let read =
            File::open(&path).and_then(|file| BlockTree::read(BufReader::new(file), one.bytes));
        match read {
            Ok(tree) => Ok(Some(tree)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Fault::io("read", path)(source)),
        }
    }
}

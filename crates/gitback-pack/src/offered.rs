//! Giving packs away in blocks: which ones, what their hashes are, and the blocks.
//!
//! Source: docs/spec/pack.md §11.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
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

/// How many packs are read at a time to find out what their hashes are.
const READING_MAX: usize = 2;

/// How many are read now.
static READING: AtomicUsize = AtomicUsize::new(0);

/// Most packs of which it is remembered that they are not taken.
const UNFIT_MAX: usize = 256;

/// What was found out of packs that are given in blocks, here and elsewhere; a pack never changes.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    /// Those here that were asked for, by name.
    own: Mutex<BTreeMap<Oid, Arc<BlockTree>>>,
    /// The roots of those that came, and were not taken.
    unfit: Mutex<BTreeSet<[u8; 32]>>,
    /// Held by who reads a pack to find that out.
    reading: Mutex<()>,
}

/// What became of a request for blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// All were written.
    All,
    /// There is no such pack any more, it has no such blocks, or the disk has other bytes than it had. Some may have been
    /// written.
    Gone,
    /// Too many packs are being read to find out what their blocks are: ask again.
    Later,
}

/// What is known of the blocks of a pack.
enum Tree {
    Known(Arc<BlockTree>),
    Gone,
    Later,
}

/// One of the packs that may be read at a time for their hashes, in all repositories.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        let before = READING.fetch_add(1, Ordering::Relaxed);
        let turn = Self;
        (before < READING_MAX).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        READING.fetch_sub(1, Ordering::Relaxed);
    }
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
    /// The first time each of them is read as a whole; `None` while others are being read: ask again.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a pack cannot be read.
    pub fn offers(&self) -> Result<Option<Vec<Offer>>, Fault> {
        let candidates = self.candidates()?;
        self.own_trees()
            .retain(|name, _| candidates.iter().any(|one| one.name == *name));
        let mut offers = Vec::new();
        for candidate in candidates {
            let tree = match self.tree(&candidate.name, candidate.bytes)? {
                Tree::Known(tree) => tree,
                Tree::Gone => continue,
                Tree::Later => return Ok(None),
            };
            offers.push(Offer {
                name: candidate.name,
                objects: candidate.objects,
                tree: BlockTree::clone(&tree),
            });
        }
        Ok(Some(offers))
    }

    /// Writes blocks of a pack to `output`, as they are on the disk, each after a look whether it is what was said of it.
    ///
    /// # Errors
    ///
    /// [`Fault`]: the pack cannot be read, or the output fails.
    pub fn give_blocks(
        &self,
        name: &Oid,
        blocks: std::ops::Range<u64>,
        mut output: impl Write,
    ) -> Result<Given, Fault> {
        let stem = format!("pack-{name}");
        if !self.gives_packs() || !self.has_pack(name) || self.is_damaged(&stem) {
            return Ok(Given::Gone);
        }
        let path = self.objects_path().join(format!("pack/{stem}.pack"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Given::Gone),
            Err(source) => return Err(Fault::io("open", path)(source)),
        };
        let length = file.metadata().map_err(Fault::io("inspect", &path))?.len();
        if length < OFFER_MIN || blocks.is_empty() || blocks.end > blocks_of(length) {
            return Ok(Given::Gone);
        }
        let tree = match self.tree(name, length)? {
            Tree::Known(tree) => tree,
            Tree::Gone => return Ok(Given::Gone),
            Tree::Later => return Ok(Given::Later),
        };
        let mut block = vec![0; BLOCK_BYTES];
        for index in blocks {
            let block = block.get_mut(..tree.block_bytes(index)).unwrap_or_default();
            let at = index.saturating_mul(BLOCK_BYTES as u64);
            file.read_exact_at(block, at)
                .map_err(Fault::io("read", &path))?;
            if !tree.is_block(index, block) {
                // The disk has changed it, now or when it was read first: nobody is to take that for a lie.
                self.own_trees().remove(name);
                return Ok(Given::Gone);
            }
            for piece in block.chunks(PIECE_BYTES) {
                output
                    .write_all(piece)
                    .map_err(Fault::stream("send blocks of a pack"))?;
            }
        }
        Ok(Given::All)
    }

    /// What tells whether the blocks of a pack of so many bytes are right.
    fn tree(&self, name: &Oid, bytes: u64) -> Result<Tree, Fault> {
        let known = || {
            let trees = self.own_trees();
            let tree = trees.get(name).filter(|tree| tree.bytes() == bytes);
            tree.map(Arc::clone)
        };
        if let Some(tree) = known() {
            return Ok(Tree::Known(tree));
        }
        let Some(_turn) = Turn::take() else {
            return Ok(Tree::Later);
        };
        let _alone = match self.trees().reading.try_lock() {
            Ok(alone) => alone,
            // The mutex guards no data, so that a panic elsewhere has broken nothing.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Tree::Later),
        };
        // Whoever read last may have read this one.
        if let Some(tree) = known() {
            return Ok(Tree::Known(tree));
        }
        let path = self.objects_path().join(format!("pack/pack-{name}.pack"));
        let read = File::open(&path).and_then(|file| BlockTree::read(BufReader::new(file), bytes));
        match read {
            Ok(tree) => {
                let tree = Arc::new(tree);
                self.own_trees().insert(*name, Arc::clone(&tree));
                Ok(Tree::Known(tree))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Tree::Gone),
            Err(source) => Err(Fault::io("read", path)(source)),
        }
    }

    fn own_trees(&self) -> MutexGuard<'_, BTreeMap<Oid, Arc<BlockTree>>> {
        // Every change is one of an entry.
        let own = self.trees().own.lock();
        own.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether packs from others are still tried: not after very many that were not taken.
    #[must_use]
    pub fn takes_packs(&self) -> bool {
        let unfit = self.trees().unfit.lock();
        let unfit = unfit.unwrap_or_else(PoisonError::into_inner);
        unfit.len() < UNFIT_MAX
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
}

//! A pack in blocks of one mebibyte, each of which can be checked by itself.
//!
//! The hash of a pack is BLAKE3, which is a tree: a block is a whole subtree of it, and from the chaining values of all
//! blocks follows the root. So who knows the root and these values knows of every block whether it is right, whoever
//! gives it.
//!
//! Source: docs/spec/pack.md §11; the BLAKE3 paper, §2.

use std::io::Read;

use blake3::Hasher;
use blake3::hazmat::{
    HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

/// Length of every block but the last one, in bytes: 1,024 chunks of BLAKE3, a complete subtree.
pub const BLOCK_BYTES: usize = 1 << 20;

/// What of the hash of one pack tells whether a block is right. Its values lead to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTree {
    bytes: u64,
    root: [u8; 32],
    /// The chaining value of each block; of a single one it would be the root.
    values: Vec<[u8; 32]>,
}

/// How many blocks so many bytes make.
#[must_use]
pub const fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64)
}

impl BlockTree {
    /// Reads so many bytes; at least one.
    ///
    /// # Errors
    ///
    /// That of the reader, or one about too few bytes.
    pub fn read(mut from: impl Read, bytes: u64) -> std::io::Result<Self> {
        let mut block = vec![0; BLOCK_BYTES];
        let mut values = Vec::new();
        let mut root = [0; 32];
        for index in 0..blocks_of(bytes) {
            let block = block.get_mut(..length_of(bytes, index)).unwrap_or_default();
            from.read_exact(block)?;
            values.push(value_of(index, block));
            if bytes <= BLOCK_BYTES as u64 {
                root = *blake3::hash(block).as_bytes();
            }
        }
        if let [_, _, ..] = values.as_slice() {
            root = root_of(&values, bytes);
        } else {
            values.clear();
        }
        Ok(Self {
            bytes,
            root,
            values,
        })
    }

    /// A tree of which somebody says the values; `None` if they do not lead to the root.
    #[must_use]
    pub fn proven(bytes: u64, root: [u8; 32], values: Vec<[u8; 32]>) -> Option<Self> {
        let blocks = blocks_of(bytes);
        let is_whole = match values.len() {
            0 => blocks == 1,
            count => {
                blocks > 1
                    && u64::try_from(count).is_ok_and(|count| count == blocks)
                    && root_of(&values, bytes) == root
            }
        };
        is_whole.then_some(Self {
            bytes,
            root,
            values,
        })
    }

    /// Length of the pack in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The BLAKE3 hash of the pack.
    #[must_use]
    pub const fn root(&self) -> [u8; 32] {
        self.root
    }

    /// The chaining values of the blocks; none if there is only one.
    #[must_use]
    pub fn values(&self) -> &[[u8; 32]] {
        &self.values
    }

    /// How many blocks there are.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        blocks_of(self.bytes)
    }

    /// Length of a block in bytes; 0 if there is none of that number.
    #[must_use]
    pub const fn block_bytes(&self, index: u64) -> usize {
        length_of(self.bytes, index)
    }

    /// Whether these bytes are that block.
    #[must_use]
    pub fn is_block(&self, index: u64, bytes: &[u8]) -> bool {
        if bytes.is_empty() || bytes.len() != self.block_bytes(index) {
            return false;
        }
        if self.values.is_empty() {
            return *blake3::hash(bytes).as_bytes() == self.root;
        }
        let value = usize::try_from(index)
            .ok()
            .and_then(|index| self.values.get(index));
        value.is_some_and(|value| value_of(index, bytes) == *value)
    }
}

/// Length of a block of so many bytes in all.
const fn length_of(bytes: u64, index: u64) -> usize {
    let left = bytes.saturating_sub(index.saturating_mul(BLOCK_BYTES as u64));
    if left >= BLOCK_BYTES as u64 {
        return BLOCK_BYTES;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than one block: it fits in any usize"
    )]
    {
        left as usize
    }
}

/// The chaining value of a block that is not the only one.
fn value_of(index: u64, block: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(index.saturating_mul(BLOCK_BYTES as u64));
    hasher.update(block);
    hasher.finalize_non_root()
}

/// The root over at least two blocks.
fn root_of(values: &[[u8; 32]], bytes: u64) -> [u8; 32] {
    let (left, right) = halves(values, bytes);
    *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
}

/// The values of the two subtrees that at least two blocks make.
fn halves(values: &[[u8; 32]], bytes: u64) -> ([u8; 32], [u8; 32]) {
    let left = left_subtree_len(bytes);
    let at = usize::try_from(blocks_of(left)).unwrap_or(usize::MAX);
    let (first, second) = values.split_at(at.min(values.len()));
    (
        subtree(first, left),
        subtree(second, bytes.saturating_sub(left)),
    )
}

fn subtree(values: &[[u8; 32]], bytes: u64) -> [u8; 32] {
    match values {
        [] => [0; 32],
        [one] => *one,
        _ => {
            let (left, right) = halves(values, bytes);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(bytes: usize) -> Vec<u8> {
        let mut reader = Hasher::new().update(b"sample").finalize_xof();
        let mut sample = vec![0; bytes];
        reader.fill(&mut sample);
        sample
    }

    fn tree_of(sample: &[u8]) -> BlockTree {
        let bytes = u64::try_from(sample.len()).expect("small");
        BlockTree::read(sample, bytes).expect("in memory")
    }

    #[test]
    fn the_root_is_the_plain_hash_of_all_bytes() {
        const B: usize = BLOCK_BYTES;
        for bytes in [1, 1024, B - 1, B, B + 1, 2 * B, 3 * B + 5, 5 * B, 7 * B + 1] {
            let sample = sample(bytes);
            let tree = tree_of(&sample);
            assert_eq!(tree.root(), *blake3::hash(&sample).as_bytes(), "{bytes}");
            let again = BlockTree::proven(tree.bytes(), tree.root(), tree.values().to_vec());
            assert_eq!(again.as_ref(), Some(&tree), "{bytes}");
            for (index, block) in (0..).zip(sample.chunks(B)) {
                assert!(tree.is_block(index, block), "{bytes}: {index}");
            }
        }
    }

    #[test]
    fn a_block_with_one_flipped_bit_or_at_another_place_is_none() {
        let sample = sample(3 * BLOCK_BYTES + 100);
        let tree = tree_of(&sample);
        let blocks: Vec<&[u8]> = sample.chunks(BLOCK_BYTES).collect();
        assert!(!tree.is_block(1, blocks[0]), "swapped");
        assert!(!tree.is_block(3, blocks[2]), "another length");
        assert!(!tree.is_block(4, blocks[3]), "behind the end");
        assert!(!tree.is_block(4, &[]));
        assert!(!tree.is_block(u64::MAX, blocks[0]));
        assert!(!tree.is_block(2, &blocks[2][1..]), "cut short");
        let mut flipped = blocks[2].to_vec();
        flipped[77] ^= 1;
        assert!(!tree.is_block(2, &flipped));
        let single = tree_of(blocks[3]);
        assert!(single.is_block(0, blocks[3]));
        assert!(!single.is_block(0, &blocks[3][1..]));
        assert!(!single.is_block(0, &blocks[2][..100]));
    }

    #[test]
    fn values_that_do_not_lead_to_the_root_are_refused() {
        let tree = tree_of(&sample(3 * BLOCK_BYTES));
        let values = || tree.values().to_vec();
        let mut other = values();
        other[1][0] ^= 1;
        assert_eq!(BlockTree::proven(tree.bytes(), tree.root(), other), None);
        let mut swapped = values();
        swapped.swap(0, 1);
        assert_eq!(BlockTree::proven(tree.bytes(), tree.root(), swapped), None);
        let mut fewer = values();
        fewer.pop();
        assert_eq!(BlockTree::proven(tree.bytes(), tree.root(), fewer), None);
        assert_eq!(
            BlockTree::proven(tree.bytes() - 1 - (2 << 20), tree.root(), values()),
            None
        );
        assert_eq!(BlockTree::proven(u64::MAX, tree.root(), values()), None);
        assert_eq!(
            BlockTree::proven(tree.bytes(), tree.root(), Vec::new()),
            None
        );
        assert_eq!(BlockTree::proven(0, tree.root(), Vec::new()), None);
    }
}

//! The git graph of a simulated world: every commit that anybody has made, and which of them somebody holds.

use gitback_envelope::Oid;

/// Odd, so that multiplying by it is a permutation of the numbers of commits.
const SPREAD: u32 = 0x9e37_79b1;

/// What multiplying by [`SPREAD`] is undone by.
const GATHER: u32 = {
    let mut inverse = SPREAD;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(SPREAD.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
};

/// The end of every object id of these worlds.
const TAIL: [u8; 16] = *b"a simulated oid!";

#[derive(Debug, Clone)]
struct Commit {
    parents: Vec<u32>,
    bytes: u64,
}

/// All commits of a world. What is here is true; who holds it is another question.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    commits: Vec<Commit>,
}

impl History {
    /// Makes a commit of so many bytes.
    pub(super) fn add(&mut self, parents: Vec<u32>, bytes: u64) -> u32 {
        let number = u32::try_from(self.commits.len()).expect("worlds are small");
        self.commits.push(Commit { parents, bytes });
        number
    }

    pub(super) fn oid(number: u32) -> Oid {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.wrapping_mul(SPREAD).to_be_bytes());
        bytes[4..].copy_from_slice(&TAIL);
        Oid::from_bytes(&bytes)
    }

    /// Which commit it is, if it is one of this world.
    pub(super) fn find(&self, oid: &Oid) -> Option<u32> {
        let bytes = oid.as_bytes();
        if bytes[4..] != TAIL {
            return None;
        }
        let head: [u8; 4] = bytes[..4].try_into().expect("four bytes");
        let number = u32::from_be_bytes(head).wrapping_mul(GATHER);
        ((number as usize) < self.commits.len()).then_some(number)
    }

    pub(super) fn parents(&self, number: u32) -> &[u32] {
        &self.commits[number as usize].parents
    }

    /// The commits that `tips` lead to, themselves included.
    pub(super) fn closure(&self, tips: impl IntoIterator<Item = u32>) -> Bits {
        let mut seen = Bits::default();
        let mut open: Vec<u32> = tips.into_iter().collect();
        while let Some(number) = open.pop() {
            if seen.insert(number) {
                open.extend(self.parents(number));
            }
        }
        seen
    }

    /// Whether `new` leads to `old`, also when both are one.
    pub(super) fn reaches(&self, old: u32, new: u32) -> bool {
        // A commit comes after its parents.
        old <= new && self.closure([new]).has(old)
    }

    /// Whether all that `tip` leads to is among `held`.
    pub(super) fn whole(&self, held: &Bits, tip: u32) -> bool {
        let mut seen = Bits::default();
        let mut open = vec![tip];
        while let Some(number) = open.pop() {
            if !held.has(number) {
                return false;
            }
            if seen.insert(number) {
                open.extend(self.parents(number));
            }
        }
        true
    }

    pub(super) fn bytes_of(&self, number: u32) -> u64 {
        self.commits[number as usize].bytes
    }

    pub(super) fn bytes(&self, of: &Bits) -> u64 {
        of.iter().map(|number| self.bytes_of(number)).sum()
    }
}

/// A set of commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn has(&self, number: u32) -> bool {
        let word = self.0.get(number as usize / 64);
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Puts one in; whether it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let at = number as usize / 64;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let mask = 1 << (number % 64);
        let is_new = self.0[at] & mask == 0;
        self.0[at] |= mask;
        is_new
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub(super) fn without(mut self, other: &Self) -> Self {
        for (word, less) in self.0.iter_mut().zip(&other.0) {
            *word &= !less;
        }
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.0.iter().zip(0u32..);
        words.flat_map(|(word, at)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_id_names_its_commit_and_no_other() {
        let mut history = History::default();
        for number in 0..1000 {
            assert_eq!(history.add(Vec::new(), 1), number);
        }
        for number in 0..1000 {
            assert_eq!(history.find(&History::oid(number)), Some(number));
        }
        assert_eq!(history.find(&History::oid(1000)), None);
        assert_eq!(history.find(&Oid::from_bytes(&[7; 20])), None);
    }

    #[test]
    fn what_lacks_one_ancestor_is_not_whole() {
        let mut history = History::default();
        let root = history.add(Vec::new(), 1);
        let side = history.add(vec![root], 1);
        let tip = history.add(vec![root], 1);
        let merge = history.add(vec![side, tip], 1);
        assert!(history.reaches(root, merge) && !history.reaches(side, tip));
        let mut held = history.closure([merge]);
        assert!(history.whole(&held, merge));
        held.remove(root);
        assert!(!history.whole(&held, merge));
        assert_eq!(held.iter().count(), 3);
    }
}

//! Version vectors that share what they have in common.

use alloc::sync::Arc;

const FAN: usize = 16;
const FAN_BITS: u32 = 4;

/// For each branch, how many of its envelopes lie in one envelope's past, itself included.
///
/// A tree of sixteens that is shared between envelopes and copied only along the path that changes, so a project
/// with a thousand chains does not pay a thousand numbers for each envelope, and merging two vectors costs what
/// they differ by.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    root: Option<Arc<Tier>>,
    /// Tiers between the root and the leaves.
    height: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tier {
    Leaf([u32; FAN]),
    Inner([Option<Arc<Self>>; FAN]),
}

impl Clock {
    /// How many envelopes of `branch` are in this past.
    pub(super) fn count(&self, branch: u32) -> u32 {
        let mut height = self.height;
        if !reaches(height, branch) {
            return 0;
        }
        let mut tier = self.root.as_deref();
        while let Some(Tier::Inner(children)) = tier {
            tier = children
                .get(slot(branch, height))
                .and_then(|child| child.as_deref());
            height = height.saturating_sub(1);
        }
        match tier {
            Some(Tier::Leaf(counts)) => counts.get(slot(branch, 0)).copied().unwrap_or(0),
            Some(Tier::Inner(_)) | None => 0,
        }
    }

    /// Says that at least `count` envelopes of `branch` are in this past.
    pub(super) fn raise(&mut self, branch: u32, count: u32) {
        while !reaches(self.height, branch) {
            self.lift();
        }
        let height = self.height;
        let mut tier = Arc::make_mut(self.root.get_or_insert_with(|| Tier::empty(height)));
        let mut below = height;
        while let Tier::Inner(children) = tier {
            let Some(child) = children.get_mut(slot(branch, below)) else {
                return;
            };
            below = below.saturating_sub(1);
            tier = Arc::make_mut(child.get_or_insert_with(|| Tier::empty(below)));
        }
        if let Tier::Leaf(counts) = tier
            && let Some(slot) = counts.get_mut(slot(branch, 0))
        {
            *slot = count.max(*slot);
        }
    }

    /// Takes in everything that is in the past of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.height < other.height {
            self.lift();
        }
        while other.height < self.height {
            other.lift();
        }
        self.root = join(self.root.as_ref(), other.root.as_ref());
    }

    /// Puts one more tier above the root.
    fn lift(&mut self) {
        if let Some(root) = self.root.take() {
            let mut children = [const { None }; FAN];
            if let Some(first) = children.first_mut() {
                *first = Some(root);
            }
            self.root = Some(Arc::new(Tier::Inner(children)));
        }
        self.height += 1;
    }
}

impl Tier {
    fn empty(height: u32) -> Arc<Self> {
        Arc::new(if height == 0 {
            Self::Leaf([0; FAN])
        } else {
            Self::Inner([const { None }; FAN])
        })
    }
}

/// The larger of both everywhere. Gives back one of the two itself when it already is that.
fn join(left: Option<&Arc<Tier>>, right: Option<&Arc<Tier>>) -> Option<Arc<Tier>> {
    let (Some(left), Some(right)) = (left, right) else {
        return left.or(right).cloned();
    };
    if Arc::ptr_eq(left, right) {
        return Some(left.clone());
    }
    let joined = match (&**left, &**right) {
        (Tier::Leaf(ours), Tier::Leaf(theirs)) => {
            let mut counts = *ours;
            for (count, other) in counts.iter_mut().zip(theirs) {
                *count = (*count).max(*other);
            }
            Tier::Leaf(counts)
        }
        (Tier::Inner(ours), Tier::Inner(theirs)) => {
            let mut children = [const { None }; FAN];
            for (child, (our, their)) in children.iter_mut().zip(ours.iter().zip(theirs)) {
                *child = join(our.as_ref(), their.as_ref());
            }
            Tier::Inner(children)
        }
        (Tier::Leaf(_), Tier::Inner(_)) | (Tier::Inner(_), Tier::Leaf(_)) => {
            unreachable!("both sides were lifted to one height")
        }
    };
    Some(if same(&joined, left) {
        left.clone()
    } else if same(&joined, right) {
        right.clone()
    } else {
        Arc::new(joined)
    })
}

/// Whether `joined` is `tier`, looking no further than one tier down: shared children are the same children.
fn same(joined: &Tier, tier: &Tier) -> bool {
    match (joined, tier) {
        (Tier::Leaf(left), Tier::Leaf(right)) => left == right,
        (Tier::Inner(left), Tier::Inner(right)) => left.iter().zip(right).all(|pair| match pair {
            (Some(left), Some(right)) => Arc::ptr_eq(left, right),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }),
        (Tier::Leaf(_), Tier::Inner(_)) | (Tier::Inner(_), Tier::Leaf(_)) => false,
    }
}

/// Whether a tree of this height has a place for `branch`.
const fn reaches(height: u32, branch: u32) -> bool {
    let bits = (height + 1) * FAN_BITS;
    bits >= u32::BITS || branch >> bits == 0
}

/// The place of `branch` in a tier that has `height` tiers below it.
fn slot(branch: u32, height: u32) -> usize {
    usize::try_from((branch >> (height * FAN_BITS)) & 0xf).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Arc, Clock};

    fn clock(counts: &[(u32, u32)]) -> Clock {
        let mut clock = Clock::default();
        for (branch, count) in counts {
            clock.raise(*branch, *count);
        }
        clock
    }

    #[test]
    fn counts_what_was_raised() {
        let clock = clock(&[(0, 3), (15, 1), (16, 2), (4096, 9), (u32::MAX, 7)]);
        let check = |branch, expected| assert_eq!(clock.count(branch), expected, "{branch}");
        check(0, 3);
        check(1, 0);
        check(15, 1);
        check(16, 2);
        check(4096, 9);
        check(4097, 0);
        check(u32::MAX, 7);
    }

    #[test]
    fn never_lowers_a_count() {
        let mut clock = clock(&[(5, 9)]);
        clock.raise(5, 2);
        assert_eq!(clock.count(5), 9);
    }

    #[test]
    fn merge_takes_the_larger_everywhere() {
        let mut left = clock(&[(0, 3), (20, 1)]);
        left.merge(&clock(&[(0, 2), (20, 4), (70_000, 5)]));
        assert_eq!(left.count(0), 3);
        assert_eq!(left.count(20), 4);
        assert_eq!(left.count(70_000), 5);

        let mut right = clock(&[(70_000, 5)]);
        right.merge(&clock(&[(0, 3)]));
        assert_eq!(right.count(0), 3);
        assert_eq!(right.count(70_000), 5);
    }

    #[test]
    fn merging_what_is_already_there_shares_it() {
        let small = clock(&[(0, 1), (300, 2)]);
        let mut large = small.clone();
        large.raise(600, 1);
        let before = large.clone();
        large.merge(&small);
        let roots = (large.root.expect("a root"), before.root.expect("a root"));
        assert!(Arc::ptr_eq(&roots.0, &roots.1));
    }
}

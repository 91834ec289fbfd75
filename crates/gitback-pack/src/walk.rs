//! Whether one commit contains another.
//!
//! Both sides are walked by date, newest first, and each commit is marked with the
//! sides that reach it. The walk ends when nothing is left that only the newer side
//! reaches: an ancestor of the older commit cannot lead to that commit. Wrong dates
//! cost time, never correctness.

use std::collections::{BinaryHeap, HashMap};

use crate::Oid;

/// What the walk needs of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) parents: Vec<Oid>,
    /// Seconds since the epoch; 0 when unreadable.
    pub(crate) date: i64,
}

impl Commit {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut commit = Self {
            parents: Vec::new(),
            date: 0,
        };
        for line in headers(bytes) {
            if let Some(hex) = line.strip_prefix(b"parent ") {
                commit.parents.extend(Oid::from_hex(hex).ok());
            } else if let Some(person) = line.strip_prefix(b"committer ") {
                commit.date = date(person).unwrap_or(0);
            }
        }
        commit
    }
}

/// The tree of a commit.
pub(crate) fn commit_tree(bytes: &[u8]) -> Option<Oid> {
    headers(bytes)
        .find_map(|line| line.strip_prefix(b"tree "))
        .and_then(|hex| Oid::from_hex(hex).ok())
}

/// What a tag points to.
pub(crate) fn tag_target(bytes: &[u8]) -> Option<Oid> {
    headers(bytes)
        .find_map(|line| line.strip_prefix(b"object "))
        .and_then(|hex| Oid::from_hex(hex).ok())
}

fn headers(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
}

fn date(person: &[u8]) -> Option<i64> {
    let after = person.rsplit(|byte| *byte == b'>').next()?;
    std::str::from_utf8(after)
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

const OLD: u8 = 1;
const NEW: u8 = 2;

struct Seen {
    commit: Commit,
    sides: u8,
    queued: bool,
}

struct Walk<Read> {
    read: Read,
    seen: HashMap<Oid, Seen>,
    queue: BinaryHeap<(i64, Oid)>,
    /// Queued commits that only the newer side reaches.
    open: usize,
}

/// Whether `new` is `old` or one of its descendants.
pub(crate) fn is_ancestor<E>(
    old: Oid,
    new: Oid,
    read: impl FnMut(&Oid) -> Result<Commit, E>,
) -> Result<bool, E> {
    if old == new {
        return Ok(true);
    }
    let mut walk = Walk {
        read,
        seen: HashMap::new(),
        queue: BinaryHeap::new(),
        open: 0,
    };
    walk.mark(old, OLD)?;
    walk.mark(new, NEW)?;
    while walk.open > 0
        && let Some((_, oid)) = walk.queue.pop()
    {
        let (sides, parents) = walk.take(&oid);
        for parent in parents {
            if parent == old && sides & NEW != 0 {
                return Ok(true);
            }
            walk.mark(parent, sides)?;
        }
    }
    Ok(false)
}

impl<Read, E> Walk<Read>
where
    Read: FnMut(&Oid) -> Result<Commit, E>,
{
    /// Adds `sides` to a commit, and queues it when that is news.
    fn mark(&mut self, oid: Oid, sides: u8) -> Result<(), E> {
        if !self.seen.contains_key(&oid) {
            let commit = (self.read)(&oid)?;
            self.seen.insert(
                oid,
                Seen {
                    commit,
                    sides: 0,
                    queued: false,
                },
            );
        }
        let Some(seen) = self.seen.get_mut(&oid) else {
            return Ok(());
        };
        if seen.sides | sides == seen.sides {
            return Ok(());
        }
        if seen.queued {
            self.open -= usize::from(seen.sides == NEW);
        } else {
            seen.queued = true;
            self.queue.push((seen.commit.date, oid));
        }
        seen.sides |= sides;
        self.open += usize::from(seen.sides == NEW);
        Ok(())
    }

    fn take(&mut self, oid: &Oid) -> (u8, Vec<Oid>) {
        let Some(seen) = self.seen.get_mut(oid) else {
            return (0, Vec::new());
        };
        seen.queued = false;
        self.open -= usize::from(seen.sides == NEW);
        (seen.sides, seen.commit.parents.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(n: usize) -> Oid {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Oid::Sha1(bytes)
    }

    fn naive(graph: &[Vec<usize>], old: usize, new: usize) -> bool {
        old == new || graph[new].iter().any(|parent| naive(graph, old, *parent))
    }

    #[test]
    fn agrees_with_an_exhaustive_search_when_dates_lie() {
        // A small generator: the point is many shapes and orders, not randomness.
        let mut state = 7_u64;
        let mut next = |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits fit") % bound
        };
        for _ in 0..60 {
            let size = 2 + next(9);
            let graph: Vec<Vec<usize>> = (0..size)
                .map(|n| {
                    if n == 0 {
                        Vec::new()
                    } else {
                        (0..next(3)).map(|_| next(n)).collect()
                    }
                })
                .collect();
            let dates: Vec<i64> = (0..size)
                .map(|_| i64::try_from(next(5)).expect("small"))
                .collect();
            for (old, new) in (0..size).flat_map(|a| (0..size).map(move |b| (a, b))) {
                let read = |at: &Oid| {
                    let n = (0..size).find(|n| oid(*n) == *at).expect("in the graph");
                    Ok::<_, ()>(Commit {
                        parents: graph[n].iter().map(|p| oid(*p)).collect(),
                        date: dates[n],
                    })
                };
                assert_eq!(
                    is_ancestor(oid(old), oid(new), read),
                    Ok(naive(&graph, old, new)),
                    "{graph:?} {dates:?} {old} {new}"
                );
            }
        }
    }

    #[test]
    fn reads_parents_and_date_of_untidy_commits() {
        let parent = "1".repeat(40);
        let text = format!(
            "tree {0}\nparent {parent}\nauthor a> <b> 5 +0000\ncommitter c>d <e>7 +0000\n\nparent x\n",
            "0".repeat(40)
        );
        let commit = Commit::parse(text.as_bytes());
        assert_eq!((commit.parents.len(), commit.date), (1, 7));
    }
}

//! Whether everything that new tips lead to is here, by a look at what is new only, in this process.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use gix::objs::Kind;

use super::rules::{self, Entry, Links};
use super::{LOOK_MAX, Quick};
use crate::objects::{Objects, READ_MAX};
use crate::{Oid, Repository, walk};

/// Most entries of trees that are looked at for a pack; more are git's to walk.
const STEPS_MAX: usize = 500_000;
/// The same where nothing is known of any of it.
const UNKNOWN_STEPS_MAX: usize = 100_000;
/// Most commits that are not in the pack, and that no ref points to.
const COMMITS_MAX: usize = 300;
/// How long what is unknown is looked at. The project's lock may be held meanwhile, and git is asked afterwards.
const UNKNOWN_MAX: Duration = Duration::from_millis(200);
/// Of how many parents the trees are compared.
const PARENTS_MAX: usize = 4;

/// A tree to be looked at, and what stands at the same place in the parents.
struct Place {
    tree: Oid,
    beside: Vec<Oid>,
}

impl Quick {
    /// Whether everything that `tips` lead to is in the pack or in the repository; what its refs lead to is. `None`: git
    /// has to tell.
    pub(crate) fn is_connected(&self, tips: &[Oid], repository: &Repository) -> Option<()> {
        is_connected(Some(self), tips, repository)
    }
}

/// The same of a repository by itself.
pub(crate) fn is_complete(tips: &[Oid], repository: &Repository) -> Option<()> {
    is_connected(None, tips, repository)
}

fn is_connected(quick: Option<&Quick>, tips: &[Oid], repository: &Repository) -> Option<()> {
    let refs: HashSet<Oid> = repository.ref_values().ok()?.values().copied().collect();
    let objects = repository.small_objects().ok()?;
    let mut walk = Walk {
        quick,
        objects: &objects,
        steps: match quick {
            Some(_) => STEPS_MAX,
            None => UNKNOWN_STEPS_MAX,
        },
        until: match quick {
            Some(_) => Instant::now() + LOOK_MAX,
            None => Instant::now() + UNKNOWN_MAX,
        },
    };
    // What a ref names can be gone all the same.
    let is_here = |tip: &Oid| walk.linked(tip).is_some() || objects.has(tip);
    if !tips.iter().all(is_here) {
        return None;
    }
    let mut open = tips.to_vec();
    let mut commits = HashSet::new();
    let mut left = COMMITS_MAX;
    while let Some(tip) = open.pop() {
        if refs.contains(&tip) || !commits.insert(tip) {
            continue;
        }
        // A commit that is here and that no ref leads to may have come without all that it needs, so it is looked at as
        // a new one is. Where that does not end soon, git knows better where to stop.
        let (tree, parents) = match quick.and_then(|quick| quick.objects.get(&tip)) {
            Some(Links::Commit { tree, parents, .. }) => (*tree, Cow::Borrowed(parents.as_slice())),
            Some(Links::Blob | Links::Tree(_)) => return None,
            None => {
                if left == COMMITS_MAX {
                    walk.until = walk.until.min(Instant::now() + UNKNOWN_MAX);
                }
                left = left.checked_sub(1)?;
                match rules::commit(&walk.read(&tip, Kind::Commit)?)? {
                    Links::Commit { tree, parents, .. } => (tree, Cow::Owned(parents)),
                    Links::Blob | Links::Tree(_) => return None,
                }
            }
        };
        let beside: Option<Vec<Oid>> = parents
            .iter()
            .take(PARENTS_MAX)
            .map(|parent| walk.tree_of(parent))
            .collect();
        walk.descend(tree, beside?)?;
        open.extend_from_slice(&parents);
    }
    Some(())
}

struct Walk<'a> {
    quick: Option<&'a Quick>,
    objects: &'a Objects,
    steps: usize,
    until: Instant,
}

impl<'a> Walk<'a> {
    /// What an object of the pack names.
    fn linked(&self, oid: &Oid) -> Option<&'a Links> {
        self.quick?.objects.get(oid)
    }

    fn step(&mut self, count: usize) -> Option<()> {
        self.steps = self.steps.checked_sub(count)?;
        (Instant::now() <= self.until).then_some(())
    }

    fn tree_of(&mut self, commit: &Oid) -> Option<Oid> {
        self.step(1)?;
        match self.linked(commit) {
            Some(Links::Commit { tree, .. }) => Some(*tree),
            Some(Links::Blob | Links::Tree(_)) => None,
            None => walk::commit_tree(&self.read(commit, Kind::Commit)?),
        }
    }

    fn entries(&mut self, tree: &Oid) -> Option<Cow<'a, [Entry]>> {
        let entries = match self.linked(tree) {
            Some(Links::Tree(entries)) => Cow::Borrowed(entries.as_slice()),
            Some(Links::Blob | Links::Commit { .. }) => return None,
            None => Cow::Owned(rules::entries(&self.read(tree, Kind::Tree)?)?),
        };
        self.step(1 + entries.len())?;
        Some(entries)
    }

    fn read(&self, oid: &Oid, kind: Kind) -> Option<Vec<u8>> {
        let limit = u64::try_from(READ_MAX).ok()?;
        self.objects.read_within(oid, kind, limit)
    }

    /// Looks at a tree and everything below it that does not stand at the same place in a parent.
    ///
    /// A parent is in the pack, and looked at as well, or a ref leads to it. What was looked at for another commit counts
    /// for nothing here: each may have trusted the other.
    fn descend(&mut self, tree: Oid, beside: Vec<Oid>) -> Option<()> {
        let mut seen = HashSet::new();
        let mut open = vec![Place { tree, beside }];
        while let Some(Place { tree, beside }) = open.pop() {
            if beside.contains(&tree) || !seen.insert(tree) {
                continue;
            }
            let mut others = Vec::with_capacity(beside.len());
            for other in &beside {
                let entries = self.entries(other)?.into_owned().into_iter();
                let named: HashMap<Vec<u8>, (Oid, Option<Kind>)> = entries
                    .map(|entry| (entry.name, (entry.oid, entry.kind)))
                    .collect();
                others.push(named);
            }
            for entry in self.entries(&tree)?.iter() {
                let same = || others.iter().filter_map(|other| other.get(&entry.name));
                // A commit of another repository may have the id of anything.
                if same().any(|other| *other == (entry.oid, entry.kind)) {
                    continue;
                }
                match entry.kind {
                    Some(Kind::Tree) => {
                        let trees = same().filter(|(_, kind)| *kind == Some(Kind::Tree));
                        open.push(Place {
                            tree: entry.oid,
                            beside: trees.map(|(oid, _)| *oid).collect(),
                        });
                    }
                    Some(_) => {
                        self.step(0)?;
                        let inside = matches!(self.linked(&entry.oid), Some(Links::Blob));
                        if !inside && self.objects.kind(&entry.oid).ok()? != Some(Kind::Blob) {
                            return None;
                        }
                    }
                    None => {}
                }
            }
        }
        Some(())
    }
}

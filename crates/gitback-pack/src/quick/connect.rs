//! Whether everything that new tips lead to is here, by a look at what is new only.

use std::collections::HashSet;

use gix::objs::Kind;

use super::Quick;
use super::rules::{self, Entry, Links};
use crate::objects::Objects;
use crate::{Oid, walk};

/// Most objects that are looked at; more are git's to walk.
const STEPS_MAX: usize = 20_000;
/// Of how many parents the trees are compared.
const PARENTS_MAX: usize = 4;

/// A tree to be looked at, and what stands at the same place in the parents.
struct Place {
    tree: Oid,
    beside: Vec<Oid>,
}

impl Quick {
    /// Whether everything that `tips` lead to is in the pack or in the repository. `refs` are the values of its refs:
    /// what they lead to is here. `None`: git has to tell.
    pub(crate) fn is_connected(
        &self,
        tips: &[Oid],
        refs: &HashSet<Oid>,
        objects: &Objects,
    ) -> Option<()> {
        let mut walk = Walk {
            quick: self,
            objects,
            steps: STEPS_MAX,
            seen: HashSet::new(),
        };
        let mut open = tips.to_vec();
        let mut commits = HashSet::new();
        while let Some(tip) = open.pop() {
            if refs.contains(&tip) || !commits.insert(tip) {
                continue;
            }
            // A commit that is here and that no ref leads to may have come without all that it needs.
            let Links::Commit { tree, parents } = self.objects.get(&tip)? else {
                return None;
            };
            let beside: Option<Vec<Oid>> = parents
                .iter()
                .take(PARENTS_MAX)
                .map(|parent| walk.tree_of(parent))
                .collect();
            walk.descend(*tree, beside?)?;
            open.extend_from_slice(parents);
        }
        Some(())
    }
}

struct Walk<'a> {
    quick: &'a Quick,
    objects: &'a Objects,
    steps: usize,
    seen: HashSet<Oid>,
}

impl Walk<'_> {
    fn step(&mut self) -> Option<()> {
        self.steps = self.steps.checked_sub(1)?;
        Some(())
    }

    fn tree_of(&mut self, commit: &Oid) -> Option<Oid> {
        self.step()?;
        match self.quick.objects.get(commit) {
            Some(Links::Commit { tree, .. }) => Some(*tree),
            Some(Links::Blob | Links::Tree(_)) => None,
            None => walk::commit_tree(&self.objects.read(commit).ok()?),
        }
    }

    fn entries(&mut self, tree: &Oid) -> Option<Vec<Entry>> {
        self.step()?;
        match self.quick.objects.get(tree) {
            Some(Links::Tree(entries)) => Some(entries.clone()),
            Some(Links::Blob | Links::Commit { .. }) => None,
            None if self.objects.kind(tree).ok()? != Some(Kind::Tree) => None,
            None => rules::entries(&self.objects.read(tree).ok()?),
        }
    }

    /// Looks at a tree and everything below it that does not stand at the same place in a parent.
    ///
    /// A parent is in the pack, and looked at as well, or a ref leads to it.
    fn descend(&mut self, tree: Oid, beside: Vec<Oid>) -> Option<()> {
        let mut open = vec![Place { tree, beside }];
        while let Some(Place { tree, beside }) = open.pop() {
            if beside.contains(&tree) || !self.seen.insert(tree) {
                continue;
            }
            let mut others = Vec::with_capacity(beside.len());
            for other in &beside {
                others.push(self.entries(other)?);
            }
            let at = |name: &[u8]| -> Vec<&Entry> {
                let found = others.iter().map(|entries| {
                    let mut entries = entries.iter();
                    entries.find(|entry| entry.name == name)
                });
                found.flatten().collect()
            };
            for entry in self.entries(&tree)? {
                let same = at(&entry.name);
                if same.iter().any(|other| other.oid == entry.oid) {
                    continue;
                }
                match entry.kind {
                    Some(Kind::Tree) => {
                        let trees = same.iter().filter(|other| other.kind == Some(Kind::Tree));
                        open.push(Place {
                            tree: entry.oid,
                            beside: trees.map(|other| other.oid).collect(),
                        });
                    }
                    Some(_) => {
                        self.step()?;
                        let inside = self.quick.objects.contains_key(&entry.oid);
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

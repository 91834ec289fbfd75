//! Which objects some wants lead to and some haves do not.
//!
//! Commits are walked by date from both sides, as in [`walk`]: wrong dates cost time and bytes, never correctness. Then the
//! trees of what is new are compared with those of the parents, parents first: each parent is either at the asker, or all
//! that it leads to is among what is sent and what the asker has. So the same holds of each commit after it.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

use gix::objs::Kind;

use super::Budget;
use crate::objects::{Objects, READ_MAX};
use crate::quick::rules::{Leaf, leaves};
use crate::{Oid, walk};

/// Longest chain of tags that point to tags.
const TAGS_MAX: usize = 8;

/// How many commits more are looked at when nothing is left to which only wants lead: of those that were made in the same
/// second, the newer one may have come first.
const SLOP: usize = 256;

/// The sides that lead to a commit.
const OLD: u8 = 1;
const NEW: u8 = 2;

/// What was found.
pub(super) struct Reach {
    /// What is to be sent: commits with the newest first, tags, trees and blobs.
    pub(super) objects: Vec<(Oid, Kind)>,
    /// Some of what haves lead to.
    pub(super) known: HashSet<Oid>,
}

/// Walks; `None` when that costs too much, or when something is missing or odd.
pub(super) fn reach(
    objects: &Objects,
    wants: &[Oid],
    haves: &[Oid],
    budget: &mut Budget,
) -> Option<Reach> {
    let mut history = History {
        objects,
        budget,
        seen: HashMap::new(),
        queue: BinaryHeap::new(),
        open: 0,
    };
    let mut known = HashSet::new();
    for have in haves {
        if objects.has(have) {
            let (tags, target) = history.peel(have)?;
            known.extend(tags);
            if let Some(commit) = target {
                history.mark(commit, OLD)?;
            }
        }
    }
    let (mut tips, mut sent_tags) = (Vec::new(), Vec::new());
    for want in wants {
        let (tags, target) = history.peel(want)?;
        sent_tags.extend(tags);
        // A tree or a blob that somebody names is nothing usual.
        let commit = target?;
        history.mark(commit, NEW)?;
        tips.push(commit);
    }
    history.run()?;
    let order = history.order(&tips);
    let nodes = std::mem::take(&mut history.seen);
    let mut content = Content {
        objects,
        budget,
        known,
        seen: HashSet::new(),
        opened: HashSet::new(),
        trees: HashMap::new(),
        found_trees: Vec::new(),
        found_blobs: Vec::new(),
    };
    for commit in &order {
        content.budget.object()?;
        let node = nodes.get(commit)?;
        let mut beside = Vec::with_capacity(node.parents.len());
        for parent in &node.parents {
            let parent = nodes.get(parent)?;
            if parent.sides & OLD != 0 {
                content.known.insert(parent.tree);
            }
            beside.push(parent.tree);
        }
        content.descend(node.tree, beside)?;
    }
    let mut sent = Vec::new();
    sent.extend(order.iter().rev().map(|oid| (*oid, Kind::Commit)));
    for tag in sent_tags {
        if !content.known.contains(&tag) && content.seen.insert(tag) {
            content.budget.object()?;
            sent.push((tag, Kind::Tag));
        }
    }
    sent.extend(content.found_trees.iter().map(|oid| (*oid, Kind::Tree)));
    sent.extend(content.found_blobs.iter().map(|oid| (*oid, Kind::Blob)));
    Some(Reach {
        objects: sent,
        known: content.known,
    })
}

/// A commit.
struct Node {
    tree: Oid,
    parents: Vec<Oid>,
    date: i64,
    sides: u8,
    queued: bool,
}

struct History<'a, 'b> {
    objects: &'a Objects,
    budget: &'b mut Budget,
    seen: HashMap<Oid, Node>,
    queue: BinaryHeap<(i64, Oid)>,
    /// Queued commits to which only wants lead.
    open: usize,
}

impl History<'_, '_> {
    /// The tags on the way from an object, and the commit at its end, if one is there.
    fn peel(&mut self, oid: &Oid) -> Option<(Vec<Oid>, Option<Oid>)> {
        let (mut at, mut tags) = (*oid, Vec::new());
        loop {
            if self.seen.contains_key(&at) {
                return Some((tags, Some(at)));
            }
            match self.objects.header(&at)?.0 {
                Kind::Commit => return Some((tags, Some(at))),
                Kind::Tag if tags.len() < TAGS_MAX => {
                    self.budget.commit()?;
                    tags.push(at);
                    at = walk::tag_target(&read(self.objects, &at, Kind::Tag)?)?;
                }
                Kind::Tag => return None,
                Kind::Tree | Kind::Blob => return Some((tags, None)),
            }
        }
    }

    /// Adds sides to a commit, and queues it when that is news.
    fn mark(&mut self, oid: Oid, sides: u8) -> Option<()> {
        if !self.seen.contains_key(&oid) {
            self.budget.commit()?;
            let bytes = read(self.objects, &oid, Kind::Commit)?;
            let walk::Commit { parents, date } = walk::Commit::parse(&bytes);
            let node = Node {
                tree: walk::commit_tree(&bytes)?,
                parents,
                date,
                sides: 0,
                queued: false,
            };
            self.seen.insert(oid, node);
        }
        let node = self.seen.get_mut(&oid)?;
        if node.sides | sides == node.sides {
            return Some(());
        }
        if node.queued {
            self.open -= usize::from(node.sides == NEW);
        } else {
            node.queued = true;
            self.queue.push((node.date, oid));
        }
        node.sides |= sides;
        self.open += usize::from(node.sides == NEW);
        Some(())
    }

    /// Goes on until nothing is left to which only wants lead, and then for a while as long as haves may lead to what is
    /// as old as that, or as its dates say.
    fn run(&mut self) -> Option<()> {
        let (mut oldest, mut slop) = (i64::MAX, SLOP);
        while let Some((date, oid)) = self.queue.pop() {
            if self.open == 0 {
                if date < oldest || slop == 0 {
                    break;
                }
                slop -= 1;
            }
            let node = self.seen.get_mut(&oid)?;
            node.queued = false;
            if node.sides == NEW {
                self.open -= 1;
                oldest = oldest.min(date);
            }
            let (sides, parents) = (node.sides, node.parents.clone());
            for parent in parents {
                self.mark(parent, sides)?;
            }
        }
        Some(())
    }

    /// The commits to which only wants lead, each after its parents.
    fn order(&self, tips: &[Oid]) -> Vec<Oid> {
        let new = |oid: &Oid| self.seen.get(oid).filter(|node| node.sides == NEW);
        let (mut order, mut begun) = (Vec::new(), HashSet::new());
        for tip in tips {
            let mut path = Vec::new();
            if new(tip).is_some() && begun.insert(*tip) {
                path.push((*tip, 0));
            }
            while let Some((oid, next)) = path.last_mut() {
                let parents = new(oid).map_or(&[][..], |node| node.parents.as_slice());
                match parents.get(*next) {
                    Some(parent) => {
                        *next += 1;
                        if new(parent).is_some() && begun.insert(*parent) {
                            path.push((*parent, 0));
                        }
                    }
                    None => {
                        order.push(*oid);
                        path.pop();
                    }
                }
            }
        }
        order
    }
}

/// A tree to be looked at, and what stands at the same place in the parents.
struct Place {
    tree: Oid,
    beside: Vec<Oid>,
}

struct Content<'a, 'b> {
    objects: &'a Objects,
    budget: &'b mut Budget,
    /// What haves lead to, in as far as that was seen.
    known: HashSet<Oid>,
    /// What is to be sent.
    seen: HashSet<Oid>,
    /// Known trees of which each entry is known.
    opened: HashSet<Oid>,
    trees: HashMap<Oid, Rc<Vec<u8>>>,
    found_trees: Vec<Oid>,
    found_blobs: Vec<Oid>,
}

impl Content<'_, '_> {
    /// Looks at a tree and at what is new below it. Each tree of `beside` is known or to be sent, with all below it.
    fn descend(&mut self, tree: Oid, beside: Vec<Oid>) -> Option<()> {
        let mut open = vec![Place { tree, beside }];
        while let Some(Place { tree, beside }) = open.pop() {
            if self.known.contains(&tree) || !self.seen.insert(tree) {
                continue;
            }
            self.budget.object()?;
            self.found_trees.push(tree);
            let others = beside.iter().map(|other| self.beside(other));
            let others: Vec<Rc<Vec<u8>>> = others.collect::<Option<_>>()?;
            let bytes = self.tree(&tree)?;
            self.budget.entries(bytes.len() / 32)?;
            // Mostly nearly all of it stands in the first parent as well, in the same order.
            let first = others.first().map_or(&[][..], |bytes| bytes.as_slice());
            let mut first = leaves(first).map_while(|leaf| leaf).peekable();
            for leaf in leaves(&bytes) {
                let leaf = leaf?;
                if first.next_if(|other| is_same(other, &leaf)).is_some() {
                    continue;
                }
                first.next_if(|other| other.name == leaf.name);
                // A commit of another repository may have the id of anything.
                let Some(kind) = leaf.kind() else {
                    continue;
                };
                if self.known.contains(&leaf.oid) || self.seen.contains(&leaf.oid) {
                    continue;
                }
                if kind == Kind::Tree {
                    let beside = self.named(&others, leaf.name)?;
                    open.push(Place {
                        tree: leaf.oid,
                        beside,
                    });
                } else {
                    self.budget.object()?;
                    self.seen.insert(leaf.oid);
                    self.found_blobs.push(leaf.oid);
                }
            }
        }
        Some(())
    }

    /// A tree beside one that is looked at. If the asker has it, it has all that it names.
    fn beside(&mut self, tree: &Oid) -> Option<Rc<Vec<u8>>> {
        let bytes = self.tree(tree)?;
        if self.known.contains(tree) && self.opened.insert(*tree) {
            self.budget.entries(bytes.len() / 32)?;
            for leaf in leaves(&bytes) {
                let leaf = leaf?;
                if leaf.kind().is_some() {
                    self.known.insert(leaf.oid);
                }
            }
        }
        Some(bytes)
    }

    /// The trees of that name.
    fn named(&mut self, others: &[Rc<Vec<u8>>], name: &[u8]) -> Option<Vec<Oid>> {
        let mut named = Vec::new();
        for bytes in others {
            self.budget.entries(bytes.len() / 32)?;
            let found = leaves(bytes)
                .map_while(|leaf| leaf)
                .find(|leaf| leaf.name == name && leaf.kind() == Some(Kind::Tree));
            named.extend(found.map(|leaf| leaf.oid));
        }
        Some(named)
    }

    fn tree(&mut self, oid: &Oid) -> Option<Rc<Vec<u8>>> {
        if let Some(bytes) = self.trees.get(oid) {
            return Some(Rc::clone(bytes));
        }
        let bytes = Rc::new(read(self.objects, oid, Kind::Tree)?);
        self.budget.tree(bytes.len())?;
        self.trees.insert(*oid, Rc::clone(&bytes));
        Some(bytes)
    }
}

fn is_same(one: &Leaf<'_>, other: &Leaf<'_>) -> bool {
    (one.mode, one.name, one.oid) == (other.mode, other.name, other.oid)
}

fn read(objects: &Objects, oid: &Oid, kind: Kind) -> Option<Vec<u8>> {
    objects.read_within(oid, kind, u64::try_from(READ_MAX).ok()?)
}

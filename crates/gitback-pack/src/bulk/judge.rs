//! What the objects of a large pack name, and which of them git has to judge.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use gix::objs::Kind;

use super::bounds::Bounds;
use crate::quick::rules::{self, Links, Obeyed};
use crate::{Oid, walk};

/// How many names are remembered without a search. Most trees differ little from the last one.
const RECENT: usize = 1 << 14;

/// Digits of the longest mode that git writes.
const MODE_DIGITS_MAX: usize = 6;

/// What is known of the objects that were looked at.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// What is named, and as what: a bit for each kind.
    pub(super) named: HashMap<Oid, u8>,
    /// What was named a moment ago, by the first bytes of its name.
    recent: Vec<Option<(Oid, u8)>>,
    /// Files that git obeys, and a tree that names each.
    pub(super) obeyed: HashMap<(Oid, Obeyed), u32>,
    /// Objects that are not plainly good.
    pub(super) doubtful: Vec<Doubt>,
}

/// An object that git has to judge.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) index: u32,
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// The bit of a kind.
pub(super) const fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 4,
        Kind::Tag => 8,
    }
}

impl Judge {
    /// Looks at an object that is no blob. `None` when it cannot be told what it names.
    pub(super) fn look(
        &mut self,
        bounds: &Bounds,
        index: u32,
        kind: Kind,
        bytes: &[u8],
    ) -> Option<()> {
        let is_good = match kind {
            Kind::Blob => true,
            Kind::Commit => self.look_at_commit(bounds, bytes)?,
            Kind::Tree => self.look_at_tree(bounds, index, bytes)?,
            Kind::Tag => {
                let (oid, kind) = tagged(bytes)?;
                self.name(bounds, oid, kind)?;
                false
            }
        };
        if !is_good {
            self.doubt(bounds, index, kind, bytes)?;
        }
        Some(())
    }

    /// Keeps an object for git to see.
    pub(super) fn doubt(
        &mut self,
        bounds: &Bounds,
        index: u32,
        kind: Kind,
        bytes: &[u8],
    ) -> Option<()> {
        bounds.take_doubt(bytes.len())?;
        bounds.take_name()?;
        let bytes = bytes.to_vec();
        self.doubtful.push(Doubt { index, kind, bytes });
        Some(())
    }

    /// Whether it is plainly good.
    fn look_at_commit(&mut self, bounds: &Bounds, bytes: &[u8]) -> Option<bool> {
        let (tree, parents, is_good) = match rules::commit(bytes) {
            Some(Links::Commit { tree, parents, .. }) => (tree, parents, true),
            Some(Links::Blob | Links::Tree(_)) | None => {
                let parents = walk::Commit::parse(bytes).parents;
                (walk::commit_tree(bytes)?, parents, false)
            }
        };
        self.name(bounds, tree, Kind::Tree)?;
        for parent in parents {
            self.name(bounds, parent, Kind::Commit)?;
        }
        Some(is_good)
    }

    /// Whether it is plainly good, apart from the files in it that git obeys.
    fn look_at_tree(&mut self, bounds: &Bounds, index: u32, bytes: &[u8]) -> Option<bool> {
        let mut is_good = rules::is_sorted(bytes)?;
        for leaf in rules::leaves(bytes) {
            let leaf = leaf?;
            if let Some(kind) = named_as(leaf.mode)? {
                self.name(bounds, leaf.oid, kind)?;
            }
            let mut has_room = true;
            let checked = rules::check_leaf(&leaf, &mut |oid, obeyed| {
                if let Entry::Vacant(vacant) = self.obeyed.entry((*oid, obeyed)) {
                    has_room = bounds.take_name().is_some();
                    vacant.insert(index);
                }
                true
            });
            has_room.then_some(())?;
            is_good &= checked.is_some();
        }
        Some(is_good)
    }

    fn name(&mut self, bounds: &Bounds, oid: Oid, kind: Kind) -> Option<()> {
        self.recent.resize(RECENT, None);
        let first = oid.as_slice().first_chunk();
        let place = first.map_or(0, |first| usize::from(u16::from_be_bytes(*first)));
        let recent = self.recent.get_mut(place % RECENT)?;
        if *recent == Some((oid, bit(kind))) {
            return Some(());
        }
        *recent = Some((oid, bit(kind)));
        match self.named.entry(oid) {
            Entry::Occupied(mut kinds) => *kinds.get_mut() |= bit(kind),
            Entry::Vacant(vacant) => {
                bounds.take_name()?;
                vacant.insert(bit(kind));
            }
        }
        Some(())
    }

    /// Adds what another thread has seen.
    pub(super) fn add(&mut self, mut other: Self) {
        // The smaller ones move: both are there until all have.
        if self.named.len() < other.named.len() {
            std::mem::swap(&mut self.named, &mut other.named);
        }
        if self.obeyed.len() < other.obeyed.len() {
            std::mem::swap(&mut self.obeyed, &mut other.obeyed);
        }
        for (oid, kinds) in other.named {
            *self.named.entry(oid).or_insert(0) |= kinds;
        }
        for (file, index) in other.obeyed {
            self.obeyed.entry(file).or_insert(index);
        }
        self.doubtful.extend(other.doubtful);
    }
}

/// What an entry of this mode has to be, `None` in it for a commit of another repository. Early versions of git wrote
/// files of any permissions. Of what is no mode at all git knows what to say.
fn named_as(mode: &[u8]) -> Option<Option<Kind>> {
    let digits = std::str::from_utf8(mode).ok()?;
    if digits.len() > MODE_DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    match u32::from_str_radix(digits, 8).ok()? >> 12 {
        0o4 => Some(Some(Kind::Tree)),
        0o10 | 0o12 => Some(Some(Kind::Blob)),
        0o16 => Some(None),
        _ => None,
    }
}

/// What a tag names.
fn tagged(bytes: &[u8]) -> Option<(Oid, Kind)> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let oid = rules::oid(lines.next()?.strip_prefix(b"object ")?)?;
    let kind = match lines.next()?.strip_prefix(b"type ")? {
        b"commit" => Kind::Commit,
        b"tree" => Kind::Tree,
        b"blob" => Kind::Blob,
        b"tag" => Kind::Tag,
        _ => return None,
    };
    Some((oid, kind))
}

//! What the objects of a large pack name, and which of them git has to judge.

use std::collections::HashMap;

use gix::objs::Kind;

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
    pub(super) doubtful: Vec<u32>,
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
    pub(super) fn look(&mut self, index: u32, kind: Kind, bytes: &[u8]) -> Option<()> {
        match kind {
            Kind::Blob => {}
            Kind::Commit => self.look_at_commit(index, bytes)?,
            Kind::Tree => self.look_at_tree(index, bytes)?,
            Kind::Tag => {
                let (oid, kind) = tagged(bytes)?;
                self.name(oid, kind);
                self.doubtful.push(index);
            }
        }
        Some(())
    }

    fn look_at_commit(&mut self, index: u32, bytes: &[u8]) -> Option<()> {
        let (tree, parents) = match rules::commit(bytes) {
            Some(Links::Commit { tree, parents, .. }) => (tree, parents),
            Some(Links::Blob | Links::Tree(_)) | None => {
                self.doubtful.push(index);
                (
                    walk::commit_tree(bytes)?,
                    walk::Commit::parse(bytes).parents,
                )
            }
        };
        self.name(tree, Kind::Tree);
        for parent in parents {
            self.name(parent, Kind::Commit);
        }
        Some(())
    }

    fn look_at_tree(&mut self, index: u32, bytes: &[u8]) -> Option<()> {
        let mut is_good = rules::is_sorted(bytes)?;
        for leaf in rules::leaves(bytes) {
            let leaf = leaf?;
            if let Some(kind) = named_as(leaf.mode)? {
                self.name(leaf.oid, kind);
            }
            let checked = rules::check_leaf(&leaf, &mut |oid, obeyed| {
                self.obeyed.entry((*oid, obeyed)).or_insert(index);
                true
            });
            is_good &= checked.is_some();
        }
        if !is_good {
            self.doubtful.push(index);
        }
        Some(())
    }

    fn name(&mut self, oid: Oid, kind: Kind) {
        self.recent.resize(RECENT, None);
        let place = oid
            .as_slice()
            .first_chunk()
            .map_or(0, |first| usize::from(u16::from_be_bytes(*first)));
        let recent = self.recent.get_mut(place % RECENT);
        if let Some(recent) = recent {
            if *recent == Some((oid, bit(kind))) {
                return;
            }
            *recent = Some((oid, bit(kind)));
        }
        *self.named.entry(oid).or_insert(0) |= bit(kind);
    }

    /// Adds what another thread has seen.
    pub(super) fn add(&mut self, other: Self) {
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

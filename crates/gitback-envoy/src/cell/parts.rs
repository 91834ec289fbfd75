//! How far a history that comes in by parts has come.
//!
//! What a part ends with is kept as `refs/gitback/part/<object>`, which nobody is shown: the next part is built on it,
//! also after a restart, and git takes all that it leads to for whole.
//!
//! Source: docs/spec/pack.md §8.

use gitback_envelope::Oid;
use gitback_identity::hex;
use gitback_pack::RefChange;

use super::settle::change;
use super::{Cell, own};
use crate::fault::{Fault, pack_fault};

/// Below it lie the ends of the parts that are here.
const PART: &[u8] = b"refs/gitback/part/";

/// Most ends of parts that are kept.
pub(crate) const PARTS_MAX: usize = 4096;

impl Cell {
    /// What the parts that are here end with.
    pub(crate) fn parts(&self) -> Result<Vec<Oid>, Fault> {
        let refs = self.repo.refs().map_err(pack_fault(self.id, "read"))?;
        let parts = refs.iter().filter(|one| one.name.starts_with(PART));
        Ok(parts.map(|one| own(&one.oid)).collect())
    }

    /// Keeps the ends of a part whose closure was checked, and lets those go that it builds on.
    pub(crate) fn keep_part(&self, ends: &[Oid], behind: &[Oid]) -> Result<(), Fault> {
        let kept = ends.iter().map(|oid| change(&name(oid), Some(*oid)));
        let gone = behind.iter().map(|oid| change(&name(oid), None));
        let changes: Vec<RefChange> = kept.chain(gone).collect();
        self.move_refs(&changes)
    }

    /// Lets all of them go: refs lead to all that was wanted.
    pub(crate) fn forget_parts(&self) -> Result<(), Fault> {
        let parts = self.parts()?;
        if parts.is_empty() {
            return Ok(());
        }
        self.keep_part(&[], &parts)
    }
}

fn name(oid: &Oid) -> Vec<u8> {
    [PART, hex::encode(oid.as_bytes()).as_bytes()].concat()
}

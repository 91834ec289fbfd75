//! Letting refs on disk follow the fold.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::Oid;
use gitback_pack::{Expect, RefChange, RefError};

use super::{Cell, State, git, own};
use crate::fault::{Fault, pack_fault};

impl Cell {
    /// Lets refs and HEAD on disk follow the fold, as far as the objects are here.
    ///
    /// `trusted` are objects whose closure was just checked; all others are checked now. What cannot follow yet keeps
    /// its old value, and [`State::lacking`] says so.
    pub(crate) fn settle(&self, state: &mut State, trusted: &[Oid]) -> Result<(), Fault> {
        let fault = pack_fault(self.id, "read");
        let served = state.fold.served();
        let on_disk: BTreeMap<Vec<u8>, Oid> = self
            .repo
            .refs()
            .map_err(&fault)?
            .into_iter()
            .map(|r| (r.name, own(&r.oid)))
            .collect();
        let moved: BTreeMap<&Vec<u8>, Oid> = served
            .iter()
            .filter(|(name, oid)| on_disk.get(*name) != Some(oid))
            .map(|(name, oid)| (name, *oid))
            .collect();
        state.lacking = self.incomplete(moved.values().filter(|oid| !trusted.contains(oid)))?;
        state.unsettled = false;
        let mut changes: Vec<RefChange> = Vec::new();
        for name in on_disk.keys().filter(|name| !served.contains_key(*name)) {
            changes.push(RefChange {
                name: name.clone(),
                old: Expect::Any,
                new: None,
            });
        }
        for (name, oid) in moved.iter().filter(|(_, oid)| !state.lacking.contains(oid)) {
            changes.push(RefChange {
                name: (*name).clone(),
                old: Expect::Any,
                new: Some(git(*oid)),
            });
        }
        self.move_refs(&changes)?;
        if let Some(target) = state.fold.head_target()
            && self.repo.head_target().map_err(&fault)?.as_deref() != Some(target.as_bytes())
        {
            self.repo
                .set_head(target.as_bytes())
                .map_err(pack_fault(self.id, "set HEAD of"))?;
        }
        Ok(())
    }

    /// Moves refs; one that cannot be keeps no other from moving.
    fn move_refs(&self, changes: &[RefChange]) -> Result<(), Fault> {
        let refs = |source| Fault::Refs {
            project: self.id.to_string(),
            source,
        };
        match self.repo.update_refs(changes) {
            Ok(()) => return Ok(()),
            Err(error @ RefError::Fault(_)) => return Err(refs(error)),
            Err(_) => {}
        }
        for change in changes {
            match self.repo.update_refs(std::slice::from_ref(change)) {
                Ok(()) => {}
                Err(error @ RefError::Fault(_)) => return Err(refs(error)),
                Err(error) => {
                    let name = String::from_utf8_lossy(&change.name).into_owned();
                    tracing::error!(project = %self.id, name, error = %crate::daemon::chain(&error), "a ref cannot be served");
                }
            }
        }
        Ok(())
    }

    /// Takes refs off the disk whose objects have vanished, and remembers to bring these in again: git would refuse
    /// every push beside them.
    pub(super) fn check_tips(&self, state: &mut State) -> Result<(), Fault> {
        let mut gone = Vec::new();
        for reference in self.repo.refs().map_err(pack_fault(self.id, "read"))? {
            let here = self.repo.has(&reference.oid);
            if !here.map_err(pack_fault(self.id, "look into"))? {
                tracing::error!(project = %self.id, oid = %reference.oid, "an object that a ref names has vanished");
                state.lacking.insert(own(&reference.oid));
                gone.push(RefChange {
                    name: reference.name,
                    old: Expect::Any,
                    new: None,
                });
            }
        }
        if gone.is_empty() {
            Ok(())
        } else {
            self.move_refs(&gone)
        }
    }

    /// Those of `tips` whose closure is not in the repository.
    fn incomplete<'a>(&self, tips: impl Iterator<Item = &'a Oid>) -> Result<BTreeSet<Oid>, Fault> {
        let fault = pack_fault(self.id, "look into");
        let mut lacking = BTreeSet::new();
        let mut here = Vec::new();
        for oid in tips.copied().collect::<BTreeSet<_>>() {
            if self.repo.has(&git(oid)).map_err(&fault)? {
                here.push(oid);
            } else {
                lacking.insert(oid);
            }
        }
        let all: Vec<_> = here.iter().map(|oid| git(*oid)).collect();
        if !all.is_empty() && !self.repo.complete(&all).map_err(&fault)? {
            for oid in here {
                if !self.repo.complete(&[git(oid)]).map_err(&fault)? {
                    lacking.insert(oid);
                }
            }
        }
        Ok(lacking)
    }
}

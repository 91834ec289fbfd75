//! Letting refs on disk follow the fold.
//!
//! A ref that followed an update which has no effect any more goes back to where the fold says. The objects that it
//! leaves stay reachable under `refs/gitback/void/<update>/<object>`, which nobody is shown, so that no git ever
//! drops them. What an update that counts has forced away or deleted is kept as well, see [`super::kept`].

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{EnvelopeId, Oid, Verdict};
use gitback_identity::hex;
use gitback_pack::{Expect, RefChange, RefError};

use super::kept::Left;
use super::{Cell, Foothold, State, git, own};
use crate::clock;
use crate::daemon::chain;
use crate::fault::{Fault, pack_fault};

/// Below it lie refs that nobody is shown.
const HIDDEN: &[u8] = b"refs/gitback/";

/// Below it lie the objects of updates without effect that refs once followed.
pub(super) const VOID: &str = "refs/gitback/void/";

impl Cell {
    /// Checks what is new, and lets refs follow it. What is stored stays stored, whatever ails the repository: then
    /// refs follow when they can.
    pub(crate) fn follow(&self, state: &mut State, trusted: &[Oid]) {
        let followed = self.judge(state).and_then(|()| self.settle(state, trusted));
        if let Err(fault) = followed {
            tracing::error!(project = %self.id, error = %chain(&fault), "refs cannot follow what is stored yet");
        }
        self.tell_alarms(state);
    }

    /// The refs that are shown: those on disk without the hidden ones. They lag behind the fold where objects have
    /// not arrived.
    pub(crate) fn shown_refs(&self) -> Result<BTreeMap<Vec<u8>, Oid>, Fault> {
        let mut refs = self.refs_on_disk()?;
        refs.retain(|name, _| !name.starts_with(HIDDEN));
        Ok(refs)
    }

    fn refs_on_disk(&self) -> Result<BTreeMap<Vec<u8>, Oid>, Fault> {
        let refs = self.repo.refs().map_err(pack_fault(self.id, "read"))?;
        Ok(refs.into_iter().map(|r| (r.name, own(&r.oid))).collect())
    }

    /// Lets refs and HEAD on disk follow the fold, as far as the objects are here.
    ///
    /// `trusted` are objects whose closure was just checked; all others are checked now. What cannot follow yet keeps
    /// its old value, and [`State::lacking`] says so. Where the log was lost nothing moves before a holder has
    /// answered: until then the refs are all that is known.
    pub(crate) fn settle(&self, state: &mut State, trusted: &[Oid]) -> Result<(), Fault> {
        if state.foothold == Foothold::Lost {
            return Ok(());
        }
        let served = state.fold.served();
        let (hidden, on_disk): (BTreeMap<_, _>, BTreeMap<_, _>) = self
            .refs_on_disk()?
            .into_iter()
            .partition(|(name, _)| name.starts_with(HIDDEN));
        let moved: BTreeMap<&Vec<u8>, Oid> = served
            .iter()
            .filter(|(name, oid)| on_disk.get(*name) != Some(oid))
            .map(|(name, oid)| (name, *oid))
            .collect();
        state.lacking = self.incomplete(moved.values().filter(|oid| !trusted.contains(oid)))?;
        state.unsettled = false;
        state.incomplete_since_ms = match state.lacking.is_empty() {
            true => None,
            false => state.incomplete_since_ms.or(Some(clock::now_ms())),
        };
        let gone = on_disk.keys().filter(|name| !served.contains_key(*name));
        let mut changes: Vec<RefChange> = gone.map(|name| change(name, None)).collect();
        let here = moved.iter().filter(|(_, oid)| !state.lacking.contains(oid));
        changes.extend(here.map(|(name, oid)| change(name, Some(*oid))));
        let left = self.left(&on_disk, &changes)?;
        let undone = undone(state, &left);
        self.keep_undone(&undone)?;
        let after = after(&on_disk, &changes);
        self.keep_replaced(state, &left, &undone, &after)?;
        self.keep_arrived(state, &hidden, &after)?;
        self.move_refs(&changes)?;
        for Undone { name, from, update } in &undone {
            let name = String::from_utf8_lossy(name);
            let why = state.void(update).map(|void| void.reason.to_string());
            tracing::warn!(project = %self.id, %name, %from, %update, why, "a ref moved back: the update that it followed has no effect any more");
        }
        self.let_go(state, &hidden)?;
        let fault = pack_fault(self.id, "read");
        if let Some(target) = state.fold.head_target()
            && self.repo.head_target().map_err(&fault)?.as_deref() != Some(target.as_bytes())
        {
            self.repo
                .set_head(target.as_bytes())
                .map_err(pack_fault(self.id, "set HEAD of"))?;
        }
        Ok(())
    }

    fn keep_undone(&self, undone: &[Undone]) -> Result<(), Fault> {
        let mut names: BTreeMap<Vec<u8>, Oid> = BTreeMap::new();
        for Undone { from, update, .. } in undone {
            names.insert(format!("{VOID}{update}/{from}").into_bytes(), *from);
        }
        let changes: Vec<RefChange> = names
            .iter()
            .map(|(name, oid)| change(name, Some(*oid)))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.move_refs(&changes)
    }

    /// Drops the hidden refs of updates that have an effect again: a person has picked another founder line.
    fn let_go(&self, state: &State, hidden: &BTreeMap<Vec<u8>, Oid>) -> Result<(), Fault> {
        let counts = |name: &[u8]| {
            let name = std::str::from_utf8(name).ok();
            let rest = name.and_then(|name| name.strip_prefix(VOID));
            let id = rest.and_then(|rest| hex::decode_exact::<32>(rest.split('/').next()?));
            id.is_some_and(|id| state.fold.verdict(&EnvelopeId::from_bytes(&id)) == Verdict::Valid)
        };
        let again = hidden.keys().filter(|name| counts(name));
        let changes: Vec<RefChange> = again.map(|name| change(name, None)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.move_refs(&changes)
    }

    /// Moves refs; one that cannot be keeps no other from moving.
    pub(super) fn move_refs(&self, changes: &[RefChange]) -> Result<(), Fault> {
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
                    tracing::error!(project = %self.id, name, error = %chain(&error), "a ref cannot be served");
                }
            }
        }
        Ok(())
    }

    /// Takes refs off the disk whose objects have vanished, and remembers to bring these in again: git would refuse
    /// every push beside them.
    pub(super) fn check_tips(&self, state: &mut State) -> Result<(), Fault> {
        let (mut gone, mut hidden) = (Vec::new(), Vec::new());
        for reference in self.repo.refs().map_err(pack_fault(self.id, "read"))? {
            let here = self.repo.has(&reference.oid);
            if !here.map_err(pack_fault(self.id, "look into"))? {
                tracing::error!(project = %self.id, oid = %reference.oid, "an object that a ref names has vanished");
                gone.push(change(&reference.name, None));
                if reference.name.starts_with(HIDDEN) {
                    hidden.push(reference);
                } else {
                    state.lacking.insert(own(&reference.oid));
                }
            }
        }
        if !hidden.is_empty() {
            // The fold does not bring these back.
            let noted = self.repo.note_lost_refs(&hidden);
            noted.map_err(pack_fault(self.id, "write what is lost of"))?;
            state.set_damaged(true);
        }
        if gone.is_empty() {
            Ok(())
        } else {
            self.move_refs(&gone)
        }
    }

    /// Those of `tips` whose closure is not in the repository.
    pub(super) fn incomplete<'a>(
        &self,
        tips: impl Iterator<Item = &'a Oid>,
    ) -> Result<BTreeSet<Oid>, Fault> {
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

/// Those of the values which only an update without effect had put there, or such a one as well.
fn undone(state: &State, left: &Left) -> Vec<Undone> {
    if left.is_empty() || state.fold.void_len() == 0 {
        return Vec::new();
    }
    let mut undone = Vec::new();
    for envelope in state.fold.iter() {
        let changes = envelope.statement().update().map(|update| &update.changes);
        for change in changes.into_iter().flatten() {
            if let Some(name) = left.get(&change.new)
                && state.void(envelope.id()).is_some()
            {
                undone.push(Undone {
                    name: name.clone(),
                    from: change.new,
                    update: *envelope.id(),
                });
            }
        }
    }
    undone
}

/// The refs as `changes` leave them.
fn after(on_disk: &BTreeMap<Vec<u8>, Oid>, changes: &[RefChange]) -> BTreeMap<Vec<u8>, Oid> {
    let mut after = on_disk.clone();
    for change in changes {
        match &change.new {
            Some(new) => drop(after.insert(change.name.clone(), own(new))),
            None => drop(after.remove(&change.name)),
        }
    }
    after
}

/// A ref that followed an update which has no effect any more.
pub(super) struct Undone {
    name: Vec<u8>,
    pub(super) from: Oid,
    update: EnvelopeId,
}

pub(super) fn change(name: &[u8], new: Option<Oid>) -> RefChange {
    RefChange {
        name: name.to_vec(),
        old: Expect::Any,
        new: new.map(git),
    }
}

//! Letting refs on disk follow the fold.
//!
//! A ref that followed an update which has no effect any more goes back to where the fold says. The objects that it
//! leaves stay reachable under `refs/gitback/void/<update>/<object>`, which nobody is shown, so that no git ever
//! drops them. What an update that counts has forced away or deleted is kept as well, see [`super::kept`].

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{EnvelopeId, Oid, Verdict};
use gitback_identity::hex;
use gitback_pack::{Expect, RefChange};

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
        let before = state.hindrance.clone();
        let followed = self.advance(state, trusted).and_then(|inner| inner);
        if let Err(fault) = followed {
            let (project, error) = (&self.id, chain(&fault));
            if before.is_none() || before != state.hindrance {
                tracing::error!(%project, error, "refs cannot follow what is stored yet");
            } else {
                tracing::debug!(%project, error, "refs still cannot follow what is stored");
            }
        }
        self.tell_alarms(state);
    }

    /// Lets refs follow if they have not yet: what stood in the way may be gone.
    pub(crate) fn follow_again(&self, state: &mut State) {
        if state.unsettled && state.foothold != Foothold::Lost {
            self.follow(state, &[]);
        }
    }

    /// Checks what is new, and lets refs follow as far as they can: what cannot be checked yet holds up nothing but itself.
    ///
    /// # Errors
    ///
    /// Outside, why it is not known what is lacking; inside, the first thing that could not be checked or moved.
    pub(crate) fn advance(
        &self,
        state: &mut State,
        trusted: &[Oid],
    ) -> Result<Result<(), Fault>, Fault> {
        let judged = self.judge(state);
        let settled = self.settle(state, trusted);
        match (judged, settled) {
            (Err(first), Err(_)) => Err(first),
            (judged, settled) => settled.map(|inner| judged.and(inner)),
        }
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
    /// its old value, and [`State::lacking`] and [`State::hindrance`] say so. Where the log was lost nothing moves before
    /// a holder has answered: until then the refs are all that is known.
    ///
    /// # Errors
    ///
    /// As [`Cell::advance`].
    fn settle(&self, state: &mut State, trusted: &[Oid]) -> Result<Result<(), Fault>, Fault> {
        if state.foothold == Foothold::Lost {
            return Ok(Ok(()));
        }
        // Until all of it has happened.
        state.unsettled = true;
        let settled = self.settle_now(state, trusted);
        let error = match &settled {
            Ok(Ok(())) => None,
            Ok(Err(fault)) | Err(fault) => Some(chain(fault)),
        };
        if error.is_none() {
            state.unsettled = false;
            self.stuck.clear();
        }
        state.incomplete_since_ms = match error.is_none() && state.lacking.is_empty() {
            true => None,
            false => state.incomplete_since_ms.or(Some(clock::now_ms())),
        };
        state.hindrance = error;
        settled
    }

    fn settle_now(&self, state: &mut State, trusted: &[Oid]) -> Result<Result<(), Fault>, Fault> {
        // What nobody knows to be on the disk is not shown.
        let synced = self.repo.check_synced();
        synced.map_err(pack_fault(self.id, "store objects in"))?;
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
        let seen = self.look(moved.values().filter(|oid| !trusted.contains(oid)))?;
        let gone = on_disk.keys().filter(|name| !served.contains_key(*name));
        let mut changes: Vec<RefChange> = gone.map(|name| change(name, None)).collect();
        let here = moved.iter().filter(|(_, oid)| seen.may_be_named(oid));
        changes.extend(here.map(|(name, oid)| change(name, Some(*oid))));
        state.lacking = seen.lacking;
        let moved = self.move_shown(state, &hidden, &on_disk, changes);
        Ok(seen.failed.map_or(Ok(()), Err).and(moved))
    }

    /// Keeps what refs leave, and then moves them; whatever fails keeps back only what needs it.
    fn move_shown(
        &self,
        state: &mut State,
        hidden: &BTreeMap<Vec<u8>, Oid>,
        on_disk: &BTreeMap<Vec<u8>, Oid>,
        mut changes: Vec<RefChange>,
    ) -> Result<(), Fault> {
        let left = self.left(on_disk, &changes)?;
        let undone = undone(state, &left);
        let after = after(on_disk, &changes);
        let kept = self.keep_undone(&undone);
        let kept = kept.and_then(|()| self.keep_replaced(state, &left, &undone, &after));
        if kept.is_err() {
            // What would be lost stays where it is.
            let leaves = |change: &RefChange| {
                let from = on_disk.get(&change.name);
                from.is_some_and(|from| left.contains_key(from))
            };
            changes.retain(|change| !leaves(change));
        }
        let arrived = self.keep_arrived(state, hidden, &after);
        let lies = self.keep_lies(state, hidden);
        let moved = self.move_refs(&changes);
        if kept.is_ok() && moved.is_ok() {
            self.tell_undone(state, &undone);
        }
        let let_go = self.let_go(state, hidden);
        let head = self.point_head(state);
        [kept, arrived, lies, moved, let_go, head]
            .into_iter()
            .collect()
    }

    fn tell_undone(&self, state: &State, undone: &[Undone]) {
        for Undone { name, from, update } in undone {
            let name = String::from_utf8_lossy(name);
            let why = state.void(update).map(|void| void.reason.to_string());
            tracing::warn!(project = %self.id, %name, %from, %update, why, "a ref moved back: the update that it followed has no effect any more");
        }
    }

    fn point_head(&self, state: &State) -> Result<(), Fault> {
        let Some(target) = state.fold.head_target() else {
            return Ok(());
        };
        let now = self.repo.head_target();
        if now.map_err(pack_fault(self.id, "read"))?.as_deref() == Some(target.as_bytes()) {
            return Ok(());
        }
        let pointed = self.repo.set_head(target.as_bytes());
        pointed.map_err(pack_fault(self.id, "set HEAD of"))
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

    /// Looks which of `tips` are here with all that they lead to.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if nothing can be looked up; what cannot be read of one tip is that one's trouble.
    pub(super) fn look<'a>(&self, tips: impl Iterator<Item = &'a Oid>) -> Result<Seen, Fault> {
        let fault = pack_fault(self.id, "look into");
        let (mut seen, mut here) = (Seen::default(), Vec::new());
        for oid in tips.copied().collect::<BTreeSet<_>>() {
            if self.repo.has(&git(oid)).map_err(&fault)? {
                here.push(oid);
            } else {
                seen.lacking.insert(oid);
            }
        }
        let all: Vec<_> = here.iter().map(|oid| git(*oid)).collect();
        if all.is_empty() {
            return Ok(seen);
        }
        match self.repo.complete(&all) {
            Ok(true) => return Ok(seen),
            // Each alone would take as long again.
            Err(error @ gitback_pack::Fault::OverLimit { .. }) => {
                seen.unknown.extend(here);
                seen.failed = Some(fault(error));
                return Ok(seen);
            }
            Ok(false) | Err(_) => {}
        }
        for oid in here {
            match self.repo.complete(&[git(oid)]) {
                Ok(true) => {}
                Ok(false) => drop(seen.lacking.insert(oid)),
                Err(error) => {
                    seen.unknown.insert(oid);
                    seen.failed.get_or_insert(fault(error));
                }
            }
        }
        Ok(seen)
    }
}

/// What is known of some tips.
#[derive(Default)]
pub(super) struct Seen {
    /// They, or something that they lead to, are not here.
    pub(super) lacking: BTreeSet<Oid>,
    /// What they lead to cannot be read.
    pub(super) unknown: BTreeSet<Oid>,
    /// Why not.
    pub(super) failed: Option<Fault>,
}

impl Seen {
    /// Whether a ref may name it.
    pub(super) fn may_be_named(&self, oid: &Oid) -> bool {
        !self.lacking.contains(oid) && !self.unknown.contains(oid)
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

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    /// What is wrong with a commit in the middle of a history keeps no other branch from following, and the objects of
    /// no other from coming.
    fn check_beside(harm: impl FnOnce(&std::path::Path)) -> (Sample, Oid) {
        let sample = Sample::new();
        let first = sample.commit("first", &[]);
        let middle = sample.commit("middle", &[first]);
        let last = sample.commit("last", &[middle]);
        let other = sample.commit("other", &[]);
        let contained = sample.update("refs/heads/main", first, &[]);
        let claim = sample.update("refs/heads/main", last, &[contained]);
        sample.update("refs/heads/other", other, &[]);
        harm(&sample.file_of(&middle));
        let mut state = sample.cell.lock();
        sample.cell.follow(&mut state, &[]);
        assert_eq!(sample.at("refs/heads/other"), Some(other));
        assert_eq!(sample.at("refs/heads/main"), None);
        assert!(!state.has_all());
        assert_eq!(state.unjudged, [claim]);
        drop(state);
        (sample, last)
    }

    #[test]
    fn a_commit_that_is_missing_stops_its_own_branch_only() {
        let (sample, last) = check_beside(|file| std::fs::remove_file(file).expect("ours"));
        let state = sample.cell.lock();
        assert_eq!(*state.lacking(), BTreeSet::from([last]));
    }

    #[test]
    fn a_commit_that_cannot_be_read_stops_its_own_branch_only() {
        check_beside(|file| {
            std::fs::remove_file(file).expect("ours");
            std::fs::write(file, b"damaged").expect("ours");
        });
    }
}

//! Moving refs on disk.
//!
//! What others leave in the repository, such as the lock of a git that was killed, stands in the way of a ref. That one
//! stays where it is then, and keeps no other from moving.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gitback_pack::{RefChange, RefError};

use super::Cell;
use crate::daemon::chain;
use crate::fault::Fault;

/// Most refs that are tried in vain one by one at a time: on a disk that takes nothing more all of them would be.
const IN_VAIN_MAX: usize = 8;

/// Refs in whose way something was when they were last tried.
#[derive(Debug, Default)]
pub(super) struct Stuck(Mutex<Tried>);

#[derive(Debug, Default)]
struct Tried {
    /// By name, when each was tried last.
    refs: BTreeMap<Vec<u8>, u64>,
    /// Counts tries.
    now: u64,
}

impl Stuck {
    fn tried(&self) -> MutexGuard<'_, Tried> {
        // What is behind it is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is known to stand in the way of any ref.
    pub(super) fn is_empty(&self) -> bool {
        self.tried().refs.is_empty()
    }

    /// Says that all refs are where they are to be.
    pub(super) fn clear(&self) {
        self.tried().refs.clear();
    }

    fn note(&self, name: &[u8]) {
        let mut tried = self.tried();
        tried.now += 1;
        let now = tried.now;
        tried.refs.insert(name.to_vec(), now);
    }

    fn free(&self, moved: &[RefChange]) {
        let mut tried = self.tried();
        for change in moved {
            tried.refs.remove(&change.name);
        }
    }

    /// Those in whose way nothing was, as they come, and the others, of which those come first that were not tried for
    /// the longest time.
    fn part(&self, changes: &[RefChange]) -> (Vec<RefChange>, Vec<RefChange>) {
        let tried = self.tried();
        let is_free = |change: &RefChange| !tried.refs.contains_key(&change.name);
        let (free, mut stuck): (Vec<_>, Vec<_>) = changes.iter().cloned().partition(is_free);
        stuck.sort_by_key(|change| tried.refs.get(&change.name).copied());
        (free, stuck)
    }
}

/// What has become of an attempt.
struct Attempt {
    /// Why the first one could not be moved.
    fault: Option<Fault>,
    in_vain: usize,
}

impl Cell {
    /// Moves refs; one that cannot be moved keeps no other from moving.
    ///
    /// The lock of a git that is at work is free in a moment, so it is waited for, once: what was in the way the last time
    /// is only looked at, for the project's lock may be held.
    ///
    /// # Errors
    ///
    /// Why the first one was not moved, of those that may be moved later.
    pub(super) fn move_refs(&self, changes: &[RefChange]) -> Result<(), Fault> {
        let waits = self.stuck.is_empty();
        let (free, stuck) = self.stuck.part(changes);
        let mut attempt = Attempt {
            fault: None,
            in_vain: 0,
        };
        self.move_apart(&free, waits, &mut attempt);
        attempt.in_vain = 0;
        if !stuck.is_empty() && !self.is_moved(&stuck) {
            for one in stuck.chunks(1) {
                self.move_apart(one, false, &mut attempt);
            }
        }
        attempt.fault.map_or(Ok(()), Err)
    }

    /// Whether they could be moved together.
    fn is_moved(&self, changes: &[RefChange]) -> bool {
        let moved = self.repo.update_refs_at_once(changes);
        if moved.is_ok() {
            self.stuck.free(changes);
        }
        moved.is_ok()
    }

    /// Moves them together, or else in halves, until those are alone that cannot be moved.
    fn move_apart(&self, changes: &[RefChange], mut waits: bool, attempt: &mut Attempt) {
        let mut open: Vec<&[RefChange]> = vec![changes];
        open.retain(|some| !some.is_empty());
        while let Some(some) = open.pop()
            && attempt.in_vain < IN_VAIN_MAX
        {
            let moved = match std::mem::take(&mut waits) {
                true => self.repo.update_refs(some),
                false => self.repo.update_refs_at_once(some),
            };
            match (moved, some) {
                (Ok(()), _) => self.stuck.free(some),
                (Err(error), [change]) => self.note_unmoved(change, error, attempt),
                (Err(_), several) => {
                    let (one, other) = several.split_at(several.len() / 2);
                    open.extend([other, one]);
                }
            }
        }
    }

    fn note_unmoved(&self, change: &RefChange, error: RefError, attempt: &mut Attempt) {
        if let RefError::Name { .. } = error {
            // It never can be.
            let name = String::from_utf8_lossy(&change.name).into_owned();
            tracing::error!(project = %self.id, name, error = %chain(&error), "a ref cannot be served");
            return;
        }
        self.stuck.note(&change.name);
        attempt.in_vain += 1;
        attempt.fault.get_or_insert_with(|| Fault::Refs {
            project: self.id.to_string(),
            source: error,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn what_is_in_the_way_of_one_ref_keeps_no_other_from_following() {
        let sample = Sample::new();
        let (one, other) = (sample.commit("one", &[]), sample.commit("other", &[]));
        sample.update("refs/heads/main", one, &[]);
        sample.update("refs/heads/zeta", other, &[]);
        sample.obstruct("refs/heads/main");
        let mut state = sample.cell.lock();
        sample.cell.follow(&mut state, &[]);
        assert_eq!(sample.at("refs/heads/zeta"), Some(other));
        assert_eq!(sample.at("refs/heads/main"), None);
        // Nobody may count on this copy, and somebody has to try again.
        assert!(state.lacking().is_empty() && !state.has_all());
        assert!(
            state
                .hindrance()
                .is_some_and(|why| why.contains("move refs"))
        );
        sample.clear("refs/heads/main");
        sample.cell.follow_again(&mut state);
        assert_eq!(sample.at("refs/heads/main"), Some(one));
        assert!(state.has_all() && state.hindrance().is_none());
        assert!(sample.cell.stuck.is_empty());
    }

    #[test]
    fn however_many_refs_are_stuck_each_of_the_others_gets_its_turn() {
        let sample = Sample::new();
        let tip = sample.commit("tip", &[]);
        let names: Vec<String> = (0..3 * IN_VAIN_MAX)
            .map(|at| format!("refs/heads/{at:02}"))
            .collect();
        for name in &names {
            sample.update(name, tip, &[]);
            sample.obstruct(name);
        }
        sample.update("refs/heads/zeta", tip, &[]);
        let mut state = sample.cell.lock();
        let mut tries = 0;
        while sample.at("refs/heads/zeta").is_none() {
            sample.cell.follow(&mut state, &[]);
            tries += 1;
            assert!(tries <= names.len(), "it never gets its turn");
        }
        // Also one that comes last of those that were stuck.
        let last = names.last().expect("many");
        sample.clear(last);
        tries = 0;
        while sample.at(last).is_none() {
            sample.cell.follow_again(&mut state);
            tries += 1;
            assert!(tries <= names.len(), "it never gets its turn");
        }
        assert!(state.hindrance().is_some());
    }

    #[test]
    fn what_the_disk_did_not_confirm_is_not_shown() {
        let sample = Sample::new();
        let one = sample.commit("one", &[]);
        sample.update("refs/heads/main", one, &[]);
        // A device that has nothing to sync refuses to.
        let packs = sample.cell.repo().path().join("objects/pack");
        let aside = packs.with_file_name("aside");
        std::fs::rename(&packs, &aside).expect("ours");
        std::os::unix::fs::symlink("/dev/null", &packs).expect("ours");
        let failed = sample.cell.repo().sync_packs();
        failed.expect_err("no directory");
        std::fs::remove_file(&packs).expect("ours");
        std::fs::rename(&aside, &packs).expect("ours");
        let mut state = sample.cell.lock();
        sample.cell.follow(&mut state, &[]);
        assert_eq!(sample.at("refs/heads/main"), None);
        assert!(!state.has_all() && !state.is_copy());
        assert!(
            state
                .hindrance()
                .is_some_and(|why| why.contains("after a failed sync"))
        );
    }

    #[test]
    fn a_value_that_cannot_be_kept_stays_where_it_is() {
        let sample = Sample::new();
        let (one, other) = (sample.commit("one", &[]), sample.commit("other", &[]));
        let first = sample.update("refs/heads/main", one, &[]);
        let mut state = sample.cell.lock();
        sample.cell.follow(&mut state, &[]);
        drop(state);
        let kept = format!("refs/gitback/old/{one}");
        sample.obstruct(&kept);
        sample.say("refs/heads/main", other, &[], &[first]);
        sample.update("refs/heads/zeta", other, &[]);
        let mut state = sample.cell.lock();
        sample.cell.follow(&mut state, &[]);
        assert_eq!(sample.at("refs/heads/main"), Some(one));
        assert_eq!(sample.at("refs/heads/zeta"), Some(other));
        assert!(!state.has_all());
        sample.clear(&kept);
        sample.cell.follow_again(&mut state);
        assert_eq!(sample.at("refs/heads/main"), Some(other));
        assert!(state.has_all());
        assert!(sample.path(&kept).is_file());
    }
}

//! What keeps repositories fast and small, beside everything else and in nobody's way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use gitback_identity::ProjectId;

use crate::cell::{Cell, State, Swept};
use crate::config::KeepReplaced;
use crate::daemon::{Envoy, chain};

/// How long packs are gathered before somebody looks whether there are many.
const GATHER: Duration = Duration::from_millis(200);
/// How often one looks for what is not used any more.
const ROUND: Duration = Duration::from_secs(30);
/// After so long without a look-up, nothing is held in memory for it.
const IDLE: Duration = Duration::from_secs(60);
/// After so long without a new pack, a project is indexed for fetches.
const QUIET: Duration = Duration::from_secs(20);
/// How often one looks for what was replaced so long ago that it may go.
const EXPIRY: Duration = Duration::from_secs(3600);
/// How soon one tries again to have objects leave that somebody may have needed, or refs follow that something stood in
/// the way of.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a pack is kept that was put together with others: who has found it before can still read it.
const RETIRED: Duration = Duration::from_secs(600);

/// The projects that want looking after, and the thread that does.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    due: Mutex<Due>,
    /// Whether somebody has everything read: one at a time, for it takes all that the disk can give.
    scrubbing: Mutex<()>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Due {
    /// Packs have come.
    grown: BTreeSet<ProjectId>,
    stopping: bool,
}

impl Maintenance {
    /// Says that a pack has come.
    pub(crate) fn note_pack(&self, project: &ProjectId) {
        if self.due().grown.insert(*project) {
            self.news.notify_all();
        }
    }

    /// The right to have everything read, unless somebody else has it.
    pub(crate) fn try_scrub(&self) -> Option<MutexGuard<'_, ()>> {
        match self.scrubbing.try_lock() {
            Ok(right) => Some(right),
            // It guards no data, so that a panic elsewhere has broken nothing.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Ends [`Maintenance::run`], after the project at hand.
    pub(crate) fn stop(&self) {
        self.due().stopping = true;
        self.news.notify_all();
    }

    /// Looks after projects until [`Maintenance::stop`].
    pub(crate) fn run(&self, envoy: &Envoy) {
        // Where packs are left to be removed.
        let mut retired: BTreeSet<ProjectId> = BTreeSet::new();
        for cell in envoy.store().all() {
            self.note_pack(cell.id());
        }
        // Where packs have come, and when the last one did.
        let mut grown_at: BTreeMap<ProjectId, Instant> = BTreeMap::new();
        let mut round = Instant::now();
        // Where objects are to leave that something has needed.
        let mut leaving: BTreeSet<ProjectId> = self.expire_all(envoy, &mut retired);
        let mut expired = Instant::now();
        let (mut swept, mut followed) = (expired, expired);
        // Refs somewhere have not followed what is stored.
        let mut lags = false;
        loop {
            let pause = match leaving.is_empty() && !lags {
                true => ROUND,
                false => AGAIN,
            };
            let Some(grown) = self.wait(pause.min(ROUND.saturating_sub(round.elapsed()))) else {
                return;
            };
            if swept.elapsed() >= AGAIN {
                swept = Instant::now();
                for project in std::mem::take(&mut leaving) {
                    self.sweep(envoy, &project, &mut leaving, &mut retired);
                }
            }
            if !lags || followed.elapsed() >= AGAIN {
                followed = Instant::now();
                lags = follow_all(envoy);
            }
            for project in grown {
                if let Some(cell) = envoy.store().founded(&project) {
                    repack(envoy, &cell);
                }
                // Also what others have taken out of use.
                retired.insert(project);
                grown_at.insert(project, Instant::now());
                if self.stops() {
                    return;
                }
            }
            if round.elapsed() < ROUND {
                continue;
            }
            round = Instant::now();
            for cell in envoy.store().all() {
                cell.repo().close_unused(IDLE);
            }
            if expired.elapsed() >= EXPIRY {
                expired = Instant::now();
                leaving = self.expire_all(envoy, &mut retired);
            }
            retired.retain(|project| !clear(envoy, project));
            let quiet = grown_at.extract_if(.., |_, last| last.elapsed() >= QUIET);
            for (project, _) in quiet.collect::<Vec<_>>() {
                self.index(envoy, &project);
            }
        }
    }

    /// Lets go of what was replaced long ago, where the configuration says so. Where objects are still to leave.
    fn expire_all(&self, envoy: &Envoy, retired: &mut BTreeSet<ProjectId>) -> BTreeSet<ProjectId> {
        let mut leaving = BTreeSet::new();
        for cell in envoy.store().all() {
            if let Some(keep) = envoy.config().keep_replaced() {
                expire(envoy, &cell, keep, &|| self.stops());
            }
            // Also what was let go before the setting was changed, or the daemon was killed.
            self.sweep(envoy, cell.id(), &mut leaving, retired);
        }
        leaving
    }

    /// Has objects leave that were let go; a project where something needs them just now is to be looked at again.
    fn sweep(
        &self,
        envoy: &Envoy,
        project: &ProjectId,
        leaving: &mut BTreeSet<ProjectId>,
        retired: &mut BTreeSet<ProjectId>,
    ) {
        let Some(cell) = envoy.store().founded(project) else {
            return;
        };
        // It takes room before it gives some back.
        if self.stops() || envoy.room().is_err() {
            return;
        }
        let removed = match cell.sweep(&|| self.stops()) {
            Ok(Swept::All(removed) | Swept::Some(removed)) => removed,
            Ok(Swept::Busy) => {
                leaving.insert(*project);
                return;
            }
            Err(fault) => {
                if envoy.store().founded(project).is_some() {
                    tracing::warn!(%project, error = %chain(&fault), "objects that were let go cannot leave yet");
                }
                return;
            }
        };
        if removed.objects > 0 {
            let (objects, bytes) = (removed.objects, removed.bytes);
            tracing::info!(%project, objects, bytes, "objects that were let go have left");
            retired.insert(*project);
            // What served fetches fast is gone with them.
            self.note_pack(project);
        }
    }

    /// Has git make what serves a large project fast.
    fn index(&self, envoy: &Envoy, project: &ProjectId) {
        let Some(cell) = envoy.store().founded(project) else {
            return;
        };
        if self.stops() || envoy.room().is_err() {
            return;
        }
        match cell.repo().index_for_serving(&|| self.stops()) {
            Ok(Some(objects)) => tracing::debug!(%project, objects, "indexed for fetches"),
            Ok(None) => {}
            Err(fault) => {
                tracing::warn!(%project, error = %chain(&fault), "cannot index for fetches");
            }
        }
    }

    /// Whether the daemon stops.
    pub(crate) fn stops(&self) -> bool {
        self.due().stopping
    }

    /// Waits for packs, at most so long; what has come, or nothing any more when the daemon stops.
    fn wait(&self, limit: Duration) -> Option<BTreeSet<ProjectId>> {
        let idle = |due: &mut Due| !due.stopping && due.grown.is_empty();
        let waited = self.news.wait_timeout_while(self.due(), limit, idle);
        let (due, _) = waited.expect("no thread panics with what is due");
        // More packs of the same push may be on their way.
        let gathers = !due.grown.is_empty();
        let working = |due: &mut Due| gathers && !due.stopping;
        let waited = self.news.wait_timeout_while(due, GATHER, working);
        let (mut due, _) = waited.expect("no thread panics with what is due");
        (!due.stopping).then(|| std::mem::take(&mut due.grown))
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().expect("no thread panics with what is due")
    }
}

/// Lets refs follow what is stored, if they have not yet, and says what is shown then: what stood in the way may be gone.
pub(crate) fn follow_again(envoy: &Envoy, cell: &Cell, state: &mut State) {
    let (shown, was_hindered) = (state.shown_digest(), state.hindrance().is_some());
    cell.follow_again(state);
    if was_hindered && state.hindrance().is_none() {
        tracing::info!(project = %cell.id(), "refs have followed what is stored");
    }
    if state.shown_digest() != shown {
        envoy.heal().changed_to(cell, state);
    }
}

/// The same for all projects in which something stood in the way; whether something still does.
fn follow_all(envoy: &Envoy) -> bool {
    let mut lags = false;
    for cell in envoy.store().all() {
        let Some(mut state) = cell.lock_if_sound() else {
            continue;
        };
        if state.hindrance().is_some() {
            follow_again(envoy, &cell, &mut state);
            lags |= state.hindrance().is_some();
        }
    }
    lags
}

/// Lets go of what was replaced long ago in one project.
fn expire(envoy: &Envoy, cell: &Cell, keep: &KeepReplaced, stop: &dyn Fn() -> bool) {
    match cell.let_go_old(keep, stop) {
        Ok(0) => {}
        Ok(values) => {
            tracing::info!(project = %cell.id(), values, keep_replaced = %keep, "let go of what was replaced long ago");
        }
        Err(fault) => {
            if envoy.store().founded(cell.id()).is_some() {
                tracing::warn!(project = %cell.id(), error = %chain(&fault), "cannot let go of what was replaced");
            }
        }
    }
}

/// Puts the small packs of a project together.
fn repack(envoy: &Envoy, cell: &Cell) {
    // It takes room before it gives some back.
    if envoy.room().is_err() {
        return;
    }
    match cell.repo().repack_small() {
        Ok(None) => {}
        Ok(Some(repacked)) => {
            for path in &repacked.damaged {
                tracing::error!(project = %cell.id(), path = %path.display(), "a pack is damaged: vigo swarm gitback scrub");
            }
            if repacked.packs > 0 {
                let (packs, objects) = (repacked.packs, repacked.objects);
                tracing::debug!(project = %cell.id(), packs, objects, "put packs together");
            }
        }
        Err(fault) => {
            // A copy that was given up meanwhile is gone from its place.
            if envoy.store().founded(cell.id()).is_some() {
                tracing::warn!(project = %cell.id(), error = %chain(&fault), "cannot put packs together");
            }
        }
    }
}

/// Removes the packs that were put together with others long enough ago; whether none is left.
fn clear(envoy: &Envoy, project: &ProjectId) -> bool {
    let Some(cell) = envoy.store().founded(project) else {
        return true;
    };
    match cell.repo().clear_retired(RETIRED) {
        Ok(left) => left == 0,
        Err(fault) => {
            tracing::warn!(%project, error = %chain(&fault), "cannot remove packs that are no longer used");
            false
        }
    }
}

/// Runs `work` on a thread that gives way to others, where the system lets it.
pub(crate) fn run(envoy: &Arc<Envoy>) {
    // Of the calling thread alone, on Linux.
    let _ = rustix::process::setpriority_process(None, 10);
    envoy.maintenance().run(envoy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reads_everything_at_a_time() {
        let maintenance = Maintenance::default();
        let first = maintenance.try_scrub();
        assert!(first.is_some());
        assert!(maintenance.try_scrub().is_none());
        drop(first);
        assert!(maintenance.try_scrub().is_some());
    }
}

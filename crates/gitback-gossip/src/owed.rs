//! What did not reach whom and is still to.

use std::collections::BTreeMap;
use std::ops::Bound;

use gitback_identity::{EnvoyKey, ProjectId};

use crate::agenda::Agenda;
use crate::backoff::Backoff;
use crate::millis::Millis;

/// Most jobs for one peer. What does not fit is found again when digests are compared.
pub const OWED_PER_PEER_MAX: usize = 1_024;
/// Most jobs in all.
pub const OWED_MAX: usize = 16_384;
/// Longest reason that is kept, in bytes.
const REASON_MAX: usize = 256;

/// One job for each peer and project, however many pushes it stands for: what is delivered is what is held then.
#[derive(Debug, Default)]
pub struct Owed {
    peers: BTreeMap<EnvoyKey, Jobs>,
    total: usize,
}

#[derive(Debug)]
struct Jobs {
    jobs: BTreeMap<ProjectId, Job>,
    /// Those that nobody is at.
    agenda: Agenda<ProjectId>,
}

#[derive(Debug)]
struct Job {
    reason: String,
    since: Millis,
    attempts: u32,
    backoff: Backoff,
    /// Something was added while it was being delivered.
    again: bool,
}

/// A job as status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// To whom.
    pub to: EnvoyKey,
    /// Of which project.
    pub project: ProjectId,
    /// Why the last attempt failed.
    pub reason: String,
    /// Since when.
    pub since: Millis,
    /// How often it was tried.
    pub attempts: u32,
}

impl Owed {
    /// Nothing is owed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `to` lacks something of `project`. A job that is there already stays as old as it is and keeps its
    /// wait; one that is being delivered goes out once more. `false` if there is no room.
    pub fn owe(
        &mut self,
        now: Millis,
        to: EnvoyKey,
        project: ProjectId,
        reason: &str,
        backoff: Backoff,
    ) -> bool {
        let total = self.total;
        let peer = self.peers.entry(to).or_insert_with(|| Jobs {
            jobs: BTreeMap::new(),
            agenda: Agenda::new(),
        });
        if let Some(job) = peer.jobs.get_mut(&project) {
            job.again = !peer.agenda.contains(&project);
            job.reason = shortened(reason);
            return true;
        }
        if peer.jobs.len() >= OWED_PER_PEER_MAX || total >= OWED_MAX {
            self.tidy(&to);
            return false;
        }
        let job = Job {
            reason: shortened(reason),
            since: now,
            attempts: 0,
            backoff,
            again: false,
        };
        peer.jobs.insert(project, job);
        peer.agenda.put(project, now);
        self.total += 1;
        true
    }

    /// Takes the job for `to` that is due longest, of those that are not `busy`; the caller says later how it ended.
    pub fn start(
        &mut self,
        now: Millis,
        to: &EnvoyKey,
        busy: impl Fn(&ProjectId) -> bool,
    ) -> Option<ProjectId> {
        let peer = self.peers.get_mut(to)?;
        let project = peer.agenda.ready(now).find(|project| !busy(project))?;
        peer.agenda.remove(&project);
        let job = peer.jobs.get_mut(&project)?;
        job.again = false;
        job.attempts = job.attempts.saturating_add(1);
        Some(project)
    }

    /// The job is done, unless something was added meanwhile: then it is due again.
    pub fn delivered(&mut self, now: Millis, to: &EnvoyKey, project: &ProjectId) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        match peer.jobs.get_mut(project) {
            None => return,
            Some(job) if job.again => {
                job.again = false;
                job.backoff.reset();
                peer.agenda.put(*project, now);
                return;
            }
            Some(_) => {}
        }
        peer.jobs.remove(project);
        peer.agenda.remove(project);
        self.total -= 1;
        self.tidy(to);
    }

    /// The attempt failed: the job is due again after its wait, or with `slower`, after that one.
    pub fn failed(
        &mut self,
        now: Millis,
        to: &EnvoyKey,
        project: &ProjectId,
        reason: &str,
        slower: Option<&Backoff>,
        random: u64,
    ) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let Some(job) = peer.jobs.get_mut(project) else {
            return;
        };
        let wait = match slower {
            None => job.backoff.fail(random),
            Some(slower) => {
                let mut slower = slower.clone();
                let attempts = job.attempts.clamp(1, u64::BITS);
                (0..attempts).fold(Millis(0), |_, _| slower.fail(random))
            }
        };
        job.again = false;
        job.reason = shortened(reason);
        peer.agenda.put(*project, now.plus(wait));
    }

    /// Everything owed to `to` is due now: it is back.
    pub fn hasten(&mut self, now: Millis, to: &EnvoyKey) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let mut waiting: Vec<(Millis, ProjectId)> = peer
            .jobs
            .iter()
            .filter(|(project, _)| peer.agenda.contains(project))
            .map(|(project, job)| (job.since, *project))
            .collect();
        waiting.sort_unstable();
        for (_, project) in waiting {
            peer.agenda.put(project, now);
        }
    }

    /// Nobody is owed anything of `project` any more.
    pub fn drop_project(&mut self, project: &ProjectId) {
        let mut dropped = 0;
        self.peers.retain(|_, peer| {
            dropped += usize::from(peer.jobs.remove(project).is_some());
            peer.agenda.remove(project);
            !peer.jobs.is_empty()
        });
        self.total -= dropped;
    }

    /// `to` is owed nothing any more.
    pub fn forget(&mut self, to: &EnvoyKey) {
        if let Some(peer) = self.peers.remove(to) {
            self.total -= peer.jobs.len();
        }
    }

    /// Who is owed something.
    pub fn peers(&self) -> impl Iterator<Item = &EnvoyKey> {
        self.peers.keys()
    }

    /// Who of a range of keys is owed something.
    pub(crate) fn peers_in(
        &self,
        range: (Bound<EnvoyKey>, Bound<EnvoyKey>),
    ) -> impl Iterator<Item = &EnvoyKey> {
        self.peers.range(range).map(|(to, _)| to)
    }

    /// The first moment after `now` at which something is due to `to`.
    #[must_use]
    pub fn next_after(&self, now: Millis, to: &EnvoyKey) -> Option<Millis> {
        self.peers.get(to)?.agenda.next_after(now)
    }

    /// What is owed of `project`, oldest first.
    #[must_use]
    pub fn of_project(&self, project: &ProjectId) -> Vec<Debt> {
        let mut debts: Vec<Debt> = self
            .peers
            .iter()
            .filter_map(|(to, peer)| peer.jobs.get(project).map(|job| debt(to, project, job)))
            .collect();
        debts.sort_by_key(|debt| (debt.since, debt.to));
        debts
    }

    /// What is owed to `to`, oldest first.
    #[must_use]
    pub fn to_peer(&self, to: &EnvoyKey) -> Vec<Debt> {
        let jobs = self.peers.get(to).into_iter().flat_map(|peer| &peer.jobs);
        let mut debts: Vec<Debt> = jobs.map(|(project, job)| debt(to, project, job)).collect();
        debts.sort_by_key(|debt| (debt.since, debt.project));
        debts
    }

    /// How many jobs there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.total
    }

    /// Whether nothing is owed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn tidy(&mut self, to: &EnvoyKey) {
        if self.peers.get(to).is_some_and(|peer| peer.jobs.is_empty()) {
            self.peers.remove(to);
        }
    }
}

fn debt(to: &EnvoyKey, project: &ProjectId, job: &Job) -> Debt {
    Debt {
        to: *to,
        project: *project,
        reason: job.reason.clone(),
        since: job.since,
        attempts: job.attempts,
    }
}

pub(crate) fn shortened(reason: &str) -> String {
    let end = reason.floor_char_boundary(REASON_MAX);
    reason.get(..end).unwrap_or_default().to_owned()
}

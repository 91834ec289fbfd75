//! What is held here, and was.

use std::collections::BTreeMap;

use gitback_identity::ProjectId;

use crate::backoff::Backoff;
use crate::millis::Millis;

/// How many earlier digests of a project are remembered: who shows one of them is behind. Pushes that are stored together
/// make as many digests as they are, and those before them are to be known as well.
pub const EARLIER_MAX: usize = 40;
/// Most projects that are blocked at a time.
const BLOCKED_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Holdings {
    projects: BTreeMap<ProjectId, Holding>,
    /// What cannot be written here for now, held or not.
    blocked: BTreeMap<ProjectId, (Millis, Backoff)>,
}

#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) digest: [u8; 32],
    /// Newest last.
    earlier: Vec<[u8; 32]>,
    /// When the fleet was last told.
    pub(crate) told: Option<Millis>,
}

impl Holdings {
    pub(crate) fn digest(&self, project: &ProjectId) -> Option<[u8; 32]> {
        self.projects.get(project).map(|holding| holding.digest)
    }

    /// When the fleet was last told of what is held of `project`.
    pub(crate) fn told(&self, project: &ProjectId) -> Option<Millis> {
        self.projects.get(project)?.told
    }

    pub(crate) fn get_mut(&mut self, project: &ProjectId) -> Option<&mut Holding> {
        self.projects.get_mut(project)
    }

    /// Takes what is held from now on. `true` if it is not what was held before.
    pub(crate) fn hold(&mut self, project: ProjectId, digest: [u8; 32]) -> bool {
        let Some(holding) = self.projects.get_mut(&project) else {
            let first = Holding {
                digest,
                earlier: Vec::new(),
                told: None,
            };
            self.projects.insert(project, first);
            return true;
        };
        if holding.digest == digest {
            return false;
        }
        holding.earlier.retain(|earlier| *earlier != digest);
        if holding.earlier.len() >= EARLIER_MAX {
            holding.earlier.remove(0);
        }
        holding.earlier.push(holding.digest);
        holding.digest = digest;
        true
    }

    pub(crate) fn drop(&mut self, project: &ProjectId) {
        self.projects.remove(project);
        self.blocked.remove(project);
    }

    /// Whether `digest` was held here before: since sets only grow, whoever shows it has nothing that is missing here.
    pub(crate) fn had(&self, project: &ProjectId, digest: &[u8; 32]) -> bool {
        let holding = self.projects.get(project);
        holding.is_some_and(|holding| holding.earlier.contains(digest))
    }

    /// Nothing can be written of `project` now. The moment at which to try again.
    pub(crate) fn block(
        &mut self,
        now: Millis,
        project: ProjectId,
        mut retry: Backoff,
        random: u64,
    ) -> Millis {
        if !self.blocked.contains_key(&project) && self.blocked.len() >= BLOCKED_MAX {
            return now.plus(retry.fail(random));
        }
        let (until, retry) = self.blocked.entry(project).or_insert((now, retry));
        *until = now.plus(retry.fail(random));
        *until
    }

    pub(crate) fn unblock(&mut self, project: &ProjectId) {
        self.blocked.remove(project);
    }

    pub(crate) fn blocked_until(&self, project: &ProjectId) -> Millis {
        self.blocked
            .get(project)
            .map_or(Millis(0), |(until, _)| *until)
    }

    pub(crate) fn next_unblocked(&self, now: Millis) -> Option<Millis> {
        let ends = self.blocked.values().map(|(until, _)| *until);
        ends.filter(|until| *until > now).min()
    }
}

//! What must hold in every world. One invariant a file, each with the section of the design that it enforces.

mod acknowledged;
mod bounds;
mod convergence;
mod forged;
mod numbers;
mod objects;
mod replicated;
mod revoked;
mod shown;
mod starved;
mod turns;

use gitback_identity::ProjectId;

use super::world::World;

/// An invariant that did not hold.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) checker: &'static str,
    pub(super) what: String,
}

/// The names of all checkers.
#[cfg(test)]
pub(super) const NAMES: &[&str] = &[
    acknowledged::NAME,
    bounds::NAME,
    convergence::NAME,
    forged::NAME,
    numbers::NAME,
    objects::NAME,
    replicated::NAME,
    revoked::NAME,
    shown::NAME,
    starved::NAME,
    turns::NAME,
];

/// How often the fleet is looked at once the faults are over, in microseconds.
const LOOK_US: u64 = 500_000;

impl World {
    /// Somebody was told that a push is stored, and where.
    pub(super) fn check_acknowledged(&mut self, push: usize) {
        replicated::check_push(self, push);
    }

    /// Digests are about to be shown.
    pub(super) fn check_shown(&mut self, envoy: usize, list: &[(ProjectId, [u8; 32])]) {
        if !self.is_malicious(envoy) {
            shown::check(self, envoy, list);
        }
    }

    /// A project was written.
    pub(super) fn after_write(&mut self, envoy: usize, project: usize) {
        if !self.is_malicious(envoy) {
            numbers::check(self);
            objects::check(self, envoy, project);
            turns::check(self, envoy, project);
            revoked::check(self, envoy, project);
        }
        bounds::check(self, envoy);
    }

    /// An envoy has read its disk and begins.
    pub(super) fn check_started(&mut self, envoy: usize) {
        for project in 0..self.plan.projects {
            if !self.is_malicious(envoy) {
                objects::check(self, envoy, project);
            }
        }
        replicated::check_envoy(self, envoy);
    }

    /// The faults are over: has the fleet come together?
    pub(super) fn look(&mut self) {
        let apart = convergence::apart(self);
        let since = self.calm_since.unwrap_or(self.now);
        match apart {
            None => {
                let at = *self.converged.get_or_insert(self.now);
                if self.now >= at.max(since) + self.plan.watch_us {
                    self.over = true;
                    return;
                }
            }
            Some(why) => {
                if self.converged.is_some() {
                    // A peer that forges or equivocates makes news for ever; the others must stay together.
                    self.converged = self.converged.filter(|_| self.plan.malicious.is_none());
                }
                if self.now > since + convergence::LIMIT_US {
                    return self.fail(convergence::NAME, why);
                }
            }
        }
        self.after(LOOK_US, super::world::Event::Look);
    }

    /// The world is over.
    pub(super) fn check_end(&mut self) {
        acknowledged::check(self);
        forged::check(self);
        starved::check(self);
        for envoy in 0..self.plan.envoys {
            replicated::check_envoy(self, envoy);
            bounds::check(self, envoy);
        }
    }
}

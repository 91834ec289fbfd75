//! What did not reach whom, and when it is sent again.

use std::ops::Bound;

use gitback_identity::{EnvoyKey, ProjectId};

use super::Node;
use super::terms::{Failure, Output};
use crate::backoff::Backoff;
use crate::millis::Millis;

impl Node {
    pub(super) fn owes(&mut self, to: EnvoyKey, project: ProjectId, reason: &str) {
        if !self.peers.contains_key(&to) {
            return;
        }
        let backoff = Backoff::new(self.settings.retry, self.settings.retry_cap);
        // Without room the job is not lost: the difference shows again with every comparison.
        let _ = self.owed.owe(self.now, to, project, reason, backoff);
    }

    pub(super) fn delivered(
        &mut self,
        to: EnvoyKey,
        project: ProjectId,
        outcome: Result<(), Failure>,
    ) {
        let Some(called_off) = self.open.deliveries.remove(&(to, project)) else {
            return;
        };
        let (now, random) = (self.now, self.dice.roll());
        let Err(failure) = outcome else {
            self.answered(&to, false);
            if !called_off {
                self.owed.delivered(now, &to, &project);
            }
            return;
        };
        self.failed(&to, &failure, false);
        if called_off {
            return;
        }
        let refused = Backoff::new(self.settings.refused, self.settings.refused_cap);
        let slower = matches!(failure, Failure::Refused(_)).then_some(&refused);
        let reason = failure.reason();
        self.owed.failed(now, &to, &project, reason, slower, random);
    }

    pub(super) fn issue_deliveries(&mut self) {
        while self.open.deliveries.len() < self.settings.deliveries {
            let Some((to, project)) = self.next_debt() else {
                return;
            };
            self.served_last = Some(to);
            self.open.deliveries.insert((to, project), false);
            self.outputs.push_back(Output::Deliver { project, to });
        }
    }

    fn next_debt(&mut self) -> Option<(EnvoyKey, ProjectId)> {
        let (now, open) = (self.now, &self.open.deliveries);
        let after = self.served_last.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.owed.peers_in((after, Bound::Unbounded));
        let round: Vec<EnvoyKey> = later.chain(self.owed.peers()).copied().collect();
        for to in round {
            let free = open.keys().filter(|(peer, _)| *peer == to).count()
                < self.settings.deliveries_per_peer;
            let usable = self.peers.get(&to).is_some_and(|peer| peer.is_usable(now));
            if !free || !usable {
                continue;
            }
            let busy = |project: &ProjectId| open.contains_key(&(to, *project));
            if let Some(project) = self.owed.start(now, &to, busy) {
                return Some((to, project));
            }
        }
        None
    }

    /// When time alone makes another delivery possible.
    pub(super) fn next_delivery(&self) -> Option<Millis> {
        let peers = self.owed.peers();
        let usable = peers.filter(|to| {
            self.peers
                .get(to)
                .is_some_and(|peer| peer.is_usable(self.now))
        });
        usable
            .filter_map(|to| self.owed.next_after(self.now, to))
            .min()
    }
}

//! Who is there, who is tried when, and with whom to compare.

use gitback_identity::EnvoyKey;

use super::Node;
use super::terms::{Failure, Output};
use crate::millis::Millis;

impl Node {
    /// One round of comparisons.
    pub(super) fn tick(&mut self) {
        let tick = self.settings.tick;
        // A tick takes between three quarters and five quarters of its length, so that a fleet does not march in step.
        let jitter = self.dice.roll() % (tick.0 / 2).max(1);
        let pause = Millis((tick.0 - tick.0 / 4).saturating_add(jitter));
        self.next_tick = self.now.plus(pause.max(Millis(1)));
        self.probes_left = self.settings.probes;
        self.rumours.tick();
        self.tick_places();
        self.expire_addresses();
        let (now, cap) = (self.now, self.settings.penalty_cap);
        let mut candidates = Vec::new();
        for (key, peer) in &mut self.peers {
            peer.forgive(now, cap);
            if peer.is_candidate(now) && !self.open.compares.contains(key) {
                candidates.push((peer.last_compared, *key));
            }
        }
        for key in self.rounds.pick(candidates, &mut self.dice) {
            self.queue_compare(&key);
        }
    }

    /// Tries those that are away, or have served their penalty, and whose time has come.
    pub(super) fn probe(&mut self) {
        while let Some((due, key)) = self.probes.first().copied() {
            if due > self.now || self.probes_left == 0 {
                return;
            }
            self.probes.pop_first();
            let Some(peer) = self.peers.get(&key) else {
                continue;
            };
            // An entry that was overtaken by another is void.
            if peer.is_penalised(self.now) || peer.next_probe().is_some_and(|next| next > self.now)
            {
                continue;
            }
            self.probes_left -= 1;
            self.queue_compare(&key);
        }
    }

    pub(super) fn queue_compare(&mut self, key: &EnvoyKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if self.open.compares.contains(key) {
            peer.again = true;
        } else if !peer.queued {
            peer.queued = true;
            self.compares.push_back(*key);
        }
    }

    pub(super) fn issue_compares(&mut self) {
        while self.open.compares.len() < self.settings.compares {
            let Some(key) = self.compares.pop_front() else {
                return;
            };
            let Some(peer) = self.peers.get_mut(&key) else {
                continue;
            };
            peer.queued = false;
            if peer.is_penalised(self.now) {
                continue;
            }
            peer.again = false;
            peer.truncated = false;
            peer.useful = false;
            self.open.compares.insert(key);
            self.outputs.push_back(Output::Compare { with: key });
        }
    }

    /// Compares with everybody that is not being punished, away or not.
    pub(super) fn compare_all(&mut self) {
        let keys: Vec<EnvoyKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.queue_compare(&key);
        }
    }

    /// A peer asked for something.
    pub(super) fn asked(&mut self, key: &EnvoyKey) {
        let (now, tick) = (self.now, self.settings.tick);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if let Some(next) = peer.asked(now, tick) {
            self.probes.insert((next, *key));
        }
    }

    /// A command was answered, whatever the answer was: the peer is there.
    pub(super) fn answered(&mut self, key: &EnvoyKey, by_comparison: bool) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let was_away = peer.next_probe().is_some();
        if !peer.answered(now) {
            self.was_told(key);
            return;
        }
        self.is_to_be_told(key);
        if was_away {
            self.log(key, "answers again".to_owned());
        }
        if !by_comparison {
            self.queue_compare(key);
        }
        self.mesh.join(now, &[*key]);
        self.owed.hasten(now, key);
    }

    /// What a failure says of the peer. The same for every command.
    pub(super) fn failed(&mut self, key: &EnvoyKey, failure: &Failure, by_comparison: bool) {
        match failure {
            Failure::Away(reason) => self.unreachable(key, reason),
            Failure::Lied(reason) => {
                self.answered(key, true);
                self.punish(key, reason);
            }
            Failure::Refused(_) | Failure::Busy(_) => self.answered(key, by_comparison),
            Failure::Ours(_) => self.undecided(key),
        }
    }

    fn unreachable(&mut self, key: &EnvoyKey, reason: &str) {
        let random = self.dice.roll();
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let (next, gone) = peer.failed(self.now, reason, random);
        if let Some(next) = next {
            self.probes.insert((next, *key));
        }
        if gone {
            self.telling.is_away(key);
            self.wants.forget(key);
            self.log(key, format!("does not answer: {reason}"));
        }
        self.mesh.lost(self.now, key);
    }

    /// The attempt said nothing of the peer; one that was away is tried again all the same.
    fn undecided(&mut self, key: &EnvoyKey) {
        let random = self.dice.roll();
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.next_probe().is_none() {
            return;
        }
        let standing = peer.standing(self.now);
        if let super::Presence::Away { reason, .. } = standing.presence
            && let (Some(next), _) = peer.failed(self.now, &reason, random)
        {
            self.probes.insert((next, *key));
        }
    }

    fn punish(&mut self, key: &EnvoyKey, reason: &str) {
        let random = self.dice.roll();
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.is_penalised(self.now) {
            return;
        }
        let until = peer.punish(self.now, reason, random);
        self.wants.forget(key);
        self.probes.insert((until, *key));
        let wait = until.since(self.now).0.div_ceil(1000);
        self.log(key, format!("is left alone for {wait} s: {reason}"));
    }

    /// Its best known addresses changed: whoever was away may be there now.
    pub(super) fn moved(&mut self, key: &EnvoyKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let addresses = peer.addresses();
        self.outputs.push_back(Output::Moved {
            peer: *key,
            addresses,
        });
        if peer.next_probe().is_some() {
            self.queue_compare(key);
        }
    }
}

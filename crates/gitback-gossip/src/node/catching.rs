//! What is missing here, and from whom it is brought in.

use std::collections::BTreeMap;

use gitback_identity::{EnvoyKey, ProjectId};

use super::Node;
use super::pairs::Shown;
use super::peers::{LAGGING_MAX, Lag};
use super::terms::{Difference, Failure, News, Output};
use super::wants::{WANTS_PER_PEER_MAX, Want};
use crate::backoff::Backoff;
use crate::millis::Millis;

/// After how many ticks a peer that is behind has had time to catch up by itself.
const LAG_TICKS: u64 = 3;

impl Node {
    pub(super) fn compared(&mut self, with: EnvoyKey, outcome: Result<Vec<Difference>, Failure>) {
        if !self.open.compares.remove(&with) {
            return;
        }
        let (now, random) = (self.now, self.dice.roll());
        let again = match self.peers.get_mut(&with) {
            Some(peer) => std::mem::take(&mut peer.again),
            None => return,
        };
        match outcome {
            Ok(differences) => {
                self.answered(&with, true);
                if let Some(peer) = self.peers.get_mut(&with) {
                    peer.last_compared = Some(now);
                    peer.rested();
                }
                self.note_missing_here(with, &differences);
                self.note_missing_there(with, &differences);
            }
            Err(failure) => {
                self.failed(&with, &failure, true);
                if let Some(peer) = self.peers.get_mut(&with)
                    && !matches!(failure, Failure::Away(_))
                {
                    peer.last_compared = Some(now);
                    // A tick is wait enough for what passes by itself.
                    if matches!(failure, Failure::Refused(_)) {
                        peer.rest(now, random);
                    }
                }
            }
        }
        let usable = self
            .peers
            .get(&with)
            .is_some_and(|peer| peer.is_usable(now));
        if again && usable {
            self.queue_compare(&with);
        }
    }

    /// A peer began a comparison itself. It looks after what is missing there.
    pub(super) fn shown(&mut self, by: EnvoyKey, differences: &[Difference]) {
        if self.peers.contains_key(&by) {
            self.asked(&by);
            self.note_missing_here(by, differences);
        }
    }

    fn note_missing_here(&mut self, with: EnvoyKey, differences: &[Difference]) {
        // Whoever cannot be asked is compared with when it can.
        if !self
            .peers
            .get(&with)
            .is_some_and(|peer| peer.is_usable(self.now))
        {
            return;
        }
        // More than fits may differ: starting anywhere, each of them is among the first one day.
        let (after, before) = differences.split_at(self.dice.below(differences.len()));
        for difference in before.iter().chain(after).filter(|one| one.we_lack) {
            let (project, theirs) = (difference.project, difference.digest);
            let ours = self.holdings.digest(&project);
            let shown = Shown { theirs, ours };
            if self.holdings.had(&project, &theirs) && !self.pairs.knows(&with, &project) {
                let random = self.dice.roll();
                self.pairs
                    .unequal(self.now, with, project, shown, false, random);
                continue;
            }
            let Some(due) = self.pairs.allows(self.now, &with, &project, shown) else {
                continue;
            };
            let want = Want {
                digest: theirs,
                even_if_same: ours == Some(theirs),
            };
            if !self.wants.put(with, project, want, due) {
                if let Some(peer) = self.peers.get_mut(&with) {
                    peer.truncated = true;
                }
                break;
            }
        }
    }

    /// A peer that is behind catches up by itself, unless it cannot reach us: then it is given what it lacks.
    fn note_missing_there(&mut self, with: EnvoyKey, differences: &[Difference]) {
        let (now, tick) = (self.now, self.settings.tick);
        let Some(peer) = self.peers.get_mut(&with) else {
            return;
        };
        let mut known = std::mem::take(&mut peer.lagging);
        let behind = differences.iter().filter(|one| one.they_lack);
        let behind: Vec<&Difference> = behind
            .filter(|one| self.holdings.digest(&one.project).is_some())
            .collect();
        let mut lagging = BTreeMap::new();
        for difference in &behind {
            if let Some(lag) = known.remove(&difference.project)
                && lag.digest == difference.digest
            {
                lagging.insert(difference.project, lag);
            }
        }
        let turn = self.dice.below(behind.len());
        for difference in behind.iter().cycle().skip(turn).take(behind.len()) {
            if lagging.len() >= LAGGING_MAX {
                break;
            }
            lagging.entry(difference.project).or_insert_with(|| Lag {
                digest: difference.digest,
                next: now.plus(tick.times(LAG_TICKS)),
                backoff: Backoff::new(tick.times(LAG_TICKS), self.settings.quiet_cap),
            });
        }
        let mut owed = Vec::new();
        for (project, lag) in &mut lagging {
            if lag.next <= now {
                lag.next = now.plus(lag.backoff.fail(self.dice.roll()));
                owed.push(*project);
            }
        }
        if let Some(peer) = self.peers.get_mut(&with) {
            peer.lagging = lagging;
        }
        for project in owed {
            self.owes(with, project, "is behind and does not catch up by itself");
        }
    }

    pub(super) fn caught_up(
        &mut self,
        project: ProjectId,
        from: EnvoyKey,
        outcome: Result<News, Failure>,
    ) {
        let Some((_, want)) = self
            .open
            .catch_ups
            .get(&project)
            .copied()
            .filter(|(asked, _)| *asked == from)
        else {
            return;
        };
        self.open.catch_ups.remove(&project);
        let called_off = self.open.called_off.remove(&project);
        if !self.peers.contains_key(&from) {
            return;
        }
        if called_off {
            match &outcome {
                Ok(_) => self.answered(&from, false),
                Err(failure) => self.failed(&from, failure, false),
            }
            return;
        }
        let shown = Shown {
            theirs: want.digest,
            ours: self.holdings.digest(&project),
        };
        match outcome {
            Ok(news) => self.brought(from, project, want, shown, news),
            Err(failure) => self.not_brought(from, project, want, shown, &failure),
        }
        self.refill(&from);
    }

    fn brought(
        &mut self,
        from: EnvoyKey,
        project: ProjectId,
        want: Want,
        shown: Shown,
        news: News,
    ) {
        let (now, random) = (self.now, self.dice.roll());
        self.answered(&from, false);
        self.holdings.unblock(&project);
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if news.changed {
            peer.brought();
        } else if !news.same {
            peer.brought_nothing(now, random);
        }
        if news.same {
            self.known_already(&project);
            self.pairs.settled(&from, &project);
        } else if news.changed && news.more {
            self.wants.put(from, project, want, now);
        } else {
            let random = self.dice.roll();
            self.pairs
                .unequal(now, from, project, shown, news.changed, random);
        }
    }

    fn not_brought(
        &mut self,
        from: EnvoyKey,
        project: ProjectId,
        want: Want,
        shown: Shown,
        failure: &Failure,
    ) {
        let (now, random) = (self.now, self.dice.roll());
        self.failed(&from, failure, false);
        match failure {
            Failure::Busy(_) => {
                let due = self.pairs.busy(now, from, project, shown, random);
                self.wants.put(from, project, want, due);
            }
            Failure::Ours(_) => {
                let retry = Backoff::new(self.settings.retry, self.settings.retry_cap);
                let due = self.holdings.block(now, project, retry, random);
                self.wants.put(from, project, want, due);
            }
            Failure::Refused(_) => {
                self.pairs.refuses(now, from, project, shown, random);
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.brought_nothing(now, random);
                }
            }
            // Whoever is back, or has served its penalty, is compared with, which shows it again.
            Failure::Away(_) | Failure::Lied(_) => {}
        }
    }

    /// Looks for more, if the last comparison showed more than could be kept and what was kept is nearly done.
    fn refill(&mut self, from: &EnvoyKey) {
        let few = self.wants.waiting(from) < WANTS_PER_PEER_MAX / 4;
        let worth = self
            .peers
            .get(from)
            .is_some_and(|peer| peer.truncated && peer.useful);
        if few && worth {
            self.queue_compare(from);
        }
    }

    pub(super) fn issue_catch_ups(&mut self) {
        while self.open.catch_ups.len() < self.settings.catch_ups {
            let Some((from, project, want)) = self.next_want() else {
                return;
            };
            let ours = self.holdings.digest(&project);
            if ours == Some(want.digest) && !want.even_if_same {
                continue;
            }
            self.open.catch_ups.insert(project, (from, want));
            self.outputs.push_back(Output::CatchUp { project, from });
        }
    }

    fn next_want(&mut self) -> Option<(EnvoyKey, ProjectId, Want)> {
        let (now, peers, open) = (self.now, &self.peers, &self.open.catch_ups);
        let (holdings, most) = (&self.holdings, self.settings.catch_ups_per_peer);
        let usable = |from: &EnvoyKey| {
            let free = open.values().filter(|(asked, _)| asked == from).count() < most;
            let peer = peers.get(from);
            free && peer.is_some_and(|peer| peer.is_usable(now) && peer.starved_until() <= now)
        };
        let busy = |project: &ProjectId| {
            open.contains_key(project) || holdings.blocked_until(project) > now
        };
        self.wants.pick(now, usable, busy)
    }

    /// When time alone makes another catch-up possible.
    pub(super) fn next_catch_up(&self) -> Option<Millis> {
        let now = self.now;
        let usable = |from: &EnvoyKey| self.peers.get(from).is_some_and(|peer| peer.is_usable(now));
        let due = self.wants.next_after(now, usable);
        let fed = self.wants.peers().filter(|from| usable(from));
        let fed = fed
            .filter_map(|from| self.peers.get(from))
            .map(|peer| peer.starved_until());
        let fed = fed.filter(|moment| *moment > now).min();
        let unblocked = self.holdings.next_unblocked(now);
        [due, fed, unblocked].into_iter().flatten().min()
    }
}

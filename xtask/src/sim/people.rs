//! The people of a simulated fleet: who pushes what, and what they say by hand.

use std::collections::BTreeMap;

use gitback_envelope::{Access, Act, EnvelopeId, Oid, RefName, Revoke, Ungrant, Verified};

use super::history::{Bits, History};
use super::prelude::{Author, grant};
use super::replica::push::Want;
use super::replica::work::{Job, Then, Work};
use super::world::World;

/// The branches of a simulated project.
const BRANCHES: [&str; 3] = ["refs/heads/main", "refs/heads/next", "refs/heads/topic/one"];

/// Something that a member says by hand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Saying {
    /// The founder ends a membership.
    Revoke { member: usize },
    /// A person takes the grant of one envoy back.
    Ungrant { envoy: usize },
    /// The founder grants one envoy.
    Grant { envoy: usize },
}

/// When somebody says something by hand.
#[derive(Debug, Clone)]
pub(super) struct HandAct {
    pub(super) at: u64,
    pub(super) project: usize,
    pub(super) saying: Saying,
}

impl World {
    /// A person sits down at a machine and pushes.
    pub(super) fn visit(&mut self, person: usize) {
        let project = self.rng.index(self.plan.projects);
        let own: Vec<usize> = (0..self.plan.granted)
            .filter(|envoy| envoy % self.plan.people == person)
            .filter(|envoy| self.replicas[*envoy].up && !self.is_malicious(*envoy))
            .collect();
        let Some(envoy) = self.rng.pick(&own).copied() else {
            return;
        };
        let founded = self.replicas[envoy].cells[project].fold.founder().is_some();
        if !founded {
            return;
        }
        let shelf = &self.replicas[envoy].disk.shelves[project];
        let refs = shelf.refs.clone();
        let mut wants = Vec::new();
        let mut pack = Bits::default();
        let several = self.rng.chance(100);
        for branch in 0..BRANCHES.len() {
            let wanted = if several { 500 } else { 1000 };
            let at = if several { branch } else { self.branch() };
            if self.rng.chance(wanted) {
                wants.push(self.want(BRANCHES[at], &refs, &mut pack));
            }
            if !several {
                break;
            }
        }
        if !wants.is_empty() {
            self.push(person, envoy, project, wants, pack);
        }
    }

    fn branch(&mut self) -> usize {
        if self.rng.chance(700) {
            0
        } else {
            self.rng.index(BRANCHES.len())
        }
    }

    /// What somebody who sees `refs` wants of a branch: to go on, to join what diverged, to force, or to delete.
    fn want(&mut self, branch: &str, refs: &BTreeMap<Vec<u8>, Oid>, pack: &mut Bits) -> Want {
        let name: RefName = branch.parse().expect("a ref name");
        let old = refs.get(branch.as_bytes()).copied();
        let base = old.and_then(|oid| self.history.find(&oid));
        let is_main = branch == BRANCHES[0];
        if old.is_some() && !is_main && self.rng.chance(150) {
            return Want {
                name,
                old,
                new: None,
            };
        }
        let bytes = self.rng.between(500, 15_000);
        let forces = self.rng.chance(80);
        let mut parents: Vec<u32> = base.into_iter().collect();
        if forces && let Some(base) = base {
            parents = self.history.parents(base).to_vec();
        } else if self.rng.chance(700) {
            let short = branch.trim_start_matches("refs/");
            for (other, oid) in refs {
                let text = String::from_utf8_lossy(other);
                let diverged =
                    text.starts_with("refs/envoys/") && text.contains(&format!("/{short}@"));
                if diverged && let Some(number) = self.history.find(oid) {
                    parents.push(number);
                }
            }
        }
        parents.sort_unstable();
        parents.dedup();
        let mut tip = self.history.add(parents, bytes);
        pack.insert(tip);
        for _ in 0..self.rng.below(3) {
            tip = self.history.add(vec![tip], bytes);
            pack.insert(tip);
        }
        Want {
            name,
            old,
            new: Some(tip),
        }
    }

    /// The pusher hears how it ended.
    pub(super) fn told_person(&mut self, push: usize) {
        let refused = self.pushes[push].refused == Some("fetch first");
        if refused && self.calm_since.is_none() && self.rng.chance(500) {
            let person = self.pushes[push].person;
            let after = self.rng.between(100_000, 2_000_000);
            self.after(after, super::world::Event::Visit { person });
        }
    }

    /// Somebody says something by hand.
    pub(super) fn act(&mut self, number: usize) {
        let HandAct {
            project, saying, ..
        } = self.acts[number];
        let person = match saying {
            Saying::Ungrant { envoy } => envoy % self.plan.people,
            Saying::Revoke { .. } | Saying::Grant { .. } => 0,
        };
        let own: Vec<usize> = (0..self.plan.granted)
            .filter(|envoy| envoy % self.plan.people == person)
            .filter(|envoy| self.replicas[*envoy].up && !self.is_malicious(*envoy))
            .collect();
        let Some(envoy) = self.rng.pick(&own).copied() else {
            return;
        };
        self.lock(envoy, project, Job::Say { number });
    }

    pub(super) fn say_locked(&mut self, envoy: usize, project: usize, number: usize) {
        let saying = self.acts[number].saying;
        let person = match saying {
            Saying::Ungrant { envoy } => envoy % self.plan.people,
            Saying::Revoke { .. } | Saying::Grant { .. } => 0,
        };
        let keys = std::sync::Arc::clone(&self.keys);
        let prelude = std::sync::Arc::clone(&self.preludes[project]);
        let time_ms = Some(self.wall_ms(envoy));
        let full = self.replicas[envoy].disk.full;
        let (cell, _, _) = self.cell_shelf(envoy, project);
        let puddle = keys.person(person);
        if cell.fold.access(&puddle) < Some(Access::Reader) || full {
            return;
        }
        let cut = cell.fold.cut();
        let act = match saying {
            Saying::Revoke { member } => Act::Revoke(Revoke {
                invite: prelude.invites[&member],
                cut,
            }),
            Saying::Ungrant { envoy } => Act::Ungrant(Ungrant {
                envoy: keys.envoy(envoy),
                cut,
            }),
            Saying::Grant { envoy } => grant(keys.envoy(envoy)),
        };
        let author = Author {
            secret: keys.person_secret(person),
            puddle,
            envoy: keys.envoy(envoy),
            incarnation: cell.incarnation,
            time_ms,
        };
        let envelope: Verified = author.say(&cell.fold, act);
        let before = cell.fold.clone();
        let id = *envelope.id();
        let admitted = cell.admit(vec![envelope.clone()]);
        if admitted.refused.is_some() || cell.void(&id).is_some() {
            cell.retreat(before);
            return;
        }
        let former = self.partners_of(envoy, &before);
        self.say(|| format!("person {person} says on {envoy}: {saying:?}"));
        let then = Then::Say {
            said: vec![id],
            former,
        };
        let work = Work::new(Bits::default(), vec![envelope], before, then);
        self.write(envoy, project, work);
    }

    /// It is durable: partners hear of it, and those that were partners before.
    pub(super) fn said(
        &mut self,
        envoy: usize,
        project: usize,
        said: &[EnvelopeId],
        former: &[usize],
    ) {
        self.tell_holding(envoy, project, true);
        let mut to = self.partners(envoy, project);
        let gone = former.iter().filter(|one| !to.contains(one)).copied();
        let gone: Vec<usize> = gone.collect();
        to.extend(gone);
        let to: Vec<_> = to.iter().map(|to| self.keys.envoy(*to)).collect();
        self.hand_on(envoy, project, said, None, &to, None);
    }
}

/// The commit that an object id names, for messages.
pub(super) fn named(history: &History, oid: &Oid) -> String {
    history
        .find(oid)
        .map_or_else(|| oid.short(), |number| format!("c{number}"))
}

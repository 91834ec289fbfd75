//! Driving the node: what `gitback-envoy` does with its orders.

use gitback_gossip::{
    AddressRecord, Difference, Failure, Input, Millis, Node, Output, Settings, Turn,
};
use gitback_identity::ProjectId;

use super::super::planted::Bug;
use super::super::wire::{Answer, Request};
use super::super::world::{Event, World};
use super::partner::{Partner, partner};
use super::push::PAUSE_MS;
use super::{Purpose, refused};

/// Where simulated clocks are right: some day in 2026, in milliseconds since 1970.
const EPOCH_MS: i64 = 1_790_000_000_000;

/// How long an address record is good, in milliseconds.
const RECORD_MS: u64 = 24 * 3600 * 1000;

impl World {
    /// What an envoy's own clock shows, counted from its start.
    pub(in crate::sim) fn local(&self, envoy: usize) -> Millis {
        let replica = &self.replicas[envoy];
        let true_ms = self.now.saturating_sub(replica.booted) / 1000;
        let drift = i128::from(true_ms) * i128::from(1000 + replica.drift) / 1000;
        Millis(u64::try_from(drift).unwrap_or(0))
    }

    /// When an envoy's own clock will show `at`, in microseconds of the world.
    pub(super) fn world_time(&self, envoy: usize, at: Millis) -> u64 {
        let replica = &self.replicas[envoy];
        let true_us = i128::from(at.0) * 1_000_000 / i128::from(1000 + replica.drift);
        let since = u64::try_from(true_us)
            .unwrap_or(u64::MAX)
            .saturating_add(1000);
        replica.booted.saturating_add(since)
    }

    /// What an envoy's wall clock shows, in milliseconds since 1970.
    pub(in crate::sim) fn wall_ms(&self, envoy: usize) -> u64 {
        let now = i64::try_from(self.now / 1000).unwrap_or(i64::MAX);
        let shown = EPOCH_MS + now + self.replicas[envoy].skew_ms;
        u64::try_from(shown).unwrap_or(0)
    }

    /// Starts the node of an envoy that has just come up.
    pub(in crate::sim) fn start_node(&mut self, envoy: usize) {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.replicas[envoy].seed.to_le_bytes());
        seed[8..12].copy_from_slice(&self.replicas[envoy].boot.to_le_bytes());
        let me = self.keys.envoy(envoy);
        let now = self.local(envoy);
        self.replicas[envoy].node = Some(Node::new(me, seed, Settings::default(), now));
        self.replicas[envoy].turn = Some(Turn::new(me, Millis(PAUSE_MS)));
        for peer in self.known_peers(envoy) {
            let addresses = vec![self.first_places[peer].clone()];
            let places = &mut self.replicas[envoy].known_places;
            places.insert(peer, addresses.clone());
            let input = Input::Peer {
                key: self.keys.envoy(peer),
                name: format!("envoy-{peer}"),
                addresses,
            };
            self.feed(envoy, input);
        }
        for project in 0..self.replicas[envoy].cells.len() {
            self.tell_holding(envoy, project, false);
        }
        if self.places[envoy] != self.first_places[envoy] {
            self.tell_address(envoy);
        }
    }

    /// Signs and spreads where an envoy is now.
    pub(in crate::sim) fn tell_address(&mut self, envoy: usize) {
        self.replicas[envoy].record += 1;
        let number = self.wall_ms(envoy) + self.replicas[envoy].record;
        let record = AddressRecord::sign(
            self.keys.envoy_secret(envoy),
            &format!("envoy-{envoy}"),
            &[self.places[envoy].clone()],
            number,
            self.wall_ms(envoy).saturating_add(RECORD_MS),
        );
        if let Ok(record) = record {
            self.feed(envoy, Input::OwnRecord(record));
        }
    }

    /// Who is called sees from where. An envoy that has moved is found again by those that it calls.
    pub(in crate::sim) fn see_caller(&mut self, envoy: usize, from: usize) {
        let place = &self.places[from];
        let places = self.replicas[envoy].known_places.get(&from);
        if places.is_some_and(|places| !places.contains(place)) {
            let input = Input::Sighted {
                key: self.keys.envoy(from),
                address: place.clone(),
            };
            self.feed(envoy, input);
        }
    }

    /// Tells an envoy's node what happened, and does what it orders.
    pub(in crate::sim) fn feed(&mut self, envoy: usize, input: Input) {
        let now = self.local(envoy);
        let Some(node) = self.replicas[envoy].node.as_mut() else {
            return;
        };
        node.handle(now, input);
        self.obey(envoy);
    }

    fn obey(&mut self, envoy: usize) {
        while let Some(order) = self.poll(envoy) {
            match order {
                Output::Message { to, bytes } => self.pass_on(envoy, &to, bytes),
                Output::Compare { with } => {
                    let Some(with) = self.keys.find(&with) else {
                        continue;
                    };
                    if self.bug == Some(Bug::StarvedPeer) && with == self.plan.envoys - 1 {
                        self.say_compared(envoy, with, Ok(Vec::new()));
                        continue;
                    }
                    let list = self.digests(envoy, with);
                    self.check_shown(envoy, &list);
                    self.call(envoy, with, Request::Digests(list), Purpose::Compare);
                }
                Output::CatchUp { project, from } => {
                    self.say(|| format!("{envoy} is to catch up from {:?}", self.keys.find(&from)));
                    let (Some(at), Some(peer)) =
                        (self.find_project(&project), self.keys.find(&from))
                    else {
                        let outcome = Err(Failure::Refused("no such project".to_owned()));
                        self.feed(
                            envoy,
                            Input::CaughtUp {
                                project,
                                from,
                                outcome,
                            },
                        );
                        continue;
                    };
                    self.start_catch(envoy, at, peer);
                }
                Output::Deliver { project, to } => {
                    let at = self.find_project(&project).expect("it owes what it holds");
                    let to = self.keys.find(&to).expect("it owes whom it knows");
                    self.deliver(envoy, at, to);
                }
                Output::Moved { peer, addresses } => {
                    if let Some(peer) = self.keys.find(&peer) {
                        self.replicas[envoy].known_places.insert(peer, addresses);
                    }
                }
                Output::Log { peer, what } => {
                    let peer = self.keys.find(&peer);
                    self.say(|| format!("{envoy} notes of {peer:?}: {what}"));
                }
            }
        }
        self.plan_wake(envoy);
    }

    fn poll(&mut self, envoy: usize) -> Option<Output> {
        self.replicas[envoy].node.as_mut()?.poll()
    }

    fn plan_wake(&mut self, envoy: usize) {
        let replica = &self.replicas[envoy];
        let Some(due) = replica.node.as_ref().and_then(Node::next_wake) else {
            return;
        };
        let at = self.world_time(envoy, due).max(self.now);
        if replica.wake_at.is_none_or(|planned| at < planned) {
            let boot = replica.boot;
            self.replicas[envoy].wake_at = Some(at);
            self.at(at, Event::Wake { envoy, boot });
        }
    }

    fn pass_on(&mut self, envoy: usize, to: &gitback_identity::EnvoyKey, bytes: Vec<u8>) {
        let Some(to) = self.keys.find(to) else {
            return;
        };
        self.book.largest_message = self.book.largest_message.max(bytes.len());
        self.figures.gossip_messages += 1;
        self.figures.gossip_bytes += bytes.len() as u64;
        self.call(envoy, to, Request::Gossip(bytes.into()), Purpose::Gossip);
    }

    pub(in crate::sim) fn gossip_sent(
        &mut self,
        envoy: usize,
        to: usize,
        outcome: Result<Answer, Failure>,
    ) {
        let to = self.keys.envoy(to);
        let outcome = match outcome {
            Ok(Answer::Refused(why)) => Err(refused(why)),
            Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        };
        self.feed(envoy, Input::MessageSent { to, outcome });
    }

    /// What `envoy` shows `to` of all projects.
    pub(in crate::sim) fn digests(&self, envoy: usize, to: usize) -> Vec<(ProjectId, [u8; 32])> {
        let replica = &self.replicas[envoy];
        let key = self.keys.envoy(to);
        let shared = replica.cells.iter().zip(&replica.disk.shelves);
        shared
            .filter(|(cell, _)| cell.fold.founder().is_some())
            .filter(|(cell, _)| partner(cell, &key) == Partner::Full)
            .map(|(cell, shelf)| {
                let digest = if self.bug == Some(Bug::BoastsOfWhatItLacks) {
                    cell.fold.digest()
                } else {
                    cell.shown_digest(shelf)
                };
                (*cell.fold.id(), digest)
            })
            .collect()
    }

    pub(in crate::sim) fn compared(
        &mut self,
        envoy: usize,
        with: usize,
        outcome: Result<Answer, Failure>,
    ) {
        let outcome = match outcome {
            Ok(Answer::Digests(theirs)) => {
                let now = self.now;
                self.replicas[envoy].compared.insert(with, now);
                Ok(self.differences(envoy, with, &theirs))
            }
            Ok(Answer::Refused(why)) => Err(refused(why)),
            Ok(_) => Err(Failure::Lied("an answer to something else".to_owned())),
            Err(failure) => Err(failure),
        };
        self.say_compared(envoy, with, outcome);
    }

    fn say_compared(
        &mut self,
        envoy: usize,
        with: usize,
        outcome: Result<Vec<Difference>, Failure>,
    ) {
        if let Ok(differences) = &outcome {
            for Difference {
                we_lack, they_lack, ..
            } in differences
            {
                self.say(|| {
                    format!("{envoy} differs from {with}: lacks {we_lack}, other {they_lack}")
                });
            }
        }
        let with = self.keys.envoy(with);
        self.feed(envoy, Input::Compared { with, outcome });
    }

    pub(super) fn differences(
        &mut self,
        envoy: usize,
        with: usize,
        theirs: &[(ProjectId, [u8; 32])],
    ) -> Vec<Difference> {
        let replica = &self.replicas[envoy];
        let key = self.keys.envoy(with);
        let mut differences = Vec::new();
        for (id, digest) in theirs {
            let Some(project) = self.find_project(id) else {
                continue;
            };
            let (cell, shelf) = (&replica.cells[project], &replica.disk.shelves[project]);
            let founded = cell.fold.founder().is_some();
            let heard = !founded || partner(cell, &key) != Partner::Former;
            let same = founded && cell.shown_digest(shelf) == *digest;
            if heard && !(same && cell.is_whole(shelf)) {
                differences.push(Difference {
                    project: *id,
                    digest: *digest,
                    we_lack: true,
                    they_lack: founded && !same,
                });
            }
        }
        let mut unlisted = Vec::new();
        for (project, cell) in replica.cells.iter().enumerate() {
            let id = cell.fold.id();
            let listed = theirs.iter().any(|(other, _)| other == id);
            let held = cell.fold.founder().is_some();
            if held && !listed && partner(cell, &key) == Partner::Full {
                unlisted.push((project, *id));
            }
        }
        for (project, id) in unlisted {
            // It may hold the project and not know yet that this envoy has a part in it, or know why it has none.
            let introduced = &mut self.replicas[envoy].introduced;
            differences.push(Difference {
                project: id,
                digest: [0; 32],
                we_lack: introduced.insert((with, project)),
                they_lack: true,
            });
        }
        differences
    }
}

//! A few nodes, a network that can be cut, and sets that stand for what projects hold.

use std::collections::{BTreeMap, BTreeSet};

use gitback_identity::{EnvoyKey, ProjectId, SecretKey};

use super::super::{Difference, Failure, Input, News, Node, Output, Settings};
use crate::address::AddressRecord;
use crate::dice::Dice;
use crate::millis::Millis;
use crate::places::Places;

/// What is held of a project: each bit an envelope.
pub(super) type Set = u64;

pub(super) fn secret(number: usize) -> SecretKey {
    let mut seed = [7; 32];
    seed[0] = u8::try_from(number).expect("few nodes");
    SecretKey::from_seed(&seed)
}

pub(super) fn key(number: usize) -> EnvoyKey {
    EnvoyKey::new(secret(number).public())
}

pub(super) fn project(number: u16) -> ProjectId {
    let mut bytes = [1; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    ProjectId::from_bytes(&bytes)
}

pub(super) fn digest(set: Set) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&set.to_be_bytes());
    digest
}

fn first_place(number: usize) -> String {
    format!("node{number}:4433")
}

pub(super) struct World {
    pub(super) now: Millis,
    pub(super) nodes: Vec<Host>,
    /// Who cannot reach whom.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// Where each can be called.
    places: Vec<String>,
    moves: u64,
    /// How many commands of a hundred fail for some other reason.
    pub(super) mishaps: usize,
    pub(super) dice: Dice,
    events: BTreeMap<(Millis, u64), (usize, Event)>,
    numbered: u64,
    pub(super) counts: Counts,
}

pub(super) struct Host {
    pub(super) key: EnvoyKey,
    pub(super) node: Node,
    pub(super) holds: BTreeMap<ProjectId, Set>,
    pub(super) up: bool,
    /// Counts restarts: what was under way before is lost.
    life: u32,
    open: BTreeSet<Open>,
    pub(super) logs: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) messages: usize,
    pub(super) places: usize,
    pub(super) compares: usize,
    pub(super) catch_ups: usize,
    pub(super) deliveries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    Compare(EnvoyKey),
    CatchUp(ProjectId),
    Deliver(EnvoyKey, ProjectId),
}

enum Event {
    Wake,
    Done(u32, Output),
    Arrived(EnvoyKey, Vec<u8>),
}

impl World {
    pub(super) fn new(nodes: usize, seed: &[u8; 32]) -> Self {
        let mut world = Self {
            now: Millis(1_000_000),
            nodes: Vec::new(),
            cut: BTreeSet::new(),
            places: (0..nodes).map(first_place).collect(),
            moves: 0,
            mishaps: 0,
            dice: Dice::new(seed),
            events: BTreeMap::new(),
            numbered: 0,
            counts: Counts::default(),
        };
        for at in 0..nodes {
            let node = world.fresh(key(at));
            world.nodes.push(Host {
                key: key(at),
                node,
                holds: BTreeMap::new(),
                up: true,
                life: 0,
                open: BTreeSet::new(),
                logs: Vec::new(),
            });
        }
        for at in 0..nodes {
            world.introduce(at);
        }
        world
    }

    fn fresh(&mut self, me: EnvoyKey) -> Node {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.dice.roll().to_le_bytes());
        Node::new(me, seed, Settings::default(), self.now)
    }

    fn introduce(&mut self, at: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            let input = Input::Peer {
                key: self.nodes[other].key,
                name: format!("node{other}"),
                addresses: vec![first_place(other)],
            };
            self.tell(at, input);
        }
        for (project, set) in self.nodes[at].holds.clone() {
            self.hold(at, project, set, false);
        }
        if self.places[at] != first_place(at) {
            self.tell_place(at);
        }
    }

    /// A node is somewhere else from now on, and says so.
    pub(super) fn move_away(&mut self, at: usize) {
        self.moves += 1;
        self.places[at] = format!("place{}:4433", self.moves);
        self.tell_place(at);
    }

    fn tell_place(&mut self, at: usize) {
        let addresses = [self.places[at].clone()];
        let record = AddressRecord::sign(&secret(at), "node", &addresses, self.now.0, u64::MAX);
        self.tell(at, Input::OwnRecord(record.expect("a record")));
    }

    /// Whether a node knows where to call another.
    pub(super) fn finds(&self, from: usize, to: usize) -> bool {
        let standing = self.nodes[from].node.standing(&self.nodes[to].key);
        let addresses = standing.map(|peer| peer.addresses).unwrap_or_default();
        from == to || addresses.first() == Some(&self.places[to])
    }

    /// Lets time pass until all know where to call all; `false` if it takes longer than `limit`.
    pub(super) fn find_all(&mut self, limit: Millis) -> bool {
        let (until, nodes) = (self.now.plus(limit), self.nodes.len());
        let all = |world: &Self| (0..nodes).all(|a| (0..nodes).all(|b| world.finds(a, b)));
        while !all(self) {
            if self.now > until {
                return false;
            }
            self.run_for(Millis(100));
        }
        true
    }

    /// Stops a node, or starts it again with what it holds and no memory.
    pub(super) fn set_up(&mut self, at: usize, up: bool) {
        if self.nodes[at].up == up {
            return;
        }
        self.nodes[at].up = up;
        self.nodes[at].life += 1;
        self.nodes[at].open.clear();
        if up {
            self.nodes[at].node = self.fresh(self.nodes[at].key);
            self.introduce(at);
        }
    }

    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        let up = self.nodes[from].up && self.nodes[to].up;
        up && !self.cut.contains(&(from, to)) && self.finds(from, to)
    }

    fn place(&self, key: &EnvoyKey) -> usize {
        let place = self.nodes.iter().position(|host| host.key == *key);
        place.expect("somebody known")
    }

    pub(super) fn tell(&mut self, at: usize, input: Input) {
        if !self.nodes[at].up {
            return;
        }
        self.nodes[at].node.handle(self.now, input);
        while let Some(output) = self.nodes[at].node.poll() {
            self.start(at, output);
        }
        if let Some(wake) = self.nodes[at].node.next_wake() {
            let soonest = self.now.plus(Millis(1));
            self.schedule(at, wake.max(soonest), Event::Wake);
        }
    }

    fn schedule(&mut self, at: usize, due: Millis, event: Event) {
        self.numbered += 1;
        self.events.insert((due, self.numbered), (at, event));
    }

    fn start(&mut self, at: usize, output: Output) {
        let open = match &output {
            Output::Log { what, .. } => return self.nodes[at].logs.push(what.clone()),
            Output::Moved { .. } => return,
            Output::Message { .. } => None,
            Output::Compare { with } => Some(Open::Compare(*with)),
            Output::CatchUp { project, .. } => Some(Open::CatchUp(*project)),
            Output::Deliver { project, to } => Some(Open::Deliver(*to, *project)),
        };
        if let Some(open) = open {
            assert!(self.nodes[at].open.insert(open), "{open:?} is open already");
            assert!(self.nodes[at].open.len() <= 32, "too many open commands");
        }
        let wait = Millis(5 + self.dice.roll() % 200);
        let life = self.nodes[at].life;
        self.schedule(at, self.now.plus(wait), Event::Done(life, output));
    }

    pub(super) fn hold(&mut self, at: usize, project: ProjectId, set: Set, spread: bool) {
        self.nodes[at].holds.insert(project, set);
        let digest = digest(set);
        self.tell(
            at,
            Input::Holds {
                project,
                digest,
                spread,
            },
        );
    }

    /// Somebody pushes at a node; it goes to those that are reached, and is owed to the others.
    pub(super) fn push(&mut self, at: usize, project: ProjectId, bit: u32, fan_out: bool) {
        if !self.nodes[at].up {
            return;
        }
        let set = self.nodes[at].holds.get(&project).copied().unwrap_or(0) | 1 << bit;
        self.hold(at, project, set, true);
        for other in (0..self.nodes.len()).filter(|other| *other != at && fan_out) {
            if self.reaches(at, other) && self.dice.below(4) > 0 {
                let theirs = self.nodes[other].holds.get(&project).copied().unwrap_or(0);
                self.hold(other, project, theirs | set, true);
            } else {
                let (to, reason) = (self.nodes[other].key, "no answer".to_owned());
                self.tell(
                    at,
                    Input::Owes {
                        to,
                        project,
                        reason,
                    },
                );
            }
        }
    }

    /// Lets time pass until `until`.
    pub(super) fn run(&mut self, until: Millis) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let ((due, _), (at, event)) = entry.remove_entry();
            self.now = self.now.max(due);
            match event {
                Event::Wake => {
                    let due = self.nodes[at].node.next_wake();
                    if self.nodes[at].up && due.is_some_and(|due| due <= self.now) {
                        self.tell(at, Input::Wake);
                    }
                }
                Event::Arrived(from, bytes) => self.tell(at, Input::Message { from, bytes }),
                Event::Done(life, output) if life == self.nodes[at].life => self.finish(at, output),
                Event::Done(..) => {}
            }
        }
        self.now = self.now.max(until);
    }

    pub(super) fn run_for(&mut self, span: Millis) {
        self.run(self.now.plus(span));
    }

    /// Lets time pass until all hold the same; how long that took. Nothing if it takes longer than `limit`.
    pub(super) fn converge(&mut self, limit: Millis) -> Option<Millis> {
        let start = self.now;
        while !self.is_converged() {
            if self.now.since(start) > limit {
                return None;
            }
            self.run_for(Millis(100));
        }
        Some(self.now.since(start))
    }

    pub(super) fn is_converged(&self) -> bool {
        self.nodes
            .windows(2)
            .all(|pair| pair[0].holds == pair[1].holds)
    }

    fn mishap(&mut self) -> Option<Failure> {
        if self.dice.below(100) >= self.mishaps {
            return None;
        }
        let why = || "bad luck".to_owned();
        Some(match self.dice.below(4) {
            0 => Failure::Away(why()),
            1 => Failure::Refused(why()),
            2 => Failure::Busy(why()),
            _ => Failure::Ours(why()),
        })
    }

    /// How a call from `at` to `peer` goes, before it does anything.
    fn call(&mut self, at: usize, peer: &EnvoyKey) -> Result<usize, Failure> {
        let to = self.place(peer);
        if !self.reaches(at, to) {
            return Err(Failure::Away("no route".to_owned()));
        }
        self.tell(
            to,
            Input::Answered {
                peer: self.nodes[at].key,
            },
        );
        self.mishap().map_or(Ok(to), Err)
    }

    fn finish(&mut self, at: usize, output: Output) {
        match output {
            Output::Log { .. } | Output::Moved { .. } => {}
            Output::Message { to, bytes } => {
                self.counts.messages += 1;
                self.counts.places += usize::from(Places::is_one(&bytes));
                let there = self.place(&to);
                let outcome = if self.reaches(at, there) {
                    self.schedule(there, self.now, Event::Arrived(self.nodes[at].key, bytes));
                    Ok(())
                } else {
                    Err(Failure::Away("no route".to_owned()))
                };
                self.tell(at, Input::MessageSent { to, outcome });
            }
            Output::Compare { with } => {
                self.counts.compares += 1;
                self.nodes[at].open.remove(&Open::Compare(with));
                let outcome = self.call(at, &with).map(|to| {
                    let (by, differences) = (self.nodes[at].key, self.differences(to, at));
                    self.tell(to, Input::Shown { by, differences });
                    self.differences(at, to)
                });
                self.tell(at, Input::Compared { with, outcome });
            }
            Output::CatchUp { project, from } => {
                self.counts.catch_ups += 1;
                self.nodes[at].open.remove(&Open::CatchUp(project));
                let outcome = self
                    .call(at, &from)
                    .map(|to| self.catch_up(at, to, project));
                let input = Input::CaughtUp {
                    project,
                    from,
                    outcome,
                };
                self.tell(at, input);
            }
            Output::Deliver { project, to } => {
                self.counts.deliveries += 1;
                self.nodes[at].open.remove(&Open::Deliver(to, project));
                let outcome = self.call(at, &to).map(|there| {
                    let _ = self.catch_up(there, at, project);
                });
                let input = Input::Delivered {
                    to,
                    project,
                    outcome,
                };
                self.tell(at, input);
            }
        }
    }

    fn differences(&self, at: usize, to: usize) -> Vec<Difference> {
        let (ours, theirs) = (&self.nodes[at].holds, &self.nodes[to].holds);
        let projects: BTreeSet<ProjectId> = ours.keys().chain(theirs.keys()).copied().collect();
        let differing = projects
            .into_iter()
            .filter(|project| ours.get(project) != theirs.get(project));
        let difference = |project| Difference {
            project,
            digest: theirs.get(&project).map_or([0; 32], |set| digest(*set)),
            we_lack: theirs.contains_key(&project),
            they_lack: ours.contains_key(&project),
        };
        differing.map(difference).collect()
    }

    /// Brings into `at` what `from` has, at most eight envelopes at a time.
    fn catch_up(&mut self, at: usize, from: usize, project: ProjectId) -> News {
        let theirs = self.nodes[from].holds.get(&project).copied().unwrap_or(0);
        let ours = self.nodes[at].holds.get(&project).copied().unwrap_or(0);
        let mut set = ours;
        let missing = (0..Set::BITS)
            .map(|bit| 1 << bit)
            .filter(|bit| theirs & !ours & bit != 0);
        missing.take(8).for_each(|bit| set |= bit);
        if set != ours {
            self.hold(at, project, set, true);
        }
        News {
            changed: set != ours,
            same: set == theirs,
            more: theirs & !set != 0,
        }
    }
}

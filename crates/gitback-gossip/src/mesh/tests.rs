//! A swarm in one process, in a time that the test tells.

mod hostile;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};

use gitback_identity::{EnvoyKey, SecretKey};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::wire::Frame;
use super::{MESSAGE_MAX, Mesh, MeshOutput};
use crate::millis::Millis;

/// Envoys, and the network between them.
struct World {
    keys: Vec<EnvoyKey>,
    /// Those that run.
    nodes: BTreeMap<usize, Mesh>,
    /// Which part of a split network an envoy is in.
    part: Vec<u8>,
    on_the_way: BTreeMap<(Millis, u64), Parcel>,
    sent: u64,
    rng: StdRng,
    now: Millis,
    heard: BTreeSet<(usize, Vec<u8>)>,
    trace: DefaultHasher,
    /// In hundredths: messages that vanish without a word.
    vanish: u32,
}

enum Parcel {
    Message {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Failed {
        from: usize,
        to: usize,
    },
}

impl World {
    /// `count` envoys that know of one another and start at once.
    fn start(count: usize, seed: u64) -> Self {
        let keys = (0..count)
            .map(|index| {
                let index = u64::try_from(index).expect("small");
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&index.to_be_bytes());
                EnvoyKey::new(SecretKey::from_seed(&bytes).public())
            })
            .collect();
        let mut world = Self {
            keys,
            nodes: BTreeMap::new(),
            part: vec![0; count],
            on_the_way: BTreeMap::new(),
            sent: 0,
            rng: StdRng::seed_from_u64(seed),
            now: Millis(0),
            heard: BTreeSet::new(),
            trace: DefaultHasher::new(),
            vanish: 0,
        };
        for index in 0..count {
            world.boot(index);
        }
        world
    }

    fn boot(&mut self, index: usize) {
        let mut mesh = Mesh::new(self.keys[index], self.rng.random(), self.now);
        mesh.join(self.now, &self.keys);
        self.nodes.insert(index, mesh);
        self.collect(index);
    }

    fn with(&mut self, index: usize, act: impl FnOnce(&mut Mesh, Millis)) {
        let now = self.now;
        if let Some(mesh) = self.nodes.get_mut(&index) {
            act(mesh, now);
            self.collect(index);
        }
    }

    fn collect(&mut self, index: usize) {
        while let Some(output) = self.nodes.get_mut(&index).and_then(Mesh::poll) {
            format!("{} {index} {output:?}", self.now).hash(&mut self.trace);
            match output {
                MeshOutput::Send { to, message } => {
                    assert!(message.len() <= MESSAGE_MAX);
                    Frame::decode(&message).expect("what we send, we would take");
                    self.send(index, self.index(&to), message);
                }
                MeshOutput::Heard { content, .. } => {
                    assert!(self.heard.insert((index, content)), "heard twice");
                }
                MeshOutput::Up(_) | MeshOutput::Down(_) => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let at = self.now.plus(Millis(self.rng.random_range(1..40)));
        if self.rng.random_range(0..100) < self.vanish {
            return;
        }
        let reaches = self.part[from] == self.part[to] && self.nodes.contains_key(&to);
        let parcel = if reaches {
            Parcel::Message { from, to, bytes }
        } else {
            Parcel::Failed { from, to }
        };
        self.sent += 1;
        self.on_the_way.insert((at, self.sent), parcel);
    }

    fn index(&self, key: &EnvoyKey) -> usize {
        let found = self.keys.iter().position(|one| one == key);
        found.expect("of the fleet")
    }

    /// Lets time pass.
    fn run(&mut self, span: Millis) {
        let end = self.now.plus(span);
        loop {
            let parcel = self.on_the_way.keys().next().map(|(at, _)| *at);
            let wakes = self.nodes.iter().map(|(index, mesh)| {
                let at = mesh.next_wake().expect("a mesh always waits for something");
                (at, *index)
            });
            let wake = wakes.min();
            let next = parcel.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if parcel == Some(next) {
                let (_, parcel) = self.on_the_way.pop_first().expect("just seen");
                self.deliver(parcel);
            } else if let Some((_, index)) = wake {
                self.with(index, Mesh::wake);
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Message { from, to, bytes } => {
                let key = self.keys[from];
                self.with(to, |mesh, now| {
                    mesh.receive(now, &key, &bytes).expect("well formed");
                });
            }
            Parcel::Failed { from, to } => {
                let key = self.keys[to];
                self.with(from, |mesh, now| mesh.lost(now, &key));
            }
        }
    }

    fn kill(&mut self, index: usize) {
        self.nodes.remove(&index);
    }

    /// Spreads `content` from `index`, and tells who of those that run has not heard of it after `within`.
    fn missed(&mut self, index: usize, content: &[u8], within: Millis) -> Vec<usize> {
        self.with(index, |mesh, now| mesh.spread(now, content.to_vec()));
        self.run(within);
        let others = self.nodes.keys().filter(|other| **other != index);
        others
            .filter(|other| !self.heard.contains(&(**other, content.to_vec())))
            .copied()
            .collect()
    }

    fn neighbours(&self, index: usize) -> BTreeSet<usize> {
        let mesh = self.nodes.get(&index);
        let keys = mesh.map(Mesh::neighbours).unwrap_or_default();
        keys.iter().map(|key| self.index(key)).collect()
    }

    fn parts_are_apart(&self) -> bool {
        self.nodes.keys().all(|index| {
            let near = self.neighbours(*index);
            near.iter()
                .all(|near| self.part[*near] == self.part[*index])
        })
    }
}

const SECONDS: fn(u64) -> Millis = Millis::from_secs;

#[test]
fn news_reaches_everybody_of_fifty() {
    let mut world = World::start(50, 1);
    world.run(SECONDS(30));
    for from in [0, 7, 49] {
        let content = format!("news of {from}");
        assert_eq!(
            world.missed(from, content.as_bytes(), SECONDS(10)),
            Vec::<usize>::new()
        );
    }
}

#[test]
fn a_fleet_of_two_are_neighbours_at_once() {
    let mut world = World::start(2, 2);
    world.run(SECONDS(1));
    assert_eq!(world.neighbours(0), BTreeSet::from([1]));
    assert_eq!(world.neighbours(1), BTreeSet::from([0]));
    assert!(world.missed(1, b"hello", SECONDS(1)).is_empty());
}

#[test]
fn who_is_left_finds_together_after_many_died_without_a_word() {
    let mut world = World::start(50, 3);
    world.run(SECONDS(30));
    for index in 0..20 {
        world.kill(index);
    }
    world.run(SECONDS(120));
    for from in [20, 35, 49] {
        let content = format!("still here: {from}");
        assert_eq!(
            world.missed(from, content.as_bytes(), SECONDS(10)),
            Vec::<usize>::new()
        );
    }
    for index in 0..20 {
        world.boot(index);
    }
    world.run(SECONDS(30));
    assert_eq!(world.missed(5, b"back", SECONDS(10)), Vec::<usize>::new());
}

#[test]
fn halves_that_were_apart_for_long_find_together() {
    let mut world = World::start(50, 4);
    world.run(SECONDS(30));
    for index in 25..50 {
        world.part[index] = 1;
    }
    world.run(SECONDS(1800));
    assert!(world.parts_are_apart(), "each half is complete in itself");
    assert_eq!(world.missed(0, b"apart", SECONDS(10)).len(), 25);
    world.part.fill(0);
    world.run(SECONDS(120));
    assert_eq!(world.missed(0, b"one", SECONDS(10)), Vec::<usize>::new());
    assert_eq!(world.missed(49, b"two", SECONDS(10)), Vec::<usize>::new());
}

#[test]
fn who_was_alone_comes_back() {
    let mut world = World::start(10, 5);
    world.run(SECONDS(30));
    world.part[3] = 1;
    // Its neighbours cannot be reached as soon as anybody writes to them, for instance to tell them something.
    world.run(SECONDS(600));
    assert_eq!(world.neighbours(3), BTreeSet::new());
    world.part[3] = 0;
    world.run(SECONDS(90));
    assert!(!world.neighbours(3).is_empty());
    assert_eq!(world.missed(3, b"again", SECONDS(5)), Vec::<usize>::new());
}

#[test]
fn one_that_was_restarted_is_a_neighbour_of_those_who_think_so() {
    let mut world = World::start(12, 6);
    world.run(SECONDS(30));
    world.boot(4);
    // Those who still take it for a neighbour write to it, and are set right.
    for round in 0..20 {
        let content = format!("round {round}");
        world.with(9, |mesh, now| mesh.spread(now, content.into_bytes()));
        world.run(SECONDS(10));
    }
    let near = world.neighbours(4);
    let think_so: BTreeSet<usize> = (0..12)
        .filter(|index| world.neighbours(*index).contains(&4))
        .collect();
    assert_eq!(near, think_so);
    assert!(!near.is_empty());
}

#[test]
fn a_network_that_swallows_messages_does_not_break_the_swarm() {
    let mut world = World::start(30, 7);
    world.vanish = 10;
    world.run(SECONDS(600));
    world.vanish = 0;
    world.run(SECONDS(120));
    assert_eq!(world.missed(0, b"after", SECONDS(10)), Vec::<usize>::new());
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let trace = |seed| {
        let mut world = World::start(20, seed);
        world.run(SECONDS(20));
        world.kill(3);
        let _ = world.missed(0, b"news", SECONDS(100));
        world.trace.finish()
    };
    assert_eq!(trace(8), trace(8));
    assert_ne!(trace(8), trace(9));
}

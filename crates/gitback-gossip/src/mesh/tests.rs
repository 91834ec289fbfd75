//! A swarm in one process, in a time that the test tells.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};

use gitback_identity::{EnvoyKey, SecretKey};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::wire::{Announced, Body, Frame, Node, Peer, Priority, Scope, Spread, Swarm, TOPIC};
use super::{MESSAGE_MAX, Mesh, MeshOutput, MessageReject};
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
            let wakes = self.nodes.iter().filter_map(|(index, mesh)| {
                let at = mesh.next_wake().expect("a mesh always waits for something");
                Some((at, *index))
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

// What a peer may send.

fn pair() -> (Mesh, EnvoyKey) {
    let key = |seed: u8| EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public());
    let mut mesh = Mesh::new(key(1), [0; 32], Millis(0));
    let other = key(2);
    mesh.join(Millis(0), &[other]);
    (mesh, other)
}

fn frame(message: Body) -> Vec<u8> {
    let topic = TOPIC;
    Frame { topic, message }.encode()
}

fn content(content: &[u8]) -> Body {
    Body::Spread(Spread::Content {
        id: *blake3::hash(content).as_bytes(),
        content: content.to_vec(),
        scope: Scope::Swarm(0),
    })
}

fn drain(mesh: &mut Mesh) -> Vec<MeshOutput> {
    std::iter::from_fn(|| mesh.poll()).collect()
}

#[test]
fn nothing_of_a_stranger_is_read() {
    let (mut mesh, other) = pair();
    let stranger = EnvoyKey::new(SecretKey::from_seed(&[3; 32]).public());
    let message = frame(content(b"psst"));
    assert_eq!(
        mesh.receive(Millis(1), &stranger, &message),
        Err(MessageReject::Stranger)
    );
    mesh.forget(Millis(1), &other);
    assert_eq!(
        mesh.receive(Millis(1), &other, &message),
        Err(MessageReject::Stranger)
    );
}

#[test]
fn nobody_is_introduced_who_is_not_in_the_table() {
    let (mut mesh, other) = pair();
    let nobody = |last: u8| {
        let mut id = [9; 32];
        id[31] = last;
        Node {
            id: Peer(id),
            data: None,
        }
    };
    let messages = [
        Swarm::Neighbor {
            priority: Priority::High,
            data: None,
        },
        Swarm::ForwardJoin {
            peer: nobody(1),
            ttl: 3,
        },
        Swarm::Shuffle {
            origin: nobody(2).id,
            nodes: (3..9).map(nobody).collect(),
            ttl: 0,
        },
        Swarm::ShuffleReply {
            nodes: (9..20).map(nobody).collect(),
        },
    ];
    for message in messages {
        let message = frame(Body::Swarm(message));
        assert_eq!(mesh.receive(Millis(1), &other, &message), Ok(()));
    }
    let debug = format!("{:?}", mesh.core);
    assert!(!debug.contains("Peer([9, 9"), "{debug}");
    for output in drain(&mut mesh) {
        if let MeshOutput::Send { to, .. } = output {
            assert_eq!(to, other);
        }
    }
}

fn sent(outputs: &[MeshOutput]) -> Vec<Body> {
    let sent = outputs.iter().filter_map(|output| match output {
        MeshOutput::Send { message, .. } => Some(Frame::decode(message).expect("ours").message),
        MeshOutput::Heard { .. } | MeshOutput::Up(_) | MeshOutput::Down(_) => None,
    });
    sent.collect()
}

#[test]
fn who_is_mistaken_for_a_neighbour_says_so_and_gives_no_news() {
    let (mut mesh, other) = pair();
    // The other has answered nothing, and the first asking is over.
    let mut now = SECONDS(6);
    mesh.wake(now);
    let _ = drain(&mut mesh);
    mesh.asked.clear();
    let goodbye = Body::Swarm(Swarm::Disconnect {
        alive: true,
        respond: false,
    });
    let mut goodbyes = 0;
    for round in 0_u8..10 {
        // The same content twice makes the core think that the other has it from elsewhere.
        for message in [content(&[round]), content(&[round])] {
            assert_eq!(mesh.receive(now, &other, &frame(message)), Ok(()));
        }
        let bodies = sent(&drain(&mut mesh));
        goodbyes += bodies.iter().filter(|body| **body == goodbye).count();
        now = now.plus(Millis(1));
    }
    assert_eq!(goodbyes, 1, "told once, not for each message");
    mesh.spread(now, b"news".to_vec());
    assert_eq!(sent(&drain(&mut mesh)), []);
    assert!(!format!("{:?}", mesh.core).contains("lazy_push_peers: {Peer"));
}

/// When the mesh asks somebody to be its neighbour, until `end`.
fn asks(mesh: &mut Mesh, end: Millis) -> Vec<Millis> {
    let mut asks = Vec::new();
    while let Some(at) = mesh.next_wake().filter(|at| *at < end) {
        mesh.wake(at);
        let asked = sent(&drain(mesh))
            .into_iter()
            .filter(|body| matches!(body, Body::Swarm(Swarm::Join(_) | Swarm::Neighbor { .. })));
        asks.extend(asked.map(|_| at));
    }
    asks
}

#[test]
fn who_never_answers_is_asked_again_and_again_and_ever_more_rarely() {
    let (mut mesh, _) = pair();
    let asks = asks(&mut mesh, SECONDS(1800));
    let in_minutes = |from: u64, to: u64| {
        let span = SECONDS(from * 60)..SECONDS(to * 60);
        asks.iter().filter(|at| span.contains(*at)).count()
    };
    assert!(in_minutes(0, 2) >= 5, "{asks:?}");
    assert!((25..=90).contains(&in_minutes(5, 30)), "{asks:?}");
}

#[test]
fn who_was_introduced_and_did_not_answer_is_asked_again() {
    let (mut mesh, other) = pair();
    let third = EnvoyKey::new(SecretKey::from_seed(&[3; 32]).public());
    let messages = [
        Swarm::Neighbor {
            priority: Priority::High,
            data: None,
        },
        Swarm::ForwardJoin {
            peer: Node {
                id: Peer(*third.as_bytes()),
                data: None,
            },
            ttl: 0,
        },
    ];
    let [neighbour, introduced] = messages.map(|message| frame(Body::Swarm(message)));
    assert_eq!(mesh.receive(Millis(1), &other, &neighbour), Ok(()));
    // Known, and not asked on that account.
    mesh.table.insert(Peer(*third.as_bytes()), third);
    assert_eq!(mesh.receive(Millis(1), &other, &introduced), Ok(()));
    let is_to_third =
        |output: &MeshOutput| matches!(output, MeshOutput::Send { to, .. } if *to == third);
    assert!(drain(&mut mesh).iter().any(is_to_third));
    let asks = asks(&mut mesh, SECONDS(40));
    assert!(!asks.is_empty(), "the core waits no longer");
}

#[test]
fn news_is_heard_once() {
    let (mut mesh, other) = pair();
    let message = frame(content(b"news"));
    for _ in 0..2 {
        assert_eq!(mesh.receive(Millis(1), &other, &message), Ok(()));
    }
    let heard = drain(&mut mesh)
        .into_iter()
        .filter(|output| matches!(output, MeshOutput::Heard { .. }));
    assert_eq!(heard.count(), 1);
}

#[test]
fn a_forgotten_neighbour_is_told_nothing_more() {
    let (mut mesh, other) = pair();
    let message = frame(Body::Swarm(Swarm::Neighbor {
        priority: Priority::High,
        data: None,
    }));
    assert_eq!(mesh.receive(Millis(1), &other, &message), Ok(()));
    assert_eq!(mesh.neighbours(), [other]);
    mesh.forget(Millis(2), &other);
    assert_eq!(mesh.neighbours(), []);
    assert_eq!(sent(&drain(&mut mesh)), [], "nor what was still to be sent");
    mesh.spread(Millis(3), b"news".to_vec());
    for second in 1..600 {
        mesh.wake(SECONDS(second));
    }
    assert_eq!(drain(&mut mesh), []);
}

/// What the mesh holds, in letters, after each of two times in which one peer lies every second.
fn held_under_lies(seconds: [u64; 2], lies: impl Fn(u32) -> Vec<Body>) -> [usize; 2] {
    let (mut mesh, other) = pair();
    let neighbour = frame(Body::Swarm(Swarm::Neighbor {
        priority: Priority::High,
        data: None,
    }));
    assert_eq!(mesh.receive(Millis(1), &other, &neighbour), Ok(()));
    let mut second = 0;
    seconds.map(|span| {
        for _ in 0..span {
            second += 1;
            for lie in lies(second) {
                let _ = mesh.receive(SECONDS(second.into()), &other, &frame(lie));
            }
            mesh.wake(SECONDS(second.into()).plus(Millis(999)));
            let _ = drain(&mut mesh);
        }
        format!("{:?} {:?} {:?}", mesh.core, mesh.guard, mesh.alarms).len()
    })
}

/// Far more lies leave about as much behind as a few minutes of them.
#[track_caller]
fn is_bounded(lies: impl Fn(u32) -> Vec<Body>) {
    let [minutes, more] = held_under_lies([120, 1200], lies);
    assert!(more < minutes * 2, "{minutes} then {more}");
}

#[test]
fn announcing_what_nobody_has_does_not_fill_the_memory() {
    is_bounded(|second| {
        let announced = (0..100).map(|one| Announced {
            id: *blake3::hash(&(second * 100 + one).to_be_bytes()).as_bytes(),
            round: 0,
        });
        vec![Body::Spread(Spread::IHave(announced.collect()))]
    });
}

#[test]
fn spreading_nonsense_does_not_fill_the_memory() {
    is_bounded(|second| {
        let nonsense = (0..20).map(|one| content(&(second * 20 + one).to_be_bytes()));
        nonsense.collect()
    });
}

#[test]
fn coming_and_going_does_not_fill_the_memory() {
    is_bounded(|_| {
        let come = Swarm::Neighbor {
            priority: Priority::High,
            data: None,
        };
        let go = Swarm::Disconnect {
            alive: true,
            respond: false,
        };
        let ask = Swarm::ShuffleReply { nodes: Vec::new() };
        let round = [come, go, ask.clone(), ask].map(Body::Swarm);
        (0..10).flat_map(|_| round.clone()).collect()
    });
}

//! What one peer may send, and what comes of it.

use gitback_identity::{EnvoyKey, SecretKey};

use super::SECONDS;
use crate::mesh::wire::{
    Announced, Body, Frame, Node, Peer, Priority, Scope, Spread, Swarm, TOPIC,
};
use crate::mesh::{Mesh, MeshOutput, MessageReject};
use crate::millis::Millis;

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

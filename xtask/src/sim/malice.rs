//! A peer that does not keep to the rules: an envoy of the fleet, with a real key, in bad hands.

use std::sync::Arc;

use gitback_envelope::{Act, Oid, Update};

use super::planted::Bug;
use super::prelude::{Author, seal};
use super::wire::{Answer, Letter, Request};
use super::world::World;

/// What a malicious peer does, beside what all envoys do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vice {
    /// Hears everything, answers hardly anything.
    Silent,
    /// Shows digests of what it does not hold.
    Boasts,
    /// Sends envelopes that others signed, altered, and new ones in others' names.
    Forges,
    /// Says again what was said before, and what somebody else said, as if new.
    Replays,
    /// Sends more than anybody takes.
    Floods,
    /// Signs two envelopes at one number.
    Equivocates,
}

impl Vice {
    pub(super) const ALL: [Self; 6] = [
        Self::Silent,
        Self::Boasts,
        Self::Forges,
        Self::Replays,
        Self::Floods,
        Self::Equivocates,
    ];
}

/// Longer than any message of the mesh.
const FLOOD: usize = 20 * 1024;

fn vice(world: &World, envoy: usize) -> Option<Vice> {
    let (who, vice) = world.plan.malicious?;
    (who == envoy).then_some(vice)
}

/// Whether an envoy takes notice of a request at all.
pub(super) fn hears(world: &mut World, envoy: usize, request: &Request) -> bool {
    match vice(world, envoy) {
        Some(Vice::Silent) => {
            let gossip = matches!(request, Request::Gossip(_));
            let hears = world.rng.chance(if gossip { 800 } else { 200 });
            if !hears {
                world.note(&[11]);
            }
            hears
        }
        _ => true,
    }
}

/// What an envoy sends instead of an honest request.
pub(super) fn twist_request(world: &mut World, envoy: usize, request: Request) -> Request {
    let Some(vice) = vice(world, envoy) else {
        return request;
    };
    match (vice, request) {
        (Vice::Boasts, Request::Digests(list)) => Request::Digests(boast(world, list)),
        (Vice::Floods, Request::Gossip(_)) if world.rng.chance(100) => {
            Request::Gossip(vec![0xa5; FLOOD].into())
        }
        (Vice::Forges, Request::Gossip(bytes)) if world.rng.chance(200) => {
            Request::Gossip(damage(world, &bytes))
        }
        (
            Vice::Forges | Vice::Replays | Vice::Equivocates | Vice::Floods,
            Request::Push {
                project,
                mut envelopes,
                pack,
                forward,
                origin,
            },
        ) => {
            if let Some(at) = world.find_project(&project) {
                spoil(world, envoy, at, vice, &mut envelopes);
            }
            Request::Push {
                project,
                envelopes,
                pack,
                forward,
                origin,
            }
        }
        (_, request) => request,
    }
}

/// What an envoy answers instead of an honest answer, if anything.
pub(super) fn twist_answer(world: &mut World, envoy: usize, answer: Answer) -> Option<Answer> {
    let Some(vice) = vice(world, envoy) else {
        return Some(answer);
    };
    let answer = match (vice, answer) {
        (Vice::Boasts, Answer::Digests(list)) => Answer::Digests(boast(world, list)),
        (
            Vice::Boasts,
            Answer::Page {
                envelopes, more, ..
            },
        ) => Answer::Page {
            envelopes,
            more,
            digest: world.rng.bytes(),
            tips: Vec::new(),
        },
        (Vice::Boasts, Answer::Fresh { wait, .. }) => Answer::Fresh {
            digest: world.rng.bytes(),
            wait,
        },
        (Vice::Boasts, Answer::Frame(_)) => Answer::Frame(world.rng.bytes::<40>().to_vec()),
        (
            Vice::Forges | Vice::Replays | Vice::Floods | Vice::Equivocates,
            Answer::Page {
                mut envelopes,
                more,
                digest,
                tips,
            },
        ) => {
            spoil(world, envoy, 0, vice, &mut envelopes);
            let more = more || (vice == Vice::Floods && world.rng.chance(700));
            Answer::Page {
                envelopes,
                more,
                digest,
                tips,
            }
        }
        (Vice::Forges, Answer::Pack(mut objects)) => {
            // A pack with a hole.
            let numbers: Vec<u32> = objects.iter().collect();
            if let Some(number) = world.rng.pick(&numbers) {
                objects.remove(*number);
            }
            Answer::Pack(objects)
        }
        (_, answer) => answer,
    };
    Some(answer)
}

fn boast(
    world: &mut World,
    list: Vec<(gitback_identity::ProjectId, [u8; 32])>,
) -> Vec<(gitback_identity::ProjectId, [u8; 32])> {
    let boasted = list.into_iter().map(|(id, _)| (id, world.rng.bytes()));
    boasted.collect()
}

fn damage(world: &mut World, bytes: &[u8]) -> Arc<[u8]> {
    let mut bytes = bytes.to_vec();
    let at = world.rng.index(bytes.len());
    let bit = world.rng.below(8);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
    bytes.into()
}

fn spoil(world: &mut World, envoy: usize, project: usize, vice: Vice, envelopes: &mut Vec<Letter>) {
    match vice {
        Vice::Forges => {
            let known: Vec<_> = world.preludes[project].envelopes.clone();
            let old = world.rng.pick(&known).map(|one| one.bytes().to_vec());
            if world.rng.chance(400)
                && let Some(old) = old
            {
                let damaged = damage(world, &old);
                envelopes.push(Letter::Raw(damaged));
            }
            if world.rng.chance(400) {
                forge(world, envoy, project, envelopes);
            }
        }
        Vice::Replays => {
            let old = world.preludes[project].envelopes.clone();
            for envelope in old.into_iter().rev().take(20) {
                envelopes.insert(0, Letter::Sealed(envelope));
            }
        }
        Vice::Floods => {
            let first = envelopes.first().cloned();
            if let Some(first) = first.filter(|_| world.rng.chance(200)) {
                envelopes.extend(std::iter::repeat_n(first, 3_000));
            }
        }
        Vice::Equivocates => equivocate(world, envoy, project, envelopes),
        Vice::Silent | Vice::Boasts => {}
    }
}

/// Something in somebody else's name: signed with the peer's own key for a person that has not granted it, or, if the
/// keys of another envoy were stolen, with those.
fn forge(world: &mut World, envoy: usize, project: usize, envelopes: &mut Vec<Letter>) {
    if !world.replicas[envoy].up {
        return;
    }
    let victim = world.rng.index(world.plan.envoys);
    let person = world.rng.index(world.plan.people);
    let stolen = world.bug == Some(Bug::StolenKeys);
    let signer = if stolen { victim } else { envoy };
    let puddle = if stolen {
        victim % world.plan.people
    } else {
        person
    };
    let keys = Arc::clone(&world.keys);
    let author = Author {
        secret: keys.envoy_secret(signer),
        puddle: keys.person(puddle),
        envoy: keys.envoy(signer),
        incarnation: gitback_envelope::Incarnation::from_bytes(&world.rng.bytes()),
        time_ms: None,
    };
    let fold = &world.replicas[envoy].cells[project].fold;
    if fold.founder().is_none() {
        return;
    }
    let act = deletion();
    let forged = author.say(fold, act);
    envelopes.push(Letter::Sealed(forged));
}

/// A deletion of a branch needs no objects.
fn deletion() -> Act {
    Act::Update(Update {
        changes: vec![gitback_envelope::Change {
            name: "refs/heads/stolen".parse().expect("a ref name"),
            new: Oid::zero(),
            contained: Vec::new(),
            forced: Vec::new(),
        }],
        head: None,
        pack: None,
    })
}

fn equivocate(world: &mut World, envoy: usize, project: usize, envelopes: &mut Vec<Letter>) {
    if !world.replicas[envoy].up || world.rng.chance(700) {
        return;
    }
    let keys = Arc::clone(&world.keys);
    let Some((person, _)) = world.preludes[project].grants.get(&envoy).copied() else {
        return;
    };
    let cell = &world.replicas[envoy].cells[project];
    if cell.fold.founder().is_none() {
        return;
    }
    let author = Author {
        secret: keys.envoy_secret(envoy),
        puddle: keys.person(person),
        envoy: keys.envoy(envoy),
        incarnation: cell.incarnation,
        time_ms: Some(world.now),
    };
    let mut first = author.draft(&cell.fold, deletion());
    let mut second = first.clone();
    first.time_ms = Some(1);
    second.time_ms = Some(2);
    for statement in [first, second] {
        let envelope = seal(statement, keys.envoy_secret(envoy));
        envelopes.push(Letter::Sealed(envelope));
    }
}

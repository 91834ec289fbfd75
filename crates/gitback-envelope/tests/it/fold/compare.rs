//! One world folded in many ways, and by the oracle: the same answers each time.

#![expect(
    clippy::indexing_slicing,
    reason = "a test: places are chosen from what is there"
)]

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{EnvelopeId, Inserted, Oid, Project, RefName, RefState, Tip, Verified};

use super::oracle::{Answers, Oracle};
use super::play::{World, play};
use super::stage::Die;
use super::world::project_id;

/// A world of one seed.
pub(crate) fn seeded(seed: u64) -> World {
    let mut die = Die::new(seed);
    let steps: Vec<_> = (0..20 + die.below(50)).map(|_| die.number()).collect();
    play(seed, &steps)
}

/// The answers are those of the specification, of all of it and of a part.
pub(crate) fn check_specification(world: &World, die: &mut Die) -> Result<(), String> {
    let ids = ids(world);
    let oracle = Oracle::new(&world.all, &world.pins, &world.lies);
    let project = fold(world, &world.all);
    let expected = oracle.answers(&ids, &world.voices);
    same(&Answers::of(&project, &ids, &world.voices), &expected)?;
    for id in &ids {
        for other in &ids {
            if project.is_ancestor(other, id) != oracle.past[id].contains(other) {
                return Err(format!("whether {other} lies in the past of {id}"));
            }
        }
    }
    let percent = 50 + die.below(50);
    let some: Vec<_> = world.all.iter().filter(|_| die.chance(percent)).collect();
    let oracle = Oracle::new(some.iter().copied(), &world.pins, &world.lies);
    let project = fold(world, some.iter().copied());
    let here: BTreeSet<_> = some.iter().map(|verified| *verified.id()).collect();
    let expected = oracle.answers(&here, &world.voices);
    same(&Answers::of(&project, &here, &world.voices), &expected)
}

/// No order changes anything, nor do parts that met elsewhere.
pub(crate) fn check_orders(world: &World, die: &mut Die, orders: usize) -> Result<(), String> {
    let expected = summary(&fold(world, &world.all), world);
    for _ in 0..orders {
        same(&summary(&fold_anyhow(world, die), world), &expected)?;
    }
    let (left, right): (Vec<_>, Vec<_>) = world.all.iter().partition(|_| die.chance(50));
    let mut parts = [left, right];
    let more: Vec<_> = parts[1]
        .iter()
        .filter(|_| die.chance(30))
        .copied()
        .collect();
    parts[0].extend(more);
    let backwards = parts[0].iter().rev().chain(&parts[1]).chain(&parts[0]);
    same(&summary(&fold(world, backwards.copied()), world), &expected)
}

/// Two who give each other what the other lacks know the same.
pub(crate) fn check_exchange(world: &World, die: &mut Die) -> Result<(), String> {
    let one = die.below(world.voices.len());
    let other = die.below(world.voices.len());
    let heard = |at: usize| {
        let seen = world.voices[at].seen.numbers();
        fold(world, seen.map(|number| &world.all[number]))
    };
    let (mut here, mut there) = (heard(one), heard(other));
    let (to_here, to_there) = (there.lacking(&here.tips()), here.lacking(&there.tips()));
    for (project, sent) in [(&mut here, to_here), (&mut there, to_there)] {
        for verified in sent {
            if project.insert(verified) == Ok(Inserted::Waiting) {
                return Err("something was sent before its past".to_owned());
            }
        }
    }
    same(&summary(&here, world), &summary(&there, world))?;
    if here.lacking(&there.tips()).is_empty() {
        Ok(())
    } else {
        Err("something was not sent".to_owned())
    }
}

/// What is asked of a project besides what the oracle answers.
#[derive(Debug, PartialEq)]
struct Summary {
    answers: Answers,
    refs: BTreeMap<RefName, RefState>,
    served: BTreeMap<Vec<u8>, Oid>,
    tips: Vec<Tip>,
    pins: BTreeMap<u64, EnvelopeId>,
}

fn summary(project: &Project, world: &World) -> Summary {
    Summary {
        answers: Answers::of(project, &ids(world), &world.voices),
        refs: project.refs(),
        served: project.served(),
        tips: project.tips(),
        pins: project.pins().clone(),
    }
}

fn ids(world: &World) -> BTreeSet<EnvelopeId> {
    world.all.iter().map(|verified| *verified.id()).collect()
}

pub(super) fn put(project: &mut Project, verified: &Verified) {
    let inserted = project.insert(verified.clone());
    if let Inserted::Folded(ids) = inserted.expect("within the rules") {
        assert!(!ids.is_empty());
    }
}

/// In the order in which it was said, with what an envoy knows beside last.
pub(super) fn fold<'a>(
    world: &World,
    envelopes: impl IntoIterator<Item = &'a Verified>,
) -> Project {
    let mut project = Project::new(project_id());
    for verified in envelopes {
        put(&mut project, verified);
    }
    for (hop, id) in &world.pins {
        project.pin(*hop, id);
    }
    hold_out(&mut project, world);
    project
}

fn hold_out(project: &mut Project, world: &World) {
    for (id, name) in &world.lies {
        project.hold_out(id, name);
    }
}

/// In another order, some of it twice, and what an envoy knows beside at any time, pins after other pins.
pub(super) fn fold_anyhow(world: &World, die: &mut Die) -> Project {
    let mut all = world.all.clone();
    die.shuffle(&mut all);
    let mut project = if die.chance(50) {
        Project::with_pins(project_id(), world.pins.clone())
    } else {
        Project::new(project_id())
    };
    let whens: Vec<_> = world.pins.keys().map(|_| die.below(all.len())).collect();
    let when_lies = die.below(all.len());
    for (at, verified) in all.iter().enumerate() {
        for ((hop, id), when) in world.pins.iter().zip(&whens) {
            if *when == at {
                if die.chance(30) {
                    project.pin(*hop, all[die.below(all.len())].id());
                }
                project.pin(*hop, id);
            }
        }
        if at == when_lies {
            hold_out(&mut project, world);
        }
        put(&mut project, verified);
        if die.chance(20) {
            let again = all[die.below(at + 1)].clone();
            assert_eq!(project.insert(again), Ok(Inserted::Duplicate));
        }
    }
    project
}

/// Compares two answers and shows only what differs.
fn same(found: &impl std::fmt::Debug, expected: &impl std::fmt::Debug) -> Result<(), String> {
    let (found, expected) = (format!("{found:#?}"), format!("{expected:#?}"));
    let lines = found.lines().zip(expected.lines());
    let differing = lines.filter(|(found, expected)| found != expected);
    let shown: Vec<_> = differing.take(12).collect();
    if found == expected {
        Ok(())
    } else {
        Err(format!("(found, expected): {shown:#?}"))
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for verified in &self.all {
            let said = verified.statement();
            writeln!(
                f,
                "{} {} seq {} prev {:?} deps {:?}: {:?}",
                &verified.id().to_string()[..8],
                said.puddle.short(),
                said.seq,
                said.prev.map(|id| id.short()),
                said.deps.iter().map(EnvelopeId::short).collect::<Vec<_>>(),
                said.act
            )?;
        }
        writeln!(f, "pins {:?} lies {:?}", self.pins, self.lies)
    }
}

//! Any world, any order, any split: the same state, and the one that the specification gives.

#![expect(
    clippy::indexing_slicing,
    reason = "a test: places are chosen from what is there"
)]

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{
    Alarm, EnvelopeId, Inserted, MembershipState, Oid, Project, RefName, RefState, Tip, Verdict,
    Verified, VoidReason,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::oracle::{Answers, Oracle};
use super::play::{STRANGER, World, play};
use super::stage::{Die, puddle};
use super::world::project_id;

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

fn put(project: &mut Project, verified: &Verified) {
    let inserted = project.insert(verified.clone());
    if let Inserted::Folded(ids) = inserted.expect("within the rules") {
        assert!(!ids.is_empty());
    }
}

/// In the order in which it was said, with what an envoy knows beside last.
fn fold<'a>(world: &World, envelopes: impl IntoIterator<Item = &'a Verified>) -> Project {
    let mut project = Project::new(project_id());
    for verified in envelopes {
        put(&mut project, verified);
    }
    for (hop, id) in &world.pins {
        project.pin(*hop, id);
    }
    world.lies.iter().for_each(|id| project.hold_out(id));
    project
}

/// In another order, some of it twice, and what an envoy knows beside at any time, pins after other pins.
fn fold_anyhow(world: &World, die: &mut Die) -> Project {
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
            world.lies.iter().for_each(|id| project.hold_out(id));
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
fn same(
    found: &impl std::fmt::Debug,
    expected: &impl std::fmt::Debug,
) -> Result<(), TestCaseError> {
    let (found, expected) = (format!("{found:#?}"), format!("{expected:#?}"));
    let lines = found.lines().zip(expected.lines());
    let differing = lines.filter(|(found, expected)| found != expected);
    let shown: Vec<_> = differing.take(12).collect();
    if found == expected {
        Ok(())
    } else {
        Err(TestCaseError::fail(format!(
            "(found, expected): {shown:#?}"
        )))
    }
}

fn world() -> impl Strategy<Value = World> {
    (any::<u64>(), vec(any::<u64>(), 0..70)).prop_map(|(opening, steps)| play(opening, &steps))
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn the_state_is_the_one_that_the_specification_gives(world in world(), die in any::<u64>()) {
        let ids = ids(&world);
        let oracle = Oracle::new(&world.all, &world.pins, &world.lies);
        let project = fold(&world, &world.all);
        let expected = oracle.answers(&ids, &world.voices);
        same(&Answers::of(&project, &ids, &world.voices), &expected)?;
        for id in &ids {
            for other in &ids {
                let expected = oracle.past[id].contains(other);
                prop_assert_eq!(project.is_ancestor(other, id), expected);
            }
        }
        // Of what is not all here, too.
        let mut die = Die::new(die);
        let percent = 50 + die.below(50);
        let some: Vec<_> = world.all.iter().filter(|_| die.chance(percent)).collect();
        let oracle = Oracle::new(some.iter().copied(), &world.pins, &world.lies);
        let project = fold(&world, some.iter().copied());
        let here: BTreeSet<_> = some.iter().map(|verified| *verified.id()).collect();
        let expected = oracle.answers(&here, &world.voices);
        same(&Answers::of(&project, &here, &world.voices), &expected)?;
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(world in world(), die in any::<u64>()) {
        let expected = summary(&fold(&world, &world.all), &world);
        let mut die = Die::new(die);
        for _ in 0..3 {
            let other = fold_anyhow(&world, &mut die);
            same(&summary(&other, &world), &expected)?;
        }
        // Parts that met elsewhere, of which one holds much of the other.
        let (left, right): (Vec<_>, Vec<_>) = world.all.iter().partition(|_| die.chance(50));
        let mut parts = [left, right];
        let more: Vec<_> = parts[1].iter().filter(|_| die.chance(30)).copied().collect();
        parts[0].extend(more);
        let backwards = parts[0].iter().rev().chain(&parts[1]).chain(&parts[0]);
        same(&summary(&fold(&world, backwards.copied()), &world), &expected)?;
    }

    #[test]
    fn two_replicas_need_one_exchange(world in world()) {
        for pair in world.voices.windows(2).step_by(4) {
            let heard = |at: usize| {
                let seen = pair[at].seen.numbers().map(|number| &world.all[number]);
                fold(&world, seen)
            };
            let (mut here, mut there) = (heard(0), heard(1));
            let (to_here, to_there) = (there.lacking(&here.tips()), here.lacking(&there.tips()));
            for verified in to_here {
                prop_assert_ne!(here.insert(verified), Ok(Inserted::Waiting));
            }
            for verified in to_there {
                prop_assert_ne!(there.insert(verified), Ok(Inserted::Waiting));
            }
            same(&summary(&here, &world), &summary(&there, &world))?;
            prop_assert_eq!(here.lacking(&there.tips()).len(), 0);
        }
    }

    #[test]
    fn every_live_head_is_served_once_and_in_nobodys_way(world in world()) {
        let project = fold(&world, &world.all);
        let refs = project.refs();
        let mut live: Vec<Oid> = refs
            .values()
            .flat_map(|state| state.others.iter().chain([&state.visible]))
            .map(|head| head.oid)
            .collect();
        let served = project.served();
        let mut shown: Vec<Oid> = served.values().copied().collect();
        live.sort();
        shown.sort();
        prop_assert_eq!(live, shown);
        for one in served.keys() {
            let folder = [one.as_slice(), b"/"].concat();
            prop_assert!(!served.keys().any(|other| other.starts_with(&folder)));
        }
        for (name, state) in &refs {
            let own = served.get(name.as_bytes()) == Some(&state.visible.oid);
            prop_assert_eq!(own, state.hidden_by.is_none());
        }
    }

    #[test]
    fn strangers_never_count(world in world()) {
        let project = fold(&world, &world.all);
        let stranger = puddle(STRANGER);
        if project.party(&stranger) {
            return Ok(());
        }
        for verified in &world.all {
            if verified.statement().puddle == stranger {
                prop_assert_ne!(project.verdict(verified.id()), Verdict::Valid);
            }
        }
    }
}

/// A world of one seed.
fn seeded(seed: u64) -> World {
    let mut die = Die::new(seed);
    let steps: Vec<_> = (0..20 + die.below(50)).map(|_| die.number()).collect();
    play(seed, &steps)
}

/// A property of worlds is worth as much as what happens in them.
#[test]
fn everything_that_can_happen_happens() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..400 {
        let world = seeded(seed);
        let project = fold(&world, &world.all);
        let mut happened = BTreeSet::new();
        for verified in &world.all {
            if let Verdict::Void(reason) = project.verdict(verified.id()) {
                happened.insert(reason.code());
            }
        }
        happened.extend(project.alarms().iter().map(Alarm::code));
        for membership in project.memberships() {
            happened.insert(match membership.state {
                MembershipState::Open => "open",
                MembershipState::Live { .. } => "live",
                MembershipState::Left { .. } => "has left",
                MembershipState::Revoked { .. } => "was revoked",
            });
            if membership.asks_back.is_some() {
                happened.insert("asks back");
            }
        }
        let pinned = project
            .contests()
            .iter()
            .any(|contest| contest.followed.is_some());
        let facts = [
            ("a stopped line", project.contest().is_some()),
            ("a picked line", pinned),
            ("the whole line", project.line().len() == 6),
            ("a policy", project.has_policy()),
            ("an end", project.ended()),
            (
                "divergence",
                project
                    .refs()
                    .values()
                    .any(|state| !state.others.is_empty()),
            ),
            ("unknown kinds", project.unknown_len() > 0),
            ("protection", !project.policy().protected.is_empty()),
        ];
        happened.extend(
            facts
                .into_iter()
                .filter(|(_, is)| *is)
                .map(|(fact, _)| fact),
        );
        for fact in happened {
            *seen.entry(fact).or_default() += 1;
        }
    }
    let reasons = VoidReason::ALL.map(VoidReason::code);
    let others = [
        "open",
        "live",
        "has left",
        "was revoked",
        "asks back",
        "a stopped line",
        "a picked line",
        "the whole line",
        "a policy",
        "an end",
        "divergence",
        "unknown kinds",
        "protection",
        "equivocation",
        "contested-line",
        "false-claim",
        "several-successors",
    ];
    for fact in reasons.iter().chain(&others) {
        let times = seen.get(fact).copied().unwrap_or_default();
        assert!(times >= 3, "{fact} happens in {times} of 400 worlds");
    }
}

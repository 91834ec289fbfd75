//! Any world, any order, any split: the same state, and the one that the specification gives.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Alarm, MembershipState, Oid, Verdict, VoidReason};
use proptest::collection::vec;
use proptest::prelude::*;

use super::attack::{Tally, attack};
use super::compare::{check_exchange, check_orders, check_specification, fold, seeded};
use super::play::{STRANGER, World, play};
use super::stage::{Die, puddle};

fn world() -> impl Strategy<Value = World> {
    (any::<u64>(), vec(any::<u64>(), 0..70)).prop_map(|(opening, steps)| play(opening, &steps))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn the_state_is_the_one_that_the_specification_gives(world in world(), die in any::<u64>()) {
        check_specification(&world, &mut Die::new(die)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(world in world(), die in any::<u64>()) {
        check_orders(&world, &mut Die::new(die), 3).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn two_replicas_need_one_exchange(world in world(), die in any::<u64>()) {
        let mut die = Die::new(die);
        for _ in 0..4 {
            check_exchange(&world, &mut die).map_err(TestCaseError::fail)?;
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

#[test]
fn keys_that_were_retired_or_thrown_out_change_nothing() {
    let mut total = Tally::default();
    for seed in 0..100 {
        match attack(seed, 1) {
            Ok(tally) => {
                total.envelopes += tally.envelopes;
                total.attacks += tally.attacks;
                total.hops += tally.hops;
            }
            Err(changed) => panic!("world {seed}: {changed} changed"),
        }
    }
    assert!(total.attacks >= 100 * 12, "{total:?}");
    assert!(total.envelopes - total.attacks >= 100 * 16, "{total:?}");
    assert!(total.hops >= 120, "{total:?}");
}

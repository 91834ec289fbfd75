mod addresses;
mod driver;
mod places;
mod single;
mod world;

use proptest::prelude::*;

use super::{Presence, Settings};
use crate::dice::Dice;
use crate::millis::Millis;
use world::{World, key, project};

const MINUTE: Millis = Millis::from_secs(60);

/// Random pushes, cuts, crashes and mishaps for some minutes.
fn trouble(world: &mut World, steps: usize, mishaps: usize, restarts: bool) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&world.dice.roll().to_le_bytes());
    let mut dice = Dice::new(&seed);
    world.mishaps = mishaps;
    let nodes = world.nodes.len();
    for step in 0..steps {
        let (one, other) = (dice.below(nodes), dice.below(nodes));
        match dice.below(10) {
            0..4 => {
                let bit = u32::try_from(step % 64).expect("small");
                let number = u16::try_from(dice.below(5)).expect("small");
                world.push(one, project(number), bit, dice.below(2) == 0);
            }
            4 => {
                world.cut.insert((one, other));
            }
            5 => {
                world.cut.insert((one, other));
                world.cut.insert((other, one));
            }
            6 => world.cut.clear(),
            7 if restarts => world.set_up(one, false),
            8 if restarts => world.set_up(one, true),
            _ => {}
        }
        world.run_for(Millis(dice.roll() % 20_000));
    }
}

/// Everything works again.
fn heal(world: &mut World) {
    world.cut.clear();
    world.mishaps = 0;
    for at in 0..world.nodes.len() {
        world.set_up(at, true);
    }
}

/// Nothing is left to do but to compare now and then.
fn check_rest(world: &mut World) {
    world.run_for(MINUTE.times(2));
    let before = world.counts;
    world.run_for(MINUTE.times(10));
    let after = world.counts;
    assert_eq!(after.catch_ups, before.catch_ups, "catches up from nobody");
    assert_eq!(after.deliveries, before.deliveries, "owes nothing");
    for at in 0..world.nodes.len() {
        for number in 0..5 {
            assert_eq!(world.nodes[at].node.owed(&project(number)), []);
        }
        for other in (0..world.nodes.len()).filter(|other| *other != at) {
            let standing = world.nodes[at].node.standing(&key(other)).expect("a peer");
            assert_eq!(standing.presence, Presence::Up);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_fleet_converges_soon_after_partitions_and_crashes(
        seed: [u8; 32],
        nodes in 2_usize..6,
        steps in 5_usize..40,
    ) {
        let mut world = World::new(nodes, &seed);
        trouble(&mut world, steps, 0, true);
        heal(&mut world);
        // The longest wait for a peer that was away, and some ticks.
        let limit = Settings::default().retry_cap.plus(Settings::default().tick.times(4));
        prop_assert!(world.converge(limit).is_some());
        check_rest(&mut world);
    }

    #[test]
    fn a_fleet_converges_after_failures_of_every_kind(
        seed: [u8; 32],
        nodes in 2_usize..6,
        steps in 5_usize..40,
        mishaps in 1_usize..60,
    ) {
        let mut world = World::new(nodes, &seed);
        trouble(&mut world, steps, mishaps, true);
        heal(&mut world);
        let limit = Settings::default().quiet_cap.plus(MINUTE.times(2));
        prop_assert!(world.converge(limit).is_some());
        world.run_for(Settings::default().refused_cap);
        check_rest(&mut world);
    }

    #[test]
    fn one_way_links_are_enough(seed: [u8; 32], nodes in 2_usize..5, steps in 5_usize..30) {
        let mut world = World::new(nodes, &seed);
        trouble(&mut world, steps, 0, false);
        heal(&mut world);
        // Those with a smaller number reach those with a larger one, and nobody else anybody.
        for from in 0..nodes {
            world.cut.extend((0..from).map(|to| (from, to)));
        }
        prop_assert!(world.converge(MINUTE.times(10)).is_some());
    }

    #[test]
    fn the_same_seed_does_the_same(seed: [u8; 32]) {
        let run = || {
            let mut world = World::new(4, &seed);
            trouble(&mut world, 20, 20, true);
            heal(&mut world);
            let took = world.converge(MINUTE.times(15));
            let logs: Vec<Vec<String>> = world.nodes.iter().map(|host| host.logs.clone()).collect();
            (took, world.counts, logs)
        };
        prop_assert_eq!(run(), run());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_larger_fleet_converges_by_notices_and_rounds(seed: [u8; 32]) {
        let mut world = World::new(16, &seed);
        world.run_for(MINUTE);
        for bit in 0..6 {
            let at = world.dice.below(16);
            world.push(at, project(0), bit, false);
        }
        prop_assert!(world.converge(MINUTE.times(3)).is_some());
    }
}

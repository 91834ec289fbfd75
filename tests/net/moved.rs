//! Envoys that are not where they were, and envoys of which nobody has said where they are.

use std::time::Duration;

use gitback_tests::Options;

use crate::world::{World, says, world, world_of};

/// The longest that an envoy may take until it is found again.
const FOUND_MAX: Duration = Duration::from_secs(100);

#[test]
fn envoys_on_one_network_find_each_other_by_their_keys() {
    let Some(world) = world_of(3, Options::without_addresses) else {
        return;
    };
    until_pushed_to_all(&world, 0);
    until_pushed_to_all(&world, 1);
    world.judge();
}

#[test]
fn an_envoy_that_moves_while_it_is_away_comes_back_from_where_it_is() {
    // The others have its old address in their configurations.
    let Some(mut world) = world(3) else { return };
    world.fleet.envoy_mut(2).kill().expect("switched off");
    let tip = world.at(0).commit("titan is on its way");
    let pushed = world
        .at(0)
        .pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    says(&pushed.stderr, &["(mars, venus)", "titan"]);
    world.net().move_address(2).expect("moved");
    world.fleet.restart(2).expect("starts elsewhere");
    world.wait_for_ref(2, "refs/heads/main", &tip);
    until_pushed_to_all(&world, 0);
    world.judge();
}

#[test]
fn an_envoy_that_moves_tells_the_others_where_it_is() {
    // Nobody is found by multicast; and venus, which starts again later, only knows what it is told then.
    let Some(mut world) = world_of(3, without_discovery) else {
        return;
    };
    world.fleet.envoy_mut(2).kill().expect("switched off");
    world.net().move_address(2).expect("moved");
    world.fleet.restart(2).expect("starts elsewhere");
    until_pushed_to_all(&world, 0);
    world.fleet.envoy_mut(1).kill().expect("switched off");
    world.fleet.restart(1).expect("starts again");
    until_pushed_to_all(&world, 1);
    world.judge();
}

fn without_discovery(options: Options) -> Options {
    options.more_settings("lan_discovery = false\n")
}

/// Pushes from an envoy until one push is said to be on all.
#[track_caller]
fn until_pushed_to_all(world: &World, from: usize) {
    let person = world.at(from);
    let all = format!("replicated to {0} of {0} envoys", world.fleet.len());
    person.git(crate::world::PULL);
    let found = gitback_tests::until(FOUND_MAX, "a push that reaches all", || {
        person.commit("is everybody there?");
        let pushed = person.pushes(&["-o", "gitback.wait=all", "origin", "main"]);
        let there = pushed.stderr.contains(&all);
        Ok(if there { Ok(()) } else { Err(pushed.stderr) })
    });
    found.expect("everybody is found");
}

//! Links that are cut and mended between any envoys, while people push on all sides.

use crate::world::{World, world};

/// How often the network falls apart in another way.
const ROUNDS: usize = 3;

#[test]
fn people_push_on_all_sides_of_every_partition_and_nothing_is_lost() {
    let Some(mut world) = world(4) else { return };
    for round in 0..ROUNDS {
        split_somehow(&mut world);
        everybody_pushes(&world, round);
    }
    world.net().mend_all().expect("mended");
    world.judge();
    end_divergence(&world);
}

#[test]
fn links_that_fail_one_by_one_while_people_push_lose_nothing() {
    let Some(mut world) = world(3) else { return };
    let links = [(0, 1), (0, 2), (1, 2)];
    let mut flips: Vec<(usize, usize, bool)> = Vec::new();
    for _ in 0..6 {
        let (one, other) = links[world.chance.below(links.len())];
        flips.push((one, other, world.chance.below(2) == 0));
    }
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            for round in 0..ROUNDS {
                everybody_pushes(&world, round);
            }
        });
        for (one, other, cut) in flips {
            let net = world.net();
            let changed = match cut {
                true => net.cut_between(one, other),
                false => net.mend_between(one, other),
            };
            changed.expect("changed");
            // The next change comes when somebody's next push was taken or refused.
            world.at(one).commit_at("HEAD");
            wait_for_news(&world, &pushing);
        }
        pushing.join().expect("everybody has pushed");
    });
    world.net().mend_all().expect("mended");
    world.judge();
    end_divergence(&world);
}

/// Waits until one more push was acknowledged, or nobody pushes any more.
fn wait_for_news<T>(world: &World, pushing: &std::thread::ScopedJoinHandle<'_, T>) {
    let before = world.account.told().len();
    while world.account.told().len() == before && !pushing.is_finished() {
        std::thread::yield_now();
    }
}

/// Puts every envoy on one of two or three sides.
fn split_somehow(world: &mut World) {
    let sides = 2 + world.chance.below(2);
    let mut groups = vec![Vec::new(); sides];
    for index in 0..world.fleet.len() {
        let side = world.chance.below(sides);
        groups[side].push(index);
    }
    let groups: Vec<&[usize]> = groups.iter().map(Vec::as_slice).collect();
    world.net().split(&groups).expect("split");
}

/// Everybody pushes to main and to a branch of their own, at the same time.
fn everybody_pushes(world: &World, round: usize) {
    std::thread::scope(|scope| {
        for index in 0..world.fleet.len() {
            scope.spawn(move || {
                let person = world.at(index);
                let name = person.person.envoy().to_owned();
                person.commit(&format!("round {round} on {name}"));
                person.push_or_merge();
                // Nobody else pushes to it: it is always taken.
                person.pushes(&["origin", &format!("HEAD:refs/heads/of-{name}")]);
            });
        }
    });
}

/// Somebody merges what diverged; then all envoys show one head for each branch.
fn end_divergence(world: &World) {
    let person = world.at(1);
    person.join_all();
    world.judge();
    let served = world.served(2);
    let left: Vec<&String> = served
        .keys()
        .filter(|name| name.starts_with("refs/envoys/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(served["refs/heads/main"], person.commit_at("HEAD"));
}

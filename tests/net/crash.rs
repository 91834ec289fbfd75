//! `kill -9` and a new start, again and again, while people push.

use crate::world::{World, world};

/// Pushes by each person.
const PUSHES: usize = 4;

#[test]
fn envoys_that_are_killed_and_restarted_keep_what_they_acknowledged() {
    let Some(mut world) = world(3) else { return };
    let victims: Vec<usize> = (0..3).map(|_| world.chance.below(3)).collect();
    let World { fleet, account, .. } = &mut world;
    let people: Vec<_> = (0..3).map(|index| fleet.person(index).clone()).collect();
    let people: Vec<_> = people
        .into_iter()
        .map(|person| crate::world::Pusher::new(person, account))
        .collect();
    std::thread::scope(|scope| {
        let pushing: Vec<_> = people
            .iter()
            .map(|person| scope.spawn(|| push_whatever_happens(person)))
            .collect();
        for victim in victims {
            let before = account.told().len();
            let news = || account.told().len() > before;
            while !news() && pushing.iter().any(|one| !one.is_finished()) {
                std::thread::yield_now();
            }
            fleet.envoy_mut(victim).kill().expect("killed");
            fleet.restart(victim).expect("starts again");
        }
    });
    world.judge();
    world.at(0).join_all();
    world.judge();
}

/// Pushes until it was taken so many times; an envoy that is down is tried again.
fn push_whatever_happens(person: &crate::world::Pusher<'_>) {
    for number in 0..PUSHES {
        person.commit(&format!("push {number}"));
        let tried = gitback_tests::until(crate::world::SOON, "a push", || {
            Ok(person.push_or_merge().then_some(()).ok_or_else(String::new))
        });
        tried.expect("the envoy comes back");
    }
}

#[test]
fn killed_while_cut_off_an_envoy_returns_to_connections_that_nobody_ended() {
    let Some(mut world) = world(3) else { return };
    let titan = world.fleet.person(2).clone();
    world.net().cut(2).expect("cut");
    let tip = world.at(0).commit("while titan is cut off");
    world.at(0).pushes(&["origin", "main"]);
    // Its end of every connection is gone, and the others were never told.
    world.fleet.envoy_mut(2).kill().expect("killed");
    world.fleet.restart(2).expect("starts again");
    world.net().mend(2).expect("mended");
    world.wait_for_ref(2, "refs/heads/main", &tip);
    let there = world.at(2);
    assert_eq!(there.person.envoy(), titan.envoy());
    there.git(crate::world::PULL);
    there.commit("after the return");
    there.pushes(&["-o", "gitback.wait=all", "origin", "main"]);
    world.judge();
}

//! Links that carry one way only, and two that have lost each other but share a third.

use crate::world::world;

#[test]
fn what_one_cannot_tell_another_goes_through_a_third() {
    let Some(world) = world(3) else { return };
    world.net().cut_between(0, 2).expect("cut");
    let tip = world.at(0).commit("mars does not reach titan");
    world
        .at(0)
        .pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    world.wait_for_ref(2, "refs/heads/main", &tip);
    world.at(2).git(crate::world::PULL);
    let tip = world.at(2).commit("nor titan mars");
    world
        .at(2)
        .pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    world.wait_for_ref(0, "refs/heads/main", &tip);
    world.net().mend_all().expect("mended");
    world.judge();
}

#[test]
fn a_link_that_carries_one_way_only_keeps_nothing_from_the_others() {
    let Some(world) = world(3) else { return };
    world.net().cut_way(0, 2).expect("cut");
    let tip = world.at(0).commit("titan does not hear mars");
    world
        .at(0)
        .pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    world.wait_for_ref(2, "refs/heads/main", &tip);
    world.at(2).git(crate::world::PULL);
    let tip = world.at(2).commit("mars hears titan, who cannot know");
    world
        .at(2)
        .pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    world.wait_for_ref(0, "refs/heads/main", &tip);
    world.net().mend_all().expect("mended");
    world.judge();
}

//! Connections whose other end vanished without a word.

use crate::world::{says, world};

#[test]
fn a_peer_that_vanishes_without_a_word_is_named_and_returns() {
    let Some(world) = world(3) else { return };
    world.net().cut(2).expect("cut");
    let tip = world.at(0).commit("titan does not hear of this");
    let pushed = world
        .at(0)
        .pushes(&["-o", "gitback.wait=1", "origin", "main"]);
    says(
        &pushed.stderr,
        &["replicated to 2 of 3 envoys (mars, venus)", "titan"],
    );
    world.net().mend(2).expect("mended");
    world.wait_for_ref(2, "refs/heads/main", &tip);
    world.judge();
}

#[test]
fn a_link_that_fails_in_the_middle_of_a_pack_is_taken_up_again() {
    let Some(world) = world(2) else { return };
    if let Err(why) = gitback_tests::Net::can_narrow() {
        return crate::world::skip(&why);
    }
    // So narrow that the pack cannot be through before the link is cut.
    world.net().narrow(1, 8_000).expect("narrow");
    let mars = world.at(0);
    crate::slow::write_noise(&mars, 8 << 20);
    let tip = mars.commit_at("HEAD");
    mars.pushes(&["-o", "gitback.wait=0", "origin", "main"]);
    world.net().cut(1).expect("cut");
    world.net().widen(1).expect("wide");
    let next = mars.commit("and one more");
    mars.pushes(&["-o", "gitback.wait=0", "origin", "main"]);
    assert_ne!(world.served(1)["refs/heads/main"], tip);
    world.net().mend(1).expect("mended");
    world.wait_for_ref(1, "refs/heads/main", &next);
    world.judge();
}

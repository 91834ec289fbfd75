//! A daemon that is stopped in its tracks: its sockets stay open and say nothing.

use crate::world::{says, world};

#[test]
fn a_daemon_that_freezes_holds_nobody_up_for_long_and_catches_up_when_it_thaws() {
    let Some(world) = world(3) else { return };
    world.fleet.envoy(2).freeze().expect("titan freezes");
    let mut tip = String::new();
    for number in 0..3 {
        tip = world
            .at(0)
            .commit(&format!("while titan is frozen, {number}"));
        let pushed = world
            .at(0)
            .pushes(&["-o", "gitback.wait=1", "origin", "main"]);
        says(
            &pushed.stderr,
            &["replicated to 2 of 3 envoys (mars, venus)", "titan"],
        );
    }
    world.fleet.envoy(2).thaw().expect("titan thaws");
    world.wait_for_ref(2, "refs/heads/main", &tip);
    world.at(2).git(crate::world::PULL);
    world.at(2).commit("thawed");
    world
        .at(2)
        .pushes(&["-o", "gitback.wait=all", "origin", "main"]);
    world.judge();
}

#[test]
fn an_envoy_that_freezes_while_it_pushes_goes_on_where_it_was() {
    let Some(world) = world(3) else { return };
    let mars = world.at(0);
    mars.commit("frozen on the way");
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| world.at(0).push(&["origin", "main"]));
        world.fleet.envoy(0).freeze().expect("mars freezes");
        // Life goes on elsewhere meanwhile.
        let venus = world.at(1);
        venus.commit("while mars is frozen");
        venus.pushes(&["origin", "HEAD:refs/heads/elsewhere"]);
        world.fleet.envoy(0).thaw().expect("mars thaws");
        let pushed = pushing.join().expect("git ends");
        assert_eq!(pushed.code, Some(0), "{pushed}");
    });
    world.judge();
}

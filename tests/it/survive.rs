//! The main promise: a push outlives the machine that it was made on.

use crate::world::{
    SOON, clones_the_same, commit, done, fleet, local, notes, push_all, says, served,
    wait_for_copies,
};

#[test]
fn a_push_survives_the_loss_of_the_machine_that_took_it() {
    let mut fleet = fleet(3);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    let pushed = push_all(&mars, &work);
    says(
        &pushed.stderr,
        &[
            "success: replicated to 3 of 3 envoys (mars, ",
            "venus",
            "titan",
        ],
    );
    commit(&mars, &work, "one more");
    let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
    says(&pushed.stderr, &["success: replicated to 3 of 3 envoys"]);

    fleet.envoy_mut(0).lose().expect("mars is lost");

    // Mars' repository lies outside of its root, so that there is something to compare with.
    for survivor in [1, 2] {
        clones_the_same(fleet.person(survivor), &fleet.outside(), &work);
    }
}

#[test]
fn survivors_take_pushes_and_agree() {
    let mut fleet = fleet(3);
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    fleet.envoy_mut(0).lose().expect("mars is lost");
    let (venus, titan) = (fleet.person(1), fleet.person(2));
    let clone = crate::world::clone(venus, "clone");
    commit(venus, &clone, "made on venus");
    let pushed = done(venus.git(&clone, ["push", "origin", "main"]));
    says(
        &pushed.stderr,
        &[
            "replicated to 2 of 3 envoys (venus, titan)",
            "warning: mars",
        ],
    );
    assert_eq!(
        served(venus, "gitback://dan/notes"),
        served(titan, "gitback://dan/notes")
    );
}

#[test]
fn a_restart_keeps_everything() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    for index in [0, 1] {
        fleet.envoy_mut(index).end().expect("a clean end");
    }
    for index in [0, 1] {
        fleet.restart(index).expect("starts again");
        assert_eq!(
            served(fleet.person(index), "gitback://dan/notes"),
            local(fleet.person(0), &work)
        );
    }
    commit(fleet.person(0), &work, "after the restart");
    done(fleet.person(0).git(&work, ["push", "gitback", "main"]));
    wait_for_copies(fleet.person(0), 2);
}

#[test]
fn nothing_is_left_behind() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    let dir = fleet.dir().to_owned();
    // Two daemons and the two processes that hold the unlocked puddle; no git, no remote helper. What a peer does
    // in the background ends by itself.
    let settled = gitback_tests::until(SOON, "only daemons and sessions run", || {
        let running = gitback_tests::stragglers(&dir)
            .into_iter()
            .map(|process| process.line);
        let others: Vec<String> = running.filter(|line| !line.contains("vigo")).collect();
        Ok(if others.is_empty() {
            Ok(())
        } else {
            Err(others.join("\n"))
        })
    });
    settled.expect("nothing else stays");
    drop(fleet);
    assert!(!dir.exists());
    assert_eq!(gitback_tests::stragglers(&dir), Vec::new());
}

//! A push to many envoys goes out as a tree.

use gitback_tests::{Fleet, Options};

use crate::world::{binaries, commit, done, notes, push_all, says, served, wait_for_copies};

const ENVOYS: usize = 12;

/// The peers that an envoy sends to directly are the first eight of its configuration; the others get it from those.
const HANDED_ON: [usize; 3] = [9, 10, 11];

#[test]
fn a_push_reaches_whom_the_machine_that_takes_it_cannot_reach_itself() {
    // Nobody is asked anything between the cut and the push, so nothing shows that the links are cut.
    let settings = "contact_interval_ms = 86400000\nmin_free_percent = 0\npush_wait_ms = 60000\npush_check_ms = 0\n";
    let options = Options::new(binaries()).envoys(ENVOYS);
    let mut fleet = Fleet::start(options.links().settings(settings)).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    let all = format!("replicated to {ENVOYS} of {ENVOYS} envoys");
    says(&push_all(&mars, &work).stderr, &[&all]);
    wait_for_copies(&mars, ENVOYS as u64);

    HANDED_ON.iter().for_each(|to| fleet.cut_way(0, *to));
    commit(&mars, &work, "over others");
    let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
    says(&pushed.stderr, &[&all]);
    let shown = served(&mars, "gitback://dan/notes");
    for index in HANDED_ON {
        assert_eq!(served(fleet.person(index), "gitback://dan/notes"), shown);
    }
}

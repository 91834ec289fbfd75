//! A push to many envoys goes out as a tree.

use gitback_tests::{Fleet, Options};

use crate::world::{binaries, commit, done, notes, push_all, says, served, wait_for_copies};

const ENVOYS: usize = 12;

/// The peers that an envoy sends to directly are the first eight of its configuration; the others get it from those.
const HANDED_ON: [usize; 3] = [9, 10, 11];

/// How often it is tried while nobody has noticed the cut.
const ATTEMPTS: usize = 8;

#[test]
fn a_push_reaches_whom_the_machine_that_takes_it_cannot_reach_itself() {
    // No envoy makes contact of its own, which would show that the links are cut.
    let settings = "contact_interval_ms = 86400000\nmin_free_percent = 0\npush_wait_ms = 60000\npush_check_ms = 0\n";
    let options = Options::new(binaries()).envoys(ENVOYS);
    let mut fleet = Fleet::start(options.links().settings(settings)).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    let all = format!("replicated to {ENVOYS} of {ENVOYS} envoys");
    says(&push_all(&mars, &work).stderr, &[&all]);
    wait_for_copies(&mars, ENVOYS as u64);

    // What envoys tell each other of their own accord can run into a cut link before the push does, and nobody hands
    // on to an envoy that is known to be away. Then all of it is done once more.
    let handed_on = (0..ATTEMPTS).any(|attempt| {
        done(mars.vigo(["swarm", "gitback", "sync", "--wait"]));
        HANDED_ON.iter().for_each(|to| fleet.cut_way(0, *to));
        commit(&mars, &work, &format!("over others, {attempt}"));
        let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
        let reached_all = pushed.stderr.contains(&all);
        if !reached_all {
            says(&pushed.stderr, &["connection closed by the other side"]);
            fleet.mend(0);
        }
        reached_all
    });
    assert!(handed_on, "no push was handed on to {HANDED_ON:?}");
    let shown = served(&mars, "gitback://dan/notes");
    for index in HANDED_ON {
        assert_eq!(served(fleet.person(index), "gitback://dan/notes"), shown);
    }
}

//! How long a push waits, and for whom.

use gitback_tests::Fleet;

use crate::world::{
    commit, done, fails, fleet, local, notes, options, push_all, says, served, snapshot,
    wait_for_copies,
};

#[test]
fn wait_0_returns_at_once_and_replicates_all_the_same() {
    // Whoever waited for venus would do so for longer than any test may take.
    let settings = "contact_interval_ms = 200\nmin_free_percent = 0\npush_wait_ms = 3600000\n";
    let mut fleet = Fleet::start(options(2).settings(settings)).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0);
    fleet.envoy(1).freeze().expect("venus stalls");
    let pushed = done(mars.git(&work, ["push", "-o", "gitback.wait=0", "gitback", "main"]));
    says(&pushed.stderr, &["success: stored on mars"]);
    fleet.envoy(1).thaw().expect("venus goes on");
    wait_for_copies(mars, 2);
}

#[test]
fn wait_all_waits_beyond_the_usual_time() {
    // The usual wait is over before anything can arrive.
    let settings = "contact_interval_ms = 200\nmin_free_percent = 0\npush_wait_ms = 0\n";
    let mut fleet = Fleet::start(options(3).settings(settings)).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0);
    let all = ["push", "-o", "gitback.wait=all", "gitback", "main"];
    let pushed = done(mars.git(&work, all));
    says(
        &pushed.stderr,
        &[
            "success: replicated to 3 of 3 envoys (mars, ",
            "venus",
            "titan",
        ],
    );
    for index in [1, 2] {
        let main = served(fleet.person(index), "gitback://dan/notes").remove("refs/heads/main");
        assert_eq!(main, local(mars, &work).remove("refs/heads/main"));
    }
}

#[test]
fn a_push_gives_up_waiting_for_a_peer_that_stalls() {
    // The first push waits for all, however slow the machine is; the second one for as long as people do by default.
    let settings = "contact_interval_ms = 200\nmin_free_percent = 0\npush_wait_ms = 3000\n";
    let mut fleet = Fleet::start(options(3).settings(settings)).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0);
    done(mars.git(&work, ["push", "-o", "gitback.wait=all", "gitback", "main"]));
    wait_for_copies(mars, 3);
    fleet.envoy(2).freeze().expect("titan stalls");
    commit(mars, &work, "titan does not answer");
    let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
    says(
        &pushed.stderr,
        &["replicated to 2 of 3 envoys (mars, venus)", "titan"],
    );
    fleet.envoy(2).thaw().expect("titan goes on");
    wait_for_copies(mars, 3);
}

#[test]
fn an_option_that_cannot_be_meant_is_refused_and_changes_nothing() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    push_all(mars, &work);
    let before = snapshot(mars);
    commit(mars, &work, "never stored");
    for option in ["gitback.wait=soon", "gitback.wiat=all"] {
        let said = fails(
            mars.git(&work, ["push", "-o", option, "gitback", "main"]),
            1,
        );
        says(&said, &["remote rejected", option]);
    }
    assert_eq!(snapshot(mars), before);
}

#[test]
fn a_quiet_push_says_nothing() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let pushed = done(
        fleet
            .person(0)
            .git(&work, ["push", "--quiet", "gitback", "main"]),
    );
    assert_eq!(pushed.stderr, "");
}

#[test]
fn a_push_shows_where_its_time_went_to_whoever_asks() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    push_all(mars, &work);
    commit(mars, &work, "traced");
    let push = || mars.git(&work, ["push", "-o", "gitback.wait=all", "gitback", "main"]);
    let traced = done(push().env("GITBACK_TRACE", "1")).stderr;
    let line = |start: &str| {
        let mut lines = traced
            .lines()
            .map(|line| line.trim_start_matches("remote: "));
        let found = lines.find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no {start:?} in {traced}"))
            .to_owned()
    };
    let own = line("trace: mars ");
    let steps = [
        "greeting",
        "commands",
        "pack",
        "connectivity",
        "turn",
        "objects",
        "update",
        "refs",
        "peers",
    ];
    let places: Vec<Option<usize>> = steps
        .iter()
        .map(|step| own.find(&format!(" {step} ")))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{own}"
    );
    line("trace: venus had it ");
    line("trace: git-remote-gitback asked after ");
    commit(mars, &work, "not traced");
    for silent in [push(), push().env("GITBACK_TRACE", "0")] {
        let said = done(silent).stderr;
        assert!(!said.contains("trace:"), "{said}");
    }
}

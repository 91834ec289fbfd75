//! Connected envoys refuse what one git server would refuse; envoys that cannot reach each other take it.

use std::path::PathBuf;

use gitback_tests::{Fleet, Invocation, Outcome};

use crate::world::{
    clone, commit, done, fails, fleet, notes, push_all, says, served, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

/// A clone of `notes` at each envoy, all of which hold it.
fn clones(fleet: &Fleet) -> Vec<PathBuf> {
    let work = notes(fleet);
    push_all(fleet.person(0), &work);
    let all = fleet.len() as u64;
    (0..fleet.len())
        .map(|index| {
            wait_for_copies(fleet.person(index), all);
            clone(fleet.person(index), "clone")
        })
        .collect()
}

/// Runs commands at the same moment.
pub(crate) fn at_once(commands: Vec<Invocation>) -> Vec<Outcome> {
    let barrier = std::sync::Barrier::new(commands.len());
    let run = |command: &Invocation| {
        barrier.wait();
        command.run().expect("git runs")
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = commands
            .iter()
            .map(|one| scope.spawn(|| run(one)))
            .collect();
        let ended = running.into_iter().map(|one| one.join().expect("no panic"));
        ended.collect()
    })
}

#[test]
fn of_two_pushes_at_the_same_moment_on_two_envoys_one_is_told_to_fetch_first() {
    const ROUNDS: usize = 5;
    let fleet = fleet(2);
    let clones = clones(&fleet);
    for round in 0..ROUNDS {
        let pushes = clones.iter().enumerate().map(|(index, clone)| {
            let person = fleet.person(index);
            done(person.git(clone, ["fetch", "--quiet", "origin"]));
            done(person.git(clone, ["reset", "--quiet", "--hard", "origin/main"]));
            commit(person, clone, &format!("round {round} at {index}"));
            person.git(clone, ["push", "-o", "gitback.wait=all", "origin", "main"])
        });
        let ended = at_once(pushes.collect());
        let refused: Vec<&Outcome> = ended.iter().filter(|one| one.code != Some(0)).collect();
        assert_eq!(refused.len(), 1, "one of them: {ended:#?}");
        says(&refused[0].stderr, &["rejected", "fetch first"]);
        wait_for_copies(fleet.person(0), 2);
        wait_for_copies(fleet.person(1), 2);
        let shown = served(fleet.person(0), NOTES);
        assert_eq!(shown, served(fleet.person(1), NOTES));
    }
    let all = done(
        fleet
            .person(0)
            .git(fleet.person(0).root(), ["ls-remote", NOTES]),
    );
    assert!(!all.stdout.contains("refs/envoys/"), "{}", all.stdout);
}

#[test]
fn right_after_a_push_elsewhere_that_waited_for_nobody_a_stale_push_is_refused() {
    let fleet = fleet(3);
    let clones = clones(&fleet);
    let (mars, titan) = (fleet.person(0), fleet.person(2));
    commit(mars, &clones[0], "first");
    commit(titan, &clones[2], "second");
    done(mars.git(
        &clones[0],
        ["push", "-o", "gitback.wait=0", "origin", "main"],
    ));
    let said = fails(titan.git(&clones[2], ["push", "origin", "main"]), 1);
    says(&said, &["rejected", "fetch first"]);
    // And what it is told to do works at once.
    done(titan.git(
        &clones[2],
        [
            "pull",
            "--quiet",
            "--no-rebase",
            "--no-edit",
            "-X",
            "ours",
            "origin",
            "main",
        ],
    ));
    done(titan.git(&clones[2], ["push", "origin", "main"]));
    wait_for_copies(mars, 3);
}

#[test]
fn a_stale_push_is_refused_although_what_is_newer_comes_in_over_several_parts() {
    const PARTS: u32 = 6;
    let options = crate::world::options(2)
        .links()
        .settings("push_check_ms = 60000\ncatch_up_max_bytes = 65536\nmin_free_percent = 0\n");
    let mut fleet = Fleet::start(options).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let clones = clones(&fleet);
    let (mars, titan) = (fleet.person(0), fleet.person(1));
    commit(titan, &clones[1], "stale");
    for part in 0..PARTS {
        let path = clones[0].join(format!("part-{part}"));
        std::fs::write(path, noise(part, 60_000)).expect("a file is written");
        done(mars.git(&clones[0], ["add", "."]));
        commit(mars, &clones[0], &format!("part {part}"));
    }
    // The first envoy can tell the second nothing; the second can ask.
    fleet.cut_way(0, 1);
    done(mars.git(
        &clones[0],
        ["push", "-o", "gitback.wait=0", "origin", "main"],
    ));
    let said = fails(titan.git(&clones[1], ["push", "origin", "main"]), 1);
    says(&said, &["rejected", "fetch first"]);
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    });
    next.take(length).collect()
}

#[test]
fn pushes_to_different_branches_at_the_same_moment_are_all_taken() {
    let fleet = fleet(3);
    let clones = clones(&fleet);
    let pushes = clones.iter().enumerate().map(|(index, clone)| {
        let person = fleet.person(index);
        commit(person, clone, &format!("at {index}"));
        person.git(
            clone,
            ["push", "origin", &format!("HEAD:refs/heads/of-{index}")],
        )
    });
    for ended in at_once(pushes.collect()) {
        assert_eq!(ended.code, Some(0), "{ended}");
    }
    wait_for_copies(fleet.person(0), 3);
}

#[test]
fn across_a_partition_both_are_taken_and_after_it_both_are_shown() {
    let mut fleet = Fleet::start(crate::world::options(2).links()).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let clones = clones(&fleet);
    fleet.cut(1);
    let pushes = clones.iter().enumerate().map(|(index, clone)| {
        let person = fleet.person(index);
        commit(person, clone, &format!("alone at {index}"));
        person.git(clone, ["push", "-o", "gitback.wait=0", "origin", "main"])
    });
    for ended in at_once(pushes.collect()) {
        assert_eq!(ended.code, Some(0), "{ended}");
    }
    fleet.mend(1);
    for index in [0, 1] {
        wait_for_copies(fleet.person(index), 2);
    }
    let listed = |index: usize| {
        let person = fleet.person(index);
        done(person.git(person.root(), ["ls-remote", NOTES])).stdout
    };
    assert_eq!(listed(0), listed(1));
    for (index, clone) in clones.iter().enumerate() {
        let tip = done(fleet.person(index).git(clone, ["rev-parse", "main"])).stdout;
        says(&listed(0), &[tip.trim()]);
    }
}

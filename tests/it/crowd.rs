//! Many at the same moment: nobody's work is lost, and everybody comes through.

use std::path::PathBuf;

use gitback_tests::{Fleet, Person};

use crate::fresh::at_once;
use crate::world::{clone, commit, done, fleet, notes, push_all, says, served, wait_for_copies};

const NOTES: &str = "gitback://dan/notes";
const PUSHERS: usize = 10;
const CLONERS: usize = 20;

/// Clones of so many people, half of them at each of two envoys.
fn crowd(fleet: &Fleet, people: usize) -> Vec<(&Person, PathBuf)> {
    push_all(fleet.person(0), &notes(fleet));
    wait_for_copies(fleet.person(1), 2);
    let cloned = (0..people).map(|number| {
        let person = fleet.person(number % 2);
        (person, clone(person, &format!("clone-{number}")))
    });
    cloned.collect()
}

#[test]
fn ten_push_to_ten_branches_at_the_same_moment() {
    let fleet = fleet(2);
    let crowd = crowd(&fleet, PUSHERS);
    let pushes = crowd.iter().enumerate().map(|(number, (person, dir))| {
        commit(person, dir, &format!("by {number}"));
        let branch = format!("HEAD:refs/heads/branch-{number}");
        person.git(dir, ["push", "-o", "gitback.wait=all", "origin", &branch])
    });
    for ended in at_once(pushes.collect()) {
        says(&done_as(ended), &["replicated to 2 of 2 envoys"]);
    }
    wait_for_copies(fleet.person(0), 2);
    wait_for_copies(fleet.person(1), 2);
    let shown = served(fleet.person(0), NOTES);
    assert_eq!(shown, served(fleet.person(1), NOTES));
    for (number, (person, dir)) in crowd.iter().enumerate() {
        let own = done(person.git(dir, ["rev-parse", "HEAD"])).stdout;
        let name = format!("refs/heads/branch-{number}");
        let listed = done(person.git(dir, ["ls-remote", "origin", &name])).stdout;
        assert_eq!(listed.split('\t').next(), Some(own.trim()), "{name}");
    }
}

#[test]
fn ten_push_to_one_branch_until_all_are_through() {
    let fleet = fleet(2);
    let crowd = crowd(&fleet, PUSHERS);
    for (number, (person, dir)) in crowd.iter().enumerate() {
        commit(person, dir, &format!("by {number}"));
    }
    let mut left: Vec<&(&Person, PathBuf)> = crowd.iter().collect();
    for round in 0.. {
        assert!(round < PUSHERS, "in each round somebody comes through");
        let pushes = left.iter().map(|(person, dir)| {
            person.git(
                dir,
                ["push", "-o", "gitback.wait=all", "origin", "HEAD:main"],
            )
        });
        let ended = at_once(pushes.collect());
        let before = left.len();
        let mut ended = ended.iter();
        left.retain(|_| {
            let ended = ended.next().expect("one each");
            if ended.code != Some(0) {
                says(&ended.stderr, &["rejected"]);
            }
            ended.code != Some(0)
        });
        assert!(left.len() < before, "somebody comes through");
        if left.is_empty() {
            break;
        }
        wait_for_copies(fleet.person(0), 2);
        wait_for_copies(fleet.person(1), 2);
        for (person, dir) in &left {
            done(person.git(dir, ["fetch", "--quiet", "origin"]));
            done(person.git(dir, ["rebase", "--quiet", "-X", "theirs", "origin/main"]));
        }
    }
    let (person, dir) = &crowd[0];
    done(person.git(dir, ["fetch", "--quiet", "origin"]));
    let log = done(person.git(dir, ["log", "--format=%s", "origin/main"])).stdout;
    for number in 0..PUSHERS {
        let subject = format!("by {number}");
        assert_eq!(
            log.lines().filter(|line| *line == subject).count(),
            1,
            "{log}"
        );
    }
}

#[test]
fn twenty_clone_at_the_same_moment() {
    let fleet = fleet(2);
    push_all(fleet.person(0), &notes(&fleet));
    wait_for_copies(fleet.person(1), 2);
    let clones = (0..CLONERS).map(|number| {
        let person = fleet.person(number % 2);
        let name = format!("clone-{number}");
        person.git(person.root(), ["clone", "--quiet", NOTES, &name])
    });
    for ended in at_once(clones.collect()) {
        done_as(ended);
    }
    let shown = served(fleet.person(0), NOTES);
    for number in 0..CLONERS {
        let person = fleet.person(number % 2);
        let dir = person.root().join(format!("clone-{number}"));
        done(person.git(&dir, ["fsck", "--full"]));
        let mut cloned = gitback_tests::refs_as_cloned(person, &dir).expect("refs");
        cloned.remove("HEAD");
        assert_eq!(cloned, shown);
    }
}

/// What a command that has to succeed has said.
fn done_as(ended: gitback_tests::Outcome) -> String {
    ended.success().expect("it succeeds").stderr
}

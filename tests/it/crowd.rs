//! Many at the same moment: nobody's work is lost, and everybody comes through.

use std::path::PathBuf;

use gitback_tests::{Fleet, Outcome, Person};

use crate::fresh::at_once;
use crate::limits::commit_noise;
use crate::members::json;
use crate::world::{
    clone, commit, done, fleet, notes, options, push_all, says, served, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";
const PUSHERS: usize = 10;
const CLONERS: usize = 20;

/// Clones of so many people, half of them at each of two envoys.
fn crowd(fleet: &Fleet, people: usize) -> Vec<(&Person, PathBuf)> {
    push_all(fleet.person(0), &notes(fleet));
    let envoys = fleet.len();
    wait_for_copies(fleet.person(envoys - 1), envoys as u64);
    let cloned = (0..people).map(|number| {
        let person = fleet.person(number % envoys);
        (person, clone(person, &format!("clone-{number}")))
    });
    cloned.collect()
}

/// How many updates an envoy has that count.
fn updates(person: &Person) -> usize {
    let log = json(person, &["swarm", "gitback", "log", "notes"]);
    let entries = log.as_array().expect("a list").iter();
    let counting = entries.filter(|one| one["kind"] == "update.v1" && one["verdict"] == "valid");
    counting.count()
}

/// What becomes of pushes of all heads at the same moment, each to its own of `branches`.
fn push_at_once(crowd: &[(&Person, PathBuf)], branches: &[String]) -> Vec<Outcome> {
    let pushes = crowd.iter().zip(branches).map(|((person, dir), branch)| {
        let target = format!("HEAD:refs/heads/{branch}");
        person.git(dir, ["push", "origin", &target])
    });
    at_once(pushes.collect())
}

/// Who of all pushes was refused; those that are not have their branch, and one update each.
fn refused<'a>(
    crowd: &[(&Person, PathBuf)],
    branches: &[String],
    ended: &'a [Outcome],
    before: usize,
) -> Vec<(usize, &'a str)> {
    let mut refused = Vec::new();
    let shown = served(crowd[0].0, NOTES);
    for (number, ended) in ended.iter().enumerate() {
        let (person, dir) = &crowd[number];
        let own = done(person.git(dir, ["rev-parse", "HEAD"])).stdout;
        let there = shown.get(&format!("refs/heads/{}", branches[number]));
        let is_there = there.is_some_and(|value| value == own.trim());
        assert_eq!(is_there, ended.code == Some(0), "{ended}");
        if !is_there {
            refused.push((number, ended.stderr.as_str()));
        }
    }
    let stored = crowd.len() - refused.len();
    assert_eq!(updates(crowd[0].0), before + stored, "one update each");
    refused
}

#[test]
fn of_ten_at_the_same_moment_those_are_refused_who_meet_others() {
    let fleet = fleet(1);
    let crowd = crowd(&fleet, PUSHERS);
    let mut branches: Vec<String> = (0..PUSHERS).map(|number| format!("b{number}")).collect();
    // Of the first two only one can be there, and so of the last two: git keeps no branch below a branch.
    branches[1] = "b0".to_owned();
    branches[PUSHERS - 1] = format!("{}/below", branches[PUSHERS - 2]);
    for (number, (person, dir)) in crowd.iter().enumerate() {
        commit(person, dir, &format!("by {number}"));
    }
    let before = updates(fleet.person(0));
    let ended = push_at_once(&crowd, &branches);
    let refused = refused(&crowd, &branches, &ended, before);
    let [(first, current), (second, nested)] = refused[..] else {
        panic!("one of each two: {refused:?}");
    };
    assert!(first < 2 && second >= PUSHERS - 2, "{refused:?}");
    says(current, &["fetch first"]);
    says(nested, &["exists; git cannot keep both"]);
}

#[test]
fn of_ten_at_the_same_moment_one_beyond_the_quota_is_refused_alone() {
    let fleet = Fleet::start(options(1).more_settings("member_max_bytes = 400000\n"));
    let mut fleet = fleet.expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let crowd = crowd(&fleet, PUSHERS);
    let branches: Vec<String> = (0..PUSHERS).map(|number| format!("b{number}")).collect();
    for (number, (person, dir)) in crowd.iter().enumerate() {
        match number {
            // Each of these comes in, and both do not.
            3 => commit_noise(person, dir, "noise", 200),
            6 => commit_noise(person, dir, "noise", 201),
            _ => commit(person, dir, &format!("by {number}")),
        }
    }
    let before = updates(fleet.person(0));
    let ended = push_at_once(&crowd, &branches);
    let refused = refused(&crowd, &branches, &ended, before);
    let [(number, why)] = refused[..] else {
        panic!("one of two: {refused:?}");
    };
    assert!(number == 3 || number == 6, "{refused:?}");
    says(why, &["of 400000 bytes that mars takes of one member"]);
}

#[test]
fn ten_push_to_ten_branches_at_the_same_moment() {
    let fleet = fleet(2);
    let crowd = crowd(&fleet, PUSHERS);
    let before = updates(fleet.person(0));
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
    assert_eq!(updates(fleet.person(0)), before + PUSHERS, "one each");
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
fn done_as(ended: Outcome) -> String {
    ended.success().expect("it succeeds").stderr
}

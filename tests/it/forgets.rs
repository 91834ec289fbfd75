//! A disk that forgets: the envelope log, the repository, both, or everything since a backup.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Person};

use crate::members::json;
use crate::world::{
    clone, commit, done, local, notes, options, push_all, served, status, wait_for, wait_for_copies,
};

/// Two envoys with dan's puddle and the project `notes` on both, with cables that can be cut.
fn two_with_notes() -> (Fleet, PathBuf) {
    let mut fleet = Fleet::start(options(2).links()).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    wait_for_copies(fleet.person(0), 2);
    (fleet, work)
}

fn state_dir(person: &Person) -> PathBuf {
    person.root().join("var/lib/vigo/swarm/gitback")
}

fn remove(person: &Person, folder: &str) {
    let folder = state_dir(person).join(folder);
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        std::fs::remove_dir_all(entry.expect("an entry").path()).expect("removed");
    }
}

/// No number of any chain was signed twice.
#[track_caller]
fn no_number_twice(person: &Person) {
    let log = json(person, &["swarm", "gitback", "log", "notes"]);
    let mut numbers = BTreeSet::new();
    for entry in log.as_array().expect("a list") {
        let number = [
            &entry["signer"],
            &entry["puddle"],
            &entry["incarnation"],
            &entry["seq"],
        ];
        assert!(numbers.insert(format!("{number:?}")), "twice: {entry}");
    }
    assert_eq!(status(person)["alarms"], serde_json::json!([]));
}

/// Pushes one more commit on mars, and expects both envoys to have it.
#[track_caller]
fn goes_on(fleet: &Fleet, work: &Path) {
    let mars = fleet.person(0);
    commit(mars, work, "after the loss");
    done(mars.git(work, ["push", "gitback", "main"]));
    wait_for_copies(mars, 2);
    for index in [0, 1] {
        let served = served(fleet.person(index), "gitback://dan/notes");
        assert_eq!(served, local(mars, work));
    }
    no_number_twice(fleet.person(1));
}

#[test]
fn an_envoy_that_lost_its_log_learns_it_again_and_begins_a_new_life() {
    let (mut fleet, work) = two_with_notes();
    fleet.envoy_mut(0).end().expect("a clean end");
    remove(fleet.person(0), "envelopes");
    fleet.restart(0).expect("starts again");
    wait_for_copies(fleet.person(0), 2);
    goes_on(&fleet, &work);
}

#[test]
fn an_envoy_that_lost_its_log_serves_nothing_as_current_before_it_has_asked() {
    let (mut fleet, work) = two_with_notes();
    fleet.envoy_mut(0).end().expect("a clean end");
    remove(fleet.person(0), "envelopes");
    fleet.cut(0);
    fleet.restart(0).expect("starts again");
    let mars = fleet.person(0);
    let listed = mars
        .git(mars.root(), ["ls-remote", "gitback://dan/notes"])
        .run();
    let listed = listed.expect("git runs");
    assert_ne!(listed.code, Some(0), "{listed}");
    fleet.mend(0);
    wait_for_copies(fleet.person(0), 2);
    goes_on(&fleet, &work);
}

#[test]
fn an_envoy_that_lost_its_repository_brings_it_in_again() {
    let (mut fleet, work) = two_with_notes();
    fleet.envoy_mut(0).end().expect("a clean end");
    remove(fleet.person(0), "projects");
    fleet.restart(0).expect("starts again");
    wait_for_copies(fleet.person(0), 2);
    goes_on(&fleet, &work);
}

#[test]
fn an_envoy_that_lost_both_is_fresh_and_is_let_in_by_a_token() {
    let (mut fleet, work) = two_with_notes();
    fleet.envoy_mut(0).end().expect("a clean end");
    remove(fleet.person(0), "projects");
    remove(fleet.person(0), "envelopes");
    fleet.restart(0).expect("starts again");
    clone(fleet.person(0), "again");
    goes_on(&fleet, &work);
}

#[test]
fn an_envoy_restored_from_an_old_backup_signs_no_number_twice() {
    let (mut fleet, work) = two_with_notes();
    let mars = fleet.person(0).clone();
    let backup = fleet.dir().join("backup");
    fleet.envoy_mut(0).end().expect("a clean end");
    copy(&mars, &state_dir(&mars), &backup);
    fleet.restart(0).expect("starts again");
    commit(&mars, &work, "after the backup");
    done(mars.git(&work, ["push", "gitback", "main"]));
    wait_for_copies(&mars, 2);

    // The backup comes back while nobody can tell this envoy what it has signed since.
    fleet.envoy_mut(0).end().expect("a clean end");
    std::fs::remove_dir_all(state_dir(&mars)).expect("removed");
    copy(&mars, &backup, &state_dir(&mars));
    fleet.cut(0);
    fleet.restart(0).expect("starts again");
    done(mars.git(&work, ["checkout", "--quiet", "-b", "other", "HEAD~1"]));
    commit(&mars, &work, "by the restored envoy, alone");
    done(mars.git(&work, ["push", "gitback", "other:main"]));
    fleet.mend(0);

    // Both commits are there: nothing is lost, and the divergence shows.
    for index in [0, 1] {
        wait_for(fleet.person(index), "main has diverged", |status| {
            status["diverged"].to_string().contains("refs/heads/main")
        });
        no_number_twice(fleet.person(index));
    }
}

fn copy(person: &Person, from: &Path, to: &Path) {
    let [from, to] = [from, to].map(|path| path.to_string_lossy().into_owned());
    done(person.any("cp", ["-a", &from, &to]));
}

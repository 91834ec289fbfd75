//! A person who ends their puddle on one machine.

use std::fs::File;

use gitback_tests::Person;
use serde_json::Value;

use crate::world::{
    SOON, clone, done, fails, fleet, notes, push_all, says, status, wait_for_copies,
};

/// The envelopes of a kind that count, as `person`'s envoy knows them.
fn of_kind(person: &Person, kind: &str) -> usize {
    let log = person.vigo(["swarm", "gitback", "log", "notes", "--json"]);
    let log: Value = serde_json::from_str(&done(log).stdout).expect("JSON");
    let all = log.as_array().expect("a list").iter();
    all.filter(|one| one["kind"] == kind && one["verdict"] == "valid")
        .count()
}

#[test]
fn leaving_takes_back_the_grants_and_removes_the_key() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    wait_for_copies(mars, 2);
    let leave = ["swarm", "puddle", "leave", "--yes"];
    // The key was never used on venus, as far as anybody can see.
    let refused = fails(mars.vigo(leave), 1);
    says(&refused, &["may be the last machine", "--even-last"]);
    clone(venus, "clone");

    // A session that goes on could sign the next grant at once: the key itself takes back, by its passphrase.
    fails(venus.vigo(leave), 2);
    assert!(
        venus
            .root()
            .join("home/.vigo-puddle/identity.wrapped")
            .exists()
    );
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let passphrase = ["--passphrase-file", &file];
    let left = done(venus.vigo(leave.into_iter().chain(passphrase)));
    let here = "venus signs for you in dan/notes no longer\nRemoved puddle dan from this machine\n";
    assert_eq!(left.stdout, here);
    let told = [
        "it was used on mars",
        "copies stay on this machine: dan/notes",
        "purge",
    ];
    says(&left.stderr, &told);
    for name in [
        "home/.vigo-puddle",
        "home/.vigo-gitback",
        "var/run/vigo/puddle.sock",
    ] {
        assert!(!venus.root().join(name).exists(), "{name}");
    }
    let copy = venus.root().join("clone");
    let refused = fails(venus.git(&copy, ["fetch", "origin"]), 128);
    says(&refused, &["error: "]);

    gitback_tests::until(SOON, "mars hears of it", || {
        Ok(match of_kind(mars, "ungrant.v1") {
            1 => Ok(()),
            other => Err(other.to_string()),
        })
    })
    .expect("it spreads");
    assert_eq!(status(mars)["role"], "founder", "mars goes on");
    // What was used on venus is there no more.
    says(&fails(mars.vigo(leave), 1), &["may be the last machine"]);
    assert_eq!(of_kind(mars, "ungrant.v1"), 1, "nothing was signed");

    // A locked puddle needs its passphrase, and nothing is removed without.
    done(mars.vigo(["swarm", "puddle", "lock"]));
    let last = ["swarm", "puddle", "leave", "--yes", "--even-last"];
    fails(mars.vigo(last), 2);
    assert!(
        mars.root()
            .join("home/.vigo-puddle/identity.wrapped")
            .exists()
    );
    let left = done(mars.vigo(last.into_iter().chain(passphrase)));
    says(
        &left.stderr,
        &["nothing shows that the key of dan is anywhere else"],
    );
    assert!(!mars.root().join("home/.vigo-puddle").exists());
}

#[test]
fn earlier_keys_are_kept_until_they_are_not_needed() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    wait_for_copies(mars, 2);
    clone(venus, "clone");
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let passphrase = ["--passphrase-file", &file];
    let rotate = ["swarm", "puddle", "rotate", "--no-unlock"];
    done(mars.vigo(rotate.into_iter().chain(passphrase)));

    let leave = ["swarm", "puddle", "leave", "--yes"];
    let refused = fails(mars.vigo(leave.into_iter().chain(passphrase)), 1);
    says(
        &refused,
        &[
            "the key of dan and 1 key that it had before",
            "reanchor --all",
        ],
    );
    let retired = mars.root().join("home/.vigo-puddle/retired");
    let kept = || std::fs::read_dir(&retired).map_or(0, Iterator::count);
    assert_eq!(kept(), 1);

    // Whoever insists leaves by the earlier key, which is the one that has granted.
    let last = ["swarm", "puddle", "leave", "--yes", "--even-last"];
    let left = done(mars.vigo(last.into_iter().chain(passphrase)));
    says(&left.stdout, &["mars signs for you in dan/notes no longer"]);
    says(&left.stderr, &["still by an earlier key: "]);
    assert!(!mars.root().join("home/.vigo-puddle").exists());
    gitback_tests::until(SOON, "venus hears of it", || {
        Ok(match of_kind(venus, "ungrant.v1") {
            1 => Ok(()),
            other => Err(other.to_string()),
        })
    })
    .expect("it spreads");
}

#[test]
fn what_was_cut_short_can_be_done_again() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    wait_for_copies(mars, 2);
    clone(venus, "clone");
    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let dir = venus.root().join("home/.vigo-puddle");

    // While the files are being removed, nobody unlocks.
    let lock = File::create(dir.join("lock")).expect("the lock's file");
    lock.lock().expect("the lock");
    let unlock = ["swarm", "puddle", "unlock", "--passphrase-file", &file];
    let refused = fails(venus.vigo(unlock), 1);
    says(&refused, &["another process is changing the files"]);
    assert!(!venus.root().join("var/run/vigo/puddle.sock").exists());
    drop(lock);

    std::fs::remove_file(dir.join("identity.wrapped")).expect("removed");
    let leave = ["swarm", "puddle", "leave", "--yes"];
    let left = done(venus.vigo(leave));
    says(&left.stderr, &["the key that would take it back is gone"]);
    assert!(!dir.exists());
}

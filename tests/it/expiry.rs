//! What was replaced long ago is let go where the configuration says so, and nothing that could come back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gitback_tests::{Fleet, Person};

use crate::members::{clone_from, id_address, invite, join, json, puddle_key, two_people};
use crate::world::{
    SOON, clone, clones_the_same, commit, done, fails, fleet, notes, push_all, says, served,
    wait_for, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

fn place(person: &Person, what: &str) -> PathBuf {
    let all = person.root().join("var/lib/vigo/swarm/gitback").join(what);
    let mut entries = fs::read_dir(all).expect("a project");
    entries.next().expect("one").expect("readable").path()
}

fn repository(person: &Person) -> PathBuf {
    place(person, "projects")
}

fn tip(person: &Person, work: &Path, name: &str) -> String {
    let said = done(person.git(work, ["rev-parse", name])).stdout;
    said.trim().to_owned()
}

fn has(person: &Person, oid: &str) -> bool {
    let listed = done(person.git(
        &repository(person),
        ["cat-file", "--batch-all-objects", "--batch-check"],
    ));
    listed.stdout.contains(oid)
}

fn wait_until_gone(person: &Person, oid: &str) {
    gitback_tests::until(SOON, "it leaves", || {
        let there = has(person, oid);
        Ok(if there {
            Err(format!("{oid} is there"))
        } else {
            Ok(())
        })
    })
    .expect("it leaves");
}

/// Makes every file below older than any time that is kept.
fn make_old(folder: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(100 * 86_400);
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            make_old(&path);
        } else {
            let file = File::open(&path).expect("readable");
            file.set_modified(long_ago).expect("it is ours");
        }
    }
}

/// Stops an envoy, lets a hundred days pass in its repository, and has it keep what is replaced for ninety.
fn age(fleet: &mut Fleet, index: usize) {
    fleet.envoy_mut(index).kill().expect("it is switched off");
    let person = fleet.person(index).clone();
    make_old(&repository(&person));
    let file = fleet.envoy(index).config_file();
    let text = fs::read_to_string(&file).expect("its configuration");
    if !text.contains("keep_replaced") {
        fs::write(&file, format!("keep_replaced = \"90d\"\n{text}")).expect("written");
    }
    fleet.restart(index).expect("it returns");
}

/// Forces another history to main.
fn lose(person: &Person, work: &Path) {
    done(person.git(work, ["reset", "--quiet", "--hard", "HEAD~3"]));
    commit(person, work, "another history");
    done(person.git(work, ["push", "--force", "gitback", "main"]));
}

fn log(person: &Person) -> Vec<serde_json::Value> {
    let log = json(person, &["swarm", "gitback", "log", "notes", "main"]);
    log.as_array().expect("a list").clone()
}

#[test]
fn what_was_replaced_long_ago_leaves_one_envoy_and_does_not_come_back() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    wait_for_copies(&mars, 2);
    let lost = tip(&mars, &work, "main");
    lose(&mars, &work);
    wait_for_copies(&mars, 2);
    assert!(has(&mars, &lost) && has(&venus, &lost));

    // Without the setting it stays, however old it is.
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    make_old(&repository(&venus));
    fleet.restart(1).expect("venus returns");
    age(&mut fleet, 0);
    wait_until_gone(&mars, &lost);
    wait_for_copies(&mars, 2);
    done(mars.git(&repository(&mars), ["fsck", "--full", "--strict"]));
    assert!(has(&venus, &lost));

    let event = log(&mars)
        .into_iter()
        .find(|event| event["new"] == lost.as_str());
    let event = event.expect("it was there");
    assert_eq!(event["here"], false, "{event}");
    assert_eq!(event["let_go_by"], "90d");
    assert!(event["let_go_ms"].is_u64());
    let told = done(mars.vigo(["swarm", "gitback", "log", "notes", "main"]));
    says(
        &told.stdout,
        &["were let go here on", "keep_replaced = \"90d\""],
    );
    let restore = ["swarm", "gitback", "restore", "notes", "main"];
    let refused = fails(mars.vigo(restore), 1);
    says(
        &refused,
        &[
            "are not on mars",
            "mars let them go on",
            "keep_replaced = \"90d\"",
        ],
    );

    // Also when everything is judged again, it is not asked for.
    fleet.envoy_mut(0).kill().expect("mars is switched off");
    let note = place(&mars, "envelopes").join("judged");
    if note.exists() {
        fs::remove_file(&note).expect("a note that may be lost");
    }
    fleet.restart(0).expect("mars returns");
    commit(&mars, &work, "more");
    done(mars.git(&work, ["push", "gitback", "main"]));
    wait_for_copies(&mars, 2);
    assert!(!has(&mars, &lost));
    clones_the_same(&venus, &mars, &work);

    // Where it still is, it can be brought back for all.
    done(venus.vigo(restore));
    wait_for_copies(&venus, 2);
    assert_eq!(served(&mars, NOTES)["refs/heads/main"], lost);
    assert!(has(&mars, &lost));
    clone(&mars, "again");
}

#[test]
fn who_comes_later_does_without_what_everybody_let_go() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    let lost = tip(&mars, &work, "main");
    lose(&mars, &work);
    wait_for_copies(&mars, 2);
    // As if it had never been there.
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    let swarm = venus.root().join("var/lib/vigo/swarm/gitback");
    fs::remove_dir_all(swarm).expect("what venus held");
    age(&mut fleet, 0);
    wait_until_gone(&mars, &lost);
    fleet.restart(1).expect("venus returns");
    wait_for_copies(&mars, 2);
    clones_the_same(&venus, &mars, &work);
    // It has asked, and is content.
    wait_for(&venus, "all of it", |status| status["state"] == "current");
    commit(&mars, &work, "more");
    done(mars.git(&work, ["push", "gitback", "main"]));
    wait_for_copies(&mars, 2);
    let said = fleet.envoy(1).log();
    assert!(!said.contains("cannot catch up"), "{said}");
    assert!(!has(&venus, &lost));
}

#[test]
fn what_a_member_took_away_stays_for_the_founder_may_revoke_that() {
    let mut fleet = two_people();
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    let line = invite(&mars, &puddle_key(&venus), &[]);
    join(&venus, &line);
    let address = id_address(&mars);
    let theirs = clone_from(&venus, &address, "theirs");
    let main = tip(&mars, &work, "main");
    done(mars.git(&work, ["checkout", "--quiet", "-b", "gone"]));
    commit(&mars, &work, "deleted by dan");
    done(mars.git(&work, ["push", "gitback", "gone"]));
    let gone = tip(&mars, &work, "gone");
    done(mars.git(&work, ["checkout", "--quiet", "main"]));
    commit(&mars, &work, "forced away by alice");
    done(mars.git(&work, ["push", "-o", "gitback.wait=1", "gitback", "main"]));
    let forced = tip(&mars, &work, "main");
    let at = |person: &Person, oid: &str| {
        gitback_tests::until(SOON, "the push arrives", || {
            let refs = served(person, &address);
            Ok(match refs["refs/heads/main"] == oid {
                true => Ok(()),
                false => Err(format!("{refs:?}")),
            })
        })
        .expect("it arrives");
    };
    at(&venus, &forced);
    done(venus.git(&theirs, ["fetch", "--quiet", "origin"]));
    done(venus.git(&theirs, ["push", "--force", "origin", "HEAD:main"]));
    at(&mars, &main);
    done(mars.git(&work, ["push", "gitback", ":gone"]));
    let kept = |oid: &str| {
        let name = format!("refs/gitback/old/{oid}");
        done(mars.git(&repository(&mars), ["for-each-ref", &name])).stdout
    };
    assert!(!kept(&gone).is_empty() && !kept(&forced).is_empty());
    age(&mut fleet, 0);
    // The founder's own deletion is final.
    gitback_tests::until(SOON, "what dan deleted goes", || {
        let listed = kept(&gone);
        Ok(if listed.is_empty() {
            Ok(())
        } else {
            Err(listed)
        })
    })
    .expect("it goes");
    assert!(
        !kept(&forced).is_empty(),
        "revoking alice could bring it back"
    );
    done(mars.vigo(["swarm", "gitback", "restore", "notes", "main"]));
    assert_eq!(served(&mars, &address)["refs/heads/main"], forced);
}

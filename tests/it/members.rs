//! Two people, three envoys: who may do what, through theft of time, partition and change of keys.

use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Outcome, Person};
use serde_json::Value;

use crate::world::{
    commit, done, fails, local, notes, options, push_all, says, served, status, wait_for,
    wait_for_copies,
};

/// Dan on mars and titan, alice on venus, with cables that can be cut.
pub(crate) fn two_people() -> Fleet {
    let mut fleet = Fleet::start(options(3).links()).expect("the fleet starts");
    fleet.create_puddle(0, "dan").expect("dan's puddle");
    fleet.carry_puddle(0, 2).expect("on titan as well");
    fleet.unlock(2).expect("unlocked on titan");
    fleet.create_puddle(1, "alice").expect("alice's puddle");
    fleet
}

/// What `vigo … --json` prints.
#[track_caller]
pub(crate) fn json(person: &Person, args: &[&str]) -> Value {
    let asked = done(person.vigo(args.iter().chain(&["--json"])));
    serde_json::from_str(&asked.stdout).expect("JSON")
}

#[track_caller]
pub(crate) fn puddle_key(person: &Person) -> String {
    let status = json(person, &["swarm", "puddle", "status"]);
    status["key"].as_str().expect("a key").to_owned()
}

#[track_caller]
pub(crate) fn project(person: &Person, verb: &[&str]) -> Outcome {
    let args = ["swarm", "gitback", "project"];
    done(person.vigo(args.iter().chain(verb)))
}

#[track_caller]
pub(crate) fn project_fails(person: &Person, verb: &[&str], code: i32) -> String {
    let args = ["swarm", "gitback", "project"];
    fails(person.vigo(args.iter().chain(verb)), code)
}

/// Invites `who` and gives what the other person is told to type, without the program's name.
#[track_caller]
pub(crate) fn invite(founder: &Person, who: &str, more: &[&str]) -> Vec<String> {
    let mut verb = vec!["invite", who, "--project", "notes"];
    verb.extend(more);
    to_type(&project(founder, &verb))
}

/// The line with which somebody else joins, without the program's name.
#[track_caller]
pub(crate) fn to_type(said: &Outcome) -> Vec<String> {
    let mut lines = said.stdout.lines();
    let line = lines
        .find(|line| line.contains("project join"))
        .expect("a line to type");
    let words = line.split_whitespace().skip_while(|word| *word != "vigo");
    words.skip(1).map(ToOwned::to_owned).collect()
}

/// Types what an invitation says.
#[track_caller]
pub(crate) fn join(person: &Person, line: &[String]) -> Outcome {
    done(person.vigo(line))
}

#[track_caller]
pub(crate) fn id_address(person: &Person) -> String {
    let id = status(person)["project_id"].clone();
    format!("gitback://{}/notes", id.as_str().expect("an id"))
}

#[track_caller]
pub(crate) fn clone_from(person: &Person, address: &str, name: &str) -> PathBuf {
    done(person.git(person.root(), ["clone", "--quiet", address, name]));
    person.root().join(name)
}

#[track_caller]
fn push(person: &Person, work: &Path, remote: &str) -> Outcome {
    done(person.git(work, ["push", remote, "main"]))
}

/// Waits until all three envoys serve what is in `work`. Dan asks on mars and titan; on venus the envoy says it.
#[track_caller]
fn wait_until_all_serve(fleet: &Fleet, work: &Path) {
    let expected = local(fleet.person(0), work);
    for index in 0..3 {
        wait_for(fleet.person(index), "the same refs", |status| {
            let refs = status["ref_list"].as_array().cloned().unwrap_or_default();
            let shown = refs.iter().filter_map(|one| {
                let name = one["name"].as_str()?;
                let plain = !name.starts_with("refs/envoys/");
                plain.then(|| {
                    (
                        name.to_owned(),
                        one["oid"].as_str().unwrap_or("").to_owned(),
                    )
                })
            });
            shown.collect::<gitback_tests::Refs>() == expected
        });
    }
}

#[test]
fn a_stranger_neither_fetches_nor_pushes_until_invited_and_joined() {
    let fleet = two_people();
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    wait_for_copies(mars, 3);
    let address = id_address(mars);
    let said = fails(venus.git(venus.root(), ["clone", &address, "nothing"]), 128);
    says(&said, &["not a member"]);

    let line = invite(mars, &puddle_key(venus), &[]);
    join(venus, &line);
    let clone = clone_from(venus, &address, "clone");
    commit(venus, &clone, "by alice");
    let pushed = push(venus, &clone, "origin");
    says(&pushed.stderr, &["replicated to 3 of 3 envoys"]);
    done(mars.git(&work, ["pull", "--quiet", "gitback", "main"]));
    assert_eq!(served(mars, "gitback://dan/notes"), local(mars, &work));

    let members = status(mars)["member_list"].clone();
    let alice = members.as_array().into_iter().flatten();
    let alice = alice.filter(|one| one["puddle"] == puddle_key(venus).as_str());
    assert_eq!(
        alice.map(|one| one["state"].clone()).collect::<Vec<_>>(),
        ["live"]
    );
}

#[test]
fn a_reader_fetches_and_does_not_push() {
    let fleet = two_people();
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    let address = id_address(mars);
    let line = invite(mars, &puddle_key(venus), &["--role", "reader"]);
    join(venus, &line);
    let clone = clone_from(venus, &address, "clone");
    commit(venus, &clone, "by a reader");
    let before = served(mars, "gitback://dan/notes");
    let refused = venus.git(&clone, ["push", "origin", "main"]).run();
    let refused = refused.expect("git runs");
    assert_ne!(refused.code, Some(0), "{refused}");
    says(&refused.to_string(), &["reader"]);
    assert_eq!(served(mars, "gitback://dan/notes"), before);
}

#[test]
fn what_a_revoked_member_pushed_behind_a_partition_is_undone_when_it_heals() {
    let fleet = two_people();
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    let address = id_address(mars);
    let alice = puddle_key(venus);
    join(venus, &invite(mars, &alice, &[]));
    let clone = clone_from(venus, &address, "clone");
    commit(venus, &clone, "before the revocation");
    push(venus, &clone, "origin");
    done(mars.git(&work, ["pull", "--quiet", "gitback", "main"]));

    fleet.cut(1);
    project(mars, &["revoke", "notes", &alice, "--yes"]);
    commit(venus, &clone, "not yet known to be revoked");
    let pushed = push(venus, &clone, "origin");
    says(&pushed.stderr, &["stored on venus"]);
    fleet.mend(1);

    // What came before the cut stays, what came after it is undone, everywhere and visibly.
    wait_until_all_serve(&fleet, &work);
    for index in 0..3 {
        wait_for(fleet.person(index), "one void envelope", |status| {
            status["void"].as_u64().is_some_and(|void| void >= 1)
        });
        let log = json(fleet.person(index), &["swarm", "gitback", "log", "notes"]);
        let entries = log.as_array().expect("a list").clone();
        let void = entries.iter().filter(|entry| entry["code"] == "revoked");
        assert_eq!(void.count(), 1, "{log}");
    }
    let refused = venus
        .git(&clone, ["push", "origin", "main"])
        .run()
        .expect("git runs");
    assert_ne!(refused.code, Some(0), "{refused}");
    says(&refused.to_string(), &["revoked"]);
    let said = fails(venus.git(&clone, ["fetch", "origin"]), 128);
    says(&said, &["revoked"]);
}

#[test]
fn a_locked_puddle_pushes_by_its_grant() {
    let fleet = two_people();
    let work = notes(&fleet);
    let mars = fleet.person(0);
    push_all(mars, &work);
    fleet.lock(0).expect("locked");
    commit(mars, &work, "by a timer at night");
    let pushed = push(mars, &work, "gitback");
    says(&pushed.stderr, &["success: replicated to 3 of 3 envoys"]);
    let token = mars.root().join("home/.vigo-gitback");
    let id = status(mars)["project_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(token.join(id).join("token").is_file());
}

#[test]
fn somebody_who_leaves_may_ask_back_in() {
    leaves_and_comes_back("swarm");
}

#[test]
fn somebody_who_leaves_a_project_of_members_only_may_ask_back_in() {
    leaves_and_comes_back("members");
}

#[track_caller]
fn leaves_and_comes_back(scope: &str) {
    let fleet = two_people();
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    project(mars, &["policy", "notes", "--scope", scope]);
    push_all(mars, &work);
    let address = id_address(mars);
    let alice = puddle_key(venus);
    join(venus, &invite(mars, &alice, &[]));
    let clone = clone_from(venus, &address, "clone");
    project(venus, &["leave", "notes", "--yes"]);
    let said = fails(venus.git(&clone, ["fetch", "origin"]), 128);
    says(&said, &["left"]);
    project(venus, &["rejoin", &address]);
    wait_for(mars, "alice asks back in", |status| {
        let members = status["member_list"].as_array().cloned();
        let mut members = members.into_iter().flatten();
        members.any(|one| one["state"] == "left" && one["asks_back"] == true)
    });
    join(venus, &invite(mars, &alice, &[]));
    commit(venus, &clone, "back again");
    push(venus, &clone, "origin");
}

/// Two people and three envoys, from the first invitation to the project's second life.
#[test]
fn a_project_outlives_a_partition_a_revocation_and_six_keys() {
    let fleet = two_people();
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    let old = id_address(&mars);
    let alice = puddle_key(&venus);
    let genesis = puddle_key(&mars);
    done(venus.vigo(["swarm", "puddle", "names", "pick", "dan", &genesis]));
    done(mars.vigo(["swarm", "puddle", "names", "pick", "alice", &alice]));

    // Invite, join, pushes by both.
    join(&venus, &invite(&mars, "alice", &[]));
    let clone = clone_from(&venus, "gitback://dan/notes", "clone");
    commit(&venus, &clone, "by alice");
    push(&venus, &clone, "origin");
    done(mars.git(&work, ["pull", "--quiet", "gitback", "main"]));
    commit(&mars, &work, "by dan");
    push(&mars, &work, "gitback");

    // Revoked while cut off; undone when it heals.
    fleet.cut(1);
    project(&mars, &["revoke", "notes", "alice", "--yes"]);
    done(venus.git(&clone, ["pull", "--quiet", "origin", "main"]));
    commit(&venus, &clone, "out of sight");
    push(&venus, &clone, "origin");
    fleet.mend(1);
    wait_until_all_serve(&fleet, &work);
    let refused = venus.git(&clone, ["push", "origin", "main"]).run();
    assert_ne!(refused.expect("git runs").code, Some(0));

    // Invited again: a new membership. What the old one pushed outside its cut stays void.
    join(&venus, &invite(&mars, "alice", &[]));
    done(venus.git(&clone, ["fetch", "--quiet", "origin"]));
    done(venus.git(&clone, ["reset", "--quiet", "--hard", "origin/main"]));

    let file = fleet.passphrase_file().to_string_lossy().into_owned();
    let rotate = || {
        let args = ["swarm", "puddle", "rotate", "--passphrase-file", &file];
        done(mars.vigo(args))
    };
    for hop in 1..=5_u64 {
        rotate();
        let said = project(&mars, &["reanchor", "notes", "--passphrase-file", &file]);
        assert_eq!(said.stderr.contains("warning"), hop >= 3, "{said}");
        commit(&mars, &work, &format!("by key {hop}"));
        push(&mars, &work, "gitback");
        let line = status(&mars)["line"].as_array().expect("a line").len();
        assert_eq!(line as u64, hop + 1);
    }
    // Who was a member under the first key still is. The founder's other machine needs the new key.
    done(venus.git(&clone, ["pull", "--quiet", "origin", "main"]));
    commit(&venus, &clone, "by alice, as ever");
    push(&venus, &clone, "origin");
    done(mars.git(&work, ["pull", "--quiet", "gitback", "main"]));
    fleet.lock(2).expect("the old key is locked on titan");
    fleet.carry_puddle(0, 2).expect("the new key on titan");
    fleet.unlock(2).expect("unlocked on titan");
    let titan = fleet.person(2).clone();
    let third = clone_from(&titan, &old, "third");
    commit(&titan, &third, "on titan, by the fifth heir");
    push(&titan, &third, "origin");
    done(mars.git(&work, ["pull", "--quiet", "gitback", "main"]));

    rotate();
    let said = project_fails(&mars, &["reanchor", "notes", "--passphrase-file", &file], 1);
    says(&said, &["re-found"]);

    let refounded = project(&mars, &["re-found", "notes", "--passphrase-file", &file]);
    join(&venus, &to_type(&refounded));

    // The old friendly address leads to the new project, the old id only says where it is.
    let again = clone_from(&venus, "gitback://dan/notes", "again");
    let found = gitback_tests::refs_as_cloned(&venus, &again).expect("git lists refs");
    let expected = gitback_tests::refs_of(&mars, &work).expect("git lists refs");
    assert_eq!(
        gitback_tests::differences(&expected, &found),
        Vec::<String>::new()
    );
    let said = fails(venus.git(venus.root(), ["clone", &old, "old"]), 128);
    let new = id_address(&mars);
    assert_ne!(new, old);
    says(&said, &[&new]);
    commit(&venus, &again, "in the second life");
    push(&venus, &again, "origin");
}

//! Copies: brought together on demand, and given up without losing the last one.

use std::io::BufRead as _;
use std::path::PathBuf;

use gitback_tests::{Fleet, Invocation, Outcome, Person};
use serde_json::Value;

use crate::members::json;
use crate::world::{
    SOON, clone, commit, done, fails, fleet, local, notes, options, push_all, says, served,
    snapshot, status, wait_for, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

pub(crate) fn gitback<'a>(person: &Person, verb: impl IntoIterator<Item = &'a str>) -> Invocation {
    person.vigo(["swarm", "gitback"].into_iter().chain(verb))
}

/// Where an envoy keeps its repositories.
pub(crate) fn repositories(person: &Person) -> PathBuf {
    person.root().join("var/lib/vigo/swarm/gitback/projects")
}

fn held(person: &Person) -> usize {
    std::fs::read_dir(repositories(person)).map_or(0, Iterator::count)
}

/// Waits until `person`'s envoy has compared with every other one.
fn compared(person: &Person) {
    done(gitback(person, ["sync"]));
}

#[test]
fn sync_waits_for_copies_and_says_which_are_missing() {
    let mut fleet = fleet(3);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    let said = done(gitback(&mars, ["sync", "notes", "--copies", "3"]));
    says(&said.stdout, &["dan/notes", "3/3"]);
    assert_eq!(status(&mars)["copies"], 3);

    fleet.envoy_mut(2).kill().expect("titan is switched off");
    commit(&mars, &work, "while titan is away");
    done(mars.git(&work, ["push", "-o", "gitback.wait=0", "gitback", "main"]));
    // Whoever does not answer is not waited for, and is named.
    let said = done(gitback(&mars, ["sync", "--wait"]));
    says(&said.stdout, &["2/3", "titan offline", "behind 1"]);
    let few = fails(
        gitback(&mars, ["sync", "notes", "--copies", "3", "--timeout", "1s"]),
        3,
    );
    says(&few, &["fewer copies are current", "2 of 3 current"]);
    let json = fails(
        gitback(
            &mars,
            [
                "sync",
                "notes",
                "--copies",
                "3",
                "--timeout",
                "0s",
                "--json",
            ],
        ),
        3,
    );
    says(&json, &["\"reached\": false", "\"code\":3"]);
    fails(gitback(&mars, ["sync", "--timeout", "soon"]), 2);
    fails(gitback(&mars, ["sync", "nothing"]), 10);

    fleet.restart(2).expect("titan returns");
    done(gitback(&mars, ["sync", "notes", "--copies", "3"]));
    assert_eq!(served(fleet.person(2), NOTES), local(&mars, &work));
}

#[test]
fn whoever_watches_hears_of_each_change() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    wait_for_copies(&mars, 2);
    let mut watching = gitback(&mars, ["sync", "--watch", "--json"])
        .talk()
        .expect("vigo starts");
    let mut next = |wanted: &dyn Fn(&Value) -> bool| {
        gitback_tests::until(SOON, "a change", || {
            let mut line = String::new();
            watching.output().read_line(&mut line)?;
            let change: Value = serde_json::from_str(&line)?;
            Ok(if wanted(&change) {
                Ok(change)
            } else {
                Err(line)
            })
        })
        .expect("it is told")
    };
    next(&|change| change["envoy"] == "venus" && change["from"].is_null());
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    commit(&mars, &work, "while venus is away");
    done(mars.git(&work, ["push", "gitback", "main"]));
    let away = next(&|change| change["to"] == "offline" && change["updates_behind"] == 1);
    assert!(
        away["reason"].is_string() && away["since_ms"].is_u64(),
        "{away}"
    );
    fleet.restart(1).expect("venus returns");
    let back = next(&|change| change["envoy"] == "venus" && change["to"] == "current");
    assert_eq!(back["copies"], 2, "{back}");
}

/// Gives the copy up, as soon as nothing arrives there any more.
pub(crate) fn purge(person: &Person) -> Outcome {
    let asked = gitback(person, ["purge", "notes", "--yes"]);
    let purged = gitback_tests::until(SOON, "purged", || {
        let outcome = asked.run()?;
        match outcome.stderr.contains("try again in a moment") {
            true => Ok(Err(outcome.stderr)),
            false => Ok(Ok(outcome.success()?)),
        }
    });
    purged.expect("the copy is given up")
}

#[test]
fn a_purged_copy_stays_away_until_somebody_wants_it_back() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    wait_for_copies(&mars, 2);
    wait_for_copies(&venus, 2);

    let dry = done(gitback(&venus, ["purge", "--dry-run"]));
    says(&dry.stdout, &["dan/notes", "1 (mars)", "freed"]);
    assert_eq!(held(&venus), 1);
    let asked = fails(gitback(&venus, ["purge", "notes"]), 2);
    says(&asked, &["--yes"]);
    let purged = purge(&venus);
    says(
        &purged.stdout,
        &["Purged dan/notes", "1 copy remain", "mars"],
    );
    says(&purged.stderr, &["--undo"]);
    assert_eq!(held(&venus), 0);
    let own = status(&venus);
    assert_eq!(own["state"], "refused", "{own}");
    says(own["reason"].as_str().expect("why"), &["purged"]);
    let overview = done(gitback(&venus, ["status"]));
    says(&overview.stdout, &["dan/notes", "purged here"]);

    // The others know, and neither a push nor a start brings it back.
    wait_for(&mars, "one copy", |status| status["copies"] == 1);
    commit(&mars, &work, "while venus stays away");
    let pushed = done(mars.git(&work, ["push", "gitback", "main"]));
    says(&pushed.stderr, &["venus refused: venus gave its copy up"]);
    assert!(
        !pushed.stderr.contains("will catch up"),
        "{}",
        pushed.stderr
    );
    let row = |status: &Value| status["envoys"][1].clone();
    compared(&mars);
    assert_eq!(row(&status(&mars))["state"], "refused", "{}", status(&mars));
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    fleet.restart(1).expect("venus returns");
    compared(&venus);
    compared(&mars);
    assert_eq!(held(&venus), 0);

    // The last copy is not given up by mistake.
    let last = fails(gitback(&mars, ["purge", "notes", "--yes"]), 1);
    says(
        &last,
        &["the last copy that is known", "venus", "--even-last"],
    );
    assert_eq!(held(&mars), 1);

    done(gitback(&venus, ["purge", "notes", "--undo"]));
    done(gitback(&venus, ["sync", "notes", "--copies", "2"]));
    assert_eq!(served(&venus, NOTES), local(&mars, &work));

    // Nor is a number signed twice when it comes back.
    let theirs = clone(&venus, "clone");
    commit(&venus, &theirs, "made on venus");
    done(venus.git(&theirs, ["push", "origin", "main"]));
    purge(&venus);
    // Whoever uses it there has it back.
    done(venus.git(&theirs, ["pull", "--quiet", "origin", "main"]));
    assert_eq!(held(&venus), 1);
    commit(&venus, &theirs, "made on venus again");
    done(venus.git(&theirs, ["push", "origin", "main"]));
    done(gitback(&venus, ["sync", "notes", "--copies", "2"]));
    assert_eq!(status(&mars)["alarms"], Value::from(Vec::<Value>::new()));
    assert_eq!(served(&mars, NOTES), served(&venus, NOTES));

    // A push brings it back as well, and first what was there: nothing diverges.
    purge(&venus);
    commit(&venus, &theirs, "pushed to what was purged");
    done(venus.git(&theirs, ["push", "origin", "main"]));
    assert_eq!(status(&venus)["state"], "current");
    done(gitback(&venus, ["sync", "notes", "--copies", "2"]));
    assert_eq!(snapshot(&mars), snapshot(&venus));
}

#[test]
fn two_envoys_that_purge_at_once_do_not_lose_the_last_copy() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    for index in 0..2 {
        wait_for_copies(fleet.person(index), 2);
    }
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for index in 0..2 {
                let purge = gitback(fleet.person(index), ["purge", "notes", "--yes"]);
                scope.spawn(move || purge.run().expect("vigo runs"));
            }
        });
        let held = [0, 1].map(|index| held(fleet.person(index)));
        assert!(held.contains(&1), "both are gone");
        for (index, held) in held.into_iter().enumerate() {
            if held == 0 {
                done(gitback(fleet.person(index), ["purge", "notes", "--undo"]));
            }
        }
        for index in 0..2 {
            done(gitback(
                fleet.person(index),
                ["sync", "notes", "--copies", "2"],
            ));
        }
    }
}

#[test]
fn orphans_are_listed_and_the_last_copy_of_one_is_kept() {
    let mut fleet = Fleet::start(options(2)).expect("the fleet starts");
    // Venus holds the project for the fleet, and none of its users does.
    fleet.create_puddle(0, "dan").expect("dan's puddle");
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    done(gitback(&mars, ["sync", "notes", "--copies", "2"]));
    done(gitback(&venus, ["sync", "--wait"]));

    says(
        &done(gitback(&mars, ["gc-orphans"])).stdout,
        &["No orphans"],
    );
    let listed = json(&venus, &["swarm", "gitback", "gc-orphans"]);
    assert_eq!(listed[0]["why"], "no-user", "{listed}");
    assert_eq!(listed[0]["copies"], 1);
    assert_eq!(listed[0]["outcome"], "listed");
    assert!(listed[0]["bytes"].as_u64().is_some_and(|bytes| bytes > 0));

    fleet.envoy_mut(0).kill().expect("mars is switched off");
    std::fs::create_dir(repositories(&venus).join("left-over")).expect("a stray folder");
    let kept = fails(gitback(&venus, ["gc-orphans", "--yes"]), 1);
    says(
        &kept,
        &["2 orphans kept", "last copy", "left-over", "--even-last"],
    );
    assert_eq!(held(&venus), 2);

    fleet.restart(0).expect("mars returns");
    done(gitback(&mars, ["sync", "notes", "--copies", "2"]));
    let freed = fails(gitback(&venus, ["gc-orphans", "--yes"]), 1);
    says(&freed, &["deleted", "Freed", "left-over", "1 orphan kept"]);
    assert_eq!(held(&venus), 1);
    done(gitback(&venus, ["gc-orphans", "--yes", "--even-last"]));
    assert_eq!(held(&venus), 0);
    compared(&venus);
    compared(&mars);
    assert_eq!(held(&venus), 0, "it stays away");
    assert_eq!(served(&mars, NOTES), local(&mars, &work));
}

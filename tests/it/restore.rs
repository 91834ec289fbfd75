//! Force pushes, deletions and divergence can be looked at, and taken back, on every envoy.

use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Person};
use serde_json::Value;

use crate::members::json;
use crate::world::{
    SOON, clone, commit, done, fails, fleet, local, notes, options, push_all, says, served,
    wait_for, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

/// The one repository that an envoy keeps.
fn repository(person: &Person) -> PathBuf {
    let all = person.root().join("var/lib/vigo/swarm/gitback/projects");
    let mut entries = std::fs::read_dir(all).expect("repositories");
    entries.next().expect("one").expect("readable").path()
}

fn tip(person: &Person, work: &Path, name: &str) -> String {
    done(person.git(work, ["rev-parse", name]))
        .stdout
        .trim()
        .to_owned()
}

fn events(person: &Person, of: &[&str]) -> Vec<Value> {
    let verb = ["swarm", "gitback", "log", "notes"];
    let log = json(person, &[&verb[..], of].concat());
    log.as_array().expect("a list").clone()
}

fn restore<'a>(
    person: &Person,
    what: impl IntoIterator<Item = &'a str>,
) -> gitback_tests::Invocation {
    let verb = ["swarm", "gitback", "restore", "notes"];
    person.vigo(verb.into_iter().chain(what))
}

/// Forces another history to main, and deletes a branch.
fn lose(fleet: &Fleet, work: &Path) {
    let mars = fleet.person(0);
    done(mars.git(work, ["reset", "--quiet", "--hard", "HEAD~3"]));
    commit(mars, work, "another history");
    done(mars.git(work, ["push", "--force", "gitback", "main"]));
    done(mars.git(work, ["push", "gitback", ":topic/1"]));
}

#[test]
fn what_was_forced_away_or_deleted_survives_any_gc_and_comes_back_everywhere() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    wait_for_copies(mars, 2);
    let (main, topic) = (tip(mars, &work, "main"), tip(mars, &work, "topic/1"));
    lose(&fleet, &work);
    wait_for_copies(mars, 2);
    let forced = tip(mars, &work, "main");

    for person in [mars, venus] {
        let repository = repository(person);
        done(person.git(&repository, ["gc", "--quiet", "--prune=now"]));
        for oid in [&main, &topic] {
            done(person.git(&repository, ["cat-file", "-e", oid.as_str()]));
        }
    }
    // Nobody is shown where they are kept.
    let listed = done(mars.git(mars.root(), ["ls-remote", NOTES]));
    assert!(
        !listed.stdout.contains("refs/gitback/"),
        "{}",
        listed.stdout
    );

    let log = events(venus, &["main"]);
    let newest = &log[0];
    assert_eq!(newest["what"], "forced", "{newest}");
    assert_eq!(newest["state"], "current");
    assert_eq!(newest["old"], Value::from(vec![main.clone()]));
    assert_eq!(newest["new"], forced.as_str());
    assert_eq!(newest["envoy_name"], "mars");
    assert_eq!(log[1]["replaced_by"], newest["update"]);
    assert_eq!(log[1]["here"], true);
    assert_eq!(events(venus, &["topic/1"])[0]["what"], "deleted");
    let all = events(venus, &["--refs"]);
    assert!(all.len() > log.len() + 1, "{all:?}");

    let dry = done(restore(venus, ["main", "--dry-run"]));
    says(
        &dry.stdout,
        &["Would put main of dan/notes to", &main[..10], "takes"],
    );
    assert_eq!(served(venus, NOTES)["refs/heads/main"], forced);

    let said = done(restore(venus, ["main"]));
    says(
        &said.stdout,
        &["Restored main of dan/notes to", &main[..10]],
    );
    says(
        &said.stderr,
        &[
            "replicated to 2 of 2 envoys",
            "to take that back",
            &forced[..10],
        ],
    );
    done(restore(venus, ["topic/1"]));
    wait_for_copies(venus, 2);
    for person in [mars, venus] {
        let refs = served(person, NOTES);
        assert_eq!(refs["refs/heads/main"], main);
        assert_eq!(refs["refs/heads/topic/1"], topic);
    }
    clone(mars, "clone");

    // Restoring again takes the restoration back, and a named value is found by a part of its id.
    done(restore(mars, ["main"]));
    assert_eq!(served(mars, NOTES)["refs/heads/main"], forced);
    done(restore(mars, ["main", "--to", &main[..12]]));
    assert_eq!(served(mars, NOTES)["refs/heads/main"], main);
    let again = done(restore(mars, ["main", "--to", &main]));
    says(&again.stdout, &["already"]);
}

#[test]
fn what_cannot_be_restored_is_refused_with_a_way_out() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    wait_for_copies(&mars, 2);

    let never = fails(restore(&mars, ["main"]), 1);
    says(&never, &["nothing that main had was lost", "--to ID"]);
    let unknown = fails(restore(&mars, ["mian"]), 10);
    says(
        &unknown,
        &["never had a ref called mian", "did you mean main?"],
    );
    let unknown = fails(restore(&mars, ["main", "--to", "0123456789"]), 10);
    says(&unknown, &["no value that 0123456789 means", "log"]);

    // What was replaced while venus was away arrives there all the same, and is kept.
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    commit(&mars, &work, "seen by mars alone");
    done(mars.git(&work, ["push", "gitback", "main"]));
    let lost = tip(&mars, &work, "main");
    done(mars.git(&work, ["reset", "--quiet", "--hard", "HEAD~1"]));
    done(mars.git(&work, ["push", "--force", "gitback", "main"]));
    fleet.restart(1).expect("venus returns");
    wait_for_copies(&mars, 2);
    let venus = fleet.person(1).clone();
    let kept = format!("refs/gitback/old/{lost}");
    let its = repository(&venus);
    let there = || done(venus.git(&its, ["for-each-ref", &kept])).stdout;
    gitback_tests::until(SOON, "it is kept", || {
        let listed = there();
        Ok(if listed.is_empty() {
            Err("nothing".to_owned())
        } else {
            Ok(())
        })
    })
    .expect("it arrives");
    done(venus.git(&its, ["gc", "--quiet", "--prune=now"]));
    assert_eq!(events(&venus, &["main"])[1]["here"], true);

    // Where somebody did away with it and nobody else is there, those are named who had it.
    fleet.envoy_mut(0).kill().expect("mars is switched off");
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    done(venus.git(&its, ["update-ref", "-d", &kept]));
    done(venus.git(&its, ["gc", "--quiet", "--prune=now"]));
    fleet.restart(1).expect("venus returns");
    assert_eq!(events(&venus, &["main"])[1]["here"], false);
    let missing = fails(restore(&venus, ["main"]), 1);
    says(
        &missing,
        &["are not on venus", "these envoys had them: mars", "--to"],
    );
    fleet.restart(0).expect("mars returns");
    done(restore(&mars, ["main"]));
    wait_for_copies(&mars, 2);
    assert_eq!(served(&venus, NOTES)["refs/heads/main"], lost);

    let policy = [
        "swarm",
        "gitback",
        "project",
        "policy",
        "notes",
        "--protect",
        "main",
    ];
    done(mars.vigo(policy));
    let older = tip(&mars, &work, "main~1");
    let refused = fails(restore(&mars, ["main", "--to", &older]), 12);
    says(&refused, &["main is protected", "--unprotect"]);
    assert_eq!(served(&mars, NOTES)["refs/heads/main"], lost);
}

#[test]
fn the_other_side_of_a_divergence_can_be_chosen() {
    let mut fleet = Fleet::start(options(2).links()).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    wait_for_copies(mars, 2);
    let theirs = clone(venus, "clone");
    fleet.cut(1);
    for (person, work, remote) in [(mars, &work, "gitback"), (venus, &theirs, "origin")] {
        commit(person, work, person.envoy());
        done(person.git(work, ["push", "-o", "gitback.wait=0", remote, "main"]));
    }
    fleet.mend(1);
    let both = |status: &Value| status["state"] == "diverged" && status["copies"] == 2;
    for person in [mars, venus] {
        wait_for(person, "both sides", both);
    }

    let log = events(mars, &["main"]);
    let other = log.iter().find(|event| event["state"] == "diverged");
    let other = other.expect("one stands beside the other");
    let place = other["served_as"].as_str().expect("it is served");
    let listed = done(mars.git(mars.root(), ["ls-remote", NOTES, place]));
    says(&listed.stdout, &[other["new"].as_str().expect("an object")]);
    done(restore(mars, ["main"]));
    wait_for(venus, "one side", |status| {
        status["state"] == "current" && status["copies"] == 2
    });
    for person in [mars, venus] {
        assert_eq!(served(person, NOTES)["refs/heads/main"], other["new"]);
    }
    let sides = [local(mars, &work), local(venus, &theirs)];
    assert!(
        sides
            .iter()
            .any(|refs| refs["refs/heads/main"] == other["new"])
    );
}

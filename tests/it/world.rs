//! What every test begins with: a fleet with one puddle, a repository, and words for what is done with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gitback_tests::{Binaries, Fleet, Options, Outcome, Person, Refs, Shape};
use serde_json::Value;

/// The longest that anything may take that the fleet does by itself.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) fn binaries() -> Binaries {
    Binaries::of_tests().expect("vigo and git-remote-gitback are built")
}

pub(crate) fn options(envoys: usize) -> Options {
    Options::new(binaries()).envoys(envoys)
}

/// Envoys that all hold dan's unlocked puddle.
pub(crate) fn fleet(envoys: usize) -> Fleet {
    let mut fleet = Fleet::start(options(envoys)).expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    fleet
}

/// A small history on mars, founded as the project `notes`, with nothing pushed yet.
pub(crate) fn notes(fleet: &Fleet) -> PathBuf {
    let work = fleet.dir().join("notes");
    Shape::SMALL
        .write(fleet.person(0), &work)
        .expect("a history");
    found(fleet.person(0), &work);
    work
}

/// Founds the repository in `work` as the project `notes`.
pub(crate) fn found(person: &Person, work: &Path) {
    let args = ["swarm", "gitback", "project", "init", "notes", "--no-push"];
    done(person.vigo(args).cwd(work));
}

/// Pushes every branch and tag.
pub(crate) fn push_all(person: &Person, work: &Path) -> Outcome {
    done(person.git(
        work,
        [
            "push",
            "gitback",
            "refs/heads/*:refs/heads/*",
            "refs/tags/*:refs/tags/*",
        ],
    ))
}

/// Makes one more commit on the branch that is checked out.
pub(crate) fn commit(person: &Person, work: &Path, line: &str) {
    std::fs::write(work.join("line.txt"), format!("{line}\n")).expect("a file");
    done(person.git(work, ["add", "line.txt"]));
    done(person.git(work, ["commit", "--quiet", "-m", line]));
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn done(command: gitback_tests::Invocation) -> Outcome {
    command
        .run()
        .and_then(Outcome::success)
        .expect("the command succeeds")
}

/// Runs a command that must fail with `code`, and returns what it said.
#[track_caller]
pub(crate) fn fails(command: gitback_tests::Invocation, code: i32) -> String {
    let outcome = command.run().and_then(|outcome| outcome.exit(code));
    let outcome = outcome.expect("the command fails as it should");
    format!("{}{}", outcome.stdout, outcome.stderr)
}

/// The project as its envoy reports it.
#[track_caller]
pub(crate) fn status(person: &Person) -> Value {
    let asked = done(person.vigo(["swarm", "gitback", "project", "status", "notes", "--json"]));
    serde_json::from_str(&asked.stdout).expect("JSON")
}

/// Waits until the status of the project at `person` is as `wanted`.
#[track_caller]
pub(crate) fn wait_for(person: &Person, what: &str, wanted: impl Fn(&Value) -> bool) {
    let asked = person.vigo(["swarm", "gitback", "project", "status", "notes", "--json"]);
    let reached = gitback_tests::until(SOON, what, || {
        let outcome = asked.run()?;
        // An envoy that has not heard of the project yet says so with code 10.
        let status = serde_json::from_str(&outcome.stdout).unwrap_or(Value::Null);
        Ok(if wanted(&status) {
            Ok(())
        } else {
            Err(outcome.to_string())
        })
    });
    reached.expect("the fleet gets there");
}

/// Waits until `person`'s envoy knows of so many complete copies.
#[track_caller]
pub(crate) fn wait_for_copies(person: &Person, copies: u64) {
    wait_for(person, "copies", |status| status["copies"] == copies);
}

/// The branches and tags that an envoy serves, as plain git lists them.
#[track_caller]
pub(crate) fn served(person: &Person, address: &str) -> Refs {
    let listed = done(person.git(
        person.root(),
        ["ls-remote", "--heads", "--tags", "--refs", address],
    ));
    let pair = |line: &str| {
        line.split_once('\t')
            .map(|(oid, name)| (name.to_owned(), oid.to_owned()))
    };
    listed.stdout.lines().filter_map(pair).collect()
}

/// The branches and tags of a work tree.
#[track_caller]
pub(crate) fn local(person: &Person, work: &Path) -> Refs {
    let mut refs = gitback_tests::refs_of(person, work).expect("git lists refs");
    refs.remove("HEAD");
    refs
}

/// Clones `notes` at `person`'s envoy, checks every object, and returns the clone.
#[track_caller]
pub(crate) fn clone(person: &Person, name: &str) -> PathBuf {
    done(person.git(
        person.root(),
        ["clone", "--quiet", "gitback://dan/notes", name],
    ));
    let clone = person.root().join(name);
    let checked = done(person.git(&clone, ["fsck", "--full", "--no-progress"]));
    assert_eq!(checked.stderr, "", "git fsck has nothing to say");
    clone
}

/// Expects a clone at `person`'s envoy to have the branches and tags of `work`, and its `HEAD`.
#[track_caller]
pub(crate) fn clones_the_same(person: &Person, work_of: &Person, work: &Path) {
    let clone = clone(person, "clone");
    let expected = gitback_tests::refs_of(work_of, work).expect("git lists refs");
    let found = gitback_tests::refs_as_cloned(person, &clone).expect("git lists refs");
    assert_eq!(
        gitback_tests::differences(&expected, &found),
        Vec::<String>::new()
    );
}

/// Expects text to contain every one of `parts`.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

/// What must not change when something is refused: refs and the number of envelopes.
#[track_caller]
pub(crate) fn snapshot(person: &Person) -> (Refs, Value) {
    (
        served(person, "gitback://dan/notes"),
        status(person)["envelopes"].clone(),
    )
}

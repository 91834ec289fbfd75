//! Bad input by people: one clear error with a way out, and nothing changes.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Person};
use serde_json::Value;

use crate::crash::{begin_push, begin_push_from, packed};
use crate::limits::{commit_noise, left_behind};
use crate::world::{
    done, fails, fleet, local, notes, options, push_all, says, served, snapshot, status, wait_for,
    wait_for_copies,
};

/// Clones what cannot be cloned and returns what was said. It must be one error with a way out.
#[track_caller]
fn refused_clone(person: &Person, address: &str) -> String {
    let said = fails(
        person.git(person.root(), ["clone", address, "refused"]),
        128,
    );
    assert_eq!(
        said.lines()
            .filter(|line| line.starts_with("error: "))
            .count(),
        1,
        "{said}"
    );
    says(&said, &["hint:"]);
    assert!(!person.root().join("refused").exists());
    said
}

#[test]
fn an_unknown_name() {
    let fleet = fleet(1);
    let mars = fleet.person(0);
    says(
        &refused_clone(mars, "gitback://plutto/notes"),
        &["no puddle is called plutto"],
    );
    says(
        &refused_clone(mars, "gitback://dam/notes"),
        &["no puddle is called dam", "did you mean dan?"],
    );
    says(&refused_clone(mars, "gitback://dan/nothing"), &["nothing"]);
    let unknown = mars.vigo(["swarm", "gitback", "project", "status", "nothing"]);
    says(&fails(unknown, 10), &["error: ", "nothing", "hint:"]);
}

#[test]
fn a_bad_address() {
    let fleet = fleet(1);
    let bad = [
        "gitback://dan",
        "gitback://dan/",
        "gitback://dan/Notes",
        "gitback://dan/notes/more",
        "gitback://dan/..",
        "gitback://dan/notes.git",
        "gitback://dan/no%74es",
        "gitback://dan/notes\n",
        "gitback://dan/\u{1b}[2Jnotes",
        "gitback://-upload-pack=x/notes",
        "gitback://dan:1531/notes",
        "gitback://me@dan/notes",
    ];
    for address in bad {
        let said = refused_clone(fleet.person(0), address);
        assert!(
            !said.contains('\u{1b}'),
            "the terminal is left alone: {said:?}"
        );
    }
}

#[test]
fn a_locked_puddle() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    wait_for_copies(fleet.person(0), 2);
    let before = snapshot(fleet.person(0));
    for index in [0, 1] {
        fleet.lock(index).expect("locks");
    }
    // On mars the grant is there already: fetching and pushing need no key.
    done(fleet.person(0).git(&work, ["push", "gitback", "main"]));
    // On venus a grant would have to be signed.
    let said = refused_clone(fleet.person(1), "gitback://dan/notes");
    says(&said, &["dan is locked", "vigo swarm puddle unlock"]);
    let other = fleet.dir().join("other");
    gitback_tests::Shape::SMALL
        .write(fleet.person(0), &other)
        .expect("a history");
    let found = ["swarm", "gitback", "project", "init", "other"];
    let said = fails(fleet.person(0).vigo(found).cwd(&other), 11);
    says(&said, &["error: ", "locked", "vigo swarm puddle unlock"]);
    assert_eq!(snapshot(fleet.person(0)), before);
}

#[test]
fn a_daemon_that_is_not_running() {
    let mut fleet = fleet(1);
    let work = notes(&fleet);
    fleet.envoy_mut(0).end().expect("a clean end");
    let mars = fleet.person(0);
    says(
        &refused_clone(mars, "gitback://dan/notes"),
        &["the daemon is not answering"],
    );
    says(
        &fails(mars.git(&work, ["push", "gitback", "main"]), 128),
        &["the daemon is not answering", "hint:"],
    );
    says(
        &fails(mars.vigo(["envoy", "status"]), 15),
        &["error: ", "hint:"],
    );
    let asked = mars
        .vigo(["swarm", "gitback", "status", "--json"])
        .run()
        .expect("runs");
    let error = json_error(&asked.stderr);
    assert_eq!(
        (asked.code, &error["code"], asked.stdout.as_str()),
        (Some(15), &Value::from(15), "")
    );
    assert!(
        error["hints"]
            .as_array()
            .is_some_and(|hints| !hints.is_empty()),
        "{error}"
    );
}

#[test]
fn somebody_who_is_no_member() {
    let mut fleet = Fleet::start(options(2)).expect("the fleet starts");
    fleet.create_puddle(0, "dan").expect("dan's puddle");
    fleet.create_puddle(1, "eve").expect("eve's puddle");
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    wait_for_copies(fleet.person(0), 2);
    let before = snapshot(fleet.person(0));
    let id = status(fleet.person(0))["project_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let eve = fleet.person(1);
    let address = format!("gitback://{id}/notes");
    says(&refused_clone(eve, &address), &["not a member"]);
    let pushed = eve.git(&work, ["push", address.as_str(), "main:refs/heads/eve"]);
    says(&fails(pushed, 128), &["not a member", "hint:"]);
    assert_eq!(snapshot(fleet.person(0)), before);
}

#[test]
fn a_local_user_whom_the_envoy_does_not_serve() {
    // Without a puddle: its files are private, and another user would fail at those already.
    let fleet = Fleet::start(options(1)).expect("the fleet starts");
    let asked = fleet
        .person(0)
        .vigo(["swarm", "gitback", "project", "list"]);
    done(asked.clone());
    let Some(other) = crate::rootless::as_nobody(asked) else {
        return;
    };
    says(&fails(other, 12), &["error: ", "allow_uids", "hint:"]);
}

#[test]
fn a_broken_pack() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    push_all(mars, &work);
    let before = snapshot(mars);
    let tip = local(mars, &work)["refs/heads/main"].clone();
    let whole = packed(mars, &work);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x40;
    let broken: [(&str, Vec<u8>); 4] = [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("one bit flipped", flipped),
        ("no pack at all", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("empty", Vec::new()),
    ];
    for (what, bytes) in broken {
        let mut push = begin_push(mars, &work, &tip, "refs/heads/broken");
        // The daemon may refuse before it has read all of it.
        let _ = push.send(&bytes);
        push.close();
        let mut said = Vec::new();
        push.output().read_to_end(&mut said).expect("an answer");
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("ng refs/heads/broken "), "{what}: {said:?}");
    }
    assert_eq!(snapshot(mars), before);
}

#[test]
fn an_object_that_is_missing() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    push_all(mars, &work);
    let before = snapshot(mars);
    // A commit whose tree nobody has.
    let commit = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4905\n\
        author Dan <dan@example.org> 1600000000 +0000\ncommitter Dan <dan@example.org> 1600000000 +0000\n\nno tree\n";
    let hash = mars
        .git(
            &work,
            [
                "hash-object",
                "-t",
                "commit",
                "-w",
                "--stdin",
                "--literally",
            ],
        )
        .input(commit);
    let oid = done(hash).stdout.trim().to_owned();
    let file = fleet.dir().join("lone");
    let pack = mars
        .git(&work, ["pack-objects", "--quiet", &file.to_string_lossy()])
        .input(format!("{oid}\n"));
    let name = done(pack).stdout.trim().to_owned();
    let bytes = std::fs::read(fleet.dir().join(format!("lone-{name}.pack"))).expect("a pack");
    let mut push = begin_push(mars, &work, &oid, "refs/heads/broken");
    push.send(&bytes).expect("it listens");
    push.close();
    let mut said = Vec::new();
    push.output().read_to_end(&mut said).expect("an answer");
    says(&String::from_utf8_lossy(&said), &["ng refs/heads/broken "]);
    assert_eq!(snapshot(mars), before);
}

/// The one repository of an envoy.
fn repository(fleet: &Fleet, index: usize) -> PathBuf {
    let state = fleet.envoy(index).root().join("var/lib/vigo");
    let mut projects = std::fs::read_dir(state.join("swarm/gitback/projects"))
        .expect("a folder")
        .flatten();
    projects.next().expect("one project").path()
}

/// The files of packs in a repository.
fn packs(repository: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(repository.join("objects/pack")).expect("a folder");
    entries.flatten().map(|entry| entry.path()).collect()
}

#[test]
fn a_push_that_a_policy_refuses_leaves_nothing_and_does_not_count() {
    let fleet = Fleet::start(options(1).more_settings("member_max_bytes = 4000000\n"));
    let mut fleet = fleet.expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0);
    push_all(mars, &work);
    let policy = ["project", "policy", "notes", "--protect", "main"];
    done(mars.vigo(["swarm", "gitback"].into_iter().chain(policy)));
    let bare = repository(&fleet, 0);
    let before = (snapshot(mars), packs(&bare));
    let unchanged = |what: &str| {
        assert_eq!((snapshot(mars), packs(&bare)), before, "{what}");
        let left = left_behind(fleet.envoy(0).root());
        assert_eq!(left, Vec::<String>::new(), "{what}");
    };
    // Small and large packs take different ways in; together they are more than the member may bring in.
    for kibibytes in [250, 1500, 1600] {
        done(mars.git(&work, ["reset", "--quiet", "--hard", "main^"]));
        commit_noise(mars, &work, "noise", kibibytes);
        let new = local(mars, &work)["refs/heads/main"].clone();
        let said = fails(mars.git(&work, ["push", "--force", "gitback", "main"]), 1);
        says(&said, &["it is protected: neither forced nor deleted"]);
        unchanged("a push of one ref");
        let two = ["push", "--force", "--atomic", "gitback", "main", "main:new"];
        says(&fails(mars.git(&work, two), 1), &["it is protected"]);
        unchanged("an atomic push");
        let looked = fleet.outside().git(&bare, ["cat-file", "-e", &new]);
        fails(looked, 1);
    }
    // Nor does one that moves nothing.
    let at = served(mars, "gitback://dan/notes")["refs/heads/main"].clone();
    let mut push = begin_push_from(mars, &work, &at, &at, "refs/heads/main");
    push.send(&packed(mars, &work)).expect("it listens");
    push.close();
    let mut said = Vec::new();
    push.output().read_to_end(&mut said).expect("an answer");
    says(&String::from_utf8_lossy(&said), &["ok refs/heads/main"]);
    unchanged("a push to where the ref is");
    done(mars.git(&work, ["push", "gitback", "main:elsewhere"]));
    assert_ne!(packs(&bare), before.1);
}

#[test]
fn a_peer_with_the_wrong_key() {
    // Nobody tells where it is, or mars would find them in spite of what it is told.
    let options = options(3).more_settings("advertise = []\n");
    let fleet = Fleet::prepare(options).expect("roots");
    // Mars is told that titan's key is at venus' address: whoever answers there cannot prove it.
    let mars = fleet.envoy(0);
    let config = fleet.config_of(mars).expect("a configuration");
    let (venus, titan) = (fleet.envoy(1), fleet.envoy(2));
    let swapped = config
        .replace(venus.key(), "swap")
        .replace(titan.key(), venus.key())
        .replace("swap", titan.key());
    std::fs::write(mars.config_file(), swapped).expect("mars' configuration");
    let mut fleet = fleet.started().expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let mars = fleet.person(0);
    let pushed = push_all(mars, &work);
    says(
        &pushed.stderr,
        &[
            "success: stored on mars",
            "warning: venus",
            "wrong key: ",
            "answers, not the one in [[peers]]",
            "hint: `vigo envoy key` there shows the right one: put it into envoy.toml of mars",
            "THE ONLY COPY",
        ],
    );
    assert!(
        !pushed.stderr.contains("will catch up"),
        "{}",
        pushed.stderr
    );
    wait_for(mars, "the reason", |status| {
        let copies = status["envoys"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let away = copies.iter().filter(|copy| copy["state"] != "current");
        away.filter(|copy| {
            copy["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("wrong key"))
        })
        .count()
            == 2
    });
}

fn json_error(stderr: &str) -> Value {
    let error: Value = serde_json::from_str(stderr.trim()).expect("one JSON object");
    assert_eq!(error["message_type"], "error", "{error}");
    assert!(error["what"].is_string(), "{error}");
    error
}

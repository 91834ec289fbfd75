//! `kill -9` of the daemon in the middle of a push, and the same push again.

use std::io::Read;
use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Person, Talk};

use crate::fresh::noise;
use crate::world::{
    SOON, clones_the_same, commit, done, fleet, local, notes, push_all, served, status,
    wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

#[test]
fn killed_while_the_pack_arrives_nothing_is_stored_and_the_same_push_works() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    let before = status(&mars)["envelopes"].clone();
    grow(&mars, &work);
    let pack = packed(&mars, &work);
    let tip = local(&mars, &work)["refs/heads/main"].clone();

    let mut push = begin_push(&mars, &work, &tip, "refs/heads/main");
    push.send(&pack[..pack.len() / 2])
        .expect("half of the pack");
    wait_for_quarantine(&fleet);
    fleet.envoy_mut(0).kill().expect("mars loses power");
    drop(push);
    assert!(
        !quarantines(&fleet).is_empty(),
        "a crash leaves things lying about"
    );

    fleet.restart(0).expect("mars starts again");
    assert_eq!(
        quarantines(&fleet),
        Vec::<PathBuf>::new(),
        "start-up cleans up"
    );
    assert_eq!(status(&mars)["envelopes"], before);
    assert!(served(&mars, NOTES).is_empty());
    push_all(&mars, &work);
    wait_for_copies(&mars, 2);
    clones_the_same(fleet.person(1), &mars, &work);
}

#[test]
fn killed_while_waiting_for_peers_the_push_is_there_and_goes_out_later() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    commit(&mars, &work, "stored and not yet sent");
    let tip = local(&mars, &work)["refs/heads/main"].clone();
    fleet.envoy(1).freeze().expect("venus stalls");

    let mut push = mars
        .git(&work, ["push", "-o", "gitback.wait=all", "gitback", "main"])
        .talk()
        .expect("git starts");
    let stored = || {
        Ok(if served(&mars, NOTES)["refs/heads/main"] == tip {
            Ok(())
        } else {
            Err("older".into())
        })
    };
    gitback_tests::until(SOON, "the push is stored", stored).expect("stored on mars");
    fleet.envoy_mut(0).kill().expect("mars loses power");
    push.output()
        .read_to_end(&mut Vec::new())
        .expect("git ends by itself");

    fleet.restart(0).expect("mars starts again");
    assert_eq!(served(&mars, NOTES)["refs/heads/main"], tip);
    let again = done(mars.git(&work, ["push", "gitback", "main"]));
    assert!(again.stderr.contains("up-to-date"), "{}", again.stderr);
    fleet.envoy(1).thaw().expect("venus goes on");
    wait_for_copies(&mars, 2);
    assert_eq!(served(fleet.person(1), NOTES)["refs/heads/main"], tip);
}

#[test]
fn a_client_that_dies_in_the_middle_leaves_nothing() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    grow(mars, &work);
    let pack = packed(mars, &work);
    let tip = local(mars, &work)["refs/heads/main"].clone();
    let mut push = begin_push(mars, &work, &tip, "refs/heads/main");
    push.send(&pack[..pack.len() / 2])
        .expect("half of the pack");
    wait_for_quarantine(&fleet);
    push.kill();
    let gone = || {
        Ok(if quarantines(&fleet).is_empty() {
            Ok(())
        } else {
            Err("still there".into())
        })
    };
    gitback_tests::until(SOON, "the quarantine is gone", gone).expect("cleaned up");
    assert!(served(mars, NOTES).is_empty());
    push_all(mars, &work);
}

/// Commits more than an envoy holds in memory of a pack: so half of it is on the disk when the rest does not come.
fn grow(person: &Person, work: &Path) {
    std::fs::write(work.join("noise"), noise(1, 4 << 20)).expect("a file");
    done(person.git(work, ["add", "noise"]));
    done(person.git(work, ["commit", "--quiet", "-m", "noise"]));
}

fn wait_for_quarantine(fleet: &Fleet) {
    let arrived = gitback_tests::until(SOON, "a quarantine", || {
        Ok(if quarantines(fleet).is_empty() {
            Err("none".into())
        } else {
            Ok(())
        })
    });
    arrived.expect("the pack is on its way into a quarantine");
}

/// Everything that the work tree's branches reach, as one pack.
pub(crate) fn packed(person: &Person, work: &Path) -> Vec<u8> {
    let file = work.join("../all");
    let args = ["pack-objects", "--quiet", "--all", &file.to_string_lossy()].map(str::to_owned);
    let name = done(person.git(work, args)).stdout.trim().to_owned();
    std::fs::read(work.join(format!("../all-{name}.pack"))).expect("a pack")
}

/// Speaks git's push protocol through the remote helper, up to where the pack begins, of a push that makes a ref.
pub(crate) fn begin_push(person: &Person, work: &Path, new: &str, name: &str) -> Talk {
    begin_push_from(person, work, &"0".repeat(40), new, name)
}

/// The same of one that moves it from `old`.
pub(crate) fn begin_push_from(
    person: &Person,
    work: &Path,
    old: &str,
    new: &str,
    name: &str,
) -> Talk {
    let mut talk = person
        .remote_helper(work, NOTES)
        .talk()
        .expect("the remote helper starts");
    talk.send(b"connect git-receive-pack\n")
        .expect("it listens");
    let mut line = [0; 1];
    talk.output().read_exact(&mut line).expect("it answers");
    assert_eq!(&line, b"\n", "connected");
    while read_line(&mut talk).is_some() {}
    let command = format!("{old} {new} {name}\0report-status agent=test");
    let length = command.len() + 4;
    talk.send(format!("{length:04x}{command}0000").as_bytes())
        .expect("it listens");
    talk
}

/// One line of git's framing; nothing at a flush.
pub(crate) fn read_line(talk: &mut Talk) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    talk.output().read_exact(&mut length).expect("a length");
    let length = usize::from_str_radix(std::str::from_utf8(&length).expect("digits"), 16)
        .expect("hex digits");
    let mut line = vec![0; length.checked_sub(4)?];
    talk.output().read_exact(&mut line).expect("a line");
    Some(line)
}

/// The quarantines in all repositories of mars.
fn quarantines(fleet: &Fleet) -> Vec<PathBuf> {
    let projects = fleet
        .envoy(0)
        .root()
        .join("var/lib/vigo/swarm/gitback/projects");
    let entries = |dir: &Path| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let objects = entries(&projects).map(|project| project.join("objects"));
    let all = objects.flat_map(|objects| entries(&objects).collect::<Vec<_>>());
    let temporary = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("tmp_objdir"))
    };
    all.filter(temporary).collect()
}

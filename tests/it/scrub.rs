//! Bytes that flip on a disk: found, and repaired from another envoy.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use gitback_tests::Person;
use serde_json::Value;

use crate::copies::{gitback, purge, repositories};
use crate::world::{
    SOON, clones_the_same, commit, done, fails, fleet, local, notes, push_all, says, served,
    status, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

/// The one repository of an envoy.
fn repository(person: &Person) -> PathBuf {
    let mut found = fs::read_dir(repositories(person)).expect("a folder");
    found
        .next()
        .expect("a repository")
        .expect("readable")
        .path()
}

/// The packs that are in use.
fn packs(person: &Person) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository(person).join("objects/pack")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut packs: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "pack"))
        .filter(|path| path.with_extension("idx").exists())
        .collect();
    packs.sort();
    packs
}

/// Changes one byte where it is, as a disk does.
fn flip(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("ours");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("ours");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("within the file");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
}

fn middle(path: &Path) -> u64 {
    fs::metadata(path).expect("there").len() / 2
}

/// All objects of an envoy's repository that git can read, and nothing about those that it cannot.
fn readable(person: &Person) -> BTreeSet<String> {
    let all = ["cat-file", "--batch-all-objects", "--batch-check"];
    let listed = done(person.git(&repository(person), all));
    listed.stdout.lines().map(str::to_owned).collect()
}

/// Has git look at every object. While packs are put together, git may have listed one whose index has just gone, and
/// complains: then it looks again.
fn is_clean(person: &Person) {
    let fsck = [
        "fsck",
        "--full",
        "--strict",
        "--no-dangling",
        "--no-progress",
    ];
    let fsck = person.git(&repository(person), fsck);
    let clean = gitback_tests::until(SOON, "git fsck has nothing to say", || {
        let said = fsck.run()?;
        Ok(match said.code == Some(0) && said.stderr.is_empty() {
            true => Ok(()),
            false => Err(said.to_string()),
        })
    });
    clean.expect("nothing is damaged");
}

/// What `scrub --json` says of the one project, if it says that all is well.
fn scrubbed(person: &Person) -> Value {
    let said = done(gitback(person, ["scrub", "notes", "--json"]));
    let items: Value = serde_json::from_str(&said.stdout).expect("JSON");
    items[0].clone()
}

fn aside(item: &Value) -> Vec<PathBuf> {
    let paths = item["set_aside"].as_array().expect("a list").iter();
    paths
        .map(|path| path.as_str().expect("a path").into())
        .collect()
}

#[test]
fn flipped_bytes_are_found_and_repaired_from_a_peer() {
    let fleet = fleet(3);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    commit(&mars, &work, "a second pack");
    done(mars.git(&work, ["push", "-o", "gitback.wait=all", "gitback", "main"]));
    wait_for_copies(&venus, 3);
    let before = readable(&venus);
    let sound = scrubbed(&venus);
    assert_eq!(sound["outcome"], "sound", "{sound}");
    // The base of a thin pack is in two packs.
    let objects = sound["objects"].as_u64().expect("a number");
    assert!(objects >= before.len() as u64, "{sound}");

    let rotten = packs(&venus);
    for pack in &rotten {
        flip(pack, middle(pack));
    }
    let said = done(gitback(&venus, ["scrub"]));
    says(&said.stdout, &["dan/notes", "repaired from "]);
    says(
        &said.stderr,
        &["/damaged/pack-", "kept until you delete them"],
    );
    is_clean(&venus);
    assert_eq!(readable(&venus), before);
    clones_the_same(&venus, &mars, &work);
    let kept = fs::read_dir(repository(&venus).join("damaged")).expect("a folder");
    let names = kept.map(|entry| entry.expect("readable").file_name());
    let names: BTreeSet<_> = names.collect();
    for pack in &rotten {
        assert!(
            names.contains(pack.file_name().expect("a name")),
            "{names:?}"
        );
    }

    // An index alone comes from the pack beside it.
    let pack = packs(&venus).remove(0);
    flip(&pack.with_extension("idx"), 1040);
    let item = scrubbed(&venus);
    assert_eq!(item["outcome"], "repaired", "{item}");
    assert_eq!(item["sources"], Value::Array(Vec::new()), "{item}");
    is_clean(&venus);
    assert_eq!(scrubbed(&venus)["outcome"], "sound");
    wait_for_copies(&mars, 3);
}

#[test]
fn with_nobody_to_repair_from_it_says_so_and_keeps_everything() {
    let mut fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    let before = readable(&mars);
    let pack = packs(&mars).remove(0);
    flip(&pack, middle(&pack));
    let rotten = fs::read(&pack).expect("readable");

    let said = fails(gitback(&mars, ["scrub", "notes", "--json"]), 1);
    let (answer, error) = said.split_once("\n]").expect("a list, and an error");
    let items: Value = serde_json::from_str(&format!("{answer}\n]")).expect("JSON");
    let item = &items[0];
    assert_eq!(item["outcome"], "damaged", "{item}");
    says(error, &["\"code\":1", "no other envoy", "scrub "]);
    let lacking = item["lacking"].as_u64().expect("a number");
    assert!(lacking > 0, "{item}");
    let kept = aside(item);
    assert_eq!(kept.len(), 1, "{item}");
    assert_eq!(fs::read(&kept[0]).expect("it is kept"), rotten);
    let left = readable(&mars);
    assert!(left.is_subset(&before));
    assert_eq!(left.len() as u64 + lacking, before.len() as u64);
    says(
        &fails(gitback(&mars, ["scrub"]), 1),
        &["damaged", "hint:", "is back"],
    );

    // It is not forgotten, and what is kept stays.
    assert_eq!(status(&mars)["state"], "behind");
    fleet.envoy_mut(0).kill().expect("mars is switched off");
    fleet.restart(0).expect("mars returns");
    fails(gitback(&mars, ["scrub"]), 1);
    assert_eq!(readable(&mars), left);
    assert_eq!(fs::read(&kept[0]).expect("it is kept"), rotten);
    fails(gitback(&mars, ["scrub", "nothing"]), 10);
}

#[test]
fn envelopes_that_the_log_has_lost_are_stored_anew() {
    let mut fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    let before = status(&mars)["envelopes"].clone();
    let logs = mars.root().join("var/lib/vigo/swarm/gitback/envelopes");
    let folder = fs::read_dir(logs).expect("a folder").next();
    let log = folder
        .expect("a project")
        .expect("readable")
        .path()
        .join("log");
    // In the first record, behind its head.
    flip(&log, 8 + 60);
    let item = scrubbed(&mars);
    assert_eq!(item["outcome"], "repaired", "{item}");
    assert_eq!(item["renewed"][0], log.to_str().expect("UTF-8"), "{item}");
    assert_eq!(scrubbed(&mars)["outcome"], "sound");
    fleet.envoy_mut(0).kill().expect("mars is switched off");
    fleet.restart(0).expect("mars returns");
    assert_eq!(status(&mars)["envelopes"], before);
    clones_the_same(&mars, &mars, &work);
    commit(&mars, &work, "after that");
    done(mars.git(&work, ["push", "gitback", "main"]));
    assert_eq!(scrubbed(&mars)["outcome"], "sound");
}

#[test]
fn a_damaged_copy_counts_for_nobody_until_a_holder_is_back() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    wait_for_copies(&venus, 2);
    let before = readable(&mars);
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    let pack = packs(&mars).remove(0);
    flip(&pack, middle(&pack));
    let said = fails(gitback(&mars, ["scrub"]), 1);
    says(&said, &["lacking", "venus offline"]);

    fleet.restart(1).expect("venus returns");
    let refused = fails(gitback(&venus, ["purge", "notes", "--yes"]), 1);
    says(
        &refused,
        &["the last copy", "mars does not hold exactly what is here"],
    );
    let said = done(gitback(&mars, ["scrub"]));
    says(&said.stdout, &["repaired from venus"]);
    assert_eq!(readable(&mars), before);
    is_clean(&mars);
    // What was not lost did not come again, but for some commits.
    let stored = scrubbed(&mars)["objects"].as_u64().expect("a number");
    assert!(
        stored < before.len() as u64 * 3 / 2,
        "{stored} of {}",
        before.len()
    );
    clones_the_same(&mars, &mars, &work);
    done(gitback(&venus, ["sync", "notes", "--copies", "2"]));
    purge(&venus);
}

#[test]
fn what_only_the_damaged_pack_has_and_can_be_read_survives() {
    let mut fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    wait_for_copies(&venus, 2);
    fleet.envoy_mut(1).kill().expect("venus is switched off");
    let before: BTreeSet<PathBuf> = packs(&mars).into_iter().collect();
    commit(&mars, &work, "only on mars");
    done(mars.git(&work, ["push", "-o", "gitback.wait=0", "gitback", "main"]));
    let mut packs = packs(&mars);
    packs.retain(|pack| !before.contains(pack));
    let [pack] = packs.as_slice() else {
        panic!("one push makes one pack: {packs:?}");
    };
    let all = readable(&mars);
    // Its checksum: everything in it can be read, and git does not trust it any more.
    flip(pack, fs::metadata(pack).expect("there").len() - 1);
    let other = before.first().expect("the first push").clone();
    flip(&other, middle(&other));
    let said = fails(gitback(&mars, ["scrub"]), 1);
    says(&said, &["venus offline"]);
    let tip = done(mars.git(&work, ["rev-parse", "main"])).stdout;
    let shown = done(mars.git(
        &repository(&mars),
        ["show", &format!("{}:line.txt", tip.trim())],
    ));
    assert_eq!(shown.stdout, "only on mars\n");
    fleet.restart(1).expect("venus returns");
    says(
        &done(gitback(&mars, ["scrub"])).stdout,
        &["repaired from venus"],
    );
    assert_eq!(readable(&mars), all);
    is_clean(&mars);
    clones_the_same(&mars, &mars, &work);
}

#[test]
fn pushes_go_on_while_everything_is_read() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    push_all(&mars, &work);
    wait_for_copies(&venus, 2);
    let over = AtomicBool::new(false);
    let reading = |person: &Person| {
        let mut outcomes = Vec::new();
        while !over.load(Ordering::Acquire) {
            outcomes.push(scrubbed(person)["outcome"].clone());
        }
        outcomes
    };
    std::thread::scope(|scope| {
        let readers = [&mars, &venus].map(|person| scope.spawn(|| reading(person)));
        for at in 0..12 {
            commit(&mars, &work, &format!("push {at}"));
            let pushed = mars.git(&work, ["push", "-o", "gitback.wait=all", "gitback", "main"]);
            let pushed = pushed.run().and_then(gitback_tests::Outcome::success);
            if at == 11 || pushed.is_err() {
                over.store(true, Ordering::Release);
            }
            says(
                &pushed.expect("it is taken").stderr,
                &["replicated to 2 of 2"],
            );
        }
        for reader in readers {
            let outcomes = reader.join().expect("every scrub succeeds");
            assert!(outcomes.len() > 1, "{outcomes:?}");
            assert!(
                outcomes.iter().all(|outcome| outcome == "sound"),
                "{outcomes:?}"
            );
        }
    });
    for person in [&mars, &venus] {
        assert_eq!(served(person, NOTES), local(&mars, &work));
        assert!(!repository(person).join("damaged").exists());
        is_clean(person);
    }
}

#[test]
fn a_lost_pack_comes_back_in_batches_and_what_nobody_has_is_given_up() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0).clone(), fleet.person(1).clone());
    for number in 0..1100 {
        let path = work.join(format!("{number}.txt"));
        fs::write(path, format!("number {number}\n")).expect("room");
    }
    done(mars.git(&work, ["add", "."]));
    commit(&mars, &work, "many files");
    push_all(&mars, &work);
    wait_for_copies(&venus, 2);
    let before = readable(&venus);
    // Nothing leads to these, and mars never had them.
    let packs = packs(&venus);
    let object = |text: &str| {
        let input = venus.root().join("input");
        fs::write(&input, text).expect("room");
        let arguments = ["hash-object", "-w", input.to_str().expect("UTF-8")];
        let oid = done(venus.git(&repository(&venus), arguments)).stdout;
        let (fan, rest) = oid.trim().split_at(2);
        repository(&venus).join("objects").join(fan).join(rest)
    };
    for text in ["first", "second", "third"] {
        flip(&object(text), 5);
    }
    for pack in &packs {
        let file = fs::File::options();
        fs::set_permissions(pack, fs::Permissions::from_mode(0o644)).expect("ours");
        let file = file.clone().write(true).open(pack).expect("ours");
        file.set_len(40).expect("ours");
    }
    let item = scrubbed(&venus);
    assert_eq!(item["outcome"], "repaired", "{item}");
    assert_eq!(item["lost"], 3, "{item}");
    assert_eq!(item["lacking"], 0, "{item}");
    assert_eq!(readable(&venus), before);
    is_clean(&venus);
    clones_the_same(&venus, &mars, &work);
    assert_eq!(scrubbed(&venus)["outcome"], "sound");
    wait_for_copies(&mars, 2);
}

#[test]
fn a_copy_does_not_count_when_a_scrub_fails_half_way() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0).clone();
    push_all(&mars, &work);
    let pack = packs(&mars).remove(0);
    flip(&pack, middle(&pack));
    // Where loose objects would be is no folder: that shows when the pack has been set aside.
    let folder = repository(&mars).join("objects/ff");
    let _ = fs::remove_dir(&folder);
    fs::write(&folder, "no folder").expect("room");
    let said = fails(gitback(&mars, ["scrub", "notes", "--json"]), 1);
    says(&said, &["failed", "cannot list"]);
    assert!(repository(&mars).join("damaged/lacking").exists());
    assert_eq!(status(&mars)["state"], "behind");
}

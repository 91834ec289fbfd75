//! What no ref leads to leaves, and nothing else does.

use std::collections::BTreeSet;
use std::time::Duration;

use gitback_pack::{Oid, Repository, Search, Unreachable};

use crate::support::{Clone, World, git};

const NOW: Duration = Duration::ZERO;

fn objects(world: &World) -> BTreeSet<String> {
    let listed = git(
        world.path(),
        &[
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname)",
        ],
    );
    listed.lines().map(str::to_owned).collect()
}

fn reachable(world: &World) -> BTreeSet<String> {
    let listed = git(world.path(), &["rev-list", "--objects", "--all"]);
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    listed.lines().map(name).collect()
}

/// A long file that changes a little, so that one version builds on the other.
fn version(clone: &Clone, number: usize) -> Oid {
    let lines: String = (0..400)
        .map(|line| match line == number {
            true => format!("line {line} as of {number}\n"),
            false => format!("line {line}\n"),
        })
        .collect();
    clone.commit("long", &lines)
}

/// Two commits that were pushed, of which a force push took the second away; what came then builds on that one's objects.
fn forced() -> (World, Clone, Oid) {
    let world = World::new();
    let clone = world.clone_with_commit("work");
    let base = version(&clone, 1);
    world.seed(&clone);
    let lost = version(&clone, 2);
    let pack = clone.pack(&["HEAD"], &[&base.to_string()]);
    world.store(&pack, &[lost]).expect("a good pack");
    world.set("refs/heads/main", lost);
    clone.git(&["reset", "--quiet", "--hard", &base.to_string()]);
    let stays = version(&clone, 3);
    let pack = clone.pack(&["HEAD"], &[&lost.to_string()]);
    world.store(&pack, &[stays]).expect("a good pack");
    world.set("refs/heads/main", stays);
    (world, clone, lost)
}

fn find(repository: &Repository, age: Duration) -> Search<'_> {
    let found = repository.find_unreachable(age, &|| false);
    found.expect("no fault")
}

fn found(repository: &Repository) -> Unreachable<'_> {
    match find(repository, NOW) {
        Search::Found(found) => found,
        other => panic!("something has to leave: {other:?}"),
    }
}

#[test]
fn what_no_ref_leads_to_leaves_and_everything_else_stays() {
    let (world, _, lost) = forced();
    let before = reachable(&world);
    assert!(objects(&world).len() > before.len());
    let removed = found(&world.repository).remove().expect("no fault");
    let removed = removed.expect("nobody was in the way");
    assert_eq!(removed.objects, 3, "a commit, its tree, its file");
    assert_eq!(reachable(&world), before);
    assert_eq!(objects(&world), before);
    assert!(!world.repository.has(&lost).expect("no fault"));
    git(world.path(), &["fsck", "--full", "--strict"]);
    // What is retired goes like any other pack.
    let left = world.repository.clear_retired(NOW).expect("no fault");
    assert_eq!(left, 0);
    git(world.path(), &["fsck", "--full", "--strict"]);
    let again = find(&world.repository, NOW);
    assert!(
        matches!(again, Search::Nothing { left: false }),
        "{again:?}"
    );
}

#[test]
fn single_files_of_objects_leave_too() {
    let (world, clone, _) = forced();
    let text = "in a file of its own\n";
    let path = clone.path.join("loose");
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("UTF-8");
    let loose = git(world.path(), &["hash-object", "-w", path]);
    assert!(objects(&world).contains(loose.trim()));
    found(&world.repository).remove().expect("no fault");
    assert_eq!(objects(&world), reachable(&world));
}

#[test]
fn nothing_leaves_while_somebody_may_need_it() {
    let (world, clone, lost) = forced();
    let before = objects(&world);
    let in_use = world.repository.in_use();
    assert!(matches!(find(&world.repository, NOW), Search::Busy));
    drop(in_use);
    // Begun and ended since the search.
    let search = found(&world.repository);
    drop(world.repository.in_use());
    assert_eq!(search.remove().expect("no fault"), None);
    // A ref that has moved.
    let search = found(&world.repository);
    world.set("refs/heads/kept", lost);
    assert_eq!(search.remove().expect("no fault"), None);
    assert_eq!(objects(&world), before);
    let kept = find(&world.repository, NOW);
    assert!(matches!(kept, Search::Nothing { left: false }), "{kept:?}");
    drop(clone);
}

#[test]
fn what_is_young_or_kept_apart_stays_for_now() {
    let (world, _, _) = forced();
    let before = objects(&world);
    let young = find(&world.repository, Duration::from_secs(3600));
    assert!(matches!(young, Search::Nothing { left: true }), "{young:?}");
    for pack in world.files(".pack") {
        std::fs::write(pack.with_extension("keep"), "").expect("written");
    }
    let kept = find(&world.repository, NOW);
    assert!(matches!(kept, Search::Nothing { left: true }), "{kept:?}");
    assert_eq!(objects(&world), before);
}

#[test]
fn a_search_that_comes_to_nothing_leaves_nothing_behind() {
    let (world, _, _) = forced();
    let (before, packs) = (objects(&world), world.files(".pack"));
    drop(found(&world.repository));
    let stopped = world.repository.find_unreachable(NOW, &|| true);
    assert!(matches!(stopped.expect("no fault"), Search::Busy));
    assert_eq!((objects(&world), world.files(".pack")), (before, packs));
    assert!(world.files("tmp_").is_empty());
}

#[test]
fn nothing_leaves_where_something_is_missing() {
    let (world, _, _) = forced();
    let missing = "12".repeat(20);
    let path = world.path().join("refs/heads/hollow");
    std::fs::write(path, format!("{missing}\n")).expect("written");
    let before = objects(&world);
    let search = world.repository.find_unreachable(NOW, &|| false);
    assert!(search.is_err(), "{search:?}");
    assert_eq!(objects(&world), before);
}

#[test]
fn what_only_some_lead_to_is_told() {
    let (world, clone, lost) = forced();
    let stays = clone.oid("HEAD");
    let only = |tips: &[Oid], others: &[Oid]| {
        let only = world.repository.only_from(tips, others, &|| false);
        only.expect("no fault").expect("not stopped")
    };
    let of_lost = only(&[lost], &[stays]);
    assert_eq!(of_lost.len(), 3);
    assert!(of_lost.contains(&lost));
    assert!(only(&[lost], &[lost, stays]).is_empty());
    assert!(only(&[], &[stays]).is_empty());
}

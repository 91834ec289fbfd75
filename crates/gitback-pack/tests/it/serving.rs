//! What lets git serve a large history fast.

use std::io::Write as _;
use std::process::Stdio;

use gitback_pack::Oid;

use crate::support::{Clone, World, git, git_command};

/// Adds so many commits, each with a file of its own, to a branch.
fn import(clone: &Clone, branch: &str, commits: usize) -> Oid {
    let mut stream = String::new();
    for at in 0..commits {
        let (name, content) = (format!("{branch}{at}"), format!("{branch} {at}\n"));
        let time = 1_700_000_000 + at;
        stream.push_str(&format!(
            "commit refs/heads/{branch}\ncommitter A <a@example> {time} +0000\ndata 2\n{}\n\
             M 100644 inline d/{name}\ndata {}\n{content}\n",
            "c\n",
            content.len(),
        ));
    }
    let mut child = git_command(&clone.path)
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(stream.as_bytes()).expect("git reads");
    drop(stdin);
    assert!(child.wait().expect("git ends").success());
    clone.oid(branch)
}

fn publish(world: &World, clone: &Clone, branch: &str, haves: &[&str]) -> Oid {
    let tip = clone.oid(branch);
    let pack = clone.pack(&[branch], haves);
    world.store(&pack, &[tip]).expect("a good pack");
    world.set(&format!("refs/heads/{branch}"), tip);
    tip
}

fn check(world: &World) {
    git(
        world.path(),
        &["multi-pack-index", "verify", "--no-progress"],
    );
    git(world.path(), &["commit-graph", "verify", "--no-progress"]);
    git(world.path(), &["fsck", "--full", "--strict"]);
}

#[test]
fn a_large_history_gets_bitmaps_once() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let index = || {
        world
            .repository
            .index_for_serving(&|| false)
            .expect("no fault")
    };
    world.seed(&clone);
    assert_eq!(index(), None, "it is small");
    import(&clone, "large", 2_000);
    let tip = publish(&world, &clone, "large", &[]);
    let covered = index().expect("it is large");
    assert!(covered >= 6_000, "{covered}");
    check(&world);
    git(
        world.path(),
        &["rev-list", "--test-bitmap", &tip.to_string()],
    );
    assert_eq!(index(), None, "nothing has come since");

    // Small packs that come later are put together; the others stay where git looks for them.
    let before = world.files(".pack");
    for at in 0..10 {
        let base = clone.oid("HEAD").to_string();
        clone.commit("file", &format!("{at}\n"));
        publish(&world, &clone, "main", &[&base]);
    }
    let repacked = world.repository.repack_small().expect("no fault");
    assert_eq!(repacked.expect("many").packs, 10);
    assert!(before.iter().all(|pack| pack.exists()));
    assert_eq!(index(), None, "little has come since");
    check(&world);
    import(&clone, "more", 2_000);
    publish(&world, &clone, "more", &[]);
    assert!(index().expect("much has come") > covered);
    check(&world);
    assert_eq!(index(), None);
}

#[test]
fn it_can_be_stopped_and_leaves_nothing() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    import(&clone, "large", 2_000);
    publish(&world, &clone, "large", &[]);
    let stopped = world.repository.index_for_serving(&|| true);
    assert_eq!(stopped.expect("no fault"), None);
    let World { home, repository } = world;
    let path = repository.path().to_owned();
    drop(repository);
    let (repository, _) = gitback_pack::Repository::open(&path).expect("it opens");
    let world = World { home, repository };
    assert!(world.files(".lock").is_empty());
    assert!(world.files("tmp_").is_empty());
    let indexed = world.repository.index_for_serving(&|| false);
    assert!(indexed.expect("no fault").is_some());
    check(&world);
}

#[test]
fn an_index_over_a_pack_that_is_gone_is_removed_at_the_next_opening() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    import(&clone, "large", 2_000);
    publish(&world, &clone, "large", &[]);
    let extra = clone.object("blob", b"extra");
    world
        .store(&clone.pack_of(&[extra]), &[])
        .expect("a good pack");
    world
        .repository
        .index_for_serving(&|| false)
        .expect("no fault")
        .expect("large");
    let World { home, repository } = world;
    let path = repository.path().to_owned();
    drop(repository);
    let (repository, recovered) = gitback_pack::Repository::open(&path).expect("it opens");
    assert_eq!(recovered.indexes, 0);
    drop(repository);
    let packs = std::fs::read_dir(path.join("objects/pack")).expect("ours");
    let packs = packs.map(|entry| entry.expect("ours").path());
    let is_pack = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "pack");
    let smallest = packs
        .filter(is_pack)
        .min_by_key(|path| path.metadata().expect("there").len());
    let smallest = smallest.expect("there are two");
    std::fs::remove_file(smallest.with_extension("idx")).expect("ours");
    std::fs::remove_file(&smallest).expect("ours");
    let (repository, recovered) = gitback_pack::Repository::open(&path).expect("it opens");
    assert_eq!(recovered.indexes, 2);
    let world = World { home, repository };
    assert!(world.files("multi-pack-index").is_empty());
    git(world.path(), &["fsck", "--full"]);
}

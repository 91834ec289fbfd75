//! Small packs that are put together: nothing is lost, nobody is disturbed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use gitback_pack::Repository;

use crate::support::{Clone, World, git, git_command};

/// So many pushes of one commit each, every one of which changes files that are there already.
fn pushes(world: &World, clone: &Clone, from: usize, count: usize) {
    for at in from..from + count {
        let base = clone.oid("HEAD").to_string();
        // Long enough for deltas to be worth it.
        let lines: String = (0..300)
            .map(|line| format!("line {line} of {}\n", if line == at % 300 { at } else { 0 }))
            .collect();
        clone.commit("long", &lines);
        clone.commit(&format!("dir{}/file", at % 3), &format!("{at}\n"));
        let head = clone.oid("HEAD");
        let pack = clone.pack(&["HEAD"], &[&base]);
        world.store(&pack, &[head]).expect("a good pack");
        world.set("refs/heads/main", head);
    }
}

fn begin() -> (World, Clone) {
    let world = World::new();
    let clone = world.clone_with_commit("work");
    for name in ["dir0", "dir1", "dir2"] {
        fs::create_dir(clone.path.join(name)).expect("a directory");
    }
    world.seed(&clone);
    (world, clone)
}

fn packs(world: &World) -> Vec<PathBuf> {
    let mut packs = world.files(".idx");
    packs.retain(|path| {
        let name = path.file_name().expect("a name");
        name.to_string_lossy().starts_with("pack-")
    });
    packs
}

/// Every object with its kind and size.
fn objects(world: &World) -> BTreeSet<String> {
    let listed = git(
        world.path(),
        &["cat-file", "--batch-all-objects", "--batch-check"],
    );
    listed.lines().map(str::to_owned).collect()
}

fn check(world: &World) {
    git(world.path(), &["fsck", "--full", "--strict"]);
    for index in packs(world) {
        let index = index.to_str().expect("UTF-8");
        git(world.path(), &["verify-pack", index]);
        // As if it came from somewhere: git makes the same index of it.
        let pack = index.replace(".idx", ".pack");
        let theirs = world.home.path().join("theirs.idx");
        let theirs = theirs.to_str().expect("UTF-8");
        git(world.path(), &["index-pack", "-o", theirs, &pack]);
        assert_eq!(
            fs::read(index).expect("readable"),
            fs::read(theirs).expect("readable")
        );
        fs::remove_file(theirs).expect("ours");
    }
}

#[test]
fn many_small_packs_become_one_that_has_all_their_objects() {
    let (world, clone) = begin();
    pushes(&world, &clone, 0, 40);
    let (before, packs_before) = (objects(&world), packs(&world).len());
    assert_eq!(packs_before, 41);
    let bytes_before = world.repository.size_bytes().expect("a size");
    let repacked = world.repository.repack_small().expect("no fault");
    let repacked = repacked.expect("there are many");
    assert_eq!(repacked.packs, packs_before);
    assert_eq!(repacked.objects, before.len());
    assert_eq!(repacked.damaged, Vec::<PathBuf>::new());
    assert_eq!(packs(&world).len(), 1);
    assert_eq!(objects(&world), before);
    check(&world);
    let left = world.repository.clear_retired(Duration::ZERO);
    assert_eq!(left.expect("no fault"), 0);
    assert!(world.files("retired").is_empty());
    assert_eq!(world.files(".pack").len(), 1);
    assert_eq!(objects(&world), before);
    let bytes = world.repository.size_bytes().expect("a size");
    assert!(
        bytes < bytes_before,
        "what was there twice is there once: {bytes} of {bytes_before}"
    );
    let pack = world.files(".pack").remove(0);
    assert_eq!(pack.metadata().expect("there").len(), repacked.bytes);
    assert_eq!(
        pack.metadata().expect("there").permissions().mode() & 0o777,
        0o444
    );
    assert_eq!(world.repository.repack_small().expect("no fault"), None);
}

#[test]
fn deltas_do_not_pile_up() {
    let (world, clone) = begin();
    pushes(&world, &clone, 0, 60);
    let repacked = world.repository.repack_small().expect("no fault");
    assert_eq!(repacked.expect("many").packs, 61);
    check(&world);
    let index = packs(&world).remove(0);
    let listed = git(
        world.path(),
        &["verify-pack", "-v", index.to_str().expect("UTF-8")],
    );
    let depths = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let depth = words.nth(5)?.parse::<u32>().ok()?;
        words.next().map(|_| depth)
    });
    let depths: Vec<u32> = depths.collect();
    // Each push may add a few of its own.
    let deepest = depths.iter().max().expect("there are deltas");
    assert!((10..30).contains(deepest), "{depths:?}");
}

#[test]
fn the_larger_packs_are_left_alone_until_the_smaller_ones_come_near() {
    let (world, clone) = begin();
    let mut rewritten = 0;
    for round in 0..12 {
        pushes(&world, &clone, round * 10, 10);
        if let Some(repacked) = world.repository.repack_small().expect("no fault") {
            rewritten += repacked.objects;
        }
        assert!(packs(&world).len() <= 14, "{:?}", packs(&world));
    }
    let all = objects(&world).len();
    assert!(
        rewritten < all * 8,
        "{rewritten} objects were copied, of {all}"
    );
    check(&world);
}

#[test]
fn few_packs_and_those_that_are_to_be_kept_stay() {
    let (world, clone) = begin();
    pushes(&world, &clone, 0, 6);
    assert_eq!(world.repository.repack_small().expect("no fault"), None);
    for index in packs(&world) {
        fs::write(index.with_extension("keep"), "a person's\n").expect("ours");
    }
    let kept = packs(&world);
    pushes(&world, &clone, 6, 10);
    world
        .repository
        .repack_small()
        .expect("no fault")
        .expect("many");
    let left = packs(&world);
    assert_eq!(left.len(), kept.len() + 1);
    assert!(kept.iter().all(|pack| left.contains(pack)));
    check(&world);
}

#[test]
fn a_git_that_reads_meanwhile_is_not_disturbed() {
    let (world, clone) = begin();
    pushes(&world, &clone, 0, 20);
    let mut reader = git_command(world.path())
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut asks = reader.stdin.take().expect("piped");
    let mut answers = BufReader::new(reader.stdout.take().expect("piped"));
    let mut read = |oid: &str| {
        writeln!(asks, "{oid}").expect("git listens");
        let mut header = String::new();
        answers.read_line(&mut header).expect("git answers");
        assert!(!header.contains("missing"), "{header}");
        let size: usize = header
            .rsplit(' ')
            .next()
            .expect("a size")
            .trim()
            .parse()
            .expect("a number");
        let mut content = vec![0; size + 1];
        std::io::Read::read_exact(&mut answers, &mut content).expect("git answers");
    };
    let all = git(world.path(), &["rev-list", "--objects", "--all"]);
    let all: Vec<&str> = all
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    // It has looked at the indexes, and at one of the packs.
    read(all.first().expect("objects"));
    world
        .repository
        .repack_small()
        .expect("no fault")
        .expect("many");
    for oid in all.iter().skip(1).step_by(2) {
        read(oid);
    }
    world
        .repository
        .clear_retired(Duration::ZERO)
        .expect("no fault");
    for oid in &all {
        read(oid);
    }
    drop(asks);
    assert!(reader.wait().expect("git ends").success());
}

#[test]
fn a_damaged_pack_stays_as_it_is_and_is_told_of() {
    let (world, clone) = begin();
    pushes(&world, &clone, 0, 12);
    let victim = packs(&world).remove(3).with_extension("pack");
    let mut bytes = fs::read(&victim).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(&victim, &bytes).expect("ours");
    let repacked = world
        .repository
        .repack_small()
        .expect("no fault")
        .expect("many");
    assert_eq!(repacked.damaged, std::slice::from_ref(&victim));
    assert_eq!(packs(&world).len(), 2);
    assert_eq!(fs::read(&victim).expect("it is there"), bytes);
}

#[test]
fn what_a_killed_process_leaves_is_cleared_away_and_nothing_else() {
    let (world, clone) = begin();
    pushes(&world, &clone, 0, 12);
    let before = objects(&world);
    let directory = world.path().join("objects/pack");
    // Killed while it wrote, then after it had moved the first of the indexes.
    fs::write(directory.join("tmp_pack_x"), "PACK").expect("ours");
    world
        .repository
        .repack_small()
        .expect("no fault")
        .expect("many");
    let retired = world.files("tmp_retired-pack-");
    let back = retired.first().expect("retired").clone();
    let name = back
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .replace("tmp_retired-", "");
    fs::rename(&back, directory.join(name)).expect("ours");
    let World { home, repository } = world;
    let path = repository.path().to_owned();
    drop(repository);
    let (repository, recovered) = Repository::open(&path).expect("it opens");
    assert_eq!((recovered.retired, recovered.quarantines), (12, 1));
    let world = World { home, repository };
    assert_eq!(packs(&world).len(), 2);
    assert_eq!(world.files(".pack").len(), 2);
    assert_eq!(objects(&world), before);
    check(&world);
}

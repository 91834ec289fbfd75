//! Whether everything that a tip leads to is here, where a gap may be anywhere.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use gitback_pack::{Bound, Fault, Limits, Oid, Reject, Repository};

use crate::support::{Clone, World, git_command, is_over, parse};

/// Twelve commits on what `main` points to: files in folders that come, change, move and go, two merges.
fn grow(clone: &Clone) -> Oid {
    let write = |file: &str, content: &str| {
        let path = clone.path.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
        clone.git(&["add", "."]);
        clone.git(&["commit", "-q", "-m", file]);
    };
    write("a/b/c/deep", "1");
    write("a/b/other", "1");
    clone.git(&["switch", "-q", "-c", "side", "HEAD^"]);
    write("a/side", "1");
    write("a/b/c/deep", "2");
    clone.git(&["switch", "-q", "main"]);
    write("top", "1");
    clone.git(&["merge", "-q", "--no-edit", "side"]);
    clone.git(&["mv", "a/b", "moved"]);
    clone.git(&["commit", "-q", "-m", "move"]);
    // What stood there before comes back: its tree is in no parent.
    clone.git(&["revert", "--no-edit", "HEAD"]);
    clone.git(&["switch", "-q", "-c", "late", "main~3"]);
    write("late/file", "1");
    clone.git(&["switch", "-q", "main"]);
    clone.git(&["merge", "-q", "--no-edit", "late"]);
    write("end", "1");
    clone.oid("HEAD")
}

/// Puts a pack into a repository as git does that looks at nothing.
fn put(repository: &Repository, pack: &[u8]) {
    let mut command = git_command(repository.path());
    command
        .args(["index-pack", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut running = command.spawn().expect("git runs");
    let mut input = running.stdin.take().expect("a pipe");
    input.write_all(pack).expect("git listens");
    drop(input);
    assert!(running.wait().expect("git ends").success());
}

#[test]
fn a_gap_is_found_wherever_it_is() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let base = clone.oid("HEAD");
    let tip = grow(&clone);
    let listed = clone.git(&[
        "rev-list",
        "--objects",
        &tip.to_string(),
        &format!("^{base}"),
    ]);
    let mut new: Vec<Oid> = listed
        .lines()
        .map(|line| parse(line.split(' ').next().expect("an id")))
        .collect();
    new.sort_unstable();
    assert!(new.len() > 30, "{} objects", new.len());
    for gap in new.iter().map(Some).chain([None]) {
        let world = World::new();
        let first = clone.pack(&[&base.to_string()], &[]);
        world.store(&first, &[base]).expect("a good pack");
        world.set("refs/heads/main", base);
        let rest: Vec<Oid> = new
            .iter()
            .filter(|oid| Some(*oid) != gap)
            .copied()
            .collect();
        put(&world.repository, &clone.pack_of(&rest));
        let complete = world.repository.complete(&[tip]).expect("git can tell");
        assert_eq!(complete, gap.is_none(), "{gap:?}");
    }
}

#[test]
fn what_a_ref_leads_to_counts_as_complete_and_nothing_else_does() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let base = world.seed(&clone);
    let tip = grow(&clone);
    let complete = |tips: &[Oid]| world.repository.complete(tips).expect("git can tell");
    assert!(complete(&[]));
    assert!(complete(&[base]));
    assert!(!complete(&[base, tip]));
    world
        .store(&clone.pack(&["HEAD"], &[]), &[tip])
        .expect("a good pack");
    assert!(complete(&[base, tip]));
    // A ref can outlive what it names.
    let gone = parse(&"1".repeat(40));
    fs::write(world.path().join("refs/heads/gone"), format!("{gone}\n")).expect("a file");
    assert!(!complete(&[base, gone]));
    fs::remove_file(world.path().join("refs/heads/gone")).expect("it goes");
    // More than are looked at one by one, and what is no commit.
    for count in 0..400 {
        clone.git(&["commit", "-q", "--allow-empty", "-m", &count.to_string()]);
    }
    let tag = clone.git(&["tag", "-a", "-m", "t", "t"]);
    assert_eq!(tag, "");
    let (long, tag) = (clone.oid("HEAD"), clone.oid("t"));
    world
        .store(&clone.pack(&["t"], &[]), &[tag])
        .expect("a good pack");
    assert!(complete(&[long]));
    assert!(complete(&[tag]));
    assert!(complete(&[clone.oid("HEAD:end"), clone.oid("HEAD^{tree}")]));
}

#[test]
fn a_walk_may_take_what_a_pack_may() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    // A folder whose list of files takes twenty mebibytes, which only git looks at.
    let blob = clone.object("blob", b"one");
    let file = |n| [format!("100644 {n:06}\0").as_bytes(), blob.as_slice()].concat();
    let tree: Vec<u8> = (0..600_000).flat_map(file).collect();
    let tree = clone.object("tree", &tree);
    let commit = parse(&clone.git(&["commit-tree", "-m", "much", &tree.to_string()]));
    put(&world.repository, &clone.pack_of(&[blob, tree]));
    let pack = clone.pack_of(&[commit]);
    let usual = Limits::default();
    let walk = |limits: Limits| -> Result<(), Reject> {
        let mut quarantine = world.repository.quarantine();
        quarantine.ingest(&pack[..], &limits)?;
        quarantine.check_connected(&[commit])
    };
    walk(usual).expect("all is there");
    let little = Limits {
        memory_bytes: 16 << 20,
        ..usual
    };
    let refused = walk(little);
    assert!(is_over(&refused, Bound::Memory), "{refused:?}");
    let said = refused.expect_err("too much").to_string();
    assert_eq!(said, "the pack takes more than 16777216 bytes of memory");
    let refused = walk(Limits {
        cpu_seconds: 0,
        ..usual
    });
    assert!(is_over(&refused, Bound::ProcessorTime), "{refused:?}");
    // Where no git has to look it is the same.
    let first = clone.oid("HEAD");
    let mut quarantine = world.repository.quarantine();
    let none = Limits {
        cpu_seconds: 0,
        ..usual
    };
    let pack = clone.pack(&["HEAD"], &[]);
    quarantine.ingest(&pack[..], &none).expect("it is small");
    let refused = quarantine.check_connected(&[first]);
    assert!(is_over(&refused, Bound::ProcessorTime), "{refused:?}");
    // The same of what is here.
    let pack = clone.pack_of(&[commit]);
    put(&world.repository, &pack);
    world.repository.set_limits(&little);
    let looked = world.repository.complete(&[commit]);
    let memory = Bound::Memory;
    assert!(
        matches!(&looked, Err(Fault::OverLimit { bound, .. }) if *bound == memory),
        "{looked:?}"
    );
}

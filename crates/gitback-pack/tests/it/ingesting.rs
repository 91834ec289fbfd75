//! Packs, good and bad, on their way in.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use gitback_pack::{
    Bound, Expect, Fault, Follower, Kind, Limits, Oid, RefChange, Reject, Repository,
};

use crate::support::{Clone, World, git_command, is_over};

fn ingest(world: &World, pack: &[u8]) -> Result<u32, Reject> {
    let mut quarantine = world.repository.quarantine();
    quarantine
        .ingest(pack, &Limits::default())
        .map(|ingested| ingested.objects)
}

/// A commit with the tree `tree`, and a pack of exactly both.
fn commit_of(clone: &Clone, tree: Oid) -> (Oid, Vec<u8>) {
    let commit = crate::support::parse(&clone.git(&["commit-tree", "-m", "c", &tree.to_string()]));
    (commit, clone.pack_of(&[commit, tree]))
}

fn tree(entries: &[(&str, Oid)]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|(name, oid)| [name.as_bytes(), b"\0", oid.as_slice()].concat())
        .collect()
}

/// Everything that a follower of a pack reads.
fn read_along(mut follower: Follower) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
    let mut read = |buffer: &mut [u8]| {
        let count = follower.read(buffer, Duration::from_secs(60));
        count.expect("it is all there")
    };
    loop {
        let count = read(&mut buffer);
        match buffer.get(..count) {
            Some([]) | None => return all,
            Some(bytes) => all.extend_from_slice(bytes),
        }
    }
}

#[test]
fn keeps_the_pack_as_it_came() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let small = clone.pack(&["HEAD"], &[]);
    // What does not compress, and is more than is held in memory.
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; 1_200_000];
    noise.fill(&mut bytes);
    fs::write(clone.path.join("noise"), &bytes).expect("a file");
    clone.git(&["add", "noise"]);
    clone.git(&["commit", "-q", "-m", "noise"]);
    let large = clone.pack(&["HEAD"], &[]);
    for (pack, objects, files) in [(small, 3, 0), (large, 6, 1)] {
        let mut quarantine = world.repository.quarantine();
        let ingested = quarantine
            .ingest(&pack[..], &Limits::default())
            .expect("a good pack");
        assert_eq!(ingested.objects, objects);
        let size = u64::try_from(pack.len()).expect("small");
        assert_eq!(ingested.pack.bytes(), size);
        assert_eq!(ingested.pack.blake3(), *blake3::hash(&pack).as_bytes());
        assert_eq!(read_along(ingested.pack.follow()), pack);
        let spooled = || {
            let spool = fs::read_dir(world.path().join("gitback-spool"));
            spool.expect("a folder").count()
        };
        assert_eq!(spooled(), files);
        let head = clone.oid(if files == 0 { "HEAD~1" } else { "HEAD" });
        assert_eq!(
            quarantine.kind(&head).expect("readable"),
            Some(Kind::Commit)
        );
        quarantine.check_connected(&[head]).expect("all is there");
        assert_eq!(quarantine.migrate().expect("it moves").packs.len(), 1);
        drop(ingested);
        assert_eq!(spooled(), 0);
    }
}

#[test]
fn what_is_settled_lacks_nothing_but_its_name() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let small = clone.pack(&["HEAD"], &[]);
    // Tags are git's to look at: those files lie in a directory.
    clone.git(&["tag", "-a", "-m", "one", "v1"]);
    let tagged = clone.pack(&["v1"], &[]);
    for (pack, tip, part) in [(small, "HEAD", "tmp_"), (tagged, "v1", "pack-")] {
        let stored: Vec<_> = world.files("pack-");
        let mut quarantine = world.repository.quarantine();
        quarantine
            .ingest(&pack[..], &Limits::default())
            .expect("a good pack");
        quarantine.settle().expect("room");
        let mut waiting = world.files(part);
        waiting.retain(|file| file.is_file() && !stored.contains(file));
        let inodes = |files: &[PathBuf]| -> BTreeSet<u64> {
            let metadata = files.iter().map(|file| file.metadata().expect("there"));
            metadata
                .map(|file| {
                    assert_eq!(file.mode() & 0o777, 0o444, "nobody's to write");
                    file.ino()
                })
                .collect()
        };
        let before = inodes(&waiting);
        assert!(before.len() >= 2, "{waiting:?}");
        assert!(!world.repository.has(&clone.oid(tip)).expect("readable"));
        quarantine.settle().expect("there is nothing left to do");
        quarantine.migrate().expect("it moves");
        assert!(world.repository.has(&clone.oid(tip)).expect("readable"));
        let moved = inodes(&world.files("pack-"));
        assert!(before.is_subset(&moved), "the files that were synced");
    }
}

#[test]
fn a_pack_that_comes_again_takes_the_place_of_one_that_cannot_be_read() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let small = clone.pack(&["HEAD"], &[]);
    // Tags are git's to look at: those files lie in a directory.
    clone.git(&["tag", "-a", "-m", "one", "v1"]);
    let tagged = clone.pack(&["v1"], &[]);
    for (pack, tip) in [(small, "HEAD"), (tagged, "v1")] {
        let before = world.files("pack-");
        let tip = clone.oid(tip);
        world.store(&pack, &[tip]).expect("a good pack");
        let mut indexes = world.files("pack-");
        indexes.retain(|file| {
            let is_index = file.extension().is_some_and(|end| end == "idx");
            is_index && !before.contains(file)
        });
        for index in &indexes {
            fs::remove_file(index).expect("ours");
            fs::write(index, b"nothing").expect("room");
        }
        world.repository.close_unused(Duration::ZERO);
        assert!(!world.repository.has(&tip).expect("readable"));
        world.store(&pack, &[tip]).expect("a good pack");
        assert!(world.repository.has(&tip).expect("readable"));
    }
}

#[test]
fn after_a_failed_sync_nothing_is_stored_before_the_repository_is_opened_anew() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let bring = |tip: &str| {
        let mut quarantine = world.repository.quarantine();
        let pack = clone.pack(&[tip], &[]);
        let ingested = quarantine.ingest(&pack[..], &Limits::default());
        ingested.expect("a good pack");
        quarantine
    };
    let (entering, migrating) = (bring("HEAD"), bring("HEAD"));
    let packs = world.path().join("objects/pack");
    // What cannot even be opened was not synced, and nothing is in doubt.
    fs::remove_dir(&packs).expect("empty");
    world.repository.sync_packs().expect_err("it is gone");
    // A device that has nothing to sync refuses to.
    std::os::unix::fs::symlink("/dev/null", &packs).expect("room");
    let failed = world.repository.sync_packs().expect_err("no directory");
    assert!(
        matches!(failed, Fault::Io { doing: "sync", .. }),
        "{failed}"
    );
    fs::remove_file(&packs).expect("ours");
    fs::create_dir(&packs).expect("room");
    let again = world.repository.sync_packs().expect_err("who knows");
    assert!(matches!(again, Fault::Unsynced { .. }), "{again}");
    let entered = entering.enter().expect_err("who knows");
    assert!(matches!(entered, Fault::Unsynced { .. }), "{entered}");
    let migrated = migrating.migrate().expect_err("who knows");
    assert!(matches!(migrated, Fault::Unsynced { .. }), "{migrated}");
    // Nor does anybody send a pack in vain.
    let mut refused = io::repeat(0);
    let ingested = world
        .repository
        .quarantine()
        .ingest(&mut refused, &Limits::default());
    assert!(
        matches!(&ingested, Err(Reject::Fault(Fault::Unsynced { .. }))),
        "{ingested:?}"
    );
    assert!(world.files("pack-").is_empty());
    let World { home, repository } = world;
    drop(repository);
    let opened = Repository::open(&home.path().join("served.git"));
    let (repository, _) = opened.expect("it opens");
    let mut quarantine = repository.quarantine();
    let pack = clone.pack(&["HEAD"], &[]);
    let ingested = quarantine.ingest(&pack[..], &Limits::default());
    ingested.expect("a good pack");
    quarantine.migrate().expect("it moves");
}

#[test]
fn the_past_of_what_is_held_in_memory_is_known() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let first = world.seed(&clone);
    clone.git(&["checkout", "-q", "-b", "side"]);
    let side = clone.commit("side", "text\n");
    clone.git(&["checkout", "-q", "main"]);
    let second = clone.commit("second", "text\n");
    let blob = clone.oid("main:second");
    let third = clone.commit("third", "text\n");
    let mut quarantine = world.repository.quarantine();
    let pack = clone.pack(&["main"], &[&first.to_string()]);
    quarantine
        .ingest(&pack[..], &Limits::default())
        .expect("a good pack");
    let contains = |new: &Oid, old: &Oid| quarantine.is_ancestor(old, new).expect("readable");
    assert!(contains(&third, &second) && contains(&third, &first));
    assert!(contains(&second, &first) && contains(&first, &first));
    assert!(!contains(&first, &third) && !contains(&second, &third));
    assert!(!contains(&third, &blob) && contains(&blob, &blob));
    assert!(
        quarantine.is_ancestor(&side, &third).is_err(),
        "it is not here"
    );
    assert!(world.files("tmp_objdir").is_empty(), "it is in memory");
}

#[test]
fn a_pack_that_needs_nothing_else_vouches_for_what_is_in_it_only() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let other = world.clone_with_commit("other");
    // Tags are git's to look at.
    clone.git(&["tag", "-a", "-m", "one", "v1"]);
    let (tag, elsewhere) = (clone.oid("v1"), other.commit("only", "there\n"));
    let mut quarantine = world.repository.quarantine();
    let pack = clone.pack(&["v1"], &[]);
    quarantine
        .ingest(&pack[..], &Limits::default())
        .expect("a good pack");
    quarantine.check_connected(&[tag]).expect("all is there");
    let both = quarantine.check_connected(&[tag, elsewhere]);
    assert!(
        matches!(both, Err(Reject::MissingObject { .. })),
        "{both:?}"
    );
    quarantine.migrate().expect("it moves");

    // The next one names what is here, and no ref leads to it.
    clone.commit("more", "text\n");
    clone.git(&["tag", "-a", "-m", "two", "v2"]);
    let mut quarantine = world.repository.quarantine();
    let pack = clone.pack(&["v2"], &["v1"]);
    quarantine
        .ingest(&pack[..], &Limits::default())
        .expect("a good pack");
    let tips = [clone.oid("v2")];
    quarantine.check_connected(&tips).expect("all is there");
}

#[test]
fn a_small_pack_is_there_for_git_when_it_needs_it() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    // More commits than are looked at here.
    let tree = clone.oid("HEAD^{tree}").to_string();
    for _ in 0..310 {
        let next = clone.git(&["commit-tree", "-m", "next", "-p", "HEAD", &tree]);
        clone.git(&["update-ref", "HEAD", &next]);
    }
    let before = world.seed(&clone);
    let head = clone.commit("other", "text\n");
    let mut quarantine = world.repository.quarantine();
    let pack = clone.pack(&["HEAD"], &[&before.to_string()]);
    quarantine
        .ingest(&pack[..], &Limits::default())
        .expect("a good pack");
    assert!(world.files("tmp_objdir").is_empty(), "it is in memory");
    // That the parents are here, and no ref leads to any of them, is for git to judge.
    let change = RefChange {
        name: b"refs/heads/main".to_vec(),
        old: Expect::Any,
        new: None,
    };
    world.repository.update_refs(&[change]).expect("it goes");
    quarantine.check_connected(&[head]).expect("all is there");
    assert!(!world.files("tmp_objdir").is_empty(), "git has looked");
    assert!(quarantine.is_ancestor(&before, &head).expect("readable"));
    quarantine.migrate().expect("it moves");
    assert!(world.files("tmp_").is_empty());
    assert!(world.repository.has(&head).expect("readable"));
}

#[test]
fn looks_for_room_while_a_pack_comes() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; 9_000_000];
    noise.fill(&mut bytes);
    fs::write(clone.path.join("noise"), &bytes).expect("a file");
    clone.git(&["add", "noise"]);
    clone.git(&["commit", "-q", "-m", "noise"]);
    let pack = clone.pack(&["HEAD"], &[]);
    // No disk has so much room.
    let limits = Limits {
        min_free_percent: 100,
        ..Limits::default()
    };
    let mut quarantine = world.repository.quarantine();
    let refused = quarantine.ingest(&pack[..], &limits);
    assert!(
        matches!(
            refused,
            Err(Reject::Room {
                needed_percent: 100,
                ..
            })
        ),
        "{refused:?}"
    );
    drop(quarantine);
    assert!(world.files("pack-").is_empty() && world.files("tmp_").is_empty());
    let mut quarantine = world.repository.quarantine();
    quarantine
        .ingest(&pack[..], &Limits::default())
        .expect("a good pack");
}

#[test]
fn takes_a_pack_without_objects() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let empty = clone.pack_of(&[]);
    assert_eq!(ingest(&world, &empty).expect("a good pack"), 0);
    let mut quarantine = world.repository.quarantine();
    quarantine
        .ingest(&empty[..], &Limits::default())
        .expect("a good pack");
    assert!(
        quarantine
            .migrate()
            .expect("nothing moves")
            .packs
            .is_empty()
    );
    assert!(matches!(
        ingest(&world, &empty[..31]),
        Err(Reject::Truncated)
    ));
    assert!(matches!(
        ingest(&world, &[&empty[..], b"x"].concat()),
        Err(Reject::Corrupt { .. })
    ));
}

#[test]
fn rejects_packs_cut_anywhere() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let pack = clone.pack(&["HEAD"], &[]);
    for end in [
        0,
        1,
        11,
        12,
        13,
        40,
        pack.len() / 2,
        pack.len() - 20,
        pack.len() - 1,
    ] {
        let result = ingest(&world, &pack[..end]);
        assert!(
            matches!(result, Err(Reject::Truncated)),
            "{end}: {result:?}"
        );
    }
    assert!(world.files("tmp_objdir").is_empty());
}

#[test]
fn rejects_packs_with_a_flipped_byte() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let pack = clone.pack(&["HEAD"], &[]);
    for at in (0..pack.len()).step_by(7) {
        let mut damaged = pack.clone();
        damaged[at] ^= 0x55;
        let result = ingest(&world, &damaged);
        assert!(
            result.is_err() && !matches!(result, Err(Reject::Fault(_))),
            "{at}: {result:?}"
        );
    }
    assert_eq!(ingest(&world, &pack).expect("undamaged it is fine"), 3);
}

#[test]
fn rejects_bytes_after_the_pack() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    for extra in [1, 100, 200_000] {
        let pack = [clone.pack(&["HEAD"], &[]), vec![7; extra]].concat();
        let result = ingest(&world, &pack);
        assert!(
            matches!(result, Err(Reject::Corrupt { .. })),
            "{extra}: {result:?}"
        );
    }
}

#[test]
fn takes_thin_packs_whose_bases_are_here_and_only_those() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let text: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    clone.commit("long", &text);
    clone.git(&["branch", "base"]);
    let tip = clone.commit("long", &text.replace("line 7\n", "line seven\n"));
    let thin = clone.pack(&["HEAD"], &["base"]);
    assert!(thin.len() < 1000, "it is a delta");
    assert!(matches!(ingest(&world, &thin), Err(Reject::MissingBase)));
    let base = clone.oid("base");
    world
        .store(&clone.pack(&["base"], &[]), &[base])
        .expect("a good pack");
    world.set("refs/heads/main", base);
    world.store(&thin, &[tip]).expect("its bases are here");
    assert!(world.repository.complete(&[tip]).expect("git can tell"));
}

#[test]
fn rejects_objects_that_name_absent_ones() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let (commit, tree) = (clone.oid("HEAD"), clone.oid("HEAD^{tree}"));
    let result = ingest(&world, &clone.pack_of(&[commit, tree]));
    assert!(
        matches!(result, Err(Reject::MissingObject { oid: Some(oid) }) if oid == clone.oid("HEAD:file")),
        "{result:?}"
    );
    let result = ingest(&world, &clone.pack_of(&[commit]));
    assert!(
        matches!(result, Err(Reject::MissingObject { oid: Some(oid) }) if oid == tree),
        "{result:?}"
    );
}

#[test]
fn rejects_tips_with_a_gap_further_back() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let first = clone.oid("HEAD");
    // The parent's own commit object is here, as after a partial repair; its tree is not.
    let content = clone.git(&["cat-file", "commit", "HEAD"]);
    let mut writer = git_command(world.path());
    writer.args([
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--literally",
        "--stdin",
    ]);
    let path = world.home.path().join("commit");
    fs::write(&path, content + "\n").expect("a file");
    assert!(
        writer
            .stdin(fs::File::open(&path).expect("a file"))
            .status()
            .expect("git runs")
            .success()
    );
    assert!(world.repository.has(&first).expect("readable"));
    assert!(!world.repository.complete(&[first]).expect("git can tell"));

    let tip = clone.commit("file", "second\n");
    let pack = clone.pack_of(&[tip, clone.oid("HEAD^{tree}"), clone.oid("HEAD:file")]);
    let mut quarantine = world.repository.quarantine();
    quarantine
        .ingest(&pack[..], &Limits::default())
        .expect("each object's own links are there");
    let result = quarantine.check_connected(&[tip]);
    assert!(
        matches!(result, Err(Reject::MissingObject { oid: Some(_) })),
        "{result:?}"
    );
    let absent = crate::support::parse(&"a".repeat(40));
    let result = quarantine.check_connected(&[absent]);
    assert!(
        matches!(result, Err(Reject::MissingObject { .. })),
        "{result:?}"
    );
}

#[test]
fn rejects_bad_trees_and_takes_old_ones() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    world.seed(&clone);
    let blob = clone.oid("HEAD:file");
    let cases: &[(&[(&str, Oid)], &str)] = &[
        (&[("100644 .git", blob)], "hasDotgit"),
        (&[("100644 ..", blob)], "hasDotdot"),
        (&[("100644 a/b", blob)], "fullPathname"),
        (&[("100644 b", blob), ("100644 a", blob)], "treeNotSorted"),
        (
            &[("100644 a", blob), ("100644 a", blob)],
            "duplicateEntries",
        ),
    ];
    for (entries, rule) in cases {
        let (_, pack) = commit_of(&clone, clone.object("tree", &tree(entries)));
        match ingest(&world, &pack) {
            Err(Reject::BadObject {
                oid: Some(_),
                message,
            }) => assert!(message.contains(rule), "{message}"),
            other => panic!("{rule}: {other:?}"),
        }
    }
    let inner = clone.object("tree", &tree(&[("100644 a", blob)]));
    let old = clone.object("tree", &tree(&[("040000 d", inner)]));
    let commit = crate::support::parse(&clone.git(&["commit-tree", "-m", "c", &old.to_string()]));
    world
        .store(&clone.pack_of(&[commit, old, inner]), &[commit])
        .expect("old tools wrote such modes");
}

#[test]
fn takes_untidy_commits_and_rejects_broken_ones() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    world.seed(&clone);
    let tree = clone.oid("HEAD^{tree}");
    let person = "Ada <ada@example.org> 1 +0000";
    for author in [
        "Ada 1 +0000",
        "<ada@example.org> 1 +0000",
        "Ada <a@b>1 +0000",
        "Ada <a@b> 0100 +051800",
        "A > B <a@b> 1 +0000",
    ] {
        let text = format!("tree {tree}\nauthor {author}\ncommitter {person}\n\nold\n");
        let commit = clone.object("commit", text.as_bytes());
        let result = world.store(&clone.pack_of(&[commit]), &[commit]);
        assert!(result.is_ok(), "{author}: {result:?}");
    }
    let headless = clone.object(
        "commit",
        format!("author {person}\ncommitter {person}\n\nx\n").as_bytes(),
    );
    let nul = clone.object(
        "commit",
        format!("tree {tree}\nauthor {person}\ncommitter {person}\0\n\nx\n").as_bytes(),
    );
    for commit in [headless, nul] {
        let result = ingest(&world, &clone.pack_of(&[commit]));
        assert!(
            matches!(
                result,
                Err(Reject::BadObject { .. } | Reject::Corrupt { .. })
            ),
            "{result:?}"
        );
    }
}

#[test]
fn bounds_bytes_and_objects() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let pack = clone.pack(&["HEAD"], &[]);
    let length = u64::try_from(pack.len()).expect("small");
    let with = |pack: &[u8], limits: Limits| world.repository.quarantine().ingest(pack, &limits);
    let result = with(
        &pack,
        Limits {
            input_bytes: length - 1,
            ..Limits::default()
        },
    );
    assert!(
        is_over(&result, Bound::Input)
            && result.is_err_and(|reject| reject.to_string().contains(&(length - 1).to_string()))
    );
    with(
        &pack,
        Limits {
            input_bytes: length,
            ..Limits::default()
        },
    )
    .expect("exactly the limit");
    let result = with(
        &pack,
        Limits {
            objects: 2,
            ..Limits::default()
        },
    );
    assert!(is_over(&result, Bound::Objects), "{result:?}");
}

#[test]
fn rejects_packs_that_lie_about_their_count() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let pack = clone.pack(&["HEAD"], &[]);
    for count in [0, 1, 2, 4, 7_999_999] {
        let mut lying = pack[..pack.len() - 20].to_vec();
        lying[8..12].copy_from_slice(&u32::to_be_bytes(count));
        let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        hasher.update(&lying);
        lying.extend(hasher.try_finalize().expect("no collision").as_slice());
        let result = ingest(&world, &lying);
        // A git that makes room for all of them at once runs into the limit on memory first; and what it takes for a
        // fourth object is the checksum, which can say any size.
        let costly = is_over(&result, Bound::Memory) && count >= 4;
        assert!(
            costly || matches!(result, Err(Reject::Corrupt { .. } | Reject::Truncated)),
            "{count}: {result:?}"
        );
    }
}

/// Ends with an error in the middle, as a socket does that timed out.
struct Stalled<'a>(&'a [u8]);

impl Read for Stalled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            count => Ok(count),
        }
    }
}

#[test]
fn ends_the_indexer_when_the_stream_breaks() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let pack = clone.pack(&["HEAD"], &[]);
    let mut quarantine = world.repository.quarantine();
    let result = quarantine.ingest(Stalled(&pack[..40]), &Limits::default());
    assert!(
        matches!(result, Err(Reject::Broken(error)) if error.kind() == io::ErrorKind::TimedOut)
    );
    drop(quarantine);
    assert!(world.files("tmp_objdir").is_empty());
}

#[test]
fn sees_objects_in_more_packs_than_a_store_has_slots_by_default() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let mut tips = vec![world.seed(&clone)];
    for n in 0..40 {
        let tip = clone.commit("file", &format!("{n}\n"));
        world
            .store(&clone.pack(&["HEAD"], &["HEAD~1"]), &[tip])
            .expect("a good pack");
        tips.push(tip);
    }
    assert!(world.files(".idx").len() > 40);
    let quarantine = world.repository.quarantine();
    for tip in &tips {
        assert!(
            world.repository.has(tip).expect("readable") && quarantine.has(tip).expect("readable")
        );
    }
    assert!(
        quarantine
            .is_ancestor(&tips[0], &tips[40])
            .expect("all are here")
    );
}

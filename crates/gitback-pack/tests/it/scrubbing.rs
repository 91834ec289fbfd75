//! Bytes that flip: every one is found, nothing that can be read is lost, and what is lacking is named.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gitback_pack::fetch::{FetchError, PackReader, request_exactly};
use gitback_pack::{Fault, Limits, Oid, Quarantine, Ref, Reject, Repository, Scrubbed, Watch};

use crate::support::{Clone, World, git, git_command, parse};

/// A history with deltas, as one pack.
fn history(home: &Path) -> (Clone, Vec<u8>) {
    let clone = Clone {
        path: home.join("work"),
    };
    fs::create_dir(&clone.path).expect("a directory");
    clone.git(&["init", "-q", "-b", "main"]);
    for at in 0..4 {
        let line = |line: u32| format!("{} of {}\n", line * 7919, if line == at { at } else { 0 });
        let lines: String = (0..60).map(line).collect();
        clone.commit("long", &lines);
    }
    clone.git(&["tag", "-a", "-m", "first", "v1"]);
    let pack = clone.pack(&["HEAD", "v1"], &[]);
    (clone, pack)
}

/// A repository that has the pack, and refs to all that is in it.
fn world(clone: &Clone, pack: &[u8]) -> World {
    let world = World::new();
    world
        .store(pack, &[clone.oid("HEAD")])
        .expect("a good pack");
    world.set("refs/heads/main", clone.oid("HEAD"));
    world.set("refs/tags/v1", clone.oid("v1"));
    world
}

fn quietly<T>(act: impl FnOnce(&Watch<'_>) -> T) -> T {
    act(&Watch {
        stop: &|| false,
        tell: &|_| (),
        damage: &|| (),
    })
}

fn scrub(world: &World) -> Scrubbed {
    let scrubbed = quietly(|watch| world.repository.scrub(watch));
    scrubbed.expect("no fault").expect("nobody stops it")
}

/// The one file of the repository whose name begins and ends so.
fn file(world: &World, begin: &str, end: &str) -> PathBuf {
    let mut files = world.files(end);
    files.retain(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        let is_aside = path
            .parent()
            .is_some_and(|folder| folder.ends_with("damaged"));
        name.starts_with(begin) && name.ends_with(end) && !is_aside
    });
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    *bytes.get_mut(at).expect("within the file") ^= 0x10;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("ours");
    fs::write(path, bytes).expect("ours");
}

/// Every object, as git lists those that it can read.
fn objects(directory: &Path) -> BTreeSet<String> {
    let listed = git(
        directory,
        &["cat-file", "--batch-all-objects", "--batch-check"],
    );
    listed.lines().map(str::to_owned).collect()
}

fn is_clean(world: &World) {
    let output = git_command(world.path())
        .args(["fsck", "--full", "--strict", "--no-dangling"])
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn what_is_sound_stays_as_it_is() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let before = world.files("");
    let scrubbed = scrub(&world);
    assert!(scrubbed.is_sound(), "{scrubbed:?}");
    assert_eq!(scrubbed.packs, 1);
    assert_eq!(scrubbed.objects, objects(world.path()).len() as u64);
    assert_eq!(world.files(""), before);
    assert!(!world.repository.is_known_to_lack());
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is_and_what_came_again_is_whole() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let whole = objects(world(&clone, &pack).path());
    let (mut deltas_lost, mut all_saved) = (0, 0);
    // The header, the headers of entries, what they hold, the checksum.
    let places = [0, 5, 11].into_iter().chain((12..pack.len()).step_by(53));
    for at in places.chain([pack.len() - 20, pack.len() - 1]) {
        let world = world(&clone, &pack);
        let damaged = file(&world, "pack-", ".pack");
        flip(&damaged, at);
        let rotten = fs::read(&damaged).expect("readable");
        let scrubbed = scrub(&world);
        let [aside] = scrubbed.set_aside.as_slice() else {
            panic!("the flip at {at} was not found: {scrubbed:?}");
        };
        assert!(
            aside
                .parent()
                .is_some_and(|folder| folder.ends_with("damaged"))
        );
        assert_eq!(fs::read(aside).expect("it is kept"), rotten, "{at}");
        // What is not lacking can be read.
        let lost: BTreeSet<Oid> = scrubbed.lacking.clone();
        let readable = objects(world.path());
        assert_eq!(readable.len() + lost.len(), whole.len(), "{at}");
        assert!(readable.is_subset(&whole), "{at}");
        assert_eq!(scrubbed.saved, readable.len() as u64, "{at}");
        all_saved += usize::from(lost.is_empty());
        deltas_lost += usize::from(lost.len() > 1);
        assert_eq!(world.repository.is_known_to_lack(), !lost.is_empty());
        // The same comes again, as from a peer.
        world.store(&pack, &[]).expect("a good pack");
        let again = scrub(&world);
        assert!(again.is_sound(), "{at}: {again:?}");
        assert_eq!(objects(world.path()), whole, "{at}");
        is_clean(&world);
        assert_eq!(fs::read(aside).expect("it is still kept"), rotten);
        assert!(!world.repository.is_known_to_lack());
    }
    assert!(
        all_saved >= 5,
        "a flip in the header or the checksum loses nothing"
    );
    assert!(
        deltas_lost > 0,
        "what builds on a lost object is lost with it"
    );
}

#[test]
fn a_damaged_index_is_made_anew() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let length = fs::metadata(file(&world(&clone, &pack), "pack-", ".idx"))
        .expect("there")
        .len();
    let length = usize::try_from(length).expect("small");
    // The signature, the counts, a name, a CRC-32, an offset, both checksums.
    let objects_in = (length - 1032 - 40) / 28;
    let crc = 1032 + 20 * objects_in;
    for at in [
        0,
        4,
        1031,
        1032,
        crc,
        crc + 4 * objects_in,
        length - 40,
        length - 1,
    ] {
        let world = world(&clone, &pack);
        let index = file(&world, "pack-", ".idx");
        let before = fs::read(&index).expect("readable");
        flip(&index, at);
        let scrubbed = scrub(&world);
        assert_eq!(scrubbed.renewed, std::slice::from_ref(&index), "{at}");
        assert!(scrubbed.lacking.is_empty() && scrubbed.set_aside.is_empty());
        assert_eq!(fs::read(&index).expect("readable"), before, "{at}");
        is_clean(&world);
        assert!(scrub(&world).is_sound());
    }
    let world = world(&clone, &pack);
    let index = file(&world, "pack-", ".idx");
    fs::remove_file(&index).expect("ours");
    assert_eq!(scrub(&world).renewed, [index]);
    is_clean(&world);
}

#[test]
fn a_pack_that_a_crash_left_without_an_index_is_no_damage() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let blob = clone.object("blob", b"half a push\n");
    let small = clone.pack_of(&[blob]);
    let before = world.files("");
    world.store(&small, &[]).expect("a good pack");
    let mut added = world.files("pack-");
    added.retain(|path| !before.contains(path) && path.extension().is_some_and(|end| end == "idx"));
    fs::remove_file(&added[0]).expect("ours");
    let scrubbed = scrub(&world);
    assert!(scrubbed.is_sound(), "{scrubbed:?}");
    assert!(!added[0].exists() && added[0].with_extension("pack").exists());
    // When it has what is lacking it is used.
    fs::create_dir_all(world.path().join("refs/gitback/void")).expect("room");
    fs::write(
        world.path().join("refs/gitback/void/blob"),
        format!("{blob}\n"),
    )
    .expect("room");
    let scrubbed = scrub(&world);
    assert_eq!(scrubbed.renewed, added);
    assert!(scrubbed.lacking.is_empty());
    assert!(scrub(&world).is_sound());
    is_clean(&world);
}

#[test]
fn what_the_system_cannot_read_just_now_is_no_damage() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let input = home.path().join("input");
    fs::write(&input, "loose\n").expect("room");
    let oid = git(
        world.path(),
        &["hash-object", "-w", input.to_str().expect("UTF-8")],
    );
    let loose = world.path().join("objects").join(&oid[..2]).join(&oid[2..]);
    git(world.path(), &["multi-pack-index", "write"]);
    let names = [("pack-", ".pack"), ("pack-", ".idx"), ("multi-", "-index")];
    let mut paths: Vec<PathBuf> = names.map(|(begin, end)| file(&world, begin, end)).to_vec();
    paths.push(loose);
    for path in paths {
        let away = home.path().join("away");
        fs::rename(&path, &away).expect("ours");
        // Too many links is what a test can bring about; too many open files is the like of it.
        std::os::unix::fs::symlink(&path, &path).expect("room");
        let before = world.files("");
        let tried = quietly(|watch| world.repository.scrub(watch));
        assert!(
            matches!(tried, Err(Fault::Io { .. })),
            "{}: {tried:?}",
            path.display()
        );
        assert_eq!(world.files(""), before, "nothing moves");
        assert!(!world.repository.is_known_to_lack());
        fs::rename(&away, &path).expect("ours");
        assert!(scrub(&world).is_sound());
    }
}

#[test]
fn damage_is_told_before_anything_is_moved() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    for loose in [false, true] {
        let world = world(&clone, &pack);
        match loose {
            false => flip(&file(&world, "pack-", ".pack"), 40),
            true => {
                let folder = world.path().join("objects/ab");
                fs::create_dir(&folder).expect("room");
                fs::write(folder.join("c".repeat(38)), "nothing").expect("room");
            }
        }
        let before = world.files("");
        let heard = Mutex::new(0);
        let scrubbed = world.repository.scrub(&Watch {
            stop: &|| false,
            tell: &|_| (),
            damage: &|| {
                let mut heard = heard.lock().expect("unpoisoned");
                if *heard == 0 {
                    assert_eq!(world.files(""), before);
                }
                *heard += 1;
            },
        });
        let scrubbed = scrubbed.expect("no fault").expect("nobody stops it");
        assert_eq!(scrubbed.set_aside.len(), 1);
        assert!(*heard.lock().expect("unpoisoned") > 0);
    }
}

#[test]
fn each_flip_in_a_loose_object_is_damage_and_no_fault() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let input = home.path().join("input");
    fs::write(&input, "loose\n".repeat(30)).expect("room");
    let input = input.to_str().expect("UTF-8");
    let oid = git(world.path(), &["hash-object", "-w", input]);
    let path = world.path().join("objects").join(&oid[..2]).join(&oid[2..]);
    let length = fs::metadata(&path).expect("there").len();
    let mut sound = 0;
    for at in 0..usize::try_from(length).expect("small") {
        flip(&path, at);
        let scrubbed = scrub(&world);
        let known = usize::from(scrubbed.is_sound());
        if known == 1 {
            // A bit that means nothing.
            let text = git(world.path(), &["cat-file", "-p", &oid]);
            assert_eq!(text, "loose\n".repeat(30).trim_end(), "{at}");
        }
        sound += known;
        git(world.path(), &["hash-object", "-w", input]);
        if known == 1 {
            flip(&path, at);
        }
    }
    assert!(sound < 5, "{sound} flips are not found");
}

#[test]
fn what_was_made_of_a_damaged_index_goes_with_it() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let index = file(&world, "pack-", ".idx");
    let length = usize::try_from(fs::metadata(&index).expect("there").len()).expect("small");
    let objects_in = (length - 1072) / 28;
    // An offset.
    flip(&index, 1032 + 24 * objects_in + 3);
    git(world.path(), &["multi-pack-index", "write"]);
    let over = file(&world, "multi-pack-index", "multi-pack-index");
    let graph = world.path().join("objects/info/commit-graph");
    fs::write(&graph, sealed(b"nothing of ours")).expect("room");
    assert_eq!(scrub(&world).renewed, [index]);
    assert!(!over.exists() && !graph.exists());
    is_clean(&world);
}

/// A file of git's form: its last bytes are the SHA-1 of all others.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(bytes);
    let sum = hasher.try_finalize().expect("no collision");
    [bytes, sum.as_slice()].concat()
}

/// Where the entry of the first blob is, and where its row is in an index of so many rows.
#[expect(
    clippy::indexing_slicing,
    reason = "the files are those that git has just written"
)]
fn first_blob(world: &World, index: &[u8]) -> (usize, usize, Oid) {
    let pack = file(world, "pack-", ".pack");
    let shown = git(
        world.path(),
        &["verify-pack", "-v", pack.to_str().expect("UTF-8")],
    );
    let line = shown.lines().find(|line| line.contains(" blob "));
    let words: Vec<&str> = line.expect("there are blobs").split_whitespace().collect();
    let oid = parse(words[0]);
    let row = index[1032..]
        .chunks(20)
        .position(|name| name == oid.as_slice());
    (
        words[4].parse().expect("a number"),
        row.expect("listed"),
        oid,
    )
}

/// Writes the CRC-32 that the bytes have now into the index.
#[expect(
    clippy::indexing_slicing,
    reason = "the files are those that git has just written"
)]
fn recount(world: &World, offset: usize, end: usize, row: usize) {
    let bytes = fs::read(file(world, "pack-", ".pack")).expect("readable");
    let path = file(world, "pack-", ".idx");
    let mut index = fs::read(&path).expect("readable");
    let objects_in = (index.len() - 1072) / 28;
    let crc = crc32fast::hash(&bytes[offset..end]);
    let at = 1032 + 20 * objects_in + 4 * row;
    index[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    index.truncate(index.len() - 20);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    fs::write(&path, sealed(&index)).expect("ours");
}

#[test]
fn an_entry_that_has_its_crc_and_cannot_be_unpacked_keeps_no_other_from_being_saved() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let whole = objects(world.path());
    let index = fs::read(file(&world, "pack-", ".idx")).expect("readable");
    let (offset, row, oid) = first_blob(&world, &index);
    let offsets = 1032 + 24 * ((index.len() - 1072) / 28);
    let starts = index[offsets..index.len() - 40].chunks(4);
    let starts = starts.map(|place| u32::from_be_bytes(place.try_into().expect("four")) as usize);
    let end = starts.filter(|start| *start > offset).min();
    let end = end.unwrap_or(pack.len() - 20);
    flip(&file(&world, "pack-", ".pack"), end - 3);
    recount(&world, offset, end, row);
    let scrubbed = scrub(&world);
    assert!(scrubbed.lacking.contains(&oid), "{scrubbed:?}");
    assert_eq!(scrubbed.set_aside.len(), 1);
    assert!(scrubbed.left.is_empty() && scrubbed.saved > 0);
    assert_eq!(
        objects(world.path()).len() + scrubbed.lacking.len(),
        whole.len()
    );
    world.store(&pack, &[]).expect("a good pack");
    assert!(scrub(&world).is_sound());
}

#[test]
fn a_pack_of_which_nothing_can_be_made_stays_and_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    let clone = Clone {
        path: home.path().join("work"),
    };
    fs::create_dir(&clone.path).expect("a directory");
    clone.git(&["init", "-q", "-b", "main"]);
    let blob = clone.object("blob", b"the only one\n");
    let world = World::new();
    world
        .store(&clone.pack_of(&[blob]), &[])
        .expect("a good pack");
    let path = file(&world, "pack-", ".pack");
    let mut bytes = fs::read(&path).expect("readable");
    bytes.truncate(bytes.len() - 20);
    // It can be unpacked, and more comes behind it, which git does not take.
    bytes.extend_from_slice(b"more");
    let end = bytes.len();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    fs::write(&path, sealed(&bytes)).expect("ours");
    recount(&world, 12, end, 0);
    // Another one is damaged as well.
    let other = clone.object("blob", b"another one\n");
    world
        .store(&clone.pack_of(&[other]), &[])
        .expect("a good pack");
    let mut packs = world.files(".pack");
    packs.retain(|one| *one != path);
    let torn = &packs[0];
    flip(torn, fs::read(torn).expect("readable").len() - 1);
    let scrubbed = scrub(&world);
    assert_eq!(scrubbed.left, std::slice::from_ref(&path));
    assert!(!scrubbed.is_sound() && scrubbed.lacking.is_empty());
    assert_eq!(scrubbed.set_aside.len(), 1);
    assert!(path.exists() && path.with_extension("idx").exists());
}

#[test]
fn what_nobody_has_and_nothing_leads_to_is_given_up_and_counts_when_it_was_here_again() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let garbage = clone.object("blob", b"garbage\n");
    let small = clone.pack_of(&[garbage]);
    let before = world.files(".pack");
    world.store(&small, &[]).expect("a good pack");
    let lose = || {
        let mut packs = world.files(".pack");
        packs.retain(|path| {
            !before.contains(path) && path.parent().is_some_and(|at| at.ends_with("pack"))
        });
        flip(&packs[0], 14);
    };
    lose();
    let all = BTreeSet::from([garbage]);
    let none = BTreeSet::new();
    assert_eq!(scrub(&world).lacking, all);
    let give_up = |named: &BTreeSet<Oid>| {
        let given_up = world.repository.give_up(&all, named, &|| false);
        given_up.expect("no fault")
    };
    // Something leads to it.
    assert_eq!(give_up(&all), Some(false));
    assert!(world.repository.is_known_to_lack());
    assert_eq!(give_up(&none), Some(true));
    assert!(!world.repository.is_known_to_lack());
    assert!(scrub(&world).is_sound());
    let list = fs::read_to_string(world.path().join("damaged/lost")).expect("kept");
    assert_eq!(list, format!("{garbage}\n"));
    world.store(&small, &[]).expect("a good pack");
    assert!(scrub(&world).is_sound());
    assert!(!world.path().join("damaged/lost").exists());
    lose();
    assert_eq!(scrub(&world).lacking, all);
    // As long as refs lack something, nobody knows what leads to what.
    flip(&before[0], 40);
    assert!(scrub(&world).lacking.len() > 1);
    assert_eq!(give_up(&none), Some(false));
}

#[test]
fn a_hidden_ref_is_put_back_when_what_it_names_has_come() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let blob = clone.object("blob", b"kept\n");
    let name = "refs/gitback/void/a/b";
    let hidden = Ref {
        name: name.as_bytes().to_vec(),
        oid: blob,
        peeled: None,
    };
    world.repository.note_lost_refs(&[hidden]).expect("room");
    assert!(world.repository.is_known_to_lack());
    assert_eq!(scrub(&world).lacking, BTreeSet::from([blob]));
    let nothing = world
        .repository
        .give_up(&BTreeSet::from([blob]), &BTreeSet::new(), &|| false);
    assert_eq!(nothing.expect("no fault"), Some(false));
    world
        .store(&clone.pack_of(&[blob]), &[])
        .expect("a good pack");
    assert!(scrub(&world).is_sound());
    let shown = git(world.path(), &["rev-parse", name]);
    assert_eq!(parse(&shown), blob);
    assert!(!world.path().join("damaged").exists());
}

#[test]
fn of_what_is_lost_comes_what_was_asked_for_and_nothing_else() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let peer = world(&clone, &pack);
    let bare = World::new();
    let ask = |wants: &[Oid], quarantine: &mut Quarantine| {
        let mut answer = Vec::new();
        let served = peer
            .repository
            .upload_pack_request(&request_exactly(wants)[..], &mut answer);
        let pack = PackReader::new(&answer[..]);
        let limits = Limits::default();
        (served, quarantine.ingest_lost(pack, wants, &limits))
    };
    let tree = parse(&clone.git(&["rev-parse", "HEAD^{tree}"]));
    let blob = parse(&clone.git(&["rev-parse", "HEAD:long"]));
    // A tree without what it names, and a commit without the history behind it.
    for wants in [vec![tree], vec![clone.oid("HEAD")], vec![blob, tree]] {
        let mut quarantine = bare.repository.quarantine();
        let (_, ingested) = ask(&wants, &mut quarantine);
        let ingested = ingested.expect("a good pack");
        assert_eq!(ingested.objects as usize, wants.len(), "{wants:?}");
        quarantine.migrate().expect("no fault");
        assert!(bare.repository.has(&wants[0]).expect("no fault"));
    }
    let absent = clone.object("blob", b"nobody's\n");
    let (served, refused) = ask(&[tree, absent], &mut bare.repository.quarantine());
    assert!(served.is_err());
    let Err(Reject::Broken(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(FetchError::unknown(&error), Some(absent));
    // A peer that sends something else.
    let mut answer = Vec::new();
    peer.repository
        .upload_pack_request(&request_exactly(&[tree])[..], &mut answer)
        .expect("it is served");
    let refused = bare.repository.quarantine().ingest_lost(
        PackReader::new(&answer[..]),
        &[blob],
        &Limits::default(),
    );
    assert!(matches!(refused, Err(Reject::Unasked)), "{refused:?}");
}

#[test]
fn what_follows_from_packs_is_removed_when_it_is_damaged() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    git(world.path(), &["multi-pack-index", "write", "--bitmap"]);
    git(world.path(), &["commit-graph", "write", "--reachable"]);
    assert!(scrub(&world).is_sound());
    let (graph, over) = (
        file(&world, "commit-graph", "commit-graph"),
        file(&world, "multi-pack-index", "multi-pack-index"),
    );
    for path in [&graph, &over] {
        flip(path, 100);
        assert_eq!(scrub(&world).renewed, std::slice::from_ref(path));
        assert!(!path.exists());
    }
    assert_eq!(world.files("multi-pack-index"), Vec::<PathBuf>::new());
    is_clean(&world);
    // A pack goes that they speak of.
    git(world.path(), &["multi-pack-index", "write", "--bitmap"]);
    git(world.path(), &["commit-graph", "write", "--reachable"]);
    flip(&file(&world, "pack-", ".pack"), 40);
    assert_eq!(scrub(&world).set_aside.len(), 1);
    assert_eq!(world.files("multi-pack-index"), Vec::<PathBuf>::new());
    assert!(!graph.exists());
    world.store(&pack, &[]).expect("a good pack");
    is_clean(&world);
}

#[test]
fn what_is_only_here_and_can_be_read_is_saved() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, _) = history(home.path());
    // No ref leads to it, and nobody else has it.
    let only_here = clone.object("blob", b"only here\n");
    let victim = clone.object("blob", &[b'v'; 50]);
    let world = World::new();
    world
        .store(&clone.pack_of(&[only_here, victim]), &[])
        .expect("a good pack");
    let pack = file(&world, "pack-", ".pack");
    let shown = git(
        world.path(),
        &["verify-pack", "-v", pack.to_str().expect("UTF-8")],
    );
    let offset = shown.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (parse_if(words.next()?)? == victim).then(|| words.nth(3))?
    });
    flip(
        &pack,
        offset.expect("listed").parse::<usize>().expect("a number") + 4,
    );
    let scrubbed = scrub(&world);
    assert_eq!(scrubbed.lacking, BTreeSet::from([victim]));
    assert_eq!(
        git(world.path(), &["cat-file", "-p", &only_here.to_string()]),
        "only here"
    );
    assert!(!world.repository.has(&victim).expect("no fault"));
}

fn parse_if(hex: &str) -> Option<Oid> {
    (hex.len() == 40).then(|| parse(hex))
}

#[test]
fn where_the_index_is_damaged_too_what_is_lacking_is_still_known() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let whole = objects(world(&clone, &pack).path());
    for at in [0, 7, 1030, 1040, 1300] {
        let world = world(&clone, &pack);
        // The first entry, which is a tag or a commit.
        flip(&file(&world, "pack-", ".pack"), 20);
        flip(&file(&world, "pack-", ".idx"), at);
        let scrubbed = scrub(&world);
        assert_eq!(scrubbed.set_aside.len(), 1, "{at}");
        assert!(
            scrubbed.saved >= whole.len() as u64 - 3,
            "{at}: {scrubbed:?}"
        );
        assert!(!scrubbed.lacking.is_empty(), "{at}");
        world.store(&pack, &[]).expect("a good pack");
        assert!(scrub(&world).is_sound(), "{at}");
        assert_eq!(objects(world.path()), whole, "{at}");
        is_clean(&world);
    }
}

#[test]
fn a_truncated_pack_and_one_that_is_gone_are_damaged() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    for left in [0, 4, pack.len() / 2, pack.len() - 1] {
        let world = world(&clone, &pack);
        let path = file(&world, "pack-", ".pack");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        fs::write(&path, &pack[..left]).expect("ours");
        let scrubbed = scrub(&world);
        assert_eq!(scrubbed.set_aside.len(), 1, "{left}");
        assert!(!scrubbed.lacking.is_empty(), "{left}");
        world.store(&pack, &[]).expect("a good pack");
        assert!(scrub(&world).is_sound(), "{left}");
        is_clean(&world);
    }
    let world = world(&clone, &pack);
    fs::remove_file(file(&world, "pack-", ".pack")).expect("ours");
    assert!(!scrub(&world).lacking.is_empty());
    world.store(&pack, &[]).expect("a good pack");
    assert!(scrub(&world).is_sound());
    is_clean(&world);
}

#[test]
fn a_damaged_loose_object_is_set_aside() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let input = home.path().join("input");
    fs::write(&input, "loose\n").expect("room");
    let input = input.to_str().expect("UTF-8");
    let oid = parse(&git(world.path(), &["hash-object", "-w", input]));
    assert!(scrub(&world).is_sound());
    let hex = oid.to_string();
    flip(
        &world.path().join("objects").join(&hex[..2]).join(&hex[2..]),
        6,
    );
    let scrubbed = scrub(&world);
    assert_eq!(scrubbed.lacking, BTreeSet::from([oid]));
    assert!(scrubbed.set_aside[0].ends_with(Path::new("damaged").join(&hex[2..])));
    is_clean(&world);
    // It stays known, also after a restart, until it is here again.
    let World {
        home: root,
        repository,
    } = world;
    let path = repository.path().to_owned();
    drop(repository);
    let (repository, _) = Repository::open(&path).expect("it opens");
    let world = World {
        home: root,
        repository,
    };
    assert_eq!(scrub(&world).lacking, BTreeSet::from([oid]));
    git(world.path(), &["hash-object", "-w", input]);
    assert!(scrub(&world).is_sound());
    assert!(!world.repository.is_known_to_lack());
}

#[test]
fn a_push_meanwhile_is_taken_and_nothing_is_put_together() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let damaged = file(&world, "pack-", ".pack");
    let push = |at: usize| {
        clone.commit("file", &format!("{at}\n"));
        let pack = clone.pack(&["HEAD"], &["HEAD^"]);
        world
            .store(&pack, &[clone.oid("HEAD")])
            .expect("a good pack");
        world.set("refs/heads/main", clone.oid("HEAD"));
    };
    (0..8).for_each(push);
    // The checksum: all of it can be read, and the new pack has the old name.
    flip(&damaged, pack.len() - 1);
    let told = Mutex::new(Vec::new());
    let tell = |text: String| {
        if told.lock().expect("unpoisoned").is_empty() {
            push(8);
        }
        let repository = &world.repository;
        assert_eq!(repository.repack_small().expect("no fault"), None);
        told.lock().expect("unpoisoned").push(text);
    };
    let stop = || false;
    let watch = Watch {
        stop: &stop,
        tell: &tell,
        damage: &|| (),
    };
    let scrubbed = world.repository.scrub(&watch).expect("no fault");
    let scrubbed = scrubbed.expect("nobody stops it");
    assert_eq!(scrubbed.packs, 9, "the one that came meanwhile is not read");
    assert_eq!(scrubbed.set_aside.len(), 1);
    assert_eq!(scrubbed.lacking, BTreeSet::new());
    is_clean(&world);
    assert_eq!(scrub(&world).packs, 10);
    let repacked = world.repository.repack_small().expect("no fault");
    assert_eq!(
        repacked.expect("there are many").damaged,
        Vec::<PathBuf>::new()
    );
    is_clean(&world);
}

#[test]
fn whoever_is_told_to_stop_has_changed_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    flip(&file(&world, "pack-", ".pack"), 40);
    let before = world.files("");
    let watch = Watch {
        stop: &|| true,
        tell: &|_| (),
        damage: &|| (),
    };
    assert_eq!(world.repository.scrub(&watch).expect("no fault"), None);
    assert_eq!(world.files(""), before);
}

#[test]
fn a_crash_between_two_steps_loses_nothing_and_is_gone_on_from() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let world = world(&clone, &pack);
    let damaged = file(&world, "pack-", ".pack");
    flip(&damaged, pack.len() / 2);
    let rotten = fs::read(&damaged).expect("readable");
    let first = scrub(&world);
    assert!(!first.lacking.is_empty());
    let readable = objects(world.path());
    // Before the old index lost its name, and before the list of what is lacking was shortened.
    let retired = file(&world, "tmp_retired-", ".idx");
    let name = retired
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let index = retired.with_file_name(name.replace("tmp_retired-", ""));
    fs::rename(retired, index).expect("ours");
    let World {
        home: root,
        repository,
    } = world;
    let path = repository.path().to_owned();
    drop(repository);
    let (repository, _) = Repository::open(&path).expect("it opens");
    let world = World {
        home: root,
        repository,
    };
    let again = scrub(&world);
    assert_eq!(again.lacking, first.lacking);
    assert_eq!(again.set_aside, first.set_aside, "it is kept once");
    assert_eq!(objects(world.path()), readable);
    // After the old index lost its name: opening removes the old pack, of which there is another name.
    let World {
        home: root,
        repository,
    } = world;
    drop(repository);
    let (repository, recovered) = Repository::open(&path).expect("it opens");
    assert_eq!(recovered.retired, 1);
    let world = World {
        home: root,
        repository,
    };
    assert!(!damaged.exists());
    assert_eq!(fs::read(&first.set_aside[0]).expect("it is kept"), rotten);
    assert_eq!(objects(world.path()), readable);
    assert_eq!(scrub(&world).lacking, first.lacking);
    world.store(&pack, &[]).expect("a good pack");
    // The same pack rots again.
    flip(&damaged, pack.len() / 3);
    let third = scrub(&world);
    assert_ne!(
        third.set_aside, first.set_aside,
        "nothing takes the place of what is kept"
    );
    assert_eq!(fs::read(&first.set_aside[0]).expect("it is kept"), rotten);
}

#[test]
fn a_pack_that_is_taken_over_does_not_become_the_damaged_one() {
    let home = tempfile::tempdir().expect("a directory");
    let (clone, pack) = history(home.path());
    let (sound, torn) = (world(&clone, &pack), world(&clone, &pack));
    flip(&file(&torn, "pack-", ".pack"), 40);
    assert!(!scrub(&torn).lacking.is_empty());
    torn.repository
        .adopt_objects(&sound.repository)
        .expect("no fault");
    assert!(scrub(&torn).is_sound());
    is_clean(&torn);
}

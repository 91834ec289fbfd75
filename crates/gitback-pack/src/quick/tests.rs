//! Whatever is taken here, git would take; and what people usually push is taken here.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::Repository;

const PERSON: &str = "A <a@example> 1700000000 +0100";

/// A bare repository, and an object store in it.
pub(crate) struct World {
    pub(crate) home: TempDir,
    pub(crate) repository: Repository,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let repository = Repository::create(&home.path().join("served.git")).expect("a repository");
        Self { home, repository }
    }

    /// Runs git in the repository.
    pub(crate) fn git(&self, arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
        git(self.repository.path(), arguments, input)
    }

    fn write(&self, kind: Kind, bytes: &[u8]) -> Oid {
        let arguments = ["hash-object", "--literally", "-w", "--stdin", "-t"];
        let kind = kind.to_string();
        let arguments = [&arguments[..], &[kind.as_str()]].concat();
        let (written, hex) = self.git(&arguments, bytes);
        assert!(written, "{arguments:?}");
        Oid::from_hex(hex.trim_ascii()).expect("an id")
    }

    fn quick(&self, pack: &[u8], directory: &Path) -> Option<Quick> {
        let quick = Quick::look(pack, &self.repository, &Limits::default())?;
        let written = quick.write(directory).expect("room");
        written.install(directory, &quick.stem()).expect("room");
        Some(quick)
    }

    /// Whether a pack is taken here; what is taken, git has to take as well, and to find the same in it.
    fn takes(&self, objects: &[(Kind, Vec<u8>)]) -> bool {
        let pack = pack(objects);
        let directory = tempfile::tempdir_in(self.home.path()).expect("a directory");
        if self.quick(&pack, directory.path()).is_none() {
            return false;
        }
        let strict = crate::severity::strict_argument();
        let theirs = directory.path().join("theirs.pack");
        let theirs = theirs.to_str().expect("plain");
        let arguments = ["index-pack", "--stdin", "--fix-thin", &strict, theirs];
        let (taken, _) = self.git(&arguments, &pack);
        assert!(taken, "git refuses what was taken: {objects:?}");
        true
    }
}

pub(crate) fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
    let mut child = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may refuse before it has read everything.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("git ends");
    (output.status.success(), output.stdout)
}

pub(crate) fn pack(objects: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    let count = u32::try_from(objects.len()).expect("few");
    pack.extend_from_slice(&count.to_be_bytes());
    for (kind, bytes) in objects {
        store::entry_header(*kind, bytes.len(), &mut pack);
        store::deflate(bytes, &mut pack).expect("it deflates");
    }
    let sum = crate::index::sum(&pack).expect("no forgery");
    pack.extend_from_slice(sum.as_slice());
    pack
}

/// Adds a blob to a pack that announces one object, and ends it.
pub(crate) fn blob(bytes: &[u8], pack: &mut Vec<u8>) {
    store::entry_header(Kind::Blob, bytes.len(), pack);
    store::deflate(bytes, pack).expect("it deflates");
    let sum = crate::index::sum(pack).expect("no forgery");
    pack.extend_from_slice(sum.as_slice());
}

pub(crate) fn oid(kind: Kind, bytes: &[u8]) -> Oid {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, bytes).expect("no forgery")
}

pub(crate) fn tree(entries: &[(&str, &[u8], Oid)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (mode, name, oid) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(oid.as_slice());
    }
    bytes
}

pub(crate) fn commit(tree: Oid, parents: &[Oid]) -> Vec<u8> {
    let parents: String = parents
        .iter()
        .map(|one| format!("parent {one}\n"))
        .collect();
    format!("tree {tree}\n{parents}author {PERSON}\ncommitter {PERSON}\n\nwords\n").into_bytes()
}

/// A tree with one entry that names this file.
pub(crate) fn names(mode: &str, name: &[u8], blob: &[u8]) -> Vec<(Kind, Vec<u8>)> {
    let entry = (mode, name, oid(Kind::Blob, blob));
    vec![(Kind::Blob, blob.to_vec()), (Kind::Tree, tree(&[entry]))]
}

#[test]
fn takes_what_people_usually_push() {
    let world = World::new();
    let blob = oid(Kind::Blob, b"text");
    let inner = tree(&[("100755", "zażółć".as_bytes(), blob)]);
    let attributes = b"*.rs text\n*.png -text\n";
    let modules = b"[submodule \"sub\"]\n\tpath = sub\n\turl = https://example.org/sub.git\n";
    let outer = tree(&[
        ("100644", b".gitattributes", oid(Kind::Blob, attributes)),
        ("40000", b".github", oid(Kind::Tree, &inner)),
        ("100644", b".gitignore", blob),
        ("100644", b".gitmodules", oid(Kind::Blob, modules)),
        ("100644", b"foo", blob),
        ("100644", b"foo.bar", blob),
        ("40000", b"foo0", oid(Kind::Tree, &inner)),
        ("120000", b"link", blob),
        ("160000", b"sub", Oid::from_hex(&[b'1'; 40]).expect("an id")),
    ]);
    let first = commit(oid(Kind::Tree, &outer), &[]);
    let second = commit(oid(Kind::Tree, &outer), &[oid(Kind::Commit, &first)]);
    let signed = String::from_utf8(second.clone())
        .expect("text")
        .replace("\n\nwords", "\ngpgsig -----\n \n over lines\n\nwords");
    assert!(world.takes(&[
        (Kind::Commit, second),
        (Kind::Commit, signed.into_bytes()),
        (Kind::Commit, first),
        (Kind::Tree, outer),
        (Kind::Tree, inner),
        (Kind::Blob, b"text".to_vec()),
        (Kind::Blob, attributes.to_vec()),
        (Kind::Blob, modules.to_vec()),
    ]));
}

#[test]
fn takes_no_name_that_git_refuses() {
    let world = World::new();
    let mut taken = 0;
    let odd: &[&[u8]] = &[
        b".git",
        b".GIT",
        b".git ",
        b".git.",
        b".git\\x",
        b"git~1",
        b"GIT~2",
        b".git:x",
        b".",
        b"..",
        b"",
        b"a/b",
        b"/",
        b"con",
        b"a\\b",
        b"a ",
        b"a.",
        b"...",
        b"\x01",
        b"\xff",
        b".g\xe2\x80\x8cit",
        b"\xef\xbb\xbf.git",
        b".gitmodules",
        b".GITMODULES",
        b"gitmod~1",
        b".gitattributes",
        b".gitignore",
        b".gitignore ",
        b".mailmap",
        b".MAILMAP",
        b"GI7EBA~1",
        b".gitmodules:$DATA",
        b".gitx",
        b".gita",
        b".github",
        b"plain",
        b"\xc3\xa9",
    ];
    for name in odd {
        for mode in [
            "100644", "100755", "100664", "120000", "160000", "40000", "040000", "0",
        ] {
            let blob = b"../up";
            let mut objects = names(mode, name, blob);
            if mode.ends_with("40000") {
                let empty = (mode, *name, oid(Kind::Tree, b""));
                objects = vec![(Kind::Tree, Vec::new()), (Kind::Tree, tree(&[empty]))];
            }
            taken += usize::from(world.takes(&objects));
        }
    }
    assert!(taken > 20, "the plain ones are taken: {taken}");
}

#[test]
fn takes_no_tree_out_of_order_or_with_a_name_twice() {
    let world = World::new();
    let (blob, folder) = (oid(Kind::Blob, b"x"), oid(Kind::Tree, b""));
    let given = [(Kind::Blob, b"x".to_vec()), (Kind::Tree, Vec::new())];
    let entries = [
        ("100644", &b"a"[..], blob),
        ("40000", b"a", folder),
        ("100644", b"a.b", blob),
        ("40000", b"a.b", folder),
        ("100644", b"a0", blob),
        ("160000", b"a-", blob),
    ];
    let mut taken = 0;
    for first in entries {
        for second in entries {
            for third in entries {
                let mut objects = given.to_vec();
                objects.push((Kind::Tree, tree(&[first, second, third])));
                taken += usize::from(world.takes(&objects));
            }
        }
    }
    assert!(taken > 2, "those in order are taken: {taken}");
}

#[test]
fn takes_no_commit_that_git_refuses() {
    let world = World::new();
    let empty = oid(Kind::Tree, b"");
    let usual = String::from_utf8(commit(empty, &[])).expect("text");
    let mut taken = 0;
    let odd = [
        ("author A", "author "),
        ("author A ", "author A"),
        ("author A <a@example>", "author A a@example"),
        ("author A <a@example>", "author <a@example>"),
        ("author A <a@example>", "author A <a@<example>"),
        ("author A <a@example>", "author A> <a@example>"),
        ("author A <a@example> ", "author A <a@example>"),
        (
            "1700000000 +0100\ncommitter",
            "01700000000 +0100\ncommitter",
        ),
        ("1700000000 +0100\ncommitter", "0 +0100\ncommitter"),
        ("1700000000 +0100\ncommitter", "-5 +0100\ncommitter"),
        (
            "1700000000 +0100\ncommitter",
            "99999999999999999999 +0100\ncommitter",
        ),
        ("1700000000 +0100\ncommitter", "1700000000 0100\ncommitter"),
        (
            "1700000000 +0100\ncommitter",
            "1700000000 +051800\ncommitter",
        ),
        ("1700000000 +0100\ncommitter", "1700000000\ncommitter"),
        ("\ncommitter", "\nauthor B <b@example> 1 +0000\ncommitter"),
        ("committer", "comitter"),
        ("tree ", "tree  "),
        ("tree ", "treе "),
        ("\nauthor", "\nparent 0\nauthor"),
        ("words", "wo\0rds"),
        ("\n\nwords\n", "\n"),
        ("\n\nwords\n", ""),
        ("\n\nwords\n", "\n\n"),
        ("\n\nwords", "\nencoding x\n\nwords"),
        ("\n\nwords", "\nx\0y\n\nwords"),
    ];
    for (from, to) in odd {
        let bytes = usual.replacen(from, to, 1).into_bytes();
        assert_ne!(bytes, usual.as_bytes(), "{from:?} is in it");
        let objects = [(Kind::Tree, Vec::new()), (Kind::Commit, bytes)];
        taken += usize::from(world.takes(&objects));
    }
    assert!(taken >= 3, "the harmless ones are taken: {taken}");
    let mut capital = usual.clone();
    capital.replace_range(5..45, &empty.to_string().to_uppercase());
    world.takes(&[
        (Kind::Tree, Vec::new()),
        (Kind::Commit, capital.into_bytes()),
    ]);
}

#[test]
fn takes_no_files_that_git_obeys_and_refuses() {
    let world = World::new();
    let long = [b"a ".as_slice(), &[b'x'; 4000]].concat();
    for blob in [&b"* text\n"[..], &long, b"* te\0xt\n"] {
        let taken = world.takes(&names("100644", b".gitattributes", blob));
        assert_eq!(taken, blob == b"* text\n");
    }
    let module = |line: &str| format!("[submodule \"a\"]\n\tpath = a\n\t{line}\n").into_bytes();
    let good = module("url = https://example.org/a.git");
    assert!(world.takes(&names("100644", b".gitmodules", &good)));
    for line in [
        "url = -u./x",
        "url = https://example.org/a%0ahost=evil/x",
        "url = https:///x",
        "url = https://-x/x",
        "url = ext::sh -c x",
        "url = ../../../../x\\ny",
        "path = -x",
        "path = ../x",
        "update = !sh",
        "url = https://example.org",
        "url = http::https://x/y",
        "ignore = all\n[submodule \"../../x\"]\n\tpath = b",
        "[submodule \"-x\"]",
        "[include]\n\tpath = x",
    ] {
        world.takes(&names("100644", b".gitmodules", &module(line)));
    }
    assert!(world.takes(&names("120000", b"link", b"../there")));
    for target in [
        &b".git/config"[..],
        b"a/.GIT",
        b"a\\b",
        b"git~1/x",
        b"\xe2\x80\x8c.git",
    ] {
        assert!(!world.takes(&names("120000", b"link", target)));
    }
    // The file may have been here under another name, where nobody looked at it.
    let evil = module("url = -u./x");
    let evil_oid = world.write(Kind::Blob, &evil);
    let entry = ("100644", &b".gitmodules"[..], evil_oid);
    assert!(!world.takes(&[(Kind::Tree, tree(&[entry]))]));
}

#[test]
fn takes_nothing_that_names_what_is_absent_or_of_another_kind() {
    let world = World::new();
    let absent = Oid::from_hex(&[b'1'; 40]).expect("an id");
    let blob = world.write(Kind::Blob, b"here");
    let here = tree(&[("100644", b"a", blob)]);
    assert!(world.takes(&[(Kind::Tree, here.clone())]));
    let here = world.write(Kind::Tree, &here);
    assert!(!world.takes(&[(Kind::Tree, tree(&[("100644", b"a", absent)]))]));
    assert!(!world.takes(&[(Kind::Tree, tree(&[("100644", b"a", here)]))]));
    assert!(!world.takes(&[(Kind::Tree, tree(&[("40000", b"a", blob)]))]));
    assert!(!world.takes(&[(Kind::Commit, commit(blob, &[]))]));
    assert!(!world.takes(&[(Kind::Commit, commit(here, &[here]))]));
    assert!(world.takes(&[(Kind::Commit, commit(here, &[]))]));
    let module = |oid: Oid| (Kind::Tree, tree(&[("160000", b"a", oid)]));
    assert!(world.takes(&[module(absent)]), "it is another repository's");
    assert!(!world.takes(&[module(Oid::null(gix::hash::Kind::Sha1))]));
}

#[test]
fn what_no_ref_leads_to_is_not_taken_for_whole() {
    let world = World::new();
    let absent = Oid::from_hex(&[b'1'; 40]).expect("an id");
    let hollow = world.write(Kind::Tree, &tree(&[("100644", b"a", absent)]));
    let outer = tree(&[("40000", b"sub", hollow)]);
    let hollow_commit = world.write(Kind::Commit, &commit(hollow, &[]));
    let good = world.write(Kind::Tree, b"");
    let beside = world.write(Kind::Tree, &tree(&[("40000", b"sub", good)]));
    let good_commit = world.write(Kind::Commit, &commit(beside, &[]));
    let connected = |objects: &[(Kind, Vec<u8>)]| {
        let directory = tempfile::tempdir_in(world.home.path()).expect("a directory");
        let quick = world.quick(&pack(objects), directory.path()).expect("good");
        let (kind, tip) = objects.last().expect("one");
        let connected = quick.is_connected(&[oid(*kind, tip)], &world.repository);
        connected.is_some()
    };
    let on = |tree: Oid, parent: Oid| (Kind::Commit, commit(tree, &[parent]));
    // A tree that is here and lacks a file; a parent that is here and lacks one.
    let lacking = [
        (Kind::Tree, outer.clone()),
        (Kind::Commit, commit(oid(Kind::Tree, &outer), &[])),
    ];
    assert!(!connected(&lacking));
    assert!(!connected(&[on(good, hollow_commit)]));
    // A parent that no ref leads to is looked at as what is new is.
    assert!(connected(&[on(beside, good_commit)]));
    // And a whole history in one pack.
    let root = commit(good, &[]);
    let second = commit(beside, &[oid(Kind::Commit, &root)]);
    assert!(connected(&[(Kind::Commit, root), (Kind::Commit, second)]));
    // A parent that a ref leads to is whole; but only what stands at the same place in it.
    let good_hex = good_commit.to_string();
    world.git(&["update-ref", "refs/heads/main", &good_hex], b"");
    assert!(connected(&[on(beside, good_commit)]));
    assert!(connected(&[on(good, good_commit)]));
    let changed = [
        (Kind::Tree, outer.clone()),
        on(oid(Kind::Tree, &outer), good_commit),
    ];
    assert!(!connected(&changed));
    // Nor is a commit of another repository the folder of the same id.
    let module = world.write(Kind::Tree, &tree(&[("160000", b"sub", hollow)]));
    let module_commit = world.write(Kind::Commit, &commit(module, &[good_commit]));
    let module_hex = module_commit.to_string();
    world.git(&["update-ref", "refs/heads/module", &module_hex], b"");
    let folder = [
        (Kind::Tree, outer.clone()),
        on(oid(Kind::Tree, &outer), module_commit),
    ];
    assert!(!connected(&folder));
    // Three commits, of which each could be taken for whole because of the next.
    let blob = |text: &str| world.write(Kind::Blob, text.as_bytes());
    let with = |file: Oid| tree(&[("100644", b"f", file), ("40000", b"x", hollow)]);
    let (first, other) = (with(blob("1")), with(blob("2")));
    let oldest = commit(oid(Kind::Tree, &first), &[good_commit]);
    let middle = commit(oid(Kind::Tree, &other), &[oid(Kind::Commit, &oldest)]);
    let newest = commit(oid(Kind::Tree, &first), &[oid(Kind::Commit, &middle)]);
    let circle = [
        (Kind::Tree, first),
        (Kind::Tree, other),
        (Kind::Commit, oldest),
        (Kind::Commit, middle),
        (Kind::Commit, newest),
    ];
    assert!(!connected(&circle));
}

/// An entry with these bytes before what is deflated.
fn entry(header: &[u8], content: &[u8]) -> Vec<u8> {
    let mut entry = header.to_vec();
    store::deflate(content, &mut entry).expect("it deflates");
    entry
}

fn pack_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    let count = u32::try_from(entries.len()).expect("few");
    pack.extend_from_slice(&count.to_be_bytes());
    pack.extend(entries.iter().flatten());
    let sum = crate::index::sum(&pack).expect("no forgery");
    pack.extend_from_slice(sum.as_slice());
    pack
}

#[test]
fn takes_numbers_in_their_usual_form_only() {
    let world = World::new();
    let taken = |entries: &[Vec<u8>]| {
        let directory = tempfile::tempdir_in(world.home.path()).expect("a directory");
        let quick = world.quick(&pack_of(entries), directory.path());
        quick.is_some()
    };
    assert!(taken(&[entry(&[0x33], b"abc")]));
    // Three, with seven bits more, or with as many as there can be.
    assert!(!taken(&[entry(&[0xb3, 0], b"abc")]));
    let mut long = vec![0x80; 10];
    long[0] = 0xb3;
    long[9] = 0;
    assert!(!taken(&[entry(&long, b"abc")]));
    // The same delta to what is just before it: the distance as it is, and one that overflows to it.
    let base = entry(&[0x33], b"abc");
    let delta = [3, 4, 0x90, 3, 1, b'd'];
    let distance = u8::try_from(base.len()).expect("short");
    assert!(taken(&[base.clone(), entry(&[0x66, distance], &delta)]));
    let mut overflowing = vec![0x66, 0x80];
    overflowing.extend([0xfe; 7]);
    overflowing.extend([0xff, distance]);
    assert!(!taken(&[base, entry(&overflowing, &delta)]));
}

#[test]
fn completes_a_pack_with_what_does_not_compress() {
    let world = World::new();
    let mut die = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        die = die.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        die.to_be_bytes()[0]
    })
    .take(200_000)
    .collect();
    let base = world.write(Kind::Blob, &noise);
    // The first 65,536 bytes of 200,000, and one more.
    let delta = [0xc0, 0x9a, 0x0c, 0x81, 0x80, 0x04, 0x80, 1, b'x'];
    let mut header = vec![0x79];
    header.extend_from_slice(base.as_slice());
    let pack = pack_of(&[entry(&header, &delta)]);
    let directory = tempfile::tempdir_in(world.home.path()).expect("a directory");
    assert!(world.quick(&pack, directory.path()).is_some());
    let files = std::fs::read_dir(directory.path()).expect("it is there");
    let mut paths = files.map(|entry| entry.expect("an entry").path());
    let index = paths.find(|path| path.extension().is_some_and(|end| end == "idx"));
    let index = index.expect("an index");
    let arguments = ["verify-pack", index.to_str().expect("plain")];
    assert!(world.git(&arguments, b"").0);
}

#[test]
fn indexes_thin_packs_as_git_does() {
    let world = World::new();
    let clone = world.home.path().join("clone");
    std::fs::create_dir(&clone).expect("a directory");
    let git = |arguments: &[&str], input: &[u8]| {
        let user = ["-c", "user.name=A", "-c", "user.email=a@example"];
        let (done, out) = git(&clone, &[&user[..], arguments].concat(), input);
        assert!(done, "{arguments:?}");
        out
    };
    git(&["init", "-q", "-b", "main"], b"");
    let lines =
        |count: u32| -> String { (0..count).map(|line| format!("line {line}\n")).collect() };
    for round in 0..8 {
        for file in 0..6 {
            let path = clone.join(format!("file-{file}"));
            std::fs::write(path, lines(200 + 7 * round + file)).expect("written");
        }
        git(&["add", "."], b"");
        git(&["commit", "-q", "-m", "round"], b"");
    }
    let make = |revisions: &str, thin: bool| {
        let mut arguments = vec![
            "pack-objects",
            "--stdout",
            "--revs",
            "--delta-base-offset",
            "-q",
        ];
        arguments.extend(thin.then_some("--thin"));
        git(&arguments, revisions.as_bytes())
    };
    let pack_path = world.repository.objects_path().join("pack");
    let whole = make("HEAD~4\n", false);
    world.quick(&whole, &pack_path).expect("taken");
    let thin = make("HEAD\n^HEAD~4\n", true);
    assert!(
        !world.git(&["index-pack", "--stdin"], &thin).0,
        "it is thin"
    );
    world.quick(&thin, &pack_path).expect("taken");
    let head = git(&["rev-parse", "HEAD"], b"");
    let head = String::from_utf8(head).expect("hex");
    world.git(&["update-ref", "refs/heads/main", head.trim()], b"");
    assert!(world.git(&["fsck", "--full", "--strict"], b"").0);
    for index in std::fs::read_dir(&pack_path).expect("it is there") {
        let index = index.expect("an entry").path();
        if index
            .extension()
            .is_some_and(|extension| extension == "idx")
        {
            let path = index.to_str().expect("plain");
            assert!(world.git(&["verify-pack", path], b"").0, "{path}");
        }
    }
    // Any byte that is wrong is noticed, or makes no difference to git either.
    for at in (12..thin.len() - unpack::TRAILER_BYTES).step_by(7) {
        let mut damaged = thin.clone();
        damaged[at] ^= 0x55;
        let directory = tempfile::tempdir_in(world.home.path()).expect("a directory");
        assert!(
            world.quick(&damaged, directory.path()).is_none(),
            "byte {at}"
        );
    }
}

#[test]
fn gives_its_room_back() {
    let mut room = Room::new();
    assert!(room.take(UNPACKED_MAX).is_some());
    assert!(room.take(1).is_none());
    drop(room);
    let mut room = Room::new();
    assert!(room.take(UNPACKED_MAX).is_some());
}

#[test]
fn what_git_reads_from_a_stream_only_is_refused() {
    let world = World::new();
    let refused = |pack: &[u8]| {
        let mut quarantine = world.repository.quarantine();
        let ingested = quarantine.ingest(pack, &Limits::default());
        matches!(ingested, Err(crate::Reject::Corrupt { .. }))
    };
    let with_header = |header: &[u8]| {
        let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
        pack.extend_from_slice(header);
        store::deflate(b"abc", &mut pack).expect("it deflates");
        let sum = crate::index::sum(&pack).expect("no forgery");
        pack.extend_from_slice(sum.as_slice());
        pack
    };
    // A blob of three bytes, whose size is written in one to ten bytes.
    for more in 0..10_usize {
        let mut header = vec![0x80; more + 1];
        header[0] = 0xb3;
        header[more] &= 0x7f;
        let pack = with_header(&header);
        assert_eq!(refused(&pack), more > 8, "{more} more bytes");
    }
    // Something behind the pack, with the checksum of all of it at its end.
    let mut pack = with_header(&[0x33]);
    pack.extend_from_slice(b"something else");
    let sum = crate::index::sum(&pack).expect("no forgery");
    pack.extend_from_slice(sum.as_slice());
    assert!(refused(&pack));
}

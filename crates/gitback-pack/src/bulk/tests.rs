//! What is taken here, git takes and indexes in the same way; what is bad, nobody takes.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::quick::store::{deflate, entry_header};
use crate::quick::tests::{World, commit, git, names, oid, pack, tree};
use crate::severity::strict_argument;
use crate::spool::Spooling;
use crate::{Incoming, Repository};

/// What became of a pack: whether it needs nothing else, and its index.
fn take(repository: &Repository, pack: &[u8], limits: &Limits) -> Option<(bool, Vec<u8>)> {
    take_after(repository, pack, limits, Duration::ZERO)
}

/// The same after others have spent so much time on it.
fn take_after(
    repository: &Repository,
    pack: &[u8],
    limits: &Limits,
    before: Duration,
) -> Option<(bool, Vec<u8>)> {
    let spent = Arc::new(Spent::default());
    spent.add(before);
    let incoming = Incoming::new();
    let mut spool = Spooling::begin(repository.spool_path(), incoming.clone(), 0);
    let objects = u32::from_be_bytes(*pack.get(8..)?.first_chunk()?);
    let mut quarantine = repository.quarantine();
    let bulk = Bulk::begin(incoming.follow(), objects, limits, spent);
    for chunk in pack.chunks(1000) {
        spool.write(chunk).expect("room");
    }
    spool.complete();
    let sum = Oid::try_from(pack.get(pack.len().checked_sub(20)?..)?).ok()?;
    let path = spool.path().expect("a file");
    let directory = quarantine.path().expect("room").join("pack");
    let contained = bulk.and_then(|bulk| bulk.finish(&path, &sum, &quarantine));
    if contained.is_none() {
        let left = fs::read_dir(&directory).expect("a directory").count();
        assert_eq!(left, 0, "nothing of it is left");
    }
    let contained = contained?;
    let index = fs::read(directory.join(format!("pack-{sum}.idx"))).expect("an index");
    quarantine.contained = contained;
    quarantine.migrate().expect("room");
    Some((contained, index))
}

/// What git makes of it, if it takes it.
fn taken_by_git(world: &World, pack: &[u8]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir_in(world.home.path()).expect("a directory");
    let path = directory.path().join("theirs.pack");
    let strict = strict_argument();
    let arguments = ["index-pack", "--stdin", &strict, path.to_str()?];
    let (taken, _) = world.git(&arguments, pack);
    taken.then(|| fs::read(path.with_extension("idx")).expect("an index"))
}

/// A history with whatever is in histories, as one pack with deltas.
fn history(home: &Path, commits: u32) -> (std::path::PathBuf, Vec<u8>) {
    let path = home.join(format!("history-{commits}"));
    fs::create_dir(&path).expect("a directory");
    let run = |arguments: &[&str], input: &[u8]| {
        let (done, output) = git(&path, arguments, input);
        assert!(done, "{arguments:?}");
        output
    };
    run(&["init", "-q", "--bare", "."], b"");
    let mut stream = Vec::new();
    for number in 1..=commits {
        // Some without a name, as imports leave them.
        let person = match number % 50 {
            0 => "<a@example> 1700000000 +0100",
            _ => "A <a@example> 1700000000 +0100",
        };
        let text: String = (0..200)
            .map(|line| {
                format!(
                    "line {line} of {}\n",
                    if line == number % 200 { number } else { 0 }
                )
            })
            .collect();
        let attributes = format!("*.{} text\n", number % 7);
        write!(
            stream,
            "commit refs/heads/main\nmark :{number}\nauthor {person}\ncommitter {person}\ndata 5\nwords\n\
             M 100644 inline text-{}\ndata {}\n{text}\n\
             M 100755 inline folder/{}/script\ndata 9\nexit {:04}\n\
             M 100644 inline .gitattributes\ndata {}\n{attributes}\n\
             M 120000 inline link\ndata 6\ntext-1\n\
             M 100644 inline \"odd~name {}\"\ndata 4\nodd\n\n",
            number % 10,
            text.len(),
            number % 13,
            number % 97,
            attributes.len(),
            number % 5,
        )
        .expect("memory");
    }
    write!(
        stream,
        "tag first\nfrom :1\ntagger A <a@example> 1700000000 +0100\ndata 5\nwords\n"
    )
    .expect("memory");
    run(&["fast-import", "--quiet"], &stream);
    run(&["repack", "-adfq", "--depth=50", "--window=20"], b"");
    let pack = run(
        &[
            "pack-objects",
            "--all",
            "--stdout",
            "--delta-base-offset",
            "--revs",
            "-q",
        ],
        b"",
    );
    (path, pack)
}

#[test]
fn a_history_is_indexed_as_git_does_it() {
    let world = World::new();
    let (_, pack) = history(world.home.path(), 600);
    let (contained, index) =
        take(&world.repository, &pack, &Limits::default()).expect("all is good");
    assert!(contained);
    assert_eq!(Some(index), taken_by_git(&world, &pack));
    let (sound, output) = world.git(&["fsck", "--full"], b"");
    assert!(sound, "{}", String::from_utf8_lossy(&output));
    // The same again: what is there already git compares.
    assert!(take(&world.repository, &pack, &Limits::default()).is_none());
}

#[test]
fn what_it_needs_has_to_be_there() {
    let world = World::new();
    let (path, whole) = history(world.home.path(), 60);
    let arguments = [
        "pack-objects",
        "--stdout",
        "--delta-base-offset",
        "--revs",
        "-q",
    ];
    let (_, newer) = git(&path, &arguments, b"main\n^main~30\n");
    assert!(take(&world.repository, &newer, &Limits::default()).is_none());
    let (_, older) = git(&path, &arguments, b"main~30\n");
    let (contained, _) = take(&world.repository, &older, &Limits::default()).expect("all is good");
    assert!(contained);
    let (contained, index) =
        take(&world.repository, &newer, &Limits::default()).expect("what it needs is there");
    assert!(!contained);
    assert_eq!(Some(index), taken_by_git(&world, &newer));
    // What builds on what is outside is git's.
    let thin = ["pack-objects", "--stdout", "--revs", "-q", "--thin"];
    let (_, thin) = git(&path, &thin, b"main\n^main~1\n");
    assert!(take(&world.repository, &thin, &Limits::default()).is_none());
    assert!(take(&World::new().repository, &whole, &Limits::default()).is_some());
}

#[test]
fn of_damaged_packs_only_those_are_taken_that_git_takes() {
    let (mut taken, mut refused) = (0, 0);
    let home = World::new();
    let (_, pack) = history(home.home.path(), 12);
    for (round, at) in (12..pack.len() - 20).step_by(37).enumerate() {
        let mut damaged = pack.clone();
        damaged[at] ^= 1 << (round % 8);
        let end = damaged.len() - 20;
        let sum = crate::index::sum(&damaged[..end]).expect("no forgery");
        damaged[end..].copy_from_slice(sum.as_slice());
        let world = World::new();
        match take(&world.repository, &damaged, &Limits::default()) {
            None => refused += 1,
            Some((_, index)) => {
                taken += 1;
                let fresh = World::new();
                assert_eq!(Some(index), taken_by_git(&fresh, &damaged), "byte {at}");
            }
        }
    }
    assert!(refused > 50, "{taken} taken, {refused} refused");
    let world = World::new();
    for cut in [0, 1, 19, 20, 21, 100, pack.len() - 13] {
        assert!(
            take(
                &world.repository,
                &pack[..pack.len() - cut],
                &Limits::default()
            )
            .is_none()
                || cut == 0
        );
    }
}

#[test]
fn what_is_not_plainly_good_is_shown_to_git() {
    let modules = |text: &[u8]| names("100644", b".gitmodules", text);
    let person = "A <a@example> 1700000000 +0100";
    let empty = oid(Kind::Tree, b"");
    let with_empty = |kind, bytes: Vec<u8>| vec![(Kind::Tree, Vec::new()), (kind, bytes)];
    let tag = |kind: &str| {
        format!("object {empty}\ntype {kind}\ntag name\ntagger {person}\n\nwords\n").into_bytes()
    };
    let good: Vec<Vec<(Kind, Vec<u8>)>> = vec![
        names("100644", b"plain", b"text"),
        names("100644", b"odd~name", b"text"),
        names("040000", b"old", b"text")
            .into_iter()
            .take(0)
            .chain(with_empty(Kind::Tree, tree(&[("040000", b"old", empty)])))
            .collect(),
        modules(b"[submodule \"sub\"]\n\tpath = sub\n\turl = ssh://example.org/sub.git\n"),
        with_empty(Kind::Tag, tag("tree")),
        with_empty(
            Kind::Commit,
            format!("tree {empty}\nauthor A<a@example> 17 +051800\ncommitter {person}\n\nwords\n")
                .into_bytes(),
        ),
        with_empty(Kind::Commit, commit(empty, &[])),
    ];
    for objects in good {
        let world = World::new();
        let pack = pack(&objects);
        let (_, index) = take(&world.repository, &pack, &Limits::default()).expect("it is good");
        assert_eq!(
            Some(index),
            taken_by_git(&World::new(), &pack),
            "{objects:?}"
        );
    }
    let blob = oid(Kind::Blob, b"text");
    let bad: Vec<Vec<(Kind, Vec<u8>)>> = vec![
        names("100644", b".git", b"text"),
        names("100644", b".GIT", b"text"),
        names("100644", b"..", b"text"),
        names("100644", b"a/b", b"text"),
        names("120000", b".gitmodules", b"text"),
        modules(b"[submodule \"sub\"]\n\tpath = sub\n\turl = -u./sub\n"),
        modules(b"[submodule \"../sub\"]\n\tpath = sub\n\turl = https://example.org/sub\n"),
        // Twice the same name, as a file and a folder, and in the wrong order.
        vec![
            (Kind::Blob, b"text".to_vec()),
            (Kind::Tree, Vec::new()),
            (
                Kind::Tree,
                tree(&[
                    ("100644", b"a", blob),
                    ("100644", b"a.b", blob),
                    ("40000", b"a", empty),
                ]),
            ),
        ],
        vec![
            (Kind::Blob, b"text".to_vec()),
            (
                Kind::Tree,
                tree(&[("100644", b"b", blob), ("100644", b"a", blob)]),
            ),
        ],
        // What it names is not there, or of another kind.
        vec![(Kind::Tree, tree(&[("100644", b"a", blob)]))],
        vec![
            (Kind::Blob, b"text".to_vec()),
            (Kind::Tree, tree(&[("40000", b"a", blob)])),
        ],
        vec![(Kind::Commit, commit(empty, &[]))],
        with_empty(Kind::Commit, commit(empty, &[blob])),
        with_empty(
            Kind::Commit,
            format!("tree {empty}\n\nwords\n").into_bytes(),
        ),
        with_empty(Kind::Tag, tag("commit")),
        with_empty(Kind::Tag, tag("person")),
        with_empty(Kind::Tree, b"100644".to_vec()),
        // The same object twice.
        vec![
            (Kind::Blob, b"text".to_vec()),
            (Kind::Blob, b"text".to_vec()),
        ],
    ];
    for objects in bad {
        let world = World::new();
        let taken = take(&world.repository, &pack(&objects), &Limits::default());
        assert!(taken.is_none(), "{objects:?}");
    }
}

#[test]
fn what_costs_too_much_is_left_to_git() {
    let world = World::new();
    let (_, whole) = history(world.home.path(), 60);
    let takes = |limits: &Limits| take(&world.repository, &whole, limits).is_some();
    let usual = Limits::default();
    assert!(!takes(&Limits {
        unpacked_bytes: 10_000,
        ..usual
    }));
    assert!(!takes(&Limits {
        unpacked_bytes: 100_000,
        ..usual
    }));
    assert!(!takes(&Limits {
        delta_depth: 3,
        ..usual
    }));
    assert!(!takes(&Limits {
        memory_bytes: 64 << 20,
        ..usual
    }));
    let bytes = usize::try_from(OBJECT_MAX).expect("small") + 1;
    let large = [(Kind::Tree, vec![0; bytes])];
    assert!(take(&world.repository, &pack(&large), &usual).is_none());
    // A large file is taken in pieces.
    let large = [(Kind::Blob, vec![0; bytes])];
    assert!(take(&world.repository, &pack(&large), &usual).is_some());
    let turns: Vec<Turn> = std::iter::from_fn(Turn::take).collect();
    assert_eq!(turns.len(), AT_A_TIME_MAX);
    assert!(!takes(&usual));
    drop(turns);
    assert!(takes(&usual));
}

/// A pack of a file and a delta to it; `packed` is how the delta stands there.
fn with_delta(base: &[u8], delta: &[u8], packed: &[u8]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    let begin = pack.len();
    entry_header(Kind::Blob, base.len(), &mut pack);
    deflate(base, &mut pack).expect("it deflates");
    let distance = pack.len() - begin;
    assert!(delta.len() < 16 && distance < 128, "short headers");
    pack.push(0x60 | u8::try_from(delta.len()).expect("short"));
    pack.push(u8::try_from(distance).expect("short"));
    pack.extend_from_slice(packed);
    let sum = crate::index::sum(&pack).expect("no forgery");
    pack.extend_from_slice(sum.as_slice());
    pack
}

#[test]
fn a_delta_that_git_does_not_apply_is_taken_nowhere() {
    let base = b"hello base";
    for delta in [&[10, 0][..], &[0x8a, 0, 0], &[10, 0x80, 0]] {
        let mut packed = Vec::new();
        deflate(delta, &mut packed).expect("it deflates");
        let pack = with_delta(base, delta, &packed);
        let world = World::new();
        assert!(taken_by_git(&world, &pack).is_none(), "{delta:?}");
        assert!(
            take(&world.repository, &pack, &Limits::default()).is_none(),
            "{delta:?}"
        );
        let mut quarantine = world.repository.quarantine();
        assert!(
            quarantine.ingest(&pack[..], &Limits::default()).is_err(),
            "{delta:?}"
        );
    }
}

#[test]
fn a_delta_whose_sizes_come_late_is_taken_everywhere() {
    let (base, delta) = (b"hello base", [10, 3, 3, b'a', b'b', b'c']);
    // Empty blocks, and then one that holds the delta.
    let mut packed = vec![0x78, 0x01];
    packed.extend([0, 0, 0, 0xff, 0xff].repeat(400));
    packed.extend([1, 6, 0, 0xf9, 0xff]);
    packed.extend(delta);
    let (a, b) = delta.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    packed.extend(((b << 16) | a).to_be_bytes());
    let pack = with_delta(base, &delta, &packed);
    let world = World::new();
    let theirs = taken_by_git(&world, &pack).expect("git takes it");
    let (_, index) = take(&world.repository, &pack, &Limits::default()).expect("it is good");
    assert_eq!(index, theirs);
    // A small one in the process, and by git alone.
    let world = World::new();
    for memory_bytes in [Limits::default().memory_bytes, MEMORY_MAX - 1] {
        let limits = Limits {
            memory_bytes,
            ..Limits::default()
        };
        let mut quarantine = world.repository.quarantine();
        quarantine.ingest(&pack[..], &limits).expect("it is good");
        quarantine
            .ingest_loose_ends(&pack[..], &limits)
            .expect("git takes it");
    }
}

#[test]
fn names_of_what_is_nowhere_are_bounded() {
    let world = World::new();
    let tree = |number: u32| {
        let mut bytes = Vec::new();
        for entry in 0..30_000_u32 {
            bytes.extend_from_slice(format!("100644 {entry:05}\0").as_bytes());
            bytes.extend_from_slice(&[7; 12]);
            bytes.extend_from_slice(&(u64::from(number) << 32 | u64::from(entry)).to_be_bytes());
        }
        (Kind::Tree, bytes)
    };
    let trees: Vec<_> = (0..8).map(tree).collect();
    let pack = pack(&trees);
    let objects = u32::try_from(trees.len()).expect("few");
    let incoming = Incoming::new();
    let mut spool = Spooling::begin(world.repository.spool_path(), incoming.clone(), 0);
    spool.write(&pack).expect("room");
    spool.complete();
    // As if the pack had so many objects, and so much memory might be taken.
    let is_seen = |counted, memory_bytes| {
        let limits = Limits {
            memory_bytes,
            ..Limits::default()
        };
        let bounds = Bounds::new(&limits, counted, Arc::default()).expect("room for the objects");
        entries::see(incoming.follow(), objects, &bounds).is_some()
    };
    let usual = Limits::default().memory_bytes;
    assert!(!is_seen(objects, usual));
    assert!(is_seen(20_000, usual));
    // Each of 240,000 names takes memory.
    assert!(!is_seen(20_000, MEMORY_MAX - (170 << 20)));
    assert!(is_seen(20_000, MEMORY_MAX));
}

#[test]
fn what_has_no_room_in_the_process_is_left_to_git() {
    let world = World::new();
    let (_, whole) = history(world.home.path(), 60);
    let limits = Limits {
        memory_bytes: MEMORY_MAX,
        ..Limits::default()
    };
    let begins = |objects| {
        let incoming = Incoming::new();
        let bulk = Bulk::begin(incoming.follow(), objects, &limits, Arc::default());
        incoming.break_off();
        bulk.is_some()
    };
    assert!(begins(100_000));
    assert!(!begins(OBJECTS_MAX), "not so many at once");
    // Another pack takes most of it.
    let other = Bounds::new(&limits, 100_000, Arc::default()).expect("room");
    assert!(take(&world.repository, &whole, &limits).is_none());
    drop(other);
    assert!(take(&world.repository, &whole, &limits).is_some());
}

#[test]
fn what_takes_too_long_is_left_to_git() {
    let limits = Limits {
        cpu_seconds: 0,
        ..Limits::default()
    };
    let world = World::new();
    let large = [(Kind::Blob, vec![0; 64 << 20])];
    assert!(take(&world.repository, &pack(&large), &limits).is_none());
    // What is little is not timed here, and what is shown to git gets what is left.
    let usual = Limits::default();
    let doubtful = pack(&names("100644", b"odd~name", b"text"));
    let all = Duration::from_secs(usual.cpu_for(0));
    assert!(take_after(&world.repository, &doubtful, &usual, all).is_none());
    assert!(take_after(&world.repository, &doubtful, &usual, all / 2).is_some());
}

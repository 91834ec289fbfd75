//! What one side lacks of the other, put together without git, against what git says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use gitback_pack::fetch::{PackReader, request};
use gitback_pack::{Oid, Served};

use crate::support::{Clone, World, git, git_command, parse};

/// A small generator: the point is many shapes, not randomness.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
    }
}

/// Runs git with some input; whether it succeeded, and what it printed.
fn run(directory: &Path, arguments: &[&str], input: &[u8]) -> (bool, String) {
    let mut child = git_command(directory)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end without reading.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("git ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.success(), text)
}

/// What some revisions lead to.
fn closure(directory: &Path, revisions: &[Oid]) -> BTreeSet<Oid> {
    let list: String = revisions.iter().map(|oid| format!("{oid}\n")).collect();
    let (known, text) = run(
        directory,
        &["rev-list", "--objects", "--stdin"],
        list.as_bytes(),
    );
    assert!(known, "{list}");
    text.lines().map(|line| parse(&line[..40])).collect()
}

/// How a request is answered, and the pack.
fn serve(world: &World, wants: &[Oid], haves: &[Oid]) -> (Served, Vec<u8>) {
    let mut answer = Vec::new();
    let served = world
        .repository
        .upload_pack_request(&request(wants, haves)[..], &mut answer)
        .expect("it is served");
    let mut pack = Vec::new();
    PackReader::new(&answer[..])
        .read_to_end(&mut pack)
        .expect("a whole answer");
    (served, pack)
}

/// A repository with what `haves` lead to and nothing else.
fn asker(world: &World, haves: &[Oid]) -> tempfile::TempDir {
    let home = tempfile::tempdir_in(world.home.path()).expect("a directory");
    git(home.path(), &["init", "-q", "--bare", "."]);
    if !haves.is_empty() {
        let list: String = haves.iter().map(|oid| format!("{oid}\n")).collect();
        let mut command = git_command(world.path());
        command.args(["pack-objects", "--revs", "-q"]);
        let prefix = home.path().join("objects/pack/pack");
        let mut child = command
            .arg(prefix)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(list.as_bytes()).expect("git reads");
        drop(stdin);
        assert!(child.wait().expect("git ends").success());
    }
    home
}

/// Has the request answered, and checks that who asks has everything then. How many objects came, how many had to, and
/// the size of the pack.
fn check(world: &World, wants: &[Oid], haves: &[Oid]) -> (usize, usize, usize) {
    let (served, pack) = serve(world, wants, haves);
    let Served::Here { objects, bytes } = served else {
        panic!("{wants:?} without {haves:?} is little: {served:?}");
    };
    assert_eq!(bytes, pack.len());
    let count = u32::from_be_bytes(
        *pack
            .get(8..)
            .and_then(<[u8]>::first_chunk)
            .expect("a header"),
    );
    assert_eq!(usize::try_from(count).expect("few"), objects);
    let asker = asker(world, haves);
    if objects > 0 {
        let taken = ["index-pack", "--stdin", "--fix-thin", "--strict"];
        let (taken, _) = run(asker.path(), &taken, &pack);
        assert!(taken, "{wants:?} without {haves:?}");
    }
    // Git stops at whatever is missing.
    let all = closure(asker.path(), wants);
    assert_eq!(all, closure(world.path(), wants));
    let old = closure(world.path(), haves);
    (objects, all.difference(&old).count(), bytes)
}

/// A history of any shape, each commit with a branch `c<number>`, brought into a repository in some packs.
fn history(world: &World, clone: &Clone, commits: usize, dice: &mut Dice) -> Vec<Oid> {
    let mut stream = String::new();
    let mut trees: Vec<BTreeMap<String, usize>> = Vec::new();
    for number in 1..=commits {
        let parents: Vec<usize> = match (number, dice.below(5)) {
            (1, _) => Vec::new(),
            (_, 0) => {
                let (one, other) = (1 + dice.below(number - 1), 1 + dice.below(number - 1));
                if one == other {
                    vec![one]
                } else {
                    vec![one, other]
                }
            }
            (_, 1) => vec![1 + dice.below(number - 1)],
            _ => vec![number - 1],
        };
        let mut tree = parents
            .first()
            .and_then(|parent| trees.get(parent - 1).cloned())
            .unwrap_or_default();
        // Dates lie now and then.
        let date = match dice.below(4) {
            0 => 1_700_000_000 + dice.below(1000),
            _ => 1_700_000_000 + number * 10,
        };
        let message = format!("commit {number}\n");
        write!(
            stream,
            "commit refs/heads/c{number}\nmark :{number}\ncommitter A <a@example.org> {date} +0000\ndata {}\n{message}",
            message.len()
        )
        .expect("a string");
        for (at, parent) in parents.iter().enumerate() {
            let word = if at == 0 { "from" } else { "merge" };
            writeln!(stream, "{word} :{parent}").expect("a string");
        }
        for _ in 0..=dice.below(3) {
            let path = format!("d{}/e{}/f{}", dice.below(3), dice.below(2), dice.below(4));
            let names: Vec<String> = tree.keys().cloned().collect();
            match dice.below(6) {
                0 if !names.is_empty() => {
                    let gone = names.get(dice.below(names.len())).expect("below");
                    writeln!(stream, "D {gone}").expect("a string");
                    tree.remove(gone);
                }
                1 if !names.is_empty() && !tree.contains_key(&path) => {
                    let old = names.get(dice.below(names.len())).expect("below");
                    writeln!(stream, "R {old} {path}").expect("a string");
                    let version = tree.remove(old).expect("it is there");
                    tree.insert(path, version);
                }
                2 => {
                    let id = format!("{:040x}", 1 + dice.below(1000));
                    writeln!(stream, "M 160000 {id} sub{}", dice.below(2)).expect("a string");
                }
                _ => {
                    let version = dice.below(20);
                    let lines = (0..60).map(|line| {
                        let version = if line == version { number } else { version / 5 };
                        format!("line {line} as of {version}\n")
                    });
                    let text: String = lines.collect();
                    write!(
                        stream,
                        "M 100644 inline {path}\ndata {}\n{text}",
                        text.len()
                    )
                    .expect("a string");
                    tree.insert(path, version);
                }
            }
        }
        stream.push('\n');
        trees.push(tree);
    }
    let (done, _) = run(&clone.path, &["fast-import", "--quiet"], stream.as_bytes());
    assert!(done, "{stream}");
    let mut tips: Vec<Oid> = Vec::new();
    for number in 1..=commits {
        let tip = clone.oid(&format!("c{number}"));
        let haves: Vec<String> = tips.iter().map(Oid::to_string).collect();
        let haves: Vec<&str> = haves.iter().map(String::as_str).collect();
        let pack = clone.pack(&[&tip.to_string()], &haves);
        world.store(&pack, &[tip]).expect("a good pack");
        world.set(&format!("refs/heads/c{number}"), tip);
        tips.push(tip);
        if number == commits / 2 {
            world.repository.repack_small().expect("no fault");
        }
    }
    tips
}

#[test]
fn any_history_arrives_whole_and_with_little_more_than_what_is_lacking() {
    let mut dice = Dice(11);
    let (mut sent, mut needed) = (0, 0);
    for _ in 0..3 {
        let world = World::new();
        let clone = world.clone_with_commit("clone");
        let tips = history(&world, &clone, 24, &mut dice);
        for _ in 0..14 {
            let mut some = |most: usize| -> Vec<Oid> {
                (0..dice.below(most + 1))
                    .map(|_| tips[dice.below(tips.len())])
                    .collect()
            };
            let haves = some(3);
            let mut wants = some(2);
            wants.push(tips[dice.below(tips.len())]);
            let (objects, lacking, _) = check(&world, &wants, &haves);
            assert!(objects >= lacking);
            (sent, needed) = (sent + objects, needed + lacking);
        }
    }
    assert!(needed > 500, "{needed}");
    assert!(sent <= needed + needed / 5, "{sent} for {needed}");
}

#[test]
fn many_small_changes_cost_what_they_are() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    for number in 0..100 {
        std::fs::write(clone.path.join(format!("file{number}")), "x").expect("a file");
    }
    clone.git(&["add", "."]);
    let long: String = (0..2000).map(|n| format!("line {n} of many\n")).collect();
    let first = clone.commit("long", &long);
    world.seed(&clone);
    let mut last = first;
    for number in 0..12 {
        let from = last.to_string();
        last = clone.commit("long", &long.replace("line 7 ", &format!("line {number} ")));
        world
            .store(&clone.pack(&["HEAD"], &[&from]), &[last])
            .expect("a good pack");
    }
    let (objects, lacking, bytes) = check(&world, &[last], &[first]);
    // One of the changes is none: its tree and its file are those of the beginning.
    assert_eq!((objects, lacking), (34, 34));
    assert!(bytes < 12_000, "deltas stay deltas: {bytes}");
    let repacked = world.repository.repack_small().expect("no fault");
    assert!(repacked.is_some_and(|repacked| repacked.packs >= 8));
    let (objects, _, after) = check(&world, &[last], &[first]);
    assert_eq!(objects, 34);
    assert!(after < 12_000, "{after}");
    // Whoever has nothing of it gets no delta to what is not there.
    check(&world, &[last], &[]);
    let spool = world.repository.build_pack(&[last], &[first], false);
    let spool = spool.expect("it can be made").expect("34 objects");
    let pack = std::fs::read(spool.path()).expect("readable");
    let other = asker(&world, &[]);
    let (alone, _) = run(other.path(), &["index-pack", "--stdin"], &pack);
    assert!(alone, "it stands by itself");
    let nothing = world.repository.build_pack(&[first], &[last], true);
    assert!(nothing.expect("it can be made").is_none());
}

#[test]
fn tags_come_along_and_those_that_are_there_do_not() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let first = world.seed(&clone);
    clone.git(&["tag", "-a", "-m", "one", "v1"]);
    clone.git(&["tag", "-a", "-m", "a tag of a tag", "v1-signed", "v1"]);
    let (inner, outer) = (clone.oid("v1"), clone.oid("v1-signed"));
    let second = clone.commit("second", "2\n");
    clone.git(&["tag", "-a", "-m", "two", "v2"]);
    let newest = clone.oid("v2");
    let pack = clone.pack(&["v1-signed", "v2"], &[&first.to_string()]);
    world.store(&pack, &[outer, newest]).expect("a good pack");
    assert_eq!(check(&world, &[outer, newest], &[first]).0, 6);
    assert_eq!(check(&world, &[newest], &[outer]).0, 4);
    assert_eq!(check(&world, &[outer], &[inner]).0, 1);
    assert_eq!(check(&world, &[second], &[newest]).0, 0);
    assert_eq!(check(&world, &[newest], &[second]).0, 1);
}

#[test]
fn what_was_moved_is_not_sent_again() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    for number in 0..30 {
        let path = clone.path.join("old/deep");
        std::fs::create_dir_all(&path).expect("a directory");
        let text = format!("{number} is what stands here\n");
        std::fs::write(path.join(format!("file{number}")), text).expect("a file");
    }
    clone.git(&["add", "."]);
    let first = clone.commit("file", "second\n");
    world.seed(&clone);
    clone.git(&["mv", "old", "new"]);
    clone.git(&["commit", "-q", "-m", "move"]);
    let second = clone.oid("HEAD");
    let pack = clone.pack(&["HEAD"], &[&first.to_string()]);
    world.store(&pack, &[second]).expect("a good pack");
    let (objects, _, _) = check(&world, &[second], &[first]);
    assert_eq!(objects, 2, "the commit and its tree");
}

#[test]
fn what_is_large_or_unusual_is_left_to_git() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let first = world.seed(&clone);
    let mut dice = Dice(3);
    let noise: String = (0..400_000)
        .map(|_| format!("{:08x}", dice.below(1 << 31)))
        .collect();
    let large = clone.commit("large", &noise);
    let pack = clone.pack(&["HEAD"], &[&first.to_string()]);
    world.store(&pack, &[large]).expect("a good pack");
    assert_eq!(serve(&world, &[large], &[first]).0, Served::ByGit);
    // A tree is nothing that anybody usually wants.
    let tree = clone.oid("main~1^{tree}");
    assert_eq!(serve(&world, &[tree], &[]).0, Served::ByGit);
    let fetch_alone = gitback_pack::fetch::request_commits(&[first], &[]);
    let mut answer = Vec::new();
    let served = world
        .repository
        .upload_pack_request(&fetch_alone[..], &mut answer)
        .expect("it is served");
    assert_eq!(served, Served::ByGit);
    assert!(matches!(
        serve(&world, &[first], &[]).0,
        Served::Here { objects: 3, .. }
    ));
}

#[test]
fn who_lies_costs_no_more_than_anybody() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let first = world.seed(&clone);
    let second = clone.commit("second", "2\n");
    let pack = clone.pack(&["HEAD"], &[&first.to_string()]);
    world.store(&pack, &[second]).expect("a good pack");
    let unknown = |number: usize| parse(&format!("{number:040x}"));
    let mut haves: Vec<Oid> = (1..1000).map(unknown).collect();
    haves.push(first);
    let (served, _) = serve(&world, &[second], &haves);
    assert!(matches!(served, Served::Here { objects: 3, .. }));
    // More than a thousand are not looked at here.
    haves.extend((1000..3000).map(unknown));
    let (served, pack) = serve(&world, &[second], &haves);
    assert_eq!(served, Served::ByGit);
    assert_eq!(pack[11], 3);
    // Nobody walks a long history in vain.
    let mut stream = String::new();
    for number in 1..5000 {
        let date = 1_600_000_000 + number;
        write!(
            stream,
            "commit refs/heads/long\ncommitter A <a@example.org> {date} +0000\ndata 2\nc\n\n"
        )
        .expect("a string");
    }
    let (done, _) = run(&clone.path, &["fast-import", "--quiet"], stream.as_bytes());
    assert!(done);
    let long = clone.oid("long");
    world
        .store(&clone.pack(&["long"], &[]), &[long])
        .expect("a good pack");
    assert_eq!(serve(&world, &[long], &[first]).0, Served::ByGit);
    let near = clone.oid("long~20");
    assert!(matches!(
        serve(&world, &[long], &[near]).0,
        Served::Here { objects: 20, .. }
    ));
    // What is said to be there and is newer than everything does not keep anything back.
    assert!(matches!(
        serve(&world, &[second], &[first, unknown(7)]).0,
        Served::Here { objects: 3, .. }
    ));
}

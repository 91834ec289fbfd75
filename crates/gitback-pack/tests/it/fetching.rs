//! Serving fetches, and fetching from another envoy.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use gitback_pack::fetch::{FetchError, PackReader, request, request_commits};
use gitback_pack::{Fault, HangUp, Limits, Oid, Quarantine, Reject};

use crate::support::{World, git, parse, stderr};

/// Brings what `wants` lead to from one repository to another, as two envoys do.
fn fetch(from: &World, to: &World, wants: &[Oid], haves: &[Oid]) -> (u32, u64) {
    let mut answer = Vec::new();
    from.repository
        .upload_pack_request(&request(wants, haves)[..], &mut answer)
        .expect("it is served");
    let mut quarantine = to.repository.quarantine();
    let ingested = quarantine
        .ingest(PackReader::new(&answer[..]), &Limits::default())
        .expect("a good pack");
    quarantine.check_connected(wants).expect("all is there");
    quarantine.migrate().expect("it moves");
    (ingested.objects, ingested.pack.bytes())
}

#[test]
fn brings_history_from_envoy_to_envoy() {
    let (a, b) = (World::new(), World::new());
    let clone = a.clone_with_commit("clone");
    let text: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    clone.commit("long", &text);
    let first = a.seed(&clone);
    assert_eq!(fetch(&a, &b, &[first], &[]).0, 6);
    b.set("refs/heads/main", first);

    let second = clone.commit("long", &text.replace("line 7\n", "line seven\n"));
    a.store(&clone.pack(&["HEAD"], &["HEAD~1"]), &[second])
        .expect("a good pack");
    a.set("refs/heads/main", second);
    // What b has and a does not know of does no harm.
    let unknown = parse(&"b".repeat(40));
    let (objects, bytes) = fetch(&a, &b, &[second], &[first, unknown]);
    assert_eq!(objects, 3);
    assert!(bytes < 1000, "a thin pack: {bytes}");
    b.set("refs/heads/main", second);
    git(b.path(), &["fsck", "--strict"]);
    assert_eq!(fetch(&a, &b, &[second], &[second]).0, 0);
}

#[test]
fn serves_objects_that_no_shown_ref_leads_to() {
    let (a, b) = (World::new(), World::new());
    let clone = a.clone_with_commit("clone");
    let first = clone.oid("HEAD");
    let second = clone.commit("second", "2\n");
    a.store(&clone.pack(&["HEAD"], &[]), &[second])
        .expect("a good pack");
    a.set("refs/heads/main", first);
    a.set("refs/gitback/kept", second);
    fetch(&a, &b, &[second], &[]);
    assert!(b.repository.complete(&[second]).expect("git can tell"));
}

#[test]
fn says_why_there_is_no_pack() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let head = world.seed(&clone);
    let absent = parse(&"a".repeat(40));
    let mut answer = Vec::new();
    let served = world
        .repository
        .upload_pack_request(&request(&[absent], &[])[..], &mut answer);
    assert!(matches!(served, Err(Fault::Git { .. })), "{served:?}");
    let error = PackReader::new(&answer[..])
        .read_to_end(&mut Vec::new())
        .expect_err("a refusal");
    let refusal = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<FetchError>());
    assert!(
        matches!(refusal, Some(FetchError::Refused { message }) if message.contains("not our ref")),
        "{error}"
    );

    let mut answer = Vec::new();
    world
        .repository
        .upload_pack_request(&request(&[head], &[])[..], &mut answer)
        .expect("it is served");
    for end in (0..answer.len()).step_by(5) {
        let cut = PackReader::new(&answer[..end]).read_to_end(&mut Vec::new());
        assert!(cut.is_err(), "cut at {end}");
    }
    let band = b"000dpackfile\n000b\x03broken0000".as_slice();
    let error = PackReader::new(band)
        .read_to_end(&mut Vec::new())
        .expect_err("band 3");
    assert_eq!(error.to_string(), "broken");
}

#[test]
fn clones_with_each_protocol_and_partially() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let head = world.seed(&clone);
    world.set("refs/gitback/kept", head);
    let served = world.path().to_str().expect("UTF-8");
    for (version, name) in [(0, "v0"), (1, "v1"), (2, "v2")] {
        let protocol = format!("version={version}");
        let (output, result) = world.converse(
            world.home.path(),
            "clone",
            &["--no-local", "--quiet", served, name],
            |input, output| {
                // The test's git asks for protocol 2 unless told otherwise; the server's answer decides.
                world.repository.upload_pack(input, output, Some(&protocol))
            },
        );
        assert!(output.status.success(), "{version}: {}", stderr(&output));
        result.expect("it is served");
        let copy = world.home.path().join(name);
        assert_eq!(git(&copy, &["rev-parse", "HEAD"]), head.to_string());
        assert!(!git(&copy, &["for-each-ref"]).contains("gitback"));
    }
    let arguments = [
        "--no-local",
        "--quiet",
        "--no-checkout",
        "--depth=1",
        "--filter=blob:none",
        served,
        "partial",
    ];
    let (output, result) =
        world.converse(world.home.path(), "clone", &arguments, |input, output| {
            world
                .repository
                .upload_pack(input, output, Some("version=2"))
        });
    assert!(output.status.success(), "{}", stderr(&output));
    result.expect("it is served");
    let objects = git(
        &world.home.path().join("partial"),
        &["rev-list", "--objects", "--missing=print", "HEAD"],
    );
    assert!(
        objects.contains(&format!("?{}", clone.oid("HEAD:file"))),
        "{objects}"
    );
}

#[test]
fn ends_when_either_side_hangs_up() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    world.seed(&clone);
    let serve = |stream: UnixStream| {
        let output = HangUp::new(stream.try_clone().expect("a descriptor"));
        world.repository.upload_pack(stream, output, None)
    };
    // The client is gone before it is greeted.
    let (here, there) = UnixStream::pair().expect("a pair");
    drop(there);
    assert!(serve(here).is_err());

    // The client talks nonsense and then waits without closing.
    let (here, mut there) = UnixStream::pair().expect("a pair");
    there.write_all(b"0009hello").expect("it is read");
    assert!(serve(here).is_err());
    let mut greeting = Vec::new();
    there
        .read_to_end(&mut greeting)
        .expect("the server hangs up");
    assert!(greeting.ends_with(b"0000") || greeting.windows(4).any(|four| four == b"ERR "));

    // The client only looks at the refs.
    let (here, mut there) = UnixStream::pair().expect("a pair");
    there.write_all(b"0000").expect("it is read");
    serve(here).expect("nothing is wrong");
}

#[test]
fn makes_packs_of_what_is_lacking() {
    let world = World::new();
    let clone = world.clone_with_commit("clone");
    let text: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    let first = clone.commit("long", &text);
    world.seed(&clone);
    let second = clone.commit("long", &text.replace("line 7\n", "line seven\n"));
    let pushed = clone.pack(&["HEAD"], &[&first.to_string()]);
    world.store(&pushed, &[second]).expect("a good pack");
    let unknown = parse(&"b".repeat(40));
    let build = |haves: &[Oid], thin| {
        world
            .repository
            .build_pack(&[second], haves, thin)
            .expect("git packs")
    };
    let thin = build(&[first, unknown], true).expect("three objects");
    let thick = build(&[first], false).expect("three objects");
    assert!(thin.bytes() < thick.bytes());
    assert!(build(&[second], true).is_none());
    assert!(matches!(
        world.repository.build_pack(&[unknown], &[], false),
        Err(Fault::NoObject { .. })
    ));

    let other = World::new();
    let all = build(&[], false).expect("everything");
    let pack = std::fs::read(all.path()).expect("readable");
    other.store(&pack, &[second]).expect("a good pack");
    assert_eq!(all.blake3(), *blake3::hash(&pack).as_bytes());
}

/// Brings the commits of `wants` alone into a quarantine of another repository.
fn fetch_commits(from: &World, to: &World, wants: &[Oid], haves: &[Oid]) -> (Quarantine, u64) {
    let mut answer = Vec::new();
    from.repository
        .upload_pack_request(&request_commits(wants, haves)[..], &mut answer)
        .expect("it is served");
    let mut quarantine = to.repository.quarantine();
    let bytes = quarantine
        .ingest_commits(PackReader::new(&answer[..]), &Limits::default())
        .expect("a good pack");
    (quarantine, bytes)
}

#[test]
fn lists_commits_each_after_its_parents_without_their_trees() {
    let (a, b) = (World::new(), World::new());
    let clone = a.clone_with_commit("clone");
    let first = a.seed(&clone);
    fetch(&a, &b, &[first], &[]);
    b.set("refs/heads/main", first);
    let noise: String = (0..20_000).map(|n| format!("{:x}", n * n)).collect();
    let second = clone.commit("large", &noise);
    clone.git(&["checkout", "-q", "-b", "side", &first.to_string()]);
    let third = clone.commit("side", "3\n");
    clone.git(&["merge", "-q", "--no-edit", &second.to_string()]);
    let merge = clone.oid("HEAD");
    clone.git(&["tag", "-a", "-m", "a tag", "v1"]);
    let tag = clone.oid("v1");
    a.store(&clone.pack(&["v1"], &["main~1"]), &[tag])
        .expect("a good pack");

    let (quarantine, bytes) = fetch_commits(&a, &b, &[tag], &[first]);
    assert!(bytes < 2000, "no trees and no blobs: {bytes}");
    let mut commits = quarantine
        .commits(&[tag], &Limits::default())
        .expect("git can list");
    assert_eq!(commits.count(), 3);
    let mut listed = Vec::new();
    while let Some(commit) = commits.next_commit().expect("readable") {
        listed.push(commit);
    }
    let ids: Vec<_> = listed.iter().map(|commit| commit.oid).collect();
    assert_eq!(ids.last(), Some(&merge));
    assert!(ids.contains(&second) && ids.contains(&third), "{ids:?}");
    assert_eq!(listed[2].parents, [third, second]);
    assert_eq!(listed[0].parents, [first], "also those that are here");
    let few = Limits {
        objects: 2,
        ..Limits::default()
    };
    let reject = quarantine.commits(&[tag], &few).expect_err("too many");
    assert!(matches!(reject, Reject::TooMany { .. }), "{reject:?}");
    let migrated = quarantine.migrate();
    assert!(matches!(migrated, Err(Fault::NotWhole)), "{migrated:?}");
    assert!(!b.repository.has(&merge).expect("it can be looked for"));
}

#[test]
fn does_not_list_past_a_commit_that_is_missing() {
    let (a, b) = (World::new(), World::new());
    let clone = a.clone_with_commit("clone");
    let first = a.seed(&clone);
    let second = clone.commit("second", "2\n");
    a.store(&clone.pack(&["HEAD"], &["HEAD~1"]), &[second])
        .expect("a good pack");
    // The peer takes our word for having the first one.
    let (quarantine, _) = fetch_commits(&a, &b, &[second], &[first]);
    let listed = quarantine.commits(&[second], &Limits::default());
    assert!(
        matches!(listed, Err(Reject::MissingObject { .. })),
        "{listed:?}"
    );
}

//! Bringing in what is larger than one catch-up may move, also over a cable that is cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gitback_identity::SecretKey;

use crate::holder::{Asked, Cable, Held, Holder, Shape, serve};
use crate::world::{World, git};

const KIB: u64 = 1024;

/// An envoy that has only this peer, and asks it often.
fn world(holder: &SecretKey, address: &str, most: u64) -> World {
    let more = format!("contact_interval_ms = 50\ncatch_up_max_bytes = {most}\n");
    World::with_peers(&more, &[("venus", holder, address)])
}

/// Waits until the envoy serves all of it, and nothing but it.
fn until_whole(world: &World, held: &Held) {
    let main = world.repository().join("refs/heads/main");
    let head = held.head().to_string();
    let expected = [format!("refs/heads/main {head}")];
    let arrived = || std::fs::read_to_string(&main).is_ok_and(|text| text.trim() == head);
    while !arrived() || world.refs() != expected {
        std::thread::yield_now();
    }
    git(
        &world.repository(),
        &["fsck", "--strict", "--full", "--connectivity-only"],
        None,
    );
}

/// The requests for objects: whether each is for commits alone, and how many bytes it was answered with.
fn uploads(asked: &Asked) -> Vec<(bool, u64, String)> {
    let uploads = asked.uploads.lock().expect("no panic");
    let uploads = uploads.iter();
    uploads
        .map(|(request, bytes)| (request.contains("filter tree:0"), *bytes, request.clone()))
        .collect()
}

#[test]
fn a_project_larger_than_the_cap_comes_in_over_several_rounds() {
    let venus = SecretKey::from_seed(&[9; 32]);
    let shape = Shape {
        commits: 120,
        bytes: 12 << 10,
        large: Some((70, 300 << 10)),
        hints: true,
    };
    let held = Arc::new(Held::new(&venus, &shape));
    let holder = Holder::of(&held);
    let asked = Arc::clone(&holder.asked);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, &venus, holder);
    let world = world(&venus, &address, 256 * KIB);
    until_whole(&world, &held);

    let uploads = uploads(&asked);
    let rounds = uploads.iter().filter(|(commits, ..)| *commits).count();
    assert!(rounds >= 5, "1.8 MB by 256 KiB and a part each: {rounds}");
    assert!(asked.syncs.load(Ordering::SeqCst) >= rounds);
    // Nothing is asked for whole, for the updates say how much that is; only one commit is larger than a round.
    let over = |bytes: &u64| *bytes > 260 * KIB;
    let large = uploads.iter().filter(|(_, bytes, _)| over(bytes)).count();
    assert!(large <= 3, "{large} answers over the cap");
    let sum: u64 = uploads.iter().map(|(_, bytes, _)| bytes).sum();
    assert!(sum < 4_000 * KIB, "little comes twice: {sum}");
}

#[test]
fn a_size_that_was_not_said_is_found_out() {
    let venus = SecretKey::from_seed(&[9; 32]);
    let shape = Shape {
        commits: 60,
        bytes: 12 << 10,
        large: None,
        hints: false,
    };
    let held = Arc::new(Held::new(&venus, &shape));
    let holder = Holder::of(&held);
    let asked = Arc::clone(&holder.asked);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, &venus, holder);
    let world = world(&venus, &address, 256 * KIB);
    until_whole(&world, &held);
    let uploads = uploads(&asked);
    assert!(!uploads[0].0, "first everything is asked for");
    assert!(uploads.iter().any(|(commits, ..)| *commits), "then parts");
}

#[test]
fn what_fits_comes_at_once() {
    let venus = SecretKey::from_seed(&[9; 32]);
    let shape = Shape {
        commits: 12,
        bytes: 1 << 10,
        large: None,
        hints: true,
    };
    let held = Arc::new(Held::new(&venus, &shape));
    let holder = Holder::of(&held);
    let asked = Arc::clone(&holder.asked);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, &venus, holder);
    let world = world(&venus, &address, 256 * KIB);
    until_whole(&world, &held);
    assert_eq!(uploads(&asked).len(), 1);
}

#[test]
fn a_cut_loses_no_more_than_one_part() {
    let venus = SecretKey::from_seed(&[9; 32]);
    let shape = Shape {
        commits: 150,
        bytes: 16 << 10,
        large: None,
        hints: true,
    };
    let held = Arc::new(Held::new(&venus, &shape));
    let holder = Holder::of(&held);
    let asked = Arc::clone(&holder.asked);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, &venus, holder);
    // All of it would fit, and never comes through in one piece: a part is meant to take 512 KiB.
    let cable = Cable::cut_after(&address, 900 * KIB, 4);
    let world = world(&venus, &cable.address.to_string(), 4096 * KIB);
    until_whole(&world, &held);

    assert_eq!(cable.cuts.load(Ordering::SeqCst), 4);
    let uploads = uploads(&asked);
    assert!(!uploads[0].0, "first everything is asked for");
    let resumed = uploads
        .iter()
        .filter(|(commits, _, request)| *commits && request.contains("have "));
    assert!(resumed.count() >= 1, "later rounds build on what is here");
    // 2.6 MB in all; each cut may cost a part twice its size.
    let carried = cable.carried.load(Ordering::SeqCst);
    assert!(carried < 8_000 * KIB, "{carried} bytes");
}

#[test]
fn parts_outlive_a_restart() {
    let venus = SecretKey::from_seed(&[9; 32]);
    let shape = Shape {
        commits: 60,
        bytes: 12 << 10,
        large: None,
        hints: true,
    };
    let held = Arc::new(Held::new(&venus, &shape));
    let holder = Holder::of(&held);
    let asked = Arc::clone(&holder.asked);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, &venus, holder);
    let mut world = world(&venus, &address, 256 * KIB);
    let has_parts = |world: &World| {
        let parts = std::fs::read_dir(world.repository().join("refs/gitback/part"));
        parts.is_ok_and(|mut parts| parts.next().is_some())
    };
    while !has_parts(&world) {
        std::thread::yield_now();
    }
    world.restart(|world| assert!(has_parts(world), "they are on disk"));
    let before = asked.uploads.lock().expect("no panic").len();
    until_whole(&world, &held);
    let after = uploads(&asked);
    let (_, _, request) = &after[before];
    assert!(request.contains("have "), "it goes on: {request}");
}

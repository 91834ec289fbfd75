//! What an envoy does beside pushes.

use std::time::{Duration, Instant};

use gitback_envelope::Verified;
use gitback_peer::PushAnswer;

use crate::world::{World, git, main_at};

/// The longest that it may take until the envoy has looked after a project.
const SOON: Duration = Duration::from_secs(60);

fn indexes(world: &World) -> usize {
    let packs = std::fs::read_dir(world.repository().join("objects/pack")).expect("a folder");
    let names = packs.map(|entry| entry.expect("an entry").file_name());
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("pack-") && name.ends_with(".idx")
        })
        .count()
}

#[test]
fn many_pushes_leave_few_packs() {
    const PUSHES: usize = 20;
    let world = World::new();
    let (oids, packs) = world.history(PUSHES);
    let init = world.init();
    let grant = world.grant(&init, &world.peer);
    let mut before: Option<Verified> = None;
    for (at, (oid, pack)) in oids.iter().zip(&packs).enumerate() {
        let seen: Vec<&Verified> = before.iter().collect();
        let update = main_at(*oid, &seen, Some(pack));
        let at = u64::try_from(at).expect("few");
        let previous = before.as_ref().unwrap_or(&grant);
        let update = world.update(&world.peer, at, &[previous], update);
        let envelopes = [&init, &grant, &update];
        let pushed = world.push(&world.peer, &envelopes, Some(pack));
        assert!(
            matches!(pushed, Ok(PushAnswer::Durable { .. })),
            "{pushed:?}"
        );
        before = Some(update);
    }
    let begun = Instant::now();
    while indexes(&world) > 8 {
        assert!(begun.elapsed() < SOON, "{} packs", indexes(&world));
        std::thread::yield_now();
    }
    // While indexes go, git may have listed one that is gone when it opens it; the daemon's own look-ups wait.
    let fsck = || {
        let fsck = ["fsck", "--full", "--strict"];
        let mut git = std::process::Command::new("git");
        git.arg("--git-dir").arg(world.repository()).args(fsck);
        git.output().expect("git runs").status.success()
    };
    while !fsck() {
        assert!(begun.elapsed() < SOON, "the repository is damaged");
    }
    let head = git(&world.repository(), &["rev-parse", "refs/heads/main"], None);
    let head = String::from_utf8(head).expect("hex");
    assert_eq!(head.trim(), oids[PUSHES - 1].to_string());
    let count = git(&world.repository(), &["rev-list", "--count", "--all"], None);
    assert_eq!(count.trim_ascii(), PUSHES.to_string().as_bytes());
}

#[test]
fn a_ref_moves_as_soon_as_nothing_stands_in_its_way() {
    let world = World::new();
    let (oids, packs) = world.history(1);
    let init = world.init();
    let grant = world.grant(&init, &world.peer);
    let pushed = world.push(&world.peer, &[&init, &grant], None);
    assert!(
        matches!(pushed, Ok(PushAnswer::Durable { .. })),
        "{pushed:?}"
    );
    let main = world.repository().join("refs/heads/main");
    std::fs::create_dir(&main).expect("nothing is there");
    std::fs::write(main.join("left.lock"), b"").expect("written");
    let update = main_at(oids[0], &[], Some(&packs[0]));
    let update = world.update(&world.peer, 0, &[&grant], update);
    let pushed = world.push(&world.peer, &[&update], Some(&packs[0]));
    assert!(
        matches!(pushed, Ok(PushAnswer::Durable { .. })),
        "{pushed:?}"
    );
    assert_eq!(world.refs(), Vec::<String>::new());
    let status = world.status().expect("founded");
    assert_eq!(status.state, "catching up");
    let reason = status.reason.expect("it says why");
    assert!(reason.contains("refs cannot follow"), "{reason}");
    std::fs::remove_dir_all(&main).expect("ours");
    let begun = Instant::now();
    while world.refs().is_empty() {
        assert!(begun.elapsed() < SOON, "it has not moved");
        std::thread::yield_now();
    }
    assert_eq!(world.status().expect("founded").state, "current");
}

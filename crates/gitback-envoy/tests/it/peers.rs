//! What an envoy takes from another one, and what it refuses. A refusal changes nothing.

use gitback_envelope::{Oid, RefName, Scope, Verified};
use gitback_identity::SecretKey;
use gitback_peer::{CallError, PushAnswer, Refusal};

use crate::world::{Pack, World, git, main_at, seal};

fn refusal(answer: Result<PushAnswer, CallError>) -> Refusal {
    match answer {
        Err(CallError::Refused(refusal)) => refusal,
        other => panic!("must be refused: {other:?}"),
    }
}

fn refused(answer: Result<PushAnswer, CallError>) -> String {
    refusal(answer).code
}

fn main_of(world: &World) -> Option<String> {
    let refs = world.status()?.ref_list;
    refs.into_iter()
        .find(|r| r.name == "refs/heads/main")
        .map(|r| r.oid)
}

/// A project with a grant for the peer and one commit on main, all brought by the peer.
fn with_first_commit(world: &World) -> (Verified, Verified, Verified, Vec<Oid>, Vec<Pack>) {
    let (oids, packs) = world.history(3);
    let init = world.init();
    let grant = world.grant(&init, &world.peer);
    let first = world.update(
        &world.peer,
        0,
        &[&grant],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    let answer = world.push(&world.peer, &[&init, &grant, &first], Some(&packs[0]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    assert_eq!(main_of(world), Some(oids[0].to_string()));
    (init, grant, first, oids, packs)
}

#[test]
fn a_push_from_a_peer_makes_the_project_and_moves_its_refs() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let second = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&packs[1])),
    );
    let answer = world.push(&world.peer, &[&second], Some(&packs[1]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    assert_eq!(main_of(&world), Some(oids[1].to_string()));
    let again = world.push(&world.peer, &[&second], Some(&packs[1]));
    assert!(
        matches!(again, Ok(PushAnswer::Durable { .. })),
        "the same push again changes nothing: {again:?}"
    );
}

#[test]
fn what_is_here_already_is_durable_only_if_the_disk_confirms_it() {
    let world = World::new();
    let (init, grant, first, _, packs) = with_first_commit(&world);
    let envelopes = [&init, &grant, &first];
    let answer = world.push(&world.peer, &envelopes, None);
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    // The objects stay, in files of their own, and there is nothing left to sync.
    let directory = world.repository().join("objects/pack");
    std::fs::rename(&directory, world.path().join("aside")).expect("moved");
    git(
        &world.repository(),
        &["unpack-objects", "-q"],
        Some(&packs[0].bytes()),
    );
    let _ = std::fs::remove_dir(&directory);
    assert_eq!(refused(world.push(&world.peer, &envelopes, None)), "fault");
}

#[test]
fn an_envoy_that_is_not_of_the_fleet_is_refused() {
    let world = World::new();
    world.found();
    let stranger = SecretKey::from_seed(&[66; 32]);
    let (oids, packs) = world.history(1);
    let init = world.init();
    let update = world.update(
        &stranger,
        0,
        &[&init],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    assert_eq!(
        refused(world.push(&stranger, &[&update], Some(&packs[0]))),
        "not-of-the-fleet"
    );
    assert_eq!(main_of(&world), None);
    assert_eq!(world.status().expect("founded").envelopes, 1);
}

#[test]
fn an_envoy_of_the_fleet_that_nobody_granted_gets_no_project_of_members_only() {
    let world = World::new();
    let init = world.found();
    let (oids, packs) = world.history(1);
    let update = world.update(
        &world.peer,
        0,
        &[&init],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    assert_eq!(
        refused(world.push(&world.peer, &[&update], Some(&packs[0]))),
        "members-only"
    );
    assert_eq!(world.status().expect("founded").envelopes, 1);
}

#[test]
fn an_update_by_an_envoy_that_its_puddle_never_granted_is_refused() {
    let world = World::new();
    let init = world.found();
    let policy = world.policy(&init, Scope::SwarmWide);
    let answer = world.push(&world.peer, &[&policy], None);
    assert_eq!(refused(answer), "members-only", "a policy is no token");
    world.submit(&[&policy]);
    let (oids, packs) = world.history(1);
    let update = world.update(
        &world.peer,
        0,
        &[&policy],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    for _ in 0..2 {
        let answer = world.push(&world.peer, &[&update], Some(&packs[0]));
        let refusal = refusal(answer);
        assert_eq!(refusal.code, "not-granted");
        assert!(refusal.reason.contains(&update.id().to_string()));
        assert!(refusal.reason.contains("rule 13"), "{}", refusal.reason);
    }
    let status = world.status().expect("founded");
    assert_eq!((status.envelopes, status.void), (2, 0));
    assert_eq!(main_of(&world), None);
    assert_eq!(world.packs(), 0, "what no ref will need is not kept");
}

#[test]
fn the_words_of_a_stranger_are_refused_and_not_kept() {
    let world = World::new();
    let init = world.found();
    let policy = world.policy(&init, Scope::SwarmWide);
    world.submit(&[&policy]);
    let thief = SecretKey::from_seed(&[77; 32]);
    let mut statement = world.grant(&init, &world.peer).statement().clone();
    statement.signer = thief.public();
    statement.puddle = gitback_identity::PuddleKey::new(thief.public());
    let grant = seal(statement, &thief);
    assert_eq!(
        refused(world.push(&world.peer, &[&grant], None)),
        "not-member"
    );
    assert_eq!(world.status().expect("founded").envelopes, 2);
}

#[test]
fn a_forged_signature_is_refused() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let second = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&packs[1])),
    );
    let mut bytes = second.bytes().to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    assert_eq!(
        refused(world.push_raw(&world.peer, vec![bytes], Some(&packs[1]))),
        "bad-signature"
    );
    assert_eq!(main_of(&world), Some(oids[0].to_string()));
}

#[test]
fn an_update_that_lies_about_what_it_contains_is_refused() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let second = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[2], &[&first], Some(&packs[2])),
    );
    let answer = world.push(&world.peer, &[&second], Some(&packs[2]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    // The older commit does not contain the newer one.
    let back = world.update(
        &world.peer,
        2,
        &[&second],
        main_at(oids[1], &[&second], None),
    );
    assert_eq!(
        refused(world.push(&world.peer, &[&back], None)),
        "false-claim"
    );
    assert_eq!(main_of(&world), Some(oids[2].to_string()));
}

#[test]
fn a_damaged_pack_is_refused() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let mut bytes = packs[1].bytes();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    let damaged = Pack::new(world.path().join("damaged.pack"), &bytes);
    let second = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&damaged)),
    );
    assert_eq!(
        refused(world.push(&world.peer, &[&second], Some(&damaged))),
        "bad-pack"
    );
    assert_eq!(main_of(&world), Some(oids[0].to_string()));
}

#[test]
fn a_push_whose_past_is_not_here_is_asked_for_it() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let second = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&packs[1])),
    );
    let third = world.update(
        &world.peer,
        2,
        &[&second],
        main_at(oids[2], &[&second], Some(&packs[2])),
    );
    let answer = world
        .push(&world.peer, &[&third], Some(&packs[2]))
        .expect("answered");
    let PushAnswer::Need { tips, haves } = answer else {
        panic!("{answer:?}")
    };
    assert!(tips.iter().any(|tip| tip.id == *first.id().as_bytes()));
    assert_eq!(haves, [*oids[0].as_bytes()]);
    assert_eq!(main_of(&world), Some(oids[0].to_string()));
    let answer = world.push(&world.peer, &[&second, &third], Some(&packs[2]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    assert_eq!(main_of(&world), Some(oids[2].to_string()));
}

#[test]
fn a_pack_that_lacks_what_the_update_names_is_asked_for_more() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let second = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[2], &[&first], Some(&packs[1])),
    );
    let answer = world
        .push(&world.peer, &[&second], Some(&packs[1]))
        .expect("answered");
    assert!(matches!(answer, PushAnswer::Need { .. }), "{answer:?}");
    assert_eq!(
        main_of(&world),
        Some(oids[0].to_string()),
        "the ref waits for its objects"
    );
}

#[test]
fn a_refused_first_push_leaves_no_project_behind() {
    let world = World::new();
    let (oids, packs) = world.history(1);
    let init = world.init();
    let update = world.update(
        &world.peer,
        0,
        &[&init],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    assert_eq!(
        refused(world.push(&world.peer, &[&init, &update], Some(&packs[0]))),
        "not-granted"
    );
    assert!(world.status().is_none());
    let left = std::fs::read_dir(
        world
            .path()
            .join("mars/var/lib/vigo/swarm/gitback/projects"),
    )
    .expect("readable");
    assert_eq!(left.count(), 0);
}

#[test]
fn two_updates_that_know_nothing_of_each_other_are_both_served() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let ours = world.update(
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&packs[2])),
    );
    let theirs = world.update(
        &world.founder,
        0,
        &[&first],
        main_at(oids[2], &[&first], Some(&packs[2])),
    );
    let answer = world.push(&world.peer, &[&ours, &theirs], Some(&packs[2]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    let status = world.status().expect("founded");
    assert_eq!(status.diverged, ["refs/heads/main"]);
    assert_eq!(status.state, "diverged");
}

#[test]
fn an_update_of_a_ref_that_no_repository_can_have_is_refused() {
    let world = World::new();
    let (_, _, first, oids, packs) = with_first_commit(&world);
    let mut update = main_at(oids[1], &[], Some(&packs[1]));
    update.changes[0].name = RefName::new(b"refs/foo").expect("an envelope can say it");
    let second = world.update(&world.peer, 1, &[&first], update);
    let answer = world.push(&world.peer, &[&second], Some(&packs[1]));
    assert_eq!(refused(answer), "impossible-ref");
    assert_eq!(world.status().expect("founded").envelopes, 3);
}

#[test]
fn a_cancelled_push_leaves_nothing() {
    let world = World::new();
    let (_, _, _, oids, packs) = with_first_commit(&world);
    let answer = world.push_and_cancel(&world.peer, &packs[1]);
    assert!(matches!(answer, Err(CallError::Local { .. })), "{answer:?}");
    let again = world.status().expect("founded");
    assert_eq!(main_of(&world), Some(oids[0].to_string()));
    assert_eq!(again.envelopes, 3);
    let objects = world.path().join(format!(
        "mars/var/lib/vigo/swarm/gitback/projects/{}.git/objects",
        world.project
    ));
    let left = || {
        let names = std::fs::read_dir(&objects).expect("readable").flatten();
        names
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("tmp_"))
            .count()
    };
    // The envoy learns of it on another thread; a push that it answers comes after that on this connection.
    let waited = std::time::Instant::now();
    while left() > 0 {
        assert!(waited.elapsed().as_secs() < 60, "the quarantine stays");
        std::thread::yield_now();
    }
}

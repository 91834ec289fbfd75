//! Comparing whole sets of envelopes, on both sides.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gitback_envelope::{EnvelopeId, Verified};
use gitback_gossip::reconcile::{Found, Ids, Initiator, Step};
use gitback_helper::Role;
use gitback_identity::SecretKey;
use gitback_peer::{CallError, Client, PeerAddress};

use crate::holder::{Held, Holder, Shape, serve};
use crate::world::World;

const SMALL: Shape = Shape {
    commits: 6,
    bytes: 100,
    large: None,
    hints: true,
};

#[test]
fn what_tips_do_not_tell_of_is_found_and_brought_in() {
    let venus = SecretKey::from_seed(&[9; 32]);
    let held = Arc::new(Held::new(&venus, &SMALL));
    let mut holder = Holder::of(&held);
    holder.by_tips = 2;
    let asked = Arc::clone(&holder.asked);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, &venus, holder);
    let world = World::with_peer_at(&address);
    let head = format!("refs/heads/main {}", held.head());
    while !world.repository().join("refs/heads/main").exists() {
        std::thread::yield_now();
    }
    assert_eq!(world.refs(), [head]);
    assert_eq!(world.log().len(), held.envelopes.len());
    assert!(asked.reconciled.load(Ordering::SeqCst) >= 1);
}

#[test]
fn tips_that_say_all_are_enough() {
    let venus = SecretKey::from_seed(&[9; 32]);
    let held = Arc::new(Held::new(&venus, &SMALL));
    let holder = Holder::of(&held);
    let asked = Arc::clone(&holder.asked);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = serve(&runtime, &venus, holder);
    let world = World::with_peer_at(&address);
    while !world.repository().join("refs/heads/main").exists() {
        std::thread::yield_now();
    }
    assert_eq!(asked.reconciled.load(Ordering::SeqCst), 0);
}

/// Compares `ours` with what the envoy holds, as `from`.
fn compare(world: &World, from: &SecretKey, ours: &[&Verified]) -> Result<Found, CallError> {
    let ids = Ids::new(ours.iter().map(|one| *one.id()));
    let (mut initiator, mut message) = Initiator::new(&ids);
    loop {
        let asked = message.clone();
        let answer = world.ask(from, async move |client: &Client, to: &PeerAddress| {
            client.reconcile(to, &world.project, asked).await
        })?;
        match initiator.take(&answer).expect("an answer") {
            Step::Ask(next) => message = next,
            Step::Done => return Ok(initiator.finish()),
        }
    }
}

fn fetch(world: &World, from: &SecretKey, ids: &[EnvelopeId]) -> Result<Vec<Vec<u8>>, CallError> {
    let ids: Vec<[u8; 32]> = ids.iter().map(|id| *id.as_bytes()).collect();
    world.ask(from, async move |client: &Client, to: &PeerAddress| {
        client.envelopes(to, &world.project, &ids).await
    })
}

#[test]
fn a_partner_learns_what_it_lacks_and_gets_it_in_order() {
    let world = World::new();
    let init = world.found();
    let grant = world.grant(&init, &world.peer);
    world.sync(&world.peer, &[&grant]).expect("let in");
    let guests: Vec<Verified> = (21..24)
        .map(|seed| world.invite(&SecretKey::from_seed(&[seed; 32]), Role::Member))
        .collect();
    let laptop = SecretKey::from_seed(&[40; 32]);
    let unknown_there = world.grant_by(&world.founder, &laptop, &[&grant]);
    let ours = [&init, &grant, &unknown_there];
    let found = compare(&world, &world.peer, &ours).expect("a partner");
    assert_eq!(found.have, [*unknown_there.id()]);
    let mut needed: Vec<EnvelopeId> = guests.iter().map(|one| *one.id()).collect();
    needed.sort_unstable();
    assert_eq!(found.need, needed);

    let mut asked = found.need;
    asked.push(*unknown_there.id());
    let given = fetch(&world, &world.peer, &asked).expect("a partner");
    let expected: Vec<&[u8]> = guests.iter().map(Verified::bytes).collect();
    assert_eq!(
        given, expected,
        "each after its past, and only what is here"
    );
}

#[test]
fn strangers_and_nonsense_are_refused() {
    let world = World::new();
    let init = world.found();
    let code = |answer: Result<(), CallError>| match answer {
        Err(CallError::Refused(refusal)) => refusal.code,
        other => panic!("must be refused: {other:?}"),
    };
    let grant = world.grant(&init, &world.peer);
    world.sync(&world.peer, &[&grant]).expect("let in");
    let stranger = SecretKey::from_seed(&[77; 32]);
    let answer = compare(&world, &stranger, &[&init]).map(drop);
    assert_eq!(code(answer), "not-of-the-fleet");
    let answer = fetch(&world, &stranger, &[*init.id()]).map(drop);
    assert_eq!(code(answer), "not-of-the-fleet");
    let nonsense = world.ask(&world.peer, async |client: &Client, to: &PeerAddress| {
        client.reconcile(to, &world.project, vec![7; 100]).await
    });
    assert_eq!(code(nonsense.map(drop)), "bad-reconciliation");
}

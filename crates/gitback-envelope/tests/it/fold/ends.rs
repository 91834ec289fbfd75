//! Tombstones, rule 11: a project ends, and what may be said after that.

use gitback_envelope::{Access, Act, Role, Scope, Successor, VoidReason};
use gitback_identity::ProjectId;

use super::world::{Author, club, founder_key, key, union, values, void};

const MAIN: &str = "refs/heads/main";

#[test]
fn what_was_in_sight_of_a_tombstone_stands_and_the_rest_is_void() {
    let mut club = club();
    let seen = club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    let tombstone = club.founder.tombstone("notes-2");
    let unseen = club.mia.push(MAIN, 2);
    let mut quinn = Author::person(42);
    let late = [
        club.founder.invite(quinn.puddle, Role::Member),
        club.founder.revoke_at(club.nicos, vec![]),
        club.founder.policy(Scope::SwarmWide, &[]),
        club.founder.grant(&Author::envoy(12), 7, None),
        club.founder.ungrant_at(&Author::envoy(12), vec![]),
        club.founder.push(MAIN, 3),
        club.founder.say(Act::Merge),
    ];
    quinn.meet(&club.founder);
    let join = quinn.join(late[0]);
    club.nico.meet(&quinn);
    let rejoin_first = club.nico.leave(club.nicos);
    let asks = club.nico.rejoin(club.nicos);
    let all = union(&[&club.mia, &quinn, &club.nico]);
    assert_eq!(void(&all, &seen), None);
    assert_eq!(void(&all, &tombstone), None);
    assert_eq!(void(&all, &unseen), Some(VoidReason::Ended));
    for id in &late {
        assert_eq!(void(&all, id), Some(VoidReason::Ended));
    }
    assert_eq!(void(&all, &join), Some(VoidReason::Ended));
    assert_eq!(void(&all, &rejoin_first), None, "anyone may leave");
    assert_eq!(void(&all, &asks), Some(VoidReason::Ended));
    assert_eq!(values(&all, MAIN), [1]);
    assert!(all.ended());
    let expected = Successor {
        founder: founder_key(),
        handle: "notes-2".parse().expect("a handle"),
        tombstone,
    };
    assert_eq!(all.successors(), [expected]);
    assert_eq!(all.alarms(), []);
    assert_eq!(all.access(&club.mia.puddle), Some(Access::Member));
    assert_eq!(all.access(&club.nico.puddle), None);
    assert_eq!(all.access(&quinn.puddle), None);
}

#[test]
fn a_join_beside_the_end_is_too_late() {
    let mut founder = Author::founder();
    let mut quinn = Author::person(42);
    let invite = founder.invite(quinn.puddle, Role::Member);
    quinn.meet(&founder);
    let join = quinn.join(invite);
    founder.tombstone("notes-2");
    let all = union(&[&quinn, &founder]);
    assert_eq!(void(&all, &invite), None);
    assert_eq!(void(&all, &join), Some(VoidReason::Ended));
    assert_eq!(all.access(&quinn.puddle), None);
}

#[test]
fn what_lies_in_the_past_of_a_tombstone_counts_whatever_its_cut() {
    let mut club = club();
    let own = club.founder.push(MAIN, 1);
    club.founder.tombstone_at("notes-2", vec![]);
    assert_eq!(void(&club.founder.view, &own), None);
    assert_eq!(values(&club.founder.view, MAIN), [1]);
}

#[test]
fn two_tombstones_end_at_what_lies_within_both_and_neither_is_followed() {
    let mut club = club();
    let mut other = club.founder.elsewhere(50);
    let here = club.founder.push(MAIN, 1);
    let there = other.push("refs/heads/other", 2);
    let one = club.founder.tombstone("notes-b");
    let two = other.tombstone("notes-a");
    let all = union(&[&club.founder, &other]);
    assert_eq!(void(&all, &here), Some(VoidReason::Ended));
    assert_eq!(void(&all, &there), Some(VoidReason::Ended));
    assert!(all.refs().is_empty());
    let found: Vec<_> = all
        .successors()
        .into_iter()
        .map(|one| (one.handle.to_string(), one.tombstone))
        .collect();
    let expected = [("notes-a".to_owned(), two), ("notes-b".to_owned(), one)];
    assert_eq!(found, expected);
    assert_eq!(all.alarms().len(), 1);
    assert_eq!(all.alarms()[0].code(), "several-successors");
    assert_eq!(all.access(&club.mia.puddle), Some(Access::Member));
}

#[test]
fn two_tombstones_for_one_project_are_one_successor() {
    let founder = Author::founder();
    let (mut here, mut there) = (founder.elsewhere(50), founder.elsewhere(51));
    let one = here.tombstone("notes-2");
    let two = there.tombstone("notes-2");
    let all = union(&[&here, &there]);
    let successors = all.successors();
    assert_eq!(successors.len(), 1);
    assert_eq!(successors[0].tombstone, one.min(two));
    assert_eq!(all.alarms(), []);
    let verified = all.get(&one).expect("here");
    let Act::Tombstone(tombstone) = &verified.statement().act else {
        panic!("a tombstone");
    };
    let handle = "notes-2".parse().expect("a handle");
    assert_eq!(
        tombstone.successor(),
        ProjectId::derive(&founder_key(), &handle)
    );
}

#[test]
fn what_a_tombstone_s_cut_names_counts_when_it_arrives() {
    let mut club = club();
    let first = club.mia.push(MAIN, 1);
    let named = club.mia.push(MAIN, 2);
    club.founder.tombstone_at("notes-2", vec![named]);
    let mut all = union(&[&club.founder]);
    for verified in club.mia.view.iter() {
        all.insert(verified.clone()).expect("within the rules");
    }
    assert_eq!(void(&all, &first), None);
    assert_eq!(void(&all, &named), None);
    assert_eq!(values(&all, MAIN), [2]);
}

#[test]
fn nobody_else_ends_a_project() {
    let mut club = club();
    let by_member = club.mia.tombstone_at("evil", vec![]);
    let mut eve = Author::person(66);
    let by_stranger = eve.tombstone_at("evil", vec![]);
    let all = union(&[&club.mia, &eve]);
    assert_eq!(void(&all, &by_member), Some(VoidReason::NotFounder));
    assert_eq!(void(&all, &by_stranger), Some(VoidReason::NotFounder));
    assert!(!all.ended());
    assert_eq!(all.successors(), []);
}

#[test]
fn a_stolen_key_s_tombstone_goes_with_the_key() {
    let mut club = club();
    let mut thief = club.founder.elsewhere(66);
    let tombstone = thief.tombstone_at("evil", vec![]);
    let moved = club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    let ended = union(&[&club.founder, &thief]);
    assert_eq!(void(&ended, &moved), Some(VoidReason::Ended));
    club.founder.delegate(1, &Author::person(31));
    let all = union(&[&thief, &club.founder]);
    assert_eq!(void(&all, &tombstone), Some(VoidReason::Retired));
    assert!(!all.ended());
    assert_eq!(void(&all, &moved), None);
    assert_eq!(values(&all, MAIN), [1]);
    assert!(all.party(&key(20)));
}

//! Which values may be heads again: what nobody may let go.

use std::collections::BTreeSet;

use gitback_envelope::{Act, EnvelopeId, Inserted, Oid, Project};

use super::play::{self, play};
use super::stage::Die;
use super::world::{Author, club, founder_and_envoys, name, oid, project_id, union, values};

const MAIN: &str = "refs/heads/main";

fn may_return(project: &Project) -> BTreeSet<Oid> {
    project.may_return(|_| true)
}

fn numbers(project: &Project) -> Vec<u8> {
    let values = may_return(project).into_iter();
    values.map(|value| value.as_bytes()[0]).collect()
}

#[test]
fn what_the_founder_line_has_replaced_does_not_come_back() {
    let (founder, mut mars, mut venus) = founder_and_envoys();
    mars.push(MAIN, 1);
    venus.meet(&mars);
    venus.force(MAIN, 2);
    assert_eq!(numbers(&union(&[&founder, &venus])), [2]);
    venus.delete(MAIN);
    assert_eq!(numbers(&venus.view), [0_u8; 0]);
}

#[test]
fn what_a_member_has_replaced_may_come_back_and_does() {
    let mut club = club();
    club.founder.push(MAIN, 1);
    club.mia.meet(&club.founder);
    club.mia.force(MAIN, 2);
    club.founder.meet(&club.mia);
    assert_eq!(numbers(&club.founder.view), [1, 2]);
    let before: Vec<EnvelopeId> = Vec::new();
    let invites = club.founder.view.memberships();
    let invite = invites.iter().find(|one| one.puddle == club.mia.puddle);
    let invite = invite.expect("mia is invited").invite;
    club.founder.revoke_at(invite, before);
    assert_eq!(values(&club.founder.view, MAIN), [1]);
    // It counts no more, and no revocation can be taken back.
    assert_eq!(numbers(&club.founder.view), [1]);
}

#[test]
fn what_the_founder_forced_away_from_between_comes_back_with_what_was_below() {
    let mut club = club();
    club.nico.push(MAIN, 1);
    club.mia.meet(&club.nico);
    club.mia.push(MAIN, 2);
    club.founder.meet(&club.mia);
    club.founder.force(MAIN, 3);
    // What mia put on top of it is gone for good, and it is not: the founder forced only hers away.
    assert_eq!(numbers(&club.founder.view), [1, 3]);
}

#[test]
fn what_passes_through_a_member_is_replaced_whatever_becomes_of_that() {
    let mut club = club();
    club.nico.push(MAIN, 1);
    club.mia.meet(&club.nico);
    let between = club.mia.push(MAIN, 2);
    club.founder.meet(&club.mia);
    club.founder.push(MAIN, 3);
    let project = &club.founder.view;
    assert_eq!(numbers(project), [3]);
    // As long as it is not known whether it says something false, it may.
    let doubted = project.may_return(|id| *id != between);
    assert_eq!(doubted, BTreeSet::from([oid(1), oid(3)]));
    let mut project = project.clone();
    project.hold_out(&between, &name(MAIN));
    assert_eq!(numbers(&project), [1, 2, 3], "a lie is to be found out");
}

#[test]
fn while_the_founder_line_is_contested_everything_may_come_back() {
    let (mut founder, mut mars, _) = founder_and_envoys();
    mars.push(MAIN, 1);
    mars.force(MAIN, 2);
    founder.meet(&mars);
    assert_eq!(numbers(&founder.view), [2]);
    let mut thief = founder.copy();
    let (heir, other) = (Author::person(31), Author::person(66));
    founder.delegate(1, &heir);
    thief.delegate(1, &other);
    assert_eq!(numbers(&union(&[&founder, &thief])), [1, 2]);
}

/// Whatever people say, and whatever memberships are revoked afterwards, at whatever cut: no value is a head then that was
/// not said to be able to come back.
#[test]
fn no_revocation_brings_back_what_was_said_to_be_gone() {
    let (mut gone, mut back) = (0, 0);
    for seed in 0..100_u64 {
        let steps: Vec<u64> = (0..60).map(|step| seed * 1000 + step).collect();
        let world = play(seed, &steps);
        let mut project = Project::with_pins(project_id(), world.pins.clone());
        for verified in &world.all {
            let _: Result<Inserted, _> = project.insert(verified.clone());
        }
        for (id, lie) in &world.lies {
            project.hold_out(id, lie);
        }
        let mut die = Die::new(seed);
        let seeds = [play::FOUNDER].into_iter().chain(play::HEIRS);
        let founder = seeds.map(Author::person);
        let current = project.current_founder();
        let Some(mut founder) = { founder }.find(|one| Some(one.puddle) == current) else {
            continue;
        };
        let invites = project.iter().filter_map(|one| match one.statement().act {
            Act::Invite(_) => Some(*one.id()),
            _ => None,
        });
        let invites: Vec<EnvelopeId> = invites.collect();
        let ids: Vec<EnvelopeId> = project.iter().map(|one| *one.id()).collect();
        let promised = may_return(&project);
        let mut updates = project.iter().filter_map(|one| one.statement().update());
        let new = updates.by_ref().flat_map(|update| &update.changes);
        let all: BTreeSet<Oid> = new.map(|change| change.new).collect();
        gone += all
            .difference(&promised)
            .filter(|one| !one.is_zero())
            .count();
        let before = heads(&project);
        assert!(before.is_subset(&promised), "seed {seed}");
        for _ in 0..12 {
            founder.view = project.clone();
            for _ in 0..=die.below(3) {
                let Some(invite) = die.pick(&invites).copied() else {
                    break;
                };
                let mut cut = die.some(&ids, 4);
                cut.sort_unstable();
                founder.revoke_at(invite, cut);
                let after = heads(&founder.view);
                back += after.difference(&before).count();
                let broken: Vec<_> = after.difference(&promised).collect();
                assert!(broken.is_empty(), "seed {seed}: {broken:?} came back");
            }
        }
    }
    assert!(gone > 50 && back > 10, "{gone} gone, {back} came back");
}

fn heads(project: &Project) -> BTreeSet<Oid> {
    let names = play::NAMES.iter();
    let heads = names.flat_map(|text| project.heads_of(&name(text)));
    let values = heads.map(|head| head.oid);
    values.filter(|oid| !oid.is_zero()).collect()
}

//! Grants and policies, rules 12 and 13.

use gitback_envelope::{Access, Act, Policy, Project, Role, Scope, VoidReason};

use super::world::{Author, Club, club, key, name, union, values, void};

const MAIN: &str = "refs/heads/main";

/// A club in which Mia's envoy may sign for her and knows it.
fn granted() -> (Club, Author) {
    let mut club = club();
    let mut mars = Author::daemon(11, &club.mia);
    club.mia.grant(&mars, 7, None);
    mars.meet(&club.mia);
    (club, mars)
}

#[test]
fn a_member_s_envoy_signs_for_it_and_nobody_else() {
    let (mut club, mut mars) = granted();
    let moved = mars.push(MAIN, 1);
    assert_eq!(void(&mars.view, &moved), None);
    let mut for_nico = Author::daemon(11, &club.nico);
    for_nico.meet(&mars);
    let wrong = for_nico.push(MAIN, 2);
    assert_eq!(void(&for_nico.view, &wrong), Some(VoidReason::NotGranted));
    // Nor does Nico's word let it sign for Mia.
    let mut venus = Author::daemon(12, &club.mia);
    club.nico.grant(&venus, 7, None);
    venus.meet(&club.nico);
    let wrong = venus.push(MAIN, 3);
    assert_eq!(void(&venus.view, &wrong), Some(VoidReason::NotGranted));
}

#[test]
fn ungranting_keeps_what_was_in_sight() {
    let (mut club, mut mars) = granted();
    let seen = mars.push(MAIN, 1);
    club.mia.meet(&mars);
    let ungrant = club.mia.ungrant(&mars);
    let unseen = mars.push(MAIN, 2);
    mars.meet(&club.mia);
    let aware = mars.push(MAIN, 3);
    assert_eq!(void(&mars.view, &ungrant), None);
    assert_eq!(void(&mars.view, &seen), None);
    assert_eq!(void(&mars.view, &unseen), Some(VoidReason::Ungranted));
    assert_eq!(void(&mars.view, &aware), Some(VoidReason::Ungranted));
    assert_eq!(mars.view.granted_envoy(&mars.envoy), None);
    assert!(mars.view.grants_for(&mars.envoy, 7).is_empty());
    assert_eq!(values(&mars.view, MAIN), [1]);
    assert_eq!(mars.view.access(&club.mia.puddle), Some(Access::Member));
}

#[test]
fn a_grant_after_an_ungrant_is_a_new_one() {
    let (mut club, mut mars) = granted();
    club.mia.ungrant(&mars);
    let again = club.mia.grant(&mars, 7, None);
    mars.meet(&club.mia);
    let moved = mars.push(MAIN, 1);
    assert_eq!(void(&mars.view, &moved), None);
    let found = mars.view.grant(&mars.envoy, 7).expect("granted again");
    assert_eq!(found.id(), &again);
    assert_eq!(mars.view.grants_for(&mars.envoy, 7).len(), 1);
}

#[test]
fn a_grant_beside_an_ungrant_stays() {
    let (mut club, mars) = granted();
    let mut other = club.mia.elsewhere(50);
    let beside = other.grant(&mars, 7, None);
    club.mia.ungrant(&mars);
    let mut mars = mars;
    mars.meet(&club.mia);
    mars.meet(&other);
    let moved = mars.push(MAIN, 1);
    assert_eq!(void(&mars.view, &moved), None);
    let found = mars.view.grant(&mars.envoy, 7).expect("still granted");
    assert_eq!(found.id(), &beside);
}

#[test]
fn several_ungrants_leave_what_lies_within_each_and_later_ones_say_nothing() {
    let (mut club, mut mars) = granted();
    let mut other = club.mia.elsewhere(50);
    let first = mars.push(MAIN, 1);
    club.mia.meet(&mars);
    let second = mars.push(MAIN, 2);
    other.meet(&mars);
    club.mia.ungrant(&mars);
    other.ungrant(&mars);
    let all = union(&[&club.mia, &other]);
    assert_eq!(void(&all, &first), None);
    assert_eq!(void(&all, &second), Some(VoidReason::Ungranted));
    let later = club.mia.ungrant_at(&mars, vec![]);
    let all = union(&[&club.mia, &other]);
    assert_eq!(void(&all, &later), None);
    assert_eq!(void(&all, &first), None, "a later one does not cut again");
}

#[test]
fn an_ungrant_is_for_one_envoy_of_one_puddle() {
    let (mut club, mut mars) = granted();
    let venus = Author::daemon(12, &club.mia);
    club.mia.ungrant_at(&venus, vec![]);
    club.nico.ungrant_at(&mars, vec![]);
    let mut eve = Author::person(66);
    eve.meet(&mars);
    let strange = eve.ungrant_at(&mars, vec![]);
    for author in [&club.mia, &club.nico, &eve] {
        mars.meet(author);
    }
    let moved = mars.push(MAIN, 1);
    assert_eq!(void(&mars.view, &strange), Some(VoidReason::NotMember));
    assert_eq!(void(&mars.view, &moved), None);
}

#[test]
fn what_an_ungrant_s_cut_names_counts_when_it_arrives() {
    let (mut club, mut mars) = granted();
    let first = mars.push(MAIN, 1);
    let named = mars.push(MAIN, 2);
    club.mia.ungrant_at(&mars, vec![named]);
    let mut all = union(&[&club.mia]);
    for verified in mars.view.iter() {
        all.insert(verified.clone()).expect("within the rules");
    }
    assert_eq!(void(&all, &first), None);
    assert_eq!(void(&all, &named), None);
    assert_eq!(values(&all, MAIN), [2]);
}

#[test]
fn who_has_left_grants_and_ungrants_no_more() {
    let (mut club, mars) = granted();
    club.mia.leave(club.mias);
    let grant = club.mia.grant(&mars, 8, None);
    let ungrant = club.mia.ungrant_at(&mars, vec![]);
    let view = &club.mia.view;
    assert_eq!(void(view, &grant), Some(VoidReason::Left));
    assert_eq!(void(view, &ungrant), Some(VoidReason::Left));
    assert_eq!(view.granted_envoy(&mars.envoy), None);
}

#[test]
fn a_merge_is_an_update_without_refs() {
    let (club, mut mars) = granted();
    let merged = mars.say(Act::Merge);
    assert_eq!(void(&mars.view, &merged), None);
    assert_eq!(mars.view.deps_after(None), vec![merged]);
    let mut pluto = Author::daemon(13, &club.mia);
    pluto.meet(&mars);
    let merged = pluto.say(Act::Merge);
    assert_eq!(void(&pluto.view, &merged), Some(VoidReason::NotGranted));
}

#[test]
fn the_grant_of_the_mightiest_puddle_is_found_first() {
    let (mut club, mars) = granted();
    let by_founder = club.founder.grant(&mars, 7, Some(5));
    let mut rita = Author::person(22);
    let invite = club.founder.invite(rita.puddle, Role::Reader);
    rita.meet(&club.founder);
    rita.join(invite);
    rita.grant(&mars, 7, None);
    club.mia.grant(&mars, 7, Some(9));
    let all = union(&[&rita, &club.mia, &club.founder]);
    let found = all.grants_for(&mars.envoy, 7);
    let expires: Vec<_> = found
        .iter()
        .map(|one| one.statement().grant().expect("a grant").expires_ms)
        .collect();
    assert_eq!(expires, [Some(5), None, Some(9), None]);
    let found = all.grant(&mars.envoy, 7).expect("granted");
    assert_eq!(found.id(), &by_founder);
    assert_eq!(all.granted_envoy(&mars.envoy), Some(Access::Founder));
}

fn policy(project: &Project) -> (Scope, Vec<String>, Option<u32>) {
    let Policy {
        scope,
        protected,
        replicas,
    } = project.policy();
    let names = protected.iter().map(ToString::to_string).collect();
    (scope, names, replicas)
}

fn say_policy(author: &mut Author, scope: Scope, protected: &[&str], replicas: Option<u32>) {
    author.say(Act::Policy(Policy {
        scope,
        protected: protected.iter().map(|text| name(text)).collect(),
        replicas,
    }));
}

#[test]
fn without_a_policy_only_members_hold_the_project() {
    let founder = Author::founder();
    assert_eq!(policy(&founder.view), (Scope::MembersOnly, vec![], None));
    assert!(!founder.view.has_policy());
}

#[test]
fn the_latest_policy_is_in_force() {
    let mut founder = Author::founder();
    say_policy(&mut founder, Scope::MembersOnly, &[MAIN], Some(9));
    say_policy(&mut founder, Scope::SwarmWide, &[], Some(2));
    assert!(founder.view.has_policy());
    let expected = (Scope::SwarmWide, vec![], Some(2));
    assert_eq!(policy(&founder.view), expected);
}

#[test]
fn of_concurrent_policies_the_stricter_field_is_in_force() {
    let mut founder = Author::founder();
    let mut other = founder.elsewhere(50);
    say_policy(&mut founder, Scope::SwarmWide, &[MAIN], None);
    say_policy(&mut other, Scope::MembersOnly, &["refs/tags/v1"], Some(3));
    let expected = (
        Scope::MembersOnly,
        vec![MAIN.to_owned(), "refs/tags/v1".to_owned()],
        Some(3),
    );
    for all in [union(&[&founder, &other]), union(&[&other, &founder])] {
        assert_eq!(policy(&all), expected);
    }
    let mut third = founder.elsewhere(51);
    say_policy(&mut third, Scope::SwarmWide, &[MAIN], Some(7));
    let all = union(&[&founder, &other, &third]);
    assert_eq!(policy(&all).2, Some(7));
    founder.meet(&other);
    say_policy(&mut founder, Scope::SwarmWide, &[], None);
    assert_eq!(policy(&founder.view), (Scope::SwarmWide, vec![], None));
}

#[test]
fn a_protected_ref_is_neither_forced_nor_deleted() {
    let mut club = club();
    club.founder.policy(Scope::SwarmWide, &[MAIN]);
    club.mia.meet(&club.founder);
    let first = club.mia.push(MAIN, 1);
    let next = club.mia.push(MAIN, 2);
    let forced = club.mia.force(MAIN, 3);
    let deleted = club.mia.delete(MAIN);
    let other = club.mia.push("refs/heads/other", 4);
    let other_forced = club.mia.force("refs/heads/other", 5);
    let by_founder = {
        club.founder.meet(&club.mia);
        club.founder.force(MAIN, 6)
    };
    let all = union(&[&club.mia, &club.founder]);
    for id in [first, next, other, other_forced] {
        assert_eq!(void(&all, &id), None);
    }
    for id in [forced, deleted, by_founder] {
        assert_eq!(void(&all, &id), Some(VoidReason::Protected));
    }
    assert_eq!(values(&all, MAIN), [2]);
    assert_eq!(values(&all, "refs/heads/other"), [5]);
}

#[test]
fn one_protected_ref_voids_the_whole_update() {
    use gitback_envelope::Change;
    let mut founder = Author::founder();
    founder.policy(Scope::SwarmWide, &["refs/heads/x"]);
    let first = founder.push("refs/heads/x", 1);
    let change = |text: &str, new, forced| Change {
        name: name(text),
        new: super::world::oid(new),
        contained: vec![],
        forced,
    };
    let both = founder.say(super::world::update(vec![
        change("refs/heads/w", 2, vec![]),
        change("refs/heads/x", 3, vec![first]),
    ]));
    assert_eq!(void(&founder.view, &both), Some(VoidReason::Protected));
    assert!(values(&founder.view, "refs/heads/w").is_empty());
}

#[test]
fn a_push_that_has_not_seen_the_policy_is_not_bound_by_it() {
    let mut club = club();
    club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    club.founder.policy(Scope::SwarmWide, &[MAIN]);
    let forced = club.mia.force(MAIN, 2);
    let all = union(&[&club.mia, &club.founder]);
    assert_eq!(void(&all, &forced), None);
    assert_eq!(values(&all, MAIN), [2]);
}

#[test]
fn protection_ends_with_a_later_policy_and_only_where_that_is_known() {
    let mut club = club();
    club.founder.policy(Scope::SwarmWide, &[MAIN]);
    club.mia.meet(&club.founder);
    club.mia.push(MAIN, 1);
    let mut unaware = club.mia.copy();
    club.founder.policy(Scope::SwarmWide, &[]);
    club.mia.meet(&club.founder);
    let freed = club.mia.force(MAIN, 2);
    let bound = unaware.force(MAIN, 3);
    let all = union(&[&club.mia, &unaware]);
    assert_eq!(void(&all, &freed), None);
    assert_eq!(void(&all, &bound), Some(VoidReason::Protected));
}

#[test]
fn a_policy_that_came_to_be_void_protects_nothing() {
    let mut club = club();
    let cut = club.founder.view.cut();
    let mut thief = club.founder.elsewhere(66);
    let stolen = thief.policy(Scope::SwarmWide, &[MAIN]);
    club.mia.meet(&thief);
    club.mia.push(MAIN, 1);
    let forced = club.mia.force(MAIN, 2);
    assert_eq!(void(&club.mia.view, &forced), Some(VoidReason::Protected));
    club.founder
        .delegate_with(1, &Author::person(31), None, cut);
    let all = union(&[&club.mia, &club.founder]);
    assert_eq!(void(&all, &stolen), Some(VoidReason::Retired));
    assert_eq!(void(&all, &forced), None);
    assert!(!all.has_policy());
    assert_eq!(values(&all, MAIN), [2]);
    assert!(all.party(&key(20)));
}

//! Memberships, rules 6 to 9: instances, joins, leaves, revocations and their cuts.

use gitback_envelope::{
    Access, Act, EnvelopeId, Membership, MembershipState, Project, Role, Scope, VoidReason,
};

use super::world::{Author, Club, club, founder_key, key, name, oid, union, values, void};

const MAIN: &str = "refs/heads/main";

fn membership(project: &Project, invite: &EnvelopeId) -> Membership {
    let all = project.memberships();
    let found = all.iter().find(|one| one.invite == *invite);
    found.expect("a counting invitation").clone()
}

fn access(project: &Project, author: &Author) -> Option<Access> {
    project.access(&author.puddle)
}

#[test]
fn a_member_comes_in_by_joining() {
    let mut founder = Author::founder();
    let mut mia = Author::person(20);
    let invite = founder.invite(mia.puddle, Role::Member);
    mia.meet(&founder);
    assert_eq!(membership(&mia.view, &invite).state, MembershipState::Open);
    assert_eq!(access(&mia.view, &mia), None);
    assert!(mia.view.party(&mia.puddle));
    let before = mia.push(MAIN, 1);
    let join = mia.join(invite);
    let after = mia.push(MAIN, 2);
    assert_eq!(void(&mia.view, &before), Some(VoidReason::NotMember));
    assert_eq!(void(&mia.view, &join), None);
    assert_eq!(void(&mia.view, &after), None);
    assert_eq!(access(&mia.view, &mia), Some(Access::Member));
    let expected = Membership {
        invite,
        puddle: mia.puddle,
        role: Role::Member,
        by: founder_key(),
        state: MembershipState::Live { join },
        asks_back: None,
    };
    assert_eq!(mia.view.memberships(), [expected]);
    assert_eq!(values(&mia.view, MAIN), [2]);
}

#[test]
fn an_invitation_is_for_one_key() {
    let club = club();
    let mut eve = Author::person(66);
    eve.meet(&club.founder);
    let join = eve.join(club.mias);
    let moved = eve.push(MAIN, 1);
    assert_eq!(void(&eve.view, &join), Some(VoidReason::NotInvited));
    assert_eq!(void(&eve.view, &moved), Some(VoidReason::NotMember));
    assert_eq!(access(&eve.view, &eve), None);
    assert!(!eve.view.party(&eve.puddle));
}

#[test]
fn an_invitation_out_of_sight_is_none() {
    let club = club();
    let mut mia = Author::person(20).elsewhere(99);
    let blind = mia.join(club.mias);
    let nowhere = mia.join(EnvelopeId::from_bytes(&[9; 32]));
    let mut eve = Author::person(66);
    let strange = eve.join(club.mias);
    for all in [
        union(&[&mia, &eve, &club.founder]),
        union(&[&club.founder, &eve, &mia]),
    ] {
        for id in [blind, nowhere, strange] {
            assert_eq!(void(&all, &id), Some(VoidReason::NoInvite));
        }
    }
}

#[test]
fn only_the_founder_line_invites_and_revokes() {
    let mut club = club();
    let void_acts = [
        club.mia.invite(key(40), Role::Member),
        club.mia.revoke_at(club.nicos, vec![]),
        club.mia.policy(Scope::SwarmWide, &[]),
        club.mia.tombstone_at("evil", vec![]),
    ];
    for id in void_acts {
        assert_eq!(void(&club.mia.view, &id), Some(VoidReason::NotFounder));
    }
    assert_eq!(access(&club.mia.view, &club.nico), Some(Access::Member));
    assert!(!club.mia.view.party(&key(40)));
    assert!(!club.mia.view.has_policy());
    assert!(!club.mia.view.ended());
}

#[test]
fn two_cannot_throw_each_other_out() {
    let mut club = club();
    club.founder.revoke(club.mias);
    let back = club.mia.revoke_at(club.nicos, vec![]);
    let all = union(&[&club.founder, &club.mia]);
    assert_eq!(access(&all, &club.mia), None);
    assert_eq!(access(&all, &club.nico), Some(Access::Member));
    assert_eq!(void(&all, &back), Some(VoidReason::NotFounder));
}

#[test]
fn what_was_in_sight_of_a_revocation_stands_and_the_rest_is_void() {
    let mut club = club();
    let seen = club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    let revoke = club.founder.revoke(club.mias);
    let unseen = club.mia.push(MAIN, 2);
    let all = union(&[&club.mia, &club.founder]);
    assert_eq!(void(&all, &seen), None);
    assert_eq!(void(&all, &unseen), Some(VoidReason::Revoked));
    assert_eq!(values(&all, MAIN), [1]);
    assert_eq!(access(&all, &club.mia), None);
    let state = membership(&all, &club.mias).state;
    assert_eq!(state, MembershipState::Revoked { revoke });
}

#[test]
fn forking_a_chain_below_the_cut_does_not_get_inside_it() {
    let mut club = club();
    let before = club.mia.copy();
    let seen = club.mia.push(MAIN, 1);
    club.mia.push(MAIN, 2);
    club.founder.meet(&club.mia);
    club.founder.revoke(club.mias);
    // The same number on the same chain as what was seen.
    let mut thief = before;
    let forked = thief.push(MAIN, 66);
    let left = thief.leave(club.mias);
    let all = union(&[&club.founder, &thief]);
    assert_eq!(all.equivocations().len(), 1);
    assert_eq!(void(&all, &seen), None);
    assert_eq!(void(&all, &forked), Some(VoidReason::Revoked));
    assert_eq!(void(&all, &left), Some(VoidReason::Revoked));
    assert_eq!(values(&all, MAIN), [2]);
}

#[test]
fn what_a_revocation_s_cut_names_counts_when_it_arrives() {
    let mut club = club();
    let first = club.mia.push(MAIN, 1);
    let named = club.mia.push(MAIN, 2);
    let after = club.mia.push(MAIN, 3);
    club.founder.revoke_at(club.mias, vec![named]);
    let mut all = union(&[&club.founder]);
    assert_eq!(access(&all, &club.mia), None);
    for verified in club.mia.view.iter() {
        all.insert(verified.clone()).expect("within the rules");
    }
    assert_eq!(void(&all, &first), None);
    assert_eq!(void(&all, &named), None);
    assert_eq!(void(&all, &after), Some(VoidReason::Revoked));
    assert_eq!(values(&all, MAIN), [2]);
}

#[test]
fn what_a_cut_names_counts_even_when_its_kind_is_unknown() {
    let mut club = club();
    let first = club.mia.push(MAIN, 1);
    let unknown = club.mia.say_unknown();
    let mut founder = club.founder.copy();
    founder.revoke_at(club.mias, vec![unknown]);
    for all in [union(&[&club.mia, &founder]), union(&[&founder, &club.mia])] {
        assert_eq!(void(&all, &first), None);
        assert_eq!(values(&all, MAIN), [1]);
    }
}

#[test]
fn a_new_invitation_is_a_new_membership_and_the_old_one_stays_dead() {
    let mut club = club();
    club.founder.revoke(club.mias);
    club.mia.meet(&club.founder);
    let old = club.mia.join(club.mias);
    assert_eq!(void(&club.mia.view, &old), Some(VoidReason::Revoked));
    assert_eq!(access(&club.mia.view, &club.mia), None);
    let again = club.founder.invite(club.mia.puddle, Role::Member);
    club.mia.meet(&club.founder);
    let still_out = club.mia.push(MAIN, 1);
    let join = club.mia.join(again);
    let moved = club.mia.push(MAIN, 2);
    assert_eq!(void(&club.mia.view, &still_out), Some(VoidReason::Revoked));
    assert_eq!(void(&club.mia.view, &join), None);
    assert_eq!(void(&club.mia.view, &moved), None);
    assert_eq!(access(&club.mia.view, &club.mia), Some(Access::Member));
    assert_eq!(values(&club.mia.view, MAIN), [2]);
}

#[test]
fn concurrent_revocations_leave_what_lies_within_each() {
    let mut club = club();
    let first = club.mia.push(MAIN, 1);
    let mut other = club.founder.elsewhere(50);
    club.founder.meet(&club.mia);
    let second = club.mia.push(MAIN, 2);
    other.meet(&club.mia);
    let one = club.founder.revoke(club.mias);
    let two = other.revoke(club.mias);
    let all = union(&[&club.founder, &other]);
    assert_eq!(void(&all, &first), None);
    assert_eq!(void(&all, &second), Some(VoidReason::Revoked));
    assert_eq!(values(&all, MAIN), [1]);
    assert_eq!(void(&all, &one), None);
    assert_eq!(void(&all, &two), None);
    let state = membership(&all, &club.mias).state;
    let revoke = one.min(two);
    assert_eq!(state, MembershipState::Revoked { revoke });
}

#[test]
fn a_later_revocation_cannot_cut_again() {
    let mut club = club();
    let seen = club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    club.founder.revoke(club.mias);
    let again = club.founder.revoke_at(club.mias, vec![]);
    assert_eq!(void(&club.founder.view, &again), Some(VoidReason::Recut));
    assert_eq!(void(&club.founder.view, &seen), None);
    assert_eq!(values(&club.founder.view, MAIN), [1]);
}

#[test]
fn a_revocation_of_nothing_in_its_past_is_void() {
    let club = club();
    let mut founder = club.founder.thief().elsewhere(50);
    let blind = founder.revoke_at(club.mias, vec![]);
    let nothing = founder.revoke_at(blind, vec![]);
    let all = union(&[&founder, &club.founder]);
    assert_eq!(void(&all, &blind), Some(VoidReason::NoInvite));
    assert_eq!(void(&all, &nothing), Some(VoidReason::NoInvite));
    assert_eq!(access(&all, &club.mia), Some(Access::Member));
}

#[test]
fn who_leaves_keeps_what_was_done_and_does_no_more() {
    let mut club = club();
    let before = club.mia.push(MAIN, 1);
    let elsewhere = club.mia.elsewhere(50).push(MAIN, 7);
    let leave = club.mia.leave(club.mias);
    let after = club.mia.push(MAIN, 2);
    let again = club.mia.join(club.mias);
    let view = &club.mia.view;
    assert_eq!(void(view, &before), None);
    assert_eq!(void(view, &leave), None);
    assert_eq!(void(view, &after), Some(VoidReason::Left));
    assert_eq!(void(view, &again), Some(VoidReason::Left));
    assert_eq!(values(view, MAIN), [1]);
    assert_eq!(access(view, &club.mia), None);
    let state = membership(view, &club.mias).state;
    assert_eq!(state, MembershipState::Left { leave });
    assert!(!view.contains(&elsewhere));
}

#[test]
fn nobody_leaves_for_somebody_else() {
    let mut club = club();
    let leave = club.nico.leave(club.mias);
    let rejoin = club.nico.rejoin(club.mias);
    assert_eq!(void(&club.nico.view, &leave), Some(VoidReason::NotInvited));
    assert_eq!(void(&club.nico.view, &rejoin), Some(VoidReason::NotInvited));
    assert_eq!(access(&club.nico.view, &club.mia), Some(Access::Member));
}

#[test]
fn who_has_not_joined_does_not_leave() {
    let mut founder = Author::founder();
    let mut mia = Author::person(20);
    let invite = founder.invite(mia.puddle, Role::Member);
    mia.meet(&founder);
    let leave = mia.leave(invite);
    assert_eq!(void(&mia.view, &leave), Some(VoidReason::NotJoined));
    mia.join(invite);
    assert_eq!(access(&mia.view, &mia), Some(Access::Member));
}

#[test]
fn leaving_and_being_thrown_out_at_once_is_out() {
    let mut club = club();
    let leave = club.mia.leave(club.mias);
    let revoke = club.founder.revoke(club.mias);
    let all = union(&[&club.mia, &club.founder]);
    assert_eq!(access(&all, &club.mia), None);
    assert_eq!(void(&all, &leave), Some(VoidReason::Revoked));
    let state = membership(&all, &club.mias).state;
    assert_eq!(state, MembershipState::Revoked { revoke });
}

#[test]
fn two_leaves_leave_what_lies_in_the_past_of_both() {
    let mut club = club();
    let mut other = club.mia.elsewhere(50);
    let here = club.mia.push(MAIN, 1);
    let there = other.push(MAIN, 2);
    club.mia.leave(club.mias);
    other.leave(club.mias);
    let all = union(&[&club.mia, &other]);
    assert_eq!(void(&all, &here), Some(VoidReason::Left));
    assert_eq!(void(&all, &there), Some(VoidReason::Left));
    assert!(all.refs().is_empty());
    // Even when the membership has been revoked after both.
    club.founder.meet(&club.mia);
    club.founder.meet(&other);
    let mut founder = club.founder;
    let cut = founder.view.heads();
    founder.revoke_at(club.mias, cut);
    let all = union(&[&founder]);
    assert_eq!(void(&all, &here), Some(VoidReason::Left));
    assert_eq!(void(&all, &there), Some(VoidReason::Left));
}

/// One device leaves while a copy of its key joins once more and leaves by that.
#[test]
fn a_join_beside_a_leave_counts_whichever_comes_first() {
    let mut founder = Author::founder();
    let mut mia = Author::person(20);
    let invite = founder.invite(mia.puddle, Role::Member);
    mia.meet(&founder);
    let mut other = mia.elsewhere(50);
    mia.join(invite);
    let moved = mia.push(MAIN, 1);
    mia.leave(invite);
    let again = other.join(invite);
    let beside = other.push(MAIN, 2);
    let leave = other.leave(invite);
    for all in [union(&[&mia, &other]), union(&[&other, &mia])] {
        assert_eq!(void(&all, &again), Some(VoidReason::Left));
        assert_eq!(void(&all, &beside), Some(VoidReason::Left));
        assert_eq!(void(&all, &leave), None);
        assert_eq!(void(&all, &moved), Some(VoidReason::Left));
    }
}

#[test]
fn of_several_reasons_one_is_shown_whatever_came_first() {
    let (mut here, mut there) = (
        Author::founder().elsewhere(50),
        Author::founder().elsewhere(51),
    );
    let mut mia = Author::person(20);
    let first = here.invite(mia.puddle, Role::Member);
    let second = there.invite(mia.puddle, Role::Member);
    mia.meet(&here);
    mia.join(first);
    here.meet(&mia);
    here.revoke(first);
    mia.meet(&there);
    mia.join(second);
    mia.leave(second);
    let late = mia.push(MAIN, 1);
    for order in [[&here, &there, &mia], [&there, &here, &mia]] {
        let all = union(&order);
        assert_eq!(void(&all, &late), Some(VoidReason::Revoked));
    }
}

#[test]
fn who_left_may_ask_back_in_and_needs_a_new_invitation() {
    let mut club = club();
    let early = club.mia.rejoin(club.mias);
    assert_eq!(void(&club.mia.view, &early), Some(VoidReason::NotLeft));
    club.mia.leave(club.mias);
    let asks = club.mia.rejoin(club.mias);
    let moved = club.mia.push(MAIN, 1);
    assert_eq!(void(&club.mia.view, &asks), None);
    assert_eq!(void(&club.mia.view, &moved), Some(VoidReason::Left));
    assert_eq!(access(&club.mia.view, &club.mia), None);
    assert_eq!(membership(&club.mia.view, &club.mias).asks_back, Some(asks));
    club.founder.meet(&club.mia);
    let again = club.founder.invite(club.mia.puddle, Role::Reader);
    assert_eq!(
        membership(&club.founder.view, &club.mias).asks_back,
        None,
        "the new invitation answers it"
    );
    club.mia.meet(&club.founder);
    club.mia.join(again);
    assert_eq!(access(&club.mia.view, &club.mia), Some(Access::Reader));
}

#[test]
fn who_was_thrown_out_does_not_ask_back_in() {
    let mut club = club();
    club.mia.leave(club.mias);
    club.founder.meet(&club.mia);
    club.founder.revoke(club.mias);
    let mut unaware = club.mia.copy();
    let beside = unaware.rejoin(club.mias);
    club.mia.meet(&club.founder);
    let after = club.mia.rejoin(club.mias);
    let all = union(&[&club.mia, &unaware]);
    assert_eq!(void(&all, &beside), Some(VoidReason::Revoked));
    assert_eq!(void(&all, &after), Some(VoidReason::Revoked));
    assert_eq!(membership(&all, &club.mias).asks_back, None);
}

#[test]
fn a_reader_fetches_and_does_not_push() {
    let mut founder = Author::founder();
    let mut rita = Author::person(22);
    let invite = founder.invite(rita.puddle, Role::Reader);
    rita.meet(&founder);
    rita.join(invite);
    assert_eq!(access(&rita.view, &rita), Some(Access::Reader));
    let moved = rita.push(MAIN, 1);
    let merged = rita.say(Act::Merge);
    assert_eq!(void(&rita.view, &moved), Some(VoidReason::Reader));
    assert_eq!(void(&rita.view, &merged), Some(VoidReason::Reader));
    assert!(rita.view.refs().is_empty());
    let mut mars = Author::daemon(11, &rita);
    let grant = rita.grant(&mars, 7, None);
    assert_eq!(void(&rita.view, &grant), None);
    assert_eq!(rita.view.granted_envoy(&mars.envoy), Some(Access::Reader));
    mars.meet(&rita);
    let moved = mars.push(MAIN, 2);
    assert_eq!(void(&mars.view, &moved), Some(VoidReason::Reader));
}

#[test]
fn of_two_memberships_the_greater_counts() {
    let mut club = club();
    let second = club.founder.invite(club.mia.puddle, Role::Reader);
    club.mia.meet(&club.founder);
    club.mia.join(second);
    let moved = club.mia.push(MAIN, 1);
    assert_eq!(void(&club.mia.view, &moved), None);
    assert_eq!(access(&club.mia.view, &club.mia), Some(Access::Member));
    club.founder.meet(&club.mia);
    club.founder.revoke(club.mias);
    club.mia.meet(&club.founder);
    let late = club.mia.push(MAIN, 2);
    assert_eq!(void(&club.mia.view, &late), Some(VoidReason::Reader));
    assert_eq!(void(&club.mia.view, &moved), None);
    assert_eq!(access(&club.mia.view, &club.mia), Some(Access::Reader));
}

#[test]
fn a_token_proves_the_membership_that_counts() {
    // Ids decide in which order memberships are looked at: in some of these worlds each comes first.
    for salt in 0..12_u8 {
        let mut club = club();
        for _ in 0..salt {
            club.founder.invite(key(200 + salt), Role::Reader);
        }
        let reader = club.founder.invite(club.mia.puddle, Role::Reader);
        let again = club.founder.invite(club.mia.puddle, Role::Member);
        club.mia.meet(&club.founder);
        club.mia.join(reader);
        club.mia.join(again);
        club.founder.meet(&club.mia);
        club.founder.revoke(club.mias);
        club.mia.meet(&club.founder);
        let mars = Author::daemon(11, &club.mia);
        let grant = club.mia.grant(&mars, 7, None);
        let token = club.mia.view.token(&grant).expect("she is a member");
        let invites: Vec<EnvelopeId> = token
            .envelopes()
            .iter()
            .filter(|one| matches!(one.statement().act, Act::Invite(_)))
            .map(|one| *one.id())
            .collect();
        assert_eq!(invites, [again], "{salt}");
    }
}

#[test]
fn revoking_takes_the_envoys_of_the_member_with_it() {
    let mut club = club();
    let mut mars = Author::daemon(11, &club.mia);
    club.mia.grant(&mars, 7, None);
    mars.meet(&club.mia);
    let before = mars.push(MAIN, 1);
    club.founder.meet(&mars);
    assert_eq!(
        club.founder.view.granted_envoy(&mars.envoy),
        Some(Access::Member)
    );
    club.founder.revoke(club.mias);
    let unseen = mars.push(MAIN, 2);
    mars.meet(&club.founder);
    assert_eq!(void(&mars.view, &before), None);
    assert_eq!(void(&mars.view, &unseen), Some(VoidReason::Revoked));
    assert_eq!(mars.view.granted_envoy(&mars.envoy), None);
    assert!(mars.view.grant(&mars.envoy, 7).is_none());
    assert_eq!(values(&mars.view, MAIN), [1]);
}

#[test]
fn revoking_at_nothing_undoes_the_join_itself() {
    let mut club = club();
    let moved = club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    let revoke = club.founder.revoke_at(club.mias, vec![]);
    let view = &club.founder.view;
    assert_eq!(void(view, &moved), Some(VoidReason::NotMember));
    assert!(view.refs().is_empty());
    assert_eq!(
        membership(view, &club.mias).state,
        MembershipState::Revoked { revoke }
    );
    // What no longer counts is left out of what comes after.
    assert!(!view.deps_after(None).contains(&moved));
    assert!(!view.cut().contains(&moved));
}

#[test]
fn one_who_says_two_things_at_one_number_says_both() {
    let mut club = club();
    let mut copy = club.mia.copy();
    let here = club.mia.push(MAIN, 1);
    let there = copy.push(MAIN, 2);
    let all = union(&[&club.mia, &copy]);
    assert_eq!(void(&all, &here), None);
    assert_eq!(void(&all, &there), None);
    let mut seen = values(&all, MAIN);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
    assert_eq!(all.alarms().len(), 1);
    assert_eq!(all.alarms()[0].code(), "equivocation");
}

#[test]
fn what_a_void_force_push_removed_comes_back() {
    let Club {
        mut founder,
        mut mia,
        mut nico,
        nicos,
        ..
    } = club();
    let kept = mia.push(MAIN, 1);
    nico.meet(&mia);
    founder.meet(&mia);
    let forced = nico.force(MAIN, 2);
    let all = union(&[&founder, &nico]);
    assert_eq!(values(&all, MAIN), [2]);
    founder.revoke(nicos);
    let all = union(&[&nico, &founder]);
    assert_eq!(void(&all, &forced), Some(VoidReason::Revoked));
    assert_eq!(void(&all, &kept), None);
    assert_eq!(values(&all, MAIN), [1]);
    // Being forced away does not pass through it either: what follows it does not take the first one along.
    let mut late = mia.copy();
    late.meet(&nico);
    late.change(MAIN, 3, vec![], vec![forced]);
    let all = union(&[&late, &founder]);
    let mut seen = values(&all, MAIN);
    seen.sort_unstable();
    assert_eq!(seen, [1, 3]);
}

#[test]
fn being_contained_passes_through_what_a_revocation_made_void() {
    let Club {
        mut founder,
        mut mia,
        mut nico,
        nicos,
        ..
    } = club();
    mia.push(MAIN, 1);
    nico.meet(&mia);
    founder.meet(&mia);
    let between = nico.push(MAIN, 2);
    mia.meet(&nico);
    mia.push(MAIN, 3);
    founder.revoke(nicos);
    let all = union(&[&mia, &founder]);
    assert_eq!(void(&all, &between), Some(VoidReason::Revoked));
    assert_eq!(values(&all, MAIN), [3], "3 contains 2, and 2 contains 1");
    let state = &all.refs()[&name(MAIN)];
    assert_eq!(state.visible.oid, oid(3));
}

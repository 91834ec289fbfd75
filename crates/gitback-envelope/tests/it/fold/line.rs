//! The founder line, rules 3, 4 and 5: heirs, what becomes of retired keys, and two delegations of one hop.

use gitback_envelope::{
    Access, Alarm, EnvelopeId, HOPS_MAX, Project, Role, Scope, Verdict, VoidReason,
};
use gitback_identity::PuddleKey;

use super::world::{Author, Club, club, init, key, pinned, project_id, union, values, void};

const MAIN: &str = "refs/heads/main";

fn heir(hop: u8) -> Author {
    Author::person(30 + hop)
}

fn line(project: &Project) -> Vec<PuddleKey> {
    project.line().iter().map(|hop| hop.key).collect()
}

/// A club whose founder has passed the line on to an heir who has seen it.
fn handed_over() -> (Club, Author, EnvelopeId) {
    let mut club = club();
    let mut heir = heir(1);
    let delegate = club.founder.delegate(1, &heir);
    heir.meet(&club.founder);
    (club, heir, delegate)
}

#[test]
fn an_heir_speaks_for_the_founder_and_the_retired_key_does_not() {
    let (club, mut heir, delegate) = handed_over();
    let invite = heir.invite(key(40), Role::Member);
    let mut old = club.founder.copy();
    let late = [
        old.invite(key(41), Role::Member),
        old.revoke_at(club.mias, vec![]),
        old.tombstone_at("evil", vec![]),
        old.policy(Scope::SwarmWide, &[]),
        old.push(MAIN, 66),
        old.grant(&Author::envoy(12), 0, None),
        old.ungrant(&Author::envoy(12)),
        old.say(gitback_envelope::Act::Merge),
    ];
    let all = union(&[&heir, &old]);
    for id in &late {
        assert_eq!(void(&all, id), Some(VoidReason::Retired));
    }
    assert_eq!(void(&all, &delegate), None);
    assert_eq!(void(&all, &invite), None);
    assert_eq!(line(&all), [club.founder.puddle, heir.puddle]);
    assert_eq!(all.current_founder(), Some(heir.puddle));
    assert_eq!(all.founder(), Some(club.founder.puddle));
    assert_eq!(all.access(&heir.puddle), Some(Access::Founder));
    assert_eq!(all.access(&club.founder.puddle), None);
    assert_eq!(all.access(&club.mia.puddle), Some(Access::Member));
    assert!(all.party(&club.founder.puddle));
    assert!(!all.ended());
    assert!(all.refs().is_empty());
}

#[test]
fn an_old_key_in_other_hands_changes_nothing_from_any_past() {
    let (club, heir, _) = handed_over();
    for mut thief in [club.founder.thief(), club.founder.thief().elsewhere(99)] {
        let late = [
            thief.invite(key(41), Role::Member),
            thief.revoke_at(club.mias, vec![]),
            thief.tombstone_at("evil", vec![]),
        ];
        let all = union(&[&heir, &thief]);
        for id in late {
            assert_eq!(void(&all, &id), Some(VoidReason::Retired));
        }
        assert_eq!(all.access(&club.mia.puddle), Some(Access::Member));
    }
}

#[test]
fn what_a_retired_key_said_within_the_cut_still_counts() {
    let mut club = club();
    let mut other = club.founder.elsewhere(50);
    let within = other.invite(key(40), Role::Member);
    club.founder.meet(&other);
    let outside = club.founder.invite(key(41), Role::Member);
    let cut = vec![within];
    let heir = heir(1);
    let delegate = club.founder.delegate_with(1, &heir, None, cut);
    let all = union(&[&club.founder]);
    assert_eq!(void(&all, &within), None);
    assert_eq!(void(&all, &outside), Some(VoidReason::Retired));
    assert_eq!(void(&all, &delegate), None, "the delegation itself counts");
    assert!(all.party(&key(40)));
    assert!(!all.party(&key(41)));
}

#[test]
fn an_heir_is_nobody_before_its_delegation() {
    let (club, heir, _) = handed_over();
    let mut early = heir.thief();
    let late = [
        early.invite(key(40), Role::Member),
        early.revoke_at(club.mias, vec![]),
        early.policy(Scope::SwarmWide, &[]),
        early.tombstone_at("evil", vec![]),
        early.push(MAIN, 1),
        early.grant(&Author::envoy(12), 0, None),
        early.delegate(2, &self::heir(2)),
    ];
    let all = union(&[&heir, &early]);
    for id in late {
        assert_eq!(void(&all, &id), Some(VoidReason::NotYetHeir));
    }
    assert_eq!(line(&all).len(), 2);
}

#[test]
fn a_key_that_is_not_on_the_line_passes_nothing_on() {
    let (mut club, mut heir, _) = handed_over();
    let by_member = club.mia.delegate(1, &self::heir(5));
    heir.meet(&club.mia);
    let by_member_next = club.mia.delegate(2, &self::heir(5));
    let mut old = club.founder.copy();
    let by_retired = old.delegate(2, &self::heir(6));
    let all = union(&[&heir, &club.mia, &old]);
    assert_eq!(void(&all, &by_member), Some(VoidReason::NotFounder));
    assert_eq!(void(&all, &by_member_next), Some(VoidReason::NotFounder));
    assert_eq!(void(&all, &by_retired), Some(VoidReason::Retired));
    assert_eq!(line(&all), [club.founder.puddle, heir.puddle]);
    assert_eq!(all.contests(), []);
}

#[test]
fn the_line_passes_on_five_times_at_most() {
    let mut last = Author::founder();
    let mut expected = vec![last.puddle];
    for hop in 1..=HOPS_MAX {
        let mut next = heir(u8::try_from(hop).expect("small"));
        let delegate = last.delegate(hop, &next);
        next.meet(&last);
        assert_eq!(void(&next.view, &delegate), None);
        expected.push(next.puddle);
        last = next;
    }
    let sixth = last.delegate(HOPS_MAX + 1, &heir(6));
    assert_eq!(void(&last.view, &sixth), Some(VoidReason::HopLimit));
    assert_eq!(line(&last.view), expected);
    assert_eq!(last.view.access(&last.puddle), Some(Access::Founder));
}

#[test]
fn a_hop_is_neither_skipped_nor_said_again() {
    let mut founder = Author::founder();
    let skipped = founder.delegate(2, &heir(1));
    assert_eq!(void(&founder.view, &skipped), Some(VoidReason::WrongHop));
    let mut first = heir(1);
    founder.delegate(1, &first);
    first.meet(&founder);
    let again = first.delegate(1, &heir(2));
    assert_eq!(void(&first.view, &again), Some(VoidReason::NotFounder));
    let skipped = first.delegate(4, &heir(2));
    assert_eq!(void(&first.view, &skipped), Some(VoidReason::WrongHop));
    assert_eq!(line(&first.view), [founder.puddle, first.puddle]);
    assert_eq!(first.view.contests(), []);
}

#[test]
fn no_key_is_on_the_line_twice() {
    let mut founder = Author::founder();
    let itself = founder.copy();
    let to_itself = founder.delegate(1, &itself);
    assert_eq!(void(&founder.view, &to_itself), Some(VoidReason::KeyTwice));
    assert_eq!(founder.view.contest(), None);
    let mut first = heir(1);
    founder.delegate(1, &first);
    first.meet(&founder);
    let back = first.delegate(2, &founder);
    assert_eq!(void(&first.view, &back), Some(VoidReason::KeyTwice));
    assert_eq!(line(&first.view), [founder.puddle, first.puddle]);
}

/// Two delegations of hop 1, the second by somebody who has copied the founder's key.
fn stolen() -> (Club, Author, Author, EnvelopeId, EnvelopeId) {
    let (club, heir, right) = handed_over();
    let mut thief = club.founder.thief().elsewhere(66);
    let wrong = thief.delegate_with(1, &Author::person(66), None, vec![]);
    (club, heir, thief, right, wrong)
}

#[test]
fn two_delegations_stop_the_line_where_nobody_has_picked() {
    let (club, mut heir, thief, right, wrong) = stolen();
    let invite = heir.invite(key(40), Role::Member);
    let moved = heir.push(MAIN, 1);
    let all = union(&[&heir, &thief]);
    assert_eq!(line(&all), [club.founder.puddle]);
    let contest = all.contest().expect("contested");
    let mut both = vec![right, wrong];
    both.sort();
    assert_eq!(contest.hop, 1);
    assert_eq!(contest.delegates, both);
    assert_eq!(contest.followed, None);
    assert_eq!(all.contests().len(), 1);
    assert_eq!(all.alarms().len(), 1);
    assert_eq!(all.alarms()[0].code(), "contested-line");
    for id in &both {
        assert_eq!(void(&all, id), Some(VoidReason::Contested));
    }
    assert_eq!(void(&all, &invite), Some(VoidReason::NotFounder));
    assert_eq!(void(&all, &moved), Some(VoidReason::NotMember));
    assert_eq!(all.access(&club.mia.puddle), Some(Access::Member));
    assert_eq!(all.access(&club.nico.puddle), Some(Access::Member));
    assert_eq!(all.fresh_pins(), []);
}

#[test]
fn a_pin_decides_between_two_delegations() {
    let (club, mut heir, thief, right, wrong) = stolen();
    let invite = heir.invite(key(40), Role::Member);
    let mut all = pinned(&[&heir, &thief], &[(1, right)]);
    assert_eq!(line(&all), [club.founder.puddle, heir.puddle]);
    assert_eq!(all.line()[1].delegate, Some(right));
    assert_eq!(void(&all, &right), None);
    assert_eq!(void(&all, &wrong), Some(VoidReason::NotPicked));
    assert_eq!(void(&all, &invite), None);
    assert_eq!(all.contest(), None);
    assert_eq!(all.contests()[0].followed, Some(right));
    assert!(matches!(&all.alarms()[..], [Alarm::Contest(_)]));
    // A person picks the other.
    let before = all.digest();
    all.pin(1, &wrong);
    assert_eq!(line(&all), [club.founder.puddle, key(66)]);
    assert_eq!(void(&all, &right), Some(VoidReason::NotPicked));
    assert_eq!(void(&all, &invite), Some(VoidReason::NotFounder));
    assert_ne!(all.digest(), before);
    // What the thief's cut leaves out is void: it was empty.
    assert_eq!(all.access(&club.mia.puddle), None);
    all.pin(1, &right);
    assert_eq!(all.digest(), before);
    assert_eq!(void(&all, &invite), None);
    assert_eq!(all.access(&club.mia.puddle), Some(Access::Member));
}

#[test]
fn a_pin_holds_whatever_arrives_later() {
    let (_, heir, thief, right, wrong) = stolen();
    let mut all = union(&[&heir]);
    assert_eq!(all.fresh_pins(), [(1, right)]);
    all.pin(1, &right);
    assert_eq!(all.fresh_pins(), []);
    for verified in thief.view.iter() {
        all.insert(verified.clone()).expect("within the rules");
    }
    assert_eq!(all.line()[1].key, heir.puddle);
    assert_eq!(void(&all, &wrong), Some(VoidReason::NotPicked));
}

#[test]
fn nothing_takes_the_place_of_a_pinned_delegation_that_is_not_here() {
    let (club, heir, thief, right, wrong) = stolen();
    let all = pinned(&[&thief], &[(1, right)]);
    assert_eq!(line(&all), [club.founder.puddle]);
    assert_eq!(void(&all, &wrong), Some(VoidReason::NotPicked));
    assert_eq!(all.contests(), []);
    let all = pinned(&[&thief, &heir], &[(1, right)]);
    assert_eq!(line(&all), [club.founder.puddle, heir.puddle]);
}

#[test]
fn pins_are_part_of_the_digest() {
    use sha2::{Digest as _, Sha256};
    let (club, _, right) = handed_over();
    let plain = union(&[&club.founder]);
    let with = pinned(&[&club.founder], &[(1, right)]);
    assert_eq!(line(&plain), line(&with));
    let mut hash = Sha256::new();
    hash.update(b"gitback pin v1");
    hash.update(1_u64.to_be_bytes());
    hash.update(right.as_bytes());
    let pin: [u8; 32] = hash.finalize().into();
    let mut carry = 0;
    let mut expected = plain.digest();
    for (total, byte) in expected.iter_mut().zip(pin).rev() {
        let wide = u16::from(*total) + u16::from(byte) + carry;
        *total = wide.to_be_bytes()[1];
        carry = wide >> 8;
    }
    assert_eq!(with.digest(), expected);
    assert_ne!(
        pinned(&[&club.founder], &[(2, right)]).digest(),
        with.digest()
    );
}

#[test]
fn a_committed_heir_is_the_only_one_that_counts() {
    let mut founder = Author::founder();
    let (mut first, second) = (heir(1), heir(2));
    founder.delegate_with(1, &first, Some(&second), founder.view.cut());
    first.meet(&founder);
    let right = first.copy().delegate(2, &second);
    let mut honest = first.copy();
    assert_eq!(honest.delegate(2, &second), right);
    let mut thief = first.copy();
    let wrong = thief.delegate(2, &Author::person(66));
    let all = union(&[&honest, &thief]);
    assert_eq!(
        line(&all),
        [founder.puddle, first.puddle, second.puddle],
        "no pin is needed"
    );
    assert_eq!(void(&all, &wrong), Some(VoidReason::NotCommitted));
    assert_eq!(all.contests(), []);
    assert_eq!(line(&thief.view).len(), 2);
}

#[test]
fn of_two_delegations_to_one_heir_the_lowest_id_is_followed_unless_pinned() {
    let founder = Author::founder();
    let heir = heir(1);
    let (mut one, mut other) = (founder.elsewhere(50), founder.elsewhere(51));
    let said = one.invite(key(40), Role::Member);
    let one_id = one.delegate(1, &heir);
    let other_id = other.delegate_with(1, &heir, None, vec![]);
    let all = union(&[&one, &other]);
    let low = one_id.min(other_id);
    assert_eq!(all.line()[1].delegate, Some(low));
    assert_eq!(all.contests(), []);
    assert_eq!(
        void(&all, &one_id.max(other_id)),
        Some(VoidReason::NotPicked)
    );
    let all = pinned(&[&one, &other], &[(1, one_id)]);
    assert_eq!(all.line()[1].delegate, Some(one_id));
    assert_eq!(void(&all, &said), None);
    let all = pinned(&[&one, &other], &[(1, other_id)]);
    assert_eq!(all.line()[1].delegate, Some(other_id));
    assert_eq!(void(&all, &said), Some(VoidReason::Retired));
}

#[test]
fn one_heir_with_two_commitments_is_contested() {
    let founder = Author::founder();
    let (mut one, mut other) = (founder.elsewhere(50), founder.elsewhere(51));
    one.delegate_with(1, &heir(1), Some(&heir(2)), vec![]);
    other.delegate_with(1, &heir(1), Some(&heir(3)), vec![]);
    let all = union(&[&one, &other]);
    assert_eq!(line(&all).len(), 1);
    assert!(all.contest().is_some());
}

#[test]
fn the_owner_of_a_stolen_key_takes_the_line_away_from_the_thief() {
    let mut club = club();
    let mut thief = club.founder.thief().elsewhere(66);
    thief.meet(&club.founder);
    let revoke = thief.revoke_at(club.mias, vec![]);
    thief.invite(key(66), Role::Member);
    let hurt = union(&[&club.founder, &thief]);
    assert_eq!(hurt.access(&club.mia.puddle), None, "the key is the power");
    assert!(hurt.party(&key(66)));
    club.founder.delegate(1, &heir(1));
    let healed = union(&[&thief, &club.founder]);
    assert_eq!(healed.access(&club.mia.puddle), Some(Access::Member));
    assert_eq!(void(&healed, &revoke), Some(VoidReason::Retired));
    assert!(!healed.party(&key(66)));
}

#[test]
fn what_a_delegation_s_cut_names_counts_when_it_arrives() {
    let founder = Author::founder();
    let mut other = founder.elsewhere(50);
    let first = other.invite(key(40), Role::Member);
    let second = other.push(MAIN, 1);
    let mut founder = founder;
    founder.delegate_with(1, &heir(1), None, vec![second]);
    let mut all = union(&[&founder]);
    assert_eq!(all.access(&founder.puddle), None);
    for verified in other.view.iter() {
        all.insert(verified.clone()).expect("within the rules");
        if verified.id() == &first {
            assert_eq!(void(&all, &first), Some(VoidReason::Retired));
        }
    }
    assert_eq!(void(&all, &first), None);
    assert_eq!(void(&all, &second), None);
    assert_eq!(values(&all, MAIN), [1]);
    assert!(all.party(&key(40)));
}

#[test]
fn a_member_that_becomes_heir_keeps_what_it_did_and_ends_with_its_key() {
    let mut club = club();
    let before = club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    club.founder.delegate(1, &club.mia);
    // Still without its delegation in sight it is a member like before.
    let unaware = club.mia.push(MAIN, 2);
    club.mia.meet(&club.founder);
    let aware = club.mia.invite(key(40), Role::Reader);
    assert_eq!(
        club.mia.view.access(&club.mia.puddle),
        Some(Access::Founder)
    );
    for id in [before, unaware, aware] {
        assert_eq!(void(&club.mia.view, &id), None);
    }
    let mut last = heir(2);
    club.mia.delegate(2, &last);
    last.meet(&club.mia);
    let mut retired = club.mia.copy();
    let late = [
        retired.push(MAIN, 3),
        retired.leave(club.mias),
        retired.join(club.mias),
    ];
    let all = union(&[&last, &retired]);
    for id in late {
        assert_eq!(void(&all, &id), Some(VoidReason::Retired));
    }
    for id in [before, unaware, aware] {
        assert_eq!(void(&all, &id), None);
    }
    assert_eq!(values(&all, MAIN), [2]);
    assert_eq!(all.access(&club.mia.puddle), None, "a retired key is dead");
    let again = last.invite(club.mia.puddle, Role::Member);
    retired.meet(&last);
    let join = retired.join(again);
    assert_eq!(void(&retired.view, &join), Some(VoidReason::Retired));
    assert_eq!(retired.view.access(&club.mia.puddle), None);
}

#[test]
fn grants_of_a_retired_key_are_dead() {
    let mut founder = Author::founder();
    let mut mars = Author::envoy(10);
    let grant = founder.grant(&mars, 7, None);
    mars.meet(&founder);
    let before = mars.push(MAIN, 1);
    founder.meet(&mars);
    assert!(founder.view.grant(&mars.envoy, 7).is_some());
    let mut heir = heir(1);
    founder.delegate(1, &heir);
    heir.meet(&founder);
    let after = mars.push(MAIN, 2);
    mars.meet(&heir);
    let aware = mars.push(MAIN, 3);
    assert_eq!(void(&mars.view, &grant), None, "it is within the cut");
    assert_eq!(void(&mars.view, &before), None);
    assert_eq!(void(&mars.view, &after), Some(VoidReason::Retired));
    assert_eq!(void(&mars.view, &aware), Some(VoidReason::Retired));
    assert!(mars.view.grant(&mars.envoy, 7).is_none());
    assert_eq!(mars.view.granted_envoy(&mars.envoy), None);
    assert_eq!(values(&mars.view, MAIN), [1]);
    // The heir lets it sign again.
    let mut for_heir = Author::daemon(10, &heir);
    heir.grant(&for_heir, 7, None);
    for_heir.meet(&heir);
    let moved = for_heir.push(MAIN, 4);
    assert_eq!(void(&for_heir.view, &moved), None);
    assert_eq!(values(&for_heir.view, MAIN), [4]);
}

#[test]
fn heads_of_the_whole_line_rank_before_members() {
    for new in 1..12 {
        let (mut club, mut heir, _) = handed_over();
        club.mia.push(MAIN, new);
        heir.push(MAIN, 100);
        let all = union(&[&club.mia, &heir]);
        assert_eq!(values(&all, MAIN), [100, new]);
        // Those of a retired key too.
        let mut club = super::world::club();
        club.founder.push(MAIN, 100);
        club.founder.delegate(1, &self::heir(1));
        club.mia.push(MAIN, new);
        let all = union(&[&club.mia, &club.founder]);
        assert_eq!(values(&all, MAIN), [100, new]);
    }
}

#[test]
fn a_line_that_is_picked_late_brings_back_all_that_rests_on_it() {
    let (_, mut heir, thief, right, _) = stolen();
    let mut zoe = Author::person(40);
    let invite = heir.invite(zoe.puddle, Role::Member);
    zoe.meet(&heir);
    let join = zoe.join(invite);
    let moved = zoe.push(MAIN, 9);
    let mut all = union(&[&thief, &zoe]);
    assert_eq!(void(&all, &join), Some(VoidReason::NoInvite));
    assert_eq!(void(&all, &moved), Some(VoidReason::NotMember));
    assert_eq!(all.memberships().len(), 2);
    all.pin(1, &right);
    for id in [invite, join, moved] {
        assert_eq!(void(&all, &id), None);
    }
    assert_eq!(values(&all, MAIN), [9]);
    assert_eq!(all.access(&zoe.puddle), Some(Access::Member));
    assert_eq!(all.memberships().len(), 3);
}

#[test]
fn a_delegation_of_an_envelope_not_here_is_unknown() {
    let project = Project::new(project_id());
    assert_eq!(project.line(), []);
    assert_eq!(project.current_founder(), None);
    assert_eq!(project.verdict(init().id()), Verdict::Unknown);
}

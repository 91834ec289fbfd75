//! Folding, chains, grants and synchronising, rule by rule.

use gitback_envelope::{
    Access, Act, EnvelopeId, Inserted, Project, Reject, Statement, Verdict, VoidReason,
};
use gitback_identity::{PuddleKey, SecretKey};

use super::world::{
    Author, UID, founder_and_envoys, founder_key, handle, hold_out, init, name, oid, project_id,
    union, values,
};

const MAIN: &str = "refs/heads/main";

#[test]
fn init_founds_the_project() {
    let mut project = Project::new(project_id());
    assert_eq!(project.founder(), None);
    assert_eq!(project.access(&founder_key()), None);
    let id = *init().id();
    assert_eq!(project.insert(init()), Ok(Inserted::Folded(vec![id])));
    assert_eq!(project.insert(init()), Ok(Inserted::Duplicate));
    assert_eq!(project.founder(), Some(founder_key()));
    assert_eq!(project.handle(), Some(&handle()));
    assert_eq!(project.access(&founder_key()), Some(Access::Founder));
    assert_eq!(project.verdict(&id), Verdict::Valid);
    assert_eq!(project.len(), 1);
}

#[test]
fn an_envelope_waits_for_its_whole_past_and_then_folds_with_what_waited_for_it() {
    let (_, mut mars, _) = founder_and_envoys();
    let first = mars.push(MAIN, 1);
    let second = mars.push(MAIN, 2);
    let all: Vec<_> = mars.view.iter().cloned().collect();
    let mut project = Project::new(project_id());
    for verified in all.iter().skip(1).rev() {
        assert_eq!(project.insert(verified.clone()), Ok(Inserted::Waiting));
        assert_eq!(project.verdict(verified.id()), Verdict::Waiting);
    }
    assert_eq!(project.len(), 0);
    assert_eq!(project.missing(), vec![*init().id()]);
    assert!(project.contains(&first));
    let folded = project.insert(init());
    let Ok(Inserted::Folded(ids)) = folded else {
        panic!("{folded:?}");
    };
    assert_eq!(ids.len(), all.len());
    assert_eq!(ids.last(), Some(&second));
    assert_eq!(project.missing(), vec![]);
    assert_eq!(project.waiting_len(), 0);
    assert_eq!(values(&project, MAIN), [2]);
}

/// What follows `id` on its author's chain, but one number further.
fn jump_after(author: &Author, id: &EnvelopeId) -> Statement {
    let act = author.view.get(id).expect("here").statement().act.clone();
    let mut jump = author.draft(act);
    jump.seq += 1;
    jump
}

#[test]
fn a_gap_in_a_chain_never_folds() {
    let (_, mut mars, _) = founder_and_envoys();
    let first = mars.push(MAIN, 1);
    let jumped = mars.seal(jump_after(&mars, &first));
    assert_eq!(mars.view.insert(jumped.clone()), Err(Reject::BrokenChain));
    assert_eq!(mars.view.verdict(jumped.id()), Verdict::Unknown);
}

#[test]
fn what_waits_for_a_broken_chain_is_dropped_when_that_shows() {
    let (_, mut mars, _) = founder_and_envoys();
    let first = mars.push(MAIN, 1);
    let jump = jump_after(&mars, &first);
    let jumped = mars.seal(jump.clone());
    let mut follower = jump;
    follower.seq += 1;
    follower.prev = Some(*jumped.id());
    let follower = mars.seal(follower);

    let mut project = Project::new(project_id());
    assert_eq!(project.insert(follower.clone()), Ok(Inserted::Waiting));
    assert_eq!(project.insert(jumped.clone()), Ok(Inserted::Waiting));
    for verified in mars.view.iter() {
        project.insert(verified.clone()).expect("within the rules");
    }
    assert_eq!(project.waiting_len(), 0);
    assert_eq!(project.missing(), vec![]);
    assert_eq!(project.verdict(jumped.id()), Verdict::Unknown);
    assert_eq!(project.verdict(follower.id()), Verdict::Unknown);
    assert_eq!(project.digest(), mars.view.digest());
}

#[test]
fn what_waits_for_a_refused_envelope_is_dropped_with_all_it_asked_for() {
    let (_, mut mars, _) = founder_and_envoys();
    let first = mars.push(MAIN, 1);
    let jump = jump_after(&mars, &first);
    let jumped = mars.seal(jump.clone());
    let mut follower = jump;
    follower.seq += 1;
    follower.prev = Some(*jumped.id());
    follower.deps = vec![EnvelopeId::from_bytes(&[0xee; 32])];
    let follower = mars.seal(follower);
    assert_eq!(mars.view.insert(follower.clone()), Ok(Inserted::Waiting));
    assert_eq!(mars.view.missing().len(), 2);
    assert_eq!(mars.view.insert(jumped), Err(Reject::BrokenChain));
    assert!(!mars.view.contains(follower.id()));
    assert_eq!(mars.view.missing(), vec![]);
}

#[test]
fn rejects_an_envelope_of_another_project() {
    let other = SecretKey::from_seed(&[9; 32]);
    let statement = Statement::init(&PuddleKey::new(other.public()), &handle());
    let signature = other.sign(&statement.signing_bytes().expect("within the rules"));
    let foreign = statement.seal(signature).expect("its own signature");
    let mut project = Project::new(project_id());
    assert_eq!(project.insert(foreign), Err(Reject::WrongProject));
}

#[test]
fn a_grant_lets_its_envoy_sign_for_one_user() {
    let mut founder = Author::founder();
    let mars = Author::envoy(10);
    let venus = Author::envoy(11);
    assert!(founder.view.granted_envoy(&mars.envoy).is_none());
    let grant = founder.grant(&mars, UID, None);
    let found = founder.view.grant(&mars.envoy, UID).expect("granted");
    assert_eq!(found.id(), &grant);
    assert!(founder.view.granted_envoy(&mars.envoy).is_some());
    assert!(founder.view.grant(&mars.envoy, UID + 1).is_none());
    assert!(founder.view.grant(&venus.envoy, UID).is_none());
    assert!(founder.view.granted_envoy(&venus.envoy).is_none());
}

#[test]
fn of_several_grants_the_one_that_lasts_longest_is_found() {
    let mut founder = Author::founder();
    let mars = Author::envoy(10);
    let mut check = |expires_ms, expected: Option<u64>| {
        founder.grant(&mars, UID, expires_ms);
        let found = founder.view.grant(&mars.envoy, UID).expect("granted");
        let Act::Grant(grant) = &found.statement().act else {
            panic!("a grant");
        };
        assert_eq!(grant.expires_ms, expected);
    };
    check(Some(500), Some(500));
    check(Some(900), Some(900));
    check(Some(100), Some(900));
    check(None, None);
    check(Some(900), None);
}

#[test]
fn a_grant_by_somebody_else_is_void() {
    let stranger_key = PuddleKey::new(SecretKey::from_seed(&[7; 32]).public());
    let mut stranger = Author::new(7, stranger_key, 10);
    let mars = Author::envoy(10);
    let grant = stranger.grant(&mars, UID, None);
    let void = Verdict::Void(VoidReason::NotMember);
    assert_eq!(stranger.view.verdict(&grant), void);
    assert!(stranger.view.grant(&mars.envoy, UID).is_none());
    let moved = stranger.push(MAIN, 1);
    assert_eq!(stranger.view.verdict(&moved), void);
    assert!(stranger.view.refs().is_empty());
}

#[test]
fn an_update_counts_only_after_its_own_grant() {
    let mut founder = Author::founder();
    let mut mars = Author::envoy(10);
    let before = mars.push(MAIN, 1);
    founder.meet(&mars);
    founder.grant(&mars, UID, None);
    mars.meet(&founder);
    let after = mars.push(MAIN, 2);
    let void = Verdict::Void(VoidReason::NotGranted);
    assert_eq!(mars.view.verdict(&before), void);
    assert_eq!(mars.view.verdict(&after), Verdict::Valid);
    assert_eq!(values(&mars.view, MAIN), [2]);
}

#[test]
fn an_update_by_an_envoy_without_a_grant_is_void() {
    let (_, mars, _) = founder_and_envoys();
    let mut pluto = Author::envoy(12);
    pluto.meet(&mars);
    let moved = pluto.push(MAIN, 1);
    let void = Verdict::Void(VoidReason::NotGranted);
    assert_eq!(pluto.view.verdict(&moved), void);
    assert!(pluto.view.refs().is_empty());
}

#[test]
fn an_update_signed_by_the_founder_needs_no_grant() {
    let mut founder = Author::founder();
    let moved = founder.push(MAIN, 1);
    assert_eq!(founder.view.verdict(&moved), Verdict::Valid);
    let refs = founder.view.refs();
    let state = refs.get(&name(MAIN)).expect("main");
    assert_eq!(state.visible.oid, oid(1));
    assert_eq!(state.visible.envoy, founder.envoy);
    assert_eq!(state.visible.puddle, founder_key());
}

#[test]
fn two_envelopes_at_one_number_are_both_kept_and_reported() {
    let (_, mut mars, _) = founder_and_envoys();
    let mut copy = Author::envoy(10);
    copy.meet(&mars);
    let here = mars.push(MAIN, 1);
    let there = copy.push(MAIN, 2);
    let later = mars.push(MAIN, 3);
    let both = union(&[&copy, &mars]);
    let found = both.equivocations();
    assert_eq!(found.len(), 1);
    let mut ids = vec![here, there];
    ids.sort();
    assert_eq!(found[0].ids, ids);
    assert_eq!(found[0].seq, 0);
    assert_eq!(found[0].signer, mars.secret.public());
    let mut seen = values(&both, MAIN);
    seen.sort_unstable();
    assert_eq!(seen, [2, 3]);
    assert!(both.is_ancestor(&here, &later));
    assert!(!both.is_ancestor(&there, &later));
    let end = both.next(&mars.secret.public(), &mars.puddle, &mars.incarnation);
    assert_eq!(end, (2, Some(later)), "the longer one goes on");
}

#[test]
fn of_several_ends_the_longest_goes_on_and_then_the_one_with_the_lowest_id() {
    for new in 1..20 {
        let (_, mut mars, _) = founder_and_envoys();
        let mut copy = Author::envoy(10);
        copy.meet(&mars);
        let here = mars.push(MAIN, new);
        let there = copy.push(MAIN, 100 + new);
        let next = |project: &Project| {
            project.next(&mars.secret.public(), &mars.puddle, &mars.incarnation)
        };
        let both = union(&[&copy, &mars]);
        assert_eq!(next(&both), (1, Some(here.min(there))));
        let longer = copy.push(MAIN, 200);
        let both = union(&[&mars, &copy]);
        assert_eq!(next(&both), (2, Some(longer)));
    }
}

#[test]
fn ancestry_follows_ids_across_a_fork_below_a_fork() {
    let (_, mut mars, _) = founder_and_envoys();
    let root = mars.push(MAIN, 1);
    let mut copy = Author::envoy(10);
    copy.meet(&mars);
    let left = mars.push(MAIN, 2);
    let right = copy.push(MAIN, 3);
    let mut deeper = Author::envoy(10);
    deeper.meet(&copy);
    let right_left = copy.push(MAIN, 4);
    let right_right = deeper.push(MAIN, 5);
    let all = union(&[&mars, &copy, &deeper]);
    for end in [left, right, right_left, right_right] {
        assert!(all.is_ancestor(&root, &end));
    }
    assert!(all.is_ancestor(&right, &right_left));
    assert!(all.is_ancestor(&right, &right_right));
    assert!(!all.is_ancestor(&left, &right_left));
    assert!(!all.is_ancestor(&right_left, &right_right));
    assert!(!all.is_ancestor(&root, &root));
    assert_eq!(all.equivocations().len(), 2);
}

#[test]
fn an_unknown_kind_is_kept_and_what_follows_it_waits() {
    let (mut founder, mut mars, _) = founder_and_envoys();
    mars.push(MAIN, 1);
    founder.meet(&mars);
    let unknown = founder.say_unknown();
    let after = founder.push(MAIN, 2);
    assert_eq!(founder.view.verdict(&unknown), Verdict::Waiting);
    assert_eq!(founder.view.verdict(&after), Verdict::Waiting);
    assert_eq!(founder.view.unknown_len(), 1);
    assert_eq!(values(&founder.view, MAIN), [1]);
    assert_eq!(founder.view.heads(), vec![after]);
    // An author on this version leaves it out of its own past, so that its own words count.
    mars.meet(&founder);
    assert!(!mars.view.deps_after(None).contains(&after));
    let moved = mars.push(MAIN, 3);
    assert_eq!(mars.view.verdict(&moved), Verdict::Valid);
}

#[test]
fn void_envelopes_are_left_out_of_deps() {
    let (_, mut mars, _) = founder_and_envoys();
    let moved = mars.push(MAIN, 1);
    let mut pluto = Author::envoy(12);
    pluto.meet(&mars);
    let void = pluto.push(MAIN, 2);
    mars.meet(&pluto);
    assert_eq!(mars.view.heads(), vec![void]);
    assert_eq!(mars.view.deps_after(None), vec![moved]);
    assert_eq!(mars.view.deps_after(Some(&moved)), vec![]);
}

#[test]
fn deps_reach_past_an_update_that_was_held_out() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    let honest = mars.push(MAIN, 1);
    venus.meet(&mars);
    let lie = venus.push(MAIN, 2);
    hold_out(&mut venus.view, &lie);
    assert_eq!(venus.view.deps_after(None), vec![honest]);
    // The liar's own chain goes on, and what it says next counts again.
    let next = venus.push(MAIN, 3);
    assert_eq!(venus.view.verdict(&next), Verdict::Valid);
    assert_eq!(venus.view.deps_after(None), vec![next]);
}

#[test]
fn a_holder_of_tips_is_sent_exactly_what_it_lacks() {
    let (founder, mut mars, mut venus) = founder_and_envoys();
    for step in 1..50 {
        mars.push(MAIN, step);
    }
    venus.meet(&mars);
    let common = venus.view.len();
    for step in 1..20 {
        mars.push(MAIN, step);
        venus.push("refs/heads/other", step);
    }
    assert_eq!(mars.view.lacking(&venus.view.tips()).len(), 19);
    assert_eq!(mars.view.lacking(&[]).len(), mars.view.len());
    assert_eq!(mars.view.lacking(&mars.view.tips()).len(), 0);
    for verified in mars.view.lacking(&founder.view.tips()) {
        assert!(!founder.view.contains(verified.id()));
    }
    for verified in venus.view.lacking(&mars.view.tips()) {
        mars.take(&verified);
    }
    assert_eq!(mars.view.len(), common + 38);
}

#[test]
fn one_who_is_behind_finds_a_place_in_common() {
    let (_, mut mars, _) = founder_and_envoys();
    let mut behind = Author::envoy(10);
    for step in 0..200 {
        mars.push(MAIN, step % 250 + 1);
        if step == 149 {
            behind.meet(&mars);
        }
    }
    // Asked by one who is 50 ahead, it resends at most eight times that.
    let resent = behind.view.lacking(&mars.view.tips());
    assert!(resent.len() <= 50 * 8, "{}", resent.len());
    assert!(resent.len() < behind.view.len());
    assert_eq!(mars.view.lacking(&behind.view.tips()).len(), 50);
}

#[test]
fn the_digest_is_the_sum_of_the_hashed_ids() {
    use sha2::{Digest as _, Sha256};
    let (founder, _, _) = founder_and_envoys();
    let mut sum = [0_u8; 32];
    for verified in founder.view.iter() {
        let mut carry = 0;
        let hash = Sha256::digest(verified.id().as_bytes());
        for (total, byte) in sum.iter_mut().zip(hash).rev() {
            let wide = u16::from(*total) + u16::from(byte) + carry;
            *total = wide.to_be_bytes()[1];
            carry = wide >> 8;
        }
    }
    assert_eq!(founder.view.digest(), sum);
}

#[test]
fn counts_what_has_folded_what_waits_and_what_nobody_knows() {
    let mut founder = Author::founder();
    let first = founder.push(MAIN, 1);
    let first = founder.view.get(&first).expect("here").clone();
    let mut project = Project::new(project_id());
    let counts = |project: &Project| {
        let waiting = project.waiting_len();
        (
            project.is_empty(),
            project.len(),
            waiting,
            project.unknown_len(),
        )
    };
    assert_eq!(counts(&project), (true, 0, 0, 0));
    project.insert(first).expect("within the rules");
    assert_eq!(counts(&project), (true, 0, 1, 0));
    project.insert(init()).expect("within the rules");
    assert_eq!(counts(&project), (false, 2, 0, 0));
    let news = founder.seal_unknown(0);
    project.insert(news).expect("within the rules");
    assert_eq!(counts(&project), (false, 3, 0, 1));
}

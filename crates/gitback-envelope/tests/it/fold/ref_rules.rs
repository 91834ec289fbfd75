//! Heads of refs: who replaces whom, what is visible, what is served under which name.

use std::collections::BTreeMap;

use gitback_envelope::{Act, Change, Claim, Oid, Project, Update, Verdict, VoidReason};
use gitback_identity::{PuddleKey, SecretKey, hex};

use super::world::{Author, club, founder_and_envoys, hold_out, name, oid, union, update, values};

const MAIN: &str = "refs/heads/main";

fn served(project: &Project) -> BTreeMap<String, Oid> {
    let text = |name| String::from_utf8(name).expect("UTF-8 names in these tests");
    let served = project.served().into_iter();
    served.map(|(name, oid)| (text(name), oid)).collect()
}

#[test]
fn a_push_that_contains_the_head_replaces_it() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    mars.push(MAIN, 1);
    venus.meet(&mars);
    venus.push(MAIN, 2);
    assert_eq!(values(&venus.view, MAIN), [2]);
    assert_eq!(served(&venus.view), BTreeMap::from([(MAIN.into(), oid(2))]));
}

#[test]
fn concurrent_pushes_diverge_and_a_merge_ends_it() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    let by_mars = mars.push(MAIN, 1);
    let by_venus = venus.push(MAIN, 2);
    mars.meet(&venus);
    let (visible, hidden, envoy, update) = if by_mars < by_venus {
        (1, 2, &venus.envoy, by_venus)
    } else {
        (2, 1, &mars.envoy, by_mars)
    };
    assert_eq!(values(&mars.view, MAIN), [visible, hidden]);
    let state = &mars.view.refs()[&name(MAIN)];
    assert_eq!(state.visible.oid, oid(visible));
    assert_eq!(state.others.len(), 1);
    let envoy = &envoy.to_string()[..16];
    let expected = BTreeMap::from([
        (MAIN.to_owned(), oid(visible)),
        (
            format!("refs/envoys/{envoy}/heads/main@{}", update.short()),
            oid(hidden),
        ),
    ]);
    assert_eq!(served(&mars.view), expected);
    mars.push(MAIN, 3);
    assert_eq!(served(&mars.view), BTreeMap::from([(MAIN.into(), oid(3))]));
}

#[test]
fn what_a_later_update_does_not_name_stays_a_head() {
    let (_, mut mars, _) = founder_and_envoys();
    mars.push(MAIN, 1);
    mars.change(MAIN, 2, vec![], vec![]);
    assert_eq!(values(&mars.view, MAIN).len(), 2);
}

#[test]
fn naming_what_is_no_ancestor_or_another_ref_does_nothing() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    let elsewhere = venus.push(MAIN, 9);
    let other_ref = mars.push("refs/heads/other", 1);
    mars.change(MAIN, 2, vec![elsewhere], vec![]);
    mars.change(MAIN, 3, vec![], vec![other_ref]);
    let all = union(&[&mars, &venus]);
    let mut seen = values(&all, MAIN);
    seen.sort_unstable();
    assert_eq!(seen, [2, 3, 9]);
    assert_eq!(values(&all, "refs/heads/other"), [1]);
}

#[test]
fn what_a_void_force_push_removed_comes_back() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    mars.push(MAIN, 1);
    venus.meet(&mars);
    let forced = venus.force(MAIN, 2);
    assert_eq!(values(&venus.view, MAIN), [2]);
    hold_out(&mut venus.view, &forced);
    assert_eq!(values(&venus.view, MAIN), [1]);
    assert_eq!(
        venus.view.verdict(&forced),
        Verdict::Void(VoidReason::HeldOut)
    );
}

#[test]
fn being_contained_passes_through_what_an_update_says_about_another_ref_than_it_lies_about() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    let first = mars.push(MAIN, 1);
    venus.meet(&mars);
    let change = |ref_name: &str, contained: Vec<_>| Change {
        name: name(ref_name),
        new: oid(2),
        contained,
        forced: vec![],
    };
    let both = venus.say(update(vec![
        change(MAIN, vec![first]),
        change("refs/heads/other", vec![]),
    ]));
    mars.meet(&venus);
    let third = mars.change(MAIN, 3, vec![both], vec![]);
    let other = name("refs/heads/other");
    mars.view.hold_out(&both, &other);
    assert_eq!(mars.view.verdict(&both), Verdict::Void(VoidReason::HeldOut));
    assert_eq!(values(&mars.view, MAIN), [3], "{third} contains {first}");
    mars.view.hold_out(&both, &name(MAIN));
    assert_eq!(values(&mars.view, MAIN).len(), 2);
}

#[test]
fn being_contained_passes_through_an_update_without_authority() {
    // Pluto has no grant, so what it says is void; its commit does contain the first one.
    let (_, mut mars, _) = founder_and_envoys();
    let first = mars.push(MAIN, 1);
    let mut pluto = Author::envoy(12);
    pluto.meet(&mars);
    let void = pluto.push(MAIN, 2);
    let void_again = pluto.change(MAIN, 3, vec![void], vec![]);
    mars.meet(&pluto);
    assert_eq!(values(&mars.view, MAIN), [1]);
    let mut follower = mars.draft(change(4, &[void_again], &[]));
    follower.deps = vec![void_again];
    let follower = mars.seal(follower);
    mars.take(&follower);
    assert_eq!(values(&mars.view, MAIN), [4]);
    let claim = Claim {
        name: name(MAIN),
        new: oid(4),
        contains: vec![oid(1), oid(2), oid(3)],
        forces: vec![],
    };
    assert_eq!(mars.view.claims(follower.id()), vec![claim]);
    assert!(mars.view.is_ancestor(&first, follower.id()));
}

#[test]
fn being_contained_does_not_pass_through_a_lie() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    mars.push(MAIN, 1);
    venus.meet(&mars);
    let lie = venus.push(MAIN, 2);
    mars.meet(&venus);
    mars.push(MAIN, 3);
    assert_eq!(values(&mars.view, MAIN), [3]);
    hold_out(&mut mars.view, &lie);
    let mut seen = values(&mars.view, MAIN);
    seen.sort_unstable();
    assert_eq!(seen, [1, 3], "nobody has said truly that 3 contains 1");
}

#[test]
fn being_forced_away_passes_through_nothing() {
    let (_, mut mars, _) = founder_and_envoys();
    mars.push(MAIN, 1);
    let mut pluto = Author::envoy(12);
    pluto.meet(&mars);
    let void = pluto.push(MAIN, 2);
    mars.meet(&pluto);
    let mut follower = mars.draft(change(3, &[], &[void]));
    follower.deps = vec![void];
    let follower = mars.seal(follower);
    mars.take(&follower);
    let mut seen = values(&mars.view, MAIN);
    seen.sort_unstable();
    assert_eq!(seen, [1, 3]);
}

fn change(
    new: u8,
    contained: &[gitback_envelope::EnvelopeId],
    forced: &[gitback_envelope::EnvelopeId],
) -> Act {
    update(vec![Change {
        name: name(MAIN),
        new: oid(new),
        contained: contained.to_vec(),
        forced: forced.to_vec(),
    }])
}

#[test]
fn a_lie_can_be_held_out_before_it_arrives() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    let lie = mars.push(MAIN, 1);
    venus.view.hold_out(&lie, &name(MAIN));
    venus.meet(&mars);
    assert_eq!(venus.view.verdict(&lie), Verdict::Void(VoidReason::HeldOut));
    assert!(venus.view.refs().is_empty());
}

#[test]
fn a_deletion_removes_what_it_names_and_loses_to_a_concurrent_push() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    mars.push(MAIN, 1);
    venus.meet(&mars);
    let deleted = mars.delete(MAIN);
    assert!(mars.view.refs().is_empty());
    assert!(served(&mars.view).is_empty());
    let heads = mars.view.heads_of(&name(MAIN));
    assert_eq!(heads.len(), 1);
    assert_eq!(heads[0].update, deleted);
    assert!(heads[0].oid.is_zero());

    venus.push(MAIN, 2);
    mars.meet(&venus);
    assert_eq!(values(&mars.view, MAIN), [2, 0]);
    let state = &mars.view.refs()[&name(MAIN)];
    assert_eq!(state.visible.oid, oid(2));
    assert!(state.others.is_empty());
    // The next push has seen the deletion and puts an end to it.
    mars.push(MAIN, 3);
    assert_eq!(values(&mars.view, MAIN), [3]);
}

#[test]
fn the_founders_head_is_visible_whatever_its_id() {
    // Only the founder is a member in this version, so every head ranks alike and the lowest id is visible.
    for new in 1..20 {
        let (_, mut mars, mut venus) = founder_and_envoys();
        let by_mars = mars.push(MAIN, new);
        let by_venus = venus.push(MAIN, 100 + new);
        mars.meet(&venus);
        let visible = if by_mars < by_venus { new } else { 100 + new };
        assert_eq!(values(&mars.view, MAIN)[0], visible);
    }
}

#[test]
fn a_ref_and_a_folder_of_its_name_are_a_divergence() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    let file = mars.push("refs/heads/a", 1);
    let inside = venus.push("refs/heads/a/b", 2);
    let deeper = venus.push("refs/heads/a/c/d", 3);
    let beside = venus.push("refs/heads/a-b", 4);
    mars.meet(&venus);
    let refs = mars.view.refs();
    let hidden_by = |ref_name: &str| {
        refs[&name(ref_name)]
            .hidden_by
            .as_ref()
            .map(ToString::to_string)
    };
    assert_eq!(hidden_by("refs/heads/a-b"), None, "{beside}");
    let served = served(&mars.view);
    assert_eq!(served.len(), 4);
    assert_eq!(served["refs/heads/a-b"], oid(4));
    let envoy = |author: &Author| hex::encode(&author.envoy.as_bytes()[..8]);
    let hidden = |author: &Author, rest: &str, id: &gitback_envelope::EnvelopeId| {
        format!("refs/envoys/{}/heads/{rest}@{}", envoy(author), id.short())
    };
    if file < inside.min(deeper) {
        assert_eq!(served["refs/heads/a"], oid(1));
        assert_eq!(served[&hidden(&venus, "a/b", &inside)], oid(2));
        assert_eq!(served[&hidden(&venus, "a/c/d", &deeper)], oid(3));
        assert_eq!(hidden_by("refs/heads/a/b").as_deref(), Some("refs/heads/a"));
    } else {
        assert_eq!(served["refs/heads/a/b"], oid(2));
        assert_eq!(served["refs/heads/a/c/d"], oid(3));
        assert_eq!(served[&hidden(&mars, "a", &file)], oid(1));
    }
}

#[test]
fn served_names_never_stand_in_each_others_way() {
    // The other head of `a` would be served as …/heads/a@<short>, which the other head of a ref below a folder of
    // that very name would need as a folder.
    let (_, mut mars, mut venus) = founder_and_envoys();
    let first = mars.push("refs/heads/a", 1);
    let second = venus.push("refs/heads/a", 2);
    let loser = if first < second {
        &mut venus
    } else {
        &mut mars
    };
    let below = format!("refs/heads/a@{}/x", first.max(second).short());
    loser.change(&below, 3, vec![], vec![]);
    loser.change(&below, 4, vec![], vec![]);
    let all = union(&[&mars, &venus]);
    let served = served(&all);
    assert_eq!(served.len(), 4);
    for (one, other) in served.keys().zip(served.keys().skip(1)) {
        assert!(
            !other.starts_with(&format!("{one}/")),
            "{one} is a folder of {other}"
        );
    }
    let update = all.refs()[&name(&below)].others[0].update;
    assert!(
        served
            .keys()
            .any(|name| name.starts_with(&format!("refs/envoys/{update}/")))
    );
}

#[test]
fn where_head_goes_the_founder_says_before_members() {
    for new in 1..12 {
        let mut club = club();
        let to = |author: &mut Author, target: &str| {
            let act = Act::Update(Update {
                changes: vec![Change {
                    name: name(target),
                    new: oid(new),
                    contained: vec![],
                    forced: vec![],
                }],
                head: Some(name(target)),
                pack: None,
            });
            author.say(act)
        };
        to(&mut club.mia, "refs/heads/hers");
        to(&mut club.founder, "refs/heads/his");
        club.founder.meet(&club.mia);
        let target = club.founder.view.head_target();
        assert_eq!(target, Some(name("refs/heads/his")), "{new}");
    }
}

#[test]
fn head_follows_the_latest_word() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    assert_eq!(mars.view.head_target(), None);
    let to = |author: &mut Author, target: &str| {
        let act = Act::Update(Update {
            changes: vec![Change {
                name: name(target),
                new: oid(1),
                contained: vec![],
                forced: vec![],
            }],
            head: Some(name(target)),
            pack: None,
        });
        author.say(act)
    };
    to(&mut mars, "refs/heads/one");
    assert_eq!(mars.view.head_target(), Some(name("refs/heads/one")));
    venus.meet(&mars);
    let two = to(&mut mars, "refs/heads/two");
    assert_eq!(mars.view.head_target(), Some(name("refs/heads/two")));
    mars.push(MAIN, 1);
    assert_eq!(mars.view.head_target(), Some(name("refs/heads/two")));
    let three = to(&mut venus, "refs/heads/three");
    mars.meet(&venus);
    let expected = if two < three {
        "refs/heads/two"
    } else {
        "refs/heads/three"
    };
    assert_eq!(mars.view.head_target(), Some(name(expected)));
    hold_out(&mut mars.view, &two.min(three));
    let left = if two < three {
        "refs/heads/three"
    } else {
        "refs/heads/two"
    };
    assert_eq!(mars.view.head_target(), Some(name(left)));
}

#[test]
fn claims_say_what_must_be_true_of_the_graph() {
    let (_, mut mars, mut venus) = founder_and_envoys();
    let first = mars.push(MAIN, 1);
    let second = venus.push(MAIN, 2);
    mars.meet(&venus);
    let merged = mars.change(MAIN, 3, vec![first], vec![second]);
    let claim = Claim {
        name: name(MAIN),
        new: oid(3),
        contains: vec![oid(1)],
        forces: vec![oid(2)],
    };
    assert_eq!(mars.view.claims(&merged), vec![claim]);
    let init = *super::world::init().id();
    assert_eq!(mars.view.claims(&init), vec![]);
}

#[test]
fn a_stranger_changes_no_ref() {
    let (_, mut mars, _) = founder_and_envoys();
    mars.push(MAIN, 1);
    let key = PuddleKey::new(SecretKey::from_seed(&[7; 32]).public());
    let mut stranger = Author::new(7, key, 7);
    stranger.meet(&mars);
    stranger.push(MAIN, 2);
    stranger.force(MAIN, 3);
    stranger.delete(MAIN);
    mars.meet(&stranger);
    assert_eq!(values(&mars.view, MAIN), [1]);
}

//! Forced pushes and deletions on different sides of a partition.

use crate::world::world;

#[test]
fn a_forced_push_and_a_push_across_a_partition_both_stay() {
    let Some(world) = world(3) else { return };
    let (mars, venus) = (world.at(0), world.at(1));
    world.net().split(&[&[0, 2], &[1]]).expect("split");
    mars.git(&["reset", "--quiet", "--hard", "HEAD~3"]);
    let rewritten = mars.commit("another history");
    mars.pushes(&["-o", "gitback.wait=1", "--force", "origin", "main"]);
    let ordinary = venus.commit("on top of what mars throws away");
    venus.pushes(&["-o", "gitback.wait=0", "origin", "main"]);
    world.net().mend_all().expect("mended");
    world.judge();

    let served = world.served(2);
    let mut heads: Vec<&String> = served
        .iter()
        .filter(|(name, _)| *name == "refs/heads/main" || name.contains("/heads/main@"))
        .map(|(_, oid)| oid)
        .collect();
    heads.sort();
    let mut expected = [&rewritten, &ordinary];
    expected.sort();
    assert_eq!(heads, expected, "{served:#?}");

    world.at(2).join_all();
    world.judge();
    assert!(
        world
            .served(0)
            .keys()
            .all(|name| !name.starts_with("refs/envoys/"))
    );
}

#[test]
fn a_deletion_loses_to_a_push_that_had_not_heard_of_it() {
    let Some(world) = world(3) else { return };
    let (mars, venus) = (world.at(0), world.at(1));
    world.net().split(&[&[0], &[1, 2]]).expect("split");
    mars.pushes(&["-o", "gitback.wait=0", "origin", ":topic/1", ":topic/2"]);
    venus.git(&["checkout", "--quiet", "topic/1"]);
    let kept = venus.commit("topic/1 goes on");
    venus.pushes(&["-o", "gitback.wait=1", "origin", "topic/1"]);
    world.net().mend_all().expect("mended");
    world.judge();
    let served = world.served(0);
    assert_eq!(served.get("refs/heads/topic/1"), Some(&kept));
    assert!(!served.contains_key("refs/heads/topic/2"), "{served:#?}");
}

#[test]
fn forced_pushes_on_both_sides_leave_both_and_a_merge_ends_it() {
    let Some(world) = world(2) else { return };
    world.net().cut(1).expect("cut");
    let mut made = Vec::new();
    for index in [0, 1] {
        let person = world.at(index);
        person.git(&["reset", "--quiet", "--hard", "HEAD~4"]);
        made.push(person.commit("rewritten"));
        person.pushes(&["-o", "gitback.wait=0", "--force", "origin", "main"]);
    }
    world.net().mend_all().expect("mended");
    world.judge();
    let served = world.served(0);
    let shown = |oid: &String| served.values().any(|shown| shown == oid);
    assert!(made.iter().all(shown), "{served:#?}");
    world.at(0).join_all();
    world.judge();
    let served = world.served(1);
    assert_eq!(served["refs/heads/main"], world.at(0).commit_at("HEAD"));
    assert!(served.keys().all(|name| !name.starts_with("refs/envoys/")));
}

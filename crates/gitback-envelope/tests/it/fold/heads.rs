//! Which valid envelopes nothing valid follows, where there are few and where there are very many.

use std::collections::BTreeSet;

use gitback_envelope::{DEPS_MAX, EnvelopeId, HOPS_MAX, Incarnation, Project, VoidReason};

use super::world::{Author, founder_and_envoys, project_id, void};

const MAIN: &str = "refs/heads/main";

/// More heads than are compared with each other.
const MANY: u16 = 300;

/// Says something beside everything that others say, each on a chain of its own.
fn beside(author: &Author, count: u16) -> Vec<Author> {
    let each = (0..count).map(|number| {
        let mut incarnation = [1; 16];
        incarnation[..2].copy_from_slice(&number.to_be_bytes());
        let mut one = author.copy();
        one.incarnation = Incarnation::from_bytes(&incarnation);
        one.push(&format!("refs/heads/n{number}"), 1);
        one
    });
    each.collect()
}

fn tip(author: &Author) -> EnvelopeId {
    let cut = author.view.cut();
    let own = cut.iter().filter_map(|id| author.view.get(id));
    let mut own = own.filter(|one| one.statement().incarnation == author.incarnation);
    *own.next_back().expect("it has said something").id()
}

/// The project, with everything that these have seen.
fn together(authors: &[&Author]) -> Project {
    let mut project = Project::new(project_id());
    for author in authors {
        for one in author.view.iter() {
            project.insert(one.clone()).expect("within the rules");
        }
    }
    project
}

#[test]
fn of_very_many_heads_those_stay_that_nothing_valid_follows() {
    let (mut founder, mars, mut venus) = founder_and_envoys();
    let some = beside(&mars, MANY);
    let mut heads: BTreeSet<EnvelopeId> = some.iter().map(tip).collect();
    assert_eq!(heads.len(), usize::from(MANY));
    // One follows a few of them.
    let mut next = mars.elsewhere(250);
    for one in &some[10..30] {
        heads.remove(&tip(one));
        next.meet(one);
    }
    heads.insert(next.push(MAIN, 1));
    // One without effect follows others, which stay heads.
    let mut stranger = Author::envoy(77);
    for one in &some[40..45] {
        stranger.meet(one);
    }
    let void = stranger.push(MAIN, 2);
    // And one that counts follows that.
    let mut stranger_too = Author::envoy(78);
    for one in &some[50..53] {
        stranger_too.meet(one);
    }
    let void_too = stranger_too.push(MAIN, 3);
    let mut after = mars.elsewhere(251);
    after.meet(&stranger_too);
    for one in &some[50..53] {
        heads.remove(&tip(one));
    }
    heads.insert(after.push(MAIN, 4));
    // And one that counted ceases to, when so many others are there: its grant is taken back.
    let lost = venus.push(MAIN, 5);
    heads.insert(founder.ungrant(&venus));
    let mut authors: Vec<&Author> = some.iter().collect();
    authors.extend([&next, &stranger, &stranger_too, &after, &venus, &founder]);
    for _ in 0..2 {
        let project = together(&authors);
        let found: BTreeSet<EnvelopeId> = project.cut().into_iter().collect();
        assert_eq!(found, heads);
        assert_eq!(project.void_len(), 3);
        for id in [&void, &void_too, &lost] {
            assert!(project.get(id).is_some(), "it is kept");
        }
        authors.reverse();
    }
}

#[test]
fn a_merge_comes_first_where_more_heads_are_than_an_envelope_can_name() {
    let (_, mars, _) = founder_and_envoys();
    let most = u16::try_from(DEPS_MAX).expect("small");
    let some = beside(&mars, most + 1);
    let authors: Vec<&Author> = some.iter().collect();
    let (last, rest) = authors.split_last().expect("there are some");
    let exactly = together(rest);
    assert!(!exactly.heads_to_merge(None), "so many can be named");
    let project = together(&authors);
    assert!(project.heads_to_merge(None));
    // What comes before on the own chain needs no name, nor does what that follows.
    assert!(!project.heads_to_merge(Some(&tip(last))));
    let absent = tip(&beside(&mars, most + 2)[usize::from(most) + 1]);
    assert!(project.heads_to_merge(Some(&absent)));
}

#[test]
fn waymarks_are_few_in_a_long_chain() {
    let (_, mut mars, _) = founder_and_envoys();
    for step in 0..200 {
        mars.push(MAIN, step);
    }
    let chain = |seq| {
        let tips = mars.view.tips();
        tips.iter().filter(|tip| tip.seq == seq).count()
    };
    // The end, and 1, 8 and 64 before it.
    for (seq, count) in [
        (199, 1),
        (198, 1),
        (191, 1),
        (135, 1),
        (190, 0),
        (183, 0),
        (182, 0),
    ] {
        assert_eq!(chain(seq), count, "{seq}");
    }
}

#[test]
fn the_last_hop_is_judged_by_the_line_as_the_others_are() {
    let mut founder = Author::founder();
    let heir = Author::person(40);
    let skipped = founder.delegate(HOPS_MAX, &heir);
    assert_eq!(void(&founder.view, &skipped), Some(VoidReason::WrongHop));
}

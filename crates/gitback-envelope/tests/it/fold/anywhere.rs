//! Any world, any order, any split: the same state, and the one that the rules give.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{
    Act, Change, EnvelopeId, Equivocation, Inserted, Oid, Project, RefName, RefState, Tip, Update,
    Verdict, Verified,
};
use gitback_identity::{PuddleKey, SecretKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::oracle::Oracle;
use super::world::{Author, UID, founder_key, init, name, oid, project_id, union};

const NAMES: [&str; 4] = [
    "refs/heads/a",
    "refs/heads/a/b",
    "refs/heads/a/b/c",
    "refs/tags/t",
];

/// One thing that somebody does. Meaningless numbers become meaningful by taking remainders.
#[derive(Clone, Debug)]
struct Step {
    who: Index,
    what: u8,
    other: Index,
    name: Index,
    new: u8,
    /// Which updates are named, and how.
    ends: u32,
}

fn step() -> impl Strategy<Value = Step> {
    let numbers = (
        any::<Index>(),
        any::<u8>(),
        any::<Index>(),
        any::<Index>(),
        any::<u8>(),
    );
    (numbers, any::<u32>()).prop_map(|((who, what, other, name, new), ends)| Step {
        who,
        what,
        other,
        name,
        new,
        ends,
    })
}

/// A founder, a stranger, an envoy that may sign and a copy of its key, and two envoys that may not yet.
fn people() -> Vec<Author> {
    let stranger = PuddleKey::new(SecretKey::from_seed(&[7; 32]).public());
    let mut founder = Author::founder();
    let envoys = [
        Author::envoy(10),
        Author::envoy(11),
        Author::envoy(10),
        Author::envoy(12),
    ];
    founder.grant(&envoys[0], UID, None);
    let mut people = vec![founder, Author::new(7, stranger, 7)];
    people.extend(envoys);
    people
}

fn play(steps: &[Step]) -> Vec<Author> {
    let mut people = people();
    for step in steps {
        let who = step.who.index(people.len());
        let mut author = people.swap_remove(who);
        let other = step.other.get(&people);
        match step.what % 12 {
            0..=3 => drop(author.say(moved(&author, other, step))),
            4..=6 => say_with_everything_in_sight(&mut author, other, step),
            7..=9 => author.meet(other),
            10 if author.secret.public() == *author.puddle.key() => {
                author.grant(other, UID, None);
            }
            11 if step.new.is_multiple_of(4) => drop(author.say_unknown()),
            _ => author.meet(other),
        }
        people.push(author);
    }
    people
}

/// Names some updates: heads or not, valid or not, in sight or only in somebody else's.
fn moved(author: &Author, other: &Author, step: &Step) -> Act {
    // Most of the time the same one, so that updates meet.
    let ref_name = name(if step.name.index(2) == 0 {
        NAMES[0]
    } else {
        step.name.get::<&str>(&NAMES)
    });
    let touches = |verified: &&Verified| match &verified.statement().act {
        Act::Update(update) => update.change(&ref_name).is_some(),
        _ => false,
    };
    let in_sight = author.view.iter().chain(other.view.iter());
    let mut seen: Vec<_> = in_sight
        .filter(touches)
        .map(|update| *update.id())
        .collect();
    seen.reverse();
    let (contained, forced) = named(&seen, step.ends);
    Act::Update(Update {
        changes: vec![Change {
            name: ref_name,
            new: oid(step.new % 5),
            contained,
            forced,
        }],
        head: step
            .ends
            .is_multiple_of(7)
            .then(|| name(step.other.get::<&str>(&NAMES))),
        pack: None,
    })
}

/// Which of some updates, the newest first, a change names as contained and as forced away.
fn named(seen: &[EnvelopeId], ends: u32) -> (Vec<EnvelopeId>, Vec<EnvelopeId>) {
    let pick = |wanted: &dyn Fn(u32) -> bool| {
        let picked = (0..).zip(seen).filter(|(at, _)| wanted(*at));
        let picked: BTreeSet<_> = picked.map(|(_, id)| *id).collect();
        picked.into_iter().collect()
    };
    let sparse = |offset: u32| move |at: u32| ends.rotate_left(5 * at + offset) & 3 == 0;
    match ends % 5 {
        0 => (pick(&|at| at == 0), vec![]),
        1 => (vec![], pick(&|at| at == 0)),
        2 => (pick(&|at| at == 1), pick(&sparse(0))),
        3 => (pick(&sparse(0)), pick(&sparse(1))),
        _ => (pick(&sparse(0)), vec![]),
    }
}

/// An author that meets another and names even its void heads.
fn say_with_everything_in_sight(author: &mut Author, other: &Author, step: &Step) {
    author.meet(other);
    let mut statement = author.draft(moved(author, other, step));
    statement.deps = author.view.heads();
    let verified = author.seal(statement);
    author.take(&verified);
}

/// Everything about a project that must not depend on how it came to be.
#[derive(Debug, PartialEq)]
struct Summary {
    refs: BTreeMap<RefName, RefState>,
    heads_of: Vec<Vec<gitback_envelope::Head>>,
    served: BTreeMap<Vec<u8>, Oid>,
    head_target: Option<RefName>,
    digest: [u8; 32],
    heads: Vec<EnvelopeId>,
    deps: Vec<EnvelopeId>,
    tips: Vec<Tip>,
    missing: Vec<EnvelopeId>,
    equivocations: Vec<Equivocation>,
    verdicts: Vec<Verdict>,
    next: Vec<(u64, Option<EnvelopeId>)>,
    granted: Vec<bool>,
    len: usize,
    unknown: usize,
}

fn summary(project: &Project, people: &[Author], ids: &BTreeSet<EnvelopeId>) -> Summary {
    let next = |author: &Author| {
        let signer = author.secret.public();
        project.next(&signer, &author.puddle, &author.incarnation)
    };
    Summary {
        refs: project.refs(),
        heads_of: NAMES
            .iter()
            .map(|text| project.heads_of(&name(text)))
            .collect(),
        served: project.served(),
        head_target: project.head_target(),
        digest: project.digest(),
        heads: project.heads(),
        deps: project.deps_after(None),
        tips: project.tips(),
        missing: project.missing(),
        equivocations: project.equivocations(),
        verdicts: ids.iter().map(|id| project.verdict(id)).collect(),
        next: people.iter().map(next).collect(),
        granted: people
            .iter()
            .map(|author| project.granted_envoy(&author.envoy).is_some())
            .collect(),
        len: project.len(),
        unknown: project.unknown_len(),
    }
}

fn fold<'a>(envelopes: impl IntoIterator<Item = &'a Verified>) -> Project {
    let mut project = Project::new(project_id());
    for verified in envelopes {
        let inserted = project.insert(verified.clone()).expect("within the rules");
        if let Inserted::Folded(ids) = inserted {
            assert!(!ids.is_empty());
        }
    }
    project
}

/// The order that sorting by a few keys gives.
fn shuffled(envelopes: &[Verified], keys: &[u8]) -> Vec<Verified> {
    let mut all: Vec<_> = envelopes.iter().cloned().zip(keys.iter().cycle()).collect();
    all.sort_by_key(|(verified, key)| verified.id().as_bytes()[0].wrapping_mul(**key | 1));
    all.into_iter().map(|(verified, _)| verified).collect()
}

fn everything(people: &[Author]) -> Vec<Verified> {
    let people: Vec<_> = people.iter().collect();
    union(&people).iter().cloned().collect()
}

fn ids(envelopes: &[Verified]) -> BTreeSet<EnvelopeId> {
    envelopes.iter().map(|verified| *verified.id()).collect()
}

/// Some updates, chosen by `bits`.
fn some_updates(envelopes: &[Verified], bits: u64) -> BTreeSet<EnvelopeId> {
    let updates = envelopes
        .iter()
        .filter(|verified| matches!(verified.statement().act, Act::Update(_)));
    let chosen = (0_u32..)
        .zip(updates)
        .filter(|(at, _)| (bits >> (at % 64)) & 1 == 1);
    chosen.map(|(_, verified)| *verified.id()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_order_of_arrival_changes_nothing(
        steps in vec(step(), 0..50),
        keys in vec(any::<u8>(), 1..8),
        lies in any::<u64>(),
        when in any::<Index>(),
    ) {
        let people = play(&steps);
        let all = everything(&people);
        let ids = ids(&all);
        let lies = some_updates(&all, lies & lies.rotate_left(7));

        let mut straight = fold(&all);
        lies.iter().for_each(|id| straight.hold_out(id));
        let expected = summary(&straight, &people, &ids);

        let mut other = Project::new(project_id());
        let when = when.index(all.len());
        for (at, verified) in shuffled(&all, &keys).into_iter().enumerate() {
            if at == when {
                lies.iter().for_each(|id| other.hold_out(id));
            }
            other.insert(verified.clone()).expect("within the rules");
            prop_assert_eq!(other.insert(verified), Ok(Inserted::Duplicate));
        }
        prop_assert_eq!(summary(&other, &people, &ids), expected);
    }

    #[test]
    fn parts_of_a_set_meet_in_one_state(steps in vec(step(), 0..50), bits in any::<u64>()) {
        let people = play(&steps);
        let all = everything(&people);
        let ids = ids(&all);
        let in_left = |at: usize| (bits >> (at % 64)) & 1 == 1;
        let (left, right): (Vec<_>, Vec<_>) =
            all.iter().enumerate().partition(|(at, _)| in_left(*at));
        let (mut left, mut right): (Vec<_>, Vec<_>) = (
            left.into_iter().map(|(_, verified)| verified).collect(),
            right.into_iter().map(|(_, verified)| verified).collect(),
        );
        let expected = summary(&fold(&all), &people, &ids);
        left.extend(&right);
        prop_assert_eq!(&summary(&fold(left.iter().copied()), &people, &ids), &expected);
        right.extend(left.iter().rev());
        prop_assert_eq!(&summary(&fold(right), &people, &ids), &expected);
    }

    #[test]
    fn two_replicas_need_one_exchange(steps in vec(step(), 0..50)) {
        let people = play(&steps);
        for pair in people.windows(2) {
            let mut here = fold(pair[0].view.iter());
            let mut there = fold(pair[1].view.iter());
            let (to_here, to_there) = (there.lacking(&here.tips()), here.lacking(&there.tips()));
            for verified in to_here {
                prop_assert_ne!(here.insert(verified), Ok(Inserted::Waiting));
            }
            for verified in to_there {
                prop_assert_ne!(there.insert(verified), Ok(Inserted::Waiting));
            }
            let ids = ids(&everything(pair));
            prop_assert_eq!(summary(&here, &people, &ids), summary(&there, &people, &ids));
            prop_assert_eq!(here.lacking(&there.tips()).len(), 0);
        }
    }

    #[test]
    fn the_state_is_the_one_that_the_rules_give(steps in vec(step(), 0..50), lies in any::<u64>()) {
        let people = play(&steps);
        let all = everything(&people);
        let lies = some_updates(&all, lies & lies.rotate_left(7));
        let mut project = fold(&all);
        lies.iter().for_each(|id| project.hold_out(id));
        let oracle = Oracle::new(&all, &lies);
        for verified in &all {
            let id = verified.id();
            prop_assert_eq!(project.verdict(id), oracle.verdict(id));
            for other in &all {
                let expected = oracle.past[id].contains(other.id());
                prop_assert_eq!(project.is_ancestor(other.id(), id), expected);
            }
        }
        for text in NAMES {
            let heads = project.heads_of(&name(text)).into_iter();
            let heads: Vec<_> = heads.map(|head| (head.oid.is_zero(), head.update, head.oid)).collect();
            prop_assert_eq!(heads, oracle.heads(&name(text)));
        }
        prop_assert_eq!(project.head_target(), oracle.head_target());
        prop_assert_eq!(project.deps_after(None), oracle.valid_heads());
    }

    #[test]
    fn every_live_head_is_served_once_and_in_nobodys_way(steps in vec(step(), 0..50)) {
        let people = play(&steps);
        let project = fold(&everything(&people));
        let refs = project.refs();
        let mut live: Vec<Oid> = refs
            .values()
            .flat_map(|state| state.others.iter().chain([&state.visible]))
            .map(|head| head.oid)
            .collect();
        let served = project.served();
        let mut shown: Vec<Oid> = served.values().copied().collect();
        live.sort();
        shown.sort();
        prop_assert_eq!(live, shown);
        for one in served.keys() {
            let folder = [one.as_slice(), b"/"].concat();
            prop_assert!(!served.keys().any(|other| other.starts_with(&folder)));
        }
        for (name, state) in &refs {
            let own = served.get(name.as_bytes()) == Some(&state.visible.oid);
            prop_assert_eq!(own, state.hidden_by.is_none());
        }
        prop_assert!(!served.contains_key(init().id().as_bytes().as_slice()));
    }

    #[test]
    fn strangers_never_count(steps in vec(step(), 0..50)) {
        let people = play(&steps);
        let all = everything(&people);
        let project = fold(&all);
        let stranger = people.iter().find(|author| author.puddle != founder_key()).expect("one");
        let by_stranger = |verified: &Verified| verified.statement().puddle == stranger.puddle;
        let strange: Vec<_> = all.iter().filter(|verified| by_stranger(verified)).collect();
        for verified in &strange {
            prop_assert_ne!(project.verdict(verified.id()), Verdict::Valid);
        }
        for state in project.refs().values() {
            prop_assert_eq!(state.visible.puddle, founder_key());
        }
    }
}

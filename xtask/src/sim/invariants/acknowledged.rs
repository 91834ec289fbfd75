//! No acknowledged push is lost: at the end it is everywhere, and counts unless a rule says why not; what it brought is still
//! reached from a ref, unless a later update that counts forced it away.
//!
//! Enforces: the promise "history checked afterwards: nothing acknowledged is missing"; docs/spec/fold.md §7.

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::{Act, EnvelopeId, Project, RefName, Verdict, VoidReason};

use super::super::world::World;
use super::convergence::is_out_of_reach;

pub(super) const NAME: &str = "acknowledged";

/// Reasons for which a push that was acknowledged may come to have no effect: somebody ended what it rested on.
const ENDS: [VoidReason; 5] = [
    VoidReason::Revoked,
    VoidReason::Ungranted,
    VoidReason::NotGranted,
    VoidReason::Left,
    VoidReason::Ended,
];

pub(super) fn check(world: &mut World) {
    for push in 0..world.pushes.len() {
        let one = &world.pushes[push];
        if !one.acknowledged {
            continue;
        }
        let mut duty = one.durable.clone();
        duty.insert(one.envoy);
        let holders = super::convergence::holders(world, one.project);
        // One and the same envoy has to have kept it and to be a partner still: the others neither ask nor hear one
        // that is none any more (docs/spec/peer.md §4.3).
        let passes_on = |envoy: &usize| {
            !one.lost_on.contains(envoy) && !world.is_malicious(*envoy) && holders.contains(envoy)
        };
        if !duty.iter().any(passes_on) {
            continue;
        }
        for envoy in holders.iter().copied() {
            if let Some(what) = look(world, push, envoy, &holders) {
                return world.fail(NAME, what);
            }
        }
    }
}

fn look(world: &World, push: usize, envoy: usize, holders: &[usize]) -> Option<String> {
    let one = &world.pushes[push];
    let fold = &world.replicas[envoy].cells[one.project].fold;
    for id in &one.stored {
        match fold.verdict(id) {
            Verdict::Valid => {}
            Verdict::Void(reason) if is_ended(fold, id, reason) => return None,
            verdict => {
                return Some(format!("push {push} is {verdict:?} on envoy {envoy}"));
            }
        }
    }
    let shelf = &world.replicas[envoy].disk.shelves[one.project];
    let served = shelf.refs.values();
    let served: Vec<u32> = served.filter_map(|oid| world.history.find(oid)).collect();
    let reached = world.history.closure(served);
    for want in &one.wants {
        let Some(new) = want.new.filter(|new| !reached.has(*new)) else {
            continue;
        };
        let id = one.stored.last()?;
        if !is_replaced(fold, id, &want.name)
            && !is_to_be_reached(world, one.project, envoy, holders, new)
        {
            let name = &want.name;
            return Some(format!(
                "push {push} moved {name} to c{new}, which no ref of envoy {envoy} leads to any more, and nothing forced it away"
            ));
        }
    }
    None
}

/// Whether an envoy has all that `new` leads to, and a ref is to lead to it as soon as the ref's own objects may be had.
///
/// A ref names the visible head alone, and no update that this one replaces (docs/spec/fold.md §7). Where only an envoy that is
/// no partner any more has the objects of a head that counts, it gives them to nobody (docs/spec/peer.md §4.3): refs stay where
/// they were, and one that came in since has no such ref yet. What a partner has it has to hold all the same.
fn is_to_be_reached(
    world: &World,
    project: usize,
    envoy: usize,
    holders: &[usize],
    new: u32,
) -> bool {
    let replica = &world.replicas[envoy];
    let heads = replica.cells[project].fold.served().into_values();
    let awaited = heads.filter(|oid| is_out_of_reach(world, project, holders, oid));
    let awaited: Vec<u32> = awaited.filter_map(|oid| world.history.find(&oid)).collect();
    let here = &replica.disk.shelves[project].objects;
    world.history.closure(awaited).has(new) && world.history.whole(here, new)
}

/// Whether somebody has ended what an update rested on.
///
/// A revocation by somebody who had not seen the join cuts the join off as well, and then the puddle is one that has not
/// joined (docs/spec/fold.md §4): what was not in sight of whoever ended it does not count (§2).
fn is_ended(fold: &Project, id: &EnvelopeId, reason: VoidReason) -> bool {
    if reason != VoidReason::NotMember {
        return ENDS.contains(&reason);
    }
    let puddle = fold.get(id).map(|update| update.statement().puddle);
    fold.iter().any(|join| {
        let statement = join.statement();
        matches!(statement.act, Act::Join { .. })
            && Some(statement.puddle) == puddle
            && fold.verdict(join.id()) == Verdict::Void(VoidReason::Revoked)
            && fold.is_ancestor(join.id(), id)
    })
}

/// Whether a counting update has forced `id` away from a ref, or one that contains it was.
fn is_replaced(fold: &Project, id: &EnvelopeId, name: &RefName) -> bool {
    let mut by: BTreeMap<EnvelopeId, Vec<(EnvelopeId, bool)>> = BTreeMap::new();
    for envelope in fold.iter() {
        let update = envelope.statement().update();
        let Some(change) = update.and_then(|update| update.change(name)) else {
            continue;
        };
        let counts = fold.verdict(envelope.id()) == Verdict::Valid;
        for contained in &change.contained {
            let entry = by.entry(*contained).or_default();
            entry.push((*envelope.id(), change.new.is_zero() && counts));
        }
        for forced in change.forced.iter().filter(|_| counts) {
            by.entry(*forced).or_default().push((*envelope.id(), true));
        }
    }
    let (mut open, mut seen) = (vec![*id], BTreeSet::new());
    while let Some(id) = open.pop() {
        for (later, away) in by.get(&id).into_iter().flatten() {
            if *away {
                return true;
            }
            if seen.insert(*later) {
                open.push(*later);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use gitback_envelope::{Change, Incarnation, Oid, Revoke, Ungrant, Update, Verified};

    use super::super::super::disk::Shelf;
    use super::super::super::history::{Bits, History};
    use super::super::super::keys::Keys;
    use super::super::super::plan::Plan;
    use super::super::super::prelude::{Author, Prelude, Shape};
    use super::super::super::replica::cell::Cell;
    use super::*;

    /// A deletion by `person` on the envoy that is granted by the person of that number.
    fn update(keys: &Keys, fold: &Project, person: usize) -> Verified {
        moved(keys, fold, person, Oid::zero(), Vec::new())
    }

    fn moved(
        keys: &Keys,
        fold: &Project,
        person: usize,
        new: Oid,
        contained: Vec<EnvelopeId>,
    ) -> Verified {
        let change = Change {
            name: "refs/heads/main".parse().expect("a ref name"),
            new,
            contained,
            forced: Vec::new(),
        };
        let act = Act::Update(Update {
            changes: vec![change],
            head: None,
            pack: None,
        });
        author(keys, person).say(fold, act)
    }

    fn author(keys: &Keys, person: usize) -> Author<'_> {
        Author {
            secret: keys.person_secret(person),
            puddle: keys.person(person),
            envoy: keys.envoy(person),
            incarnation: Incarnation::from_bytes(&[0x22; 16]),
            time_ms: None,
        }
    }

    #[test]
    fn only_a_revocation_takes_back_who_had_joined() {
        let keys = Keys::pool();
        let shape = Shape {
            granted: 2,
            people: 2,
            swarm_wide: true,
            number: 0,
        };
        let prelude = Prelude::of(&keys, shape);
        let invite = prelude.invites[&1];
        let mut fold = prelude.fold.clone();
        let pushed = update(&keys, &fold, 1);
        let strange = update(&keys, &fold, 2);
        // Of what the founder says only the invitation is in sight.
        let mut early = Project::new(prelude.id);
        for envelope in &prelude.envelopes {
            let _ = early.insert(envelope.clone());
            if *envelope.id() == invite {
                break;
            }
        }
        let cut = early.cut();
        let revoke = author(&keys, 0).say(&early, Act::Revoke(Revoke { invite, cut }));
        for envelope in [&pushed, &strange] {
            fold.insert(envelope.clone()).expect("it folds");
        }
        assert_eq!(fold.verdict(pushed.id()), Verdict::Valid);
        fold.insert(revoke).expect("it folds");
        for (envelope, ended) in [(&pushed, true), (&strange, false)] {
            let id = envelope.id();
            let reason = VoidReason::NotMember;
            assert_eq!(fold.verdict(id), Verdict::Void(reason));
            assert_eq!(is_ended(&fold, id, reason), ended);
        }
    }

    /// Three envoys of one project. On the first `old` was pushed, then `new` after it; then it is no partner any more. The
    /// objects that each of them has.
    fn after_an_ungrant(objects: impl Fn(u32, u32) -> [Vec<u32>; 3]) -> (World, u32) {
        let mut plan = Plan::of(0);
        (plan.envoys, plan.granted, plan.people) = (3, 3, 3);
        (plan.projects, plan.swarm_wide, plan.malicious) = (1, false, None);
        let mut world = World::new(plan, None, false);
        let (keys, prelude) = (world.keys.clone(), world.preludes[0].clone());
        let old = world.history.add(Vec::new(), 1);
        let new = world.history.add(vec![old], 1);
        let (mut fold, mut log) = (prelude.fold.clone(), prelude.envelopes.clone());
        let mut keep = |fold: &mut Project, envelope: Verified| {
            let id = *envelope.id();
            fold.insert(envelope.clone()).expect("it folds");
            log.push(envelope);
            id
        };
        let first = moved(&keys, &fold, 0, History::oid(old), Vec::new());
        let first = keep(&mut fold, first);
        let second = moved(&keys, &fold, 0, History::oid(new), vec![first]);
        keep(&mut fold, second);
        let (envoy, cut) = (keys.envoy(0), fold.cut());
        let ungrant = author(&keys, 0).say(&fold, Act::Ungrant(Ungrant { envoy, cut }));
        keep(&mut fold, ungrant);
        let World {
            history, replicas, ..
        } = &mut world;
        for (replica, held) in replicas.iter_mut().zip(objects(old, new)) {
            let mut shelf = Shelf::new(log.clone(), 0);
            let mut objects = Bits::default();
            for one in held {
                objects.insert(one);
            }
            shelf.objects = objects;
            let life = Incarnation::from_bytes(&[0x22; 16]);
            let empty = (&Project::new(prelude.id), &[][..]);
            let cell = Cell::open(&mut shelf, empty, life, history);
            replica.cells = vec![cell];
            replica.disk.shelves = vec![shelf];
            replica.up = true;
        }
        (world, old)
    }

    #[test]
    fn what_only_a_former_partner_has_keeps_refs_back_and_nothing_else() {
        let look = |objects: fn(u32, u32) -> [Vec<u32>; 3]| {
            let (world, old) = after_an_ungrant(objects);
            let holders = super::super::convergence::holders(&world, 0);
            assert_eq!(holders, [1, 2]);
            assert!(world.replicas[1].disk.shelves[0].refs.is_empty());
            is_to_be_reached(&world, 0, 1, &holders, old)
        };
        assert!(look(|old, new| [vec![old, new], vec![old], vec![old]]));
        // What a partner has is not here.
        assert!(!look(|old, new| [vec![old, new], vec![], vec![old]]));
        // A partner has the head too: a ref has to name it.
        assert!(!look(|old, new| [
            vec![old, new],
            vec![old],
            vec![old, new]
        ]));
        // Nobody has it: it is lost.
        assert!(!look(|old, _| [vec![old], vec![old], vec![old]]));
    }
}

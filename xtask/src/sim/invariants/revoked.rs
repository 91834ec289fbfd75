//! After a revocation nothing of the revoked moves where it is known: only what lies within its cut counts.
//!
//! Enforces: docs/spec/fold.md §4 and §2, "What lies outside a cut is void".

use gitback_envelope::{Act, Verdict};

use super::super::world::World;

pub(super) const NAME: &str = "revoked";

pub(super) fn check(world: &mut World, envoy: usize, project: usize) {
    if world.plan.acts.is_empty() {
        return;
    }
    if let Some(what) = look(world, envoy, project) {
        world.fail(NAME, what);
    }
}

fn look(world: &World, envoy: usize, project: usize) -> Option<String> {
    let replica = &world.replicas[envoy];
    let (fold, shelf) = (&replica.cells[project].fold, &replica.disk.shelves[project]);
    for envelope in &shelf.log {
        let statement = envelope.statement();
        let Act::Revoke(revoke) = &statement.act else {
            continue;
        };
        // Who may revoke is known here beside the fold: the founder, who signs with their own key.
        if statement.signer != *world.keys.person(0).key() {
            continue;
        }
        let invite = shelf.log.iter().find(|one| *one.id() == revoke.invite)?;
        let Act::Invite(invite) = &invite.statement().act else {
            continue;
        };
        let within = |id| {
            let mut cut = revoke.cut.iter();
            cut.any(|end| end == id || fold.is_ancestor(id, end))
        };
        let outside = shelf.log.iter().find(|one| {
            let by = one.statement();
            by.puddle == invite.puddle
                && by.update().is_some()
                && !within(one.id())
                && fold.verdict(one.id()) == Verdict::Valid
        });
        if let Some(outside) = outside {
            let id = outside.id();
            return Some(format!(
                "{id} counts on envoy {envoy}, which knows that its puddle was revoked before"
            ));
        }
        if fold.access(&invite.puddle).is_some() {
            return Some(format!(
                "envoy {envoy} knows of a revocation and lets the revoked in"
            ));
        }
    }
    None
}

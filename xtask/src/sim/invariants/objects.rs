//! Nothing enters a repository but what is connected; what the log names as counting is there; a ref names only what is whole.
//!
//! Enforces: docs/architecture.md, "Steps 3, 4 and 5 are durable one before the next", and the invariants of `gitback-pack`.

use super::super::people::named;
use super::super::replica::cell::new_oids;
use super::super::world::World;

pub(super) const NAME: &str = "objects";

pub(super) fn check(world: &mut World, envoy: usize, project: usize) {
    if let Some(what) = look(world, envoy, project) {
        world.fail(NAME, what);
    }
}

fn look(world: &World, envoy: usize, project: usize) -> Option<String> {
    let shelf = &world.replicas[envoy].disk.shelves[project];
    let history = &world.history;
    for number in shelf.objects.iter() {
        let mut parents = history.parents(number).iter();
        if let Some(parent) = parents.find(|parent| !shelf.objects.has(**parent)) {
            let what = format!("envoy {envoy} holds c{number} and not its parent c{parent}");
            return Some(what);
        }
    }
    for (name, oid) in &shelf.refs {
        let whole = history
            .find(oid)
            .is_some_and(|number| history.whole(&shelf.objects, number));
        if !whole {
            let name = String::from_utf8_lossy(name).into_owned();
            let oid = named(history, oid);
            let what = format!("{name} of envoy {envoy} is at {oid}, which is not all there");
            return Some(what);
        }
    }
    // What an envoy has signed itself it has the objects of.
    let own = *world.keys.envoy(envoy).key();
    for envelope in &shelf.log {
        if envelope.statement().signer != own {
            continue;
        }
        for oid in new_oids(envelope) {
            let whole = history
                .find(&oid)
                .is_some_and(|number| history.whole(&shelf.objects, number));
            if !whole && shelf.file == 0 {
                let (id, oid) = (envelope.id(), named(history, &oid));
                let what = format!("envoy {envoy} has logged its own {id} without {oid}");
                return Some(what);
            }
        }
    }
    None
}

//! Nobody shows the digest of a whole copy while objects are lacking.
//!
//! Enforces: the design's "a project whose digest differs is reconciled": who would show the same could not be told to lack anything.

use super::super::world::World;

pub(super) const NAME: &str = "shown";

/// An envoy is about to show these digests.
pub(in crate::sim) fn check(
    world: &mut World,
    envoy: usize,
    list: &[(gitback_identity::ProjectId, [u8; 32])],
) {
    for (id, digest) in list {
        let Some(project) = world.find_project(id) else {
            continue;
        };
        let replica = &world.replicas[envoy];
        let (cell, shelf) = (&replica.cells[project], &replica.disk.shelves[project]);
        if cell.fold.digest() != *digest || cell.work.is_some() {
            continue;
        }
        let served = cell.fold.served();
        let lacks = served.values().any(|oid| {
            let number = world.history.find(oid);
            !number.is_some_and(|number| world.history.whole(&shelf.objects, number))
        });
        if lacks {
            let what = format!("envoy {envoy} shows project {project} as whole and lacks objects");
            return world.fail(NAME, what);
        }
    }
}

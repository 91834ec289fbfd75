//! What an acknowledgement names is durable there, and stays so through crashes.
//!
//! Enforces: the promise "'replicated' means durable on the named envoys" and "an acknowledged push survives `kill -9`".

use super::super::world::World;

pub(super) const NAME: &str = "replicated";

/// At the moment of the acknowledgement.
pub(super) fn check_push(world: &mut World, push: usize) {
    let one = &world.pushes[push];
    let mut named: Vec<usize> = one.durable.iter().copied().collect();
    named.push(one.envoy);
    for envoy in named {
        check(world, push, envoy);
    }
}

/// Whenever an envoy starts, and at the end.
pub(super) fn check_envoy(world: &mut World, envoy: usize) {
    for push in 0..world.pushes.len() {
        let one = &world.pushes[push];
        let named = one.envoy == envoy || one.durable.contains(&envoy);
        if one.acknowledged && named {
            check(world, push, envoy);
        }
    }
}

fn check(world: &mut World, push: usize, envoy: usize) {
    let one = &world.pushes[push];
    if world.is_malicious(envoy) || one.lost_on.contains(&envoy) {
        return;
    }
    let shelf = &world.replicas[envoy].disk.shelves[one.project];
    if let Some(id) = one.stored.iter().find(|id| !shelf.logged.contains(*id)) {
        let what = format!("push {push} was acknowledged, and the log of envoy {envoy} lacks {id}");
        return world.fail(NAME, what);
    }
    let void = world.replicas[envoy].cells.get(one.project);
    let void = void.is_some_and(|cell| one.stored.iter().any(|id| cell.void(id).is_some()));
    let mut tips = one.wants.iter().filter_map(|want| want.new);
    let whole = tips.all(|tip| world.history.whole(&shelf.objects, tip));
    if !whole && !void {
        let what = format!("push {push} was acknowledged, and envoy {envoy} lacks objects of it");
        world.fail(NAME, what);
    }
}

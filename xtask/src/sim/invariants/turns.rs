//! Connected envoys refuse a push that is not a fast-forward, as one server would: while nothing goes wrong no ref diverges.
//!
//! Enforces: the design's "Consistency, stated": connected envoys check each other first.

use super::super::world::World;

pub(super) const NAME: &str = "turns";

pub(super) fn check(world: &mut World, envoy: usize, project: usize) {
    if !world.plan.calm {
        return;
    }
    let fold = &world.replicas[envoy].cells[project].fold;
    let served = fold.served();
    let diverged = served.keys().find(|name| name.starts_with(b"refs/envoys/"));
    if let Some(name) = diverged {
        let name = String::from_utf8_lossy(name).into_owned();
        let what = format!("envoy {envoy} shows {name} although nothing went wrong");
        world.fail(NAME, what);
    }
}

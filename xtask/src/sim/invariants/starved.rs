//! Once faults end, no honest peer is left out: everybody compares with everybody in turn.
//!
//! Enforces: the design's "Anti-entropy: each tick an envoy compares digests of its projects with a peer that shares them".

use super::super::world::World;

pub(super) const NAME: &str = "starved";

/// Fleets up to this size are compared with whole at every tick.
const SMALL: usize = 8;

/// How long after faults end an envoy may not have compared with another, in microseconds.
const LIMIT_US: u64 = 80_000_000;

pub(super) fn check(world: &mut World) {
    let Some(since) = world.calm_since else {
        return;
    };
    if world.plan.watch_us < LIMIT_US || world.plan.envoys > SMALL {
        return;
    }
    let honest: Vec<usize> = world.honest().collect();
    for envoy in honest.iter().copied() {
        for peer in honest.iter().copied().filter(|peer| *peer != envoy) {
            // Whoever has not heard where a peer has moved hears it within ten minutes.
            let places = world.replicas[envoy].known_places.get(&peer);
            if !places.is_some_and(|places| places.contains(&world.places[peer])) {
                continue;
            }
            let last = world.replicas[envoy].compared.get(&peer).copied();
            let idle = world.now.saturating_sub(last.unwrap_or(since).max(since));
            if idle > LIMIT_US {
                let seconds = idle / 1_000_000;
                let node = world.replicas[envoy].node.as_ref();
                let standing = node.and_then(|node| node.standing(&world.keys.envoy(peer)));
                let now = world.local(envoy);
                let what = format!(
                    "envoy {envoy} has not compared with {peer} for {seconds} s: {standing:?} at {now:?}"
                );
                return world.fail(NAME, what);
            }
        }
    }
}

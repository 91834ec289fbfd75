//! What an envoy keeps and what it has under way is bounded, whatever others do.
//!
//! Enforces: the house rule "every queue, list and wait has a named bound"; docs/spec/gossip.md on the size of messages.

use gitback_gossip::{MESSAGE_MAX, OWED_MAX};

use super::super::world::World;

pub(super) const NAME: &str = "bounds";

/// Most calls that one envoy may have under way for each envoy of the fleet.
const CALLS_EACH: usize = 64;

/// Most that may wait for one project's lock.
const WAITING_MAX: usize = 1024;

pub(super) fn check(world: &mut World, envoy: usize) {
    let replica = &world.replicas[envoy];
    if !replica.up {
        return;
    }
    let calls = replica.calls.len();
    let most = CALLS_EACH * world.plan.envoys;
    if calls > most {
        return world.fail(NAME, format!("envoy {envoy} has {calls} calls under way"));
    }
    let open = replica.node.as_ref().map_or(0, gitback_gossip::Node::open);
    if open > most {
        return world.fail(NAME, format!("envoy {envoy} has {open} open orders"));
    }
    for (project, cell) in replica.cells.iter().enumerate() {
        let waiting = cell.queue.len();
        if waiting > WAITING_MAX {
            let what = format!("{waiting} wait for project {project} on envoy {envoy}");
            return world.fail(NAME, what);
        }
        let node = replica.node.as_ref();
        let owed = node.map_or(0, |node| node.owed(cell.fold.id()).len());
        if owed > OWED_MAX.min(world.plan.envoys) {
            return world.fail(NAME, format!("envoy {envoy} owes {owed} peers"));
        }
    }
    let largest = world.book.largest_message;
    if largest > MESSAGE_MAX {
        world.fail(NAME, format!("a message of the mesh has {largest} bytes"));
    }
}

//! What keeps the swarm in one piece: who has few neighbours looks for some, and everybody meets somebody by chance.
//!
//! HyParView mends from what its members tell one another, so two halves that were apart for long know only
//! themselves, each complete in itself, and stay apart. The table knows better.
//!
//! Source: docs/spec/gossip.md §4.

use iroh_gossip::proto::{Command, InEvent};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use super::wire::{Data, Frame, Node, Peer, Swarm};
use super::{Alarm, Mesh, command, core_message};
use crate::millis::Millis;

/// Fewer neighbours than this are few, if the fleet has as many.
const FEW: usize = 3;
/// How many are asked at once.
const ASKED_AT_ONCE: usize = 3;
/// How many of the table the core is reminded of at once.
const REMINDED: usize = 8;
/// The waits between looking for neighbours: the first, and the longest.
const MEND_FIRST: Millis = Millis(1000);
const MEND_LAST: Millis = Millis(60_000);
/// How often everybody meets somebody by chance, plus or minus a quarter.
const MEET_EVERY: Millis = Millis(60_000);

/// When to look for neighbours again.
#[derive(Debug)]
pub(super) struct Mend {
    wait: Millis,
    armed: bool,
}

impl Default for Mend {
    fn default() -> Self {
        Self {
            wait: MEND_FIRST,
            armed: false,
        }
    }
}

impl Mend {
    /// Something changed for the better or the worse: the next try comes soon.
    pub(super) const fn start_over(&mut self) {
        self.wait = MEND_FIRST;
    }
}

impl Mesh {
    /// Asks a few of `candidates`, chosen by chance, to be neighbours, no more than are missing.
    pub(super) fn ask_some(&mut self, candidates: Vec<Peer>) {
        let open = self.asked.union(&self.neighbours).count();
        let missing = FEW.saturating_sub(open).min(ASKED_AT_ONCE);
        let fresh: Vec<Peer> = candidates
            .into_iter()
            .filter(|peer| !self.asked.contains(peer) && !self.neighbours.contains(peer))
            .collect();
        let chosen: Vec<Peer> = fresh.sample(&mut self.rng, missing).copied().collect();
        self.feed(command(Command::Join(chosen)));
    }

    /// Sets the alarm for looking for neighbours, if there are few and it is not set.
    pub(super) fn arm_mending(&mut self) {
        if self.mend.armed || !self.has_few() {
            return;
        }
        self.mend.armed = true;
        let at = self.now.plus(self.about(self.mend.wait));
        self.alarms.set(at, Alarm::Mend);
    }

    pub(super) fn mend(&mut self) {
        self.mend.armed = false;
        if !self.has_few() {
            self.mend.start_over();
            return;
        }
        let wait = self.mend.wait.times(2).min(MEND_LAST);
        let others = self.others(REMINDED);
        self.nudge(others.clone());
        self.ask_some(others);
        self.mend.wait = wait;
        self.arm_mending();
    }

    pub(super) fn arm_meeting(&mut self) {
        let at = self.now.plus(self.about(MEET_EVERY));
        self.alarms.set(at, Alarm::Meet);
    }

    pub(super) fn meet(&mut self) {
        let chosen = self.others(1);
        self.feed(command(Command::Join(chosen)));
        self.arm_meeting();
    }

    /// Somebody who was asked has had its time. One that is a neighbour after all is kept.
    pub(super) fn give_up_on(&mut self, peer: Peer) {
        if self.asked.remove(&peer) && !self.neighbours.contains(&peer) {
            self.drop_peer(peer);
            self.arm_mending();
        }
    }

    /// Reminds the core of envoys, and lets it look for neighbours among all it knows if it lacks some.
    ///
    /// The core does so when it is answered an exchange of acquaintances: it is given one, of this envoy itself.
    pub(super) fn nudge(&mut self, peers: Vec<Peer>) {
        let nodes = peers.into_iter().map(|id| Node {
            id,
            data: Some(Data::default()),
        });
        let reply = Frame::swarm(Swarm::ShuffleReply {
            nodes: nodes.collect(),
        });
        self.feed(InEvent::RecvMessage(self.me, core_message(&reply)));
    }

    /// `from` takes this envoy for its neighbour, and is wrong, after a restart or a lost message. It is told, and the
    /// core no longer gives it news.
    pub(super) fn set_right(&mut self, from: Peer) {
        if self.asked.contains(&from) {
            return;
        }
        self.feed(InEvent::PeerDisconnected(from));
        if self.guard.may_set_right(self.now, from) {
            let goodbye = Frame::swarm(Swarm::Disconnect {
                alive: true,
                respond: false,
            });
            self.post(from, goodbye.encode());
        }
    }

    fn has_few(&self) -> bool {
        self.neighbours.len() < FEW.min(self.table.len())
    }

    /// Up to `most` envoys, by chance, that are no neighbours.
    fn others(&mut self, most: usize) -> Vec<Peer> {
        let others: Vec<Peer> = self
            .table
            .keys()
            .filter(|peer| !self.neighbours.contains(peer))
            .copied()
            .collect();
        others.sample(&mut self.rng, most).copied().collect()
    }

    /// `span`, plus or minus up to a quarter, so that envoys that started together do not stay in step.
    fn about(&mut self, span: Millis) -> Millis {
        let quarter = span.0 / 4;
        Millis(self.rng.random_range(span.0 - quarter..=span.0 + quarter))
    }
}

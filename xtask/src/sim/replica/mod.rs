//! One envoy of a simulated fleet: the pure code of the daemon, driven over a simulated disk and network.

pub(super) mod catch;
pub(super) mod cell;
mod heal;
mod intake;
mod packs;
pub(super) mod partner;
pub(super) mod push;
mod send;
mod serve;
pub(super) mod work;

use std::collections::{BTreeMap, BTreeSet};

use gitback_envelope::Tip;
use gitback_gossip::{Failure, Node, Question, Turn};

use super::disk::Disk;
use super::wire::{Answer, Refused, Request};
use super::world::{Event, World};
use cell::Cell;

pub(super) use push::{Push, Timer};
pub(super) use send::Parcel;

/// How long a small call may take, in microseconds.
const CALL_US: u64 = 10_000_000;

/// How long a push may take, in microseconds.
const PUSH_US: u64 = 60_000_000;

/// One envoy.
pub(super) struct Replica {
    pub(super) up: bool,
    /// How often it was started.
    pub(super) boot: u32,
    /// When it was started last, in microseconds.
    pub(super) booted: u64,
    pub(super) disk: Disk,
    pub(super) cells: Vec<Cell>,
    pub(super) node: Option<Node>,
    pub(super) turn: Option<Turn>,
    pub(super) wake_at: Option<u64>,
    /// What it has asked and not been answered.
    pub(super) calls: BTreeMap<u64, Call>,
    /// What peers are known to hold, by peer and project.
    pub(super) known_tips: BTreeMap<(usize, usize), Vec<Tip>>,
    /// Where peers are tried.
    pub(super) known_places: BTreeMap<usize, Vec<String>>,
    /// Peers that were asked once for a project that they do not list: they may know why.
    pub(super) introduced: BTreeSet<(usize, usize)>,
    /// What the node was told last of each project.
    pub(super) told: BTreeMap<usize, [u8; 32]>,
    /// Milliseconds by which its wall clock is wrong.
    pub(super) skew_ms: i64,
    /// Of a thousand, by how much its monotonic clock is fast.
    pub(super) drift: i64,
    /// The number of its last address record.
    pub(super) record: u64,
    /// When it was last compared with each peer, in microseconds.
    pub(super) compared: BTreeMap<usize, u64>,
    /// A stopped machine whose network still answers refuses at once; another one is silent.
    pub(super) refuses: bool,
    /// Changes from start to start, for the node's randomness.
    pub(super) seed: u64,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) to: usize,
    pub(super) purpose: Purpose,
}

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A message of the mesh.
    Gossip,
    /// A comparison that the node asked for.
    Compare,
    /// A step of a catch-up.
    Catch { project: usize, number: u64 },
    /// A push on its way to a peer.
    Parcel(Box<Parcel>),
    /// The freshness check of a local push.
    Fresh { push: usize, question: Question },
    /// A receipt. Nobody waits for it.
    Held,
}

impl World {
    /// Asks a peer something.
    pub(super) fn call(&mut self, envoy: usize, to: usize, request: Request, purpose: Purpose) {
        let call = self.number();
        let limit = match &request {
            Request::Push { .. } | Request::Fetch { .. } => PUSH_US,
            _ => CALL_US,
        };
        let boot = self.replicas[envoy].boot;
        let known = self.replicas[envoy].known_places.get(&to);
        let reachable = known.is_none_or(|places| places.contains(&self.places[to]));
        self.replicas[envoy]
            .calls
            .insert(call, Call { to, purpose });
        if reachable {
            self.send_request(envoy, to, call, request);
        }
        self.after(limit, Event::Timeout { envoy, boot, call });
    }

    /// A call has come to an end, this way or the other.
    pub(super) fn called(&mut self, envoy: usize, call: u64, outcome: Result<Answer, Failure>) {
        let Some(Call { to, purpose }) = self.replicas[envoy].calls.remove(&call) else {
            return;
        };
        self.note(&[31, envoy as u64, to as u64, u64::from(outcome.is_ok())]);
        match purpose {
            Purpose::Gossip => self.gossip_sent(envoy, to, outcome),
            Purpose::Compare => self.compared(envoy, to, outcome),
            Purpose::Catch { project, number } => self.caught(envoy, project, number, outcome),
            Purpose::Parcel(parcel) => self.parcel_answered(envoy, to, *parcel, outcome),
            Purpose::Fresh { push, question } => self.fresh_answered(push, question, &outcome),
            Purpose::Held => {}
        }
    }

    /// Tells the node what is held of a project, if that is news to it.
    pub(super) fn tell_holding(&mut self, envoy: usize, project: usize, spread: bool) {
        let (cell, shelf, _) = self.cell_shelf(envoy, project);
        if cell.fold.founder().is_none() {
            return;
        }
        let digest = cell.shown_digest(shelf);
        let whole_fleet = cell.fold.policy().scope == gitback_envelope::Scope::SwarmWide;
        self.watch_holding(envoy, digest);
        let told = self.replicas[envoy].told.insert(project, digest);
        if told == Some(digest) && !spread {
            return;
        }
        let input = gitback_gossip::Input::Holds {
            project: self.project_id(project),
            digest,
            spread: spread && whole_fleet,
        };
        self.feed(envoy, input);
    }
}

/// A fault of this envoy's own.
pub(super) fn ours(what: &str) -> Failure {
    Failure::Ours(what.to_owned())
}

/// What a refusal means to the node.
pub(super) fn refused(why: Refused) -> Failure {
    match why {
        Refused::Bad(what) => Failure::Refused(what.to_owned()),
        Refused::Forbidden => Failure::Refused("not a partner".to_owned()),
        Refused::UnknownProject => Failure::Refused("unknown project".to_owned()),
        Refused::Disk => Failure::Busy("no room there".to_owned()),
        Refused::Internal => Failure::Busy("a fault there".to_owned()),
    }
}

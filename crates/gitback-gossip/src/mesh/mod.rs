//! Which peers hear from which: a swarm that mends itself.
//!
//! The membership (HyParView) and the trees over which news spreads (Plumtree) are iroh-gossip's core. This module
//! gives it time and randomness as arguments, keeps its timers, judges what peers send before the core sees it, and
//! adds what the core leaves to its user: envoys whose connections are not one to one with neighbours, and a table of
//! the whole fleet that heals a swarm which fell apart.
//!
//! Source: docs/spec/gossip.md §3, §4.

mod alarms;
mod epoch;
mod guard;
mod mend;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use gitback_identity::EnvoyKey;
use iroh_gossip::proto::topic::Config;
use iroh_gossip::proto::{
    Command, Event, InEvent, Message, OutEvent, PeerData, Scope, State, Timer,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

pub use wire::{CONTENT_MAX, MESSAGE_MAX};

use crate::millis::Millis;
use alarms::Alarms;
use epoch::Epoch;
use guard::Guard;
use mend::Mend;
use wire::{Asks, Body, Frame, Peer, Swarm, TOPIC};

/// The most envoys in one fleet.
pub const TABLE_MAX: usize = 4096;

/// How many neighbours the core wants at most.
pub const NEIGHBOURS_MAX: usize = 5;

/// What the mesh wants done, or what it has come to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum MeshOutput {
    /// Send these bytes to that envoy. If that fails, say so with [`Mesh::lost`].
    Send {
        /// Who is to have it.
        to: EnvoyKey,
        /// At most [`MESSAGE_MAX`] bytes.
        message: Vec<u8>,
    },
    /// A content that was not heard of for the last 90 seconds.
    Heard {
        /// Who passed it on, which need not be who spread it.
        from: EnvoyKey,
        /// At most [`CONTENT_MAX`] bytes.
        content: Vec<u8>,
    },
    /// This envoy is a neighbour now.
    Up(EnvoyKey),
    /// This envoy is no neighbour any more.
    Down(EnvoyKey),
}

/// Why a message is refused. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageReject {
    /// It is longer than any message.
    #[error("longer than {MESSAGE_MAX} bytes")]
    TooLarge,
    /// It is no message.
    #[error("not a gossip message")]
    Malformed,
    /// Bytes follow it.
    #[error("bytes follow the message")]
    Trailing,
    /// It is about another topic.
    #[error("about another topic than the fleet's")]
    Topic,
    /// It carries data with a key, which no envoy does.
    #[error("carries data with a key")]
    Data,
    /// It has made, or asks for, more hops than any message may.
    #[error("too many hops")]
    TooFar,
    /// It lists more envoys than any message may.
    #[error("lists too many envoys")]
    TooManyNodes,
    /// What it spreads is longer than any content.
    #[error("spreads more than {CONTENT_MAX} bytes")]
    ContentTooLarge,
    /// It is meant for neighbours only, which no envoy does.
    #[error("spreads to neighbours only")]
    Scope,
    /// The id is not that of the content.
    #[error("the id is not the hash of the content")]
    WrongId,
    /// The sender is not in the table.
    #[error("the sender is not of the fleet")]
    Stranger,
    /// The sender sends more than it may. The message is dropped; what it said is found by comparing.
    #[error("the sender sends too much")]
    Flood,
}

impl MessageReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::Trailing => "trailing-bytes",
            Self::Topic => "wrong-topic",
            Self::Data => "data-with-key",
            Self::TooFar => "too-many-hops",
            Self::TooManyNodes => "too-many-nodes",
            Self::ContentTooLarge => "content-too-large",
            Self::Scope => "neighbours-only",
            Self::WrongId => "wrong-content-id",
            Self::Stranger => "stranger",
            Self::Flood => "flood",
        }
    }
}

/// This envoy's part in the swarm of its fleet.
///
/// Hand in what happens with the moment at which it does, then take [`MeshOutput`]s with [`Self::poll`] until there is
/// none, and call [`Self::wake`] at [`Self::next_wake`]. The same calls with the same seed give the same outputs.
pub struct Mesh {
    me: Peer,
    core: State<Peer, StdRng>,
    epoch: Epoch,
    rng: StdRng,
    alarms: Alarms<Alarm>,
    /// The fleet, as far as it was named by [`Self::join`]. Only keys in here are sent to, or passed to the core.
    table: BTreeMap<Peer, EnvoyKey>,
    neighbours: BTreeSet<Peer>,
    /// Who was asked to be a neighbour and has not answered.
    asked: BTreeSet<Peer>,
    guard: Guard,
    mend: Mend,
    outputs: VecDeque<MeshOutput>,
    now: Millis,
}

#[derive(Debug)]
enum Alarm {
    Core(Timer<Peer>),
    /// Time to see whether this peer answered.
    Unanswered(Peer),
    /// Time to look for neighbours, because there are few.
    Mend,
    /// Time to meet somebody by chance, because the swarm may be in pieces that do not know of one another.
    Meet,
    /// Time to forget what counts no more.
    Tidy,
}

impl Mesh {
    /// A node that knows nobody yet.
    #[must_use]
    pub fn new(me: EnvoyKey, seed: [u8; 32], now: Millis) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let core = State::new(
            Peer(*me.as_bytes()),
            PeerData::default(),
            config(),
            StdRng::from_rng(&mut rng),
        );
        let mut mesh = Self {
            me: Peer(*me.as_bytes()),
            core,
            epoch: Epoch::new(),
            rng,
            alarms: Alarms::default(),
            table: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            asked: BTreeSet::new(),
            guard: Guard::default(),
            mend: Mend::default(),
            outputs: VecDeque::new(),
            now,
        };
        mesh.feed(command(Command::Join(Vec::new())));
        mesh.alarms.set(now.plus(TIDY_EVERY), Alarm::Tidy);
        mesh.arm_meeting();
        mesh
    }

    /// Adds envoys to the table of the fleet, and asks a few of them to be neighbours if there are few.
    ///
    /// Naming one that is there already is no mistake: call it again when one of them came back. Beyond
    /// [`TABLE_MAX`] nobody is added.
    pub fn join(&mut self, now: Millis, peers: &[EnvoyKey]) {
        self.advance(now);
        let mut named = Vec::new();
        for key in peers {
            let peer = Peer(*key.as_bytes());
            let room = self.table.len() < TABLE_MAX || self.table.contains_key(&peer);
            if peer != self.me && room {
                self.table.insert(peer, *key);
                named.push(peer);
            }
        }
        if !named.is_empty() {
            self.mend.start_over();
            self.ask_some(named);
            self.arm_mending();
        }
    }

    /// Takes an envoy out of the table: it is told nothing more and nothing of it is believed.
    pub fn forget(&mut self, now: Millis, peer: &EnvoyKey) {
        self.advance(now);
        self.outputs
            .retain(|output| !matches!(output, MeshOutput::Send { to, .. } if to == peer));
        let peer = Peer(*peer.as_bytes());
        self.drop_peer(peer);
        self.table.remove(&peer);
        self.guard.forget(&peer);
        self.arm_mending();
    }

    /// Takes one message that came from `from` over a connection that proves it.
    ///
    /// # Errors
    ///
    /// [`MessageReject`]; nothing has changed then, but that a flood is counted.
    pub fn receive(
        &mut self,
        now: Millis,
        from: &EnvoyKey,
        message: &[u8],
    ) -> Result<(), MessageReject> {
        self.advance(now);
        let from = Peer(*from.as_bytes());
        if !self.table.contains_key(&from) {
            return Err(MessageReject::Stranger);
        }
        let mut frame = Frame::decode(message)?;
        self.guard.admit(self.now, from, &mut frame)?;
        if self.keep_known(&mut frame) {
            return Ok(());
        }
        if let Body::Swarm(Swarm::Neighbor { .. } | Swarm::Disconnect { .. }) = &frame.message {
            self.asked.remove(&from);
        }
        let as_neighbour = frame.message.is_for_neighbours();
        self.feed(InEvent::RecvMessage(from, core_message(&frame)));
        if as_neighbour && !self.neighbours.contains(&from) {
            self.set_right(from);
        }
        Ok(())
    }

    /// Tells the fleet. Content that is longer than [`CONTENT_MAX`], or one of too many in half a minute, is not
    /// spread; comparing finds what it would have told.
    pub fn spread(&mut self, now: Millis, content: Vec<u8>) {
        self.advance(now);
        if content.len() <= CONTENT_MAX && self.guard.may_spread(self.now) {
            self.feed(command(Command::Broadcast(content.into(), Scope::Swarm)));
        }
    }

    /// Says that `peer` cannot be reached now, or did not take a message.
    pub fn lost(&mut self, now: Millis, peer: &EnvoyKey) {
        self.advance(now);
        let peer = Peer(*peer.as_bytes());
        let was_neighbour = self.neighbours.contains(&peer);
        self.drop_peer(peer);
        if was_neighbour {
            self.mend.start_over();
        }
        self.arm_mending();
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Millis) {
        self.advance(now);
        while let Some(alarm) = self.alarms.due(self.now) {
            match alarm {
                Alarm::Core(timer) => self.feed(InEvent::TimerExpired(timer)),
                Alarm::Unanswered(peer) => self.give_up_on(peer),
                Alarm::Mend => self.mend(),
                Alarm::Meet => self.meet(),
                Alarm::Tidy => self.tidy(),
            }
        }
    }

    /// When something is due next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        self.alarms.next()
    }

    /// Takes the next output, oldest first.
    pub fn poll(&mut self) -> Option<MeshOutput> {
        self.outputs.pop_front()
    }

    /// Who is a neighbour now, in the order of keys.
    #[must_use]
    pub fn neighbours(&self) -> Vec<EnvoyKey> {
        let keys = self
            .neighbours
            .iter()
            .filter_map(|peer| self.table.get(peer));
        keys.copied().collect()
    }

    fn advance(&mut self, now: Millis) {
        self.now = self.now.max(now);
    }

    /// Gives one event to the core and carries out what it wants, until it wants nothing more.
    fn feed(&mut self, event: InEvent<Peer>) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.epoch.at(self.now).into();
            let wanted: Vec<_> = self.core.handle(event, now, None).collect();
            let unreachable = wanted.into_iter().filter_map(|want| self.carry_out(want));
            events.extend(unreachable.map(InEvent::PeerDisconnected));
        }
    }

    /// Carries out one wish of the core. Gives back a peer that it wants to write to and that is
    /// not in the table any more.
    fn carry_out(&mut self, want: OutEvent<Peer>) -> Option<Peer> {
        match want {
            OutEvent::SendMessage(to, message) => return self.send(to, &message),
            OutEvent::EmitEvent(_, Event::NeighborUp(peer)) => {
                self.neighbours.insert(peer);
                self.mend.start_over();
                self.tell(&peer, MeshOutput::Up);
            }
            OutEvent::EmitEvent(_, Event::NeighborDown(peer)) => {
                self.neighbours.remove(&peer);
                self.tell(&peer, MeshOutput::Down);
                self.arm_mending();
            }
            OutEvent::EmitEvent(_, Event::Received(heard)) => {
                self.guard.heard(self.now);
                let content = heard.content.to_vec();
                self.tell(&heard.delivered_from, |from| MeshOutput::Heard {
                    from,
                    content,
                });
            }
            OutEvent::ScheduleTimer(delay, timer) => {
                let delay = Millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                let at = self.now.plus(delay.max(Millis(1)));
                self.alarms.set(at, Alarm::Core(timer));
            }
            // Envoys share their connections with everything else that they do; nobody carries data with its key.
            OutEvent::DisconnectPeer(_) | OutEvent::PeerData(..) => {}
        }
        None
    }

    fn send(&mut self, to: Peer, message: &Message<Peer>) -> Option<Peer> {
        if to == self.me {
            return None;
        }
        if !self.table.contains_key(&to) {
            return Some(to);
        }
        let message = postcard::to_stdvec(message).expect("a message is only numbers and bytes");
        self.post(to, message);
        None
    }

    /// Puts a message to somebody in the table among the outputs.
    fn post(&mut self, to: Peer, message: Vec<u8>) {
        if Asks::of(&message) == Asks::Neighbour && self.asked.insert(to) {
            let at = self.now.plus(ANSWER_WITHIN);
            self.alarms.set(at, Alarm::Unanswered(to));
        }
        // A driver that takes nothing loses messages, as a network would.
        if self.outputs.len() < OUTPUTS_MAX {
            self.tell(&to, |to| MeshOutput::Send { to, message });
        }
    }

    fn tell(&mut self, peer: &Peer, output: impl FnOnce(EnvoyKey) -> MeshOutput) {
        if let Some(key) = self.table.get(peer) {
            self.outputs.push_back(output(*key));
        }
    }

    /// Takes everybody out of a message who is not in the table. Whether nothing is left that is worth reading.
    fn keep_known(&self, frame: &mut Frame) -> bool {
        let known = |peer: &Peer| *peer == self.me || self.table.contains_key(peer);
        match &mut frame.message {
            Body::Swarm(Swarm::ForwardJoin { peer, .. }) => !known(&peer.id) || peer.id == self.me,
            Body::Swarm(Swarm::Shuffle { origin, nodes, .. }) => {
                nodes.retain(|node| known(&node.id));
                !known(origin) || *origin == self.me
            }
            Body::Swarm(Swarm::ShuffleReply { nodes }) => {
                nodes.retain(|node| known(&node.id));
                false
            }
            Body::Swarm(Swarm::Join(_) | Swarm::Neighbor { .. } | Swarm::Disconnect { .. })
            | Body::Spread(_) => false,
        }
    }

    /// The core forgets `peer`: as a neighbour, as one whose answer it waits for, and as one to give news to.
    fn drop_peer(&mut self, peer: Peer) {
        self.asked.remove(&peer);
        self.feed(InEvent::PeerDisconnected(peer));
        self.nudge(Vec::new());
    }

    /// Forgets what counts no more, here and in the core.
    fn tidy(&mut self) {
        if self.guard.expire(self.now) {
            // The core keeps an empty entry for each announcement that nobody made good, until any peer goes. This
            // envoy is no neighbour of itself: nothing else happens.
            self.feed(InEvent::PeerDisconnected(self.me));
        }
        self.alarms.set(self.now.plus(TIDY_EVERY), Alarm::Tidy);
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("now", &self.now)
            .field("table", &self.table.len())
            .field("neighbours", &self.neighbours())
            .finish_non_exhaustive()
    }
}

impl Body {
    /// Whether envoys send it to their neighbours only.
    const fn is_for_neighbours(&self) -> bool {
        match self {
            Self::Swarm(Swarm::ForwardJoin { .. } | Swarm::Shuffle { .. }) | Self::Spread(_) => {
                true
            }
            Self::Swarm(
                Swarm::Join(_)
                | Swarm::ShuffleReply { .. }
                | Swarm::Neighbor { .. }
                | Swarm::Disconnect { .. },
            ) => false,
        }
    }
}

fn command(command: Command<Peer>) -> InEvent<Peer> {
    InEvent::Command(TOPIC.into(), command)
}

fn core_message(frame: &Frame) -> Message<Peer> {
    postcard::from_bytes(&frame.encode())
        .expect("the core has the same types: a test compares them")
}

/// What every envoy of a fleet must have alike, so nothing of it can be configured.
fn config() -> Config {
    let mut config = Config {
        max_message_size: MESSAGE_MAX,
        ..Config::default()
    };
    config.membership.active_view_capacity = NEIGHBOURS_MAX;
    config.membership.neighbor_request_timeout = Duration::from_millis(2000);
    config.broadcast.graft_timeout_1 = Duration::from_millis(300);
    config.broadcast.graft_timeout_2 = Duration::from_millis(200);
    config.broadcast.dispatch_timeout = Duration::from_millis(20);
    config.broadcast.message_cache_retention = Duration::from_millis(CONTENT_KEEP.0);
    config.broadcast.message_id_retention = Duration::from_millis(ID_KEEP.0);
    config
}

/// How long a content is kept to be given to who asks for it.
const CONTENT_KEEP: Millis = Millis(30_000);
/// How long a content is known again.
const ID_KEEP: Millis = Millis(90_000);
/// How long somebody who was asked to be a neighbour may take.
const ANSWER_WITHIN: Millis = Millis(5000);
const TIDY_EVERY: Millis = Millis(1000);
/// Outputs that wait for the driver, after which messages are dropped.
const OUTPUTS_MAX: usize = 16_384;

//! The whole of it: who is compared with whom, who catches up from whom, what is owed, and what the mesh carries.

mod catching;
mod debts;
mod holdings;
mod pairs;
mod peers;
mod presence;
mod rumours;
mod telling;
mod terms;
mod wants;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gitback_identity::{EnvoyKey, ProjectId};

use crate::dice::Dice;
use crate::mesh::Mesh;
use crate::millis::Millis;
use crate::owed::{Debt, Owed};
use crate::rounds::Rounds;
use holdings::Holdings;
use pairs::Pairs;
use peers::{PEERS_MAX, Peer};
use rumours::Rumours;
use telling::Telling;
use wants::{Want, Wants};

pub use holdings::EARLIER_MAX;
pub use terms::{Difference, Failure, Input, News, Output, Presence, Settings, Standing};

/// One envoy's part in the fleet: takes what happened, gives orders, does nothing itself.
///
/// The driver calls [`handle`](Self::handle) with the moment at which something happened, takes orders with
/// [`poll`](Self::poll) until there is none, carries them out, and hands in how each ended. At
/// [`next_wake`](Self::next_wake) it hands in [`Input::Wake`]. The same calls with the same seed give the same orders.
///
/// **Promise asked of the driver:** every command is answered exactly once, also when a worker dies or a peer falls
/// silent; the node has no limit of its own for how long one takes.
///
/// ```
/// use gitback_gossip::{Input, Millis, Node, Output, Settings};
/// use gitback_identity::{EnvoyKey, SecretKey};
///
/// let key = |seed| EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public());
/// let mut node = Node::new(key(1), [0; 32], Settings::default(), Millis(0));
/// let peer = Input::Peer { key: key(2), name: "venus".into(), addresses: vec!["venus:4433".into()] };
/// node.handle(Millis(0), peer);
/// let orders: Vec<Output> = std::iter::from_fn(|| node.poll()).collect();
/// assert!(orders.contains(&Output::Compare { with: key(2) }));
/// ```
#[derive(Debug)]
pub struct Node {
    me: EnvoyKey,
    settings: Settings,
    now: Millis,
    dice: Dice,
    outputs: VecDeque<Output>,
    peers: BTreeMap<EnvoyKey, Peer>,
    rounds: Rounds,
    next_tick: Millis,
    /// Peers that are away or punished, by when they are tried next.
    probes: BTreeSet<(Millis, EnvoyKey)>,
    probes_left: usize,
    /// With whom to compare as soon as there is a slot.
    compares: VecDeque<EnvoyKey>,
    holdings: Holdings,
    wants: Wants,
    pairs: Pairs,
    owed: Owed,
    served_last: Option<EnvoyKey>,
    rumours: Rumours,
    telling: Telling,
    mesh: Mesh,
    open: Open,
}

/// Commands without an answer yet.
#[derive(Debug, Default)]
struct Open {
    compares: BTreeSet<EnvoyKey>,
    catch_ups: BTreeMap<ProjectId, (EnvoyKey, Want)>,
    /// Of those, the projects that are not to be held any more.
    called_off: BTreeSet<ProjectId>,
    /// Whether the job that it is for was called off meanwhile.
    deliveries: BTreeMap<(EnvoyKey, ProjectId), bool>,
    messages: BTreeMap<EnvoyKey, usize>,
}

impl Node {
    /// A node that knows nobody and holds nothing. `seed` decides every choice that is left to chance.
    #[must_use]
    pub fn new(me: EnvoyKey, seed: [u8; 32], settings: Settings, now: Millis) -> Self {
        let mut dice = Dice::new(&seed);
        let next_tick = now.plus(Millis(dice.roll() % settings.tick.0.max(1)));
        Self {
            me,
            now,
            outputs: VecDeque::new(),
            peers: BTreeMap::new(),
            rounds: Rounds::new(settings.compare_all, settings.compare_width),
            next_tick,
            probes: BTreeSet::new(),
            probes_left: settings.probes,
            compares: VecDeque::new(),
            holdings: Holdings::default(),
            wants: Wants::new(),
            pairs: Pairs::new(settings.clone()),
            owed: Owed::new(),
            served_last: None,
            rumours: Rumours::default(),
            telling: Telling::default(),
            mesh: Mesh::new(me, seed, now),
            open: Open::default(),
            dice,
            settings,
        }
    }

    /// Takes one thing that happened at `now`. A `now` before the last one counts as the last one.
    pub fn handle(&mut self, now: Millis, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Wake => {}
            Input::Peer {
                key,
                name,
                addresses,
            } => self.know(key, name, addresses),
            Input::Forget { key } => self.forget(&key),
            Input::Sighted { key, address } => self.sighted(&key, address),
            Input::Message { from, bytes } => self.hear(&from, &bytes),
            Input::MessageSent { to, outcome } => self.message_sent(&to, outcome),
            Input::Holds {
                project,
                digest,
                spread,
            } => self.holds(project, digest, spread),
            Input::Dropped { project } => self.dropped(&project),
            Input::Compared { with, outcome } => self.compared(with, outcome),
            Input::Shown { by, differences } => self.shown(by, &differences),
            Input::CaughtUp {
                project,
                from,
                outcome,
            } => self.caught_up(project, from, outcome),
            Input::Owes {
                to,
                project,
                reason,
            } => self.owes(to, project, &reason),
            Input::Delivered {
                to,
                project,
                outcome,
            } => self.delivered(to, project, outcome),
            Input::Answered { peer } => self.asked(&peer),
            Input::Lied { peer, reason } => self.failed(&peer, &Failure::Lied(reason), false),
            Input::OwnRecord(record) => self.own_record(record),
            Input::WallClock { unix_ms } => self.set_wall_clock(unix_ms),
            Input::CompareAll => self.compare_all(),
            Input::CompareSoon { with } => self.queue_compare(&with),
        }
        self.advance();
    }

    /// The next order, until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Wake`] is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        let probe = self.probes.first().map(|(due, _)| *due);
        let probe = probe.filter(|_| self.probes_left > 0);
        let due = [
            Some(self.next_tick),
            probe,
            self.mesh.next_wake(),
            self.next_catch_up(),
            self.next_delivery(),
            self.next_notice(),
        ];
        due.into_iter().flatten().min()
    }

    /// What it thinks of a peer, if it is somebody of the fleet.
    #[must_use]
    pub fn standing(&self, peer: &EnvoyKey) -> Option<Standing> {
        self.peers.get(peer).map(|peer| peer.standing(self.now))
    }

    /// Whom it knows, in the order of keys.
    pub fn peers(&self) -> impl Iterator<Item = &EnvoyKey> {
        self.peers.keys()
    }

    /// What is owed of a project, oldest first.
    #[must_use]
    pub fn owed(&self, project: &ProjectId) -> Vec<Debt> {
        self.owed.of_project(project)
    }

    /// What is owed to a peer, oldest first.
    #[must_use]
    pub fn owed_to(&self, peer: &EnvoyKey) -> Vec<Debt> {
        self.owed.to_peer(peer)
    }

    /// Whether what a peer shows of a project was held here lately, so that there is nothing new in it.
    #[must_use]
    pub fn had(&self, project: &ProjectId, digest: &[u8; 32]) -> bool {
        self.holdings.had(project, digest)
    }

    /// How many commands have no answer yet.
    #[must_use]
    pub fn open(&self) -> usize {
        let open = &self.open;
        let messages: usize = open.messages.values().sum();
        open.compares.len() + open.catch_ups.len() + open.deliveries.len() + messages
    }

    /// Does whatever is due, and hands out what there are slots for.
    fn advance(&mut self) {
        if self.mesh.next_wake().is_some_and(|due| due <= self.now) {
            self.mesh.wake(self.now);
        }
        if self.next_tick <= self.now {
            self.tick();
        }
        self.probe();
        self.tell();
        self.tell_places();
        self.drain_mesh();
        self.issue_compares();
        self.issue_catch_ups();
        self.issue_deliveries();
    }

    fn know(&mut self, key: EnvoyKey, name: String, addresses: Vec<String>) {
        if key == self.me || (self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&key)) {
            return;
        }
        let settings = &self.settings;
        let new = !self.peers.contains_key(&key);
        let peer = self.peers.entry(key).or_insert_with(|| Peer::new(settings));
        if peer.configure(name, addresses) && !new {
            self.moved(&key);
        }
        if new {
            self.mesh.join(self.now, &[key]);
            if self.peers.len() <= self.settings.compare_all {
                self.queue_compare(&key);
            }
        }
    }

    fn forget(&mut self, key: &EnvoyKey) {
        if self.peers.remove(key).is_none() {
            return;
        }
        self.mesh.forget(self.now, key);
        self.probes.retain(|(_, peer)| peer != key);
        self.compares.retain(|peer| peer != key);
        self.wants.forget(key);
        self.pairs.forget(key);
        self.owed.forget(key);
        self.rumours.forget(key);
        self.telling.forget(key);
        for ((to, _), called_off) in &mut self.open.deliveries {
            *called_off |= to == key;
        }
    }

    fn sighted(&mut self, key: &EnvoyKey, address: String) {
        if let Some(peer) = self.peers.get_mut(key)
            && peer.sight(address)
        {
            self.moved(key);
        }
    }

    fn log(&mut self, peer: &EnvoyKey, what: String) {
        self.outputs.push_back(Output::Log { peer: *peer, what });
    }
}

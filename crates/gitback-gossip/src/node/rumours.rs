//! What the mesh carries: who holds what, and where who is.

use std::collections::{BTreeMap, BTreeSet};

use gitback_identity::{EnvoyKey, ProjectId};

use super::Node;
use super::pairs::Shown;
use super::terms::{Failure, Output};
use super::wants::Want;
use crate::address::AddressRecord;
use crate::agenda::Agenda;
use crate::mesh::MeshOutput;
use crate::millis::Millis;
use crate::notice::Notice;
use crate::places::Places;

/// Most gossip messages to one peer that are on their way. What does not fit is lost, as on any wire.
pub(super) const MESSAGES_MAX: usize = 256;
/// Most notices of one neighbour in a tick that are acted upon. Comparisons find the rest.
const BELIEVED_MAX: usize = 64;
/// Most digests of which it is remembered that the fleet was told.
const HEARD_MAX: usize = 4_096;
/// How long nothing more is said about a peer that sent nonsense.
const COMPLAINT: Millis = Millis::from_secs(3_600);
/// How long at least until the own addresses are spread again.
const OWN_GAP: Millis = Millis::from_secs(600);
/// How long at least, for each envoy of the fleet.
const OWN_SHARE: Millis = Millis::from_secs(60);

#[derive(Debug)]
pub(crate) struct Rumours {
    /// How many notices of whom were acted upon in this tick.
    believed: BTreeMap<EnvoyKey, usize>,
    /// What the fleet was told lately, here or elsewhere, oldest first.
    heard: Agenda<(ProjectId, [u8; 32])>,
    /// What the fleet is still to be told.
    untold: BTreeSet<ProjectId>,
    /// What others shall know of this envoy's addresses, and when they are told again.
    own: Option<(AddressRecord, Millis)>,
    /// What the clock on the wall showed when.
    wall: Option<(Millis, u64)>,
    /// Until when nothing more is said about whose nonsense.
    complained: BTreeMap<EnvoyKey, Millis>,
}

impl Default for Rumours {
    fn default() -> Self {
        Self {
            believed: BTreeMap::new(),
            heard: Agenda::new(),
            untold: BTreeSet::new(),
            own: None,
            wall: None,
            complained: BTreeMap::new(),
        }
    }
}

impl Rumours {
    pub(crate) fn tick(&mut self) {
        self.believed.clear();
    }

    pub(crate) fn forget(&mut self, peer: &EnvoyKey) {
        self.believed.remove(peer);
        self.complained.remove(peer);
    }

    /// What others shall know of this envoy's addresses.
    pub(crate) fn own_record(&self) -> Option<&AddressRecord> {
        self.own.as_ref().map(|(record, _)| record)
    }

    fn note(&mut self, now: Millis, project: ProjectId, digest: [u8; 32]) {
        self.heard.put((project, digest), now);
        while self.heard.len() > HEARD_MAX {
            let Some(oldest) = self.heard.ready(Millis(u64::MAX)).next() else {
                return;
            };
            self.heard.remove(&oldest);
        }
    }
}

impl Node {
    pub(super) fn holds(&mut self, project: ProjectId, digest: [u8; 32], spread: bool) {
        let changed = self.holdings.hold(project, digest);
        if !spread {
            self.rumours.untold.remove(&project);
        } else if changed && !self.rumours.heard.contains(&(project, digest)) {
            self.rumours.untold.insert(project);
        }
    }

    pub(super) fn dropped(&mut self, project: &ProjectId) {
        self.holdings.drop(project);
        if self.open.catch_ups.contains_key(project) {
            self.open.called_off.insert(*project);
        }
        self.rumours.untold.remove(project);
        self.wants.drop_project(project);
        self.owed.drop_project(project);
        for ((_, of), called_off) in &mut self.open.deliveries {
            *called_off |= of == project;
        }
    }

    /// What is held of `project` came from a peer that holds the same: the fleet needs no notice of it.
    pub(super) fn known_already(&mut self, project: &ProjectId) {
        if self.rumours.untold.remove(project)
            && let Some(digest) = self.holdings.digest(project)
        {
            self.rumours.note(self.now, *project, digest);
        }
    }

    /// Tells the fleet what it does not know, at most once in a while about one project, and only if somebody listens.
    pub(super) fn tell(&mut self) {
        let due = self
            .rumours
            .own
            .as_ref()
            .is_some_and(|(_, due)| *due <= self.now);
        if (self.rumours.untold.is_empty() && !due) || self.mesh.neighbours().is_empty() {
            return;
        }
        self.tell_own();
        let (now, gap, me) = (self.now, self.settings.notice_gap, self.me);
        let (holdings, mesh, open) = (&mut self.holdings, &mut self.mesh, &self.open.catch_ups);
        let mut told = Vec::new();
        self.rumours.untold.retain(|project| {
            let Some(holding) = holdings.get_mut(project) else {
                return false;
            };
            // While it is being caught up it is no news, or will be other news soon.
            if open.contains_key(project) || holding.told.is_some_and(|told| told.plus(gap) > now) {
                return true;
            }
            holding.told = Some(now);
            let notice = Notice::Project {
                project: *project,
                digest: holding.digest,
                holder: me,
            };
            mesh.spread(now, notice.encode());
            told.push((*project, holding.digest));
            false
        });
        for (project, digest) in told {
            self.rumours.note(now, project, digest);
        }
    }

    /// When the next notice may be spread.
    pub(super) fn next_notice(&self) -> Option<Millis> {
        let nothing = self.rumours.untold.is_empty() && self.rumours.own.is_none();
        if nothing || self.mesh.neighbours().is_empty() {
            return None;
        }
        let own = self.rumours.own.iter().map(|(_, due)| *due);
        let gap = self.settings.notice_gap;
        let untold = self.rumours.untold.iter();
        let due = untold.filter_map(|project| self.holdings.told(project));
        let due = due.map(|told| told.plus(gap)).chain(own);
        due.filter(|due| *due > self.now).min()
    }

    /// A gossip message came.
    pub(super) fn hear(&mut self, from: &EnvoyKey, bytes: &[u8]) {
        self.asked(from);
        let reject = if Places::is_one(bytes) {
            self.hear_places(from, bytes)
                .map_err(|reject| reject.to_string())
        } else {
            let taken = self.mesh.receive(self.now, from, bytes);
            taken.map_err(|reject| reject.to_string())
        };
        let Err(reject) = reject else {
            return;
        };
        // No penalty: a peer of another version must still be caught up from.
        let silent = self.rumours.complained.get(from);
        if self.peers.contains_key(from) && silent.is_none_or(|until| *until <= self.now) {
            let until = self.now.plus(COMPLAINT);
            self.rumours.complained.insert(*from, until);
            self.log(
                from,
                format!("sent a gossip message that is not taken: {reject}"),
            );
        }
    }

    /// Takes what others shall know of this envoy's addresses.
    pub(super) fn own_record(&mut self, record: AddressRecord) {
        self.rumours.own = Some((record, self.now));
        self.telling.took_own();
    }

    fn tell_own(&mut self) {
        let now = self.now;
        // Those who were away when it was spread hear it some day: the larger the fleet, the more tell.
        let fleet = u64::try_from(self.peers.len()).unwrap_or(u64::MAX);
        let pause = OWN_GAP.max(OWN_SHARE.times(fleet));
        if let Some((record, due)) = &mut self.rumours.own
            && *due <= now
        {
            *due = now.plus(pause);
            let notice = Notice::Address(record.clone());
            self.mesh.spread(now, notice.encode());
        }
    }

    pub(super) fn message_sent(&mut self, to: &EnvoyKey, outcome: Result<(), Failure>) {
        if let Some(open) = self.open.messages.get_mut(to) {
            *open -= 1;
            if *open == 0 {
                self.open.messages.remove(to);
            }
        }
        match outcome {
            Ok(()) => self.answered(to, false),
            Err(failure) => {
                self.failed(to, &failure, false);
                self.mesh.lost(self.now, to);
            }
        }
    }

    /// Carries out what the mesh wants.
    pub(super) fn drain_mesh(&mut self) {
        while let Some(output) = self.mesh.poll() {
            match output {
                MeshOutput::Send { to, message } => self.send(to, message),
                MeshOutput::Heard { from, content } => self.heard(&from, &content),
                MeshOutput::Up(_) => self.tell(),
                MeshOutput::Down(_) => {}
            }
        }
    }

    fn send(&mut self, to: EnvoyKey, bytes: Vec<u8>) {
        let usable = self
            .peers
            .get(&to)
            .is_some_and(|peer| peer.is_usable(self.now));
        if !usable {
            self.mesh.lost(self.now, &to);
            return;
        }
        let open = self.open.messages.entry(to).or_default();
        if *open < MESSAGES_MAX {
            *open += 1;
            self.outputs.push_back(Output::Message { to, bytes });
        }
    }

    pub(super) fn heard(&mut self, from: &EnvoyKey, content: &[u8]) {
        match Notice::decode(content) {
            Ok(Notice::Project {
                project,
                digest,
                holder,
            }) => self.heard_of_project(from, project, digest, holder),
            Ok(Notice::Address(record)) => {
                self.telling.is_spread(record.key());
                self.take_record(&record);
            }
            Err(_) => {}
        }
    }

    /// What the clock on the wall shows, if anybody said so.
    pub(super) fn wall_ms(&self) -> Option<u64> {
        let (then, wall_ms) = self.rumours.wall?;
        Some(wall_ms.saturating_add(self.now.since(then).0))
    }

    /// Uses addresses no longer whose time is over.
    pub(super) fn expire_addresses(&mut self) {
        let Some(wall_ms) = self.wall_ms() else {
            return;
        };
        let changed = self
            .peers
            .iter_mut()
            .filter_map(|(key, peer)| peer.expire(wall_ms).then_some(*key));
        let changed: Vec<EnvoyKey> = changed.collect();
        for key in changed {
            self.moved(&key);
        }
    }

    pub(super) fn set_wall_clock(&mut self, unix_ms: u64) {
        self.rumours.wall = Some((self.now, unix_ms));
    }

    fn heard_of_project(
        &mut self,
        from: &EnvoyKey,
        project: ProjectId,
        digest: [u8; 32],
        holder: EnvoyKey,
    ) {
        self.rumours.note(self.now, project, digest);
        if self.holdings.digest(&project) == Some(digest) || self.holdings.had(&project, &digest) {
            return;
        }
        let believed = self.rumours.believed.entry(*from).or_default();
        if *believed >= BELIEVED_MAX {
            return;
        }
        *believed += 1;
        // Who spread it holds it for certain; who passed it on spares that one when the fleet is large.
        let mut sources = [holder, *from];
        if self.peers.len() > self.settings.compare_all && self.dice.below(2) == 0 {
            sources.reverse();
        }
        let shown = Shown {
            theirs: digest,
            ours: self.holdings.digest(&project),
        };
        let want = Want {
            digest,
            even_if_same: false,
        };
        for source in sources {
            let usable = self
                .peers
                .get(&source)
                .is_some_and(|peer| peer.is_usable(self.now));
            if !usable || self.pairs.refused(self.now, &source, &project) {
                continue;
            }
            let Some(allowed) = self.pairs.allows(self.now, &source, &project, shown) else {
                continue;
            };
            let patience = self.settings.patience.0;
            let wait = patience / 2 + self.dice.roll() % patience.max(1);
            let due = self.now.plus(Millis(wait)).max(allowed);
            if self.wants.put(source, project, want, due) {
                return;
            }
        }
    }
}

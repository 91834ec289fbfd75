//! Telling where who is to those who were away when the fleet was told.
//!
//! Every record that is taken gets a version. Of each peer it is known up to which version it was told: by the mesh,
//! as long as it answered, or directly, when it answers again. While nobody comes and nothing changes this costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use gitback_identity::EnvoyKey;

use super::Node;
use super::rumours::MESSAGES_MAX;
use super::terms::Output;
use crate::address::AddressRecord;
use crate::millis::Millis;
use crate::notice::Notice;
use crate::places::{PLACES_MAX, Places, PlacesReject};

/// Most messages of one peer in a tick that are read: each may have sixteen signatures.
const READ_MAX: usize = 4;
/// Most peers that are told in one go.
const TOLD_AT_ONCE: usize = 64;
/// Most records that wait to be passed on to the fleet.
const PASS_ON_MAX: usize = 64;
/// How many of them in a tick.
const PASS_ON_WIDTH: usize = 8;
/// For how many ticks a peer that answers may not call, and for how many for each envoy of the fleet. With those who are
/// well it compares far more often than that.
const SILENT_TICKS: u64 = 12;
const SILENT_SHARE: u64 = 4;

#[derive(Debug, Default)]
pub(crate) struct Telling {
    /// The version of what was taken last.
    version: u64,
    /// Which version the record of this envoy has.
    own: u64,
    /// Whose record has which version, both ways.
    versions: BTreeMap<EnvoyKey, u64>,
    order: BTreeMap<u64, EnvoyKey>,
    /// Who is to be told.
    due: BTreeSet<EnvoyKey>,
    /// How many messages of whom were read in this tick.
    read: BTreeMap<EnvoyKey, usize>,
    /// Whose records are to be passed on, and since when: they were told to this envoy alone.
    pass_on: BTreeMap<EnvoyKey, Millis>,
}

impl Telling {
    pub(crate) fn took_own(&mut self) {
        self.version += 1;
        self.own = self.version;
    }

    pub(crate) fn took(&mut self, of: EnvoyKey) {
        self.version += 1;
        if let Some(before) = self.versions.insert(of, self.version) {
            self.order.remove(&before);
        }
        self.order.insert(self.version, of);
    }

    /// The fleet was told by somebody.
    pub(crate) fn is_spread(&mut self, of: &EnvoyKey) {
        self.pass_on.remove(of);
    }

    /// How many records wait to be passed on.
    #[cfg(test)]
    pub(super) fn passing_on(&self) -> usize {
        self.pass_on.len()
    }

    pub(crate) fn is_away(&mut self, peer: &EnvoyKey) {
        self.due.remove(peer);
    }

    pub(crate) fn forget(&mut self, peer: &EnvoyKey) {
        self.due.remove(peer);
        self.read.remove(peer);
        self.pass_on.remove(peer);
        if let Some(version) = self.versions.remove(peer) {
            self.order.remove(&version);
        }
    }
}

impl Node {
    /// A peer answered that had not before, or not lately.
    pub(super) fn is_to_be_told(&mut self, peer: &EnvoyKey) {
        self.telling.due.insert(*peer);
    }

    /// A peer answered as it did before: what the mesh carried, it has heard.
    pub(super) fn was_told(&mut self, peer: &EnvoyKey) {
        if !self.telling.due.contains(peer)
            && let Some(peer) = self.peers.get_mut(peer)
        {
            peer.told = self.telling.version;
        }
    }

    /// Tells those who are to be told.
    pub(super) fn tell_places(&mut self) {
        let (now, gap) = (self.now, self.settings.notice_gap);
        let ready = self.telling.due.iter().filter(|key| {
            let open = self.open.messages.get(key).copied().unwrap_or(0);
            let peer = self.peers.get(key);
            let usable = peer.is_some_and(|peer| {
                peer.is_usable(now) && peer.told_at.is_none_or(|at| at.plus(gap) <= now)
            });
            usable && open < MESSAGES_MAX
        });
        let ready: Vec<EnvoyKey> = ready.copied().take(TOLD_AT_ONCE).collect();
        for key in ready {
            self.telling.due.remove(&key);
            self.tell_places_to(&key);
        }
    }

    fn tell_places_to(&mut self, to: &EnvoyKey) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let told = peer.told;
        let mut places = Places::new(peer.places_asked.is_none());
        let own = self
            .rumours
            .own_record()
            .filter(|_| self.telling.own > told);
        if let Some(record) = own {
            places.push(record);
        }
        let news = self.telling.order.range(told.saturating_add(1)..);
        let mut whose: Vec<EnvoyKey> = news.map(|(_, key)| *key).filter(|key| key != to).collect();
        // Where many are news, each who tells tells others: together they tell all.
        for place in 0..whose.len().min(PLACES_MAX) {
            let other = place + self.dice.below(whose.len() - place);
            whose.swap(place, other);
        }
        for record in whose
            .iter()
            .take(PLACES_MAX)
            .filter_map(|key| self.peers.get(key)?.valid_record())
        {
            places.push(record);
        }
        if places.records().is_empty() && !places.is_asking() {
            return;
        }
        if let Some(peer) = self.peers.get_mut(to) {
            peer.told_at = Some(self.now);
            peer.places_asked.get_or_insert(self.now);
        }
        *self.open.messages.entry(*to).or_default() += 1;
        let (to, bytes) = (*to, places.encode());
        self.outputs.push_back(Output::Message { to, bytes });
    }

    /// A peer tells where who is.
    pub(super) fn hear_places(
        &mut self,
        from: &EnvoyKey,
        message: &[u8],
    ) -> Result<(), PlacesReject> {
        let Some(peer) = self.peers.get_mut(from) else {
            return Ok(());
        };
        let read = self.telling.read.entry(*from).or_default();
        if *read >= READ_MAX {
            return Ok(());
        }
        *read += 1;
        let places = Places::decode(message)?;
        // What it knew of others when it was asked, the fleet knows too.
        let asked = peer.places_asked;
        let is_answer = asked.is_some_and(|at| self.now.since(at) <= self.settings.tick);
        if places.is_asking() {
            peer.told = 0;
            self.telling.due.insert(*from);
        }
        for record in places.records() {
            let is_news = self.take_record(record);
            let is_for_all = !is_answer || record.key() == from;
            if is_news && is_for_all && self.telling.pass_on.len() < PASS_ON_MAX {
                self.telling.pass_on.insert(*record.key(), self.now);
            }
        }
        Ok(())
    }

    /// Takes what a peer says of itself, if it is newer than what is known. Whether it says anything new.
    pub(super) fn take_record(&mut self, record: &AddressRecord) -> bool {
        let wall_ms = self.wall_ms();
        let expired = wall_ms.is_some_and(|now| record.expires_ms() <= now);
        let Some(peer) = self.peers.get_mut(record.key()).filter(|_| !expired) else {
            return false;
        };
        let Some(taken) = peer.record(record, wall_ms) else {
            return false;
        };
        self.telling.took(*record.key());
        if taken.is_moved {
            self.moved(record.key());
        }
        taken.is_news
    }

    /// Once a tick.
    pub(super) fn tick_places(&mut self) {
        self.telling.read.clear();
        self.tell_silent();
        if self.mesh.neighbours().is_empty() {
            return;
        }
        let (now, gap) = (self.now, self.settings.notice_gap);
        let waiting = self.telling.pass_on.iter();
        let ready = waiting.filter(|(_, since)| since.plus(gap) <= now);
        let ready: Vec<EnvoyKey> = ready.map(|(key, _)| *key).take(PASS_ON_WIDTH).collect();
        for key in ready {
            self.telling.pass_on.remove(&key);
            if let Some(record) = self.peers.get(&key).and_then(|peer| peer.valid_record()) {
                let notice = Notice::Address(record.clone());
                self.mesh.spread(self.now, notice.encode());
            }
        }
    }

    /// Tells its own record to those who answer but do not call: they may not know where to, and the mesh may not carry
    /// what would change that, since who cannot be called is nobody's neighbour.
    fn tell_silent(&mut self) {
        if self.rumours.own_record().is_none() {
            return;
        }
        let fleet = u64::try_from(self.peers.len()).unwrap_or(u64::MAX);
        let patience = fleet.saturating_mul(SILENT_SHARE).max(SILENT_TICKS);
        let patience = self.settings.tick.times(patience);
        let (now, own) = (self.now, self.telling.own);
        for (key, peer) in &mut self.peers {
            let last = peer.called.max(peer.told_at);
            let is_silent = last.is_some_and(|last| last.plus(patience) <= now);
            if is_silent && peer.is_up() && peer.is_usable(now) {
                peer.told = peer.told.min(own.saturating_sub(1));
                self.telling.due.insert(*key);
            }
        }
    }
}

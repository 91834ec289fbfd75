//! The fleet that this envoy is in: who is of it, where they are, and the authority's key where it is held here.
//!
//! What may be believed is decided in `gitback-fleet`. This module keeps it on the disk, and makes peers of it.
//!
//! Source: docs/spec/fleet.md.

mod authority;
mod exchange;
mod files;
mod seals;
mod tickets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use gitback_fleet::{ADDRESSES_MAX, Enrolment, FleetReject, PLACES_MAX, Place, Roster, Welcome};
use gitback_gossip::Input;
use gitback_identity::{EnvoyKey, PublicKey, SecretKey, hex};

use crate::clock;
use crate::config::Peer;
use crate::daemon::{Envoy, chain};
use crate::key;
use crate::peers::Neighbour;
use crate::whereabouts::own_addresses;

pub(crate) use authority::{EnrolFault, Word};
use exchange::Spreading;
pub(crate) use exchange::{exchange, petition, spread};
pub use files::FleetFault;
use files::{FleetFiles, Places};
pub(crate) use seals::{SealFault, SealedTo, TakeOverFault};
use tickets::Tickets;
pub(crate) use tickets::{NewTicket, TICKETS_MAX};

/// What is known of the fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    files: FleetFiles,
    inner: Mutex<Inner>,
    spreading: Spreading,
}

#[derive(Debug)]
struct Inner {
    /// The fleet, and the digest of its roster.
    known: Option<(Arc<Roster>, [u8; 32])>,
    /// The key of an authority; of another fleet than this one, it counts for nothing.
    authority: Option<SecretKey>,
    /// Where its envoys were last.
    places: Places,
    tickets: Tickets,
}

/// What this envoy is to its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// There is no fleet.
    None,
    /// It holds the authority's key.
    Authority,
    /// It is enrolled.
    Member,
    /// Its enrolment has ended.
    Expired,
    /// It was removed.
    Removed,
}

/// Why a fleet cannot be joined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinFault {
    /// It enrols somebody else, or nobody.
    #[error("it is not for this envoy")]
    NotForUs,
    /// It has ended by the clock here.
    #[error("the enrolment has ended by this machine's clock: compare the clocks of both machines")]
    Ended,
    /// The fleet has removed this envoy.
    #[error("this envoy's key was removed from that fleet, for good")]
    Removed,
    /// This envoy is of another fleet, with others in it.
    #[error("it is of another fleet, with {others}")]
    OtherFleet {
        /// Their names.
        others: String,
    },
    /// It does not fit what is known of the fleet.
    #[error("it does not fit what is known here of the fleet")]
    Reject(#[source] FleetReject),
    /// It could not be stored.
    #[error(transparent)]
    Store(FleetFault),
}

impl Fleet {
    /// Loads what `identity_dir` holds of a fleet.
    ///
    /// # Errors
    ///
    /// [`FleetFault`] if the roster or the key is damaged, or cannot be read: neither is ever replaced.
    pub(crate) fn open(identity_dir: &Path) -> Result<Self, FleetFault> {
        let files = FleetFiles::new(identity_dir);
        if let Err(error) = key::forget_unfinished(identity_dir) {
            tracing::warn!(error = %chain(&error), "what a crash has left is not removed");
        }
        let authority = key::authority_key(identity_dir).map_err(FleetFault::Key)?;
        let roster = files.roster()?;
        let inner = Inner {
            known: roster.map(|roster| {
                let digest = roster.digest();
                (Arc::new(roster), digest)
            }),
            authority,
            places: files.places(),
            tickets: files.tickets(),
        };
        Ok(Self {
            files,
            inner: Mutex::new(inner),
            spreading: Spreading::default(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics with the fleet")
    }

    /// Whether all are being told of news.
    fn spreading(&self) -> &Spreading {
        &self.spreading
    }

    /// Who is of the fleet, if there is one.
    pub(crate) fn roster(&self) -> Option<Arc<Roster>> {
        let inner = self.inner();
        inner.known.as_ref().map(|(roster, _)| Arc::clone(roster))
    }

    /// What the roster's digest is, for comparing.
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        self.inner().known.as_ref().map(|(_, digest)| *digest)
    }

    /// When `key` was removed, if it was.
    pub(crate) fn removed_ms(&self, key: &EnvoyKey) -> Option<u64> {
        let roster = self.roster()?;
        roster.removal(key).map(gitback_fleet::Removal::time_ms)
    }

    /// Where the file of the roster is, for people.
    pub(crate) fn file(&self) -> PathBuf {
        self.files.roster_file()
    }

    /// What the envoy `me` is to the fleet.
    pub(crate) fn part(&self, me: &EnvoyKey) -> Part {
        let inner = self.inner();
        let Some((roster, _)) = &inner.known else {
            return Part::None;
        };
        if roster.removal(me).is_some() {
            return Part::Removed;
        }
        if inner.holds_authority() {
            return Part::Authority;
        }
        if roster.is_live(me, clock::now_ms()) {
            Part::Member
        } else {
            Part::Expired
        }
    }

    /// The other envoys that are of the fleet of `me` now, by name.
    pub(crate) fn others(&self, me: &EnvoyKey) -> Vec<Enrolment> {
        let roster = self.roster();
        let live = |roster: Arc<Roster>| live_others(&roster, me).cloned().collect();
        let mut others: Vec<Enrolment> = roster.map_or_else(Vec::new, live);
        others.sort_by(|one, other| one.name().cmp(other.name()));
        others
    }

    /// Takes in what another envoy knows of the same fleet. Returns whether something of it was news.
    pub(crate) fn merge(&self, envoy: &Envoy, theirs: &Roster) -> Result<bool, MergeFault> {
        let mut inner = self.inner();
        let Some((known, _)) = &inner.known else {
            return Err(MergeFault::Reject(FleetReject::OtherFleet));
        };
        let mut roster = Roster::clone(known);
        let is_news = roster.merge(theirs).map_err(MergeFault::Reject)?;
        if is_news {
            self.keep(&mut inner, roster).map_err(MergeFault::Store)?;
            envoy.know_fleet(&inner);
        }
        Ok(is_news)
    }

    /// Joins the fleet that enrolled this envoy. A fleet of nobody else gives way to it.
    pub(crate) fn join(&self, envoy: &Envoy, welcome: &Welcome) -> Result<(), JoinFault> {
        let (me, theirs) = (envoy.public(), &welcome.roster);
        if theirs.removal(me).is_some() {
            return Err(JoinFault::Removed);
        }
        if theirs.enrolment(me).is_none() {
            return Err(JoinFault::NotForUs);
        }
        if !theirs.is_live(me, clock::now_ms()) {
            return Err(JoinFault::Ended);
        }
        let mut inner = self.inner();
        let roster = match &inner.known {
            Some((known, _)) if known.authority() == theirs.authority() => {
                let mut roster = Roster::clone(known);
                roster.merge(theirs).map_err(JoinFault::Reject)?;
                if roster.removal(me).is_some() {
                    return Err(JoinFault::Removed);
                }
                roster
            }
            Some((known, _)) => {
                let others: Vec<_> = live_others(known, me).map(Enrolment::name).collect();
                if !others.is_empty() {
                    let others = others.join(", ");
                    return Err(JoinFault::OtherFleet { others });
                }
                theirs.clone()
            }
            None => theirs.clone(),
        };
        if let Some((known, _)) = &inner.known
            && known.authority() != theirs.authority()
        {
            let aside = self.files.put_roster_aside(known);
            aside.map_err(JoinFault::Store)?;
        }
        let key = inner.authority.as_ref().map(SecretKey::public);
        if key.is_some_and(|key| key != *theirs.authority()) {
            self.put_key_aside(&mut inner).map_err(JoinFault::Store)?;
        }
        inner.note_places(me, &welcome.places);
        self.keep(&mut inner, roster).map_err(JoinFault::Store)?;
        self.files.keep_places(&inner.places);
        envoy.know_fleet(&inner);
        drop(inner);
        envoy.changes().note();
        Ok(())
    }

    /// Has the key of an authority count for nothing any more, nor its tickets.
    fn put_key_aside(&self, inner: &mut Inner) -> Result<(), FleetFault> {
        self.files.put_key_aside()?;
        inner.authority = None;
        inner.tickets = Tickets::default();
        Ok(())
    }

    /// Makes a roster durable, then in force. A removal ends the tickets that have brought in nobody: who was removed may
    /// know one, and would be back with a new key.
    fn keep(&self, inner: &mut Inner, roster: Roster) -> Result<(), FleetFault> {
        let known = inner.known.as_ref();
        let before = known.map_or(0, |(roster, _)| roster.removals().count());
        if roster.removals().count() > before {
            let mut tickets = inner.tickets.clone();
            if tickets.end_open(clock::now_ms()) {
                self.keep_tickets(inner, tickets)?;
            }
        }
        self.files.keep_roster(&roster)?;
        let digest = roster.digest();
        inner.known = Some((Arc::new(roster), digest));
        Ok(())
    }

    /// Notes where an envoy said it is, so that it is found before it has told the fleet.
    pub(crate) fn note_place(&self, envoy: &Envoy, place: Place) {
        let mut inner = self.inner();
        inner.note_places(envoy.public(), &[place]);
        self.files.keep_places(&inner.places);
    }

    /// What a new envoy is told: who is of the fleet, and where this envoy and some others are.
    pub(crate) fn welcome(&self, envoy: &Envoy) -> Option<Welcome> {
        let roster = self.roster()?;
        let own = Place {
            envoy: *envoy.public(),
            addresses: own_addresses(envoy),
        };
        let mut places = vec![own];
        for neighbour in envoy.neighbours().iter() {
            let addresses = neighbour.addresses();
            if places.len() < PLACES_MAX
                && !addresses.is_empty()
                && roster.enrolment(neighbour.key()).is_some()
            {
                let envoy = *neighbour.key();
                places.push(Place { envoy, addresses });
            }
        }
        for place in &mut places {
            place.addresses = sound(&place.addresses);
        }
        let roster = Roster::clone(&roster);
        Some(Welcome { roster, places })
    }

    /// Does what time asks for: enrolments are renewed where the authority is, peers whose enrolment has ended are left,
    /// and where the others are is kept for the next start.
    pub(crate) fn tend(&self, envoy: &Arc<Envoy>) {
        match self.renew(envoy) {
            Ok(true) => spread(envoy),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(error = %chain(&error), "cannot renew the enrolments of the fleet");
            }
        }
        if let Err(fault) = self.forget_ended_tickets() {
            tracing::warn!(error = %chain(&fault), "tickets that have ended are not forgotten");
        }
        let mut inner = self.inner();
        envoy.know_fleet(&inner);
        if inner.known.is_none() {
            return;
        }
        let mut places = Places::new();
        for neighbour in envoy.neighbours().iter() {
            let addresses = sound(&neighbour.addresses());
            if !addresses.is_empty() {
                places.insert(*neighbour.key(), addresses);
            }
        }
        // Which address is tried first changes all the time, and is not worth a write.
        if !places.is_empty() && sorted(&places) != sorted(&inner.places) {
            self.files.keep_places(&places);
            inner.places = places;
        }
    }
}

/// Why a roster was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeFault {
    /// It is of another fleet, or too large.
    #[error(transparent)]
    Reject(FleetReject),
    /// It could not be stored.
    #[error(transparent)]
    Store(FleetFault),
}

impl Inner {
    /// Whether the key that is here is that of the fleet's authority.
    fn holds_authority(&self) -> bool {
        self.authority_of_fleet().is_some()
    }

    fn authority_of_fleet(&self) -> Option<&SecretKey> {
        let (roster, _) = self.known.as_ref()?;
        self.authority
            .as_ref()
            .filter(|key| key.public() == *roster.authority())
    }

    fn note_places(&mut self, me: &EnvoyKey, places: &[Place]) {
        for place in places.iter().filter(|place| place.envoy != *me) {
            let addresses = sound(&place.addresses);
            if !addresses.is_empty() && self.places.len() < gitback_fleet::ENVOYS_MAX {
                self.places.insert(place.envoy, addresses);
            }
        }
    }
}

/// The first of these that others accept.
fn sound(addresses: &[String]) -> Vec<String> {
    let sound = addresses
        .iter()
        .filter(|address| gitback_gossip::is_host_port(address));
    sound.take(ADDRESSES_MAX).cloned().collect()
}

fn sorted(places: &Places) -> BTreeMap<&EnvoyKey, BTreeSet<&String>> {
    let sorted = places.iter();
    sorted
        .map(|(key, addresses)| (key, addresses.iter().collect()))
        .collect()
}

fn live_others<'a>(roster: &'a Roster, me: &EnvoyKey) -> impl Iterator<Item = &'a Enrolment> {
    let me = *me;
    let is_of_it = roster.removal(&me).is_none();
    roster
        .live(clock::now_ms())
        .filter(move |one| is_of_it && *one.envoy() != me)
}

impl Envoy {
    /// Makes peers of who is of the fleet now: those of the configuration, as it says, and those who are enrolled. Who
    /// was removed is no peer, whatever the configuration says.
    fn know_fleet(&self, inner: &Inner) {
        let roster = inner.known.as_ref().map(|(roster, _)| roster);
        let removed = |key: &EnvoyKey| roster.is_some_and(|roster| roster.removal(key).is_some());
        let mut wanted: Vec<(Peer, Vec<String>)> = Vec::new();
        for peer in self.config().peers() {
            if !removed(&peer.key) {
                let known = || inner.places.get(&peer.key).cloned().unwrap_or_default();
                let addresses = peer.address.clone().map_or_else(known, |one| vec![one]);
                wanted.push((peer.clone(), addresses));
            }
        }
        let enrolled = roster.into_iter();
        let mut enrolled: Vec<_> = enrolled
            .flat_map(|one| live_others(one, self.public()))
            .collect();
        enrolled.sort_by_key(|one| (one.name(), one.envoy()));
        for enrolment in enrolled {
            let key = *enrolment.envoy();
            if self.config().peers().iter().any(|peer| peer.key == key) {
                continue;
            }
            let (name, address) = (enrolment.name().to_owned(), None);
            let places = inner.places.get(&key).cloned().unwrap_or_default();
            wanted.push((Peer { name, key, address }, places));
        }
        let known = self.neighbours();
        let is_same = |(one, other): (&Arc<Neighbour>, &(Peer, Vec<String>))| {
            *one.key() == other.0.key && one.name() == other.0.name
        };
        if known.len() == wanted.len() && known.iter().zip(&wanted).all(is_same) {
            return;
        }
        self.replace_neighbours(&known, wanted);
    }

    fn replace_neighbours(&self, known: &[Arc<Neighbour>], wanted: Vec<(Peer, Vec<String>)>) {
        let by_key: BTreeMap<&EnvoyKey, &Arc<Neighbour>> =
            known.iter().map(|one| (one.key(), one)).collect();
        let (mut now, mut news) = (Vec::with_capacity(wanted.len()), Vec::new());
        for (peer, addresses) in wanted {
            match by_key.get(&peer.key) {
                Some(same) if same.name() == peer.name => now.push(Arc::clone(same)),
                _ => {
                    news.push(Input::Peer {
                        key: peer.key,
                        name: peer.name.clone(),
                        addresses: addresses.clone(),
                    });
                    let changes = Arc::clone(self.shared_changes());
                    now.push(Arc::new(Neighbour::at(peer, addresses, changes)));
                }
            }
        }
        let gone = known
            .iter()
            .filter(|one| now.iter().all(|other| other.key() != one.key()));
        for neighbour in gone {
            tracing::info!(peer = neighbour.name(), "is no longer of the fleet");
            news.push(Input::Forget {
                key: *neighbour.key(),
            });
        }
        self.set_neighbours(now);
        for input in news {
            self.heal().tell(input);
        }
        self.changes().note();
    }

    /// Makes peers of the fleet that was known at the last stop.
    pub(crate) fn begin_fleet(&self) {
        self.know_fleet(&self.fleet().inner());
    }
}

/// The short form of an authority's key, for the names of files and for people.
pub(crate) fn short_authority(key: &PublicKey) -> String {
    hex::encode(key.as_bytes()).chars().take(12).collect()
}

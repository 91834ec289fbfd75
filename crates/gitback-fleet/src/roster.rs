//! Everybody who is or was of a fleet.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use gitback_envelope::Malformed;
use gitback_envelope::cbor::{Reader, Writer};
use gitback_identity::{EnvoyKey, PublicKey, PuddleKey};
use sha2::{Digest as _, Sha256};

use crate::enrolment::Enrolment;
use crate::reject::FleetReject;
use crate::removal::Removal;
use crate::seal::Seal;
use crate::signed::public_key;

/// The most envoys of one fleet at one time.
pub const ENVOYS_MAX: usize = 1024;
/// The most envoys that were ever removed from one fleet.
pub const REMOVED_MAX: usize = 1024;
/// The most people of whose seals a roster keeps the newest; of more, those with the highest numbers stay.
pub const SEALS_MAX: usize = 64;
/// The most bytes of a whole roster.
pub const ROSTER_MAX: usize = 500 * 1024;

/// The enrolments and removals of one fleet, the newest of each envoy, and the newest seal of each person. All of them
/// are signed by the fleet's authority.
///
/// Rosters of one fleet are merged by [`Roster::merge`]: as long as there are no more envoys than a fleet can have, the
/// order in which, and how often, makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    authority: PublicKey,
    enrolments: BTreeMap<EnvoyKey, Enrolment>,
    removals: BTreeMap<EnvoyKey, Removal>,
    seals: BTreeMap<PuddleKey, Seal>,
}

impl Roster {
    /// The roster of a fleet of nobody.
    #[must_use]
    pub const fn new(authority: PublicKey) -> Self {
        Self {
            authority,
            enrolments: BTreeMap::new(),
            removals: BTreeMap::new(),
            seals: BTreeMap::new(),
        }
    }

    /// Whose word counts.
    #[must_use]
    pub const fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// The newest enrolment of each envoy that was not removed, expired ones too, by key.
    pub fn enrolments(&self) -> impl Iterator<Item = &Enrolment> {
        self.enrolments.values()
    }

    /// The enrolment of an envoy that was not removed, expired or not.
    #[must_use]
    pub fn enrolment(&self, envoy: &EnvoyKey) -> Option<&Enrolment> {
        self.enrolments.get(envoy)
    }

    /// Who was removed, by key.
    pub fn removals(&self) -> impl Iterator<Item = &Removal> {
        self.removals.values()
    }

    /// That an envoy was removed, if it was.
    #[must_use]
    pub fn removal(&self, envoy: &EnvoyKey) -> Option<&Removal> {
        self.removals.get(envoy)
    }

    /// The newest seal of each person, those that were ended too, by key.
    pub fn seals(&self) -> impl Iterator<Item = &Seal> {
        self.seals.values()
    }

    /// The newest seal of one person, which may have ended those before it.
    #[must_use]
    pub fn seal(&self, member: &PuddleKey) -> Option<&Seal> {
        self.seals.get(member)
    }

    /// The seal that goes when there is one of another person and no room, which may be in force.
    #[must_use]
    pub fn lowest_seal(&self) -> Option<&Seal> {
        self.seals.values().min_by_key(|one| one.rank())
    }

    /// The same without the seals: for those who are not to have them.
    #[must_use]
    pub fn without_seals(mut self) -> Self {
        self.seals.clear();
        self
    }

    /// Whether an envoy is of the fleet, for whoever's clock shows `now_ms`.
    #[must_use]
    pub fn is_live(&self, envoy: &EnvoyKey, now_ms: u64) -> bool {
        self.enrolments
            .get(envoy)
            .is_some_and(|enrolment| enrolment.is_in_force(now_ms))
    }

    /// Those who are of the fleet, for whoever's clock shows `now_ms`, by key.
    pub fn live(&self, now_ms: u64) -> impl Iterator<Item = &Enrolment> {
        self.enrolments()
            .filter(move |enrolment| enrolment.is_in_force(now_ms))
    }

    /// Who came in through an envoy, and through these, and so on, by key. The envoy itself may be removed already.
    #[must_use]
    pub fn brought_in_by(&self, envoy: &EnvoyKey) -> Vec<&Enrolment> {
        let mut brought_in = BTreeMap::new();
        let mut next = Vec::from([*envoy]);
        while let Some(by) = next.pop() {
            for one in self.enrolments().filter(|one| one.through() == Some(&by)) {
                if one.envoy() != envoy && brought_in.insert(*one.envoy(), one).is_none() {
                    next.push(*one.envoy());
                }
            }
        }
        brought_in.into_values().collect()
    }

    /// Takes in an enrolment. Returns whether that is news; of a removed envoy it never is.
    ///
    /// # Errors
    ///
    /// [`FleetReject::OtherFleet`], or [`FleetReject::TooMany`]; then nothing has changed.
    pub fn enrol(&mut self, enrolment: Enrolment) -> Result<bool, FleetReject> {
        if *enrolment.authority() != self.authority {
            return Err(FleetReject::OtherFleet);
        }
        if self.removals.contains_key(enrolment.envoy()) {
            return Ok(false);
        }
        let is_full = self.enrolments.len() >= ENVOYS_MAX;
        match self.enrolments.entry(*enrolment.envoy()) {
            Entry::Vacant(_) if is_full => return Err(FleetReject::TooMany),
            Entry::Vacant(place) => drop(place.insert(enrolment)),
            Entry::Occupied(mut known) if enrolment.outranks(known.get()) => {
                known.insert(enrolment);
            }
            Entry::Occupied(_) => return Ok(false),
        }
        Ok(true)
    }

    /// Takes in a removal, which ends the envoy's enrolment for good. Returns whether that is news.
    ///
    /// # Errors
    ///
    /// [`FleetReject::OtherFleet`], or [`FleetReject::TooMany`]; then nothing has changed.
    pub fn remove(&mut self, removal: Removal) -> Result<bool, FleetReject> {
        if *removal.authority() != self.authority {
            return Err(FleetReject::OtherFleet);
        }
        let is_full = self.removals.len() >= REMOVED_MAX;
        let envoy = *removal.envoy();
        match self.removals.entry(envoy) {
            Entry::Vacant(_) if is_full => return Err(FleetReject::TooMany),
            Entry::Vacant(place) => drop(place.insert(removal)),
            Entry::Occupied(mut known) if removal.outranks(known.get()) => {
                known.insert(removal);
            }
            Entry::Occupied(_) => return Ok(false),
        }
        self.enrolments.remove(&envoy);
        Ok(true)
    }

    /// Takes in a seal. Returns whether that is news. There is always room for a new one: of too many, those with the
    /// lowest numbers go, so that what is known does not depend on the order.
    ///
    /// # Errors
    ///
    /// [`FleetReject::OtherFleet`]; then nothing has changed.
    pub fn take_seal(&mut self, seal: Seal) -> Result<bool, FleetReject> {
        if *seal.authority() != self.authority {
            return Err(FleetReject::OtherFleet);
        }
        let member = *seal.member();
        if self
            .seals
            .get(&member)
            .is_some_and(|known| known.rank() >= seal.rank())
        {
            return Ok(false);
        }
        self.seals.insert(member, seal);
        if self.seals.len() > SEALS_MAX {
            let lowest = self.lowest_seal().map(|one| *one.member());
            if let Some(lowest) = lowest {
                self.seals.remove(&lowest);
                return Ok(lowest != member);
            }
        }
        Ok(true)
    }

    /// Takes in all of another roster of the same fleet. Returns whether something of it was news.
    ///
    /// # Errors
    ///
    /// [`FleetReject::OtherFleet`], or [`FleetReject::TooMany`]; then nothing has changed.
    pub fn merge(&mut self, other: &Self) -> Result<bool, FleetReject> {
        if other.authority != self.authority {
            return Err(FleetReject::OtherFleet);
        }
        let mut merged = self.clone();
        // Removals first: they make room.
        for removal in other.removals() {
            merged.remove(removal.clone())?;
        }
        for enrolment in other.enrolments() {
            merged.enrol(enrolment.clone())?;
        }
        for seal in other.seals() {
            merged.take_seal(seal.clone())?;
        }
        let is_news = merged != *self;
        *self = merged;
        Ok(is_news)
    }

    /// What an envoy that was removed is shown: that, and nothing else.
    #[must_use]
    pub fn only_removal_of(&self, envoy: &EnvoyKey) -> Self {
        let mut only = Self::new(self.authority);
        let removal = self.removals.get(envoy).cloned();
        only.removals
            .extend(removal.map(|removal| (*envoy, removal)));
        only
    }

    /// SHA-256 of the encoding: equal for equal rosters only.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }

    /// Writes the roster. A value has one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(if self.seals.is_empty() { 3 } else { 4 });
        writer.bytes(self.authority.as_bytes());
        writer.array(self.enrolments.len());
        for enrolment in self.enrolments() {
            writer.bytes(enrolment.bytes());
        }
        writer.array(self.removals.len());
        for removal in self.removals() {
            writer.bytes(removal.bytes());
        }
        if !self.seals.is_empty() {
            writer.array(self.seals.len());
            for seal in self.seals() {
                writer.bytes(seal.bytes());
            }
        }
        writer.finish()
    }

    /// Whose roster these bytes say that they are. Nothing of it is checked.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if the beginning is not that of a roster.
    pub fn authority_in(bytes: &[u8]) -> Result<PublicKey, FleetReject> {
        let mut reader = Reader::new(bytes);
        has_seals(&mut reader)?;
        public_key(&mut reader)
    }

    /// The enrolment of one envoy in the bytes of a roster, with its signature checked. Nothing else of them is, so this
    /// is little work for a roster of any size.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if what comes before it is none of a roster, or it is none.
    pub fn enrolment_in(bytes: &[u8], envoy: &EnvoyKey) -> Result<Option<Enrolment>, FleetReject> {
        if bytes.len() > ROSTER_MAX {
            return Err(FleetReject::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        has_seals(&mut reader)?;
        let _authority = reader.bytes()?;
        let count = usize::try_from(reader.array()?).unwrap_or(usize::MAX);
        if count > ENVOYS_MAX {
            return Err(FleetReject::TooMany);
        }
        for _ in 0..count {
            let one = reader.bytes()?;
            if Enrolment::envoy_in(one)? == envoy.as_bytes() {
                return Enrolment::decode(one).map(Some);
            }
        }
        Ok(None)
    }

    /// Decodes a roster and checks each signature in it.
    ///
    /// Shape: CBOR array of authority (32 bytes), enrolments (array of bytes) and removals (array of bytes), both
    /// strictly ascending by envoy key, no envoy in both, and, where there are any, seals (array of bytes), strictly
    /// ascending by person; at most [`ROSTER_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if `bytes` is not exactly one roster.
    ///
    /// Source: docs/spec/fleet.md §4.
    pub fn decode(bytes: &[u8]) -> Result<Self, FleetReject> {
        if bytes.len() > ROSTER_MAX {
            return Err(FleetReject::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        let has_seals = has_seals(&mut reader)?;
        let authority = public_key(&mut reader)?;
        let enrolments = sorted(&mut reader, ENVOYS_MAX, |bytes| {
            let one = Enrolment::decode(bytes)?;
            Ok((*one.envoy(), *one.authority(), one))
        })?;
        let removals = sorted(&mut reader, REMOVED_MAX, |bytes| {
            let one = Removal::decode(bytes)?;
            Ok((*one.envoy(), *one.authority(), one))
        })?;
        let mut seals = Vec::new();
        if has_seals {
            seals = sorted(&mut reader, SEALS_MAX, |bytes| {
                let one = Seal::decode(bytes)?;
                Ok((*one.member(), *one.authority(), one))
            })?;
            // A value has one encoding.
            if seals.is_empty() {
                return Err(Malformed::ItemCount.into());
            }
        }
        reader.finish()?;
        let mut roster = Self::new(authority);
        for (by, enrolment) in enrolments {
            if by != authority {
                return Err(FleetReject::OtherFleet);
            }
            roster.enrolments.insert(*enrolment.envoy(), enrolment);
        }
        for (by, removal) in removals {
            if by != authority {
                return Err(FleetReject::OtherFleet);
            }
            if roster.enrolments.contains_key(removal.envoy()) {
                return Err(FleetReject::Order);
            }
            roster.removals.insert(*removal.envoy(), removal);
        }
        for (by, seal) in seals {
            if by != authority {
                return Err(FleetReject::OtherFleet);
            }
            roster.seals.insert(*seal.member(), seal);
        }
        Ok(roster)
    }
}

/// Begins a roster, and says whether it has the list of seals.
fn has_seals(reader: &mut Reader<'_>) -> Result<bool, FleetReject> {
    match reader.array()? {
        3 => Ok(false),
        4 => Ok(true),
        _ => Err(Malformed::ItemCount.into()),
    }
}

/// Reads a list whose items are strictly ascending by key. Nothing is reserved for what is only promised.
fn sorted<K: Copy + Ord, T>(
    reader: &mut Reader<'_>,
    most: usize,
    read: impl Fn(&[u8]) -> Result<(K, PublicKey, T), FleetReject>,
) -> Result<Vec<(PublicKey, T)>, FleetReject> {
    let count = usize::try_from(reader.array()?).unwrap_or(usize::MAX);
    if count > most {
        return Err(FleetReject::TooMany);
    }
    let (mut items, mut last) = (Vec::new(), None);
    for _ in 0..count {
        let (key, by, item) = read(reader.bytes()?)?;
        if last.is_some_and(|last| last >= key) {
            return Err(FleetReject::Order);
        }
        last = Some(key);
        items.push((by, item));
    }
    Ok(items)
}

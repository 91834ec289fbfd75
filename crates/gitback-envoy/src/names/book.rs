//! Which claims to names are known: of each puddle the one that holds. No file, no peer, no clock.
//!
//! Source: docs/spec/peer.md §5.11.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitback_envelope::VerifiedClaim;
use gitback_identity::similar::{SLIPS_MAX, slips};
use gitback_identity::{PuddleKey, PuddleName};
use gitback_peer::HeldClaim;
use sha2::{Digest as _, Sha256};

/// Most puddles of which a claim, or its release, is known. What is known never makes room.
pub(crate) const PUDDLES_MAX: usize = 4096;

/// Most puddles that peers can bring of whom nothing else is known here. The rest is for users of this machine and for
/// those who have a part in its projects: one envoy that floods the fleet with claims does not shut them out.
pub(crate) const STRANGERS_MAX: usize = PUDDLES_MAX / 4 * 3;

/// Most puddles whose claims one local user can bring to this envoy.
pub(crate) const PUDDLES_OF_USER_MAX: usize = 64;

/// Most claims of one name that are shown.
pub(crate) const SHOWN_MAX: usize = 16;

/// All claims that are known here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    puddles: BTreeMap<PuddleKey, Arc<Known>>,
    /// Who claims what now; follows from the other one.
    names: BTreeMap<PuddleName, BTreeSet<PuddleKey>>,
}

/// The claim that holds of one puddle's.
#[derive(Debug)]
pub(crate) struct Known {
    claim: VerifiedClaim,
    digest: [u8; 32],
    /// Since when it is known here that the puddle claims this name, or has released what it had. For display.
    pub(crate) since_ms: u64,
    /// Who has brought this puddle's first claim.
    pub(crate) by: Source,
}

/// Who brings claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A user of this machine.
    User(u32),
    /// An envoy of the fleet.
    Peer,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It holds now.
    New,
    /// It is what is known.
    Same,
    /// Another claim of the same puddle holds.
    Older,
    /// There is no room for another puddle.
    Full,
    /// There is no room for another puddle of this user's.
    UserFull,
}

impl Known {
    pub(crate) fn claim(&self) -> &VerifiedClaim {
        &self.claim
    }

    /// What decides which of two claims of one puddle holds: the higher counter, then the higher digest.
    fn rank(&self) -> (u64, [u8; 32]) {
        (self.claim.claim().counter, self.digest)
    }

    pub(crate) fn in_short(&self) -> HeldClaim {
        HeldClaim {
            puddle: *self.claim.claim().puddle.as_bytes(),
            counter: self.claim.claim().counter,
            digest: self.digest,
        }
    }
}

/// The digest of a claim as it was signed.
fn digest_of(claim: &VerifiedClaim) -> [u8; 32] {
    Sha256::digest(claim.bytes()).into()
}

impl Book {
    /// Takes a claim in, if it is one that holds and there is room.
    pub(crate) fn take(&mut self, claim: VerifiedClaim, by: Source, now_ms: u64) -> Taken {
        let mut fresh = Known {
            digest: digest_of(&claim),
            claim,
            since_ms: now_ms,
            by,
        };
        let puddle = fresh.claim.claim().puddle;
        match self.puddles.get(&puddle) {
            Some(known) if known.digest == fresh.digest => return Taken::Same,
            Some(known) if known.rank() > fresh.rank() => return Taken::Older,
            Some(known) => {
                fresh.by = known.by;
                if known.claim.claim().name == fresh.claim.claim().name {
                    fresh.since_ms = known.since_ms;
                }
            }
            None if self.puddles.len() >= PUDDLES_MAX => return Taken::Full,
            None if self.is_full_for(by) => return Taken::UserFull,
            None => {}
        }
        self.put(puddle, fresh);
        Taken::New
    }

    fn put(&mut self, puddle: PuddleKey, fresh: Known) {
        let name = fresh.claim.claim().name.clone();
        let before = self.puddles.insert(puddle, Arc::new(fresh));
        if let Some(before) = before.and_then(|before| before.claim.claim().name.clone())
            && let Some(claimants) = self.names.get_mut(&before)
        {
            claimants.remove(&puddle);
            if claimants.is_empty() {
                self.names.remove(&before);
            }
        }
        if let Some(name) = name {
            self.names.entry(name).or_default().insert(puddle);
        }
    }

    /// Whether peers can bring puddles of whom nothing else is known here.
    pub(crate) fn has_room_for_strangers(&self) -> bool {
        let by_peers = self
            .puddles
            .values()
            .filter(|known| known.by == Source::Peer);
        by_peers.count() < STRANGERS_MAX
    }

    fn is_full_for(&self, by: Source) -> bool {
        let brought = || self.puddles.values().filter(|known| known.by == by).count();
        matches!(by, Source::User(_)) && brought() >= PUDDLES_OF_USER_MAX
    }

    /// Who claims `name`, those first of whom it has been known longest; and how many there are.
    pub(crate) fn claimants(&self, name: &PuddleName) -> (Vec<&Arc<Known>>, usize) {
        let keys = self.names.get(name).into_iter().flatten();
        let mut known: Vec<_> = keys.filter_map(|key| self.puddles.get(key)).collect();
        known.sort_by_key(|known| (known.since_ms, known.claim.claim().puddle));
        let all = known.len();
        known.truncate(SHOWN_MAX);
        (known, all)
    }

    /// Every name that is claimed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &PuddleName> {
        self.names.keys()
    }

    /// A claimed name that is one or two slips from `name`.
    pub(crate) fn near(&self, name: &PuddleName) -> Option<&PuddleName> {
        let near = self.names.keys().filter_map(|known| {
            let slips = slips(name.as_str(), known.as_str())?;
            (1..=SLIPS_MAX).contains(&slips).then_some((slips, known))
        });
        near.min().map(|(_, known)| known)
    }

    pub(crate) fn of(&self, puddle: &PuddleKey) -> Option<&Arc<Known>> {
        self.puddles.get(puddle)
    }

    /// All of them, in the order of the puddles' keys, from one key on.
    pub(crate) fn from(&self, key: Option<&[u8; 32]>) -> impl Iterator<Item = &Arc<Known>> {
        let behind = move |known: &PuddleKey| key.is_none_or(|key| known.as_bytes() >= key);
        let all = self.puddles.iter();
        all.filter(move |(puddle, _)| behind(puddle))
            .map(|(_, known)| known)
    }

    pub(crate) fn len(&self) -> usize {
        self.puddles.len()
    }

    /// Whether the claim that is meant would be news here.
    pub(crate) fn lacks(&self, held: &HeldClaim) -> bool {
        let Some(puddle) = PuddleKey::from_bytes(&held.puddle).ok() else {
            return false;
        };
        match self.puddles.get(&puddle) {
            Some(known) => known.rank() < (held.counter, held.digest),
            None => self.puddles.len() < PUDDLES_MAX,
        }
    }

    /// The same set of claims has the same digest, whatever its order of arrival.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (puddle, known) in &self.puddles {
            hash.update(puddle.as_bytes());
            hash.update(known.claim.claim().counter.to_be_bytes());
            hash.update(known.digest);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
pub(crate) mod tests;

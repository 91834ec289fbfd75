//! The copies of the authority's key that people can open: made where the key is held, and brought back to an envoy.
//!
//! Source: docs/spec/fleet.md §11 and §12.

use std::sync::Arc;

use gitback_fleet::{FleetReject, Roster, SEALS_MAX, Seal};
use gitback_identity::{PuddleKey, SecretKey};
use zeroize::Zeroizing;

use super::authority::EnrolFault;
use super::files::FleetFault;
use super::{Fleet, Inner};
use crate::clock;
use crate::daemon::{Envoy, chain};
use crate::key;

/// To how many people the key is sealed at one time.
pub(crate) const SEALED_MAX: usize = 16;

/// Why the key is not sealed to somebody, or a seal not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealFault {
    /// The authority's key is not here.
    #[error("this envoy does not hold the key of the fleet's authority")]
    NotTheAuthority,
    /// There are enough.
    #[error("it is sealed to {SEALED_MAX} people already")]
    TooMany,
    /// What was signed here holds nowhere.
    #[error("a seal of a later number is known already")]
    Outranked,
    /// Nothing can be sealed to that key.
    #[error("nothing can be sealed to that key")]
    Reject(#[source] FleetReject),
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
    /// It could not be stored.
    #[error(transparent)]
    Store(FleetFault),
}

/// Why an envoy does not take its fleet over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeOverFault {
    /// There is no fleet.
    #[error("this envoy is in no fleet")]
    NoFleet,
    /// The fleet has removed this envoy.
    #[error("this envoy was removed from its fleet, for good")]
    Removed,
    /// The fleet has never enrolled it.
    #[error("this envoy is not enrolled in the fleet that it knows")]
    NotEnrolled,
    /// The key is of something else.
    #[error("that is not the key of this fleet's authority")]
    OtherKey,
    /// It could not be stored.
    #[error(transparent)]
    Store(FleetFault),
}

/// What became of sealing the key to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealedTo {
    /// It is sealed now.
    New,
    /// It was.
    Already,
}

impl Fleet {
    /// Seals the authority's key to a person.
    pub(crate) fn seal_to(&self, member: &PuddleKey) -> Result<SealedTo, SealFault> {
        let mut inner = self.inner();
        let mut roster = inner.to_seal()?;
        if roster.seal(member).is_some_and(Seal::is_in_force) {
            return Ok(SealedTo::Already);
        }
        if roster.seals().filter(|one| one.is_in_force()).count() >= SEALED_MAX {
            return Err(SealFault::TooMany);
        }
        let secret = inner.authority_of_fleet();
        let secret = secret.ok_or(SealFault::NotTheAuthority)?;
        make_room(&mut roster, secret, member)?;
        let seal = sign(&roster, secret, member)?;
        take(&mut roster, seal)?;
        self.keep(&mut inner, roster).map_err(SealFault::Store)?;
        tracing::info!(puddle = %member, "the authority's key was sealed to a person");
        Ok(SealedTo::New)
    }

    /// Ends the seals to people. What somebody has opened, or has a copy of, that person still has.
    pub(crate) fn end_seals(&self, members: &[PuddleKey]) -> Result<(), SealFault> {
        let mut inner = self.inner();
        let mut roster = inner.to_seal()?;
        let secret = inner.authority_of_fleet();
        let secret = secret.ok_or(SealFault::NotTheAuthority)?;
        for member in members {
            let end = Seal::end(secret, *member, next_number(&roster));
            take(&mut roster, end)?;
        }
        self.keep(&mut inner, roster).map_err(SealFault::Store)?;
        for member in members {
            tracing::info!(puddle = %member, "the authority's key is no longer sealed to a person");
        }
        Ok(())
    }

    /// Keeps the key of this fleet's authority that somebody has brought back, and uses it from now on. Returns whether
    /// it is new here. That its enrolment says so follows by itself, after a crash too.
    pub(crate) fn take_over(
        &self,
        envoy: &Arc<Envoy>,
        secret: SecretKey,
    ) -> Result<bool, TakeOverFault> {
        let mut inner = self.inner();
        let (roster, _) = inner.known.as_ref().ok_or(TakeOverFault::NoFleet)?;
        if roster.removal(envoy.public()).is_some() {
            return Err(TakeOverFault::Removed);
        }
        if secret.public() != *roster.authority() {
            return Err(TakeOverFault::OtherKey);
        }
        if roster.enrolment(envoy.public()).is_none() {
            return Err(TakeOverFault::NotEnrolled);
        }
        if inner.holds_authority() {
            return Ok(false);
        }
        let fault = |error| TakeOverFault::Store(FleetFault::Key(error));
        // One that was put there since the start may be the same; another one is kept beside it.
        let dir = self.files.dir();
        let present = key::authority_key(dir).map_err(fault)?;
        let is_there = present.is_some_and(|key| key.public() == secret.public());
        if !is_there {
            self.put_key_aside(&mut inner)
                .map_err(TakeOverFault::Store)?;
            key::keep_authority_key(self.files.dir(), &secret).map_err(fault)?;
        }
        inner.authority = Some(secret);
        tracing::info!("this envoy holds the key of its fleet's authority from now on");
        Ok(true)
    }

    /// Signs what this envoy is to sign now that it holds the authority's key, at once instead of some time later.
    pub(crate) fn begin_authority(&self, envoy: &Arc<Envoy>) -> Result<(), EnrolFault> {
        let renewed = self.renew(envoy);
        if let Err(error) = &renewed {
            tracing::error!(error = %chain(error), "cannot renew the enrolments of the fleet");
        }
        renewed.map(drop)
    }
}

/// A seal to `member` that holds rather than any before it.
fn sign(roster: &Roster, secret: &SecretKey, member: &PuddleKey) -> Result<Seal, SealFault> {
    let mut scalar = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *scalar).map_err(|_| SealFault::Randomness)?;
    let seal = Seal::sign(secret, *member, next_number(roster), &scalar);
    seal.map_err(SealFault::Reject)
}

/// Takes in what was signed here, which has to hold from now on.
fn take(roster: &mut Roster, seal: Seal) -> Result<(), SealFault> {
    match roster.take_seal(seal).map_err(SealFault::Reject)? {
        true => Ok(()),
        false => Err(SealFault::Outranked),
    }
}

/// Has one of another person drop none that is in force: a roster drops the lowest, so such a one gets a new number first.
fn make_room(roster: &mut Roster, secret: &SecretKey, member: &PuddleKey) -> Result<(), SealFault> {
    // Each round makes one of them the highest, so as many rounds as there are seals are enough.
    for _ in 0..SEALS_MAX {
        if roster.seal(member).is_some() || roster.seals().count() < SEALS_MAX {
            return Ok(());
        }
        let lowest = roster.lowest_seal().filter(|one| one.is_in_force());
        let Some(lowest) = lowest.map(|one| *one.member()) else {
            return Ok(());
        };
        let again = sign(roster, secret, &lowest)?;
        take(roster, again)?;
    }
    Err(SealFault::TooMany)
}

/// A number that is higher than that of every seal, so that what is signed now is what stays.
fn next_number(roster: &Roster) -> u64 {
    let last = roster.seals().map(Seal::number).max();
    let now = clock::now_ms();
    last.map_or(now, |last| now.max(last.saturating_add(1)))
}

impl Inner {
    /// The roster of the fleet whose authority is here, to be changed.
    fn to_seal(&self) -> Result<Roster, SealFault> {
        let known = self.known.as_ref().filter(|_| self.holds_authority());
        let (roster, _) = known.ok_or(SealFault::NotTheAuthority)?;
        Ok(Roster::clone(roster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(seed: u8) -> PuddleKey {
        PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    fn seal_to(roster: &mut Roster, secret: &SecretKey, member: &PuddleKey) {
        make_room(roster, secret, member).expect("room");
        let seal = sign(roster, secret, member).expect("sealed");
        take(roster, seal).expect("it holds");
    }

    #[test]
    fn a_seal_in_force_outlasts_any_number_of_others_that_were_ended() {
        let dan = SecretKey::from_seed(&[200; 32]);
        let secret = SecretKey::from_seed(&[201; 32]);
        let mut roster = Roster::new(secret.public());
        let dans = PuddleKey::new(dan.public());
        seal_to(&mut roster, &secret, &dans);
        for seed in 0..150 {
            seal_to(&mut roster, &secret, &person(seed));
            let end = Seal::end(&secret, person(seed), next_number(&roster));
            take(&mut roster, end).expect("it holds");
            let kept = roster.seal(&dans).expect("dan's is there");
            let opened = kept.open(&dan).expect("it opens");
            assert_eq!(opened.public(), secret.public(), "{seed}");
        }
        assert_eq!(roster.seals().count(), SEALS_MAX);
    }

    #[test]
    fn a_list_of_seals_in_force_takes_no_other() {
        let secret = SecretKey::from_seed(&[201; 32]);
        let mut roster = Roster::new(secret.public());
        for seed in 0..64 {
            seal_to(&mut roster, &secret, &person(seed));
        }
        let refused = make_room(&mut roster, &secret, &person(64));
        assert!(matches!(refused, Err(SealFault::TooMany)));
        make_room(&mut roster, &secret, &person(1)).expect("it is there");
    }

    #[test]
    fn what_holds_nowhere_is_said() {
        let secret = SecretKey::from_seed(&[201; 32]);
        let mut roster = Roster::new(secret.public());
        take(&mut roster, Seal::end(&secret, person(1), u64::MAX)).expect("it holds");
        let late = take(&mut roster, Seal::end(&secret, person(1), 1));
        assert!(matches!(late, Err(SealFault::Outranked)));
    }
}

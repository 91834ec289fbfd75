//! The crate as its users see it: what is refused and why, and properties that hold for any input.

mod properties;
mod refusals;
mod rosters;
mod tickets;

use gitback_fleet::{Enrolment, Removal, Role, Seal};
use gitback_identity::{EnvoyKey, PuddleKey, SecretKey};

/// The fleet's authority in these tests.
pub(crate) const AUTHORITY: u8 = 200;

pub(crate) fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn envoy(seed: u8) -> EnvoyKey {
    EnvoyKey::new(secret(seed).public())
}

pub(crate) fn enrolment(seed: u8, number: u64) -> Enrolment {
    let (name, expires) = (format!("envoy{seed}"), number + 1_000);
    Enrolment::sign(
        &secret(AUTHORITY),
        envoy(seed),
        &name,
        Role::Member,
        number,
        expires,
        None,
    )
    .expect("a name")
}

pub(crate) fn removal(seed: u8, time_ms: u64) -> Removal {
    let name = format!("envoy{seed}");
    Removal::sign(&secret(AUTHORITY), envoy(seed), &name, time_ms).expect("a name")
}

/// The authority's key sealed to the person `seed`, or the end of that.
pub(crate) fn seal(seed: u8, number: u64, ends: bool) -> Seal {
    let (by, member) = (secret(AUTHORITY), PuddleKey::new(secret(seed).public()));
    match ends {
        true => Seal::end(&by, member, number),
        false => Seal::sign(&by, member, number, &[7; 32]).expect("a usable key"),
    }
}

//! The crate as its users see it: what is refused and why, and properties that hold for any input.

mod properties;
mod refusals;
mod rosters;
mod tickets;

use gitback_fleet::{Enrolment, Removal, Role};
use gitback_identity::{EnvoyKey, SecretKey};

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

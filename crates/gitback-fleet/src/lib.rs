//! Which envoys are one fleet.
//!
//! A fleet has one *authority*, a key that signs an [`Enrolment`] for each envoy of the fleet, and a [`Removal`] for
//! each that is of it no longer, and can leave a copy of itself that one person can open, a [`Seal`]. A [`Roster`] holds
//! all of these; two rosters are merged by taking the union, so every
//! envoy comes to the same one in whatever order it hears of things. This crate decides what is well formed, signed and
//! in force. It never reads a file, a clock or a socket, and makes no randomness: it is `no_std`.
//!
//! Read [`Enrolment`] first, then [`Roster`].
//!
//! ```
//! use gitback_fleet::{Enrolment, Role, Roster};
//! use gitback_identity::{EnvoyKey, SecretKey};
//!
//! let authority = SecretKey::from_seed(&[1; 32]);
//! let mars = EnvoyKey::new(SecretKey::from_seed(&[2; 32]).public());
//! let enrolment = Enrolment::sign(&authority, mars, "mars", Role::Authority, 1_000, 2_000, None)?;
//!
//! let mut roster = Roster::new(authority.public());
//! roster.enrol(enrolment)?;
//! assert!(roster.is_live(&mars, 1_500));
//! assert_eq!(Roster::decode(&roster.encode())?, roster);
//! # Ok::<(), gitback_fleet::FleetReject>(())
//! ```
//!
//! Source: docs/spec/fleet.md.
#![no_std]

extern crate alloc;

mod enrolment;
mod reject;
mod removal;
mod request;
mod roster;
mod seal;
mod signed;
mod ticket;
mod welcome;

pub use enrolment::{
    ENROLMENT_MAX, ENROLMENT_TYPE, ENVOY_NAME_MAX, Enrolment, GRACE_MS, Role, is_envoy_name,
};
pub use reject::FleetReject;
pub use removal::{REMOVAL_MAX, REMOVAL_TYPE, Removal};
pub use request::{
    ADDRESSES_MAX, CHALLENGE_LEN, ENROL_REQUEST_MAX, ENROL_REQUEST_TYPE, EnrolRequest,
};
pub use roster::{ENVOYS_MAX, REMOVED_MAX, ROSTER_MAX, Roster, SEALS_MAX};
pub use seal::{OpenReject, SEAL_MAX, SEAL_TYPE, SEALED_LEN, Seal};
pub use ticket::{SECRET_LEN, TICKET_ADDRESSES_MAX, TICKET_MAX, Ticket, TicketReject};
pub use welcome::{PETITION_MAX, PLACES_MAX, Petition, Place, WELCOME_MAX, Welcome};

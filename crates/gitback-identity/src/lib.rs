//! Who people and machines are, and how a project is named.
//!
//! This crate decides which keys, signatures, handles, puddle names and addresses are well formed, and derives a
//! project's id from its founder's key and its handle. It also knows which name is near another
//! ([`similar`]). It never reads a file, a clock or an environment variable:
//! it is `no_std`, and a key's seed is handed in.
//!
//! Read [`PublicKey`] first, then [`Address`].
//!
//! ```
//! use gitback_identity::{Address, Handle, Host, ProjectId, PuddleKey, SecretKey};
//!
//! let founder = SecretKey::from_seed(&[7; 32]);
//! let handle: Handle = "notes".parse()?;
//! let project = ProjectId::derive(&PuddleKey::new(founder.public()), &handle);
//!
//! let address: Address = format!("gitback://{project}/notes").parse()?;
//! assert_eq!(address.host(), &Host::Project(project));
//! assert_eq!(address.handle(), &handle);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: docs/spec/identity.md.
#![no_std]

extern crate alloc;

mod address;
mod fingerprint;
pub mod hex;
pub mod host_port;
mod key;
mod name;
mod project;
pub mod similar;

pub use address::{ADDRESS_MAX, Address, AddressReject, Host};
pub use fingerprint::{Fingerprint, FingerprintReject};
pub use key::{
    BadSignature, EnvoyKey, KeyReject, PublicKey, PuddleKey, SecretKey, Signature, agreement_point,
};
pub use name::{
    HANDLE_MAX, Handle, HandleReject, NameReject, PUDDLE_NAME_MAX, PUDDLE_NAME_MIN, PuddleName,
};
pub use project::{ProjectId, ProjectIdReject};

//! Signed statements about a project, and the fold that turns a set of them into the project's state.
//!
//! This crate decides which bytes are an envelope, whose signature it carries, what it names as its past, and what
//! any set of envelopes means: refs, grants and members. It never reads a file, a clock or a network, never asks a
//! peer, and never looks into git objects; times inside envelopes are for display and change nothing.
//!
//! Read [`Statement`] first, then [`Project`].
//!
//! ```
//! use gitback_envelope::{Envelope, Inserted, Project, Statement};
//! use gitback_identity::{Handle, PuddleKey, SecretKey};
//!
//! let founder = SecretKey::from_seed(&[7; 32]);
//! let handle: Handle = "notes".parse()?;
//! let statement = Statement::init(&PuddleKey::new(founder.public()), &handle);
//! let signature = founder.sign(&statement.signing_bytes()?);
//! let init = statement.seal(signature)?;
//!
//! // Any copy of the bytes proves itself.
//! let copy = Envelope::decode(init.bytes())?.verify()?;
//! assert_eq!(copy.id(), init.id());
//!
//! let mut project = Project::new(copy.statement().project);
//! assert_eq!(project.insert(copy)?, Inserted::Folded(vec![*init.id()]));
//! assert_eq!(project.handle(), Some(&handle));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: docs/spec/envelope.md, docs/spec/fold.md.
#![no_std]

extern crate alloc;

mod act;
pub mod cbor;
mod decode;
mod encode;
mod envelope;
mod fold;
mod id;
mod kind;
mod name_claim;
mod refname;
mod reject;
mod statement;
mod token;

pub use act::{
    Act, CHANGES_MAX, CUT_MAX, Change, Delegate, Grant, Invite, NAMED_HEADS_MAX, PROTECTED_MAX,
    PackHint, Policy, REPLICAS_MAX, Revoke, Role, Scope, Tombstone, Ungrant, Update,
};
pub use envelope::{ENVELOPE_MAX, Envelope, Verified, signing_bytes};
pub use fold::{
    Access, Alarm, Claim, Contest, ENVELOPES_MAX, Equivocation, HOPS_MAX, Head, Hop, Inserted,
    Membership, MembershipState, Project, RefState, STRANGERS_VOID_MAX, Successor, Tip,
    UNKNOWN_MAX, VOID_MAX, Verdict, VoidReason, WAITING_BYTES_MAX, WAITING_MAX,
};
pub use id::{EnvelopeId, Incarnation, Oid, TextReject};
pub use kind::{BODY_MAX, CUT_BODY_MAX, TYPE_MAX, UNKNOWN_BODY_MAX, UPDATE_BODY_MAX};
pub use name_claim::{NameClaim, VerifiedClaim};
pub use refname::{REF_COMPONENT_MAX, REF_NAME_MAX, RefName, RefReject};
pub use reject::{Breach, FieldFault, Malformed, Reject};
pub use statement::{DEPS_MAX, Statement};
pub use token::{Proof, TOKEN_ENVELOPES_MAX, TOKEN_MAX, Token, TokenReject};

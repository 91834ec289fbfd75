//! The user's side of a signature.
//!
//! The daemon writes drafts, because it knows the chains. It is not taken at its word: this crate
//! decides which drafts are what the user asked for ([`approve`]), has them signed by the user's
//! session or by a key in hand ([`Signer`]), makes the few statements that need no daemon
//! ([`Author`]), and keeps in the user's home what proves a membership ([`home`]).
//!
//! It also says what a name means, with the claims that the daemon knows ([`names`]).
//!
//! What it never does: talk to the daemon, print, prompt, or sign what was not approved: an
//! [`Approved`] is made by looking at a draft, or here.
//!
//! Read [`approve`] and [`Signer`] first.
//!
//! ```
//! use gitback_envelope::Statement;
//! use gitback_helper::Draft;
//! use gitback_identity::{ProjectId, PuddleKey, SecretKey, hex};
//! use gitback_signer::{Approved, DraftReject, Expected, May, Signer, approve};
//!
//! let secret = SecretKey::from_seed(&[7; 32]);
//! let dan = PuddleKey::new(secret.public());
//! let signer = Signer::holding(secret);
//! let init = Statement::init(&dan, &"notes".parse()?);
//! let sealed = signer.seal(Approved::made(init.clone())?)?;
//!
//! // Nobody asked the daemon for this one.
//! let draft = Draft { type_name: init.type_name(), body: hex::encode(&init.encode_body()?) };
//! let may = [May::Grant { uid: 1000, until_ms: 1 }];
//! let expected = Expected { project: &sealed.statement().project, puddle: &dan, may: &may };
//! assert!(matches!(approve(&[draft], expected), Err(DraftReject::OtherKind { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod author;
mod draft;
pub mod home;
pub mod names;
mod signer;

pub use author::{Author, NoRandomness, fresh_incarnation, grant};
pub use draft::{Approved, DraftReject, Expected, May, approve};
pub use signer::{SignError, Signer};

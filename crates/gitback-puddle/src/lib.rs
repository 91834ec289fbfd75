//! One person's key: at rest, and in the session that signs with it.
//!
//! Decides how a puddle's secret lies on disk (wrapped by a passphrase, see
//! [`create`] and [`unwrap`]), how it is replaced ([`rotate`]) and
//! brought to another machine ([`export`], [`install`]), whom a name
//! means on this machine ([`resolve`]), and what a running session signs: only
//! well-formed statements of kinds it knows, by its own key. Never prompts,
//! prints, or decides what an envelope means.
//!
//! Read [`Public`] first, then [`session`]. The formats are written down in
//! `docs/spec/puddle.md`.
//!
//! ```
//! use gitback_puddle::{Cost, Passphrase, create, generate, read_public, unwrap};
//!
//! let home = tempfile::tempdir()?;
//! let dir = home.path().join(".vigo-puddle");
//! let passphrase = Passphrase::new("correct horse battery staple".to_owned())?;
//! let secret = generate()?;
//! # let standard = Cost::new(64, 1, 1)?;
//! # /*
//! let standard = Cost::STANDARD;
//! # */
//! create(&dir, &"dan".parse()?, &passphrase, &secret, standard, 1_700_000_000_000)?;
//!
//! assert_eq!(read_public(&dir)?.name.as_str(), "dan");
//! assert_eq!(unwrap(&dir, &passphrase)?.public(), secret.public());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cost;
mod files;
pub mod names;
mod passphrase;
mod recovery;
mod remove;
mod resolve;
mod rewrap;
mod rotate;
pub mod session;
mod store;
mod travel;
pub mod tries;
mod wrapped;

pub use cost::{Cost, CostReject};
pub use files::{FILE_MAX, WriteError, is_busy};
pub use names::{How, PickError};
pub use passphrase::{PASSPHRASE_MAX, PASSPHRASE_SHORT, Passphrase, PassphraseReject};
pub use recovery::{
    RECOVERY_TEXT_MAX, RECOVERY_WORDS, WordsReject, count_recovery_words, from_recovery_words,
    recovery_words, with_recovery_word,
};
pub use remove::{Removal, RemoveError, remove};
pub use resolve::{By, Claimant, ResolveError, Resolved, resolve, resolve_claimed};
pub use rewrap::{RewrapError, Rewrapped, rewrap, rewrap_retired};
pub use rotate::{RETIRED_MAX, RotateError, Rotated, read_retired, rotate, unwrap_retired};
pub use store::{
    CreateError, MendError, NoRandomness, Public, ReadError, UnwrapError, create, create_again,
    generate, has_secret, mend, read_public, refuse_links, unwrap,
};
pub use travel::{
    CARRIED_FILE_MAX, Carried, CarryReject, ExportError, InstallError, export, install,
    refuse_occupied,
};

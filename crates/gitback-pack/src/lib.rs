//! Bare git repositories of one envoy: receive, check, serve, forward and catch up.
//!
//! Decides whether a pack may enter a repository, in which order its parts become
//! durable, and which refs move. Never decides who may push, what a ref should point
//! to, or what a project is: callers hand in plain object ids and ref names.
//!
//! Everything blocks; call it from threads. Refs, object look-ups and ancestry run in
//! process on `gix`, and so do indexing and connectivity of small packs with nothing
//! unusual in them, and the making of small packs for other envoys. Everything else of
//! these, large packs and serving clients' fetches are `git` processes with a cleared environment and none of the machine's configuration.
//!
//! Read [`Repository`] first, then [`Quarantine`]. [`receive`] speaks `git push`'s
//! protocol, [`fetch`] asks another envoy for objects.
//!
//! The dialect, the order of a commit and what start-up cleans are written down in
//! `docs/spec/pack.md`.
//!
//! ```
//! use gitback_pack::Repository;
//!
//! let home = tempfile::tempdir()?;
//! let repository = Repository::create(&home.path().join("project.git"))?;
//! assert!(repository.refs()?.is_empty());
//! assert_eq!(repository.head_target()?.as_deref(), Some(&b"refs/heads/main"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adopt;
mod blocks;
mod bulk;
mod cost;
mod delta;
mod difference;
mod error;
pub mod fetch;
mod gather;
mod git;
mod graph;
mod headers;
mod incoming;
mod index;
mod ingest;
mod kept_refs;
mod manifest;
mod objects;
mod offered;
mod outgoing;
mod packet;
mod quarantine;
mod quick;
pub mod receive;
mod recover;
mod refs;
mod repack;
mod repository;
mod room;
mod scrub;
mod serve;
mod serving;
mod severity;
mod spool;
mod unreachable;
mod walk;
mod written;

pub use gix::ObjectId as Oid;
pub use gix::objs::Kind;

pub use blocks::{BLOCK_BYTES, BlockTree, blocks_of};
pub use error::{Bound, Fault, OpenError, RefError, Reject};
pub use gather::Gathered;
pub use graph::{Commit, Commits};
pub use incoming::{Follower, Incoming};
pub use ingest::{Ingested, Limits};
pub use manifest::{
    BLOCKS_MAX, BadManifest, MANIFEST_MAX, MANIFEST_TYPE, Manifest, Offer, PACKS_MAX,
    SignedManifest,
};
pub use offered::Given;
pub use quarantine::{Migrated, Quarantine};
pub use recover::Recovered;
pub use refs::{Expect, REF_COMPONENT_MAX, REF_NAME_MAX, Ref, RefChange, valid_ref_name};
pub use repack::Repacked;
pub use repository::Repository;
pub use room::free_percent;
pub use scrub::{Scrubbed, Watch};
pub use serve::{HangUp, Served};
pub use severity::{SEVERITIES, Severity};
pub use spool::{Received, Spool};
pub use unreachable::{InUse, Removed, Search, Unreachable};

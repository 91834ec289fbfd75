//! What an envelope says.

use alloc::string::String;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, ProjectId, PublicKey, PuddleKey, Signature};

use crate::decode;
use crate::encode;
use crate::envelope::{self, Verified};
use crate::id::{EnvelopeId, Incarnation, Oid};
use crate::kind;
use crate::refname::RefName;
use crate::reject::Reject;

/// The most other heads an envelope names as its past.
pub const DEPS_MAX: usize = 64;
/// The most refs one update moves.
pub const CHANGES_MAX: usize = 8192;
/// The most heads a change names as contained, and the most it names as forced away.
pub const NAMED_HEADS_MAX: usize = 1024;

/// One statement about a project: who says it, where it stands on its chain, and what it says.
///
/// A chain is (`signer`, `puddle`, `incarnation`). A value of this type may break the rules; [`Self::encode_body`]
/// and [`Self::decode`] refuse it then.
///
/// Source: docs/spec/envelope.md §4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The project it is about.
    pub project: ProjectId,
    /// The key that signs it.
    pub signer: PublicKey,
    /// The puddle it is said for.
    pub puddle: PuddleKey,
    /// The envoy it was written on; only `init` has none.
    pub envoy: Option<EnvoyKey>,
    /// Which life of its author's log it belongs to.
    pub incarnation: Incarnation,
    /// Its number on its chain, from 0.
    pub seq: u64,
    /// The envelope before it on its chain; absent exactly at `seq` 0.
    pub prev: Option<EnvelopeId>,
    /// The other heads that its author had seen, strictly ascending, at most [`DEPS_MAX`].
    pub deps: Vec<EnvelopeId>,
    /// When its author's clock says it was written, milliseconds since 1970. For display only.
    pub time_ms: Option<u64>,
    /// What it says.
    pub act: Act,
}

/// What a [`Statement`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The project exists. Everything in it follows from the founder and the handle.
    Init {
        /// What the founder calls the project.
        handle: Handle,
    },
    /// An envoy may sign updates for the puddle.
    Grant(Grant),
    /// Refs moved.
    Update(Update),
    /// Something that this version does not know. Kept and passed on; what descends from it has no effect yet.
    Unknown {
        /// `<kind>.v<number>`, as in its type.
        kind: String,
    },
}

/// An envoy may sign updates for the puddle, when asked by one Unix user there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The envoy that may sign.
    pub envoy: EnvoyKey,
    /// The user on that envoy's machine for whom it may sign.
    pub uid: u32,
    /// When the envoy stops using it, milliseconds since 1970. The fold ignores it.
    pub expires_ms: Option<u64>,
}

/// Refs moved: one accepted push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What happened to each ref, strictly ascending by name, 1 to [`CHANGES_MAX`].
    pub changes: Vec<Change>,
    /// The ref that HEAD names from now on, when that changes.
    pub head: Option<RefName>,
    /// The pack that carried the objects; a hint for transfers, no part of the truth.
    pub pack: Option<PackHint>,
}

/// What an update does to one ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The ref.
    pub name: RefName,
    /// Where it points now; [`Oid::zero`] deletes it.
    pub new: Oid,
    /// Updates whose heads `new` contains, strictly ascending, at most [`NAMED_HEADS_MAX`].
    pub contained: Vec<EnvelopeId>,
    /// Updates whose heads are forced away, strictly ascending, at most [`NAMED_HEADS_MAX`].
    pub forced: Vec<EnvelopeId>,
}

/// The pack that carried an update's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHint {
    /// The BLAKE3 hash of the pack as it was received.
    pub blake3: [u8; 32],
    /// Its size in bytes.
    pub bytes: u64,
}

impl Statement {
    /// The statement that founds a project. The same founder and handle give the same statement anywhere.
    #[must_use]
    pub fn init(founder: &PuddleKey, handle: &Handle) -> Self {
        Self {
            project: ProjectId::derive(founder, handle),
            signer: *founder.key(),
            puddle: *founder,
            envoy: None,
            incarnation: Incarnation::zero(),
            seq: 0,
            prev: None,
            deps: Vec::new(),
            time_ms: None,
            act: Act::Init {
                handle: handle.clone(),
            },
        }
    }

    /// The type under which it is signed, such as `application/vnd.gitback.update.v1+cbor`.
    #[must_use]
    pub fn type_name(&self) -> String {
        kind::type_name(match &self.act {
            Act::Init { .. } => "init.v1",
            Act::Grant(_) => "grant.v1",
            Act::Update(_) => "update.v1",
            Act::Unknown { kind } => kind,
        })
    }

    /// Writes the body. Never gives bytes that [`Self::decode`] would refuse.
    ///
    /// # Errors
    ///
    /// The [`Reject`] that a reader would give, or [`Reject::NotWritable`] for a kind that this version does not know.
    pub fn encode_body(&self) -> Result<Vec<u8>, Reject> {
        let body = encode::body(self)?;
        decode::statement(&self.type_name(), &body)?;
        Ok(body)
    }

    /// Reads a body. Checks its form and every rule that needs nothing else, not the signature.
    ///
    /// # Errors
    ///
    /// [`Reject`] says what is wrong with the type or the body.
    pub fn decode(type_name: &str, body: &[u8]) -> Result<Self, Reject> {
        decode::statement(type_name, body)
    }

    /// The bytes to sign: the pre-authentication encoding of the type and the body.
    ///
    /// # Errors
    ///
    /// Those of [`Self::encode_body`].
    pub fn signing_bytes(&self) -> Result<Vec<u8>, Reject> {
        let body = self.encode_body()?;
        Ok(envelope::signing_bytes(&self.type_name(), &body))
    }

    /// The id that its envelope will have: it does not depend on the signature.
    ///
    /// # Errors
    ///
    /// Those of [`Self::encode_body`].
    pub fn id(&self) -> Result<EnvelopeId, Reject> {
        Ok(envelope::id_of(&self.signing_bytes()?))
    }

    /// Joins the statement and its signature into an envelope.
    ///
    /// # Errors
    ///
    /// Those of [`Self::encode_body`], and [`Reject::Signature`] if the signature is not the signer's.
    pub fn seal(self, signature: Signature) -> Result<Verified, Reject> {
        let body = encode::body(&self)?;
        envelope::seal(&self.type_name(), &body, &signature)
    }

    /// The envelopes it names as its past: `prev`, then `deps`.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &EnvelopeId> {
        self.prev.iter().chain(&self.deps)
    }
}

impl Update {
    /// What it does to `name`, if anything.
    #[must_use]
    pub fn change(&self, name: &RefName) -> Option<&Change> {
        let at = self
            .changes
            .binary_search_by(|change| change.name.cmp(name))
            .ok()?;
        self.changes.get(at)
    }
}

//! What an envelope says.

use alloc::string::String;
use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, ProjectId, PublicKey, PuddleKey, Signature};

use crate::act::{Act, Delegate, Grant, Update};
use crate::decode;
use crate::encode;
use crate::envelope::{self, Verified};
use crate::id::{EnvelopeId, Incarnation};
use crate::kind;
use crate::reject::Reject;

/// The most other heads an envelope names as its past.
pub const DEPS_MAX: usize = 64;

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
        kind::type_name(self.act.kind())
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

    /// The bytes that the heir of a `delegate` signs: the pre-authentication encoding of the body without the heir's
    /// signature, under a type of its own. `None` for any other kind.
    ///
    /// # Errors
    ///
    /// Those of [`Self::encode_body`].
    ///
    /// Source: docs/spec/envelope.md §5, delegate.
    pub fn acceptance_bytes(&self) -> Result<Option<Vec<u8>>, Reject> {
        let Act::Delegate(_) = self.act else {
            return Ok(None);
        };
        self.encode_body()?;
        let body = encode::acceptance(self)?;
        let type_name = kind::type_name(kind::ACCEPTANCE);
        Ok(Some(envelope::signing_bytes(&type_name, &body)))
    }

    /// Checks what only a signature inside the body can prove: that the heir of a `delegate` accepts.
    pub(crate) fn verify_inner(&self) -> Result<(), Reject> {
        let (Act::Delegate(Delegate { to, accept, .. }), Some(bytes)) =
            (&self.act, self.acceptance_bytes()?)
        else {
            return Ok(());
        };
        to.key()
            .verify(&bytes, accept)
            .map_err(|_| Reject::HeirSignature)
    }

    /// The update it is, if it is one.
    #[must_use]
    pub const fn update(&self) -> Option<&Update> {
        self.act.update()
    }

    /// The grant it is, if it is one.
    #[must_use]
    pub const fn grant(&self) -> Option<&Grant> {
        self.act.grant()
    }

    /// Whether the puddle itself signs it, and not an envoy for it.
    #[must_use]
    pub fn by_puddle(&self) -> bool {
        self.signer == *self.puddle.key()
    }

    /// The envelopes it names as its past: `prev`, then `deps`.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &EnvelopeId> {
        self.prev.iter().chain(&self.deps)
    }
}

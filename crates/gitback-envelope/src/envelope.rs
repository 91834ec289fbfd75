//! The signed wrapping of a statement.

use alloc::boxed::Box;
use alloc::format;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use gitback_identity::Signature;
use sha2::{Digest as _, Sha256};

use crate::cbor::{Reader, Writer};
use crate::decode;
use crate::id::EnvelopeId;
use crate::kind::{TYPE_MAX, UPDATE_BODY_MAX};
use crate::reject::{Malformed, Reject};
use crate::statement::Statement;

/// The most bytes any envelope has: the largest body, its type, the signature and the lengths between them.
pub const ENVELOPE_MAX: usize = UPDATE_BODY_MAX + TYPE_MAX + 128;

/// The bytes that a signature covers: the DSSE pre-authentication encoding.
///
/// Shape: `DSSEv1 SP len(type) SP type SP len(body) SP body`, both lengths in ASCII decimal.
///
/// Source: DSSE protocol 1.0.0, "Signature Definition"; docs/spec/envelope.md §2.
#[must_use]
pub fn signing_bytes(type_name: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {type_name} {} ", type_name.len(), body.len());
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A well-formed envelope whose signature has not been checked.
#[derive(Clone, Debug)]
pub struct Envelope {
    bytes: Box<[u8]>,
    signed: Box<[u8]>,
    signature: Signature,
    statement: Statement,
}

impl Envelope {
    /// Decodes one envelope. Checks form, not the signature.
    ///
    /// Shape: CBOR array of type (text), body (bytes), signature (64 bytes); at most [`ENVELOPE_MAX`] bytes, nothing
    /// trailing.
    ///
    /// # Errors
    ///
    /// [`Reject`] if `bytes` is not exactly one envelope, or breaks a rule that needs nothing else to be seen.
    ///
    /// Source: docs/spec/envelope.md §1.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let parts = open(bytes)?;
        let statement = decode::statement(parts.type_name, parts.body)?;
        Ok(Self {
            bytes: bytes.into(),
            signed: signing_bytes(parts.type_name, parts.body).into(),
            signature: parts.signature,
            statement,
        })
    }

    /// Checks the signature over the bytes as they came.
    ///
    /// # Errors
    ///
    /// [`Reject::Signature`] if it is not the signer's, by the strict rules; [`Reject::HeirSignature`] if a delegation
    /// lacks that of its heir.
    pub fn verify(self) -> Result<Verified, Reject> {
        self.statement
            .signer
            .verify(&self.signed, &self.signature)
            .map_err(|_| Reject::Signature)?;
        self.statement.verify_inner()?;
        let id = id_of(&self.signed);
        Ok(Verified(Arc::new(Inner {
            id,
            bytes: self.bytes,
            statement: self.statement,
        })))
    }

    /// What it claims to say, before anyone has checked who says it.
    #[must_use]
    pub const fn unverified_statement(&self) -> &Statement {
        &self.statement
    }
}

/// The id of an envelope: the SHA-256 of what its signature covers.
pub(crate) fn id_of(signed: &[u8]) -> EnvelopeId {
    EnvelopeId::from_bytes(&Sha256::digest(signed).into())
}

/// An envelope whose form and signature hold. Only [`Envelope::verify`] and [`Statement::seal`] make one.
///
/// It keeps the exact bytes it came as. Cloning is cheap.
#[derive(Clone)]
pub struct Verified(Arc<Inner>);

struct Inner {
    id: EnvelopeId,
    bytes: Box<[u8]>,
    statement: Statement,
}

impl Verified {
    /// The SHA-256 of what the signature covers.
    #[must_use]
    pub fn id(&self) -> &EnvelopeId {
        &self.0.id
    }

    /// The envelope exactly as it came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// What it says.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.0.statement
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("id", self.id())
            .field("statement", self.statement())
            .finish_non_exhaustive()
    }
}

/// The three parts of the wire form.
pub(crate) struct Parts<'a> {
    pub(crate) type_name: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) signature: Signature,
}

/// Takes the wire form apart.
pub(crate) fn open(bytes: &[u8]) -> Result<Parts<'_>, Reject> {
    if bytes.len() > ENVELOPE_MAX {
        return Err(Reject::TooLarge {
            limit: ENVELOPE_MAX,
        });
    }
    let mut reader = Reader::new(bytes);
    if reader.array()? != 3 {
        return Err(Malformed::ItemCount.into());
    }
    let type_name = reader.text()?;
    let body = reader.bytes()?;
    let signature = reader.bytes()?;
    reader.finish()?;
    let signature = signature.try_into().map_err(|_| Reject::Signature)?;
    Ok(Parts {
        type_name,
        body,
        signature: Signature::from_bytes(signature),
    })
}

/// Builds the wire form.
pub(crate) fn wrap(type_name: &str, body: &[u8], signature: &Signature) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(3);
    writer.text(type_name);
    writer.bytes(body);
    writer.bytes(signature.as_bytes());
    writer.finish()
}

/// Builds the wire form and reads it back, so that what is sealed here is what everyone else accepts.
pub(crate) fn seal(
    type_name: &str,
    body: &[u8],
    signature: &Signature,
) -> Result<Verified, Reject> {
    Envelope::decode(&wrap(type_name, body, signature))?.verify()
}

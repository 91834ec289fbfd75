//! A puddle's claim to a name, outside any project.

use alloc::boxed::Box;
use alloc::vec::Vec;

use gitback_identity::{PuddleKey, PuddleName, Signature};

use crate::cbor::{Keys, Reader, Writer};
use crate::decode::{self, key, need};
use crate::envelope::{open, signing_bytes, wrap};
use crate::kind::{BODY_MAX, NAME_CLAIM, type_name};
use crate::reject::{FieldFault, Reject};

/// A puddle wants to be called by a name, or gives its name back.
///
/// Of two claims of one puddle, the one with the higher counter holds.
///
/// Source: docs/spec/envelope.md §7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameClaim {
    /// Who claims, and signs.
    pub puddle: PuddleKey,
    /// Higher than in every earlier claim of this puddle.
    pub counter: u64,
    /// When the puddle's clock says it was made, milliseconds since 1970. For display only.
    pub time_ms: Option<u64>,
    /// The name; none gives back whatever was claimed before.
    pub name: Option<PuddleName>,
}

/// A claim whose form and signature hold, with the bytes it came as.
#[derive(Clone, Debug)]
pub struct VerifiedClaim {
    bytes: Box<[u8]>,
    claim: NameClaim,
}

impl VerifiedClaim {
    /// Decodes and verifies one claim.
    ///
    /// Shape: as [`Envelope::decode`](crate::Envelope::decode), with the type
    /// `application/vnd.gitback.name-claim.v1+cbor`.
    ///
    /// # Errors
    ///
    /// [`Reject`] if `bytes` is not exactly one claim, signed by its puddle.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reject> {
        let parts = open(bytes)?;
        if parts.type_name != type_name(NAME_CLAIM) {
            return Err(Reject::Type);
        }
        let claim = NameClaim::decode_body(parts.body)?;
        claim
            .puddle
            .key()
            .verify(
                &signing_bytes(parts.type_name, parts.body),
                &parts.signature,
            )
            .map_err(|_| Reject::Signature)?;
        Ok(Self {
            bytes: bytes.into(),
            claim,
        })
    }

    /// The claim exactly as it came.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    #[must_use]
    pub const fn claim(&self) -> &NameClaim {
        &self.claim
    }
}

impl NameClaim {
    /// The type under which it is signed.
    #[must_use]
    pub fn type_name() -> alloc::string::String {
        type_name(NAME_CLAIM)
    }

    /// Writes the body.
    #[must_use]
    pub fn encode_body(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let optional = usize::from(self.time_ms.is_some()) + usize::from(self.name.is_some());
        writer.map(2 + optional);
        writer.uint(key::PUDDLE);
        writer.bytes(self.puddle.as_bytes());
        writer.uint(key::SEQ);
        writer.uint(self.counter);
        if let Some(time_ms) = self.time_ms {
            writer.uint(key::TIME);
            writer.uint(time_ms);
        }
        if let Some(name) = &self.name {
            writer.uint(key::NAME);
            writer.text(name.as_str());
        }
        writer.finish()
    }

    /// Reads a body. Checks its form, not the signature.
    ///
    /// # Errors
    ///
    /// [`Reject`] says what is wrong with it.
    pub fn decode_body(body: &[u8]) -> Result<Self, Reject> {
        if body.len() > BODY_MAX {
            return Err(Reject::TooLarge { limit: BODY_MAX });
        }
        let mut reader = Reader::new(body);
        let mut keys = Keys::default();
        let (mut puddle, mut counter, mut time_ms, mut name) = (None, None, None, None);
        for _ in 0..reader.map()? {
            match keys.next(&mut reader)? {
                key::PUDDLE => {
                    let key = decode::public_key(key::PUDDLE, &mut reader)?;
                    puddle = Some(PuddleKey::new(key));
                }
                key::SEQ => counter = Some(reader.uint()?),
                key::TIME => time_ms = Some(reader.uint()?),
                key::NAME => {
                    let parsed = PuddleName::parse(reader.text()?);
                    name =
                        Some(parsed.map_err(|reason| {
                            Reject::field(key::NAME, FieldFault::Name(reason))
                        })?);
                }
                other => return Err(Reject::field(other, FieldFault::Unknown)),
            }
        }
        reader.finish()?;
        Ok(Self {
            puddle: need(key::PUDDLE, puddle)?,
            counter: need(key::SEQ, counter)?,
            time_ms,
            name,
        })
    }

    /// The bytes to sign.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        signing_bytes(&Self::type_name(), &self.encode_body())
    }

    /// Joins the claim and its signature.
    ///
    /// # Errors
    ///
    /// [`Reject::Signature`] if the signature is not the puddle's.
    pub fn seal(&self, signature: &Signature) -> Result<VerifiedClaim, Reject> {
        VerifiedClaim::decode(&wrap(&Self::type_name(), &self.encode_body(), signature))
    }
}

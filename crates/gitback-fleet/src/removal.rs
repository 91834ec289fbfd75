//! That an envoy is of a fleet no longer.

use alloc::string::String;
use alloc::vec::Vec;

use gitback_envelope::cbor::{Keys, Reader, Writer};
use gitback_identity::{EnvoyKey, PublicKey, SecretKey};

use crate::enrolment::envoy_name;
use crate::reject::FleetReject;
use crate::signed::{check, envoy_key, open, public_key, seal};

/// The type under which a removal is signed.
pub const REMOVAL_TYPE: &str = "application/vnd.gitback-removal.v1+cbor";
/// The most bytes of a whole removal.
pub const REMOVAL_MAX: usize = 256;

/// The word of a fleet's authority that an envoy is of the fleet no longer, for good. The signature holds: nothing else
/// makes a value of this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    authority: PublicKey,
    envoy: EnvoyKey,
    name: String,
    time_ms: u64,
    bytes: Vec<u8>,
}

mod field {
    pub(super) const AUTHORITY: u64 = 0;
    pub(super) const ENVOY: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const TIME: u64 = 3;
}

impl Removal {
    /// Signs that `envoy`, which was called `name`, is of the fleet no longer. `time_ms` says when, in milliseconds since
    /// 1970, for people.
    ///
    /// # Errors
    ///
    /// [`FleetReject::Name`] if that is not a name.
    pub fn sign(
        authority: &SecretKey,
        envoy: EnvoyKey,
        name: &str,
        time_ms: u64,
    ) -> Result<Self, FleetReject> {
        let name = envoy_name(name)?;
        let mut writer = Writer::default();
        writer.map(4);
        writer.uint(field::AUTHORITY);
        writer.bytes(authority.public().as_bytes());
        writer.uint(field::ENVOY);
        writer.bytes(envoy.as_bytes());
        writer.uint(field::NAME);
        writer.text(&name);
        writer.uint(field::TIME);
        writer.uint(time_ms);
        Ok(Self {
            authority: authority.public(),
            envoy,
            name,
            time_ms,
            bytes: seal(authority, REMOVAL_TYPE, &writer.finish()),
        })
    }

    /// Decodes one removal and checks its signature, which is by the authority that it names.
    ///
    /// Shape: CBOR array of body (bytes) and signature (64 bytes); at most [`REMOVAL_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if `bytes` is not exactly one removal.
    ///
    /// Source: docs/spec/fleet.md §2.
    pub fn decode(bytes: &[u8]) -> Result<Self, FleetReject> {
        let (body, signature) = open(bytes, REMOVAL_MAX)?;
        let mut reader = Reader::new(body);
        let mut keys = Keys::default();
        let (mut authority, mut envoy, mut name, mut time_ms) = (None, None, None, None);
        for _ in 0..reader.map()? {
            match keys.next(&mut reader)? {
                field::AUTHORITY => authority = Some(public_key(&mut reader)?),
                field::ENVOY => envoy = Some(envoy_key(&mut reader)?),
                field::NAME => name = Some(envoy_name(reader.text()?)?),
                field::TIME => time_ms = Some(reader.uint()?),
                _ => return Err(FleetReject::UnknownField),
            }
        }
        reader.finish()?;
        let removal = Self {
            authority: authority.ok_or(FleetReject::MissingField)?,
            envoy: envoy.ok_or(FleetReject::MissingField)?,
            name: name.ok_or(FleetReject::MissingField)?,
            time_ms: time_ms.ok_or(FleetReject::MissingField)?,
            bytes: bytes.to_vec(),
        };
        check(&removal.authority, REMOVAL_TYPE, body, &signature)?;
        Ok(removal)
    }

    /// The removal as it was signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Who signed it.
    #[must_use]
    pub const fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// Who is removed.
    #[must_use]
    pub const fn envoy(&self) -> &EnvoyKey {
        &self.envoy
    }

    /// What it was called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When, in milliseconds since 1970 by the authority's clock.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Of two for one envoy the earlier one holds, everywhere the same.
    pub(crate) fn outranks(&self, other: &Self) -> bool {
        (self.time_ms, &self.bytes) < (other.time_ms, &other.bytes)
    }
}

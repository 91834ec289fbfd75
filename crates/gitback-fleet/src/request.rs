//! That an envoy asks to be enrolled.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use gitback_envelope::cbor::{Keys, Reader, Writer};
use gitback_identity::host_port::is_host_port;
use gitback_identity::{EnvoyKey, SecretKey};

use crate::enrolment::envoy_name;
use crate::reject::FleetReject;
use crate::signed::{check, envoy_key, exact, open, seal};

/// The type under which a request is signed.
pub const ENROL_REQUEST_TYPE: &str = "application/vnd.gitback-enrol-request.v1+cbor";
/// The most addresses in one request, and of one envoy in a welcome.
pub const ADDRESSES_MAX: usize = 8;
/// The most bytes of a whole request.
pub const ENROL_REQUEST_MAX: usize = 3 * 1024;
/// The bytes of a challenge.
pub const CHALLENGE_LEN: usize = 32;

/// What an envoy signs to be enrolled. The signature holds: nothing else makes a value of this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolRequest {
    envoy: EnvoyKey,
    name: String,
    addresses: Vec<String>,
    challenge: [u8; CHALLENGE_LEN],
    bytes: Vec<u8>,
}

mod field {
    pub(super) const ENVOY: u64 = 0;
    pub(super) const NAME: u64 = 1;
    pub(super) const ADDRESSES: u64 = 2;
    pub(super) const CHALLENGE: u64 = 3;
}

impl EnrolRequest {
    /// Signs the request of the envoy whose key this is: called `name`, reached at `addresses`, in answer to
    /// `challenge`.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if it would not be accepted by who reads it.
    pub fn sign(
        secret: &SecretKey,
        name: &str,
        addresses: &[String],
        challenge: &[u8; CHALLENGE_LEN],
    ) -> Result<Self, FleetReject> {
        let mut writer = Writer::default();
        writer.map(4);
        writer.uint(field::ENVOY);
        writer.bytes(secret.public().as_bytes());
        writer.uint(field::NAME);
        writer.text(name);
        writer.uint(field::ADDRESSES);
        write_addresses(&mut writer, addresses);
        writer.uint(field::CHALLENGE);
        writer.bytes(challenge);
        Self::decode(&seal(secret, ENROL_REQUEST_TYPE, &writer.finish()))
    }

    /// Decodes one request and checks its signature, which is by the envoy that it names.
    ///
    /// Shape: CBOR array of body (bytes) and signature (64 bytes); at most [`ENROL_REQUEST_MAX`] bytes, nothing
    /// trailing.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if `bytes` is not exactly one request.
    ///
    /// Source: docs/spec/fleet.md §3.
    pub fn decode(bytes: &[u8]) -> Result<Self, FleetReject> {
        let (body, signature) = open(bytes, ENROL_REQUEST_MAX)?;
        let mut reader = Reader::new(body);
        let mut keys = Keys::default();
        let (mut envoy, mut name, mut addresses, mut challenge) = (None, None, None, None);
        for _ in 0..reader.map()? {
            match keys.next(&mut reader)? {
                field::ENVOY => envoy = Some(envoy_key(&mut reader)?),
                field::NAME => name = Some(envoy_name(reader.text()?)?),
                field::ADDRESSES => addresses = Some(read_addresses(&mut reader)?),
                field::CHALLENGE => challenge = Some(exact(&mut reader)?),
                _ => return Err(FleetReject::UnknownField),
            }
        }
        reader.finish()?;
        let request = Self {
            envoy: envoy.ok_or(FleetReject::MissingField)?,
            name: name.ok_or(FleetReject::MissingField)?,
            addresses: addresses.ok_or(FleetReject::MissingField)?,
            challenge: challenge.ok_or(FleetReject::MissingField)?,
            bytes: bytes.to_vec(),
        };
        check(request.envoy.key(), ENROL_REQUEST_TYPE, body, &signature)?;
        Ok(request)
    }

    /// The request as it was signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Who asks.
    #[must_use]
    pub const fn envoy(&self) -> &EnvoyKey {
        &self.envoy
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it can be reached, `host:port`, the best first.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What it answers.
    #[must_use]
    pub const fn challenge(&self) -> &[u8; CHALLENGE_LEN] {
        &self.challenge
    }
}

pub(crate) fn write_addresses(writer: &mut Writer, addresses: &[String]) {
    writer.array(addresses.len());
    for address in addresses {
        writer.text(address);
    }
}

pub(crate) fn read_addresses(reader: &mut Reader<'_>) -> Result<Vec<String>, FleetReject> {
    let count = usize::try_from(reader.array()?).unwrap_or(usize::MAX);
    if count > ADDRESSES_MAX {
        return Err(FleetReject::Address);
    }
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        let address = reader.text()?;
        if !is_host_port(address) {
            return Err(FleetReject::Address);
        }
        addresses.push(address.to_owned());
    }
    Ok(addresses)
}

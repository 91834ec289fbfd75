//! What all that is signed here has in common: a body and a signature over its type and it.

use alloc::vec::Vec;

use gitback_envelope::cbor::{Reader, Writer};
use gitback_envelope::{Malformed, signing_bytes};
use gitback_identity::{EnvoyKey, PublicKey, SecretKey, Signature};

use crate::reject::FleetReject;

/// Signs `body` under a type.
///
/// Shape: CBOR array of body (bytes) and signature (64 bytes).
pub(crate) fn seal(secret: &SecretKey, type_name: &str, body: &[u8]) -> Vec<u8> {
    let signature = secret.sign(&signing_bytes(type_name, body));
    let mut writer = Writer::default();
    writer.array(2);
    writer.bytes(body);
    writer.bytes(signature.as_bytes());
    writer.finish()
}

/// Takes apart what [`seal`] made. The signature is not checked yet.
pub(crate) fn open(bytes: &[u8], max: usize) -> Result<(&[u8], Signature), FleetReject> {
    if bytes.len() > max {
        return Err(FleetReject::TooLarge);
    }
    let mut reader = Reader::new(bytes);
    if reader.array()? != 2 {
        return Err(Malformed::ItemCount.into());
    }
    let body = reader.bytes()?;
    let signature = exact(&mut reader)?;
    reader.finish()?;
    Ok((body, Signature::from_bytes(&signature)))
}

/// Checks that `by` has signed `body` under a type.
pub(crate) fn check(
    by: &PublicKey,
    type_name: &str,
    body: &[u8],
    signature: &Signature,
) -> Result<(), FleetReject> {
    by.verify(&signing_bytes(type_name, body), signature)
        .map_err(|_| FleetReject::Signature)
}

pub(crate) fn exact<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], FleetReject> {
    reader
        .bytes()?
        .try_into()
        .map_err(|_| FleetReject::WrongLength)
}

pub(crate) fn public_key(reader: &mut Reader<'_>) -> Result<PublicKey, FleetReject> {
    PublicKey::from_bytes(&exact(reader)?).map_err(FleetReject::Key)
}

pub(crate) fn envoy_key(reader: &mut Reader<'_>) -> Result<EnvoyKey, FleetReject> {
    public_key(reader).map(EnvoyKey::new)
}

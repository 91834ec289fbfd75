//! What an envoy says of where it can be reached, signed by it.

use gitback_envelope::cbor::{Keys, Reader, Writer};
use gitback_envelope::{Malformed, signing_bytes};
pub use gitback_identity::host_port::{HOST_PORT_MAX, is_host_port};
use gitback_identity::{EnvoyKey, KeyReject, SecretKey, Signature};

use crate::notice::NOTICE_MAX;

/// The type under which an address record is signed. It does not begin as the types of envelopes do, so no envelope
/// of a project can be one.
pub const ADDRESS_TYPE: &str = "application/vnd.gitback-address.v1+cbor";
/// The most addresses in one record.
pub const ADDRESSES_MAX: usize = 8;
/// The most bytes in the name of an envoy.
pub const NAME_MAX: usize = 64;
/// The most bytes of a whole record, so that it fits into a notice.
pub const RECORD_MAX: usize = NOTICE_MAX - 8;
/// How long a record is usually good, in milliseconds: an envoy that is away for longer has to be heard again.
pub const VALID_MS: u64 = 7 * 24 * 3_600_000;
/// How far ahead of a reader's clock a record may expire, or its number be, in milliseconds, without being taken for
/// one of a clock that was wrong.
pub const AHEAD_MAX_MS: u64 = 2 * VALID_MS;

/// Where an envoy says it can be reached. The signature holds: nothing else makes a value of this type.
///
/// It says where to knock, not who opens: whoever answers there still has to prove the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    fields: Fields,
    signature: Signature,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    key: EnvoyKey,
    name: String,
    addresses: Vec<String>,
    number: u64,
    expires_ms: u64,
}

impl AddressRecord {
    /// Signs a record for the envoy whose key this is.
    ///
    /// `name` is its display name, at most [`NAME_MAX`] bytes without control characters. `addresses` are `host:port`,
    /// at most [`ADDRESSES_MAX`] of at most [`HOST_PORT_MAX`] bytes, best first; none at all says that it can only be
    /// waited for. Of two records the one with the higher `number` holds: the moment of signing, or one more than the
    /// last. It and `expires_ms` are in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`AddressReject`] if the record would not be accepted by who reads it.
    pub fn sign(
        secret: &SecretKey,
        name: &str,
        addresses: &[String],
        number: u64,
        expires_ms: u64,
    ) -> Result<Self, AddressReject> {
        let fields = Fields {
            key: EnvoyKey::new(secret.public()),
            name: name.to_owned(),
            addresses: addresses.to_vec(),
            number,
            expires_ms,
        };
        fields.judge()?;
        let signature = secret.sign(&signing_bytes(ADDRESS_TYPE, &fields.encode()));
        let record = Self { fields, signature };
        if record.encode().len() > RECORD_MAX {
            return Err(AddressReject::TooLarge);
        }
        Ok(record)
    }

    /// Decodes one record and checks its signature.
    ///
    /// Shape: CBOR array of body (bytes) and signature (64 bytes); at most [`RECORD_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`AddressReject`] if `bytes` is not exactly one record, signed by the envoy that it is about.
    ///
    /// Source: docs/spec/gossip.md §2.
    pub fn decode(bytes: &[u8]) -> Result<Self, AddressReject> {
        if bytes.len() > RECORD_MAX {
            return Err(AddressReject::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        if reader.array()? != 2 {
            return Err(Malformed::ItemCount.into());
        }
        let body = reader.bytes()?;
        let signature = reader.bytes()?;
        reader.finish()?;
        let signature = signature.try_into().map_err(|_| AddressReject::Signature)?;
        let signature = Signature::from_bytes(signature);
        let fields = Fields::decode(body)?;
        let signed = signing_bytes(ADDRESS_TYPE, body);
        let verified = fields.key.key().verify(&signed, &signature);
        verified.map_err(|_| AddressReject::Signature)?;
        Ok(Self { fields, signature })
    }

    /// Writes the record. A value has one encoding: that which was signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(2);
        writer.bytes(&self.fields.encode());
        writer.bytes(self.signature.as_bytes());
        writer.finish()
    }

    /// Whose record this is, and who signed it.
    #[must_use]
    pub const fn key(&self) -> &EnvoyKey {
        &self.fields.key
    }

    /// What the envoy calls itself. It proves nothing.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// Where it can be reached, `host:port`, best first.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.fields.addresses
    }

    /// Which of its records this is.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.fields.number
    }

    /// When it no longer holds, in milliseconds since 1970 by the clock of who reads it.
    #[must_use]
    pub const fn expires_ms(&self) -> u64 {
        self.fields.expires_ms
    }

    /// Whether no envoy with a sound clock would sign this now: it gives way to any record that is not so.
    ///
    /// `wall_ms` is what the reader's clock shows, in milliseconds since 1970.
    ///
    /// Source: docs/spec/gossip.md §2.
    #[must_use]
    pub const fn is_from_future(&self, wall_ms: u64) -> bool {
        let latest = wall_ms.saturating_add(AHEAD_MAX_MS);
        self.fields.expires_ms > latest || self.fields.number > latest
    }
}

mod field {
    pub(super) const KEY: u64 = 0;
    pub(super) const NAME: u64 = 1;
    pub(super) const ADDRESSES: u64 = 2;
    pub(super) const NUMBER: u64 = 3;
    pub(super) const EXPIRES: u64 = 4;
}

impl Fields {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.map(5);
        writer.uint(field::KEY);
        writer.bytes(self.key.as_bytes());
        writer.uint(field::NAME);
        writer.text(&self.name);
        writer.uint(field::ADDRESSES);
        writer.array(self.addresses.len());
        for address in &self.addresses {
            writer.text(address);
        }
        writer.uint(field::NUMBER);
        writer.uint(self.number);
        writer.uint(field::EXPIRES);
        writer.uint(self.expires_ms);
        writer.finish()
    }

    fn decode(body: &[u8]) -> Result<Self, AddressReject> {
        let mut reader = Reader::new(body);
        let mut keys = Keys::default();
        let (mut key, mut name, mut addresses, mut number, mut expires_ms) =
            (None, None, None, None, None);
        for _ in 0..reader.map()? {
            match keys.next(&mut reader)? {
                field::KEY => key = Some(envoy_key(&mut reader)?),
                field::NAME => name = Some(reader.text()?.to_owned()),
                field::ADDRESSES => addresses = Some(list(&mut reader)?),
                field::NUMBER => number = Some(reader.uint()?),
                field::EXPIRES => expires_ms = Some(reader.uint()?),
                _ => return Err(AddressReject::UnknownField),
            }
        }
        reader.finish()?;
        let fields = Self {
            key: key.ok_or(AddressReject::MissingField)?,
            name: name.ok_or(AddressReject::MissingField)?,
            addresses: addresses.ok_or(AddressReject::MissingField)?,
            number: number.ok_or(AddressReject::MissingField)?,
            expires_ms: expires_ms.ok_or(AddressReject::MissingField)?,
        };
        fields.judge()?;
        Ok(fields)
    }

    fn judge(&self) -> Result<(), AddressReject> {
        if self.name.len() > NAME_MAX || self.name.chars().any(char::is_control) {
            return Err(AddressReject::Name);
        }
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(AddressReject::TooManyAddresses);
        }
        if self.addresses.iter().all(|address| is_host_port(address)) {
            Ok(())
        } else {
            Err(AddressReject::Address)
        }
    }
}

/// An envoy's key: 32 bytes that are a usable key.
pub(crate) fn envoy_key(reader: &mut Reader<'_>) -> Result<EnvoyKey, AddressReject> {
    let bytes = reader.bytes()?;
    let bytes = bytes.try_into().map_err(|_| AddressReject::WrongLength)?;
    EnvoyKey::from_bytes(bytes).map_err(AddressReject::Key)
}

/// At most one address more than a record may have: the judge then refuses it.
fn list(reader: &mut Reader<'_>) -> Result<Vec<String>, AddressReject> {
    let count = reader.array()?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > ADDRESSES_MAX {
        return Err(AddressReject::TooManyAddresses);
    }
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        addresses.push(reader.text()?.to_owned());
    }
    Ok(addresses)
}

/// Why an address record is refused. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressReject {
    /// It is longer than any record.
    #[error("an address record has at most {RECORD_MAX} bytes")]
    TooLarge,
    /// The bytes are not deterministic CBOR of the right shape.
    #[error("not deterministic CBOR")]
    Encoding(#[source] Malformed),
    /// A field is missing.
    #[error("a field is missing")]
    MissingField,
    /// There is a field that records do not have.
    #[error("an unknown field")]
    UnknownField,
    /// The key has not 32 bytes.
    #[error("the key has the wrong length")]
    WrongLength,
    /// The key is not usable.
    #[error("not a usable key")]
    Key(#[source] KeyReject),
    /// The name is too long or has control characters.
    #[error("the name is longer than {NAME_MAX} bytes or has control characters")]
    Name,
    /// There are more addresses than allowed.
    #[error("more than {ADDRESSES_MAX} addresses")]
    TooManyAddresses,
    /// An address is not `host:port`.
    #[error("an address is not host:port, or longer than {HOST_PORT_MAX} bytes")]
    Address,
    /// The signature is not that of the envoy over these bytes.
    #[error("the signature does not belong to the envoy and these bytes")]
    Signature,
}

impl AddressReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "record-too-large",
            Self::Encoding(malformed) => malformed.code(),
            Self::MissingField => "missing-field",
            Self::UnknownField => "unknown-field",
            Self::WrongLength => "wrong-length",
            Self::Key(reason) => reason.code(),
            Self::Name => "bad-name",
            Self::TooManyAddresses => "too-many-addresses",
            Self::Address => "bad-address",
            Self::Signature => "bad-signature",
        }
    }
}

impl From<Malformed> for AddressReject {
    fn from(malformed: Malformed) -> Self {
        Self::Encoding(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(name: &str, addresses: &[&str]) -> Result<AddressRecord, AddressReject> {
        let secret = SecretKey::from_seed(&[1; 32]);
        let addresses: Vec<String> = addresses.iter().map(|&one| one.to_owned()).collect();
        AddressRecord::sign(&secret, name, &addresses, 1, 1)
    }

    #[test]
    fn signs_only_what_others_accept() {
        assert!(sign("", &[]).is_ok());
        assert_eq!(sign("a\u{7}", &[]), Err(AddressReject::Name));
        assert_eq!(sign(&"n".repeat(65), &[]), Err(AddressReject::Name));
        assert_eq!(
            sign("a", &["host:1"; 9]),
            Err(AddressReject::TooManyAddresses)
        );
        let long = format!("{}:1", "h".repeat(253));
        assert!(sign("a", &[long.as_str()]).is_ok());
        assert_eq!(sign("a", &[long.as_str(); 4]), Err(AddressReject::TooLarge));
    }
}

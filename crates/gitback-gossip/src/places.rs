//! What one envoy tells another directly of who can be reached where.

use gitback_envelope::Malformed;
use gitback_envelope::cbor::{Reader, Writer};

use crate::address::{AddressRecord, AddressReject};
use crate::mesh::MESSAGE_MAX;

/// The most records in one message.
pub const PLACES_MAX: usize = 16;

/// With what such a message begins, and no other.
const HEAD: &[u8; 32] = b"gitback fleet places, version 1.";

/// Address records for somebody who was away when they were spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    is_asking: bool,
    records: Vec<AddressRecord>,
    /// How many bytes the records take.
    size: usize,
}

impl Places {
    /// No records yet. `is_asking`: the receiver is asked to tell what it knows, because the sender knows nothing.
    #[must_use]
    pub const fn new(is_asking: bool) -> Self {
        Self {
            is_asking,
            records: Vec::new(),
            size: 0,
        }
    }

    /// Adds a record if there is room for it.
    pub fn push(&mut self, record: &AddressRecord) {
        // A byte string has a head of at most three bytes here; before them are ours, the array's and the flag.
        let size = self.size + record.encode().len() + 3;
        if self.records.len() < PLACES_MAX && HEAD.len() + 2 + size <= MESSAGE_MAX {
            self.records.push(record.clone());
            self.size = size;
        }
    }

    /// Whether the receiver is asked to tell what it knows.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[AddressRecord] {
        &self.records
    }

    /// Whether a message is of this kind, well-formed or not.
    #[must_use]
    pub fn is_one(message: &[u8]) -> bool {
        message.starts_with(HEAD)
    }

    /// Writes the message: at most [`MESSAGE_MAX`] bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(1 + self.records.len());
        writer.uint(u64::from(self.is_asking));
        for record in &self.records {
            writer.bytes(&record.encode());
        }
        [HEAD.as_slice(), &writer.finish()].concat()
    }

    /// Decodes one message and checks every signature.
    ///
    /// Shape: 32 fixed bytes, then a CBOR array of 0 or 1 and the records; at most [`MESSAGE_MAX`] bytes, nothing
    /// trailing.
    ///
    /// # Errors
    ///
    /// [`PlacesReject`] if `message` is not exactly that. One record that is refused refuses all.
    ///
    /// Source: docs/spec/gossip.md §5.
    pub fn decode(message: &[u8]) -> Result<Self, PlacesReject> {
        if message.len() > MESSAGE_MAX {
            return Err(PlacesReject::TooLarge);
        }
        let body = message.strip_prefix(HEAD).ok_or(PlacesReject::Head)?;
        let mut reader = Reader::new(body);
        let items = usize::try_from(reader.array()?).unwrap_or(usize::MAX);
        let count = items.checked_sub(1).ok_or(Malformed::ItemCount)?;
        if count > PLACES_MAX {
            return Err(PlacesReject::TooManyRecords);
        }
        let is_asking = match reader.uint()? {
            0 => false,
            1 => true,
            _ => return Err(PlacesReject::Flag),
        };
        let mut encoded = Vec::with_capacity(count);
        for _ in 0..count {
            encoded.push(reader.bytes()?);
        }
        reader.finish()?;
        let mut places = Self::new(is_asking);
        for bytes in encoded {
            let record = AddressRecord::decode(bytes).map_err(PlacesReject::Address)?;
            places.size += bytes.len() + 3;
            places.records.push(record);
        }
        Ok(places)
    }
}

/// Why such a message is refused. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacesReject {
    /// It is longer than any message.
    #[error("longer than {MESSAGE_MAX} bytes")]
    TooLarge,
    /// It does not begin as such a message does.
    #[error("another kind of message")]
    Head,
    /// What follows is not deterministic CBOR of the right shape.
    #[error("not deterministic CBOR")]
    Encoding(#[source] Malformed),
    /// There are more records than allowed.
    #[error("more than {PLACES_MAX} address records")]
    TooManyRecords,
    /// It neither asks nor does not.
    #[error("whether it asks is neither 0 nor 1")]
    Flag,
    /// A record is refused.
    #[error("an address record is refused")]
    Address(#[source] AddressReject),
}

impl PlacesReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Head => "wrong-head",
            Self::Encoding(malformed) => malformed.code(),
            Self::TooManyRecords => "too-many-records",
            Self::Flag => "unknown-flag",
            Self::Address(reason) => reason.code(),
        }
    }
}

impl From<Malformed> for PlacesReject {
    fn from(malformed: Malformed) -> Self {
        Self::Encoding(malformed)
    }
}

//! What is spread through the fleet.

use gitback_envelope::Malformed;
use gitback_envelope::cbor::{Reader, Writer};
use gitback_identity::{EnvoyKey, KeyReject, ProjectId};

use crate::address::{AddressRecord, AddressReject};

/// The most bytes in a notice.
pub const NOTICE_MAX: usize = 1024;

/// What envoys tell one another in passing. It is never trusted: a digest only makes somebody ask, and an address
/// only makes somebody knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An envoy holds this set of envelopes of a project now.
    Project {
        /// Which project.
        project: ProjectId,
        /// What is held of it, as `GET /swarm/gitback/digests` tells it.
        digest: [u8; 32],
        /// Who is said to hold it.
        holder: EnvoyKey,
    },
    /// An envoy can be reached there.
    Address(AddressRecord),
}

impl Notice {
    /// Writes the notice. Equal notices have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Project {
                project,
                digest,
                holder,
            } => {
                writer.array(4);
                writer.uint(kind::PROJECT);
                writer.bytes(project.as_bytes());
                writer.bytes(digest);
                writer.bytes(holder.as_bytes());
            }
            Self::Address(record) => {
                writer.array(2);
                writer.uint(kind::ADDRESS);
                writer.bytes(&record.encode());
            }
        }
        writer.finish()
    }

    /// Decodes one notice, and checks the signature if it has one.
    ///
    /// Shape: CBOR array of a kind and what belongs to it; at most [`NOTICE_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`NoticeReject`] if `bytes` is not exactly one notice.
    ///
    /// Source: docs/spec/gossip.md §1.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoticeReject> {
        if bytes.len() > NOTICE_MAX {
            return Err(NoticeReject::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        let items = reader.array()?;
        let notice = match (reader.uint()?, items) {
            (kind::PROJECT, 4) => Self::Project {
                project: ProjectId::from_bytes(&exactly(&mut reader)?),
                digest: exactly(&mut reader)?,
                holder: EnvoyKey::from_bytes(&exactly(&mut reader)?).map_err(NoticeReject::Key)?,
            },
            (kind::ADDRESS, 2) => {
                let record = AddressRecord::decode(reader.bytes()?);
                Self::Address(record.map_err(NoticeReject::Address)?)
            }
            (kind::PROJECT | kind::ADDRESS, _) => return Err(Malformed::ItemCount.into()),
            _ => return Err(NoticeReject::Kind),
        };
        reader.finish()?;
        Ok(notice)
    }
}

mod kind {
    pub(super) const PROJECT: u64 = 1;
    pub(super) const ADDRESS: u64 = 2;
}

fn exactly(reader: &mut Reader<'_>) -> Result<[u8; 32], NoticeReject> {
    let bytes = reader.bytes()?;
    bytes.try_into().map_err(|_| NoticeReject::WrongLength)
}

/// Why a notice is refused. Always the fault of who spread it, who need not be who passed it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoticeReject {
    /// It is longer than any notice.
    #[error("a notice has at most {NOTICE_MAX} bytes")]
    TooLarge,
    /// The bytes are not deterministic CBOR of the right shape.
    #[error("not deterministic CBOR")]
    Encoding(#[source] Malformed),
    /// It is of a kind that this version does not know.
    #[error("an unknown kind of notice")]
    Kind,
    /// A project, a digest or a key has not 32 bytes.
    #[error("a field has the wrong length")]
    WrongLength,
    /// The holder's key is not usable.
    #[error("not a usable key")]
    Key(#[source] KeyReject),
    /// The address record is refused.
    #[error("the address record is refused")]
    Address(#[source] AddressReject),
}

impl NoticeReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Encoding(malformed) => malformed.code(),
            Self::Kind => "unknown-kind",
            Self::WrongLength => "wrong-length",
            Self::Key(reason) => reason.code(),
            Self::Address(reason) => reason.code(),
        }
    }
}

impl From<Malformed> for NoticeReject {
    fn from(malformed: Malformed) -> Self {
        Self::Encoding(malformed)
    }
}

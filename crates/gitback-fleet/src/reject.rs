//! Why something about a fleet is refused.

use gitback_envelope::Malformed;
use gitback_identity::KeyReject;

/// Why bytes are not what they should be, or do not belong together. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetReject {
    /// It is longer than any of its kind.
    #[error("longer than any of its kind")]
    TooLarge,
    /// The bytes are not deterministic CBOR of the right shape.
    #[error("not deterministic CBOR")]
    Encoding(#[source] Malformed),
    /// A field is missing.
    #[error("a field is missing")]
    MissingField,
    /// There is a field that its kind does not have.
    #[error("an unknown field")]
    UnknownField,
    /// A field of fixed length has another one, or a number has no meaning.
    #[error("a field has the wrong length or value")]
    WrongLength,
    /// A key is not usable.
    #[error("not a usable key")]
    Key(#[source] KeyReject),
    /// The name is not one that an envoy can have.
    #[error("not the name of an envoy")]
    Name,
    /// An address is not `host:port`, or there are too many of them.
    #[error("an address is not host:port, or there are too many")]
    Address,
    /// There are more envoys than a fleet can have.
    #[error("more envoys than a fleet can have")]
    TooMany,
    /// What is sorted by key is not, or is there twice.
    #[error("not in the order of keys")]
    Order,
    /// It is of another fleet.
    #[error("of another fleet")]
    OtherFleet,
    /// The signature is not that of the signer over these bytes.
    #[error("the signature does not belong to its signer and these bytes")]
    Signature,
}

impl FleetReject {
    /// A stable word for this reason.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Encoding(malformed) => malformed.code(),
            Self::MissingField => "missing-field",
            Self::UnknownField => "unknown-field",
            Self::WrongLength => "wrong-length",
            Self::Key(reason) => reason.code(),
            Self::Name => "bad-name",
            Self::Address => "bad-address",
            Self::TooMany => "too-many-envoys",
            Self::Order => "bad-order",
            Self::OtherFleet => "other-fleet",
            Self::Signature => "bad-signature",
        }
    }
}

impl From<Malformed> for FleetReject {
    fn from(malformed: Malformed) -> Self {
        Self::Encoding(malformed)
    }
}

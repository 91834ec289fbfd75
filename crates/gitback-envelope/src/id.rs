//! Fixed-size names: envelopes, git objects, incarnations.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use gitback_identity::hex;

/// The text is not the right number of lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} lowercase hex digits")]
pub struct TextReject {
    /// How many digits the value has.
    pub digits: usize,
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: &[u8; $bytes]) -> Self {
                Self(*bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The first 8 hex digits, for messages and served names.
            #[must_use]
            pub fn short(&self) -> String {
                self.0
                    .first_chunk::<4>()
                    .map(|bytes| hex::encode(bytes))
                    .unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = TextReject;

            fn from_str(text: &str) -> Result<Self, TextReject> {
                hex::decode_exact(text)
                    .map(Self)
                    .ok_or(TextReject { digits: 2 * $bytes })
            }
        }
    };
}

fixed_bytes! {
    /// Names one envelope: the SHA-256 of what its signature covers, so a re-signed copy has the same id.
    ///
    /// Source: docs/spec/envelope.md §2.
    EnvelopeId, 32
}

fixed_bytes! {
    /// A SHA-1 git object id; twenty zero bytes say that a ref is deleted.
    Oid, 20
}

fixed_bytes! {
    /// Sixteen random bytes, new whenever an author's log was lost, so that no number of a chain is signed twice.
    Incarnation, 16
}

impl Oid {
    /// The id that stands for "deleted".
    #[must_use]
    pub const fn zero() -> Self {
        Self([0; 20])
    }

    /// Whether this stands for "deleted".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::zero()
    }
}

impl Incarnation {
    /// The incarnation of `init`, which no other envelope has.
    #[must_use]
    pub const fn zero() -> Self {
        Self([0; 16])
    }

    /// Whether this is the incarnation of `init`.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::zero()
    }
}

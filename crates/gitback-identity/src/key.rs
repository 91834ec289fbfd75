//! Ed25519 keys and signatures, verified by the strict rules only.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;
use crate::hex;

/// An Ed25519 public key that is safe to verify with.
///
/// Shape: the 32 bytes of RFC 8032 §5.1.5, canonical, and not one of the eight small-order points, under which one
/// signature would verify for any message. No other value of this type can be made.
///
/// Source: docs/spec/identity.md §1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Accepts a key that is canonical and not weak.
    ///
    /// # Errors
    ///
    /// [`KeyReject::NotAPoint`], [`KeyReject::NotCanonical`] or [`KeyReject::Weak`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyReject> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyReject::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyReject::Weak);
        }
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyReject::NotCanonical);
        }
        Ok(Self(*bytes))
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks `signature` over `message` by the strict rules: a canonical `S`, a canonical `R` that is not of small
    /// order, and the equation without the cofactor.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] if any of these does not hold.
    ///
    /// Source: RFC 8032 §5.1.7; docs/spec/identity.md §1.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature)
            .map_err(|_| BadSignature)
    }

    /// The short form by which people tell keys apart.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// What whoever knows `scalar` and the holder of this key have in common: X25519 with this key taken over to the
    /// curve of RFC 7748. Nothing where that is all zeros, which everybody would know.
    ///
    /// Source: RFC 7748 §5 and §6.1; docs/spec/identity.md §1.
    #[must_use]
    pub fn agree(&self, scalar: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let key = VerifyingKey::from_bytes(&self.0).ok()?;
        shared(key.to_montgomery(), scalar)
    }
}

/// X25519 of the base point: the public half of `scalar`.
///
/// Source: RFC 7748 §5.
#[must_use]
pub fn agreement_point(scalar: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*scalar).to_bytes()
}

fn shared(point: MontgomeryPoint, scalar: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = Zeroizing::new(point.mul_clamped(*scalar).to_bytes());
    (*shared != [0; 32]).then_some(shared)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyReject;

    fn from_str(text: &str) -> Result<Self, KeyReject> {
        let bytes = hex::decode_exact(text).ok_or(KeyReject::NotHex)?;
        Self::from_bytes(&bytes)
    }
}

/// Why bytes or text are not a usable public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyReject {
    /// The text is not 64 lowercase hex digits.
    #[error("a key is 64 lowercase hex digits")]
    NotHex,
    /// The bytes do not name a point of the curve.
    #[error("the key is not a point of the curve")]
    NotAPoint,
    /// The bytes name a point, but not in its one canonical form.
    #[error("the key is not in canonical form")]
    NotCanonical,
    /// The point has small order: anybody could sign for it.
    #[error("the key is weak")]
    Weak,
}

impl KeyReject {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotHex => "key-not-hex",
            Self::NotAPoint => "key-not-a-point",
            Self::NotCanonical => "key-not-canonical",
            Self::Weak => "key-weak",
        }
    }
}

/// The signature does not belong to this key and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not belong to this key and message")]
pub struct BadSignature;

/// An Ed25519 signature, not yet checked against anything.
///
/// Shape: `R [u8; 32] | S [u8; 32]`, RFC 8032 §5.1.6.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes any 64 bytes; [`PublicKey::verify`] judges them.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8; 64]) -> Self {
        Self(*bytes)
    }

    /// The 64 bytes of the signature.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex::encode(&self.0))
    }
}

/// A secret key. Its bytes are wiped when it is dropped, and it never prints them.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Makes the key of a 32-byte seed, RFC 8032 §5.1.5.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for whoever wraps it or hands it to a TLS stack. Wipe every copy.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half. Never weak: a clamped scalar times the base point has prime order.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`, RFC 8032 §5.1.6.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// What the holder of this key and whoever made `point` have in common, as [`PublicKey::agree`] gives it there.
    /// Nothing where that is all zeros: `point` is of small order then, and no honest one.
    ///
    /// Source: RFC 7748 §5 and §6.1; docs/spec/identity.md §1.
    #[must_use]
    pub fn agree(&self, point: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let scalar = Zeroizing::new(self.0.to_scalar_bytes());
        shared(MontgomeryPoint(*point), &scalar)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("public", &self.public())
            .finish_non_exhaustive()
    }
}

macro_rules! key_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(PublicKey);

        impl $name {
            /// Says whose key this is.
            #[must_use]
            pub const fn new(key: PublicKey) -> Self {
                Self(key)
            }

            /// Accepts a key that is canonical and not weak.
            ///
            /// # Errors
            ///
            /// Those of [`PublicKey::from_bytes`].
            pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyReject> {
                PublicKey::from_bytes(bytes).map(Self)
            }

            /// The key itself.
            #[must_use]
            pub const fn key(&self) -> &PublicKey {
                &self.0
            }

            /// The 32 bytes of the key.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }

            /// The short form by which people tell keys apart.
            #[must_use]
            pub fn fingerprint(&self) -> Fingerprint {
                self.0.fingerprint()
            }

            /// The first 8 hex digits, for messages.
            #[must_use]
            pub fn short(&self) -> String {
                self.as_bytes()
                    .first_chunk::<4>()
                    .map(|bytes| hex::encode(bytes))
                    .unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = KeyReject;

            fn from_str(text: &str) -> Result<Self, KeyReject> {
                text.parse().map(Self)
            }
        }
    };
}

key_of! {
    /// A person's key, the same on each of their envoys.
    PuddleKey
}

key_of! {
    /// A machine's key: what its daemon signs updates and connections with.
    EnvoyKey
}

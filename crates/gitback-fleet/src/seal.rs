//! A copy of the authority's secret key that one person can open.

use alloc::vec::Vec;

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use gitback_envelope::cbor::{Keys, Reader, Writer};
use gitback_identity::{KeyReject, PublicKey, PuddleKey, SecretKey, agreement_point};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::reject::FleetReject;
use crate::signed::{check, open, public_key, seal};

/// The type under which a seal is signed.
pub const SEAL_TYPE: &str = "application/vnd.gitback-authority-seal.v1+cbor";
/// The most bytes of a whole seal.
pub const SEAL_MAX: usize = 256;
/// The bytes of the sealed key: a point, the seed, and a tag.
pub const SEALED_LEN: usize = POINT_LEN + SEED_LEN + TAG_LEN;

const POINT_LEN: usize = 32;
const SEED_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// Separates this use of the hash, and of the agreement, from any other.
const CONTEXT: &[u8] = b"gitback authority seal\0";

/// The authority's secret key, sealed to one person: whoever has the secret key of that person's puddle can open it, and
/// nobody else. Making one needs the public key only. One that holds nothing ends those before it.
///
/// The signature holds: nothing else makes a value of this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    authority: PublicKey,
    member: PuddleKey,
    number: u64,
    sealed: Option<[u8; SEALED_LEN]>,
    bytes: Vec<u8>,
}

/// Why a seal gives no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenReject {
    /// It is sealed to somebody else.
    #[error("it is sealed to another key")]
    OtherMember,
    /// It has ended.
    #[error("it was ended")]
    Ended,
    /// What it was sealed with is a point of small order.
    #[error("what it was sealed with is not a usable point")]
    WeakPoint,
    /// The bytes were changed, or sealed for another fleet or person.
    #[error("it does not open with this key")]
    Sealed,
    /// What is in it is the key of something else.
    #[error("what is in it is not the key of this fleet's authority")]
    OtherAuthority,
}

mod field {
    pub(super) const AUTHORITY: u64 = 0;
    pub(super) const MEMBER: u64 = 1;
    pub(super) const NUMBER: u64 = 2;
    pub(super) const SEALED: u64 = 3;
}

impl Seal {
    /// Seals the authority's key to `member`. Of two for one person the one with the higher `number` holds: the moment of
    /// signing in milliseconds since 1970, or one more than the last. `scalar` is 32 random bytes that nobody else ever
    /// knows; wipe them.
    ///
    /// # Errors
    ///
    /// [`FleetReject::Key`] if nothing can be sealed to that key.
    ///
    /// # Panics
    ///
    /// Never: the cipher takes what is as short as a key.
    ///
    /// Source: docs/spec/fleet.md §11.
    pub fn sign(
        authority: &SecretKey,
        member: PuddleKey,
        number: u64,
        scalar: &[u8; 32],
    ) -> Result<Self, FleetReject> {
        let point = agreement_point(scalar);
        let shared = member.key().agree(scalar);
        let shared = shared.ok_or(FleetReject::Key(KeyReject::Weak))?;
        let cipher = cipher(&shared, &point, &member, &authority.public());
        let text = cipher
            .encrypt(&Nonce::default(), authority.seed().as_slice())
            .expect("32 bytes are within the cipher's limits");
        let mut sealed = [0; SEALED_LEN];
        let (front, rest) = sealed.split_at_mut(POINT_LEN);
        front.copy_from_slice(&point);
        rest.copy_from_slice(&text);
        Ok(Self::signed(authority, member, number, Some(sealed)))
    }

    /// Ends every seal to `member` of a lower number. Nobody forgets what they have opened, or can open from a copy.
    #[must_use]
    pub fn end(authority: &SecretKey, member: PuddleKey, number: u64) -> Self {
        Self::signed(authority, member, number, None)
    }

    fn signed(
        authority: &SecretKey,
        member: PuddleKey,
        number: u64,
        sealed: Option<[u8; SEALED_LEN]>,
    ) -> Self {
        let mut writer = Writer::default();
        writer.map(4);
        writer.uint(field::AUTHORITY);
        writer.bytes(authority.public().as_bytes());
        writer.uint(field::MEMBER);
        writer.bytes(member.as_bytes());
        writer.uint(field::NUMBER);
        writer.uint(number);
        writer.uint(field::SEALED);
        writer.bytes(sealed.as_ref().map_or(&[][..], |sealed| &sealed[..]));
        Self {
            authority: authority.public(),
            member,
            number,
            sealed,
            bytes: seal(authority, SEAL_TYPE, &writer.finish()),
        }
    }

    /// Decodes one seal and checks its signature, which is by the authority that it names. Whether it opens is for its
    /// member to see.
    ///
    /// Shape: CBOR array of body (bytes) and signature (64 bytes); at most [`SEAL_MAX`] bytes, nothing trailing.
    ///
    /// # Errors
    ///
    /// [`FleetReject`] if `bytes` is not exactly one seal.
    ///
    /// Source: docs/spec/fleet.md §11.
    pub fn decode(bytes: &[u8]) -> Result<Self, FleetReject> {
        let (body, signature) = open(bytes, SEAL_MAX)?;
        let mut reader = Reader::new(body);
        let mut keys = Keys::default();
        let (mut authority, mut member, mut number, mut sealed) = (None, None, None, None);
        for _ in 0..reader.map()? {
            match keys.next(&mut reader)? {
                field::AUTHORITY => authority = Some(public_key(&mut reader)?),
                field::MEMBER => member = Some(PuddleKey::new(public_key(&mut reader)?)),
                field::NUMBER => number = Some(reader.uint()?),
                field::SEALED => {
                    sealed = Some(match reader.bytes()? {
                        [] => None,
                        bytes => Some(bytes.try_into().map_err(|_| FleetReject::WrongLength)?),
                    });
                }
                _ => return Err(FleetReject::UnknownField),
            }
        }
        reader.finish()?;
        let seal = Self {
            authority: authority.ok_or(FleetReject::MissingField)?,
            member: member.ok_or(FleetReject::MissingField)?,
            number: number.ok_or(FleetReject::MissingField)?,
            sealed: sealed.ok_or(FleetReject::MissingField)?,
            bytes: bytes.to_vec(),
        };
        check(&seal.authority, SEAL_TYPE, body, &signature)?;
        Ok(seal)
    }

    /// Opens it: gives the secret key of the authority that it names, and no other.
    ///
    /// # Errors
    ///
    /// [`OpenReject`] if it is another one's, was ended, or does not hold that key.
    ///
    /// Source: docs/spec/fleet.md §11.
    pub fn open(&self, member: &SecretKey) -> Result<SecretKey, OpenReject> {
        if member.public() != *self.member.key() {
            return Err(OpenReject::OtherMember);
        }
        let sealed = self.sealed.as_ref().ok_or(OpenReject::Ended)?;
        let (point, text) = sealed
            .split_first_chunk::<POINT_LEN>()
            .ok_or(OpenReject::Sealed)?;
        let shared = member.agree(point).ok_or(OpenReject::WeakPoint)?;
        let cipher = cipher(&shared, point, &self.member, &self.authority);
        let seed = cipher
            .decrypt(&Nonce::default(), text)
            .map(Zeroizing::new)
            .map_err(|_| OpenReject::Sealed)?;
        let seed = seed.first_chunk::<SEED_LEN>().ok_or(OpenReject::Sealed)?;
        let secret = SecretKey::from_seed(seed);
        if secret.public() != self.authority {
            return Err(OpenReject::OtherAuthority);
        }
        Ok(secret)
    }

    /// The seal as it was signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose key is sealed, and who signed.
    #[must_use]
    pub const fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// Who can open it.
    #[must_use]
    pub const fn member(&self) -> &PuddleKey {
        &self.member
    }

    /// Which of this person's seals it is: usually when it was signed, in milliseconds since 1970.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether it holds the key; if not, it ends those before it.
    #[must_use]
    pub const fn is_in_force(&self) -> bool {
        self.sealed.is_some()
    }

    /// Which of two holds, for one person, and which of too many stay, for several: everywhere the same.
    pub(crate) fn rank(&self) -> (u64, &[u8]) {
        (self.number, &self.bytes)
    }
}

/// The cipher of one seal. Its key is good for this point, person and authority only, so it is used once, and the nonce
/// is all zeros.
///
/// Source: NIST SP 800-56C rev. 2 §4.1, option 1; RFC 8439 §2.8.
fn cipher(
    shared: &[u8; 32],
    point: &[u8; POINT_LEN],
    member: &PuddleKey,
    authority: &PublicKey,
) -> ChaCha20Poly1305 {
    let digest = Sha256::new()
        .chain_update(1_u32.to_be_bytes())
        .chain_update(shared)
        .chain_update(CONTEXT)
        .chain_update(point)
        .chain_update(member.as_bytes())
        .chain_update(authority.as_bytes())
        .finalize();
    let key: Zeroizing<[u8; 32]> = Zeroizing::new(digest.into());
    ChaCha20Poly1305::new((&*key).into())
}

#[cfg(test)]
mod tests;

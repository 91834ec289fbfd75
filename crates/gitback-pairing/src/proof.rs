//! Proofs that one knows the code, each of use on one channel only.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use gitback_identity::hex;
use gitback_puddle::Cost;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Code;

/// What both ends of one TLS connection export, and nobody else knows.
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-gitback-pair/1";
pub(crate) const EXPORTER_BYTES: usize = 32;
/// The length of a proof.
pub(crate) const PROOF_BYTES: usize = 32;

const GUEST: &[u8] = b"gitback-pair/1 guest\0";
const HOST: &[u8] = b"gitback-pair/1 host\0";
const CHALLENGE: &str = "gitback-pair/1 enrolment challenge";

/// The secret of one channel.
pub(crate) struct Exporter(pub(crate) Zeroizing<[u8; EXPORTER_BYTES]>);

/// What a request to be enrolled has to answer, so that it is of use in this pairing only. No secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge(String);

/// A proof could not be made or checked.
#[derive(Debug, Error)]
#[non_exhaustive]
#[error("cannot derive a key from the code")]
pub struct ProofFault {
    #[source]
    source: argon2::Error,
}

/// The key of one code on one channel. Wiped when dropped.
pub(crate) struct ProofKey(Zeroizing<[u8; blake3::KEY_LEN]>);

/// A proof. Two are compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof(blake3::Hash);

impl Exporter {
    pub(crate) fn challenge(&self) -> Challenge {
        let derived = blake3::derive_key(CHALLENGE, self.0.as_ref());
        Challenge(hex::encode(&derived))
    }
}

impl Challenge {
    /// 64 hex digits.
    #[must_use]
    pub fn as_hex(&self) -> &str {
        &self.0
    }
}

impl ProofKey {
    /// Source: docs/spec/pairing.md §4.
    pub(crate) fn derive(code: &Code, exporter: &Exporter, cost: Cost) -> Result<Self, ProofFault> {
        let fault = |source| ProofFault { source };
        let length = Some(blake3::KEY_LEN);
        let params = Params::new(cost.memory_kib(), cost.passes(), cost.lanes(), length);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(fault)?);
        let mut blocks = blocks(argon2.params()).map_err(fault)?;
        let mut key = Zeroizing::new([0; blake3::KEY_LEN]);
        let (words, salt) = (code.words(), exporter.0.as_ref());
        argon2
            .hash_password_into_with_memory(words.as_bytes(), salt, key.as_mut(), &mut blocks[..])
            .map_err(fault)?;
        Ok(Self(key))
    }

    /// What the guest proves: the code, and that it is the one who introduces itself so.
    pub(crate) fn guest(&self, introduction: &[u8]) -> Proof {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(GUEST).update(introduction);
        Proof(hasher.finalize())
    }

    /// What the host proves: the code, and that it answers this guest with this introduction.
    pub(crate) fn host(&self, guest: &Proof, guest_said: &[u8], host_says: &[u8]) -> Proof {
        let length = u32::try_from(guest_said.len()).unwrap_or(u32::MAX);
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(HOST).update(guest.as_bytes());
        hasher.update(&length.to_be_bytes()).update(guest_said);
        hasher.update(host_says);
        Proof(hasher.finalize())
    }
}

/// Memory for Argon2, wiped when dropped: the library would not wipe its own.
fn blocks(params: &Params) -> Result<Zeroizing<Vec<Block>>, argon2::Error> {
    let mut blocks = Zeroizing::new(Vec::new());
    let reserved = blocks.try_reserve_exact(params.block_count());
    reserved.map_err(|_| argon2::Error::OutOfMemory)?;
    blocks.resize(params.block_count(), Block::new());
    Ok(blocks)
}

impl Proof {
    pub(crate) fn from_bytes(bytes: [u8; PROOF_BYTES]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; PROOF_BYTES] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: &str, exporter: u8) -> ProofKey {
        let cost = Cost::new(64, 1, 1).expect("a cost");
        let exporter = Exporter(Zeroizing::new([exporter; EXPORTER_BYTES]));
        ProofKey::derive(&code.parse().expect("a code"), &exporter, cost).expect("a key")
    }

    const WORDS: &str = "lunar basket cousin ribbon gather oven";

    #[test]
    fn everything_that_goes_into_a_proof_changes_it() {
        let right = key(WORDS, 1);
        let guest = right.guest(b"venus");
        assert_eq!(guest, key(WORDS, 1).guest(b"venus"));
        assert_ne!(guest, right.guest(b"titan"));
        assert_ne!(guest, key(WORDS, 2).guest(b"venus"));
        assert_ne!(
            guest,
            key("oven basket cousin ribbon gather lunar", 1).guest(b"venus")
        );

        let host = right.host(&guest, b"venus", b"mars");
        assert_eq!(host, right.host(&guest, b"venus", b"mars"));
        assert_ne!(host, right.host(&guest, b"venu", b"smars"));
        assert_ne!(host, right.host(&guest, b"venus", b"pluto"));
        assert_ne!(host, right.host(&right.guest(b""), b"venus", b"mars"));
        // Sent back, a guest's proof is none of a host.
        assert_ne!(host, guest);
        assert_ne!(right.host(&guest, b"", b""), right.guest(guest.as_bytes()));
    }

    #[test]
    fn the_challenge_follows_from_the_channel() {
        let exporter = |byte| Exporter(Zeroizing::new([byte; EXPORTER_BYTES]));
        let challenge = exporter(1).challenge();
        assert_eq!(challenge, exporter(1).challenge());
        assert_ne!(challenge, exporter(2).challenge());
        assert_eq!(challenge.as_hex().len(), 64);
    }
}

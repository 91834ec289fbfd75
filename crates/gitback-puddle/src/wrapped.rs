//! The wrapped key: what `identity.wrapped` holds.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use gitback_identity::{PublicKey, PuddleKey, PuddleName, SecretKey, hex};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Cost, CostReject, Passphrase};

/// The only version there is.
const VERSION: u32 = 1;
const KDF: &str = "argon2id";
const CIPHER: &str = "xchacha20poly1305";
/// Separates this use of the cipher from any other.
const CONTEXT: &[u8] = b"vigo-puddle";

/// A key under a passphrase, and whose key it is.
#[derive(Debug, Clone)]
pub(crate) struct Wrapped {
    pub(crate) name: PuddleName,
    pub(crate) key: PuddleKey,
    pub(crate) created_ms: u64,
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 24],
    ciphertext: [u8; 48],
}

/// Why bytes are no wrapped key.
#[derive(Debug, Error)]
pub(crate) enum Malformed {
    #[error("version {0} is not known")]
    UnknownVersion(u64),
    #[error("{0}")]
    Json(String),
    #[error("the field {0} is not valid")]
    Field(&'static str),
    #[error(transparent)]
    Cost(CostReject),
}

/// Why a wrapped key did not open.
#[derive(Debug)]
pub(crate) enum OpenFailure {
    /// Wrong passphrase, or a changed file: the seal cannot tell which.
    Sealed,
    /// Argon2id refused, for want of memory.
    Derive(argon2::Error),
}

/// The JSON form. Byte strings are lowercase hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    name: String,
    public_key: String,
    created_ms: u64,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    cipher: String,
    nonce: String,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Probe {
    version: u64,
}

/// Fresh randomness for one wrapping.
pub(crate) struct Fresh {
    pub(crate) salt: [u8; 16],
    pub(crate) nonce: [u8; 24],
}

impl Wrapped {
    /// Wraps `secret` under `passphrase`.
    pub(crate) fn seal(
        name: &PuddleName,
        secret: &SecretKey,
        passphrase: &Passphrase,
        cost: Cost,
        fresh: &Fresh,
        created_ms: u64,
    ) -> Result<Self, argon2::Error> {
        let key = PuddleKey::new(secret.public());
        let cipher = cipher(passphrase, &fresh.salt, cost)?;
        let associated = associated(&key, name);
        let payload = Payload {
            msg: secret.seed(),
            aad: &associated,
        };
        let sealed = cipher
            .encrypt(&XNonce::from(fresh.nonce), payload)
            .expect("32 bytes are within the cipher's limits");
        let ciphertext = *sealed
            .first_chunk()
            .expect("a sealed seed is the seed and a tag of 16 bytes");
        Ok(Self {
            name: name.clone(),
            key,
            created_ms,
            cost,
            salt: fresh.salt,
            nonce: fresh.nonce,
            ciphertext,
        })
    }

    /// What a guess costs.
    pub(crate) fn cost(&self) -> Cost {
        self.cost
    }

    /// Opens the seal.
    pub(crate) fn open(&self, passphrase: &Passphrase) -> Result<SecretKey, OpenFailure> {
        let cipher = cipher(passphrase, &self.salt, self.cost).map_err(OpenFailure::Derive)?;
        let associated = associated(&self.key, &self.name);
        let payload = Payload {
            msg: &self.ciphertext,
            aad: &associated,
        };
        let seed = cipher
            .decrypt(&XNonce::from(self.nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| OpenFailure::Sealed)?;
        let seed = seed.first_chunk::<32>().ok_or(OpenFailure::Sealed)?;
        let secret = SecretKey::from_seed(seed);
        // The key is part of what was sealed, so this holds unless the file
        // was made by somebody who knew the passphrase.
        if secret.public() != *self.key.key() {
            return Err(OpenFailure::Sealed);
        }
        Ok(secret)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let form = Form {
            version: VERSION,
            name: self.name.to_string(),
            public_key: self.key.to_string(),
            created_ms: self.created_ms,
            kdf: KDF.to_owned(),
            memory_kib: self.cost.memory_kib(),
            passes: self.cost.passes(),
            lanes: self.cost.lanes(),
            salt: hex::encode(&self.salt),
            cipher: CIPHER.to_owned(),
            nonce: hex::encode(&self.nonce),
            ciphertext: hex::encode(&self.ciphertext),
        };
        pretty(&form)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let json = |error: serde_json::Error| Malformed::Json(error.to_string());
        let probe: Probe = serde_json::from_slice(bytes).map_err(json)?;
        if probe.version != u64::from(VERSION) {
            return Err(Malformed::UnknownVersion(probe.version));
        }
        let form: Form = serde_json::from_slice(bytes).map_err(json)?;
        if form.kdf != KDF {
            return Err(Malformed::Field("kdf"));
        }
        if form.cipher != CIPHER {
            return Err(Malformed::Field("cipher"));
        }
        let key: PublicKey = field("public_key", form.public_key.parse().ok())?;
        Ok(Self {
            name: field("name", form.name.parse().ok())?,
            key: PuddleKey::new(key),
            created_ms: form.created_ms,
            cost: Cost::new(form.memory_kib, form.passes, form.lanes).map_err(Malformed::Cost)?,
            salt: field("salt", hex::decode_exact(&form.salt))?,
            nonce: field("nonce", hex::decode_exact(&form.nonce))?,
            ciphertext: field("ciphertext", hex::decode_exact(&form.ciphertext))?,
        })
    }
}

/// JSON as people read it, with a newline at the end.
pub(crate) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec_pretty(value).expect("strings and numbers always have a JSON form");
    bytes.push(b'\n');
    bytes
}

fn field<T>(name: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed::Field(name))
}

fn cipher(
    passphrase: &Passphrase,
    salt: &[u8; 16],
    cost: Cost,
) -> Result<XChaCha20Poly1305, argon2::Error> {
    let params = Params::new(cost.memory_kib(), cost.passes(), cost.lanes(), Some(32))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    let mut memory = memory(argon2.params().block_count())?;
    argon2.hash_password_into_with_memory(
        passphrase.as_bytes(),
        salt,
        key.as_mut(),
        &mut **memory,
    )?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

/// What Argon2id works in: from its last blocks the wrapping key follows, so it is wiped.
fn memory(blocks: usize) -> Result<Zeroizing<Box<[Block]>>, argon2::Error> {
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(blocks)
        .map_err(|_| argon2::Error::OutOfMemory)?;
    memory.resize(blocks, Block::new());
    // A vector would be wiped twice: what is in it, and then byte by byte what it has room for.
    Ok(Zeroizing::new(memory.into_boxed_slice()))
}

/// What the seal covers besides the seed.
///
/// Shape: `"vigo-puddle" | version u32 BE | public key [32] | name`.
///
/// Source: docs/spec/puddle.md.
fn associated(key: &PuddleKey, name: &PuddleName) -> Vec<u8> {
    let mut bytes = CONTEXT.to_vec();
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(key.as_bytes());
    bytes.extend_from_slice(name.as_str().as_bytes());
    bytes
}

#[cfg(test)]
mod tests;

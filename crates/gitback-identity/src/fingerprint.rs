//! Four words for a key.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use bip39::Language;
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::key::PublicKey;

const WORDS: usize = 4;
const WORD_BITS: u32 = 11;
const HEX_DIGITS: usize = 11;

/// The short form by which people tell keys apart: four words, or eleven hex digits.
///
/// Shape: the first 44 bits of `SHA-256(key)`. As words, each group of 11 bits is an index into the English list of
/// BIP-39; as hex, each group of 4 bits is a digit. 44 bits are enough to tell one's acquaintances apart and too few
/// to prove anything: a claim that matters is settled by the whole key.
///
/// Source: docs/spec/identity.md §2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(key: &PublicKey) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let first = digest.first_chunk::<8>().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first) >> 20)
    }

    /// The four words.
    #[must_use]
    pub fn words(&self) -> [&'static str; WORDS] {
        let list = Language::English.word_list();
        let word = |shift: u32| {
            let index = usize::try_from((self.0 >> shift) & 0x7ff).unwrap_or_default();
            list.get(index).copied().unwrap_or_default()
        };
        [word(33), word(22), word(11), word(0)]
    }

    /// The eleven hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        let text = hex::encode(&(self.0 << 20).to_be_bytes());
        text.chars().take(HEX_DIGITS).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bits = 0;
        for digit in text.bytes() {
            bits = (bits << 4) | u64::from(hex::value(digit)?);
        }
        (text.len() == HEX_DIGITS).then_some(Self(bits))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintReject;

    /// Reads either form: four words parted by single spaces, or eleven lowercase hex digits.
    fn from_str(text: &str) -> Result<Self, FingerprintReject> {
        if let Some(fingerprint) = Self::from_hex(text) {
            return Ok(fingerprint);
        }
        let mut bits = 0;
        let mut count = 0;
        for word in text.split(' ') {
            let index = Language::English
                .find_word(word)
                .ok_or(FingerprintReject::UnknownWord)?;
            count += 1;
            if count > WORDS {
                return Err(FingerprintReject::WordCount);
            }
            bits = (bits << WORD_BITS) | u64::from(index);
        }
        if count != WORDS {
            return Err(FingerprintReject::WordCount);
        }
        Ok(Self(bits))
    }
}

/// Why text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintReject {
    /// A word is not in the list.
    #[error("a word is not in the fingerprint word list")]
    UnknownWord,
    /// There are fewer or more than four words.
    #[error("a fingerprint has four words")]
    WordCount,
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, FingerprintReject};
    use crate::key::SecretKey;
    use alloc::string::ToString as _;

    #[test]
    fn both_forms_read_back() {
        for seed in 0..=255 {
            let fingerprint = SecretKey::from_seed(&[seed; 32]).public().fingerprint();
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            assert_eq!(fingerprint.hex().parse(), Ok(fingerprint));
        }
    }

    #[test]
    fn rejects_what_is_not_four_words() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse::<Fingerprint>(), Err(expected), "{text}");
        };
        check("", FingerprintReject::UnknownWord);
        check("lamp", FingerprintReject::WordCount);
        check("lamp lamp lamp lamp lamp", FingerprintReject::WordCount);
        check("lamp  lamp lamp", FingerprintReject::UnknownWord);
        check("lamp lamp lamp otter", FingerprintReject::UnknownWord);
        check("0123456789A", FingerprintReject::UnknownWord);
    }
}

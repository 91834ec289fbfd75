//! What a person types.

use std::fmt;

use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

/// The longest passphrase, in bytes.
pub const PASSPHRASE_MAX: usize = 4096;

/// With fewer characters than these, people are to be warned of a passphrase.
pub const PASSPHRASE_SHORT: usize = 12;

/// A passphrase: not empty, wiped when dropped, never shown.
pub struct Passphrase(Zeroizing<String>);

/// Why a text is no passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PassphraseReject {
    /// It protects nothing.
    #[error("the passphrase is empty")]
    Empty,
    /// It is longer than [`PASSPHRASE_MAX`].
    #[error("the passphrase is longer than {PASSPHRASE_MAX} bytes")]
    TooLong,
}

impl Passphrase {
    /// Takes a passphrase exactly as typed. A refused text is wiped.
    ///
    /// # Errors
    ///
    /// [`PassphraseReject`] if it is empty or too long.
    pub fn new(mut text: String) -> Result<Self, PassphraseReject> {
        let reject = match text.len() {
            0 => PassphraseReject::Empty,
            1..=PASSPHRASE_MAX => return Ok(Self(Zeroizing::new(text))),
            _ => PassphraseReject::TooLong,
        };
        text.zeroize();
        Err(reject)
    }

    /// Whether it has fewer characters than [`PASSPHRASE_SHORT`]: somebody with a copy of the file may find it out by
    /// trying.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.0.chars().count() < PASSPHRASE_SHORT
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Whether two people, or one person twice, typed the same.
impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Passphrase {}

impl fmt::Debug for Passphrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_is_counted_in_characters() {
        for (text, is_short) in [
            ("x", true),
            ("elf letters", true),
            ("zw\u{f6}lf Zeiche", false),
            ("\u{e4}\u{f6}\u{fc}\u{e4}\u{f6}\u{fc}", true),
            ("correct horse battery staple", false),
        ] {
            let passphrase = Passphrase::new(text.to_owned()).expect("a passphrase");
            assert_eq!(passphrase.is_short(), is_short, "{text}");
        }
    }
}

//! What a person types.

use std::fmt;

use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

/// The longest passphrase, in bytes.
pub const PASSPHRASE_MAX: usize = 4096;

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

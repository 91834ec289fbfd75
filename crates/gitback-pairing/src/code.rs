//! The six words.

use std::fmt;
use std::str::FromStr;

use bip39::Language;
use gitback_identity::similar;
use thiserror::Error;
use zeroize::Zeroizing;

/// How many words a code has.
pub const CODE_WORDS: usize = 6;
/// The longest text that is read as a code, in bytes.
pub const CODE_TEXT_MAX: usize = 1024;
/// So many letters of a word tell it from all others of the list.
const PREFIX_MIN: usize = 4;
const WORD_BITS: usize = 11;
const CODE_BYTES: usize = 9;

/// The code of one pairing: six words of the English list of BIP-39, 66 random bits. Wiped when dropped.
///
/// What a person types may have capitals, hyphens or more blanks, and any word may be cut short after four letters:
///
/// ```
/// use gitback_pairing::Code;
///
/// let code: Code = "abandon ability able about above absent".parse()?;
/// assert_eq!("ABAN-abil--able  abou above, absent".parse::<Code>()?, code);
/// # Ok::<(), gitback_pairing::CodeReject>(())
/// ```
///
/// Source: docs/spec/pairing.md §2.
pub struct Code(Zeroizing<[u16; CODE_WORDS]>);

/// Why a text is no code. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeReject {
    /// It has fewer or more words.
    #[error("a code has {CODE_WORDS} words, and these are {found}")]
    WordCount {
        /// How many there are.
        found: usize,
    },
    /// A word is not in the list, nor the beginning of one word in it.
    #[error("word {position}, \"{word}\", is not in the list of words")]
    UnknownWord {
        /// Which one, from 1.
        position: usize,
        /// As it was typed, without control characters.
        word: String,
        /// The word of the list that is nearest.
        nearest: &'static str,
    },
    /// It is longer than [`CODE_TEXT_MAX`].
    #[error("a code is not longer than {CODE_TEXT_MAX} bytes")]
    TooLong,
}

/// The operating system gave no random bytes for a code.
#[derive(Debug, Error)]
#[error("the operating system gave no random bytes")]
pub struct NoCode {
    #[source]
    source: getrandom::Error,
}

impl Code {
    /// Makes a new code.
    ///
    /// # Errors
    ///
    /// [`NoCode`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, NoCode> {
        let mut random = Zeroizing::new([0; CODE_BYTES]);
        getrandom::fill(random.as_mut()).map_err(|source| NoCode { source })?;
        Ok(Self::from_bits(&random))
    }

    /// The first 66 of the 72 bits, eleven for each word.
    fn from_bits(random: &[u8; CODE_BYTES]) -> Self {
        let mut words = Zeroizing::new([0; CODE_WORDS]);
        for (number, word) in words.iter_mut().enumerate() {
            let bits = number * WORD_BITS..(number + 1) * WORD_BITS;
            for bit in bits {
                let byte = random.get(bit / 8).copied().unwrap_or_default();
                *word = *word << 1 | u16::from(byte >> (7 - bit % 8) & 1);
            }
        }
        Self(words)
    }

    /// The six words with one space between them: what is shown, and what proofs are made of.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        // Room for everything at once, so that no copy is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(CODE_WORDS * 9));
        for index in self.0.iter() {
            if !text.is_empty() {
                text.push(' ');
            }
            let list = Language::English.word_list();
            text.push_str(list.get(usize::from(*index)).copied().unwrap_or_default());
        }
        text
    }
}

impl FromStr for Code {
    type Err = CodeReject;

    fn from_str(text: &str) -> Result<Self, CodeReject> {
        if text.len() > CODE_TEXT_MAX {
            return Err(CodeReject::TooLong);
        }
        let parts = text.split(|c: char| c.is_whitespace() || matches!(c, '-' | ',' | '.'));
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        let mut words = Zeroizing::new([0; CODE_WORDS]);
        for (position, (part, word)) in (1..).zip(parts.iter().zip(words.iter_mut())) {
            *word = find(part).ok_or_else(|| CodeReject::UnknownWord {
                position,
                word: part.chars().filter(|c| !c.is_control()).collect(),
                nearest: nearest(part),
            })?;
        }
        if parts.len() != CODE_WORDS {
            let found = parts.len();
            return Err(CodeReject::WordCount { found });
        }
        Ok(Self(words))
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

fn find(typed: &str) -> Option<u16> {
    let typed = Zeroizing::new(typed.to_ascii_lowercase());
    if let Some(index) = Language::English.find_word(&typed) {
        return Some(index);
    }
    if typed.len() < PREFIX_MIN {
        return None;
    }
    let mut meant = Language::English.words_by_prefix_iter(&typed);
    match (meant.next(), meant.next()) {
        (Some(only), None) => Language::English.find_word(only),
        _ => None,
    }
}

fn nearest(typed: &str) -> &'static str {
    let typed = typed.to_ascii_lowercase();
    let list = Language::English.word_list().iter().copied();
    let nearest = list.min_by_key(|word| similar::slips(&typed, word).unwrap_or(usize::MAX));
    nearest.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "lunar basket cousin ribbon gather oven";

    fn code(text: &str) -> Code {
        text.parse().expect("a code")
    }

    #[test]
    fn typing_is_forgiving() {
        let exact = code(WORDS);
        for typed in [
            "  lunar  basket cousin\tribbon gather oven\n",
            "LUNAR Basket cousin ribbon gather oven",
            "lunar-basket-cousin-ribbon-gather-oven",
            "luna bask cous ribb gath oven",
            "lunar, basket, cousin, ribbon, gather, oven.",
        ] {
            assert_eq!(code(typed), exact, "{typed}");
        }
    }

    #[test]
    fn a_word_that_is_not_in_the_list_is_named_with_the_nearest() {
        let check = |typed: &str, at: usize, meant: &str| {
            let reject = typed.parse::<Code>().expect_err("no code");
            assert!(
                matches!(&reject, CodeReject::UnknownWord { position, nearest, .. }
                    if *position == at && *nearest == meant),
                "{typed}: {reject:?}"
            );
        };
        check("lunar baskte cousin ribbon gather oven", 2, "basket");
        check("lunra basket cousin ribbon gather oven", 1, "lunar");
        check("lunar basket cousin ribbon gather oveen", 6, "oven");
        // Before the number of words is looked at, so that the first slip is the one that is named.
        check("lunra basket", 1, "lunar");
        // Three letters are the beginning of too many.
        check("lun basket cousin ribbon gather oven", 1, "fun");
    }

    #[test]
    fn counts_words_and_bounds_text() {
        let check = |text: &str, expected| assert_eq!(text.parse::<Code>(), Err(expected));
        check("", CodeReject::WordCount { found: 0 });
        check("lunar", CodeReject::WordCount { found: 1 });
        let seven = format!("{WORDS} oven");
        check(&seven, CodeReject::WordCount { found: 7 });
        check(&"a".repeat(CODE_TEXT_MAX + 1), CodeReject::TooLong);
    }

    #[test]
    fn what_is_shown_reads_back_and_is_new_each_time() {
        let one = Code::generate().expect("a code");
        assert_eq!(code(&one.words()), one);
        assert_ne!(Code::generate().expect("a code"), one);
        assert_eq!(format!("{one:?}"), "Code(..)");
    }

    #[test]
    fn each_bit_of_sixty_six_counts_and_no_more() {
        let zero = Code::from_bits(&[0; CODE_BYTES]);
        assert_eq!(zero.words().as_str(), ["abandon"; 6].join(" "));
        for bit in 0..72 {
            let mut random = [0; CODE_BYTES];
            random[bit / 8] = 0x80 >> (bit % 8);
            assert_eq!(Code::from_bits(&random) != zero, bit < 66, "bit {bit}");
        }
    }
}

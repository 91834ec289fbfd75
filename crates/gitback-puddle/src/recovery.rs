//! The recovery words: a key as 24 words of the BIP-39 list, to be written on paper.
//!
//! Source: docs/spec/puddle.md §8; BIP-39, "Generating the mnemonic".

use bip39::Language;
use gitback_identity::{SecretKey, similar};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

/// How many words stand for a key.
pub const RECOVERY_WORDS: usize = 24;

/// The longest text that is read as recovery words, in bytes.
pub const RECOVERY_TEXT_MAX: usize = 4096;

/// The bits of one word.
const WORD_BITS: usize = 11;
/// The longest word of the list, and a blank.
const WORD_MAX: usize = 9;
/// So many letters tell the words of the list apart.
const PREFIX: usize = 4;
/// The most characters of a wrong word that are repeated in an error.
const SHOWN_MAX: usize = 24;
/// A seed, and its checksum.
const BYTES: usize = 33;

/// Why a text is not the recovery words of a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WordsReject {
    /// It is longer than [`RECOVERY_TEXT_MAX`].
    #[error("the text is longer than {RECOVERY_TEXT_MAX} bytes")]
    TooLong,
    /// There are fewer or more than [`RECOVERY_WORDS`].
    #[error("there are {found} words, not {RECOVERY_WORDS}")]
    WordCount {
        /// How many there are.
        found: usize,
    },
    /// A word is not in the list.
    #[error("word {place}, \"{word}\", is not in the list")]
    UnknownWord {
        /// Its place, from 1.
        place: usize,
        /// The word, or how it begins.
        word: String,
        /// The word of the list that is nearest, if one is near.
        near: Option<&'static str>,
    },
    /// Each word is in the list, but together they are nobody's.
    #[error("the words are all in the list, but their checksum is wrong")]
    Checksum,
}

/// The recovery words of `secret`, parted by single blanks.
///
/// Whoever has them has the key.
#[must_use]
pub fn recovery_words(secret: &SecretKey) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    let (seed, check) = bytes.split_at_mut(BYTES - 1);
    seed.copy_from_slice(secret.seed());
    check.fill(checksum(secret.seed()));
    let list = Language::English.word_list();
    // Room for everything at once, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(RECOVERY_WORDS * WORD_MAX));
    for place in 0..RECOVERY_WORDS {
        if place > 0 {
            text.push(' ');
        }
        let mut index = 0;
        for bit in place * WORD_BITS..(place + 1) * WORD_BITS {
            let byte = bytes.get(bit / 8).copied().unwrap_or_default();
            index = (index << 1) | usize::from(byte >> (7 - bit % 8) & 1);
        }
        text.push_str(list.get(index).copied().unwrap_or_default());
    }
    text
}

/// The key whose recovery words `text` holds.
///
/// Shape: letters in either case, any blanks between words; a word may be cut after its fourth
/// letter. What is no letter at either end of a word is passed over, so that numbered words can
/// be copied.
///
/// # Errors
///
/// [`WordsReject`] says what is wrong with them.
pub fn from_recovery_words(text: &str) -> Result<SecretKey, WordsReject> {
    if text.len() > RECOVERY_TEXT_MAX {
        return Err(WordsReject::TooLong);
    }
    let found = words_in(text).count();
    if found != RECOVERY_WORDS {
        return Err(WordsReject::WordCount { found });
    }
    let mut bytes = Zeroizing::new([0; BYTES]);
    for (place, word) in words_in(text).enumerate() {
        let index = index_of(word).ok_or_else(|| unknown(place + 1, word))?;
        for bit in 0..WORD_BITS {
            let at = place * WORD_BITS + bit;
            let set = index >> (WORD_BITS - 1 - bit) & 1 == 1;
            if let Some(byte) = bytes.get_mut(at / 8).filter(|_| set) {
                *byte |= 0x80 >> (at % 8);
            }
        }
    }
    let (seed, check) = bytes.split_at(BYTES - 1);
    let seed = seed.first_chunk::<32>().ok_or(WordsReject::Checksum)?;
    if check != [checksum(seed)] {
        return Err(WordsReject::Checksum);
    }
    Ok(SecretKey::from_seed(seed))
}

/// The words of a text as they were typed.
fn words_in(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
        .map(|word| word.trim_matches(|letter: char| !letter.is_alphabetic()))
        .filter(|word| !word.is_empty())
}

/// How many words `text` holds, whatever they are.
#[must_use]
pub fn count_recovery_words(text: &str) -> usize {
    words_in(text).count()
}

/// The words of `text` with another one at `place`, counted from 1.
#[must_use]
pub fn with_recovery_word(text: &str, place: usize, word: &str) -> Zeroizing<String> {
    // Room for everything at once, so that no copy is left behind by growing.
    let mut words = Zeroizing::new(String::with_capacity(text.len() + word.len() + 2));
    for (at, kept) in words_in(text).enumerate() {
        words.push_str(if at + 1 == place { word.trim() } else { kept });
        words.push(' ');
    }
    words
}

fn index_of(typed: &str) -> Option<usize> {
    let word = Zeroizing::new(typed.to_ascii_lowercase());
    if let Some(index) = Language::English.find_word(&word) {
        return Some(usize::from(index));
    }
    if word.len() < PREFIX {
        return None;
    }
    let mut list = Language::English.word_list().iter();
    list.position(|known| known.starts_with(word.as_str()))
}

fn unknown(place: usize, typed: &str) -> WordsReject {
    let word: String = typed.chars().take(SHOWN_MAX).collect();
    let mut lower = word.to_lowercase();
    let list = Language::English.word_list().iter();
    let near = list
        .filter(|known| similar::is_similar(&lower, known))
        .min_by_key(|known| similar::slips(&lower, known));
    let near = near.copied();
    lower.zeroize();
    WordsReject::UnknownWord { place, word, near }
}

/// The first byte of the seed's hash.
fn checksum(seed: &[u8; 32]) -> u8 {
    let digest: Zeroizing<[u8; 32]> = Zeroizing::new(Sha256::digest(seed).into());
    let [first, ..] = *digest;
    first
}

#[cfg(test)]
mod tests {
    use gitback_identity::hex;

    use super::*;

    /// Those of the standard's test vectors that have 32 bytes of entropy.
    ///
    /// Source: https://github.com/trezor/python-mnemonic/blob/master/vectors.json
    const VECTORS: [(&str, &str); 8] = [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
             abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
             abandon art",
        ),
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage \
             worth useful legal winner thank year wave sausage worth title",
        ),
        (
            "8080808080808080808080808080808080808080808080808080808080808080",
            "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount \
             doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
        ),
        (
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo \
             zoo vote",
        ),
        (
            "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
            "hamster diagram private dutch cause delay private meat slide toddler razor book happy \
             fancy gospel tennis maple dilemma loan word shrug inflict delay length",
        ),
        (
            "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
            "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich alcohol \
             speed nation flash devote level hobby quick inner drive ghost inside",
        ),
        (
            "066dca1a2bb7e8a1db2832148ce9933eea0f3ac9548d793112d9a95c9407efad",
            "all hour make first leader extend hole alien behind guard gospel lava path output census \
             museum junior mass reopen famous sing advance salt reform",
        ),
        (
            "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
            "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing \
             screen patrol group space point ten exist slush involve unfold",
        ),
    ];

    fn seed(digits: &str) -> SecretKey {
        SecretKey::from_seed(&hex::decode_exact(digits).expect("32 bytes"))
    }

    #[test]
    fn the_words_are_those_of_the_standard() {
        for (digits, words) in VECTORS {
            assert_eq!(*recovery_words(&seed(digits)), words);
            let secret = from_recovery_words(words).expect("the standard's words");
            assert_eq!(hex::encode(secret.seed()), digits);
        }
    }

    #[test]
    fn words_may_be_typed_as_people_type() {
        let (digits, words) = VECTORS[4];
        let short: Vec<&str> = words
            .split(' ')
            .map(|word| word.get(..PREFIX).unwrap_or(word))
            .collect();
        let numbered: Vec<String> = (1..)
            .zip(words.split(' '))
            .map(|(place, word)| format!("{place:>2}. {word}"))
            .collect();
        for text in [
            words.to_uppercase(),
            words.replace(' ', "  \t\n"),
            format!("\n {words} \r\n"),
            words.replace(' ', ", "),
            short.join(" "),
            numbered.join("\n"),
        ] {
            let secret = from_recovery_words(&text).expect("the words");
            assert_eq!(hex::encode(secret.seed()), digits, "{text}");
        }
    }

    #[test]
    fn four_letters_tell_the_words_apart() {
        for (index, word) in Language::English.word_list().iter().enumerate() {
            assert_eq!(index_of(word), Some(index));
            assert_eq!(index_of(word.get(..PREFIX).unwrap_or(word)), Some(index));
        }
    }

    #[test]
    fn a_wrong_word_is_named_with_its_place_and_the_nearest() {
        let check = |wrong: &str, expected: Option<&str>| {
            let words = VECTORS[4].1.replace("meat", wrong);
            let reject = from_recovery_words(&words).expect_err("refused");
            let WordsReject::UnknownWord { place, word, near } = reject else {
                panic!("{reject:?}");
            };
            assert_eq!((place, word.as_str(), near), (8, wrong, expected));
        };
        check("sausaeg", Some("sausage"));
        check("orchrad", Some("orchard"));
        check("xqxqxqx", None);
        check("m", None);
    }

    #[test]
    fn one_word_takes_the_place_of_another() {
        let words = VECTORS[4].1;
        for place in [1, 8, 24] {
            let right = words.split(' ').nth(place - 1).expect("24 words");
            let wrong = with_recovery_word(&words.replace(' ', "\n3. "), place, "xqxqxqx");
            let reject = from_recovery_words(&wrong).expect_err("refused");
            let is_it = matches!(reject, WordsReject::UnknownWord { place: at, .. } if at == place);
            assert!(is_it, "{reject:?}");
            let mended = with_recovery_word(&wrong, place, &format!(" {right}\n"));
            assert_eq!(mended.trim_end(), words);
        }
    }

    #[test]
    fn rejects_other_counts_other_orders_and_floods() {
        let words = VECTORS[5].1;
        let (first, rest) = words.split_once(' ').expect("many words");
        let count = |text: &str, found| {
            let reject = from_recovery_words(text).expect_err("refused");
            assert_eq!(reject, WordsReject::WordCount { found });
        };
        count(rest, 23);
        count(&format!("{words} {first}"), 25);
        count("", 0);
        let (second, rest) = rest.split_once(' ').expect("many words");
        let swapped = format!("{second} {first} {rest}");
        let reject = from_recovery_words(&swapped).expect_err("refused");
        assert_eq!(reject, WordsReject::Checksum);
        let flood = "zoo ".repeat(RECOVERY_TEXT_MAX);
        let reject = from_recovery_words(&flood).expect_err("refused");
        assert_eq!(reject, WordsReject::TooLong);
    }
}

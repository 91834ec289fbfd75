//! Strict hexadecimal text: lowercase digits only, two for each byte.

use alloc::string::String;
use alloc::vec::Vec;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` as lowercase hex digits.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0x0f));
    }
    text
}

/// Reads exactly `N` bytes from `2 * N` lowercase hex digits.
///
/// Anything else, capital digits and surrounding space included, is `None`.
#[must_use]
pub fn decode_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != N.checked_mul(2)? {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = pair_value(pair)?;
    }
    Some(bytes)
}

/// Reads at most `max` bytes from lowercase hex digits; longer text is refused before anything is allocated.
#[must_use]
pub fn decode(text: &str, max: usize) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) || text.len() / 2 > max {
        return None;
    }
    text.chunks_exact(2).map(pair_value).collect()
}

fn pair_value(pair: &[u8]) -> Option<u8> {
    match pair {
        [high, low] => Some((value(*high)? << 4) | value(*low)?),
        _ => None,
    }
}

pub(crate) fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn digit(nibble: u8) -> char {
    DIGITS
        .get(usize::from(nibble & 0x0f))
        .map_or('0', |digit| char::from(*digit))
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_exact, encode};
    use alloc::vec;

    #[test]
    fn writes_lowercase_digits() {
        assert_eq!(encode(&[0x00, 0x9f, 0xa0, 0xff]), "009fa0ff");
    }

    #[test]
    fn reads_back_what_it_wrote() {
        assert_eq!(
            decode_exact::<4>("009fa0ff"),
            Some([0x00, 0x9f, 0xa0, 0xff])
        );
        assert_eq!(decode("009fa0ff", 4), Some(vec![0x00, 0x9f, 0xa0, 0xff]));
        assert_eq!(decode("", 4), Some(vec![]));
    }

    #[test]
    fn rejects_anything_but_lowercase_pairs() {
        for text in ["0", "0g", "AB", " a", "0x", "é"] {
            assert_eq!(decode_exact::<1>(text), None, "{text}");
            assert_eq!(decode(text, 8), None, "{text}");
        }
    }

    #[test]
    fn rejects_text_past_the_bound() {
        assert_eq!(decode("000000", 2), None);
        assert_eq!(decode_exact::<2>("000000"), None);
    }
}

//! "Did you mean": how far what somebody typed is from a name that is known.
//!
//! This only picks a name to suggest. Nothing is ever opened, signed or trusted because a name is near another.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use crate::{HANDLE_MAX, PUDDLE_NAME_MAX};

/// The longest text that is compared, in bytes: a puddle's name, a slash and a handle.
pub const TEXT_MAX: usize = PUDDLE_NAME_MAX + 1 + HANDLE_MAX;

/// The most slips after which a name may still be the one that was meant.
pub const SLIPS_MAX: usize = 2;

/// A name of fewer characters becomes another name with two slips.
const LONG_MIN: usize = 5;

/// Whether `typed` is so close to `known` that it may be a slip of the finger.
///
/// One slip in a short name, [`SLIPS_MAX`] in a longer one. Text of more than [`TEXT_MAX`] bytes is similar to nothing.
///
/// ```
/// use gitback_identity::similar::is_similar;
///
/// assert!(is_similar("plutto", "pluto"));
/// assert!(!is_similar("venus", "pluto"));
/// ```
#[must_use]
pub fn is_similar(typed: &str, known: &str) -> bool {
    let Some(slips) = slips(typed, known) else {
        return false;
    };
    let longer = typed.chars().count().max(known.chars().count());
    let allowed = if longer < LONG_MIN { 1 } else { SLIPS_MAX };
    slips <= allowed
}

/// How many characters must be inserted, deleted, replaced or swapped with their neighbour to make `known` of `typed`.
///
/// `None` if either has more than [`TEXT_MAX`] bytes: such text is not compared, and nothing is allocated for it.
///
/// ```
/// use gitback_identity::similar::slips;
///
/// assert_eq!(slips("ntoes", "notes"), Some(1));
/// ```
#[must_use]
pub fn slips(typed: &str, known: &str) -> Option<usize> {
    if typed.len() > TEXT_MAX || known.len() > TEXT_MAX {
        return None;
    }
    let typed: Vec<char> = typed.chars().collect();
    let known: Vec<char> = known.chars().collect();
    Some(distance(&typed, &known))
}

/// The optimal string alignment distance: no character is edited twice.
fn distance(from: &[char], to: &[char]) -> usize {
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (at(&last, j + 1) + 1)
                .min(at(&row, j) + 1)
                .min(at(&last, j) + usize::from(a != b));
            if previous(from, i) == Some(b) && previous(to, j) == Some(a) {
                best = best.min(at(&before_last, j.saturating_sub(1)) + 1);
            }
            row.push(best);
        }
        before_last = mem::replace(&mut last, row);
    }
    at(&last, to.len())
}

fn previous(text: &[char], index: usize) -> Option<&char> {
    text.get(index.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_slips() {
        let check = |from, to, expected| {
            assert_eq!(slips(from, to), Some(expected), "{from} {to}");
            assert_eq!(slips(to, from), Some(expected), "{to} {from}");
        };
        check("", "", 0);
        check("pluto", "pluto", 0);
        check("plutto", "pluto", 1);
        check("puto", "pluto", 1);
        check("plxto", "pluto", 1);
        check("lputo", "pluto", 1);
        check("plotu", "pluto", 2);
        check("", "dan", 3);
        check("notes", "note", 1);
        check("notes", "ntoes", 1);
        check("", "ab", 2);
        check("kitten", "sitting", 3);
    }

    #[test]
    fn counts_characters_not_bytes() {
        assert_eq!(slips("nötés", "notes"), Some(2));
    }

    #[test]
    fn a_slip_of_the_finger_is_similar_and_another_name_is_not() {
        assert!(is_similar("plutto", "pluto"));
        assert!(is_similar("adn", "dan"));
        assert!(!is_similar("venus", "pluto"));
        assert!(!is_similar("bob", "dan"));
        assert!(!is_similar("da", "dana-lee"));
    }

    #[test]
    fn longer_text_is_not_compared() {
        let longest = "a".repeat(TEXT_MAX);
        assert_eq!(slips(&longest, &longest), Some(0));
        assert!(is_similar(&longest, &longest));

        let longer = "a".repeat(TEXT_MAX + 1);
        assert_eq!(slips(&longer, &longer), None);
        assert_eq!(slips(&longest, &longer), None);
        assert!(!is_similar(&longer, &longest));
    }
}

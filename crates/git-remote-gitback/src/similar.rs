//! "Did you mean".

/// Whether `typed` is so close to `known` that it may be a slip of the finger.
///
/// One slip in a short name, two in a longer one; swapping two neighbours is one slip.
pub(crate) fn is_similar(typed: &str, known: &str) -> bool {
    let allowed = if typed.len().max(known.len()) < 5 {
        1
    } else {
        2
    };
    typed.len().abs_diff(known.len()) <= allowed && slips(typed, known) <= allowed
}

/// The optimal string alignment distance, over bytes: names are ASCII and short.
fn slips(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (at(&last, j + 1) + 1)
                .min(at(&row, j) + 1)
                .min(at(&last, j) + usize::from(a != b));
            let previous = |bytes: &[u8], index: usize| {
                index
                    .checked_sub(1)
                    .and_then(|index| bytes.get(index).copied())
            };
            if previous(from, i) == Some(*b) && previous(to, j) == Some(*a) {
                best = best.min(at(&before_last, j.saturating_sub(1)) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    at(&last, to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_slips() {
        let check = |from, to, expected| assert_eq!(slips(from, to), expected, "{from} {to}");
        check("pluto", "pluto", 0);
        check("plutto", "pluto", 1);
        check("puto", "pluto", 1);
        check("plxto", "pluto", 1);
        check("lputo", "pluto", 1);
        check("plotu", "pluto", 2);
        check("", "dan", 3);
        check("dan", "", 3);
    }

    #[test]
    fn a_slip_of_the_finger_is_similar_and_another_name_is_not() {
        assert!(is_similar("plutto", "pluto"));
        assert!(is_similar("adn", "dan"));
        assert!(!is_similar("venus", "pluto"));
        assert!(!is_similar("bob", "dan"));
        assert!(!is_similar("da", "dana-lee"));
    }
}

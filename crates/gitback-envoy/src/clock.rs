//! The only clock. Its readings are for display and for waiting; no fold sees them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, zero for a clock set before it.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An age as people say it: "4 s", "12 min", "3 h", "9 d".
pub(crate) fn age(from_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(from_ms) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_use_the_largest_unit_that_fits() {
        assert_eq!(age(0, 59_999), "59 s");
        assert_eq!(age(0, 60_000), "1 min");
        assert_eq!(age(0, 7_200_000), "2 h");
        assert_eq!(age(0, 9 * 86_400_000), "9 d");
        assert_eq!(age(5, 0), "0 s", "a clock set back shows no age");
    }
}

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

/// A day as people say it: "4 Nov", with the year unless it is this one. By universal time.
pub(crate) fn day(at_ms: u64, now_ms: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day) = civil(at_ms);
    let name = MONTHS.get(month).copied().unwrap_or_default();
    if year == civil(now_ms).0 {
        format!("{day} {name}")
    } else {
        format!("{day} {name} {year}")
    }
}

/// Year, month from 0, and day.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
fn civil(at_ms: u64) -> (u64, usize, u64) {
    let days = at_ms / 86_400_000 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    // The years of this count begin in March.
    let month = (shifted + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    (year, usize::try_from(month).unwrap_or(0), day)
}

#[cfg(test)]
mod tests {
    use super::{age, day};

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day(0, 0), "1 Jan");
        assert_eq!(day(951_782_400_000, 0), "29 Feb 2000");
        assert_eq!(day(1_762_214_400_000, 1_762_300_800_000), "4 Nov");
        assert_eq!(day(1_767_225_599_999, 1_767_225_600_000), "31 Dec 2025");
    }

    #[test]
    fn ages_use_the_largest_unit_that_fits() {
        assert_eq!(age(0, 59_999), "59 s");
        assert_eq!(age(0, 60_000), "1 min");
        assert_eq!(age(0, 7_200_000), "2 h");
        assert_eq!(age(0, 9 * 86_400_000), "9 d");
        assert_eq!(age(5, 0), "0 s", "a clock set back shows no age");
    }
}

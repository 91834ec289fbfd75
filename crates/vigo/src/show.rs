//! Numbers, times and tables as people read them.

use jiff::{Timestamp, Zoned, tz::TimeZone};

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A length of time in its largest unit: "45 s", "2 min", "3 h", "9 d".
pub(crate) fn span(ms: u64) -> String {
    match ms {
        DAY_MS.. if ms >= 2 * DAY_MS => format!("{} d", ms / DAY_MS),
        HOUR_MS.. => format!("{} h", ms / HOUR_MS),
        MINUTE_MS.. => format!("{} min", ms / MINUTE_MS),
        _ => format!("{} s", ms / SECOND_MS),
    }
}

/// A length of time to the minute: "8 h", "1 h 30 min", "45 s".
pub(crate) fn span_exact(ms: u64) -> String {
    let (hours, minutes) = (ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS);
    match (hours, minutes) {
        (0, 0) => span(ms),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// How long ago: "now", "2 min ago".
pub(crate) fn ago(then_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(then_ms) {
        0..SECOND_MS => "now".to_owned(),
        age => format!("{} ago", span(age)),
    }
}

/// A size: "930 B", "4.1 GiB".
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, "KiB");
    for larger in UNITS.iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    match (tenths / 10, tenths % 10) {
        (whole @ 0..10, tenth) => format!("{whole}.{tenth} {unit}"),
        (whole, _) => format!("{whole} {unit}"),
    }
}

/// The local time of day, with the day where it is not today.
pub(crate) fn clock(at_ms: u64, now_ms: u64) -> String {
    in_zone(at_ms, now_ms, &TimeZone::system())
}

fn in_zone(at_ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    let (Some(at), Some(now)) = (zoned(at_ms, zone), zoned(now_ms, zone)) else {
        return "an unknown time".to_owned();
    };
    let form = if at.date() == now.date() {
        "%H:%M"
    } else {
        "%a %-d %b %H:%M"
    };
    at.strftime(form).to_string()
}

/// The local date: "3 March 2026".
pub(crate) fn date(at_ms: u64) -> String {
    zoned(at_ms, &TimeZone::system()).map_or_else(
        || "at an unknown time".to_owned(),
        |at| at.strftime("%-d %B %Y").to_string(),
    )
}

/// The local date and time: "2026-03-03 09:00".
pub(crate) fn date_and_time(at_ms: u64) -> String {
    zoned(at_ms, &TimeZone::system()).map_or_else(
        || "-".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

fn zoned(ms: u64, zone: &TimeZone) -> Option<Zoned> {
    let ms = i64::try_from(ms).ok()?;
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(zone.clone()))
}

/// Milliseconds since 1970, by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// "1 envoy", "3 envoys".
pub(crate) fn count(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// "1 copy wanted", "3 copies wanted".
pub(crate) fn copies_wanted(number: u32) -> String {
    match number {
        1 => "1 copy wanted".to_owned(),
        more => format!("{more} copies wanted"),
    }
}

/// A text without control characters. What other machines say reaches a
/// terminal only through this.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Lines in columns, the first one the header. Cells hold no newlines.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let header = header.iter().map(ToString::to_string).collect();
        Self { rows: vec![header] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| plain(&cell));
        self.rows.push(cells.collect());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let lines: Vec<String> = self.rows.iter().map(|row| line(row, &widths)).collect();
        lines.join("\n")
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    cells.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_take_their_largest_unit() {
        for (ms, short, exact) in [
            (0, "0 s", "0 s"),
            (59_999, "59 s", "59 s"),
            (60_000, "1 min", "1 min"),
            (8 * HOUR_MS, "8 h", "8 h"),
            (90 * MINUTE_MS, "1 h", "1 h 30 min"),
            (47 * HOUR_MS, "47 h", "47 h"),
            (48 * HOUR_MS, "2 d", "48 h"),
        ] {
            assert_eq!((span(ms).as_str(), span_exact(ms).as_str()), (short, exact));
        }
    }

    #[test]
    fn ages_never_lie_in_the_future() {
        assert_eq!(ago(1000, 1500), "now");
        assert_eq!(ago(9000, 1500), "now");
        assert_eq!(ago(0, 120_000), "2 min ago");
    }

    #[test]
    fn sizes_keep_two_digits_or_more() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (12 << 20, "12 MiB"),
            (930 << 20, "930 MiB"),
            (4_402_341_479, "4.1 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn clock_names_the_day_when_it_is_another() {
        let zone = TimeZone::UTC;
        let morning = 1_772_528_400_000; // 2026-03-03 09:00 UTC
        let check = |at, text| assert_eq!(in_zone(at, morning, &zone), text);
        check(morning + 8 * HOUR_MS, "17:00");
        check(morning + 20 * HOUR_MS, "Wed 4 Mar 05:00");
        check(u64::MAX, "an unknown time");
    }

    #[test]
    fn tables_line_up_and_hide_control_characters() {
        let mut table = Table::new(&["PROJECT", "COPIES"]);
        table.row(["dan/\u{1b}notes".to_owned(), "4/4".to_owned()]);
        assert_eq!(table.render(), "PROJECT     COPIES\ndan/\u{fffd}notes  4/4");
    }

    #[test]
    fn counts_have_their_plural() {
        assert_eq!(count(1, "envoy"), "1 envoy");
        assert_eq!(count(0, "envoy"), "0 envoys");
    }
}

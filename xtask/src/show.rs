//! Printing for people: commands, what came back, and tables.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

/// Prints one line to standard output.
///
/// # Errors
///
/// When nobody reads it any more.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("standard output is closed")
}

/// A duration as people say it: two or three digits that matter.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..0.9995 => format!("{:.0} ms", seconds * 1000.0),
        ..9.95 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        _ => format!("{:.1} min", seconds / 60.0),
    }
}

/// A number of things: "1 branch", "2 branches".
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A table with its columns aligned; the first row is the head.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let text = |row: &[String; N]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_two_digits_that_matter() {
        let shown = |ms| time(Duration::from_millis(ms));
        assert_eq!(shown(12), "12 ms");
        assert_eq!(shown(432), "432 ms");
        assert_eq!(shown(1_432), "1.4 s");
        assert_eq!(shown(43_210), "43 s");
        assert_eq!(shown(150_000), "2.5 min");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1, "branch", "branches"), "1 branch");
        assert_eq!(count(0, "branch", "branches"), "0 branches");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(
            table(&[row("A", "B"), row("long", "x")]),
            "A     B\nlong  x"
        );
    }
}

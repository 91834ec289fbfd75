//! What the configuration says of values that refs have left.

use std::fmt;
use std::time::Duration;

use super::{ConfigError, value};

/// The word for no end.
const FOREVER: &str = "forever";
/// The least and the most time, in hours.
const HOURS: std::ops::RangeInclusive<u64> = 1..=36_500 * 24;

/// How long a value is kept that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeepReplaced {
    text: String,
    time: Duration,
}

impl KeepReplaced {
    pub(crate) const fn time(&self) -> Duration {
        self.time
    }
}

impl fmt::Display for KeepReplaced {
    /// As it stands in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Nothing: for ever.
pub(super) fn keep_replaced(given: Option<String>) -> Result<Option<KeepReplaced>, ConfigError> {
    let Some(text) = given.filter(|text| text != FOREVER) else {
        return Ok(None);
    };
    let Some(hours) = hours(&text) else {
        let problem = format!(
            "{text:?} is neither \"forever\" nor a number of hours, days or weeks such as \"12h\", \"90d\" or \"52w\""
        );
        return Err(value("keep_replaced", problem));
    };
    if !HOURS.contains(&hours) {
        let problem = format!("{text:?} is not between 1h and 36500d");
        return Err(value("keep_replaced", problem));
    }
    let time = Duration::from_secs(hours * 3600);
    Ok(Some(KeepReplaced { text, time }))
}

fn hours(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..)? {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        _ => return None,
    };
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = is_plain.then(|| digits.parse().ok())??;
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_hours_days_and_weeks() {
        let time = |text: &str| keep_replaced(Some(text.to_owned()));
        for (text, hours) in [("1h", 1), ("90d", 90 * 24), ("52w", 52 * 7 * 24)] {
            let keep = time(text).expect("a time").expect("not for ever");
            assert_eq!(keep.time(), Duration::from_secs(hours * 3600));
            assert_eq!(keep.to_string(), text);
        }
        assert_eq!(time("forever").expect("for ever"), None);
        assert_eq!(keep_replaced(None).expect("the default"), None);
        for text in [
            "",
            "90",
            "d",
            "0h",
            "90 d",
            "-1d",
            "+1d",
            "1m",
            "1d1h",
            "40000d",
            "9999999999999999999d",
        ] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }
}

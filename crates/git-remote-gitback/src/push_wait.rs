//! `gitback.pushWait`: how long a push waits for other envoys.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use gitback_helper::Failure;

use crate::failures;

/// The longest wait that can be configured.
pub(crate) const PUSH_WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// How long git may take to read its configuration.
const GIT_CONFIG_WAIT: Duration = Duration::from_secs(10);

/// The longest value worth reading, in bytes.
const VALUE_MAX: u64 = 256;

/// The value in the user's repository, in milliseconds; `None` where there is none.
///
/// This is the only process that inherits git's repository variables: they say which
/// repository's configuration counts.
pub(crate) fn configured() -> Result<Option<u64>, Failure> {
    let Some(value) = read_configuration()? else {
        return Ok(None);
    };
    parse(&value)
        .map(Some)
        .ok_or_else(|| failures::push_wait_value(&value))
}

fn read_configuration() -> Result<Option<String>, Failure> {
    let mut git = Command::new("git")
        .args(["config", "--get", "gitback.pushWait"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failures::push_wait_unreadable(&error.to_string()))?;
    let Some(output) = git.stdout.take() else {
        return Ok(None);
    };

    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut value = Vec::new();
        let read = output
            .take(VALUE_MAX)
            .read_to_end(&mut value)
            .map(|_| value);
        // The receiver may have given up.
        let _ = sender.send(read);
    });
    let Ok(read) = receiver.recv_timeout(GIT_CONFIG_WAIT) else {
        // It may have ended by itself in the meantime; either way it is reaped.
        let _ = git.kill();
        let _ = git.wait();
        return Err(failures::push_wait_unreadable("git config does not end"));
    };
    let unreadable = |error: std::io::Error| failures::push_wait_unreadable(&error.to_string());
    let value = read.map_err(unreadable)?;
    let status = git.wait().map_err(unreadable)?;
    match status.code() {
        Some(0) => Ok(Some(String::from_utf8_lossy(&value).trim().to_owned())),
        // git-config(1): the section or key is invalid or missing.
        Some(1) => Ok(None),
        _ => Err(failures::push_wait_unreadable(&format!(
            "git config ended with {status}"
        ))),
    }
}

/// Reads `1500`, `1500ms`, `3s` or `2m` as milliseconds.
fn parse(value: &str) -> Option<u64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at_checked(digits)?;
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        _ => return None,
    };
    let milliseconds = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (u128::from(milliseconds) <= PUSH_WAIT_MAX.as_millis()).then_some(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        let check = |value, expected| assert_eq!(parse(value), expected, "{value:?}");
        check("0", Some(0));
        check("1500", Some(1500));
        check("1500ms", Some(1500));
        check("3s", Some(3000));
        check("10m", Some(600_000));
        check("600001", None);
        check("11m", None);
        for value in [
            "",
            "s",
            "soon",
            "-3",
            "+3",
            "3 s",
            "3h",
            "1.5s",
            "3S",
            "99999999999999999999s",
        ] {
            check(value, None);
        }
    }
}

//! The pause after wrong passphrases, for all processes of a user together.
//!
//! It slows down somebody who sits at the keyboard. Whoever has a copy of the wrapped key guesses
//! somewhere else, where nobody counts.
//!
//! Source: docs/spec/puddle.md §9.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::wrapped::pretty;

/// So many wrong passphrases in a row go without a pause.
pub const TRIES_FREE: u32 = 3;
/// The pause after as many. Each further wrong one doubles it.
pub const PAUSE_FIRST: Duration = Duration::from_secs(30);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The file, in the puddle's directory.
pub(crate) const TRIES: &str = "tries";
const VERSION: u32 = 1;
/// The longest file that is read, in bytes.
const TRIES_MAX: u64 = 1024;

/// No passphrase can be tried before so much time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// How long.
    pub left: Duration,
}

/// What another wrong passphrase leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// So many wrong ones can follow, the last of which leads to a pause of [`PAUSE_FIRST`].
    Left(u32),
    /// The next one can be tried after so long.
    Pause(Duration),
}

/// A passphrase that is being tried. It counts as wrong until it is known to be right, so that an attempt that is
/// cut off counts too, and several at the same moment do not count as one.
#[derive(Debug)]
#[must_use = "an attempt counts as wrong until the outcome is told"]
pub struct Attempt {
    path: PathBuf,
    /// What the file held.
    before: Option<Form>,
    wrong: u32,
}

/// What the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    wrong: u32,
    last_ms: u64,
}

/// Begins to try a passphrase of the puddle in `dir`, which is there.
///
/// A file that is missing, broken or cannot be written stops nobody. `now_ms` is milliseconds
/// since 1970; where the clock was set back, the pause begins anew, and so ends.
///
/// # Errors
///
/// [`Paused`] if there were too many wrong ones.
pub fn attempt(dir: &Path, now_ms: u64) -> Result<Attempt, Paused> {
    let path = dir.join(TRIES);
    let uncounted = |path| Attempt {
        path,
        before: None,
        wrong: 1,
    };
    let Ok(mut file) = open(&path) else {
        return Ok(uncounted(path));
    };
    let before = read(&mut file);
    if let Some(before) = before {
        let last_ms = before.last_ms.min(now_ms);
        let end_ms = last_ms.saturating_add(millis(pause(before.wrong)));
        if end_ms > now_ms {
            let set_back = Form { last_ms, ..before };
            if set_back == before || write(&mut file, set_back).is_ok() {
                let left = Duration::from_millis(end_ms - now_ms);
                return Err(Paused { left });
            }
        }
    }
    let wrong = before.map_or(0, |before| before.wrong).saturating_add(1);
    let counted = Form {
        version: VERSION,
        wrong,
        last_ms: now_ms,
    };
    match write(&mut file, counted) {
        Ok(()) => Ok(Attempt {
            path,
            before,
            wrong,
        }),
        // Where it cannot be counted, it is not.
        Err(_) => Ok(uncounted(path)),
    }
}

/// Whether a passphrase can be tried now. Counts nothing.
///
/// # Errors
///
/// [`Paused`] if there were too many wrong ones.
pub fn check(dir: &Path, now_ms: u64) -> Result<(), Paused> {
    attempt(dir, now_ms).map(Attempt::undecided)
}

impl Attempt {
    /// It was right: nothing is counted any more.
    pub fn right(self) {
        // Where it stays, the next attempt finds an old count and not more.
        let _ = fs::remove_file(&self.path);
    }

    /// It was wrong, which is counted already. Says what comes next.
    #[must_use]
    pub fn wrong(self) -> Standing {
        match TRIES_FREE.saturating_sub(self.wrong) {
            0 => Standing::Pause(pause(self.wrong)),
            left => Standing::Left(left),
        }
    }

    /// It was not found out, for another reason: this one does not count.
    pub fn undecided(self) {
        let Some(before) = self.before else {
            return self.right();
        };
        if let Ok(mut file) = open(&self.path) {
            // As above.
            let _ = write(&mut file, before);
        }
    }
}

/// The pause after so many wrong ones in a row.
fn pause(wrong: u32) -> Duration {
    let Some(doublings) = wrong.checked_sub(TRIES_FREE) else {
        return Duration::ZERO;
    };
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    PAUSE_FIRST.saturating_mul(factor).min(PAUSE_MAX)
}

/// Opens the file, made where it is missing, and waits for whoever else is counting: for that long nobody derives
/// anything.
fn open(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.lock()?;
    Ok(file)
}

/// What was counted; nothing where the file says nothing that can be.
fn read(file: &mut File) -> Option<Form> {
    let mut bytes = Vec::new();
    file.take(TRIES_MAX).read_to_end(&mut bytes).ok()?;
    let form: Form = serde_json::from_slice(&bytes).ok()?;
    (form.version == VERSION).then_some(form)
}

fn write(file: &mut File, form: Form) -> io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&pretty(&form))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const SECOND: u64 = 1000;

    fn home() -> TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[track_caller]
    fn wrong(home: &TempDir, now_ms: u64) -> Standing {
        attempt(home.path(), now_ms).expect("no pause").wrong()
    }

    #[track_caller]
    fn left(home: &TempDir, now_ms: u64) -> u64 {
        let paused = attempt(home.path(), now_ms).expect_err("a pause");
        paused.left.as_secs()
    }

    /// Three wrong ones, the last of which leads to a pause.
    fn paused(home: &TempDir) {
        assert_eq!(wrong(home, NOW_MS), Standing::Left(2));
        assert_eq!(wrong(home, NOW_MS), Standing::Left(1));
        assert_eq!(wrong(home, NOW_MS), Standing::Pause(PAUSE_FIRST));
    }

    #[test]
    fn three_are_free_and_then_the_pauses_double() {
        let home = home();
        paused(&home);
        let mut now = NOW_MS;
        for (before, after) in [
            (30, 60),
            (60, 120),
            (120, 240),
            (240, 480),
            (480, 600),
            (600, 600),
        ] {
            assert_eq!(left(&home, now), before);
            assert_eq!(left(&home, now + (before - 1) * SECOND), 1);
            now += before * SECOND;
            let next = Standing::Pause(Duration::from_secs(after));
            assert_eq!(wrong(&home, now), next);
        }
    }

    #[test]
    fn a_right_one_ends_it() {
        let home = home();
        assert_eq!(wrong(&home, NOW_MS), Standing::Left(2));
        attempt(home.path(), NOW_MS).expect("no pause").right();
        assert!(!home.path().join(TRIES).exists());
        paused(&home);
    }

    #[test]
    fn what_was_not_found_out_does_not_count() {
        let home = home();
        attempt(home.path(), NOW_MS).expect("no pause").undecided();
        assert!(!home.path().join(TRIES).exists());
        assert_eq!(wrong(&home, NOW_MS), Standing::Left(2));
        attempt(home.path(), NOW_MS).expect("no pause").undecided();
        assert_eq!(wrong(&home, NOW_MS), Standing::Left(1));
        assert_eq!(wrong(&home, NOW_MS), Standing::Pause(PAUSE_FIRST));
        let later = NOW_MS + 30 * SECOND;
        for _ in 0..3 {
            check(home.path(), later).expect("the pause is over, and looking begins no other");
        }
        assert_eq!(
            wrong(&home, later),
            Standing::Pause(Duration::from_secs(60))
        );
    }

    #[test]
    fn several_at_the_same_moment_count_each() {
        let home = home();
        let begun: Vec<Attempt> = (0..3)
            .map(|_| attempt(home.path(), NOW_MS).expect("no pause"))
            .collect();
        assert_eq!(left(&home, NOW_MS), 30);
        drop(begun);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let home = home();
        paused(&home);
        let earlier = NOW_MS - 24 * 3600 * SECOND;
        assert_eq!(left(&home, earlier), 30);
        assert_eq!(left(&home, earlier + 29 * SECOND), 1);
        assert_eq!(
            wrong(&home, earlier + 30 * SECOND),
            Standing::Pause(Duration::from_secs(60))
        );
    }

    #[test]
    fn the_file_is_private_and_a_broken_one_counts_nothing() {
        let home = home();
        let path = home.path().join(TRIES);
        paused(&home);
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(
            text,
            "{\n  \"version\": 1,\n  \"wrong\": 3,\n  \"last_ms\": 1700000000000\n}\n"
        );
        let later = text.replace("\"version\": 1", "\"version\": 2");
        for broken in [&b""[..], b"{", b"\xff", later.as_bytes(), &[b' '; 5000]] {
            fs::write(&path, broken).expect("written");
            assert_eq!(wrong(&home, NOW_MS), Standing::Left(2));
        }
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a directory of that name");
        for _ in 0..5 {
            assert_eq!(wrong(&home, NOW_MS), Standing::Left(2));
        }
    }
}

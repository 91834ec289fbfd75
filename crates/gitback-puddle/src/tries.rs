//! The pause after wrong passphrases, for all processes of a user together.
//!
//! It slows down somebody who sits at the keyboard. Whoever has a copy of the wrapped key guesses
//! somewhere else, where nobody counts.
//!
//! Source: docs/spec/puddle.md §9.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

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

/// How long an attempt waits for those before it. One takes a second or two; changing the passphrase of many keys is one.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often it looks.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// No passphrase can be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// Too many in a row were wrong.
    Wrong {
        /// How long it lasts.
        left: Duration,
    },
    /// Another process is trying one all the time.
    Busy,
}

/// What another wrong passphrase leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// So many wrong ones can follow, the last of which leads to a pause of [`PAUSE_FIRST`].
    Left(u32),
    /// The next one can be tried after so long.
    Pause(Duration),
}

/// A passphrase that is being tried, while all others wait. It counts as wrong until it is known to be right, so that an
/// attempt that is cut off counts too; and since no other begins before its outcome is known, none is judged by it too early.
#[derive(Debug)]
#[must_use = "an attempt counts as wrong until the outcome is told"]
pub struct Attempt {
    /// Locked until this is dropped. None where nothing can be counted.
    file: Option<File>,
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

/// Begins to try a passphrase of the puddle in `dir`, which is there. Waits for whoever is trying one.
///
/// A file that is missing, broken or cannot be written stops nobody. `now_ms` is milliseconds
/// since 1970; where the clock was set back, the pause begins anew, and so ends.
///
/// # Errors
///
/// [`Paused`] if there were too many wrong ones, or somebody else does not come to an end.
pub fn attempt(dir: &Path, now_ms: u64) -> Result<Attempt, Paused> {
    attempt_within(dir, now_ms, LOCK_WAIT_MAX)
}

fn attempt_within(dir: &Path, now_ms: u64, wait: Duration) -> Result<Attempt, Paused> {
    let uncounted = Attempt {
        file: None,
        before: None,
        wrong: 1,
    };
    let Ok(mut file) = open(&dir.join(TRIES), OFlags::RDWR | OFlags::CREATE) else {
        return Ok(uncounted);
    };
    let waited = match lock(&file, wait) {
        Ok(waited) => waited,
        Err(LockFault::Busy) => return Err(Paused::Busy),
        Err(LockFault::Impossible) => return Ok(uncounted),
    };
    let now_ms = now_ms.saturating_add(millis(waited));
    let before = read(&mut file);
    if let Some(before) = before
        && let Some(left) = before.left(now_ms)
    {
        let last_ms = before.last_ms.min(now_ms);
        let set_back = Form { last_ms, ..before };
        if set_back == before || write(&mut file, set_back).is_ok() {
            return Err(Paused::Wrong { left });
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
            file: Some(file),
            before,
            wrong,
        }),
        // Where it cannot be counted, it is not.
        Err(_) => Ok(uncounted),
    }
}

/// Whether a passphrase can be tried now. Counts nothing and changes nothing.
///
/// While one is being tried, its outcome is not known, and this one will wait for it: that is no pause.
///
/// # Errors
///
/// [`Paused::Wrong`] if there were too many wrong ones.
pub fn check(dir: &Path, now_ms: u64) -> Result<(), Paused> {
    let Ok(mut file) = open(&dir.join(TRIES), OFlags::RDONLY) else {
        return Ok(());
    };
    if file.try_lock_shared().is_err() {
        return Ok(());
    }
    let left = read(&mut file).and_then(|form| form.left(now_ms));
    left.map_or(Ok(()), |left| Err(Paused::Wrong { left }))
}

impl Form {
    /// What is left of the pause, if there is one.
    fn left(&self, now_ms: u64) -> Option<Duration> {
        let last_ms = self.last_ms.min(now_ms);
        let end_ms = last_ms.saturating_add(millis(pause(self.wrong)));
        let left = end_ms.checked_sub(now_ms).filter(|left| *left > 0);
        left.map(Duration::from_millis)
    }
}

impl Attempt {
    /// It was right: nothing is counted any more.
    pub fn right(self) {
        if let Some(file) = &self.file {
            // Emptied and not removed: whoever waits has it open. Where that fails, the next attempt finds an old count
            // and not more.
            let _ = file.set_len(0);
        }
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
        match (self.file, self.before) {
            // Nobody has counted in between: the file is still locked.
            (Some(mut file), Some(before)) => {
                let _ = write(&mut file, before);
            }
            (Some(file), None) => {
                let _ = file.set_len(0);
            }
            (None, _) => {}
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

/// Opens what is a file and no link.
fn open(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Why the file is not locked.
enum LockFault {
    /// Somebody else has it, and goes on having it.
    Busy,
    /// Nobody can.
    Impossible,
}

/// Locks the file; says how long that took.
fn lock(file: &File, wait: Duration) -> Result<Duration, LockFault> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(begun.elapsed()),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= wait => {
                return Err(LockFault::Busy);
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
            Err(TryLockError::Error(_)) => return Err(LockFault::Impossible),
        }
    }
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
    use std::fs;
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
        match attempt(home.path(), now_ms).expect_err("a pause") {
            Paused::Wrong { left } => left.as_secs(),
            Paused::Busy => panic!("nobody else is there"),
        }
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
        assert_eq!(fs::read(home.path().join(TRIES)).expect("the file"), b"");
        paused(&home);
    }

    #[test]
    fn what_was_not_found_out_does_not_count() {
        let home = home();
        attempt(home.path(), NOW_MS).expect("no pause").undecided();
        assert_eq!(fs::read(home.path().join(TRIES)).expect("the file"), b"");
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
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| drop(attempt(home.path(), NOW_MS).expect("no pause")));
            }
        });
        assert!(left(&home, NOW_MS) >= 30, "three were cut off");
    }

    #[test]
    fn right_ones_at_the_same_moment_do_not_pause_each_other() {
        let home = home();
        assert_eq!(wrong(&home, NOW_MS), Standing::Left(2));
        assert_eq!(wrong(&home, NOW_MS), Standing::Left(1));
        let first = attempt(home.path(), NOW_MS).expect("no pause");
        check(home.path(), NOW_MS).expect("its outcome is not known");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| attempt(home.path(), NOW_MS).expect("no pause").right());
            }
            first.right();
        });
        assert_eq!(wrong(&home, NOW_MS), Standing::Left(2));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let home = home();
        let first = attempt(home.path(), NOW_MS).expect("no pause");
        let busy = attempt_within(home.path(), NOW_MS, Duration::ZERO).expect_err("busy");
        assert_eq!(busy, Paused::Busy);
        first.undecided();
        attempt(home.path(), NOW_MS).expect("no pause").right();
    }

    #[test]
    fn looking_changes_nothing() {
        let home = home();
        check(home.path(), NOW_MS).expect("no pause");
        assert!(!home.path().join(TRIES).exists());
        paused(&home);
        let before = fs::read(home.path().join(TRIES)).expect("the file");
        // Also where the clock was set back.
        for now_ms in [NOW_MS, NOW_MS - 24 * 3600 * SECOND] {
            let seconds = check(home.path(), now_ms).expect_err("a pause");
            let left = Duration::from_secs(30);
            assert_eq!(seconds, Paused::Wrong { left });
        }
        let after = fs::read(home.path().join(TRIES)).expect("the file");
        assert_eq!(before, after);
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

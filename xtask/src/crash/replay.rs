//! What a disk holds after a crash before any step of a trace.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use gitback_tests::Stop;

use super::Arguments;
use super::disk::{Act, Disk, FileId};
use super::strace::Step;
use crate::show;

/// How many crashes there are between two lines that say how far it is.
const TELL_EVERY: usize = 200;

/// After so many that show something wrong, the others would not say more.
const FAILED_MAX: usize = 20;

/// What of that which was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// All: the process was killed.
    Nothing,
    /// None of it.
    Everything,
    /// What the lot says.
    Drawn(u64),
}

/// A disk, and what has happened to it.
pub(super) struct Replay {
    base: Disk,
    steps: Vec<Step>,
    /// For each step, the one that makes it durable.
    covers: Vec<Option<usize>>,
}

/// One crash.
pub(super) struct Crash {
    /// What is left.
    pub(super) disk: Disk,
    /// It came at the latest now, in seconds since the epoch.
    pub(super) time: f64,
    /// Which one of all it is.
    pub(super) point: usize,
}

/// What came of crashes, and with what they were followed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) points: usize,
    pub(super) failed: usize,
    pub(super) seconds: f64,
    /// The push that had been under way, made again.
    pub(super) again: usize,
    /// Another push.
    pub(super) probed: usize,
    /// The return of the other envoy, and both came to hold the same.
    pub(super) met: usize,
}

impl Counts {
    /// Those of another trace as well.
    pub(super) fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.failed += other.failed;
        self.seconds += other.seconds;
        self.again += other.again;
        self.probed += other.probed;
        self.met += other.met;
    }

    /// "123 crashes in 45 s, 15 of them followed by another push, 0 failed".
    pub(super) fn says(&self) -> String {
        let (points, failed, seconds) = (self.points, self.failed, self.seconds);
        let followed = [
            (self.again, "the push that was under way"),
            (self.probed, "another push"),
            (self.met, "the return of the other envoy"),
        ];
        let followed = followed.iter().filter(|(count, _)| *count > 0);
        let followed = followed.map(|(count, by)| format!(", {count} of them followed by {by}"));
        let followed: String = followed.collect();
        format!("{points} crashes in {seconds:.0} s{followed}, {failed} failed")
    }

    /// Prints what came of all crashes; fails, if one showed something wrong.
    pub(super) fn conclude(&self) -> Result<()> {
        if self.failed > 0 {
            bail!("{}", self.says());
        }
        show::line(&self.says())
    }
}

impl Replay {
    pub(super) fn new(base: Disk, steps: Vec<Step>) -> Self {
        let covers = covers(&steps);
        Self {
            base,
            steps,
            covers,
        }
    }

    /// "123 changes of files, of which 45 are syncs".
    pub(super) fn size(&self) -> String {
        let syncs = self.steps.iter().filter(|step| step.act.is_sync()).count();
        let changes = self.steps.len();
        format!("{changes} changes of files, of which {syncs} are syncs")
    }

    /// Has every crash looked at, and tells of each that shows something wrong.
    pub(super) fn walk(
        &self,
        arguments: &Arguments,
        stop: &Stop,
        mut look: impl FnMut(&Crash, &mut Counts) -> Result<()>,
    ) -> Result<Counts> {
        let mut losses = vec![Loss::Nothing, Loss::Everything];
        losses.extend((0..arguments.draws).map(Loss::Drawn));
        let every = usize::try_from(arguments.every).unwrap_or(usize::MAX);
        let (begun, mut counts) = (Instant::now(), Counts::default());
        let end = self.steps.len();
        // Always at the end as well: by then all has been reported as done.
        for at in (0..end).step_by(every).chain([end]) {
            for loss in &losses {
                let crash = Crash {
                    disk: self.after(at, *loss, arguments.seed),
                    time: self.steps.get(at).map_or(f64::INFINITY, |step| step.time),
                    point: counts.points,
                };
                let looked = look(&crash, &mut counts);
                if stop.asked() {
                    bail!("stopped: {}", counts.says());
                }
                if let Err(error) = looked {
                    counts.failed += 1;
                    let last = said(at.checked_sub(1).and_then(|last| self.steps.get(last)));
                    let line = format!("FAILED after step {at}, {loss:?}, {last}: {error:#}");
                    show::line(&line)?;
                }
                counts.points += 1;
                counts.seconds = begun.elapsed().as_secs_f64();
                if counts.failed >= FAILED_MAX {
                    bail!("enough has failed: {}", counts.says());
                }
                if counts.points.is_multiple_of(TELL_EVERY) {
                    show::line(&counts.says())?;
                }
            }
        }
        Ok(counts)
    }

    /// The disk after a crash before step `at`.
    fn after(&self, at: usize, loss: Loss, seed: u64) -> Disk {
        let mut disk = self.base.clone();
        let number = match loss {
            Loss::Drawn(number) => number,
            Loss::Nothing | Loss::Everything => 0,
        };
        let mut lot = Lot::new(seed ^ (at as u64) << 20 ^ number);
        for (step, cover) in self.steps.iter().zip(&self.covers).take(at) {
            let is_durable = cover.is_some_and(|cover| cover < at);
            let drawn = lot.draw();
            let (survives, torn) = match (loss, &step.act) {
                (Loss::Nothing, _) => (true, None),
                _ if is_durable => (true, None),
                (Loss::Everything, _) => (false, None),
                (Loss::Drawn(_), Act::Write { bytes, .. }) if drawn.is_multiple_of(4) => {
                    let whole = bytes.len() + 1;
                    let torn = usize::try_from(drawn >> 8).unwrap_or(0) % whole;
                    (true, Some(torn))
                }
                (Loss::Drawn(_), _) => (drawn.is_multiple_of(2), None),
            };
            if survives {
                disk.apply(&step.act, torn);
            }
        }
        disk
    }
}

fn said(step: Option<&Step>) -> String {
    match step.map(|step| &step.act) {
        None => "the beginning".to_owned(),
        Some(Act::Write { file, at, bytes }) => {
            format!("{} bytes at {at} of {file:?}", bytes.len())
        }
        Some(act) => format!("{act:?}"),
    }
}

/// The syncs of one file or folder, the last one first: which step each is, and how many steps were done when it began.
#[derive(Debug, Default)]
struct Syncs(Vec<(usize, usize)>);

impl Syncs {
    /// The first that covers step `at`: it began later.
    fn cover(&self, at: usize) -> Option<usize> {
        let mut syncs = self.0.iter().rev();
        let cover = syncs.find(|(_, begun)| at < *begun);
        cover.map(|(sync, _)| *sync)
    }
}

/// For each step, the step that makes it durable. A sync covers what was done before it began.
fn covers(steps: &[Step]) -> Vec<Option<usize>> {
    let mut files: BTreeMap<FileId, Syncs> = BTreeMap::new();
    let mut folders: BTreeMap<PathBuf, Syncs> = BTreeMap::new();
    let mut covers = vec![None; steps.len()];
    for (at, step) in steps.iter().enumerate().rev() {
        let sync = (at, step.begun);
        match &step.act {
            Act::SyncFile { file } => files.entry(*file).or_default().0.push(sync),
            Act::SyncFolder { path } => folders.entry(path.clone()).or_default().0.push(sync),
            act => {
                let content = act.content().and_then(|file| files.get(&file)?.cover(at));
                // A rename is one change, wherever it shows.
                let names = act.folders().into_iter();
                let names = names.filter_map(|path| folders.get(path)?.cover(at));
                if let Some(place) = covers.get_mut(at) {
                    *place = content.or_else(|| names.min());
                }
            }
        }
    }
    covers
}

/// Numbers by lot, the same for the same seed. Source: splitmix64, public domain, S. Vigna.
pub(super) struct Lot(u64);

impl Lot {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Steps that each begin when the one before has ended.
    fn steps(acts: Vec<Act>) -> Vec<Step> {
        let step = |(begun, act)| Step {
            time: 0.0,
            begun,
            act,
        };
        acts.into_iter().enumerate().map(step).collect()
    }

    fn write(file: FileId) -> Act {
        let bytes = b"x".to_vec();
        Act::Write { file, at: 0, bytes }
    }

    #[test]
    fn a_sync_covers_what_was_done_before_it_began_and_nothing_later() {
        let file = Disk::default().new_file();
        let sync = || Act::SyncFile { file };
        let mut done = steps(vec![write(file), write(file), sync(), sync()]);
        assert_eq!(covers(&done), [Some(2), Some(2), None, None]);
        // The first sync was under way already when the second write came.
        done[2].begun = 1;
        assert_eq!(covers(&done), [Some(2), Some(3), None, None]);
    }

    #[test]
    fn a_name_in_a_folder_that_was_not_synced_is_lost_with_it() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, name) = (root.path().join("new"), root.path().join("new/file"));
        let mut base = Disk::of(root.path()).expect("nothing is there");
        let file = base.new_file();
        let sync = |path: &Path| Act::SyncFolder {
            path: path.to_owned(),
        };
        let done = steps(vec![
            Act::Make {
                path: folder.clone(),
            },
            Act::Name {
                path: name.clone(),
                file,
            },
            write(file),
            Act::SyncFile { file },
            sync(&folder),
            sync(root.path()),
        ]);
        let replay = Replay::new(base, done);
        let left = |at, loss| {
            let disk = replay.after(at, loss, 1);
            disk.write(root.path()).expect("written");
            (folder.exists(), std::fs::read(&name).ok())
        };
        let all = || (true, Some(b"x".to_vec()));
        assert_eq!(left(5, Loss::Nothing), all());
        assert_eq!(left(5, Loss::Everything), (false, None));
        assert_eq!(left(6, Loss::Everything), all());
    }
}

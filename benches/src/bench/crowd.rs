//! Many people at the same moment.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gitback_tests::Person;

use super::{Bench, GIT_MAX, Room, Row, spent};
use crate::{Memory, Pairs, median};

/// How many push at the same moment.
const PUSHERS: usize = 10;
/// How many clone at the same moment.
const CLONERS: usize = 20;
/// How often somebody whose push came too late fetches and tries again.
const TRIES_MAX: u32 = 200;
/// The branch that all push to.
const SAME: &str = "the-same";

/// Where a crowd pushes to, and with which option.
#[derive(Debug, Clone, Copy)]
struct Way<'a> {
    to: &'a str,
    wait: &'a [&'a str],
}

impl Bench {
    /// Ten pushes to ten branches, ten to one until all are through, and twenty clones, each at the same moment, and the
    /// same to one plain repository.
    pub(super) fn crowds(
        &mut self,
        runs: u32,
        rows: &mut Vec<Row>,
        rooms: &mut Vec<Room>,
    ) -> Result<()> {
        Memory::forget_peak(self.pid(0)?)?;
        rows.push(self.branches_at_once(runs)?);
        rows.push(self.same_branch(runs)?);
        let peak = |memory: &Memory| memory.peak_kib;
        rooms.push(self.room("peak, ten pushes at once", 0, peak)?);
        Memory::forget_peak(self.pid(1)?)?;
        rows.push(self.clones_at_once(runs)?);
        rooms.push(self.room("peak, twenty clones at once", 1, peak)?);
        Ok(())
    }

    fn branches_at_once(&mut self, runs: u32) -> Result<Row> {
        let bare = self.bare(0).to_string_lossy().into_owned();
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        for _ in 0..runs.max(1) {
            let mut changes = Vec::new();
            for branch in 0..PUSHERS {
                self.commit()?;
                changes.push(format!("{}:refs/heads/at-once-{branch}", self.tip()?));
            }
            let push = |way: Way<'_>| {
                at_once(PUSHERS, |index| {
                    let change = changes.get(index).context("a change for each")?;
                    let push = ["push", "--quiet", "--force"].iter().chain(way.wait);
                    let args: Vec<&str> = push.copied().chain([way.to, change]).collect();
                    self.git(&args).map(drop)
                })
            };
            let plain = push(plain(&bare))?;
            let before = self.cpu()?;
            let ours = push(OURS)?;
            self.wait_for_copies("bench-0", 3)?;
            cpu.push(spent(&before, &self.cpu()?));
            pairs.add(plain, ours);
        }
        Ok(Row {
            what: "10 pushes to 10 branches at once, each on 3 envoys",
            reference: "the same to one bare repository",
            target: None,
            pairs,
            cpu: Some(median(&cpu)),
        })
    }

    /// Ten clones with a commit each push it to one branch; who comes too late rebases, and tries again until it is through.
    fn same_branch(&mut self, runs: u32) -> Result<Row> {
        let bare = self.bare(0).to_string_lossy().into_owned();
        let refs = format!("HEAD:refs/heads/{SAME}");
        self.commit()?;
        self.git(&["push", "--quiet", "--force", &bare, &refs])?;
        self.git(&["push", "--quiet", "--force", "gitback", &refs])?;
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        let dir = self.fleet.dir().join("crowd");
        for run in 0..runs.max(1) {
            let plain = self.through(&dir, plain(&bare), run)?;
            let before = self.cpu()?;
            let ours = self.through(&dir, OURS, run)?;
            self.wait_for_copies("bench-0", 3)?;
            cpu.push(spent(&before, &self.cpu()?));
            pairs.add(plain, ours);
        }
        Ok(Row {
            what: "10 pushes to one branch at once, until all are on 3 envoys",
            reference: "the same to one bare repository",
            target: None,
            pairs,
            cpu: Some(median(&cpu)),
        })
    }

    fn through(&self, dir: &Path, way: Way<'_>, run: u32) -> Result<Duration> {
        let url = match way.to {
            "gitback" => "gitback://dan/bench-0",
            path => path,
        };
        std::fs::create_dir_all(dir)?;
        let person = self.person(0);
        let clones: Vec<PathBuf> = (0..PUSHERS)
            .map(|index| dir.join(index.to_string()))
            .collect();
        for (index, clone) in clones.iter().enumerate() {
            let path = clone.to_string_lossy();
            // The objects are here already, and are not what is measured.
            let shared = self.work.to_string_lossy();
            let args = [
                "clone",
                "--quiet",
                "--reference",
                &shared,
                "--branch",
                SAME,
                "--single-branch",
            ];
            git(
                person,
                dir,
                &[&args[..], &["--no-checkout", url, &path]].concat(),
            )?;
            git(person, clone, &["read-tree", "HEAD"])?;
            let message = format!("run {run}, number {index}");
            git(
                person,
                clone,
                &["commit", "--quiet", "--allow-empty", "-m", &message],
            )?;
        }
        let took = at_once(PUSHERS, |index| {
            let clone = clones.get(index).context("a clone for each")?;
            until_through(person, clone, way)
        })?;
        let first = clones.first().context("a clone")?;
        git(person, first, &["fetch", "--quiet", "origin", SAME])?;
        let of_run = format!("--grep=^run {run}, number ");
        let found = git_text(
            person,
            first,
            &["rev-list", "--count", &of_run, "FETCH_HEAD"],
        )?;
        if found != PUSHERS.to_string() {
            bail!("{found} of {PUSHERS} pushes are there");
        }
        std::fs::remove_dir_all(dir)?;
        Ok(took)
    }

    fn clones_at_once(&self, runs: u32) -> Result<Row> {
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        let clone = |url: &str| {
            at_once(CLONERS, |index| {
                self.clone(url, &format!("at-once-{index}")).map(drop)
            })
        };
        for _ in 0..runs.max(1) {
            let plain = clone(&self.file(0))?;
            let before = self.cpu()?;
            pairs.add(plain, clone("gitback://dan/bench-0")?);
            cpu.push(spent(&before, &self.cpu()?));
        }
        Ok(Row {
            what: "20 clones at once, from one envoy",
            reference: "20 times git clone --no-local file://",
            target: None,
            pairs,
            cpu: Some(median(&cpu)),
        })
    }
}

const OURS: Way<'_> = Way {
    to: "gitback",
    wait: &["-o", "gitback.wait=2"],
};

fn plain(bare: &str) -> Way<'_> {
    Way {
        to: bare,
        wait: &[],
    }
}

/// Pushes an empty commit, on top of whatever others have pushed.
fn until_through(person: &Person, clone: &Path, way: Way<'_>) -> Result<()> {
    let refs = format!("HEAD:refs/heads/{SAME}");
    let push = ["push", "--quiet"].iter().chain(way.wait);
    let push: Vec<&str> = push.copied().chain(["origin", &refs]).collect();
    for _ in 0..TRIES_MAX {
        let pushed = person.git(clone, push.clone()).deadline(GIT_MAX).run()?;
        if pushed.success().is_ok() {
            return Ok(());
        }
        git(person, clone, &["fetch", "--quiet", "origin", SAME])?;
        // The commit is empty, so that its tree is that of whatever it is on top of.
        let message = git_text(person, clone, &["log", "-1", "--format=%s"])?;
        let tree = "FETCH_HEAD^{tree}";
        let args = ["commit-tree", "-p", "FETCH_HEAD", "-m", &message, tree];
        let next = git_text(person, clone, &args)?;
        git(person, clone, &["update-ref", "HEAD", &next])?;
    }
    bail!("not through after {TRIES_MAX} tries")
}

fn git(person: &Person, dir: &Path, args: &[&str]) -> Result<()> {
    person.git(dir, args).deadline(GIT_MAX).run()?.success()?;
    Ok(())
}

fn git_text(person: &Person, dir: &Path, args: &[&str]) -> Result<String> {
    let found = person.git(dir, args).run()?.success()?;
    Ok(found.stdout.trim().to_owned())
}

/// Does something so many times at the same moment; how long it takes until all have done it.
fn at_once(count: usize, act: impl Fn(usize) -> Result<()> + Sync) -> Result<Duration> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = (0..count)
            .map(|index| scope.spawn(move || act(index)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread panicked"),
            })
    })?;
    Ok(begun.elapsed())
}

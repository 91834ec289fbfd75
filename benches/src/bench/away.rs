//! An envoy that was away.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, GIT_MAX, LOOK, Row, repositories};
use crate::Pairs;
use crate::start::{bare_start, since_beginning};

/// How many pushes an envoy misses.
const MISSED: u32 = 50;

/// What an envoy does after its start: with the start of its daemon, and without.
///
/// A daemon begins with what it missed before it says that it is ready, so that a clock which runs from there would not
/// count all of it. What counts instead is how much longer it takes than the start of one that has missed nothing.
#[derive(Debug, Default)]
struct Since {
    beyond: Pairs,
    whole: Pairs,
}

impl Since {
    fn add(&mut self, plain: Duration, whole: Duration, start: Duration) {
        self.beyond.add(plain, whole.saturating_sub(start));
        self.whole.add(plain, whole);
    }

    fn rows(self, what: &'static str, reference: &'static str) -> [Row; 2] {
        let row = |what, target, pairs| Row {
            what,
            reference,
            target,
            pairs,
            cpu: None,
        };
        [
            row(what, Some(0.5), self.beyond),
            row("the same, with the daemon's start", None, self.whole),
        ]
    }
}

impl Bench {
    /// The same push while all are there and after one of the three went away. The first push after that does not count:
    /// its envoy may still learn of it.
    pub(super) fn one_away(&mut self, runs: u32) -> Result<Row> {
        let mut pairs = Pairs::default();
        for _ in 0..runs.max(1) {
            self.small_push(3)?;
            let all = self.small_push(3)?;
            self.fleet.envoy_mut(2).kill()?;
            self.small_push(2)?;
            pairs.add(all, self.small_push(2)?);
            self.fleet.restart(2)?;
            self.wait_for_copies("bench-0", 3)?;
        }
        Ok(Row {
            what: "one-commit push, one of the three away",
            reference: "the same, all there",
            target: Some(1.1),
            pairs,
            cpu: None,
        })
    }

    fn small_push(&mut self, copies: u64) -> Result<Duration> {
        self.commit()?;
        let took = self.git(&["push", "--quiet", "gitback", "HEAD"])?;
        self.wait_for_copies("bench-0", copies)?;
        Ok(took)
    }

    /// Fifty pushes while an envoy is away, until it serves them.
    pub(super) fn catch_ups(&mut self, runs: u32) -> Result<[Row; 2]> {
        let mut since = Since::default();
        let bare = self.bare(0).to_string_lossy().into_owned();
        let behind = self.fleet.dir().join("behind.git");
        let (from, to) = (self.file(0), behind.to_string_lossy().into_owned());
        self.git(&["push", "--quiet", &bare, "HEAD:refs/heads/missed"])?;
        self.git(&["clone", "--quiet", "--bare", &from, &to])?;
        for _ in 0..runs.max(1) {
            let start = bare_start(&mut self.fleet, 2)?;
            self.wait_for_copies("bench-0", 3)?;
            self.fleet.envoy_mut(2).kill()?;
            for _ in 0..MISSED {
                self.commit()?;
                let missed = "HEAD:refs/heads/missed";
                self.git(&["push", "--quiet", &bare, missed])?;
                self.git(&["push", "--quiet", "-o", "gitback.wait=0", "gitback", missed])?;
            }
            let fetch = ["fetch", "--quiet", &from, "+missed:missed"];
            let fetch = self.person(0).git(&behind, fetch).deadline(GIT_MAX);
            let plain = fetch.run()?.success()?.took;
            let tip = self.tip()?;
            since.add(plain, self.until_at("missed", &tip)?, start);
            self.wait_for_copies("bench-0", 3)?;
        }
        let what = "catch-up after 50 missed pushes, beyond the daemon's start";
        Ok(since.rows(what, "git fetch of them"))
    }

    /// The whole project lost by an envoy, until it serves it again.
    pub(super) fn bring_in(&mut self, runs: u32) -> Result<[Row; 2]> {
        let mut since = Since::default();
        let branch = self.git_text(&["symbolic-ref", "--short", "HEAD"])?;
        for run in 0..runs.max(1) {
            let start = bare_start(&mut self.fleet, 2)?;
            self.wait_for_copies("bench-0", 3)?;
            let plain = self.clone(&self.file(0), &format!("again-{run}"))?;
            self.fleet.envoy_mut(2).kill()?;
            // This project alone is lost; others would come at the same time.
            let root = self.fleet.envoy(2).root().to_owned();
            let held = repositories(&root)?;
            let lost = held
                .iter()
                .find(|bare| bare.join("refs/heads/in-a-row").exists());
            let lost = lost.context("the third envoy does not hold the project")?;
            let id = lost.file_stem().context("a repository without a name")?;
            let logs = root.join("var/lib/vigo/swarm/gitback/envelopes");
            std::fs::remove_dir_all(logs.join(id))?;
            std::fs::remove_dir_all(lost)?;
            let tip = self.tip()?;
            self.git(&["push", "--quiet", "-o", "gitback.wait=0", "gitback", "HEAD"])?;
            since.add(plain, self.until_at(&branch, &tip)?, start);
            self.wait_for_copies("bench-0", 3)?;
        }
        let what = "bringing it in from two peers, beyond the daemon's start";
        Ok(since.rows(what, "git clone --no-local file://"))
    }

    /// Starts the third envoy, and waits until it serves this commit as this branch: how long from the beginning of its
    /// process.
    fn until_at(&mut self, branch: &str, commit: &str) -> Result<Duration> {
        self.fleet.restart(2)?;
        let root = self.fleet.envoy(2).root().to_owned();
        let packed = format!("{commit} refs/heads/{branch}\n");
        gitback_tests::until(GIT_MAX, &format!("{branch} at {commit}"), || {
            std::thread::sleep(LOOK);
            let there = repositories(&root)?.iter().any(|bare| {
                let read =
                    |name: &str| std::fs::read_to_string(bare.join(name)).unwrap_or_default();
                read(&format!("refs/heads/{branch}")).trim() == commit
                    || read("packed-refs").contains(&packed)
            });
            Ok(if there {
                Ok(())
            } else {
                Err("not yet".to_owned())
            })
        })?;
        since_beginning(&self.fleet, 2)
    }
}

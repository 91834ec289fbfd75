//! Clones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use gitback_tests::Invocation;
use serde_json::Value;

use super::{Bench, GIT_MAX, LOOK, Room, Row, processor_time, repositories};
use crate::{Memory, Pairs, median};

/// Runs a command with a file as its standard input.
const READ_FROM: &str = r#"from=$1; shift; exec "$@" <"$from""#;
/// How long an envoy may take to index a project for fetches.
const INDEXED_MAX: Duration = Duration::from_secs(600);

/// What a clone took.
struct Clone {
    took: Duration,
    /// The process that stores the pack, from its start to its end, with waiting for the pack.
    indexing: Duration,
}

/// How long the first process of a git command lasted, by the events that it and others wrote.
fn lasted(events: &str, command: &str) -> Option<Duration> {
    let events = events
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let events: Vec<Value> = events.collect();
    let is = |event: &Value, kind: &str| event["event"] == kind;
    let named = |event: &&Value| is(event, "cmd_name") && event["name"] == command;
    let process = &events.iter().find(named)?["sid"];
    let ended = |event: &&Value| is(event, "atexit") && event["sid"] == *process;
    let seconds = events.iter().find(ended)?["t_abs"].as_f64()?;
    Duration::try_from_secs_f64(seconds).ok()
}

impl Bench {
    /// A clone where the project is held, and what of it is git's own storing of the pack.
    pub(super) fn clones(
        &self,
        runs: u32,
        rows: &mut Vec<Row>,
        rooms: &mut Vec<Room>,
    ) -> Result<()> {
        // Once a project is quiet, an envoy has git index it for fetches.
        gitback_tests::until(INDEXED_MAX, "an index for fetches", || {
            std::thread::sleep(LOOK);
            let held = repositories(self.fleet.envoy(1).root())?;
            let indexed = held
                .iter()
                .all(|path| path.join("objects/info/commit-graph").exists());
            Ok(if indexed {
                Ok(())
            } else {
                Err("none".to_owned())
            })
        })?;
        Memory::forget_peak(self.pid(1)?)?;
        let (mut pairs, mut cpu) = (Pairs::default(), Vec::new());
        let (mut within, mut alone) = (Pairs::default(), Pairs::default());
        let pack = self.pack_of_all()?;
        let daemon = self.pid(1)?;
        for run in 0..runs.max(1) {
            let plain = self.watched_clone(&self.file(0), &format!("plain-{run}"))?;
            let before = processor_time(daemon)?;
            let ours = self.watched_clone("gitback://dan/bench-0", &format!("ours-{run}"))?;
            cpu.push(processor_time(daemon)?.saturating_sub(before));
            pairs.add(plain.took, ours.took);
            within.add(plain.indexing, ours.indexing);
            alone.add(plain.took, self.index(&pack)?);
        }
        std::fs::remove_file(pack)?;
        let whole = "git clone --no-local file://";
        let row = |what, reference, target, pairs, cpu| Row {
            what,
            reference,
            target,
            pairs,
            cpu,
        };
        let cpu = Some(median(&cpu));
        let clone = "clone where the project is held";
        rows.push(row(clone, whole, Some(0.9), pairs, cpu));
        let of_it = "git's index-pack within it, start to end";
        rows.push(row(of_it, "the same within that", None, within, None));
        let from_file = "git index-pack of the same pack from a file";
        rows.push(row(from_file, whole, None, alone, None));
        rooms.push(self.room("peak, serving a clone", 1, |memory| memory.peak_kib)?);
        rooms.push(self.room("idle, afterwards", 1, |memory| memory.now_kib)?);
        Ok(())
    }

    /// The same, and how long git's `index-pack` lasted in it. Source: git's `api-trace2`, the event format.
    fn watched_clone(&self, url: &str, name: &str) -> Result<Clone> {
        let events = self.fleet.dir().join("events");
        let took = self.clone_with(url, name, |clone| clone.env("GIT_TRACE2_EVENT", &events))?;
        let told = std::fs::read_to_string(&events)?;
        std::fs::remove_file(events)?;
        let indexing = lasted(&told, "index-pack").context("git says nothing of index-pack")?;
        Ok(Clone { took, indexing })
    }

    /// Clones as the person of the second envoy, without a work tree: writing files takes the same time on both sides and
    /// would hide a difference.
    pub(super) fn clone(&self, url: &str, name: &str) -> Result<Duration> {
        self.clone_with(url, name, |clone| clone)
    }

    fn clone_with(
        &self,
        url: &str,
        name: &str,
        watch: impl FnOnce(Invocation) -> Invocation,
    ) -> Result<Duration> {
        let dir = self.fleet.dir().join("clones");
        std::fs::create_dir_all(&dir)?;
        let args = ["clone", "--quiet", "--no-local", "--no-checkout", url, name];
        let clone = self.person(1).git(&dir, args).deadline(GIT_MAX);
        let took = watch(clone).run()?.success()?.took;
        std::fs::remove_dir_all(dir.join(name))?;
        Ok(took)
    }

    /// The plain repository as the one pack that a clone is sent.
    fn pack_of_all(&self) -> Result<PathBuf> {
        let prefix = self.fleet.dir().join("whole");
        let prefix = prefix.to_string_lossy();
        let pack = [
            "pack-objects",
            "--all",
            "--delta-base-offset",
            "-q",
            &prefix,
        ];
        let pack = self.person(0).git(&self.bare(0), pack).deadline(GIT_MAX);
        let outcome = pack.run()?.success()?;
        let path = |end| PathBuf::from(format!("{prefix}-{}.{end}", outcome.stdout.trim()));
        std::fs::remove_file(path("idx"))?;
        Ok(path("pack"))
    }

    /// How long git takes to store a pack as it does within a clone.
    fn index(&self, pack: &Path) -> Result<Duration> {
        let into = self.fleet.dir().join("indexed.git");
        let to = into.to_string_lossy();
        self.git(&["init", "--quiet", "--bare", &to])?;
        let index = [
            "index-pack",
            "--stdin",
            "--fix-thin",
            "--check-self-contained-and-connected",
        ];
        let from = pack.to_string_lossy();
        let index = self.person(0).git(&into, index).deadline(GIT_MAX);
        let index = index.under("/bin/sh", ["-c", READ_FROM, "sh", &from]);
        let took = index.run()?.success()?.took;
        std::fs::remove_dir_all(into)?;
        Ok(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_git_lasts_until_it_says_so() {
        let events = concat!(
            r#"{"event":"cmd_name","sid":"a","name":"clone"}"#,
            "\n",
            r#"{"event":"cmd_name","sid":"a/b","name":"index-pack"}"#,
            "\nnot an event\n",
            r#"{"event":"atexit","sid":"a/b","t_abs":1.25}"#,
            "\n",
            r#"{"event":"atexit","sid":"a","t_abs":2.5}"#,
            "\n",
        );
        assert_eq!(lasted(events, "clone"), Some(Duration::from_millis(2500)));
        assert_eq!(
            lasted(events, "index-pack"),
            Some(Duration::from_millis(1250))
        );
        assert_eq!(lasted(events, "fsck"), None);
    }
}

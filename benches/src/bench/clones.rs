//! Clones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::{Bench, GIT_MAX, LOOK, Room, Row, repositories};
use crate::{Memory, Pairs};

/// Runs a command with a file as its standard input.
const READ_FROM: &str = r#"from=$1; shift; exec "$@" <"$from""#;
/// How long an envoy may take to index a project for fetches.
const INDEXED_MAX: Duration = Duration::from_secs(600);

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
        let (mut pairs, mut indexing) = (Pairs::default(), Pairs::default());
        let pack = self.pack_of_all()?;
        for run in 0..runs.max(1) {
            let plain = self.clone(&self.file(0), &format!("plain-{run}"))?;
            let ours = self.clone("gitback://dan/bench-0", &format!("ours-{run}"))?;
            pairs.add(plain, ours);
            indexing.add(plain, self.index(&pack)?);
        }
        std::fs::remove_file(pack)?;
        let reference = "git clone --no-local file://";
        rows.push(Row {
            what: "clone where the project is held",
            reference,
            target: Some(0.9),
            pairs,
            cpu: None,
        });
        rows.push(Row {
            what: "git index-pack of it alone, which every clone by git contains",
            reference,
            target: None,
            pairs: indexing,
            cpu: None,
        });
        rooms.push(self.room("peak, serving a clone", 1, |memory| memory.peak_kib)?);
        rooms.push(self.room("idle, afterwards", 1, |memory| memory.now_kib)?);
        Ok(())
    }

    /// Clones as the person of the second envoy, without a work tree: writing files takes the same time on both sides and
    /// would hide a difference.
    pub(super) fn clone(&self, url: &str, name: &str) -> Result<Duration> {
        let dir = self.fleet.dir().join("clones");
        std::fs::create_dir_all(&dir)?;
        let args = ["clone", "--quiet", "--no-local", "--no-checkout", url, name];
        let clone = self.person(1).git(&dir, args).deadline(GIT_MAX);
        let took = clone.run()?.success()?.took;
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

//! What lets git serve a large history fast: an index over many packs with reachability bitmaps, and a graph of commits.
//!
//! Both follow from the packs and may be missing or out of date at any time; git then does without.
//!
//! Source: git-multi-pack-index(1), git-commit-graph(1); docs/spec/pack.md §5.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use gix::odb::pack::multi_index;

use crate::git::{self, Finished, Running};
use crate::{Fault, Repository};

/// With fewer objects than this git is as fast without.
const OBJECTS_MIN: u64 = 5_000;
/// They are made anew when there are this many more objects than they cover, or a quarter more.
const OBJECTS_MORE: u64 = 5_000;
/// The index over many packs.
pub(crate) const FILE: &str = "multi-pack-index";
/// How git ends when it does not know an option.
const USAGE: i32 = 129;

/// The packs in the index over many packs, and what goes with it.
#[derive(Debug, Default)]
pub(crate) struct Covered {
    /// Names of packs without suffix.
    pub(crate) stems: BTreeSet<String>,
    has_bitmaps: bool,
    /// It is there and cannot be read.
    is_damaged: bool,
}

impl Covered {
    /// Whether all packs that it names are there.
    pub(crate) fn is_whole(&self, directory: &Path) -> bool {
        let is_there = |stem: &String| {
            ["pack", "idx"]
                .iter()
                .all(|suffix| directory.join(format!("{stem}.{suffix}")).exists())
        };
        !self.is_damaged && self.stems.iter().all(is_there)
    }

    pub(crate) fn read(directory: &Path) -> Result<Self, Fault> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let Ok(index) = multi_index::File::at(&path, None) else {
            return Ok(Self {
                is_damaged: true,
                ..Self::default()
            });
        };
        let stem = |name: &std::path::PathBuf| Some(name.file_stem()?.to_str()?.to_owned());
        let stems = index.index_names().iter().filter_map(stem).collect();
        let mut has_bitmaps = false;
        let entries = fs::read_dir(directory).map_err(Fault::io("list", directory))?;
        for entry in entries {
            let name = entry.map_err(Fault::io("list", directory))?.file_name();
            let name = name.to_string_lossy();
            has_bitmaps |= name.starts_with(FILE) && name.ends_with(".bitmap");
        }
        Ok(Self {
            stems,
            has_bitmaps,
            is_damaged: false,
        })
    }
}

impl Repository {
    /// Makes, if it is worth it, what lets git serve fetches and clones of a large history without walking it. `None` when
    /// there is nothing to gain, when git is too old for it, when somebody else looks after the packs, or when `stop` says so.
    /// Pushes and fetches go on meanwhile.
    ///
    /// Yields how many objects are covered. The packs that are covered stay as they are from then on.
    ///
    /// # Errors
    ///
    /// [`Fault`]; then git serves without, or with what was there before.
    pub fn index_for_serving(&self, stop: &dyn Fn() -> bool) -> Result<Option<u64>, Fault> {
        let Some(_only_one) = self.try_upkeep() else {
            return Ok(None);
        };
        let directory = self.objects_path().join("pack");
        let covered = Covered::read(&directory)?;
        let packs = self.objects()?.sizes();
        let all: u64 = packs.iter().map(|(_, objects)| objects).sum();
        let added: u64 = packs
            .iter()
            .filter(|(stem, _)| !covered.stems.contains(stem))
            .map(|(_, objects)| objects)
            .sum();
        let is_fresh = covered.has_bitmaps && added <= OBJECTS_MORE.max((all - added) / 4);
        let largest = packs.iter().max_by_key(|(_, objects)| objects);
        let Some((largest, _)) = largest.filter(|_| all >= OBJECTS_MIN && !is_fresh) else {
            return Ok(None);
        };
        let preferred = format!("--preferred-pack={largest}.pack");
        let write = [
            "write",
            "--bitmap",
            "--stdin-packs",
            "--no-progress",
            &preferred,
        ];
        let list: String = packs
            .iter()
            .map(|(stem, _)| format!("{stem}.idx\n"))
            .collect();
        let indexed = self.maintain("multi-pack-index", &write, &list, stop)?;
        if !indexed {
            return Ok(None);
        }
        let write = ["write", "--reachable", "--no-progress"];
        let graphed = self.maintain("commit-graph", &write, "", stop)?;
        Ok(graphed.then_some(all))
    }

    /// Runs one of git's commands of maintenance; `false` when it was stopped, or this git does not know it.
    fn maintain(
        &self,
        verb: &'static str,
        arguments: &[&str],
        input: &str,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, Fault> {
        // Nothing else syncs these files, and a torn one would be in the way.
        let mut command = git::command_with(self.path(), verb, &["core.fsync=all"])?;
        command.args(arguments).stdin(Stdio::piped());
        let mut running = Running::spawn(command, verb)?;
        // When it ends before it has read everything, how it ends says why.
        let _ = running.stdin().write_all(input.as_bytes());
        match running.finish_unless(stop)? {
            Some(finished) if finished.succeeded() => Ok(true),
            Some(finished) if is_unknown(&finished) => Ok(false),
            Some(finished) => Err(finished.fault()),
            None => Ok(false),
        }
    }
}

fn is_unknown(finished: &Finished) -> bool {
    finished.status.code() == Some(USAGE)
}

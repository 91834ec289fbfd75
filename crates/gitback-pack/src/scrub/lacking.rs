//! What is not here, and must be: kept on disk until it is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use super::aside::ASIDE;
use crate::git::{self, Running};
use crate::outgoing::missing_object;
use crate::repository::{sync_directory, write_durably};
use crate::{Expect, Fault, Oid, Ref, RefChange, RefError, Reject, Repository};

/// In the folder of what is damaged: the ids of objects that could not be saved, one on each line.
const LIST: &str = "lacking";
/// Beside it: those that nothing leads to and that nobody has, in the same form.
const LOST: &str = "lost";
/// Beside it: hidden refs that wait for what they lead to, an id, a space and a name on each line.
const REFS: &str = "refs";
/// Most that is read of git's list of what is missing, in bytes.
const MISSING_MAX: u64 = 64 * 1024 * 1024;

impl Repository {
    /// Objects that were lost, or that some ref leads to, and that are not here. `None` when `stop` says so.
    ///
    /// # Errors
    ///
    /// [`Fault`] if git cannot tell.
    pub fn lacking(&self, stop: &dyn Fn() -> bool) -> Result<Option<BTreeSet<Oid>>, Fault> {
        let _only_one = self.upkeep();
        self.look_for_lacking(stop)
    }

    /// Whether objects were found to be lacking that have not come since, as far as it is known.
    #[must_use]
    pub fn is_known_to_lack(&self) -> bool {
        self.list_path(LIST).exists()
    }

    /// The same as [`Repository::lacking`], for whoever has the right to look after packs.
    pub(super) fn look_for_lacking(
        &self,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<BTreeSet<Oid>>, Fault> {
        let listed = self.ids(LIST)?;
        let mut lacking = BTreeSet::new();
        let mut tips = Vec::new();
        let waiting = self.waiting_refs()?;
        let led_to = self.refs()?.into_iter().map(|tip| tip.oid);
        let led_to = led_to.chain(waiting.iter().map(|(oid, _)| *oid));
        // What has come again may lead to what has not.
        for oid in led_to.chain(listed.iter().copied()) {
            match self.has(&oid)? {
                true => tips.push(oid),
                false => drop(lacking.insert(oid)),
            }
        }
        let Some(missing) = self.missing(&tips, stop)? else {
            return Ok(None);
        };
        lacking.extend(missing);
        let mut absent = BTreeSet::new();
        for oid in lacking {
            if !self.has(&oid)? {
                absent.insert(oid);
            }
        }
        if absent != listed {
            self.list(LIST, &absent)?;
        }
        // What has come again, and what something leads to now, counts when it is lost again.
        let lost = self.ids(LOST)?;
        let mut still = BTreeSet::new();
        for oid in &lost {
            if !absent.contains(oid) && !self.has(oid)? {
                still.insert(*oid);
            }
        }
        if still != lost {
            self.list(LOST, &still)?;
        }
        if absent.is_empty() && !waiting.is_empty() {
            self.put_back(waiting)?;
        }
        Ok(Some(absent))
    }

    /// No longer counts these objects, which nobody has, as lacking, if all that refs and `named` lead to is here; whether
    /// that is so. `None` when `stop` says so. Their names are kept.
    ///
    /// # Errors
    ///
    /// [`Fault`] if git cannot tell, or the lists cannot be written; then they count as before.
    pub fn give_up(
        &self,
        oids: &BTreeSet<Oid>,
        named: &BTreeSet<Oid>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<bool>, Fault> {
        let _only_one = self.upkeep();
        if !self.waiting_refs()?.is_empty() {
            return Ok(Some(false));
        }
        let mut tips: Vec<Oid> = self.refs()?.into_iter().map(|tip| tip.oid).collect();
        tips.extend(named);
        for tip in &tips {
            if !self.has(tip)? {
                return Ok(Some(false));
            }
        }
        match self.missing(&tips, stop)? {
            None => return Ok(None),
            Some(missing) if !missing.is_empty() => return Ok(Some(false)),
            Some(_) => {}
        }
        let mut listed = self.ids(LIST)?;
        let mut lost = self.ids(LOST)?;
        lost.extend(oids.iter().filter(|oid| listed.contains(*oid)));
        // In this order: what is on both lists counts.
        self.list(LOST, &lost)?;
        listed.retain(|oid| !oids.contains(oid));
        self.list(LIST, &listed)?;
        Ok(Some(true))
    }

    /// Remembers refs that are taken off the disk because what they name is lost: it counts as lacking from now on, and
    /// they are put back when nothing is. They are on disk on return.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`].
    pub fn note_lost_refs(&self, refs: &[Ref]) -> Result<(), Fault> {
        let _only_one = self.upkeep();
        let mut waiting = self.waiting_refs()?;
        waiting.extend(refs.iter().map(|one| (one.oid, one.name.clone())));
        self.list_refs(&waiting)?;
        let oids: Vec<Oid> = refs.iter().map(|one| one.oid).collect();
        self.note_lacking(&oids)
    }

    /// Puts refs back where nothing has taken their place.
    fn put_back(&self, waiting: BTreeSet<(Oid, Vec<u8>)>) -> Result<(), Fault> {
        let mut left = BTreeSet::new();
        for (oid, name) in waiting {
            let change = RefChange {
                name: name.clone(),
                old: Expect::Missing,
                new: Some(oid),
            };
            match self.update_refs(&[change]) {
                Ok(()) | Err(RefError::Stale { .. } | RefError::Name { .. }) => {}
                Err(RefError::Fault(fault)) => return Err(fault),
                Err(_) => drop(left.insert((oid, name))),
            }
        }
        self.list_refs(&left)
    }

    fn waiting_refs(&self) -> Result<BTreeSet<(Oid, Vec<u8>)>, Fault> {
        let parse = |line: &[u8]| {
            let (hex, name) = line.split_at_checked(40)?;
            let name = name.strip_prefix(b" ")?.to_vec();
            Some((Oid::from_hex(hex).ok()?, name))
        };
        let bytes = self.listed(REFS)?;
        Ok(bytes
            .split(|byte| *byte == b'\n')
            .filter_map(parse)
            .collect())
    }

    fn list_refs(&self, refs: &BTreeSet<(Oid, Vec<u8>)>) -> Result<(), Fault> {
        let mut lines = Vec::new();
        for (oid, name) in refs {
            lines.extend_from_slice(format!("{oid} ").as_bytes());
            lines.extend_from_slice(name);
            lines.push(b'\n');
        }
        self.write_list(REFS, &lines)
    }

    /// Adds to the objects that are known to be lacking; they are on disk on return.
    pub(super) fn note_lacking(&self, oids: &[Oid]) -> Result<(), Fault> {
        let mut listed = self.ids(LIST)?;
        let before = listed.len();
        let lost = self.ids(LOST)?;
        for oid in oids {
            // What was given up and has come again is lost anew.
            if !lost.contains(oid) || self.has(oid)? {
                listed.insert(*oid);
            }
        }
        match listed.len() == before {
            true => Ok(()),
            false => self.list(LIST, &listed),
        }
    }

    fn list_path(&self, name: &str) -> PathBuf {
        self.path().join(ASIDE).join(name)
    }

    /// A line that is no id is passed over: the list can be damaged too.
    fn ids(&self, list: &str) -> Result<BTreeSet<Oid>, Fault> {
        let bytes = self.listed(list)?;
        let lines = bytes.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| Oid::from_hex(line).ok()).collect())
    }

    fn listed(&self, list: &str) -> Result<Vec<u8>, Fault> {
        let path = self.list_path(list);
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(Fault::io("read", path)(source)),
        }
    }

    fn list(&self, list: &str, oids: &BTreeSet<Oid>) -> Result<(), Fault> {
        let lines: String = oids.iter().map(|oid| format!("{oid}\n")).collect();
        self.write_list(list, lines.as_bytes())
    }

    /// A list of nothing is no file.
    fn write_list(&self, list: &str, lines: &[u8]) -> Result<(), Fault> {
        let (folder, path) = (self.path().join(ASIDE), self.list_path(list));
        if lines.is_empty() {
            super::remove(&path)?;
            // What is set aside stays, and its folder with it.
            let _ = fs::remove_dir(&folder);
            return sync_directory(self.path());
        }
        self.make_aside()?;
        write_durably(&path, lines)
    }

    /// What `tips`, which are here, lead to and is not here.
    fn missing(
        &self,
        tips: &[Oid],
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<BTreeSet<Oid>>, Fault> {
        // What follows from the packs could speak of objects that are not in them any more.
        let settings = ["core.commitGraph=false", "core.multiPackIndex=false"];
        let mut command = git::command_with(self.path(), "rev-list", &settings)?;
        command.args(["--objects", "--stdin", "--missing=print", "--quiet"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::spawn(command, "rev-list")?;
        let output = running.stdout();
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            let read = output.take(MISSING_MAX).read_to_end(&mut said);
            read.map(|_| said)
        });
        let list: String = tips.iter().map(|oid| format!("{oid}\n")).collect();
        // When it ends before it has read everything, how it ends says why.
        let written = running.stdin().write_all(list.as_bytes());
        let Some(finished) = running.finish_unless(stop)? else {
            return Ok(None);
        };
        let said = said.join().unwrap_or_else(|_| Ok(Vec::new()));
        let said = said.map_err(Fault::stream("read from git rev-list"))?;
        let lines = said.split(|byte| *byte == b'\n');
        let mut missing: BTreeSet<Oid> = lines
            .filter_map(|line| Oid::from_hex(line.strip_prefix(b"?")?).ok())
            .collect();
        if finished.succeeded() {
            written.map_err(Fault::stream("write to git rev-list"))?;
            return Ok(Some(missing));
        }
        // An older git stops at the first commit that is missing.
        match missing_object(&finished) {
            Reject::MissingObject { oid: Some(oid) } => missing.insert(oid),
            _ => return Err(finished.fault()),
        };
        Ok(Some(missing))
    }
}

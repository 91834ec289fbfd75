//! Keeping what refs leave: the values that an update which counts has forced away or deleted.
//!
//! They stay reachable under `refs/gitback/old/<object>`, which nobody is shown, so that no git ever drops them and
//! `restore` can bring them back.
//!
//! Source: docs/spec/log.md, "Refs that nobody is shown".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gitback_envelope::{EnvelopeId, Oid, Verdict};
use gitback_pack::RefChange;

use super::settle::{Undone, VOID, change};
use super::{Cell, State, git};
use crate::disk;
use crate::fault::{Fault, pack_fault};

/// Below it lie the values that refs had and that nothing else leads to.
pub(super) const OLD: &str = "refs/gitback/old/";

/// Values that refs leave, each with the name of one that leaves it.
pub(super) type Left = BTreeMap<Oid, Vec<u8>>;

impl Cell {
    /// What the refs among `changes` leave, and do not lead to afterwards.
    pub(super) fn left(
        &self,
        on_disk: &BTreeMap<Vec<u8>, Oid>,
        changes: &[RefChange],
    ) -> Result<Left, Fault> {
        let mut left = Left::new();
        for change in changes {
            let Some(from) = on_disk.get(&change.name) else {
                continue;
            };
            if self.is_left(from, change.new.as_ref())? {
                left.insert(*from, change.name.clone());
            }
        }
        Ok(left)
    }

    /// Whether the object is here, and a ref that goes from it to `new` does not lead to it any more.
    fn is_left(&self, from: &Oid, new: Option<&gitback_pack::Oid>) -> Result<bool, Fault> {
        let here = self.repo.has(&git(*from));
        if !here.map_err(pack_fault(self.id, "walk"))? {
            return Ok(false);
        }
        match new {
            Some(new) => Ok(!self.leads_to(new, from)?),
            None => Ok(true),
        }
    }

    fn leads_to(&self, from: &gitback_pack::Oid, to: &Oid) -> Result<bool, Fault> {
        match self.repo.is_ancestor(&git(*to), from) {
            Ok(contained) => Ok(contained),
            // Its own history is not all here, so nobody has it from its tip on.
            Err(gitback_pack::Fault::NoObject { .. } | gitback_pack::Fault::ReadObject { .. }) => {
                Ok(false)
            }
            Err(other) => Err(pack_fault(self.id, "walk")(other)),
        }
    }

    /// Keeps what is left by refs, before they move, durably: that of updates without effect is kept elsewhere.
    ///
    /// `after` are the refs as they are going to be. Nothing is noted twice: what a ref still points at, or what is in
    /// the history of the branch that HEAD names, is reachable as it is. When that branch is forced away, it is kept.
    pub(super) fn keep_replaced(
        &self,
        state: &State,
        left: &Left,
        undone: &[Undone],
        after: &BTreeMap<Vec<u8>, Oid>,
    ) -> Result<(), Fault> {
        if left.is_empty() {
            return Ok(());
        }
        let counted = counted(state, left, undone);
        let served: BTreeSet<&Oid> = after.values().collect();
        let head = state.fold.head_target();
        let head = head.and_then(|name| after.get(name.as_bytes()));
        let mut kept = Vec::new();
        for oid in left.keys() {
            let is_undone = undone.iter().any(|one| one.from == *oid);
            if served.contains(oid) || (is_undone && !counted.contains(oid)) {
                continue;
            }
            if let Some(head) = head
                && self.leads_to(&git(*head), oid)?
            {
                continue;
            }
            kept.push(change(format!("{OLD}{oid}").as_bytes(), Some(*oid)));
        }
        if kept.is_empty() {
            return Ok(());
        }
        self.move_refs(&kept)?;
        self.sync_kept(&kept)
    }

    /// Keeps values that no ref here ever had, for they were replaced before they arrived, and whose objects have
    /// arrived since. `after` are the refs as they are going to be, `hidden` those that nobody is shown.
    ///
    /// What is judged again at a start arrives again: what is kept already keeps its date, and what was let go stays so.
    pub(super) fn keep_arrived(
        &self,
        state: &mut State,
        hidden: &BTreeMap<Vec<u8>, Oid>,
        after: &BTreeMap<Vec<u8>, Oid>,
    ) -> Result<(), Fault> {
        if state.replaced.is_empty() {
            return Ok(());
        }
        let seen = self.look(state.replaced.iter())?;
        let is_news = |oid: &&Oid| {
            !hidden.contains_key(format!("{OLD}{oid}").as_bytes())
                && !state.let_go.contains_key(*oid)
        };
        let whole = state.replaced.iter().filter(|oid| seen.may_be_named(oid));
        let whole = whole.filter(is_news);
        let left: Left = whole.map(|oid| (*oid, Vec::new())).collect();
        self.keep_replaced(state, &left, &[], after)?;
        // Of these it is not known yet.
        state.replaced = seen.unknown;
        seen.failed.map_or(Ok(()), Err)
    }

    /// Keeps what updates that were caught lying lead to: whoever judges them again has to find it, and no ref leads there.
    pub(super) fn keep_lies(
        &self,
        state: &mut State,
        hidden: &BTreeMap<Vec<u8>, Oid>,
    ) -> Result<(), Fault> {
        if state.caught.is_empty() {
            return Ok(());
        }
        let seen = self.look(state.caught.iter().map(|(_, oid)| oid))?;
        let whole = state.caught.iter();
        let whole = whole.filter(|(_, oid)| seen.may_be_named(oid));
        let kept =
            whole.map(|(id, oid)| change(format!("{VOID}{id}/{oid}").as_bytes(), Some(*oid)));
        let kept: Vec<RefChange> = kept
            .filter(|change| !hidden.contains_key(&change.name))
            .collect();
        if !kept.is_empty() {
            self.move_refs(&kept)?;
            self.sync_kept(&kept)?;
        }
        // Of these it is not known yet.
        state.caught.retain(|(_, oid)| seen.unknown.contains(oid));
        seen.failed.map_or(Ok(()), Err)
    }

    /// Other refs follow from the log, these do not: a loss of power must not take them.
    fn sync_kept(&self, kept: &[RefChange]) -> Result<(), Fault> {
        let refs = self.repo.path().join("refs");
        let mut folders = BTreeSet::new();
        for change in kept {
            let name = String::from_utf8_lossy(&change.name);
            let path = self.repo.path().join(name.as_ref());
            // It may have been there before: how long it is kept counts from now.
            let dated = |file: &File| file.set_modified(SystemTime::now());
            let written = File::open(&path).and_then(|file| dated(&file).and(file.sync_all()));
            match written {
                Ok(()) => {}
                // It was there before, and is packed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(unsynced(path, source)),
            }
            // The first one in a folder has made that.
            let inside = path.ancestors().skip(1);
            let inside = inside.take_while(|folder| folder.starts_with(&refs));
            folders.extend(inside.map(Path::to_owned));
        }
        for folder in folders.into_iter().rev() {
            disk::sync_dir(&folder).map_err(|source| unsynced(folder, source))?;
        }
        Ok(())
    }
}

impl State {
    /// Notes that the objects of an update are here: of what is replaced they may be all that leads there.
    pub(super) fn note_arrived(&mut self, id: &EnvelopeId) {
        let Some(update) = self.fold.get(id).and_then(|one| one.statement().update()) else {
            return;
        };
        let is_forced = self.forced.contains(id);
        for change in &update.changes {
            if is_forced && !change.new.is_zero() {
                self.replaced.insert(change.new);
            }
            let forced = change.forced.iter();
            let oids = forced.filter_map(|id| self.oid_of(id, &change.name));
            let oids: Vec<Oid> = oids.filter(|oid| !oid.is_zero()).collect();
            self.replaced.extend(oids);
        }
    }
}

fn unsynced(path: PathBuf, source: std::io::Error) -> Fault {
    Fault::File {
        doing: "sync",
        path,
        source,
    }
}

/// Those of the values that an update which counts has put there as well as one that does not.
fn counted(state: &State, left: &Left, undone: &[Undone]) -> BTreeSet<Oid> {
    let mut counted = BTreeSet::new();
    if undone.is_empty() {
        return counted;
    }
    for envelope in state.fold.iter() {
        let update = envelope.statement().update();
        for change in update.map_or(&[][..], |update| &update.changes) {
            if left.contains_key(&change.new) && state.fold.verdict(envelope.id()) == Verdict::Valid
            {
                counted.insert(change.new);
            }
        }
    }
    counted
}

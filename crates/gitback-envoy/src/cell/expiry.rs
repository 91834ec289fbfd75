//! Letting go of what refs have left, once that was as long ago as the person says whose envoy this is.
//!
//! What could be a head again stays, however old it is. What goes is noted first, durably, so that `log` and `restore` can
//! say what became of it; then the hidden refs go, durably; the objects leave last.
//!
//! Source: docs/spec/log.md, "Letting go"; docs/decisions/0027-what-is-replaced-may-expire.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gitback_envelope::{EnvelopeId, Oid, Update};
use gitback_identity::{EnvoyKey, hex};
use gitback_pack::{Expect, Ref, RefChange, Removed, Search};

use super::kept::OLD;
use super::settle::VOID;
use super::{Cell, State, git, own};
use crate::config::KeepReplaced;
use crate::fault::{Fault, pack_fault};
use crate::{clock, disk};

/// Most hidden refs that go at a time.
const AT_ONCE: usize = 256;
/// Packs and files that are younger than this stay for now.
const YOUNG: Duration = Duration::from_secs(3600);
/// What was let go, beside the log.
const FILE: &str = "let-go";
/// It is there while objects are to leave.
const DUE: &str = "let-go.due";
const HEADER: &str = "let go 1";

/// When a value was let go, and by which setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LetGo {
    pub(crate) at_ms: u64,
    pub(crate) setting: String,
}

/// What was let go, by value.
pub(super) type Gone = BTreeMap<Oid, LetGo>;

/// What may go.
struct Chosen {
    going: Vec<Ref>,
    /// Every object to which nothing leads then.
    lost: BTreeSet<Oid>,
}

/// What a project was when it was looked at.
struct Known {
    digest: [u8; 32],
    /// Values that may be heads again.
    returning: BTreeSet<Oid>,
    /// Every value that a ref has had.
    values: BTreeSet<Oid>,
}

/// What has become of objects that were to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swept {
    /// None are left, or none were to leave.
    All(Removed),
    /// Some are too young, or in a pack that somebody wants to keep.
    Some(Removed),
    /// Something needs them just now.
    Busy,
}

impl Cell {
    /// Drops hidden refs that are older than `keep` says, of values that cannot be heads again; how many. Whoever pushes
    /// meanwhile waits for a moment at most.
    pub(crate) fn let_go_old(
        &self,
        keep: &KeepReplaced,
        stop: &dyn Fn() -> bool,
    ) -> Result<usize, Fault> {
        let now = SystemTime::now();
        self.date_packed()?;
        let refs = self.repo.refs().map_err(pack_fault(self.id, "read"))?;
        let (mut old, others): (Vec<Ref>, Vec<Ref>) = refs
            .into_iter()
            .partition(|one| self.is_old(&one.name, keep, now));
        if old.is_empty() {
            return Ok(0);
        }
        let known = {
            let state = self.lock();
            if !state.may_let_go() {
                return Ok(0);
            }
            Known {
                digest: state.fold().digest(),
                returning: state.returning(),
                values: state.values(),
            }
        };
        let mut staying: Vec<_> = others.iter().map(|one| one.oid).collect();
        let mut dropped = 0;
        while !old.is_empty() {
            let some = old.split_off(old.len().saturating_sub(AT_ONCE));
            let beside: Vec<_> = old.iter().map(|one| one.oid).collect();
            let Some(Chosen { going, lost }) =
                self.choose(some, &mut staying, &beside, &known.returning, stop)?
            else {
                break;
            };
            if going.is_empty() {
                continue;
            }
            if !self.drop_refs(&going, &lost, &known, keep)? {
                break;
            }
            dropped += going.len();
        }
        Ok(dropped)
    }

    /// Drops hidden refs, after it was noted; `false`, and nothing has happened, if something has folded meanwhile.
    fn drop_refs(
        &self,
        going: &[Ref],
        lost: &BTreeSet<Oid>,
        known: &Known,
        keep: &KeepReplaced,
    ) -> Result<bool, Fault> {
        let mut state = self.lock();
        if !state.may_let_go() || state.fold().digest() != known.digest {
            return Ok(false);
        }
        let changes: Vec<RefChange> = going
            .iter()
            // One that was kept anew a moment ago is young again.
            .filter(|one| self.is_old(&one.name, keep, SystemTime::now()))
            .map(|one| RefChange {
                name: one.name.clone(),
                old: Expect::Is(one.oid),
                new: None,
            })
            .collect();
        if changes.is_empty() {
            return Ok(true);
        }
        let gone = LetGo {
            at_ms: clock::now_ms(),
            setting: keep.to_string(),
        };
        let lost = lost.intersection(&known.values);
        self.note_let_go(&mut state, lost.map(|oid| (*oid, gone.clone())))?;
        let moved = self.repo.update_refs(&changes);
        moved.map_err(|source| Fault::Refs {
            project: self.id.to_string(),
            source,
        })?;
        self.sync_dropped(&changes)?;
        Ok(true)
    }

    /// Has somebody look once more for what is to leave, where something was let go: a pack of another envoy has come, and
    /// may have brought it back.
    pub(crate) fn note_came_back(&self) -> Result<(), Fault> {
        if self.lock().let_go.is_empty() {
            return Ok(());
        }
        let due = self.log_dir.join(DUE);
        disk::replace(&due, b"").map_err(file("write", &due))
    }

    /// Has the objects leave that nothing leads to since refs were dropped.
    pub(crate) fn sweep(&self, stop: &dyn Fn() -> bool) -> Result<Swept, Fault> {
        let due = self.log_dir.join(DUE);
        if !due.exists() {
            return Ok(Swept::All(Removed::default()));
        }
        // What a ref is still to name is needed, and no ref leads to it yet.
        if self.lock().unsettled {
            return Ok(Swept::Busy);
        }
        let fault = pack_fault(self.id, "look for what is not needed in");
        let (removed, is_all) = match self.repo.find_unreachable(YOUNG, stop).map_err(fault)? {
            Search::Busy => return Ok(Swept::Busy),
            Search::Nothing { left } => (Removed::default(), !left),
            Search::Found(found) => {
                let left = found.leaves_some();
                // What goes back to an old value does so under the lock.
                let state = self.lock();
                if state.unsettled {
                    return Ok(Swept::Busy);
                }
                let removed = found.remove();
                match removed.map_err(pack_fault(self.id, "take objects out of"))? {
                    Some(removed) => (removed, !left),
                    None => return Ok(Swept::Busy),
                }
            }
        };
        if !is_all {
            return Ok(Swept::Some(removed));
        }
        let cleared = fs::remove_file(&due).and_then(|()| disk::sync_dir(&self.log_dir));
        cleared.map_err(file("remove", &due))?;
        Ok(Swept::All(removed))
    }

    /// Which of `old` may go, and every object that is lost with them: those that do not lead to anything that may be a
    /// head again, unless something else does. The others are added to those that stay. `None` when it was stopped.
    fn choose(
        &self,
        mut old: Vec<Ref>,
        staying: &mut Vec<gitback_pack::Oid>,
        beside: &[gitback_pack::Oid],
        returning: &BTreeSet<Oid>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Chosen>, Fault> {
        let all = [staying.as_slice(), beside].concat();
        match self.lost(&old, &all, stop)? {
            Some(lost) if lost.is_disjoint(returning) => {
                return Ok(Some(Chosen { going: old, lost }));
            }
            Some(_) => {}
            None => return Ok(None),
        }
        // One after the other: what only the last one of several leads to keeps that one.
        let mut going = Vec::new();
        while let Some(one) = old.pop() {
            let rest: Vec<_> = old.iter().map(|one| one.oid).collect();
            let all = [staying.as_slice(), beside, &rest].concat();
            let Some(lost) = self.lost(std::slice::from_ref(&one), &all, stop)? else {
                return Ok(None);
            };
            if lost.is_disjoint(returning) {
                going.push(one);
            } else {
                staying.push(one.oid);
            }
        }
        let all = [staying.as_slice(), beside].concat();
        let lost = self.lost(&going, &all, stop)?;
        Ok(lost.map(|lost| Chosen { going, lost }))
    }

    /// Every object that nothing leads to any more once these refs are gone; `None` when it was stopped.
    fn lost(
        &self,
        going: &[Ref],
        staying: &[gitback_pack::Oid],
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<BTreeSet<Oid>>, Fault> {
        let tips: Vec<_> = going.iter().map(|one| one.oid).collect();
        let lost = self.repo.only_from(&tips, staying, stop);
        let lost = lost.map_err(pack_fault(self.id, "walk"))?;
        Ok(lost.map(|lost| lost.iter().map(own).collect()))
    }

    /// Whether this is a ref that keeps a value which was replaced, or lost its effect, so long ago.
    fn is_old(&self, name: &[u8], keep: &KeepReplaced, now: SystemTime) -> bool {
        if !keeps(name) {
            return false;
        }
        let modified = self.path_of(name).metadata().and_then(|it| it.modified());
        let since = modified.ok().and_then(|at| now.duration_since(at).ok());
        since.is_some_and(|since| since >= keep.time())
    }

    /// Gives hidden refs a file, whose time says how old they are, where somebody has had git pack them: from then on.
    fn date_packed(&self) -> Result<(), Fault> {
        if !self.repo.path().join("packed-refs").exists() {
            return Ok(());
        }
        let _state = self.lock();
        for one in self.repo.refs().map_err(pack_fault(self.id, "read"))? {
            let path = self.path_of(&one.name);
            if !keeps(&one.name) || path.exists() {
                continue;
            }
            let fresh = self.repo.path().join("gitback-spool/dated");
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            let written = made
                .and_then(|()| fs::write(&fresh, format!("{}\n", one.oid)))
                .and_then(|()| fs::rename(&fresh, &path));
            written.map_err(file("write", &path))?;
        }
        Ok(())
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        let name = String::from_utf8_lossy(name);
        self.repo.path().join(name.as_ref())
    }

    /// Notes, durably, what is about to go, and that objects are to leave.
    fn note_let_go(
        &self,
        state: &mut State,
        lost: impl Iterator<Item = (Oid, LetGo)>,
    ) -> Result<(), Fault> {
        let mut gone = state.let_go.clone();
        gone.extend(lost);
        let path = self.log_dir.join(FILE);
        disk::replace(&path, format(&gone).as_bytes()).map_err(file("write", &path))?;
        let due = self.log_dir.join(DUE);
        disk::replace(&due, b"").map_err(file("write", &due))?;
        state.let_go = gone;
        Ok(())
    }

    /// Makes it durable that refs are gone: one that a loss of power brings back would lead to nothing.
    fn sync_dropped(&self, dropped: &[RefChange]) -> Result<(), Fault> {
        let mut folders = BTreeSet::from([self.repo.path().to_owned()]);
        for change in dropped {
            let path = self.path_of(&change.name);
            // The folder may have gone with the last file in it.
            let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
            folders.extend(folder.map(Path::to_owned));
        }
        let packed = self.repo.path().join("packed-refs");
        match File::open(&packed).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(file("sync", &packed)(error));
            }
            _ => {}
        }
        for folder in folders {
            disk::sync_dir(&folder).map_err(file("sync", &folder))?;
        }
        Ok(())
    }
}

impl State {
    /// When this value was let go here, if it was.
    pub(crate) fn let_go(&self, oid: &Oid) -> Option<&LetGo> {
        self.let_go.get(oid)
    }

    /// Notes that a peer does not have what an update names; whether that is no failure of it: nobody has to have what can
    /// be no head again.
    pub(crate) fn note_denied(&mut self, oid: Oid, peer: EnvoyKey) -> bool {
        let is_needed =
            self.lacking.contains(&oid) || self.fold.may_return(|_| true).contains(&oid);
        if !is_needed {
            self.denied.entry(oid).or_default().insert(peer);
        }
        !is_needed
    }

    /// Whether `peer` has said that it does not have this, or the value was let go here.
    pub(super) fn is_past(&self, oid: &Oid, peer: Option<&EnvoyKey>) -> bool {
        let denied = || {
            let by = self.denied.get(oid);
            by.is_some_and(|by| peer.is_none_or(|peer| by.contains(peer)))
        };
        self.let_go.contains_key(oid) || denied()
    }

    /// Whether the claims of an update cannot be checked any more, for want of what `peer` does not have, or, without
    /// one, somebody.
    pub(super) fn is_past_checking(&self, update: &Update, peer: Option<&EnvoyKey>) -> bool {
        let mut new = update.changes.iter().map(|change| &change.new);
        new.any(|oid| self.is_past(oid, peer))
    }

    /// Whether all that is needed to tell what may go is here.
    fn may_let_go(&self) -> bool {
        self.is_whole() && !self.is_damaged() && !self.is_leaving() && self.fold.founder().is_some()
    }

    /// Values that may be heads again.
    fn returning(&self) -> BTreeSet<Oid> {
        let unjudged: BTreeSet<&EnvelopeId> = self.unjudged.iter().collect();
        self.fold.may_return(|id| {
            let is_past = || {
                let update = self.update(id);
                update.is_some_and(|update| self.is_past_checking(update, None))
            };
            !unjudged.contains(id) || is_past()
        })
    }

    /// Every value that a ref has had.
    fn values(&self) -> BTreeSet<Oid> {
        let updates = self.fold.iter().filter_map(|one| one.statement().update());
        let changes = updates.flat_map(|update| &update.changes);
        changes.map(|change| change.new).collect()
    }
}

/// Those of `oids` that were not let go.
pub(crate) fn without_let_go(state: &State, oids: Vec<Oid>) -> BTreeSet<gitback_pack::Oid> {
    let needed = oids.into_iter().filter(|oid| !state.is_past(oid, None));
    needed.map(git).collect()
}

fn keeps(name: &[u8]) -> bool {
    name.starts_with(OLD.as_bytes()) || name.starts_with(VOID.as_bytes())
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Fault + use<> {
    let path = path.to_owned();
    move |source| Fault::File {
        doing,
        path,
        source,
    }
}

fn format(gone: &Gone) -> String {
    let mut text = format!("{HEADER}\n");
    for (oid, LetGo { at_ms, setting }) in gone {
        text.push_str(&format!("{oid} {at_ms} {setting}\n"));
    }
    text
}

/// Reads what was let go; of a file that cannot be read, or of another version, nothing is known.
pub(super) fn read(log_dir: &Path) -> Gone {
    let text = fs::read_to_string(log_dir.join(FILE)).unwrap_or_default();
    parse(&text).unwrap_or_default()
}

fn parse(text: &str) -> Option<Gone> {
    let lines = text.strip_prefix(HEADER)?.strip_prefix('\n')?.lines();
    let gone = lines.map(|line| {
        let mut words = line.splitn(3, ' ');
        let oid = Oid::from_bytes(&hex::decode_exact::<20>(words.next()?)?);
        let at_ms = words.next()?.parse().ok()?;
        let setting = words.next()?.to_owned();
        Some((oid, LetGo { at_ms, setting }))
    });
    gone.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_of_what_was_let_go_reads_back() {
        let gone = LetGo {
            at_ms: 7,
            setting: "90d".to_owned(),
        };
        let gone = Gone::from([(Oid::from_bytes(&[0xab; 20]), gone)]);
        let text = format(&gone);
        assert_eq!(text, format!("let go 1\n{} 7 90d\n", "ab".repeat(20)));
        assert_eq!(parse(&text), Some(gone));
        for other in ["", "let go 2\n", &text.replace(" 7 ", " x "), &text[..51]] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}

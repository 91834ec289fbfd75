//! Objects that no ref leads to any more, and how they leave.
//!
//! They leave pack by pack: what else is in a pack of theirs is written as a new one, by git, which reuses what it can; then
//! the old pack is retired as one that was put together with others is. Whoever has it open can go on for a while.
//!
//! Source: docs/spec/pack.md §10.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::MutexGuard;
use std::time::{Duration, SystemTime};

use gix::odb::pack::index;

use crate::git::{self, Running};
use crate::index::rows;
use crate::objects::{Change, stems};
use crate::scrub::made_index;
use crate::written::{TRAILER_BYTES, Written};
use crate::{Fault, Oid, Repository};

/// How much is copied at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Says for as long as it lives that somebody may need objects which no ref leads to yet, or any more.
#[derive(Debug)]
pub struct InUse(Repository);

/// Who may need what no ref leads to.
#[derive(Debug, Default)]
pub(crate) struct Users {
    now: usize,
    /// How many there ever were, and how often refs have moved.
    begun: u64,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.users().now -= 1;
    }
}

/// What a search for what no ref leads to has come to.
#[derive(Debug)]
pub enum Search<'a> {
    /// It was not finished: something is in use, somebody else looks after the packs, or it was stopped.
    Busy,
    /// There is nothing that may leave.
    Nothing {
        /// There is something, and it is too young, or in a pack that is to stay.
        left: bool,
    },
    /// There is something.
    Found(Unreachable<'a>),
}

/// What no ref leads to, found and not gone yet.
#[derive(Debug)]
pub struct Unreachable<'a> {
    repository: &'a Repository,
    _only_one: MutexGuard<'a, ()>,
    /// What [`Users`] had counted when the search began.
    begun: u64,
    /// What else is in the packs that go: a pack, and its name.
    rest: Option<(Written, String)>,
    /// Packs that go, by name without suffix.
    packs: Vec<String>,
    /// Files of single objects that go.
    loose: Vec<PathBuf>,
    removed: Removed,
    /// Some of it stays.
    leaves_some: bool,
}

/// What has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Removed {
    /// How many objects.
    pub objects: u64,
    /// By how many bytes the files are smaller, once those that are retired are gone.
    pub bytes: u64,
}

impl Repository {
    /// Notes that somebody begins something that may need objects which no ref leads to, such as a push: as long as
    /// what is returned lives, no such object leaves.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        let mut users = self.users();
        users.now += 1;
        users.begun += 1;
        InUse(self.clone())
    }

    /// Everything that `tips` lead to and `others` do not; `None` when `stop` says so. All of them must be here.
    ///
    /// # Errors
    ///
    /// [`Fault`], also if something that they lead to is not here.
    pub fn only_from(
        &self,
        tips: &[Oid],
        others: &[Oid],
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<BTreeSet<Oid>>, Fault> {
        let mut list = String::new();
        for tip in tips {
            list.push_str(&format!("{tip}\n"));
        }
        for other in others {
            list.push_str(&format!("^{other}\n"));
        }
        let mut command = git::command(self.path(), "rev-list")?;
        command.args(["--objects", "--stdin"]);
        let mut found = BTreeSet::new();
        let whole = self.lines(command, "rev-list", &list, stop, &mut |line| {
            found.extend(line.get(..40).and_then(|hex| Oid::from_hex(hex).ok()));
        })?;
        Ok(whole.then_some(found))
    }

    /// Finds what no ref leads to, in packs and files that are at least so old, and writes anew what else is in those
    /// packs. Nothing has left on return. Pushes and fetches go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`Fault`]; then everything is as it was. Also if something that refs lead to is not here.
    pub fn find_unreachable(
        &self,
        age: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Search<'_>, Fault> {
        let Some(only_one) = self.try_upkeep() else {
            return Ok(Search::Busy);
        };
        let begun = {
            let users = self.users();
            if users.now > 0 {
                return Ok(Search::Busy);
            }
            users.begun
        };
        let Some(dead) = self.unreachable(stop)? else {
            return Ok(Search::Busy);
        };
        if dead.is_empty() {
            return Ok(Search::Nothing { left: false });
        }
        let mut found = Unreachable {
            repository: self,
            _only_one: only_one,
            begun,
            rest: None,
            packs: Vec::new(),
            loose: Vec::new(),
            removed: Removed::default(),
            leaves_some: false,
        };
        if !found.look_into_packs(&dead, age, stop)? {
            return Ok(Search::Busy);
        }
        found.look_at_files(&dead, age)?;
        if found.packs.is_empty() && found.loose.is_empty() {
            return Ok(Search::Nothing { left: true });
        }
        Ok(Search::Found(found))
    }

    /// Notes that somebody reads: what is being read stays, and no search for what may leave is in vain.
    pub(crate) fn reading(&self) -> InUse {
        self.users().now += 1;
        InUse(self.clone())
    }

    /// What no ref leads to, as git tells; `None` when it was stopped.
    fn unreachable(&self, stop: &dyn Fn() -> bool) -> Result<Option<BTreeSet<Oid>>, Fault> {
        let mut command = git::command(self.path(), "fsck")?;
        command.args([
            "--unreachable",
            "--connectivity-only",
            "--no-reflogs",
            "--no-progress",
        ]);
        let mut dead = BTreeSet::new();
        let whole = self.lines(command, "fsck", "", stop, &mut |line| {
            // unreachable <kind> <object>
            let mut words = line.split(|byte| *byte == b' ');
            if words.next() == Some(b"unreachable") {
                dead.extend(words.nth(1).and_then(|hex| Oid::from_hex(hex).ok()));
            }
        })?;
        Ok(whole.then_some(dead))
    }

    /// Runs git, and hands on what it prints, line by line; `false` when it was stopped.
    fn lines(
        &self,
        mut command: std::process::Command,
        verb: &'static str,
        input: &str,
        stop: &dyn Fn() -> bool,
        act: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Fault> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::spawn(command, verb)?;
        // It reads all of its input before it writes; a failure shows in how it ends.
        let _ = running.stdin().write_all(input.as_bytes());
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, running.stdout());
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            if read.map_err(Fault::stream("read from git"))? == 0 {
                break;
            }
            act(line.trim_ascii_end());
            if stop() {
                return Ok(false);
            }
        }
        match running.finish_unless(stop)? {
            Some(finished) => finished.check().map(|()| true),
            None => Ok(false),
        }
    }

    /// Notes that refs move.
    pub(crate) fn note_refs_move(&self) {
        self.users().begun += 1;
    }
}

impl Unreachable<'_> {
    /// Finds the packs in which something is dead, and writes what else is in them; `false` when it was stopped.
    fn look_into_packs(
        &mut self,
        dead: &BTreeSet<Oid>,
        age: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, Fault> {
        let repository = self.repository;
        let directory = repository.objects_path().join("pack");
        let (mut alive, mut gone, mut before) = (Vec::new(), BTreeSet::new(), 0_u64);
        for stem in stems(&directory)? {
            let beside = |suffix: &str| directory.join(format!("{stem}.{suffix}"));
            let apart = ["keep", "promisor", "mtimes"];
            let is_apart = apart.iter().any(|suffix| beside(suffix).exists());
            let stays = is_apart || repository.is_damaged(&stem) || !is_old(&beside("pack"), age)?;
            let Ok(index) = index::File::at(beside("idx"), gix::hash::Kind::Sha1) else {
                continue;
            };
            if !dead.iter().any(|oid| index.lookup(oid).is_some()) {
                continue;
            }
            if stays {
                self.leaves_some = true;
                continue;
            }
            for at in 0..index.num_objects() {
                let oid = index.oid_at_index(at).to_owned();
                if dead.contains(&oid) {
                    gone.insert(oid);
                } else {
                    alive.push(oid);
                }
            }
            before = before.saturating_add(size(&beside("pack")) + size(&beside("idx")));
            self.packs.push(stem);
        }
        self.removed.objects += u64::try_from(gone.len()).unwrap_or(u64::MAX);
        let mut after = 0;
        if !alive.is_empty() {
            let Some((written, stem)) = write(repository, &alive, stop)? else {
                return Ok(false);
            };
            after = size(written.pack.path()) + size(written.index.path());
            // If it has the name of an old one, that stays.
            self.packs.retain(|old| *old != stem);
            self.rest = Some((written, stem));
        }
        self.removed.bytes += before.saturating_sub(after);
        Ok(true)
    }

    fn look_at_files(&mut self, dead: &BTreeSet<Oid>, age: Duration) -> Result<(), Fault> {
        let objects = self.repository.objects_path();
        for oid in dead {
            let hex = oid.to_string();
            let (fan, rest) = hex.split_at(2);
            let path = objects.join(fan).join(rest);
            if !is_old(&path, age)? {
                self.leaves_some |= path.exists();
            } else {
                self.removed.objects += 1;
                self.removed.bytes = self.removed.bytes.saturating_add(size(&path));
                self.loose.push(path);
            }
        }
        Ok(())
    }

    /// Whether some of what no ref leads to stays for now: it is too young, or in a pack that is to stay.
    #[must_use]
    pub const fn leaves_some(&self) -> bool {
        self.leaves_some
    }

    /// Has it leave, in an order in which a crash loses nothing, unless something was begun or a ref was moved since it
    /// was found: then `None`, and everything is as it was.
    ///
    /// # Errors
    ///
    /// [`Fault`]; everything that refs lead to is still there.
    pub fn remove(self) -> Result<Option<Removed>, Fault> {
        let repository = self.repository;
        // Whoever begins something meanwhile waits for a few renames.
        let users = repository.users();
        if users.now > 0 || users.begun != self.begun {
            return Ok(None);
        }
        let directory = repository.objects_path().join("pack");
        // They name what is about to go, and are made anew.
        repository.change_packs(|| {
            repository.remove_followers()?;
            Ok(Change::default())
        })?;
        if let Some((written, stem)) = self.rest {
            repository.change_packs(|| {
                written.install(&directory, &stem)?;
                repository.forget_damaged(&stem);
                Ok(Change::come(vec![stem.clone()]))
            })?;
            repository.sync_packs()?;
        }
        repository.retire(&directory, self.packs)?;
        for path in self.loose {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Fault::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        drop(users);
        Ok(Some(self.removed))
    }
}

/// Has git write these objects as one pack; it is durable on return, under a name that nobody looks at. `None` when it
/// was stopped.
fn write(
    repository: &Repository,
    objects: &[Oid],
    stop: &dyn Fn() -> bool,
) -> Result<Option<(Written, String)>, Fault> {
    let written = Written::new(&repository.spool_path())?;
    let path = written.pack.path().to_owned();
    let mut command = git::command(repository.path(), "pack-objects")?;
    // Deltas are taken over where what they build on stays; none are searched for.
    command.args(["--stdout", "--delta-base-offset", "--window=0", "-q"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::spawn(command, "pack-objects")?;
    {
        let mut input = std::io::BufWriter::new(running.stdin());
        for oid in objects {
            // How it ends says why it does not read on.
            if writeln!(input, "{oid}").is_err() {
                break;
            }
        }
    }
    let (mut output, mut file) = (running.stdout(), written.pack.as_file());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = output.read(&mut chunk);
        let count = count.map_err(Fault::stream("read from git"))?;
        if count == 0 {
            break;
        }
        let part = chunk.get(..count).unwrap_or_default();
        file.write_all(part).map_err(Fault::io("write", &path))?;
        if stop() {
            return Ok(None);
        }
    }
    let Some(finished) = running.finish_unless(stop)? else {
        return Ok(None);
    };
    finished.check()?;
    // Each object is unpacked and named anew before the old packs go.
    let unsound = || Fault::Unsound { path: path.clone() };
    let Some(index) = made_index(repository, &path, stop)? else {
        return Ok(None);
    };
    let index = index.ok_or_else(unsound)?;
    let named: BTreeSet<Oid> = rows(&index).iter().map(|row| row.oid).collect();
    if !objects.iter().all(|oid| named.contains(oid)) {
        return Err(unsound());
    }
    written.write_index(&index)?;
    written.sync()?;
    // Before its own checksum an index has that of the pack.
    let sum = index.len().checked_sub(2 * TRAILER_BYTES);
    let sum = sum.and_then(|at| Oid::try_from(index.get(at..at + TRAILER_BYTES)?).ok());
    let sum = sum.ok_or_else(unsound)?;
    Ok(Some((written, format!("pack-{sum}"))))
}

/// Whether a file is there, and at least so old.
fn is_old(path: &Path, age: Duration) -> Result<bool, Fault> {
    match path.metadata().and_then(|metadata| metadata.modified()) {
        Ok(modified) => {
            let since = SystemTime::now().duration_since(modified);
            Ok(since.is_ok_and(|since| since >= age))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Fault::io("inspect", path)(source)),
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

//! Packs for others, and whether what a tip needs is here.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Resource;

use crate::cost::Spent;
use crate::git::{self, Finished, Running};
use crate::spool::Spooling;
use crate::{Fault, Incoming, Limits, Oid, Reject, Repository, Spool, quick};

/// Length of a pack's header: signature, version, count of objects.
pub(crate) const PACK_HEADER_BYTES: usize = 12;

impl Repository {
    /// Whether everything that `tips` lead to is here.
    ///
    /// What the refs lead to is taken as complete. A look may take what a pack may: see [`Repository::set_limits`].
    ///
    /// # Errors
    ///
    /// [`Fault`] if git cannot tell; [`Fault::OverLimit`].
    pub fn complete(&self, tips: &[Oid]) -> Result<bool, Fault> {
        // Mostly little is new, and a look at that costs less than a process does.
        if quick::is_complete(tips, self).is_some() {
            return Ok(true);
        }
        let command = git::command(self.path(), "rev-list")?;
        match connected(command, tips, &self.limits(), &Spent::default()) {
            Ok(()) => Ok(true),
            Err(Reject::Fault(fault)) => Err(fault),
            Err(Reject::OverLimit { bound, limit }) => Err(Fault::OverLimit { bound, limit }),
            Err(_) => Ok(false),
        }
    }

    /// Makes a pack of what `wants` lead to and `haves` do not; `None` when that is nothing.
    ///
    /// Haves that are not here are skipped. A `thin` pack may build on objects that
    /// haves lead to. What is little is put together here, and git makes the rest.
    ///
    /// # Errors
    ///
    /// [`Fault::NoObject`] if a want is not here; [`Fault`].
    pub fn build_pack(
        &self,
        wants: &[Oid],
        haves: &[Oid],
        thin: bool,
    ) -> Result<Option<Spool>, Fault> {
        if let Some(found) = self.difference(wants, haves, thin) {
            if found.objects == 0 {
                return Ok(None);
            }
            let mut spool = Spooling::begin(self.spool_path(), Incoming::new(), 0);
            spool.write(&found.pack)?;
            return Ok(spool.into_file());
        }
        let objects = self.objects()?;
        let mut revisions = String::new();
        for oid in wants {
            if !objects.has(oid) {
                return Err(Fault::NoObject { oid: *oid });
            }
            revisions.push_str(&format!("{oid}\n"));
        }
        for oid in haves.iter().filter(|oid| objects.has(oid)) {
            revisions.push_str(&format!("^{oid}\n"));
        }
        let mut command = git::command(self.path(), "pack-objects")?;
        command.args(["--revs", "--stdout", "--delta-base-offset", "-q"]);
        if thin {
            command.arg("--thin");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::spawn(command, "pack-objects")?;
        // It reads all of its input before it writes; a failure shows in how it ends.
        let written = running.stdin().write_all(revisions.as_bytes());
        let mut spool = Spooling::begin(self.spool_path(), Incoming::new(), 0);
        let header = spool_all(running.stdout(), &mut spool)?;
        running.finish()?.check()?;
        written.map_err(Fault::stream("write to git pack-objects"))?;
        let is_empty = header.get(8..PACK_HEADER_BYTES) == Some(&[0; 4]);
        Ok(if is_empty { None } else { spool.into_file() })
    }
}

/// Copies everything into the spool and returns its first bytes.
fn spool_all(mut from: impl std::io::Read, spool: &mut Spooling) -> Result<Vec<u8>, Fault> {
    let mut header = Vec::new();
    from.by_ref()
        .take(u64::try_from(PACK_HEADER_BYTES).unwrap_or(0))
        .read_to_end(&mut header)
        .map_err(Fault::stream("read from git pack-objects"))?;
    spool.write(&header)?;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = from
            .read(&mut chunk)
            .map_err(Fault::stream("read from git pack-objects"))?;
        match chunk.get(..count) {
            Some(bytes) if count > 0 => spool.write(bytes)?,
            _ => return Ok(header),
        }
    }
}

/// A rev-list command in the environment of a quarantine.
pub(crate) fn quarantined(
    repository: &Path,
    objects: &Path,
    verb: &'static str,
) -> Result<Command, Fault> {
    let mut command = git::command(repository, verb)?;
    command
        .env("GIT_OBJECT_DIRECTORY", objects)
        .env("GIT_QUARANTINE_PATH", objects);
    Ok(command)
}

/// Walks everything that `tips` lead to and the refs do not. All walks of one account together may take the processor
/// time of a pack.
pub(crate) fn connected(
    mut command: Command,
    tips: &[Oid],
    limits: &Limits,
    spent: &Spent,
) -> Result<(), Reject> {
    if tips.is_empty() {
        return Ok(());
    }
    command
        .args(["--objects", "--stdin", "--not", "--all", "--quiet"])
        .stdin(Stdio::piped());
    let seconds = spent.left_of(limits.cpu_seconds)?;
    let mut running = Running::spawn(command, "rev-list")?;
    running.limit(Resource::Cpu, seconds)?;
    running.limit(Resource::Data, limits.memory_bytes)?;
    let list: String = tips.iter().map(|oid| format!("{oid}\n")).collect();
    // When it ends before it has read everything, how it ends says why.
    let written = running.stdin().write_all(list.as_bytes());
    let finished = running.finish()?;
    spent.add(finished.taken);
    if finished.succeeded() {
        return written
            .map_err(Fault::stream("write to git rev-list"))
            .map_err(Reject::from);
    }
    Err(unlisted(&finished, limits))
}

/// What rev-list prints when it meets a gap, as of git 2.30 to 2.50.
const GAPS: &[&str] = &[
    "missing ",
    "bad object",
    "bad tree",
    "Could not read",
    "Failed to traverse",
    "unable to read",
    "not a valid object",
];

/// Why rev-list has failed: for want of an object, or of what it may take.
pub(crate) fn unlisted(finished: &Finished, limits: &Limits) -> Reject {
    match finished.lacked() {
        Some(bound) => limits.broken(bound),
        None => missing_object(finished),
    }
}

pub(crate) fn missing_object(finished: &Finished) -> Reject {
    let line = finished
        .stderr
        .lines()
        .find(|line| GAPS.iter().any(|gap| line.contains(gap)));
    match line {
        Some(line) => Reject::MissingObject {
            oid: first_oid(line),
        },
        None => finished.fault().into(),
    }
}

/// The first object id in a line.
pub(crate) fn first_oid(line: &str) -> Option<Oid> {
    line.split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.len() == 40)
        .find_map(|word| Oid::from_hex(word.as_bytes()).ok())
}

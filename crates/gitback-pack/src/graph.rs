//! The commits that lead to some tips, without what is in them.
//!
//! Whoever brings in a history in parts must know its shape first: which commits there are, and in which
//! order each comes after its parents.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, ErrorKind, Read as _, Seek as _, Write as _};
use std::process::Stdio;

use rustix::process::Resource;

use crate::git::Running;
use crate::outgoing::{quarantined, unlisted};
use crate::{Fault, Limits, Oid, Quarantine, Reject};

/// Longest line of the list: a commit and some thousand parents.
const LINE_MAX: u64 = 1024 * 1024;

/// One commit and its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub oid: Oid,
    /// Those it follows, whether they are here or not.
    pub parents: Vec<Oid>,
}

/// Commits, each after its parents; kept in a file that vanishes with this value.
#[derive(Debug)]
pub struct Commits {
    list: BufReader<File>,
    count: u64,
}

impl Commits {
    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Reads the next one; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`Fault::Stream`].
    pub fn next_commit(&mut self) -> Result<Option<Commit>, Fault> {
        let fault = Fault::stream("read a list of commits");
        let mut line = String::new();
        match self.list.by_ref().take(LINE_MAX).read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(source) => return Err(fault(source)),
        }
        let mut ids = line
            .split_whitespace()
            .map(|word| Oid::from_hex(word.as_bytes()).ok());
        let parsed = ids.next().flatten().map(|oid| Commit {
            oid,
            parents: ids.flatten().collect(),
        });
        parsed
            .map(Some)
            .ok_or_else(|| fault(ErrorKind::InvalidData.into()))
    }
}

impl Quarantine {
    /// Reads a pack of commits, such as the answer to [`fetch::request_commits`](crate::fetch::request_commits).
    /// What they name need not be anywhere: such a quarantine must never be migrated, which
    /// [`Quarantine::migrate`] refuses.
    ///
    /// Returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`Reject`]; the quarantine is then good for nothing but to be dropped.
    pub fn ingest_commits(
        &mut self,
        pack: impl std::io::Read,
        limits: &Limits,
    ) -> Result<u64, Reject> {
        self.bare_commits = true;
        Ok(self.ingest_loose_ends(pack, limits)?.pack.bytes())
    }

    /// Lists the commits that lead to `tips` and to no ref of the repository, each after its parents.
    ///
    /// A tag stands for what it points to; a tip that is no commit leads to none.
    ///
    /// # Errors
    ///
    /// [`Reject::MissingObject`] when one of them is neither here nor in the repository;
    /// [`Reject::TooMany`] when there are more than `limits` says; [`Reject::OverLimit`]; [`Reject::Fault`].
    pub fn commits(&self, tips: &[Oid], limits: &Limits) -> Result<Commits, Reject> {
        let directory = self.repository().spool_path();
        let file =
            tempfile::tempfile_in(&directory).map_err(Fault::io("create a file in", &directory))?;
        let mut command = quarantined(self.repository().path(), self.path()?, "rev-list")?;
        command.args(["--topo-order", "--reverse", "--parents", "--stdin"]);
        command.args(["--not", "--all"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::spawn(command, "rev-list")?;
        running.limit(Resource::Cpu, limits.cpu_seconds)?;
        running.limit(Resource::Data, limits.memory_bytes)?;
        let list: String = tips.iter().map(|oid| format!("{oid}\n")).collect();
        // When it ends before it has read everything, how it ends says why.
        let written = running.stdin().write_all(list.as_bytes());
        let (mut lines, mut copy) = (BufReader::new(running.stdout()), BufWriter::new(file));
        let (mut line, mut count) = (Vec::new(), 0_u64);
        let written_list = loop {
            line.clear();
            let read = lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
            match read.map_err(Fault::stream("read from git rev-list"))? {
                0 => {
                    break copy
                        .into_inner()
                        .map_err(std::io::IntoInnerError::into_error);
                }
                _ if line.last() != Some(&b'\n') => {
                    return Err(Reject::TooMany {
                        what: "parents",
                        limit: LINE_MAX / 41,
                    });
                }
                _ => {}
            }
            count += 1;
            if count > u64::from(limits.objects) {
                return Err(Reject::TooMany {
                    what: "commits",
                    limit: limits.objects.into(),
                });
            }
            if let Err(error) = copy.write_all(&line) {
                break Err(error);
            }
        };
        let mut file = written_list.map_err(Fault::stream("write a list of commits"))?;
        let finished = running.finish()?;
        if !finished.succeeded() {
            return Err(unlisted(&finished, limits));
        }
        written.map_err(Fault::stream("write to git rev-list"))?;
        file.rewind()
            .map_err(Fault::stream("read a list of commits"))?;
        Ok(Commits {
            list: BufReader::new(file),
            count,
        })
    }
}

//! A leave that its author left in a file, because the daemon did not run.
//!
//! What lies in a user's home is hostile to a daemon that runs as root. The file only says *that* there is something
//! to look at: it is opened without following a link, must be a plain file of that user with one name, and of a
//! bounded size, and then the signature in it decides, as with any other envelope.
//!
//! Source: docs/spec/log.md, "In a user's home".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use gitback_envelope::{Act, Envelope, Verified};
use gitback_helper::Mode;
use gitback_identity::{ProjectId, hex};
use rustix::fs::{AtFlags, FileType, Mode as FileMode, OFlags};

use crate::access::{self, Denial};
use crate::cell::{Admitted, Cell, State};
use crate::daemon::{Envoy, chain};
use crate::fanout::spread;
use crate::passwd;

/// Below the user's home, the folder of what a user keeps about projects.
const FOLDER: &str = ".vigo-gitback";

/// The file's name in the project's folder.
const FILE: &str = "leave.pending";

/// The largest file that is looked into.
const BYTES_MAX: u64 = 8 * 1024;

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// Something that is no plain file, or the way to it leads over a link.
    #[error("it is not a plain file in a plain folder")]
    NotPlain,
    #[error("it belongs to user {0}")]
    Owner(u32),
    #[error("it has {0} names")]
    Links(String),
    #[error("it has {0} bytes; at most {BYTES_MAX} are read")]
    TooLarge(u64),
    #[error("it is not an envelope: {0}")]
    Envelope(String),
    #[error("it is not a leave of this project by whoever is served as this user")]
    NotALeave,
    #[error("it does not know of {0} statements of the same author, which would be void")]
    Forgets(usize),
    #[error("{0}")]
    Denied(Denial),
    #[error("another file took its place")]
    Swapped,
    #[error("the system refuses it")]
    System(#[source] std::io::Error),
    #[error("it cannot be stored")]
    Store(#[source] crate::fault::Fault),
}

impl From<rustix::io::Errno> for Refused {
    fn from(error: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        match error {
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR => {
                Self::NotPlain
            }
            other => Self::System(other.into()),
        }
    }
}

/// Looks for such files now and at every interval, until `stop` is dropped.
pub(crate) fn watch(envoy: &Arc<Envoy>, interval: Duration, stop: &Receiver<()>) {
    let mut told = BTreeSet::new();
    loop {
        look(envoy, &mut told);
        match stop.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Looks once, for each project and each user who is served there. What cannot be taken is said once.
fn look(envoy: &Arc<Envoy>, told: &mut BTreeSet<String>) {
    let mut homes: BTreeMap<u32, Option<PathBuf>> = BTreeMap::new();
    for cell in envoy.store().all() {
        let users: Vec<u32> = {
            let state = cell.lock();
            let users = state.users_of(envoy.public()).into_iter();
            users
                .filter(|uid| access::standing(envoy, &state, *uid).is_some())
                .collect()
        };
        for uid in users {
            let home = homes.entry(uid).or_insert_with(|| home(envoy, uid));
            let Some(home) = home else {
                continue;
            };
            if let Err(refused) = take_from(envoy, &cell, uid, home) {
                let text = format!("{uid} {} {refused}", cell.id());
                if told.insert(text) {
                    let file = home.join(FOLDER).join(cell.id().to_string()).join(FILE);
                    tracing::warn!(file = %file.display(), uid, reason = %chain(&refused), "ignored a leave");
                }
            }
        }
    }
}

/// Where the folder of the user's projects is. A daemon of one user serves the home of nobody else.
fn home(envoy: &Envoy, uid: u32) -> Option<PathBuf> {
    let own = || envoy.layout().projects_dir.parent().map(Path::to_owned);
    match envoy.layout().mode {
        Mode::Root => passwd::home(uid),
        Mode::User => own().filter(|_| uid == envoy.uid()),
        Mode::RootDir => own(),
    }
}

/// Takes the leave of `uid` in `home`, if there is one.
fn take_from(envoy: &Arc<Envoy>, cell: &Arc<Cell>, uid: u32, home: &Path) -> Result<(), Refused> {
    let Some(pending) = Pending::open(home, cell.id(), uid)? else {
        return Ok(());
    };
    let leave = parse(&pending.bytes)?;
    let before = envoy.partners(cell);
    let new = {
        let mut state = cell.lock();
        check(envoy, &state, uid, &leave)?;
        let void = state.fold().void_len();
        let counts = |state: &State, admitted: &Admitted| counts(state, admitted, void);
        let taken = state.admit_if(vec![leave], counts);
        let admitted = taken.map_err(Refused::Store)??;
        cell.follow(&mut state, &[]);
        admitted.folded
    };
    spread(envoy, cell, &new, &before, Duration::ZERO);
    tracing::info!(project = %cell.id(), uid, "took a leave that was waiting in a file");
    pending.remove()
}

/// The file, open and looked at.
#[derive(Debug)]
struct Pending {
    folder: OwnedFd,
    /// Device and inode of what was read.
    identity: (u64, u64),
    bytes: Vec<u8>,
}

impl Pending {
    /// Opens the file below `home`; nothing when there is none.
    fn open(home: &Path, project: &ProjectId, uid: u32) -> Result<Option<Self>, Refused> {
        use rustix::io::Errno;
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let nowhere = FileMode::empty();
        // One name at a time and no link followed, so that nothing outside the home is opened. `openat2` says the same in
        // one call, which many a filter of system calls refuses: systemd's `RestrictSUIDSGID` is one.
        let plain = directory | OFlags::NOFOLLOW;
        let mut folder = match rustix::fs::open(home, directory, nowhere) {
            Ok(home) => home,
            Err(Errno::NOENT | Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        for name in [FOLDER, project.to_string().as_str()] {
            folder = match rustix::fs::openat(&folder, name, plain, nowhere) {
                Ok(folder) => folder,
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        }
        // Without waiting for a writer, should it be a pipe.
        let read =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&folder, FILE, read, nowhere) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refused::NotPlain);
        }
        if stat.st_uid != uid {
            return Err(Refused::Owner(stat.st_uid));
        }
        if stat.st_nlink != 1 {
            return Err(Refused::Links(stat.st_nlink.to_string()));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > BYTES_MAX {
            return Err(Refused::TooLarge(size));
        }
        let mut bytes = Vec::new();
        // It may have grown since.
        File::from(file)
            .take(BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(Refused::System)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(Refused::TooLarge(bytes.len() as u64));
        }
        Ok(Some(Self {
            folder,
            identity: (stat.st_dev, stat.st_ino),
            bytes,
        }))
    }

    /// Removes the file that was read. One that took its place stays.
    fn remove(&self) -> Result<(), Refused> {
        let stat = rustix::fs::statat(&self.folder, FILE, AtFlags::SYMLINK_NOFOLLOW)?;
        if (stat.st_dev, stat.st_ino) != self.identity {
            return Err(Refused::Swapped);
        }
        rustix::fs::unlinkat(&self.folder, FILE, AtFlags::empty())?;
        Ok(())
    }
}

/// The envelope, as it is or in lowercase hex with at most one newline behind it.
fn parse(bytes: &[u8]) -> Result<Verified, Refused> {
    let text = std::str::from_utf8(bytes).ok();
    let from_hex = text.and_then(|text| {
        let text = text.strip_suffix('\n').unwrap_or(text);
        hex::decode(text, gitback_envelope::ENVELOPE_MAX)
    });
    let bytes = from_hex.as_deref().unwrap_or(bytes);
    let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
    envelope.map_err(|reject| Refused::Envelope(format!("{reject} ({})", reject.code())))
}

/// A leave of this project, by a puddle for which this user is served here.
fn check(envoy: &Envoy, state: &State, uid: u32, leave: &Verified) -> Result<(), Refused> {
    let statement = leave.statement();
    let is_leave = matches!(statement.act, Act::Leave { .. });
    let served = access::standing_of(envoy, state, uid, &statement.puddle).is_some();
    if is_leave && served && statement.project == *state.fold().id() {
        Ok(())
    } else {
        Err(Refused::NotALeave)
    }
}

/// It counts, and takes nothing away that its author did not have in sight.
fn counts(state: &State, admitted: &Admitted, void_before: usize) -> Result<(), Refused> {
    if let Some((id, reject)) = admitted.refused.first() {
        let text = format!("{reject} ({}, envelope {id})", reject.code());
        return Err(Refused::Envelope(text));
    }
    if admitted.waiting {
        return Err(Refused::Envelope("its past is not here".to_owned()));
    }
    if let Some(void) = admitted.first_void(state) {
        return Err(Refused::Denied(Denial::void(&void)));
    }
    match state.fold().void_len().saturating_sub(void_before) {
        0 => Ok(()),
        lost => Err(Refused::Forgets(lost)),
    }
}

#[cfg(test)]
mod tests;

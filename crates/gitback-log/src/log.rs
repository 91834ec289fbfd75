//! The open log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::files::{self, fault};
use crate::record::{self, RECORD_HEAD};
use crate::scan::{self, HEADER, Scan};
use crate::{Fault, LOG_MAX, RECORD_MAX};

/// The log's file name in its directory.
const FILE: &str = "log";

/// Files kept for bytes dropped at one offset; past it the last is replaced.
const DROPPED_FILES_MAX: u32 = 64;

/// What [`Log::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// Every whole record, id and payload, in the order of appending.
    ///
    /// After damage an id may come twice or come with a payload that was never
    /// appended under it (bytes of a damaged payload that look like a record):
    /// verify each before using it.
    pub records: Vec<([u8; 32], Vec<u8>)>,
    /// The spans that were no record, in file order.
    pub dropped: Vec<Dropped>,
    /// True if there was no log and this call made it.
    pub created: bool,
}

/// Bytes of the file that were no record. They were moved to a file
/// `dropped-<offset>` in the log's directory unless all of them were zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Where the span began in the file as it was found.
    pub offset: u64,
    /// The length of the span.
    pub bytes: u64,
}

/// A project's envelope log, open for appending by this process alone.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// The directory, held for its lock. The file itself may be replaced.
    _lock: File,
    places: BTreeMap<[u8; 32], Place>,
    end: u64,
    poisoned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    bytes: usize,
}

/// What one append writes.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Ids with their payload lengths, in the order of `bytes`.
    added: Vec<([u8; 32], usize)>,
    ids: BTreeSet<[u8; 32]>,
}

impl Log {
    /// Opens the log in `dir`, or makes an empty one, and reads all of it.
    ///
    /// A torn tail is cut off. Damage before valid records makes the log be
    /// written anew without it. Either way the bytes are kept beside the log
    /// and reported. When this returns, every record in [`Opened`] is durable.
    ///
    /// # Errors
    ///
    /// [`Fault::InUse`] if the log is open already; [`Fault::UnknownVersion`],
    /// [`Fault::LogTooLong`] and [`Fault::Io`], in which case the file is as
    /// it was found.
    ///
    /// Source: docs/spec/log.md.
    pub fn open(dir: &Path) -> Result<(Self, Opened), Fault> {
        files::create_dir(dir)?;
        let lock = lock(dir)?;
        let path = dir.join(FILE);
        // Only a name that is surely free is taken: a log that cannot be seen
        // for another reason must not be replaced by an empty one.
        let created = !path.try_exists().map_err(fault("look at", &path))?;
        if created {
            files::replace(dir, FILE, HEADER)?;
        }
        let bytes = read(&path)?;
        let scan = scan::scan(&bytes);
        refuse_unknown_version(&path, &bytes, &scan)?;
        let dropped = repair(dir, &bytes, &scan)?;

        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(fault("open", &path))?;
        // A process killed between write and sync leaves records that only
        // the page cache has.
        file.sync_all().map_err(fault("sync", &path))?;
        let mut log = Self {
            path,
            file,
            _lock: lock,
            places: BTreeMap::new(),
            end: HEADER.len() as u64,
            poisoned: false,
        };
        let mut records = Vec::with_capacity(scan.records.len());
        for (_, record) in scan.records {
            log.index(record.id, record.payload.len());
            records.push((record.id, record.payload.to_vec()));
        }
        let opened = Opened {
            records,
            dropped,
            created,
        };
        Ok((log, opened))
    }

    /// Stores `records`, each an id and its payload, with one write and one
    /// sync. An id that the log has already is skipped.
    ///
    /// # Errors
    ///
    /// [`Fault::RecordTooLong`] and [`Fault::LogTooLong`] before anything is
    /// written. [`Fault::Append`] if the write failed: none of the records is
    /// stored. [`Fault::Sync`] if the disk did not confirm: treat none as
    /// stored. After a `Sync`, and after an `Append` that could not be undone,
    /// every later call is [`Fault::Poisoned`].
    pub fn append(&mut self, records: &[([u8; 32], &[u8])]) -> Result<(), Fault> {
        if self.poisoned {
            return Err(Fault::Poisoned {
                path: self.path.clone(),
            });
        }
        let batch = self.encode_new(records)?;
        if batch.added.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.file.write_all_at(&batch.bytes, self.end) {
            self.undo();
            let path = self.path.clone();
            return Err(Fault::Append { path, source });
        }
        if let Err(source) = self.file.sync_data() {
            // The kernel may now call the lost pages clean, so a second sync
            // would lie. Cutting them off keeps the next open from trusting
            // what only the page cache has.
            self.undo();
            self.poisoned = true;
            let path = self.path.clone();
            return Err(Fault::Sync { path, source });
        }
        for (id, length) in batch.added {
            self.index(id, length);
        }
        Ok(())
    }

    /// Stores records anew whose bytes in the file are damaged, as [`Log::append`] does. The damaged bytes are set aside
    /// when the log is opened the next time.
    ///
    /// # Errors
    ///
    /// As [`Log::append`]; then the log gives what it gave before.
    pub fn renew(&mut self, records: &[([u8; 32], &[u8])]) -> Result<(), Fault> {
        let places = &mut self.places;
        let old: Vec<_> = records
            .iter()
            .filter_map(|(id, _)| Some((*id, places.remove(id)?)))
            .collect();
        let appended = self.append(records);
        if appended.is_err() {
            self.places.extend(old);
        }
        appended
    }

    /// True if a record with this id is stored.
    pub fn contains(&self, id: &[u8; 32]) -> bool {
        self.places.contains_key(id)
    }

    /// Reads the payload stored under `id`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`] if it cannot be read, [`Fault::Damaged`] if it is not
    /// what was stored.
    pub fn get(&self, id: &[u8; 32]) -> Result<Option<Vec<u8>>, Fault> {
        let Some(place) = self.places.get(id) else {
            return Ok(None);
        };
        let mut bytes = vec![0; place.bytes];
        self.file
            .read_exact_at(&mut bytes, place.offset)
            .map_err(fault("read", &self.path))?;
        match record::decode(&bytes) {
            Some(record) if record.id == *id => Ok(Some(bytes.split_off(RECORD_HEAD))),
            Some(_) | None => Err(Fault::Damaged {
                path: self.path.clone(),
                offset: place.offset,
            }),
        }
    }

    /// The number of ids stored.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True if nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// The bytes to write for those of `records` that are new.
    fn encode_new(&self, records: &[([u8; 32], &[u8])]) -> Result<Batch, Fault> {
        let mut batch = Batch::default();
        for (id, payload) in records {
            if payload.len() > RECORD_MAX {
                return Err(Fault::RecordTooLong {
                    bytes: payload.len() as u64,
                    limit: RECORD_MAX as u64,
                });
            }
            if self.contains(id) || batch.ids.contains(id) {
                continue;
            }
            record::encode(&mut batch.bytes, id, payload);
            batch.ids.insert(*id);
            batch.added.push((*id, payload.len()));
            check_length(&self.path, self.end + batch.bytes.len() as u64)?;
        }
        Ok(batch)
    }

    fn index(&mut self, id: [u8; 32], payload: usize) {
        let bytes = RECORD_HEAD + payload;
        let offset = self.end;
        self.places.entry(id).or_insert(Place { offset, bytes });
        self.end += bytes as u64;
    }

    /// Takes a failed write back; poisons the log if that fails too.
    fn undo(&mut self) {
        if self.file.set_len(self.end).is_err() {
            self.poisoned = true;
        }
    }
}

fn lock(dir: &Path) -> Result<File, Fault> {
    let handle = File::open(dir).map_err(fault("open", dir))?;
    match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(handle),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Fault::InUse {
            dir: dir.to_owned(),
        }),
        Err(error) => Err(fault("lock", dir)(error.into())),
    }
}

fn check_length(path: &Path, bytes: u64) -> Result<(), Fault> {
    if bytes <= LOG_MAX {
        return Ok(());
    }
    Err(Fault::LogTooLong {
        path: path.to_owned(),
        bytes,
        limit: LOG_MAX,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let length = fs::metadata(path).map_err(fault("read", path))?.len();
    check_length(path, length)?;
    fs::read(path).map_err(fault("read", path))
}

/// A later version's records have another magic, so finding ours means that
/// the version byte is what got damaged.
fn refuse_unknown_version(path: &Path, bytes: &[u8], scan: &Scan<'_>) -> Result<(), Fault> {
    match scan::version(bytes) {
        Some(version) if !bytes.starts_with(HEADER) && scan.records.is_empty() => {
            Err(Fault::UnknownVersion {
                path: path.to_owned(),
                version,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Saves the damaged spans beside the log, then takes them out of it.
fn repair(dir: &Path, bytes: &[u8], scan: &Scan<'_>) -> Result<Vec<Dropped>, Fault> {
    if bytes.starts_with(HEADER) && scan.damage.is_empty() {
        return Ok(Vec::new());
    }
    let mut dropped = Vec::new();
    for span in &scan.damage {
        dropped.push(Dropped {
            offset: span.start as u64,
            bytes: span.len() as u64,
        });
        save(dir, bytes, span)?;
    }
    files::sync_dir(dir)?;

    let path = dir.join(FILE);
    if scan.only_tail_is_damaged(bytes.len()) {
        let end = scan.sound_until(bytes.len()) as u64;
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| {
                file.set_len(end)?;
                file.sync_all()
            })
            .map_err(fault("truncate", &path))?;
    } else {
        let mut sound = HEADER.to_vec();
        for (_, record) in &scan.records {
            record::encode(&mut sound, &record.id, record.payload);
        }
        files::replace(dir, FILE, &sound)?;
    }
    Ok(dropped)
}

fn save(dir: &Path, bytes: &[u8], span: &Range<usize>) -> Result<(), Fault> {
    let lost = bytes.get(span.clone()).unwrap_or_default();
    if lost.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let plain = dir.join(format!("dropped-{}", span.start));
    let numbered = (1..DROPPED_FILES_MAX).map(|n| dir.join(format!("dropped-{}-{n}", span.start)));
    let mut path = plain.clone();
    for candidate in std::iter::once(plain).chain(numbered) {
        path = candidate;
        match fs::read(&path) {
            // A repair that was interrupted before the log was cut.
            Ok(saved) if saved == lost => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(fault("read", &path)(error)),
        }
    }
    files::write_synced(&path, lost)
}

#[cfg(test)]
mod tests;

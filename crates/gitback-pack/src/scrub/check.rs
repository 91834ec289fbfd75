//! Whether one file is what it must be.

use std::collections::TryReserveError;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use gix::odb::loose;
use gix::zlib::{Inflate, Status};
use rustix::fs::{Advice, fadvise};

use crate::git::{self, Running};
use crate::index::{count, is_whole};
use crate::written::TRAILER_BYTES;
use crate::{Fault, Oid, Repository};

const CHUNK_BYTES: usize = 64 * 1024;

/// The disk could not read it.
const EIO: i32 = 5;
/// The same, in the words of git.
const EIO_TEXT: &str = "Input/output error";
/// Longer than the kind and the size before a loose object, in bytes.
const LOOSE_HEADER_MAX: usize = 64;
/// More than this many times its size nothing unpacks to.
const DEFLATE_FACTOR: u64 = 1040;
/// What git says when this machine is to blame that it could not finish, and not the pack.
const OURS: &[&str] = &[
    "ut of memory",
    "unable to create",
    "mmap failed",
    "unable to write",
    "write error",
    "cannot write",
    "No space left",
    "Too many open files",
    "annot allocate memory",
    "annot open",
    "unable to open",
    "annot fstat",
    "failed to stat",
    "annot store",
    "annot pread",
    "read error on input",
    "Permission denied",
    "temporarily unavailable",
];

/// What a pack was found to be.
pub(super) enum Found {
    /// Each object is what its name says, and the index is the one that git makes.
    Sound { objects: u64 },
    /// The same, and the index is another one or is missing; this is what it must be.
    Index { made: Vec<u8>, objects: u64 },
    /// Some of its bytes are not those that were written.
    Damaged,
}

/// Reads a pack and its index; `None` when it was told to stop.
pub(super) fn pack(
    repository: &Repository,
    directory: &Path,
    stem: &str,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Found>, Fault> {
    let pack = directory.join(format!("{stem}.pack"));
    if !ends_with_its_sum(&pack)? {
        return Ok(Some(Found::Damaged));
    }
    let made = match made_index(repository, &pack, stop)? {
        None => return Ok(None),
        Some(None) => return Ok(Some(Found::Damaged)),
        Some(Some(made)) => made,
    };
    let objects = count(&made).into();
    // An index that the disk does not give back is no index.
    let there = read(&directory.join(format!("{stem}.idx")))?.unwrap_or_default();
    Ok(Some(match there == made && is_whole(&there) {
        true => Found::Sound { objects },
        false => Found::Index { made, objects },
    }))
}

/// The index that git makes of a pack: outside `None` when it was told to stop, inside when git finds the pack damaged.
pub(crate) fn made_index(
    repository: &Repository,
    pack: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Option<Vec<u8>>>, Fault> {
    let spool = repository.spool_path();
    let room = tempfile::Builder::new()
        .prefix("tmp_scrub_")
        .tempdir_in(&spool)
        .map_err(Fault::io("create a directory in", &spool))?;
    let index = room.path().join("made.idx");
    let settings = ["pack.writeReverseIndex=false"];
    let mut command = git::command_with(repository.path(), "index-pack", &settings)?;
    // An object store with nothing in it: git would compare each object with the one of that name which is here.
    command.env("GIT_OBJECT_DIRECTORY", room.path());
    command.arg("-o").arg(&index).arg(pack);
    let Some(finished) = Running::spawn(command, "index-pack")?.finish_unless(stop)? else {
        return Ok(None);
    };
    if finished.succeeded() {
        return Ok(Some(Some(
            fs::read(&index).map_err(Fault::io("read", &index))?,
        )));
    }
    // Killed from outside, or short of something: that says nothing about the pack.
    let last = finished.last_line();
    let is_ours = OURS.iter().any(|text| last.contains(text)) && !last.contains(EIO_TEXT);
    if finished.signal().is_some() || is_ours {
        return Err(finished.fault());
    }
    Ok(Some(None))
}

/// Whether this says that what was written is gone, and not that the system could not look just now.
pub(super) fn is_damage(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(EIO)
}

/// Opens a file, and has the system forget what it has of it in memory, so that the disk is asked. What others have
/// mapped stays. `None` when the disk does not give it back.
pub(super) fn open(path: &Path) -> Result<Option<File>, Fault> {
    match File::open(path) {
        Ok(file) => {
            // Where that cannot be had, memory has to do.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
            Ok(Some(file))
        }
        Err(error) if is_damage(&error) => Ok(None),
        Err(source) => Err(Fault::io("open", path)(source)),
    }
}

/// What is in a file; `None` when the disk does not give it back.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let Some(mut file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(source) => Err(Fault::io("read", path)(source)),
    }
}

/// Whether there is something of this name.
pub(super) fn exists(path: &Path) -> Result<bool, Fault> {
    path.try_exists().map_err(Fault::io("inspect", path))
}

/// Those of the files that are there.
pub(super) fn existing(files: Vec<PathBuf>) -> Result<Vec<PathBuf>, Fault> {
    let mut there = Vec::new();
    for file in files {
        if exists(&file)? {
            there.push(file);
        }
    }
    Ok(there)
}

/// Whether the last bytes of a file are the checksum of all others, as in every file of git's. One that the disk does
/// not give back whole is not.
pub(super) fn ends_with_its_sum(path: &Path) -> Result<bool, Fault> {
    let Some(file) = open(path)? else {
        return Ok(false);
    };
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    let (mut chunk, mut tail) = (vec![0; CHUNK_BYTES], Vec::new());
    loop {
        match (&file).read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                tail.extend_from_slice(chunk.get(..count).unwrap_or_default());
                let summed = tail.len().saturating_sub(TRAILER_BYTES);
                hasher.update(tail.get(..summed).unwrap_or_default());
                tail.drain(..summed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_damage(&error) => return Ok(false),
            Err(source) => return Err(Fault::io("read", path)(source)),
        }
    }
    Ok(hasher
        .try_finalize()
        .is_ok_and(|sum| sum.as_slice() == tail))
}

/// Whether a loose object is what its name says.
pub(super) fn loose(store: &loose::Store, oid: &Oid, path: &Path) -> Result<bool, Fault> {
    // Read first: what is mapped and cannot be read ends the process.
    let Some(file) = read(path)? else {
        return Ok(false);
    };
    let length = u64::try_from(file.len()).unwrap_or(u64::MAX);
    let fault = |source| Fault::ReadObject { oid: *oid, source };
    let size = match store.try_header(oid) {
        Ok(Some((size, _))) if size / DEFLATE_FACTOR <= length => size,
        Err(error) if is_passing(&error) => return Err(fault(error)),
        Ok(_) | Err(_) => return Ok(false),
    };
    // git also wants the stream to end where the file does, with its checksum.
    let mut whole = Vec::new();
    let room = usize::try_from(size).unwrap_or(usize::MAX);
    let room = room.saturating_add(LOOSE_HEADER_MAX);
    if whole.try_reserve_exact(room).is_err() {
        let source = std::io::Error::from(ErrorKind::OutOfMemory);
        return Err(Fault::io("read", path)(source));
    }
    whole.resize(room, 0);
    match Inflate::default().once(&file, &mut whole) {
        Ok((Status::StreamEnd, read, _)) if read == file.len() => drop(whole),
        Ok(_) | Err(_) => return Ok(false),
    }
    let mut bytes = Vec::new();
    let object = match store.try_find(oid, &mut bytes) {
        Ok(Some(object)) => object,
        Err(error) if is_passing(&error) => return Err(fault(error)),
        Ok(None) | Err(_) => return Ok(false),
    };
    let sum = gix::objs::compute_hash(gix::hash::Kind::Sha1, object.kind, object.data);
    Ok(sum.is_ok_and(|sum| sum == *oid))
}

/// Whether the system could not do it just now, or there was no memory for it. What zlib finds wrong is an error of reading
/// as well, and has no number of the system's.
pub(super) fn is_passing(error: &gix::Error) -> bool {
    let mut causes = error.iter_errors();
    causes.any(|cause| {
        let system = cause.downcast_ref::<std::io::Error>();
        let passes = |error: &std::io::Error| error.raw_os_error().is_some() && !is_damage(error);
        system.is_some_and(passes) || cause.is::<TryReserveError>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_passes_from_what_is_damaged() {
        let home = tempfile::tempdir().expect("a directory");
        let store = loose::Store::at_opts(home.path(), gix::hash::Kind::Sha1, Default::default());
        let oid = Oid::from_bytes_or_panic(&[7; 20]);
        fs::create_dir(home.path().join("07")).expect("room");
        let path = home.path().join("07").join("07".repeat(19));
        std::os::unix::fs::symlink(&path, &path).expect("room");
        let error = store.try_header(&oid).expect_err("it points to itself");
        assert!(is_passing(&error), "{error:?}");
        assert!(loose(&store, &oid, &path).is_err());
        fs::remove_file(&path).expect("ours");
        fs::write(&path, "no object").expect("room");
        let error = store.try_header(&oid).expect_err("it is none");
        assert!(!is_passing(&error), "{error:?}");
        assert!(!loose(&store, &oid, &path).expect("no fault"));
        for (number, damage) in [(2, true), (5, true), (12, false), (13, false), (24, false)] {
            let error = std::io::Error::from_raw_os_error(number);
            assert_eq!(is_damage(&error), damage, "{error}");
        }
    }
}

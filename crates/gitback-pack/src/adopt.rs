//! Taking over all objects of another repository without copying them.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::objects::{Change, stems};
use crate::repack::{RETIRED, clear_retired};
use crate::repository::sync_directory;
use crate::{Fault, Repository};

/// Suffixes of the files of a pack, in the order in which they enter the repository; see the quarantine.
const ORDER: [&str; 3] = ["pack", "rev", "idx"];

impl Repository {
    /// Takes over every object of `other`: its packs and loose objects become hard links here, or copies where the
    /// file system cannot link them. On return they are durable here.
    ///
    /// Objects never change once they are written, so both repositories can share their files; each removes its own
    /// name of them.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`]. What was taken over by then stays, and the same call goes on from there.
    pub fn adopt_objects(&self, other: &Self) -> Result<(), Fault> {
        if other.path() == self.path() {
            return Ok(());
        }
        // Before the first of them is here: they may be more than what refs lead to.
        self.give_no_packs()?;
        let (from, to) = (other.objects_path(), self.objects_path());
        let mut touched = BTreeSet::new();
        for name in names(&from)? {
            if is_fan_out(&name) {
                adopt_loose(&from.join(&name), &to.join(&name), &mut touched)?;
            }
        }
        // Meanwhile no pack there is put together with others, and goes. Two that take over from each other wait in the same
        // order.
        let mut link = || adopt_packs(&from.join("pack"), &to.join("pack"), &mut touched);
        if self.path() < other.path() {
            self.change_packs(|| {
                let mut come = Vec::new();
                other.change_packs(|| {
                    come = link()?;
                    Ok(Change::default())
                })?;
                Ok(Change::come(come))
            })?;
        } else {
            other.change_packs(|| {
                self.change_packs(|| Ok(Change::come(link()?)))?;
                Ok(Change::default())
            })?;
        }
        let packs = self.packs_path();
        for directory in touched.iter().rev() {
            match *directory == packs {
                true => self.sync_packs()?,
                false => sync_directory(directory)?,
            }
        }
        sync_directory(&to)
    }
}

fn adopt_loose(from: &Path, to: &Path, touched: &mut BTreeSet<PathBuf>) -> Result<(), Fault> {
    for name in names(from)? {
        if name.len() != 38 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        if touched.insert(to.to_owned()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(to)
                .map_err(Fault::io("create", to))?;
        }
        adopt(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

/// Which ones, by name without suffix.
fn adopt_packs(
    from: &Path,
    to: &Path,
    touched: &mut BTreeSet<PathBuf>,
) -> Result<Vec<String>, Fault> {
    let stems = stems(from)?;
    for stem in &stems {
        // A pack of that name that was taken out of use may be a damaged one, and is not what is linked here.
        let retired = to.join(format!("{RETIRED}{stem}.idx"));
        if retired.exists() {
            clear_retired(&retired)?;
        }
        for suffix in ORDER {
            let file = format!("{stem}.{suffix}");
            if from.join(&file).exists() {
                adopt(&from.join(&file), &to.join(&file))?;
            }
        }
        touched.insert(to.to_owned());
    }
    Ok(stems)
}

/// Links one file. One that is there already is the same: names are hashes of what is in it.
pub(crate) fn adopt(from: &Path, to: &Path) -> Result<(), Fault> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(_) => copy(from, to),
    }
}

/// Copies where the file system has no more links for the file, or none at all.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Fault> {
    let directory = to.parent().unwrap_or(to);
    let temporary = tempfile::Builder::new()
        .prefix("tmp_adopt_")
        .tempfile_in(directory)
        .map_err(Fault::io("create a file in", directory))?;
    fs::copy(from, temporary.path()).map_err(Fault::io("copy", from))?;
    File::open(temporary.path())
        .and_then(|file| file.sync_all())
        .map_err(Fault::io("sync", temporary.path()))?;
    let kept = temporary.persist(to);
    kept.map_err(|error| Fault::io("move", to)(error.error))?;
    Ok(())
}

pub(crate) fn is_fan_out(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) fn names(directory: &Path) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(Fault::io("list", directory))? {
        let entry = entry.map_err(Fault::io("list", directory))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

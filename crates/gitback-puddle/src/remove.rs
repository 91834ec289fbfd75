//! The end of a puddle on one machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::files::{Lock, WriteError};
use crate::names::FILE as NAMES;
use crate::rotate::{RETIRED, is_retired_name, is_temporary};
use crate::store::{PUBLIC, WRAPPED};
use crate::tries::TRIES;

/// Why a puddle's files were not all removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// Another process is changing them; nothing was removed.
    #[error("cannot take the puddle's lock")]
    Lock(#[source] WriteError),
    /// A directory has the name of a file; nothing was removed.
    #[error("{path} is a directory, and no file of a puddle")]
    Directory {
        /// Which one.
        path: PathBuf,
    },
    /// One of them cannot be removed; those before it are gone.
    #[error("cannot remove {path}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Removes the files of the puddle in `dir`, and `dir` with them, unless something else is in it. Returns what was left
/// because it is no file of a puddle.
///
/// Shape: looked at first, then `identity.wrapped`, then the retired keys, and `identity.pub` last, so that what is cut
/// short can be done again. Bytes that were removed can be found on a disk for a long time; they are wrapped.
///
/// # Errors
///
/// [`RemoveError`] for what stands in the way.
pub fn remove(dir: &Path) -> Result<Vec<PathBuf>, RemoveError> {
    Removal::begin(dir)?.finish()
}

/// A removal that was begun: nobody else changes the files, or unlocks the puddle, until it is finished or dropped.
#[derive(Debug)]
#[must_use = "nothing is removed before `finish`"]
pub struct Removal {
    lock: Lock,
}

impl Removal {
    /// Takes the puddle's lock, and looks whether everything can be removed.
    ///
    /// # Errors
    ///
    /// [`RemoveError`] for what stands in the way. Nothing was removed.
    pub fn begin(dir: &Path) -> Result<Self, RemoveError> {
        let lock = Lock::take(dir).map_err(RemoveError::Lock)?;
        own_files(dir)?;
        Ok(Self { lock })
    }

    /// Removes the files; see [`remove`].
    ///
    /// # Errors
    ///
    /// [`RemoveError::Io`] for what could not be removed.
    pub fn finish(self) -> Result<Vec<PathBuf>, RemoveError> {
        let dir = self.lock.dir().to_owned();
        let retired = dir.join(RETIRED);
        // Looked at again: time has passed, and nothing is to be half removed.
        for path in own_files(&dir)? {
            remove_file(&path)?;
        }
        // It stays where something else is in it.
        let _ = fs::remove_dir(&retired);
        remove_file(&dir.join(PUBLIC))?;
        self.lock.remove().map_err(RemoveError::Lock)?;
        if fs::remove_dir(&dir).is_ok() {
            return Ok(Vec::new());
        }
        let mut left = entries(&dir)?;
        if retired.is_dir() {
            left.retain(|path| *path != retired);
            left.extend(entries(&retired)?);
        }
        left.sort();
        Ok(left)
    }
}

/// What is removed before `identity.pub`, in this order.
fn own_files(dir: &Path) -> Result<Vec<PathBuf>, RemoveError> {
    let known = [WRAPPED, PUBLIC, NAMES];
    let mut own = entries(dir)?;
    own.retain(|path| named(path, |name| is_temporary(name, &known)));
    own.extend([TRIES, NAMES, WRAPPED].map(|name| dir.join(name)));
    let retired = dir.join(RETIRED);
    if retired.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        let is_ours = |name: &str| is_retired_name(name) || is_temporary(name, &[]);
        let paths = entries(&retired)?.into_iter();
        own.extend(paths.filter(|path| named(path, is_ours)));
    }
    for path in own.iter().chain([&dir.join(PUBLIC)]) {
        if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Err(RemoveError::Directory { path: path.clone() });
        }
    }
    Ok(own)
}

fn named(path: &Path, is_ours: impl Fn(&str) -> bool) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(is_ours)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, RemoveError> {
    let fault = |source| RemoveError::Io {
        path: dir.to_owned(),
        source,
    };
    let listed = fs::read_dir(dir).map_err(fault)?;
    let paths = listed.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(fault)
}

fn remove_file(path: &Path) -> Result<(), RemoveError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RemoveError::Io {
            path: path.to_owned(),
            source: error,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;
    use tempfile::TempDir;

    use super::*;
    use crate::is_busy;
    use crate::{Cost, Passphrase, ReadError, create, read_public, rotate, tries};

    fn home() -> (TempDir, PathBuf) {
        let home = tempfile::tempdir().expect("a home");
        let dir = home.path().join(".vigo-puddle");
        let passphrase = Passphrase::new("open sesame".to_owned()).expect("a passphrase");
        let cost = Cost::new(64, 1, 1).expect("a cost");
        let key = |seed| SecretKey::from_seed(&[seed; 32]);
        let name = "dan".parse().expect("a name");
        create(&dir, &name, &passphrase, &key(1), cost, 1).expect("a puddle");
        rotate(&dir, &passphrase, &key(2), cost, 2).expect("rotated");
        let _ = tries::attempt(&dir, 3).expect("no pause").wrong();
        fs::write(dir.join("identity.wrapped.4711.new"), "half").expect("written");
        fs::write(dir.join(NAMES), "{}").expect("written");
        (home, dir)
    }

    #[test]
    fn nothing_of_it_is_left() {
        let (home, dir) = home();
        assert_eq!(remove(&dir).expect("removed"), Vec::<PathBuf>::new());
        assert!(!dir.exists());
        assert_eq!(fs::read_dir(home.path()).expect("a home").count(), 0);
    }

    #[test]
    fn what_is_not_its_own_is_left_and_named() {
        let (_home, dir) = home();
        let mine = [dir.join("notes.txt"), dir.join("retired/old.wrapped")];
        for path in &mine {
            fs::write(path, "mine").expect("written");
        }
        assert_eq!(remove(&dir).expect("removed"), mine);
        assert!(mine.iter().all(|path| path.exists()));
        assert!(matches!(read_public(&dir), Err(ReadError::Missing { .. })));
        assert_eq!(fs::read_dir(&dir).expect("the directory").count(), 2);
    }

    #[test]
    fn nothing_is_removed_where_not_everything_can_be() {
        let (_home, dir) = home();
        fs::create_dir(dir.join("retired/0123456789abcdef.wrapped")).expect("a directory");
        let refused = remove(&dir).expect_err("a directory is in the way");
        assert!(
            matches!(refused, RemoveError::Directory { .. }),
            "{refused:?}"
        );
        for name in [NAMES, WRAPPED, PUBLIC, TRIES] {
            assert!(dir.join(name).exists(), "{name}");
        }
        let kept = crate::read_retired(&dir);
        kept.expect_err("the directory is no key");
        assert_eq!(entries(&dir.join(RETIRED)).expect("listed").len(), 2);
    }

    #[test]
    fn the_retired_keys_go_after_the_present_one() {
        let (_home, dir) = home();
        let own = own_files(&dir).expect("listed");
        let place = |wanted: &Path| own.iter().position(|path| path == wanted);
        let retired = own
            .iter()
            .position(|path| path.starts_with(dir.join(RETIRED)));
        assert!(place(&dir.join(WRAPPED)) < retired, "{own:?}");
        assert_eq!(place(&dir.join(PUBLIC)), None, "it goes last");
    }

    #[test]
    fn who_unlocks_sees_that_a_removal_has_begun() {
        let (_home, dir) = home();
        assert!(!is_busy(&dir));
        let removal = Removal::begin(&dir).expect("begun");
        assert!(is_busy(&dir));
        drop(removal);
        assert!(!is_busy(&dir));
        read_public(&dir).expect("it is all there");
    }

    #[test]
    fn nobody_is_disturbed_who_writes() {
        let (_home, dir) = home();
        let lock = Lock::take(&dir).expect("the lock");
        let busy = remove(&dir).expect_err("busy");
        assert!(matches!(busy, RemoveError::Lock(_)), "{busy:?}");
        read_public(&dir).expect("it is all there");
        drop(lock);
        remove(&dir).expect("removed");
    }
}

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
/// Shape: `identity.pub` goes last, so that what is cut short can be done again. Bytes that were removed can be found
/// on a disk for a long time; they are wrapped.
///
/// # Errors
///
/// [`RemoveError`] for what stands in the way.
pub fn remove(dir: &Path) -> Result<Vec<PathBuf>, RemoveError> {
    let lock = Lock::take(dir).map_err(RemoveError::Lock)?;
    let retired = dir.join(RETIRED);
    if retired.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        let is_ours = |name: &str| is_retired_name(name) || is_temporary(name, &[]);
        for path in entries(&retired)?
            .into_iter()
            .filter(|path| named(path, is_ours))
        {
            remove_file(&path)?;
        }
        // It stays where something else is in it.
        let _ = fs::remove_dir(&retired);
    }
    let known = [WRAPPED, PUBLIC, NAMES];
    let paths = entries(dir)?;
    for path in paths
        .iter()
        .filter(|path| named(path, |name| is_temporary(name, &known)))
    {
        remove_file(path)?;
    }
    for name in [TRIES, NAMES, WRAPPED, PUBLIC] {
        remove_file(&dir.join(name))?;
    }
    lock.remove().map_err(RemoveError::Lock)?;
    if fs::remove_dir(dir).is_ok() {
        return Ok(Vec::new());
    }
    let mut left = entries(dir)?;
    if retired.is_dir() {
        left.retain(|path| *path != retired);
        left.extend(entries(&retired)?);
    }
    left.sort();
    Ok(left)
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

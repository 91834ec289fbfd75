//! The envoy's key on disk.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gitback_identity::{SecretKey, hex};
use zeroize::Zeroizing;

use crate::disk;

/// Why the envoy has no usable key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The folder or file cannot be made, read or synced.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file does not hold 64 hex digits.
    #[error(
        "{path} does not hold a key; restore it from a backup, or move it away to begin with a new one"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

/// Loads the envoy's secret key from `identity_dir`, making folder and key when there is none.
///
/// Shape: `envoy.key`, mode 0600, the 32-byte Ed25519 seed as 64 lowercase hex digits and a newline.
///
/// # Errors
///
/// [`KeyError`]; a damaged file is never replaced.
pub fn envoy_key(identity_dir: &Path) -> Result<SecretKey, KeyError> {
    load_or_make(identity_dir, "envoy.key")
}

/// The file of the key of a fleet's authority, of the same shape as the envoy's.
pub(crate) const AUTHORITY_FILE: &str = "authority.key";

/// Loads the key of a fleet's authority, if it is here.
pub(crate) fn authority_key(identity_dir: &Path) -> Result<Option<SecretKey>, KeyError> {
    match read(&identity_dir.join(AUTHORITY_FILE)) {
        Err(KeyError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The same, making it when there is none.
pub(crate) fn make_authority_key(identity_dir: &Path) -> Result<SecretKey, KeyError> {
    load_or_make(identity_dir, AUTHORITY_FILE)
}

/// Where a key of an authority is written before it has its name. What a crash leaves there was never used.
fn unfinished(identity_dir: &Path) -> PathBuf {
    identity_dir.join(format!("{AUTHORITY_FILE}.new"))
}

/// Makes the key of a fleet's authority durable that came from elsewhere. There must be none.
pub(crate) fn keep_authority_key(identity_dir: &Path, secret: &SecretKey) -> Result<(), KeyError> {
    forget_unfinished(identity_dir)?;
    let (path, fresh) = (identity_dir.join(AUTHORITY_FILE), unfinished(identity_dir));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io("create", &fresh))?;
    let digits = Zeroizing::new(hex::encode(secret.seed()));
    let written = writeln!(file, "{}", *digits).and_then(|()| file.sync_all());
    let kept = written
        .map_err(io("write", &fresh))
        .and_then(|()| std::fs::rename(&fresh, &path).map_err(io("create", &path)));
    if kept.is_err() {
        // Half of a secret is one, too. The error of before is what counts.
        let _ = std::fs::remove_file(&fresh);
    }
    kept?;
    disk::sync_dir(identity_dir).map_err(io("sync", identity_dir))
}

/// Removes what a crash has left of keeping a key.
pub(crate) fn forget_unfinished(identity_dir: &Path) -> Result<(), KeyError> {
    let fresh = unfinished(identity_dir);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io("remove", &fresh)(error))
        }
        _ => Ok(()),
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> KeyError + use<> {
    let path = path.to_owned();
    move |source| KeyError::Io {
        doing,
        path,
        source,
    }
}

fn load_or_make(identity_dir: &Path, name: &str) -> Result<SecretKey, KeyError> {
    let path = identity_dir.join(name);
    match read(&path) {
        Err(KeyError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        other => return other,
    }
    disk::make_dirs(identity_dir)
        .and_then(|()| disk::sync_above(identity_dir))
        .map_err(io("create", identity_dir))?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|_| KeyError::Randomness)?;
    let fresh = identity_dir.join(format!("{name}.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io("create", &fresh))?;
    let digits = Zeroizing::new(hex::encode(&*seed));
    writeln!(file, "{}", *digits)
        .and_then(|()| file.sync_all())
        .map_err(io("write", &fresh))?;
    // A link, not a rename: of two processes that start at once, the first one's key stays.
    let linked = std::fs::hard_link(&fresh, &path);
    std::fs::remove_file(&fresh).map_err(io("remove", &fresh))?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(io("create", &path)(error));
        }
        _ => disk::sync_dir(identity_dir).map_err(io("sync", identity_dir))?,
    }
    read(&path)
}

fn read(path: &Path) -> Result<SecretKey, KeyError> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    std::fs::File::open(path)
        .and_then(|file| file.take(128).read_to_string(&mut text))
        .map_err(|source| KeyError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
    let seed = hex::decode_exact::<32>(text.trim_end()).map(Zeroizing::new);
    let seed = seed.ok_or_else(|| KeyError::Malformed {
        path: path.to_owned(),
    })?;
    Ok(SecretKey::from_seed(&seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let first = envoy_key(&dir.path().join("identity")).expect("made");
        let again = envoy_key(&dir.path().join("identity")).expect("loaded");
        assert_eq!(first.public(), again.public());
    }

    #[test]
    fn a_key_from_elsewhere_is_kept_whole_and_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temporary folder");
        // What a crash has left, and open to others.
        std::fs::write(dir.path().join("authority.key.new"), "half").expect("written");
        let secret = SecretKey::from_seed(&[7; 32]);
        keep_authority_key(dir.path(), &secret).expect("kept");
        let read = authority_key(dir.path()).expect("sound").expect("there");
        assert_eq!(read.seed(), secret.seed());
        let path = dir.path().join(AUTHORITY_FILE);
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names = std::fs::read_dir(dir.path()).expect("a folder").count();
        assert_eq!(names, 1, "nothing else is left");
    }

    #[test]
    fn a_damaged_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::fs::write(dir.path().join("envoy.key"), "not a key\n").expect("written");
        assert!(matches!(
            envoy_key(dir.path()),
            Err(KeyError::Malformed { .. })
        ));
        assert_eq!(
            std::fs::read(dir.path().join("envoy.key")).expect("still there"),
            b"not a key\n"
        );
    }
}

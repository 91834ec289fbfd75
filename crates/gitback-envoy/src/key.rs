//! The envoy's key on disk.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gitback_identity::{SecretKey, hex};

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

fn load_or_make(identity_dir: &Path, name: &str) -> Result<SecretKey, KeyError> {
    let path = identity_dir.join(name);
    match read(&path) {
        Err(KeyError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        other => return other,
    }
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io {
            doing,
            path,
            source,
        }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(identity_dir)
        .map_err(io("create", identity_dir))?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| KeyError::Randomness)?;
    let fresh = identity_dir.join(format!("{name}.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io("create", &fresh))?;
    writeln!(file, "{}", hex::encode(&seed))
        .and_then(|()| file.sync_all())
        .map_err(io("write", &fresh))?;
    // A link, not a rename: of two processes that start at once, the first one's key stays.
    let linked = std::fs::hard_link(&fresh, &path);
    std::fs::remove_file(&fresh).map_err(io("remove", &fresh))?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(io("create", &path)(error));
        }
        _ => crate::disk::sync_dir(identity_dir).map_err(io("sync", identity_dir))?,
    }
    read(&path)
}

fn read(path: &Path) -> Result<SecretKey, KeyError> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(128).read_to_string(&mut text))
        .map_err(|source| KeyError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
    let seed = hex::decode_exact::<32>(text.trim_end()).ok_or_else(|| KeyError::Malformed {
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

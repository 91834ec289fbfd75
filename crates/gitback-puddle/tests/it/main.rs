//! A puddle in a real home, and a session on a real socket.

mod names;
mod rotate;
mod session;
mod store;
mod travel;

use std::path::{Path, PathBuf};

use gitback_identity::SecretKey;
use gitback_puddle::{Cost, Passphrase, Public, create};
use tempfile::TempDir;

const NOW_MS: u64 = 1_700_000_000_000;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).expect("a passphrase")
}

/// Cheap: these tests are about files, not about guessing.
fn cheap() -> Cost {
    Cost::new(64, 1, 1).expect("a cost")
}

fn secret() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a home");
    let dir = home.path().join(".vigo-puddle");
    (home, dir)
}

fn make(dir: &Path) -> Public {
    create(
        dir,
        &"dan".parse().expect("a name"),
        &passphrase("open sesame"),
        &secret(),
        cheap(),
        NOW_MS,
    )
    .expect("a puddle")
}

//! Whose puddle is taken for the user's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use gitback_identity::PuddleKey;
use gitback_puddle::{Cost, Passphrase, create, generate};

use super::is_own;

fn puddle(dir: &Path) -> PuddleKey {
    let passphrase = Passphrase::new("correct horse battery".to_owned()).expect("a passphrase");
    let name = "dan".parse().expect("a name");
    let secret = generate().expect("randomness");
    let cost = Cost::new(8, 1, 1).expect("in bounds");
    let made = create(dir, &name, &passphrase, &secret, cost, 1);
    made.expect("a puddle").key
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode is set");
}

#[test]
fn a_puddle_is_ones_own_where_nothing_of_it_is_a_link_or_anybody_elses() {
    let own = rustix::process::geteuid().as_raw();
    let home = tempfile::tempdir().expect("a folder");
    let (home, elsewhere) = (home.path(), tempfile::tempdir().expect("a folder"));
    let dir = home.join(".vigo-puddle");
    let key = puddle(&dir);
    assert!(is_own(home, &dir, own, &key));
    assert!(!is_own(home, &dir, own + 1, &key), "whose folders they are");
    let other = PuddleKey::new(generate().expect("randomness").public());
    assert!(!is_own(home, &dir, own, &other), "another one was read");

    for (path, open) in [(home, 0o777), (home, 0o1777), (&dir, 0o770)] {
        mode(path, open);
        assert!(!is_own(home, &dir, own, &key), "{open:o}");
        mode(path, 0o700);
    }
    assert!(is_own(home, &dir, own, &key));

    let moved = elsewhere.path().join("identity.pub");
    fs::rename(dir.join("identity.pub"), &moved).expect("moved");
    assert!(is_own(home, &dir, own, &key), "the wrapped key says it too");
    symlink(&moved, dir.join("identity.pub")).expect("a link");
    assert!(!is_own(home, &dir, own, &key));
    fs::remove_file(dir.join("identity.pub")).expect("gone");

    let moved = elsewhere.path().join("puddle");
    fs::rename(&dir, &moved).expect("moved");
    symlink(&moved, &dir).expect("a link");
    assert!(!is_own(home, &dir, own, &key));
}

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use gitback_identity::{PuddleKey, SecretKey};
use gitback_puddle::{
    Public, RETIRED_MAX, ReadError, RotateError, Rotated, UnwrapError, mend, read_public,
    read_retired, rotate, unwrap, unwrap_retired,
};

use crate::{NOW_MS, cheap, home, make, passphrase, secret};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn try_rotate(dir: &Path, seed: u8, now_ms: u64) -> Result<Rotated, RotateError> {
    rotate(dir, &passphrase("open sesame"), &key(seed), cheap(), now_ms)
}

fn rotate_to(dir: &Path, seed: u8) -> Rotated {
    try_rotate(dir, seed, NOW_MS + u64::from(seed)).expect("rotated")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

/// The file of a retired key.
fn retired_file(dir: &Path, public: &Public) -> std::path::PathBuf {
    let digits: String = public.key.to_string().chars().take(16).collect();
    dir.join("retired").join(format!("{digits}.wrapped"))
}

#[test]
fn keeps_the_name_and_the_passphrase_and_the_old_key() {
    let (_home, dir) = home();
    let old = make(&dir);
    let before = fs::read(dir.join("identity.wrapped")).expect("the file");
    let rotated = rotate_to(&dir, 9);

    assert_eq!(rotated.retired, old);
    assert_eq!(rotated.current.name, old.name);
    assert_eq!(rotated.current.key.key(), &key(9).public());
    assert_eq!(read_public(&dir).expect("read"), rotated.current);
    let opened = unwrap(&dir, &passphrase("open sesame")).expect("unwrapped");
    assert_eq!(opened.seed(), key(9).seed());

    assert_eq!(
        read_retired(&dir).expect("read"),
        std::slice::from_ref(&old)
    );
    let opened = unwrap_retired(&dir, &old.key, &passphrase("open sesame")).expect("unwrapped");
    assert_eq!(opened.seed(), secret().seed());
    let kept = fs::read(retired_file(&dir, &old)).expect("the file");
    assert_eq!(kept, before, "the old file is kept as it was");
}

#[test]
fn keeps_retired_keys_private() {
    let (_home, dir) = home();
    let old = make(&dir);
    rotate_to(&dir, 9);
    assert_eq!(mode(&dir.join("retired")), 0o700);
    assert_eq!(mode(&retired_file(&dir, &old)), 0o600);
    assert_eq!(mode(&dir.join("identity.wrapped")), 0o600);
    assert_eq!(mode(&dir.join("identity.pub")), 0o644);
    assert_eq!(mode(&dir.join("lock")), 0o600);
}

#[test]
fn gives_retired_keys_newest_first_even_where_the_clock_was_set_back() {
    let (_home, dir) = home();
    let first = make(&dir);
    let second = try_rotate(&dir, 9, 0).expect("rotated").current;
    let third = try_rotate(&dir, 8, 0).expect("rotated").current;
    assert_eq!(read_public(&dir).expect("read"), third);
    assert_eq!(
        read_retired(&dir).expect("read"),
        [second.clone(), first.clone()]
    );
    assert!(first.created_ms < second.created_ms && second.created_ms < third.created_ms);
    for (public, secret) in [(first, secret()), (second, key(9))] {
        let opened = unwrap_retired(&dir, &public.key, &passphrase("open sesame"));
        assert_eq!(opened.expect("unwrapped").seed(), secret.seed());
    }
}

#[test]
fn refuses_a_wrong_passphrase_and_changes_nothing() {
    let (_home, dir) = home();
    let old = make(&dir);
    let wrong = rotate(
        &dir,
        &passphrase("open barley"),
        &key(9),
        cheap(),
        NOW_MS + 1,
    );
    assert!(
        matches!(
            &wrong,
            Err(RotateError::Unwrap(UnwrapError::WrongPassphrase { name })) if *name == old.name
        ),
        "{wrong:?}"
    );
    assert_eq!(read_public(&dir).expect("read"), old);
    assert!(!dir.join("retired").exists());

    let rotated = rotate_to(&dir, 9);
    let wrong = unwrap_retired(&dir, &rotated.retired.key, &passphrase("open barley"));
    assert!(
        matches!(wrong, Err(UnwrapError::WrongPassphrase { .. })),
        "{wrong:?}"
    );
}

#[test]
fn refuses_a_key_that_the_puddle_has_or_had() {
    let (_home, dir) = home();
    make(&dir);
    let not_new = |seed| {
        matches!(
            try_rotate(&dir, seed, NOW_MS),
            Err(RotateError::NotNew { .. })
        )
    };
    assert!(not_new(7), "the current one");
    rotate_to(&dir, 9);
    assert!(not_new(7), "the retired one");
    assert!(not_new(9), "the new one");
}

#[test]
fn refuses_while_a_file_is_damaged() {
    let damaged = |break_it: &dyn Fn(&Path)| {
        let (_home, dir) = home();
        make(&dir);
        let old = rotate_to(&dir, 9).retired;
        break_it(&dir);
        let before = fs::read(dir.join("identity.wrapped")).ok();
        let refused = try_rotate(&dir, 8, NOW_MS).expect_err("refused");
        assert!(matches!(refused, RotateError::Read(_)), "{refused:?}");
        let after = fs::read(dir.join("identity.wrapped")).ok();
        assert_eq!(before, after);
        assert!(retired_file(&dir, &old).symlink_metadata().is_ok());
    };
    let write = |dir: &Path, name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).expect("a file");
    };
    damaged(&|dir| write(dir, "identity.wrapped", b"{"));
    damaged(&|dir| write(dir, "identity.pub", b"{"));
    damaged(&|dir| write(dir, "identity.wrapped", &[b' '; 70_000]));
    damaged(&|dir| fs::remove_file(dir.join("identity.wrapped")).expect("removed"));
    damaged(&|dir| write(dir, "retired/0123456789abcdef.wrapped", b"{}"));
    damaged(&|dir| {
        let current = fs::read(dir.join("identity.wrapped")).expect("the file");
        write(dir, "retired/0123456789abcdef.wrapped", &current);
    });
    // Replacing a link would leave the key where the link points.
    for name in ["identity.wrapped", "identity.pub"] {
        damaged(&|dir| {
            let elsewhere = dir.join("elsewhere");
            fs::rename(dir.join(name), &elsewhere).expect("moved");
            symlink(&elsewhere, dir.join(name)).expect("a link");
        });
    }
}

#[test]
fn refuses_where_there_is_no_puddle_and_leaves_nothing_there() {
    let (_home, dir) = home();
    fs::create_dir(&dir).expect("a directory");
    let missing = try_rotate(&dir, 9, NOW_MS).expect_err("missing");
    assert!(
        matches!(missing, RotateError::Read(ReadError::Missing { .. })),
        "{missing:?}"
    );
    assert_eq!(fs::read_dir(&dir).expect("the directory").count(), 0);
    assert_eq!(read_retired(&dir).expect("none"), []);
}

#[test]
fn refuses_one_retired_key_too_many() {
    let (_home, dir) = home();
    make(&dir);
    let most = u8::try_from(RETIRED_MAX).expect("few");
    for seed in 0..most {
        try_rotate(&dir, 100 + seed, NOW_MS).expect("rotated");
    }
    assert_eq!(read_retired(&dir).expect("read").len(), RETIRED_MAX);
    let full = try_rotate(&dir, 99, NOW_MS).expect_err("full");
    assert!(matches!(full, RotateError::Full), "{full:?}");

    // The copy that a rotation leaves that was cut short is not one too many; more are.
    let current = read_public(&dir).expect("read");
    fs::copy(dir.join("identity.wrapped"), retired_file(&dir, &current)).expect("a copy");
    assert_eq!(read_retired(&dir).expect("read").len(), RETIRED_MAX);
    fs::write(dir.join("retired/0123456789abcdef.wrapped"), b"").expect("a file");
    let many = read_retired(&dir).expect_err("too many");
    assert!(matches!(many, ReadError::TooMany { .. }), "{many:?}");
}

#[test]
fn other_files_among_the_retired_are_left_alone() {
    let (_home, dir) = home();
    make(&dir);
    rotate_to(&dir, 9);
    for name in [
        "notes.txt",
        "0123456789ABCDEF.wrapped",
        "0123456789abcdef.wrapped.new",
        "0123456789abcdef",
    ] {
        fs::write(dir.join("retired").join(name), b"mine").expect("a file");
    }
    assert_eq!(read_retired(&dir).expect("read").len(), 1);
}

#[test]
fn a_retired_key_is_asked_for_by_the_whole_key() {
    let (_home, dir) = home();
    make(&dir);
    rotate_to(&dir, 9);
    let other = PuddleKey::new(key(5).public());
    let refused = unwrap_retired(&dir, &other, &passphrase("open sesame"));
    assert!(
        matches!(refused, Err(UnwrapError::NotRetired { key }) if key == other),
        "{refused:?}"
    );
}

#[test]
fn a_new_wrapped_key_that_was_carried_over_counts_at_once() {
    let (_home, mars) = home();
    make(&mars);
    let (_other_home, venus) = home();
    fs::create_dir(&venus).expect("a directory");
    for name in ["identity.wrapped", "identity.pub"] {
        fs::copy(mars.join(name), venus.join(name)).expect("a copy");
    }
    let rotated = rotate_to(&mars, 9);
    fs::copy(
        mars.join("identity.wrapped"),
        venus.join("identity.wrapped"),
    )
    .expect("a copy");

    assert_eq!(read_public(&venus).expect("read"), rotated.current);
    mend(&venus).expect("mended");
    let stated = |dir: &Path| fs::read_to_string(dir.join("identity.pub")).expect("the file");
    assert_eq!(stated(&venus), stated(&mars));
}

#[test]
fn mending_writes_nothing_where_nothing_is_amiss() {
    let (_home, dir) = home();
    mend(&dir).expect("no puddle, nothing to mend");
    assert!(!dir.exists());
    make(&dir);
    mend(&dir).expect("nothing to mend");
    assert!(!dir.join("lock").exists());
    fs::remove_file(dir.join("identity.pub")).expect("removed");
    mend(&dir).expect("mended");
    assert!(dir.join("identity.pub").exists());
}

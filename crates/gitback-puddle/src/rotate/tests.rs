use tempfile::TempDir;

use super::*;
use crate::store::PUBLIC;
use crate::{CreateError, ExportError, create, create_again, export, mend, unwrap};

const NOW_MS: u64 = 1_700_000_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn passphrase() -> Passphrase {
    Passphrase::new("open sesame".to_owned()).expect("a passphrase")
}

fn cheap() -> Cost {
    Cost::new(64, 1, 1).expect("a cost")
}

/// A home with a puddle, whose key is `key(1)`.
fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a home");
    let dir = home.path().join(".vigo-puddle");
    let name = "dan".parse().expect("a name");
    create(&dir, &name, &passphrase(), &key(1), cheap(), NOW_MS).expect("a puddle");
    (home, dir)
}

/// Takes the first `done` steps to the key `key(seed)`, then crashes.
fn crash_after(done: usize, dir: &Path, seed: u8) {
    let lock = Lock::take(dir).expect("the lock");
    let rotation = Rotation::prepare(dir, &passphrase(), &key(seed), cheap(), NOW_MS + 5)
        .expect("a rotation that can go ahead");
    for step in STEPS.iter().take(done) {
        step(&rotation, &lock).expect("a step");
    }
}

/// What is read must be one whole puddle, and every older key must open.
#[track_caller]
fn check(dir: &Path, current: u8, retired: &[u8]) {
    let public = read_public(dir).expect("a current key");
    assert_eq!(public.key.key(), &key(current).public());
    assert_eq!(public.name.as_str(), "dan");
    let opened = unwrap(dir, &passphrase()).expect("the current key opens");
    assert_eq!(opened.seed(), key(current).seed());

    let kept = read_retired(dir).expect("the retired keys");
    let kept: Vec<PuddleKey> = kept.iter().map(|public| public.key).collect();
    let expected: Vec<PuddleKey> = retired
        .iter()
        .map(|seed| PuddleKey::new(key(*seed).public()))
        .collect();
    assert_eq!(kept, expected);
    for (seed, retired) in retired.iter().zip(&kept) {
        let opened = unwrap_retired(dir, retired, &passphrase()).expect("a retired key opens");
        assert_eq!(opened.seed(), key(*seed).seed());
    }
    let own = unwrap_retired(dir, &public.key, &passphrase()).expect_err("it is current");
    assert!(matches!(own, UnwrapError::NotRetired { .. }), "{own:?}");
}

/// What is read after a crash: the old puddle up to the replacing of the
/// wrapped key, and the new one from there.
#[track_caller]
fn check_crash(dir: &Path, done: usize) {
    match done {
        0 | 1 => check(dir, 1, &[]),
        _ => check(dir, 2, &[1]),
    }
}

#[test]
fn a_crash_between_any_two_steps_leaves_one_whole_puddle() {
    for done in 0..=STEPS.len() {
        let (_home, dir) = home();
        crash_after(done, &dir, 2);
        check_crash(&dir, done);
    }
}

#[test]
fn a_crash_in_the_middle_of_writing_changes_nothing() {
    for done in 0..=STEPS.len() {
        let (_home, dir) = home();
        crash_after(done, &dir, 2);
        // What the next step had begun to write, with what was written halfway.
        fs::create_dir_all(dir.join(RETIRED)).expect("a directory");
        let begun = [
            format!(
                "{RETIRED}/{}.new",
                file_name(&PuddleKey::new(key(1).public()))
            ),
            format!("{WRAPPED}.new"),
            format!("{PUBLIC}.new"),
        ];
        for name in &begun {
            fs::write(dir.join(name), b"{ \"version\": 1").expect("a file");
        }
        check_crash(&dir, done);
        // And it does not stand in the way of the next rotation.
        rotate(&dir, &passphrase(), &key(3), cheap(), NOW_MS + 9).expect("rotated");
        match done {
            0 | 1 => check(&dir, 3, &[1]),
            _ => check(&dir, 3, &[2, 1]),
        }
    }
}

#[test]
fn mending_after_a_crash_settles_and_can_be_repeated() {
    for done in 0..=STEPS.len() {
        let (_home, dir) = home();
        crash_after(done, &dir, 2);
        for _ in 0..2 {
            mend(&dir).expect("mended");
            check_crash(&dir, done);
            let stated = fs::read_to_string(dir.join(PUBLIC)).expect("the public file");
            let current = read_public(&dir).expect("a current key").key;
            assert!(stated.contains(&current.to_string()), "{stated}");
        }
    }
}

#[test]
fn crashes_one_after_the_other_lose_no_key() {
    for first in 0..=STEPS.len() {
        for second in 0..=STEPS.len() {
            let (_home, dir) = home();
            crash_after(first, &dir, 2);
            crash_after(second, &dir, 3);
            match (first >= 2, second >= 2) {
                (false, false) => check(&dir, 1, &[]),
                (true, false) => check(&dir, 2, &[1]),
                (false, true) => check(&dir, 3, &[1]),
                (true, true) => check(&dir, 3, &[2, 1]),
            }
        }
    }
}

#[test]
fn a_copy_that_a_crash_left_gets_the_passphrase_that_the_key_has_now() {
    let (_home, dir) = home();
    crash_after(1, &dir, 2);
    // The key gets another passphrase.
    let other = Passphrase::new("open barley".to_owned()).expect("a passphrase");
    for name in [WRAPPED, PUBLIC] {
        fs::remove_file(dir.join(name)).expect("removed");
    }
    let name = "dan".parse().expect("a name");
    create_again(&dir, &name, &other, &key(1), cheap(), NOW_MS).expect("the same puddle");

    rotate(&dir, &other, &key(2), cheap(), NOW_MS).expect("rotated");
    let retired = PuddleKey::new(key(1).public());
    unwrap_retired(&dir, &retired, &other).expect("it opens");
}

#[test]
fn who_changes_the_files_is_alone() {
    let (_home, dir) = home();
    let lock = Lock::take(&dir).expect("the lock");
    let busy = rotate(&dir, &passphrase(), &key(2), cheap(), NOW_MS).expect_err("busy");
    assert!(
        matches!(busy, RotateError::Write(WriteError::Busy { .. })),
        "{busy:?}"
    );
    check(&dir, 1, &[]);
    drop(lock);
    rotate(&dir, &passphrase(), &key(2), cheap(), NOW_MS).expect("rotated");
    check(&dir, 2, &[1]);
}

/// What `retired` holds would become keys of whoever has the puddle.
#[test]
fn a_new_puddle_does_not_take_up_the_keys_of_another() {
    let (_home, dir) = home();
    rotate(&dir, &passphrase(), &key(2), cheap(), NOW_MS).expect("rotated");
    for name in [WRAPPED, PUBLIC] {
        fs::remove_file(dir.join(name)).expect("removed");
    }
    let named = |name: &str| name.parse::<PuddleName>().expect("a name");
    let made = create(&dir, &named("dan"), &passphrase(), &key(3), cheap(), NOW_MS);
    assert!(
        matches!(&made, Err(CreateError::Retired { path }) if path.starts_with(dir.join(RETIRED))),
        "{made:?}"
    );
    let other = create_again(&dir, &named("eve"), &passphrase(), &key(3), cheap(), NOW_MS);
    assert!(
        matches!(other, Err(CreateError::Unfit(ReadError::OtherName { .. }))),
        "{other:?}"
    );
    assert!(!dir.join(WRAPPED).exists());
    create_again(&dir, &named("dan"), &passphrase(), &key(3), cheap(), NOW_MS).expect("dan's");
    check(&dir, 3, &[1]);
}

#[test]
fn a_retired_key_of_another_name_is_none() {
    let (_home, dir) = home();
    let (_other_home, other) = home();
    rotate(&dir, &passphrase(), &key(2), cheap(), NOW_MS).expect("rotated");
    for name in [WRAPPED, PUBLIC] {
        fs::remove_file(other.join(name)).expect("removed");
    }
    let eve: PuddleName = "eve".parse().expect("a name");
    create(&other, &eve, &passphrase(), &key(7), cheap(), NOW_MS).expect("eve's");
    let name = file_name(&PuddleKey::new(key(7).public()));
    let path = dir.join(RETIRED).join(name);
    fs::copy(other.join(WRAPPED), &path).expect("copied");
    let told = |error: &ReadError| matches!(error, ReadError::OtherName { path: told, .. } if *told == path);
    let refused = read_retired(&dir).expect_err("eve is another");
    assert!(told(&refused), "{refused:?}");
    let refused = export(&dir).expect_err("eve is another");
    assert!(
        matches!(&refused, ExportError::Read(error) if told(error)),
        "{refused:?}"
    );
}

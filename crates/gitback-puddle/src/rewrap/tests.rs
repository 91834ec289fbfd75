use std::path::PathBuf;

use gitback_identity::SecretKey;
use tempfile::TempDir;

use super::*;
use crate::{create, read_retired, rotate, unwrap, unwrap_retired};

const NOW_MS: u64 = 1_700_000_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn puddle(seed: u8) -> PuddleKey {
    PuddleKey::new(key(seed).public())
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).expect("a passphrase")
}

fn old() -> Passphrase {
    passphrase("open sesame")
}

fn new() -> Passphrase {
    passphrase("open barley")
}

fn cheap() -> Cost {
    Cost::new(64, 1, 1).expect("a cost")
}

/// A puddle whose key is `key(3)`; before, it had `key(2)` and `key(1)`. All have the old passphrase.
fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a home");
    let dir = home.path().join(".vigo-puddle");
    let name = "dan".parse().expect("a name");
    create(&dir, &name, &old(), &key(1), cheap(), NOW_MS).expect("a puddle");
    for seed in [2, 3] {
        let now_ms = NOW_MS + u64::from(seed);
        rotate(&dir, &old(), &key(seed), cheap(), now_ms).expect("rotated");
    }
    (home, dir)
}

/// Every wrapped key below `dir`, with whether it opens with the old passphrase and with the new one.
fn opens(dir: &Path) -> Vec<(bool, bool)> {
    let (_lock, all) = begin(dir, &old(), &new()).expect("readable");
    let opens = |entry: &Entry, with| entry.wrapped.open(&with).is_ok();
    all.iter()
        .map(|entry| (opens(entry, old()), opens(entry, new())))
        .collect()
}

#[test]
fn every_key_gets_the_new_passphrase_and_stays_what_it_was() {
    let (_home, dir) = home();
    let before = (
        read_public(&dir).expect("dan"),
        read_retired(&dir).expect("two"),
    );
    let changed = rewrap(&dir, &old(), &new(), cheap()).expect("changed");
    assert_eq!(changed.current, before.0);
    assert_eq!((&changed.retired, changed.others.len()), (&before.1, 0));
    assert_eq!(opens(&dir), [(false, true); 3]);
    assert_eq!(
        (
            read_public(&dir).expect("dan"),
            read_retired(&dir).expect("two")
        ),
        before
    );
    let secret = unwrap(&dir, &new()).expect("it opens");
    assert_eq!(secret.seed(), key(3).seed());
    for seed in [1, 2] {
        let secret = unwrap_retired(&dir, &puddle(seed), &new()).expect("it opens");
        assert_eq!(secret.seed(), key(seed).seed());
    }
}

#[test]
fn salts_and_nonces_are_fresh() {
    let (_home, dir) = home();
    let field = |name: &str| {
        let text = fs::read_to_string(dir.join(WRAPPED)).expect("text");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        json[name].clone()
    };
    let before = (field("salt"), field("nonce"), field("ciphertext"));
    rewrap(&dir, &old(), &new(), cheap()).expect("changed");
    let after = (field("salt"), field("nonce"), field("ciphertext"));
    assert!(before.0 != after.0 && before.1 != after.1 && before.2 != after.2);
}

#[test]
fn after_a_crash_each_file_opens_with_one_and_doing_it_again_does_the_rest() {
    for steps in 0..=3 {
        let (_home, dir) = home();
        change(&dir, &old(), &new(), cheap(), steps).expect("as far as it comes");
        let half = opens(&dir);
        assert!(half.iter().all(|(old, new)| old != new), "{half:?}");
        assert_eq!(half.iter().filter(|(_, new)| *new).count(), steps);
        // The current key is the last: before that, the puddle has the old passphrase.
        assert_eq!(half[0].1, steps == 3);
        let rest = rewrap(&dir, &old(), &new(), cheap());
        if steps == 3 {
            assert!(matches!(rest, Err(RewrapError::Already)), "{rest:?}");
        } else {
            let rest = rest.expect("the rest");
            assert_eq!((rest.retired.len(), rest.others.len()), (2, 0));
        }
        assert_eq!(opens(&dir), [(false, true); 3]);
    }
}

#[test]
fn a_wrong_passphrase_changes_nothing() {
    let (_home, dir) = home();
    let wrong = rewrap(&dir, &passphrase("open rye"), &new(), cheap()).expect_err("wrong");
    assert!(
        matches!(
            wrong,
            RewrapError::Unwrap(UnwrapError::WrongPassphrase { .. })
        ),
        "{wrong:?}"
    );
    let same = rewrap(&dir, &old(), &old(), cheap()).expect_err("the same");
    assert!(matches!(same, RewrapError::Same), "{same:?}");
    assert_eq!(opens(&dir), [(true, false); 3]);
}

#[test]
fn nothing_is_changed_by_who_knows_only_the_present_passphrase() {
    let (_home, dir) = home();
    let already = rewrap(&dir, &passphrase("open rye"), &old(), cheap()).expect_err("no old one");
    assert!(matches!(already, RewrapError::Already), "{already:?}");
    assert_eq!(opens(&dir), [(true, false); 3]);
}

#[test]
fn a_key_that_is_harder_to_guess_stays_so() {
    let (_home, dir) = home();
    let costs = |memory, passes| Cost::new(memory, passes, 1).expect("a cost");
    rewrap(&dir, &old(), &new(), costs(128, 2)).expect("raised");
    rewrap(&dir, &new(), &old(), costs(256, 1)).expect("changed");
    let (_lock, all) = begin(&dir, &old(), &new()).expect("readable");
    for entry in &all {
        assert_eq!(entry.wrapped.cost(), costs(256, 2), "{}", entry.name);
    }
}

#[test]
fn a_retired_key_with_a_passphrase_of_its_own_is_left_and_can_be_named() {
    let (_home, dir) = home();
    let own = passphrase("open rye");
    rewrap_retired(&dir, &puddle(1), &old(), &own, cheap()).expect("its own");
    let changed = rewrap(&dir, &old(), &new(), cheap()).expect("the others");
    let keys = |list: &[Public]| list.iter().map(|public| public.key).collect::<Vec<_>>();
    assert_eq!(keys(&changed.retired), [puddle(2)]);
    assert_eq!(keys(&changed.others), [puddle(1)]);
    unwrap_retired(&dir, &puddle(1), &own).expect("it was left alone");

    let wrong = rewrap_retired(&dir, &puddle(1), &old(), &new(), cheap()).expect_err("wrong");
    assert!(matches!(wrong, RewrapError::Unwrap(_)), "{wrong:?}");
    let public = rewrap_retired(&dir, &puddle(1), &own, &new(), cheap()).expect("changed");
    assert_eq!(public.key, puddle(1));
    let again = rewrap_retired(&dir, &puddle(1), &own, &new(), cheap()).expect_err("done");
    assert!(matches!(again, RewrapError::Already), "{again:?}");
    assert_eq!(opens(&dir), [(false, true); 3]);
    for seed in [3, 9] {
        let other = rewrap_retired(&dir, &puddle(seed), &old(), &new(), cheap()).expect_err("no");
        assert!(
            matches!(other, RewrapError::Unwrap(UnwrapError::NotRetired { .. })),
            "{other:?}"
        );
    }
}

#[test]
fn nothing_is_left_that_opens_with_the_old_passphrase() {
    let (_home, dir) = home();
    let current = fs::read(dir.join(WRAPPED)).expect("the file");
    // What a rotation leaves that was cut short, and what writers leave that crash.
    let copy = dir.join(RETIRED).join(file_name(&puddle(3)));
    fs::write(&copy, &current).expect("written");
    let left = [
        dir.join("identity.wrapped.new"),
        dir.join("identity.wrapped.4711.new"),
        dir.join(RETIRED)
            .join(format!("{}.new", file_name(&puddle(1)))),
    ];
    for path in &left {
        fs::write(path, &current).expect("written");
    }
    let foreign = dir.join("identity.wrapped.backup.new");
    fs::write(&foreign, "mine").expect("written");
    let changed = rewrap(&dir, &old(), &new(), cheap()).expect("changed");
    assert_eq!(changed.retired.len(), 2, "a copy is no retired key");
    assert_eq!(opens(&dir), [(false, true); 4]);
    assert!(left.iter().all(|path| !path.exists()));
    assert!(foreign.exists());
}

#[test]
fn who_changes_the_files_is_alone() {
    let (_home, dir) = home();
    let _lock = Lock::take(&dir).expect("the lock");
    let busy = rewrap(&dir, &old(), &new(), cheap()).expect_err("busy");
    assert!(
        matches!(busy, RewrapError::Write(WriteError::Busy { .. })),
        "{busy:?}"
    );
}

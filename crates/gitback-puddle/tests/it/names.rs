use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use gitback_identity::{Handle, ProjectId, PuddleKey, PuddleName, SecretKey};
use gitback_puddle::names::{self, ForgetError, How, NAMES_MAX, PickError, forget, learn, pick};
use gitback_puddle::{
    By, Claimant, ReadError, ResolveError, Resolved, read_public, read_retired, resolve,
    resolve_claimed, rotate,
};

use crate::{NOW_MS, cheap, home, make, passphrase, secret};

fn name(text: &str) -> PuddleName {
    text.parse().expect("a name")
}

fn key(seed: u8) -> PuddleKey {
    PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
}

fn picked(dir: &Path, text: &str, seed: u8) {
    pick(dir, &name(text), &key(seed), NOW_MS).expect("picked");
}

/// What `text` means to whoever has the puddle in `dir`.
fn meaning(dir: &Path, text: &str) -> Result<Resolved, ResolveError> {
    resolve(dir, read_public(dir).ok().as_ref(), &name(text))
}

#[test]
fn picks_and_forgets() {
    let (_home, dir) = home();
    make(&dir);
    assert!(names::read(&dir).expect("none yet").is_empty());
    let alice = name("alice");
    assert_eq!(pick(&dir, &alice, &key(1), NOW_MS).expect("picked"), None);
    picked(&dir, "bob", 2);
    let known = names::read(&dir).expect("read");
    assert_eq!(known.len(), 2);
    assert_eq!(known.resolve(&alice), Some(key(1)));
    assert_eq!(known.name_of(&key(2)), Some(&name("bob")));
    assert_eq!(known.name_of(&key(3)), None);
    let mode = fs::metadata(dir.join("names.json")).expect("metadata");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);

    // Picking anew says what was picked before.
    let before = pick(&dir, &alice, &key(3), NOW_MS + 1).expect("picked");
    assert_eq!(before, Some(key(1)));
    let again = pick(&dir, &alice, &key(3), NOW_MS + 2).expect("picked");
    assert_eq!(again, Some(key(3)));
    let known = names::read(&dir).expect("read");
    let alices = known.iter().next().expect("a name");
    assert_eq!((alices.0, alices.1.key), (&alice, key(3)));
    assert_eq!(alices.1.picked_ms, NOW_MS + 1, "nothing was picked anew");

    assert_eq!(forget(&dir, &alice).expect("forgotten"), key(3));
    assert_eq!(names::read(&dir).expect("read").resolve(&alice), None);
    let near = forget(&dir, &name("bop")).expect_err("unknown");
    assert!(
        matches!(&near, ForgetError::Unknown { near: Some(near), .. } if *near == name("bob")),
        "{near:?}"
    );
}

#[test]
fn picks_without_a_puddle_and_forgets_without_leaving_files() {
    let (_home, dir) = home();
    let unknown = forget(&dir, &name("alice")).expect_err("unknown");
    assert!(
        matches!(unknown, ForgetError::Unknown { near: None, .. }),
        "{unknown:?}"
    );
    assert!(!dir.exists());
    picked(&dir, "alice", 1);
    let mode = fs::metadata(&dir).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(meaning(&dir, "alice").expect("known").key(), &key(1));
}

#[test]
fn what_is_the_users_own_cannot_be_picked() {
    let (_home, dir) = home();
    let own = make(&dir);
    let new = SecretKey::from_seed(&[9; 32]);
    rotate(&dir, &passphrase("open sesame"), &new, cheap(), NOW_MS).expect("rotated");
    for seed in [1, 7, 9] {
        let refused = pick(&dir, &own.name, &key(seed), NOW_MS).expect_err("own name");
        assert!(
            matches!(&refused, PickError::OwnName { name, own } if name.as_str() == "dan" && *own == key(9)),
            "{refused:?}"
        );
    }
    for seed in [7, 9] {
        let refused = pick(&dir, &name("alice"), &key(seed), NOW_MS).expect_err("own key");
        assert!(
            matches!(refused, PickError::OwnKey { .. }),
            "{seed} {refused:?}"
        );
    }
    assert!(names::read(&dir).expect("read").is_empty());
}

#[test]
fn takes_as_many_names_as_it_says_and_reads_them_again() {
    let (_home, dir) = home();
    let long = |number: usize| name(&format!("{:a<28}{number:04}", ""));
    for number in 0..NAMES_MAX {
        pick(&dir, &long(number), &key(1), u64::MAX).expect("picked");
    }
    let full = pick(&dir, &long(NAMES_MAX), &key(1), u64::MAX).expect_err("full");
    assert!(matches!(full, PickError::Full), "{full:?}");
    assert_eq!(names::read(&dir).expect("read").len(), NAMES_MAX);
    // One that is there can still change, and go.
    pick(&dir, &long(0), &key(2), 0).expect("picked");
    forget(&dir, &long(1)).expect("forgotten");
}

/// Writes `bytes` as the names, which must be refused in every way, and kept.
#[track_caller]
fn refused(bytes: &[u8]) -> ReadError {
    let (_home, dir) = home();
    fs::create_dir(&dir).expect("a directory");
    let path = dir.join("names.json");
    fs::write(&path, bytes).expect("a file");
    let alice = name("alice");
    let not_picked = pick(&dir, &alice, &key(1), NOW_MS).expect_err("refused");
    assert!(matches!(not_picked, PickError::Read(_)), "{not_picked:?}");
    let not_forgotten = forget(&dir, &alice).expect_err("refused");
    assert!(
        matches!(not_forgotten, ForgetError::Read(_)),
        "{not_forgotten:?}"
    );
    let unresolved = meaning(&dir, "alice").expect_err("refused");
    assert!(
        matches!(unresolved, ResolveError::Read(_)),
        "{unresolved:?}"
    );
    assert_eq!(fs::read(&path).expect("the file"), bytes);
    names::read(&dir).expect_err("refused")
}

#[test]
fn refuses_names_that_it_would_not_have_written() {
    let alice = format!(
        "{{\"name\":\"alice\",\"public_key\":\"{}\",\"picked_ms\":1}}",
        key(1)
    );
    let file = |entries: &str| format!("{{\"version\":1,\"names\":[{entries}]}}");
    for damaged in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "{\"version\":1}".to_owned(),
        file("{}"),
        file(&alice.replace("alice", "Alice")),
        file(&alice.replace(&key(1).to_string(), &"00".repeat(32))),
        file(&alice.replace("\"picked_ms\":1", "\"picked_ms\":1,\"more\":1")),
        file(&format!("{alice},{alice}")),
        // What the second version says more, and the first did not.
        file(&alice.replace("\"picked_ms\":1", "\"picked_ms\":1,\"how\":\"used\"")),
        file(&alice).replace("\"version\":1", "\"version\":2"),
        file(&alice.replace("\"picked_ms\":1", "\"picked_ms\":1,\"how\":\"heard\""))
            .replace("\"version\":1", "\"version\":2"),
    ] {
        let error = refused(damaged.as_bytes());
        assert!(
            matches!(error, ReadError::Damaged { .. }),
            "{damaged} {error:?}"
        );
    }
    let later = refused(b"{\"version\":3,\"people\":[]}");
    assert!(
        matches!(later, ReadError::UnknownVersion { version: 3, .. }),
        "{later:?}"
    );
    let long = refused(&[b' '; 70_000]);
    assert!(matches!(long, ReadError::Io { .. }), "{long:?}");
}

#[test]
fn refuses_names_that_are_no_file() {
    let (_home, dir) = home();
    picked(&dir, "alice", 1);
    let path = dir.join("names.json");
    let elsewhere = dir.join("elsewhere.json");
    fs::rename(&path, &elsewhere).expect("moved");

    symlink(&elsewhere, &path).expect("a link");
    let link = names::read(&dir).expect_err("a link");
    assert!(
        matches!(&link, ReadError::Io { source, .. } if source.to_string() == "it is a symbolic link"),
        "{link:?}"
    );
    pick(&dir, &name("bob"), &key(2), NOW_MS).expect_err("a link");
    assert!(path.is_symlink(), "the link is left alone");
    fs::remove_file(&path).expect("removed");

    // Reading a pipe would wait for a writer.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe");
    let pipe = names::read(&dir).expect_err("a pipe");
    assert!(
        matches!(&pipe, ReadError::Io { source, .. } if source.to_string() == "it is not a file"),
        "{pipe:?}"
    );
}

#[test]
fn what_was_written_halfway_is_not_read_and_not_in_the_way() {
    let (_home, dir) = home();
    picked(&dir, "alice", 1);
    fs::write(dir.join("names.json.new"), b"{\"vers").expect("a file");
    assert_eq!(names::read(&dir).expect("read").len(), 1);
    picked(&dir, "bob", 2);
    assert_eq!(names::read(&dir).expect("read").len(), 2);
    assert!(!dir.join("names.json.new").exists());
}

#[test]
fn the_own_name_means_the_current_key_then_the_retired_ones() {
    let (_home, dir) = home();
    make(&dir);
    for (seed, now_ms) in [(9, NOW_MS + 1), (8, NOW_MS + 2)] {
        let new = SecretKey::from_seed(&[seed; 32]);
        rotate(&dir, &passphrase("open sesame"), &new, cheap(), now_ms).expect("rotated");
    }
    assert_eq!(read_retired(&dir).expect("read").len(), 2);
    let dan = meaning(&dir, "dan").expect("known");
    assert!(dan.is_own());
    assert_eq!(dan.key(), &key(8));
    let founding = PuddleKey::new(secret().public());
    assert_eq!(
        dan.keys().collect::<Vec<_>>(),
        [&key(8), &key(9), &founding]
    );
    let notes: Handle = "notes".parse().expect("a handle");
    let expected = [key(8), key(9), founding].map(|key| (ProjectId::derive(&key, &notes), key));
    assert_eq!(dan.projects(&notes).collect::<Vec<_>>(), expected);
}

#[test]
fn the_own_name_needs_no_names() {
    let (_home, dir) = home();
    make(&dir);
    fs::write(dir.join("names.json"), b"{").expect("a file");
    meaning(&dir, "dan").expect("known");
    let other = meaning(&dir, "alice").expect_err("cannot be known");
    assert!(matches!(other, ResolveError::Read(_)), "{other:?}");
}

#[test]
fn the_own_name_wins_over_one_that_was_picked_before() {
    let (_home, dir) = home();
    picked(&dir, "dan", 1);
    let own = make(&dir);
    assert_eq!(meaning(&dir, "dan").expect("known").key(), &own.key);
}

#[test]
fn the_name_of_another_means_the_key_that_was_picked() {
    let (_home, dir) = home();
    make(&dir);
    picked(&dir, "alice", 1);
    let alice = meaning(&dir, "alice").expect("known");
    assert!(!alice.is_own());
    assert_eq!(alice.keys().collect::<Vec<_>>(), [&key(1)]);
}

#[test]
fn a_name_that_nobody_has_comes_with_the_one_that_was_meant() {
    let (_home, dir) = home();
    make(&dir);
    picked(&dir, "alice", 1);
    picked(&dir, "alicia", 2);
    let near = |text: &str| match meaning(&dir, text) {
        Err(ResolveError::Unknown { near, picked, .. }) => {
            assert_eq!(picked, 2);
            near.map(|name| name.to_string())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(near("alicee").as_deref(), Some("alice"));
    assert_eq!(near("dna").as_deref(), Some("dan"));
    assert_eq!(near("bob"), None);
}

#[test]
fn names_of_the_first_version_were_picked_and_are_written_anew() {
    let (_home, dir) = home();
    fs::create_dir(&dir).expect("a directory");
    let path = dir.join("names.json");
    let first = format!(
        "{{\"version\":1,\"names\":[{{\"name\":\"alice\",\"public_key\":\"{}\",\"picked_ms\":5}}]}}",
        key(1)
    );
    fs::write(&path, &first).expect("a file");
    let pin = |text: &str| {
        *names::read(&dir)
            .expect("read")
            .pin(&name(text))
            .expect("pinned")
    };
    let alice = pin("alice");
    assert_eq!(
        (alice.key, alice.picked_ms, alice.how),
        (key(1), 5, How::Picked)
    );
    assert_eq!(
        fs::read_to_string(&path).expect("the file"),
        first,
        "reading changes nothing"
    );

    assert!(learn(&dir, &name("bob"), &key(2), 6).expect("learned"));
    assert_eq!((pin("alice"), pin("bob").how), (alice, How::Used));
    let written = fs::read_to_string(&path).expect("the file");
    assert!(written.contains("\"version\": 2"), "{written}");
}

#[test]
fn what_is_learned_by_use_replaces_nothing_and_gives_way_to_a_pick() {
    let (_home, dir) = home();
    let own = make(&dir);
    let alice = name("alice");
    let pin = || {
        *names::read(&dir)
            .expect("read")
            .pin(&alice)
            .expect("pinned")
    };
    assert!(learn(&dir, &alice, &key(1), NOW_MS).expect("learned"));
    assert!(!learn(&dir, &alice, &key(2), NOW_MS).expect("left alone"));
    assert_eq!((pin().key, pin().how), (key(1), How::Used));
    let meant = meaning(&dir, "alice").expect("known");
    assert_eq!((meant.key(), meant.by()), (&key(1), By::Pin(How::Used)));

    assert_eq!(
        pick(&dir, &alice, &key(1), NOW_MS + 1).expect("picked"),
        Some(key(1))
    );
    assert_eq!((pin().how, pin().picked_ms), (How::Picked, NOW_MS + 1));
    assert_eq!(
        pick(&dir, &alice, &key(2), NOW_MS + 2).expect("picked"),
        Some(key(1))
    );
    assert!(!learn(&dir, &alice, &key(1), NOW_MS + 3).expect("left alone"));
    assert_eq!(pin().key, key(2));

    for (name, key) in [(own.name, key(3)), (name("bob"), own.key)] {
        learn(&dir, &name, &key, NOW_MS).expect_err("one's own");
    }
    assert_eq!(names::read(&dir).expect("read").len(), 1);
}

#[test]
fn a_name_that_is_pinned_nowhere_means_its_only_claimant() {
    let (_home, dir) = home();
    make(&dir);
    picked(&dir, "alicia", 4);
    let unknown = || meaning(&dir, "alice").expect_err("not known here");
    let claimant = |seed| Claimant {
        key: key(seed),
        since_ms: NOW_MS,
    };
    let one = resolve_claimed(unknown(), &[claimant(1)], None).expect("one");
    assert_eq!(
        (one.key(), one.by(), one.is_own()),
        (&key(1), By::Claim, false)
    );
    let two = resolve_claimed(unknown(), &[claimant(1), claimant(2)], None);
    assert!(
        matches!(&two, Err(ResolveError::Contested { claimants, .. }) if claimants.len() == 2),
        "{two:?}"
    );
    let near =
        |claimed: Option<&str>| match resolve_claimed(unknown(), &[], claimed.map(name).as_ref()) {
            Err(ResolveError::Unknown {
                near, picked: 1, ..
            }) => near,
            other => panic!("{other:?}"),
        };
    assert_eq!(near(None), Some(name("alicia")));
    assert_eq!(
        near(Some("alic")),
        Some(name("alic")),
        "one slip goes before two"
    );
    let other = ResolveError::Contested {
        name: name("alice"),
        claimants: Vec::new(),
    };
    let other = resolve_claimed(other, &[claimant(1)], None);
    assert!(matches!(other, Err(ResolveError::Contested { .. })));
}

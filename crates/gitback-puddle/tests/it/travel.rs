//! A puddle that goes to another machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gitback_identity::SecretKey;
use gitback_puddle::{
    CARRIED_FILE_MAX, Carried, CarryReject, ExportError, InstallError, ReadError, export, install,
    read_public, read_retired, refuse_occupied, rotate, unwrap, unwrap_retired,
};

use crate::{NOW_MS, cheap, home, make, passphrase};

/// dan's puddle with one retired key.
fn rotated(dir: &Path) -> Carried {
    make(dir);
    let next = SecretKey::from_seed(&[8; 32]);
    rotate(dir, &passphrase("open sesame"), &next, cheap(), NOW_MS + 1).expect("a new key");
    export(dir).expect("the files")
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn arrives_as_it_was_and_opens_under_the_same_passphrase() {
    let ((_here, from), (_there, to)) = (home(), home());
    let carried = rotated(&from);
    let public = install(&to, &carried).expect("installed");
    assert_eq!(public, read_public(&from).expect("read"));
    assert_eq!(public, read_public(&to).expect("read"));
    for name in ["identity.wrapped", "identity.pub"] {
        let [left, right] = [&from, &to].map(|dir| fs::read(dir.join(name)).expect("a file"));
        assert_eq!(left, right, "{name}");
    }
    let retired = read_retired(&to).expect("read");
    assert_eq!(retired, read_retired(&from).expect("read"));
    assert_eq!(retired.len(), 1);
    unwrap(&to, &passphrase("open sesame")).expect("opens");
    unwrap_retired(&to, &retired[0].key, &passphrase("open sesame")).expect("opens");
    let mode = |path: &str| {
        fs::metadata(to.join(path))
            .expect("there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("identity.wrapped"), 0o600);
    assert_eq!(mode("retired"), 0o700);
}

#[test]
fn refuses_to_replace_anything() {
    let ((_here, from), (_there, to)) = (home(), home());
    let carried = rotated(&from);
    let there = make(&to);
    let before = fs::read(to.join("identity.wrapped")).expect("a file");
    let refused = install(&to, &carried).expect_err("there is one");
    assert!(
        matches!(&refused, InstallError::Exists { public: Some(public), .. } if **public == there),
        "{refused:?}"
    );
    assert_eq!(
        fs::read(to.join("identity.wrapped")).expect("a file"),
        before
    );
    assert_eq!(files(&to), ["identity.pub", "identity.wrapped"]);
}

#[test]
fn refuses_a_lone_file_that_it_would_replace() {
    for name in ["identity.wrapped", "identity.pub"] {
        let ((_here, from), (_there, to)) = (home(), home());
        let carried = rotated(&from);
        fs::create_dir(&to).expect("a directory");
        fs::write(to.join(name), b"of somebody").expect("a file");
        let refused = install(&to, &carried).expect_err("it is there");
        assert!(
            matches!(refused, InstallError::Exists { .. }),
            "{refused:?}"
        );
        assert_eq!(files(&to), [name]);
    }
}

#[test]
fn what_a_crash_left_of_the_same_puddle_is_taken_and_of_another_is_refused() {
    let ((_here, from), (_there, to)) = (home(), home());
    let carried = rotated(&from);
    let name = files(&from.join("retired")).remove(0);
    let left = to.join("retired").join(&name);
    fs::create_dir_all(to.join("retired")).expect("a directory");
    fs::copy(from.join("retired").join(&name), &left).expect("a copy");
    install(&to, &carried).expect("installed");

    let (_other, to) = home();
    fs::create_dir_all(to.join("retired")).expect("a directory");
    fs::write(to.join("retired").join(&name), b"another").expect("a file");
    let refused = install(&to, &carried).expect_err("it differs");
    assert!(
        matches!(refused, InstallError::Exists { .. }),
        "{refused:?}"
    );

    let (_other, to) = home();
    fs::create_dir_all(to.join("retired")).expect("a directory");
    fs::write(to.join("retired/0011223344556677.wrapped"), b"another").expect("a file");
    let refused = install(&to, &carried).expect_err("a key of somebody else");
    assert!(
        matches!(refused, InstallError::Exists { .. }),
        "{refused:?}"
    );
    assert_eq!(files(&to), ["lock", "retired"]);
    assert_eq!(files(&to.join("retired")), ["0011223344556677.wrapped"]);
}

/// Between the two tries the passphrase was changed: the bytes differ, and the keys are the same.
#[test]
fn what_a_crash_left_of_the_same_keys_gives_way() {
    let ((_here, from), (_later, rewrapped), (_there, to)) = (home(), home(), home());
    install(&to, &rotated(&from)).expect("installed");
    for name in ["identity.wrapped", "identity.pub"] {
        fs::remove_file(to.join(name)).expect("as after a crash");
    }
    let carried = rotated(&rewrapped);
    let bytes = || {
        let name = files(&to.join("retired")).remove(0);
        fs::read(to.join("retired").join(name)).expect("a file")
    };
    assert_ne!(Some(bytes().as_slice()), carried.retired().next());
    refuse_occupied(&to).expect("the same puddle may come");
    install(&to, &carried).expect("installed");
    assert_eq!(Some(bytes().as_slice()), carried.retired().next());
    let retired = read_retired(&to).expect("read");
    unwrap_retired(&to, &retired[0].key, &passphrase("open sesame")).expect("opens");
}

#[test]
fn what_no_puddle_could_be_installed_beside_is_found_before_one_comes() {
    let ((_here, from), (_there, to)) = (home(), home());
    rotated(&from);
    refuse_occupied(&to).expect("nothing is there");
    assert!(!to.exists());
    let refused = refuse_occupied(&from).expect_err("a puddle");
    assert!(
        matches!(refused, InstallError::Exists { .. }),
        "{refused:?}"
    );
    let retired = to.join("retired");
    fs::create_dir_all(&retired).expect("a directory");
    fs::write(retired.join("0011223344556677.wrapped"), b"?").expect("a file");
    let refused = refuse_occupied(&to).expect_err("no key");
    assert!(matches!(refused, InstallError::Read(_)), "{refused:?}");
}

#[test]
fn leaves_nothing_behind_when_it_cannot_be_written() {
    let ((_here, from), (_there, to)) = (home(), home());
    let carried = rotated(&from);
    // A directory where the temporary file of identity.wrapped goes: the last step that counts fails.
    let temporary = format!("identity.wrapped.{}.new", std::process::id());
    fs::create_dir_all(to.join(&temporary)).expect("a directory");
    let refused = install(&to, &carried).expect_err("cannot be written");
    assert!(matches!(refused, InstallError::Write(_)), "{refused:?}");
    assert_eq!(files(&to), [temporary.as_str(), "lock"]);
    assert!(matches!(read_public(&to), Err(ReadError::Missing { .. })));
}

#[test]
fn refuses_what_is_no_sound_puddle() {
    let (_here, from) = home();
    let carried = rotated(&from);
    let current = carried.current().to_vec();
    let retired: Vec<Vec<u8>> = carried.retired().map(<[u8]>::to_vec).collect();
    assert!(Carried::new(current.clone(), retired.clone()).is_ok());

    let refused = |current: &[u8], retired: Vec<Vec<u8>>| {
        Carried::new(current.to_vec(), retired).expect_err("unsound")
    };
    assert!(matches!(
        refused(b"{}", Vec::new()),
        CarryReject::Damaged { .. }
    ));
    assert!(matches!(
        refused(b"", Vec::new()),
        CarryReject::Damaged { .. }
    ));
    let long = [current.as_slice(), &vec![b' '; CARRIED_FILE_MAX]].concat();
    assert!(matches!(
        refused(&long, Vec::new()),
        CarryReject::TooLong { .. }
    ));
    assert!(matches!(
        refused(&current, vec![current.clone()]),
        CarryReject::Twice { .. }
    ));
    assert!(matches!(
        refused(&current, vec![Vec::new()]),
        CarryReject::Damaged { .. }
    ));
    let many = vec![retired[0].clone(); 65];
    assert!(matches!(
        refused(&current, many),
        CarryReject::TooMany { count: 65 }
    ));

    let text = String::from_utf8(current.clone()).expect("UTF-8");
    let newer = text.replace("\"version\": 1", "\"version\": 2");
    assert!(matches!(
        refused(newer.as_bytes(), Vec::new()),
        CarryReject::UnknownVersion { version: 2, .. }
    ));
    let costly = text.replace("\"memory_kib\": 64", "\"memory_kib\": 4000000000");
    assert!(matches!(
        refused(costly.as_bytes(), Vec::new()),
        CarryReject::Damaged { .. }
    ));
    let other = String::from_utf8(retired[0].clone()).expect("UTF-8");
    let other = other.replace("\"name\": \"dan\"", "\"name\": \"eve\"");
    assert!(matches!(
        refused(&current, vec![other.into_bytes()]),
        CarryReject::OtherName { .. }
    ));
}

#[test]
fn nothing_travels_from_where_there_is_nothing() {
    let (_here, from) = home();
    let missing = export(&from).expect_err("nothing");
    assert!(
        matches!(missing, ExportError::Read(ReadError::Missing { .. })),
        "{missing:?}"
    );
    assert!(!from.exists());
}

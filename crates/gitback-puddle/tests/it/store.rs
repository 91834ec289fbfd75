use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gitback_puddle::{CreateError, ReadError, UnwrapError, create, generate, read_public, unwrap};

use crate::{NOW_MS, cheap, home, make, passphrase, secret};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name().into_string())
        .collect::<Result<_, _>>()
        .expect("UTF-8");
    names.sort();
    names
}

#[test]
fn makes_files_with_their_modes_and_nothing_else() {
    let (_home, dir) = home();
    let made = make(&dir);
    assert_eq!(made.key.key(), &secret().public());
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("identity.wrapped")), 0o600);
    assert_eq!(mode(&dir.join("identity.pub")), 0o644);
    assert_eq!(names(&dir), ["identity.pub", "identity.wrapped"]);
}

#[test]
fn closes_a_directory_that_was_open() {
    let (_home, dir) = home();
    fs::create_dir(&dir).expect("a directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("a mode");
    make(&dir);
    assert_eq!(mode(&dir), 0o700);
}

#[test]
fn reads_and_unwraps_what_was_made() {
    let (_home, dir) = home();
    let made = make(&dir);
    assert_eq!(read_public(&dir).expect("read"), made);
    let opened = unwrap(&dir, &passphrase("open sesame")).expect("unwrapped");
    assert_eq!(opened.seed(), secret().seed());
}

#[test]
fn shows_the_fingerprint_in_the_public_file() {
    let (_home, dir) = home();
    let made = make(&dir);
    let text = fs::read_to_string(dir.join("identity.pub")).expect("the file");
    let words = made.key.fingerprint().to_string();
    assert!(
        text.contains(&format!("\"fingerprint\": \"{words}\"")),
        "{text}"
    );
}

#[test]
fn wrapped_key_alone_is_enough_on_another_machine() {
    let (_home, dir) = home();
    let made = make(&dir);
    let (_other_home, other) = home();
    fs::create_dir(&other).expect("a directory");
    fs::copy(dir.join("identity.wrapped"), other.join("identity.wrapped")).expect("a copy");
    assert_eq!(read_public(&other).expect("read"), made);
    unwrap(&other, &passphrase("open sesame")).expect("unwrapped");
}

#[test]
fn refuses_a_wrong_passphrase() {
    let (_home, dir) = home();
    make(&dir);
    let error = unwrap(&dir, &passphrase("open barley")).expect_err("wrong");
    assert!(
        matches!(&error, UnwrapError::WrongPassphrase { name } if name.as_str() == "dan"),
        "{error:?}"
    );
}

#[test]
fn refuses_to_overwrite_and_says_whose_it_is() {
    let (_home, dir) = home();
    let made = make(&dir);
    let before = fs::read(dir.join("identity.wrapped")).expect("the file");
    let again = create(
        &dir,
        &"eve".parse().expect("a name"),
        &passphrase("other"),
        &generate().expect("a key"),
        cheap(),
        NOW_MS + 1,
    );
    match again.expect_err("it exists") {
        CreateError::Exists { public, .. } => assert_eq!(public.as_deref(), Some(&made)),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        fs::read(dir.join("identity.wrapped")).expect("the file"),
        before
    );
    assert_eq!(names(&dir), ["identity.pub", "identity.wrapped"]);
}

#[test]
fn refuses_to_overwrite_a_file_it_cannot_read() {
    let (_home, dir) = home();
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("identity.wrapped"), b"from the future").expect("a file");
    let again = create(
        &dir,
        &"dan".parse().expect("a name"),
        &passphrase("p"),
        &secret(),
        cheap(),
        NOW_MS,
    );
    assert!(
        matches!(again, Err(CreateError::Exists { public: None, .. })),
        "{again:?}"
    );
}

#[test]
fn tells_missing_from_damaged() {
    let (_home, dir) = home();
    assert!(matches!(read_public(&dir), Err(ReadError::Missing { .. })));
    let missing = unwrap(&dir, &passphrase("p")).expect_err("missing");
    assert!(
        matches!(missing, UnwrapError::Read(ReadError::Missing { .. })),
        "{missing:?}"
    );

    make(&dir);
    fs::write(dir.join("identity.pub"), b"{\"name\":1}").expect("a file");
    assert!(matches!(read_public(&dir), Err(ReadError::Damaged { .. })));
    fs::write(dir.join("identity.wrapped"), vec![b' '; 70_000]).expect("a file");
    let long = unwrap(&dir, &passphrase("p")).expect_err("too long");
    assert!(
        matches!(long, UnwrapError::Read(ReadError::Io { .. })),
        "{long:?}"
    );
}

#[test]
fn makes_a_new_key_each_time() {
    let (first, second) = (generate().expect("a key"), generate().expect("a key"));
    assert_ne!(first.seed(), second.seed());
}

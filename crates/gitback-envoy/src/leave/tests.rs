use std::os::unix::fs as unix;

use gitback_identity::{Handle, PuddleKey, SecretKey};

use super::*;

/// A home with the project's folder in it.
struct Home {
    dir: tempfile::TempDir,
    project: ProjectId,
}

impl Home {
    fn new() -> Self {
        let puddle = PuddleKey::new(SecretKey::from_seed(&[1; 32]).public());
        let handle: Handle = "notes".parse().expect("valid");
        let home = Self {
            dir: tempfile::tempdir().expect("temporary folder"),
            project: ProjectId::derive(&puddle, &handle),
        };
        std::fs::create_dir_all(home.folder()).expect("made");
        home
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join(FOLDER).join(self.project.to_string())
    }

    fn file(&self) -> PathBuf {
        self.folder().join(FILE)
    }

    fn write(&self, bytes: &[u8]) {
        std::fs::write(self.file(), bytes).expect("written");
    }

    fn open(&self) -> Result<Option<Pending>, Refused> {
        let own = rustix::process::getuid().as_raw();
        Pending::open(self.dir.path(), &self.project, own)
    }
}

#[test]
fn a_plain_file_is_read_and_removed() {
    let home = Home::new();
    assert!(home.open().expect("no file is fine").is_none());
    home.write(b"a leave");
    let pending = home.open().expect("plain").expect("there");
    assert_eq!(pending.bytes, b"a leave");
    pending.remove().expect("it is still the same");
    assert!(!home.file().exists());
}

#[test]
fn symlink() {
    let home = Home::new();
    let secret = home.dir.path().join("secret");
    std::fs::write(&secret, b"not for others").expect("written");
    unix::symlink(&secret, home.file()).expect("linked");
    assert!(matches!(home.open(), Err(Refused::NotPlain)));
}

#[test]
fn symlink_on_the_way() {
    let home = Home::new();
    home.write(b"a leave");
    let elsewhere = home.dir.path().join("elsewhere");
    std::fs::rename(home.folder(), &elsewhere).expect("moved");
    unix::symlink(&elsewhere, home.folder()).expect("linked");
    assert!(matches!(home.open(), Err(Refused::NotPlain)));
}

#[test]
fn hard_link() {
    let home = Home::new();
    home.write(b"a leave");
    std::fs::hard_link(home.file(), home.dir.path().join("other")).expect("linked");
    assert!(matches!(home.open(), Err(Refused::Links(two)) if two == "2"));
}

#[test]
fn fifo() {
    let home = Home::new();
    let mode = FileMode::RUSR | FileMode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, home.file(), FileType::Fifo, mode, 0).expect("made");
    assert!(matches!(home.open(), Err(Refused::NotPlain)));
}

#[test]
fn directory() {
    let home = Home::new();
    std::fs::create_dir(home.file()).expect("made");
    assert!(matches!(home.open(), Err(Refused::NotPlain)));
}

#[test]
fn wrong_owner() {
    let home = Home::new();
    home.write(b"a leave");
    let own = rustix::process::getuid().as_raw();
    let opened = Pending::open(home.dir.path(), &home.project, own + 1);
    assert!(matches!(opened, Err(Refused::Owner(owner)) if owner == own));
}

#[test]
fn oversize() {
    let home = Home::new();
    home.write(&vec![b'0'; 8193]);
    assert!(matches!(home.open(), Err(Refused::TooLarge(8193))));
    home.write(&vec![b'0'; 8192]);
    assert!(home.open().expect("just as large as it may be").is_some());
}

#[test]
fn swapped() {
    let home = Home::new();
    home.write(b"a leave");
    let pending = home.open().expect("plain").expect("there");
    let other = home.folder().join("other");
    std::fs::write(&other, b"another leave").expect("written");
    std::fs::rename(other, home.file()).expect("moved");
    assert!(matches!(pending.remove(), Err(Refused::Swapped)));
    assert!(home.file().exists(), "what took its place stays");
}

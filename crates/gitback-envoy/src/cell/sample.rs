//! A project for tests: what its founder says, and commits in its repository.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gitback_envelope::{Act, Change, EnvelopeId, Oid, RefName, Statement, Update, Verified};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey};
use gitback_pack::Limits;
use tempfile::TempDir;

use super::{Cell, Drafting};

/// A project in a folder of its own.
pub(crate) struct Sample {
    pub(crate) cell: Cell,
    dir: TempDir,
}

impl Sample {
    /// One that its founder has just begun.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cell = open(dir.path());
        let handle: Handle = "notes".parse().expect("valid");
        let init = seal(Statement::init(&puddle(), &handle));
        let admitted = cell.lock().admit(vec![init]).expect("the disk works");
        assert_eq!(admitted.folded.len(), 1, "{admitted:?}");
        Self { cell, dir }
    }

    /// Opens it anew, after something has happened to its files.
    pub(crate) fn reopen(self, meanwhile: impl FnOnce(&Path)) -> Self {
        let Self { cell, dir } = self;
        let log_dir = cell.log_dir().to_owned();
        drop(cell);
        meanwhile(&log_dir);
        let cell = open(dir.path());
        Self { cell, dir }
    }

    /// Stores an update of one ref behind everything else, and does not let refs follow.
    pub(crate) fn update(&self, name: &str, new: Oid, contained: &[EnvelopeId]) -> EnvelopeId {
        self.say(name, new, contained, &[])
    }

    /// The same with what it forces away.
    pub(crate) fn say(
        &self,
        name: &str,
        new: Oid,
        contained: &[EnvelopeId],
        forced: &[EnvelopeId],
    ) -> EnvelopeId {
        let mut state = self.cell.lock();
        let envoy = EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public());
        let drafting = Drafting::after(&state, founder().public(), puddle(), envoy, None);
        let mut drafting = drafting.expect("encodes");
        let change = Change {
            name: RefName::new(name.as_bytes()).expect("valid"),
            new,
            contained: contained.to_vec(),
            forced: forced.to_vec(),
        };
        let update = Update {
            changes: vec![change],
            head: None,
            pack: None,
        };
        let id = drafting.add(Act::Update(update)).expect("encodes");
        let statements = drafting.into_statements().into_iter();
        let admitted = state.admit(statements.map(seal).collect());
        let admitted = admitted.expect("the disk works");
        assert!(admitted.folded.contains(&id), "{admitted:?}");
        id
    }

    /// A commit of nothing in the repository, called `text`.
    pub(crate) fn commit(&self, text: &str, parents: &[Oid]) -> Oid {
        let tree = self.object("tree", b"");
        let mut commit = format!("tree {tree}\n");
        for parent in parents {
            commit.push_str(&format!("parent {parent}\n"));
        }
        commit.push_str(&format!(
            "author a <a> 0 +0000\ncommitter a <a> 0 +0000\n\n{text}\n"
        ));
        self.object("commit", commit.as_bytes())
    }

    fn object(&self, kind: &str, content: &[u8]) -> Oid {
        let mut git = Command::new("git")
            .arg("--git-dir")
            .arg(self.cell.repo().path())
            .args(["hash-object", "-w", "--stdin", "-t", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = git.stdin.take().expect("piped");
        stdin.write_all(content).expect("written");
        drop(stdin);
        let said = git.wait_with_output().expect("git ends").stdout;
        let said = String::from_utf8(said).expect("hex");
        said.trim().parse().expect("an object id")
    }

    /// The file of a loose object.
    pub(crate) fn file_of(&self, oid: &Oid) -> PathBuf {
        let name = oid.to_string();
        let (folder, name) = name.split_at(2);
        self.path("objects").join(folder).join(name)
    }

    /// A place in the repository.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.cell.repo().path().join(inside)
    }

    /// Puts something in the way of a ref.
    pub(crate) fn obstruct(&self, name: &str) {
        std::fs::create_dir_all(self.path(name)).expect("made");
        std::fs::write(self.path(name).join("left.lock"), b"").expect("written");
    }

    /// Takes it out of the way.
    pub(crate) fn clear(&self, name: &str) {
        std::fs::remove_dir_all(self.path(name)).expect("removed");
    }

    /// Where a ref is that is shown.
    pub(crate) fn at(&self, name: &str) -> Option<Oid> {
        let shown = self.cell.shown_refs().expect("readable");
        shown.get(name.as_bytes()).copied()
    }
}

fn open(dir: &Path) -> Cell {
    let handle: Handle = "notes".parse().expect("valid");
    let id = ProjectId::derive(&puddle(), &handle);
    let (projects, envelopes) = (dir.join("projects"), dir.join("envelopes"));
    Cell::open(id, &projects, &envelopes, &Limits::default()).expect("opens")
}

fn founder() -> SecretKey {
    SecretKey::from_seed(&[3; 32])
}

fn puddle() -> PuddleKey {
    PuddleKey::new(founder().public())
}

fn seal(statement: Statement) -> Verified {
    let signature = founder().sign(&statement.signing_bytes().expect("encodes"));
    statement.seal(signature).expect("the founder's")
}

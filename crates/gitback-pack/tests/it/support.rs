//! A client's clone, a repository, and pipes between git and a session.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gitback_pack::receive::{Request, Session};
use gitback_pack::{Bound, Expect, Limits, Oid, RefChange, Reject, Repository};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// Runs between git and two named pipes: what git sends goes to one, what comes out
/// of the other goes to git, and each end is passed on.
const BRIDGE: &str = "exec 3<&0; cat \"$0/down\" & cat <&3 >\"$0/up\"; wait";

/// A directory with one repository in it and room for clones.
pub(crate) struct World {
    pub(crate) home: TempDir,
    pub(crate) repository: Repository,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let repository = Repository::create(&home.path().join("served.git")).expect("a repository");
        Self { home, repository }
    }

    /// Makes a working clone with one commit on `main`.
    pub(crate) fn clone_with_commit(&self, name: &str) -> Clone {
        let clone = Clone {
            path: self.home.path().join(name),
        };
        fs::create_dir(&clone.path).expect("a directory");
        clone.git(&["init", "-q", "-b", "main"]);
        clone.commit("file", "first\n");
        clone
    }

    pub(crate) fn path(&self) -> &Path {
        self.repository.path()
    }

    /// Takes a pack into the repository, without refs.
    pub(crate) fn store(&self, pack: &[u8], tips: &[Oid]) -> Result<(), Reject> {
        let mut quarantine = self.repository.quarantine();
        quarantine.ingest(pack, &Limits::default())?;
        quarantine.check_connected(tips)?;
        quarantine.migrate()?;
        Ok(())
    }

    pub(crate) fn set(&self, name: &str, oid: Oid) {
        let change = RefChange {
            name: name.into(),
            old: Expect::Any,
            new: Some(oid),
        };
        self.repository
            .update_refs(&[change])
            .expect("the ref moves");
    }

    pub(crate) fn get(&self, name: &str) -> Option<Oid> {
        let refs = self.repository.refs().expect("refs");
        refs.into_iter()
            .find(|r| r.name == name.as_bytes())
            .map(|r| r.oid)
    }

    /// Stores all of a clone's history and points `main` to its head.
    pub(crate) fn seed(&self, clone: &Clone) -> Oid {
        let head = clone.oid("HEAD");
        self.store(&clone.pack(&["HEAD"], &[]), &[head])
            .expect("a good pack");
        self.set("refs/heads/main", head);
        head
    }

    /// Files below the repository whose names contain `part`.
    pub(crate) fn files(&self, part: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![self.path().to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().contains(part))
                {
                    found.push(path.clone());
                }
                if path.is_dir() {
                    pending.push(path);
                }
            }
        }
        found
    }

    /// Runs `git verb arguments` in `clone`; whatever server program it starts is
    /// `serve`, at the other end of two pipes.
    pub(crate) fn converse<T: Send>(
        &self,
        clone: &Path,
        verb: &str,
        arguments: &[&str],
        serve: impl FnOnce(File, File) -> T + Send,
    ) -> (Output, T) {
        let pipes = tempfile::tempdir_in(self.home.path()).expect("a directory");
        for name in ["up", "down"] {
            mknodat(
                CWD,
                pipes.path().join(name),
                FileType::Fifo,
                Mode::RUSR | Mode::WUSR,
                0,
            )
            .expect("a pipe");
        }
        let program = format!("sh -c '{BRIDGE}' '{}'", pipes.path().display());
        let mut command = git_command(clone);
        let option = match verb {
            "push" => "--receive-pack",
            _ => "--upload-pack",
        };
        command
            .arg(verb)
            .arg(format!("{option}={program}"))
            .args(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git");
        let result = std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let output = File::options()
                    .write(true)
                    .open(pipes.path().join("down"))
                    .expect("a pipe");
                let input = File::open(pipes.path().join("up")).expect("a pipe");
                serve(input, output)
            });
            server.join().expect("the server does not panic")
        });
        let mut output = Output {
            status: Default::default(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        child
            .stdout
            .take()
            .expect("piped")
            .read_to_end(&mut output.stdout)
            .expect("readable");
        child
            .stderr
            .take()
            .expect("piped")
            .read_to_end(&mut output.stderr)
            .expect("readable");
        output.status = child.wait().expect("git ends");
        (output, result)
    }

    /// `git push` against a server that takes what is sound.
    pub(crate) fn push(&self, clone: &Clone, arguments: &[&str]) -> (Output, Option<Request>) {
        let served = self.path().to_str().expect("UTF-8").to_owned();
        let mut all = Vec::new();
        let (options, names): (Vec<&str>, Vec<&str>) =
            arguments.iter().partition(|word| word.starts_with('-'));
        all.extend(options);
        all.push(&served);
        all.extend(names);
        self.converse(&clone.path, "push", &all, |input, output| {
            self.accept(input, output)
        })
    }

    fn accept(&self, input: File, output: File) -> Option<Request> {
        let mut session = Session::advertise(&self.repository, input, output, "test/1")
            .expect("the client listens");
        let request = session.request().expect("a request")?;
        let unpack = if request.has_pack() {
            self.unpack(&mut session, &request)
        } else {
            Ok(())
        };
        let results = request.commands.iter().map(|command| {
            let old = if command.old.is_null() {
                Expect::Missing
            } else {
                Expect::Is(command.old)
            };
            let new = (!command.new.is_null()).then_some(command.new);
            let moved = match &unpack {
                Ok(()) => {
                    let change = RefChange {
                        name: command.name.clone(),
                        old,
                        new,
                    };
                    self.repository
                        .update_refs(&[change])
                        .map_err(|error| error.to_string())
                }
                Err(_) => Err("not unpacked".to_owned()),
            };
            (command.name.clone(), moved)
        });
        let results: Vec<_> = results.collect();
        session
            .message("success: 2 of 2 envoys hold it\nhint: all is well")
            .expect("the client listens");
        session
            .report(unpack, &results)
            .expect("the client listens");
        Some(request)
    }

    fn unpack(&self, session: &mut Session<File, File>, request: &Request) -> Result<(), String> {
        let tips: Vec<Oid> = request
            .commands
            .iter()
            .map(|c| c.new)
            .filter(|oid| !oid.is_null())
            .collect();
        let mut quarantine = self.repository.quarantine();
        let ingested = quarantine.ingest(session.pack_reader(), &Limits::default());
        ingested.map_err(|reject| reject.to_string())?;
        quarantine
            .check_connected(&tips)
            .map_err(|reject| reject.to_string())?;
        quarantine.migrate().map_err(|fault| fault.to_string())?;
        Ok(())
    }
}

/// A person's clone.
pub(crate) struct Clone {
    pub(crate) path: PathBuf,
}

impl Clone {
    /// Runs git, which must succeed; returns what it prints, trimmed.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments)
    }

    pub(crate) fn commit(&self, file: &str, content: &str) -> Oid {
        fs::write(self.path.join(file), content).expect("a file");
        self.git(&["add", file]);
        self.git(&["commit", "-q", "-m", file]);
        self.oid("HEAD")
    }

    pub(crate) fn oid(&self, revision: &str) -> Oid {
        parse(&self.git(&["rev-parse", revision]))
    }

    /// Writes an object as it is, right or wrong.
    pub(crate) fn object(&self, kind: &str, content: &[u8]) -> Oid {
        let arguments = ["hash-object", "-t", kind, "-w", "--literally", "--stdin"];
        parse(&text(feed(
            git_command(&self.path).args(arguments),
            content,
        )))
    }

    /// A pack of what `wants` lead to and `haves` do not; thin when there are haves.
    pub(crate) fn pack(&self, wants: &[&str], haves: &[&str]) -> Vec<u8> {
        let mut revisions: String = wants.iter().map(|want| format!("{want}\n")).collect();
        revisions.extend(haves.iter().map(|have| format!("^{have}\n")));
        let mut command = git_command(&self.path);
        command.args([
            "pack-objects",
            "--revs",
            "--stdout",
            "-q",
            "--delta-base-offset",
        ]);
        if !haves.is_empty() {
            command.arg("--thin");
        }
        feed(&mut command, revisions.as_bytes())
    }

    /// A pack of exactly these objects.
    pub(crate) fn pack_of(&self, objects: &[Oid]) -> Vec<u8> {
        let list: String = objects.iter().map(|oid| format!("{oid}\n")).collect();
        feed(
            git_command(&self.path).args(["pack-objects", "--stdout", "-q"]),
            list.as_bytes(),
        )
    }
}

pub(crate) fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_CONFIG_PARAMETERS",
    ] {
        command.env_remove(name);
    }
    command
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("LC_ALL", "C")
        .env("GIT_NO_LAZY_FETCH", "1")
        .args([
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.org",
            "-c",
            "safe.directory=*",
            "-c",
            "gc.auto=0",
        ]);
    command
}

pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = git_command(directory)
        .args(arguments)
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text(output.stdout)
}

fn feed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input)
        .expect("git reads");
    let output = child.wait_with_output().expect("git ends");
    assert!(output.status.success());
    output.stdout
}

/// Whether a pack was refused for being too much of one thing.
pub(crate) fn is_over<T>(result: &Result<T, Reject>, of: Bound) -> bool {
    matches!(result, Err(Reject::OverLimit { bound, .. }) if *bound == of)
}

pub(crate) fn parse(hex: &str) -> Oid {
    Oid::from_hex(hex.as_bytes()).expect("an object id")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8").trim().to_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

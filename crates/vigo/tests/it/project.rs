//! Projects, with a real daemon and real git.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::{Machine, VIGO};

/// A running daemon, ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Kept open: a daemon whose log nobody reads must not be the case here.
    log: BufReader<ChildStderr>,
}

impl Daemon {
    pub(crate) fn start(machine: &Machine) -> Self {
        let mut child = machine
            .command(VIGO)
            .args(["envoy", "run"])
            .env("VIGO_LOG", "warn")
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut first = String::new();
        log.read_line(&mut first).expect("a line");
        assert!(
            first.starts_with("envoy mars ready on 127.0.0.1:"),
            "{first}"
        );
        Self { child, log }
    }

    pub(crate) fn end(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill runs").success());
        let mut rest = String::new();
        while self.log.read_line(&mut rest).expect("a line") > 0 {}
        let status = self.child.wait().expect("ended");
        assert!(status.success(), "{status}: {rest}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn work_tree(machine: &Machine, name: &str) -> PathBuf {
    let dir = machine.dir.path().join(name);
    fs::create_dir_all(&dir).expect("a directory");
    machine
        .git_in(&dir, "init --quiet --initial-branch main")
        .expect(0);
    dir
}

pub(crate) fn commit(machine: &Machine, dir: &Path, text: &str) {
    fs::write(dir.join("file"), text).expect("written");
    machine.git_in(dir, "add file").expect(0);
    machine
        .git_in(dir, &format!("commit --quiet -m {text}"))
        .expect(0);
}

#[test]
fn a_locked_puddle_founds_nothing() {
    let machine = Machine::new();
    let tree = work_tree(&machine, "notes");
    let init = "swarm gitback project init";
    machine
        .vigo_in(&tree, init)
        .expect(10)
        .says("vigo swarm puddle init");
    machine
        .with_passphrase("swarm puddle init --name dan --no-unlock")
        .expect(0);
    machine
        .vigo_in(&tree, init)
        .expect(11)
        .says("error: puddle dan is locked\nwhy:   founding notes needs a signature\n")
        .says("hint:  vigo swarm puddle unlock");
    assert!(!machine.root().join("home/.vigo-gitback").exists());
    machine.with_passphrase("swarm puddle unlock").expect(0);
    machine.vigo_in(&tree, init).expect(15);
}

#[test]
fn refuses_what_is_no_project() {
    let machine = Machine::new();
    machine.make_puddle();
    let outside = machine.dir.path();
    machine
        .vigo_in(outside, "swarm gitback project init")
        .expect(1)
        .says("error: this is not a git repository's folder");
    let odd = work_tree(&machine, "my notes");
    machine
        .vigo_in(&odd, "swarm gitback project init")
        .expect(2)
        .says("hint:  choose one: vigo swarm gitback project init HANDLE");
    machine
        .vigo_in(&odd, "swarm gitback project init Notes")
        .expect(2);
}

#[test]
fn founds_connects_pushes_and_clones() {
    let machine = Machine::new();
    machine.make_puddle();
    let daemon = Daemon::start(&machine);
    let tree = work_tree(&machine, "Notes");
    commit(&machine, &tree, "one");
    machine.git_in(&tree, "tag v1").expect(0);
    machine.git_in(&tree, "branch aside").expect(0);

    machine
        .vigo_in(&tree, "swarm gitback project init")
        .expect(0)
        .answers("Project dan/notes ")
        .answers("  Address   gitback://dan/notes   (remote \"gitback\" added)\n")
        .answers("  Kept on   1 envoy: mars\n")
        .answers("contents are not encrypted\n")
        .says("[new branch]      aside -> aside")
        .says("[new tag]         v1 -> v1")
        .says("warning: THE ONLY COPY")
        .says("hint: git push gitback main\n");

    let projects = machine
        .vigo("swarm gitback project list --json")
        .expect(0)
        .json();
    let id = projects[0]["project_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(projects[0]["founder_name"], "dan");
    assert_eq!(projects[0]["role"], "founder");
    let record = machine
        .root()
        .join("home/.vigo-gitback")
        .join(&id)
        .join("project.json");
    let record = fs::read_to_string(record).expect("a record");
    assert!(
        record.contains("\"address\": \"gitback://dan/notes\""),
        "{record}"
    );

    let out = machine.dir.path();
    machine
        .git_in(out, "clone --quiet gitback://dan/notes clone")
        .expect(0);
    let heads = |dir: &Path| {
        machine
            .git_in(dir, "log --format=%H --all")
            .expect(0)
            .answer
    };
    assert_eq!(heads(&out.join("clone")), heads(&tree));
    let branch = machine
        .git_in(&out.join("clone"), "branch --show-current")
        .expect(0);
    assert_eq!(branch.answer, "main\n");

    machine
        .vigo_in(&tree, "swarm gitback project status")
        .expect(0)
        .answers("dan/notes  id ")
        .answers("  HEAD       refs/heads/main\n")
        .answers("tags/v1");
    machine
        .vigo("swarm gitback status")
        .expect(0)
        .answers("Puddle dan unlocked until ")
        .answers(" · envoy mars ok · 1 of 1 reachable\n")
        .answers("ONLY COPY");
    machine
        .vigo("swarm gitback project status dan/note")
        .expect(10)
        .says("hint:  did you mean dan/notes?");
    let envoy = machine.vigo("envoy status --json").expect(0).json();
    assert_eq!(
        (&envoy["name"], &envoy["projects"]),
        (&"mars".into(), &1.into())
    );
    daemon.end();
}

#[test]
fn a_second_run_goes_on_and_another_folder_is_refused() {
    let machine = Machine::new();
    machine.make_puddle();
    let _daemon = Daemon::start(&machine);
    let tree = work_tree(&machine, "notes");
    let init = "swarm gitback project init";

    // Nothing to push yet.
    machine
        .vigo_in(&tree, init)
        .expect(0)
        .answers("(remote \"gitback\" added)");
    commit(&machine, &tree, "one");
    machine
        .vigo_in(&tree, init)
        .expect(0)
        .answers("(remote \"gitback\")")
        .says("[new branch]      main -> main");
    machine
        .vigo_in(&tree, init)
        .expect(0)
        .says("Everything up-to-date");
    let status = machine
        .vigo("swarm gitback project status notes --json")
        .expect(0)
        .json();
    // init, policy, one grant, one update.
    assert_eq!(status["envelopes"], 4);
    assert_eq!(status["scope"], "swarm");

    // As if the first run had stopped before the remote was added.
    machine.git_in(&tree, "remote remove gitback").expect(0);
    machine
        .vigo_in(&tree, init)
        .expect(0)
        .answers("(remote \"gitback\" added)");

    let other = work_tree(&machine, "elsewhere/notes");
    machine
        .vigo_in(&other, init)
        .expect(1)
        .says("error: dan already has a project called notes (id ")
        .says("hint:  connect this folder: git remote add gitback gitback://dan/notes\n")
        .says("hint:  or choose a name:    vigo swarm gitback project init notes-2\n");
    machine
        .git_in(&other, "remote add gitback gitback://dan/notes")
        .expect(0);
    machine.vigo_in(&other, init).expect(0);
}

#[test]
fn a_remote_that_leads_elsewhere_is_left_alone() {
    let machine = Machine::new();
    machine.make_puddle();
    let _daemon = Daemon::start(&machine);
    let tree = work_tree(&machine, "notes");
    commit(&machine, &tree, "one");
    machine
        .git_in(&tree, "remote add gitback https://example.org/x")
        .expect(0);
    machine
        .vigo_in(&tree, "swarm gitback project init --no-push")
        .expect(0)
        .says("warning: the remote \"gitback\" leads to https://example.org/x")
        .says("hint: change it: git remote set-url gitback gitback://dan/notes");
    machine
        .git_in(&tree, "remote get-url gitback")
        .expect(0)
        .answers("https://example.org/x\n");
    let status = machine
        .vigo("swarm gitback project status notes --json")
        .expect(0)
        .json();
    assert_eq!(status["refs"], 0, "nothing was pushed");
}

#[test]
fn warns_about_files_that_git_does_not_hold() {
    let machine = Machine::new();
    machine.make_puddle();
    let _daemon = Daemon::start(&machine);
    let tree = work_tree(&machine, "notes");
    fs::write(tree.join(".gitattributes"), "*.bin filter=lfs\n").expect("written");
    fs::write(tree.join("big.bin"), "pointer").expect("written");
    machine.git_in(&tree, "add .").expect(0);
    machine.git_in(&tree, "commit --quiet -m one").expect(0);
    machine
        .vigo_in(&tree, "swarm gitback project init")
        .expect(0)
        .says("warning: 1 file under Git LFS: gitback keeps the pointers only");
}

#[test]
fn says_that_there_is_nothing_yet() {
    let machine = Machine::new();
    let _daemon = Daemon::start(&machine);
    let none = "No projects. Start one: vigo swarm gitback project init\n";
    machine
        .vigo("swarm gitback project list")
        .expect(0)
        .answers(none);
    machine
        .vigo("swarm gitback status")
        .expect(0)
        .answers("No puddle · envoy mars ok");
    let list = machine.vigo("swarm gitback project list --json").expect(0);
    assert_eq!(list.answer, "[]\n");
    machine
        .vigo("swarm gitback project status notes")
        .expect(10);
    machine.vigo("envoy status").expect(0).answers("No peers");
}

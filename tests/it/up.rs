//! A fresh machine becomes an envoy by one command, and stops being one by another.

use std::fs;
use std::path::{Path, PathBuf};

use gitback_tests::{Fleet, Outcome, Person};

use crate::world::{done, fails, options, says};

/// A directory in which no envoy has ever run, and what ends one that was started there.
struct Fresh {
    fleet: Fleet,
    root: PathBuf,
}

impl Fresh {
    fn machine() -> Self {
        let fleet = Fleet::prepare(options(1)).expect("a directory");
        let root = fleet.dir().join("fresh");
        fs::create_dir(&root).expect("a directory");
        Self { fleet, root }
    }

    fn person(&self) -> &Person {
        self.fleet.person(0)
    }

    fn vigo(&self, line: &str) -> gitback_tests::Invocation {
        let words = line.split(' ').map(str::to_owned);
        self.person().vigo(words).env("VIGO_ROOT", &self.root)
    }

    /// An address at which nothing of this machine listens.
    fn listen(&self) -> String {
        self.fleet.envoy(0).address()
    }

    fn up(&self) -> Outcome {
        done(self.vigo(&format!("up --name mars --listen {}", self.listen())))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = self.vigo("swarm puddle lock").run();
        let _ = self.vigo("down").run();
    }
}

#[test]
fn one_command_makes_an_envoy_and_another_ends_it() {
    let machine = Fresh::machine();
    let up = machine.up();
    says(&up.stdout, &["Envoy mars runs"]);
    says(&up.stderr, &["vigo swarm puddle init"]);
    let status = done(machine.vigo("envoy status --json"));
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["name"], "mars");
    assert_eq!(status["listen"], machine.listen());

    let again = done(machine.vigo("up"));
    says(&again.stdout, &["Envoy mars runs already"]);

    says(
        &done(machine.vigo("down")).stdout,
        &["Envoy mars has ended"],
    );
    says(
        &fails(machine.vigo("envoy status"), 15),
        &["nothing listens there"],
    );
    says(&done(machine.vigo("down")).stdout, &["No envoy ran here"]);
    // The settings of the first time hold.
    says(&done(machine.vigo("up")).stdout, &["Envoy mars runs"]);
}

#[test]
fn settings_that_are_there_are_a_persons() {
    let machine = Fresh::machine();
    machine.up();
    done(machine.vigo("down"));
    let file = machine.root.join("etc/vigo/envoy.toml");
    let before = fs::read_to_string(&file).expect("settings");
    says(
        &fails(machine.vigo("up --name pluto"), 1),
        &["another name: mars"],
    );
    says(
        &fails(machine.vigo("up --listen 127.0.0.1:9"), 1),
        &["another listen"],
    );
    says(
        &fails(machine.vigo("up --allow-uid 4711"), 1),
        &["without 4711"],
    );
    assert_eq!(fs::read_to_string(&file).expect("settings"), before);
    let other = Fresh::machine();
    says(&fails(other.vigo("up --listen nowhere"), 1), &["nowhere"]);
    assert!(!other.root.join("etc/vigo/envoy.toml").exists());
}

#[test]
fn says_why_an_envoy_did_not_start() {
    let machine = Fresh::machine();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let line = format!("up --listen {address}");
    says(&fails(machine.vigo(&line), 1), &["Address already in use"]);
    // Nothing is in the way of the next try.
    drop(taken);
    done(machine.vigo(&line));
}

#[test]
fn an_envoy_that_was_killed_is_started_again() {
    let machine = Fresh::machine();
    machine.up();
    let socket = machine.root.join("var/run/vigo/gitback.sock");
    kill(&socket);
    says(&done(machine.vigo("up")).stdout, &["Envoy mars runs"]);
}

/// Ends the process that listens on a socket at once.
fn kill(socket: &Path) {
    let stream = std::os::unix::net::UnixStream::connect(socket).expect("a daemon");
    let peer = rustix::net::sockopt::socket_peercred(&stream).expect("a process");
    rustix::process::kill_process(peer.pid, rustix::process::Signal::KILL).expect("killed");
    // The kernel closes the connection when the process is gone.
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut &stream, &mut rest);
}

#[test]
fn a_first_puddle_starts_the_envoy_where_it_is_asked_to() {
    let machine = Fresh::machine();
    let file = machine.fleet.passphrase_file().display().to_string();
    let init = format!("swarm puddle init --name dan --passphrase-file {file} --no-unlock");
    // Nobody can be asked here, so nothing is started.
    let made = done(machine.vigo(&init));
    says(&made.stderr, &["start one: vigo up"]);
    says(&fails(machine.vigo("envoy status"), 15), &["vigo up"]);

    let other = Fresh::machine();
    let config = other.root.join("etc/vigo");
    fs::create_dir_all(&config).expect("a directory");
    let settings = format!("name = \"venus\"\nlisten = \"{}\"\n", other.listen());
    fs::write(config.join("envoy.toml"), settings).expect("settings");
    let made = done(other.vigo(&format!("{init} --up")));
    says(&made.stdout, &["Created puddle dan"]);
    says(&made.stdout, &["Envoy venus runs"]);
    done(other.vigo("envoy status"));
}

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::{Machine, Said, VIGO};

#[test]
fn unlocks_and_locks() {
    let machine = Machine::new();
    machine
        .with_passphrase("swarm puddle init --name dan")
        .expect(0)
        .answers("Created puddle dan\n  Fingerprint  ")
        .answers("(8 h); `vigo swarm puddle lock` ends it\n")
        .says("so is this key");
    let status = machine.vigo("swarm puddle status --json").expect(0).json();
    assert_eq!(status["name"], "dan");
    assert_eq!(status["unlocked"], true);
    assert_eq!(status["key"].as_str().map(str::len), Some(64));

    machine
        .vigo("swarm puddle lock")
        .expect(0)
        .answers("Locked dan\n");
    assert!(!machine.socket().exists());
    let status = machine.vigo("swarm puddle status --json").expect(0).json();
    assert_eq!(
        (&status["unlocked"], &status["until_ms"]),
        (&false.into(), &().into())
    );
    machine
        .vigo("swarm puddle status")
        .expect(0)
        .answers("  Locked  ");
    machine
        .vigo("swarm puddle lock")
        .expect(0)
        .answers("dan was locked already\n");

    machine
        .with_passphrase("swarm puddle unlock --for 90m")
        .expect(0)
        .answers("Unlocked dan until ")
        .answers("(1 h 30 min)\n");
    machine
        .vigo("swarm puddle status")
        .expect(0)
        .answers("  Unlocked     until ");
}

#[test]
fn locks_whatever_became_of_the_files() {
    let machine = Machine::new();
    machine.make_puddle();
    let dir = machine.root().join("home/.vigo-puddle");
    fs::write(dir.join("identity.wrapped"), "{").expect("written");
    machine.vigo("swarm puddle status").expect(1);
    machine
        .vigo("swarm puddle lock")
        .expect(0)
        .answers("Locked the puddle\n");
    assert!(!machine.socket().exists());
}

#[test]
fn unlocking_again_replaces_the_session() {
    let machine = Machine::new();
    machine.make_puddle();
    let until = || machine.vigo("swarm puddle status --json").expect(0).json()["until_ms"].clone();
    let before = until().as_u64().expect("a time");
    machine
        .with_passphrase("swarm puddle unlock --for 1m")
        .expect(0);
    assert!(until().as_u64().expect("a time") < before);
}

#[test]
fn init_can_leave_it_locked() {
    let machine = Machine::new();
    machine
        .with_passphrase("swarm puddle init --name dan --no-unlock")
        .expect(0)
        .answers("  Locked  ");
    assert!(!machine.socket().exists());
}

#[test]
fn keeps_its_files_private() {
    let machine = Machine::new();
    machine.make_puddle();
    let mode = |path: &str| {
        let path = machine.root().join(path);
        fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    };
    assert_eq!(mode("home/.vigo-puddle"), 0o700);
    assert_eq!(mode("home/.vigo-puddle/identity.wrapped"), 0o600);
    assert_eq!(mode("var/run/vigo/puddle.sock"), 0o600);
}

#[test]
fn wraps_real_keys_at_the_standard_cost() {
    let machine = Machine::new();
    machine.make_puddle();
    let file = machine.root().join("home/.vigo-puddle/identity.wrapped");
    let wrapped = Said {
        code: None,
        answer: fs::read_to_string(file).expect("the file"),
        talk: String::new(),
    };
    let json = wrapped.json();
    assert_eq!(
        (&json["memory_kib"], &json["passes"]),
        (&65_536.into(), &3.into())
    );
}

#[test]
fn a_wrong_passphrase_leaves_it_locked() {
    let machine = Machine::new();
    machine.make_puddle();
    machine.vigo("swarm puddle lock").expect(0);
    machine.passphrase("open barley\n");
    machine
        .with_passphrase("swarm puddle unlock")
        .expect(11)
        .says("error: wrong passphrase for dan");
    assert!(!machine.socket().exists());
}

#[test]
fn never_overwrites_a_puddle() {
    let machine = Machine::new();
    machine.make_puddle();
    let file = machine.root().join("home/.vigo-puddle/identity.wrapped");
    let before = fs::read(&file).expect("the file");
    machine
        .with_passphrase("swarm puddle init --name eve")
        .expect(1)
        .says("error: this machine already has puddle dan (made ")
        .says("hint:  status: vigo swarm puddle status");
    assert_eq!(fs::read(&file).expect("the file"), before);
}

#[test]
fn a_wrapped_key_that_was_carried_over_is_enough() {
    let (mars, venus) = (Machine::new(), Machine::new());
    mars.make_puddle();
    let place = "home/.vigo-puddle/identity.wrapped";
    let there = venus.root().join(place);
    fs::create_dir_all(there.parent().expect("a parent")).expect("a directory");
    fs::copy(mars.root().join(place), &there).expect("copied");
    venus.with_passphrase("swarm puddle unlock").expect(0);
    let key = |machine: &Machine| machine.vigo("swarm puddle status --json").json()["key"].clone();
    assert_eq!(key(&mars), key(&venus));
}

#[test]
fn takes_the_passphrase_from_stdin() {
    let machine = Machine::new();
    let mut child = machine
        .command(VIGO)
        .args([
            "swarm",
            "puddle",
            "init",
            "--name",
            "dan",
            "--passphrase-file",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"open sesame").expect("written");
    drop(stdin);
    Said::from(child.wait_with_output().expect("ended")).expect(0);
    machine.with_passphrase("swarm puddle unlock").expect(0);
}

#[test]
fn asks_nobody_when_there_is_no_terminal() {
    let machine = Machine::new();
    machine
        .vigo("swarm puddle init")
        .expect(2)
        .says("--name NAME");
    machine
        .vigo("swarm puddle init --name dan")
        .expect(2)
        .says("error: there is no terminal to ask for a passphrase on")
        .says("--passphrase-file FILE");
    machine.make_puddle();
    machine
        .vigo("swarm puddle unlock")
        .expect(2)
        .says("--passphrase-file FILE");
}

#[test]
fn refuses_what_cannot_be_meant() {
    let machine = Machine::new();
    machine
        .with_passphrase("swarm puddle init --name Dan")
        .expect(2)
        .says("Dan");
    machine
        .with_passphrase("swarm puddle init --name dan --for eternity")
        .expect(2)
        .says("eternity");
    machine.passphrase("\n");
    machine
        .with_passphrase("swarm puddle init --name dan")
        .expect(2)
        .says("the passphrase is empty");
    machine
        .vigo("swarm puddle status")
        .expect(10)
        .says("vigo swarm puddle init");
    machine.vigo("swarm puddle lock").expect(0);
    assert!(!machine.root().join("home").exists(), "nothing was made");
}

#[test]
fn the_session_needs_a_key() {
    let machine = Machine::new();
    let socket = machine.socket();
    let mut command = machine.command(VIGO);
    command.args([
        "swarm", "puddle", "session", "--name", "dan", "--for-ms", "1000",
    ]);
    let said = Said::of(command.arg("--socket").arg(&socket)).expect(1);
    assert!(said.answer.starts_with("no key arrived"), "{said:?}");
    assert!(!socket.exists());
}

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::Machine;

const FILES: &str = "home/.vigo-puddle";

fn status(machine: &Machine) -> Value {
    machine.vigo("swarm puddle status --json").expect(0).json()
}

/// The files of the retired keys.
fn retired_files(machine: &Machine) -> Vec<PathBuf> {
    let entries = fs::read_dir(machine.root().join(FILES).join("retired"));
    let mut paths: Vec<PathBuf> = entries
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn gives_a_new_key_and_says_what_to_do_next() {
    let machine = Machine::new();
    machine.make_puddle();
    let before = status(&machine);
    assert_eq!(before["retired"], Value::Array(Vec::new()));

    let said = machine
        .with_passphrase("swarm puddle rotate --for 90m")
        .expect(0)
        .answers("Gave puddle dan a new key\n  Fingerprint  ")
        .answers("(1 h 30 min); `vigo swarm puddle lock` ends it\n")
        .says("vigo swarm gitback project reanchor --all")
        .says("copy identity.wrapped and retired/ from ");
    let after = status(&machine);
    assert_eq!(after["name"], before["name"]);
    assert_ne!(after["key"], before["key"]);
    assert_eq!(after["unlocked"], true, "the session has the new key");
    let fingerprint = |status: &Value| status["fingerprint"].as_str().expect("words").to_owned();
    let said = said.answers(&format!(
        "  Before       {} (kept in ",
        fingerprint(&before)
    ));
    said.answers(&fingerprint(&after));

    let retired = after["retired"].as_array().expect("a list");
    let [retired] = retired.as_slice() else {
        panic!("{retired:?}");
    };
    for field in ["key", "fingerprint", "created_ms"] {
        assert_eq!(retired[field], before[field]);
    }
    assert_eq!(retired["retired_ms"], after["created_ms"]);
    machine
        .vigo("swarm puddle status")
        .expect(0)
        .answers(&format!("  Retired      {} (", fingerprint(&before)));
    let files = retired_files(&machine);
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    let mode = fs::metadata(file).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn rotates_again_and_keeps_every_key() {
    let machine = Machine::new();
    machine.make_puddle();
    let mut keys = vec![status(&machine)["key"].clone()];
    for _ in 0..2 {
        machine.with_passphrase("swarm puddle rotate").expect(0);
        keys.insert(0, status(&machine)["key"].clone());
    }
    let after = status(&machine);
    let retired = after["retired"].as_array().expect("a list");
    let retired: Vec<Value> = retired.iter().map(|key| key["key"].clone()).collect();
    assert_eq!(retired, keys[1..]);
    machine.vigo("swarm puddle lock").expect(0);
    machine.with_passphrase("swarm puddle unlock").expect(0);
}

#[test]
fn can_leave_the_new_key_locked_and_always_locks_the_old_one() {
    let machine = Machine::new();
    machine.make_puddle();
    assert!(machine.socket().exists());
    machine
        .with_passphrase("swarm puddle rotate --no-unlock")
        .expect(0)
        .answers("  Locked  ");
    assert!(!machine.socket().exists());
    machine
        .vigo("swarm puddle rotate --no-unlock --for 1h")
        .expect(2);
}

#[test]
fn a_wrong_passphrase_changes_nothing() {
    let machine = Machine::new();
    machine.make_puddle();
    let before = status(&machine);
    machine.passphrase("open barley\n");
    machine
        .with_passphrase("swarm puddle rotate")
        .expect(11)
        .says("error: wrong passphrase for dan");
    assert_eq!(status(&machine), before, "and it is still unlocked");
}

#[test]
fn refuses_where_there_is_nothing_to_rotate_or_something_is_damaged() {
    let machine = Machine::new();
    machine
        .with_passphrase("swarm puddle rotate")
        .expect(10)
        .says("vigo swarm puddle init");
    machine.make_puddle();
    machine.vigo("swarm puddle rotate").expect(2);
    let stray = machine.root().join(FILES).join("retired");
    fs::create_dir(&stray).expect("a directory");
    fs::write(stray.join("0123456789abcdef.wrapped"), "{").expect("a file");
    machine
        .with_passphrase("swarm puddle rotate")
        .expect(1)
        .says("error: the puddle keeps its key\nwhy:   ")
        .says("0123456789abcdef.wrapped is damaged");
    machine
        .vigo("swarm puddle status")
        .expect(1)
        .says("error: cannot read your puddle");
}

#[test]
fn a_rotated_key_is_carried_over_in_place_of_the_old_one() {
    let (mars, venus) = (Machine::new(), Machine::new());
    mars.make_puddle();
    let there = venus.root().join(FILES);
    fs::create_dir_all(&there).expect("a directory");
    let bring = |name: &str| {
        fs::copy(mars.root().join(FILES).join(name), there.join(name)).expect("copied");
    };
    bring("identity.wrapped");
    bring("identity.pub");
    venus.with_passphrase("swarm puddle unlock").expect(0);

    mars.with_passphrase("swarm puddle rotate").expect(0);
    bring("identity.wrapped");
    fs::create_dir(there.join("retired")).expect("a directory");
    for file in retired_files(&mars) {
        let name = file.file_name().expect("a name");
        bring(&format!("retired/{}", name.to_string_lossy()));
    }
    assert_eq!(
        status(&venus)["unlocked"],
        false,
        "the old key does not count"
    );
    venus.with_passphrase("swarm puddle unlock").expect(0);
    let of = |machine: &Machine| {
        let status = status(machine);
        (status["key"].clone(), status["retired"].clone())
    };
    assert_eq!(of(&mars), of(&venus));
    let public = |machine: &Machine| {
        fs::read_to_string(machine.root().join(FILES).join("identity.pub")).expect("the file")
    };
    assert_eq!(
        public(&mars),
        public(&venus),
        "unlock brought it up to date"
    );
}

use std::fs::OpenOptions;

use crate::{Machine, Said, VIGO};

#[test]
fn says_how_to_start_a_daemon_that_does_not_run() {
    let machine = Machine::new();
    let socket = machine.root().join("var/run/vigo/gitback.sock");
    let error = format!(
        "error: the daemon is not answering on {}\n\
         why:   nothing listens there\n\
         hint:  start it: vigo up\n",
        socket.display()
    );
    for line in [
        "envoy status",
        "swarm gitback status",
        "swarm gitback project list",
        "swarm gitback project status notes",
    ] {
        let said = machine.vigo(line).expect(15);
        assert_eq!(
            (said.answer.as_str(), said.talk.as_str()),
            ("", error.as_str()),
            "{line}"
        );
    }
}

#[test]
fn reports_errors_as_json_where_json_is_asked_for() {
    let machine = Machine::new();
    let said = machine.vigo("envoy status --json").expect(15);
    assert_eq!(said.answer, "");
    let error: serde_json::Value = serde_json::from_str(&said.talk).expect("JSON");
    assert_eq!(error["message_type"], "error");
    assert_eq!(error["code"], 15);
    assert_eq!(error["hints"][0], "start it: vigo up");
}

#[test]
fn a_wrong_command_line_is_2() {
    let machine = Machine::new();
    machine
        .vigo("swarm gitback project lst")
        .expect(2)
        .says("list");
    machine.vigo("envoy").expect(2);
    machine.vigo("--nosuch").expect(2).says("error: ");
}

#[test]
fn root_can_be_given_as_a_flag() {
    let machine = Machine::new();
    let mut command = machine.command(VIGO);
    command
        .env_remove("VIGO_ROOT")
        .args(["--root", "r", "envoy", "key"]);
    let key = Said::of(&mut command).expect(0).answer;
    machine.vigo("envoy key").expect(0).answers(&key);
    assert_eq!(key.trim_end().len(), 64);
}

#[test]
fn answers_to_its_other_names() {
    let machine = Machine::new();
    let named = |name: &str, line: &str| {
        let mut command = machine.command(machine.bin().join(name));
        Said::of(command.args(line.split(' ')))
    };
    named("vigocli", "envoy key").expect(0);
    named("git-gitback", "project list").expect(15);
    let dir = machine.dir.path();
    machine.git_in(dir, "gitback project list").expect(15);
    named("git-remote-gitback", "only-one")
        .expect(2)
        .says("a remote and a URL");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let machine = Machine::new();
    for line in ["envoy key", "--help", "swarm puddle lock"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = machine.command(VIGO);
        let output = command
            .args(line.split(' '))
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("started")
            .wait_with_output()
            .expect("ended");
        let said = Said::from(output).expect(0);
        assert_eq!(said.talk, "", "{line}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let machine = Machine::new();
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    let mut command = machine.command(VIGO);
    let output = command
        .args(["envoy", "key"])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("started")
        .wait_with_output()
        .expect("ended");
    Said::from(output)
        .expect(1)
        .says("error: cannot write the answer");
}

#[test]
fn piped_talk_has_no_colour() {
    let machine = Machine::new();
    let said = machine.vigo("envoy status").expect(15);
    assert!(!said.talk.contains('\u{1b}'), "{said:?}");
}

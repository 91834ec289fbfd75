use std::fs;

use crate::{Machine, Said, VIGO};

/// Two people's public keys.
const ALICE: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
const BOB: &str = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394";

fn pick(machine: &Machine, name: &str, key: &str, words: &[&str]) -> Said {
    let mut command = machine.command(VIGO);
    command.args(["swarm", "puddle", "names", "pick", name, key]);
    Said::of(command.args(words))
}

fn list(machine: &Machine) -> serde_json::Value {
    machine
        .vigo("swarm puddle names list --json")
        .expect(0)
        .json()
}

/// The states of all names, with the names.
fn states(machine: &Machine) -> Vec<(String, String)> {
    let list = list(machine);
    let text =
        |entry: &serde_json::Value, field: &str| entry[field].as_str().expect("text").to_owned();
    let names = list.as_array().expect("a list").iter();
    names
        .map(|entry| (text(entry, "name"), text(entry, "state")))
        .collect()
}

/// The fingerprint of what was picked for `name`.
fn words_of(machine: &Machine, name: &str) -> String {
    let list = list(machine);
    let mut names = list.as_array().expect("a list").iter();
    let found = names.find(|entry| entry["name"] == name).expect("a name");
    found["fingerprint"].as_str().expect("words").to_owned()
}

#[test]
fn picks_lists_and_forgets() {
    let machine = Machine::new();
    machine
        .vigo("swarm puddle names list")
        .expect(0)
        .answers("No names. Pick one: vigo swarm puddle names pick NAME KEY\n");
    assert_eq!(list(&machine), serde_json::json!([]));
    machine.make_puddle();

    pick(&machine, "alice", ALICE, &[])
        .expect(0)
        .answers("alice is ")
        .says("hint: compare the four words");
    let alice = words_of(&machine, "alice");
    pick(&machine, "alice", ALICE, &[])
        .expect(0)
        .answers(&format!("alice was {alice} already\n"));
    let pair = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(
        states(&machine),
        [pair("alice", "picked"), pair("dan", "own")]
    );
    let json = list(&machine);
    assert_eq!(json[1]["picked_ms"], serde_json::Value::Null);
    assert_eq!(
        (&json[0]["key"], &json[0]["hidden"]),
        (&ALICE.into(), &false.into())
    );
    assert!(json[0]["picked_ms"].as_u64().is_some());
    machine
        .vigo("swarm puddle names list")
        .expect(0)
        .answers("NAME   STATE   FINGERPRINT")
        .answers(ALICE)
        .says("what others claim is not shown: the daemon is not answering");

    // Another key for the same name says whose it was.
    pick(&machine, "alice", BOB, &[])
        .expect(0)
        .answers(&format!(", no longer {alice}\n"));

    machine
        .vigo("swarm puddle names forget alcie")
        .expect(10)
        .says("error: alcie was never picked\nhint:  did you mean alice?");
    machine
        .vigo("swarm puddle names forget alice")
        .expect(0)
        .answers("Forgot alice, who was ");
    assert_eq!(states(&machine), [pair("dan", "own")]);
}

#[test]
fn words_are_compared_with_the_key_and_do_not_stand_for_it() {
    let machine = Machine::new();
    pick(&machine, "alice", ALICE, &[]).expect(0);
    let alice = words_of(&machine, "alice");
    let words: Vec<&str> = alice.split(' ').collect();
    let quiet = pick(&machine, "al", ALICE, &words).expect(0);
    assert_eq!(quiet.talk, "", "there is nothing left to compare");
    pick(&machine, "al", ALICE, &[&alice]).expect(0);

    pick(&machine, "bob", BOB, &words)
        .expect(1)
        .says("error: the words are not those of this key; nothing was picked");
    for (key, rest) in [(words[0], &words[1..]), (&alice, &[]), (words[0], &[])] {
        pick(&machine, "bob", key, rest)
            .expect(2)
            .says("error: the words of a fingerprint are not enough to pick a key")
            .says("vigo swarm puddle names pick bob KEY");
    }
    pick(&machine, "bob", "bob", &[])
        .expect(2)
        .says("error: \"bob\" is no public key");
    pick(&machine, "Bob", BOB, &[])
        .expect(2)
        .says("error: \"Bob\" is no puddle name");
    assert_eq!(list(&machine).as_array().map(Vec::len), Some(2));
}

#[test]
fn what_is_ones_own_cannot_be_picked() {
    let machine = Machine::new();
    machine.make_puddle();
    pick(&machine, "dan", ALICE, &[])
        .expect(2)
        .says("error: dan is your own name")
        .says("hint:  choose another name");
    let own = machine.vigo("swarm puddle status --json").json();
    let own = own["key"].as_str().expect("a key");
    pick(&machine, "alice", own, &[])
        .expect(2)
        .says("error: this key is your own");
    assert_eq!(list(&machine).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_name_that_became_ones_own_is_said_to_be_hidden() {
    let machine = Machine::new();
    pick(&machine, "dan", ALICE, &[]).expect(0);
    machine.make_puddle();
    let json = list(&machine);
    assert_eq!(
        (&json[0]["state"], &json[0]["hidden"]),
        (&"own".into(), &false.into())
    );
    assert_eq!(
        (&json[1]["state"], &json[1]["hidden"]),
        (&"hidden".into(), &true.into())
    );
    machine
        .vigo("swarm puddle names list")
        .expect(0)
        .says("warning: dan is your own name too");
}

#[test]
fn damaged_names_are_left_alone() {
    let machine = Machine::new();
    let dir = machine.root().join("home/.vigo-puddle");
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("names.json"), "{}").expect("a file");
    for line in [
        "swarm puddle names list",
        "swarm puddle names forget alice",
        &format!("swarm puddle names pick alice {ALICE}"),
    ] {
        machine
            .vigo(line)
            .expect(1)
            .says("error: cannot read your names\nwhy:   ");
    }
    machine
        .vigo("swarm puddle names list --json")
        .expect(1)
        .says("{\"message_type\":\"error\",\"code\":1,\"what\":\"cannot read your names\"");
    let kept = fs::read_to_string(dir.join("names.json"));
    assert_eq!(kept.expect("the file"), "{}");
}

#[test]
fn what_concerns_claims_says_when_there_is_no_daemon() {
    let machine = Machine::new();
    for verb in ["claim", "release", "show"] {
        machine
            .vigo(&format!("swarm puddle name {verb}"))
            .expect(10)
            .says("error: there is no puddle on this machine");
    }
    machine.make_puddle();
    for verb in ["claim", "release", "show --json"] {
        machine
            .vigo(&format!("swarm puddle name {verb}"))
            .expect(15)
            .says("the daemon is not answering");
    }
    machine
        .vigo("swarm puddle name claim Dan")
        .expect(2)
        .says("\"Dan\" is no puddle name");
    let fingerprint = machine.vigo("swarm puddle status --json").json();
    let words = fingerprint["fingerprint"]
        .as_str()
        .expect("words")
        .to_owned();
    pick(&machine, "alice", &words, &[])
        .expect(2)
        .says("error: the words of a fingerprint are not enough to pick a key")
        .says("cannot be looked up: the daemon is not answering");
}
